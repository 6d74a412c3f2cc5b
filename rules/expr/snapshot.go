package expr

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"time"

	"davy/drivers/tag"
)

// ErrSnapshot is the error of bytes that Append did not write.
var ErrSnapshot = errors.New("not a snapshot of an expression")

const (
	snapshotVersion = 1
	maxAge          = int64(10 * 365 * 24 * time.Hour) // older is that old
	maxText         = 8 * MaxSource                    // of a window
)

// Append adds what the windows have seen to dst, as ages: how long before now.
// Of a nil or unused State it adds nothing.
func (st *State) Append(dst []byte, now int64) []byte {
	if st == nil {
		return dst
	}
	if !st.begun {
		if !slices.ContainsFunc(st.windows, func(w window) bool { return w.loaded }) {
			return dst
		}
		st.begin(tag.Stamp{Wall: st.wall, Mono: now}, func(*windowPlan) bool { return false })
	}
	now = max(now, st.now)
	dst = append(dst, snapshotVersion, byte(len(st.windows)))
	for i := range st.windows {
		p, w := &st.program.windows[i], &st.windows[i]
		dst = binary.AppendUvarint(dst, uint64(len(p.text)))
		dst = append(dst, p.text...)
		flags := byte(0)
		if w.known {
			flags |= 1
		}
		if w.on {
			flags |= 2
		}
		dst = append(dst, byte(p.kind), flags)
		for _, t := range [...]int64{w.at, w.since, w.start} {
			dst = binary.AppendUvarint(dst, uint64(max(now-t, 0)))
		}
		for _, f := range [...]float64{w.value, w.held, w.ref} {
			dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(f))
		}
		dst = binary.LittleEndian.AppendUint32(dst, uint32(w.quality))
		dst = binary.LittleEndian.AppendUint32(dst, uint32(w.heldQ))
		dst = append(dst, byte(len(w.ring)))
		for i := len(w.ring) - 1; i >= 0; i-- { // the oldest first
			dst = appendSlot(dst, *w.past(i))
		}
		if w.shift != nil {
			dst = w.shift.append(dst, now)
		}
	}
	return dst
}

// append writes a shift. Which one it is only wall time says.
func (s *shifted) append(dst []byte, now int64) []byte {
	flags := byte(0)
	for i, is := range [...]bool{s.has, s.unsure, s.doubt, s.over, s.alone} {
		if is {
			flags |= 1 << i
		}
	}
	dst = append(dst, flags)
	for _, t := range [...]int64{s.start, s.end, s.offset + now, s.seen, s.lost} {
		dst = binary.AppendVarint(dst, t)
	}
	for _, f := range [...]float64{s.sum, s.top, s.last} {
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(f))
	}
	return binary.LittleEndian.AppendUint32(dst, uint32(s.lastQ))
}

func appendSlot(dst []byte, s slot) []byte {
	dst = binary.AppendUvarint(dst, uint64(max(s.miss, 0)))
	dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(s.f))
	return binary.LittleEndian.AppendUint32(dst, uint32(s.q))
}

// Restore takes over what Append wrote, before the first Eval. Windows are
// found by what is printed of them; those that the bytes do not name start
// empty, and so do all with no bytes. down is the time from the Append to the
// first Eval: 0 for a hand-over, which changes nothing; with any other it is as
// if the arguments had been bad in between; where it is not known (negative)
// as if that had been as short as can be. With an error (ErrSnapshot) nothing was taken over.
func (st *State) Restore(b []byte, down time.Duration) error {
	if len(b) == 0 || st == nil {
		return nil
	}
	if st.begun {
		panic("BUG: expr: Restore after the first Eval")
	}
	r := reader{b: b}
	if r.byte() != snapshotVersion {
		return ErrSnapshot
	}
	list := map[string]window{}
	for range int(r.byte()) {
		text, kind := r.text(), windowKind(0)
		w := r.window(&kind)
		for _, p := range st.program.windows {
			if p.text == text && (p.kind != kind || (w.shift != nil) != kind.ofShift() || len(w.ring) != ring && p.slot > 0 || len(w.ring) != 0 && p.slot == 0 || !p.fits(&w)) {
				return ErrSnapshot
			}
		}
		list[text] = w
	}
	if r.lost || len(r.b) > 0 {
		return ErrSnapshot
	}
	st.gap = min(int64(down), maxAge)
	if down < 0 {
		st.gap = 1
	}
	for i, p := range st.program.windows {
		if w, ok := list[p.text]; ok && (down >= 0 || p.slot == 0) {
			w.ring = slices.Clone(w.ring) // two windows may be of one text
			w.loaded = true
			if w.shift != nil {
				s := *w.shift
				w.shift = &s
				st.wall = s.offset + st.gap
			}
			st.windows[i] = w
		}
	}
	return nil
}

