// Package merkle is the tree of a log that only grows: RFC 6962, section 2.1,
// over any hash of 32 bytes, with the stored form that golang.org/x/mod's
// tlog has (its tests hold the two against each other, proof for proof).
//
// It promises: a root commits to every leaf and to their order; a proof that
// is accepted means what its check says for everyone who believes the root; a
// check of any bytes returns an error, never a panic. Pure: nothing here reads
// a file or keeps anything.
//
// The stored form: when leaf n is added, its hash is written, and after it the
// hash of every complete subtree that it completes, the smallest first. So the
// hashes of leaves a*2^k to (a+1)*2^k-1 lie side by side with the root of their
// subtree last, which is what lets a stretch that is gone shrink to one hash.
//
// Imports: nothing of ours. Journal, evidence and receiver use it.
package merkle

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"math/bits"
)

// Hash is one node.
type Hash [32]byte

// Tree makes nodes with one hash function. The zero Tree is SHA-256.
type Tree struct {
	New func() hash.Hash // of 32 bytes; nil: SHA-256
}

// ErrProof says that a proof does not prove what it should.
var ErrProof = errors.New("proof does not fit")

// At gives the hash that stands at a place of the stored form.
type At func(place int64) (Hash, error)

func (t Tree) sum(prefix byte, parts ...[]byte) (out Hash) {
	if t.New == nil {
		b := make([]byte, 1, 160)
		b[0] = prefix
		for _, p := range parts {
			b = append(b, p...)
		}
		return sha256.Sum256(b)
	}
	h := t.New()
	h.Write([]byte{prefix})
	for _, p := range parts {
		h.Write(p)
	}
	h.Sum(out[:0])
	return out
}

// Leaf returns the hash of a leaf.
func (t Tree) Leaf(data []byte) Hash { return t.sum(0, data) }

// Node returns the hash over two subtrees.
func (t Tree) Node(left, right Hash) Hash { return t.sum(1, left[:], right[:]) }

// empty is the root of a log without leaves.
func (t Tree) empty() (out Hash) {
	if t.New == nil {
		return sha256.Sum256(nil)
	}
	t.New().Sum(out[:0])
	return out
}

// Stored returns how many hashes are stored of a log of n leaves, which is also
// the place of the hash of leaf n.
func Stored(n int64) int64 { return 2*n - int64(bits.OnesCount64(uint64(n))) }

// Place returns where the root of the subtree over leaves n*2^level to
// (n+1)*2^level-1 is stored.
func Place(level int, n int64) int64 {
	return Stored((n+1)<<level-1) + int64(level)
}

// Add returns the hashes to store for leaf n: its own, then those of the
// subtrees that it completes.
func (t Tree) Add(n int64, leaf Hash, at At) ([]Hash, error) {
	out := []Hash{leaf}
	for level := 0; n>>level&1 == 1; level++ {
		left, err := at(Place(level, n>>level-1))
		if err != nil {
			return nil, err
		}
		leaf = t.Node(left, leaf)
		out = append(out, leaf)
	}
	return out, nil
}

// Root returns the root of the first n leaves.
func (t Tree) Root(n int64, at At) (Hash, error) {
	if n <= 0 {
		return t.empty(), nil
	}
	return t.over(0, n, at)
}

// over returns the hash over leaves from to to-1, where from is a multiple of
// the smallest power of two that is not smaller than to-from.
func (t Tree) over(from, to int64, at At) (h Hash, err error) {
	var parts []Hash // complete subtrees, the largest first
	for from < to {
		level := bits.Len64(uint64(to-from)) - 1
		p, err := at(Place(level, from>>level))
		if err != nil {
			return h, err
		}
		parts = append(parts, p)
		from += 1 << level
	}
	h = parts[len(parts)-1]
	for i := len(parts) - 2; i >= 0; i-- {
		h = t.Node(parts[i], h)
	}
	return h, nil
}

