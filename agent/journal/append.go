package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterr "go.etcd.io/bbolt/errors"

	"davy/agent/merkle"
	"davy/agent/wire"
	"davy/drivers/tag"
)

// Append makes a batch durable and gives its records their numbers. Events
// (with Serial) are one transaction, readings and health another, after it:
// ErrReadings says that only the first was done. An empty batch writes the
// state alone, if it has something new. Nothing is kept of a batch that failed.
func (j *Journal) Append(b Batch) error {
	if err := j.enter(); err != nil {
		return err
	}
	defer j.leave()
	if err := j.flush(); err != nil {
		return fmt.Errorf("append: %w", err)
	}
	beat := func(st *state) {
		if b.Beat != (tag.Stamp{}) {
			st.beat, st.boot = b.Beat, j.o.Boot
		}
	}
	events := len(b.Events) > 0 || b.Serial > 0
	if events {
		var at Pos // of the last event
		err := j.write(eventFamily, eventBlocks(eventStream, b.Events), func(st *state) {
			beat(st)
			if b.Serial > 0 {
				st.serial(b.Lineage, b.Serial)
			}
			at = Pos{st.epoch, st.heads[eventStream].number}
		})
		if err != nil {
			return fmt.Errorf("append events: %w", err)
		}
		for i := range b.Events {
			if b.Events[i].Table != nil {
				j.table, j.tableAt = b.Events[i], Pos{at.Epoch, at.Number - uint64(len(b.Events)-1-i)}
			}
		}
	}
	if len(b.Readings)+len(b.Health) > 0 || !events && (b.Beat != (tag.Stamp{}) || j.moved()) {
		blocks := append(readingBlocks(b.Readings), eventBlocks(healthStream, b.Health)...)
		err := j.write(readingFamily, blocks, beat)
		if err != nil && events {
			return fmt.Errorf("append readings: %w: %w", ErrReadings, err)
		}
		if err != nil {
			return fmt.Errorf("append readings: %w", err)
		}
	}
	return nil
}

// moved reports whether a cursor has moved since the last transaction.
func (j *Journal) moved() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.moves != j.saved
}

// block is one to be written, its records already packed.
type block struct {
	stream   int
	count    int
	body     []byte
	from, to int64
}

func eventBlocks(stream int, events []wire.Event) (out []block) {
	size, start := 0, 0
	flush := func(end int) {
		if end > start {
			part := events[start:end]
			out = append(out, block{stream, len(part), wire.EncodeEvents(part), part[0].At.Wall, part[len(part)-1].At.Wall})
			start, size = end, 0
		}
	}
	for i := range events {
		n := len(events[i].Append(nil))
		if size+n > blockBytes || i-start == blockRecords {
			flush(i)
		}
		size += n
	}
	flush(len(events))
	return out
}

func readingBlocks(readings []tag.Reading) (out []block) {
	for part := range slices.Chunk(readings, blockRecords) {
		out = append(out, block{readingStream, len(part), wire.EncodeReadings(part), part[0].Received.Wall, part[len(part)-1].Received.Wall})
	}
	return out
}

// write commits blocks and, where space is short, makes some.
func (j *Journal) write(f family, blocks []block, change func(*state)) error {
	err := j.commit(f, blocks, nil, change)
	for try := 0; full(err) && try < maxTries; try++ {
		if !j.makeRoom(f) {
			return fmt.Errorf("%w: %w", ErrFull, err)
		}
		err = j.commit(f, blocks, nil, change)
	}
	if err == nil {
		j.keepSize()
	}
	return err
}

// maxTries of one Append on a full disk, a segment being dropped before each.
const maxTries = 8

// commit writes blocks (and, with them, gaps that an event among them names)
// in one transaction of the family's active segment, and makes them visible.
func (j *Journal) commit(f family, blocks []block, gaps []namedGap, change func(*state)) error {
	began := j.o.Now().Mono
	e := j.epochs[len(j.epochs)-1]
	heads, leaves := e.heads, e.leaves // only the holder of the turn changes them
	items := make([]Item, len(blocks))
	hashes := make([]merkle.Hash, len(blocks))
	for i, b := range blocks {
		h := &heads[b.stream]
		it := &items[i]
		it.Epoch, it.WallFrom, it.WallTo = e.id, b.from, b.to
		it.Block = wire.Block{Stream: streamNames[b.stream], First: h.number + 1, Count: uint32(b.count), Body: b.body, RootBefore: h.root, Leaf: leaves}
		it.Sum = j.sum(b.body) // the body is hashed once, here
		leaf := it.leafData()
		hashes[i] = j.tree.Leaf(leaf)
		h.number, h.root = it.Block.Last(), j.sum(leaf)
		leaves++
	}
	j.mu.Lock()
	st, moves := j.state, j.moves
	st.cursors, st.past = j.cursorStates(), j.unconfirmedEpochs()
	j.mu.Unlock()
	st.version++
	st.heads, st.leaves = heads, leaves
	change(&st)
	s, err := j.transact(f, func(tx *bolt.Tx) error { return put(tx, e, items, gaps, &st) })
	if err != nil {
		return err
	}
	j.visible(s, e, blocks, items, gaps, func() {
		e.heads, e.leaves = heads, leaves
		j.state, j.saved = st, moves
		j.stat.LastCommit = time.Duration(j.o.Now().Mono - began)
	})
	j.grow(e, hashes)
	return nil
}

