package rules

import (
	"fmt"
	"strings"
)

// life reads what an alarm says of its life beside its condition.
func (b *builder) life(what string, a *Alarm) life {
	l := newLife()
	l.sort, l.guide, l.autoAck, l.noShelve, l.realarm = a.Sort, a.Guide, a.AutoAck, a.NoShelve, int64(a.Realarm)
	l.limits.base, l.limits.modes = a.Cond.Limit, a.Modes
	b.delay(what, "re-alarm time", a.Realarm)
	b.delay(what, "shelving time", a.ShelveAtMost)
	if a.ShelveAtMost != 0 {
		l.atMost = int64(a.ShelveAtMost)
	}
	if a.AutoAck && a.Latch {
		b.wrong(what, "", "latches, and a return to normal would acknowledge it")
	}
	if a.Sort > OfInstrument {
		b.wrong(what, "", "unknown sort %d", a.Sort)
	}
	if len(a.Group) > MaxName {
		b.wrong(what, "", "the name of its group has more than %d bytes", MaxName)
	}
	l.limits.when = -1
	if a.Suppress.Tag != 0 {
		b.condition(what+" suppress", a.Suppress, true)
		l.limits.when = b.when(a.Suppress)
	}
	l.limits.first = int32(len(b.e.whens))
	seen := map[string]bool{}
	for _, m := range a.Modes {
		of := fmt.Sprintf("%s mode %q", what, m.Name)
		if m.Name == "" || len(m.Name) > MaxName || seen[m.Name] {
			b.wrong(of, "", "the name is empty, longer than %d bytes, or stands twice", MaxName)
		}
		seen[m.Name] = true
		b.condition(of, m.When, true)
		if !m.Off {
			b.condition(of, Condition{a.Cond.Tag, a.Cond.Op, m.Limit}, true)
			if a.NotWatched || a.Cond.Op >= EQ {
				b.wrong(of, "", "a limit of a mode has no meaning where nothing is compared with < or >")
			}
		}
		b.when(m.When)
	}
	return l
}

// when adds a condition of the alarm that is about to be added.
func (b *builder) when(c Condition) int32 {
	b.e.whens = append(b.e.whens, when{alarm: int32(len(b.e.alarms)), tag: c.Tag, op: c.Op, limit: c.Limit})
	return int32(len(b.e.whens) - 1)
}

// relate finds the alarms that others name, once all are there.
func (b *builder) relate() {
	e := b.e
	groups := map[string]int32{}
	for i := range b.e.set.Alarms {
		a := &b.e.set.Alarms[i]
		l := &e.about[i].life
		l.under = b.alarmNamed(a.Name, "stands under", a.Under)
		l.beyond = b.alarmNamed(a.Name, "has beyond it", a.Beyond)
		if a.Group == "" {
			continue
		}
		k, known := groups[a.Group]
		if !known {
			k = int32(len(e.groups))
			groups[a.Group] = k
			e.groups = append(e.groups, newGroup(a.Group))
		}
		l.group = k
	}
	depths := b.chain("stands under", func(l *life) int32 { return l.under })
	b.chain("has beyond it", func(l *life) int32 { return l.beyond })
	for i := range e.alarms {
		l := &e.about[i].life
		l.depth = depths[i]
		if l.under >= 0 {
			up := &e.about[l.under].life
			up.below = append(up.below, int32(i))
		}
	}
}

func (b *builder) alarmNamed(of, how, name string) int32 {
	if name == "" {
		return -1
	}
	f, ok := b.e.names[name]
	if !ok || f.kind() != refAlarm {
		b.wrong("alarm", of, "%s %q, which is no alarm", how, name)
		return -1
	}
	return int32(f.index())
}

// chain returns how many alarms come after each one on its way along next. A
// way that comes back to where it was is wrong, and said once.
func (b *builder) chain(how string, next func(*life) int32) []int64 {
	const unknown, onWay = -1, -2
	e := b.e
	n := make([]int64, len(e.alarms))
	for i := range n {
		n[i] = unknown
	}
	for i := range n {
		var way []int32
		k := int32(i)
		for ; k >= 0 && n[k] == unknown; k = next(&e.about[k].life) {
			n[k] = onWay
			way = append(way, k)
		}
		after := int64(-1)
		switch {
		case k < 0:
		case n[k] >= 0:
			after = n[k]
		default:
			after = 0
			b.circle(how, way, k)
		}
		for j := len(way) - 1; j >= 0; j-- {
			after++
			n[way[j]] = after
		}
	}
	return n
}

func (b *builder) circle(how string, way []int32, from int32) {
	var names []string
	for _, k := range way {
		if len(names) > 0 || k == from {
			names = append(names, b.e.about[k].name)
		}
	}
	b.wrong("alarm", b.e.about[from].name, "%s itself: %s", how, strings.Join(append(names, b.e.about[from].name), " → "))
}
