package journal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"davy/agent/wire"
	"davy/drivers/tag"
	"davy/test/scale"
)

// TestModel plays random operations and faults against a journal and, beside
// it, against what anybody could know from outside: what Append returned nil
// for, what destinations were given and confirmed, and the time lived under a
// trusted clock. A failure's name is its seed: -run TestModel/17.
func TestModel(t *testing.T) {
	for seed := range scale.Of(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newWorld(t, uint64(seed))
			for w.step = range min(220, max(60, scale.Of(220))) {
				w.act()
			}
			w.end()
		})
	}
}

// name is what a record is called.
type name struct {
	epoch  wire.Epoch
	stream string
	number uint64
}

func (n name) String() string { return fmt.Sprintf("%x %s %d", n.epoch[:3], n.stream, n.number) }

// line is a stream of an epoch.
type line struct {
	epoch  wire.Epoch
	stream string
}

// world is the model and what it plays with.
type world struct {
	*bench
	step    int
	small   bool // the size limit is reached
	j       *Journal
	dests   []*dest
	log     []string
	skew    time.Duration // of the wall clock
	trusted bool
	fault   struct {
		left int
		op   string
		err  error
	}
	damaged  bool
	layer    func(mayFail bool) // below the journal
	fails    bool               // it does
	removing bool               // the removal of a file failed: what is named may still be there

	serial  uint64 // of events
	next    uint64 // ids of readings and health records
	pending Batch  // not acknowledged: to be given again

	seen  map[name]string    // whatever was ever read under a name
	where map[uint64]name    // the name of an id
	acked map[uint64]float64 // ids whose Append returned nil, with the time lived then
	head  map[line]uint64    // the greatest number seen
	gaps  map[name]wire.Gap  // gap records by their own names
	watch map[string]Pos
	last  wire.Epoch
	order []wire.Epoch

	clean     bool
	lived     float64 // ns under trust, as Retain was told
	livedFrom int64   // mono of the last Retain under trust; 0 none
	appended  map[string]int
}

// dest is one destination as it sees the journal.
type dest struct {
	name string
	c    *Cursor
	must bool
	got  map[line]wire.Head
	has  map[name]bool // confirmed or advanced over
	kept map[line]uint64
}

func newWorld(t *testing.T, seed uint64) *world {
	return newWorldAt(t, seed, filepath.Join(t.TempDir(), "journal"), func(bool) {})
}

// newWorldAt is newWorld in a directory, whose file layer is told when it may fail.
func newWorldAt(t *testing.T, seed uint64, dir string, layer func(mayFail bool)) *world {
	w := &world{
		layer: layer,
		bench: newBench(t), seen: map[name]string{}, where: map[uint64]name{}, acked: map[uint64]float64{}, head: map[line]uint64{},
		gaps: map[name]wire.Gap{}, appended: map[string]int{}, trusted: true,
	}
	w.rnd = rand.New(rand.NewPCG(seed, 17))
	w.small = seed%2 == 0
	w.o.MaxBytes, w.o.SegmentBytes, w.o.Keep = 64<<20, minSegment, 2*time.Hour
	if w.small {
		w.o.MaxBytes = 3 << 20
	}
	w.o.Dir, w.o.MustConfirm = dir, []string{"regulator"}
	if seed%3 == 1 {
		w.o.MustConfirm = []string{"regulator", "archive"}
	}
	w.o.Now = func() tag.Stamp { s := w.now(); s.Wall += int64(w.skew); return s }
	w.onDisk(func(op string) error {
		if w.fault.left == 0 || w.fault.op != "" && w.fault.op != op {
			return nil
		}
		w.fault.left--
		w.removing = w.removing || op == "remove"
		return w.fault.err
	})
	for _, n := range []string{"regulator", "archive", "feed", "watch"} {
		w.dests = append(w.dests, &dest{name: n, must: slices.Contains(w.o.MustConfirm, n), got: map[line]wire.Head{}, has: map[name]bool{}, kept: map[line]uint64{}})
	}
	layer(true)
	t.Cleanup(func() { layer(false) })
	w.start()
	return w
}

func (w *world) fatalf(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("step %d: %s\n%s", w.step, fmt.Sprintf(format, args...), strings.Join(w.log, "\n"))
}

func (w *world) say(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf("%4d ", w.step)+fmt.Sprintf(format, args...))
}

func (w *world) act() {
	switch n := w.rnd.IntN(100); {
	case n < 22:
		w.append(true, false)
	case n < 50:
		w.append(false, true)
	case n < 56:
		w.append(true, true)
	case n < 74:
		w.pull(w.dests[w.rnd.IntN(3)])
	case n < 78:
		w.misfit(w.dests[w.rnd.IntN(2)])
	case n < 86:
		w.retain()
	case n < 89:
		w.clock()
	case n < 93:
		w.fail()
	case n < 95:
		w.close()
		w.start()
	case n < 97:
		w.say("kill")
		w.j.release()
		w.clean = false
		w.start()
	case n < 98:
		w.close()
		w.damage()
		w.start()
	default:
		w.check()
	}
}

