package feed

import (
	"context"
	"fmt"
	"sync"
	"time"

	"davy/agent/journal"
	"davy/agent/wire"
)

// Limits of Past, each with what happens at it.
const (
	pastMarks = 16 // places that are remembered; the one used longest ago is looked for again
	// SetBack is how far a clock may have been set back for what was recorded
	// after that to be found still: so long is looked on behind the end of a stretch.
	SetBack = 15 * time.Minute
)

// Past reads readings of the journal by their wall time, with the names of
// their tags. It may be used from any goroutine; calls take turns.
type Past struct {
	mu     sync.Mutex
	j      *journal.Journal
	tables tables
	marks  []pastMark // the one used last at the end
}

// pastMark says that every block before a place ends before a wall time.
type pastMark struct {
	wall int64
	at   journal.Pos
}

// NewPast returns a reader of j; current as Options.Table.
func NewPast(j *journal.Journal, current func() *wire.Table) *Past {
	return &Past{j: j, tables: tables{journal: j, current: current}}
}

// Readings calls f with the recorded readings whose wall time is in [from, to)
// (ns since 1970), in the order of the journal. What a clock recorded that was
// ahead and was then set back by more than SetBack may be left out.
func (p *Past) Readings(ctx context.Context, from, to int64, f func(Record)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.blocks(ctx, from, func(it *journal.Item) (more bool, err error) {
		if it.WallFrom >= to+int64(SetBack) {
			return false, nil
		}
		if it.WallFrom >= to || it.WallTo < from {
			return true, nil
		}
		return true, p.decode(it, func(r Record) {
			if at := r.Reading.Received.Wall; at >= from && at < to {
				f(r)
			}
		})
	})
}

// Before returns the wall time of the newest reading recorded before one, 0 if
// there is none.
func (p *Past) Before(ctx context.Context, wall int64) (last int64, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	// The last stretch that is over by then is looked through whole.
	back := int64(time.Minute)
	for ; last == 0; back *= 10 {
		from := max(wall-back, 0)
		err = p.blocks(ctx, from, func(it *journal.Item) (bool, error) {
			if it.WallFrom >= wall || it.WallTo <= last {
				return it.WallFrom < wall+int64(SetBack), nil
			}
			return true, p.decode(it, func(r Record) {
				if at := r.Reading.Received.Wall; at < wall {
					last = max(last, at)
				}
			})
		})
		if err != nil || from == 0 {
			return last, err
		}
	}
	return last, nil
}

// blocks calls f with the blocks from the first on that ends at a wall time or
// later, until it wants no more.
func (p *Past) blocks(ctx context.Context, from int64, f func(*journal.Item) (bool, error)) error {
	at := p.place(from)
	passing := true
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		items, err := p.j.Read(wire.ReadingStream, at, ReadBytes)
		if err != nil {
			return fmt.Errorf("read journal %s: %w", wire.ReadingStream, err)
		}
		for i := range items {
			it := &items[i]
			if passing && it.WallTo < from {
				at = it.After()
				continue
			}
			if passing {
				p.mark(from, at)
				passing = false
			}
			at = it.After()
			if more, err := f(it); !more || err != nil {
				return err
			}
		}
		if len(items) == 0 {
			return nil
		}
	}
}

// place returns where to begin for a wall time.
func (p *Past) place(from int64) journal.Pos {
	best := -1
	for i, m := range p.marks {
		if m.wall <= from && (best < 0 || m.wall > p.marks[best].wall) {
			best = i
		}
	}
	at := p.j.Seek(wire.ReadingStream, from)
	if best < 0 {
		return at
	}
	m := p.marks[best]
	p.marks = append(append(p.marks[:best], p.marks[best+1:]...), m)
	ours, theirs := -1, -1 // which epoch; what the mark stands in may have gone
	for i, e := range p.j.Epochs() {
		if e.ID == m.at.Epoch {
			ours = i
		}
		if e.ID == at.Epoch {
			theirs = i
		}
	}
	if ours > theirs || ours >= 0 && ours == theirs && m.at.Number > at.Number {
		return m.at
	}
	return at
}

func (p *Past) mark(wall int64, at journal.Pos) {
	for i, m := range p.marks {
		if m.wall == wall {
			p.marks = append(p.marks[:i], p.marks[i+1:]...)
			break
		}
	}
	if len(p.marks) == pastMarks {
		p.marks = p.marks[1:]
	}
	p.marks = append(p.marks, pastMark{wall, at})
}

func (p *Past) decode(it *journal.Item, f func(Record)) error {
	list, err := wire.DecodeReadings(it.Block.Body)
	if err != nil { // it says nothing to this version, as in a feed: its time is one of which nothing is known
		return nil
	}
	table, err := p.tables.of(it.Epoch)
	if err != nil {
		return err
	}
	for i := range list {
		r := Record{Epoch: it.Epoch, Stream: it.Block.Stream, Number: it.Block.First + uint64(i), Reading: &list[i], Table: table.table, Tag: table.tag(list[i].Tag)}
		f(r)
	}
	return nil
}
