package journal

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"

	bolt "go.etcd.io/bbolt"

	"davy/agent/merkle"
)

// loadTrees reads the logs of the epochs that are here and mends them. What
// the disk does not give now is read later.
func (j *Journal) loadTrees() {
	for _, e := range j.epochs {
		if e.leaves > 0 {
			j.told(e, j.mendTree(e))
		}
	}
	j.shutTree()
}

// mendTree makes the log of an epoch whole: what the file holds up to its last
// sync, if that is what its header says, and what comes after it from the
// blocks. An error says that the disk does not let it, now; a log that cannot
// be made again is broken.
func (j *Journal) mendTree(e *epoch) error {
	t := &e.tree
	j.mu.Lock()
	t.unread = true
	j.mu.Unlock()
	if err := j.o.Disk("tree"); err != nil {
		return err
	}
	j.shutTree() // it may be another file by now
	f, err := j.treeOf(e)
	if err != nil {
		return err
	}
	h := f.head
	if h.broken {
		j.mu.Lock()
		t.lost, t.unread = "broken", false // said before
		j.mu.Unlock()
		return nil
	}
	m := mend{j: j, e: e, f: f, size: max(int64(e.leaves), h.size), want: map[int64]merkle.Hash{}}
	if t.size > 0 { // of this run: known without the file
		m.want[t.size] = j.rootOf(t.size, t.edge)
	}
	if h.size > 0 {
		m.want[h.size] = h.root
	}
	m.shrunk = h.shrunk
	edge, err := m.edgeAt(h.size, h.root)
	switch {
	case err == nil:
		m.from, m.edge = h.size, edge
	case !errors.Is(err, errTorn):
		return err
	case h.shrunk > 0: // of what was given up only the edge is here, and what follows tells whether it is right
		if m.edge, err = m.edgeOf(h.shrunk); err != nil && !errors.Is(err, errTorn) {
			return err
		}
		if err != nil {
			j.breakLog(e, fmt.Sprintf("the roots of the first %d leaves are damaged", h.shrunk))
			return nil
		}
		m.from = h.shrunk
	}
	why, err := m.run()
	if err != nil {
		j.shutTree()
		return err
	}
	if why != "" {
		j.breakLog(e, why)
		return nil
	}
	j.mu.Lock()
	t.size, t.edge, t.written, t.done, t.wait, t.behind, t.unread = m.size, m.edge, m.size, m.edge, nil, false, false
	t.seq, t.synced, t.shrunk = h.seq, h.size, h.shrunk
	if m.from < h.size {
		t.synced = 0
	}
	t.bytes = allocated(j.treePath(e.id))
	e.leaves = uint64(m.size)
	j.mu.Unlock()
	return j.syncTree(e)
}

// mend is one log that is made whole.
type mend struct {
	j      *Journal
	e      *epoch
	f      *TreeFile
	from   int64         // leaves that are right
	edge   []merkle.Hash // of those, and at the end of all
	size   int64
	shrunk int64
	want   map[int64]merkle.Hash // roots that are known, by size
	have   []uint64              // leaves from from on whose block is here, a bit each
	// Leaves that only the file has. They are right if a hash above them in the
	// file is what they make with their neighbours.
	borrowed []int64
}

// edgeAt returns the edge of the first size leaves, if its root is the given one.
func (m *mend) edgeAt(size int64, root merkle.Hash) ([]merkle.Hash, error) {
	edge, err := m.edgeOf(size)
	if err == nil && size > 0 && m.j.rootOf(size, edge) != root {
		err = fmt.Errorf("root of %d leaves: %w", size, errTorn)
	}
	return edge, err
}

func (m *mend) edgeOf(size int64) (edge []merkle.Hash, err error) {
	_, err = m.j.tree.Root(size, func(place int64) (merkle.Hash, error) {
		h, err := m.f.At(place)
		edge = append(edge, h)
		return h, err
	})
	return edge, err
}

