package rules

import (
	"time"

	"davy/drivers/tag"
)

// Alarms appends every alarm that is not normal, in the order of the set, the
// automatic ones behind it; times that are still to come count from now.
func (e *Engine) Alarms(dst []AlarmView, now tag.Stamp) []AlarmView {
	for i := range e.alarms {
		if e.alarms[i].state != Normal || !e.about[i].life.calls() {
			dst = append(dst, e.alarmView(i, now))
		}
	}
	return dst
}

// Alarm returns one alarm by its name, also a normal one.
func (e *Engine) Alarm(name string) (AlarmView, bool) {
	f, ok := e.named(name)
	if !ok || f.kind() != refAlarm {
		return AlarmView{}, false
	}
	return e.alarmView(f.index(), e.now), true
}

func (e *Engine) alarmView(i int, now tag.Stamp) AlarmView {
	a, b, r, l := &e.alarms[i], &e.about[i], e.rule(i), e.about[i].look()
	v := AlarmView{
		Name: r.Name, Text: r.Text, Guide: r.Guide, Sort: r.Sort, State: a.state, Standing: a.raised(), Sounds: e.sounds(i),
		First: e.isFirst(i), Priority: r.Priority, Occurrence: l.occurrence, Raised: l.raised,
		Tag: a.tag, Value: l.atRaise, Limit: e.shownLimit(i), NotWatched: a.notWatched, Agent: r.Agent, Of: e.automatic(i),
		Test: e.ofTest(&Event{Rule: r.Name, Quality: a.quality}),
	}
	if b.group >= 0 {
		v.Group = e.groups[b.group].name
	}
	if m := e.shownMode(i); m >= 0 {
		v.Mode = b.limits.modes[m].Name
	}
	switch over := l.over(); over {
	case Shelved:
		v.State, v.Who, v.Note = over, l.shelver.who, l.shelver.note
		v.Left = e.shelveLeft(i, now)
	case Suppressed:
		v.State = over
		if l.by&byUnder != 0 && b.under >= 0 { // restored, it may not be under that one any more
			v.Under = e.rule(int(b.under)).Name
		}
		v.InTest = l.by&byTest != 0
	case OutOfService:
		v.State, v.Who, v.Note = over, l.remover.who, l.remover.note
	}
	return v
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
	f, ok := e.named(name)
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
	e.lockMore(&v, l, now)
	if l.state != Tripped {
		if e.started && !l.wrecked() {
			v.Votes = e.votes(i)
		}
		return v
	}
	v.FirstOut, v.Votes, v.TrippedAt, v.ResetReady = l.firstOut, l.votes, l.tripped, l.ready
	if !l.ready && !l.standing && !l.wrecked() && !e.timers.runs(e.lockTimer(i, resetTimer)) && e.started {
		v.Missing = e.unmet(i)
	}
	if slot := e.lockTimer(i, resetTimer); e.timers.runs(slot) {
		v.ResetIn = time.Duration(max(e.timers.at(slot)-now.Mono, 0))
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
