package rules

import (
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

// on writes who gave the command into an event.
func (c *Command) on(v Event) Event {
	v.Who, v.Proved, v.Note = c.Who, c.Proved, c.Note
	return v
}
