package journal

import (
	"fmt"
	"math"

	bolt "go.etcd.io/bbolt"

	"davy/agent/wire"
)

// Cursor is a destination's place in the journal. Its methods may be called
// from any goroutine.
type Cursor struct {
	j    *Journal
	name string
	at   map[*epoch]*[streams]place // under the journal's mutex
	from int64                      // of a new one: the blocks before are yet to be passed over; 0: none are
}

// place is how far a stream of an epoch is confirmed.
type place struct {
	confirmed uint64
	oldest    int64 // wall time of the first record after it; 0: as the segment says
}

// Cursor returns the cursor of a destination. A new one begins as Options.From
// says, or else with the oldest record that is here.
func (j *Journal) Cursor(name string) (*Cursor, error) {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return nil, ErrClosed
	}
	c := j.cursors[name]
	if c == nil {
		c = j.newCursor(name)
		j.cursors[name] = c
		j.moves++
	}
	from := c.from
	j.mu.Unlock()
	if from != 0 {
		if err := c.pass(from); err != nil {
			return nil, fmt.Errorf("cursor %s: %w", name, err) // the next caller goes on with it
		}
		j.mu.Lock()
		c.from = 0
		j.mu.Unlock()
	}
	return c, nil
}

func (j *Journal) newCursor(name string) *Cursor {
	from := j.o.From[name]
	c := &Cursor{j: j, name: name, at: map[*epoch]*[streams]place{}}
	if !from.Whole {
		c.from = from.Wall
	}
	for _, e := range j.epochs {
		pass := from.Wall != 0 && (!from.Whole || e.id != j.state.epoch && j.endsBefore(e, from.Wall))
		for k := range streams {
			c.place(e, k).confirmed = e.heads[k].number
			for _, r := range j.runs(e, k) {
				if !pass || !from.Whole && r.wallTo >= from.Wall {
					c.place(e, k).confirmed = r.first - 1
					break
				}
			}
		}
	}
	return c
}

func (j *Journal) loadCursor(st cursorState) *Cursor {
	c := &Cursor{j: j, name: st.name, at: map[*epoch]*[streams]place{}}
	for k, a := range st.at {
		for _, e := range j.epochs {
			if e.ordinal < a.low {
				c.place(e, k).confirmed = e.heads[k].number
			}
			for _, u := range a.upto {
				if u.epoch == e.id {
					c.place(e, k).confirmed = max(c.place(e, k).confirmed, u.number)
				}
			}
		}
	}
	return c
}

func (j *Journal) cursorStates() []cursorState {
	var out []cursorState
	for _, c := range j.cursors {
		st := cursorState{name: c.name}
		for k := range streams {
			a := &st.at[k]
			whole := true
			for i, e := range j.epochs {
				if whole = whole && i < len(j.epochs)-1 && c.effective(e, k) >= e.heads[k].number; whole {
					a.low = e.ordinal + 1
				} else if p := c.at[e]; p != nil && p[k].confirmed > 0 {
					a.upto = append(a.upto, upto{e.id, p[k].confirmed}) // without the gaps: their records may be lost before anybody has them
				}
			}
		}
		out = append(out, st)
	}
	return out
}

func (c *Cursor) place(e *epoch, stream int) *place {
	if c.at[e] == nil {
		c.at[e] = &[streams]place{}
	}
	return &c.at[e][stream]
}

// effective returns the number up to which nothing more is to be confirmed:
// what a gap record names counts, for it will never come.
func (c *Cursor) effective(e *epoch, stream int) uint64 {
	n := uint64(0)
	if p := c.at[e]; p != nil {
		n = p[stream].confirmed
	}
	for _, g := range e.gaps[stream] {
		if g.from <= n+1 && g.to > n {
			n = g.to
		}
	}
	return n
}

// appended learns of a block; it may be the first that is not confirmed.
func (c *Cursor) appended(e *epoch, stream int, it *Item) {
	if c.effective(e, stream)+1 == it.Block.First {
		c.place(e, stream).oldest = it.WallFrom
	}
}

// Name returns the destination's name.
func (c *Cursor) Name() string { return c.name }

// Confirmed returns the number up to which the destination has confirmed.
func (c *Cursor) Confirmed(id wire.Epoch, stream string) uint64 {
	k, ok := streamIndex(stream)
	c.j.mu.Lock()
	defer c.j.mu.Unlock()
	if e := c.j.epoch(id); ok && e != nil && c.at[e] != nil {
		return c.at[e][k].confirmed
	}
	return 0
}

// Backlog returns what is not confirmed, by stream: event, reading, health.
func (c *Cursor) Backlog() []Backlog {
	c.j.mu.Lock()
	defer c.j.mu.Unlock()
	out := make([]Backlog, streams)
	for k := range streams {
		b := &out[k]
		b.Stream = streamNames[k]
		for _, e := range c.j.epochs {
			n := c.effective(e, k)
			if n >= e.heads[k].number {
				continue
			}
			for _, r := range c.j.runs(e, k) {
				if r.last <= n {
					continue
				}
				b.Records += r.last - max(r.first-1, n)
				if b.Oldest == 0 {
					b.Oldest = r.wallFrom
					if p := c.at[e]; r.first <= n && p != nil && p[k].oldest != 0 {
						b.Oldest = p[k].oldest
					}
				}
			}
		}
	}
	return out
}

