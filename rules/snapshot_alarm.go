package rules

import (
	"slices"

	"davy/drivers/tag"
)

// Bits of an entry's flags. What follows them follows in their order.
const (
	alarmPending     = 1 << iota // how long the condition has stood
	alarmClearing                // what is left of the off-delay
	alarmFirst                   // of its group
	alarmSilenced                //
	alarmShelved                 // who, note, what is left
	alarmOut                     // with what, who, note
	alarmSuppressed              // by what
	alarmAgain                   // what is left of the re-alarm time
	alarmMode                    // name of the mode that holds
	alarmRaisedMode              // name of the mode whose limit raised it
	alarmLeft                    // its group has lost it at this very instant
	alarmSawAbove                // a reading above the range, and it is not raised yet
	alarmRaisedAbove             // it was raised by one

	alarmFlags = 1<<iota - 1
)

func (e *Engine) keptAlarm(i int) bool {
	a, b := &e.alarms[i], &e.about[i]
	l := b.look()
	return l.occurrence > 0 || a.pending || a.credit >= 0 || !l.calls() || l.shelver != nil || b.limits != nil && b.limits.mode >= 0 ||
		a.above&(sawAbove|raisedAbove) != 0
}

func (e *Engine) writeAlarm(w *writer, i int) {
	a, b := &e.alarms[i], e.about[i].look()
	w.text(e.rule(i).Name)
	w.num(uint64(a.state))
	w.num(b.occurrence)
	if a.state != Normal {
		w.age(b.raised.Mono)
		w.value(b.atRaise)
	}
	stood, left, again := e.stood(a.credit, w.now), a.left, b.againLeft
	if a.pending {
		stood = w.now - a.since
	}
	if slot := e.alarmTimer(i, moveTimer); a.raised() && e.timers.runs(slot) {
		left = max(e.timers.at(slot)-w.now, 0)
	}
	if slot := e.alarmTimer(i, againTimer); e.timers.runs(slot) {
		again = max(e.timers.at(slot)-w.now, 0)
	}
	mode, raised, limits := int32(-1), int32(-1), e.about[i].limits
	if limits != nil {
		mode = limits.mode
	}
	if limits != nil && a.state != Normal {
		raised = limits.raised
	}
	w.num(uint64(count(stood >= 0)*alarmPending | count(left >= 0)*alarmClearing |
		count(e.isFirst(i))*alarmFirst | count(b.silenced)*alarmSilenced | count(b.shelver != nil)*alarmShelved |
		count(b.out != 0)*alarmOut | count(b.by != 0)*alarmSuppressed | count(again >= 0)*alarmAgain |
		count(mode >= 0)*alarmMode | count(raised >= 0)*alarmRaisedMode | count(b.leftNow || b.leftAt == w.now)*alarmLeft |
		count(a.above&sawAbove != 0)*alarmSawAbove | count(a.above&raisedAbove != 0)*alarmRaisedAbove))
	if stood >= 0 {
		w.span(stood)
	}
	if left >= 0 {
		w.span(left)
	}
	if b.shelver != nil {
		w.author(b.shelver)
		w.span(int64(e.shelveLeft(i, tag.Stamp{Mono: w.now})))
	}
	if b.out != 0 {
		w.num(uint64(b.out))
		w.author(b.remover)
	}
	if b.by != 0 {
		w.num(uint64(b.by))
	}
	if again >= 0 {
		w.span(again)
	}
	if mode >= 0 {
		w.text(limits.modes[mode].Name)
	}
	if raised >= 0 {
		w.text(limits.modes[raised].Name)
	}
}

func (w *writer) author(p *person) {
	w.text(p.who[:min(len(p.who), maxText)])
	w.text(p.note)
}

