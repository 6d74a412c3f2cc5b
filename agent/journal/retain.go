package journal

import (
	"cmp"
	"math"
	"slices"

	"davy/agent/ring"
	"davy/agent/wire"
)

// The causes of gaps that the journal itself makes.
const (
	CauseSize    = "size-limit"
	CauseFull    = "disk-full"
	CauseDamaged = "damaged"
)

// Retain deletes whole segments, the oldest first, whose records all are
// confirmed by every destination that must confirm and older than Keep. A wall
// clock that is not trusted deletes nothing. It also writes cursors that wait
// for a transaction to ride with. It is meant to be called every few seconds.
func (j *Journal) Retain(trusted bool) error {
	if err := j.enter(); err != nil {
		return err
	}
	defer j.leave()
	if err := j.flush(); err != nil {
		return err
	}
	if j.moved() {
		if err := j.write(readingFamily, nil, func(*state) {}); err != nil {
			return err
		}
	}
	if !j.reserve {
		j.fillReserve()
	}
	if !trusted {
		return nil
	}
	before := j.o.Now().Wall - int64(j.o.Keep)
	for f := range families {
		for {
			s := j.oldest(f)
			if s == nil || !j.confirmed(s) || s.wallTo() >= before {
				break
			}
			if err := j.remove(s); err != nil {
				return err
			}
			j.o.Log.Info("journal segment expired", "family", familyNames[f], "segment", s.seq)
		}
	}
	return nil
}

// oldest returns the oldest segment of a family that is not written to.
func (j *Journal) oldest(f family) *segment {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, s := range j.segments {
		if s.family == f {
			if s.active {
				return nil
			}
			return s
		}
	}
	return nil
}

func (s *segment) wallTo() int64 {
	last := int64(math.MinInt64)
	for _, r := range s.runs {
		last = max(last, r.wallTo)
	}
	return last
}

// confirmed reports whether everything in s is confirmed by all who must.
func (j *Journal) confirmed(s *segment) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, r := range s.runs {
		if j.floor(r.epoch, r.stream, math.MaxUint64) < r.last {
			return false
		}
	}
	return true
}

// floor returns the number up to which all who must have confirmed; none if
// nobody must.
func (j *Journal) floor(e *epoch, stream int, none uint64) uint64 {
	n := uint64(math.MaxUint64)
	for _, name := range j.o.MustConfirm {
		if c := j.cursors[name]; c != nil {
			n = min(n, c.effective(e, stream))
		}
	}
	if n == math.MaxUint64 {
		return none
	}
	return n
}

// keepSize drops whole segments until the journal fits into MaxBytes again:
// confirmed ones first, then readings, then events, the oldest first.
func (j *Journal) keepSize() {
	for {
		j.mu.Lock()
		over := j.bytes()+j.spareReserve() > j.o.MaxBytes
		j.mu.Unlock()
		if !over {
			return
		}
		s := j.victim(true)
		if s == nil {
			return
		}
		if err := j.drop(s, CauseSize); err != nil {
			j.o.Log.Error("journal over its limit and nothing could be dropped", "error", err)
			return
		}
	}
}

// spareReserve is what the reserve will take when it is filled again.
func (j *Journal) spareReserve() int64 {
	if j.reserve {
		return 0
	}
	return j.reserveSize()
}

// victim returns the segment to give up first; events only if asked for.
func (j *Journal) victim(events bool) *segment {
	var confirmed []*segment
	for f := range families {
		if s := j.oldest(f); s != nil && len(j.o.MustConfirm) > 0 && j.confirmed(s) {
			confirmed = append(confirmed, s)
		}
	}
	if len(confirmed) > 0 {
		return slices.MinFunc(confirmed, func(a, b *segment) int { return cmp.Compare(a.wallTo(), b.wallTo()) })
	}
	if s := j.oldest(readingFamily); s != nil || !events {
		return s
	}
	return j.oldest(eventFamily)
}

// makeRoom gives something up on a full disk; false: nothing more may go.
func (j *Journal) makeRoom(f family) bool {
	if s := j.victim(false); s != nil && (f == eventFamily || len(j.o.MustConfirm) > 0 && j.confirmed(s)) {
		return j.drop(s, CauseFull) == nil
	}
	return f == eventFamily && j.giveReserve()
}

