package config

import (
	"slices"
	"strings"
	"time"

	"davy/drivers/tag"
	"davy/rules"
	"davy/rules/expr"
)

// The kinds of alarm on what is made of the watched tag: each becomes a
// computed tag "<alarm>.<kind>", which is recorded and shown as any other, and
// an alarm of that name on it.
//
//	rate:      {at: 5 °C/min, over: 1min, priority: high, text: …}   below 0: falling
//	deviation: {at: 3 °C, from: [t2.temp, t3.temp], …}               from the median, or from one tag
//	frozen:    {after: 30min, band: 0.1 °C, …}                       it has not moved by more than band
//	           {after: 8h, while_moves: [nh3-2.gas, nh3-3.gas], …}   … and at least one of these has
var (
	rateForm      = slices.Concat(limitForm, form{{name: "over", must: true, also: []string{"in", "within", "window"}}})
	deviationForm = slices.Concat(limitForm, form{{name: "from", must: true, also: []string{"of", "siblings", "setpoint"}}})
	frozenForm    = slices.Concat(limitForm[1:], form{{name: "after", must: true, also: []string{"for"}}, {name: "band", also: []string{"within"}}, {name: "while_moves", also: []string{"siblings", "while", "while-moves"}}})
)

// timeAlarms adds those of one entry and says how many are written.
func (c *compiler) timeAlarms(e *entry, shared rules.Alarm) (written int) {
	for _, k := range []struct {
		name string
		sort rules.Sort
		read func(n *node) fields
		text func(e *entry, f fields) (string, *node, bool)
	}{
		{"rate", rules.OfRate, func(n *node) fields { return c.read(n, "rate", rateForm) }, c.rateText},
		{"deviation", rules.OfDeviation, func(n *node) fields { return c.read(n, "deviation", deviationForm) }, c.deviationText},
		{"frozen", rules.OfFreeze, func(n *node) fields { return c.read(n, "frozen", frozenForm) }, c.frozenText},
	} {
		n := e.f.get(k.name)
		if n == nil {
			continue
		}
		written++
		name := e.name + "." + k.name
		if c.taken[name] == nil {
			c.taken[name] = n
		}
		f := k.read(n)
		text, at, ok := k.text(e, f)
		if e.t == nil || e.t.unknownKind || e.t.vague || !ok {
			c.vague[name] = true
			continue
		}
		made := c.madeOf(e, name, text, at)
		if made == nil {
			c.vague[name] = true
			continue
		}
		a, banded := shared, false
		a.Name, a.Sort, a.Deadband = name, k.sort, 0
		own := &entry{name: e.name, f: f, t: made}
		if !c.writtenLimit(own, f, nil, &a, &banded) {
			c.vague[name] = true
			continue
		}
		a.Cond = rules.Condition{Tag: made.id, Op: rules.EQ, Limit: 1}
		if k.sort != rules.OfFreeze {
			v, ok := c.writtenAt(made, n, f.get("at"), k.name)
			if !ok {
				c.vague[name] = true
				continue
			}
			if a.Cond = (rules.Condition{Tag: made.id, Op: rules.GE, Limit: v}); v < 0 && k.sort == rules.OfRate {
				a.Cond.Op = rules.LE
			}
		}
		e.t.used, made.used = true, true
		c.plan.Rules.Alarms = append(c.plan.Rules.Alarms, a)
	}
	return written
}

// madeOf adds the computed tag of an alarm; at is where to say what is wrong with it.
func (c *compiler) madeOf(e *entry, name, text string, at *node) *tagInfo {
	if before := c.byName[tag.Name(name)]; before != nil {
		c.bad(at, "name-taken", "", "name", name, "place", before.n.place.String())
		return nil
	}
	p, ok := c.expression(&node{text: text, place: at.place, width: at.width})
	if !ok {
		at.lost = true
		return nil
	}
	t := &tagInfo{n: at, name: tag.Name(name), link: -1, kind: tag.Float64, through: p.Type().Gas}
	x := Tag{Name: t.name, Text: rules.Text{Zh: text, En: text}, Kind: tag.Float64, Unit: p.Type().Unit.String(), Place: at.place, Record: Record{Every: DefaultRecord}}
	if p.Type().Kind == expr.Bool {
		t.kind, x.Kind = tag.Bool, tag.Bool
	}
	c.computedTag(t, x, p)
	return t
}

func (c *compiler) rateText(e *entry, f fields) (string, *node, bool) {
	n := f.get("over")
	if _, ok := c.span(n, expr.MinWindow, maxDelay); !ok {
		return "", n, false
	}
	return "rate(" + e.watched() + ", " + n.text + ")", n, true
}

func (c *compiler) deviationText(e *entry, f fields) (string, *node, bool) {
	n := f.get("from")
	if n == nil || n.lost {
		return "", n, false
	}
	names, ok := c.tagsOf(n)
	if !ok {
		return "", n, false
	}
	if len(names) == 1 {
		return "abs(" + e.watched() + " - " + names[0] + ")", n, true
	}
	return "abs(" + e.watched() + " - median(" + e.watched() + ", " + strings.Join(names, ", ") + "))", n, true
}

// tagsOf reads the name of a tag, or a list of them.
func (c *compiler) tagsOf(n *node) (names []string, ok bool) {
	items := []*node{n}
	if n.kind == list {
		items = n.items
	}
	if len(items) == 0 || len(items) >= expr.MaxArgs {
		c.bad(n, "too-many", "", "what", key("tags"), "limit", expr.MaxArgs-1)
		return nil, false
	}
	for _, x := range items {
		t := c.tagNamed(x)
		if t == nil || t.unknownKind {
			return nil, false
		}
		t.used = true
		names = append(names, string(t.name))
	}
	return names, true
}

func (c *compiler) frozenText(e *entry, f fields) (string, *node, bool) {
	n := f.get("after")
	if _, ok := c.span(n, minFrozen, maxDelay); !ok {
		return "", n, false
	}
	after, band := n.text, ""
	if b := f.get("band"); b != nil {
		s, plain := c.plain(b)
		if !plain {
			return "", n, false
		}
		n, band = b, ", "+s
	}
	stuck := func(name string) string { return "stuck(" + name + ", " + after + band + ")" }
	others := f.get("while_moves")
	if others == nil {
		return stuck(e.watched()), n, true
	}
	names, ok := c.tagsOf(others)
	if !ok {
		return "", others, false
	}
	for i := range names {
		names[i] = "not " + stuck(names[i])
	}
	return stuck(e.watched()) + " and (" + strings.Join(names, " or ") + ")", others, true
}

// minFrozen is the shortest time without change that means anything.
const minFrozen = 10 * time.Second

func (e *entry) watched() string {
	if e.t == nil {
		return ""
	}
	return string(e.t.name)
}
