package config

import (
	"math"
	"slices"
	"strconv"
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
	return v, rest, c.sameUnit(t, u, at) && c.within(t, v, toks[0])
}

func stateValue(word string, states map[string]float64, t *tagInfo) (float64, bool) {
	if v, ok := states[word]; ok {
		return v, true
	}
	if t != nil {
		if v, ok := t.states[word]; ok {
			return v, true
		}
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

// sameUnit holds the unit of a limit to that of its tag; a bare number takes it.
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
		c.bad(at, "limit-outside-range", "", "limit", v, "low", x.Low, "high", x.High, "unit", x.Unit, "tag", string(t.name))
		return false
	}
	return true
}

var alarmForm = form{
	{name: "watch", must: true, also: []string{"tag", "at"}},
	{name: "high", also: []string{"h", "hi"}},
	{name: "high-high", also: []string{"hh", "hihi", "high_high", "highhigh"}},
	{name: "low", also: []string{"l", "lo"}},
	{name: "low-low", also: []string{"ll", "lolo", "low_low", "lowlow"}},
	{name: "is"},
	{name: "deadband", also: []string{"hysteresis", "dead_band"}},
	{name: "raise_after", also: []string{"raise-after", "delay", "on_delay", "on-delay"}},
	{name: "clear_after", also: []string{"clear-after", "off_delay", "off-delay"}},
	{name: "latch"},
	{name: "profile", later: "profile"},
	{name: "approved", later: "approved"},
	{name: "rate", later: "rate"},
	{name: "deviation", later: "rate"},
	{name: "frozen", later: "rate"},
	{name: "suppress", later: "suppress"},
	{name: "shelve", later: "suppress"},
}

var limitForm = form{
	{name: "at", must: true, also: []string{"limit", "value"}},
	{name: "priority", must: true},
	{name: "text", must: true},
	{name: "deadband", later: "limit-deadband"},
	{name: "raise_after", later: "limit-deadband"},
}

// limitKinds in rising order of the value; is is a state.
var limitKinds = []struct {
	name string
	op   rules.Op
}{{"low-low", rules.LE}, {"low", rules.LE}, {"high", rules.GE}, {"high-high", rules.GE}, {"is", rules.EQ}}

func (c *compiler) compileAlarms() {
	for _, p := range c.named("alarms", "alarms") {
		c.claim(p.key)
		c.alarm(p)
	}
}

// maxDelay is the longest delay of a rule.
const maxDelay = 24 * time.Hour

// alarm makes one alarm for each limit that is written.
func (c *compiler) alarm(p pair) {
	f := c.read(p.val, "alarm", alarmForm)
	t := c.tagNamed(f.get("watch"))
	var shared rules.Alarm
	if n := f.get("raise_after"); n != nil {
		shared.OnDelay, _ = c.span(n, 0, maxDelay)
	}
	if n := f.get("clear_after"); n != nil {
		shared.OffDelay, _ = c.span(n, 0, maxDelay)
	}
	shared.Latch = c.yes(f.get("latch"), false)
	shared.Deadband = c.deadband(t, f.get("deadband"))
	last, lastName, limits := math.Inf(-1), "", 0
	for _, k := range limitKinds {
		n := f.get(k.name)
		if n == nil {
			continue
		}
		limits++
		a := shared
		a.Name = p.key.text + "." + k.name
		if c.taken[a.Name] == nil {
			c.taken[a.Name] = p.key
		}
		v, at, ok := c.alarmLimit(t, n, k.name, &a)
		if !ok || t == nil {
			c.vague[a.Name] = true
			continue
		}
		if k.op == rules.EQ {
			a.Deadband = 0
		} else {
			if v <= last {
				c.bad(at, "limit-order", "", "first", lastName, "second", k.name)
			}
			last, lastName = v, k.name
		}
		t.used = true
		a.Cond = rules.Condition{Tag: t.id, Op: k.op, Limit: v}
		c.plan.Rules.Alarms = append(c.plan.Rules.Alarms, a)
	}
	if limits == 0 && p.val.kind == section && f.get("profile") == nil && f.get("rate") == nil && !p.val.lost && !c.lostNear(p.val, ":") {
		c.badOnce(p.key, "alarm-no-limit", "alarm-no-limit", "name", p.key.text)
	}
}

func (c *compiler) alarmLimit(t *tagInfo, n *node, kind string, a *rules.Alarm) (v float64, at *node, ok bool) {
	f := c.read(n, "limit", limitForm)
	var ok1, ok2 bool
	a.Priority, ok1 = c.priority(f.get("priority"))
	a.Text, ok2 = c.prose(f.get("text"))
	at = f.get("at")
	if _, ok := c.plain(at); !ok {
		return 0, at, false
	}
	v, rest, ok := c.limit(t, c.lex(at), at, nil)
	if ok {
		ok = c.nothing(rest)
	}
	if ok && t != nil && !t.unknownKind && kind != "is" && t.kind == tag.Bool {
		c.bad(n, "limit-of-bool", "limit-of-bool", "text", at.text, "tag", string(t.name))
		ok = false
	}
	if ok && t != nil && !t.unknownKind && kind != "is" && t.stated() {
		c.bad(n, "limit-of-states", "limit-of-bool", "text", at.text, "tag", string(t.name))
		ok = false
	}
	return v, at, ok && ok1 && ok2
}

// deadband reads `deadband: 2 °C`, in the tag's unit, smaller than its range.
func (c *compiler) deadband(t *tagInfo, n *node) float64 {
	if _, ok := c.plain(n); !ok {
		return 0
	}
	v, rest, ok := c.number(c.lex(n), n)
	if !ok {
		return 0
	}
	u, at, rest := unit(rest)
	if !c.nothing(rest) || t == nil || t.vague {
		return 0
	}
	x := c.plan.Tags[t.id]
	switch {
	case !c.sameUnit(t, u, at):
	case v < 0:
		c.bad(n, "out-of-bounds", "", "text", n.text, "low", 0, "high", high(x))
	case x.Ranged && v >= x.High-x.Low:
		c.bad(n, "deadband-too-big", "", "text", n.text, "span", strconv.FormatFloat(x.High-x.Low, 'g', -1, 64), "unit", x.Unit)
	default:
		return v
	}
	return 0
}

func high(t Tag) any {
	if t.Ranged {
		return t.High - t.Low
	}
	return "…"
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
func (c *compiler) notWatchedDelay(t Tag) time.Duration { return max(3*t.Period, c.notAfter) }
