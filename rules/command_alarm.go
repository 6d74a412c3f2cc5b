package rules

import (
	"davy/drivers/tag"
)

func (e *Engine) ack(i int, c Command, now tag.Stamp) (code string) {
	a := &e.alarms[i]
	switch a.state {
	case Unacked:
		a.state = Acked
	case ReturnedUnacked:
		a.state = Normal
	case LatchedUnacked:
		a.state = LatchedAcked
	default:
		return "already-acked"
	}
	e.emit(c.on(e.alarmEvent(i, AlarmAcked, now)))
	return ""
}

// unlatch resets a latched alarm; it must have been acknowledged.
func (e *Engine) unlatch(i int, c Command, now tag.Stamp) (code string) {
	a := &e.alarms[i]
	switch a.state {
	case Unacked, Acked:
		return "still-standing"
	case LatchedUnacked:
		return "not-acked"
	case LatchedAcked:
		a.state = Normal
		e.emit(c.on(e.alarmEvent(i, AlarmReset, now)))
		return ""
	}
	return "not-tripped"
}
