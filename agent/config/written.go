package config

import (
	"slices"
	"time"

	"davy/drivers"
)

// Written is one value of a site in its own words: a text, a section of fields,
// or a list. The zero value is an empty text.
type Written struct {
	Place  Place
	Text   string
	Fields []WrittenField // of a section, if not nil
	Items  []Written      // of a list, if not nil
}

// WrittenField is one field of a section, or one entry of named things.
type WrittenField struct {
	Name  string
	Place Place
	Value Written
}

// Get returns a field of a section; ok is false where it is not written.
func (w Written) Get(name string) (x Written, ok bool) {
	i := slices.IndexFunc(w.Fields, func(f WrittenField) bool { return f.Name == name })
	if i < 0 {
		return Written{}, false
	}
	return w.Fields[i].Value, true
}

// ReadWritten returns the entries of a section of named things, from site.yaml
// and then rules.yaml, as they are written. Of a bundle that does not compile it
// returns what can be read.
func ReadWritten(b *Bundle, section string) []WrittenField {
	c := newCompiler(b, nil)
	c.quiet = true
	c.sections()
	var all []WrittenField
	for _, n := range c.top[section] {
		all = append(all, n.written().Fields...)
	}
	return all
}

func (n *node) written() Written {
	w := Written{Place: n.place, Text: n.text}
	switch n.kind {
	case section:
		w.Text, w.Fields = "", []WrittenField{}
		for _, p := range n.pairs {
			w.Fields = append(w.Fields, WrittenField{p.key.text, p.key.place, p.val.written()})
		}
	case list:
		w.Text, w.Items = "", []Written{}
		for _, x := range n.items {
			w.Items = append(w.Items, x.written())
		}
	}
	return w
}

// InterlockFields are the names of what a site may say of an interlock, in the
// order of the documents.
func InterlockFields() []string {
	var names []string
	for _, f := range interlockForm {
		if f.later == "" {
			names = append(names, f.name)
		}
	}
	return names
}

// CompileWith is Compile of the site with other interlocks than its own, and
// without its stories, which may speak of those. A problem with one stands at
// the place that its value has here: nothing is counted on within it.
func CompileWith(b *Bundle, set drivers.Set, interlocks []WrittenField) (*Plan, Problems) {
	c := newCompiler(b, set)
	c.instead = Written{Fields: interlocks}.node()
	c.instead.kind = section
	return c.finished()
}

// node is a written value as the compiler reads it; its pieces have its place.
func (w Written) node() *node {
	n := &node{text: w.Text, quoted: true, cell: true, place: w.Place, width: 1, end: w.Place.Line}
	switch {
	case w.Fields != nil:
		n.kind = section
		for _, f := range w.Fields {
			n.pairs = append(n.pairs, pair{Written{Place: f.Place, Text: f.Name}.node(), f.Value.node()})
		}
	case w.Items != nil:
		n.kind = list
		for _, x := range w.Items {
			n.items = append(n.items, x.node())
		}
	}
	return n
}

// ProblemAt makes a problem with a file that is read for a site; texts among the
// arguments are made fit to be shown.
func ProblemAt(at Place, code, hint string, args ...any) Problem {
	return Problem{Place: at, Width: 1, Code: code, Hint: hint, Args: makeArgs(args)}
}

// Sorted sorts problems by their place and drops what is said twice of one.
func (p Problems) Sorted() Problems { return p.Join(nil) }

// Spell prints a duration as the files write it, exactly.
func Spell(d time.Duration) string { return spell(d) }
