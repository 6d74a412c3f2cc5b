package rules

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"davy/drivers/tag"
)

// snapshotMagic begins a snapshot; its last byte is the version of the form:
//
//	magic 4 · length of the rest 4, big endian · alarms · interlocks
//
// Numbers are uvarints, texts a length and bytes. Times are ages and remaining
// times in ns, never instants. An alarm that was never raised and is not about
// to be is left out.
const snapshotMagic = "DRS\x01"

// maxAge bounds what a snapshot may say of ages, so that no sum overflows.
const maxAge = 10 * MaxDelay

// Bits of an entry's flags.
const (
	alarmPending  = 1 << iota // followed by how long the condition has stood
	alarmClearing             // followed by what is left of the off-delay
)

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

// Snapshot appends the state that must survive a restart to dst: by name,
// with ages and remaining times as of now.
func (e *Engine) Snapshot(dst []byte, now tag.Stamp) []byte {
	dst = append(dst, snapshotMagic...)
	at := len(dst)
	w := writer{append(dst, 0, 0, 0, 0), now.Mono}
	if !e.started {
		w.now = 0 // restored stamps are still ages before 0
	}
	n := 0
	for i := range e.alarms {
		n += count(e.keptAlarm(i))
	}
	w.num(uint64(n))
	for i := range e.alarms {
		if e.keptAlarm(i) {
			e.writeAlarm(&w, i)
		}
	}
	w.num(uint64(len(e.interlocks)))
	for i := range e.interlocks {
		e.writeInterlock(&w, i)
	}
	binary.BigEndian.PutUint32(w.b[at:], uint32(len(w.b)-at-4))
	return w.b
}

func (e *Engine) keptAlarm(i int) bool {
	a := &e.alarms[i]
	return e.about[i].occurrence > 0 || a.pending || a.credit >= 0
}

func (e *Engine) writeAlarm(w *writer, i int) {
	a, b := &e.alarms[i], &e.about[i]
	w.text(b.name)
	w.num(uint64(a.state))
	w.num(b.occurrence)
	if a.state != Normal {
		w.age(b.raised.Mono)
		w.value(b.atRaise)
	}
	stood, left := e.stood(a.credit, w.now), a.left
	if a.pending {
		stood = w.now - a.since
	}
	if slot := e.alarmSlot + i; a.raised() && e.timers.runs(slot) {
		left = max(e.timers.deadline[slot]-w.now, 0)
	}
	w.num(uint64(count(stood >= 0)*alarmPending | count(left >= 0)*alarmClearing))
	if stood >= 0 {
		w.span(stood)
	}
	if left >= 0 {
		w.span(left)
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

type writer struct {
	b   []byte
	now int64
}

func (w *writer) num(n uint64)   { w.b = binary.AppendUvarint(w.b, n) }
func (w *writer) span(d int64)   { w.num(uint64(min(max(d, 0), int64(maxAge)))) }
func (w *writer) age(mono int64) { w.span(w.now - mono) }
func (w *writer) text(s string)  { w.b = append(binary.AppendUvarint(w.b, uint64(len(s))), s...) }

// quality writes one that can be read back, whatever a driver made.
func (w *writer) quality(q tag.Quality) {
	if !q.Valid() {
		q = tag.BadDeviceFault
	}
	w.num(uint64(q))
}

func (w *writer) value(v tag.Value) {
	w.num(uint64(v.Kind()))
	w.num(v.Bits())
}

// ErrSnapshot says that bytes are not a snapshot of this version.
var ErrSnapshot = errors.New("not a snapshot")

// Restore takes over by name what Snapshot wrote; call it before the first
// Step. down is the time from the Snapshot to now, 0 for a hand-over from a
// running engine to the next at one instant, negative if it is not known.
//
// States, occurrences, trips with their votes and demands are taken over as
// they are. A delay that ran goes on: one of an alarm or a vote waits for the
// first reading of this run, and down counts as time in which the condition
// stood; an off-delay had stopped meanwhile. How long a channel was bad and
// how long a reset condition held counts only in a hand-over: nobody watched
// in between. Rules that the set does not have are named by Dropped, rules
// that the bytes do not name start normal.
//
// With an error (ErrSnapshot) nothing was taken over.
func (e *Engine) Restore(b []byte, down time.Duration) error {
	if e.started {
		panic("BUG: rules: Restore after the first Step")
	}
	alarms, locks, err := parse(b)
	if err != nil {
		return fmt.Errorf("restore rules: %w: %w", ErrSnapshot, err)
	}
	handover := down == 0
	passed := int64(min(max(down, 0), maxAge))
	e.dropped = nil
	for _, s := range alarms {
		if f, ok := e.names[s.name]; ok && f.kind() == refAlarm {
			e.restoreAlarm(f.index(), s, passed)
		} else {
			e.dropped = append(e.dropped, s.name)
		}
	}
	for _, s := range locks {
		if f, ok := e.names[s.name]; ok && f.kind() == refInterlock {
			e.restoreInterlock(f.index(), s, passed, handover)
		} else {
			e.dropped = append(e.dropped, s.name)
		}
	}
	slices.Sort(e.dropped)
	return nil
}

func (e *Engine) restoreAlarm(i int, s savedAlarm, passed int64) {
	a, b := &e.alarms[i], &e.about[i]
	a.state, b.occurrence, b.atRaise = s.state, s.occurrence, s.value
	if !a.latch && a.state == LatchedUnacked {
		a.state = ReturnedUnacked
	}
	if !a.latch && a.state == LatchedAcked {
		a.state = Normal
	}
	if a.state != Normal {
		b.raised = before(s.age + passed)
	}
	if s.stood >= 0 && !a.raised() {
		a.credit = s.stood + passed
	}
	if s.left >= 0 && a.raised() {
		a.left = min(s.left, a.off)
	}
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

// before is a stamp of that age, until the first step anchors it.
func before(age int64) tag.Stamp { return tag.Stamp{Wall: -age, Mono: -age} }
