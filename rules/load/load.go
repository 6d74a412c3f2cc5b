// Package load measures what alarms ask of an operator: how many come in ten
// minutes, an hour and a day, whether it is a flood, which alarms make most of
// it, which chatter, which stand for ever, and how long an acknowledgement takes.
//
// The figures are those of ISA-18.2, IEC 62682 and EEMUA 191 as the field knows
// them; each constant says which. They are what the last day was, and start anew with the
// process: Figures.Since says from when they count, so that nobody takes a quiet
// hour after a restart for a quiet day.
//
// A Meter has no clock: time comes with each event and each question, and only Mono
// is computed with. It belongs to one goroutine. What it keeps is bounded: a day
// of minutes, and MaxNames alarms; what is over counts in the sums, not by name.
//
// Times are counted in whole minutes since Since (a call's share of a day in
// hours), the present one included; a flood begins and ends to the instant.
//
// Counted is what an operator is called to: a raise that is not hidden (shelved,
// suppressed, out of service) and not one of a test. A re-alarm is a call, too.
//
// Imports: rules, drivers/tag.
package load

import (
	"cmp"
	"slices"
	"time"

	"davy/drivers/tag"
	"davy/rules"
)

// The figures of the field, with where they are from.
const (
	FloodFrom  = 10               // calls within FloodIn begin a flood (EEMUA 191)
	FloodBelow = 5                // fewer within FloodIn end it (from memory, to confirm)
	FloodIn    = 10 * time.Minute // and the shortest time that is counted
	Chatter    = 3                // raises and returns within ChatterIn (Hexagon)
	ChatterIn  = time.Minute
	Stale      = 24 * time.Hour // an alarm that stands longer (ISA-18.2)
	TopMost    = 10             // the alarms that make most of the load
)

// Bounds of what is kept.
const (
	MaxNames = 4096 // alarms counted by name; the calls of more count in Figures.Unnamed
	minutes  = 24 * 60
	recent   = FloodFrom // the latest calls, by their instant
)

// Figures are of the last day, or since Since where that is shorter.
type Figures struct {
	Since      tag.Stamp // of the first event or question, by the clock as it is now
	InTen      int       // calls in the last ten minutes
	InHour     int
	InDay      int
	MostInTen  int           // the most within ten whole minutes of this day
	Flood      bool          // there is one now
	Floods     int           // begun in this day
	InFlood    time.Duration // of the day
	Chattering []string      // alarms that chattered within the day, sorted
	Stale      []string      // alarms that have stood too long, in the order given
	Top        []Share       // most first
	Unnamed    int           // calls that are in no Share
	ByPriority [rules.Critical + 1]int
	Acks       int // calls of this day that were acknowledged
	MeanAck    time.Duration
	LongestAck time.Duration
	Standing   int // now raised, and people are called to them
	Shelved    int // now
	Suppressed int
	Removed    int // out of service
}

// Share is one alarm's part of the load.
type Share struct {
	Name  string
	Calls int
}

// hour is one alarm's calls within one hour.
type hour struct {
	at    int64 // which hour since the start
	calls int32
}

type name struct {
	hours   [25]hour // 24 whole ones and the present
	moves   [Chatter]int64
	moved   int
	chatter int64 // Mono of the last time it chattered; 0 never
	raised  int64 // Mono of the call that waits to be acknowledged; 0 none
}

// minute is what happened in one minute.
type minute struct {
	at         int64 // which minute since the start; -1 none
	calls      int32
	byPriority [rules.Critical + 1]int32
	floods     int32
	flood      time.Duration
	acks       int32
	ackTime    time.Duration
	longestAck time.Duration
	unnamed    int32
}

// Meter counts. Make it with New; nil counts nothing.
type Meter struct {
	since  tag.Stamp
	begun  bool
	names  map[string]*name
	day    [minutes]minute
	latest [recent]int64 // Mono of the latest calls
	calls  int           // all
	flood  int64         // Mono from which the present flood is accounted; 0 none
	now    int64
}

// New makes a meter.
func New() *Meter {
	m := &Meter{names: map[string]*name{}}
	for i := range m.day {
		m.day[i].at = -1
	}
	return m
}

// Take counts an event; others than those of alarms are nothing to it. An
// event before the latest one counts at the latest one's time.
func (m *Meter) Take(e *rules.Event) {
	if m == nil {
		return
	}
	t := m.to(e.At)
	switch e.Kind {
	case rules.AlarmRaised, rules.AlarmRealarmed, rules.AlarmReturned:
		n := m.name(e.Rule)
		if e.Kind != rules.AlarmRealarmed && n != nil {
			n.move(t)
		}
		if e.Kind != rules.AlarmReturned && e.Hidden == rules.Normal && !e.Test {
			m.call(n, e.Priority, t)
		}
	case rules.AlarmShelved, rules.AlarmSuppressed, rules.AlarmRemoved:
		m.Answered(e.Rule)
	case rules.AlarmAcked:
		n := m.names[e.Rule]
		if n == nil || n.raised == 0 {
			return
		}
		took := time.Duration(t - n.raised)
		n.raised = 0
		b := m.minute(t)
		b.acks++
		b.ackTime += took
		b.longestAck = max(b.longestAck, took)
	}
}

// Answered says that nobody is waited for at an alarm any more, without an
// acknowledgement: it returned and acknowledges itself, somebody hid it, or it is no more.
func (m *Meter) Answered(rule string) {
	if m == nil {
		return
	}
	if n := m.names[rule]; n != nil {
		n.raised = 0
	}
}

