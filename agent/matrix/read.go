package matrix

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"davy/agent/config"
	"davy/agent/i18n"
	"davy/agent/table"
)

const (
	maxOrder    = 999  // the greatest number of an effect
	maxMistakes = 1000 // that are kept of one table; a table with more is none
)

// Read reads a table back: the interlocks in their order, as a site would write
// them, each value with its line and the number of its cell, for
// config.CompileWith and YAML. file is how the file is called in problems; the
// outputs are those of plan. Where the problems are not OK, what is returned is
// what could be read.
func Read(file string, data []byte, plan *config.Plan) ([]config.WrittenField, config.Problems) {
	r := &reader{file: file, words: dictionary(), locks: map[string]*lock{}}
	for _, o := range plan.Outputs {
		r.outputs = append(r.outputs, o.Name)
	}
	t, faults := table.Read(data, func(text string) bool { h, _ := r.headFrom(text); return h != "" })
	torn := map[int]bool{} // lines of which it is not known what they say
	for _, f := range faults {
		torn[f.Line] = torn[f.Line] || f.Code == table.FaultOpen
		r.bad(table.Cell{Line: f.Line, Col: f.Col}, f.Code, "matrix-"+f.Code, "limit", table.MaxBytes, "rows", table.MaxRows, "cells", table.MaxCells, "length", table.MaxText)
	}
	r.gbk = t.GBK
	for _, row := range t.Rows {
		if !torn[row[0].Line] {
			r.row(row)
		}
	}
	if r.heads == nil && !slices.ContainsFunc(faults, func(f table.Fault) bool { return f.Code == table.FaultUTF16 }) {
		r.bad(table.Cell{Line: 1, Col: 1}, "matrix-no-heads", "matrix-no-heads")
	}
	var all []config.WrittenField
	for _, l := range r.order {
		all = append(all, config.WrittenField{Name: l.name, Place: r.place(l.at), Value: r.written(l)})
	}
	return all, r.problems.Sorted()
}

// A reader holds what is known while a table is read.
type reader struct {
	file     string
	words    map[string]string // heads by what they may be called
	gbk      bool
	outputs  []string
	heads    []string // by column: what stands there; "" nothing, forPeople is not read
	locks    map[string]*lock
	order    []*lock
	problems config.Problems
}

// A lock is one interlock while its rows are read.
type lock struct {
	name        string
	at          table.Cell
	cells       map[string]table.Cell // of the whole interlock, by head
	effects     map[string]table.Cell // by output
	channels    []config.Written
	permissives []config.Written
}

func (r *reader) place(c table.Cell) config.Place {
	return config.Place{File: r.file, Line: c.Line, Col: c.Col}
}

func (r *reader) bad(c table.Cell, code, hint string, args ...any) {
	r.keep(config.ProblemAt(r.place(c), code, hint, args...))
}

func (r *reader) keep(p config.Problem) {
	if len(r.problems) < maxMistakes {
		r.problems = append(r.problems, p)
	}
}

// dictionary is what the heads may be called: by the site's word, or as a sheet
// calls them in either language.
func dictionary() map[string]string {
	words := map[string]string{}
	for _, h := range heads() {
		if !strings.HasPrefix(h, forPeople) && h != headThen {
			words[h], words[headWords(i18n.Zh, h)], words[strings.ToLower(headWords(i18n.En, h))] = h, h, h
		}
	}
	for _, h := range heads() { // the site's own words go before
		if _, ok := words[h]; ok {
			words[h] = h
		}
	}
	return words
}

// headFrom takes a column's head: a word of the site, with or without what it is
// called beside it, or what it is called alone; the name of its output; or
// forPeople.
func (r *reader) headFrom(text string) (head, output string) {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, forPeople) {
		return forPeople, ""
	}
	first, rest, _ := strings.Cut(text, " ")
	if first == headThen {
		if output, _, _ = strings.Cut(strings.TrimSpace(rest), " "); output == "" {
			return "", ""
		}
		return headThen, output
	}
	if h := r.words[strings.ToLower(text)]; h != "" {
		return h, ""
	}
	if h := r.words[first]; h == first {
		return h, ""
	}
	return "", ""
}

