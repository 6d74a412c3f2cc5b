package matrix

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"davy/agent/config"
	"davy/agent/i18n"
	"davy/agent/table"
	"davy/rules"
)

// The heads of columns that are not a field of the form by its name. A column of
// an output is "then <output>".
const (
	headLock     = "interlock"
	headTextZh   = "text_zh"
	headTextEn   = "text_en"
	headChannel  = "channel"
	headManual   = "manual"
	headThen     = "then"
	headPermit   = "permissive"
	headPermAt   = "permissive_raise_after"
	headPermPrio = "permissive_priority"
	headPermZh   = "permissive_text_zh"
	headPermEn   = "permissive_text_en"
	forPeople    = "#"
)

// fieldHeads are the columns that a field of an interlock takes, by its name;
// what is not here is one column of the field's name.
var fieldHeads = map[string][]string{
	"text":        {headTextZh, headTextEn},
	"channels":    {headChannel, headManual, forPeople + "tag-text", forPeople + "instrument", forPeople + "link"},
	"then":        nil, // the outputs
	"permissives": {headPermit, headPermAt, headPermPrio, headPermZh, headPermEn},
}

// heads are all columns in their order; of "then" stands the name alone.
func heads() []string {
	all := []string{headLock}
	for _, f := range config.InterlockFields() {
		switch cols, special := fieldHeads[f]; {
		case f == "then":
			all = append(all, headThen)
		case special:
			all = append(all, cols...)
		default:
			all = append(all, f)
		}
	}
	return all
}

// CSV is the table: for people first the head of the sheet and what the outputs
// declare, then the heads of the columns in the site's words with those of a
// language beside them, then the rows.
func (m *Matrix) CSV(lang i18n.Lang, sheet Sheet) []byte {
	t := teller{m: m, lang: lang, exact: true}
	var cols []string // as heads, an output by "then <name>"
	for _, h := range heads() {
		if h != headThen {
			cols = append(cols, h)
			continue
		}
		for _, o := range m.plan.Outputs {
			cols = append(cols, headThen+" "+o.Name)
		}
	}
	rows := [][]string{}
	for _, line := range t.headLines(sheet) {
		rows = append(rows, []string{forPeople + " " + line})
	}
	rows = append(rows, t.declarations(cols)...)
	var head []string
	for _, c := range cols {
		head = append(head, t.headOf(c))
	}
	rows = append(rows, head)
	for _, x := range m.plan.Rules.Interlocks {
		rows = append(rows, t.rows(x, cols)...)
	}
	return table.Write(rows)
}

// headOf is a column's head: the site's word, and that of the language.
func (t teller) headOf(col string) string {
	if name, ok := strings.CutPrefix(col, headThen+" "); ok {
		o, _ := t.m.output(name)
		if s := in(o.Text, t.lang); s != name {
			col += " " + s
		}
		return col
	}
	if key, ok := strings.CutPrefix(col, forPeople); ok {
		return forPeople + " " + t.say("head-"+key, nil)
	}
	return col + " " + headWords(t.lang, col)
}

// headWords is what a column is called in a language; a field that has no words
// yet is called by its name.
func headWords(lang i18n.Lang, col string) string {
	key := "matrix.head-" + col
	if !i18n.Has(key) {
		return col
	}
	return lang.Text(key, nil)
}

// declarations are the rows above the heads: what each output is and becomes.
func (t teller) declarations(cols []string) [][]string {
	var rows [][]string
	for i := range t.declared(config.Output{}, rules.Output{}) {
		row := make([]string, len(cols))
		for k, c := range cols {
			name, ok := strings.CutPrefix(c, headThen+" ")
			if !ok {
				continue
			}
			d := t.declared(t.m.output(name))[i]
			row[0], row[k] = forPeople+" "+t.say(d.label, nil), d.text
		}
		if row[0] != "" {
			rows = append(rows, row)
		}
	}
	return rows
}

// rows are those of one interlock.
func (t teller) rows(x rules.Interlock, cols []string) [][]string {
	w := t.m.written[x.Name]
	channels, _ := w.Get("channels")
	permissives, _ := w.Get("permissives")
	rows := make([][]string, max(len(x.Channels), len(x.Permissives), 1))
	for i := range rows {
		rows[i] = make([]string, len(cols))
		for k, col := range cols {
			switch {
			case col == headLock:
				rows[i][k] = x.Name
			case strings.HasPrefix(col, headThen+" "):
				if i == 0 {
					rows[i][k] = t.m.effectCell(x, strings.TrimPrefix(col, headThen+" "))
				}
			case col == headTextZh && i == 0:
				rows[i][k] = x.Text.Zh
			case col == headTextEn && i == 0:
				rows[i][k] = x.Text.En
			case slices.Contains(fieldHeads["channels"], col):
				if i < len(x.Channels) && i < len(channels.Items) {
					rows[i][k] = t.channelCell(x.Channels[i], channels.Items[i], col)
				}
			case slices.Contains(fieldHeads["permissives"], col):
				if i < len(x.Permissives) && i < len(permissives.Items) {
					rows[i][k] = permissiveCell(x.Permissives[i], permissives.Items[i], col)
				}
			case i == 0:
				rows[i][k] = fieldCell(w, x, col)
			}
		}
	}
	return rows
}

