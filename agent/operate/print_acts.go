package operate

import (
	"cmp"
	"slices"
	"strings"

	"davy/agent/i18n"
)

// underShown is how many names of the alarms under another are printed.
const underShown = 3

// under returns the standing alarms that are suppressed because a stands for them.
func (p *page) under(a *Alarm) []*Alarm {
	var list []*Alarm
	for i := range p.v.Alarms {
		if x := &p.v.Alarms[i]; x.State == Suppressed && x.Under == a.Name && x.Standing {
			list = append(list, x)
		}
	}
	slices.SortStableFunc(list, func(a, b *Alarm) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// folded prints what stands under an alarm: one line, or with All one each.
func (p *page) folded(a *Alarm) [][]string {
	list := p.under(a)
	if len(list) == 0 {
		return nil
	}
	if p.All {
		rows := [][]string{}
		for _, x := range list {
			rows = append(rows, []string{"     " + p.say("operate.under-one", i18n.Args{"rule": x.Name, "text": p.text(x), "ago": p.ago(x.Raised)})})
		}
		return rows
	}
	var names []string
	for _, x := range list[:min(len(list), underShown)] {
		names = append(names, x.Name)
	}
	if len(list) > underShown {
		names = append(names, "…")
	}
	return [][]string{{"     " + p.say("operate.under", i18n.Args{"n": len(list), "names": strings.Join(names, p.say("operate.comma", nil))})}}
}

// text says what an alarm is of; one that the rules made themselves has the
// words of what it is about, and says what is the matter with it.
func (p *page) text(a *Alarm) string {
	s := a.Text.In(p.Lang)
	if a.Of == "" {
		return s
	}
	of := a.Of
	if i18n.Has("operate.of." + of) {
		of = p.say("operate.of."+of, nil)
	}
	if s == "" {
		return of
	}
	return s + p.say("operate.colon", nil) + of
}

// state says how an alarm is, and what else a person must know of it.
func (p *page) state(a *Alarm) string {
	parts := []string{p.say("operate.alarm."+string(a.State), nil)}
	if a.State.Hidden() {
		stands := "operate.stands-not"
		if a.Standing {
			stands = "operate.stands"
		}
		parts = append(parts, p.say(stands, nil))
	}
	if a.Sounds {
		parts = append(parts, p.say("operate.sounds", nil))
	}
	if a.First {
		parts = append(parts, p.say("operate.first", nil))
	}
	if a.Mode != "" {
		parts = append(parts, p.say("operate.mode", i18n.Args{"mode": a.Mode}))
	}
	s := strings.Join(parts, p.say("operate.comma", nil))
	if a.Test {
		s = p.say("operate.mark.test", nil) + " " + s
	}
	return s
}

// by says why an alarm is hidden: who did it, how long yet, what stands for it.
func (p *page) by(a *Alarm) string {
	switch a.State {
	case Shelved:
		return p.acted(a.Who, a.Note, p.say("operate.for.left", i18n.Args{"time": p.Lang.Span(seconds(a.Left))}))
	case OutOfService:
		return p.acted(a.Who, a.Note)
	case Suppressed:
		if a.Under != "" {
			return p.say("operate.stands-under", i18n.Args{"rule": a.Under})
		}
		if a.InTest {
			return p.say("operate.detector-in-test", nil)
		}
		return p.say("operate.by-design", nil)
	}
	return ""
}

// acted joins who did something with what else is to be said of it.
func (p *page) acted(who, note string, more ...string) string {
	parts := []string{}
	if who != "" {
		parts = append(parts, p.say("operate.by", i18n.Args{"name": who}))
	}
	parts = append(parts, more...)
	if note != "" {
		parts = append(parts, note)
	}
	return strings.Join(parts, p.say("operate.comma", nil))
}

// hidden prints the alarms of one of the states in which nobody is called.
func (p *page) hidden(s AlarmState) {
	list := slices.DeleteFunc(slices.Clone(p.v.Alarms), func(a Alarm) bool { return a.State != s })
	slices.SortStableFunc(list, func(a, b Alarm) int {
		return cmp.Or(cmp.Compare(b.Priority.rank(), a.Priority.rank()), cmp.Compare(a.Name, b.Name))
	})
	var rows [][]string
	for i := range list {
		a := &list[i]
		number := "" // it was never raised
		if a.Occurrence > 0 {
			number = mark(a.Occurrence)
		}
		rows = append(rows, []string{number, p.say("operate.priority."+string(a.Priority), nil), a.Name, p.text(a), p.state(a), p.by(a)})
	}
	p.head("operate.head." + string(s))
	if len(rows) == 0 {
		p.line("  " + p.say("operate.none", nil))
	}
	p.table("  ", rows)
}

// hiddenCounts says in one line that there are alarms to which nobody is called.
func (p *page) hiddenCounts() {
	n := map[AlarmState]int{}
	for i := range p.v.Alarms {
		n[p.v.Alarms[i].State]++
	}
	if n[Shelved]+n[Suppressed]+n[OutOfService] == 0 {
		return
	}
	if p.b.Len() > 0 {
		p.b.WriteByte('\n')
	}
	p.line(p.say("operate.hidden-counts", i18n.Args{"shelved": n[Shelved], "suppressed": n[Suppressed], "out": n[OutOfService]}))
}

// points prints what is not as it usually is because a person said so: bypasses,
// forces, tests, what is out of service.
func (p *page) points() {
	var rows [][]string
	row := func(what, name, text, more string) {
		rows = append(rows, []string{p.say("operate.act."+what, nil), name, text, more})
	}
	left := func(s float64) string { return p.say("operate.for.left", i18n.Args{"time": p.Lang.Span(seconds(s))}) }
	for i := range p.v.Interlocks {
		k := &p.v.Interlocks[i]
		if b := k.Bypass; b != nil {
			more, what := []string{}, "bypass"
			switch {
			case b.Waiting: // nothing is bypassed yet
				what = "bypass-asked"
				more = append(more, p.say("operate.bypass-waiting", i18n.Args{"time": p.Lang.Span(seconds(b.Left)), "rule": k.Name, "channel": b.Channel}))
			case b.Overdue:
				more = append(more, p.say("operate.bypass-overdue", nil))
			default:
				more = append(more, left(b.Left))
			}
			if b.Second != "" {
				more = append(more, p.say("operate.second", i18n.Args{"name": b.Second}))
			}
			row(what, k.Name, p.say("operate.channel", i18n.Args{"channel": b.Channel}), p.acted(b.Who, b.Note, more...))
		}
		if k.Test {
			row("test", k.Name, k.Text.In(p.Lang), "")
		}
		if len(k.NotPermitted) > 0 && k.State != Unarmed && k.State != Starting {
			row("not-permitted", k.Name, k.Text.In(p.Lang), p.permissives(k.NotPermitted))
		}
		if k.OutOfService {
			row("cannot-trip", k.Name, k.Text.In(p.Lang), "")
		}
	}
	for i := range p.v.Forces {
		f := &p.v.Forces[i]
		row("force", f.Tag, named(f.Value, f.ValueName, f.Unit), p.acted(f.Who, f.Note, left(f.Left), p.ago(f.Since)))
	}
	for i := range p.v.Devices {
		d := &p.v.Devices[i]
		if d.Removed != nil {
			row("removed", d.Name, d.Text.In(p.Lang), p.acted(d.Removed.Who, d.Removed.Note, p.ago(d.Removed.Since)))
		}
		if d.Test != nil {
			row("test", d.Name, d.Text.In(p.Lang), p.acted(d.Test.Who, d.Test.Note, left(d.Test.Left), p.ago(d.Test.Since)))
		}
	}
	if len(rows) > 0 {
		p.head("operate.head.points")
		p.table("  ", rows)
	}
}

// unfilled puts … where words have a placeholder that nobody can fill any more:
// of a command that was refused the log keeps the code alone.
func unfilled(s string) string {
	for {
		from := strings.IndexByte(s, '{')
		to := strings.IndexByte(s[from+1:], '}')
		if from < 0 || to < 0 {
			return s
		}
		s = s[:from] + "…" + s[from+1+to+1:]
	}
}

// marks says before an event that it is no true alarm, or that nobody was called.
func (p *page) marks(e *Event) string {
	s := ""
	if e.Test {
		s += p.say("operate.mark.test", nil) + " "
	}
	if e.Hidden != "" {
		s += p.say("operate.hidden."+string(e.Hidden), nil) + " "
	}
	return s
}

// eventActs says of an event what persons' acts add to it.
func (p *page) eventActs(e *Event) []string {
	var parts []string
	if e.First {
		parts = append(parts, p.say("operate.first", nil))
	}
	if e.Channel != "" {
		parts = append(parts, p.say("operate.channel", i18n.Args{"channel": e.Channel}))
	}
	if e.For > 0 {
		words := "long"
		switch e.Kind {
		case "bypass-reminded":
			words = "left"
		case "output-proved":
			words = "after"
		}
		parts = append(parts, p.say("operate.for."+words, i18n.Args{"time": p.Lang.Span(seconds(e.For))}))
	}
	if e.Result != "" {
		parts = append(parts, p.say("operate.result."+e.Result, nil))
	}
	if e.Samples > 0 {
		parts = append(parts, p.say("operate.samples", i18n.Args{"n": e.Samples}))
	}
	return parts
}

// permissives names those that do not hold.
func (p *page) permissives(list []Permissive) string {
	var names []string
	for _, x := range list {
		if x.Unknown {
			x.Name = p.say("operate.permissive.unknown", i18n.Args{"name": x.Name})
		}
		names = append(names, x.Name)
	}
	return strings.Join(names, p.say("operate.comma", nil))
}
