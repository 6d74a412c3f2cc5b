package rules

import (
	"time"

	"davy/drivers/tag"
)

// Alarms appends every alarm that is not normal, in the order of the set, the
// automatic ones behind it.
func (e *Engine) Alarms(dst []AlarmView, _ tag.Stamp) []AlarmView {
	for i := range e.alarms {
		if e.alarms[i].state != Normal {
			dst = append(dst, e.alarmView(i))
		}
	}
	return dst
}

// Alarm returns one alarm by its name, also a normal one.
func (e *Engine) Alarm(name string) (AlarmView, bool) {
	f, ok := e.names[name]
	if !ok || f.kind() != refAlarm {
		return AlarmView{}, false
	}
	return e.alarmView(f.index()), true
}

func (e *Engine) alarmView(i int) AlarmView {
	a, b := &e.alarms[i], &e.about[i]
	return AlarmView{
		Name: b.name, Text: b.text, State: a.state, Priority: b.priority, Occurrence: b.occurrence, Raised: b.raised,
		Tag: a.tag, Value: b.atRaise, Limit: a.limit, NotWatched: a.notWatched, Agent: b.agent, Of: b.of,
	}
}

// Interlocks appends every interlock, in the order of the set; times that are
// still to come count from in.Now.
func (e *Engine) Interlocks(dst []InterlockView, in *Input) []InterlockView {
	for i := range e.interlocks {
		dst = append(dst, e.interlockView(i, in.Now))
	}
	return dst
}

// Interlock returns one interlock by its name.
func (e *Engine) Interlock(name string, now tag.Stamp) (InterlockView, bool) {
	f, ok := e.names[name]
	if !ok || f.kind() != refInterlock {
		return InterlockView{}, false
	}
	return e.interlockView(f.index(), now), true
}

func (e *Engine) interlockView(i int, now tag.Stamp) InterlockView {
	l := &e.interlocks[i]
	v := InterlockView{
		Name: l.name, Text: l.text, State: l.state, Degraded: l.outs > 0 && l.state != Starting, Occurrence: l.occurrence,
	}
	if l.state != Tripped {
		if e.started && !l.wrecked() {
			v.Votes = e.votes(i)
		}
		return v
	}
	v.FirstOut, v.Votes, v.TrippedAt, v.ResetReady = l.firstOut, l.votes, l.tripped, l.ready
	if slot := e.lockTimer(i, resetTimer); e.timers.runs(slot) {
		v.ResetIn = time.Duration(max(e.timers.deadline[slot]-now.Mono, 0))
	}
	return v
}

// Demands appends the present demand of every output, in the order of the set.
// After Restore it is right already before the first Step.
func (e *Engine) Demands(dst []OutputState) []OutputState {
	for i := range e.outputs {
		dst = append(dst, e.outputState(i))
	}
	return dst
}
