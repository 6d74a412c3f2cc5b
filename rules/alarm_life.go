package rules

import (
	"math"
	"time"

	"davy/drivers/tag"
)

// life is what an alarm needs beyond judging: what lies over it, its modes, its
// group, its sound. Judging looks at it only where something changes.
type life struct {
	sort     Sort
	guide    Text
	autoAck  bool
	noShelve bool
	atMost   int64 // of a shelving
	realarm  int64 // 0 never
	under    int32 // the alarm that it stands under; -1 none
	beyond   int32 // the alarm of the next limit; -1 none
	group    int32 // index into Engine.groups; -1 none
	depth    int64 // how many it stands under, one under the other
	below    []int32
	limits   alarmLimits

	shelved    bool
	shelver    person
	shelveLeft int64 // restored, until the first step; -1 none
	out        uint8 // outOf…
	remover    person
	by         uint8 // by…; not 0: suppressed by design
	ends       uint8 // of a late alarm: which of its timers ended at this instant, by their bits
	silenced   bool
	turn       uint64 // of its group, if it was the first then; else 0
	leftAt     int64  // Mono at which its group last had one less, of those raised before
	leftNow    bool   // restored: at the instant of a hand-over
	againLeft  int64  // restored: what is left of the re-alarm time, until the first step; -1 none
}

// person is who laid something over an alarm, and why.
type person struct{ who, note string }

func (c *Command) person() person { return person{c.Who, c.Note} }

// What suppresses an alarm by design.
const (
	byRule  = 1 << iota // Alarm.Suppress
	byMode              // a mode that is off
	byUnder             // the alarm that it stands under
)

// What an alarm was taken out of service with.
const (
	outOfItself = 1 << iota
	outOfDevice
)

// newLife is the life of an alarm of which nothing is said.
func newLife() life {
	return life{
		atMost: int64(DefaultShelve), under: -1, beyond: -1, group: -1, limits: alarmLimits{mode: -1, raised: -1},
		shelveLeft: -1, againLeft: -1, leftAt: math.MinInt64,
	}
}

// over returns what lies over the alarm, the weightiest; Normal if nothing does.
func (l *life) over() AlarmState {
	switch {
	case l.out != 0:
		return OutOfService
	case l.by != 0:
		return Suppressed
	case l.shelved:
		return Shelved
	}
	return Normal
}

// calls says that people see the alarm's own state, and are called to it.
func (l *life) calls() bool { return l.over() == Normal }

// laid brings the alarm's own state into line when what lies over it has
// changed; called says whether nothing lay over it before.
//
// Under something the own state is one of three: it stands (Unacked), it stood
// and latches (LatchedUnacked), or neither (Normal).
func (e *Engine) laid(i int, called bool, t tag.Stamp) {
	a, b := &e.alarms[i], &e.about[i]
	switch calls := b.calls(); {
	case called && !calls:
		if a.raised() {
			e.leaveGroup(i, t)
		}
		e.timers.stop(e.alarmTimer(i, againTimer))
		b.silenced, b.turn = false, 0
		a.state = a.state.beneath()
	case !called && calls && a.raised():
		e.call(i, t, "")
	}
}

// beneath is what a state becomes when something is laid over it.
func (s AlarmState) beneath() AlarmState {
	switch s {
	case Unacked, Acked:
		return Unacked
	case LatchedUnacked, LatchedAcked:
		return LatchedUnacked
	}
	return Normal
}

// call makes a raise a new occurrence and says so.
func (e *Engine) call(i int, t tag.Stamp, note string) {
	a, b := &e.alarms[i], &e.about[i]
	e.timers.stop(e.alarmTimer(i, againTimer))
	b.occurrence++
	b.raised, b.atRaise, b.silenced, b.turn = t, a.value, false, 0
	v := e.alarmEvent(i, AlarmRaised, t)
	v.Note, v.Hidden = note, b.over()
	if v.Hidden == Normal {
		v.First = e.joinGroup(i, t)
	}
	e.emit(v)
}

// shelve hides the alarm for d.
func (e *Engine) shelve(i int, c *Command, t tag.Stamp) {
	b := &e.about[i]
	called := b.calls()
	b.shelved, b.shelver = true, c.person()
	e.timers.set(e.alarmTimer(i, shelveTimer), t.Mono+int64(c.For))
	v := c.on(e.alarmEvent(i, AlarmShelved, t))
	v.For = c.For
	e.emit(v)
	e.laid(i, called, t)
}

// unshelve ends a shelving: c is who does, nil if its time is over.
func (e *Engine) unshelve(i int, c *Command, t tag.Stamp) {
	b := &e.about[i]
	if !b.shelved {
		return
	}
	called := b.calls()
	b.shelved, b.shelver = false, person{}
	e.timers.stop(e.alarmTimer(i, shelveTimer))
	v := e.alarmEvent(i, AlarmUnshelved, t)
	if c != nil {
		v = c.on(v)
	}
	e.emit(v)
	e.laid(i, called, t)
}

