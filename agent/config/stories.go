package config

import (
	"maps"
	"slices"
	"time"

	"davy/drivers/tag"
	"davy/rules/ruletest"
)

var (
	storyForm = form{{name: "name", must: true}, {name: "starts", also: []string{"start", "begins"}}, {name: "story", must: true, also: []string{"steps"}}}
	stepForm  = form{{name: "at", must: true}, {name: "set"}, {name: "do"}, {name: "expect"}}
)

// Limits of stories.
const (
	maxStories = 1000
	maxStory   = 366 * 24 * time.Hour // the longest a story lasts, as ruletest has it
)

func (c *compiler) compileStories() {
	c.namedRules()
	for _, n := range c.top["tests"] {
		if !c.isList(n, "- name: …") {
			continue
		}
		for _, item := range n.items {
			c.story(item)
		}
	}
	if len(c.plan.Stories) > maxStories {
		c.report(Problem{Place: Place{File: RulesFile}, Width: 1, Code: "too-many-stories", Args: makeArgs([]any{"limit", maxStories})})
	}
}

func (c *compiler) story(n *node) {
	f := c.read(n, "story", storyForm)
	s := ruletest.Story{Where: n.place.String()}
	before := len(c.problems)
	s.Name, _ = c.prose(f.get("name"))
	if n := f.get("starts"); n != nil {
		s.Start = c.storyStart(n)
	}
	steps := f.get("story")
	if !c.isList(steps, "- at: 0s") {
		return
	}
	last := time.Duration(0)
	for i, item := range steps.items {
		sf := c.read(item, "step", stepForm)
		st := ruletest.Step{Where: item.place.String()}
		if at := sf.get("at"); at != nil {
			if d, ok := c.span(at, 0, maxStory); ok {
				if d < last || d == last && i > 0 {
					c.bad(at, "step-order", "", "text", at.text, "before", spell(last))
				}
				st.At, last = d, d
			}
		}
		c.sets(sf.get("set"), &st)
		c.dos(sf.get("do"), &st)
		c.expects(sf.get("expect"), &st)
		s.Steps = append(s.Steps, st)
	}
	if len(c.problems) == before && !n.lostWithin() { // else what it expects may be what could not be read
		c.mustBeAbleToFail(f.get("name"), &s)
	}
	c.plan.Stories = append(c.plan.Stories, s)
}

// lostWithin reports whether anything of a node could not be read. The paper
// has bounded how deep that goes.
func (n *node) lostWithin() bool {
	return n.lost || slices.ContainsFunc(n.items, (*node).lostWithin) ||
		slices.ContainsFunc(n.pairs, func(p pair) bool { return p.key.lost || p.val.lostWithin() })
}

// qualities are the words for a quality in a story.
var qualities = map[string]tag.Quality{
	"bad":       tag.BadNoComm,
	"stale":     tag.BadStale,
	"sensor":    tag.BadSensor,
	"test":      tag.GoodQuality | tag.Test,
	"uncertain": tag.Quality(tag.Uncertain)<<30 | tag.Quality(tag.UncertainPlain)<<8,
	"forced":    tag.GoodQuality | tag.Forced,

	// What a detector says of itself, as its state word would be read (quality.go).
	"warm-up":     doubt(tag.Initial),
	"calibration": bad(tag.FunctionCheck, 0),
	"over-range":  tag.GoodQuality | tag.LimitHigh,
	"under-range": bad(tag.OutOfRange, tag.LimitLow),
}

// sets reads `{nh3-1.gas: 5 ppm, nh3-2.gas: bad, nh3-3.gas: ramp to 160 ppm by 60s}`.
func (c *compiler) sets(n *node, st *ruletest.Step) {
	if !c.isSection(n, "set") {
		return
	}
	for _, p := range n.pairs {
		t := c.tagNamed(p.key)
		set := ruletest.Set{Quality: tag.GoodQuality, Where: p.key.place.String()}
		if _, ok := c.plain(p.val); !ok {
			continue
		}
		toks := c.lex(p.val)
		const form = "5 ppm | bad | 160 ppm bad | ramp to 160 ppm by 60s"
		ok := len(toks) > 0
		switch {
		case !ok:
			c.bad(p.val, "bad-form", "write-form", "text", p.val.text, "form", form)
		case len(toks) == 1 && qualities[toks[0].text] != 0 && !(t != nil && t.isState(toks[0].text)):
			set.Quality = qualities[toks[0].text]
		case starts(toks, "ramp", "to"):
			ok = c.ramp(t, toks[2:], p.val, &set, st.At, form)
		default:
			ok = c.setValue(t, toks, p.val, &set)
		}
		if !ok || t == nil {
			continue
		}
		set.Tag = t.id
		st.Set = append(st.Set, set)
	}
}

// isState reports whether a tag has a state of this name: it goes before a quality's.
func (t *tagInfo) isState(name string) bool {
	_, ok := t.states[name]
	return ok
}