// run makes the hashes from from on again; why says why that cannot be done.
func (m *mend) run() (why string, err error) {
	if m.from == m.size {
		return "", nil
	}
	if m.size-m.from > math.MaxInt32 {
		return fmt.Sprintf("%d leaves are too many to make again", m.size-m.from), nil
	}
	m.have = make([]uint64, (m.size-m.from+63)/64)
	if err := m.blocks(); err != nil {
		return "", err
	}
	for at := m.from; at < m.size; {
		to := min(at+mendLeaves, m.size)
		if why, err = m.stretch(at, to); why != "" || err != nil {
			return why, err
		}
		at = to
	}
	if len(m.borrowed) > 0 {
		return fmt.Sprintf("the block of leaf %d is not here, and nothing shows that the hash in the file is its", m.borrowed[0]), nil
	}
	return "", nil
}

// blocks writes the hashes of the leaves whose blocks are here.
func (m *mend) blocks() error {
	j := m.j
	j.mu.Lock()
	all := slices.Clone(j.segments)
	j.mu.Unlock()
	for _, s := range all {
		for _, r := range s.runs {
			if r.epoch != m.e || int64(r.leafTo) < m.from {
				continue
			}
			leaves, err := m.leaves(s, r)
			if err == errGone {
				continue
			}
			if err != nil && !damage(err) {
				return err
			}
			for _, l := range leaves {
				if l.n < m.from || l.n >= m.size {
					continue
				}
				if err := m.f.put(merkle.Stored(l.n), []merkle.Hash{l.hash}); err != nil {
					return err
				}
				m.have[(l.n-m.from)/64] |= 1 << ((l.n - m.from) % 64)
			}
		}
	}
	return nil
}

type numberedLeaf struct {
	n    int64
	hash merkle.Hash
}

// leaves returns those of a run from the last one back to from. A block that
// is damaged gives none.
func (m *mend) leaves(s *segment, r run) (out []numberedLeaf, err error) {
	err = m.j.view(s, func(tx *bolt.Tx) error {
		b := blocksOf(tx)
		if b == nil {
			return fmt.Errorf("buckets: %w", ErrDamaged)
		}
		c := b.Cursor()
		last := blockKey(m.e.ordinal, r.stream, math.MaxUint64)
		k, _ := c.Seek(last)
		if k == nil {
			k, _ = c.Last()
		} else {
			k, _ = c.Prev()
		}
		before := int64(math.MaxInt64)
		for ; k != nil; k, _ = c.Prev() {
			ord, stream, first, ok := parseBlockKey(k)
			if !ok || ord != m.e.ordinal || stream != r.stream {
				return nil
			}
			it, _, err := readHeader(b, m.e.id, k)
			if err != nil {
				if int64(first) >= before {
					return nil // a damaged page leads round and round
				}
				before = int64(first)
				continue
			}
			if n := int64(it.Block.Leaf); n < m.from || int64(first) >= before {
				return nil
			}
			before = int64(first)
			out = append(out, numberedLeaf{int64(it.Block.Leaf), m.j.tree.Leaf(it.leafData())})
		}
		return nil
	})
	return out, err
}

// stretch makes the nodes over leaves at to to-1 again.
func (m *mend) stretch(at, to int64) (why string, err error) {
	begin := merkle.Stored(at)
	b := make([]byte, (merkle.Stored(to)-begin)*hashBytes)
	if _, err := m.f.f.ReadAt(b, treeHeader+begin*hashBytes); err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	for i := at; i < to; i++ {
		slot := b[(merkle.Stored(i)-begin)*hashBytes:]
		leaf := merkle.Hash(slot[:hashBytes])
		if n := i - m.from; m.have[n/64]>>(n%64)&1 == 0 {
			if leaf == (merkle.Hash{}) || len(m.borrowed) == maxBorrowed {
				return fmt.Sprintf("the block of leaf %d is not here, and neither is its hash", i), nil
			}
			m.borrowed = append(m.borrowed, i)
		}
		var stored []merkle.Hash
		stored, m.edge = m.j.pushed(i, m.edge, leaf)
		for level, h := range stored[1:] {
			was := slot[(level+1)*hashBytes:][:hashBytes]
			if merkle.Hash(was) == h {
				first := (i >> (level + 1)) << (level + 1)
				m.borrowed = slices.DeleteFunc(m.borrowed, func(n int64) bool { return n >= first })
			}
			copy(was, h[:])
		}
		if root, ok := m.want[i+1]; ok {
			if m.j.rootOf(i+1, m.edge) != root {
				return fmt.Sprintf("its first %d leaves are no longer what they were", i+1), nil
			}
			m.borrowed = m.borrowed[:0] // the root is known
		}
	}
	_, err = m.f.f.WriteAt(b, treeHeader+begin*hashBytes)
	return "", err
}

