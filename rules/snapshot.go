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
//	magic 4 · length of the rest 4, big endian · alarms · interlocks · outputs · points · computed
//
// Numbers are uvarints, texts a length and bytes. Times are ages and remaining
// times in ns, never instants. An alarm that was never raised and is not about
// to be is left out, as is an output of which nothing is awaited.
const snapshotMagic = "DRS\x02"

// maxAge bounds what a snapshot may say of ages, so that no sum overflows.
const maxAge = 10 * MaxDelay

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
	e.writeOutputs(&w)
	e.writePoints(&w)
	e.writeComputed(&w)
	binary.BigEndian.PutUint32(w.b[at:], uint32(len(w.b)-at-4))
	return w.b
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
// stood; an off-delay had stopped meanwhile. The time of a bypass and of an
// output that is held after a reset goes on while down; what ended meanwhile
// ends with the first step. An unknown down takes nothing from them. How long a channel was bad and
// how long a reset condition held counts only in a hand-over: nobody watched
// in between. What persons did to points stands; a test goes on for what is
// left of it less down, where that is known; a force is kept by a hand-over only,
// else the first step says that it ended. Of a record that is not complete what
// was before the restart is not there. Rules that the set does not have are named by Dropped, rules
// that the bytes do not name start normal.
//
// With an error (ErrSnapshot) nothing was taken over.
func (e *Engine) Restore(b []byte, down time.Duration) error {
	if e.started {
		panic("BUG: rules: Restore after the first Step")
	}
	s, err := parse(b)
	if err != nil {
		return fmt.Errorf("restore rules: %w: %w", ErrSnapshot, err)
	}
	handover := down == 0
	passed := int64(min(max(down, 0), maxAge))
	e.dropped = nil
	for _, a := range s.alarms {
		if f, ok := e.named(a.name); ok && f.kind() == refAlarm {
			e.restoreAlarm(f.index(), a, passed)
		} else {
			e.dropped = append(e.dropped, a.name)
		}
	}
	for _, l := range s.locks {
		if f, ok := e.named(l.name); ok && f.kind() == refInterlock {
			e.restoreInterlock(f.index(), l, passed, handover)
		} else {
			e.dropped = append(e.dropped, l.name)
		}
	}
	e.restoreOutputs(s.outputs, passed, down < 0)
	e.restorePoints(&s.points, passed, handover)
	e.restoreComputed(s.computed, down)
	slices.Sort(e.dropped)
	return nil
}

// before is a stamp of that age, until the first step anchors it.
func before(age int64) tag.Stamp { return tag.Stamp{Wall: -age, Mono: -age} }

// ask lets a snapshot be taken where KeepEvery of a running time is over since the last.
func (e *Engine) ask() {
	long := e.now.Mono-e.asked >= int64(KeepEvery)
	if e.durable = e.durable || long && e.timed(); e.durable || long {
		e.asked = e.now.Mono
	}
}

// timed reports whether a time runs that a person was given.
func (e *Engine) timed() bool {
	return e.computer.shifts || slices.ContainsFunc(e.about, func(b about) bool { return b.life != nil && b.life.shelver != nil }) ||
		slices.ContainsFunc(e.interlocks, func(l interlock) bool { return l.bypass.state == bypassOn || l.bypass.state == bypassWaiting }) ||
		slices.ContainsFunc(e.points.all, func(p point) bool { return p.tested })
}