func (e *Engine) restoreAlarm(i int, s savedAlarm, passed int64) {
	a, b := &e.alarms[i], e.about[i].live()
	a.state, b.occurrence, b.atRaise = s.state, s.occurrence, s.value
	e.restoreOver(i, &s, passed)
	if a.above&latchesAbove != 0 && s.flags&alarmSawAbove != 0 {
		a.above |= sawAbove
	}
	if a.above&latchesAbove != 0 && s.flags&alarmRaisedAbove != 0 {
		a.above |= raisedAbove
	}
	if !a.latches() && a.state == LatchedUnacked {
		a.state = ReturnedUnacked
	}
	if !a.latches() && a.state == LatchedAcked {
		a.state = Normal
	}
	if !b.calls() {
		a.state = a.state.beneath()
	}
	e.restoreModes(i, &s)
	if g := e.about[i].group; s.flags&alarmFirst != 0 && g >= 0 {
		e.groups[g].turn, b.turn = 1, 1
	}
	b.leftNow = s.flags&alarmLeft != 0 && passed == 0
	if a.state != Normal {
		b.raised = before(s.age + passed)
	}
	if s.stood >= 0 && !a.raised() {
		a.credit = s.stood + passed
	}
	if s.left >= 0 && a.raised() {
		a.left = min(s.left, int64(e.rule(i).OffDelay))
	}
	if all := int64(e.rule(i).Realarm); a.state == Acked && all > 0 {
		b.againLeft = all // also where the rule had none before
		if s.again >= 0 {
			b.againLeft = max(min(s.again, all)-passed, 0)
		}
	}
}

// restoreOver takes over what lay over an alarm. A shelving goes on as far as the
// rule permits it now; what is over ends at the first step.
func (e *Engine) restoreOver(i int, s *savedAlarm, passed int64) {
	l := e.about[i].live()
	l.silenced, l.out, l.by = s.flags&alarmSilenced != 0, s.out, s.by
	if s.out != 0 {
		l.remover = &person{s.remover.who, s.remover.note}
	}
	if s.flags&alarmShelved != 0 {
		l.shelver = &person{s.shelver.who, s.shelver.note}
		l.shelveLeft = max(min(s.shelveLeft, e.shelveAtMost(i))-passed, 0)
		if e.rule(i).NoShelve {
			l.shelveLeft = 0
		}
	}
}

// restoreModes lets the mode that held, and what suppressed the alarm, hold
// until they are read or the start is over.
func (e *Engine) restoreModes(i int, s *savedAlarm) {
	a, l := &e.alarms[i], e.about[i].limits
	if l == nil {
		return
	}
	carry := func(k int32) { e.whens[k].holds, e.whens[k].carried = true, true }
	if l.when >= 0 && s.by&byRule != 0 {
		carry(l.when)
	}
	named := func(name string) int32 {
		return int32(slices.IndexFunc(l.modes, func(m Mode) bool { return name != "" && m.Name == name }))
	}
	if l.raised = named(s.raisedMode); len(l.modes) > 0 {
		a.back = l.of(l.raised) + l.band
	}
	if l.mode = named(s.mode); l.mode >= 0 {
		carry(l.first + l.mode)
		a.limit = l.of(l.mode)
	}
}

// savedAlarm is what a snapshot says of an alarm. Delays that do not run are -1.
type savedAlarm struct {
	name             string
	state            AlarmState
	occurrence       uint64
	flags            uint64
	age              int64 // 0: not raised
	value            tag.Value
	stood, left      int64
	shelver, remover person
	shelveLeft       int64
	out, by          uint8
	again            int64
	mode, raisedMode string
}

func (r *reader) alarm() savedAlarm {
	s := savedAlarm{stood: -1, left: -1, again: -1}
	s.name = r.text()
	s.state = AlarmState(r.num(uint64(LatchedAcked)))
	s.occurrence = r.num(maxOccurrence)
	if s.state != Normal {
		s.age, s.value = r.age(), r.value()
		if s.occurrence == 0 {
			r.wrong("alarm %q is raised and never was", s.name)
		}
	}
	s.flags = r.num(alarmFlags)
	has := func(f uint64) bool { return s.flags&f != 0 }
	if has(alarmPending) {
		s.stood = r.age()
	}
	if has(alarmClearing) {
		s.left = r.age()
	}
	if has(alarmShelved) {
		s.shelver, s.shelveLeft = r.author(), r.age()
	}
	if has(alarmOut) {
		s.out, s.remover = uint8(r.num(outOfItself|outOfDevice)), r.author()
	}
	if has(alarmSuppressed) {
		s.by = uint8(r.num(byRule | byMode | byUnder | byTest))
	}
	if has(alarmAgain) {
		s.again = r.age()
	}
	if has(alarmMode) {
		s.mode = r.text()
	}
	if has(alarmRaisedMode) {
		s.raisedMode = r.text()
	}
	return s
}

func (r *reader) author() person { return person{r.text(), r.note()} }
