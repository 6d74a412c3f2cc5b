package rules

import (
	"fmt"
	"strings"
)

// limits reads what an alarm says of its life beside its condition. It returns
// nil where it has neither modes nor a condition that suppresses it.
func (b *builder) limits(what string, a *Alarm) *alarmLimits {
	b.delay(what, "re-alarm time", a.Realarm)
	b.delay(what, "shelving time", a.ShelveAtMost)
	if a.AutoAck && a.Latch {
		b.wrong(what, "", "latches, and a return to normal would acknowledge it")
	}
	if a.Sort > OfInstrument {
		b.wrong(what, "", "unknown sort %d", a.Sort)
	}
	if len(a.Group) > MaxName {
		b.wrong(what, "", "the name of its group has more than %d bytes", MaxName)
	}
	if a.Suppress.Tag == 0 && len(a.Modes) == 0 {
		return nil
	}
	l := &alarmLimits{base: a.Cond.Limit, modes: a.Modes, when: -1, mode: -1, raised: -1}
	if a.Suppress.Tag != 0 {
		b.condition(what+" suppress", a.Suppress, true)
		l.when = b.when(a.Suppress)
	}
	l.first = int32(len(b.e.whens))
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
		l := &e.about[i]
		l.under = b.alarmNamed(a.Name, "stands under", a.Under)
		l.beyond = b.alarmNamed(a.Name, "has beyond it", a.Beyond)
		if !a.NotWatched {
			l.testing = b.testOf(a.Cond.Tag)
		}
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
	b.chain("stands under", func(l *about) int32 { return l.under })
	b.chain("has beyond it", func(l *about) int32 { return l.beyond })
	for i := range e.alarms {
		l := &e.about[i]
		b.depth(int32(i))
		if l.under >= 0 {
			e.below[l.under] = append(e.below[l.under], int32(i))
		}
		if l.testing >= 0 {
			e.below[l.testing] = append(e.below[l.testing], int32(i))
		}
	}
}

// depth puts an alarm behind those that may suppress it by being raised, or by
// not being it.
func (b *builder) depth(i int32) int32 {
	const onWay = -1
	if i < 0 {
		return -1
	}
	l := &b.e.about[i]
	switch l.depth {
	case 0:
		l.depth = onWay
		l.depth = max(0, b.depth(l.under)+1, b.depth(l.testing)+1)
	case onWay:
		if len(b.errs) == 0 { // else it may be the circle that was said
			b.wrong("alarm", b.e.rule(int(i)).Name, "stands under itself, by the alarm of a test")
		}
		return 0
	}
	return l.depth
}

func (b *builder) alarmNamed(of, how, name string) int32 {
	if name == "" {
		return -1
	}
	f, ok := b.names[name]
	if !ok || f.kind() != refAlarm {
		b.wrong("alarm", of, "%s %q, which is no alarm", how, name)
		return -1
	}
	return int32(f.index())
}

// chain goes the way of each alarm along next. One that comes back to where it
// was is wrong, and said once.
func (b *builder) chain(how string, next func(*about) int32) {
	const unseen, onWay, done = 0, 1, 2
	e := b.e
	state := make([]uint8, len(e.alarms))
	for i := range state {
		var way []int32
		k := int32(i)
		for ; k >= 0 && state[k] == unseen; k = next(&e.about[k]) {
			state[k] = onWay
			way = append(way, k)
		}
		if k >= 0 && state[k] == onWay {
			b.circle(how, way, k)
		}
		for _, k := range way {
			state[k] = done
		}
	}
}

func (b *builder) circle(how string, way []int32, from int32) {
	var names []string
	for _, k := range way {
		if len(names) > 0 || k == from {
			names = append(names, b.e.rule(int(k)).Name)
		}
	}
	first := b.e.rule(int(from)).Name
	b.wrong("alarm", first, "%s itself: %s", how, strings.Join(append(names, first), " → "))
}
