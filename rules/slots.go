package rules

// The timers of each part of the engine. Where two are due at one instant the
// order of these lines, and in each that of the set, is the order in which they
// do their work.
const (
	// of a channel
	badTimer      = iota // it was bad for BadAfter
	channelTimers = iota
)

const (
	// of an alarm
	moveTimer   = iota // the on-delay or the off-delay is over
	alarmTimers = iota
)

const (
	// of an interlock
	settleTimer = iota // the start is over
	delayTimer         // the vote stood for OnDelay
	resetTimer         // the reset condition held for ResetFor
	lockTimers  = iota
)

const (
	// of a demand
	takeTimer    = iota // its delay is over
	demandTimers = iota
)

// slots lays the timers out: which belong to what.
type slots [5]struct {
	kind          ref
	per, n, first int
}

// layOut says how many timers each kind has, in the order of the constants above.
func (s *slots) layOut(e *Engine) (all int) {
	*s = slots{
		{kind: refChannel, per: channelTimers, n: len(e.channels)},
		{kind: refAlarm, per: alarmTimers, n: len(e.alarms)},
		{kind: refInterlock, per: lockTimers, n: len(e.interlocks)},
		{kind: refDemand, per: demandTimers, n: len(e.demands)},
	}
	for i := range s {
		s[i].first = all
		all += s[i].per * s[i].n
	}
	return all
}

// of returns the slot of a timer.
func (s *slots) of(kind ref, index, which int) int {
	for i := range s {
		if p := &s[i]; p.kind == kind {
			return p.first + p.per*index + which
		}
	}
	panic("BUG: rules: no timers of this kind")
}

// owner returns what a slot belongs to.
func (s *slots) owner(slot int) (kind ref, index, which int) {
	for i := range s {
		if p := &s[i]; slot < p.first+p.per*p.n {
			slot -= p.first
			return p.kind, slot / p.per, slot % p.per
		}
	}
	panic("BUG: rules: no such timer")
}

func (e *Engine) alarmTimer(i, which int) int  { return e.slots.of(refAlarm, i, which) }
func (e *Engine) lockTimer(i, which int) int   { return e.slots.of(refInterlock, i, which) }
func (e *Engine) badSlot(i int) int            { return e.slots.of(refChannel, i, badTimer) }
func (e *Engine) demandTimer(d, which int) int { return e.slots.of(refDemand, d, which) }