// row takes one row: the heads, one that is for people, or one of an interlock.
func (r *reader) row(row []table.Cell) {
	blank := func(c table.Cell) bool { return strings.TrimSpace(c.Text) == "" }
	first := slices.IndexFunc(row, func(c table.Cell) bool { return !blank(c) })
	if first < 0 {
		return
	}
	if r.heads == nil {
		if slices.ContainsFunc(row, func(c table.Cell) bool { h, _ := r.headFrom(c.Text); return h == headLock }) {
			r.readHeads(row)
		}
		return
	}
	at := slices.Index(r.heads, headLock)
	mark := row[first] // a text may begin with # too: where an interlock is named only its name counts
	if at < len(row) && !blank(row[at]) {
		mark = row[at]
	}
	if strings.HasPrefix(strings.TrimSpace(mark.Text), forPeople) {
		return
	}
	for i, c := range row {
		if (i >= len(r.heads) || r.heads[i] == "") && !blank(c) {
			r.bad(c, "matrix-no-head", "matrix-no-head", "text", c.Text)
		}
		if r.gbk && strings.Contains(c.Text, "?") && i < len(r.heads) && r.heads[i] != forPeople {
			p := config.ProblemAt(r.place(c), "matrix-question", "matrix-question", "text", c.Text)
			p.Warn = true
			r.keep(p)
		}
	}
	if at >= len(row) || blank(row[at]) {
		r.bad(row[first], "matrix-no-interlock", "matrix-no-interlock")
		return
	}
	name := clean(row[at].Text)
	l := r.locks[name]
	if l == nil {
		l = &lock{name: name, at: row[at], cells: map[string]table.Cell{}, effects: map[string]table.Cell{}}
		r.locks[name], r.order = l, append(r.order, l)
	}
	r.fill(l, row)
}

// readHeads takes the row of the heads.
func (r *reader) readHeads(row []table.Cell) {
	first := map[string]table.Cell{}
	for _, c := range row {
		head, output := r.headFrom(c.Text)
		if output != "" {
			head += " " + output
		}
		switch {
		case strings.TrimSpace(c.Text) == "":
		case head == "":
			r.bad(c, "matrix-head", "matrix-head", "text", c.Text, "list", strings.Join(heads(), " "))
			head = forPeople // nothing is said of what stands below
		case output != "" && !slices.Contains(r.outputs, output):
			r.bad(c, "unknown-output", "known-are", "name", output, "list", strings.Join(r.outputs, ", "))
			head = forPeople
		case head != forPeople:
			if before, twice := first[head]; twice {
				r.bad(c, "matrix-head-twice", "matrix-head-twice", "text", c.Text, "place", r.place(before).String())
				head = forPeople
			} else {
				first[head] = c
			}
		}
		r.heads = append(r.heads, head)
	}
	for _, must := range []string{"trip_when", headChannel, "reset"} {
		if _, ok := first[must]; !ok {
			r.bad(row[0], "matrix-head-missing", "matrix-head-missing", "head", must)
		}
	}
}

// clean is a cell's text without the blanks around it, on one line.
func clean(s string) string { return strings.TrimSpace(strings.ReplaceAll(s, "\n", " ")) }

// fill takes the cells of a row into its interlock.
func (r *reader) fill(l *lock, row []table.Cell) {
	own := map[string]table.Cell{} // of this row's channel and permissive
	for i, c := range row {
		if i >= len(r.heads) || strings.TrimSpace(c.Text) == "" {
			continue
		}
		switch h := r.heads[i]; {
		case h == "" || h == forPeople || h == headLock:
		case h == headChannel || h == headManual || strings.HasPrefix(h, headPermit):
			own[h] = c
		case strings.HasPrefix(h, headThen+" "):
			r.once(l.effects, strings.TrimPrefix(h, headThen+" "), c, h)
		default:
			r.once(l.cells, h, c, h)
		}
	}
	if when, ok := own[headChannel]; ok {
		w := r.text(when)
		if manual, ok := own[headManual]; ok {
			w = section(r.place(when), "when", w, "manual", r.text(manual))
		}
		l.channels = append(l.channels, w)
	} else if c, ok := own[headManual]; ok {
		r.bad(c, "matrix-alone", "matrix-alone", "text", c.Text, "head", headChannel)
	}
	when, ok := own[headPermit]
	if ok {
		w := config.Written{Place: r.place(when), Fields: []config.WrittenField{{Name: "when", Place: r.place(when), Value: r.text(when)}}}
		for _, f := range [][2]string{{headPermAt, "raise_after"}, {headPermPrio, "priority"}} {
			if c, ok := own[f[0]]; ok {
				w.Fields = append(w.Fields, config.WrittenField{Name: f[1], Place: r.place(c), Value: r.text(c)})
			}
		}
		w.Fields = append(w.Fields, r.prose(own, headPermZh, headPermEn)...)
		l.permissives = append(l.permissives, w)
		return
	}
	for _, h := range fieldHeads["permissives"][1:] {
		if c, ok := own[h]; ok {
			r.bad(c, "matrix-alone", "matrix-alone", "text", c.Text, "head", headPermit)
		}
	}
}

// once keeps a cell that is of the whole interlock; another row may repeat it.
func (r *reader) once(cells map[string]table.Cell, key string, c table.Cell, head string) {
	before, have := cells[key]
	if !have {
		cells[key] = c
	} else if clean(before.Text) != clean(c.Text) {
		r.bad(c, "matrix-differs", "matrix-differs", "text", c.Text, "before", before.Text, "place", r.place(before).String(), "head", head)
	}
}