// split returns the size of the left half of n > 1 leaves.
func split(n int64) int64 { return 1 << (bits.Len64(uint64(n-1)) - 1) }

// ProveLeaf returns the proof that leaf i is one of the first n.
func (t Tree) ProveLeaf(n, i int64, at At) ([]Hash, error) {
	if i < 0 || i >= n {
		return nil, fmt.Errorf("prove leaf %d of %d: %w", i, n, ErrProof)
	}
	var proof []Hash // from the root down
	for from, to := int64(0), n; to-from > 1; {
		mid := from + split(to-from)
		a, b := mid, to
		if i < mid {
			to = mid
		} else {
			a, b, from = from, mid, mid
		}
		h, err := t.over(a, b, at)
		if err != nil {
			return nil, err
		}
		proof = append(proof, h)
	}
	return reverse(proof), nil
}

// CheckLeaf checks that a leaf is number i of the n under root.
func (t Tree) CheckLeaf(proof []Hash, n, i int64, root, leaf Hash) error {
	if i < 0 || i >= n {
		return fmt.Errorf("check leaf %d of %d: %w", i, n, ErrProof)
	}
	var right []bool // from the root down: is the leaf in the right half?
	for from, to := int64(0), n; to-from > 1; {
		mid := from + split(to-from)
		right = append(right, i >= mid)
		if i < mid {
			to = mid
		} else {
			from = mid
		}
	}
	if len(proof) != len(right) {
		return fmt.Errorf("check leaf %d of %d: %w", i, n, ErrProof)
	}
	for k, p := range proof {
		if right[len(right)-1-k] {
			leaf = t.Node(p, leaf)
		} else {
			leaf = t.Node(leaf, p)
		}
	}
	if leaf != root {
		return fmt.Errorf("check leaf %d of %d: %w", i, n, ErrProof)
	}
	return nil
}

// ProveGrowth returns the proof that the log of old leaves is the beginning of
// the log of n.
func (t Tree) ProveGrowth(n, old int64, at At) ([]Hash, error) {
	if old < 1 || old > n {
		return nil, fmt.Errorf("prove %d within %d: %w", old, n, ErrProof)
	}
	var proof []Hash // from the root down
	from, to := int64(0), n
	for old != to {
		mid := from + split(to-from)
		a, b := mid, to
		if old <= mid {
			to = mid
		} else {
			a, b, from = from, mid, mid
		}
		h, err := t.over(a, b, at)
		if err != nil {
			return nil, err
		}
		proof = append(proof, h)
	}
	if from > 0 {
		h, err := t.over(from, to, at)
		if err != nil {
			return nil, err
		}
		proof = append(proof, h)
	}
	return reverse(proof), nil
}

// CheckGrowth checks that the log of old leaves under oldRoot is the beginning
// of the log of n under root.
func (t Tree) CheckGrowth(proof []Hash, n int64, root Hash, old int64, oldRoot Hash) error {
	bad := fmt.Errorf("check %d within %d: %w", old, n, ErrProof)
	if old < 1 || old > n {
		return bad
	}
	var right []bool // from the root down: does the old log end in the right half?
	from, to := int64(0), n
	for old != to {
		mid := from + split(to-from)
		right = append(right, old > mid)
		if old <= mid {
			to = mid
		} else {
			from = mid
		}
	}
	was, is := oldRoot, oldRoot
	if from > 0 {
		if len(proof) == 0 {
			return bad
		}
		was, is, proof = proof[0], proof[0], proof[1:]
	}
	if len(proof) != len(right) {
		return bad
	}
	for k, p := range proof {
		if right[len(right)-1-k] {
			was, is = t.Node(p, was), t.Node(p, is)
		} else {
			is = t.Node(is, p)
		}
	}
	if was != oldRoot || is != root {
		return bad
	}
	return nil
}

func reverse(h []Hash) []Hash {
	for i, j := 0, len(h)-1; i < j; i, j = i+1, j-1 {
		h[i], h[j] = h[j], h[i]
	}
	return h
}
