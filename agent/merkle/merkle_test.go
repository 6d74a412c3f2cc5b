package merkle

import (
	"crypto/sha256"
	"fmt"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// log is a stored log in memory.
type log struct {
	t      Tree
	n      int64
	hashes []Hash
}

func (l *log) at(place int64) (Hash, error) {
	if place < 0 || place >= int64(len(l.hashes)) {
		return Hash{}, fmt.Errorf("place %d of %d", place, len(l.hashes))
	}
	return l.hashes[place], nil
}

func (l *log) add(t *testing.T, data []byte) {
	t.Helper()
	more, err := l.t.Add(l.n, l.t.Leaf(data), l.at)
	if err != nil {
		t.Fatal(err)
	}
	l.n++
	l.hashes = append(l.hashes, more...)
	if int64(len(l.hashes)) != Stored(l.n) {
		t.Fatalf("%d leaves: %d hashes stored, Stored says %d", l.n, len(l.hashes), Stored(l.n))
	}
}

func data(i int64) []byte { return fmt.Appendf(nil, "leaf %d", i) }

// Every node, root and proof of logs of up to 70 leaves is that of x/mod's
// tlog, and each side accepts what the other proves.
func TestAgainstTlog(t *testing.T) {
	ours := &log{}
	theirs := tlog.HashReaderFunc(func(places []int64) ([]tlog.Hash, error) {
		var out []tlog.Hash
		for _, p := range places {
			h, err := ours.at(p)
			if err != nil {
				return nil, err
			}
			out = append(out, tlog.Hash(h))
		}
		return out, nil
	})
	roots := []Hash{sha256.Sum256(nil)}
	for n := int64(1); n <= 70; n++ {
		want, err := tlog.StoredHashes(n-1, data(n-1), theirs)
		if err != nil {
			t.Fatal(err)
		}
		before := len(ours.hashes)
		ours.add(t, data(n-1))
		if fmt.Sprint(conv(ours.hashes[before:])) != fmt.Sprint(want) {
			t.Fatalf("leaf %d: %v, tlog stores %v", n-1, ours.hashes[before:], want)
		}
		root, err := ours.t.Root(n, ours.at)
		if err != nil {
			t.Fatal(err)
		}
		if h, err := tlog.TreeHash(n, theirs); err != nil || Hash(h) != root {
			t.Fatalf("%d leaves: root %x, tlog says %x, %v", n, root, h, err)
		}
		roots = append(roots, root)
		for i := range n {
			leaf := ours.t.Leaf(data(i))
			p, err := ours.t.ProveLeaf(n, i, ours.at)
			q, err2 := tlog.ProveRecord(n, i, theirs)
			if err != nil || err2 != nil || fmt.Sprint(conv(p)) != fmt.Sprint([]tlog.Hash(q)) {
				t.Fatalf("leaf %d of %d: %v %v, tlog %v %v", i, n, p, err, q, err2)
			}
			if err := ours.t.CheckLeaf(p, n, i, root, leaf); err != nil {
				t.Error(err)
			}
			if err := tlog.CheckRecord(q, n, tlog.Hash(root), i, tlog.Hash(leaf)); err != nil {
				t.Error(err)
			}
		}
		for old := int64(1); old <= n; old++ {
			p, err := ours.t.ProveGrowth(n, old, ours.at)
			q, err2 := tlog.ProveTree(n, old, theirs)
			if err != nil || err2 != nil || fmt.Sprint(conv(p)) != fmt.Sprint([]tlog.Hash(q)) {
				t.Fatalf("%d within %d: %v %v, tlog %v %v", old, n, p, err, q, err2)
			}
			if err := ours.t.CheckGrowth(p, n, root, old, roots[old]); err != nil {
				t.Error(err)
			}
			if err := tlog.CheckTree(q, n, tlog.Hash(root), old, tlog.Hash(roots[old])); err != nil {
				t.Error(err)
			}
		}
	}
}

func conv(h []Hash) (out []tlog.Hash) {
	for _, x := range h {
		out = append(out, tlog.Hash(x))
	}
	return out
}

// A proof in which any bit, its length, the numbers or the roots differ is refused.
func TestWhatDoesNotFitIsRefused(t *testing.T) {
	l := &log{}
	var roots []Hash
	for i := range int64(40) {
		root, err := l.t.Root(i, l.at)
		if err != nil {
			t.Fatal(err)
		}
		roots = append(roots, root)
		l.add(t, data(i))
	}
	root, _ := l.t.Root(40, l.at)
	for i := range int64(40) {
		leaf := l.t.Leaf(data(i))
		p, err := l.t.ProveLeaf(40, i, l.at)
		if err != nil {
			t.Fatal(err)
		}
		tampered(p, func(p []Hash) error { return l.t.CheckLeaf(p, 40, i, root, leaf) }, func(what string) { t.Errorf("leaf %d: %s is accepted", i, what) })
		if l.t.CheckLeaf(p, 40, i^1, root, leaf) == nil || l.t.CheckLeaf(p, 40, i, root, l.t.Leaf(data(i+1))) == nil || l.t.CheckLeaf(p, 40, i, roots[39], leaf) == nil {
			t.Errorf("leaf %d: another place, leaf or root is accepted", i)
		}
		if i == 0 {
			continue
		}
		g, err := l.t.ProveGrowth(40, i, l.at)
		if err != nil {
			t.Fatal(err)
		}
		tampered(g, func(p []Hash) error { return l.t.CheckGrowth(p, 40, root, i, roots[i]) }, func(what string) { t.Errorf("growth from %d: %s is accepted", i, what) })
		if l.t.CheckGrowth(g, 40, root, i, roots[i-1]) == nil || l.t.CheckGrowth(g, 40, roots[39], i, roots[i]) == nil {
			t.Errorf("growth from %d: another root is accepted", i)
		}
	}
	for _, n := range []int64{-1, 0, 41, 1 << 62} {
		if l.t.CheckLeaf(nil, 40, n, root, root) == nil && n != 0 || l.t.CheckGrowth(nil, 40, root, n, root) == nil {
			t.Errorf("a proof about %d of 40 is accepted", n)
		}
	}
}

func tampered(p []Hash, check func([]Hash) error, accepted func(string)) {
	for k := range p {
		q := append([]Hash(nil), p...)
		q[k][k%32] ^= 1
		if check(q) == nil {
			accepted(fmt.Sprintf("another hash %d", k))
		}
	}
	if len(p) > 0 && check(p[:len(p)-1]) == nil {
		accepted("a shorter proof")
	}
	if check(append(append([]Hash(nil), p...), Hash{})) == nil {
		accepted("a longer proof")
	}
}

// Another hash function makes another tree by the same rules.
func TestAnotherHash(t *testing.T) {
	a, b := &log{t: Tree{New: sha256.New}}, &log{}
	for i := range int64(20) {
		a.add(t, data(i))
		b.add(t, data(i))
	}
	for i := range a.hashes {
		if a.hashes[i] != b.hashes[i] {
			t.Fatalf("hash %d: the general way makes another than the direct one", i)
		}
	}
	if x, y := (Tree{New: sha256.New}).empty(), (Tree{}).empty(); x != y {
		t.Errorf("empty: %x and %x", x, y)
	}
}
