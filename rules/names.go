package rules

import (
	"cmp"
	"slices"
)

// name is that of an alarm or of an interlock.
func (e *Engine) name(f ref) string {
	if f.kind() == refAlarm {
		return e.rule(f.index()).Name
	}
	return e.interlocks[f.index()].name
}

// named finds an alarm or an interlock by its name. An ordered list costs a
// twentieth of a map's memory, and who asks has a command, a snapshot or an event in hand.
func (e *Engine) named(name string) (f ref, ok bool) {
	k, ok := slices.BinarySearchFunc(e.names, name, func(f ref, name string) int { return cmp.Compare(e.name(f), name) })
	if !ok {
		return 0, false
	}
	return e.names[k], true
}

// trim gives back what grew while the set was read.
func (b *builder) trim() {
	e := b.e
	e.alarms, e.about, e.own, e.whens = slices.Clone(e.alarms), slices.Clone(e.about), slices.Clone(e.own), slices.Clone(e.whens)
	e.names = make([]ref, 0, len(b.names))
	for _, f := range b.names {
		e.names = append(e.names, f)
	}
	slices.SortFunc(e.names, func(f, g ref) int { return cmp.Compare(e.name(f), e.name(g)) })
}