// fail makes the next operations of the disk fail.
func (w *world) fail() {
	w.fault.left = 1 + w.rnd.IntN(4)
	w.fault.err = []error{syscall.ENOSPC, syscall.EIO, syscall.EROFS}[w.rnd.IntN(3)]
	w.fault.op = []string{"", "open", "create", "read", "commit", "rename", "remove", "reserve"}[w.rnd.IntN(8)]
	w.say("the next %d %q fail: %v", w.fault.left, w.fault.op, w.fault.err)
}

func (w *world) clock() {
	w.pass(time.Duration(w.rnd.Int64N(int64(time.Hour))))
	switch w.rnd.IntN(5) {
	case 0:
		w.skew, w.trusted = 365*24*time.Hour, w.rnd.IntN(2) == 0
	case 1:
		w.skew, w.trusted = -365*24*time.Hour, w.rnd.IntN(2) == 0
	case 2:
		w.skew, w.trusted = -time.Duration(wall0), false
	default:
		w.skew, w.trusted = 0, true
	}
	w.say("clock %v off, trusted %v", w.skew, w.trusted)
}

// noise does not compress.
func noise(rnd *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(' ' + rnd.IntN(95))
	}
	return string(b)
}

func (w *world) append(events, readings bool) {
	b := &w.pending
	if events && len(b.Events) == 0 {
		for range 1 + w.rnd.IntN(3) {
			w.serial++
			b.Events = append(b.Events, wire.Event{Kind: 1, At: w.o.Now(), Serial: w.serial, Note: noise(w.rnd, w.rnd.IntN(6000))})
		}
		b.Lineage, b.Serial = [16]byte{9}, w.serial
	}
	if readings && len(b.Readings)+len(b.Health) == 0 {
		for range w.rnd.IntN(200) {
			w.next++
			b.Readings = append(b.Readings, tag.Reading{Tag: 1, Quality: tag.GoodQuality, Value: tag.IntValue(int64(w.next)), Received: w.o.Now()})
		}
		for range 1 + w.rnd.IntN(2) {
			w.next++
			b.Health = append(b.Health, wire.Event{Kind: 192, At: w.o.Now(), Serial: 1<<40 + w.next, Note: noise(w.rnd, w.rnd.IntN(40000))})
		}
	}
	b.Beat = w.o.Now()
	given := *b
	heads := w.j.Heads()
	err := w.j.Append(given)
	w.say("append %d events, %d readings, %d health: %v", len(b.Events), len(b.Readings), len(b.Health), err)
	switch {
	case err == nil:
		w.acknowledge(given.Events, given.Readings, given.Health)
		w.pending = Batch{}
		if now := w.j.Heads(); now[1].Number != heads[1].Number+uint64(len(given.Readings)) || now[2].Number != heads[2].Number+uint64(len(given.Health)) {
			w.fatalf("heads were %v, are %v", heads, now)
		}
		w.saved()
	case errors.Is(err, ErrReadings):
		w.acknowledge(b.Events, nil, nil)
		b.Events, b.Serial = nil, 0
		w.saved()
	default:
		if now := w.j.Heads(); now[1] != heads[1] || now[2] != heads[2] {
			w.fatalf("a batch that failed moved the heads from %v to %v", heads, now)
		}
	}
	w.observe()
	if err == nil {
		for _, e := range given.Events {
			w.must(e.Serial)
		}
	}
}

func (w *world) acknowledge(events []wire.Event, readings []tag.Reading, health []wire.Event) {
	for i := range events {
		w.acked[events[i].Serial] = w.lived
	}
	for i := range readings {
		v := readings[i].Value.Int()
		w.acked[1<<40+uint64(v)] = w.lived
	}
	for i := range health {
		w.acked[health[i].Serial] = w.lived
	}
}

// must says that an id has a name by now.
func (w *world) must(id uint64) {
	if _, ok := w.where[id]; !ok {
		w.fatalf("record %d is durable and cannot be read", id)
	}
}

// saved: a transaction carried all cursors.
func (w *world) saved() {
	for _, d := range w.dests {
		for l, h := range d.got {
			d.kept[l] = h.Number
		}
	}
}

// quiet runs f without faults, which come again after it.
func (w *world) quiet(f func()) {
	left := w.fault.left
	w.fault.left = 0
	w.layer(false)
	defer w.layer(true)
	f()
	w.fault.left = left
}

