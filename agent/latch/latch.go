// Package latch keeps what must survive a power cut: trips, acknowledgements,
// the serials of events, in one small file with two slots.
//
// It promises: a snapshot that State reports as durable is on the disk and is
// what the next Open returns, unless a newer one is; a power cut in the middle
// of a write leaves the older slot as it was, and Open returns that, without an
// error, because the newer one was never reported as durable. Save never waits
// for the disk: it copies, and the newest snapshot wins. A disk that hangs or
// refuses costs durability, which State says, and nothing else.
//
// The file has FileBytes from its first day: slot 0 and slot 1 of SlotBytes
// each. Writes alternate: pwrite, fdatasync. The blocks were written with zeros
// when the file was made, so that a write changes no metadata. A slot is:
//
//	magic 8 · version 4 · length 4 · sequence 8 · CRC-32C 4 · zero 4 · payload
//
// little endian; the checksum is over everything but itself, with the payload.
// It finds torn writes and rot, not malice: who can write here can trip a rule.
//
// Who owns what: Save and State may be called from anywhere; the file belongs
// to Run's goroutine. Open reads and keeps no descriptor. After a missing or a
// damaged file the Store makes the file anew with its first snapshot and keeps
// the damaged one beside it.
//
// It assumes that a disk which said fdatasync is done told the truth, and that
// the state directory is locked (Lock). Imports: nothing of ours.
package latch

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Limits, each with what happens at it.
const (
	SlotBytes  = 512 << 10           // of one slot
	FileBytes  = 2 * SlotBytes       // of the file
	MaxPayload = SlotBytes - headLen // a longer snapshot is refused: State says ErrTooLong, the last one stays
	Retry      = time.Second         // after a failed write, before the next one
)

const (
	headLen = 32
	version = 1
	magic   = "DAVYLTC\n"
)

// Errors of Open and of a write.
var (
	// ErrMissing says that there is no file: a first start, or somebody removed it.
	ErrMissing = errors.New("latch file missing")
	// ErrDamaged says that no slot holds, or that one could not be read at all,
	// so that it is not known whether it was the newer one.
	ErrDamaged = errors.New("latch file damaged")
	// ErrTooLong says that a snapshot is longer than MaxPayload.
	ErrTooLong = errors.New("snapshot longer than a slot")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// State is how far the saving is.
type State struct {
	Asked   uint64    // generation of the newest Save
	Durable uint64    // newest generation that is on the disk
	Tried   uint64    // newest generation that was tried, and ended as Err says
	Err     error     // of the last try; nil: it is durable
	Since   time.Time // a write has been going on since; zero: none is
}

// Store is the file of one state directory.
type Store struct {
	path    string
	changed chan struct{}
	wake    chan struct{}

	mu    sync.Mutex
	next  []byte // the newest snapshot, not yet taken by Run
	full  bool   // next holds one
	state State

	// Of Run's goroutine.
	file   *os.File
	seq    uint64 // of the newest slot that is known to be durable
	slot   int    // the slot that is written next: never the one that holds the newest
	fresh  bool   // the file is missing or damaged: it is made anew
	aside  bool   // … and what is there is kept beside it
	buf    []byte // head and payload
	torn   bool
	writes writer // of the disk; a test puts a slow one here
}

// writer writes a slot so that it is on the disk when it returns.
type writer func(f *os.File, b []byte, at int64) error

// Open reads the newest snapshot of the file at path. The Store is never nil:
//
//   - nil error: payload is the newest durable snapshot;
//   - ErrMissing: there is none, payload is nil;
//   - ErrDamaged: payload is nil, or one that may not have been the newest.
//
// In the last two cases the first Save makes the file anew. A file system that
// is read-only is not an error here: the snapshot is read, the saves fail.
func Open(path string) (*Store, []byte, error) {
	s := &Store{path: path, changed: make(chan struct{}, 1), wake: make(chan struct{}, 1), writes: write}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		s.fresh = true
		return s, nil, fmt.Errorf("open %s: %w", path, ErrMissing)
	}
	if err != nil {
		s.fresh, s.aside = true, true
		return s, nil, fmt.Errorf("open %s: %w: %w", path, ErrDamaged, err)
	}
	defer func() { _ = f.Close() }()
	var (
		best    []byte
		reasons []string
		unread  bool
		torn    bool
	)
	buf := make([]byte, SlotBytes)
	for i := range 2 {
		n, err := f.ReadAt(buf, int64(i)*SlotBytes)
		clear(buf[n:])
		unread = unread || n < SlotBytes
		var (
			seq     uint64
			payload []byte
		)
		if err == nil || errors.Is(err, io.EOF) { // what is cut off may not have mattered
			seq, payload, err = decode(buf)
		}
		if err != nil {
			reasons = append(reasons, fmt.Sprintf("slot %d: %v", i, err))
			torn = torn || !errors.Is(err, errEmpty)
			continue
		}
		if best == nil || seq > s.seq {
			best, s.seq, s.slot = append(make([]byte, 0, len(payload)), payload...), seq, 1-i
		}
	}
	if unread {
		reasons = append(reasons, "not all of it could be read")
	}
	if best == nil || unread {
		s.fresh, s.aside = true, true
		return s, best, fmt.Errorf("open %s: %w: %s", path, ErrDamaged, strings.Join(reasons, "; "))
	}
	s.torn = torn
	return s, best, nil
}

