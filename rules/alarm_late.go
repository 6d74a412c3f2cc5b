package rules

import "davy/drivers/tag"

// An alarm with modes, with a condition that suppresses it, under another, or
// with one that watches over the tests of its detector is
// late: it is judged when everything else of an instant is known, and after
// the one it stands under. So it does not matter which of the readings or
// timers of one instant came first: what suppresses an alarm at the instant at
// which it would be raised keeps it from calling anyone.

// alarmLimits are an alarm's own limit, those of its modes, and what suppresses
// it; one that has neither modes nor the latter has none of it.
type alarmLimits struct {
	when   int32 // of Suppress, in Engine.whens; -1 none
	first  int32 // of the modes', in Engine.whens
	base   float64
	band   float64 // deadband, with the sign that it is added with
	modes  []Mode
	mode   int32 // the one that holds; -1 none
	raised int32 // the one whose limit raised it
}

// of returns the limit of a mode, the alarm's own for -1 and for one that is off.
func (l *alarmLimits) of(mode int32) float64 {
	if mode < 0 || l.modes[mode].Off {
		return l.base
	}
	return l.modes[mode].Limit
}

// when is a condition beside that of an alarm: of a mode, or of Suppress.
type when struct {
	alarm   int32
	tag     tag.ID
	op      Op
	broken  bool
	holds   bool // a reading that may not be judged holds nothing
	carried bool // restored: it holds until it was read, or the start is over
	limit   float64
}

// judgeWhen judges a reading of a when's tag.
func (e *Engine) judgeWhen(i int, r *tag.Reading, t tag.Stamp) {
	w := &e.whens[i]
	if w.carried && unread(r.Quality) && t.Mono < e.settled && !w.broken {
		e.timers.set(e.slots.of(refWhen, i, unreadTimer), e.settled)
		return
	}
	detector := e.set.Tags[w.tag].OverRange
	e.settleWhen(i, !w.broken && w.op.judges(r.Quality, r.Value, detector) && w.op.measures(r.Quality, r.Value, w.limit, detector))
}

func (e *Engine) settleWhen(i int, holds bool) {
	w := &e.whens[i]
	if w.carried {
		w.carried = false
		e.timers.stop(e.slots.of(refWhen, i, unreadTimer))
	}
	if holds != w.holds {
		w.holds = holds
		e.postpone(int(w.alarm))
	}
}

// postpone lets an alarm be judged at the end of the instant.
func (e *Engine) postpone(i int) { e.late.set(i, int64(e.about[i].depth)) }

// settleAlarms judges the alarms that waited until all else of t was known.
func (e *Engine) settleAlarms(t tag.Stamp) {
	for {
		i, _ := e.late.first()
		if i < 0 {
			return
		}
		e.cur = refAlarm | ref(i)
		if !e.alarms[i].dead {
			e.judgeLate(i, t)
		}
		e.late.stop(i) // only now: one that panics is judged again
	}
}

func (e *Engine) judgeLate(i int, t tag.Stamp) {
	a, b := &e.alarms[i], &e.about[i]
	by := uint8(0)
	if l := b.limits; l != nil {
		if l.when >= 0 && e.whens[l.when].holds {
			by |= byRule
		}
		e.pickMode(i)
		if l.mode >= 0 && l.modes[l.mode].Off {
			by |= byMode
		}
	}
	if b.under >= 0 && e.alarms[b.under].raised() {
		by |= byUnder
	}
	if e.alarmInTest(i) {
		by |= byTest
	}
	c := a.condition()
	last := by == 0 && c != yes // what ends now calls nobody any more
	if !last {
		e.suppress(i, by, t)
	}
	if !a.driven {
		e.drive(i, c, t)
	}
	if last {
		e.suppress(i, by, t)
	}
	for which := shelveTimer; which <= againTimer && b.life != nil; which++ {
		if bit := uint8(1) << which; b.life.ends&bit != 0 {
			b.life.ends &^= bit
			e.ended(i, which, t)
		}
	}
}

// ended does what follows when the time of a shelving, or until a re-alarm, is over.
func (e *Engine) ended(i, which int, t tag.Stamp) {
	if which == shelveTimer {
		e.unshelve(i, nil, t)
	} else {
		e.again(i, t)
	}
}

// pickMode takes the limit of the first mode that holds. While the alarm is
// raised its deadband acts from the limit that raised it; one that nobody was
// called to has the limit that counts now.
func (e *Engine) pickMode(i int) {
	a, b := &e.alarms[i], &e.about[i]
	l := b.limits
	mode := int32(-1)
	for k := range l.modes {
		if e.whens[l.first+int32(k)].holds {
			mode = int32(k)
			break
		}
	}
	if mode == l.mode {
		return
	}
	l.mode, e.durable = mode, true
	a.limit = l.of(mode)
	if !a.raised() || b.life.calls() {
		return
	}
	e.takeLimit(i)
	if a.condition() == no {
		a.left = 0 // by this limit it does not stand
	}
}

// takeLimit lets the limit that counts now be the one that the alarm returns from.
func (e *Engine) takeLimit(i int) {
	a, l := &e.alarms[i], e.about[i].limits
	if l == nil {
		return
	}
	l.raised = l.mode
	if len(l.modes) > 0 {
		a.back = a.limit + l.band
	}
}

// shownLimit is the limit that is shown, and in events.
func (e *Engine) shownLimit(i int) float64 {
	if l := e.about[i].limits; l != nil && len(l.modes) > 0 {
		return l.of(e.shownMode(i))
	}
	return e.alarms[i].limit
}

// shownMode is the mode of the limit that is shown: while the alarm is not
// normal the one that raised it.
func (e *Engine) shownMode(i int) int32 {
	l := e.about[i].limits
	switch {
	case l == nil:
		return -1
	case e.alarms[i].state != Normal:
		return l.raised
	}
	return l.mode
}
