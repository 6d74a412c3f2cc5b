package rules

import (
	"time"

	"davy/drivers/tag"
)

// output is one output: who demands it, and whether its proof holds.
type output struct {
	name       string
	demands    []int32 // all demands of this output
	active     int     // of them, active
	last       int32   // the demand that last changed active to or from 0
	protective bool    // as last announced
	moved      bool
	checked    bool // in Engine.checks
	proved     bool
	broken     bool
	holds      bool // the proof, by the last reading; a bad one proves nothing
	op         Op
	limit      float64
	within     int64
	value      tag.Value // of the proof
	quality    tag.Quality
	alarm      int // "<name>.proof"

	sought    bool  // demanded, and the proof has not come yet
	unsure    bool  // restored, and nobody knows how long was down: nor how old the trip is
	lacking   bool  // demanded, without proof, and not escalated
	lack      int64 // Mono since which
	escalate  int   // demands [escalate, escalate+escalates) are made when the proof does not come
	escalates int
	escalated bool
}

// demand is one interlock's demand of one output, or that of an output whose
// proof did not come.
type demand struct {
	lock, output int32
	from         int32 // the output whose proof did not come; -1: an interlock's own
	delay        int64
	runOn        int64
	active       bool
	running      bool   // the trip is over, and it is held on
	ends         int64  // of running: Mono
	order        uint64 // of becoming active
}

// take makes the demands of a tripped interlock, each after its delay. One that
// is still held from the trip before goes on.
func (e *Engine) take(i int, t tag.Stamp) {
	l := &e.interlocks[i]
	e.drive(l.alarm, yes, t)
	for d := l.demand; d < l.demand+l.demands; d++ {
		m := &e.demands[d]
		if m.active {
			m.running = false
			e.timers.stop(e.demandTimer(d, runOnTimer))
			continue
		}
		if at, due := passed(l.tripped.Mono, m.delay, t); due {
			e.demand(d)
		} else {
			e.timers.set(e.demandTimer(d, takeTimer), at)
		}
	}
}

func (e *Engine) demand(d int) {
	m := &e.demands[d]
	if m.active {
		return
	}
	e.activate(d)
	if o := &e.outputs[m.output]; o.active == 1 {
		o.last = int32(d)
		e.check(int(m.output))
	}
}

func (e *Engine) activate(d int) {
	m := &e.demands[d]
	e.order++
	m.active, m.order = true, e.order
	e.outputs[m.output].active++
}

// leave withdraws the demands of an interlock, also those not yet made; those
// with a run-on are held until that is over.
func (e *Engine) leave(i int, t tag.Stamp) {
	l := &e.interlocks[i]
	for d := l.demand; d < l.demand+l.demands; d++ {
		e.timers.stop(e.demandTimer(d, takeTimer))
		switch m := &e.demands[d]; {
		case !m.active:
		case m.runOn > 0:
			m.running, m.ends = true, t.Mono+m.runOn
			e.timers.set(e.demandTimer(d, runOnTimer), m.ends)
		default:
			e.drop(d)
		}
	}
}

// runOn lets restored run-ons go on.
func (e *Engine) runOn(i int) {
	l := &e.interlocks[i]
	for d := l.demand; d < l.demand+l.demands; d++ {
		if e.demands[d].running {
			e.timers.set(e.demandTimer(d, runOnTimer), e.demands[d].ends)
		}
	}
}

// endRunOn withdraws what was held for long enough.
func (e *Engine) endRunOn(i int, t tag.Stamp) {
	l := &e.interlocks[i]
	for d := l.demand; d < l.demand+l.demands; d++ {
		if m := &e.demands[d]; m.running && m.ends <= t.Mono {
			e.drop(d)
		}
	}
}

// drop withdraws a demand that is made.
func (e *Engine) drop(d int) {
	m := &e.demands[d]
	if !m.active {
		return
	}
	m.active, m.running = false, false
	o := &e.outputs[m.output]
	if o.active--; o.active == 0 {
		o.last = int32(d)
		e.check(int(m.output))
	}
}

func (e *Engine) move(o int) {
	if !e.outputs[o].moved {
		e.outputs[o].moved = true
		e.moved = append(e.moved, int32(o))
	}
}

func (e *Engine) outputState(o int) OutputState {
	s := OutputState{Output: o}
	first := uint64(0)
	for _, d := range e.outputs[o].demands {
		m := &e.demands[d]
		if m.lock < 0 {
			continue // never made
		}
		l := &e.interlocks[m.lock]
		// A restored trip demands already before the first step; its stamp is then minus its age.
		restored := !e.started && m.from < 0 && l.state == Tripped && m.delay <= -l.tripped.Mono
		if (m.active || restored) && (!s.Protective || m.order < first) {
			s.Protective, first, s.By = true, m.order, l.name
		}
	}
	return s
}

