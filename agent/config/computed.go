package config

import (
	"maps"
	"slices"
	"strings"
	"time"

	"davy/drivers/tag"
	"davy/rules"
	"davy/rules/expr"
	units "davy/rules/unit"
)

// A formula is a computed tag while it is compiled: it may look at one that
// stands below it.
type formula struct {
	p    pair
	of   *formula // which makes this one beside itself; nil it is its own
	info *tagInfo // nil: it could not be read
	busy bool     // it is being compiled: who asks for it now goes in a circle
	done bool
}

var computedForm = form{
	{name: "value", must: true, also: []string{"formula", "expression", "expr", "is"}},
	{name: "range", also: []string{"limits", "span"}},
	{name: "unit", also: []string{"units", "eu"}},
	{name: "text", also: []string{"name", "description"}},
	{name: "record", also: []string{"log", "history"}},
}

// compileComputed reads `computed: {room.nh3: {value: max(nh3-1.gas, nh3-2.gas)}}`.
func (c *compiler) compileComputed() {
	c.formulas = map[string]*formula{}
	var all []*formula
	for _, n := range c.top["computed"] {
		if !c.isSection(n, "computed") {
			continue
		}
		for _, p := range n.pairs {
			if !c.dotted(p.key) {
				continue
			}
			if before := c.byName[tag.Name(p.key.text)]; before != nil {
				c.bad(p.key, "name-taken", "", "name", p.key.text, "place", before.n.place.String())
				continue
			}
			if before := c.formulas[p.key.text]; before != nil {
				c.bad(p.key, "name-taken", "", "name", p.key.text, "place", before.p.key.place.String())
				continue
			}
			x := &formula{p: p}
			c.formulas[p.key.text] = x
			all = append(all, x)
			if e := exposureOf(p.val); e != nil {
				for _, k := range e.tags[1:] {
					c.besides(x, p.key.text+k.suffix)
				}
			}
		}
	}
	for _, x := range all {
		c.formula(x)
	}
}

// besides keeps the name of a tag that a formula makes beside its own.
func (c *compiler) besides(x *formula, name string) {
	before := ""
	if y := c.formulas[name]; y != nil {
		before = y.p.key.place.String()
	} else if t := c.byName[tag.Name(name)]; t != nil {
		before = t.n.place.String()
	}
	if before != "" {
		c.bad(x.p.key, "name-taken", "", "name", name, "place", before)
		return
	}
	c.formulas[name] = &formula{p: x.p, of: x}
}

// dotted reports whether the name of a computed tag is one: a name, or two with
// a dot between them as other tags have.
func (c *compiler) dotted(n *node) bool {
	if n.lost {
		return false
	}
	first, second, cut := strings.Cut(n.text, ".")
	if !cut {
		return c.name(n)
	}
	return c.name(n.piece(0, len(first))) && c.name(n.piece(len(n.text)-len(second), len(n.text)))
}

// formula compiles a computed tag, once.
func (c *compiler) formula(x *formula) {
	if x.of != nil {
		x = x.of
	}
	if x.done || x.busy && x.info != nil { // its own values look at its first
		return
	}
	if x.busy {
		c.bad(x.p.key, "computed-circle", "computed-circle", "name", x.p.key.text)
		return
	}
	x.busy = true
	defer func() { x.busy, x.done = false, true }()
	if exposureOf(x.p.val) != nil {
		if !x.p.key.lost { // a name of its own is taken, and that was said
			c.exposure(x)
		}
		return
	}
	f := c.read(x.p.val, "computed", computedForm)
	info := &tagInfo{n: x.p.key, name: tag.Name(x.p.key.text), link: -1, composed: true}
	t := Tag{Name: info.name, Place: x.p.key.place, Link: -1}
	program, ok := c.expression(f.get("value"))
	if ok {
		t.Kind = tag.Float64
		switch program.Type().Kind {
		case expr.Bool:
			t.Kind = tag.Bool
		case expr.Number:
			t.Unit, info.through = program.Type().Unit.String(), program.Type().Gas
		default:
			c.bad(f.get("value"), "computed-text", "computed-text")
			ok = false
		}
	}
	own := t
	own.Unit = ""
	c.rangeOf(f, &own)
	if ok && own.Unit != "" && own.Unit != t.Unit {
		have, err := units.Parse(own.Unit)
		if is := program.Type().Unit; err != nil || t.Unit != "" && have != is {
			n := f.get("unit")
			if n == nil {
				n = f.get("range")
			}
			c.bad(n, "computed-unit", "computed-unit", "have", own.Unit, "want", shownUnit(t.Unit))
			ok = false
		}
		t.Unit = own.Unit // of a number without one it is the author's word
	}
	t.Ranged, t.Low, t.High = own.Ranged, own.Low, own.High
	if n := f.get("text"); n != nil {
		t.Text, _ = c.prose(n)
	}
	c.recordOf(f.get("record"), &t)
	if !ok || x.p.key.lost {
		info.unknownKind, info.vague = true, true
	}
	info.kind = t.Kind
	c.computedTag(info, t, program)
	x.info = info
}