// visible makes what was committed visible.
func (j *Journal) visible(s *segment, e *epoch, blocks []block, items []Item, gaps []namedGap, done func()) {
	size := allocated(s.path)
	j.mu.Lock()
	defer j.mu.Unlock()
	s.bytes = size
	s.gaps += len(gaps)
	for i := range items {
		s.extend(e, blocks[i].stream, &items[i])
		for _, c := range j.cursors {
			c.appended(e, blocks[i].stream, &items[i])
		}
		j.stat.Records += uint64(blocks[i].count)
	}
	for _, g := range gaps {
		if g.epoch.addGap(g.stream, g.gap) {
			j.stat.Gaps++
		}
	}
	done()
	s.lived, s.version, j.newest = j.state.lived, j.state.version, s
	j.stat.Commits++
	close(j.changed)
	j.changed = make(chan struct{})
}

// transact runs fill in one durable transaction of the family's segment.
func (j *Journal) transact(f family, fill func(*bolt.Tx) error) (*segment, error) {
	s, err := j.activeSegment(f)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return j.newSegment(f, fill)
	}
	err = j.o.Disk("commit")
	if err != nil {
		return nil, err
	}
	err = guard(func() error { return s.h.db.Update(fill) })
	if err == nil {
		return s, nil
	}
	if errors.Is(err, bolterr.ErrMaxSizeReached) {
		j.seal(s)
		return j.newSegment(f, fill)
	}
	j.mu.Lock()
	s.poisoned, s.doubt = isPanic(err), true
	j.state.version++ // that of what failed is given to nothing else, see settleLate
	j.mu.Unlock()
	j.seal(s)
	serr := j.settle(s, err)
	if isPanic(err) && serr == nil { // it is not written to any more
		return j.newSegment(f, fill)
	}
	return nil, errors.Join(fmt.Errorf("commit to %s: %w", filepath.Base(s.path), err), serr)
}

type namedGap struct {
	epoch  *epoch
	stream int
	gap
}

// put fills a transaction.
func put(tx *bolt.Tx, e *epoch, items []Item, gaps []namedGap, st *state) error {
	if len(items) > 0 {
		epochs := tx.Bucket(bucketEpochs)
		ord := binary.BigEndian.AppendUint32(nil, e.ordinal)
		if epochs.Get(ord) == nil {
			if err := epochs.Put(ord, e.id[:]); err != nil {
				return err
			}
		}
	}
	to := blocksOf(tx)
	for i := range items {
		stream, _ := streamIndex(items[i].Block.Stream)
		if err := to.put(blockKey(e.ordinal, stream, items[i].Block.First), encodeBlock(e.id, stream, &items[i])); err != nil {
			return err
		}
	}
	for _, g := range gaps {
		v := binary.BigEndian.AppendUint64(nil, g.to)
		v = append(v, g.root[:]...)
		v = binary.BigEndian.AppendUint32(v, g.epoch.ordinal)
		if err := tx.Bucket(bucketGaps).Put(gapKey(g.epoch.id, g.stream, g.from), v); err != nil {
			return err
		}
	}
	return tx.Bucket(bucketState).Put(keyState, st.encode())
}

// extend adds a block to what a segment is known to hold.
func (s *segment) extend(e *epoch, stream int, it *Item) {
	after := it.rootAfter()
	for i := range s.runs {
		if r := &s.runs[i]; r.epoch == e && r.stream == stream {
			r.last, r.after, r.wallTo, r.leafTo = it.Block.Last(), after, it.WallTo, it.Block.Leaf
			return
		}
	}
	s.runs = append(s.runs, run{
		e, stream, it.Block.First, it.Block.Last(), it.Block.RootBefore, after, it.WallFrom, it.WallTo, it.Block.Leaf, it.Block.Leaf,
	})
}

// activeSegment returns the family's segment to write to, nil if one must be
// made. After an opening the last one is written on, if it has room.
func (j *Journal) activeSegment(f family) (*segment, error) {
	j.mu.Lock()
	var last *segment
	for _, s := range j.segments {
		if s.family == f {
			last = s
		}
	}
	j.mu.Unlock()
	switch {
	case last == nil || last.active:
		return last, nil
	case last.doubt:
		if err := j.settle(last, nil); err != nil || !last.active {
			return nil, err
		}
		return last, nil
	case j.reopened[f] || last.bytes > j.o.SegmentBytes/2:
		return nil, nil
	}
	err := j.reopen(last)
	if damage(err) {
		j.retire(last, err)
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open segment %s: %w", filepath.Base(last.path), err)
	}
	j.reopened[f] = true
	return last, nil
}

// newSegment makes a segment whose first transaction is fill.
func (j *Journal) newSegment(f family, fill func(*bolt.Tx) error) (*segment, error) {
	if err := j.o.Disk("create"); err != nil {
		return nil, err
	}
	seq := j.nextSeq[f]
	name := segmentName(f, seq)
	path := filepath.Join(j.o.Dir, name)
	h, err := createFile(path, j.o.SegmentBytes, fill)
	if errors.Is(err, bolterr.ErrMaxSizeReached) {
		return nil, fmt.Errorf("create segment %s: the batch is larger than a segment", name)
	}
	if err != nil {
		return nil, fmt.Errorf("create segment %s: %w", name, err)
	}
	s := newSegmentAt(path, f, seq)
	s.h, s.active = h, true
	j.reopened[f] = true
	j.mu.Lock()
	j.nextSeq[f]++
	j.segments = append(j.segments, s)
	j.mu.Unlock()
	return s, nil
}

// seal ends writing to a segment. Readers open it again as they need it.
func (j *Journal) seal(s *segment) {
	j.mu.Lock()
	s.active = false
	j.mu.Unlock()
	j.shut(s, false)
}
