package rules

import (
	"strings"

	"davy/drivers/tag"
)

// Do is a Step and then a person's command. A command that is refused
// (*RefusedError) changes nothing, and out is empty but for Next: what the
// step brought comes with the next Step or accepted command.
func (e *Engine) Do(in *Input, c Command, out *Outcome) error {
	e.step(in)
	if err := e.do(c, e.now); err != nil {
		e.kept = true
		*out = Outcome{}
		_, out.Next = e.timers.first()
		return err
	}
	e.settleOutputs(e.now)
	e.finish(out)
	return nil
}

func (e *Engine) do(c Command, now tag.Stamp) error {
	refused := func(code string) *RefusedError {
		return &RefusedError{Code: code, Rule: c.Rule, Args: map[string]any{"rule": c.Rule}}
	}
	f, known := e.names[c.Rule]
	if !known || c.Verb != Ack && c.Verb != Reset {
		return refused("unknown-rule")
	}
	i := f.index()
	var occurrence uint64
	if f.kind() == refAlarm {
		occurrence = e.about[i].occurrence
	} else {
		occurrence = e.interlocks[i].occurrence
	}
	code := ""
	switch {
	case c.Verb == Ack && f.kind() != refAlarm:
		code = "not-alarm"
	case c.Occurrence == 0 || c.Occurrence != occurrence:
		code = "wrong-occurrence"
	case c.Verb == Ack:
		code = e.ack(i, c, now)
	case f.kind() == refAlarm:
		code = e.unlatch(i, c, now)
	default:
		code = e.resetTrip(i, c, now)
	}
	if code == "" {
		return nil
	}
	err := refused(code)
	if code == "still-standing" && f.kind() != refAlarm {
		err.Args["channels"] = e.standing(i)
	}
	return err
}

// standing names the channels whose votes stand: "nh3-1.gas, nh3-2.gas".
func (e *Engine) standing(i int) string {
	var names []string
	for _, v := range e.votes(i) {
		names = append(names, v.Channel)
	}
	return strings.Join(names, ", ")
}

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

func (e *Engine) resetTrip(i int, c Command, now tag.Stamp) (code string) {
	l := &e.interlocks[i]
	switch {
	case l.state != Tripped:
		return "not-tripped"
	case l.standing:
		return "still-standing"
	case !l.ready:
		return "reset-not-met"
	}
	e.reset(i, c.on(Event{At: now}))
	return ""
}

// on writes who gave the command into an event.
func (c *Command) on(v Event) Event {
	v.Who, v.Proved, v.Note = c.Who, c.Proved, c.Note
	return v
}
