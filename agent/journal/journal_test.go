package journal

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"davy/agent/wire"
	"davy/drivers/tag"
)

// bench is a journal's surroundings: a clock that moves by hand and a disk
// that can be told to fail.
type bench struct {
	t    *testing.T
	o    Options
	mono atomic.Int64
	rnd  *rand.Rand
	disk atomic.Pointer[func(op string) error]
}

const wall0 = int64(1_800_000_000_000_000_000)

func newBench(t *testing.T) *bench {
	b := &bench{t: t, rnd: rand.New(rand.NewPCG(1, 2))}
	b.mono.Store(int64(time.Hour))
	b.o = Options{
		Dir: filepath.Join(t.TempDir(), "journal"), Gateway: "GW", MaxBytes: 64 << 20, SegmentBytes: 1 << 20, Keep: time.Hour, Sync: 5 * time.Second,
		MustConfirm: []string{"regulator"}, Now: b.now, Trusted: true, Boot: "boot-1", Version: "test",
		Disk: func(op string) error {
			if f := b.disk.Load(); f != nil {
				return (*f)(op)
			}
			return nil
		},
	}
	return b
}

func (b *bench) now() tag.Stamp {
	m := b.mono.Add(1)
	return tag.Stamp{Wall: wall0 + m, Mono: m}
}

func (b *bench) pass(d time.Duration) { b.mono.Add(int64(d)) }

func (b *bench) onDisk(f func(op string) error) {
	if f == nil {
		b.disk.Store(nil)
		return
	}
	b.disk.Store(&f)
}

func (b *bench) open() *Journal {
	b.t.Helper()
	j, err := Open(b.o)
	if err != nil {
		b.t.Fatalf("open: %v", err)
	}
	b.t.Cleanup(func() { j.Close() })
	return j
}

func (b *bench) events(serial uint64, n int) []wire.Event {
	out := make([]wire.Event, n)
	for i := range out {
		out[i] = wire.Event{Kind: 1, At: b.now(), Rule: fmt.Sprintf("rule-%d", serial+uint64(i)), Serial: serial + uint64(i), Note: "氨气泄漏"}
	}
	return out
}