// drop names what of a segment is not confirmed in gap records, and deletes it.
func (j *Journal) drop(s *segment, cause string) error {
	j.mu.Lock()
	var gaps []namedGap
	var events []wire.Event
	for _, r := range s.runs {
		from := max(r.first, j.floor(r.epoch, r.stream, 0)+1)
		if from > r.last {
			continue
		}
		g := namedGap{r.epoch, r.stream, gap{from, r.last, r.after}}
		gaps = append(gaps, g)
		events = append(events, g.event(cause, r.wallFrom, r.wallTo))
	}
	j.mu.Unlock()
	if err := j.name(gaps, events); err != nil {
		return err
	}
	if err := j.remove(s); err != nil {
		return err
	}
	j.o.Log.Warn("journal segment dropped", "cause", cause, "family", familyNames[s.family], "segment", s.seq, "gaps", len(gaps))
	return nil
}

func (g *namedGap) event(cause string, from, to int64) wire.Event {
	w := &wire.Gap{
		Stream: streamNames[g.stream], Epoch: slices.Clone(g.epoch.id[:]), From: g.from, To: g.to, Count: g.to - g.from + 1,
		WallFrom: from, WallTo: to, Cause: cause,
	}
	if g.root != (wire.Root{}) {
		w.RootAfter = slices.Clone(g.root[:])
	}
	return wire.Event{Kind: uint32(ring.GapRecorded), Gap: w}
}

// name writes gap records, with the reserve if there is no other space.
func (j *Journal) name(gaps []namedGap, events []wire.Event) error {
	if len(events) == 0 {
		return nil
	}
	now := j.o.Now()
	for i := range events {
		events[i].At = now
	}
	err := j.commit(eventFamily, eventBlocks(eventStream, events), gaps, func(*state) {})
	if full(err) && j.giveReserve() {
		err = j.commit(eventFamily, eventBlocks(eventStream, events), gaps, func(*state) {})
	}
	return err
}

// flush records what waits: segments set aside, and the numbers lost by it.
func (j *Journal) flush() error {
	if len(j.pending) > 0 {
		if err := j.name(nil, j.pending); err != nil {
			return err
		}
		j.pending = nil
	}
	if j.holes {
		gaps, events := j.missing()
		if err := j.name(gaps, events); err != nil {
			return err
		}
		j.holes = false
	}
	return nil
}

// missing finds the numbers that no segment holds, no gap names and not all
// destinations have confirmed.
func (j *Journal) missing() (gaps []namedGap, events []wire.Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range j.epochs {
		for k := range streams {
			runs := j.runs(e, k)
			next, wall := uint64(1), int64(0)
			if len(runs) > 0 && len(j.o.MustConfirm) == 0 {
				next = runs[0].first // nobody says what was given up in order
			}
			hole := func(to uint64, root wire.Root, until int64) {
				from := max(next, j.floor(e, k, 0)+1)
				for _, g := range e.gaps[k] {
					if g.from <= from && g.to >= from {
						from = g.to + 1
					} else if g.from > from && g.from <= to {
						to, root = g.from-1, wire.Root{} // the gap that follows says how the chain goes on
					}
				}
				if from > to {
					return
				}
				g := namedGap{e, k, gap{from, to, root}}
				gaps = append(gaps, g)
				events = append(events, g.event(CauseDamaged, wall, until))
			}
			for _, r := range runs {
				if r.first > next {
					hole(r.first-1, r.before, r.wallFrom)
				}
				next, wall = r.last+1, r.wallTo
			}
			if h := e.heads[k]; h.number >= next && (len(runs) > 0 || len(j.o.MustConfirm) > 0) {
				hole(h.number, h.root, 0)
			}
		}
	}
	return gaps, events
}

// runs returns what is here of a stream of an epoch, in order.
func (j *Journal) runs(e *epoch, stream int) (out []run) {
	for _, s := range j.segments {
		for _, r := range s.runs {
			if r.epoch == e && r.stream == stream {
				out = append(out, r)
			}
		}
	}
	slices.SortFunc(out, func(a, b run) int { return cmp.Compare(a.first, b.first) })
	return out
}

// Unconfirmed returns the bytes of segments that hold something not confirmed
// by all who must.
func (j *Journal) Unconfirmed() (n int64) {
	j.mu.Lock()
	all := append([]*segment(nil), j.segments...)
	j.mu.Unlock()
	for _, s := range all {
		if !j.confirmed(s) {
			j.mu.Lock()
			n += s.bytes
			j.mu.Unlock()
		}
	}
	return n
}
