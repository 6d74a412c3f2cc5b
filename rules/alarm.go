package rules

import "davy/drivers/tag"

// alarm is what judging an alarm needs.
type alarm struct {
	tag        tag.ID
	op         Op
	state      AlarmState
	notWatched bool
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
	on, off    int64
	since      int64 // while pending: Mono from which the condition stands
	left       int64 // while clearing: what is left of the off-delay; else -1
	credit     int64 // how long a restored condition had stood at the first step; -1 none
}

// about is what judging does not need.
type about struct {
	name       string
	text       Text
	of         string
	priority   Priority
	agent      bool
	occurrence uint64
	raised     tag.Stamp
	atRaise    tag.Value
	life
}

func (a *alarm) raised() bool { return a.state == Unacked || a.state == Acked }

// judgeAlarm judges a reading of the alarm's tag.
func (e *Engine) judgeAlarm(i int, r *tag.Reading, t tag.Stamp) {
	a := &e.alarms[i]
	if a.dead {
		return
	}
	a.value, a.quality = r.Value, r.Quality
	raised, c := a.raised(), a.condition()
	switch {
	case c == no && !raised && !a.pending && a.credit < 0 || c == yes && raised && a.left < 0: // as before
	case a.late:
		e.postpone(i)
	default:
		e.drive(i, c, t)
	}
}

// condition says whether the condition of an alarm of the set holds, as it was last read.
func (a *alarm) condition() truth {
	usable := a.quality.Usable() && a.value.Kind() != tag.None
	switch {
	case a.broken || a.driven:
		return unknown
	case a.notWatched:
		return truthOf(!usable)
	case !usable:
		return unknown
	case a.raised():
		v := a.value.Float()
		return truthOf(a.op.holds(v, a.back) || a.op.holds(v, a.limit)) // the limit may have come nearer
	}
	return truthOf(a.op.holds(a.value.Float(), a.limit))
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
				a.left = a.off
			}
			if a.left == 0 {
				e.clear(i, t)
			} else if !e.timers.runs(slot) {
				e.timers.set(slot, t.Mono+a.left)
			}
		case unknown:
			if e.timers.runs(slot) {
				a.left = e.timers.deadline[slot] - t.Mono
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
	due := a.since + a.on
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
}

func (e *Engine) clear(i int, t tag.Stamp) {
	a, b := &e.alarms[i], &e.about[i]
	e.timers.stop(e.alarmTimer(i, moveTimer))
	e.timers.stop(e.alarmTimer(i, againTimer))
	a.left = -1
	v := e.alarmEvent(i, AlarmReturned, t)
	v.Hidden = b.over()
	called := v.Hidden == Normal
	if called {
		e.leaveGroup(i, t)
	}
	switch {
	case a.latch && a.state == Unacked:
		a.state = LatchedUnacked
	case a.latch:
		a.state = LatchedAcked
	case a.state == Unacked && called && !b.autoAck:
		a.state = ReturnedUnacked
	default:
		a.state = Normal
	}
	e.emit(v)
	e.stands(i)
}

// stands lets the alarms under this one be judged, for it was raised or returned.
func (e *Engine) stands(i int) {
	for _, k := range e.about[i].below {
		e.postpone(int(k))
	}
}

// alarmEvent makes an event of an alarm; each is something that must survive.
func (e *Engine) alarmEvent(i int, k Kind, t tag.Stamp) Event {
	a, b := &e.alarms[i], &e.about[i]
	e.durable = true
	return Event{
		Kind: k, At: t, Rule: b.name, Occurrence: b.occurrence, Priority: b.priority,
		Tag: a.tag, Value: a.value, Quality: a.quality, Limit: e.shownLimit(i),
	}
}