// Torn reports that Open found one slot that does not hold: a write was cut
// short. That is normal after a power cut, and worth a line in the log.
func (s *Store) Torn() bool { return s.torn }

// Create makes the file for a first installation: written beside, synced,
// renamed, and the directory synced. It refuses (fs.ErrExist) when there is one,
// because the trips in it would be lost.
func Create(path string, payload []byte) error {
	b, err := encode(nil, 1, payload)
	if err == nil {
		err = create(path, b, write)
	}
	if err != nil {
		return fmt.Errorf("create %s: %w", path, err)
	}
	return nil
}

// Save asks for payload to be made durable and returns the generation by which
// State names it. It copies payload and never waits for the disk; a snapshot
// that was not yet taken is replaced.
func (s *Store) Save(payload []byte) uint64 {
	s.mu.Lock()
	s.state.Asked++
	gen := s.state.Asked
	s.next = append(s.next[:0], payload...)
	s.full = true
	s.mu.Unlock()
	poke(s.wake)
	return gen
}

// State returns how far the saving is.
func (s *Store) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// Changed receives after State has changed; several changes may be one.
func (s *Store) Changed() <-chan struct{} { return s.changed }

// Run writes snapshots until ctx ends; then it writes the one that is still
// asked for, once, and returns nil. A failed write is tried again every Retry,
// with the newest snapshot then. A write that hangs in the kernel keeps Run
// from returning.
func (s *Store) Run(ctx context.Context) error {
	defer func() {
		if s.file != nil {
			_ = s.file.Close()
			s.file = nil
		}
	}()
	again := time.NewTimer(Retry)
	defer again.Stop()
	spare := make([]byte, 0, 4096)
	for {
		ending := ctx.Err() != nil
		var gen uint64
		if gen, spare = s.take(spare); gen > 0 {
			err := s.put(spare)
			s.done(gen, err)
			if err != nil {
				s.giveBack(&spare)
				again.Reset(Retry)
				if !ending {
					select {
					case <-again.C:
					case <-ctx.Done():
					}
				}
			}
		}
		if ending {
			return nil
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
		}
	}
}

// take swaps the newest snapshot for the spare buffer; gen is 0 if there is none.
func (s *Store) take(spare []byte) (gen uint64, payload []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.full {
		return 0, spare
	}
	payload, s.next, s.full = s.next, spare[:0], false
	s.state.Since = time.Now()
	return s.state.Asked, payload
}

// giveBack asks again for a snapshot that could not be written, unless a newer
// one is there.
func (s *Store) giveBack(payload *[]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.full {
		*payload, s.next, s.full = s.next, *payload, true
	}
	poke(s.wake)
}

// done notes the end of a write.
func (s *Store) done(gen uint64, err error) {
	s.mu.Lock()
	s.state.Tried, s.state.Err, s.state.Since = gen, err, time.Time{}
	if err == nil {
		s.state.Durable = gen
	}
	s.mu.Unlock()
	poke(s.changed)
}