// source is a stretch of one stream of one epoch within a segment.
type source struct {
	s    *segment
	id   wire.Epoch
	ord  uint32
	from uint64 // the first number wanted
	last uint64 // the last one that is durable
}

// Next returns blocks of a stream after a place, the oldest epoch first, all
// of one epoch: at least one, then as many as fit into max bytes of bodies.
// What is confirmed is left out. It moves nothing. No items: the end.
func (c *Cursor) Next(stream string, after Pos, max int) ([]Item, error) {
	k, ok := streamIndex(stream)
	if !ok {
		return nil, fmt.Errorf("next: no stream %q", stream)
	}
	for {
		sources := c.sources(k, after)
		if len(sources) == 0 {
			return nil, nil
		}
		var items []Item
		size := 0
		for _, src := range sources {
			more, err := c.j.read(src, k, max-size, len(items) > 0)
			for i := range more {
				size += len(more[i].Block.Body)
			}
			items = append(items, more...)
			if err == errGone {
				break // dropped meanwhile: look again from where we are
			}
			if damage(err) {
				if err := c.j.damaged(src.s, err); err != nil {
					return items, err
				}
				break
			}
			if err != nil {
				return items, fmt.Errorf("next %s: %w", stream, err)
			}
			if size >= max || len(more) == 0 || more[len(more)-1].Block.Last() < src.last {
				break
			}
		}
		if len(items) > 0 {
			return items, nil
		}
	}
}

// damaged sets a segment aside that a reader found to be damaged.
func (j *Journal) damaged(s *segment, cause error) error {
	if err := j.enter(); err != nil {
		return err
	}
	defer j.leave()
	j.mu.Lock()
	gone := s.gone
	j.mu.Unlock()
	if gone {
		return nil
	}
	if err := j.setAside(s, cause); err != nil {
		return err
	}
	return j.flush()
}

// sources returns where the next blocks are: of the first epoch that has some.
func (c *Cursor) sources(k int, after Pos) []source {
	j := c.j
	j.mu.Lock()
	defer j.mu.Unlock()
	begin, number := 0, uint64(0)
	for i, e := range j.epochs {
		if e.id == after.Epoch {
			begin, number = i, after.Number
		}
	}
	for _, e := range j.epochs[begin:] {
		from := max(number, c.effective(e, k)) + 1
		number = 0
		var out []source
		for from <= e.heads[k].number {
			var next *run
			var in *segment
			for _, s := range j.segments {
				for i := range s.runs {
					r := &s.runs[i]
					if r.epoch == e && r.stream == k && r.last >= from && (next == nil || r.first < next.first) {
						next, in = r, s
					}
				}
			}
			if next == nil {
				break
			}
			out = append(out, source{in, e.id, e.ordinal, max(from, next.first), next.last})
			from = next.last + 1
		}
		if len(out) > 0 {
			return out
		}
	}
	return nil
}

// read returns the blocks of a source up to max bytes, at least one unless some.
func (j *Journal) read(src source, k int, max int, some bool) (items []Item, err error) {
	err = j.view(src.s, func(tx *bolt.Tx) error {
		b := blocksOf(tx)
		if b == nil {
			return fmt.Errorf("buckets: %w", ErrDamaged)
		}
		cur := b.Cursor()
		key := blockKey(src.ord, k, src.from)
		at, _ := cur.Seek(key)
		if string(at) != string(key) { // within a block
			if at, _ = cur.Prev(); at == nil {
				at, _ = cur.First()
			}
		}
		size := 0
		for ; at != nil; at, _ = cur.Next() {
			ord, stream, first, ok := parseBlockKey(at)
			if !ok {
				return fmt.Errorf("block %x: %w", at, ErrDamaged)
			}
			if ord != src.ord || stream != k || first > src.last {
				break
			}
			it, err := readBlock(b, src.id, at)
			if err != nil {
				return err
			}
			if it.Block.Last() < src.from {
				continue
			}
			want := src.from
			if n := len(items); n > 0 {
				want = items[n-1].Block.Last() + 1
			}
			if it.Block.First > want || len(items) > 0 && it.Block.First < want {
				return fmt.Errorf("%s %d follows %d: %w", streamNames[k], it.Block.First, want-1, ErrDamaged)
			}
			if size += len(it.Block.Body); size > max && (some || len(items) > 0) {
				return nil
			}
			items = append(items, it)
		}
		if len(items) == 0 || items[len(items)-1].Block.Last() < src.last {
			return fmt.Errorf("blocks up to %s %d are not there: %w", streamNames[k], src.last, ErrDamaged)
		}
		return nil
	})
	return items, err
}