func (t teller) channelCell(ch rules.Channel, w config.Written, col string) string {
	switch col {
	case headChannel:
		return whenOf(w)
	case headManual:
		if ch.Manual {
			return "yes"
		}
	case forPeople + "tag-text":
		return t.m.textOf(ch.Cond.Tag, t.lang)
	case forPeople + "instrument":
		return t.instruments(ch.Cond.Tag)
	case forPeople + "link":
		return t.m.links(ch.Cond.Tag)
	}
	return ""
}

// whenOf is a condition as it is written, alone or as the field of a section.
func whenOf(w config.Written) string {
	if when, ok := w.Get("when"); ok {
		return when.Text
	}
	return w.Text
}

func permissiveCell(p rules.Permissive, w config.Written, col string) string {
	_, told := w.Get("text")
	switch {
	case col == headPermit:
		return whenOf(w)
	case col == headPermAt && p.After > 0:
		return config.Spell(p.After)
	case col == headPermPrio:
		return priorities[p.Priority]
	case col == headPermZh && told:
		return p.Text.Zh
	case col == headPermEn && told:
		return p.Text.En
	}
	return ""
}

// fieldCell is a field as it is written, and where it is not, what holds then.
func fieldCell(w config.Written, x rules.Interlock, field string) string {
	if v, ok := w.Get(field); ok {
		return v.Text
	}
	switch field {
	case "priority":
		return priorities[x.Priority]
	case "channel_bad":
		return "counts as trip"
	case "channel_in_test":
		return "left out, one at a time"
	case "all_channels_bad":
		return "trip"
	case "degraded":
		return "alarm " + priorities[x.DegradedPriority]
	case "bypass":
		return "no"
	}
	return ""
}

// effectCell is what an interlock demands of an output: x, or its number where
// the effects are in another order than the outputs.
func (m *Matrix) effectCell(x rules.Interlock, output string) string {
	i := slices.IndexFunc(x.Demands, func(d rules.Demand) bool { return d.Output == output })
	if i < 0 {
		return ""
	}
	s := "x"
	if !m.inOrder(x) {
		s = strconv.Itoa(i + 1)
	}
	if d := x.Demands[i].Delay; d > 0 {
		s += ", after " + config.Spell(d)
	}
	if d := x.Demands[i].RunOn; d > 0 {
		s += ", run_on " + config.Spell(d)
	}
	return s
}

// inOrder reports whether an interlock demands outputs in their own order.
func (m *Matrix) inOrder(x rules.Interlock) bool {
	return slices.IsSortedFunc(x.Demands, func(a, b rules.Demand) int { return m.place(a.Output) - m.place(b.Output) })
}

// place is the index of an output in the site.
func (m *Matrix) place(output string) int {
	return slices.IndexFunc(m.plan.Outputs, func(o config.Output) bool { return o.Name == output })
}

// declared is what an output declares, in the order of a sheet.
func (t teller) declared(o config.Output, r rules.Output) []fact {
	state := func(s config.State) string {
		return t.say("state-"+[...]string{config.Unknown: "unknown", config.Protective: "protective", config.Stays: "stays", config.Idle: "idle"}[s], nil)
	}
	proof := t.say("no-proof", nil)
	if r.Proved {
		proof = t.say("proof-form", i18n.Args{"when": t.proofOf(r), "d": config.Spell(r.Within)})
	}
	escalate := strings.Join(r.Escalate, ", ")
	if escalate == "" {
		escalate = t.say("none", nil)
	}
	return []fact{
		{"out-idle", o.IdleName},
		{"out-protective", o.ProtectiveName},
		{"out-dead", state(o.DavyDead)},
		{"out-link", state(o.LinkLost)},
		{"out-power", t.say("not-declared", nil)},
		{"out-restart", state(o.AfterRestart)},
		{"out-proof", proof},
		{"out-escalate", escalate},
	}
}

func (t teller) proofOf(r rules.Output) string {
	return string(t.m.plan.Tags[r.Proof.Tag].Name) + " " + t.limit(r.Proof)
}

// A Sheet is what stands on a sheet beside the plan.
type Sheet struct {
	Version string // of davy
	Date    string // "" none
}

// headLines are the lines that name a sheet.
func (t teller) headLines(s Sheet) []string {
	g := t.m.plan.Gateway
	lines := []string{
		t.say("title", nil),
		fmt.Sprintf("%s · %s", in(g.Name, t.lang), g.ID),
		t.say("plan", i18n.Args{"hash": t.m.hash()}) + " · " + t.say("version", i18n.Args{"version": s.Version}),
	}
	if s.Date != "" {
		lines = append(lines, t.say("date", i18n.Args{"date": s.Date}))
	}
	return append(lines, t.say("supervisory", nil), t.say("csv-how", nil))
}

// hash is the checksum of the plan, as `davy check` shows it.
func (m *Matrix) hash() string { return fmt.Sprintf("%x", m.report.Hash[:6]) }
