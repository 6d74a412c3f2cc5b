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
	lockUnarmed
	lockBypass  // followed by the bypass
	lockTripAge // followed by the age of the last trip, of which something is still demanded
)

// Bits of a bypass's flags.
const (
	bypassReminded = 1 << iota
	bypassVoid
)

// Bits of a demand's flags.
const demandRunning = 1 // followed by how long it is still held

const (
	channelBad = 1 << iota
	channelProcess
	channelTesting
	channelOver
	channelOut
	channelSeat
	channelAgainst

	channelFlags = 1<<iota - 1
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
	}
	w.num(uint64(l.active(e)))
	for d := l.demand; d < l.demand+l.demands; d++ {
		if m := &e.demands[d]; m.active {
			w.text(e.outputs[m.output].name)
			w.num(m.order)
			w.num(uint64(count(m.running) * demandRunning))
			if m.running {
				w.span(m.ends - w.now)
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
	unarmed := l.state == Unarmed || l.state == Starting && l.carried && l.wasUnarmed
	aged := l.state != Tripped && l.active(e) > 0
	w.num(uint64(count(!l.settling || l.carried)*lockSettled | count(stood >= 0)*lockPending | count(held >= 0)*lockHolding |
		count(unarmed)*lockUnarmed | count(l.bypass.state != bypassNone)*lockBypass | count(aged)*lockTripAge))
	if stood >= 0 {
		w.span(stood)
	}
	if held >= 0 {
		w.span(held)
	}
	if l.bypass.state != bypassNone {
		l.bypass.write(w)
	}
	if aged {
		w.age(l.tripped.Mono)
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
			count(c.over)*channelOver | count(c.out)*channelOut | count(l.seat == k)*channelSeat |
			count(c.against)*channelAgainst))
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

func (b *bypass) write(w *writer) {
	w.num(uint64(b.state))
	w.text(b.name)
	if !b.open() {
		return
	}
	for _, s := range [...]string{b.who, b.second, b.note, b.session} {
		w.text(s)
	}
	w.num(uint64(count(b.reminded)*bypassReminded | count(b.void)*bypassVoid))
	w.span(b.length)
	w.span(b.ends - w.now)
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
	} else if len(s.demands) > 0 {
		l.tripped = before(s.age + passed)
	}
	e.restoreDemands(l, s, passed)
	l.restoreBypass(e, s.bypass, passed)
	if s.stood >= 0 && !s.tripped {
		l.credit = s.stood + passed
	}
	if s.held >= 0 && s.tripped && handover {
		l.holdCredit = s.held
	}
	l.carried, l.wasUnarmed = s.settled && handover, s.unarmed
	for k := range l.n {
		c := &e.channels[l.first+k]
		at := slices.IndexFunc(s.channels, func(v savedChannel) bool { return v.name == c.name })
		if at < 0 {
			continue
		}
		v := s.channels[at]
		c.out, c.against = v.flags&channelOut != 0, v.flags&channelAgainst != 0
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

func (e *Engine) restoreDemands(l *interlock, s savedLock, passed int64) {
	for d := l.demand; d < l.demand+l.demands; d++ {
		m := &e.demands[d]
		at := slices.IndexFunc(s.demands, func(v savedDemand) bool { return v.output == e.outputs[m.output].name })
		if at < 0 || m.active {
			continue
		}
		v := s.demands[at]
		left := min(v.left, m.runOn) - passed
		if !s.tripped && left <= 0 { // it is over: the first step says so
			if p := &e.outputs[m.output]; p.active == 0 {
				p.protective, p.last = true, int32(d)
				e.check(int(m.output))
			}
			continue
		}
		e.restoreDemand(d, v.order)
		if !s.tripped {
			m.running, m.ends = true, left
		}
	}
}

// restoreBypass takes a bypass over, with at most the time that the set allows.
// One that it does not allow at all ends with the first step.
func (l *interlock) restoreBypass(e *Engine, s savedBypass, passed int64) {
	b := &l.bypass
	if s.state == bypassNone {
		return
	}
	at := slices.IndexFunc(e.channels[l.first:l.first+l.n], func(c channel) bool { return c.name == s.name })
	*b = bypass{state: s.state, channel: at, name: s.name, alarm: b.alarm, permitted: b.permitted}
	if !b.open() {
		return
	}
	most := int64(b.permitted.AtMost)
	if b.state == bypassWaiting {
		most = int64(ConfirmWithin)
	}
	b.who, b.second, b.note, b.session = s.who, s.second, s.note, s.session
	b.length, b.reminded, b.ends = s.length, s.flags&bypassReminded != 0, min(s.left, most)-passed
	b.void = s.flags&bypassVoid != 0 || at < 0 || e.channels[l.first+at].manual || b.permitted.AtMost == 0 ||
		b.state == bypassWaiting && (b.length > int64(b.permitted.AtMost) || len(b.permitted.Second) == 0) ||
		b.state == bypassOverdue && !b.permitted.AlarmOnly
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
		demands     []savedDemand
		stood, held int64
		unarmed     bool
		bypass      savedBypass
		channels    []savedChannel
	}
	savedDemand struct {
		output string
		order  uint64
		left   int64
	}
	savedBypass struct {
		state                            bypassState
		name, who, second, note, session string
		flags                            uint64
		length, left                     int64
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
	}
	for n := r.num(maxRules); n > 0 && r.err == nil; n-- {
		d := savedDemand{output: r.text(), order: r.num(maxOccurrence)}
		switch running := r.num(demandRunning) == demandRunning; {
		case running == s.tripped:
			r.wrong("interlock %q demands and has no trip, or holds on in one", s.name)
		case running:
			d.left = r.age()
		}
		s.demands = append(s.demands, d)
	}
	flags := r.num(2*lockTripAge - 1)
	s.settled, s.unarmed = flags&lockSettled != 0, flags&lockUnarmed != 0
	if flags&lockPending != 0 {
		s.stood = r.age()
	}
	if flags&lockHolding != 0 {
		s.held = r.age()
	}
	if flags&lockBypass != 0 {
		s.bypass = r.bypass()
	}
	if flags&lockTripAge != 0 {
		s.age = r.age()
	}
	for n := r.num(maxRules); n > 0 && r.err == nil; n-- {
		c := savedChannel{name: r.text(), flags: r.num(channelFlags)}
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

func (r *reader) bypass() savedBypass {
	s := savedBypass{state: bypassState(r.num(uint64(bypassLate))), name: r.text()}
	if s.state == bypassNone || s.state == bypassLate {
		return s
	}
	s.who, s.second, s.note, s.session = r.text(), r.text(), r.note(), r.text()
	s.flags = r.num(2*bypassVoid - 1)
	s.length, s.left = r.age(), r.age()
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
