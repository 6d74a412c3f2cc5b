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
	shelveTimer        // the time for which it was shelved is over
	againTimer         // acknowledged, and still standing
	alarmTimers = iota
)

const (
	// of a condition beside an alarm's
	unreadTimer = iota // restored, and not read until the start was over
	whenTimers  = iota
)

const (
	// of an interlock
	settleTimer = iota // the start is over
	delayTimer         // the vote stood for OnDelay
	resetTimer         // the reset condition held for ResetFor
	bypassTimer        // a bypass: its reminder, its end, or too late for the second person
	lockTimers  = iota
)

const (
	// of a demand
	takeTimer    = iota // its delay is over
	runOnTimer          // it was held so long after the reset
	demandTimers = iota
)

const (
	// of an output
	lackTimer    = iota // the proof was missing for Within
	outputTimers = iota
)

const (
	// of a point
	testTimer   = iota // the time of its test is over
	dueTimer           // its next test is due
	pointTimers = iota
)

const (
	// of a tag of a device
	forceTimer  = iota // the time of its force is over
	forceTimers = iota
)

const (
	// of a computed tag
	lookTimer      = iota // what it looks back at has moved on
	computedTimers = iota
)

const (
	// of the record of an interlock's trip
	recordTimer  = iota // its last minute is over
	recordTimers = iota
)

// slots lays the timers out: which belong to what.
type slots [10]struct {
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
		{kind: refProof, per: outputTimers, n: len(e.outputs)},
		{kind: refWhen, per: whenTimers, n: len(e.whens)},
		{kind: refPoint, per: pointTimers, n: len(e.points.all)},
		{kind: refForce, per: forceTimers, n: len(e.points.forces)},
		{kind: refRecord, per: recordTimers, n: len(e.records)},
		{kind: refComputed, per: computedTimers, n: len(e.computer.all)},
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
func (e *Engine) lackSlot(o int) int           { return e.slots.of(refProof, o, lackTimer) }
