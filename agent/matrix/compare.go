package matrix

import (
	"slices"

	"davy/agent/i18n"
	"davy/rules"
)

// A Difference is one thing in which an interlock of the site and one of the
// table differ.
type Difference struct {
	Lock  string
	Label string // what it is, in the reader's language; "" the whole interlock
	Site  string // what the site says; "" nothing
	Table string // and the table
}

// Compare tells in which facts the interlocks of two matrices of one site differ,
// in the order of the first; both to the last digit. Where the tables of
// tags differ only in how a condition is written there is no difference.
func Compare(site, other *Matrix, lang i18n.Lang) []Difference {
	a, b := teller{m: site, lang: lang, exact: true}, teller{m: other, lang: lang, exact: true}
	find := func(m *Matrix, name string) (rules.Interlock, bool) {
		i := slices.IndexFunc(m.plan.Rules.Interlocks, func(x rules.Interlock) bool { return x.Name == name })
		if i < 0 {
			return rules.Interlock{}, false
		}
		return m.plan.Rules.Interlocks[i], true
	}
	var all []Difference
	for _, x := range site.plan.Rules.Interlocks {
		y, ok := find(other, x.Name)
		if !ok {
			all = append(all, Difference{Lock: x.Name, Site: a.vote(x)})
			continue
		}
		all = append(all, differences(x.Name, a.facts(x), b.facts(y), a)...)
	}
	for _, y := range other.plan.Rules.Interlocks {
		if _, ok := find(site, y.Name); !ok {
			all = append(all, Difference{Lock: y.Name, Table: b.vote(y)})
		}
	}
	return all
}

// differences pairs the facts of one label in their order.
func differences(lock string, a, b []fact, t teller) []Difference {
	var labels []string
	by := func(list []fact) map[string][]string {
		m := map[string][]string{}
		for _, f := range list {
			if m[f.label] = append(m[f.label], f.text); !slices.Contains(labels, f.label) {
				labels = append(labels, f.label)
			}
		}
		return m
	}
	left, right := by(a), by(b)
	var all []Difference
	for _, l := range labels {
		for i := range max(len(left[l]), len(right[l])) {
			d := Difference{Lock: lock, Label: t.say(l, nil)}
			if i < len(left[l]) {
				d.Site = left[l][i]
			}
			if i < len(right[l]) {
				d.Table = right[l][i]
			}
			if d.Site != d.Table {
				all = append(all, d)
			}
		}
	}
	return all
}
