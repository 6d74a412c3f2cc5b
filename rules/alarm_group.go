package rules

import (
	"math"

	"davy/drivers/tag"
)

// group is a group of alarms of which the first is marked: the one whose raise
// finds none raised that people are called to. What an instant brings is one:
// those raised at it are all the first, for it is not known which was; and one
// that returns at it was still raised. The mark ends when the alarm is normal,
// when something is laid over it, and when the group has a later first.
type group struct {
	name   string
	raised int   // alarms of it that are, and that people are called to
	at     int64 // Mono of the last change of that
	before int   // how many were before that instant
	turn   uint64
	turnAt int64 // Mono of the present first
}

func newGroup(name string) group { return group{name: name, at: math.MinInt64, turnAt: math.MinInt64} }

func (g *group) touch(t tag.Stamp) {
	if g.at != t.Mono {
		g.at, g.before = t.Mono, g.raised
	}
}

// joinGroup counts a raise and says whether it is the first of its group.
func (e *Engine) joinGroup(i int, t tag.Stamp) (first bool) {
	b := &e.about[i]
	if b.group < 0 {
		return false
	}
	g := &e.groups[b.group]
	g.touch(t)
	g.raised++
	if g.before > count(b.leftAt == t.Mono) { // itself is no other
		return false
	}
	if g.turnAt != t.Mono {
		g.turn, g.turnAt = g.turn+1, t.Mono
	}
	b.turn = g.turn
	return true
}

// leaveGroup counts a return, or that something was laid over a raised alarm.
func (e *Engine) leaveGroup(i int, t tag.Stamp) {
	b := &e.about[i]
	if b.group < 0 {
		return
	}
	e.groups[b.group].touch(t)
	e.groups[b.group].raised--
	if b.raised.Mono < t.Mono {
		b.leftAt = t.Mono
	}
}

// isFirst says whether an alarm is marked as the first of its group.
func (e *Engine) isFirst(i int) bool {
	b := &e.about[i]
	return b.group >= 0 && b.turn > 0 && b.turn == e.groups[b.group].turn && e.alarms[i].state != Normal && b.calls()
}

// startGroups counts what Restore brought, at the instant of the first step.
func (e *Engine) startGroups(now tag.Stamp) {
	for i := range e.alarms {
		b := &e.about[i]
		if b.group < 0 {
			continue
		}
		g := &e.groups[b.group]
		g.at = now.Mono
		if b.leftNow {
			b.leftNow, b.leftAt = false, now.Mono
			g.before++
		}
		if b.turn > 0 && e.alarms[i].state != Normal && b.calls() {
			g.turnAt = max(g.turnAt, b.raised.Mono)
		}
		if !e.alarms[i].raised() || !b.calls() {
			continue
		}
		g.raised++
		g.before += count(b.raised.Mono < now.Mono)
	}
}
