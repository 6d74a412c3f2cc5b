package journal

import (
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	bolt "go.etcd.io/bbolt"

	"davy/agent/merkle"
	"davy/agent/wire"
)

// maxWitness is the length above which a file holds no witness.
const maxWitness = 32 << 10

// Witness is a checkpoint that a destination's receiver has cosigned. What the
// note says is for the caller to have checked.
type Witness struct {
	Size uint64
	Root merkle.Hash
	Wall int64 // when the receiver signed, ns
	Note []byte
}

// witnessed is what is known of a destination and an epoch.
type witnessed struct {
	Witness
	saved bool
	// The last record of each stream that is covered, and the wall time of the
	// first one after it, once there is one.
	found  [streams]bool
	number [streams]uint64
	oldest [streams]int64
}

// SetWitness takes in what a destination has witnessed; a smaller checkpoint
// than the one that is here changes nothing. It is written now and then.
func (j *Journal) SetWitness(id wire.Epoch, destination string, w Witness) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	e := j.epoch(id)
	if e == nil || e.tree.gone {
		return ErrNoLog
	}
	if old := e.tree.witness[destination]; old != nil && old.Size >= w.Size {
		return nil
	}
	if e.tree.witness == nil {
		e.tree.witness = map[string]*witnessed{}
	}
	e.tree.witness[destination] = &witnessed{Witness: w}
	return nil
}

// Witness returns the largest checkpoint of an epoch that a destination has
// witnessed.
func (j *Journal) Witness(id wire.Epoch, destination string) (Witness, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if e := j.epoch(id); e != nil {
		if w := e.tree.witness[destination]; w != nil {
			return w.Witness, true
		}
	}
	return Witness{}, false
}

// DropWitness forgets one that turned out to be none.
func (j *Journal) DropWitness(id wire.Epoch, destination string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if e := j.epoch(id); e != nil {
		delete(e.tree.witness, destination)
	}
}

func (j *Journal) witnessPath(id wire.Epoch, destination string) string {
	return j.treePath(id) + "." + strings.ReplaceAll(url.PathEscape(destination), ".", "%2E")
}

// saveWitnesses writes those that are new.
func (j *Journal) saveWitnesses() {
	type due struct {
		path string
		w    *witnessed
	}
	var all []due
	j.mu.Lock()
	for _, e := range j.epochs {
		for name, w := range e.tree.witness {
			if !w.saved && !e.tree.gone {
				all = append(all, due{j.witnessPath(e.id, name), w})
			}
		}
	}
	j.mu.Unlock()
	for _, d := range all {
		head := fmt.Sprintf("davywitness 1 %d %s %d\n", d.w.Size, hex.EncodeToString(d.w.Root[:]), d.w.Wall)
		err := j.o.Disk("tree")
		if err == nil {
			err = replaceFile(d.path, append([]byte(head), d.w.Note...))
		}
		if err != nil {
			j.o.Log.Warn("witnessed checkpoint not written, its receiver says it again", "error", err)
			continue
		}
		j.mu.Lock()
		d.w.saved = true
		j.mu.Unlock()
	}
}

// replaceFile puts a file in place of another at once.
func replaceFile(path string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path+".new", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		os.Remove(path + ".new")
	}
	return err
}

// loadWitnesses reads what was written. A file that says nothing is passed over.
func (j *Journal) loadWitnesses() {
	names, err := os.ReadDir(filepath.Join(j.o.Dir, treeDir))
	if err != nil {
		return
	}
	for _, n := range names {
		id, rest, ok := strings.Cut(n.Name(), ".")
		raw, err := hex.DecodeString(id)
		name, err2 := url.PathUnescape(rest)
		if !ok || err != nil || err2 != nil || len(raw) != len(wire.Epoch{}) || strings.Contains(rest, ".") {
			continue
		}
		e := j.epoch(wire.Epoch(raw))
		if info, err := n.Info(); e == nil || err != nil || !info.Mode().IsRegular() || info.Size() > maxWitness {
			continue
		}
		b, err := os.ReadFile(filepath.Join(j.o.Dir, treeDir, n.Name()))
		if err != nil {
			continue
		}
		head, note, _ := strings.Cut(string(b), "\n")
		w, root, form := &witnessed{saved: true}, "", 0
		if _, err := fmt.Sscanf(head, "davywitness %d %d %s %d", &form, &w.Size, &root, &w.Wall); err != nil || form != 1 {
			continue
		}
		if sum, err := hex.DecodeString(root); err != nil || copy(w.Root[:], sum) != len(w.Root) {
			continue
		}
		w.Note = []byte(note)
		if e.tree.witness == nil {
			e.tree.witness = map[string]*witnessed{}
		}
		e.tree.witness[name] = w
	}
}

// WitnessLag is what a destination's receiver has not witnessed.
type WitnessLag struct {
	Wall    int64  // when it signed the newest checkpoint, ns; 0: never
	Blocks  uint64 // of all epochs that are here
	Records uint64 // in them, as far as they are here
	Oldest  int64  // wall time of the oldest of them; 0: none is here
	Broken  int    // epochs whose log proves nothing, with records that are not witnessed
}