// Keep forgets what is waited for at alarms that a new plan does not have.
func (m *Meter) Keep(has func(rule string) bool) {
	if m == nil {
		return
	}
	for s, n := range m.names {
		if n.raised != 0 && !has(s) {
			n.raised = 0
		}
	}
}

// to moves the meter on to an instant, and accounts the flood up to it.
func (m *Meter) to(at tag.Stamp) int64 {
	if !m.begun {
		m.begun, m.since, m.now = true, at, at.Mono
	}
	t := max(at.Mono, m.now)
	if m.flood > 0 {
		end := m.latest[(m.calls-FloodBelow)%recent] + int64(FloodIn)
		m.account(m.flood, min(t, end))
		m.flood = t
		if end <= t {
			m.flood = 0
		}
	}
	m.now = t
	return t
}

// account spreads the time of a flood over its minutes. Of more than a day only
// the last one is kept.
func (m *Meter) account(from, to int64) {
	from = max(from, to-int64(minutes*time.Minute))
	for from < to {
		end := min(to, from-(from-m.since.Mono)%int64(time.Minute)+int64(time.Minute))
		m.minute(from).flood += time.Duration(end - from)
		from = end
	}
}

func (m *Meter) call(n *name, p rules.Priority, t int64) {
	b := m.minute(t)
	b.calls++
	b.byPriority[min(p, rules.Critical)]++
	if n == nil {
		b.unnamed++
	} else {
		if n.raised == 0 {
			n.raised = t
		}
		at := (t - m.since.Mono) / int64(time.Hour)
		h := &n.hours[at%int64(len(n.hours))]
		if h.at != at || h.calls == 0 {
			*h = hour{at: at}
		}
		h.calls++
	}
	m.latest[m.calls%recent] = t
	m.calls++
	if m.flood == 0 && m.calls >= FloodFrom && t-m.latest[m.calls%recent] <= int64(FloodIn) {
		m.flood = t
		b.floods++
	}
}

func (m *Meter) name(s string) *name {
	n := m.names[s]
	if n == nil && len(m.names) < MaxNames {
		n = &name{}
		m.names[s] = n
	}
	return n
}

// move notes a raise or a return.
func (n *name) move(t int64) {
	n.moves[n.moved%Chatter] = t
	n.moved++
	if n.moved >= Chatter && t-n.moves[n.moved%Chatter] <= int64(ChatterIn) {
		n.chatter = max(t, 1)
	}
}

func (m *Meter) minute(t int64) *minute {
	at := (t - m.since.Mono) / int64(time.Minute)
	b := &m.day[at%minutes]
	if b.at != at {
		*b = minute{at: at}
	}
	return b
}

// Figures says what the load is. alarms are those that are not normal
// (rules.Engine.Alarms).
func (m *Meter) Figures(now tag.Stamp, alarms []rules.AlarmView) Figures {
	if m == nil {
		return Figures{}
	}
	t := m.to(now)
	// A clock that was set since then says nothing of how long this counts.
	since := tag.Stamp{Wall: now.Wall - (t - m.since.Mono), Mono: m.since.Mono}
	f := Figures{Since: since, Flood: m.flood > 0}
	last := (t - m.since.Mono) / int64(time.Minute)
	var acked time.Duration
	ten := 0
	first := max(last-minutes+1, 0)
	for at := first; at <= last; at++ {
		ten += int(m.at(at).calls)
		if at-10 >= first {
			ten -= int(m.at(at - 10).calls)
		}
		f.MostInTen = max(f.MostInTen, ten)
		b := m.at(at)
		f.InDay += int(b.calls)
		if at > last-60 {
			f.InHour += int(b.calls)
		}
		for p, n := range b.byPriority {
			f.ByPriority[p] += int(n)
		}
		f.Floods += int(b.floods)
		f.InFlood += b.flood
		f.Acks += int(b.acks)
		acked += b.ackTime
		f.LongestAck = max(f.LongestAck, b.longestAck)
		f.Unnamed += int(b.unnamed)
	}
	f.InTen = ten
	if f.Acks > 0 {
		f.MeanAck = acked / time.Duration(f.Acks)
	}
	m.byName(&f, t)
	for i := range alarms {
		a := &alarms[i]
		switch a.State {
		case rules.Shelved:
			f.Shelved++
		case rules.Suppressed:
			f.Suppressed++
		case rules.OutOfService:
			f.Removed++
		case rules.Unacked, rules.Acked:
			f.Standing++
			if t-a.Raised.Mono > int64(Stale) {
				f.Stale = append(f.Stale, a.Name)
			}
		}
	}
	return f
}

// at returns a minute of the last day; another one is empty.
func (m *Meter) at(at int64) minute {
	if b := m.day[at%minutes]; b.at == at {
		return b
	}
	return minute{}
}

func (m *Meter) byName(f *Figures, t int64) {
	present := (t - m.since.Mono) / int64(time.Hour)
	for s, n := range m.names {
		calls := 0
		for _, h := range n.hours {
			if h.at > present-24 {
				calls += int(h.calls)
			}
		}
		if calls > 0 {
			f.Top = append(f.Top, Share{s, calls})
		}
		if n.chatter > 0 && t-n.chatter < int64(24*time.Hour) {
			f.Chattering = append(f.Chattering, s)
		}
	}
	slices.Sort(f.Chattering)
	slices.SortFunc(f.Top, func(a, b Share) int {
		return cmp.Or(cmp.Compare(b.Calls, a.Calls), cmp.Compare(a.Name, b.Name))
	})
	f.Top = f.Top[:min(len(f.Top), TopMost)]
}