func (b *bench) readings(n int) []tag.Reading {
	out := make([]tag.Reading, n)
	for i := range out {
		v := tag.IntValue(b.rnd.Int64() >> 30) // does not compress
		out[i] = tag.Reading{Tag: tag.ID(1 + i%200), Quality: tag.GoodQuality, Value: v, Received: b.now()}
	}
	return out
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// drain reads everything a cursor has of a stream.
func drain(t *testing.T, c *Cursor, stream string) []Item {
	t.Helper()
	var all []Item
	for pos := (Pos{}); ; {
		items, err := c.Next(stream, pos, 64<<10)
		must(t, err)
		if len(items) == 0 {
			return all
		}
		all = append(all, items...)
		pos = items[len(items)-1].After()
	}
}

// verify reads the journal from outside: numbers without a hole but for those
// that a gap names, the chain unbroken. It returns what is there by epoch.
func verify(t *testing.T, dir string) (records map[string]int, gaps []wire.Gap) {
	t.Helper()
	r, err := OpenReadOnly(dir)
	must(t, err)
	defer r.Close()
	type line struct {
		epoch  wire.Epoch
		stream string
	}
	numbers := map[line][]uint64{}
	records = map[string]int{}
	must(t, r.Walk(func(rec Record) error {
		l := line{rec.Epoch, rec.Stream}
		numbers[l] = append(numbers[l], rec.Number)
		records[rec.Stream]++
		if rec.Event != nil && rec.Event.Gap != nil {
			gaps = append(gaps, *rec.Event.Gap)
		}
		if rec.Stream == wire.EventStream && rec.Number == 1 && rec.Event.Start == nil {
			t.Errorf("epoch %x does not begin with its start", rec.Epoch)
		}
		return nil
	}))
	for l, ns := range numbers {
		next := uint64(1)
		for _, n := range ns {
			for n > next {
				i := slices.IndexFunc(gaps, func(g wire.Gap) bool {
					return string(g.Epoch) == string(l.epoch[:]) && g.Stream == l.stream && g.From <= next && g.To >= next
				})
				if i < 0 {
					t.Fatalf("epoch %x %s: %d follows %d and no gap says why", l.epoch[:4], l.stream, n, next-1)
				}
				next = gaps[i].To + 1
			}
			next = n + 1
		}
	}
	return records, gaps
}

func receipt(e wire.Epoch, heads ...wire.Head) *wire.Receipt {
	return &wire.Receipt{Version: wire.Version, Gateway: "GW", Destination: "regulator", Epoch: e, Upto: heads}
}

func TestAppendReopenConfirm(t *testing.T) {
	b := newBench(t)
	j := b.open()
	line := [16]byte{7}
	must(t, j.Append(Batch{Events: b.events(1, 3), Lineage: line, Serial: 3, Beat: b.now()}))
	must(t, j.Append(Batch{Readings: b.readings(9000), Health: b.events(0, 1), Beat: b.now()}))
	first := j.Epoch()
	if got := j.Heads(); got[0].Number != 4 || got[1].Number != 9000 || got[2].Number != 1 {
		t.Fatalf("heads %v", got)
	}
	c, err := j.Cursor("regulator")
	must(t, err)
	events := drain(t, c, wire.EventStream)
	root := wire.Root{}
	for _, it := range events {
		if it.Block.RootBefore != root {
			t.Fatal("chain is broken")
		}
		root = it.Block.RootAfter()
	}
	if root != j.Heads()[0].Root {
		t.Fatal("the head's root is not the chain's")
	}
	got, err := wire.DecodeEvents(events[1].Block.Body)
	must(t, err)
	if got[2].Rule != "rule-3" || got[2].Note != "氨气泄漏" {
		t.Fatalf("event %+v", got[2])
	}
	must(t, c.Confirm(receipt(first, wire.Head{Stream: wire.EventStream, Number: 4, Root: root})))
	must(t, j.Append(Batch{Readings: b.readings(10)}))
	must(t, j.Close())

	j = b.open()
	if got := j.Serial(line); got != 3 {
		t.Fatalf("serial %d", got)
	}
	c, err = j.Cursor("regulator")
	must(t, err)
	if got := c.Confirmed(first, wire.EventStream); got != 4 {
		t.Fatalf("confirmed %d", got)
	}
	left := drain(t, c, wire.EventStream)
	if len(left) != 1 || left[0].Epoch != j.Epoch() {
		t.Fatalf("after the receipt %d event blocks are left", len(left))
	}
	start, err := wire.DecodeEvents(left[0].Block.Body)
	must(t, err)
	s := start[0].Start
	if s == nil || string(s.Parent) != string(first[:]) || !s.Clean || s.MayHaveLost != 0 || s.ParentHeads[0].Number != 4 || s.ParentHeads[1].Number != 9010 {
		t.Fatalf("start %+v", s)
	}
	n := 0
	for _, it := range drain(t, c, wire.ReadingStream) {
		n += int(it.Block.Count)
	}
	if backlog := c.Backlog(); n != 9010 || backlog[1].Records != 9010 || backlog[0].Records != 1 {
		t.Fatalf("readings %d, backlog %+v", n, backlog)
	}
	verify(t, b.o.Dir)
}

func TestReceiptsThatDoNotFit(t *testing.T) {
	b := newBench(t)
	j := b.open()
	must(t, j.Append(Batch{Events: b.events(1, 5)}))
	must(t, j.Append(Batch{Events: b.events(6, 5)}))
	c, err := j.Cursor("regulator")
	must(t, err)
	head := j.Heads()[0]
	ok := receipt(j.Epoch(), head)
	f := func(change func(r *wire.Receipt), want string) {
		t.Helper()
		r := *ok
		r.Upto = slices.Clone(ok.Upto)
		change(&r)
		err := c.Confirm(&r)
		var re *ReceiptError
		if !errors.As(err, &re) || re.Code != want {
			t.Errorf("want %s, got %v", want, err)
		}
		if n := c.Confirmed(j.Epoch(), wire.EventStream); n != 0 {
			t.Errorf("%s moved the cursor to %d", want, n)
		}
	}
	f(func(r *wire.Receipt) { r.Version = 2 }, "version")
	f(func(r *wire.Receipt) { r.Gateway = "other" }, "gateway")
	f(func(r *wire.Receipt) { r.Destination = "other" }, "destination")
	f(func(r *wire.Receipt) { r.Epoch[0]++ }, "epoch")
	f(func(r *wire.Receipt) { r.Upto[0].Stream = "x" }, "stream")
	f(func(r *wire.Receipt) { r.Upto[0].Number++ }, "ahead")
	f(func(r *wire.Receipt) { r.Upto[0].Number = 3 }, "boundary")
	f(func(r *wire.Receipt) { r.Upto[0].Root[5]++ }, "root")
	f(func(r *wire.Receipt) { r.Upto[0].Number = 6 }, "root")
	// One that fits does not move while another in the same receipt does not.
	f(func(r *wire.Receipt) { r.Upto = append(r.Upto, wire.Head{Stream: wire.ReadingStream, Number: 1}) }, "ahead")
	must(t, c.Confirm(ok))
	if n := c.Confirmed(j.Epoch(), wire.EventStream); n != head.Number {
		t.Fatalf("confirmed %d", n)
	}
	// A receipt that says less moves nothing back.
	must(t, c.Confirm(receipt(j.Epoch(), wire.Head{Stream: wire.EventStream, Number: 1})))
	if n := c.Confirmed(j.Epoch(), wire.EventStream); n != head.Number {
		t.Fatalf("moved back to %d", n)
	}
}

func TestSizeLimitDropsReadingsFirstAndNamesThem(t *testing.T) {
	b := newBench(t)
	b.o.MaxBytes, b.o.SegmentBytes = 4<<20, 512<<10
	j := b.open()
	const rounds = 80
	for i := range rounds {
		must(t, j.Append(Batch{Events: b.events(uint64(i+1), 1), Serial: uint64(i + 1)}))
		must(t, j.Append(Batch{Readings: b.readings(12000)}))
	}
	s := j.Stat()
	if s.Bytes > b.o.MaxBytes || s.Gaps == 0 {
		t.Fatalf("stat %+v", s)
	}
	c, err := j.Cursor("regulator")
	must(t, err)
	// Everything is either still there or named: the receiver can go on.
	n := uint64(0)
	for _, it := range drain(t, c, wire.ReadingStream) {
		n += uint64(it.Block.Count)
	}
	must(t, j.Close())
	records, gaps := verify(t, b.o.Dir)
	lost := uint64(0)
	for _, g := range gaps {
		if g.Stream != wire.ReadingStream || g.Cause != CauseSize || len(g.RootAfter) != 32 {
			t.Errorf("gap %+v", g)
		}
		lost += g.Count
	}
	if n+lost != rounds*12000 || records[wire.EventStream] != rounds+1+len(gaps) {
		t.Fatalf("%d there, %d named, %d events", n, lost, records[wire.EventStream])
	}
}

func TestRetention(t *testing.T) {
	b := newBench(t)
	b.o.SegmentBytes = 256 << 10
	j := b.open()
	for range 15 {
		must(t, j.Append(Batch{Readings: b.readings(12000)}))
	}
	before := j.Stat().Segments
	b.pass(30 * time.Minute)
	must(t, j.Retain(true))
	c, err := j.Cursor("regulator")
	must(t, err)
	must(t, c.Confirm(receipt(j.Epoch(), j.Heads()...)))
	b.pass(time.Minute)
	must(t, j.Retain(true))
	if got := j.Stat().Segments; got != before {
		t.Fatal("deleted before its time")
	}
	b.pass(100 * time.Hour)
	must(t, j.Retain(false))
	must(t, j.Retain(true))
	if got := j.Stat().Segments; got != before {
		t.Fatal("time under a clock that is not trusted deleted something")
	}
	b.pass(30 * time.Minute)
	must(t, j.Retain(true))
	if got := j.Stat(); got.Segments >= before || got.Gaps != 0 {
		t.Fatalf("segments %d of %d, gaps %d", got.Segments, before, got.Gaps)
	}
	must(t, j.Close())
	j = b.open()
	if s := j.Stat(); s.Gaps != 0 {
		t.Fatal("what was deleted in order was called lost")
	}
	for range 5 { // and what nobody confirmed stays, however old
		must(t, j.Append(Batch{Readings: b.readings(12000)}))
	}
	waiting := j.Unconfirmed()
	b.pass(100 * time.Hour)
	must(t, j.Retain(true))
	if got := j.Unconfirmed(); got < waiting || waiting < minSegment {
		t.Fatalf("%d of %d bytes left though nobody confirmed them", got, waiting)
	}
}

func TestFullDisk(t *testing.T) {
	b := newBench(t)
	j := b.open()
	must(t, j.Append(Batch{Events: b.events(1, 1), Serial: 1}))
	b.onDisk(func(op string) error {
		if op == "commit" || op == "create" {
			return syscall.ENOSPC
		}
		return nil
	})
	if err := j.Append(Batch{Events: b.events(2, 1), Serial: 2}); !errors.Is(err, ErrFull) {
		t.Fatalf("got %v", err)
	}
	if err := j.Append(Batch{Readings: b.readings(10)}); !errors.Is(err, ErrFull) {
		t.Fatalf("got %v", err)
	}
	if j.Serial([16]byte{}) != 1 || j.Heads()[0].Number != 2 {
		t.Fatal("a batch that failed left something behind")
	}
	b.onDisk(nil)
	must(t, j.Append(Batch{Events: b.events(2, 1), Serial: 2}))
	if j.Heads()[0].Number != 3 {
		t.Fatalf("head %d", j.Heads()[0].Number)
	}
	b.onDisk(func(string) error { return syscall.EROFS })
	if err := j.Append(Batch{Events: b.events(3, 1), Serial: 3}); !errors.Is(err, syscall.EROFS) {
		t.Fatalf("got %v", err)
	}
	b.onDisk(nil)
	must(t, j.Close())
	verify(t, b.o.Dir)
}

// Epochs come in the order in which they began, also where a clock began in
// 1970, and in the same order within each as ever.
func TestWalkInTime(t *testing.T) {
	b := newBench(t)
	lost := time.Duration(0)
	b.o.Now = func() tag.Stamp {
		s := b.now()
		s.Wall -= int64(lost)
		return s
	}
	var want []wire.Epoch
	for i := range 8 {
		if lost = 0; i == 3 {
			lost = time.Duration(wall0)
		}
		j := b.open()
		want = append(want, j.Epoch())
		must(t, j.Append(Batch{Events: b.events(1, 2), Readings: b.readings(3)}))
		must(t, j.Close())
		b.pass(time.Minute)
	}
	r, err := OpenReadOnly(b.o.Dir)
	must(t, err)
	defer r.Close()
	type walk struct {
		epochs  []wire.Epoch
		records map[wire.Epoch]string
	}
	take := func(f func(func(Record) error) error) walk {
		w := walk{records: map[wire.Epoch]string{}}
		must(t, f(func(rec Record) error {
			if len(w.epochs) == 0 || w.epochs[len(w.epochs)-1] != rec.Epoch {
				w.epochs = append(w.epochs, rec.Epoch)
			}
			w.records[rec.Epoch] += fmt.Sprintln(rec.Stream, rec.Number)
			return nil
		}))
		return w
	}
	bytes, inTime := take(r.Walk), take(r.WalkInTime)
	if !slices.Equal(inTime.epochs, want) {
		t.Errorf("epochs %x, want %x", inTime.epochs, want)
	}
	if !slices.IsSortedFunc(bytes.epochs, func(a, b wire.Epoch) int { return slices.Compare(a[:], b[:]) }) {
		t.Errorf("Walk's own order is gone: %x", bytes.epochs)
	}
	if len(inTime.records) != 8 || !maps.Equal(bytes.records, inTime.records) {
		t.Errorf("other records: %v, not %v", inTime.records, bytes.records)
	}
}

func TestDirectoryIsHeldOnce(t *testing.T) {
	b := newBench(t)
	b.open()
	if _, err := Open(b.o); !errors.Is(err, ErrLocked) {
		t.Fatalf("got %v", err)
	}
}

func TestUncleanEnd(t *testing.T) {
	b := newBench(t)
	j := b.open()
	must(t, j.Append(Batch{Readings: b.readings(10), Beat: b.now()}))
	j.release() // as a kill leaves it
	b.pass(time.Minute)
	b.o.Started = b.now()
	j = b.open()
	c, err := j.Cursor("regulator")
	must(t, err)
	all := drain(t, c, wire.EventStream)
	events, err := wire.DecodeEvents(all[len(all)-1].Block.Body)
	must(t, err)
	s := events[0].Start
	if s.Clean || time.Duration(s.MayHaveLost) != b.o.Sync || time.Duration(s.Unwatched) < time.Minute || time.Duration(s.Unwatched) > time.Minute+time.Second {
		t.Fatalf("start %+v", s)
	}
}
