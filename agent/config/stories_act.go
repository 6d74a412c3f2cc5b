package config

import (
	"maps"
	"slices"
	"strings"

	"davy/agent/i18n"
	"davy/drivers/tag"
	"davy/rules"
	"davy/rules/ruletest"
)

// A verb of a story: what it acts on, and what must be written with it.
type storyVerb struct {
	verb  rules.Verb
	on    []actOn
	needs []string
}

type actOn uint8

const (
	onAlarm actOn = iota + 1
	onLock
	onDevice
	onTag
)

var storyVerbs = map[string]storyVerb{
	"ack":        {rules.Ack, []actOn{onAlarm, onLock}, nil}, // of an interlock it is refused, and a story may show that
	"reset":      {rules.Reset, []actOn{onAlarm, onLock}, nil},
	"shelve":     {rules.Shelve, []actOn{onAlarm, onLock}, []string{"for"}},
	"unshelve":   {rules.Unshelve, []actOn{onAlarm}, nil},
	"silence":    {rules.Silence, nil, nil},
	"remove":     {rules.Remove, []actOn{onAlarm, onDevice}, nil},
	"restore":    {rules.Restore, []actOn{onAlarm, onDevice}, nil},
	"bypass":     {rules.Bypass, []actOn{onLock}, []string{"channel", "for"}},
	"confirm":    {rules.Confirm, []actOn{onLock}, nil},
	"end-bypass": {rules.EndBypass, []actOn{onLock}, nil},
	"force":      {rules.Force, []actOn{onTag}, []string{"to", "for"}},
	"end-force":  {rules.EndForce, []actOn{onTag}, nil},
	"begin-test": {rules.BeginTest, []actOn{onDevice, onLock}, []string{"for"}},
	"end-test":   {rules.EndTest, []actOn{onDevice, onLock}, []string{"result"}},
}

var actForm = func() form {
	f := form{
		{name: "channel"},
		{name: "by", also: []string{"who", "person"}},
		{name: "roles", also: []string{"role"}},
		{name: "second"},
		{name: "for"},
		{name: "because", also: []string{"note", "reason"}},
		{name: "to", also: []string{"value"}},
		{name: "result"},
		{name: "refused"},
	}
	for _, v := range slices.Sorted(maps.Keys(storyVerbs)) {
		f = append(f, field{name: v})
	}
	return f
}()

const actText = "ack comp1-discharge.high | reset NH3-150 refused | {bypass: NH3-150, channel: nh3-1.gas, by: engineer, for: 2h, because: …}"

// dos reads acts: one or a list. An act is a line (`ack x`, `shelve x for 1h
// by operator`, `reset x refused`) or, where it says more, a section.
func (c *compiler) dos(n *node, st *ruletest.Step) {
	if n == nil || n.lost {
		return
	}
	items := []*node{n}
	if n.kind == list {
		items = n.items
	}
	for _, item := range items {
		if item.lost {
			continue
		}
		if item.kind == section {
			c.actSection(item, st)
		} else {
			c.actLine(item, st)
		}
	}
}

// actLine reads `VERB RULE [for D] [by PERSON] [refused [CODE]]`.
func (c *compiler) actLine(item *node, st *ruletest.Step) {
	if _, ok := c.plain(item); !ok {
		return
	}
	toks := c.lex(item)
	var v storyVerb
	known := false
	if len(toks) > 0 {
		v, known = storyVerbs[toks[0].text]
	}
	takesMore := slices.ContainsFunc(v.needs, func(x string) bool { return x != "for" }) // than a line can say
	if !known || takesMore || v.on != nil && len(toks) < 2 {
		c.bad(item, "bad-form", "write-form", "text", item.text, "form", actText)
		return
	}
	d := ruletest.Do{Verb: v.verb, Where: item.place.String()}
	verb, rest, ok := toks[0].text, toks[1:], true
	if v.on != nil {
		d.Rule, ok = rest[0].text, c.actsOn(rest[0], v)
		rest = rest[1:]
	}
	have := map[string]bool{}
	if starts(rest, "for") {
		have["for"] = true
		span, r, good := c.duration(rest[1:], item)
		if !good {
			return
		}
		d.For, rest = span, r
	}
	if starts(rest, "by") && len(rest) > 1 {
		d.By, d.Roles = rest[1].text, []string{rest[1].text}
		ok = c.name(rest[1]) && ok
		rest = rest[2:]
	}
	if starts(rest, "refused") {
		d.Refuse, rest = true, rest[1:]
		if len(rest) > 0 && c.refusal(rest[0]) {
			d.Code, rest = rest[0].text, rest[1:]
		}
	}
	if c.nothing(rest) && c.complete(item, verb, v, have) && ok {
		st.Do = append(st.Do, d)
	}
}

