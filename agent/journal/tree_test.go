package journal

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"davy/agent/merkle"
	"davy/agent/ring"
	"davy/agent/wire"
	"davy/test/scale"
)

// leavesOf reads every block back and returns the leaves by epoch. It fails
// unless they are numbered from 0 without a hole.
func leavesOf(t *testing.T, j *Journal) map[wire.Epoch][]merkle.Hash {
	t.Helper()
	c := j.newCursor("from outside")
	found := map[wire.Epoch]map[uint64]merkle.Hash{}
	for _, stream := range streamNames {
		for _, it := range drain(t, c, stream) {
			b := &it.Block
			if found[it.Epoch] == nil {
				found[it.Epoch] = map[uint64]merkle.Hash{}
			}
			if _, twice := found[it.Epoch][b.Leaf]; twice {
				t.Fatalf("epoch %x: leaf %d twice", it.Epoch[:4], b.Leaf)
			}
			data := wire.LeafData(b.RootBefore, b.Stream, b.First, b.Count, sha256.Sum256(b.Body))
			if sha256.Sum256(data) != b.RootAfter() {
				t.Fatal("a leaf does not say what the chain says")
			}
			found[it.Epoch][b.Leaf] = merkle.Tree{}.Leaf(data)
		}
	}
	out := map[wire.Epoch][]merkle.Hash{}
	for id, all := range found {
		for i := range uint64(len(all)) {
			h, ok := all[i]
			if !ok {
				t.Fatalf("epoch %x: no leaf %d of %d", id[:4], i, len(all))
			}
			out[id] = append(out[id], h)
		}
	}
	return out
}

// stored builds a tree from nothing.
func stored(leaves []merkle.Hash) (all []merkle.Hash, at merkle.At) {
	at = func(place int64) (merkle.Hash, error) { return all[place], nil }
	for i, h := range leaves {
		more, _ := merkle.Tree{}.Add(int64(i), h, at)
		all = append(all, more...)
	}
	return all, at
}

// sameLogs fails unless every log is that of the blocks, hash for hash, and
// proves what it should.
func sameLogs(t *testing.T, j *Journal, rnd *rand.Rand) {
	t.Helper()
	for id, leaves := range leavesOf(t, j) {
		all, at := stored(leaves)
		n := uint64(len(leaves))
		want, _ := merkle.Tree{}.Root(int64(n), at)
		size, root, err := j.LogHead(id)
		if err != nil || size != n || root != want {
			t.Fatalf("epoch %x: log of %d leaves, root %x, %v; want %d, %x", id[:4], size, root[:4], err, n, want[:4])
		}
		f, err := OpenTree(j.o.Dir, id)
		must(t, err)
		for i := range all {
			if h, err := f.At(int64(i)); err != nil || h != all[i] {
				t.Fatalf("epoch %x: hash %d of %d: %x, %v", id[:4], i, len(all), h[:4], err)
			}
		}
		must(t, f.Close())
		old := 1 + rnd.Uint64N(n)
		oldRoot, err := j.LogRoot(id, old)
		must(t, err)
		if want, _ := (merkle.Tree{}).Root(int64(old), at); oldRoot != want {
			t.Fatalf("root of %d leaves", old)
		}
		proof, err := j.ProveGrowth(id, size, root, old, oldRoot)
		must(t, err)
		must(t, merkle.Tree{}.CheckGrowth(proof, int64(n), want, int64(old), oldRoot))
		leaf := rnd.Uint64N(old)
		proof, root, err = j.ProveLeaf(id, old, leaf)
		must(t, err)
		if root != oldRoot {
			t.Fatal("proof of a leaf under another root")
		}
		must(t, merkle.Tree{}.CheckLeaf(proof, int64(old), int64(leaf), oldRoot, leaves[leaf]))
	}
}

// damagedLogs returns what the records of the journal say of damaged logs.
func damagedLogs(t *testing.T, j *Journal) (notes []string) {
	t.Helper()
	for _, it := range drain(t, j.newCursor("from outside"), wire.EventStream) {
		events, err := wire.DecodeEvents(it.Block.Body)
		must(t, err)
		for _, e := range events {
			if e.Kind == uint32(ring.JournalDamaged) && strings.HasPrefix(e.Note, treeDir) {
				notes = append(notes, e.Note)
			}
		}
	}
	return notes
}

