//go:build !race

// A damaged page sends bbolt to wild addresses. The journal turns that fault
// into an error (debug.SetPanicOnFault); under the race detector the same read
// runs on the system stack, where no fault can be caught. So these tests are
// for every build but that one.

package journal

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"davy/agent/ring"
	"davy/agent/wire"
	"davy/test/scale"
)

func TestDamage(t *testing.T) {
	type file struct {
		name string
		how  func(t *testing.T, path string)
	}
	truncate := func(t *testing.T, path string) { must(t, os.Truncate(path, 9000)) }
	empty := func(t *testing.T, path string) { must(t, os.Truncate(path, 0)) }
	flip := func(t *testing.T, path string) {
		raw, err := os.ReadFile(path)
		must(t, err)
		for i := 8192; i < len(raw); i += 512 {
			raw[i+i%509] ^= 0x40
		}
		must(t, os.WriteFile(path, raw, 0o600))
	}
	noMeta := func(t *testing.T, path string) {
		raw, err := os.ReadFile(path)
		must(t, err)
		copy(raw, make([]byte, 8192))
		must(t, os.WriteFile(path, raw, 0o600))
	}
	for _, how := range []file{{"truncated", truncate}, {"empty", empty}, {"flipped", flip}, {"no-meta", noMeta}} {
		for _, which := range []string{"reading-00000000.seg", "reading-00000001.seg", "event-00000000.seg", "last"} {
			t.Run(how.name+"/"+which, func(t *testing.T) {
				b := newBench(t)
				b.o.SegmentBytes = 256 << 10
				j := b.open()
				for i := range 5 {
					must(t, j.Append(Batch{Events: b.events(uint64(i+1), 1), Serial: uint64(i + 1)}))
					must(t, j.Append(Batch{Readings: b.readings(12000)}))
				}
				must(t, j.Close())
				name := which
				if which == "last" {
					all, _ := filepath.Glob(filepath.Join(b.o.Dir, "reading-*.seg"))
					name = filepath.Base(slices.Max(all))
				}
				how.how(t, filepath.Join(b.o.Dir, name))
				j = b.open()
				c, err := j.Cursor("regulator")
				must(t, err)
				n := uint64(0)
				for _, it := range drain(t, c, wire.ReadingStream) {
					n += uint64(it.Block.Count)
				}
				must(t, j.Append(Batch{Events: b.events(100, 1), Readings: b.readings(10)}))
				must(t, j.Close())
				_, gaps := verify(t, b.o.Dir)
				kept, _ := filepath.Glob(filepath.Join(b.o.Dir, "quarantine", "*"))
				if len(kept) != 1 || !strings.HasSuffix(kept[0], name) {
					t.Fatalf("quarantine: %v", kept)
				}
				lost := uint64(0)
				for _, g := range gaps {
					if g.Stream == wire.ReadingStream {
						lost += g.Count
					}
				}
				if n+lost != 5*12000 {
					t.Fatalf("%d there, %d named", n, lost)
				}
				said := false
				j = b.open()
				c, err = j.Cursor("regulator")
				must(t, err)
				for _, it := range drain(t, c, wire.EventStream) {
					events, err := wire.DecodeEvents(it.Block.Body)
					must(t, err)
					for _, e := range events {
						said = said || e.Kind == uint32(ring.JournalDamaged)
					}
				}
				if !said || j.Stat().Gaps != 0 {
					t.Fatalf("said %v, named again %d", said, j.Stat().Gaps)
				}
			})
		}
	}
}

// TestFlips flips single bits all over a segment. Whatever is hit: no panic,
// nothing false is delivered, and what is missing is named.
func TestFlips(t *testing.T) {
	w := write(t, 12, 400, 10)
	rnd := rand.New(rand.NewPCG(5, 6))
	hit := 0
	for i := 0; i < scale.Of(60) || hit == 0 && i < 500; i++ {
		name := []string{"reading-00000000.seg", "event-00000000.seg"}[rnd.IntN(2)]
		raw := bytes.Clone(w.files[name])
		at := rnd.IntN(min(len(raw), 120<<10))
		raw[at] ^= 1 << rnd.IntN(8)
		hit += w.survives(t, fmt.Sprintf("%s: a bit at %d", name, at), map[string][]byte{name: raw})
	}
	if hit == 0 {
		t.Error("no flip was ever found: the test does not hit anything")
	}
	t.Logf("%d files set aside", hit)
}

// That the reserve is missing is said once, and once that it is there again.
func TestTheReserveIsMissed(t *testing.T) {
	b := newBench(t)
	var log bytes.Buffer
	b.o.Log = slog.New(slog.NewTextHandler(&log, nil))
	b.onDisk(func(op string) error {
		if op == "reserve" {
			return syscall.ENOSPC
		}
		return nil
	})
	j := b.open()
	for range 3 {
		must(t, j.Retain(true))
	}
	b.onDisk(nil)
	for range 3 {
		must(t, j.Retain(true))
	}
	must(t, j.Close())
	if s := log.String(); strings.Count(s, "no reserve") != 1 || strings.Count(s, "reserve again") != 1 || !strings.Contains(s, syscall.ENOSPC.Error()) {
		t.Errorf("log:\n%s", s)
	}
}

// A file that a full quarantine cannot let go is not called removed.
func TestFullQuarantine(t *testing.T) {
	b := newBench(t)
	var log bytes.Buffer
	b.o.Log = slog.New(slog.NewTextHandler(&log, nil))
	j := b.open()
	must(t, j.Append(Batch{Readings: b.readings(10)}))
	must(t, j.Close())
	dir := filepath.Join(b.o.Dir, "quarantine")
	must(t, os.MkdirAll(filepath.Join(dir, "0-stays", "inner"), 0o700))
	must(t, os.WriteFile(filepath.Join(dir, "1-goes"), nil, 0o600))
	for i := range maxQuarantine - 1 {
		must(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("2-%d", i)), nil, 0o600))
	}
	must(t, os.Truncate(filepath.Join(b.o.Dir, "reading-00000000.seg"), 100))
	must(t, b.open().Close())
	left, err := os.ReadDir(dir)
	must(t, err)
	if s := log.String(); len(left) != maxQuarantine+1 || strings.Contains(s, `file removed" file=0-stays`) || !strings.Contains(s, `file not removed" file=0-stays`) || !strings.Contains(s, `file removed" file=1-goes`) {
		t.Errorf("%d left, log:\n%s", len(left), s)
	}
}
