package replay

import (
	"slices"
	"time"

	"davy/drivers/tag"
	"davy/rules"
	"davy/rules/load"
)

// The two plans, where one indexes by them.
const (
	present = iota
	fresh
	plans
)

// compare follows every rule under both plans, and the events of the record
// beside those of the present one.
type compare struct {
	from, to int64
	rules    map[string]*watched
	names    []string
	loads    [plans]*meter
}

// watched is one rule.
type watched struct {
	Rule
	side [plans]standing
	// The stretch under way, in which it stands under either plan.
	under   [plans]Stood
	open    bool
	off     int64     // wall: when it last stood under neither plan any more
	pending [2][]once // events that wait for their counterpart: of the replay, of the record
}

// standing is how a rule is under one plan.
type standing struct {
	on    bool
	since int64
	moves [load.Chatter]int64
	moved int
}

// once is one event that waits for its counterpart.
type once struct {
	begins bool
	wall   int64
}

func newCompare(from, to int64) *compare {
	c := &compare{from: from, to: to, rules: map[string]*watched{}}
	for i := range c.loads {
		c.loads[i] = newMeter(from, to)
	}
	return c
}

// rule returns what is kept of a rule. Alarms and interlocks share one set of names.
func (c *compare) rule(name string) *watched {
	w := c.rules[name]
	if w == nil {
		w = &watched{Rule: Rule{Name: name}}
		c.rules[name] = w
		c.names = append(c.names, name)
	}
	return w
}

// take follows an event of the replay under one plan. Events come in the order of
// their times, of both plans together. compared says that the record is of the
// present plan.
func (c *compare) take(plan int, e *rules.Event, compared bool) {
	c.loads[plan].take(e)
	begins, trip, ok := kindOf(e.Kind)
	if !ok {
		return
	}
	w := c.rule(e.Rule)
	w.Trip = w.Trip || trip
	at := e.At.Wall
	if plan == present && compared {
		c.pair(w, 0, once{begins, at})
	}
	if begins {
		c.begins(w, plan, at, e)
	} else {
		c.ends(w, plan, at)
	}
}

// recorded takes an event of the record.
func (c *compare) recorded(name string, k rules.Kind, wall int64) {
	if begins, trip, ok := kindOf(k); ok {
		w := c.rule(name)
		w.Trip = w.Trip || trip
		c.pair(w, 1, once{begins, wall})
	}
}

// pair looks for the counterpart of an event.
func (c *compare) pair(w *watched, mine int, x once) {
	if x.wall < c.from || x.wall > c.to {
		return
	}
	other := w.pending[1-mine]
	for i, y := range other {
		if d := y.wall - x.wall; y.begins == x.begins && d <= int64(Near) && d >= -int64(Near) {
			w.pending[1-mine] = slices.Delete(other, i, i+1)
			w.Record.Agree++
			return
		}
	}
	if len(w.pending[mine]) == MaxPending {
		w.alone(mine, 1)
		w.pending[mine] = slices.Delete(w.pending[mine], 0, 1)
	}
	w.pending[mine] = append(w.pending[mine], x)
}

func (w *watched) alone(mine, n int) {
	if mine == 0 {
		w.Record.Replayed += n
	} else {
		w.Record.Recorded += n
	}
}

func (w *watched) figures(plan int) *Figures {
	if plan == present {
		return &w.Present
	}
	return &w.New
}

func (w *watched) part(plan int) *Stood { return &w.under[plan] }

func (c *compare) begins(w *watched, plan int, at int64, e *rules.Event) {
	s := &w.side[plan]
	w.move(plan, at, c.from)
	if s.on {
		return
	}
	if w.open && !w.side[present].on && !w.side[fresh].on && w.off != at {
		c.close(w)
	}
	s.on, s.since = true, at
	if !w.open {
		w.open, w.under = true, [plans]Stood{}
	}
	p := w.part(plan)
	if p.Times == 0 {
		p.From, p.Before = max(at, c.from), at < c.from
	}
	p.Times++
	p.Ended = false
	if at < c.from {
		return
	}
	f := w.figures(plan)
	if f.Count == 0 {
		f.First = at
	}
	f.Count++
	if e.Hidden != rules.Normal {
		f.Hidden++
	}
	if e.Test {
		f.Test++
	}
}