func (b *bench) batch(rnd *rand.Rand) Batch {
	x := Batch{}
	if rnd.IntN(3) > 0 {
		x.Events = b.events(rnd.Uint64N(1000)+1, 1+rnd.IntN(3))
	}
	if rnd.IntN(3) > 0 {
		x.Readings = b.readings(1 + rnd.IntN(40))
		if rnd.IntN(20) == 0 {
			x.Readings = b.readings(blockRecords + 1) // two blocks
		}
	}
	if rnd.IntN(6) == 0 {
		x.Health = b.events(0, 1)
	}
	return x
}

func copyDir(t *testing.T, from, to string) {
	t.Helper()
	must(t, os.CopyFS(to, os.DirFS(from)))
}

func (b *bench) treeFile(id wire.Epoch) string {
	return filepath.Join(b.o.Dir, treeDir, hex.EncodeToString(id[:]))
}

// Whatever is appended, however it ends and wherever it is copied: the log is
// that of the blocks.
func TestLogIsThatOfTheBlocks(t *testing.T) {
	for range scale.Of(12) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		rnd := rand.New(rand.NewPCG(seed, 1))
		b := newBench(t)
		b.o.SegmentBytes = 256 << 10
		j := b.open()
		for range 2 + rnd.IntN(30) {
			switch rnd.IntN(12) {
			case 0:
				must(t, j.Close())
				j = b.open()
			case 1: // a kill
				j.release()
				j = b.open()
			case 2: // a copy of what is there, the keeper running on
				j.turn <- struct{}{}
				to := b.o.Dir + "-copy"
				must(t, os.RemoveAll(to))
				copyDir(t, b.o.Dir, to)
				<-j.turn
				o := b.o
				o.Dir = to
				c, err := Open(o)
				must(t, err)
				sameLogs(t, c, rnd)
				must(t, c.Close())
			case 3:
				b.pass(treeSyncEvery)
				must(t, j.Retain(true))
			default:
				must(t, j.Append(b.batch(rnd)))
			}
		}
		sameLogs(t, j, rnd)
		if notes := damagedLogs(t, j); len(notes) > 0 {
			t.Fatal(notes)
		}
		must(t, j.Close())
	}
}

// A log's file that is cut, flipped, empty, missing or an older one is made
// again from the blocks, after a kill and after an orderly end alike.
func TestLogIsMended(t *testing.T) {
	for name, hurt := range map[string]func(t *testing.T, path string, older []byte){
		"missing": func(t *testing.T, path string, _ []byte) { must(t, os.Remove(path)) },
		"no-dir":  func(t *testing.T, path string, _ []byte) { must(t, os.RemoveAll(filepath.Dir(path))) },
		"empty":   func(t *testing.T, path string, _ []byte) { must(t, os.Truncate(path, 0)) },
		"cut":     func(t *testing.T, path string, _ []byte) { must(t, os.Truncate(path, treeHeader+7*hashBytes+5)) },
		"older":   func(t *testing.T, path string, older []byte) { must(t, os.WriteFile(path, older, 0o600)) },
		"header": func(t *testing.T, path string, _ []byte) {
			raw, err := os.ReadFile(path)
			must(t, err)
			clear(raw[:treeHeader])
			must(t, os.WriteFile(path, raw, 0o600))
		},
		"flipped": func(t *testing.T, path string, _ []byte) {
			raw, err := os.ReadFile(path)
			must(t, err)
			for i := treeHeader; i < len(raw); i += hashBytes {
				raw[i] ^= 1
			}
			must(t, os.WriteFile(path, raw, 0o600))
		},
		"one-bit": func(t *testing.T, path string, _ []byte) { // deep within: found when it is used
			raw, err := os.ReadFile(path)
			must(t, err)
			raw[treeHeader+int(merkle.Stored(5))*hashBytes] ^= 1
			must(t, os.WriteFile(path, raw, 0o600))
		},
	} {
		for _, clean := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				b := newBench(t)
				rnd := rand.New(rand.NewPCG(7, 8))
				j := b.open()
				id := j.Epoch()
				var older []byte
				for i := range 24 {
					must(t, j.Append(b.batch(rnd)))
					if i == 8 {
						b.pass(treeSyncEvery)
						must(t, j.Retain(true))
						var err error
						older, err = os.ReadFile(b.treeFile(id))
						must(t, err)
					}
				}
				if clean {
					must(t, j.Close())
				} else {
					j.release()
				}
				hurt(t, b.treeFile(id), older)
				j = b.open()
				must(t, j.CheckLog(id))
				sameLogs(t, j, rnd)
				if notes := damagedLogs(t, j); len(notes) > 0 {
					t.Fatal(notes)
				}
				// The current one, too, while it is written to.
				must(t, j.Append(b.batch(rnd)))
				b.pass(treeSyncEvery)
				must(t, j.Retain(true))
				id = j.Epoch()
				older, err := os.ReadFile(b.treeFile(id))
				must(t, err)
				for range 6 {
					must(t, j.Append(b.batch(rnd)))
				}
				hurt(t, b.treeFile(id), older)
				for _, e := range j.Epochs() {
					must(t, j.CheckLog(e.ID))
				}
				sameLogs(t, j, rnd)
				must(t, j.Append(b.batch(rnd)))
				sameLogs(t, j, rnd)
			})
		}
	}
}

