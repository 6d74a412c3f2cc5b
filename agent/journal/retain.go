package journal

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"davy/agent/ring"
	"davy/agent/wire"

	bolt "go.etcd.io/bbolt"
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

// gapRecords returns the gap records of a segment that not all who must have:
// what they name must not become nameless with them. Neighbours become one.
func (j *Journal) gapRecords(s *segment) (out []wire.Event, err error) {
	if s.gaps == 0 {
		return nil, nil
	}
	for _, r := range s.runs {
		j.mu.Lock()
		from := max(r.first, j.floor(r.epoch, r.stream, 0)+1)
		j.mu.Unlock()
		if r.stream != eventStream || from > r.last {
			continue
		}
		err = j.view(s, func(tx *bolt.Tx) error {
			blocks := blocksOf(tx)
			if blocks == nil {
				return fmt.Errorf("buckets: %w", ErrDamaged)
			}
			c := blocks.Cursor()
			for at, _ := c.Seek(blockKey(r.epoch.ordinal, r.stream, r.first)); at != nil; at, _ = c.Next() {
				if ordinal, stream, _, ok := parseBlockKey(at); !ok || ordinal != r.epoch.ordinal || stream != r.stream {
					break
				}
				it, err := readBlock(blocks, r.epoch.id, at)
				if err != nil {
					return err
				}
				if it.Block.Last() < from {
					continue
				}
				events, err := wire.DecodeEvents(it.Block.Body)
				if err != nil {
					return fmt.Errorf("%w: %w", ErrDamaged, err)
				}
				for i := range events {
					if events[i].Gap != nil && it.Block.First+uint64(i) >= from {
						out = append(out, wire.Event{Kind: events[i].Kind, Gap: events[i].Gap})
					}
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return joinGaps(out), nil
}

// joinGaps makes one record of those that follow each other.
func joinGaps(in []wire.Event) (out []wire.Event) {
	slices.SortStableFunc(in, func(a, b wire.Event) int {
		return cmp.Or(slices.Compare(a.Gap.Epoch, b.Gap.Epoch), cmp.Compare(a.Gap.Stream, b.Gap.Stream), cmp.Compare(a.Gap.From, b.Gap.From))
	})
	for _, e := range in {
		if n := len(out); n > 0 {
			last := out[n-1].Gap
			if slices.Equal(last.Epoch, e.Gap.Epoch) && last.Stream == e.Gap.Stream && last.Cause == e.Gap.Cause && last.To+1 == e.Gap.From && last.From > 0 {
				last.To, last.Count, last.RootAfter = e.Gap.To, last.Count+e.Gap.Count, e.Gap.RootAfter
				last.WallFrom, last.WallTo = min(last.WallFrom, e.Gap.WallFrom), max(last.WallTo, e.Gap.WallTo)
				continue
			}
		}
		out = append(out, e)
	}
	return out
}

// carryGaps writes the gaps that a segment names, and that are not behind all
// who must, to the active one: else the next opening would not know them.
func (j *Journal) carryGaps(s *segment) error {
	if s.gaps == 0 {
		return nil
	}
	var live []namedGap
	j.mu.Lock()
	for _, e := range j.epochs {
		for k := range streams {
			behind := uint64(math.MaxUint64)
			for _, name := range j.o.MustConfirm {
				if c := j.cursors[name]; c != nil {
					behind = min(behind, c.place(e, k).confirmed)
				}
			}
			if runs := j.runs(e, k); len(j.o.MustConfirm) == 0 && len(runs) > 0 {
				behind = runs[0].first
			}
			for _, g := range e.gaps[k] {
				if g.to > behind {
					live = append(live, namedGap{e, k, g})
				}
			}
		}
	}
	j.mu.Unlock()
	if len(live) == 0 {
		return nil
	}
	err := j.commit(eventFamily, nil, live, func(*state) {})
	if full(err) {
		return nil // then they are named once more
	}
	return err
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
	for {
		err := j.commit(eventFamily, eventBlocks(eventStream, events), gaps, func(*state) {})
		if !full(err) {
			return err
		}
		if s := j.released(); s != nil {
			if err := j.remove(s); err != nil {
				return err
			}
		} else if !j.giveReserve() {
			return fmt.Errorf("%w: %w", ErrFull, err)
		}
	}
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
				add := func(from, to uint64, root wire.Root) {
					if from <= to {
						g := namedGap{e, k, gap{from, to, root}}
						gaps = append(gaps, g)
						events = append(events, g.event(CauseDamaged, wall, until))
					}
				}
				from := max(next, j.floor(e, k, 0)+1)
				for _, g := range e.gaps[k] { // sorted
					if g.to >= from && g.from <= to {
						add(from, g.from-1, wire.Root{}) // the gap that follows says how the chain goes on
						from = g.to + 1
					}
				}
				add(from, to, root)
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
