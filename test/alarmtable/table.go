// Package alarmtable is the life of an alarm a second time: the table of
// ISA-18.2 as the notes of this project have it (letters A to I, one row for
// each transition) and the smallest thing that reads it. Its test drives it
// beside the engine of davy/rules with the same random histories.
//
// It was written from the table and from what rules.Alarm promises where the
// table says nothing, not from the engine. It is slow and simple on purpose: no
// shared deadlines, no order of alarms, plain numbers for times.
//
// What it leaves out: operating modes, groups, sound, the alarm that another
// stands under, the test of a detector that suppresses its limits, restarts, and
// tags that were never read.
//
// Imports: nothing of ours; its test imports davy/rules.
package alarmtable

import "strings"

// The events that move an alarm from one letter to another.
const (
	crossed    = "limit crossed, on-delay elapsed"
	back       = "back to normal, off-delay elapsed"
	again      = "re-alarm time over"
	shelfOver  = "shelving time over"
	designOn   = "design condition true"
	designOff  = "design condition false"
	evaluate   = "re-evaluate"
	sayAck     = "ack"
	sayReset   = "reset"
	sayShelve  = "shelve"
	sayUnshelf = "unshelve"
	sayRemove  = "remove from service"
	sayReturn  = "return to service"
)

// Row is one row of the table. From are the letters it holds for. To is one
// letter, "=" for the same again, or "R" for "evaluate anew", which has rows of
// its own. Of the rows for a letter and an event the first whose guard holds
// is taken; where there is none, nothing happens, and a person is refused.
type Row struct {
	From, Event, Guard, To string

	Says string // the event that is reported; "" none
	New  bool   // a new occurrence
}

// Rows returns the table.
func Rows() []Row {
	return []Row{
		{From: "A", Event: crossed, To: "B", Says: "raised", New: true},
		{From: "B", Event: sayAck, To: "C", Says: "acked"},
		{From: "B", Event: back, Guard: "latch", To: "E", Says: "returned"},
		{From: "B", Event: back, Guard: "auto-ack", To: "A", Says: "returned"},
		{From: "B", Event: back, To: "D", Says: "returned"},
		{From: "C", Event: back, Guard: "latch", To: "F", Says: "returned"},
		{From: "C", Event: back, To: "A", Says: "returned"},
		{From: "C", Event: again, To: "B", Says: "re-alarmed"},
		{From: "D", Event: sayAck, To: "A", Says: "acked"},
		{From: "D", Event: crossed, To: "B", Says: "raised", New: true},
		{From: "E", Event: sayAck, To: "F", Says: "acked"},
		{From: "F", Event: sayReset, To: "A", Says: "reset"},
		{From: "EF", Event: crossed, To: "B", Says: "raised", New: true},

		{From: "ABCDEF", Event: sayShelve, Guard: "may shelve", To: "G", Says: "shelved"},
		{From: "G", Event: sayUnshelf, To: "R", Says: "unshelved"},
		{From: "G", Event: shelfOver, To: "R", Says: "unshelved"},
		{From: "HI", Event: shelfOver, To: "=", Says: "unshelved"},
		// The table is silent of this one: a person may end a shelving under
		// whatever else lies over it.
		{From: "HI", Event: sayUnshelf, Guard: "on the shelf", To: "=", Says: "unshelved"},

		{From: "ABCDEFG", Event: designOn, To: "H", Says: "suppressed"},
		{From: "I", Event: designOn, To: "=", Says: "suppressed"},
		{From: "H", Event: designOff, Guard: "on the shelf", To: "G", Says: "unsuppressed"},
		{From: "H", Event: designOff, To: "R", Says: "unsuppressed"},
		{From: "I", Event: designOff, To: "=", Says: "unsuppressed"},

		{From: "ABCDEFGH", Event: sayRemove, To: "I", Says: "removed"},
		{From: "I", Event: sayReturn, Guard: "design holds", To: "H", Says: "restored"},
		{From: "I", Event: sayReturn, Guard: "on the shelf", To: "G", Says: "restored"},
		{From: "I", Event: sayReturn, To: "R", Says: "restored"},

		{From: "GHI", Event: crossed, To: "=", Says: "raised", New: true},
		{From: "GHI", Event: back, To: "=", Says: "returned"},

		{From: "R", Event: evaluate, Guard: "stands", To: "B", Says: "raised", New: true},
		{From: "R", Event: evaluate, Guard: "held by its latch", To: "E"},
		{From: "R", Event: evaluate, To: "A"},
	}
}

// Delay is one row of the second table: what an input does to the two delays.
// "run" begins a delay, lets one go on that has begun, and lets one that is held
// go on with what was left; "keep" does nothing.
type Delay struct {
	Stands bool // the alarm is raised
	Input  string
	On     string // the on-delay: "run", "stop" or "keep"
	Off    string // the off-delay: "run", "stop" or "hold"
}

