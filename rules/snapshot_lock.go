package rules

import (
	"slices"

	"davy/drivers/tag"
)

// Bits of an interlock's flags, and of a channel's.
const (
	lockSettled = 1 << iota // every input was read
	lockPending             // followed by how long the vote has stood
	lockHolding             // followed by how long the reset condition has held
)

const (
	channelBad = 1 << iota
	channelProcess
	channelTesting
	channelOver
	channelOut
	channelSeat
)

// StartTripped lets the interlocks with manual reset start tripped, because
// what they were is not known any more (latch file missing or damaged). The
// first Step says so with InterlockTrippedAtStart. Call it before that.
func (e *Engine) StartTripped() {
	if e.started {
		panic("BUG: rules: StartTripped after the first Step")
	}
	for i := range e.interlocks {
		if l := &e.interlocks[i]; l.manual && l.state != Tripped {
			l.state, l.atStart = Tripped, true
			l.occurrence++
		}
	}
}

func (e *Engine) writeInterlock(w *writer, i int) {
	l := &e.interlocks[i]
	w.text(l.name)
	w.num(uint64(count(l.state == Tripped)))
	w.num(l.occurrence)
	if l.state == Tripped {
		w.text(l.firstOut)
		w.age(l.tripped.Mono)
		w.num(uint64(len(l.votes)))
		for _, v := range l.votes {
			w.text(v.Channel)
			w.num(uint64(v.Reason))
			w.num(uint64(count(v.Last)))
			w.age(v.Since.Mono)
			w.quality(v.Quality)
			w.value(v.Value)
		}
		w.num(uint64(l.active(e)))
		for d := l.demand; d < l.demand+l.demands; d++ {
			if e.demands[d].active {
				w.text(e.outputs[e.demands[d].output].name)
			}
		}
	}
	stood, held := e.stood(l.credit, w.now), l.holdCredit
	if l.pending {
		stood = w.now - l.pendSince
	}
	if l.holding {
		held = w.now - l.holdSince
	}
	w.num(uint64(count(!l.settling || l.carried)*lockSettled | count(stood >= 0)*lockPending | count(held >= 0)*lockHolding))
	if stood >= 0 {
		w.span(stood)
	}
	if held >= 0 {
		w.span(held)
	}
	n := l.n
	if l.wrecked() {
		n = 0
	}
	w.num(uint64(n))
	for k := range n {
		c := &e.channels[l.first+k]
		w.text(c.name)
		w.num(uint64(count(c.bad)*channelBad | count(c.process)*channelProcess | count(c.testing)*channelTesting |
			count(c.over)*channelOver | count(c.out)*channelOut | count(l.seat == k)*channelSeat))
		if c.bad {
			w.age(c.badSince.Mono)
		}
		if c.process {
			w.age(c.since.Mono)
		}
		if c.testing {
			w.age(c.testSince.Mono)
		}
	}
}

func (l *interlock) active(e *Engine) (n int) {
	for d := l.demand; d < l.demand+l.demands; d++ {
		n += count(e.demands[d].active)
	}
	return n
}

func (e *Engine) restoreInterlock(i int, s savedLock, passed int64, handover bool) {
	l := &e.interlocks[i]
	l.occurrence = s.occurrence
	if s.tripped {
		l.state, l.firstOut, l.tripped = Tripped, s.firstOut, before(s.age+passed)
		l.votes = s.votes
		for k := range l.votes {
			l.votes[k].Since.Mono -= passed
			l.votes[k].Since.Wall -= passed
		}
		for d := l.demand; d < l.demand+l.demands; d++ {
			if slices.Contains(s.demands, e.outputs[e.demands[d].output].name) && !e.demands[d].active {
				e.activate(d)
				e.outputs[e.demands[d].output].protective = true
			}
		}
	}
	if s.stood >= 0 && !s.tripped {
		l.credit = s.stood + passed
	}
	if s.held >= 0 && s.tripped && handover {
		l.holdCredit = s.held
	}
	l.carried = s.settled && handover
	for k := range l.n {
		c := &e.channels[l.first+k]
		at := slices.IndexFunc(s.channels, func(v savedChannel) bool { return v.name == c.name })
		if at < 0 {
			continue
		}
		v := s.channels[at]
		c.out = v.flags&channelOut != 0
		l.outs += count(c.out)
		if !handover {
			continue
		}
		c.bad, c.process, c.testing, c.over = v.flags&channelBad != 0, v.flags&channelProcess != 0, v.flags&channelTesting != 0, v.flags&channelOver != 0
		c.badSince, c.since, c.testSince = before(v.badAge), before(v.processAge), before(v.testAge)
		if c.testing && v.flags&channelSeat != 0 {
			l.seat = k
		}
	}
}

// What a snapshot says of an interlock. Ages that are absent are 0, delays that
// do not run are -1.
type (
	savedLock struct {
		name        string
		tripped     bool
		settled     bool
		occurrence  uint64
		firstOut    string
		age         int64
		votes       []Vote
		demands     []string
		stood, held int64
		channels    []savedChannel
	}
	savedChannel struct {
		name                        string
		flags                       uint64
		badAge, processAge, testAge int64
	}
)

func (r *reader) lock() savedLock {
	s := savedLock{stood: -1, held: -1}
	s.name = r.text()
	s.tripped = r.num(1) == 1
	s.occurrence = r.num(maxOccurrence)
	if s.tripped {
		if s.occurrence == 0 {
			r.wrong("interlock %q is tripped and never was", s.name)
		}
		s.firstOut, s.age = r.text(), r.age()
		for n := r.num(maxRules); n > 0 && r.err == nil; n-- {
			s.votes = append(s.votes, r.vote())
		}
		for n := r.num(maxRules); n > 0 && r.err == nil; n-- {
			s.demands = append(s.demands, r.text())
		}
	}
	flags := r.num(lockSettled | lockPending | lockHolding)
	s.settled = flags&lockSettled != 0
	if flags&lockPending != 0 {
		s.stood = r.age()
	}
	if flags&lockHolding != 0 {
		s.held = r.age()
	}
	for n := r.num(maxRules); n > 0 && r.err == nil; n-- {
		c := savedChannel{name: r.text(), flags: r.num(2*channelSeat - 1)}
		if c.flags&channelBad != 0 {
			c.badAge = r.age()
		}
		if c.flags&channelProcess != 0 {
			c.processAge = r.age()
		}
		if c.flags&channelTesting != 0 {
			c.testAge = r.age()
		}
		s.channels = append(s.channels, c)
	}
	return s
}

func (r *reader) vote() Vote {
	v := Vote{Channel: r.text(), Reason: VoteReason(r.num(uint64(VoteTest)))}
	v.Last = r.num(1) == 1
	v.Since = before(r.age())
	v.Quality = tag.Quality(r.num(1<<32 - 1))
	if !v.Quality.Valid() || v.Reason == 0 {
		r.wrong("a vote is none")
	}
	v.Value = r.value()
	return v
}
