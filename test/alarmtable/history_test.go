package alarmtable

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"davy/drivers/tag"
	"davy/test/scale"
)

const (
	events   = 1_000_000 // of all histories together, at scale 1
	fewest   = 50_000    // at any scale: less need not take every row
	each     = 500       // of one history
	longTime = int64(10 * time.Minute)
)

// between returns a time between from and to seconds, a multiple of unit
// above 0. With a unit of 1 ns two delays hardly ever end at one instant; with 5 s
// they often do.
func between(r *rand.Rand, unit, from, to int64) int64 {
	d := from*int64(time.Second) + r.Int64N((to-from)*int64(time.Second))
	return max(d/unit, 1) * unit
}

func maybe(r *rand.Rand, d int64) int64 {
	if r.IntN(3) == 0 {
		return 0
	}
	return d
}

func randomWorld(r *rand.Rand) world {
	limits, designs := 1+r.IntN(3), r.IntN(3)
	unit := []int64{1, 1, 1, int64(5 * time.Second)}[r.IntN(4)]
	w := world{unit: unit, tags: make([]float64, 1+limits+designs)} // a design tag is 0 at first
	w.detector = map[tag.ID]bool{}
	for i := 1; i <= limits; i++ {
		w.tags[i] = float64(r.IntN(100))
		w.detector[tag.ID(i)] = r.IntN(2) == 0
	}
	for range 1 + r.IntN(4) {
		s := spec{tag: tag.ID(1 + r.IntN(limits)), Options: Options{
			Op:       []string{">=", ">", "<=", "<", "=", "!="}[min(r.IntN(8), 5)],
			Limit:    float64(10 * (1 + r.IntN(9))),
			OnDelay:  maybe(r, between(r, unit, 1, 20)),
			OffDelay: maybe(r, between(r, unit, 1, 40)),
			Realarm:  maybe(r, between(r, unit, 10, 60)),
			Latch:    r.IntN(3) == 0,
			NoShelve: r.IntN(6) == 0,
		}}
		if s.Op != "=" && s.Op != "!=" {
			s.Deadband = []float64{0, 0, 0.5, 2, 5}[r.IntN(5)]
		}
		s.ShelveMost = maybe(r, between(r, unit, 20, 600)) // 0: a shift
		s.AutoAck = !s.Latch && r.IntN(3) == 0
		s.NotWatched = r.IntN(8) == 0
		s.Detector = w.detector[s.tag]
		s.LatchAbove = s.Detector && !s.NotWatched && !s.AutoAck && strings.HasPrefix(s.Op, ">") && r.IntN(2) == 0
		if s.NotWatched && r.IntN(2) == 0 {
			s.Except = []string{"warm-up", "test"}[r.IntN(2)]
		} else if s.NotWatched && r.IntN(2) == 0 {
			s.Only = "warm-up" // of tests it would lie over the others of its tag
		}
		if designs > 0 && r.IntN(3) > 0 {
			s.design = tag.ID(1 + limits + r.IntN(designs))
		}
		w.alarms = append(w.alarms, s)
	}
	return w
}

// writer thinks of what happens next. It looks at the table's deadlines only to
// come close to them; what it writes is in the history with its own time.
type writer struct {
	r           *rand.Rand
	p           *pair
	now         int64
	usable, not []quality
}

func newWriter(r *rand.Rand, p *pair) *writer {
	w := &writer{r: r, p: p, now: began}
	w.usable, w.not = qualities()
	return w
}

func (w *writer) next() op {
	w.now = w.later()
	o := op{at: w.now}
	switch k := w.r.IntN(100); {
	case k < 45:
		return w.read(o)
	case k < 52:
		return w.design(o)
	case k < 65:
		o.what = "step"
		return o
	case k < 66:
		o.what = "silence"
		return o
	}
	return w.say(o)
}

// later is the same instant, a little later, or at, just before or just
// after the next deadline of some alarm.
func (w *writer) later() int64 {
	switch k := w.r.IntN(40); {
	case k < 8:
		return w.now
	case k < 20:
		d := w.p.lives[w.r.IntN(len(w.p.lives))].Next()
		if d == 0 || d-w.now > int64(time.Minute) && w.r.IntN(8) > 0 { // much is to happen under a shelf
			return w.now + between(w.r, w.p.w.unit, 0, 5)
		}
		return max(w.now, d+(w.r.Int64N(3)-1)*w.p.w.unit)
	case k < 39:
		return w.now + between(w.r, w.p.w.unit, 0, 8)
	}
	return w.now + between(w.r, w.p.w.unit, 0, int64(longTime/int64(time.Second)))
}

