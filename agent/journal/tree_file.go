package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"davy/agent/merkle"
	"davy/agent/wire"
)

// The file of a log: a page with two slots for its header, of which the one
// with the greater number counts, and then the hashes in the stored form of
// package merkle. A slot: "davytree", form, 1 if the log is broken, two bytes
// of zero, epoch, number, leaves that were synced, leaves of whose hashes only
// roots of subtrees are kept, root, CRC32C of all that.
const (
	treeHeader = 4096
	treeSlot   = 512 // the second slot's place: another sector
	treeForm   = 1
	hashBytes  = 32
	headBytes  = 8 + 4 + 16 + 8 + 8 + 8 + 32 + 4
)

const treeMagic = "davytree"

// treeHead is what a header says.
type treeHead struct {
	epoch  wire.Epoch
	seq    uint64
	size   int64
	shrunk int64
	root   merkle.Hash
	broken bool
}

func (h *treeHead) encode() []byte {
	b := append(make([]byte, 0, headBytes), treeMagic...)
	b = append(b, treeForm, 0, 0, 0)
	if h.broken {
		b[9] = 1
	}
	b = append(b, h.epoch[:]...)
	b = binary.BigEndian.AppendUint64(b, h.seq)
	b = binary.BigEndian.AppendUint64(b, uint64(h.size))
	b = binary.BigEndian.AppendUint64(b, uint64(h.shrunk))
	b = append(b, h.root[:]...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func decodeTreeHead(b []byte) (h treeHead, ok bool) {
	if len(b) != headBytes || string(b[:8]) != treeMagic || b[8] != treeForm ||
		crc32.Checksum(b[:headBytes-4], castagnoli) != binary.BigEndian.Uint32(b[headBytes-4:]) {
		return h, false
	}
	h.broken = b[9] == 1
	copy(h.epoch[:], b[12:])
	h.seq = binary.BigEndian.Uint64(b[28:])
	h.size = int64(binary.BigEndian.Uint64(b[36:]))
	h.shrunk = int64(binary.BigEndian.Uint64(b[44:]))
	copy(h.root[:], b[52:])
	return h, h.size >= 0 && h.shrunk >= 0 && h.shrunk <= h.size
}

// TreeFile is the file of an epoch's log. What it gives is as the disk has it;
// a proof made of it must be held against a root that is known.
type TreeFile struct {
	id   wire.Epoch
	f    *os.File
	head treeHead
}

// OpenTree opens the log of an epoch of the journal in dir for reading, also
// beside a keeper; os.ErrNotExist if there is none.
func OpenTree(dir string, id wire.Epoch) (*TreeFile, error) {
	return openTree(filepath.Join(dir, treeDir, treeName(id)), id, os.O_RDONLY)
}

// openTree opens a log. A header that does not hold says nothing: size 0.
func openTree(path string, id wire.Epoch, flag int) (*TreeFile, error) {
	f, err := os.OpenFile(path, flag, 0o600)
	if err != nil {
		return nil, err
	}
	t := &TreeFile{id: id, f: f}
	for _, at := range []int64{0, treeSlot} {
		b := make([]byte, headBytes)
		if _, err := f.ReadAt(b, at); err != nil && !errors.Is(err, io.EOF) {
			f.Close()
			return nil, err
		}
		if h, ok := decodeTreeHead(b); ok && h.epoch == id && h.seq >= t.head.seq {
			t.head = h
		}
	}
	return t, nil
}

// Close closes the file.
func (t *TreeFile) Close() error { return t.f.Close() }

// Synced returns the leaves that the file's header speaks of, and the root that
// it names for them; the file may hold more.
func (t *TreeFile) Synced() (size uint64, root merkle.Hash) {
	return uint64(t.head.size), t.head.root
}

// Broken reports whether the log was found to be broken.
func (t *TreeFile) Broken() bool { return t.head.broken }

// At gives the hash at a place; it is a merkle.At.
func (t *TreeFile) At(place int64) (h merkle.Hash, err error) {
	if _, err = t.f.ReadAt(h[:], treeHeader+place*hashBytes); errors.Is(err, io.EOF) {
		err = fmt.Errorf("place %d is behind the end: %w", place, errTorn)
	}
	if err == nil && h == (merkle.Hash{}) {
		err = fmt.Errorf("place %d is empty: %w", place, errTorn)
	}
	return h, err
}

// put writes hashes from a place on.
func (t *TreeFile) put(place int64, hashes []merkle.Hash) error {
	b := make([]byte, 0, len(hashes)*hashBytes)
	for i := range hashes {
		b = append(b, hashes[i][:]...)
	}
	_, err := t.f.WriteAt(b, treeHeader+place*hashBytes)
	return err
}

// seal makes what was written durable, and then a header that speaks of it.
func (t *TreeFile) seal(h treeHead) error {
	if err := t.f.Sync(); err != nil {
		return err
	}
	if _, err := t.f.WriteAt(h.encode(), int64(h.seq%2)*treeSlot); err != nil {
		return err
	}
	if err := t.f.Sync(); err != nil {
		return err
	}
	t.head = h
	return nil
}

// punch gives back the pages that hold nothing but hashes from place to to-1.
func (t *TreeFile) punch(from, to int64) error {
	const page = 4096
	begin := (treeHeader + from*hashBytes + page - 1) / page * page
	end := (treeHeader + to*hashBytes) / page * page
	if end <= begin {
		return nil
	}
	const keepSize, punchHole = 1, 2
	return syscall.Fallocate(int(t.f.Fd()), keepSize|punchHole, begin, end-begin)
}
