package journal

import (
	"cmp"
	"math"
	"slices"

	"davy/agent/wire"
)

// The causes of gaps that the journal itself makes.
const (
	CauseSize    = "size-limit"
	CauseFull    = "disk-full"
	CauseDamaged = "damaged"
)

// Retain deletes whole segments, the oldest first, whose records all are
// confirmed by every destination that must confirm and older than Keep. It also
// writes cursors that wait for a transaction to ride with. It is meant to be
// called every few seconds.
//
// Age is the time that this journal lived through, open and under a trusted
// clock, since the segment was last written to. It is counted by the monotonic
// clock: what the wall clock said when a record was made, and any step it makes
// since, count nothing. Time while the agent was off or the clock not trusted
// does not count either, so a record may stay longer than Keep, never shorter.
func (j *Journal) Retain(trusted bool) error {
	if err := j.enter(); err != nil {
		return err
	}
	defer j.leave()
	j.live(trusted)
	j.tendTrees(false)
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
	for f := range families {
		for {
			s := j.oldest(f)
			if s == nil || !j.confirmed(s) || j.lived()-s.lived <= int64(j.o.Keep) {
				break
			}
			if err := j.keepLeaves(s); err != nil {
				return err
			}
			if err := j.remove(s); err != nil {
				return err
			}
			j.o.Log.Info("journal segment expired", "family", familyNames[f], "segment", s.seq)
		}
	}
	return nil
}

// live counts the time since the last call if the clock was trusted then and is now.
func (j *Journal) live(trusted bool) {
	now := j.o.Now().Mono
	j.mu.Lock()
	defer j.mu.Unlock()
	if trusted && j.trusted {
		j.state.lived += max(0, now-j.looked)
	}
	j.trusted, j.looked = trusted, now
}

func (j *Journal) lived() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.state.lived
}

// oldest returns the oldest segment of a family that is not written to.
func (j *Journal) oldest(f family) *segment {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, s := range j.segments {
		if s.family == f {
			if s.active || s.doubt || s == j.newest {
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

// unconfirmedEpochs returns what a state says of older epochs.
func (j *Journal) unconfirmedEpochs() (out []past) {
	for i := len(j.epochs) - 2; i >= 0 && len(out) < maxPast; i-- {
		e := j.epochs[i]
		p, waits := past{id: e.id, ordinal: e.ordinal}, false
		for k := range streams {
			p.heads[k] = e.heads[k].number
			waits = waits || j.floor(e, k, 0) < e.heads[k].number
		}
		if waits {
			out = append(out, p)
		}
	}
	return out
}

// eventShare is how much of MaxBytes (percent) events that nobody confirmed may
// take from readings. Up to it readings go first; beyond it, as in a flood of
// alarms while the line is down, the oldest events go, so that the readings of
// that time stay. Gaps and the tag table are written again before they would go.
const eventShare = 75

// keepSize drops whole segments until the journal fits into MaxBytes again:
// confirmed ones first, then readings, then events, the oldest first; events
// before readings where they have more than their share.
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
	if events && j.bytesOf(eventFamily) > j.o.MaxBytes/100*eventShare {
		if s := j.oldest(eventFamily); s != nil {
			return s
		}
	}
	if s := j.oldest(readingFamily); s != nil || !events {
		return s
	}
	return j.oldest(eventFamily)
}

func (j *Journal) bytesOf(f family) (n int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, s := range j.segments {
		if s.family == f {
			n += s.bytes
		}
	}
	return n
}

// released returns the oldest segment that nobody waits for; nil if there is none.
func (j *Journal) released() *segment {
	if s := j.victim(true); s != nil && len(j.o.MustConfirm) > 0 && j.confirmed(s) {
		return s
	}
	return nil
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
	again, err := j.gapRecords(s)
	if damage(err) {
		return j.setAside(s, err)
	}
	if err != nil {
		return err
	}
	if err := j.name(gaps, append(events, again...)); err != nil {
		return err
	}
	if err := j.keepLeaves(s); err != nil { // room is needed more
		j.o.Log.Warn("journal segment dropped before its leaves are durable", "segment", s.seq, "error", err)
	}
	if err := j.remove(s); err != nil {
		return err
	}
	j.o.Log.Warn("journal segment dropped", "cause", cause, "family", familyNames[s.family], "segment", s.seq, "gaps", len(gaps))
	return nil
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
