package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	bolt "go.etcd.io/bbolt"

	"davy/agent/ring"
	"davy/agent/wire"
)

// settle finds out, after a commit that failed, whether it is in the file, and
// takes it out again: its Append has said that it failed, and its numbers will
// be given to other records. (After a failed fdatasync the new meta page may be
// visible though nobody knows whether it is on the disk. The transaction that
// takes it out writes the other meta page: once that is on the disk the first
// does not count.) Until this has been done nothing more is written to the family.
// cause is what failed, if it has just now.
func (j *Journal) settle(s *segment, cause error) error {
	j.mu.Lock()
	e, st := j.epochs[len(j.epochs)-1], j.state
	heads := e.heads
	j.mu.Unlock()
	beyond := false
	err := j.view(s, func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketState)
		if b == nil {
			return fmt.Errorf("buckets: %w", ErrDamaged)
		}
		there, err := decodeState(b.Get(keyState))
		beyond = there.version > st.version
		return err
	})
	if damage(err) {
		return j.setAside(s, err)
	}
	if err != nil {
		return fmt.Errorf("look at %s after a failed commit: %w", filepath.Base(s.path), err)
	}
	if !isPanic(cause) {
		if cause = rewriteMeta(s.path); cause == nil {
			cause = j.reopen(s)
		}
	}
	if damage(cause) && !beyond {
		j.retire(s, cause)
		return nil
	}
	if cause == nil && beyond {
		if cause = j.o.Disk("commit"); cause == nil {
			cause = guard(func() error {
				return s.h.db.Update(func(tx *bolt.Tx) error { return j.takeOut(tx, e, &heads, &st) })
			})
		}
		if cause != nil {
			j.mu.Lock()
			s.poisoned = isPanic(cause)
			j.mu.Unlock()
			j.seal(s)
		}
	}
	if damage(cause) {
		return j.setAside(s, cause)
	}
	if cause != nil {
		return fmt.Errorf("take a failed commit out of %s: %w", filepath.Base(s.path), cause)
	}
	j.mu.Lock()
	s.doubt = false
	j.mu.Unlock()
	return nil
}

// retire keeps a segment for reading that cannot be written to: what bbolt
// needs for that (its list of free pages) is damaged, the records are not.
func (j *Journal) retire(s *segment, cause error) {
	name := filepath.Base(s.path)
	j.o.Log.Error("journal segment damaged, not written to any more", "segment", name, "error", cause)
	j.pending = append(j.pending, wire.Event{Kind: uint32(ring.JournalDamaged), Note: name + ": " + strings.ToValidUTF8(cause.Error(), "?")})
	j.mu.Lock()
	s.active, s.doubt = false, false
	j.mu.Unlock()
	j.reopened[s.family] = true
}

// takeOut removes what is after the known end of the current epoch.
func (j *Journal) takeOut(tx *bolt.Tx, e *epoch, heads *[streams]head, st *state) error {
	blocks, gaps, states := blocksOf(tx), tx.Bucket(bucketGaps), tx.Bucket(bucketState)
	if blocks == nil || gaps == nil || states == nil {
		return fmt.Errorf("buckets: %w", ErrDamaged)
	}
	var more [][]byte
	for k := range streams {
		c := blocks.Cursor()
		for at, _ := c.Seek(blockKey(e.ordinal, k, heads[k].number+1)); at != nil; at, _ = c.Next() {
			if ordinal, stream, _, ok := parseBlockKey(at); !ok || ordinal != e.ordinal || stream != k {
				break
			}
			more = append(more, slices.Clone(at))
		}
	}
	for _, key := range more {
		if err := blocks.remove(key); err != nil {
			return err
		}
	}
	more = nil
	err := gaps.ForEach(func(key, v []byte) error {
		if len(key) != 25 || len(v) != 44 || key[16] >= streams {
			return fmt.Errorf("gaps: %w", ErrDamaged)
		}
		j.mu.Lock()
		defer j.mu.Unlock()
		of := j.epoch(wire.Epoch(key[:16]))
		if of == nil || !slices.ContainsFunc(of.gaps[key[16]], func(g gap) bool { return g.from == binary.BigEndian.Uint64(key[17:]) }) {
			more = append(more, slices.Clone(key))
		}
		return nil
	})
	for _, key := range more {
		err = errors.Join(err, gaps.Delete(key))
	}
	return errors.Join(err, states.Put(keyState, st.encode()))
}