// holder returns the demand that has held an output longest; -1 none.
func (e *Engine) holder(o int) int {
	at := -1
	for _, d := range e.outputs[o].demands {
		if e.demands[d].active && (at < 0 || e.demands[d].order < e.demands[at].order) {
			at = int(d)
		}
	}
	return at
}

// judgeProof judges a reading of the tag that proves an output.
func (e *Engine) judgeProof(o int, r *tag.Reading) {
	p := &e.outputs[o]
	a := &e.alarms[p.alarm]
	a.value, a.quality = r.Value, r.Quality
	p.value, p.quality = r.Value, r.Quality
	p.holds = !p.broken && usable(r) && p.op.holds(r.Value.Float(), p.limit)
	e.check(o)
}

// check marks an output to be looked at when all demands of this instant are known.
func (e *Engine) check(o int) {
	if p := &e.outputs[o]; !p.checked {
		p.checked = true
		e.checks = append(e.checks, int32(o))
	}
}

// settleOutputs says which outputs are demanded or released at t, and drives
// the alarms that say that a demanded output did not follow. Who releases and
// who demands at one instant makes no change between them.
func (e *Engine) settleOutputs(t tag.Stamp) {
	for ; e.checked < len(e.checks); e.checked++ {
		o := int(e.checks[e.checked])
		p := &e.outputs[o]
		p.checked = false
		e.cur = refProof | ref(o)
		if on := p.active > 0; on != p.protective {
			p.protective = on
			v := e.lockEvent(int(e.demands[p.last].lock), OutputReleased, t)
			v.Output = p.name
			if on {
				v.Kind = OutputDemanded
			}
			e.emit(v)
			e.move(o)
			e.durable = true
			p.sought, p.unsure = on && p.proved, false
			if !on {
				e.endEscalation(o)
			}
		}
		if p.proved {
			e.drive(p.alarm, truthOf(p.protective && !p.holds), t)
			e.prove(o, t)
		}
	}
	e.checks, e.checked = e.checks[:0], 0
}

// prove says when the proof of a demanded output came, and escalates where it
// does not. That looks at nothing of the alarm, which may be shelved.
func (e *Engine) prove(o int, t tag.Stamp) {
	p := &e.outputs[o]
	slot := e.lackSlot(o)
	if !p.protective || p.holds || p.escalates == 0 || p.escalated {
		p.lacking = false
		e.timers.stop(slot)
		if p.protective && p.holds && p.sought {
			p.sought = false
			v := e.proofEvent(o, OutputProved, t)
			if l := &e.interlocks[e.demands[e.holder(o)].lock]; !p.unsure {
				v.For = time.Duration(max(t.Mono-l.tripped.Mono, 0))
			}
			e.emit(v)
		}
		return
	}
	if !p.lacking {
		p.lacking, p.lack = true, t.Mono
	}
	at, due := passed(p.lack, p.within, t)
	if !due {
		e.timers.set(slot, at)
		return
	}
	e.timers.stop(slot)
	p.lacking, p.escalated = false, true
	e.emit(e.proofEvent(o, OutputEscalated, t))
	lock := e.demands[e.holder(o)].lock
	for d := p.escalate; d < p.escalate+p.escalates; d++ {
		e.demands[d].lock = lock
		e.demand(d)
	}
}

// endEscalation withdraws what was demanded because the proof did not come.
func (e *Engine) endEscalation(o int) {
	p := &e.outputs[o]
	if p.escalated {
		p.escalated = false
		for d := p.escalate; d < p.escalate+p.escalates; d++ {
			e.drop(d)
		}
	}
}

// proofEvent makes an event of the proof of a demanded output.
func (e *Engine) proofEvent(o int, k Kind, t tag.Stamp) Event {
	p := &e.outputs[o]
	v := e.lockEvent(int(e.demands[e.holder(o)].lock), k, t)
	v.Output, v.Tag, v.Value, v.Quality, v.Limit = p.name, e.set.Outputs[o].Proof.Tag, p.value, p.quality, p.limit
	e.durable = true
	return v
}

// anchorOutputs moves what Restore brought to the clock of this run.
func (e *Engine) anchorOutputs(now tag.Stamp) {
	for d := range e.demands {
		if e.demands[d].running {
			e.demands[d].ends += now.Mono
		}
	}
	for o := range e.outputs {
		if e.outputs[o].lacking {
			e.outputs[o].lack += now.Mono
		}
	}
}
