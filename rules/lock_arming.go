package rules

import "davy/drivers/tag"

// guard is a condition of an interlock that is no channel: it arms, says when
// arming is due, or must hold for a reset.
type guard struct {
	lock   int32
	tag    tag.ID
	op     Op
	limit  float64
	is     truth
	read   bool // anything was read
	broken bool // it panicked: not known from here on

	detector bool // Tag.OverRange
}

// judgeGuard takes a reading of such a condition's tag.
func (e *Engine) judgeGuard(i int, r *tag.Reading) {
	w := &e.guards[i]
	is, read := unknown, w.read || !unread(r.Quality)
	if w.op.judges(r.Quality, r.Value, w.detector) && !w.broken {
		is = truthOf(w.op.measures(r.Quality, r.Value, w.limit, w.detector))
	}
	if is != w.is || read != w.read {
		w.is, w.read = is, read
		e.mark(int(w.lock))
	}
}

// of returns a condition of an interlock; where none was written it is other.
func (e *Engine) of(guard int, other truth) truth {
	if guard < 0 {
		return other
	}
	return e.guards[guard].is
}

// unarmed: the arming condition is known not to hold. What is not known arms.
func (e *Engine) unarmed(l *interlock) bool { return e.of(l.arm, yes) == no }

// allRead reports whether every input that a start waits for was read once.
func (e *Engine) allRead(l *interlock, cs []channel) bool {
	for k := range cs {
		if !cs[k].read {
			return false
		}
	}
	return l.arm < 0 || e.guards[l.arm].read
}

// arming moves an interlock that is not tripped between armed and unarmed. A
// vote that was about to trip is dropped with the arming.
func (e *Engine) arming(i int, t tag.Stamp) {
	l := &e.interlocks[i]
	k := InterlockArmed
	switch off := e.unarmed(l); {
	case off && l.state == Armed:
		l.state, k = Unarmed, InterlockUnarmed
		l.pending, l.credit = false, -1
		e.timers.stop(e.lockTimer(i, delayTimer))
	case !off && l.state == Unarmed:
		l.state = Armed
	default:
		return
	}
	e.emit(e.lockEvent(i, k, t))
}

// watchArming drives the alarm that says that an interlock is not armed when it is due.
func (e *Engine) watchArming(l *interlock, t tag.Stamp) {
	if l.notArmed >= 0 {
		e.drive(l.notArmed, both(e.of(l.due, no), not(e.of(l.arm, yes))), t)
	}
}

// lockEvent makes an event of an interlock.
func (e *Engine) lockEvent(i int, k Kind, t tag.Stamp) Event {
	l := &e.interlocks[i]
	return Event{Kind: k, At: t, Rule: l.name, Occurrence: l.occurrence, Priority: l.priority}
}

// both is the three-valued "and".
func both(a, b truth) truth {
	switch {
	case a == no || b == no:
		return no
	case a == yes && b == yes:
		return yes
	}
	return unknown
}

// not is the three-valued "not".
func not(a truth) truth {
	switch a {
	case no:
		return yes
	case yes:
		return no
	}
	return unknown
}
