package rules

import (
	"fmt"

	"davy/drivers/tag"
)

// Engine judges one Set. It belongs to one goroutine; New makes it.
type Engine struct {
	set         Set     // read on, and not copied
	alarms      []alarm // the set's, then the automatic ones
	about       []about // of each alarm, what judging does not need
	own         []automatic
	below       map[int32][]int32 // alarm → those that are judged anew when it is raised or returns
	channels    []channel
	guards      []guard // of the interlocks
	permissives []permissive
	interlocks  []interlock
	demands     []demand
	outputs     []output
	groups      []group
	whens       []when // of modes and of what suppresses
	late        timers // of alarms: to judge at the end of the instant, in the order of their depth
	fault       int    // the alarm "rules.broken"

	// tag → what judges it, as index[id] .. index[id+1] in refs
	index []uint32
	refs  []ref
	names []ref // alarms and interlocks in the order of their names: of commands, views and events

	timers timers
	slots  slots

	computer computer
	points   points
	traces   []trace  // of the tags that interlocks look at
	records  []record // of each interlock

	started  bool
	unjudged bool      // the first step has not judged everything yet
	origin   int64     // Mono of the first step
	settled  int64     // Mono at which the start is over for everything
	now      tag.Stamp // of the last step
	dirty    []int32   // interlocks to judge, in the order they were marked
	head     int       // of dirty: the next one
	checks   []int32   // outputs to look at when the demands of an instant are known
	checked  int       // of checks: the next one
	order    uint64    // of demands
	cur      ref       // what is being judged, should it panic
	dropped  []string

	events  []Event
	moved   []int32 // outputs whose demand changed
	states  []OutputState
	durable bool
	asked   int64 // Mono at which a snapshot was last asked for, or none was needed
	kept    bool  // the above is still to be handed out
	panics  int
}

// ref names something that judges: a kind and an index.
type ref uint32

const (
	refAlarm ref = iota << refShift
	refChannel
	refProof
	refInterlock
	refDemand
	refWhen
	refPoint
	refForce
	refRecord
	refTrace
	refGuard
	refComputed

	refShift = 28
	refMask  = 1<<refShift - 1
)

func (r ref) kind() ref  { return r &^ refMask }
func (r ref) index() int { return int(r & refMask) }

var neverRead tag.Reading

func reading(in *Input, id tag.ID) *tag.Reading {
	if int(id) < len(in.Image) {
		return &in.Image[id]
	}
	return &neverRead
}

// Step brings the engine to in.Now: first every timer that is due, in the
// order of the deadlines and each at its own time, then the changed readings.
// The first step judges the whole image. A Now that lies before the last
// one's counts as the last one's.
func (e *Engine) Step(in *Input, out *Outcome) {
	e.step(in)
	e.finish(out)
}

func (e *Engine) step(in *Input) {
	e.begin()
	now := in.Now
	now.Mono = max(now.Mono, e.now.Mono)
	if !e.started {
		e.start(now)
		e.unjudged = true
	}
	e.now = now
	for !e.advance(in, now) {
	}
}

// advance does the work of a step. It returns false where a rule panicked:
// the rule is out by then, and what is left to do is done by calling again
// (judging twice at one instant changes nothing).
func (e *Engine) advance(in *Input, now tag.Stamp) (done bool) {
	defer func() {
		if !done {
			e.broke(recover(), now)
		}
	}()
	if e.unjudged {
		e.first(in, now)
		e.unjudged = false
		return true
	}
	e.fire(now)
	e.changed(in, now)
	e.judgeDirty(now)
	e.settleOutputs(now)
	e.settleAlarms(now)
	return true
}

// fire lets every timer that is due at now do its work at its deadline.
func (e *Engine) fire(now tag.Stamp) {
	for {
		slot, at := e.timers.first()
		if slot < 0 || at > now.Mono {
			return
		}
		t := tag.Stamp{Wall: now.Wall - (now.Mono - at), Mono: at}
		for slot >= 0 && at == t.Mono {
			e.timers.stop(slot)
			e.due(slot, t)
			slot, at = e.timers.first()
		}
		e.compute(t)
		e.judgeDirty(t)
		e.settleOutputs(t)
		e.settleAlarms(t)
	}
}

