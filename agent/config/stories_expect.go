package config

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	"davy/drivers/tag"
	"davy/rules"
	"davy/rules/ruletest"
)

// The endings of keys that ask more of a rule than its state.
const (
	firstOutKey = "first_out"
	votesKey    = "votes"
	raisedKey   = "raised"
)

// expects reads `{NH3-150: tripped, first_out: nh3-1.gas, votes: …, fan1: run}`.
func (c *compiler) expects(n *node, st *ruletest.Step) {
	if !c.isSection(n, "expect") {
		return
	}
	for _, p := range n.pairs {
		want, ok := c.plain(p.val)
		if !ok || p.key.lost {
			continue
		}
		x := ruletest.Expect{Key: p.key.text, Want: strings.Join(strings.Fields(want), " "), Where: p.key.place.String()}
		if c.wanted(p, &x) {
			st.Expect = append(st.Expect, x)
		}
	}
}

// wanted checks the words of one expectation and fills what it wants of a tag.
func (c *compiler) wanted(p pair, x *ruletest.Expect) bool {
	k := p.key.text
	if k == firstOutKey || k == votesKey {
		return true
	}
	if o := c.outputOf[k]; o != nil {
		if o.plan.IdleName != "" && o.plan.ProtectiveName != "" && x.Want != o.plan.IdleName && x.Want != o.plan.ProtectiveName {
			c.notOneOf(p.val, x.Want, []string{o.plan.IdleName, o.plan.ProtectiveName})
		}
		return true
	}
	if states, marks := c.wordsOf(k); states != nil {
		if !ruletest.IsWant(x.Want, states, marks) {
			first, _, _ := strings.Cut(x.Want, " ")
			if slices.Contains(states, first) {
				states = marks
			}
			c.notOneOf(p.val, x.Want, states)
		}
		return true
	}
	if t := c.byName[tag.Name(k)]; t != nil {
		return c.wantedOfTag(t, p.val, x)
	}
	if i := strings.LastIndexByte(k, '.'); i > 0 {
		rule, what := k[:i], k[i+1:]
		switch {
		case what == raisedKey && c.ruleKind[rule] != 0:
			_, ok := c.integer(p.val, 0, math.MaxInt32)
			return ok
		case (what == firstOutKey || what == votesKey) && c.ruleKind[rule] == lockRule:
			return true
		}
	}
	c.unknownExpectation(p.key)
	return false
}

func (c *compiler) wordsOf(rule string) (states, marks []string) {
	switch c.ruleKind[rule] {
	case alarmRule:
		return ruletest.AlarmWords()
	case lockRule:
		return ruletest.LockWords()
	}
	return nil, nil
}

// exactly is how far a value may lie from the one that is expected, as a part
// of it: what the decimals of a file and of a 32-bit number differ by.
const exactly = 1e-6

// wantedOfTag reads `12.5 ppm`, `12 to 13 ppm`, `bad` and `12.5 ppm uncertain`.
func (c *compiler) wantedOfTag(t *tagInfo, n *node, x *ruletest.Expect) bool {
	w := &x.Tag
	toks := c.lex(n)
	if len(toks) == 0 {
		c.bad(n, "number-missing", "", "text", n.text)
		return false
	}
	words := ruletest.QualityWords()
	if len(toks) == 1 && slices.Contains(words, toks[0].text) {
		w.Tag, w.Quality = t.id, toks[0].text
		return true
	}
	low, ranged := math.NaN(), false
	if len(toks) > 2 && toks[1].text == "to" && numberLen(toks[0].text) == len(toks[0].text) {
		v, _, ok := c.number(toks[:1], n)
		if !ok {
			return false
		}
		low, ranged, toks = v, true, toks[2:]
	}
	v, rest, ok := c.storyValue(t, toks, n)
	if !ok {
		return false
	}
	w.Low, w.High = v.Float(), v.Float()
	if k := v.Kind(); k == tag.Float32 || k == tag.Float64 {
		within := exactly * math.Abs(w.High)
		w.Low, w.High = w.Low-within, w.High+within
	}
	if ranged {
		w.Low = low
	}
	if len(rest) == 1 && slices.Contains(words, rest[0].text) {
		w.Quality, rest = rest[0].text, nil
	}
	if !c.nothing(rest) {
		return false
	}
	if w.Low > w.High {
		c.bad(n, "bad-form", "write-form", "text", n.text, "form", "12 to 13 ppm")
		return false
	}
	w.Tag, w.Valued = t.id, true
	return true
}