// fits reports whether the times of a restored window can be.
func (p *windowPlan) fits(w *window) bool {
	if p.slot == 0 {
		return true
	}
	for i := range w.ring {
		if w.ring[i].miss > p.slot {
			return false
		}
	}
	return w.at >= w.start && w.at-w.start <= p.slot && w.ring[w.cur].miss <= w.at-w.start
}

// reader takes bytes apart; once something is not there it is lost.
type reader struct {
	b    []byte
	lost bool
}

func (r *reader) take(n int) []byte {
	if r.lost || n > len(r.b) {
		r.lost = true
		return make([]byte, n)
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) byte() byte { return r.take(1)[0] }

func (r *reader) number() uint64 {
	v, n := binary.Uvarint(r.b)
	if r.lost || n <= 0 {
		r.lost = true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) text() string {
	n := r.number()
	if n > maxText {
		r.lost = true
		return ""
	}
	return string(r.take(int(n)))
}

func (r *reader) float() float64 {
	f := math.Float64frombits(binary.LittleEndian.Uint64(r.take(8)))
	if f-f != 0 {
		r.lost = true
		return 0
	}
	return f
}

func (r *reader) quality() tag.Quality {
	q := tag.Quality(binary.LittleEndian.Uint32(r.take(4)))
	r.lost = r.lost || !q.Valid()
	return q
}

func (r *reader) window(kind *windowKind) window {
	*kind = windowKind(r.byte())
	flags := r.byte()
	w := window{known: flags&1 != 0, on: flags&2 != 0}
	for _, t := range []*int64{&w.at, &w.since, &w.start} {
		*t = -int64(min(r.number(), uint64(maxAge)))
	}
	for _, f := range []*float64{&w.value, &w.held, &w.ref} {
		*f = r.float()
	}
	w.quality, w.heldQ = r.quality(), r.quality()
	n := int(r.byte())
	if n != 0 && n != ring {
		r.lost = true
		return w
	}
	if n > 0 {
		w.ring = make([]slot, n)
		for i := range w.ring {
			w.ring[i].miss = int64(min(r.number(), uint64(maxAge)))
			w.ring[i].f = r.float()
			w.ring[i].q = r.quality()
		}
		w.cur = n - 1
	}
	if kind.ofShift() {
		w.shift = r.shift()
	}
	return w
}

func (r *reader) shift() *shifted {
	flags := r.byte()
	s := &shifted{has: flags&1 != 0, unsure: flags&2 != 0, doubt: flags&4 != 0, over: flags&8 != 0, alone: flags&16 != 0}
	for _, t := range []*int64{&s.start, &s.end, &s.offset, &s.seen, &s.lost} {
		v, n := binary.Varint(r.b)
		if r.lost || n <= 0 || v > lastWall+int64(unwatched) || v < -int64(unwatched) {
			r.lost = true
			return s
		}
		*t, r.b = v, r.b[n:]
	}
	for _, f := range []*float64{&s.sum, &s.top, &s.last} {
		*f = r.float()
	}
	s.lastQ = r.quality()
	r.lost = r.lost || s.end <= s.start || s.end-s.start > int64(unwatched) || s.seen < 0 || s.lost < 0
	return s
}