// storyValue takes a value of a tag; it may lie outside the tag's range, as
// the plant's may.
func (c *compiler) storyValue(t *tagInfo, toks []*node, whole *node) (tag.Value, []*node, bool) {
	if len(toks) == 0 {
		c.bad(whole, "number-missing", "", "text", whole.text)
		return tag.Value{}, nil, false
	}
	kind := tag.Float64
	if t != nil && !t.unknownKind {
		kind = t.kind
	}
	if t != nil && !t.unknownKind && t.named && t.stated() {
		v, rest, ok := c.nameOf(t, toks)
		if t.kind == tag.Text {
			return tag.TextValue(uint32(v)), rest, ok
		}
		return tag.EnumValue(int64(v)), rest, ok
	}
	var v float64
	rest := toks[1:]
	if numberLen(toks[0].text) == 0 {
		x, ok := stateValue(toks[0].text, nil, t)
		if !ok || kind == tag.Float32 || kind == tag.Float64 && t != nil && !t.unknownKind {
			c.bad(toks[0], "bad-number", "", "text", toks[0].text)
			return tag.Value{}, nil, false
		}
		v = x
	} else {
		x, r, ok := c.number(toks, whole)
		if !ok {
			return tag.Value{}, nil, false
		}
		u, at, r := unit(r)
		if t != nil && !t.vague && !c.sameUnit(t, u, at) {
			return tag.Value{}, nil, false
		}
		v, rest = x, r
	}
	switch kind {
	case tag.Bool:
		if v != 0 && v != 1 {
			c.bad(toks[0], "limit-of-bool", "", "text", toks[0].text, "tag", string(t.name))
			return tag.Value{}, nil, false
		}
		return tag.BoolValue(v == 1), rest, true
	case tag.Int, tag.Enum:
		if v != float64(int64(v)) {
			c.bad(toks[0], "bad-integer", "", "text", toks[0].text)
			return tag.Value{}, nil, false
		}
		if kind == tag.Enum {
			return tag.EnumValue(int64(v)), rest, true
		}
		return tag.IntValue(int64(v)), rest, true
	case tag.Float32:
		x, ok := tag.Float32Value(float32(v))
		if !ok {
			c.bad(toks[0], "bad-number", "", "text", toks[0].text)
		}
		return x, rest, ok
	}
	x, ok := tag.Float64Value(v)
	return x, rest, ok
}

func (c *compiler) setValue(t *tagInfo, toks []*node, whole *node, set *ruletest.Set) bool {
	v, rest, ok := c.storyValue(t, toks, whole)
	if !ok {
		return false
	}
	set.Value = v
	if len(rest) == 1 {
		if q, known := qualities[rest[0].text]; known {
			set.Quality, rest = q, nil
		}
	}
	return c.nothing(rest)
}

func (c *compiler) ramp(t *tagInfo, toks []*node, whole *node, set *ruletest.Set, at time.Duration, form string) bool {
	v, rest, ok := c.storyValue(t, toks, whole)
	if !ok {
		return false
	}
	if t != nil && t.stated() && !t.unknownKind {
		c.bad(whole, "ramp-of-states", "", "tag", string(t.name))
		return false
	}
	if t != nil && t.kind == tag.Bool && !t.unknownKind {
		c.bad(whole, "ramp-of-bool", "", "tag", string(t.name))
		return false
	}
	if rest, ok = c.expect(rest, whole, form, "by"); !ok {
		return false
	}
	d, rest, ok := c.duration(rest, whole)
	if !ok || !c.nothing(rest) {
		return false
	}
	if d <= at {
		c.bad(whole, "ramp-order", "", "by", spell(d), "at", spell(at))
		return false
	}
	set.Value, set.By = v, d
	return true
}

type ruleKind uint8

const (
	alarmRule ruleKind = iota + 1
	lockRule
)

// namedRules fills ruleKind: the names of rules that a story may speak of,
// also those of alarms that the engine makes by itself.
func (c *compiler) namedRules() {
	for _, a := range c.plan.Rules.Alarms {
		c.ruleKind[a.Name] = alarmRule
	}
	for _, x := range c.plan.Rules.Interlocks {
		c.ruleKind[x.Name] = lockRule
		if x.Discrepancy.Priority > 0 {
			c.ruleKind[x.Name+".discrepancy"] = alarmRule
		}
		for _, p := range x.Permissives {
			c.ruleKind[x.Name+"."+p.Name+".not-permitted"] = alarmRule
		}
		if x.ArmWithin > 0 {
			c.ruleKind[x.Name+".not-armed"] = alarmRule
		}
		if x.Bypass.AlarmOnly {
			c.ruleKind[x.Name+".bypass-overdue"] = alarmRule
		}
		if x.DegradedPriority > 0 {
			c.ruleKind[x.Name+".degraded"] = alarmRule
		}
		if x.DegradedAtMost > 0 {
			c.ruleKind[x.Name+".degraded-overdue"] = alarmRule
		}
	}
	for _, o := range c.outputs {
		if o.rule.Proved {
			c.ruleKind[o.plan.Name+".proof"] = alarmRule
		}
	}
}

func (c *compiler) ruleNames() []string {
	names := slices.Sorted(maps.Keys(c.ruleKind))
	return names[:min(len(names), maxNames)]
}