// Confirm moves the cursor to where a receipt says, and what it confirms may
// be deleted. Nothing moves, and a *ReceiptError says why, if anything in it
// does not fit. The move is durable with the next transaction.
func (c *Cursor) Confirm(r *wire.Receipt) error {
	switch {
	case r.Version != wire.Version:
		return &ReceiptError{Code: "version"}
	case r.Gateway != c.j.o.Gateway:
		return &ReceiptError{Code: "gateway"}
	case r.Destination != "" && r.Destination != c.name:
		return &ReceiptError{Code: "destination"}
	}
	c.j.mu.Lock()
	e := c.j.epoch(r.Epoch)
	c.j.mu.Unlock()
	if e == nil {
		return &ReceiptError{Code: "epoch"}
	}
	type move struct {
		stream int
		place
	}
	var moves []move
	for _, h := range r.Upto {
		k, ok := streamIndex(h.Stream)
		if !ok {
			return &ReceiptError{"stream", h.Stream, h.Number}
		}
		root, oldest, code, err := c.j.rootAt(e, k, h.Number, c)
		switch {
		case err != nil:
			return fmt.Errorf("receipt %s %d: %w", h.Stream, h.Number, err)
		case code == "known":
			continue
		case code == "" && root != h.Root:
			code = "root"
		}
		if code != "" {
			return &ReceiptError{code, h.Stream, h.Number}
		}
		moves = append(moves, move{k, place{h.Number, oldest}})
	}
	c.j.mu.Lock()
	defer c.j.mu.Unlock()
	for _, m := range moves {
		if p := c.place(e, m.stream); m.confirmed > p.confirmed {
			*p = m.place
			c.j.moves++
		}
	}
	return nil
}

// Advance moves the cursor of a destination that gives no receipts to a place
// that Next has led to: its protocol has confirmed what it can. It never moves
// back. The move is durable with the next transaction.
func (c *Cursor) Advance(stream string, to Pos) error {
	k, ok := streamIndex(stream)
	if !ok {
		return fmt.Errorf("advance: no stream %q", stream)
	}
	c.j.mu.Lock()
	e := c.j.epoch(to.Epoch)
	c.j.mu.Unlock()
	if e == nil {
		return nil // all of it has gone meanwhile
	}
	_, oldest, code, err := c.j.rootAt(e, k, to.Number, c)
	switch {
	case err != nil:
		return fmt.Errorf("advance %s %d: %w", stream, to.Number, err)
	case code == "known":
		return nil
	case code == "boundary" && !c.j.holds(e, k, to.Number):
		// What Next led to went with its file meanwhile, confirmed by all who must.
	case code != "":
		return fmt.Errorf("advance %s %d: %s", stream, to.Number, code)
	}
	c.j.mu.Lock()
	defer c.j.mu.Unlock()
	if p := c.place(e, k); to.Number > p.confirmed {
		*p = place{to.Number, oldest}
		c.j.moves++
	}
	return nil
}

// holds reports whether a record is here.
func (j *Journal) holds(e *epoch, stream int, number uint64) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, r := range j.runs(e, stream) {
		if r.first <= number && number <= r.last {
			return true
		}
	}
	return false
}

// rootAt returns the chain after a number and the wall time of the record
// after it. The code "known" says that it is confirmed already.
func (j *Journal) rootAt(e *epoch, k int, number uint64, c *Cursor) (root wire.Root, oldest int64, code string, err error) {
	j.mu.Lock()
	head := e.heads[k]
	if p := c.at[e]; p != nil && p[k].confirmed >= number || number == 0 {
		j.mu.Unlock()
		return root, 0, "known", nil
	}
	code = "boundary"
	switch {
	case number > head.number:
		code = "ahead"
	case number == head.number:
		root, code = head.root, ""
	}
	for _, g := range e.gaps[k] {
		if g.to == number {
			root, code = g.root, ""
		}
	}
	if code == "" && root == (wire.Root{}) {
		code = "known" // of what was lost with its file the chain is not known, and nothing waits for it
	}
	var in *segment
	first := uint64(math.MaxUint64)
	for _, s := range j.segments {
		for _, r := range s.runs {
			if r.epoch != e || r.stream != k {
				continue
			}
			if r.last == number {
				root, code = r.after, ""
			}
			if r.first > number && r.first < first {
				first, oldest = r.first, r.wallFrom
			}
			if r.first == number+1 {
				root, code = r.before, ""
			}
			if r.first <= number && number < r.last {
				in = s
			}
		}
	}
	j.mu.Unlock()
	if in == nil || code == "ahead" {
		return root, oldest, code, nil
	}
	err = j.view(in, func(tx *bolt.Tx) error {
		b := blocksOf(tx)
		key := blockKey(e.ordinal, k, number+1)
		if b == nil || b.get(key) == nil {
			return nil
		}
		it, err := readBlock(b, e.id, key)
		if err == nil {
			root, oldest, code = it.Block.RootBefore, it.WallFrom, ""
		}
		return err
	})
	return root, oldest, code, err
}