// Where neither blocks nor hashes are left the log is broken; that is said,
// once, and everything else goes on.
func TestLogIsBroken(t *testing.T) {
	b := newBench(t)
	b.o.SegmentBytes = 256 << 10
	j := b.open()
	id := j.Epoch()
	for range 6 {
		must(t, j.Append(Batch{Readings: b.readings(12000)}))
	}
	must(t, j.Append(Batch{Events: b.events(1, 1)}))
	j.release()
	must(t, os.Remove(b.treeFile(id)))
	must(t, os.Remove(filepath.Join(b.o.Dir, "reading-00000001.seg")))
	for range 2 {
		j = b.open()
		if _, _, err := j.LogHead(id); !errors.Is(err, ErrLogBroken) {
			t.Fatalf("got %v", err)
		}
		if notes := damagedLogs(t, j); len(notes) != 1 || !strings.Contains(notes[0], hex.EncodeToString(id[:])) {
			t.Fatalf("said %q", notes)
		}
		if j.Stat().Broken != 1 {
			t.Fatalf("%+v", j.Stat())
		}
		if _, _, err := j.LogHead(j.Epoch()); err != nil {
			t.Fatal(err)
		}
		must(t, j.Close())
	}
}

// A disk that takes nothing for the logs costs no commit: checkpoints wait, and
// afterwards all is there.
func TestLogsDiskFails(t *testing.T) {
	b := newBench(t)
	rnd := rand.New(rand.NewPCG(3, 4))
	j := b.open()
	must(t, j.Append(b.batch(rnd)))
	b.onDisk(func(op string) error {
		if op == "tree" {
			return syscall.EIO
		}
		return nil
	})
	for range 30 {
		must(t, j.Append(Batch{Events: b.events(1, 1)}))
		must(t, j.Retain(true))
	}
	if n, err := j.LogSize(j.Epoch()); n > 4 || err != nil {
		t.Fatalf("%d leaves, %v", n, err)
	}
	j.release()
	j = b.open() // opens without its logs
	must(t, j.Append(b.batch(rnd)))
	b.onDisk(nil)
	must(t, j.Retain(true))
	sameLogs(t, j, rnd)
	if notes := damagedLogs(t, j); len(notes) > 0 {
		t.Fatal(notes)
	}
}