// Delays returns the second table. Under a bad input an on-delay goes on and
// an off-delay stops, as a watch is stopped, so that bad never clears.
func Delays() []Delay {
	return []Delay{
		{Stands: false, Input: "beyond", On: "run", Off: "stop"},
		{Stands: false, Input: "band", On: "stop", Off: "stop"},
		{Stands: false, Input: "clear", On: "stop", Off: "stop"},
		{Stands: false, Input: "bad", On: "keep", Off: "stop"},
		{Stands: true, Input: "beyond", On: "stop", Off: "stop"},
		{Stands: true, Input: "band", On: "stop", Off: "stop"},
		{Stands: true, Input: "clear", On: "stop", Off: "run"},
		{Stands: true, Input: "bad", On: "stop", Off: "hold"},
	}
}

// Options of an alarm. Times are nanoseconds.
type Options struct {
	Op         string // >=, >, <=, <, = or !=
	Limit      float64
	Deadband   float64
	OnDelay    int64
	OffDelay   int64
	Realarm    int64 // 0 never
	ShelveMost int64
	Latch      bool
	AutoAck    bool
	NoShelve   bool
	NotWatched bool // a reading that cannot be judged is beyond, any other is clear
	// Of NotWatched: "warm-up" or "test". What is Only raised by one of them is not
	// by what is bad otherwise; what leaves one to another is not raised by it.
	Only, Except string
	Detector     bool // what is above the range is beyond every limit above, and within every limit below
	LatchAbove   bool // it is raised by any reading above the range, and latches then
}

// Reading is what an alarm sees of its tag.
type Reading struct {
	Value  float64
	Usable bool
	Above  bool   // it says that it is above the range
	State  string // "warm-up" or "test"; "" neither
}

// Word is one event that an alarm reports. Hidden is the letter of what lies
// over it at a raise or return, else "".
type Word struct {
	Says       string
	At         int64
	Occurrence uint64
	Hidden     string
}

// Tables are the rows and how often each was taken, the first by letter.
type Tables struct {
	Rows        []Row
	Delays      []Delay
	TakenRows   []map[string]int
	TakenDelays []int
}

// NewTables returns the tables with nothing taken yet.
func NewTables() *Tables {
	t := &Tables{Rows: Rows(), Delays: Delays()}
	for range t.Rows {
		t.TakenRows = append(t.TakenRows, map[string]int{})
	}
	t.TakenDelays = make([]int, len(t.Delays))
	return t
}

// Life is one alarm. A deadline of 0 is none, so time begins above 0.
type Life struct {
	Options
	Letter     string
	Occurrence uint64
	Stands     bool
	Said       []Word // the caller empties it

	tables   *Tables
	on       int64
	off      int64
	offLeft  int64 // what is left of an off-delay that is held, 0 none
	realarm  int64
	shelf    int64
	byDesign bool
	held     bool    // it latches and was raised since it was last normal
	above    bool    // a reading above the range has come, and it is not raised yet
	latched  bool    // it was raised with one, or one came while it stood
	latest   Reading // of its tag
}

// NewLife returns an alarm that is normal.
func NewLife(o Options, t *Tables) *Life { return &Life{Options: o, Letter: "A", tables: t} }

// Next returns the earliest deadline, 0 none.
func (l *Life) Next() int64 {
	next := int64(0)
	for _, d := range []int64{l.on, l.off, l.realarm, l.shelf} {
		if d != 0 && (next == 0 || d < next) {
			next = d
		}
	}
	return next
}

// Until lets every deadline happen that is not later than now. Of those of
// one instant the delays come first, then the re-alarm, then the shelf: what ends
// now calls nobody any more.
func (l *Life) Until(now int64) {
	for {
		d := l.Next()
		if d == 0 || d > now {
			return
		}
		switch d {
		case l.on:
			l.on = 0
			l.happen(d, crossed)
		case l.off:
			l.off = 0
			l.happen(d, back)
		case l.realarm:
			l.realarm = 0
			l.happen(d, again)
		case l.shelf:
			l.shelf = 0
			l.happen(d, shelfOver)
		}
	}
}

// Read gives the alarm a reading of its tag.
func (l *Life) Read(now int64, r Reading) {
	l.Until(now)
	l.latest = r
	if l.LatchAbove && r.Above {
		l.above, l.latched = !l.Stands, l.latched || l.Stands
		l.held = l.held || l.Stands
	}
	l.judge(now)
	l.Until(now) // a delay of nothing is over now
}

// judge lets the latest reading do to the delays what the second table says.
func (l *Life) judge(now int64) {
	input := l.input(l.latest)
	for i, r := range l.tables.Delays {
		if r.Stands != l.Stands || r.Input != input {
			continue
		}
		l.tables.TakenDelays[i]++
		l.delay(now, r)
		break
	}
}

func (l *Life) delay(now int64, r Delay) {
	switch {
	case r.On == "stop":
		l.on = 0
	case r.On == "run" && l.on == 0:
		l.on = now + l.OnDelay
	}
	switch {
	case r.Off == "stop":
		l.off, l.offLeft = 0, 0
	case r.Off == "hold" && l.off != 0:
		l.off, l.offLeft = 0, l.off-now
	case r.Off == "run" && l.off == 0 && l.offLeft != 0:
		l.off, l.offLeft = now+l.offLeft, 0
	case r.Off == "run" && l.off == 0:
		l.off = now + l.OffDelay
	}
}

