package journal

import (
	"errors"
	"math/bits"
	"slices"
	"syscall"

	"davy/agent/merkle"
)

// shrinkLeast is how many leaves are given up at once, at least: 64 KiB of hashes.
const shrinkLeast = 1024

// shrink gives up the hashes of leaves that all who must have witnessed and
// whose blocks are gone. Of each stretch of them the roots of the complete
// subtrees stay, which is all that a proof of anything else needs: of what
// comes after, and of the events among them, which outlive the readings. Pages
// of the file that hold nothing else go back to the disk.
func (j *Journal) shrink(e *epoch) error {
	t := &e.tree
	if t.synced != t.size || t.written != t.size || t.size == 0 || len(j.o.MustConfirm) == 0 {
		return nil
	}
	upto, events := j.deadLeaves(e)
	if upto-t.shrunk < shrinkLeast {
		return nil
	}
	var alive []int64
	for _, k := range events {
		m := mend{j: j, e: e, from: t.shrunk}
		leaves, err := m.leaves(k.s, k.r)
		if err == errGone || damage(err) {
			return nil // it will be set aside when it is read; then again
		}
		if err != nil {
			return err
		}
		for _, l := range leaves {
			if l.n < upto {
				alive = append(alive, l.n)
			}
		}
	}
	slices.Sort(alive)
	if err := j.o.Disk("tree"); err != nil {
		return err
	}
	f, err := j.treeOf(e)
	if err != nil {
		return err
	}
	// First the header says so, then the hashes go.
	h := treeHead{epoch: e.id, seq: t.seq + 1, size: t.size, root: j.rootOf(t.size, t.edge), shrunk: upto}
	if err := f.seal(h); err != nil {
		j.shutTree()
		return err
	}
	from := t.shrunk
	j.mu.Lock()
	t.seq, t.shrunk = h.seq, upto
	j.mu.Unlock()
	if err := within(from, append(alive, upto), f.punch); err != nil && !errors.Is(err, syscall.EOPNOTSUPP) { // of a file system that takes nothing back
		return err
	}
	j.mu.Lock()
	t.bytes = allocated(j.treePath(e.id))
	j.mu.Unlock()
	return nil
}

// within calls f with the places of the hashes that no proof needs which does
// not need a leaf from from on that is not among the ends: the insides of the
// largest complete subtrees between them.
func within(from int64, ends []int64, f func(begin, end int64) error) error {
	for _, next := range ends {
		for from < next {
			level := subtree(from, next)
			if err := f(merkle.Stored(from), merkle.Place(level, from>>level)); err != nil {
				return err
			}
			from += 1 << level
		}
		from = next + 1
	}
	return nil
}

// subtree returns the level of the largest complete subtree that begins with
// leaf from and ends before leaf to.
func subtree(from, to int64) int {
	level := bits.Len64(uint64(to-from)) - 1
	if from > 0 {
		level = min(level, bits.TrailingZeros64(uint64(from)))
	}
	return level
}

// stay is what a segment keeps of an epoch.
type stay struct {
	s *segment
	r run
}

// deadLeaves returns the leaf before which all are witnessed and have no block
// any more, but for those in the runs that are returned with it.
func (j *Journal) deadLeaves(e *epoch) (upto int64, events []stay) {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := e.leaves
	for _, name := range j.o.MustConfirm {
		if w := e.tree.witness[name]; w == nil {
			return 0, nil
		}
	}
	for name, w := range e.tree.witness { // they too have to be shown that the log goes on
		if j.cursors[name] != nil {
			n = min(n, w.Size)
		}
	}
	for _, s := range j.segments {
		for _, r := range s.runs {
			switch {
			case r.epoch != e:
			case s.family == readingFamily:
				n = min(n, r.leafFrom)
			default:
				events = append(events, stay{s, r})
			}
		}
	}
	return int64(n), events
}
