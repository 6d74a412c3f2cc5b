package journal

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	bolt "go.etcd.io/bbolt"

	"davy/agent/ring"
	"davy/agent/wire"
)

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

// carryTable writes the tag table again that is in force, if it is in a segment:
// without it the records that follow could not be read from this journal alone.
func (j *Journal) carryTable(s *segment) error {
	at := j.tableAt
	if !slices.ContainsFunc(s.runs, func(r run) bool {
		return r.epoch.id == at.Epoch && r.stream == eventStream && r.first <= at.Number && at.Number <= r.last
	}) {
		return nil
	}
	j.tableAt = Pos{} // for what is removed to make room for it
	e := j.epochs[len(j.epochs)-1]
	next := Pos{e.id, e.heads[eventStream].number + 1}
	if err := j.name(nil, []wire.Event{j.table}); err != nil {
		j.tableAt = at
		return err
	}
	j.tableAt = next
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
