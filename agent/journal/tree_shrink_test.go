package journal

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"davy/agent/merkle"
)

// Whatever stretches are given up, every leaf that is left and every growth
// after them can be proved with what stays.
func TestWhatStaysProves(t *testing.T) {
	rnd := rand.New(rand.NewPCG(4, 4))
	for range 200 {
		n := 1 + rnd.Int64N(300)
		leaves := make([]merkle.Hash, n)
		for i := range leaves {
			leaves[i] = merkle.Tree{}.Leaf([]byte{byte(i), byte(i >> 8)})
		}
		_, whole := stored(leaves)
		gone := map[int64]bool{}
		upto := rnd.Int64N(n + 1)
		var alive []int64
		for from := int64(0); from < upto; { // twice, as it grows
			to := from + 1 + rnd.Int64N(upto-from)
			var ends []int64
			for i := from; i < to; i++ {
				if rnd.IntN(20) == 0 {
					ends = append(ends, i)
				}
			}
			alive = append(alive, ends...)
			must(t, within(from, append(ends, to), func(begin, end int64) error {
				for p := begin; p < end; p++ {
					gone[p] = true
				}
				return nil
			}))
			from = to
		}
		for i := upto; i < n; i++ {
			alive = append(alive, i)
		}
		at := func(place int64) (merkle.Hash, error) {
			if gone[place] {
				return merkle.Hash{}, errTorn
			}
			return whole(place)
		}
		for _, i := range alive {
			if _, err := at(merkle.Stored(i)); err != nil {
				t.Fatalf("leaf %d of %d is gone", i, n)
			}
			if _, err := (merkle.Tree{}).ProveLeaf(n, i, at); err != nil {
				t.Fatalf("leaf %d of %d, %d given up: %v", i, n, upto, err)
			}
		}
		for old := max(upto, 1); old <= n; old++ {
			if _, err := (merkle.Tree{}).ProveGrowth(n, old, at); err != nil {
				t.Fatalf("%d within %d, %d given up: %v", old, n, upto, err)
			}
		}
	}
}

// Blocks that are gone leave the hashes of their leaves, if those above them
// show that they are theirs, and else a broken log.
func TestLogBorrows(t *testing.T) {
	for _, flip := range []bool{false, true} {
		b := newBench(t)
		b.o.SegmentBytes = 256 << 10
		j := b.open()
		id := j.Epoch()
		for range 6 {
			must(t, j.Append(Batch{Readings: b.readings(12000)}))
		}
		must(t, j.Append(Batch{Events: b.events(1, 1)}))
		size, root, err := j.LogHead(id)
		must(t, err)
		j.release()
		must(t, os.Remove(filepath.Join(b.o.Dir, "reading-00000001.seg")))
		if flip {
			raw, err := os.ReadFile(b.treeFile(id))
			must(t, err)
			for leaf := range int64(size) { // of blocks that are here it is made again
				raw[treeHeader+merkle.Stored(leaf)*hashBytes] ^= 1
			}
			must(t, os.WriteFile(b.treeFile(id), raw, 0o600))
		}
		j = b.open()
		n, now, err := j.LogHead(id)
		if flip && !errors.Is(err, ErrLogBroken) {
			t.Errorf("hashes that nothing vouches for were taken: %v", err)
		}
		if !flip && (err != nil || n != size || now != root) {
			t.Errorf("log of %d leaves, %v", n, err)
		}
	}
}
