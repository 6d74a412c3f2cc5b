package journal

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	bolt "go.etcd.io/bbolt"
	bolterr "go.etcd.io/bbolt/errors"

	"davy/agent/ring"
	"davy/agent/wire"
)

// maxQuarantine is how many damaged files are kept for salvage; the oldest goes.
const maxQuarantine = 8

// errGone says that a segment is no longer of the journal.
var errGone = errors.New("segment is gone")

// view runs f in a read transaction of a segment, opening its file if need be.
func (j *Journal) view(s *segment, f func(tx *bolt.Tx) error) error {
	for {
		h, err := j.handle(s)
		if err != nil {
			return err
		}
		if err := j.o.Disk("read"); err != nil {
			return err
		}
		err = guard(func() error { return h.db.View(f) })
		if !errors.Is(err, bolterr.ErrDatabaseNotOpen) {
			return err
		}
	}
}

// handle returns the open file of a segment.
func (j *Journal) handle(s *segment) (*handle, error) {
	look := func() (*handle, error) {
		j.mu.Lock()
		defer j.mu.Unlock()
		if s.gone {
			return nil, errGone
		}
		j.uses++
		s.used = j.uses
		return s.h, nil
	}
	if h, err := look(); h != nil || err != nil {
		return h, err
	}
	s.gate <- struct{}{}
	defer func() { <-s.gate }()
	if h, err := look(); h != nil || err != nil {
		return h, err
	}
	h, err := openFile(s.path, 0, true)
	if err != nil {
		return nil, err
	}
	j.mu.Lock()
	s.h = h
	var close []*handle
	var open []*segment
	for _, x := range j.segments {
		if x.h != nil && !x.active && x != s {
			open = append(open, x)
		}
	}
	slices.SortFunc(open, func(a, b *segment) int { return cmp.Compare(b.used, a.used) })
	for i := j.mayOpen() - 1; i < len(open); i++ {
		close = append(close, open[i].h)
		open[i].h = nil
	}
	j.mu.Unlock()
	for _, h := range close {
		h.close(false) // waits for those who still read
	}
	return h, nil
}

// maxMapped bounds the address space of all maps together, for a 32-bit
// machine has little and no more comes free in one piece: fewer than maxOpen
// segments stay open where they are large.
const maxMapped = 512 << 20

func (j *Journal) mayOpen() int {
	return int(max(1, min(maxOpen, maxMapped/j.o.SegmentBytes-int64(families))))
}

// shut closes a segment's file; gone: for good.
func (j *Journal) shut(s *segment, gone bool) {
	s.gate <- struct{}{}
	defer func() { <-s.gate }()
	j.mu.Lock()
	h, poisoned := s.h, s.poisoned
	s.h, s.poisoned = nil, false
	s.gone = s.gone || gone
	if h != nil && poisoned {
		j.abandoned++
	}
	j.mu.Unlock()
	if h != nil {
		h.close(poisoned)
	}
}

// reopen opens a segment for writing.
func (j *Journal) reopen(s *segment) error {
	if err := j.o.Disk("open"); err != nil {
		return err
	}
	s.gate <- struct{}{}
	defer func() { <-s.gate }()
	j.mu.Lock()
	h := s.h
	s.h = nil
	j.mu.Unlock()
	if h != nil {
		h.close(false)
	}
	h, err := openFile(s.path, j.o.SegmentBytes, false)
	if err != nil {
		return err
	}
	j.mu.Lock()
	s.h, s.active = h, true
	j.mu.Unlock()
	return nil
}

// rewriteMeta writes a file's meta pages once more as they are seen, and syncs
// them. After a failed fdatasync the kernel shows the newest one, calls it clean,
// and it may not be on the disk, where the one before still counts. The next
// transaction would take pages that the newest has freed and the one before
// holds: a power cut then would leave a broken tree.
func rewriteMeta(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	metas := make([]byte, 2*pageSize)
	if _, err := f.ReadAt(metas, 0); errors.Is(err, io.EOF) {
		return nil // too short to be a segment; whoever opens it says so
	} else if err != nil {
		return err
	}
	if _, err := f.WriteAt(metas, 0); err != nil {
		return err
	}
	return f.Sync()
}

// leaveOut takes a segment out of the journal without touching its file.
func (j *Journal) leaveOut(s *segment) {
	j.mu.Lock()
	j.segments = slices.DeleteFunc(j.segments, func(x *segment) bool { return x == s })
	s.active = false
	j.mu.Unlock()
	j.shut(s, true)
}

