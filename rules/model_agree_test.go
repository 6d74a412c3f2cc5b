package rules

import (
	"fmt"
	"math"
	"time"

	"davy/drivers/tag"

	"pgregory.net/rapid"
)

// agree looks at an interlock's permissives, and at every two of its channels.
func (m *model) agree(l *modelLock, t int) {
	for _, p := range l.Permissives {
		c := no
		if m.truth(l.Arm, yes) != no {
			c = map[truth]truth{yes: no, no: yes, unknown: unknown}[m.truth(p.Cond, yes)]
		}
		m.alarm(m.auto[l.Name+"."+p.Name+".not-permitted"], c, false, t)
	}
	a := m.auto[l.Name+".discrepancy"]
	if a == nil {
		return
	}
	differ, all := false, true
	judged := func(i int) bool {
		q := m.image[l.Channels[i].Cond.Tag].Quality
		return l.ch[i].usable && q&tag.Test == 0 && q.Reason() != tag.FunctionCheck
	}
	for i := range l.ch {
		if l.Channels[i].Manual {
			continue
		}
		all = all && judged(i)
		for j := range l.ch[:i] {
			if !judged(i) || !judged(j) || l.Channels[j].Manual {
				continue
			}
			by := math.Abs(m.image[l.Channels[i].Cond.Tag].Value.Float() - m.image[l.Channels[j].Cond.Tag].Value.Float())
			differ = differ || l.Discrepancy.Spread > 0 && by > l.Discrepancy.Spread || l.Discrepancy.Spread == 0 && l.ch[i].over != l.ch[j].over
		}
	}
	switch {
	case differ:
		m.alarm(a, yes, false, t)
	case all:
		m.alarm(a, no, false, t)
	default:
		m.alarm(a, unknown, false, t)
	}
}

// drawAgree adds permissives and a discrepancy to an interlock.
func drawAgree(t *rapid.T, l *Interlock, cond func(int) Condition, delay *rapid.Generator[time.Duration]) {
	for k := range rapid.IntRange(0, 2).Draw(t, "permissives") {
		l.Permissives = append(l.Permissives, Permissive{
			Name: fmt.Sprintf("p%d", k), Cond: cond(rapid.IntRange(1, modelTags).Draw(t, "permissive")), Priority: Low, After: delay.Draw(t, "missing"),
		})
	}
	if len(l.Channels) > 1 && rapid.Bool().Draw(t, "discrepancy") {
		l.Discrepancy = Discrepancy{Priority: Low, Spread: float64(rapid.IntRange(0, 3).Draw(t, "spread")), After: delay.Draw(t, "apart")}
	}
}