func (l *Life) input(r Reading) string {
	up := strings.HasPrefix(l.Op, ">")
	switch {
	case l.NotWatched && r.Usable:
		return "clear"
	case l.NotWatched && l.Only != "" && l.Only != r.State:
		return "bad"
	case l.NotWatched && l.Except != "" && l.Except == r.State && l.Stands:
		return "bad"
	case l.NotWatched && l.Except != "" && l.Except == r.State:
		return "clear"
	case l.NotWatched:
		return "beyond"
	case l.above && !l.Stands, l.Detector && r.Above && up:
		return "beyond"
	case !r.Usable:
		return "bad"
	case l.Detector && r.Above && strings.HasPrefix(l.Op, "<"):
		return "clear"
	case holds(r.Value, l.Op, l.Limit):
		return "beyond"
	case up && holds(r.Value, l.Op, l.Limit-l.Deadband),
		strings.HasPrefix(l.Op, "<") && holds(r.Value, l.Op, l.Limit+l.Deadband):
		return "band"
	}
	return "clear"
}

func holds(v float64, op string, limit float64) bool {
	switch op {
	case ">=":
		return v >= limit
	case ">":
		return v > limit
	case "<=":
		return v <= limit
	case "<":
		return v < limit
	case "=":
		return v == limit
	case "!=":
		return v != limit
	}
	panic("BUG: no such comparison: " + op)
}

// Design tells the alarm whether the condition that suppresses it holds; of a
// bad reading it does not.
func (l *Life) Design(now int64, is bool) {
	l.Until(now)
	switch {
	case is && !l.byDesign:
		l.byDesign = true
		l.happen(now, designOn)
	case !is && l.byDesign:
		l.byDesign = false
		l.happen(now, designOff)
	}
}

// Order is a person's word to an alarm. Ack, reset and shelve name the
// occurrence that the person was shown.
type Order struct {
	Verb       string
	Occurrence uint64
	Length     int64 // of a shelving
	Reason     bool  // the person wrote why
	Proved     bool  // who the person is
}

// Say reports whether the order was accepted.
func (l *Life) Say(now int64, o Order) bool {
	l.Until(now)
	switch o.Verb {
	case sayAck, sayReset:
		if o.Occurrence != l.Occurrence {
			return false
		}
	case sayShelve:
		if o.Occurrence != l.Occurrence || !o.Reason || o.Length <= 0 || o.Length > l.ShelveMost {
			return false
		}
	case sayRemove:
		if !o.Proved || !o.Reason {
			return false
		}
	case sayReturn:
		if !o.Proved {
			return false
		}
	}
	if !l.happen(now, o.Verb) {
		return false
	}
	switch o.Verb {
	case sayAck:
		if l.Letter == "C" && l.Realarm != 0 {
			l.realarm = now + l.Realarm
		}
	case sayShelve:
		l.shelf = now + o.Length
	case sayUnshelf:
		l.shelf = 0
	}
	return true
}

// happen takes the row for an event; it reports whether there is one.
func (l *Life) happen(at int64, event string) bool {
	switch event {
	case crossed:
		l.Stands = true
		if l.above { // the number may have fallen back since
			l.above, l.latched = false, true
			defer func() { l.judge(at); l.Until(at) }()
		}
	case back:
		l.Stands = false
	}
	for i, r := range l.tables.Rows {
		if r.Event != event || !strings.Contains(r.From, l.Letter) || !l.guard(r.Guard) {
			continue
		}
		l.tables.TakenRows[i][l.Letter]++
		l.take(at, r)
		return true
	}
	return false
}

func (l *Life) guard(name string) bool {
	switch name {
	case "":
		return true
	case "latch":
		return l.Latch || l.latched
	case "auto-ack":
		return l.AutoAck
	case "may shelve":
		return !l.NoShelve
	case "on the shelf":
		return l.shelf != 0
	case "design holds":
		return l.byDesign
	case "stands":
		return l.Stands
	case "held by its latch":
		return l.held
	}
	panic("BUG: no such guard: " + name)
}

func (l *Life) take(at int64, r Row) {
	if r.New {
		l.Occurrence++
	}
	if r.Says != "" {
		w := Word{Says: r.Says, At: at, Occurrence: l.Occurrence}
		if (r.Event == crossed || r.Event == back) && strings.Contains("GHI", l.Letter) {
			w.Hidden = l.Letter
		}
		l.Said = append(l.Said, w)
	}
	if r.To != "=" {
		l.Letter = r.To
	}
	if l.Letter != "C" {
		l.realarm = 0
	}
	if l.Stands && (l.Latch || l.latched) {
		l.held = true
	}
	if l.Letter == "A" {
		l.held = false
	}
	if r.Event == sayReset {
		l.latched = false
	}
	if l.Letter == "R" {
		l.happen(at, evaluate)
	}
}
