package journal

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	bolt "go.etcd.io/bbolt"
	bolterr "go.etcd.io/bbolt/errors"

	"davy/agent/wire"
	"davy/drivers/tag"
)

// Record is one record as an export gives it. Exactly one of Event and Reading is set.
type Record struct {
	Epoch   wire.Epoch
	Stream  string
	Number  uint64
	Event   *wire.Event
	Reading *tag.Reading
}

// Canonical appends the bytes that an export hashes.
func (r *Record) Canonical(dst []byte) []byte {
	if r.Reading != nil {
		return wire.AppendReading(dst, *r.Reading)
	}
	return r.Event.Append(dst)
}

// Reader reads a journal without changing it, also while a keeper has it open.
type Reader struct {
	dir       string
	files     []string
	tmp       string
	notes     map[wire.Epoch][][]byte
	stretches []stretch // of Spans
	Damaged   []string  // what could not be read, after Walk
}

// snapshotTries is how often a file is copied again because a transaction came in between.
const snapshotTries = 20

// OpenReadOnly opens the journal in dir for reading. Files that a keeper holds
// are copied to a temporary directory, which Close removes.
func OpenReadOnly(dir string) (*Reader, error) {
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("open journal %s: %w", dir, err)
	}
	r := &Reader{dir: dir}
	r.readNotes() // first: what they cover is then in the segments
	for _, n := range names {
		if _, _, ok := parseSegment(n.Name()); !ok {
			continue
		}
		path := filepath.Join(dir, n.Name())
		if locked(path) {
			if path, err = r.copy(path); err != nil {
				r.Close()
				return nil, fmt.Errorf("open journal %s: %w", dir, err)
			}
		}
		r.files = append(r.files, path)
	}
	return r, nil
}

// OpenFile opens one file alone, as salvage does with one of quarantine/.
func OpenFile(path string) *Reader { return &Reader{files: []string{path}} }

// Close removes what OpenReadOnly copied.
func (r *Reader) Close() error {
	if r.tmp == "" {
		return nil
	}
	return os.RemoveAll(r.tmp)
}

func openShared(path string) (db *bolt.DB, err error) {
	err = guard(func() (err error) {
		db, err = bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: lockPoll, NoStatistics: true, PageSize: 4096})
		return err
	})
	return db, err
}

func locked(path string) bool {
	db, err := openShared(path)
	if err == nil {
		db.Close()
	}
	return errors.Is(err, bolterr.ErrTimeout)
}

// copy copies a file that may be written to. Pages that a committed state
// holds are not written again before the next commit, so a copy during which
// both meta pages stayed the same is that state.
func (r *Reader) copy(path string) (string, error) {
	if r.tmp == "" {
		tmp, err := os.MkdirTemp("", "davy-journal-")
		if err != nil {
			return "", err
		}
		r.tmp = tmp
	}
	to := filepath.Join(r.tmp, filepath.Base(path))
	in, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer in.Close()
	metas := func() ([]byte, error) {
		b := make([]byte, 8192)
		_, err := in.ReadAt(b, 0)
		return b, err
	}
	for range snapshotTries {
		before, err := metas()
		if err != nil {
			return "", err
		}
		if err := copyFile(to, io.NewSectionReader(in, 0, 1<<62)); err != nil {
			return "", err
		}
		after, err := metas()
		if err != nil {
			return "", err
		}
		if bytes.Equal(before, after) {
			return to, nil
		}
	}
	return "", fmt.Errorf("copy %s: it changed each time", filepath.Base(path))
}

func copyFile(to string, from io.Reader) error {
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, from)
	return errors.Join(err, out.Close())
}

// place of a block, to sort by.
type located struct {
	file   string
	epoch  wire.Epoch
	stream int
	first  uint64
	key    []byte
}

// one is the one file of a walk that is open: a 32-bit machine has no room for
// the maps of all.
type one struct {
	path string
	db   *bolt.DB
}

func (o *one) close() {
	if o.db != nil {
		o.db.Close()
		o.db = nil
	}
}

func (o *one) block(at *located) (it Item, err error) {
	if o.path != at.file || o.db == nil {
		o.close()
		if o.db, err = openShared(at.file); err != nil {
			return it, err
		}
		o.path = at.file
	}
	err = guard(func() error {
		return o.db.View(func(tx *bolt.Tx) (err error) {
			it, err = readBlock(blocksOf(tx), at.epoch, at.key)
			return err
		})
	})
	return it, err
}

// Walk calls f with every record that can be read, sorted by epoch (its
// bytes), stream and number, as wire.Digest wants them. What cannot be read is
// told in Damaged and left out.
func (r *Reader) Walk(f func(Record) error) error { return r.walk(false, f) }

// WalkInTime is Walk with the epochs in the order in which they began: each
// after its parent, whatever the clock said then, and else by the wall time of
// its first record that is here.
func (r *Reader) WalkInTime(f func(Record) error) error { return r.walk(true, f) }