// setAside moves a damaged segment to quarantine/. What is missing then is
// named as soon as something can be written.
func (j *Journal) setAside(s *segment, cause error) error {
	name := filepath.Base(s.path)
	j.o.Log.Error("journal segment damaged, set aside", "segment", name, "error", cause)
	j.leaveOut(s)
	j.pending = append(j.pending, wire.Event{Kind: uint32(ring.JournalDamaged), Note: name + ": " + strings.ToValidUTF8(cause.Error(), "?")})
	j.holes = true // also where the file cannot be moved: its records are not read any more
	j.gapsAgain()
	if err := j.o.Disk("rename"); err != nil {
		return err
	}
	dir := filepath.Join(j.o.Dir, "quarantine")
	to := filepath.Join(dir, fmt.Sprintf("%016x-%s", uint64(j.o.Now().Wall), name))
	if err := os.Rename(s.path, to); err != nil {
		return fmt.Errorf("set aside %s: %w", name, err)
	}
	if err := errors.Join(syncDir(j.o.Dir), syncDir(dir)); err != nil {
		return fmt.Errorf("set aside %s: %w", name, err)
	}
	if old, err := os.ReadDir(dir); err == nil && len(old) > maxQuarantine {
		for _, o := range old[:len(old)-maxQuarantine] {
			if err := os.Remove(filepath.Join(dir, o.Name())); err != nil {
				j.o.Log.Error("journal quarantine is full, file not removed", "file", o.Name(), "error", err)
				continue
			}
			j.o.Log.Warn("journal quarantine is full, file removed", "file", o.Name())
		}
	}
	j.mu.Lock()
	j.stat.Quarantined++
	j.mu.Unlock()
	return nil
}

// gapsAgain reads the gaps of the segments that are left, after one was set
// aside: what only that one named is to be named again.
func (j *Journal) gapsAgain() {
	j.mu.Lock()
	all := append([]*segment(nil), j.segments...)
	j.mu.Unlock()
	left := map[wire.Epoch]*epoch{}
	for _, s := range all {
		err := j.view(s, func(tx *bolt.Tx) error {
			b := tx.Bucket(bucketGaps)
			if b == nil {
				return fmt.Errorf("buckets: %w", ErrDamaged)
			}
			_, err := scanGaps(b, left)
			return err
		})
		if err != nil {
			// It will be found damaged by whoever needs it; until then what is known counts.
			j.o.Log.Warn("journal segment not read for its gaps", "segment", filepath.Base(s.path), "error", err)
			return
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range j.epochs {
		e.gaps = [streams][]gap{}
		if l := left[e.id]; l != nil {
			e.gaps = l.gaps
		}
	}
}

// remove deletes a segment that is due.
func (j *Journal) remove(s *segment) error {
	if err := j.carryGaps(s); err != nil {
		return err
	}
	if err := j.carryTable(s); err != nil {
		return err
	}
	if err := j.o.Disk("remove"); err != nil {
		return err
	}
	j.leaveOut(s)
	if err := os.Remove(s.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove segment %s: %w", filepath.Base(s.path), err)
	}
	j.forgetEpochs()
	j.forgetTrees()
	return syncDir(j.o.Dir)
}

// forgetEpochs drops the epochs of which nothing is left.
func (j *Journal) forgetEpochs() {
	j.mu.Lock()
	defer j.mu.Unlock()
	has := map[*epoch]bool{j.epochs[len(j.epochs)-1]: true}
	for _, s := range j.segments {
		for _, r := range s.runs {
			has[r.epoch] = true
		}
	}
	j.epochs = slices.DeleteFunc(j.epochs, func(e *epoch) bool {
		if has[e] || len(e.gaps[0])+len(e.gaps[1])+len(e.gaps[2]) > 0 {
			return false
		}
		for _, c := range j.cursors {
			delete(c.at, e)
		}
		return true
	})
}

func (j *Journal) reservePath() string { return filepath.Join(j.o.Dir, "reserve") }

func (j *Journal) reserveSize() int64 { return min(reserveBytes, j.o.MaxBytes/16) }

// fillReserve makes the file that is given up when a gap must be written on a
// full disk. Without it gaps are still written as long as the disk takes them.
func (j *Journal) fillReserve() {
	var err error
	if allocated(j.reservePath()) < j.reserveSize() {
		err = j.makeReserve()
	}
	switch {
	case err != nil && !j.lacking:
		j.o.Log.Warn("journal has no reserve for what a full disk loses", "error", err)
	case err == nil && j.lacking:
		j.o.Log.Info("journal has its reserve again")
	}
	j.lacking = err != nil
	j.mu.Lock()
	j.reserve = err == nil
	j.mu.Unlock()
}

func (j *Journal) makeReserve() error {
	if err := j.o.Disk("reserve"); err != nil {
		return err
	}
	f, err := os.OpenFile(j.reservePath(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	err = syscall.Fallocate(int(f.Fd()), 0, 0, j.reserveSize())
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(j.reservePath()) // half of it is none
	}
	return err
}

// giveReserve gives the reserve up; false: there was none.
func (j *Journal) giveReserve() bool {
	j.mu.Lock()
	had := j.reserve
	j.reserve = false
	j.mu.Unlock()
	return had && os.Remove(j.reservePath()) == nil
}
