package matrix

import (
	"strconv"
	"strings"
	"time"

	"davy/agent/config"
	"davy/agent/i18n"
	"davy/drivers/tag"
	"davy/rules"
)

// A fact is one thing that an interlock does or is, in one language.
type fact struct {
	label string // key of its heading, without "matrix."
	text  string
}

// A teller says what rules do in one language.
type teller struct {
	m     *Matrix
	lang  i18n.Lang
	exact bool // numbers to their last digit
}

func (t teller) say(key string, args i18n.Args) string { return t.lang.Text("matrix."+key, args) }

// The priorities as the site writes them.
var priorities = [...]string{rules.Low: "low", rules.Medium: "medium", rules.High: "high", rules.Critical: "critical"}

func (t teller) priority(p rules.Priority) string {
	if p == 0 {
		return t.say("none", nil)
	}
	return t.say("priority-"+priorities[p], nil)
}

// facts tells everything of an interlock, each field of it.
func (t teller) facts(x rules.Interlock) []fact {
	all := []fact{
		{"text", x.Text.Zh + " / " + x.Text.En},
		{"priority", t.priority(x.Priority)},
		{"vote", t.vote(x)},
	}
	for i, ch := range x.Channels {
		all = append(all, fact{"channel", t.channel(x, i, ch)})
	}
	for _, d := range x.Demands {
		all = append(all, fact{"effect", d.Output + t.effect(d)})
	}
	return append(all, t.conduct(x)...)
}

// conduct tells how an interlock behaves: everything but its name, its vote, its
// causes and its effects. What is the usual and means nothing to do is left out.
func (t teller) conduct(x rules.Interlock) []fact {
	var all []fact
	put := func(label, text string) {
		if text != "" {
			all = append(all, fact{label, text})
		}
	}
	put("bad", t.bad(x))
	put("in-test", t.choice(x.InTestCounts, "in-test-counts", "in-test-left-out"))
	put("all-bad", t.choice(x.AllBadHolds, "all-bad-holds", "all-bad-trips"))
	put("degraded", t.degraded(x))
	put("discrepancy", t.discrepancy(x))
	put("on-delay", t.after(x.OnDelay))
	put("arm", t.when(x, x.Arm, "arm"))
	if x.ArmDue.Tag != 0 {
		put("arm-due", t.say("arm-due-form", i18n.Args{"when": t.when(x, x.ArmDue, "arm-due"), "d": config.Spell(x.ArmWithin)}))
	}
	for _, p := range x.Permissives {
		put("permissive", t.permissive(x, p))
	}
	put("reset", t.reset(x))
	put("reset-when", t.when(x, x.ResetWhen, "reset"))
	put("bypass", t.permit(x.Bypass, "no-bypass", true))
	put("test", t.test(x))
	return all
}

func (t teller) choice(is bool, yes, no string) string {
	if is {
		return t.say(yes, nil)
	}
	return t.say(no, nil)
}

func (t teller) vote(x rules.Interlock) string {
	return t.say("m-of-n", i18n.Args{"m": x.M, "n": len(x.Channels)})
}

// channel tells the condition of the i-th channel.
func (t teller) channel(x rules.Interlock, i int, ch rules.Channel) string {
	s := t.condition(x, ch.Cond, "channel-"+strconv.Itoa(i+1))
	if ch.Name != string(t.m.plan.Tags[ch.Cond.Tag].Name) {
		s = ch.Name + ": " + s
	}
	if ch.Manual {
		s += " " + t.say("manual-mark", nil)
	}
	return s
}

func (t teller) when(x rules.Interlock, c rules.Condition, slot string) string {
	if c.Tag == 0 {
		return ""
	}
	return t.condition(x, c, slot)
}

