package matrix

import (
	"strings"
	"time"

	"davy/agent/config"
	"davy/agent/i18n"
	"davy/drivers/tag"
	"davy/rules"
)

// outputs writes what each output is and becomes, by which rule.
func (p *page) outputs() {
	if len(p.m.plan.Outputs) == 0 {
		return
	}
	p.begin("outputs", "outputs", "output", "out-drives", "out-idle", "out-protective", "out-dead", "out-link", "out-power", "out-restart", "out-proof", "out-escalate", "out-by")
	for i, o := range p.m.plan.Outputs {
		p.put("<tr><th scope=\"row\">", code(o.Name))
		if o.Text.Zh != o.Name || o.Text.En != o.Name {
			p.put("<br>", p.text(o.Text))
		}
		p.put("</th>")
		where := o.Point.Device
		if o.Point.Address != nil {
			where += " " + o.Point.Address.String()
		}
		if o.Link >= 0 {
			where += " · " + p.m.plan.Links[o.Link].Name
		}
		p.cell(code(where))
		r := p.m.plan.Rules.Outputs[i]
		for _, f := range p.facts(func(t teller) []fact { return t.declared(o, r) }) {
			class := ""
			if f.label == "out-power" || f.label == "out-dead" && o.DavyDead == config.Unknown || f.label == "out-link" && o.LinkLost == config.Unknown || f.label == "out-proof" && !r.Proved {
				class = " class=\"unknown\""
			}
			p.put("<td", class, ">", f.text, "</td>")
		}
		var by []string
		for _, x := range p.m.plan.Rules.Interlocks {
			for _, d := range x.Demands {
				if d.Output == o.Name {
					by = append(by, x.Name)
				}
			}
		}
		p.cell(code(strings.Join(by, ", ")))
		p.put("</tr>\n")
	}
	p.end()
}

// responses writes how long each interlock takes at most, as `davy check` says it.
func (p *page) responses() {
	if len(p.m.report.Interlocks) == 0 {
		return
	}
	p.begin("responses", "responses", "interlock", "output", "slowest", "worst", "worst-dead", "blind", "t90", "terms")
	for _, x := range p.m.report.Interlocks {
		for _, r := range x.Responses {
			p.put("<tr><th scope=\"row\">", code(x.Name), "</th>")
			p.cell(code(r.Output))
			p.cell(code(r.Channel))
			p.cell("<b>≤ " + config.Spell(r.Worst()) + "</b>")
			p.cell("≤ " + config.Spell(r.WorstDead()))
			p.cell(config.Spell(r.Blind))
			if r.T90 > 0 {
				p.cell(config.Spell(r.T90))
			} else {
				p.put("<td class=\"unknown\">", p.words("unknown", nil), "</td>")
			}
			p.cell(p.both(func(t teller) string { return r.Terms(t.lang, false) }))
			p.put("</tr>\n")
		}
	}
	p.end()
	p.put("<p class=\"legend\">", p.words("responses-how", nil), "</p>\n")
}

// computed writes what the computed tags are made of.
func (p *page) computed() {
	if len(p.m.formulas) == 0 {
		return
	}
	p.begin("computed", "computed", "tag", "text", "formula", "made-of")
	for _, f := range p.m.formulas {
		var of tag.ID
		for _, t := range p.m.plan.Tags {
			if string(t.Name) == f.Name {
				of = t.ID
			}
		}
		p.put("<tr><th scope=\"row\">", code(f.Name), "</th>")
		p.cell(p.both(func(t teller) string { return p.m.textOf(of, t.lang) }))
		value, _ := f.Value.Get("value")
		p.cell(code(value.Text))
		p.cell(p.both(func(t teller) string { return t.instruments(of) }))
		p.put("</tr>\n")
	}
	p.end()
}

// alarms writes those that only notify; what is automatic is counted.
func (p *page) alarms() {
	var list []rules.Alarm
	watched, own := 0, 0
	for _, a := range p.m.plan.Rules.Alarms {
		switch {
		case a.Agent:
			own++
		case a.NotWatched:
			watched++
		default:
			list = append(list, a)
		}
	}
	if len(list) == 0 {
		p.put("<section><h2>", p.words("alarms", nil), "</h2>\n<p>", p.words("none", nil), "</p></section>\n")
		p.put("<p class=\"legend\">", p.words("alarms-also", i18n.Args{"watched": watched, "own": own}), "</p>\n")
		return
	}
	p.begin("alarms", "alarms", "alarm", "cause", "limit", "priority", "deadband", "delays", "alarm-more", "text", "guide")
	for _, a := range list {
		p.alarm(a)
	}
	p.end()
	p.put("<p class=\"legend\">", p.words("alarms-also", i18n.Args{"watched": watched, "own": own}), "</p>\n")
}

