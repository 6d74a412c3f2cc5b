package config

import (
	"slices"
	"time"

	"davy/agent/i18n"
	"davy/drivers/tag"
	"davy/rules"
)

// A Condition is one of the agent's own conditions: a boolean tag that control
// sets, and the alarm that watches it.
type Condition struct {
	Code     string // "record.stopped"; with %s for what it is of: "link.%s.silent"
	Of       Subject
	Priority rules.Priority
	OnDelay  time.Duration // it stands this long before it is an alarm
}

// Subject is what a condition is of.
type Subject uint8

// The subjects: the agent itself, or each link, output or uplink of the plan.
const (
	OfAgent Subject = iota
	OfLink
	OfOutput
	OfUplink
)

// Conditions is the fixed list of the agent's own conditions. The words are
// agent/i18n's "condition.<code>", for a subject with {name} and a star in
// the code ("condition.link.*.silent").
var Conditions = []Condition{
	{"record.stopped", OfAgent, rules.High, 10 * time.Second},
	{"record.lost", OfAgent, rules.High, 0},
	{"latch.failed", OfAgent, rules.Critical, 0},
	{"latch.lost", OfAgent, rules.Critical, 0},
	{"plan.differs", OfAgent, rules.Low, 0},
	{"plan.tests-red", OfAgent, rules.Medium, 0},
	{NotApproved, OfAgent, rules.Medium, 0},
	{clockInDoubt, OfAgent, rules.Low, 10 * time.Minute},
	{"outputs.disarmed", OfAgent, rules.Medium, 0},
	{"control.slow", OfAgent, rules.High, 0},
	{"journal.nearly-full", OfAgent, rules.Medium, 10 * time.Second},
	{"journal.damaged", OfAgent, rules.High, 0},
	{"link.*.silent", OfLink, rules.High, 10 * time.Second},
	{"link.*.overrun", OfLink, rules.Low, time.Minute},
	{"output.*.unconfirmed", OfOutput, rules.High, 0},
	{"uplink.*.offline", OfUplink, rules.Medium, 5 * time.Minute},
	{"uplink.*.no-receipt", OfUplink, rules.Medium, 10 * time.Minute},
}

// NotApproved is the condition that limits of the plan are a profile's and
// nobody has approved them. Only a plan that uses profiles has it.
const NotApproved = "plan.not-approved"

// clockInDoubt is the condition under which a shift is not certain.
const clockInDoubt = "clock.unsynchronised"

// linkConditions are those that only some links have (drivers.Settings.Conditions),
// by their last word. One that is not here is anyLinkCondition.
var linkConditions = map[string]Condition{
	"other-master": {"link.*.other-master", OfLink, rules.High, 0},
	"untrusted":    {"link.*.untrusted", OfLink, rules.High, 0},
}

var anyLinkCondition = Condition{"link.*.any", OfLink, rules.High, 0}

// ConditionCode is the code of a condition of one subject: the key of
// Plan.Conditions ("link.plc.silent").
func ConditionCode(code, name string) string {
	for i := range code {
		if code[i] == '*' {
			return code[:i] + name + code[i+1:]
		}
	}
	return code
}

// ownConditions adds the agent's own boolean tags and their alarms.
func (c *compiler) ownConditions() {
	for _, cond := range Conditions {
		switch cond.Of {
		case OfAgent:
			if cond.Code != NotApproved {
				c.ownCondition(cond, cond.Code, "", "")
			}
		case OfLink:
			for _, l := range c.links {
				c.ownCondition(cond, cond.Code, l.plan.Name, "")
			}
		case OfOutput:
			for _, o := range c.outputs {
				c.ownCondition(cond, cond.Code, o.plan.Name, "")
			}
		case OfUplink:
			for _, p := range c.uplinkNames() {
				c.ownCondition(cond, cond.Code, p, "")
			}
		}
	}
	for _, l := range c.links {
		for _, word := range l.plan.Conditions {
			cond, known := linkConditions[word]
			if !known {
				cond = anyLinkCondition
			}
			c.ownCondition(cond, "link.*."+word, l.plan.Name, word)
		}
	}
}

// approvalCondition adds the one of a plan that uses profiles, once that is known.
func (c *compiler) approvalCondition() {
	i := slices.IndexFunc(Conditions, func(x Condition) bool { return x.Code == NotApproved })
	if len(c.plan.Profiles) > 0 {
		c.ownCondition(Conditions[i], NotApproved, "", "")
	}
}

