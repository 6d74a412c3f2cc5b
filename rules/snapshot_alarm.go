package rules

import (
	"davy/drivers/tag"
)

// Bits of an entry's flags.
const (
	alarmPending  = 1 << iota // followed by how long the condition has stood
	alarmClearing             // followed by what is left of the off-delay
)

func (e *Engine) keptAlarm(i int) bool {
	a := &e.alarms[i]
	return e.about[i].occurrence > 0 || a.pending || a.credit >= 0
}

func (e *Engine) writeAlarm(w *writer, i int) {
	a, b := &e.alarms[i], &e.about[i]
	w.text(b.name)
	w.num(uint64(a.state))
	w.num(b.occurrence)
	if a.state != Normal {
		w.age(b.raised.Mono)
		w.value(b.atRaise)
	}
	stood, left := e.stood(a.credit, w.now), a.left
	if a.pending {
		stood = w.now - a.since
	}
	if slot := e.alarmTimer(i, moveTimer); a.raised() && e.timers.runs(slot) {
		left = max(e.timers.deadline[slot]-w.now, 0)
	}
	w.num(uint64(count(stood >= 0)*alarmPending | count(left >= 0)*alarmClearing))
	if stood >= 0 {
		w.span(stood)
	}
	if left >= 0 {
		w.span(left)
	}
}

func (e *Engine) restoreAlarm(i int, s savedAlarm, passed int64) {
	a, b := &e.alarms[i], &e.about[i]
	a.state, b.occurrence, b.atRaise = s.state, s.occurrence, s.value
	if !a.latch && a.state == LatchedUnacked {
		a.state = ReturnedUnacked
	}
	if !a.latch && a.state == LatchedAcked {
		a.state = Normal
	}
	if a.state != Normal {
		b.raised = before(s.age + passed)
	}
	if s.stood >= 0 && !a.raised() {
		a.credit = s.stood + passed
	}
	if s.left >= 0 && a.raised() {
		a.left = min(s.left, a.off)
	}
}

// savedAlarm is what a snapshot says of an alarm. Delays that do not run are -1.
type savedAlarm struct {
	name        string
	state       AlarmState
	occurrence  uint64
	age         int64 // 0: not raised
	value       tag.Value
	stood, left int64
}

func (r *reader) alarm() savedAlarm {
	s := savedAlarm{stood: -1, left: -1}
	s.name = r.text()
	s.state = AlarmState(r.num(uint64(LatchedAcked)))
	s.occurrence = r.num(maxOccurrence)
	if s.state != Normal {
		s.age, s.value = r.age(), r.value()
		if s.occurrence == 0 {
			r.wrong("alarm %q is raised and never was", s.name)
		}
	}
	flags := r.num(alarmPending | alarmClearing)
	if flags&alarmPending != 0 {
		s.stood = r.age()
	}
	if flags&alarmClearing != 0 {
		s.left = r.age()
	}
	return s
}
