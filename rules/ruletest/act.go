package ruletest

import (
	"errors"

	"davy/rules"
)

// do acts on the rule's present occurrence, and ends or confirms the bypass that
// is there, as a person who sees it would.
func (r *runner) do(d *Do) {
	c := rules.Command{
		Verb: d.Verb, Rule: d.Rule, Who: d.By, Proved: true, Note: d.Note,
		Roles: d.Roles, Channel: d.Channel, Value: d.Value, For: d.For, Result: d.Result,
	}
	if c.Who == "" {
		c.Who = person
	}
	c.Session = c.Who
	if a, ok := r.engine.Alarm(d.Rule); ok {
		c.Occurrence = a.Occurrence
	} else if l, ok := r.engine.Interlock(d.Rule, r.stamp(r.at)); ok {
		c.Occurrence = l.Occurrence
		if l.Bypass != nil && (d.Verb == rules.Confirm || d.Verb == rules.EndBypass) && c.Channel == "" {
			c.Channel = l.Bypass.Channel
		}
	} else if d.Verb == rules.Ack || d.Verb == rules.Reset {
		r.fail(d.Where, "unknown-act", "rule", d.Rule)
		return
	}
	err := rules.Do(r.engine, r.image, r.stamp(r.at), c, &r.out)
	var refused *rules.RefusedError
	switch {
	case err == nil:
		r.outcome()
		if d.Refuse {
			r.fail(d.Where, "not-refused", "rule", d.Rule)
		}
	case !errors.As(err, &refused):
		r.fail(d.Where, "rules", "error", err.Error())
	case !d.Refuse:
		args := []any{"rule", d.Rule, "reason", "refused." + refused.Code}
		for k, v := range refused.Args {
			if k != "rule" {
				args = append(args, k, v)
			}
		}
		r.fail(d.Where, "refused", args...)
	case d.Code != "" && d.Code != refused.Code:
		r.fail(d.Where, "refused-otherwise", "rule", d.Rule, "want", d.Code, "reason", "refused."+refused.Code)
	}
}