// computedTag adds a tag that the engine makes; program is nil where it could
// not be read.
func (c *compiler) computedTag(info *tagInfo, t Tag, program *expr.Program) {
	if program != nil {
		t.LookBack, info.blind = program.LookBack(), program.Blind()
		c.windows += program.Windows()
		c.shiftValues += program.Shifts()
		inner := time.Duration(0)
		for _, id := range program.Inputs() {
			if id == c.plan.Conditions[clockInDoubt] {
				continue // it says when, not what
			}
			from := &c.plan.Tags[id]
			inner = max(inner, c.tags[id].blind)
			t.Period = max(t.Period, from.Period)
			if len(from.Of) == 0 {
				t.Of = append(t.Of, id)
			} else {
				t.Of, t.LookBack = append(t.Of, from.Of...), t.LookBack+from.LookBack
			}
		}
		info.blind += inner
		slices.Sort(t.Of)
		t.Of = slices.Compact(t.Of)
	}
	c.addTag(info, t)
	if program != nil {
		c.plan.Rules.Computed = append(c.plan.Rules.Computed, rules.Computed{Tag: info.id, Program: program})
	}
}

// expression reads a node in the language of package expr.
func (c *compiler) expression(n *node) (p *expr.Program, ok bool) {
	s, ok := c.plain(n)
	if !ok {
		return nil, false
	}
	lost := false // what it looks at was named as wrong already
	p, problems := expr.Compile(s, &expr.Env{
		Shifts: c.shifts, ClockInDoubt: c.plan.Conditions[clockInDoubt],
		Names: namesOf(c.tags[1:], func(t *tagInfo) string { return string(t.name) }),
		Tag: func(name string) (expr.Tag, bool) {
			if x := c.formulas[name]; x != nil {
				c.formula(x)
				lost = lost || x.p.key.lost || x.info == nil
			}
			t := c.byName[tag.Name(name)]
			if t == nil {
				dev, _, _ := strings.Cut(name, ".")
				lost = lost || c.lostName(name) || c.lostName(dev+":") || c.templateLost(dev)
				return expr.Tag{}, false
			}
			lost = lost || t.unknownKind || t.vague
			t.used = true
			return c.exprTag(t), true
		},
	})
	if lost {
		n.lost = true
		return nil, false
	}
	for _, x := range problems {
		at := n.piece(min(x.Offset, len(s)), min(x.Offset+x.Width, len(s)))
		c.report(Problem{Place: at.place, Width: at.width, Code: x.Code, Hint: x.Hint, Args: x.Args})
	}
	if len(problems) > 0 {
		n.lost = true
	}
	return p, len(problems) == 0
}

// exprTag is a tag as an expression sees it.
func (c *compiler) exprTag(t *tagInfo) expr.Tag {
	x := expr.Tag{ID: t.id, Kind: expr.Number, Gas: t.gas.of(), States: t.states}
	switch {
	case t.kind == tag.Bool:
		x.Kind, x.States = expr.Bool, maps.Clone(builtIn)
		x.States["yes"], x.States["no"] = 1, 0
		maps.Copy(x.States, t.states)
	case t.stated():
		x.Kind = expr.Text
	default:
		x.Unit, _ = units.Parse(c.plan.Tags[t.id].Unit)
		if t.gas == nil {
			x.Gas = t.through
		}
	}
	return x
}

// conditionOf takes a condition in any form: one comparison of one tag, or an
// expression, which becomes a computed tag of its own under the name given.
// t is the tag that the condition looks at.
func (c *compiler) conditionOf(n *node, name, form string) (cond rules.Condition, t *tagInfo, ok bool) {
	if _, ok := c.plain(n); !ok {
		return cond, nil, false
	}
	if !composed(n.text) {
		cond, t, rest, ok := c.condition(c.lex(n), n, nil, form)
		return cond, t, ok && c.nothing(rest)
	}
	p, ok := c.expression(n)
	if !ok {
		return cond, nil, false
	}
	if p.Type().Kind != expr.Bool {
		c.bad(n, "not-a-condition", "write-form", "text", n.text, "form", form)
		return cond, nil, false
	}
	if id, sign, limit, simple := p.Compares(); simple {
		if op, known := opOf(sign); known {
			t = c.tags[id]
			return rules.Condition{Tag: id, Op: op, Limit: limit}, t, c.within(t, limit, n)
		}
	}
	if before := c.byName[tag.Name(name)]; before != nil {
		c.bad(n, "name-taken", "", "name", name, "place", before.n.place.String())
		return cond, nil, false
	}
	t = &tagInfo{n: n, name: tag.Name(name), link: -1, kind: tag.Bool, used: true}
	words := rules.Text{Zh: n.text, En: n.text}
	c.computedTag(t, Tag{Name: t.name, Text: words, Kind: tag.Bool, Place: n.place, Record: Record{Every: DefaultRecord}}, p)
	return rules.Condition{Tag: t.id, Op: rules.EQ, Limit: 1}, t, true
}

// composed reports whether a condition is more than one comparison of one tag
// with a constant, by its first look: the language of expressions is for those.
func composed(s string) bool {
	if strings.ContainsAny(s, "()&|") {
		return true
	}
	words := strings.Fields(s)
	return slices.ContainsFunc(words, func(w string) bool {
		return slices.Contains([]string{"and", "or", "not", "+", "-", "*", "/"}, w)
	})
}
