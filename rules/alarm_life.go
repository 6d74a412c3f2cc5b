package rules

import (
	"math"
	"time"

	"davy/drivers/tag"
)

// life is what happened to an alarm: its occurrence, what lies over it, its
// turn in its group, its sound.
type life struct {
	occurrence uint64
	raised     tag.Stamp
	atRaise    tag.Value
	shelver    *person // nil: it is not shelved
	remover    *person // nil: it is in service
	shelveLeft int64   // restored, until the first step; -1 none
	againLeft  int64   // restored: what is left of the re-alarm time, until the first step; -1 none
	turn       uint64  // of its group, if it was the first then; else 0
	leftAt     int64   // Mono at which its group last had one less, of those raised before
	out        uint8   // outOf…
	by         uint8   // by…; not 0: suppressed by design
	ends       uint8   // of a late alarm: which of its timers ended at this instant, by their bits
	silenced   bool
	leftNow    bool // restored: at the instant of a hand-over
}

// person is who laid something over an alarm, and why.
type person struct{ who, note string }

func (c *Command) person() person { return person{c.Who, c.Note} }

// What suppresses an alarm by design.
const (
	byRule  = 1 << iota // Alarm.Suppress
	byMode              // a mode that is off
	byUnder             // the alarm that it stands under
	byTest              // its detector is in test
)

// What an alarm was taken out of service with.
const (
	outOfItself = 1 << iota
	outOfDevice
)

// untouched is the life of an alarm to which nothing happened yet.
func untouched() life { return life{shelveLeft: -1, againLeft: -1, leftAt: math.MinInt64} }

// look returns what happened to the alarm, to be read.
func (b *about) look() life {
	if b.life == nil {
		return untouched()
	}
	return *b.life
}

// live returns it to be written, for something happens now.
func (b *about) live() *life {
	if b.life == nil {
		l := untouched()
		b.life = &l
	}
	return b.life
}