func (e *Engine) due(slot int, t tag.Stamp) {
	kind, i, which := e.slots.owner(slot)
	e.cur = kind | ref(i)
	switch kind {
	case refChannel:
		e.mark(int(e.channels[i].lock)) // judge sees that it is due
	case refAlarm:
		switch which {
		case moveTimer:
			e.alarmDue(i, t)
		case shelveTimer, againTimer:
			if e.alarms[i].late { // behind a delay that ends now, as of any other alarm
				e.about[i].live().ends |= 1 << which
				e.postpone(i)
			} else {
				e.ended(i, which, t)
			}
		}
	case refWhen:
		e.settleWhen(i, false)
	case refInterlock:
		if which == settleTimer {
			e.settle(i, t)
		}
		e.mark(i)
	case refDemand:
		if which == runOnTimer {
			e.mark(int(e.demands[i].lock)) // a trip at the same instant goes on with it
		} else {
			e.demand(i)
		}
	case refProof:
		e.check(i)
	case refPoint:
		e.pointDue(i, which, t)
	case refForce:
		e.stopForce(i, Event{At: t})
	case refRecord:
		e.recorded(i, t)
	case refComputed:
		e.computer.set(i)
	}
}

func (e *Engine) changed(in *Input, t tag.Stamp) {
	for _, id := range in.Changed {
		if int(id) >= len(e.index)-1 || e.computer.takes(id) {
			continue // no rule looks at it, or it is our own
		}
		r := reading(in, id)
		e.computer.see(r, id)
		for _, f := range e.refs[e.index[id]:e.index[id+1]] {
			e.cur = f
			e.judge(f, r, t)
		}
	}
	e.compute(t)
}

func (e *Engine) judge(f ref, r *tag.Reading, t tag.Stamp) {
	switch f.kind() {
	case refAlarm:
		e.judgeAlarm(f.index(), r, t)
	case refChannel:
		e.judgeChannel(f.index(), r, t)
	case refProof:
		e.judgeProof(f.index(), r)
	case refGuard:
		e.judgeGuard(f.index(), r)
	case refTrace:
		e.traces[f.index()].see(r, t)
	case refWhen:
		e.judgeWhen(f.index(), r, t)
	}
}

func (e *Engine) mark(i int) {
	if l := &e.interlocks[i]; !l.dirty {
		l.dirty = true
		e.dirty = append(e.dirty, int32(i))
	}
}

func (e *Engine) judgeDirty(t tag.Stamp) {
	for e.head < len(e.dirty) {
		i := e.dirty[e.head]
		e.head++
		e.interlocks[i].dirty = false
		e.cur = refInterlock | ref(i)
		e.judgeInterlock(int(i), t)
	}
	e.dirty, e.head = e.dirty[:0], 0
}

// start anchors what Restore brought to the clock of this run.
func (e *Engine) start(now tag.Stamp) {
	e.started = true
	e.asked, e.origin, e.settled = now.Mono, now.Mono, now.Mono+int64(e.set.Settle)
	anchor := func(s *tag.Stamp) { s.Wall, s.Mono = s.Wall+now.Wall, s.Mono+now.Mono }
	e.startPoints(anchor)
	e.startRecords(anchor)
	for i := range e.alarms {
		if e.alarms[i].state != Normal {
			anchor(&e.about[i].live().raised)
		}
		e.startLife(i, now)
	}
	e.startGroups(now)
	for i := range e.channels {
		c := &e.channels[i]
		for _, s := range []*tag.Stamp{&c.since, &c.badSince, &c.testSince} {
			anchor(s)
		}
	}
	for i := range e.interlocks {
		l := &e.interlocks[i]
		l.anchorBypass(now)
		if l.state == Tripped || l.active(e) > 0 {
			anchor(&l.tripped)
			for k := range l.votes {
				anchor(&l.votes[k].Since)
			}
		}
	}
	e.anchorOutputs(now)
}

// stood returns how long a restored condition has stood at mono: the time
// until it was confirmed counts. It is -1 where nothing was restored.
func (e *Engine) stood(credit, mono int64) int64 {
	if credit >= 0 && e.started {
		credit += mono - e.origin
	}
	return credit
}

