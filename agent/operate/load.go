package operate

import (
	"io"
	"strconv"
	"strings"
	"time"

	"davy/agent/i18n"
	"davy/rules"
	"davy/rules/load"
)

// Load is what the alarms of the last day asked of people, or those since
// Since, when the agent's process began, where that is shorter. A call is an
// alarm that people are called to: neither shelved, suppressed, out of service
// nor of a test.
type Load struct {
	Since      time.Time `json:"since"`
	InTen      int       `json:"calls_in_10_min"`
	InHour     int       `json:"calls_in_hour"`
	InDay      int       `json:"calls_in_day"`
	MostInTen  int       `json:"most_calls_in_10_min"`
	Flood      bool      `json:"flood"` // there is one now
	Floods     int       `json:"floods"`
	InFlood    float64   `json:"in_flood_s"`
	Standing   int       `json:"standing"`
	Chattering []string  `json:"chattering"`
	Stale      []string  `json:"stale"`
	Top        []Share   `json:"top"` // most first
	Unnamed    int       `json:"unnamed,omitempty"`
	ByPriority []Calls   `json:"by_priority"` // the lowest first
	Acks       int       `json:"acks"`
	MeanAck    float64   `json:"mean_ack_s"`
	LongestAck float64   `json:"longest_ack_s"`
	Shelved    int       `json:"shelved"`
	Suppressed int       `json:"suppressed"`
	Removed    int       `json:"out_of_service"`
}

// Share is one alarm's part of the calls.
type Share struct {
	Rule  string `json:"rule"`
	Calls int    `json:"calls"`
}

// Calls are those of one priority.
type Calls struct {
	Priority Priority `json:"priority"`
	Calls    int      `json:"calls"`
}

// LoadOf converts what the meter of the rules says.
func LoadOf(f *load.Figures) *Load {
	l := &Load{
		Since: Wall(f.Since), InTen: f.InTen, InHour: f.InHour, InDay: f.InDay, MostInTen: f.MostInTen,
		Flood: f.Flood, Floods: f.Floods, InFlood: f.InFlood.Seconds(), Standing: f.Standing,
		Chattering: append([]string{}, f.Chattering...), Stale: append([]string{}, f.Stale...), Top: []Share{}, Unnamed: f.Unnamed,
		Acks: f.Acks, MeanAck: f.MeanAck.Seconds(), LongestAck: f.LongestAck.Seconds(),
		Shelved: f.Shelved, Suppressed: f.Suppressed, Removed: f.Removed,
	}
	for _, x := range f.Top {
		l.Top = append(l.Top, Share{x.Name, x.Calls})
	}
	for p := rules.Low; p <= rules.Critical; p++ {
		l.ByPriority = append(l.ByPriority, Calls{PriorityOf(p), f.ByPriority[p]})
	}
	return l
}

// Load prints the figures, each beside what standards and the field say of it,
// with how sure that is and where it is from.
func (p Paper) Load(w io.Writer, v *View) error {
	g, l := p.page(v), v.Load
	if l == nil { // of an agent that does not count yet
		l = LoadOf(&load.Figures{})
	}
	covered := min(v.At.Sub(l.Since), 24*time.Hour)
	if l.Since.IsZero() {
		covered = 0
	}
	var rows [][]string
	row := func(name, value, field string) { rows = append(rows, []string{name, value, field}) }
	of := func(part, whole float64) string {
		if whole <= 0 {
			return "-"
		}
		return strconv.FormatFloat(100*part/whole, 'f', 1, 64) + " %"
	}
	row(g.say("operate.load.in-ten", nil), strconv.Itoa(l.InTen), g.say("operate.load.in-ten.field", nil))
	row(g.say("operate.load.in-hour", nil), strconv.Itoa(l.InHour), g.say("operate.load.in-hour.field", nil))
	row(g.say("operate.load.in-day", nil), strconv.Itoa(l.InDay), g.say("operate.load.in-day.field", nil))
	row(g.say("operate.load.most-in-ten", nil), strconv.Itoa(l.MostInTen), g.say("operate.load.most-in-ten.field", nil))
	floods := strconv.Itoa(l.Floods)
	if l.Flood {
		floods += g.say("operate.load.now", nil)
	}
	row(g.say("operate.load.floods", nil), floods, g.say("operate.load.floods.field", nil))
	row(g.say("operate.load.in-flood", nil), of(l.InFlood, covered.Seconds()), g.say("operate.load.in-flood.field", nil))
	row(g.say("operate.load.standing", nil), strconv.Itoa(l.Standing), "")
	row(g.say("operate.load.stale", nil), strconv.Itoa(len(l.Stale)), g.say("operate.load.stale.field", nil))
	row(g.say("operate.load.chattering", nil), strconv.Itoa(len(l.Chattering)), g.say("operate.load.chattering.field", nil))
	top := 0
	for _, x := range l.Top {
		top += x.Calls
	}
	row(g.say("operate.load.top", nil), of(float64(top), float64(l.InDay)), g.say("operate.load.top.field", nil))
	var shares []string
	for i := range l.ByPriority {
		shares = append(shares, of(float64(l.ByPriority[i].Calls), float64(l.InDay)))
	}
	row(g.say("operate.load.priorities", nil), strings.Join(shares, " / "), g.say("operate.load.priorities.field", nil))
	acks := "-"
	if l.Acks > 0 {
		acks = p.Lang.Span(seconds(l.MeanAck)) + " / " + p.Lang.Span(seconds(l.LongestAck))
	}
	row(g.say("operate.load.acks", nil), acks, "")
	row(g.say("operate.load.hidden", nil), strings.Join([]string{strconv.Itoa(l.Shelved), strconv.Itoa(l.Suppressed), strconv.Itoa(l.Removed)}, " / "), "")
	g.line(g.say("operate.load.since", i18n.Args{"time": v.At.Add(-covered).In(g.Zone).Format("2006-01-02 15:04:05"), "long": p.Lang.Span(covered)}))
	g.table("  ", rows)
	var most []string
	for _, x := range l.Top {
		most = append(most, x.Rule+" "+strconv.Itoa(x.Calls))
	}
	joined := func(names []string) i18n.Args {
		return i18n.Args{"names": strings.Join(names, g.say("operate.comma", nil))}
	}
	if len(most) > 0 {
		g.line(g.say("operate.load.top.list", joined(most)))
	}
	if len(l.Stale) > 0 {
		g.line(g.say("operate.load.stale.list", joined(l.Stale)))
	}
	if len(l.Chattering) > 0 {
		g.line(g.say("operate.load.chattering.list", joined(l.Chattering)))
	}
	return g.to(w)
}