func (p *page) alarm(a rules.Alarm) {
	of := p.m.plan.Tags[a.Cond.Tag]
	p.put("<tr><th scope=\"row\">", code(a.Name), "</th><td>", code(string(of.Name)))
	if s := p.both(func(t teller) string { return p.m.textOf(a.Cond.Tag, t.lang) }); s != "" {
		p.put("<br>", s)
	}
	p.put("</td><td class=\"limit\">", p.both(func(t teller) string { return t.limit(a.Cond) }), "</td><td><span class=\"priority ", priorities[a.Priority], "\">",
		p.both(func(t teller) string { return t.priority(a.Priority) }), "</span></td>")
	deadband := ""
	if a.Deadband > 0 {
		deadband = p.both(func(t teller) string { return strings.TrimSuffix(t.number(a.Deadband)+" "+of.Unit, " ") })
	}
	p.cell(deadband)
	p.cell(config.Spell(a.OnDelay) + " / " + config.Spell(a.OffDelay))
	p.cell(p.both(func(t teller) string { return t.alarmMore(a) }))
	p.cell(p.text(a.Text))
	p.cell(p.text(a.Guide))
	p.put("</tr>\n")
}

// alarmMore tells what else an alarm does, and where its limits come from.
func (t teller) alarmMore(a rules.Alarm) string {
	var all []string
	is := func(yes bool, words string, args i18n.Args) {
		if yes {
			all = append(all, t.say(words, args))
		}
	}
	is(a.Latch, "latches", nil)
	is(a.LatchOver, "latches-over", nil)
	is(a.AutoAck, "auto-ack", nil)
	is(a.Realarm > 0, "realarm", i18n.Args{"d": config.Spell(a.Realarm)})
	is(a.NoShelve, "no-shelve", nil)
	is(!a.NoShelve && a.ShelveAtMost > 0, "shelve-at-most", i18n.Args{"d": config.Spell(a.ShelveAtMost)})
	if a.Suppress.Tag != 0 {
		name, _, _ := strings.Cut(a.Name, ".")
		is(true, "suppressed-when", i18n.Args{"when": t.condition(rules.Interlock{Name: name}, a.Suppress, "suppress")})
	}
	for _, mode := range a.Modes {
		when := string(t.m.plan.Tags[mode.When.Tag].Name) + " " + t.limit(mode.When)
		if mode.Off {
			is(true, "mode-off", i18n.Args{"name": mode.Name, "when": when})
		} else {
			c := a.Cond
			c.Limit = mode.Limit
			is(true, "mode-limit", i18n.Args{"name": mode.Name, "when": when, "limit": t.limit(c)})
		}
	}
	is(a.Group != "", "group", i18n.Args{"name": a.Group})
	is(a.Beyond != "", "beyond", i18n.Args{"name": a.Beyond})
	for _, b := range t.m.plan.Profiles {
		if name, _, _ := strings.Cut(a.Name, "."); name == b.Alarm {
			is(b.Approved != "", "profile-approved", i18n.Args{"profile": b.Profile, "approved": b.Approved})
			is(b.Approved == "", "profile-not-approved", i18n.Args{"profile": b.Profile})
		}
	}
	return strings.Join(all, t.say("semicolon", nil))
}

// sign leaves room for those who sign.
func (p *page) sign() {
	p.put("<section class=\"sign\">\n<h2>", p.words("signatures", nil), "</h2>\n<p>", p.words("signed-plan", i18n.Args{"hash": p.m.hash()}), "</p>\n<table>\n<thead><tr><th></th>")
	for _, h := range []string{"sign-name", "sign-post", "sign-signature", "sign-date"} {
		p.put("<th scope=\"col\">", p.words(h, nil), "</th>")
	}
	p.put("</tr></thead>\n<tbody>\n")
	for _, who := range []string{"sign-made", "sign-process", "sign-instruments", "sign-safety", "sign-approved"} {
		p.put("<tr><th scope=\"row\">", p.words(who, nil), "</th><td></td><td></td><td></td><td></td></tr>\n")
	}
	p.put("</tbody>\n</table>\n</section>\n")
}

// A date on a sheet is a day.
const dateForm = time.DateOnly

// GoodDate reports whether a text may stand as the date of a sheet.
func GoodDate(s string) bool {
	_, err := time.Parse(dateForm, s)
	return err == nil
}
