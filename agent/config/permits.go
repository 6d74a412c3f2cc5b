package config

import (
	"slices"
	"strings"
	"time"

	"davy/agent/people"
	"davy/rules"
)

const (
	permitForm = "one channel, engineer and shift-leader, longest 8h"
	anyPerson  = "anybody"      // every proved person
	minPermit  = time.Minute    // of the longest time
	maxPermit  = 72 * time.Hour // likewise
)

// permit reads `engineer and shift-leader, longest 8h[, then alarm only]` from
// toks: who may begin, who must confirm it, and for how long at most. `no` is
// nobody.
func (c *compiler) permit(toks []*node, n *node, form string, most time.Duration) (p rules.Permit) {
	var ok bool
	if p.Roles, toks, ok = c.anyOf(toks, n, form); !ok {
		return rules.Permit{}
	}
	if starts(toks, "and") {
		if p.Second, toks, ok = c.anyOf(toks[1:], n, form); !ok {
			return rules.Permit{}
		}
		if p.Second == nil { // anybody, but somebody: the engine asks for a role
			p.Second = roleNames()
		}
	}
	if starts(toks, ",") {
		toks = toks[1:]
	}
	if toks, ok = c.expect(toks, n, form, "longest"); !ok {
		return rules.Permit{}
	}
	d, toks, ok := c.duration(toks, n)
	if !ok {
		return rules.Permit{}
	}
	if d < minPermit || d > most {
		c.bad(n, "out-of-bounds", "permit-length", "text", n.text, "low", spell(minPermit), "high", spell(most))
		return rules.Permit{}
	}
	p.AtMost = d
	if starts(toks, ",") {
		toks = toks[1:]
	}
	if starts(toks, "then", "alarm", "only") {
		p.AlarmOnly, toks = true, toks[3:]
	}
	c.nothing(toks)
	return p
}

// anyOf reads `engineer or shift-leader`, or `anybody`.
func (c *compiler) anyOf(toks []*node, n *node, form string) (roles []string, rest []*node, ok bool) {
	if starts(toks, anyPerson) {
		c.permitted(n, nil)
		return nil, toks[1:], true
	}
	var list []people.Role
	for {
		if len(toks) == 0 {
			c.bad(n, "bad-form", "write-form", "text", n.text, "form", form)
			return nil, nil, false
		}
		s, ok := c.word(toks[0], append(roleNames(), anyPerson)...)
		if !ok {
			return nil, nil, false
		}
		roles, list, toks = append(roles, s), append(list, people.Role(s)), toks[1:]
		if !starts(toks, "or") {
			break
		}
		toks = toks[1:]
	}
	c.permitted(n, list)
	return roles, toks, true
}

// bypass reads `bypass: one channel, engineer and shift-leader, longest 8h`.
func (c *compiler) bypass(n *node, x *rules.Interlock) {
	s, ok := c.plain(n)
	if !ok || s == "no" {
		return
	}
	toks, ok := c.expect(c.lex(n), n, permitForm, "one", "channel")
	if !ok {
		return
	}
	if starts(toks, ",") {
		toks = toks[1:]
	}
	x.Bypass = c.permit(toks, n, permitForm, maxPermit)
}

// arming reads `arm_when:` and `arm_due:`, the conditions that say when an
// interlock may trip at all and when it must be able to.
func (c *compiler) arming(f fields, x *rules.Interlock) {
	const form = "caster.length >= 500 mm"
	arm, due := f.get("arm_when"), f.get("arm_due")
	if arm != nil {
		x.Arm, _, _ = c.conditionOf(arm, x.Name+".arm", form)
	}
	if due == nil {
		return
	}
	if arm == nil {
		c.bad(due, "arm-due-alone", "arm-due-alone")
		return
	}
	const dueForm = "caster.running = yes for 10min"
	s, ok := c.plain(due)
	if !ok {
		return
	}
	at := strings.LastIndex(s, " for ")
	if at < 0 {
		c.bad(due, "bad-form", "write-form", "text", s, "form", dueForm)
		return
	}
	if x.ArmDue, _, ok = c.conditionOf(due.piece(0, at), x.Name+".arm-due", dueForm); !ok {
		return
	}
	span := due.piece(at+len(" for "), len(s))
	if d, rest, ok := c.duration(c.lex(span), span); ok && c.nothing(rest) && c.bounds(span, d, time.Second, maxDelay) {
		x.ArmWithin = d
	}
}

// escalations reads `escalate: [siren2]`: what is demanded when an output was
// not proved in time.
func (c *compiler) escalations() {
	for _, o := range c.outputs {
		if o.escalate == nil || !c.isList(o.escalate, "[siren2]") {
			continue
		}
		if !o.rule.Proved {
			c.bad(o.escalate, "escalate-unproved", "escalate-unproved", "output", o.plan.Name)
			continue
		}
		for _, n := range o.escalate.items {
			s, ok := c.plain(n)
			if !ok || !c.demandable(n, s) {
				continue
			}
			switch {
			case s == o.plan.Name || c.leadsTo(s, o.plan.Name, 0):
				c.bad(n, "escalate-circle", "", "output", s)
			case slices.Contains(o.rule.Escalate, s):
				c.bad(n, "demand-twice", "demand-twice", "output", s)
			default:
				o.rule.Escalate = append(o.rule.Escalate, s)
			}
		}
	}
}

// leadsTo reports whether an output's escalations reach another one.
func (c *compiler) leadsTo(from, to string, depth int) bool {
	o := c.outputOf[from]
	return o != nil && depth <= len(c.outputs) && slices.ContainsFunc(o.rule.Escalate, func(next string) bool {
		return next == to || c.leadsTo(next, to, depth+1)
	})
}
