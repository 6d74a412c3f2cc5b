package rules

import (
	"fmt"
	"math"
	"time"

	"davy/drivers/tag"
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
	switch {
	case (a.Except|a.Only) != 0 && !a.NotWatched, a.Except != 0 && a.Only != 0, (a.Except|a.Only)&^(WarmingUp|InTest) != 0:
		b.wrong(what, "", "what it leaves to other alarms has no meaning, or is no state")
	case a.LatchOver && (a.NotWatched || a.Cond.Op > GT || !b.detector(a.Cond.Tag)):
		b.wrong(what, "", "latches above the range, and does not watch a detector with >= or >")
	case a.LatchOver && a.AutoAck:
		b.wrong(what, "", "latches above the range, and a return to normal would acknowledge it")
	}
	back := a.Cond.Limit - a.Deadband
	if a.Cond.Op == LE || a.Cond.Op == LT {
		back = a.Cond.Limit + a.Deadband
	}
	limits := b.limits(what, a)
	if limits != nil {
		limits.band = back - a.Cond.Limit
	}
	b.add(a.Name, alarm{
		tag: a.Cond.Tag, op: a.Cond.Op, limit: a.Cond.Limit, back: back, notWatched: a.NotWatched, latch: a.Latch,
		left: -1, credit: -1,
		late:  a.Suppress.Tag != 0 || len(a.Modes) > 0 || a.Under != "" || !a.NotWatched && b.testOf(a.Cond.Tag) >= 0,
		watch: watchOf(a.Except, a.Only), above: b.above(a),
	}, limits)
}

// above takes what an alarm has to do with readings above the range.
func (b *builder) above(a *Alarm) (v aboveRange) {
	if b.detector(a.Cond.Tag) {
		v |= ofDetector
	}
	if a.LatchOver {
		v |= latchesAbove
	}
	return v
}

// testOf returns the alarm that says that a tag is in test too long; -1 none.
func (b *builder) testOf(id tag.ID) int32 {
	if b.tests == nil {
		b.tests = map[tag.ID]int32{}
		for i := range b.e.set.Alarms {
			a := &b.e.set.Alarms[i]
			if !a.NotWatched || a.Only&InTest == 0 {
				continue
			}
			if _, twice := b.tests[a.Cond.Tag]; twice {
				b.wrong("alarm", a.Name, "is the second that watches over the tests of its tag")
			}
			b.tests[a.Cond.Tag] = int32(i)
		}
	}
	if i, is := b.tests[id]; is {
		return i
	}
	return -1
}

// detector reports whether a tag of the set is one's; one that is not there was said.
func (b *builder) detector(id tag.ID) bool {
	return int(id) < len(b.e.set.Tags) && b.e.set.Tags[id].OverRange
}

func (b *builder) add(name string, a alarm, limits *alarmLimits) int {
	e := b.e
	b.names[name] = refAlarm | ref(len(e.alarms))
	e.alarms = append(e.alarms, a)
	e.about = append(e.about, about{under: -1, beyond: -1, testing: -1, group: -1, limits: limits})
	return len(e.alarms) - 1
}

// automatic adds an alarm whose condition comes from the engine: its name is
// that of its owner and an ending.
func (b *builder) automatic(owner, ending, of string, text Text, p Priority, delay time.Duration) int {
	name := owner + ending
	if len(name) > maxText { // no snapshot with it could be read
		b.wrong("alarm", name, "the name has more than %d bytes", maxText)
	}
	if other, twice := b.taken[name]; twice {
		b.wrong("alarm", name, "the name is already that of an %s", other)
	}
	b.taken[name] = "automatic alarm"
	b.e.own = append(b.e.own, automatic{Alarm{Name: name, Text: text, Priority: p, OnDelay: delay}, of, owner})
	return b.add(name, alarm{driven: true, left: -1, credit: -1}, nil)
}