// pull gives a destination some blocks, and the journal its receipt.
func (w *world) pull(d *dest) {
	stream := streamNames[w.rnd.IntN(streams)]
	items, err := d.c.Next(stream, Pos{}, 1<<w.rnd.IntN(20))
	if err != nil {
		w.say("%s reads %s: %v", d.name, stream, err)
		return
	}
	if len(items) == 0 {
		return
	}
	l := line{items[0].Epoch, stream}
	at := d.got[l]
	for i := range items {
		b := &items[i].Block
		if items[i].Epoch != l.epoch || b.Stream != stream || b.First <= at.Number || at.Number > 0 && b.First == at.Number+1 && b.RootBefore != at.Root {
			w.fatalf("%s after %s %d: %x %s %d, chain %v", d.name, stream, at.Number, items[i].Epoch[:3], b.Stream, b.First, b.RootBefore == at.Root)
		}
		at = wire.Head{Stream: stream, Number: b.Last(), Root: b.RootAfter()}
	}
	take := items[:1+w.rnd.IntN(len(items))]
	last := &take[len(take)-1].Block
	at = wire.Head{Stream: stream, Number: last.Last(), Root: last.RootAfter()}
	if d.name == "feed" {
		err = d.c.Advance(stream, Pos{l.epoch, at.Number})
	} else {
		r := receipt(l.epoch, at)
		r.Destination = d.name
		err = d.c.Confirm(r)
	}
	w.say("%s confirms %x %s %d: %v", d.name, l.epoch[:3], stream, at.Number, err)
	if err != nil {
		var re *ReceiptError
		if errors.As(err, &re) {
			w.fatalf("a receipt that fits: %v", err)
		}
		return
	}
	if n := d.c.Confirmed(l.epoch, stream); n != at.Number {
		w.fatalf("confirmed %d, not %d", n, at.Number)
	}
	d.got[l] = at
	for i := range take {
		w.learn(&take[i])
		for n := take[i].Block.First; n <= take[i].Block.Last(); n++ {
			d.has[name{l.epoch, stream, n}] = true
		}
	}
}

// misfit gives a receipt that does not fit: it moves nothing.
func (w *world) misfit(d *dest) {
	stream := streamNames[w.rnd.IntN(streams)]
	items, err := d.c.Next(stream, Pos{}, 1<<16)
	if err != nil || len(items) == 0 {
		return
	}
	it := &items[w.rnd.IntN(len(items))]
	r := receipt(it.Epoch, wire.Head{Stream: stream, Number: it.Block.Last(), Root: it.Block.RootAfter()})
	r.Destination = d.name
	switch w.rnd.IntN(6) {
	case 0:
		r.Upto[0].Root[w.rnd.IntN(32)] ^= 1 << w.rnd.IntN(8)
	case 1:
		r.Upto[0].Number += 1 << 50
	case 2:
		r.Epoch[w.rnd.IntN(16)] ^= 1 << w.rnd.IntN(8)
	case 3:
		r.Destination = "else"
	case 4:
		if it.Block.Count == 1 {
			return
		}
		r.Upto[0].Number-- // within a block
	case 5:
		r.Gateway = "else"
	}
	before := d.c.Confirmed(it.Epoch, stream)
	err = d.c.Confirm(r)
	var re *ReceiptError
	if d.c.Confirmed(it.Epoch, stream) != before || err == nil || w.fault.left == 0 && !w.fails && !errors.As(err, &re) {
		w.fatalf("a receipt that does not fit: %v, from %d to %d", err, before, d.c.Confirmed(it.Epoch, stream))
	}
}

func (w *world) retain() {
	var before map[name]bool
	calm := !w.small && w.fault.left == 0 && w.rnd.IntN(3) == 0
	if calm {
		before = w.present()
	}
	now := w.mono.Load()
	if w.trusted && w.livedFrom > 0 {
		w.lived += float64(now - w.livedFrom)
	}
	w.livedFrom = 0
	if w.trusted {
		w.livedFrom = now
	}
	err := w.j.Retain(w.trusted)
	w.say("retain, trusted %v: %v", w.trusted, err)
	if err == nil {
		w.saved()
	}
	w.observe()
	if !calm {
		return
	}
	after := w.present()
	for id, n := range w.where {
		if born, ok := w.acked[id]; ok && before[n] && !after[n] && w.lived-born < float64(w.o.Keep) {
			w.fatalf("%v went by age after %v of %v under a trusted clock", n, time.Duration(w.lived-born), w.o.Keep)
		}
	}
}

func (w *world) close() {
	err := w.j.Close()
	w.say("close: %v", err)
	w.clean = err == nil
	if w.clean {
		w.saved()
	}
}

