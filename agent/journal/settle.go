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
	extra := false
	err := j.view(s, func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketState)
		if b == nil {
			return fmt.Errorf("buckets: %w", ErrDamaged)
		}
		there, err := decodeState(b.Get(keyState))
		extra = there.version > s.version // not j.state's: the other family may have gone on since
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
	if damage(cause) && !extra {
		j.retire(s, cause)
		return nil
	}
	if cause == nil && extra {
		if cause = j.o.Disk("commit"); cause == nil {
			cause = guard(func() error {
				return s.h.db.Update(func(tx *bolt.Tx) error { return takeOut(tx, e, &heads, &st, j.unnamed) })
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
	if extra {
		s.version = st.version
	}
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

// takeOut removes what is after the known end of the current epoch, and the
// gaps that are to go with it.
func takeOut(tx *bolt.Tx, e *epoch, heads *[streams]head, st *state, with func(gap []byte) bool) error {
	blocks, gaps, states := blocksOf(tx), tx.Bucket(bucketGaps), tx.Bucket(bucketState)
	if blocks == nil || gaps == nil || states == nil {
		return fmt.Errorf("buckets: %w", ErrDamaged)
	}
	for _, key := range beyond(blocks, e, heads) {
		if err := blocks.remove(key); err != nil {
			return err
		}
	}
	var more [][]byte
	err := gaps.ForEach(func(key, v []byte) error {
		if len(key) != 25 || len(v) != 44 || key[16] >= streams {
			return fmt.Errorf("gaps: %w", ErrDamaged)
		}
		if with(key) {
			more = append(more, slices.Clone(key))
		}
		return nil
	})
	for _, key := range more {
		err = errors.Join(err, gaps.Delete(key))
	}
	return errors.Join(err, states.Put(keyState, st.encode()))
}

// beyond returns the keys of the blocks after the known end of an epoch.
func beyond(blocks *blockBucket, e *epoch, heads *[streams]head) (keys [][]byte) {
	for k := range streams {
		c := blocks.Cursor()
		for at, _ := c.Seek(blockKey(e.ordinal, k, heads[k].number+1)); at != nil; at, _ = c.Next() {
			if ordinal, stream, _, ok := parseBlockKey(at); !ok || ordinal != e.ordinal || stream != k {
				break
			}
			keys = append(keys, slices.Clone(at))
		}
	}
	return keys
}

// unnamed reports whether the gap with a key is not known.
func (j *Journal) unnamed(key []byte) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	of := j.epoch(wire.Epoch(key[:16]))
	return of == nil || !slices.ContainsFunc(of.gaps[key[16]], func(g gap) bool { return g.from == binary.BigEndian.Uint64(key[17:]) })
}

// settleLate does at an opening what settle could not before the end: a file
// has records of the last epoch that the newest state, of a later transaction
// in another file, does not know. Their numbers, or their leaves, may have been
// given to others, and a checkpoint may speak of those. It reports whether
// something was taken out. What the disk does not let it take out stays: to
// record matters more.
func (j *Journal) settleLate(e *epoch) (done bool) {
	st := j.state
	for _, s := range slices.Clone(j.segments) {
		late := slices.ContainsFunc(s.runs, func(r run) bool { return r.epoch == e && r.last > st.heads[r.stream].number })
		if !late || s.version >= st.version {
			continue
		}
		name := filepath.Base(s.path)
		err := rewriteMeta(s.path)
		if err == nil {
			err = j.reopen(s)
		}
		if err == nil {
			err = guard(func() error {
				return s.h.db.Update(func(tx *bolt.Tx) error {
					gaps, err := named(tx, e, &st.heads)
					if err != nil {
						return err
					}
					return takeOut(tx, e, &st.heads, &st, func(key []byte) bool { return gaps[string(key)] })
				})
			})
			s.poisoned = isPanic(err)
			j.seal(s)
		}
		if err != nil {
			j.o.Log.Error("commit that had failed not taken out", "segment", name, "error", err)
			continue
		}
		j.o.Log.Warn("commit that had failed taken out", "segment", name)
		done = true
	}
	return done
}

// named returns the keys of the gaps that the blocks after the known end name.
func named(tx *bolt.Tx, e *epoch, heads *[streams]head) (map[string]bool, error) {
	keys := map[string]bool{}
	blocks := blocksOf(tx)
	if blocks == nil {
		return nil, fmt.Errorf("buckets: %w", ErrDamaged)
	}
	for _, key := range beyond(blocks, e, heads) {
		it, err := readBlock(blocks, e.id, key)
		if err != nil {
			return nil, err
		}
		if it.Block.Stream != wire.EventStream {
			continue
		}
		events, err := wire.DecodeEvents(it.Block.Body)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		for i := range events {
			if g := events[i].Gap; g != nil && len(g.Epoch) == len(e.id) {
				if k, ok := streamIndex(g.Stream); ok {
					keys[string(gapKey(wire.Epoch(g.Epoch), k, g.From))] = true
				}
			}
		}
	}
	return keys, nil
}
