package journal

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"davy/agent/wire"
	"davy/drivers/tag"
	"davy/test/scale"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("DAVY_JOURNAL_CHILD"); dir != "" {
		child(dir)
	}
	os.Exit(m.Run())
}

var crashLine = [16]byte{0xda}

// child appends until it is killed, by its parent or before its own n-th
// operation of the disk. It says each serial once it is durable.
func child(dir string) {
	left, _ := strconv.Atoi(os.Getenv("DAVY_JOURNAL_DIE"))
	rnd := rand.New(rand.NewPCG(uint64(left), 7))
	b := &bench{rnd: rnd}
	b.mono.Store(time.Now().UnixNano() - wall0)
	j, err := Open(Options{
		Dir: dir, Gateway: "GW", MaxBytes: 16 << 20, SegmentBytes: 256 << 10, Sync: 5 * time.Second, MustConfirm: []string{"regulator"}, Now: b.now, Boot: "b",
		Disk: func(string) error {
			if left--; left == 0 {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			}
			return nil
		},
	})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	serial := j.Serial(crashLine)
	fmt.Println("open", serial)
	for {
		n := 1 + rnd.IntN(3)
		if err := j.Append(Batch{Events: b.events(serial+1, n), Lineage: crashLine, Serial: serial + uint64(n), Beat: b.now()}); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		serial += uint64(n)
		fmt.Println("durable", serial)
		if rnd.IntN(2) == 0 {
			if err := j.Append(Batch{Readings: b.readings(rnd.IntN(2000)), Beat: b.now()}); err != nil {
				fmt.Println("error", err)
				os.Exit(1)
			}
		}
	}
}

// start runs this test binary as a child, under qemu where the kernel does not
// know its machine.
func start(t *testing.T, dir string, die int) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	for _, argv := range [][]string{{exe}, {"qemu-arm-static", exe}} {
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Env = append(os.Environ(), "DAVY_JOURNAL_CHILD="+dir, "DAVY_JOURNAL_DIE="+strconv.Itoa(die))
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		must(t, err)
		err = cmd.Start()
		if errors.Is(err, syscall.ENOEXEC) {
			continue
		}
		must(t, err)
		return cmd, bufio.NewScanner(out)
	}
	t.Fatal("this machine does not run the test's own binary")
	return nil, nil
}

