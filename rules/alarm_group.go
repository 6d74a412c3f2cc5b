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
	l := b.live()
	if g.before > count(l.leftAt == t.Mono) { // itself is no other
		return false
	}
	if g.turnAt != t.Mono {
		g.turn, g.turnAt = g.turn+1, t.Mono
	}
	l.turn = g.turn
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
	if l := b.live(); l.raised.Mono < t.Mono {
		l.leftAt = t.Mono
	}
}

// isFirst says whether an alarm is marked as the first of its group.
func (e *Engine) isFirst(i int) bool {
	b := &e.about[i]
	if b.group < 0 || b.life == nil {
		return false
	}
	return b.life.turn > 0 && b.life.turn == e.groups[b.group].turn && e.alarms[i].state != Normal && b.life.calls()
}

// startGroups counts what Restore brought, at the instant of the first step.
func (e *Engine) startGroups(now tag.Stamp) {
	for i := range e.alarms {
		b := &e.about[i]
		if b.group < 0 {
			continue
		}
		g, l := &e.groups[b.group], b.life
		g.at = now.Mono
		if l == nil {
			continue
		}
		if l.leftNow {
			l.leftNow, l.leftAt = false, now.Mono
			g.before++
		}
		if l.turn > 0 && e.alarms[i].state != Normal && l.calls() {
			g.turnAt = max(g.turnAt, l.raised.Mono)
		}
		if !e.alarms[i].raised() || !l.calls() {
			continue
		}
		g.raised++
		g.before += count(l.raised.Mono < now.Mono)
	}
}
