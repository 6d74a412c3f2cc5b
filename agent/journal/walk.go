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
	files   []string
	tmp     string
	Damaged []string // what could not be read, after Walk
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
	r := &Reader{}
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

// Walk calls f with every record that can be read, sorted by epoch (its
// bytes), stream and number, as wire.Digest wants them. What cannot be read is
// told in Damaged and left out.
func (r *Reader) Walk(f func(Record) error) error {
	r.Damaged = nil
	dbs := map[string]*bolt.DB{}
	defer func() {
		for _, db := range dbs {
			db.Close()
		}
	}()
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
	for _, at := range all {
		db := dbs[at.file]
		if db == nil {
			for path, other := range dbs { // one at a time: a 32-bit machine has no room for all maps
				other.Close()
				delete(dbs, path)
			}
			var err error
			if db, err = openShared(at.file); err != nil {
				return fmt.Errorf("walk %s: %w", filepath.Base(at.file), err)
			}
			dbs[at.file] = db
		}
		var it Item
		err := guard(func() error {
			return db.View(func(tx *bolt.Tx) (err error) {
				it, err = readBlock(tx.Bucket(bucketBlocks), at.epoch, at.key)
				return err
			})
		})
		if err == nil {
			err = each(&it, f)
		}
		if damage(err) || errors.Is(err, wire.ErrMalformed) || errors.Is(err, wire.ErrTooLarge) {
			r.Damaged = append(r.Damaged, fmt.Sprintf("%s: %v", filepath.Base(at.file), err))
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
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
			blocks, epochs := tx.Bucket(bucketBlocks), tx.Bucket(bucketEpochs)
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