// condition tells a condition of an interlock. One that was written as an
// expression is told as it was written: its tag, named by slot, was made for it.
func (t teller) condition(x rules.Interlock, c rules.Condition, slot string) string {
	of := t.m.plan.Tags[c.Tag]
	if string(of.Name) == x.Name+"."+slot && len(of.Of) > 0 && !t.m.named(string(of.Name)) && c.Op == rules.EQ && c.Limit == 1 {
		return of.Text.En
	}
	return string(of.Name) + " " + t.limit(c)
}

// named reports whether the site itself names a computed tag.
func (m *Matrix) named(name string) bool {
	for _, x := range m.formulas {
		if x.Name == name {
			return true
		}
	}
	return false
}

// limit tells what a tag is compared with.
func (t teller) limit(c rules.Condition) string {
	return c.Op.String() + " " + t.value(c.Tag, c.Limit)
}

// value tells a value of a tag, with its unit.
func (t teller) value(id tag.ID, v float64) string {
	of := t.m.plan.Tags[id]
	for _, n := range of.Names {
		if float64(n.Code) == v {
			return n.Name
		}
	}
	switch {
	case of.Kind == tag.Bool && v == 0:
		return "off"
	case of.Kind == tag.Bool && v == 1:
		return "on"
	}
	return strings.TrimSuffix(t.number(v)+" "+of.Unit, " ")
}

// digits is how many significant digits are shown of a number that came out of
// a conversion.
const digits = 6

func (t teller) number(v float64) string {
	s := strconv.FormatFloat(v, 'f', -1, 64)
	if t.exact || len(s) <= digits+3 {
		return s
	}
	short := strconv.FormatFloat(v, 'g', digits, 64)
	if w, err := strconv.ParseFloat(short, 64); err == nil && w == v {
		return s
	}
	return "≈ " + short
}

func (t teller) after(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return config.Spell(d)
}

// effect tells what stands in the cell of a demand, with a blank before each.
func (t teller) effect(d rules.Demand) string {
	s := ""
	if d.Delay > 0 {
		s += " " + t.say("effect-after", i18n.Args{"d": config.Spell(d.Delay)})
	}
	if d.RunOn > 0 {
		s += " " + t.say("effect-run-on", i18n.Args{"d": config.Spell(d.RunOn)})
	}
	return s
}

func (t teller) bad(x rules.Interlock) string {
	d := i18n.Args{"d": config.Spell(x.BadAfter)}
	switch {
	case x.Bad == rules.LastGood:
		return t.say("bad-last-good", d)
	case x.Bad == rules.LeftOut && x.BadAfter == 0:
		return t.say("bad-left-out-at-once", nil)
	case x.Bad == rules.LeftOut:
		return t.say("bad-left-out", d)
	case x.BadAfter == 0:
		return t.say("bad-trip-at-once", nil)
	}
	return t.say("bad-trip", d)
}

func (t teller) degraded(x rules.Interlock) string {
	s := t.say("no-alarm", nil)
	if x.DegradedPriority > 0 {
		s = t.say("alarm-of", i18n.Args{"priority": t.priority(x.DegradedPriority)})
	}
	if x.DegradedAtMost > 0 {
		s += t.say("comma", nil) + t.say("at-most", i18n.Args{"d": config.Spell(x.DegradedAtMost)})
	}
	return s
}

func (t teller) discrepancy(x rules.Interlock) string {
	d := x.Discrepancy
	if d == (rules.Discrepancy{}) {
		return ""
	}
	args := i18n.Args{"d": config.Spell(d.After), "priority": t.priority(d.Priority)}
	if d.Spread == 0 {
		return t.say("votes-differ", args)
	}
	unit := ""
	if len(x.Channels) > 0 {
		unit = t.m.plan.Tags[x.Channels[0].Cond.Tag].Unit
	}
	args["spread"] = strings.TrimSuffix(t.number(d.Spread)+" "+unit, " ")
	return t.say("values-differ", args)
}