// put makes payload durable. Where it fails, the same slot is written again
// next time: the other one is all there is. (A failed fdatasync may have thrown
// the pages away and says so once; they are all written anew.)
func (s *Store) put(payload []byte) error {
	b, err := encode(s.buf, s.seq+1, payload)
	if err != nil {
		return fmt.Errorf("save %s: %w", s.path, err)
	}
	s.buf = b
	if s.fresh {
		if s.aside {
			if err := os.Rename(s.path, s.path+".damaged"); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("save %s: %w", s.path, err)
			}
		}
		if err := create(s.path, b, s.writes); err != nil {
			return fmt.Errorf("save %s: %w", s.path, err)
		}
		s.fresh, s.aside, s.slot = false, false, 1
		s.seq++
		return nil
	}
	if s.file == nil {
		if s.file, err = os.OpenFile(s.path, os.O_WRONLY, 0); err != nil {
			s.file = nil
			return fmt.Errorf("save %s: %w", s.path, err)
		}
	}
	if err := s.writes(s.file, b, int64(s.slot)*SlotBytes); err != nil {
		_ = s.file.Close()
		s.file = nil
		return fmt.Errorf("save %s: %w", s.path, err)
	}
	s.seq++
	s.slot = 1 - s.slot
	return nil
}

// write is pwrite and fdatasync.
func write(f *os.File, b []byte, at int64) error {
	if _, err := f.WriteAt(b, at); err != nil {
		return err
	}
	if err := unix.Fdatasync(int(f.Fd())); err != nil {
		return fmt.Errorf("fdatasync: %w", err)
	}
	return nil
}

// create makes a whole file with b in slot 0.
func create(path string, b []byte, w writer) (err error) {
	temp := path + ".new"
	f, err := os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temp)
		}
	}()
	zero := make([]byte, 64<<10)
	for at := int64(0); at < FileBytes && err == nil; at += int64(len(zero)) {
		_, err = f.WriteAt(zero, at)
	}
	if err == nil {
		err = w(f, b, 0)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	err = unix.Renameat2(unix.AT_FDCWD, temp, unix.AT_FDCWD, path, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) { // a file system without it
		if _, err = os.Lstat(path); err == nil {
			err = fs.ErrExist
		} else if errors.Is(err, fs.ErrNotExist) {
			err = os.Rename(temp, path)
		}
	}
	if err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

var errEmpty = errors.New("empty")

// encode puts a slot's head and payload into buf.
func encode(buf []byte, seq uint64, payload []byte) ([]byte, error) {
	if len(payload) > MaxPayload {
		return buf, fmt.Errorf("%w: %d of %d bytes", ErrTooLong, len(payload), MaxPayload)
	}
	b := append(buf[:0], magic...)
	b = binary.LittleEndian.AppendUint32(b, version)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(payload)))
	b = binary.LittleEndian.AppendUint64(b, seq)
	b = binary.LittleEndian.AppendUint64(b, 0)
	b = append(b, payload...)
	binary.LittleEndian.PutUint32(b[24:], sum(b))
	return b, nil
}

// sum is the checksum of a head and its payload, without the checksum's own bytes.
func sum(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[:24], castagnoli), castagnoli, b[28:])
}

// decode checks a slot and returns what is in it, in place.
func decode(b []byte) (seq uint64, payload []byte, err error) {
	if string(b[:8]) != magic {
		for _, c := range b[:headLen] {
			if c != 0 {
				return 0, nil, errors.New("no slot")
			}
		}
		return 0, nil, errEmpty
	}
	n := binary.LittleEndian.Uint32(b[12:])
	if n > MaxPayload {
		return 0, nil, fmt.Errorf("length %d", n)
	}
	b = b[:headLen+int(n)]
	if sum(b) != binary.LittleEndian.Uint32(b[24:]) {
		return 0, nil, errors.New("checksum")
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != version {
		return 0, nil, fmt.Errorf("version %d: made by another davy", v)
	}
	return binary.LittleEndian.Uint64(b[16:]), b[headLen:], nil
}

// poke leaves a note in a channel of one, if none is there.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
