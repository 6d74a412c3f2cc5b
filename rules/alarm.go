package rules

import "davy/drivers/tag"

// A plan has tens of thousands of alarms, and hardly any of them is ever raised.
// What is written of one stands in the set and is looked up there (Engine.rule);
// what it has only where it has modes, or once something happened to it, is made
// there and then. TestBytesOfAnAlarm holds the sum.

// alarm is what judging an alarm needs.
type alarm struct {
	tag        tag.ID
	op         Op
	state      AlarmState
	notWatched bool
	watch      watch // of notWatched
	above      aboveRange
	driven     bool // automatic: its condition comes from the engine
	latch      bool
	pending    bool // the condition stands, the on-delay runs
	broken     bool
	dead       bool
	late       bool        // judged at the end of the instant
	quality    tag.Quality // as last judged
	value      tag.Value
	limit      float64
	back       float64 // limit while raised: that which raised it, and the deadband in the clearing direction
	since      int64   // while pending: Mono from which the condition stands
	left       int64   // while clearing: what is left of the off-delay; else -1
	credit     int64   // how long a restored condition had stood at the first step; -1 none
}

// about is what judging does not need.
type about struct {
	under   int32 // the alarm that it stands under; -1 none
	beyond  int32 // the alarm of the next limit; -1 none
	testing int32 // the alarm that its tag is in test too long; -1 none
	group   int32 // index into Engine.groups; -1 none
	depth   int32 // how many it stands under, one under the other
	limits  *alarmLimits
	life    *life // nil: it was never raised, and nothing lay over it
}

// automatic is an alarm of the engine's own.
type automatic struct {
	Alarm
	of    string // AlarmView.Of
	owner string // the interlock, output or point that it is about
}

// rule is what is written of an alarm, in the set or by the engine itself.
func (e *Engine) rule(i int) *Alarm {
	if n := len(e.set.Alarms); i >= n {
		return &e.own[i-n].Alarm
	}
	return &e.set.Alarms[i]
}

// automatic says what an automatic alarm is about; "" for one of the set.
func (e *Engine) automatic(i int) string {
	if n := len(e.set.Alarms); i >= n {
		return e.own[i-n].of
	}
	return ""
}

func (a *alarm) raised() bool { return a.state == Unacked || a.state == Acked }

// judgeAlarm judges a reading of the alarm's tag.
func (e *Engine) judgeAlarm(i int, r *tag.Reading, t tag.Stamp) {
	a := &e.alarms[i]
	if a.dead {
		return
	}
	held := a.late && !a.notWatched && !a.judges() // maybe suppressed for it
	a.value, a.quality = r.Value, r.Quality
	if a.above&latchesAbove != 0 && a.quality.OverRange() {
		e.seeAbove(a)
	}
	raised, c := a.raised(), a.condition()
	switch {
	case held:
		e.postpone(i)
	case c == no && !raised && !a.pending && a.credit < 0 || c == yes && raised && a.left < 0: // as before
	case a.late:
		e.postpone(i)
	default:
		e.drive(i, c, t)
	}
}

// condition says whether the condition of an alarm of the set holds, as it was last read.
func (a *alarm) condition() truth {
	switch {
	case a.broken || a.driven:
		return unknown
	case a.notWatched:
		return a.unwatched()
	case a.above&sawAbove != 0 && !a.raised():
		return yes // what it showed since is not believed
	case !a.judges():
		return unknown
	case a.holds(a.limit), a.raised() && a.holds(a.back): // the limit may have come nearer
		return yes
	}
	return no
}

// drive moves the alarm by its condition. Unknown neither starts nor stops an
// on-delay, holds an off-delay where it is, and lets a raised alarm stand.
func (e *Engine) drive(i int, c truth, t tag.Stamp) {
	a, slot := &e.alarms[i], e.alarmTimer(i, moveTimer)
	if a.raised() {
		switch c {
		case yes:
			a.left = -1
			e.timers.stop(slot)
		case no:
			if a.left < 0 {
				a.left = int64(e.rule(i).OffDelay)
			}
			if a.left == 0 {
				e.clear(i, t)
			} else if !e.timers.runs(slot) {
				e.timers.set(slot, t.Mono+a.left)
			}
		case unknown:
			if e.timers.runs(slot) {
				a.left = e.timers.at(slot) - t.Mono
				e.timers.stop(slot)
			}
		}
		return
	}
	fresh := unread(a.quality) && !a.driven
	if c == unknown && (fresh || a.credit < 0) && !a.pending {
		return // a restored on-delay waits for the first reading
	}
	if c == no {
		if a.pending {
			a.pending = false
			e.timers.stop(slot)
		}
		a.credit = -1
		return
	}
	if !a.pending {
		a.pending, a.since = true, t.Mono-max(e.stood(a.credit, t.Mono), 0)
		a.credit = -1
	}
	due := a.since + int64(e.rule(i).OnDelay)
	if fresh {
		due = max(due, e.settled) // a start is not an alarm
	}
	if due <= t.Mono {
		e.raise(i, t, "")
	} else {
		e.timers.set(slot, due)
	}
}

// alarmDue ends the delay that runs.
func (e *Engine) alarmDue(i int, t tag.Stamp) {
	switch a := &e.alarms[i]; {
	case a.late:
		if a.raised() {
			a.left = 0
		}
		e.postpone(i)
	case a.raised():
		e.clear(i, t)
	case a.pending:
		e.raise(i, t, "")
	}
}

func (e *Engine) raise(i int, t tag.Stamp, note string) {
	a := &e.alarms[i]
	e.timers.stop(e.alarmTimer(i, moveTimer))
	a.state, a.pending, a.left, a.credit = Unacked, false, -1, -1
	e.takeLimit(i)
	e.call(i, t, note)
	e.stands(i)
	if a.above&sawAbove != 0 {
		a.above = a.above&^sawAbove | raisedAbove
		e.drive(i, a.condition(), t) // the number may have fallen back meanwhile
	}
}

func (e *Engine) clear(i int, t tag.Stamp) {
	a := &e.alarms[i]
	e.timers.stop(e.alarmTimer(i, moveTimer))
	e.timers.stop(e.alarmTimer(i, againTimer))
	a.left = -1
	v := e.alarmEvent(i, AlarmReturned, t)
	v.Hidden = e.about[i].life.over()
	if a.above&raisedAbove != 0 {
		v.Note = OverRangeNote
	}
	called := v.Hidden == Normal
	if called {
		e.leaveGroup(i, t)
	}
	switch {
	case a.latches() && a.state == Unacked:
		a.state = LatchedUnacked
	case a.latches():
		a.state = LatchedAcked
	case a.state == Unacked && called && !e.rule(i).AutoAck:
		a.state = ReturnedUnacked
	default:
		a.state = Normal
	}
	e.emit(v)
	e.stands(i)
}

// stands lets the alarms under this one be judged, for it was raised or returned.
func (e *Engine) stands(i int) {
	for _, k := range e.below[int32(i)] {
		e.postpone(int(k))
	}
}

// alarmEvent makes an event of an alarm; each is something that must survive.
func (e *Engine) alarmEvent(i int, k Kind, t tag.Stamp) Event {
	a, r := &e.alarms[i], e.rule(i)
	e.durable = true
	return Event{
		Kind: k, At: t, Rule: r.Name, Occurrence: e.about[i].look().occurrence, Priority: r.Priority,
		Tag: a.tag, Value: a.value, Quality: a.quality, Limit: e.shownLimit(i),
	}
}
