package rules

import (
	"maps"

	"davy/drivers/tag"
)

// Do is a Step and then a person's command. A command that is refused
// (*RefusedError) changes nothing, and out is empty but for Next: what the
// step brought comes with the next Step or accepted command.
func (e *Engine) Do(in *Input, c Command, out *Outcome) error {
	e.step(in)
	if err := e.told(c, out); err != nil {
		return err
	}
	e.finish(out)
	return nil
}

// told carries a command out, between a step and finish.
func (e *Engine) told(c Command, out *Outcome) error {
	if err := e.do(c, e.now); err != nil {
		e.kept = true
		*out = Outcome{}
		_, out.Next = e.timers.first()
		return err
	}
	for !e.advance(&Input{}, e.now) { // what the command changed
	}
	return nil
}

func (e *Engine) do(c Command, now tag.Stamp) error {
	refused := func(code string) *RefusedError {
		return &RefusedError{Code: code, Rule: c.Rule, Args: map[string]any{"rule": c.Rule}}
	}
	if len(c.Note) > MaxNote {
		return refused("note-too-long")
	}
	f, known := e.named(c.Rule)
	i := f.index()
	code, args, mine := e.doPoint(&c, now)
	switch {
	case mine:
	case c.Verb == Silence:
		code = e.silence(&c, now)
	case !known:
		code = "unknown-rule"
	case c.Verb.ofBypass() && f.kind() != refInterlock:
		code = "not-interlock"
	case c.Verb.ofBypass():
		code, args = e.lockCommand(i, c, now)
	case f.kind() == refAlarm:
		code, args = e.doAlarm(i, &c, now)
	case c.Verb == Ack || c.Verb == Shelve || c.Verb == Unshelve:
		code = "not-alarm"
	case c.Verb != Reset:
		code = "unknown-rule"
	case c.Occurrence == 0 || c.Occurrence != e.interlocks[i].occurrence:
		code = "wrong-occurrence"
	default:
		code, args = e.resetTrip(i, c, now)
	}
	if code == "" {
		return nil
	}
	err := refused(code)
	maps.Copy(err.Args, args)
	return err
}

// on writes who gave the command into an event.
func (c *Command) on(v Event) Event {
	v.Who, v.Proved, v.Note = c.Who, c.Proved, c.Note
	return v
}