func (r *Reader) walk(inTime bool, f func(Record) error) error {
	r.Damaged = nil
	var file one
	defer file.close()
	var all []located
	for _, path := range r.files {
		found, err := list(path)
		if err != nil {
			r.Damaged = append(r.Damaged, filepath.Base(path)+": "+err.Error())
		}
		all = append(all, found...)
	}
	slices.SortFunc(all, func(a, b located) int {
		return cmp.Or(bytes.Compare(a.epoch[:], b.epoch[:]), strings.Compare(streamNames[a.stream], streamNames[b.stream]), cmp.Compare(a.first, b.first))
	})
	if inTime {
		rank := ranks(all, &file)
		slices.SortStableFunc(all, func(a, b located) int { return cmp.Compare(rank[a.epoch], rank[b.epoch]) })
	}
	for i := range all {
		it, err := file.block(&all[i])
		if err == nil {
			err = each(&it, f)
		}
		name := filepath.Base(all[i].file)
		if damage(err) || errors.Is(err, wire.ErrMalformed) || errors.Is(err, wire.ErrTooLarge) {
			r.Damaged = append(r.Damaged, fmt.Sprintf("%s: %v", name, err))
			continue
		}
		if err != nil && file.db == nil {
			return fmt.Errorf("walk %s: %w", name, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// ranks numbers the epochs of all, which are sorted by epoch, stream and
// number, in the order in which they began. One that cannot be read has no time
// and no parent: it comes early.
func ranks(all []located, file *one) map[wire.Epoch]int {
	type begin struct {
		epoch, parent wire.Epoch
		wall          int64
	}
	var begins []*begin
	of := map[wire.Epoch]*begin{}
	for i := range all {
		at := &all[i]
		if of[at.epoch] != nil {
			continue
		}
		b := &begin{epoch: at.epoch}
		of[at.epoch] = b
		begins = append(begins, b)
		it, err := file.block(at)
		if err != nil {
			continue // the walk itself tells it
		}
		b.wall = it.WallFrom
		if it.Block.Stream != wire.EventStream || it.Block.First != 1 {
			continue
		}
		if events, err := wire.DecodeEvents(it.Block.Body); err == nil && len(events) > 0 && events[0].Start != nil && len(events[0].Start.Parent) == len(b.parent) {
			b.parent = wire.Epoch(events[0].Start.Parent)
		}
	}
	slices.SortStableFunc(begins, func(a, b *begin) int { return cmp.Compare(a.wall, b.wall) })
	rank := map[wire.Epoch]int{}
	for _, b := range begins {
		var line []*begin // b and its ancestors that have no rank yet
		for seen := map[*begin]bool{}; b != nil && !seen[b]; b = of[b.parent] {
			if _, ok := rank[b.epoch]; ok {
				break
			}
			seen[b] = true
			line = append(line, b)
		}
		for _, b := range slices.Backward(line) {
			rank[b.epoch] = len(rank)
		}
	}
	return rank
}

// list finds the blocks of a file, as far as it can be read.
func list(path string) (out []located, err error) {
	db, err := openShared(path)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	err = guard(func() error {
		return db.View(func(tx *bolt.Tx) error {
			blocks, epochs := blocksOf(tx), tx.Bucket(bucketEpochs)
			if blocks == nil || epochs == nil {
				return fmt.Errorf("buckets: %w", ErrDamaged)
			}
			ids := map[string]wire.Epoch{}
			err := epochs.ForEach(func(k, v []byte) error {
				if len(v) == 16 {
					ids[string(k)] = wire.Epoch(v)
				}
				return nil
			})
			if err != nil {
				return err
			}
			return blocks.ForEach(func(k, _ []byte) error {
				_, stream, first, ok := parseBlockKey(k)
				if !ok {
					return nil
				}
				if id, ok := ids[string(k[:4])]; ok {
					out = append(out, located{path, id, stream, first, slices.Clone(k)})
				}
				return nil
			})
		})
	})
	return out, err
}

func each(it *Item, f func(Record) error) error {
	r := Record{Epoch: it.Epoch, Stream: it.Block.Stream, Number: it.Block.First}
	if r.Stream == wire.ReadingStream {
		readings, err := wire.DecodeReadings(it.Block.Body)
		if err != nil {
			return err
		}
		for i := range readings {
			r.Reading = &readings[i]
			if err := f(r); err != nil {
				return err
			}
			r.Number++
		}
		return nil
	}
	events, err := wire.DecodeEvents(it.Block.Body)
	if err != nil {
		return err
	}
	for i := range events {
		r.Event = &events[i]
		if err := f(r); err != nil {
			return err
		}
		r.Number++
	}
	return nil
}

// Digest returns the hash of all records, and how many they are.
func (r *Reader) Digest() (sum [32]byte, records uint64, err error) {
	var d wire.Digest
	err = r.Walk(func(rec Record) error {
		return d.Add(rec.Epoch, rec.Stream, rec.Number, rec.Canonical(nil))
	})
	return d.Sum(), d.Count, err
}