func (w *watched) move(plan int, at, from int64) {
	s := &w.side[plan]
	s.moves[s.moved%load.Chatter] = at
	s.moved++
	first := s.moves[s.moved%load.Chatter]
	if s.moved >= load.Chatter && at >= from && at-first <= int64(load.ChatterIn) {
		w.figures(plan).Chatters = true
	}
}

func (c *compare) ends(w *watched, plan int, at int64) {
	w.move(plan, at, c.from)
	c.off(w, plan, at, true)
}

func (c *compare) off(w *watched, plan int, at int64, ended bool) {
	s := &w.side[plan]
	if !s.on {
		return
	}
	s.on = false
	p := w.part(plan)
	p.To, p.Ended = at, ended
	if stood := time.Duration(at - max(s.since, c.from)); stood > 0 {
		p.For += stood
		f := w.figures(plan)
		f.Standing += stood
		f.Longest = max(f.Longest, stood)
	}
	w.off = at // the other plan may say the same at the same instant: closed later
}

// close judges a stretch in which the rule stood.
func (c *compare) close(w *watched) {
	d := Difference{Present: w.under[present], New: w.under[fresh]}
	w.open = false
	if max(d.Present.To, d.New.To) < c.from || d.Present == d.New {
		return
	}
	switch {
	case d.Present.Times == 0:
		w.Came++
	case d.New.Times == 0:
		w.Gone++
	default:
		w.Moved++
	}
	if len(w.Differences) < MaxListed {
		w.Differences = append(w.Differences, d)
	}
}

// forgotten ends everything under a plan: nothing of what stood is known any more.
func (c *compare) forgotten(plan int, at int64) {
	for _, name := range c.names {
		c.off(c.rules[name], plan, at, true)
	}
}

// end closes what stands at the end of the window.
func (c *compare) end() {
	slices.Sort(c.names)
	for _, name := range c.names {
		w := c.rules[name]
		for plan := range plans {
			c.off(w, plan, c.to, false)
		}
		if w.open {
			c.close(w)
		}
		for k := range w.pending {
			w.alone(k, len(w.pending[k]))
			w.pending[k] = nil
		}
	}
	for i := range c.loads {
		c.loads[i].end()
	}
}

// meter counts the load over a window of any length, a day at a time.
type meter struct {
	m        *load.Meter
	from, to int64
	day      int64 // end of the present one
	out      Load
	chatters map[string]bool
}

const day = int64(24 * time.Hour)

func newMeter(from, to int64) *meter {
	m := &meter{m: load.New(), from: from, to: to, day: from + day, chatters: map[string]bool{}}
	m.m.Figures(stamp(from), nil) // its minutes count from here
	return m
}

// stamp is a wall time as the meter takes it: the other clock begins anew with each boot.
func stamp(wall int64) tag.Stamp { return tag.Stamp{Wall: wall, Mono: wall} }

// take counts an event.
func (m *meter) take(e *rules.Event) {
	if e.At.Wall < m.from {
		return
	}
	m.until(e.At.Wall)
	x := *e
	x.At = stamp(e.At.Wall)
	m.m.Take(&x)
}

func (m *meter) until(wall int64) {
	for m.day <= wall && m.day < m.to {
		m.count(m.day - 1)
		m.day += day
	}
}

func (m *meter) count(wall int64) {
	f := m.m.Figures(stamp(wall), nil)
	m.out.Days++
	m.out.Calls += f.InDay
	m.out.MostInDay = max(m.out.MostInDay, f.InDay)
	m.out.MostInTen = max(m.out.MostInTen, f.MostInTen)
	m.out.Floods += f.Floods
	m.out.InFlood += f.InFlood
	for _, name := range f.Chattering {
		m.chatters[name] = true
	}
}

func (m *meter) end() {
	m.until(m.to)
	m.count(m.to - 1)
	for name := range m.chatters {
		m.out.Chattering = append(m.out.Chattering, name)
	}
	slices.Sort(m.out.Chattering)
	m.out.PerDay = float64(m.out.Calls)
	if length := m.to - m.from; length > day {
		m.out.PerDay = float64(m.out.Calls) * float64(day) / float64(length)
	}
}