// Each byte of a body is hashed once, and little besides.
func TestBytesHashed(t *testing.T) {
	b := newBench(t)
	j := b.open()
	hashed, bodies := 0, 0
	j.sum = func(p []byte) [32]byte { hashed += len(p); return sha256.Sum256(p) }
	j.tree.New = func() hash.Hash { return &counted{sha256.New(), &hashed} }
	for range 200 {
		must(t, j.Append(Batch{Readings: b.readings(400)}))
	}
	n := 0
	for _, it := range drain(t, j.newCursor("from outside"), wire.ReadingStream) {
		bodies += len(it.Block.Body)
		n++
	}
	ratio := float64(hashed) / float64(bodies)
	t.Logf("%d blocks of %d bytes: %.3f bytes hashed per byte of body", n, bodies/n, ratio)
	if bodies/n < 2000 || bodies/n > 4000 || ratio < 1 || ratio > 1.2 {
		t.Errorf("blocks of %d bytes: %.3f bytes hashed per byte of body, at most 1.2", bodies/n, ratio)
	}
}

type counted struct {
	hash.Hash
	n *int
}

func (c *counted) Write(p []byte) (int, error) {
	*c.n += len(p)
	return c.Hash.Write(p)
}

// The Start record says how far the epoch before was: what was witnessed, or
// signed anew where that is more.
func TestParentCheckpoint(t *testing.T) {
	b := newBench(t)
	j := b.open()
	first := j.Epoch()
	size, root, err := j.LogHead(first)
	must(t, err)
	must(t, j.SetWitness(first, "regulator", Witness{Size: size, Root: root, Wall: 7e9, Note: []byte("note one")}))
	must(t, j.Append(Batch{Events: b.events(1, 1)}))
	must(t, j.Close())
	parent := func(j *Journal) string {
		items := drain(t, j.newCursor("from outside"), wire.EventStream)
		for _, it := range items {
			if it.Epoch == j.Epoch() {
				events, err := wire.DecodeEvents(it.Block.Body)
				must(t, err)
				return string(events[0].Start.ParentCheckpoint)
			}
		}
		t.Fatal("no start")
		return ""
	}
	j = b.open()
	if w, ok := j.Witness(first, "regulator"); !ok || w.Size != size || w.Root != root || w.Wall != 7e9 {
		t.Fatalf("witness %+v", w)
	}
	if got := parent(j); got != "note one" {
		t.Fatalf("got %q", got)
	}
	second := j.Epoch()
	must(t, j.Close())
	b.o.Sign = func(id wire.Epoch, size uint64, root merkle.Hash) ([]byte, error) {
		if id != second || size != 1 || root == (merkle.Hash{}) {
			t.Errorf("sign %x %d", id, size)
		}
		return []byte("signed"), nil
	}
	j = b.open()
	if got := parent(j); got != "signed" {
		t.Fatalf("got %q", got)
	}
}

// What is not witnessed is counted in blocks and records, with its age.
func TestWitnessLag(t *testing.T) {
	b := newBench(t)
	b.o.SegmentBytes = 256 << 10
	rnd := rand.New(rand.NewPCG(9, 9))
	j := b.open()
	for range 30 {
		must(t, j.Append(b.batch(rnd)))
	}
	id := j.Epoch()
	type block struct {
		records uint64
		wall    int64
	}
	look := func() (blocks []block) {
		byLeaf := map[uint64]block{}
		for _, stream := range streamNames {
			for _, it := range drain(t, j.newCursor("from outside"), stream) {
				if it.Epoch == id {
					byLeaf[it.Block.Leaf] = block{uint64(it.Block.Count), it.WallFrom}
				}
			}
		}
		for i := range uint64(len(byLeaf)) {
			blocks = append(blocks, byLeaf[i])
		}
		return blocks
	}
	expect := func(size uint64) {
		t.Helper()
		want := WitnessLag{}
		for i, x := range look() {
			if uint64(i) >= size {
				want.Blocks++
				want.Records += x.records
				if want.Oldest == 0 || x.wall < want.Oldest {
					want.Oldest = x.wall
				}
			}
		}
		got, err := j.WitnessLag("regulator")
		must(t, err)
		got.Wall = 0
		if got != want {
			t.Fatalf("witnessed %d: got %+v, want %+v", size, got, want)
		}
	}
	expect(0)
	n := uint64(len(look()))
	for _, size := range []uint64{1, 5, 17, n - 1, n} {
		root, err := j.LogRoot(id, size)
		must(t, err)
		must(t, j.SetWitness(id, "regulator", Witness{Size: size, Root: root, Note: []byte("n")}))
		expect(size)
		must(t, j.Append(b.batch(rnd)))
		expect(size)
		expect(size)
	}
}