// TestKill kills a process that appends, from outside at any moment and at
// each of its own operations of the disk, and looks after each kill at what is
// there: everything that was said to be durable, every serial once, numbers
// without a hole, epochs linked.
func TestKill(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	rnd := rand.New(rand.NewPCG(11, 12))
	said := uint64(0)
	for round := range scale.Of(60) {
		die := 0
		lines := 1 + rnd.IntN(12)
		if round%2 == 1 {
			die, lines = 1+rnd.IntN(40), math.MaxInt
		}
		cmd, out := start(t, dir, die)
		for lines > 0 && out.Scan() {
			word, value, _ := strings.Cut(out.Text(), " ")
			n, err := strconv.ParseUint(value, 10, 64)
			if word == "error" || err != nil {
				t.Fatalf("round %d: %s", round, out.Text())
			}
			if n < said {
				t.Fatalf("round %d: %s after %d was durable", round, out.Text(), said)
			}
			said = n
			lines--
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	r, err := OpenReadOnly(dir)
	must(t, err)
	defer r.Close()
	once := map[uint64]int{}
	starts := map[wire.Epoch]*wire.Start{}
	heads := map[wire.Epoch]uint64{}
	must(t, r.Walk(func(rec Record) error {
		if rec.Stream == wire.EventStream {
			heads[rec.Epoch] = rec.Number
			if rec.Event.Serial > 0 {
				once[rec.Event.Serial]++
			}
			if rec.Event.Start != nil {
				starts[rec.Epoch] = rec.Event.Start
			}
		}
		return nil
	}))
	for s := uint64(1); s <= said; s++ {
		if once[s] != 1 {
			t.Errorf("serial %d is there %d times", s, once[s])
		}
	}
	for s, n := range once {
		if n != 1 {
			t.Errorf("serial %d is there %d times", s, n)
		}
	}
	children := map[wire.Epoch]int{}
	for e, s := range starts {
		if len(s.Parent) == 0 {
			continue
		}
		parent := wire.Epoch(s.Parent)
		if children[parent]++; children[parent] > 1 {
			t.Errorf("epoch %x has two children", parent[:4])
		}
		if s.Clean || s.MayHaveLost == 0 {
			t.Errorf("epoch %x calls the end of its parent clean", e[:4])
		}
		if starts[parent] == nil || s.ParentHeads[0].Number != heads[parent] {
			t.Errorf("epoch %x: parent %x known %v, head %d, said %d", e[:4], parent[:4], starts[parent] != nil, heads[parent], s.ParentHeads[0].Number)
		}
	}
	if len(r.Damaged) > 0 {
		t.Errorf("damaged by a kill: %v", r.Damaged)
	}
	if _, gaps := verify(t, dir); len(gaps) > 0 {
		t.Errorf("gaps: %v", gaps)
	}
	if kept, _ := filepath.Glob(filepath.Join(dir, "quarantine", "*")); len(kept) > 0 {
		t.Errorf("set aside: %v", kept)
	}
	t.Logf("%d serials, %d epochs", len(once), len(starts))
}

func recordKey(r Record) string {
	b := binary.BigEndian.AppendUint64(append(r.Epoch[:], r.Stream...), r.Number)
	return string(r.Canonical(b))
}

// The digest does not depend on how often the journal was opened, nor on
// whether someone writes to it meanwhile.
func TestDigestIsStable(t *testing.T) {
	b := newBench(t)
	j := b.open()
	must(t, j.Append(Batch{Events: b.events(1, 3), Serial: 3}))
	must(t, j.Append(Batch{Readings: b.readings(100)}))
	digest := func() ([32]byte, uint64) {
		t.Helper()
		r, err := OpenReadOnly(b.o.Dir)
		must(t, err)
		defer r.Close()
		sum, n, err := r.Digest()
		must(t, err)
		if len(r.Damaged) > 0 {
			t.Fatal(r.Damaged)
		}
		return sum, n
	}
	open, n := digest()
	must(t, j.Close())
	closed, m := digest()
	if open != closed || n != m || n != 104 {
		t.Fatalf("%d records while open, %d closed", n, m)
	}
	// The same from the blocks that a receiver is sent.
	j = b.open()
	var d wire.Digest
	c, err := j.Cursor("other")
	must(t, err)
	for _, stream := range []string{wire.EventStream, wire.HealthStream, wire.ReadingStream} {
		for _, it := range drain(t, c, stream) {
			if it.Epoch == j.Epoch() {
				continue
			}
			must(t, each(&it, func(r Record) error { return d.Add(r.Epoch, r.Stream, r.Number, r.Canonical(nil)) }))
		}
	}
	if d.Sum() != closed {
		t.Fatal("the receiver would come to another sum")
	}
}

// A reader sees only what Append returned for, whatever a writer does.
func TestReadWhileWriting(t *testing.T) {
	b := newBench(t)
	b.o.SegmentBytes = 256 << 10
	b.o.Now = func() tag.Stamp { m := b.mono.Add(1); return tag.Stamp{Wall: wall0 + m, Mono: m} }
	j := b.open()
	const rounds = 150
	done := make(chan error, 1)
	go func() {
		rnd := rand.New(rand.NewPCG(3, 4))
		w := &bench{rnd: rnd}
		w.mono.Store(int64(time.Hour))
		for i := range rounds {
			if err := j.Append(Batch{Events: w.events(uint64(i+1), 1), Readings: w.readings(500)}); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	c, err := j.Cursor("regulator")
	must(t, err)
	var pos Pos
	var rootE, rootR wire.Root
	events, readings := 0, 0
	var posR Pos
	for events < rounds+1 || readings < rounds*500 {
		changed := j.Changed()
		items, err := c.Next(wire.EventStream, pos, 64<<10)
		must(t, err)
		more, err := c.Next(wire.ReadingStream, posR, 64<<10)
		must(t, err)
		for _, it := range items {
			if it.Block.RootBefore != rootE {
				t.Fatal("chain")
			}
			rootE, pos = it.Block.RootAfter(), it.After()
			events += int(it.Block.Count)
		}
		for _, it := range more {
			if it.Block.RootBefore != rootR {
				t.Fatal("chain")
			}
			rootR, posR = it.Block.RootAfter(), it.After()
			readings += int(it.Block.Count)
		}
		if len(items)+len(more) == 0 && (events < rounds+1 || readings < rounds*500) {
			<-changed
		}
	}
	must(t, <-done)
}
