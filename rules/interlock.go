package rules

import (
	"slices"

	"davy/drivers/tag"
)

// channel is one cause of an interlock, as last judged.
type channel struct {
	lock      int32
	tag       tag.ID
	op, back  Op
	limit     float64
	backLimit float64
	value     tag.Value
	quality   tag.Quality
	name      string
	read      bool // anything was read
	usable    bool // its value votes
	testing   bool // in test, and tests do not vote
	over      bool // the condition, by the last usable value
	clear     bool // the reset condition, by the last usable value
	against   bool // there was one, and it did not allow a reset
	broken    bool
	manual    bool // it cannot be bypassed
	detector  bool // Tag.OverRange
	process   bool // votes by its value
	since     tag.Stamp
	bad       bool
	badSince  tag.Stamp
	effective bool // bad for BadAfter: the policy applies
	testSince tag.Stamp
	out       bool // announced: out of the vote, or counted by policy
}

func (c *channel) fail() { c.broken, c.usable, c.testing = true, false, false }

// interlock is a group of channels [first, first+n) with demands [demand, demand+demands).
type interlock struct {
	name      string
	text      Text
	priority  Priority
	first, n  int
	m         int
	onDelay   int64
	bad       BadPolicy
	badAfter  int64
	testVotes bool
	holdsAll  bool // AllBadHolds
	manual    bool
	resetFor  int64
	demand    int
	demands   int
	alarm     int // index of the alarm "<name>.tripped"
	degraded  int // index of the alarm "<name>.degraded"; -1 none
	overdue   int
	arm       int // index in Engine.guards; -1 none
	due       int
	resetWhen int
	notArmed  int // index of the alarm "<name>.not-armed"; -1 none

	permit, permits int // in Engine.permissives
	discrepancy     int // index of the alarm "<name>.discrepancy"; -1 none
	spread          float64

	state      InterlockState
	settling   bool // not every input was read yet, and Settle is not over
	carried    bool // a hand-over says that it had settled
	wasUnarmed bool // and that it was not armed then
	atStart    bool // tripped because the latch file was lost
	dirty      bool
	broken     int
	seat       int // the one channel that is left out because it is in test; -1 none
	outs       int // channels that are out
	standing   bool
	blind      bool // no channel is usable, and one is bad
	idle       bool // as things are it cannot trip
	bypass     bypass
	pending    bool // the vote stands, the on-delay runs
	pendSince  int64
	holding    bool // the reset condition holds
	holdSince  int64
	ready      bool
	credit     int64 // restored: how long the vote had stood; -1 none
	holdCredit int64 // restored: how long the reset condition had held; -1 none
	occurrence uint64
	firstOut   string
	votes      []Vote // at the trip; never changed once made
	tripped    tag.Stamp
}

// judgeChannel takes a reading of a channel's tag.
func (e *Engine) judgeChannel(i int, r *tag.Reading, t tag.Stamp) {
	c := &e.channels[i]
	l := &e.interlocks[c.lock]
	c.value, c.quality = r.Value, r.Quality
	c.read = c.read || !unread(r.Quality)
	if !c.broken {
		test := inTest(r.Quality)
		if test && !l.testVotes && !c.testing {
			c.testSince = t
		}
		c.testing = test && !l.testVotes
		c.usable = !c.testing && c.op.judges(r.Quality, r.Value, c.detector)
		if l.testVotes && r.Quality.Reason() == tag.FunctionCheck {
			c.usable = r.Quality&tag.Forced == 0 && r.Value.Kind() != tag.None
		}
		if c.usable {
			c.over = c.op.measures(r.Quality, r.Value, c.limit, c.detector)
			// Above its range a detector is equal to no number that it shows, nor is it known to be another.
			c.clear = c.back.measures(r.Quality, r.Value, c.backLimit, c.detector) && (c.back < EQ || !c.detector || !r.Quality.OverRange())
			c.against = !c.clear
		}
	}
	e.mark(int(c.lock))
}

// judgeInterlock brings an interlock to t. It may be called any number of
// times at one instant.
func (e *Engine) judgeInterlock(i int, t tag.Stamp) {
	if e.interlocks[i].wrecked() {
		e.judgeWrecked(i, t)
	} else {
		e.judgeVotes(i, t)
	}
	e.endRunOn(i, t)
}