// ownCondition adds one condition under its code; word is what a driver calls it.
func (c *compiler) ownCondition(cond Condition, code, name, word string) {
	code = ConditionCode(code, name)
	words := "condition." + cond.Code
	args := i18n.Args{"name": name, "word": word}
	text := rules.Text{Zh: i18n.Zh.Text(words, args), En: i18n.En.Text(words, args)}
	info := &tagInfo{name: tag.Name(code), n: &node{}, kind: tag.Bool, link: -1}
	c.addTag(info, Tag{Name: info.name, Text: text, Kind: tag.Bool, Record: Record{Every: DefaultRecord}})
	c.plan.Conditions[code] = info.id
	c.plan.Rules.Alarms = append(c.plan.Rules.Alarms, rules.Alarm{
		Name: code, Text: text, Cond: rules.Condition{Tag: info.id, Op: rules.EQ, Limit: 1},
		Priority: cond.Priority, OnDelay: cond.OnDelay, Agent: true,
	})
}

// automatic adds the not-watched alarm of every tag that a rule looks at.
func (c *compiler) automatic() {
	for _, info := range c.tags[1:] {
		t := c.plan.Tags[info.id]
		if !info.used || t.Period == 0 {
			continue
		}
		name := string(t.Name) + NotWatchedSuffix
		if c.taken[name] == nil {
			c.taken[name] = info.n
		}
		a := rules.Alarm{
			Name: name, Cond: rules.Condition{Tag: info.id}, Sort: rules.OfWatch,
			Text:     c.watchText(info, "config.not-watched", "config.not-watched-text"),
			Priority: c.notPrio, OnDelay: c.notWatchedDelay(t), NotWatched: true,
		}
		a.Under = c.impliedBy(info, t)
		c.stateAlarms(info, &a)
		c.plan.Rules.Alarms = append(c.plan.Rules.Alarms, a)
	}
}

// impliedBy names the alarm that says of a tag that it is not watched before
// its own does: forty tags behind one dead switch are one line, the link's. A
// computed tag stands under the one tag that it is made of, or under the link
// of them all.
func (c *compiler) impliedBy(info *tagInfo, t Tag) string {
	link := info.link
	if len(t.Of) > 0 {
		link = c.tags[t.Of[0]].link
		for _, id := range t.Of {
			if c.tags[id].link != link {
				return ""
			}
		}
		if one := c.plan.Tags[t.Of[0]]; len(t.Of) == 1 && one.Period > 0 {
			return string(one.Name) + NotWatchedSuffix
		}
	}
	if link < 0 {
		return ""
	}
	return ConditionCode("link.*.silent", c.links[link].plan.Name)
}

// NotWatchedSuffix ends the name of the alarm that says that a tag is not watched.
const NotWatchedSuffix = ".not-watched"

// finish puts together what the rules know of tags and outputs, and warns of
// permissions to write that nothing uses.
func (c *compiler) finish() {
	c.plan.Rules.Tags = make([]rules.Tag, len(c.tags))
	for _, info := range c.tags[1:] {
		c.plan.Rules.Tags[info.id] = rules.Tag{Name: info.name, TTL: info.ttl, OverRange: c.isOfDetectors(info)}
	}
	c.pointsOf()
	for _, o := range c.outputs {
		c.plan.Outputs = append(c.plan.Outputs, o.plan)
		c.plan.Rules.Outputs = append(c.plan.Rules.Outputs, o.rule)
	}
	known := !slices.ContainsFunc(c.outputs, func(o *output) bool { return o.at == nil })
	for _, d := range c.devices {
		for _, w := range d.mayWrite {
			if w.used == nil && known && !d.unsure {
				c.warn(w.n, "may-write-unused", "", "address", w.n.text, "device", d.name)
			}
		}
	}
	if c.windows > MaxWindows {
		c.report(Problem{Place: Place{File: RulesFile}, Width: 1, Code: "too-many-windows", Hint: "too-many-windows", Args: makeArgs([]any{"n", c.windows, "limit", MaxWindows})})
	}
	if c.shiftValues > MaxShiftValues {
		c.report(Problem{Place: Place{File: RulesFile}, Width: 1, Code: "too-many-shift-values", Hint: "too-many-shift-values", Args: makeArgs([]any{"n", c.shiftValues, "limit", MaxShiftValues})})
	}
	if n := len(c.plan.Rules.Alarms) + len(c.plan.Rules.Interlocks); n > MaxRules {
		c.report(Problem{Place: Place{File: SiteFile}, Width: 1, Code: "too-many-rules", Args: makeArgs([]any{"n", n, "limit", MaxRules})})
	}
}
