package journal

import (
	"fmt"

	"davy/agent/wire"
)

// CauseExpired is the cause of gaps that a restored receiver's Resume shows:
// what it no longer has was confirmed once, and deleted here.
const CauseExpired = "expired"

// Resume moves the cursor back to what a restored receiver still has; epochs
// that are not named begin anew. What is no longer here of what it lacks is
// named in gap records first. Nothing moves, and a *ReceiptError says why, if
// anything in it does not fit: whoever has more than was recorded here, or
// something else, has not lost something but found it. When it returns without
// an error the move is durable, for it is said only once. again is how many
// records are to be sent once more.
func (c *Cursor) Resume(have []wire.Have) (again uint64, err error) {
	j := c.j
	if err := j.enter(); err != nil {
		return 0, err
	}
	defer j.leave()
	upto := map[wire.Epoch]map[int]wire.Head{}
	for _, h := range have {
		upto[h.Epoch] = map[int]wire.Head{}
		for _, x := range h.Upto {
			k, ok := streamIndex(x.Stream)
			if !ok {
				return 0, &ReceiptError{"stream", x.Stream, x.Number}
			}
			upto[h.Epoch][k] = x
		}
	}
	j.mu.Lock()
	epochs := append([]*epoch(nil), j.epochs...)
	j.mu.Unlock()
	type move struct {
		e *epoch
		k int
		place
	}
	var moves []move
	var gaps []namedGap
	var events []wire.Event
	for _, e := range epochs {
		for k := range streams {
			h := upto[e.id][k]
			m, gap, err := c.back(e, k, h)
			if err != nil {
				return 0, err
			}
			if gap.to >= gap.from {
				g := namedGap{e, k, gap}
				gaps = append(gaps, g)
				events = append(events, g.event(CauseExpired, 0, m.oldest))
			}
			moves = append(moves, move{e, k, m})
		}
	}
	if err := j.name(gaps, events); err != nil {
		return 0, fmt.Errorf("resume: %w", err)
	}
	before := uint64(0)
	for _, b := range c.Backlog() {
		before += b.Records
	}
	j.mu.Lock()
	for _, m := range moves {
		if p := c.place(m.e, m.k); m.confirmed < p.confirmed {
			*p = m.place
			j.moves++
		}
	}
	j.mu.Unlock()
	if j.moved() {
		if err := j.write(readingFamily, nil, func(*state) {}); err != nil {
			return 0, fmt.Errorf("resume: %w", err)
		}
	}
	for _, b := range c.Backlog() {
		again += b.Records
	}
	return again - min(before, again), nil
}

// back returns where the cursor goes in a stream of which a receiver has the
// records up to h, and what of those after it is here no more and not yet
// named.
func (c *Cursor) back(e *epoch, k int, h wire.Head) (to place, lost gap, err error) {
	j := c.j
	nobody := &Cursor{j: j, at: map[*epoch]*[streams]place{}}
	root, oldest, code, err := j.rootAt(e, k, h.Number, nobody)
	if err != nil {
		return to, lost, fmt.Errorf("resume %s %d: %w", streamNames[k], h.Number, err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	runs := j.runs(e, k)
	first, after := e.heads[k].number+1, e.heads[k].root
	if len(runs) > 0 {
		first, after, to.oldest = runs[0].first, runs[0].before, runs[0].wallFrom
	}
	switch {
	case h.Number == 0, code == "boundary" && h.Number < first: // the chain there is not known any more
	case code == "" && root != h.Root:
		return to, lost, &ReceiptError{"root", h.Stream, h.Number}
	case code != "":
		return to, lost, &ReceiptError{code, h.Stream, h.Number}
	default:
		to.oldest = oldest
	}
	to.confirmed = h.Number
	lost = gap{h.Number + 1, first - 1, after}
	for _, g := range e.gaps[k] {
		if g.from <= lost.from && g.to >= lost.from {
			lost.from = g.to + 1
		}
	}
	return to, lost, nil
}
