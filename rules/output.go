package rules

import "davy/drivers/tag"

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
	alarm      int // "<name>.proof"
}

// demand is one interlock's demand of one output.
type demand struct {
	lock, output int32
	delay        int64
	active       bool
	order        uint64 // of becoming active
}

// take makes the demands of a tripped interlock, each after its delay.
func (e *Engine) take(i int, t tag.Stamp) {
	l := &e.interlocks[i]
	for d := l.demand; d < l.demand+l.demands; d++ {
		if e.demands[d].active {
			continue
		}
		if at, due := passed(l.tripped.Mono, e.demands[d].delay, t); due {
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

// leave withdraws the demands of an interlock, also those not yet made.
func (e *Engine) leave(i int) {
	l := &e.interlocks[i]
	for d := l.demand; d < l.demand+l.demands; d++ {
		e.timers.stop(e.demandTimer(d, takeTimer))
		m := &e.demands[d]
		if !m.active {
			continue
		}
		m.active = false
		o := &e.outputs[m.output]
		if o.active--; o.active == 0 {
			o.last = int32(d)
			e.check(int(m.output))
		}
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
		l := &e.interlocks[m.lock]
		// A restored trip demands already before the first step; its stamp is then minus its age.
		restored := !e.started && l.state == Tripped && m.delay <= -l.tripped.Mono
		if (m.active || restored) && (!s.Protective || m.order < first) {
			s.Protective, first, s.By = true, m.order, l.name
		}
	}
	return s
}

// judgeProof judges a reading of the tag that proves an output.
func (e *Engine) judgeProof(o int, r *tag.Reading) {
	p := &e.outputs[o]
	a := &e.alarms[p.alarm]
	a.value, a.quality = r.Value, r.Quality
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
			l := &e.interlocks[e.demands[p.last].lock]
			v := Event{Kind: OutputReleased, At: t, Rule: l.name, Occurrence: l.occurrence, Priority: l.priority, Output: p.name}
			if on {
				v.Kind = OutputDemanded
			}
			e.emit(v)
			e.move(o)
			e.durable = true
		}
		if p.proved {
			e.drive(p.alarm, truthOf(p.protective && !p.holds), t)
		}
	}
	e.checks, e.checked = e.checks[:0], 0
}