func (t teller) permissive(x rules.Interlock, p rules.Permissive) string {
	s := t.condition(x, p.Cond, p.Name)
	if name := string(t.m.plan.Tags[p.Cond.Tag].Name); name != p.Name && name != x.Name+"."+p.Name {
		s = p.Name + ": " + s
	}
	s += t.say("comma", nil) + t.say("alarm-of", i18n.Args{"priority": t.priority(p.Priority)})
	if p.After > 0 {
		s += " " + t.say("effect-after", i18n.Args{"d": config.Spell(p.After)})
	}
	switch {
	case p.Text.En == p.Text.Zh && strings.HasPrefix(s, p.Text.En): // none, or the condition itself
	case t.exact:
		s += " (" + p.Text.Zh + " / " + p.Text.En + ")"
	default:
		s += " (" + in(p.Text, t.lang) + ")"
	}
	return s
}

// reset tells by whom and when an interlock is reset.
func (t teller) reset(x rules.Interlock) string {
	s := t.choice(x.ManualReset, "reset-person", "reset-itself")
	var each []string
	for i, c := range x.ResetConds {
		one := t.condition(x, c, "channel-"+strconv.Itoa(i+1))
		if of := t.m.plan.Tags[c.Tag]; string(of.Name) == x.Name+".channel-"+strconv.Itoa(i+1) && c.Op == rules.NE {
			one = t.say("not", i18n.Args{"condition": of.Text.En})
		}
		each = append(each, one)
	}
	limits := t.commonReset(x)
	switch {
	case len(each) == 0:
	case limits != "":
		s += t.say("comma", nil) + t.say("reset-all", i18n.Args{"limit": limits})
	default:
		s += t.say("comma", nil) + t.say("reset-each", i18n.Args{"conditions": strings.Join(each, t.say("and", nil))})
	}
	if x.ResetFor > 0 {
		s += " " + t.say("for", i18n.Args{"d": config.Spell(x.ResetFor)})
	}
	return s
}

// commonReset is the limit that all channels share, "" where they do not, or
// where a channel is more than one tag's own.
func (t teller) commonReset(x rules.Interlock) string {
	one := ""
	for i, c := range x.ResetConds {
		s := t.limit(c)
		if i >= len(x.Channels) || c.Tag != x.Channels[i].Cond.Tag || i > 0 && s != one || len(t.m.plan.Tags[c.Tag].Of) > 0 && !t.m.named(string(t.m.plan.Tags[c.Tag].Name)) {
			return ""
		}
		one = s
	}
	return one
}

// permit tells who may do something, and how long.
func (t teller) permit(p rules.Permit, none string, whole bool) string {
	if p.AtMost == 0 && len(p.Roles)+len(p.Second) == 0 && !p.AlarmOnly {
		if none == "" {
			return ""
		}
		return t.say(none, nil)
	}
	who := t.say("anybody", nil)
	if len(p.Roles) > 0 {
		who = t.roles(p.Roles)
	}
	if len(p.Second) > 0 {
		who = t.say("and-second", i18n.Args{"first": who, "second": t.roles(p.Second)})
	}
	s := who + t.say("comma", nil) + t.say("at-most", i18n.Args{"d": config.Spell(p.AtMost)})
	if whole {
		s = t.say("one-channel", nil) + t.say("comma", nil) + s + t.say("comma", nil) + t.choice(p.AlarmOnly, "then-alarm", "then-ends")
	} else if p.AlarmOnly {
		s += t.say("comma", nil) + t.say("then-alarm", nil)
	}
	return s
}

func (t teller) roles(list []string) string {
	var out []string
	for _, r := range list {
		if key := "role." + r; i18n.Has(key) {
			out = append(out, t.lang.Text(key, nil))
		} else {
			out = append(out, r)
		}
	}
	return strings.Join(out, t.say("or", nil))
}

// test tells of drills and proof tests.
func (t teller) test(x rules.Interlock) string {
	s := t.permit(x.Test, "", false)
	if x.TestEvery == 0 {
		return s
	}
	if s != "" {
		s += t.say("comma", nil)
	}
	return s + t.say("test-every", i18n.Args{"d": config.Spell(x.TestEvery)})
}
