package config

import (
	"slices"
	"strings"
	"time"

	"davy/drivers/tag"
	"davy/rules"
)

var priorities = []string{"low", "medium", "high", "critical"}

func (c *compiler) priority(n *node) (rules.Priority, bool) {
	s, ok := c.word(n, priorities...)
	return rules.Priority(slices.Index(priorities, s) + 1), ok
}

// tagNamed returns the tag that a node names; what is unknown is a problem.
func (c *compiler) tagNamed(n *node) *tagInfo {
	s, ok := c.plain(n)
	if !ok {
		return nil
	}
	if t := c.byName[tag.Name(s)]; t != nil {
		return t
	}
	dev, point, dotted := strings.Cut(s, ".")
	if d := c.deviceOf[dev]; d != nil && d.n.lost {
		n.lost = true
		return nil
	}
	if !dotted || c.guesses > maxGuesses {
		c.bad(n, "unknown-tag", "tag-form", "name", s)
		return nil
	}
	names := namesOf(c.tags[1:], func(t *tagInfo) string { return string(t.name) })()
	near := ""
	for _, t := range names { // the same device and a like point before another device
		if d, p, _ := strings.Cut(t, "."); d == dev && nearest(point, []string{p}) != "" {
			near = t
			break
		}
	}
	if near == "" {
		near = c.nearest(s, names)
	}
	switch {
	case c.lostName(s) || c.lostName(dev+":") || dotted && c.lostName(point+":") || c.templateLost(dev):
		n.lost = true
	case near != "":
		c.bad(n, "unknown-tag", "did-you-mean", "name", s, "want", near)
	default:
		c.bad(n, "unknown-tag", "tag-form", "name", s)
	}
	return nil
}

// templateLost reports whether a device has a template or tags that could not
// be read at all: which tags it has is not known then.
func (c *compiler) templateLost(name string) bool {
	d := c.deviceOf[name]
	if d == nil {
		return false
	}
	if d.val.lost || d.val.kind != section {
		return true
	}
	if t := d.val.get("template"); t != nil && (t.lost || c.papers[templatePath(t.text)] == nil || c.papers[templatePath(t.text)].root == nil) {
		return true
	}
	tags := d.val.get("tags")
	return tags != nil && (tags.lost || tags.kind != section)
}

// condition takes `nh3-1.gas >= 150 ppm` from the first of toks. states are
// the words that may stand for a value beside the built-in ones.
func (c *compiler) condition(toks []*node, whole *node, states map[string]float64, form string) (cond rules.Condition, t *tagInfo, rest []*node, ok bool) {
	if len(toks) < 3 {
		c.bad(whole, "bad-form", "write-form", "text", whole.text, "form", form)
		return cond, nil, nil, false
	}
	op, signed := opOf(toks[1].text)
	if !signed {
		c.bad(toks[1], "bad-form", "write-form", "text", toks[1].text, "form", form)
		return cond, nil, nil, false
	}
	t = c.tagNamed(toks[0])
	limit, rest, ok := c.limit(t, toks[2:], whole, states)
	if t == nil || !ok {
		return cond, t, rest, false
	}
	if !c.ordered(t, op, toks[1]) {
		return cond, t, rest, false
	}
	t.used = true
	return rules.Condition{Tag: t.id, Op: op, Limit: limit}, t, rest, true
}

// ordered refuses a comparison by order with what has none: states and texts.
func (c *compiler) ordered(t *tagInfo, op rules.Op, at *node) bool {
	if !t.unknownKind && t.stated() && op != rules.EQ && op != rules.NE {
		c.bad(at, "order-of-states", "order-of-states", "tag", string(t.name), "text", at.text)
		return false
	}
	return true
}

// limit takes a value of a tag from toks: a number with its unit, or the word
// of a state. It must be one that the tag can have.
func (c *compiler) limit(t *tagInfo, toks []*node, whole *node, states map[string]float64) (float64, []*node, bool) {
	if len(toks) == 0 {
		c.bad(whole, "number-missing", "", "text", whole.text)
		return 0, nil, false
	}
	if t != nil && !t.unknownKind && t.named && t.stated() {
		return c.nameOf(t, toks)
	}
	if numberLen(toks[0].text) == 0 {
		if v, ok := stateValue(toks[0].text, states, t); ok {
			if t != nil && !t.unknownKind && t.kind != tag.Bool && t.kind != tag.Int && t.kind != tag.Enum {
				c.bad(toks[0], "word-for-number", "", "text", toks[0].text, "tag", string(t.name))
				return 0, nil, false
			}
			return v, toks[1:], true
		}
	}
	v, rest, ok := c.number(toks, whole)
	if !ok {
		return 0, nil, false
	}
	u, at, rest := unit(rest)
	if t == nil || t.vague {
		return v, rest, true
	}
	v, ok = c.convert(t, v, u, at, false)
	return v, rest, ok && c.within(t, v, toks[0])
}

// stateValue is what a word means at a tag; states are an output's, which count
// where the tag itself has no such word: a proof looks at what moved, and not at
// what was written.
func stateValue(word string, states map[string]float64, t *tagInfo) (float64, bool) {
	if t != nil {
		if v, ok := t.states[word]; ok {
			return v, true
		}
	}
	if v, ok := builtIn[word]; ok && t != nil && !t.unknownKind && t.kind == tag.Bool {
		return v, true
	}
	if v, ok := states[word]; ok {
		return v, true
	}
	switch word {
	case "true", "yes":
		return 1, true
	case "false", "no":
		return 0, true
	}
	v, ok := builtIn[word]
	return v, ok
}

// sameUnit holds the unit of a story's value to that of its tag, in which the
// plant would deliver it; a bare number takes it.
func (c *compiler) sameUnit(t *tagInfo, u string, at *node) bool {
	want := c.plan.Tags[t.id].Unit
	if u == "" || u == want {
		return true
	}
	c.bad(at, "unit-differs", "unit-of-tag", "have", u, "want", shownUnit(want), "tag", string(t.name))
	return false
}

// within holds a limit to the range of its tag.
func (c *compiler) within(t *tagInfo, v float64, at *node) bool {
	x := c.plan.Tags[t.id]
	switch {
	case x.Kind == tag.Bool && !t.unknownKind && v != 0 && v != 1:
		c.bad(at, "limit-of-bool", "", "text", at.text, "tag", string(t.name))
		return false
	case x.Ranged && (v < x.Low || v > x.High):
		c.bad(at, "limit-outside-range", "limit-outside-range", "limit", v, "low", x.Low, "high", x.High, "unit", x.Unit, "tag", string(t.name))
		return false
	}
	return true
}

// notWatched reads `not_watched: {after: 10s, priority: high}`.
func (c *compiler) notWatched() {
	c.notAfter, c.notPrio = DefaultNotWatched, rules.High
	if len(c.top["not_watched"]) == 0 {
		return
	}
	f := c.read(c.top["not_watched"][0], "not_watched", form{{name: "after"}, {name: "priority"}})
	if n := f.get("after"); n != nil {
		if d, ok := c.span(n, time.Second, time.Hour); ok {
			c.notAfter = d
		}
	}
	if n := f.get("priority"); n != nil {
		if p, ok := c.priority(n); ok {
			c.notPrio = p
		}
	}
}

// notWatchedDelay is how long a tag is bad before that is an alarm: three of
// its scan periods, and at least what the site says.
// One that looks back is given that time, too: after a start it is not known
// before; that its inputs are not watched is said by their own alarms.
func (c *compiler) notWatchedDelay(t Tag) time.Duration {
	return max(3*t.Period, c.notAfter) + t.LookBack
}
