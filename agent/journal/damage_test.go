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
	b := newBench(t)
	b.o.SegmentBytes = 256 << 10
	j := b.open()
	want := map[string]Record{}
	for i := range 12 {
		must(t, j.Append(Batch{Events: b.events(uint64(i+1), 2), Serial: uint64(i + 2)}))
		must(t, j.Append(Batch{Readings: b.readings(400)}))
	}
	must(t, j.Close())
	r, err := OpenReadOnly(b.o.Dir)
	must(t, err)
	must(t, r.Walk(func(rec Record) error { want[recordKey(rec)] = rec; return nil }))
	files := map[string][]byte{}
	names, err := os.ReadDir(b.o.Dir)
	must(t, err)
	for _, n := range names {
		if !n.IsDir() {
			files[n.Name()], err = os.ReadFile(filepath.Join(b.o.Dir, n.Name()))
			must(t, err)
		}
	}
	rnd := rand.New(rand.NewPCG(5, 6))
	hit := 0
	for range scale(60) {
		dir := filepath.Join(t.TempDir(), "journal")
		must(t, os.MkdirAll(dir, 0o700))
		name := []string{"reading-00000000.seg", "event-00000000.seg"}[rnd.IntN(2)]
		for n, raw := range files {
			raw := append([]byte(nil), raw...)
			if n == name {
				raw[rnd.IntN(min(len(raw), 120<<10))] ^= 1 << rnd.IntN(8)
			}
			must(t, os.WriteFile(filepath.Join(dir, n), raw, 0o600))
		}
		o := b.o
		o.Dir = dir
		j, err := Open(o)
		must(t, err)
		c, err := j.Cursor("regulator")
		must(t, err)
		there := map[string]bool{}
		for _, stream := range streamNames {
			for _, it := range drain(t, c, stream) {
				must(t, each(&it, func(rec Record) error {
					if rec.Epoch != j.Epoch() {
						there[recordKey(rec)] = true
						if _, ok := want[recordKey(rec)]; !ok {
							t.Fatalf("%s: a record that nobody wrote: %+v", name, rec)
						}
					}
					return nil
				}))
			}
		}
		must(t, j.Append(Batch{Events: b.events(1000, 1)}))
		if j.Stat().Quarantined > 0 {
			hit++
		}
		must(t, j.Close())
		_, gaps := verify(t, dir)
		for key, rec := range want {
			named := slices.ContainsFunc(gaps, func(g wire.Gap) bool {
				return g.Stream == rec.Stream && string(g.Epoch) == string(rec.Epoch[:]) && g.From <= rec.Number && rec.Number <= g.To
			})
			if !there[key] && !named {
				t.Fatalf("%s: %s %d is neither there nor named", name, rec.Stream, rec.Number)
			}
		}
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
