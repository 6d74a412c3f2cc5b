package rules

import (
	"fmt"
	"math"
	"time"
)

func (b *builder) priority(what string, p Priority) {
	if p < Low || p > Critical {
		b.wrong(what, "", "priority %d is not one", p)
	}
}

func (b *builder) alarm(a *Alarm) {
	what := fmt.Sprintf("alarm %q", a.Name)
	b.name("alarm", a.Name)
	b.condition(what, a.Cond, !a.NotWatched)
	b.priority(what, a.Priority)
	b.delay(what, "on-delay", a.OnDelay)
	b.delay(what, "off-delay", a.OffDelay)
	switch {
	case !(a.Deadband >= 0) || math.IsInf(a.Deadband, 0):
		b.wrong(what, "", "the deadband is not a number from 0")
	case a.Deadband > 0 && !a.NotWatched && a.Cond.Op >= EQ:
		b.wrong(what, "", "a deadband has no meaning with = or ≠")
	}
	back := a.Cond.Limit - a.Deadband
	if a.Cond.Op == LE || a.Cond.Op == LT {
		back = a.Cond.Limit + a.Deadband
	}
	k := about{name: a.Name, text: a.Text, priority: a.Priority, agent: a.Agent, life: b.life(what, a)}
	k.limits.band = back - a.Cond.Limit
	b.add(a.Name, alarm{
		tag: a.Cond.Tag, op: a.Cond.Op, limit: a.Cond.Limit, back: back, notWatched: a.NotWatched, latch: a.Latch,
		on: int64(a.OnDelay), off: int64(a.OffDelay), left: -1, credit: -1,
		late: a.Suppress.Tag != 0 || len(a.Modes) > 0 || a.Under != "",
	}, k)
}

func (b *builder) add(name string, a alarm, v about) int {
	e := b.e
	e.names[name] = refAlarm | ref(len(e.alarms))
	e.alarms, e.about = append(e.alarms, a), append(e.about, v)
	return len(e.alarms) - 1
}

// automatic adds an alarm whose condition comes from the engine.
func (b *builder) automatic(name, of string, text Text, p Priority, delay time.Duration) int {
	if other, twice := b.taken[name]; twice {
		b.wrong("alarm", name, "the name is already that of an %s", other)
	}
	b.taken[name] = "automatic alarm"
	return b.add(name, alarm{driven: true, on: int64(delay), left: -1, credit: -1},
		about{name: name, text: text, of: of, priority: p, life: newLife()})
}
