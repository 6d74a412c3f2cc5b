package rules

import (
	"strings"

	"davy/drivers/tag"
)

// MaxNote is the longest note of a command, in bytes.
const MaxNote = 500

// doAlarm carries out a command to an alarm. Ack, Reset and Shelve name the
// occurrence that the person was shown; of an alarm that was never raised it is
// 0, and then only Shelve speaks of something.
func (e *Engine) doAlarm(i int, c *Command, now tag.Stamp) (code string, args map[string]any) {
	l := e.about[i].look()
	switch c.Verb {
	case Ack, Reset, Shelve:
		switch {
		case c.Occurrence != l.occurrence || c.Occurrence == 0 && c.Verb != Shelve:
			return "wrong-occurrence", nil
		case c.Verb == Shelve:
			if code = e.mayShelve(i, c, now); code == "shelve-too-long" {
				args = map[string]any{"most": short(e.shelveAtMost(i))}
			}
			return code, args
		case !l.calls():
			return "hidden", nil
		case c.Verb == Ack:
			return e.ack(i, c, now), nil
		}
		return e.unlatch(i, c, now), nil
	case Unshelve:
		if l.shelver == nil {
			return "not-shelved", nil
		}
		e.unshelve(i, c, now)
	case Remove, Restore:
		return e.mayRemove(i, c, now), nil
	default:
		return "unknown-rule", nil
	}
	return "", nil
}

func (e *Engine) mayShelve(i int, c *Command, now tag.Stamp) (code string) {
	switch l := e.about[i].look(); {
	case e.rule(i).NoShelve:
		return "no-shelve"
	case l.shelver != nil:
		return "already-shelved"
	case !l.calls():
		return "hidden"
	case !c.noted():
		return "needs-reason"
	case c.For <= 0:
		return "needs-time"
	case int64(c.For) > e.shelveAtMost(i):
		return "shelve-too-long"
	}
	e.shelve(i, c, now)
	return ""
}

// shelveAtMost is the longest time for which an alarm may be shelved.
func (e *Engine) shelveAtMost(i int) int64 {
	if most := e.rule(i).ShelveAtMost; most != 0 {
		return int64(most)
	}
	return int64(DefaultShelve)
}

// mayRemove takes an alarm out of service, or returns it: also one that is out
// with its device, so that nothing stays out of which nobody knows any more. That
// an interlock tripped, or a rule was isolated, hangs on no instrument that could
// be under repair: it always calls.
func (e *Engine) mayRemove(i int, c *Command, now tag.Stamp) (code string) {
	out := e.about[i].look().out
	switch {
	case !c.Proved:
		return "needs-proved"
	case !c.noted():
		return "needs-reason"
	case c.Verb == Restore && out == 0:
		return "not-removed"
	case c.Verb == Restore:
		e.declareOut(i, 0, c, now)
		return ""
	case e.rule(i).NoShelve && e.alarms[i].driven:
		return "not-permitted"
	case out&outOfItself != 0:
		return "already-removed"
	}
	e.declareOut(i, out|outOfItself, c, now)
	return ""
}

// noted says that the person wrote something.
func (c *Command) noted() bool { return strings.TrimSpace(c.Note) != "" }

func (e *Engine) ack(i int, c *Command, now tag.Stamp) (code string) {
	a := &e.alarms[i]
	limit := e.shownLimit(i) // of what is acknowledged
	switch a.state {
	case Unacked:
		a.state = Acked
		if again := int64(e.rule(i).Realarm); again > 0 {
			e.timers.set(e.alarmTimer(i, againTimer), now.Mono+again)
		}
	case ReturnedUnacked:
		a.state = Normal
	case LatchedUnacked:
		a.state = LatchedAcked
	default:
		return "already-acked"
	}
	v := c.on(e.alarmEvent(i, AlarmAcked, now))
	v.Limit = limit
	e.emit(v)
	return ""
}

// unlatch resets a latched alarm; it must have been acknowledged.
func (e *Engine) unlatch(i int, c *Command, now tag.Stamp) (code string) {
	a := &e.alarms[i]
	switch a.state {
	case Unacked, Acked:
		return "still-standing"
	case LatchedUnacked:
		return "not-acked"
	case LatchedAcked:
		v := c.on(e.alarmEvent(i, AlarmReset, now))
		a.state = Normal
		a.above &^= raisedAbove
		e.emit(v)
		return ""
	}
	return "not-tripped"
}