func (r *reader) text(c table.Cell) config.Written {
	return config.Written{Place: r.place(c), Text: clean(c.Text)}
}

// section makes a section of pairs of a name and a value.
func section(at config.Place, pairs ...any) config.Written {
	w := config.Written{Place: at, Fields: []config.WrittenField{}}
	for i := 0; i < len(pairs); i += 2 {
		v := pairs[i+1].(config.Written)
		w.Fields = append(w.Fields, config.WrittenField{Name: pairs[i].(string), Place: v.Place, Value: v})
	}
	return w
}

// prose makes the field text of two cells, none where both are empty.
func (r *reader) prose(cells map[string]table.Cell, zh, en string) []config.WrittenField {
	var pairs []any
	var at config.Place
	for _, x := range [][2]string{{"zh", zh}, {"en", en}} {
		if c, ok := cells[x[1]]; ok {
			w := r.text(c)
			w.Text = c.Text // as it stands
			if pairs = append(pairs, x[0], w); at.Line == 0 {
				at = w.Place
			}
		}
	}
	if pairs == nil {
		return nil
	}
	return []config.WrittenField{{Name: "text", Place: at, Value: section(at, pairs...)}}
}

// written is an interlock as a site writes it.
func (r *reader) written(l *lock) config.Written {
	w := config.Written{Place: r.place(l.at), Fields: []config.WrittenField{}}
	put := func(name string, v config.Written) {
		w.Fields = append(w.Fields, config.WrittenField{Name: name, Place: v.Place, Value: v})
	}
	for _, field := range config.InterlockFields() {
		switch field {
		case "text":
			w.Fields = append(w.Fields, r.prose(l.cells, headTextZh, headTextEn)...)
		case "channels":
			if l.channels != nil {
				put(field, config.Written{Place: l.channels[0].Place, Items: l.channels})
			}
		case "permissives":
			if l.permissives != nil {
				put(field, config.Written{Place: l.permissives[0].Place, Items: l.permissives})
			}
		case "then":
			if items := r.effects(l); items != nil {
				put(field, config.Written{Place: items[0].Place, Items: items})
			}
		default:
			if c, ok := l.cells[field]; ok {
				put(field, r.text(c))
			}
		}
	}
	return w
}

// An effect is what one cell says of an output.
type effect struct {
	order int // 0: as the outputs stand in the site
	place int // of the output in the site
	w     config.Written
}

// effects reads the cells of an interlock's outputs in the order of its effects:
// those with a number first, then those without in the order of the outputs.
func (r *reader) effects(l *lock) []config.Written {
	var all []effect
	byOrder := map[int]table.Cell{}
	for place, output := range r.outputs {
		c, ok := l.effects[output]
		if !ok {
			continue
		}
		e, ok := r.effect(c, output)
		if !ok {
			continue
		}
		e.place = place
		if before, twice := byOrder[e.order]; twice && e.order > 0 {
			r.bad(c, "matrix-order-twice", "matrix-order-twice", "n", e.order, "place", r.place(before).String())
		}
		byOrder[e.order] = c
		all = append(all, e)
	}
	slices.SortStableFunc(all, func(a, b effect) int {
		return cmp.Or(cmp.Compare((a.order+maxOrder)%(maxOrder+1), (b.order+maxOrder)%(maxOrder+1)), cmp.Compare(a.place, b.place))
	})
	var items []config.Written
	for _, e := range all {
		items = append(items, e.w)
	}
	return items
}

// marks are what people write for yes in a matrix.
var marks = []string{"x", "X", "×", "✓", "√", "●", "yes"}

// effect reads `x`, `2` or `x, after 5s, run_on 10min`.
func (r *reader) effect(c table.Cell, output string) (e effect, ok bool) {
	text := clean(strings.ReplaceAll(c.Text, "，", ","))
	wrong := func() (effect, bool) {
		r.bad(c, "bad-form", "write-form", "text", c.Text, "form", "x | 1 | x, after 5s, run_on 10min")
		return e, false
	}
	mark, rest, _ := strings.Cut(strings.ReplaceAll(text, ",", " , "), " ")
	if n, err := strconv.Atoi(mark); err == nil {
		if n < 1 || n > maxOrder {
			return wrong()
		}
		e.order = n
	} else if !slices.Contains(marks, mark) {
		return wrong()
	}
	at := r.place(c)
	e.w = section(at, "demand", config.Written{Place: at, Text: output})
	seen := map[string]bool{}
	for part := range strings.SplitSeq(rest, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		word, value, _ := strings.Cut(part, " ")
		if word = strings.ReplaceAll(word, "-", "_"); word != "after" && word != "run_on" || seen[word] || value == "" {
			return wrong()
		}
		seen[word] = true
		e.w.Fields = append(e.w.Fields, config.WrittenField{Name: word, Place: at, Value: config.Written{Place: at, Text: strings.TrimSpace(value)}})
	}
	return e, true
}