// first judges everything once. It may be called again after a panic.
func (e *Engine) first(in *Input, now tag.Stamp) {
	for i := range e.outputs {
		if e.outputs[i].active > 0 {
			e.move(i)
		}
	}
	for i := range e.interlocks {
		l := &e.interlocks[i]
		if l.settling {
			e.timers.set(e.lockTimer(i, settleTimer), e.settled)
		}
		if l.atStart {
			l.atStart = false
			e.emit(Event{Kind: InterlockTrippedAtStart, At: now, Rule: l.name, Occurrence: l.occurrence, Priority: l.priority})
			l.tripped, e.durable = now, true
		}
		e.cur = refInterlock | ref(i)
		if l.state == Tripped {
			e.take(i, now)
		} else {
			e.runOn(i)
		}
	}
	e.startComputed(in)
	for id := 1; id < len(e.index)-1; id++ {
		if e.computer.takes(tag.ID(id)) {
			continue
		}
		r := reading(in, tag.ID(id))
		for _, f := range e.refs[e.index[id]:e.index[id+1]] {
			e.cur = f
			e.judge(f, r, now)
		}
	}
	e.compute(now)
	for i := range e.interlocks {
		e.mark(i)
	}
	e.judgeDirty(now)
	e.settleOutputs(now)
	for i := range e.interlocks {
		if l := &e.interlocks[i]; l.settling { // not a hand-over of what was watched
			l.carried, l.holdCredit = false, -1
		}
	}
	e.cur = refAlarm | ref(e.fault)
	e.drive(e.fault, truthOf(e.alarms[e.fault].broken), now)
	e.firstPoints(now)
	e.firstRecords(now)
	e.firstOfAlarms(now)
}

func (e *Engine) begin() {
	if e.kept { // a refused command's step: its outcome was not handed out
		e.kept = false
		return
	}
	e.events, e.states, e.moved, e.durable = e.events[:0], e.states[:0], e.moved[:0], false
	e.points.overlays, e.points.laid = e.points.overlays[:0], 0
	e.computer.made = e.computer.made[:0]
}

func (e *Engine) finish(out *Outcome) {
	for _, o := range e.moved {
		e.outputs[o].moved = false
		e.states = append(e.states, e.outputState(int(o)))
	}
	e.ask()
	out.Events, out.Demands, out.Durable = e.events, e.states, e.durable
	out.Overlays, out.Computed = e.points.overlays, e.computer.made
	_, out.Next = e.timers.first()
}

// emit says an event. It is the one place that knows whether it is one of a test.
func (e *Engine) emit(v Event) {
	v.Test = v.Test || e.ofTest(&v)
	if v.Kind == InterlockTripped {
		e.record(&v)
	}
	e.events = append(e.events, v)
}

// passed returns since+d and whether that is not after t.
func passed(since, d int64, t tag.Stamp) (at int64, is bool) {
	at = since + d
	return at, at <= t.Mono
}

// broke isolates the rule that panicked. What its policy for bad says applies
// from here on, until the engine is replaced; "rules.broken" is raised anew
// for each such rule.
func (e *Engine) broke(cause any, t tag.Stamp) {
	if e.panics++; e.panics > maxPanics*(1+len(e.names)) {
		panic(cause) // not a rule: the engine
	}
	name, lock := "", -1
	switch i := e.cur.index(); e.cur.kind() {
	case refAlarm:
		name = e.rule(i).Name
		a := &e.alarms[i]
		if a.broken {
			a.dead = true
			e.timers.stop(e.alarmTimer(i, moveTimer))
		}
		a.broken = true
	case refWhen:
		name = e.rule(int(e.whens[i].alarm)).Name
		e.whens[i].broken = true
		e.settleWhen(i, false)
	case refProof:
		name = e.outputs[i].name
		if p := &e.outputs[i]; !p.broken {
			p.broken, p.holds = true, false
			e.check(i)
		}
	case refChannel:
		lock = int(e.channels[i].lock)
		e.channels[i].fail()
	case refGuard:
		lock = int(e.guards[i].lock)
		e.guards[i].broken, e.guards[i].is = true, unknown
	case refInterlock:
		lock = i
		e.interlocks[i].seat = -1
		for k := range e.channels {
			if int(e.channels[k].lock) == i {
				e.channels[k].fail()
			}
		}
	case refDemand:
		lock = int(e.demands[i].lock)
	case refComputed:
		p := &e.computer.all[i]
		name, p.broken = string(e.set.Tags[p.tag].Name), true
	}
	if lock >= 0 {
		name = e.interlocks[lock].name
		e.mark(lock)
		if e.cur.kind() == refInterlock {
			e.interlocks[lock].broken++
		}
	}
	e.cur = refAlarm | ref(e.fault)
	if f := &e.alarms[e.fault]; !f.dead {
		f.broken = true
		note := fmt.Sprint(cause)
		e.raise(e.fault, t, name+": "+note[:min(len(note), maxNote)])
	}
}

// maxPanics is how often a rule may panic until it is out, with room: an
// interlock is given three chances. More is a defect of the engine itself.
const maxPanics = 8

// maxNote is the longest text of a panic that an event carries, in bytes.
const maxNote = 500

// Dropped returns the names of the rules that Restore brought and the set
// does not have, sorted.
func (e *Engine) Dropped() []string { return e.dropped }
