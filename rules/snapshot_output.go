package rules

// Bits of an output's flags.
const (
	outputSought    = 1 << iota // the proof has not come yet
	outputUnsure                // and it is not known how old the trip is
	outputLacking               // followed by how long
	outputEscalated             // followed by the interlock and the order of the demands
)

// writeOutputs writes what is to be known of demanded outputs besides who demands them.
func (e *Engine) writeOutputs(w *writer) {
	n := 0
	for o := range e.outputs {
		n += count(e.outputs[o].kept())
	}
	w.num(uint64(n))
	for o := range e.outputs {
		p := &e.outputs[o]
		if !p.kept() {
			continue
		}
		w.text(p.name)
		w.num(uint64(count(p.sought)*outputSought | count(p.unsure)*outputUnsure |
			count(p.lacking)*outputLacking | count(p.escalated)*outputEscalated))
		if p.lacking {
			w.age(p.lack)
		}
		if p.escalated {
			m := &e.demands[p.escalate]
			w.text(e.interlocks[m.lock].name)
			w.num(m.order)
		}
	}
}

func (p *output) kept() bool { return p.sought || p.lacking || p.escalated }

// savedOutput is what a snapshot says of a demanded output.
type savedOutput struct {
	name  string
	flags uint64
	lack  int64
	lock  string
	order uint64
}

func (r *reader) output() savedOutput {
	s := savedOutput{name: r.text(), flags: r.num(2*outputEscalated - 1)}
	if s.flags&outputLacking != 0 {
		s.lack = r.age()
	}
	if s.flags&outputEscalated != 0 {
		s.lock, s.order = r.text(), r.num(maxOccurrence)
	}
	return s
}

// restoreOutputs takes over what is demanded, after the interlocks. An output
// that is demanded only because another's proof did not come follows that one,
// so it goes on until nothing more is found.
func (e *Engine) restoreOutputs(saved []savedOutput, passed int64, unsure bool) {
	byName := map[string]int{}
	for o := range e.outputs {
		byName[e.outputs[o].name] = o
	}
	for was := len(saved) + 1; len(saved) < was; {
		was = len(saved)
		var rest []savedOutput
		for _, s := range saved {
			if o, ok := byName[s.name]; ok && e.outputs[o].active > 0 && e.outputs[o].proved {
				e.restoreOutput(o, s, passed, unsure)
			} else {
				rest = append(rest, s)
			}
		}
		saved = rest
	}
}

func (e *Engine) restoreOutput(o int, s savedOutput, passed int64, unsure bool) {
	p := &e.outputs[o]
	p.sought = s.flags&outputSought != 0
	p.unsure = p.sought && (unsure || s.flags&outputUnsure != 0)
	f, ok := e.named(s.lock)
	switch {
	case p.escalates == 0:
	case s.flags&outputEscalated != 0 && ok && f.kind() == refInterlock:
		p.escalated = true
		for d := p.escalate; d < p.escalate+p.escalates; d++ {
			if m := &e.demands[d]; !m.active {
				m.lock = int32(f.index())
				e.restoreDemand(d, s.order+uint64(d-p.escalate))
			}
		}
	case s.flags&outputLacking != 0:
		p.lacking, p.lack = true, -(s.lack + passed)
	}
}

// restoreDemand makes a demand that was made when the snapshot was taken. Who
// came first stays so.
func (e *Engine) restoreDemand(d int, order uint64) {
	e.activate(d)
	m := &e.demands[d]
	m.order = order
	e.order = max(e.order, order)
	p := &e.outputs[m.output]
	p.protective, p.last = true, int32(d)
}