func (e *Engine) judgeVotes(i int, t tag.Stamp) {
	l := &e.interlocks[i]
	cs := e.channels[l.first : l.first+l.n]
	if l.settling && e.allRead(l, cs) {
		e.settle(i, t)
	}
	e.judgeBypass(i, t)
	l.takeSeat(cs)
	by := l.bypassed()

	var usable, bad, effective, process int
	for k := range cs {
		c := &cs[k]
		e.badness(l, l.first+k, l.seat != k, t)
		p := c.over && (c.usable || c.bad && l.bad == LastGood && !c.effective)
		if p && !c.process {
			c.since = t
		}
		c.process = p
		if k == by {
			continue
		}
		usable += count(c.usable)
		bad += count(c.bad)
		effective += count(c.effective)
		process += count(p)
	}
	if !l.settling {
		e.degrade(i, cs, t)
		e.watchArming(l, t)
		e.watchPermissives(l, t)
		e.watchDiscrepancy(l, cs, t)
	}

	// Of the channels that are in the vote, min(M, rest) trip.
	m, rest, votes := l.m, l.n-count(l.seat >= 0), process
	if by >= 0 {
		m, rest = max(m-1, 1), rest-1
	}
	l.blind = usable == 0 && bad > 0
	switch {
	case l.bad == LeftOut:
		rest -= effective
	case l.blind && l.holdsAll:
	default:
		votes += effective
	}
	need := min(m, rest)
	all := l.blind && effective == bad
	l.standing = need > 0 && votes >= need || all && !l.holdsAll
	l.idle = !l.standing && (need == 0 || all)
	if l.settling {
		return
	}
	if l.state == Armed || l.state == Unarmed {
		e.arming(i, t)
	}
	if l.state == Armed {
		e.delay(i, t)
	}
	if l.state == Tripped {
		e.release(i, cs, usable, t)
	}
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

// takeSeat decides which channel in test is left out: the one that has the
// seat keeps it, else the one that has been in test longest gets it. A bypass
// leaves no seat.
func (l *interlock) takeSeat(cs []channel) {
	if l.bypass.counts() {
		l.seat = -1
		return
	}
	if l.seat >= 0 && cs[l.seat].testing {
		return
	}
	l.seat = -1
	for k := range cs {
		if cs[k].testing && (l.seat < 0 || cs[k].testSince.Mono < cs[l.seat].testSince.Mono) {
			l.seat = k
		}
	}
}

// badness decides whether a channel is bad, and whether it was for BadAfter.
// A channel in test that does not have the seat is bad.
func (e *Engine) badness(l *interlock, i int, noSeat bool, t tag.Stamp) {
	c := &e.channels[i]
	if c.usable || !noSeat {
		if c.bad {
			c.bad, c.effective = false, false
			e.timers.stop(e.badSlot(i))
		}
		return
	}
	if !c.bad {
		c.bad, c.badSince = true, t
	}
	if c.effective {
		return
	}
	if at, due := passed(c.badSince.Mono, l.badAfter, t); due {
		c.effective = true
		e.timers.stop(e.badSlot(i))
	} else {
		e.timers.set(e.badSlot(i), at)
	}
}

// degrade says which channels are out of the vote or counted by policy.
func (e *Engine) degrade(i int, cs []channel, t tag.Stamp) {
	l := &e.interlocks[i]
	was, by := l.outs, l.bypassed()
	l.outs = 0
	for k := range cs {
		c := &cs[k]
		// Once out it is so until it is back: also bad behind a test, or behind a restart.
		out := l.seat == k || k == by || c.effective || c.bad && (c.out || l.bad == LastGood)
		l.outs += count(out)
		if out && !c.out {
			v := Vote{Channel: c.name, Reason: VoteBad, Since: c.badSince, Quality: c.quality, Value: c.value}
			switch k {
			case l.seat:
				v.Reason, v.Since = VoteTest, c.testSince
			case by:
				v.Reason, v.Since = VoteBypassed, t
			}
			e.emit(Event{
				Kind: InterlockDegraded, At: t, Rule: l.name, Occurrence: l.occurrence, Priority: l.priority,
				Tag: c.tag, Value: c.value, Quality: c.quality, Limit: c.limit, Votes: []Vote{v},
			})
			e.durable = true
		}
		c.out = out
	}
	if was > 0 && l.outs == 0 {
		e.emit(Event{Kind: InterlockRestored, At: t, Rule: l.name, Occurrence: l.occurrence, Priority: l.priority})
		e.durable = true
	}
	for _, a := range [...]int{l.degraded, l.overdue} {
		if a >= 0 {
			e.drive(a, truthOf(l.outs > 0), t)
		}
	}
}

// settle ends the start of an interlock.
func (e *Engine) settle(i int, t tag.Stamp) {
	l := &e.interlocks[i]
	if !l.settling {
		return
	}
	l.settling = false
	e.timers.stop(e.lockTimer(i, settleTimer))
	if l.state != Starting {
		return // a restored trip stands
	}
	k := InterlockArmed
	l.state = Armed
	if e.unarmed(l) {
		l.state, l.credit, k = Unarmed, -1, InterlockUnarmed
	}
	if !l.carried || l.wasUnarmed != (l.state == Unarmed) {
		e.emit(e.lockEvent(i, k, t))
	}
}

// delay trips when the vote has stood for OnDelay.
func (e *Engine) delay(i int, t tag.Stamp) {
	l := &e.interlocks[i]
	slot := e.lockTimer(i, delayTimer)
	if !l.standing {
		l.pending, l.credit = false, -1
		e.timers.stop(slot)
		return
	}
	if !l.pending {
		l.pending, l.pendSince = true, t.Mono-max(e.stood(l.credit, t.Mono), 0)
	}
	if at, due := passed(l.pendSince, l.onDelay, t); due {
		e.trip(i, t)
	} else {
		e.timers.set(slot, at)
	}
}

func (e *Engine) trip(i int, t tag.Stamp) {
	l := &e.interlocks[i]
	e.timers.stop(e.lockTimer(i, delayTimer))
	l.state, l.pending, l.credit = Tripped, false, -1
	l.holding, l.holdCredit, l.ready = false, -1, false
	l.occurrence++
	l.tripped = t
	l.votes = e.votes(i)
	v := e.lockEvent(i, InterlockTripped, t)
	v.Votes = l.votes
	if l.bypass.counts() {
		v.Channel = l.bypass.name
	}
	if c := e.firstOut(i); c != nil {
		l.firstOut, v.FirstOut = c.name, c.name
		v.Tag, v.Value, v.Quality, v.Limit = c.tag, c.value, c.quality, c.limit
	}
	e.emit(v)
	e.durable = true
	e.take(i, t)
}

// votes returns the votes that stand, in the order in which they began to count.
func (e *Engine) votes(i int) []Vote {
	type begun struct {
		Vote
		at int64
	}
	l := &e.interlocks[i]
	cs := e.channels[l.first : l.first+l.n]
	var all []begun
	for k := range cs {
		c := &cs[k]
		v := begun{Vote{Channel: c.name, Quality: c.quality, Value: c.value}, 0}
		switch {
		case k == l.bypassed():
			continue
		case c.process:
			v.Reason, v.Since, v.at = VoteProcess, c.since, c.since.Mono
			if inTest(c.quality) {
				v.Reason = VoteTest
			}
		case c.effective && !(l.blind && l.holdsAll) && (l.bad != LeftOut || l.blind):
			v.Reason, v.Since, v.at = VoteBad, c.badSince, c.badSince.Mono+l.badAfter
		default:
			continue
		}
		all = append(all, v)
	}
	slices.SortStableFunc(all, func(a, b begun) int {
		switch {
		case a.at < b.at:
			return -1
		case a.at > b.at:
			return 1
		}
		return 0
	})
	votes := make([]Vote, len(all))
	for k := range all {
		votes[k] = all[k].Vote
		votes[k].Last = l.standing && k == len(all)-1
	}
	return votes
}

// firstOut returns the channel whose condition became true first among those
// that vote by it, else the one that became bad first.
func (e *Engine) firstOut(i int) (first *channel) {
	l := &e.interlocks[i]
	for k := range l.n {
		c := &e.channels[l.first+k]
		if k != l.bypassed() && c.process && (first == nil || c.since.Mono < first.since.Mono) {
			first = c
		}
	}
	if first != nil {
		return first
	}
	for k := range l.n {
		c := &e.channels[l.first+k]
		if k != l.bypassed() && c.effective && (first == nil || c.badSince.Mono < first.badSince.Mono) {
			first = c
		}
	}
	return first
}

// wrecked says that an interlock panicked even with all its channels bad.
func (l *interlock) wrecked() bool { return l.broken > 1 }

// judgeWrecked trips unless all-bad holds or it is not armed, without looking
// at anything else.
func (e *Engine) judgeWrecked(i int, t tag.Stamp) {
	l := &e.interlocks[i]
	if l.broken > 2 {
		return
	}
	e.judgeBypass(i, t)
	if l.state == Tripped || l.holdsAll || e.unarmed(l) {
		return
	}
	l.state, l.settling = Tripped, false
	l.occurrence++
	l.tripped = t
	e.emit(Event{Kind: InterlockTripped, At: t, Rule: l.name, Occurrence: l.occurrence, Priority: l.priority})
	e.durable = true
	e.take(i, t)
}