// suppress says what suppresses the alarm by design from here on; 0: nothing.
func (e *Engine) suppress(i int, by uint8, t tag.Stamp) {
	b := &e.about[i]
	called, was := b.calls(), b.by
	b.by = by
	if (was != 0) == (by != 0) {
		e.durable = e.durable || was != by
		return
	}
	k := AlarmSuppressed
	if by == 0 {
		k = AlarmUnsuppressed
	}
	v := e.alarmEvent(i, k, t)
	if by&byUnder != 0 {
		v.Note = e.about[b.under].name
	}
	e.emit(v)
	e.laid(i, called, t)
}

// takeOut takes an alarm out of service with its device, or returns it.
func (e *Engine) takeOut(i int, on bool, c *Command, t tag.Stamp) {
	b := &e.about[i]
	out := b.out &^ outOfDevice
	if on {
		out |= outOfDevice
	}
	e.declareOut(i, out, c, t)
}

// declareOut says with what the alarm is out of service from here on; 0: it serves.
func (e *Engine) declareOut(i int, out uint8, c *Command, t tag.Stamp) {
	b := &e.about[i]
	if out == b.out {
		return
	}
	called, was := b.calls(), b.out
	b.out, e.durable = out, true
	switch {
	case out == 0:
		b.remover = person{}
		e.emit(c.on(e.alarmEvent(i, AlarmRestored, t)))
	case was == 0:
		b.remover = c.person()
		e.emit(c.on(e.alarmEvent(i, AlarmRemoved, t)))
	}
	e.laid(i, called, t)
}

// again calls people to an alarm that was acknowledged and still stands.
func (e *Engine) again(i int, t tag.Stamp) {
	a, b := &e.alarms[i], &e.about[i]
	if a.state != Acked {
		return
	}
	a.state, b.silenced = Unacked, false
	e.emit(e.alarmEvent(i, AlarmRealarmed, t))
}

// sounds says whether an alarm makes a sound: it is unacknowledged and not
// silenced, and no alarm of a further limit is raised that people are called to.
func (e *Engine) sounds(i int) bool {
	if !e.unacked(i) || e.about[i].silenced {
		return false
	}
	for k := e.about[i].beyond; k >= 0; k = e.about[k].beyond {
		if e.alarms[k].raised() && e.about[k].calls() {
			return false
		}
	}
	return true
}

// unacked says that people are called to the alarm and nobody has acknowledged it.
func (e *Engine) unacked(i int) bool {
	switch e.alarms[i].state {
	case Unacked, ReturnedUnacked, LatchedUnacked:
		return e.about[i].calls()
	}
	return false
}

// silence stops the sound of everything unacknowledged, also of what only a
// further limit keeps quiet: when that one returns, nothing new has happened.
func (e *Engine) silence(c *Command, t tag.Stamp) (code string) {
	any := false
	for i := range e.alarms {
		any = any || e.sounds(i)
	}
	if !any {
		return "nothing-sounds"
	}
	for i := range e.alarms {
		if e.unacked(i) {
			e.about[i].silenced = true
		}
	}
	e.durable = true
	e.emit(c.on(Event{Kind: SoundSilenced, At: t}))
	return ""
}

// startLife lets times that were restored go on.
func (e *Engine) startLife(i int, now tag.Stamp) {
	b := &e.about[i]
	if b.shelveLeft >= 0 {
		e.timers.set(e.alarmTimer(i, shelveTimer), now.Mono+b.shelveLeft)
	}
	if b.againLeft >= 0 {
		e.timers.set(e.alarmTimer(i, againTimer), now.Mono+b.againLeft)
	}
	b.shelveLeft, b.againLeft = -1, -1
}

// firstOfAlarms ends what ended before the first step, and judges the late ones.
func (e *Engine) firstOfAlarms(t tag.Stamp) {
	for i := range e.alarms {
		for _, which := range [...]int{shelveTimer, againTimer} {
			if slot := e.alarmTimer(i, which); e.timers.runs(slot) && e.timers.deadline[slot] <= t.Mono {
				e.timers.stop(slot)
				e.due(slot, t)
			}
		}
		if e.alarms[i].late || e.about[i].by != 0 {
			e.postpone(i)
		}
	}
	e.settleAlarms(t)
}

// shelveLeft returns how long the alarm is still shelved.
func (e *Engine) shelveLeft(i int, now tag.Stamp) time.Duration {
	if slot := e.alarmTimer(i, shelveTimer); e.timers.runs(slot) {
		return time.Duration(max(e.timers.deadline[slot]-now.Mono, 0))
	}
	return time.Duration(max(e.about[i].shelveLeft, 0))
}