// over returns what lies over the alarm, the weightiest; Normal if nothing does.
func (l *life) over() AlarmState {
	switch {
	case l == nil:
	case l.out != 0:
		return OutOfService
	case l.by != 0:
		return Suppressed
	case l.shelver != nil:
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
	switch calls := b.life.calls(); {
	case called && !calls:
		if a.raised() {
			e.leaveGroup(i, t)
		}
		e.timers.stop(e.alarmTimer(i, againTimer))
		b.life.silenced, b.life.turn = false, 0 // it has one, for something lies over it
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
	l := e.about[i].live()
	e.timers.stop(e.alarmTimer(i, againTimer))
	l.occurrence++
	l.raised, l.atRaise, l.silenced, l.turn = t, e.alarms[i].value, false, 0
	v := e.alarmEvent(i, AlarmRaised, t)
	v.Note, v.Hidden = note, l.over()
	if v.Hidden == Normal {
		v.First = e.joinGroup(i, t)
	}
	e.emit(v)
}

// shelve hides the alarm for d.
func (e *Engine) shelve(i int, c *Command, t tag.Stamp) {
	l := e.about[i].live()
	called := l.calls()
	l.shelver = &person{c.Who, c.Note}
	e.timers.set(e.alarmTimer(i, shelveTimer), t.Mono+int64(c.For))
	v := c.on(e.alarmEvent(i, AlarmShelved, t))
	v.For = c.For
	e.emit(v)
	e.laid(i, called, t)
}

// unshelve ends a shelving: c is who does, nil if its time is over.
func (e *Engine) unshelve(i int, c *Command, t tag.Stamp) {
	l := e.about[i].live()
	if l.shelver == nil {
		return
	}
	called := l.calls()
	l.shelver = nil
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
	if b.life == nil && by == 0 {
		return
	}
	l := b.live()
	called, was := l.calls(), l.by
	l.by = by
	if (was != 0) == (by != 0) {
		e.durable = e.durable || was != by
		return
	}
	k := AlarmSuppressed
	if by == 0 {
		k = AlarmUnsuppressed
	}
	v := e.alarmEvent(i, k, t)
	if k := b.standsIn(by); k >= 0 {
		v.Note = e.rule(int(k)).Name
	}
	e.emit(v)
	e.laid(i, called, t)
}

// takeOut takes an alarm out of service with its device, or returns it.
func (e *Engine) takeOut(i int, on bool, c *Command, t tag.Stamp) {
	out := e.about[i].look().out &^ outOfDevice
	if on {
		out |= outOfDevice
	}
	e.declareOut(i, out, c, t)
}

// declareOut says with what the alarm is out of service from here on; 0: it serves.
func (e *Engine) declareOut(i int, out uint8, c *Command, t tag.Stamp) {
	if out == e.about[i].look().out {
		return
	}
	l := e.about[i].live()
	called, was := l.calls(), l.out
	l.out, e.durable = out, true
	switch {
	case out == 0:
		l.remover = nil
		e.emit(c.on(e.alarmEvent(i, AlarmRestored, t)))
	case was == 0:
		l.remover = &person{c.Who, c.Note}
		e.emit(c.on(e.alarmEvent(i, AlarmRemoved, t)))
	}
	e.laid(i, called, t)
}

// again calls people to an alarm that was acknowledged and still stands.
func (e *Engine) again(i int, t tag.Stamp) {
	a := &e.alarms[i]
	if a.state != Acked {
		return
	}
	a.state, e.about[i].live().silenced = Unacked, false
	e.emit(e.alarmEvent(i, AlarmRealarmed, t))
}

// sounds says whether an alarm makes a sound: it is unacknowledged and not
// silenced, and no alarm of a further limit is raised that people are called to.
func (e *Engine) sounds(i int) bool {
	if !e.unacked(i) || e.about[i].look().silenced {
		return false
	}
	for k := e.about[i].beyond; k >= 0; k = e.about[k].beyond {
		if e.alarms[k].raised() && e.about[k].life.calls() {
			return false
		}
	}
	return true
}

// unacked says that people are called to the alarm and nobody has acknowledged it.
func (e *Engine) unacked(i int) bool {
	switch e.alarms[i].state {
	case Unacked, ReturnedUnacked, LatchedUnacked:
		return e.about[i].life.calls()
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
			e.about[i].live().silenced = true
		}
	}
	e.durable = true
	e.emit(c.on(Event{Kind: SoundSilenced, At: t}))
	return ""
}

// startLife lets times that were restored go on.
func (e *Engine) startLife(i int, now tag.Stamp) {
	l := e.about[i].life
	if l == nil {
		return
	}
	if l.shelveLeft >= 0 {
		e.timers.set(e.alarmTimer(i, shelveTimer), now.Mono+l.shelveLeft)
	}
	if l.againLeft >= 0 {
		e.timers.set(e.alarmTimer(i, againTimer), now.Mono+l.againLeft)
	}
	l.shelveLeft, l.againLeft = -1, -1
}

// firstOfAlarms ends what ended before the first step, and judges the late ones.
func (e *Engine) firstOfAlarms(t tag.Stamp) {
	for i := range e.alarms {
		for _, which := range [...]int{shelveTimer, againTimer} {
			if slot := e.alarmTimer(i, which); e.timers.runs(slot) && e.timers.at(slot) <= t.Mono {
				e.timers.stop(slot)
				e.due(slot, t)
			}
		}
		if e.alarms[i].late || e.about[i].look().by != 0 {
			e.postpone(i)
		}
	}
	e.settleAlarms(t)
}

// shelveLeft returns how long the alarm is still shelved.
func (e *Engine) shelveLeft(i int, now tag.Stamp) time.Duration {
	if slot := e.alarmTimer(i, shelveTimer); e.timers.runs(slot) {
		return time.Duration(max(e.timers.at(slot)-now.Mono, 0))
	}
	return time.Duration(max(e.about[i].look().shelveLeft, 0))
}
