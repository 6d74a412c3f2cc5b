// Package matrix is the cause-and-effect matrix of a site: as a sheet that is
// printed and signed, as a table for a spreadsheet, and back from that table to
// rules.
//
// The sheet (Page) says in the reader's language what the compiled rules do: it is
// made of the plan, defaults and all. The table (CSV) says it in the site's own
// words, so that what is read back (Read) compiles to the same rules: one row is
// one channel of one interlock, what is of the whole interlock stands in its
// first row, a column "then <output>" is one effect. Columns whose head begins
// with # and rows that begin with # are for people; nobody reads them back.
//
// The same site gives the same bytes: there is no clock here, a date stands on
// the sheet where one is given. What an interlock does is told by facts in one
// place (facts.go), for the sheet and for Compare: a field of rules.Interlock
// that they do not tell fails a test.
//
// Nothing here is durable, and nothing is kept between two calls.
//
// Imports: agent/config, agent/i18n, agent/table, rules, drivers, drivers/tag.
package matrix

import (
	"slices"
	"strings"

	"davy/agent/config"
	"davy/agent/i18n"
	"davy/drivers/tag"
	"davy/rules"
)

// Matrix is a site as this package looks at it.
type Matrix struct {
	plan     *config.Plan
	report   config.Report
	written  map[string]config.Written // interlocks by name
	formulas []config.WrittenField     // computed tags that the site names
	device   map[tag.ID]rules.Device
	template map[string]string // by device
}

// New makes the matrix of a plan and the bundle that it was compiled from.
func New(b *config.Bundle, plan *config.Plan) *Matrix {
	return newMatrix(plan, config.ReadWritten(b, "interlocks"), config.ReadWritten(b, "computed"))
}

// With makes the matrix of a plan that config.CompileWith made of b and interlocks.
func With(b *config.Bundle, plan *config.Plan, interlocks []config.WrittenField) *Matrix {
	return newMatrix(plan, interlocks, config.ReadWritten(b, "computed"))
}

func newMatrix(plan *config.Plan, interlocks, formulas []config.WrittenField) *Matrix {
	m := &Matrix{
		plan: plan, report: plan.Report(), written: map[string]config.Written{}, formulas: formulas,
		device: map[tag.ID]rules.Device{}, template: map[string]string{},
	}
	for _, x := range interlocks {
		m.written[x.Name] = x.Value
	}
	for _, d := range plan.Rules.Devices {
		for _, id := range d.Tags {
			m.device[id] = d
		}
	}
	for _, t := range plan.Templates {
		for _, d := range t.Devices {
			m.template[d] = t.Name
		}
	}
	return m
}

// in returns a text of the rules in a language.
func in(t rules.Text, lang i18n.Lang) string {
	if lang == i18n.Zh {
		return t.Zh
	}
	return t.En
}

// textOf is what people call a tag; "" where that is its name.
func (m *Matrix) textOf(id tag.ID, lang i18n.Lang) string {
	t := m.plan.Tags[id]
	if s := in(t.Text, lang); s != string(t.Name) {
		return s
	}
	return ""
}

// sources are the tags of devices that a tag is made of: itself, or those that
// are read for a computed one.
func (m *Matrix) sources(id tag.ID) []tag.ID {
	if of := m.plan.Tags[id].Of; len(of) > 0 {
		return of
	}
	return []tag.ID{id}
}

// instruments names the devices behind a tag, with what they are called and their
// templates.
func (t teller) instruments(id tag.ID) string {
	var names []string
	for _, s := range t.m.sources(id) {
		d, ok := t.m.device[s]
		if !ok {
			continue
		}
		name := d.Name
		if text := in(d.Text, t.lang); text != "" && text != name {
			name += " " + text
		}
		if template := t.m.template[d.Name]; template != "" {
			name += " (" + template + ")"
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// links names the links behind a tag.
func (m *Matrix) links(id tag.ID) string {
	var names []string
	for _, s := range m.sources(id) {
		if i := m.plan.Tags[s].Link; i >= 0 && m.device[s].Name != "" && !slices.Contains(names, m.plan.Links[i].Name) {
			names = append(names, m.plan.Links[i].Name)
		}
	}
	return strings.Join(names, ", ")
}

// output returns an output of the plan by its name.
func (m *Matrix) output(name string) (config.Output, rules.Output) {
	i := slices.IndexFunc(m.plan.Outputs, func(o config.Output) bool { return o.Name == name })
	if i < 0 {
		return config.Output{Name: name, Link: -1}, rules.Output{Name: name}
	}
	return m.plan.Outputs[i], m.plan.Rules.Outputs[i]
}

// response is how long an interlock takes at most to write an output.
func (m *Matrix) response(lock, output string) (config.Response, bool) {
	for _, x := range m.report.Interlocks {
		if i := slices.IndexFunc(x.Responses, func(r config.Response) bool { return r.Output == output }); x.Name == lock && i >= 0 {
			return x.Responses[i], true
		}
	}
	return config.Response{}, false
}
