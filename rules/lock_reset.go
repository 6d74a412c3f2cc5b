package rules

import "davy/drivers/tag"

// cleared reports whether a channel allows a reset.
func (e *Engine) cleared(l *interlock, k int) bool {
	c := &e.channels[l.first+k]
	return c.usable && c.clear || c.bad && l.bad == LeftOut || l.seat == k || l.bypassed() == k
}

// release sees whether a tripped interlock may be reset: every channel that is
// in the vote satisfies its reset condition, ResetWhen and the permissives hold,
// and they have for ResetFor. Of a single channel that is bypassed there is nothing to wait for.
func (e *Engine) release(i int, cs []channel, usable int, t tag.Stamp) {
	l := &e.interlocks[i]
	by := l.bypassed()
	hold := !l.standing && (usable > 0 || by >= 0 && l.n == 1) && e.of(l.resetWhen, yes) == yes && e.permitted(l)
	for k := range cs {
		hold = hold && e.cleared(l, k)
	}
	slot := e.lockTimer(i, resetTimer)
	if !hold {
		l.holding, l.ready, l.holdCredit = false, false, -1
		e.timers.stop(slot)
		return
	}
	if !l.holding {
		l.holding, l.holdSince = true, t.Mono-max(l.holdCredit, 0)
		l.holdCredit = -1
	}
	if at, due := passed(l.holdSince, l.resetFor, t); !due {
		e.timers.set(slot, at)
		return
	}
	l.ready = true
	// Neither a bypass, nor a test, nor a failure resets: where a channel that is
	// left out does not allow it, or did not when it was last known, a person must.
	held := by >= 0 && !(cs[by].usable && cs[by].clear)
	for k := range cs {
		held = held || cs[k].against
	}
	if !l.manual && !held {
		e.reset(i, Event{At: t})
	}
}

// reset ends a trip; v says when, and who did it.
func (e *Engine) reset(i int, v Event) {
	l := &e.interlocks[i]
	v.Kind, v.Rule, v.Occurrence, v.Priority = InterlockReset, l.name, l.occurrence, l.priority
	l.state, l.firstOut, l.votes = Armed, "", nil
	l.holding, l.ready = false, false
	e.timers.stop(e.lockTimer(i, resetTimer))
	e.emit(v)
	e.durable = true
	e.drive(l.alarm, no, v.At)
	e.leave(i, v.At)
	if e.unarmed(l) {
		l.state = Unarmed
		e.emit(e.lockEvent(i, InterlockUnarmed, v.At))
	}
}