func (w *writer) read(o op) op {
	a := &w.p.w.alarms[w.r.IntN(len(w.p.w.alarms))]
	o.what, o.tag = "read", a.tag
	steps := []float64{0, 0, 0.25, a.Deadband, a.Deadband / 2, a.Deadband + 0.25, 10, 40}
	o.value = a.Limit + steps[w.r.IntN(len(steps))]*float64(w.r.IntN(2)*2-1)
	o.q = w.quality()
	return o
}

func (w *writer) quality() quality {
	if w.r.IntN(5) == 0 {
		return w.not[w.r.IntN(len(w.not))]
	}
	return w.usable[w.r.IntN(len(w.usable))]
}

func (w *writer) design(o op) op {
	o.what, o.tag = "read", w.p.w.alarms[w.r.IntN(len(w.p.w.alarms))].design
	if o.tag == 0 {
		o.what = "step"
		return o
	}
	o.value = float64(w.r.IntN(3)) // 2 is true as well
	o.q = w.quality()
	return o
}

func (w *writer) say(o op) op {
	o.alarm = w.r.IntN(len(w.p.lives))
	o.what = []string{sayAck, sayAck, sayAck, sayReset, sayReset, sayShelve, sayShelve, sayUnshelf, sayRemove, sayReturn, sayReturn}[w.r.IntN(11)]
	o.Reason, o.Proved = w.r.IntN(10) > 0, w.r.IntN(10) > 0
	if w.r.IntN(8) == 0 {
		o.wrong = []uint64{1, 2, ^uint64(0)}[w.r.IntN(3)]
	}
	most := w.p.lives[o.alarm].ShelveMost
	switch w.r.IntN(12) {
	case 0:
		o.Length = most
	case 1:
		o.Length = most + 1
	case 2:
		o.Length = -w.r.Int64N(2)
	default:
		o.Length = min(most, between(w.r, w.p.w.unit, 1, 1200))
	}
	return o
}

// replay reports where a history goes wrong: the number of entries up to and
// with it, 0 for before the first.
func replay(w world, history []op) (int, error) {
	p, err := newPair(w, NewTables())
	for i := 0; err == nil && i < len(history); i++ {
		if err = p.do(history[i]); err != nil {
			return i + 1, err
		}
	}
	return 0, err
}

// shortest drops alarms and entries as long as what is left still fails.
func shortest(w world, history []op) (world, []op, error) {
	_, err := replay(w, history)
	for k := range w.alarms {
		one := w
		one.alarms = w.alarms[k : k+1]
		var part []op
		for _, o := range history {
			if o.alarm == k || o.what == "read" || o.what == "step" || o.what == "silence" {
				o.alarm = 0
				part = append(part, o)
			}
		}
		if _, again := replay(one, part); again != nil {
			w, history, err = one, part, again
			break
		}
	}
	for size := len(history); size > 0; size /= 2 {
		for i := 0; i < len(history); {
			part := append(append([]op{}, history[:i]...), history[min(i+size, len(history)):]...)
			n, again := replay(w, part)
			if again == nil {
				i += size
				continue
			}
			history, err = part[:n], again
		}
	}
	return w, history, err
}

// Every history says the same of the engine and of the table: the letter, the
// occurrence, and every event with its time.
func TestEngineFollowsTheTable(t *testing.T) {
	tables, total, wanted := NewTables(), 0, max(scale.Of(events), fewest)
	for seed := uint64(1); total < wanted; seed++ {
		r := rand.New(rand.NewPCG(seed, 0))
		w := randomWorld(r)
		p, err := newPair(w, tables)
		var history []op
		for write := newWriter(r, p); err == nil && p != nil && len(history) < each; total++ {
			o := write.next()
			history = append(history, o)
			err = p.do(o)
		}
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, told(shortest(w, history)))
		}
	}
	t.Logf("%d events, %d histories", total, (total+each-1)/each)
	for i, row := range tables.Rows {
		for _, letter := range strings.Split(row.From, "") {
			if tables.TakenRows[i][letter] == 0 {
				t.Errorf("never taken: %s, %s (%s) to %s", letter, row.Event, row.Guard, row.To)
			}
		}
	}
	for i, n := range tables.TakenDelays {
		if n == 0 {
			t.Errorf("never taken: %+v", tables.Delays[i])
		}
	}
	if testing.Verbose() {
		for i, row := range tables.Rows {
			t.Logf("%v %s (%s) to %s", tables.TakenRows[i], row.Event, row.Guard, row.To)
		}
	}
}

func told(w world, history []op, err error) string {
	var b strings.Builder
	fmt.Fprintf(&b, "the shortest history that fails: %v\n", err)
	for i, a := range w.alarms {
		fmt.Fprintf(&b, "  alarm %d: %+v, tag %d, suppressed by tag %d\n", i, a.Options, a.tag, a.design)
	}
	fmt.Fprintf(&b, "  first values of the tags: %v\n", w.tags[1:])
	for _, o := range history {
		fmt.Fprintf(&b, "  %v\n", o)
	}
	return b.String()
}