// damage takes a segment away or spoils it, but not the one with the state.
func (w *world) damage() {
	if !w.clean {
		return
	}
	events, _ := filepath.Glob(filepath.Join(w.o.Dir, "event-*.seg"))
	all, _ := filepath.Glob(filepath.Join(w.o.Dir, "*.seg"))
	all = slices.DeleteFunc(all, func(s string) bool { return s == slices.Max(events) })
	if len(all) == 0 {
		return
	}
	path := all[w.rnd.IntN(len(all))]
	w.say("damage %s", filepath.Base(path))
	w.damaged = true
	if w.rnd.IntN(2) == 0 {
		must(w.t, os.Remove(path))
		return
	}
	raw, err := os.ReadFile(path)
	must(w.t, err)
	clear(raw[:8192])
	must(w.t, os.WriteFile(path, raw, 0o600))
}

// start opens the journal, at once or when the disk lets it.
func (w *world) start() {
	w.o.Trusted, w.o.Started = w.trusted, tag.Stamp{}
	var err error
	for try := 0; ; try++ {
		if w.j, err = Open(w.o); err == nil {
			break
		}
		w.say("open: %v", err)
		if try > 40 {
			w.fatalf("open: %v", err)
		}
	}
	w.t.Cleanup(func() { w.j.Close() })
	w.say("open %x", w.j.state.epoch[:3])
	w.livedFrom = 0
	if w.trusted {
		w.livedFrom = w.mono.Load()
	}
	for _, d := range w.dests {
		d.c, err = w.j.Cursor(d.name)
		must(w.t, err)
	}
	w.watch = map[string]Pos{}
	w.observe()
	w.quiet(func() { w.began() })
	// What was durable when it ended is known by its serial; the rest is given again.
	s := w.j.Serial([16]byte{9})
	for id := range w.acked {
		if id < 1<<40 && id > s {
			w.fatalf("event %d was durable, now only those up to %d are", id, s)
		}
	}
	for i := range w.pending.Events {
		if w.pending.Events[i].Serial <= s {
			w.must(w.pending.Events[i].Serial)
			w.acked[w.pending.Events[i].Serial] = w.lived
		}
	}
	w.pending.Events = slices.DeleteFunc(w.pending.Events, func(e wire.Event) bool { return e.Serial <= s })
	if len(w.pending.Events) == 0 {
		w.pending.Serial = 0
	}
	w.pending.Readings, w.pending.Health = nil, nil
	for _, d := range w.dests {
		for l, n := range d.kept {
			if got := d.c.Confirmed(l.epoch, l.stream); w.known(l.epoch) && got < min(n, w.headOf(l)) {
				w.fatalf("%s had confirmed %x %s %d, now %d", d.name, l.epoch[:3], l.stream, n, got)
			}
		}
		for l, h := range d.got { // what was not saved has to be confirmed again
			if n := d.c.Confirmed(l.epoch, l.stream); n < h.Number {
				delete(d.got, l)
			}
		}
	}
}

// headOf is what the journal still knows to have been there.
func (w *world) headOf(l line) uint64 {
	for _, h := range w.j.HeadsOf(l.epoch) {
		if h.Stream == l.stream {
			return h.Number
		}
	}
	return 0
}

func (w *world) known(id wire.Epoch) bool {
	return slices.ContainsFunc(w.j.Epochs(), func(e Epoch) bool { return e.ID == id })
}

// began looks at the Start record of an opening. Those of openings that failed
// after it are found on the way.
func (w *world) began() {
	parent := w.last
	w.last = w.j.Epoch()
	content, ok := w.seen[name{w.last, wire.EventStream, 1}]
	if !ok {
		w.fatalf("the epoch has no first record")
	}
	e, err := wire.DecodeEvent([]byte(content))
	if err != nil || e.Start == nil {
		w.fatalf("the first record is no start: %v", err)
	}
	if parent == (wire.Epoch{}) {
		if len(e.Start.Parent) > 0 && w.seen[name{wire.Epoch(e.Start.Parent), wire.EventStream, 1}] == "" {
			w.fatalf("the first epoch has a parent") // not of an opening that failed
		}
		return
	}
	if string(e.Start.Parent) == string(parent[:]) {
		if e.Start.Clean != w.clean {
			w.fatalf("clean %v, but the start says %v", w.clean, e.Start.Clean)
		}
	} else if len(e.Start.Parent) != 16 || w.seen[name{wire.Epoch(e.Start.Parent), wire.EventStream, 1}] == "" {
		w.fatalf("the parent is %x, not %x", e.Start.Parent, parent[:3]) // nor an opening that failed
	}
	for _, h := range e.Start.ParentHeads {
		l := line{wire.Epoch(e.Start.Parent), h.Stream}
		if h.Number < w.head[l] {
			w.fatalf("the parent's %s ended at %d, the start says %d", h.Stream, w.head[l], h.Number)
		}
		w.head[l] = h.Number
	}
	w.order = append(w.order, w.last)
}