// CheckLog reads the whole log of an epoch and holds every hash against those
// above it, up to a root that is known; what is damaged is made again. It is
// for when a proof did not hold.
func (j *Journal) CheckLog(id [16]byte) error {
	if err := j.enter(); err != nil {
		return err
	}
	defer j.leave()
	j.mu.Lock()
	e := j.epoch(id)
	j.mu.Unlock()
	if e == nil || e.tree.gone {
		return ErrNoLog
	}
	t := &e.tree
	if t.lost != "" {
		return fmt.Errorf("%w: %s", ErrLogBroken, t.lost)
	}
	err := j.writeTree(e)
	if err == nil && !t.unread && !t.behind {
		err = j.whole(e)
	}
	if err == nil && !t.unread && !t.behind {
		return nil
	}
	if err != nil && !errors.Is(err, errTorn) && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrLogWaits, err)
	}
	j.o.Log.Warn("log of an epoch is damaged, making it again from its blocks", "epoch", treeName(e.id), "error", err)
	if err := j.remake(e); err != nil {
		return fmt.Errorf("%w: %w", ErrLogWaits, err)
	}
	if t.lost != "" {
		return fmt.Errorf("%w: %s", ErrLogBroken, t.lost)
	}
	return nil
}

// whole reads a log from its first hash that is kept to its last.
func (j *Journal) whole(e *epoch) error {
	if err := j.o.Disk("tree"); err != nil {
		return err
	}
	f, err := openTree(j.treePath(e.id), e.id, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer f.Close()
	t := &e.tree
	m := mend{j: j, e: e, f: f}
	if m.edge, err = m.edgeOf(t.shrunk); err != nil {
		return err
	}
	for at := t.shrunk; at < t.size; {
		to := min(at+mendLeaves, t.size)
		begin := merkle.Stored(at)
		b := make([]byte, (merkle.Stored(to)-begin)*hashBytes)
		if _, err := f.f.ReadAt(b, treeHeader+begin*hashBytes); errors.Is(err, io.EOF) {
			return fmt.Errorf("it ends before leaf %d: %w", to, errTorn)
		} else if err != nil {
			return err
		}
		for i := at; i < to; i++ {
			slot := b[(merkle.Stored(i)-begin)*hashBytes:]
			var stored []merkle.Hash
			stored, m.edge = j.pushed(i, m.edge, merkle.Hash(slot[:hashBytes]))
			for level, h := range stored {
				if merkle.Hash(slot[level*hashBytes:][:hashBytes]) != h {
					return fmt.Errorf("hash over leaf %d: %w", i, errTorn)
				}
			}
		}
		at = to
	}
	if j.rootOf(t.size, m.edge) != j.rootOf(t.size, t.edge) {
		return fmt.Errorf("root: %w", errTorn)
	}
	return nil
}

// remake makes all hashes of a log again that are kept.
func (j *Journal) remake(e *epoch) error {
	t := &e.tree
	if t.unread {
		return j.mendTree(e)
	}
	j.shutTree()
	f, err := j.treeOf(e)
	if err != nil {
		return err
	}
	m := mend{j: j, e: e, f: f, from: t.shrunk, size: t.size, want: map[int64]merkle.Hash{t.size: j.rootOf(t.size, t.edge)}}
	why := ""
	if m.edge, err = m.edgeOf(t.shrunk); errors.Is(err, errTorn) {
		why, err = fmt.Sprintf("the roots of the first %d leaves are damaged", t.shrunk), nil
	}
	if err == nil && why == "" {
		why, err = m.run()
	}
	if err != nil {
		j.shutTree()
		return err
	}
	if why != "" {
		j.breakLog(e, why)
		return nil
	}
	j.mu.Lock()
	t.written, t.done, t.wait, t.behind, t.synced = t.size, t.edge, nil, false, 0
	j.mu.Unlock()
	return j.syncTree(e)
}