// actSection reads an act with everything a person can say. `second: ROLE` is
// the confirmation by another person, at once.
func (c *compiler) actSection(n *node, st *ruletest.Step) {
	f := c.read(n, "act", actForm)
	d := ruletest.Do{Where: n.place.String()}
	verb := ""
	for _, p := range n.pairs {
		if storyVerbs[p.key.text].verb == 0 {
			continue
		}
		if verb != "" {
			c.bad(p.key, "act-verbs", "", "verb", p.key.text, "other", verb)
			return
		}
		verb = p.key.text
	}
	if verb == "" {
		c.badOnce(n, "act-no-verb", "write-form", "form", actText)
		return
	}
	v := storyVerbs[verb]
	d.Verb = v.verb
	on := f.get(verb)
	if _, ok := c.plain(on); !ok {
		return
	}
	ok := true
	switch {
	case v.on != nil:
		d.Rule, ok = on.text, c.actsOn(on, v)
	case on.text != "all":
		c.notOneOf(on, on.text, []string{"all"})
		ok = false
	}
	have := map[string]bool{}
	for _, x := range []string{"channel", "for", "to", "result"} {
		have[x] = f.get(x) != nil
	}
	ok = c.complete(n, verb, v, have) && ok
	if at := f.get("channel"); at != nil {
		d.Channel, ok = at.text, c.channelOf(at, d.Rule) && ok
	}
	if at := f.get("for"); at != nil {
		var good bool
		d.For, good = c.span(at, 0, maxSpan)
		ok = ok && good
	}
	if at := f.get("because"); at != nil && c.isScalar(at) {
		d.Note = at.text
	}
	if at := f.get("to"); at != nil {
		ok = c.forcedTo(at, &d) && ok
	}
	if at := f.get("result"); at != nil {
		s, good := c.word(at, "passed", "failed", "aborted")
		d.Result = map[string]rules.Result{"passed": rules.Passed, "failed": rules.Failed, "aborted": rules.Aborted}[s]
		ok = ok && good
	}
	ok = c.actors(f, &d) && ok
	refused := f.get("refused")
	if s, good := c.plain(refused); refused != nil {
		switch {
		case !good:
			return
		case s == "yes":
			d.Refuse = true
		case c.refusal(refused):
			d.Refuse, d.Code = true, s
		default:
			c.bad(refused, "bad-form", "write-form", "text", s, "form", "yes | already-acked | …")
			return
		}
	}
	second := f.get("second")
	if second != nil && (d.Refuse || d.Verb != rules.Bypass) {
		c.bad(second, "act-second", "act-second", "verb", verb)
		return
	}
	if !ok {
		return
	}
	st.Do = append(st.Do, d)
	if second != nil {
		who, roles, good := c.actor(second)
		if good {
			st.Do = append(st.Do, ruletest.Do{Verb: rules.Confirm, Rule: d.Rule, By: who, Roles: roles, Where: second.place.String()})
		}
	}
}

// actors reads `by` and `roles`. Without roles a person has the one that they
// are called by.
func (c *compiler) actors(f fields, d *ruletest.Do) (ok bool) {
	ok = true
	if at := f.get("by"); at != nil {
		d.By, d.Roles, ok = c.actor(at)
	}
	at := f.get("roles")
	if at == nil {
		return ok
	}
	if !c.isList(at, "[engineer, shift-leader]") {
		return false
	}
	d.Roles = nil
	for _, item := range at.items {
		if _, good := c.plain(item); !good || !c.name(item) {
			return false
		}
		d.Roles = append(d.Roles, item.text)
	}
	return ok
}

func (c *compiler) actor(n *node) (who string, roles []string, ok bool) {
	if _, ok := c.plain(n); !ok || !c.name(n) {
		return "", nil, false
	}
	return n.text, []string{n.text}, true
}

// complete says what an act lacks.
func (c *compiler) complete(n *node, verb string, v storyVerb, have map[string]bool) bool {
	for _, x := range v.needs {
		if !have[x] && !c.lostNear(n, x) {
			c.badOnce(n, "act-needs", "write-form", "verb", verb, "field", x, "form", actText)
			return false
		}
	}
	for _, x := range []string{"channel", "for", "to", "result"} {
		if have[x] && !slices.Contains(v.needs, x) {
			c.badOnce(n, "act-field", "", "verb", verb, "field", x)
			return false
		}
	}
	return true
}

// refusal reports whether a node is the code of a refusal: whatever has words.
func (c *compiler) refusal(n *node) bool { return i18n.Has("refused." + n.text) }

// actsOn reports whether a node names what a verb acts on.
func (c *compiler) actsOn(n *node, v storyVerb) bool {
	if _, ok := c.plain(n); !ok {
		return false
	}
	name := n.text
	for _, on := range v.on {
		switch on {
		case onAlarm:
			if c.ruleKind[name] == alarmRule {
				return true
			}
		case onLock:
			if c.ruleKind[name] == lockRule {
				return true
			}
		case onDevice:
			if c.deviceOf[name] != nil {
				return true
			}
		case onTag:
			return c.tagNamed(n) != nil
		}
	}
	if base, _, dotted := strings.Cut(name, "."); c.vague[name] || dotted && c.taken[base] != nil && c.taken[base].lost {
		n.lost = true
		return false
	}
	c.unknown(n, "unknown-rule", name, c.ruleNames)
	return false
}

func (c *compiler) channelOf(n *node, lock string) bool {
	s, ok := c.plain(n)
	if !ok {
		return false
	}
	for i := range c.plan.Rules.Interlocks {
		l := &c.plan.Rules.Interlocks[i]
		if l.Name != lock {
			continue
		}
		names := make([]string, len(l.Channels))
		for k := range l.Channels {
			names[k] = l.Channels[k].Name
		}
		if slices.Contains(names, s) {
			return true
		}
		c.notOneOf(n, s, names)
	}
	return false
}

func (c *compiler) forcedTo(n *node, d *ruletest.Do) bool {
	t := c.byName[tag.Name(d.Rule)]
	if _, ok := c.plain(n); !ok || t == nil {
		return false
	}
	v, rest, ok := c.storyValue(t, c.lex(n), n)
	d.Value = v
	return ok && c.nothing(rest)
}