// A stretch that is witnessed and whose blocks are gone shrinks, and what comes
// after it can still be proved; after a restart, too.
func TestLogShrinks(t *testing.T) {
	b := newBench(t)
	b.o.SegmentBytes, b.o.Keep = 256<<10, time.Minute
	j := b.open()
	id := j.Epoch()
	c, err := j.Cursor("regulator")
	must(t, err)
	write := func(n int) { // blocks
		for i := 0; i < n; i += 50 {
			var blocks []block
			for range 50 {
				blocks = append(blocks, readingBlocks(b.readings(12))...)
			}
			must(t, j.enter())
			must(t, j.write(readingFamily, blocks, func(*state) {}))
			j.leave()
			if i%300 == 150 {
				must(t, j.Append(Batch{Events: b.events(1, 1)}))
			}
		}
	}
	write(3000)
	size, root, err := j.LogHead(id)
	must(t, err)
	must(t, j.SetWitness(id, "regulator", Witness{Size: size, Root: root, Note: []byte("n")}))
	must(t, c.Confirm(receipt(id, j.Heads()...)))
	write(1500)
	before := allocated(b.treeFile(id))
	b.pass(time.Hour)
	must(t, j.Retain(true))
	b.pass(treeSyncEvery)
	must(t, j.Retain(true))
	if after := allocated(b.treeFile(id)); after > before-(32<<10) {
		t.Errorf("%d bytes before, %d after", before, after)
	}
	check := func() {
		t.Helper()
		n, now, err := j.LogHead(id)
		must(t, err)
		proof, err := j.ProveGrowth(id, n, now, size, root)
		must(t, err)
		must(t, merkle.Tree{}.CheckGrowth(proof, int64(n), now, int64(size), root))
		// Who witnessed no more than that cannot be shown that the log goes on, and
		// asking for it is no damage.
		if _, err := j.LogRoot(id, 301); !errors.Is(err, ErrLogGone) {
			t.Errorf("root of leaves that were given up: %v", err)
		}
		if _, err := j.ProveGrowth(id, n, now, 301, root); !errors.Is(err, ErrLogGone) {
			t.Errorf("growth from leaves that were given up: %v", err)
		}
		gone := 0
		for leaf := uint64(0); leaf < size/2; leaf += 3 {
			if _, _, err := j.ProveLeaf(id, n, leaf); errors.Is(err, ErrLogGone) {
				gone++
			} else {
				must(t, err)
			}
		}
		if gone < 60 {
			t.Errorf("%d leaves gone", gone)
		}
		events, readings := 0, 0
		all := j.newCursor("from outside")
		for _, it := range append(drain(t, all, wire.ReadingStream), drain(t, all, wire.EventStream)...) {
			b := &it.Block
			if it.Epoch != id || b.Stream == wire.ReadingStream && b.Leaf%97 != 0 {
				continue
			}
			if b.Stream == wire.EventStream {
				events++
			} else {
				readings++
			}
			proof, root, err := j.ProveLeaf(id, n, b.Leaf)
			must(t, err)
			data := wire.LeafData(b.RootBefore, b.Stream, b.First, b.Count, sha256.Sum256(b.Body))
			must(t, merkle.Tree{}.CheckLeaf(proof, int64(n), int64(b.Leaf), root, merkle.Tree{}.Leaf(data)))
		}
		must(t, j.CheckLog(id))
		if events < 15 || readings < 5 {
			t.Errorf("%d events and %d readings proved", events, readings)
		}
	}
	check()
	write(50)
	check()
	must(t, j.Close())
	j = b.open()
	check()
	if notes := damagedLogs(t, j); len(notes) > 0 {
		t.Fatal(notes)
	}
}