// WitnessLag returns what a destination has not witnessed. It may read a
// segment.
func (j *Journal) WitnessLag(destination string) (lag WitnessLag, err error) {
	j.mu.Lock()
	epochs := slices.Clone(j.epochs)
	j.mu.Unlock()
	for _, e := range epochs {
		if err := j.lagOf(e, destination, &lag); err != nil {
			return lag, fmt.Errorf("witnessed by %s: %w", destination, err)
		}
	}
	return lag, nil
}

func (j *Journal) lagOf(e *epoch, destination string, lag *WitnessLag) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if e.tree.gone {
		return nil
	}
	w := e.tree.witness[destination]
	if w == nil {
		w = &witnessed{}
	}
	lag.Wall = max(lag.Wall, w.Wall)
	if w.Size >= e.leaves {
		return nil
	}
	lag.Blocks += e.leaves - w.Size
	if e.tree.lost != "" {
		lag.Broken++
	}
	for k := range streams {
		runs := j.runs(e, k)
		for _, r := range runs {
			if w.found[k] || r.leafTo < w.Size {
				continue
			}
			number, oldest := r.first-1, r.wallFrom
			if r.leafFrom < w.Size {
				j.mu.Unlock()
				var err error
				number, oldest, err = j.within(e, r, w.Size)
				j.mu.Lock()
				if err != nil {
					return err
				}
			}
			w.found[k], w.number[k], w.oldest[k] = true, number, oldest
		}
		if !w.found[k] {
			continue // nothing is here that is not covered
		}
		oldest := int64(0)
		for _, r := range runs {
			if r.last <= w.number[k] {
				continue
			}
			lag.Records += r.last - max(r.first-1, w.number[k])
			if oldest == 0 {
				oldest = r.wallFrom
				if r.first <= w.number[k] {
					oldest = w.oldest[k]
				}
			}
		}
		if oldest != 0 && (lag.Oldest == 0 || oldest < lag.Oldest) {
			lag.Oldest = oldest
		}
	}
	return nil
}

// within returns the last number of a run that the first size leaves cover, and
// the wall time of the first record after it.
func (j *Journal) within(e *epoch, r run, size uint64) (number uint64, oldest int64, err error) {
	j.mu.Lock()
	var in *segment
	for _, s := range j.segments {
		for _, x := range s.runs {
			if x.epoch == e && x.stream == r.stream && x.first == r.first {
				in = s
			}
		}
	}
	j.mu.Unlock()
	if in == nil {
		return r.first - 1, r.wallFrom, nil
	}
	err = j.view(in, func(tx *bolt.Tx) error {
		b := blocksOf(tx)
		if b == nil {
			return fmt.Errorf("buckets: %w", ErrDamaged)
		}
		c := b.Cursor()
		covered, after := r.first-1, r.last+1
		for covered+1 < after {
			it, err := blockOf(b, c, e, r, covered+(after-covered)/2)
			if err != nil {
				return err
			}
			if it.Block.Leaf < size {
				covered = it.Block.Last()
			} else {
				after, oldest = it.Block.First, it.WallFrom
			}
		}
		number = covered
		return nil
	})
	if err == errGone || damage(err) {
		return r.first - 1, r.wallFrom, nil // at least that much is
	}
	return number, oldest, err
}

// blockOf returns the block that holds a number, without its body.
func blockOf(b *blockBucket, c *blockCursor, e *epoch, r run, number uint64) (Item, error) {
	key := blockKey(e.ordinal, r.stream, number)
	k, _ := c.Seek(key)
	if string(k) != string(key) {
		if k == nil {
			k, _ = c.Last()
		} else {
			k, _ = c.Prev()
		}
	}
	it, _, err := readHeader(b, e.id, k)
	if err == nil && (it.Block.Stream != streamNames[r.stream] || it.Block.First > number || it.Block.Last() < number) {
		err = fmt.Errorf("block of %s %d is not there: %w", streamNames[r.stream], number, ErrDamaged)
	}
	return it, err
}

// lastCheckpoint returns the last checkpoint of an epoch: one that was
// witnessed, if no larger one can be signed.
func (j *Journal) lastCheckpoint(id wire.Epoch) (note []byte) {
	j.mu.Lock()
	e := j.epoch(id)
	size := uint64(0)
	if e != nil {
		for _, w := range e.tree.witness {
			if w.Size > size {
				size, note = w.Size, w.Note
			}
		}
	}
	j.mu.Unlock()
	n, root, err := j.LogHead(id)
	if err != nil || n <= size || j.o.Sign == nil {
		return note
	}
	signed, err := j.o.Sign(id, n, root)
	if err != nil {
		j.o.Log.Error("last checkpoint of the epoch before not signed", "error", err)
		return note
	}
	return signed
}