func (c *compiler) unknownExpectation(n *node) {
	base, _, dotted := strings.Cut(n.text, ".")
	if c.vague[n.text] || dotted && c.taken[base] != nil && c.taken[base].lost {
		return
	}
	if d := c.deviceOf[base]; d != nil && d.n.lost {
		return
	}
	outputs := namesOf(c.outputs, func(o *output) string { return o.plan.Name })
	c.unknown(n, "unknown-expectation", n.text, func() []string { return append(c.ruleNames(), outputs()...) })
}

// mustBeAbleToFail refuses a story that holds whatever the rules are: it
// neither acts nor expects, or it expects only what is so before anything that
// the rule looks at was ever read. That is, an alarm whose tag the story has
// not set is normal; before the start is over an interlock of which a channel
// has not been set is starting; and while all are there is no trip and no
// demand. A tag that is not of a device may hang on anything and counts as set.
func (c *compiler) mustBeAbleToFail(at *node, s *ruletest.Story) {
	if at == nil || at.lost || len(s.Steps) == 0 {
		return
	}
	set := map[tag.ID]bool{}
	expects := 0
	for i := range s.Steps {
		st := &s.Steps[i]
		for k := range st.Set {
			set[st.Set[k].Tag] = true
		}
		if len(st.Do) > 0 {
			return
		}
		for k := range st.Expect {
			if !c.given(&st.Expect[k], st.At, set) {
				return
			}
			expects++
		}
	}
	if expects == 0 {
		c.badOnce(at, "story-without-expect", "story-without-expect")
		return
	}
	c.badOnce(at, "story-never-fails", "story-never-fails")
}

// given reports whether an expectation holds in any plant, with any limits.
func (c *compiler) given(x *ruletest.Expect, at time.Duration, set map[tag.ID]bool) bool {
	untouched := func(id tag.ID) bool {
		return int(id) < len(c.tags) && c.tags[id] != nil && c.tags[id].device != nil && !set[id]
	}
	early := at < cmp.Or(c.plan.Rules.Settle, rules.DefaultSettle)
	starting := func(l *rules.Interlock) bool {
		return early && slices.ContainsFunc(l.Channels, func(ch rules.Channel) bool { return untouched(ch.Cond.Tag) })
	}
	if x.Tag.Tag != 0 {
		return false
	}
	rule := strings.TrimSuffix(x.Key, "."+raisedKey)
	for i := range c.plan.Rules.Alarms {
		if a := &c.plan.Rules.Alarms[i]; a.Name == rule {
			plain := a.Suppress.Tag == 0 && len(a.Modes) == 0 && c.standsFree(a.Under, set)
			return ruletest.AtRest(x.Want) && plain && untouched(a.Cond.Tag) && (early || !a.NotWatched)
		}
	}
	for i := range c.plan.Rules.Interlocks {
		if l := &c.plan.Rules.Interlocks[i]; l.Name == rule {
			return ruletest.AtRest(x.Want) && starting(l)
		}
	}
	for i := range c.plan.Rules.Interlocks {
		if !starting(&c.plan.Rules.Interlocks[i]) {
			return false
		}
	}
	if o := c.outputOf[x.Key]; o != nil {
		return early && x.Want == o.plan.IdleName
	}
	return early && ruletest.AtRest(x.Want)
}

// standsFree reports whether the story leaves the alarm alone that another
// stands under, so that it cannot be raised; "" is none.
func (c *compiler) standsFree(under string, set map[tag.ID]bool) bool {
	if under == "" {
		return true
	}
	i := slices.IndexFunc(c.plan.Rules.Alarms, func(a rules.Alarm) bool { return a.Name == under })
	return i >= 0 && !set[c.plan.Rules.Alarms[i].Cond.Tag] && c.plan.Rules.Alarms[i].Agent
}
