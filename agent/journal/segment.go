package journal

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	bolt "go.etcd.io/bbolt"
	bolterr "go.etcd.io/bbolt/errors"

	"davy/agent/wire"
)

// family is a class of segments that is dropped for itself.
type family uint8

const (
	eventFamily family = iota
	readingFamily
	families
)

var familyNames = [families]string{"event", "reading"}

// The streams by the byte that stands for them in keys.
const (
	eventStream = iota
	readingStream
	healthStream
	streams
)

var streamNames = [streams]string{wire.EventStream, wire.ReadingStream, wire.HealthStream}

func streamIndex(name string) (int, bool) {
	for i, s := range streamNames {
		if s == name {
			return i, true
		}
	}
	return 0, false
}

// The buckets of a segment. How blocks lie in theirs: see blockBucket. (Single
// records as keys would cost a thousand times their size.)
var (
	bucketBlocks = []byte("b") // ordinal of the epoch, stream, first number of its group → bucket{of a block → block}
	bucketEpochs = []byte("e") // ordinal → id
	bucketGaps   = []byte("g") // ordinal, stream, from → to, root after
	bucketState  = []byte("s") // "s" → state
	keyState     = []byte("s")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// epoch is one epoch as far as the files tell. Its fields belong to the
// journal's mutex; id and ordinal never change.
type epoch struct {
	id      wire.Epoch
	ordinal uint32 // order of the epochs
	heads   [streams]head
	leaves  uint64         // of its log, one per block
	gaps    [streams][]gap // named by a gap record, sorted
	tree    tree           // the hashes of its log
}

type head struct {
	number uint64
	root   wire.Root
}

type gap struct {
	from, to uint64
	root     wire.Root
}

// run is what a segment holds of one stream of one epoch.
type run struct {
	epoch            *epoch
	stream           int
	first, last      uint64
	before, after    wire.Root
	wallFrom, wallTo int64
	leafFrom, leafTo uint64 // of its first and its last block
}

// segment is one file. Its fields belong to the journal's mutex, but for path,
// family and seq, which never change. Whoever opens or closes it holds gate.
type segment struct {
	path   string
	family family
	seq    uint64
	gate   chan struct{}

	h        *handle
	active   bool // h may be written with
	poisoned bool // a write panicked: h may not even be closed
	doubt    bool // a commit failed, and nobody knows yet how much of it is in the file
	gone     bool // no longer of the journal
	used     uint64
	runs     []run
	bytes    int64
	gaps     int    // gap records that it holds
	lived    int64  // state.lived at its last transaction,
	version  uint64 // and state.version
}

// handle is an open file. The library's own closing is refused to a handle
// whose transaction panicked (it would wait for ever); then the lock is given
// back, the descriptor closed, and the map left behind.
type handle struct {
	db   *bolt.DB
	file *os.File
}

func newSegmentAt(path string, f family, seq uint64) *segment {
	return &segment{path: path, family: f, seq: seq, gate: make(chan struct{}, 1)}
}

func segmentName(f family, seq uint64) string {
	return fmt.Sprintf("%s-%08x.seg", familyNames[f], seq)
}

func parseSegment(name string) (f family, seq uint64, ok bool) {
	for f = range families {
		var n uint64
		if _, err := fmt.Sscanf(name, familyNames[f]+"-%x.seg", &n); err == nil && segmentName(f, n) == name {
			return f, n, true
		}
	}
	return 0, 0, false
}

func blockKey(ordinal uint32, stream int, first uint64) []byte {
	b := make([]byte, 0, 13)
	b = binary.BigEndian.AppendUint32(b, ordinal)
	b = append(b, byte(stream))
	return binary.BigEndian.AppendUint64(b, first)
}

func parseBlockKey(k []byte) (ordinal uint32, stream int, first uint64, ok bool) {
	if len(k) != 13 || k[4] >= streams {
		return 0, 0, 0, false
	}
	return binary.BigEndian.Uint32(k), int(k[4]), binary.BigEndian.Uint64(k[5:]), true
}

// A block on disk: CRC32C of what follows and of its name, form, count, wall
// times of its first and last record, chain before it, leaf in the epoch's log,
// SHA-256 of the body, body. What stands before the body is all that the leaf
// says, so that a log is made again without reading bodies.
const blockHeader = 4 + 1 + 4 + 8 + 8 + 32 + 8 + 32

const blockForm = 2

func blockSum(id wire.Epoch, stream int, first uint64, b []byte) uint32 {
	name := make([]byte, 0, 32)
	name = append(name, id[:]...)
	name = append(name, byte(stream))
	name = binary.BigEndian.AppendUint64(name, first)
	return crc32.Update(crc32.Checksum(name, castagnoli), castagnoli, b)
}

func encodeBlock(id wire.Epoch, stream int, it *Item) []byte {
	b := make([]byte, 4, blockHeader+len(it.Block.Body))
	b = append(b, blockForm)
	b = binary.BigEndian.AppendUint32(b, it.Block.Count)
	b = binary.BigEndian.AppendUint64(b, uint64(it.WallFrom))
	b = binary.BigEndian.AppendUint64(b, uint64(it.WallTo))
	b = append(b, it.Block.RootBefore[:]...)
	b = binary.BigEndian.AppendUint64(b, it.Block.Leaf)
	b = append(b, it.Sum[:]...)
	b = append(b, it.Block.Body...)
	binary.BigEndian.PutUint32(b, blockSum(id, stream, it.Block.First, b[4:]))
	return b
}

// leafData is what the block's leaf says, see wire.LeafData; its SHA-256 is the
// chain after the block.
func (i *Item) leafData() []byte {
	return wire.LeafData(i.Block.RootBefore, i.Block.Stream, i.Block.First, i.Block.Count, i.Sum)
}

// rootAfter returns the chain after the block without hashing its body again.
func (i *Item) rootAfter() wire.Root { return sha256.Sum256(i.leafData()) }

// readBlock returns the block at k of bucket b with a body of its own.
func readBlock(b *blockBucket, id wire.Epoch, k []byte) (Item, error) {
	it, body, err := readHeader(b, id, k)
	it.Block.Body = append([]byte(nil), body...)
	return it, err
}

// readHeader returns the block at k of bucket b without its body, and the body
// as it lies in the file. The checksum is over both.
func readHeader(b *blockBucket, id wire.Epoch, k []byte) (Item, []byte, error) {
	_, stream, first, ok := parseBlockKey(k)
	v := b.get(k)
	if !ok || v == nil {
		return Item{}, nil, fmt.Errorf("block %x: %w", k, ErrDamaged)
	}
	return decodeBlock(id, stream, first, v)
}

// decodeBlock reads what encodeBlock wrote under a name; the body is a part of v.
func decodeBlock(id wire.Epoch, stream int, first uint64, v []byte) (Item, []byte, error) {
	if len(v) < blockHeader || v[4] != blockForm || binary.BigEndian.Uint32(v) != blockSum(id, stream, first, v[4:]) {
		return Item{}, nil, fmt.Errorf("block %s %d: checksum: %w", streamNames[stream], first, ErrDamaged)
	}
	it := Item{Epoch: id, Block: wire.Block{Stream: streamNames[stream], First: first, Count: binary.BigEndian.Uint32(v[5:])}}
	it.WallFrom = int64(binary.BigEndian.Uint64(v[9:]))
	it.WallTo = int64(binary.BigEndian.Uint64(v[17:]))
	copy(it.Block.RootBefore[:], v[25:])
	it.Block.Leaf = binary.BigEndian.Uint64(v[57:])
	copy(it.Sum[:], v[65:])
	if it.Block.Count == 0 {
		return Item{}, nil, fmt.Errorf("block %s %d: empty: %w", streamNames[stream], first, ErrDamaged)
	}
	return it, v[blockHeader:], nil
}

// guard runs f, which reads through the map, and turns a panic or a fault of
// it into an error that is ErrDamaged.
func guard(f func() error) (err error) {
	old := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(old)
	defer func() {
		if p := recover(); p != nil {
			if re, ok := p.(runtime.Error); ok && strings.HasPrefix(re.Error(), "BUG:") {
				panic(p)
			}
			if s, ok := p.(string); ok && strings.HasPrefix(s, "BUG:") {
				panic(p)
			}
			err = &panicError{fmt.Sprint(p)}
		}
	}()
	return f()
}

// panicError is a panic of the library: its object may not be used any more.
type panicError struct{ text string }

func (e *panicError) Error() string { return "damaged: " + e.text }
func (e *panicError) Unwrap() error { return ErrDamaged }

// damage reports whether err says that the file itself is bad.
func damage(err error) bool {
	return errors.Is(err, ErrDamaged) || errors.Is(err, bolterr.ErrInvalid) || errors.Is(err, bolterr.ErrChecksum) ||
		errors.Is(err, bolterr.ErrVersionMismatch) || err != nil && strings.Contains(err.Error(), "file size too small")
}

// full reports whether err says that there is no space.
func full(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, ErrFull)
}

// smallest is what an empty bbolt file takes. A shorter one was cut, and an
// empty one would be made new.
const smallest = 4 * 4096

func openFile(path string, size int64, readOnly bool) (*handle, error) {
	if info, err := os.Stat(path); err != nil {
		return nil, err
	} else if info.Size() < smallest {
		return nil, fmt.Errorf("%d bytes: %w", info.Size(), ErrDamaged)
	}
	if err := sound(path, !readOnly); err != nil {
		return nil, err
	}
	return openBolt(path, size, readOnly)
}

func openBolt(path string, size int64, readOnly bool) (*handle, error) {
	h := &handle{}
	o := &bolt.Options{
		Timeout: fileTimeout, PageSize: 4096, FreelistType: bolt.FreelistMapType, NoStatistics: true, ReadOnly: readOnly,
		OpenFile: func(name string, flag int, mode os.FileMode) (f *os.File, err error) {
			h.file, err = os.OpenFile(name, flag, mode)
			return h.file, err
		},
	}
	if !readOnly {
		o.MaxSize, o.InitialMmapSize = int(size), int(size) // never remapped: see dependencies B2
	}
	err := guard(func() (err error) { h.db, err = bolt.Open(path, 0o600, o); return err })
	if err != nil {
		if h.file != nil {
			h.abandon() // again, where bolt did: harmless
		}
		return nil, err
	}
	if !readOnly {
		h.db.AllocSize = int(min(1<<20, size/8))
	}
	return h, nil
}

// createFile makes a segment with its buckets under another name, and puts it
// in place when it is complete.
func createFile(path string, size int64, fill func(tx *bolt.Tx) error) (*handle, error) {
	tmp := path + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	h, err := openBolt(tmp, size, false)
	if err != nil {
		os.Remove(tmp)
		return nil, err
	}
	err = guard(func() error {
		return h.db.Update(func(tx *bolt.Tx) error {
			for _, name := range [][]byte{bucketBlocks, bucketEpochs, bucketGaps, bucketState} {
				if _, err := tx.CreateBucket(name); err != nil {
					return err
				}
			}
			return fill(tx)
		})
	})
	if err == nil {
		err = h.db.Sync()
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err == nil {
		if err = syncDir(filepath.Dir(path)); err != nil {
			os.Remove(path) // nobody is told of what is in it
		}
	}
	if err != nil {
		h.close(isPanic(err))
		os.Remove(tmp)
		return nil, err
	}
	return h, nil
}

func (h *handle) close(poisoned bool) {
	if poisoned {
		h.abandon()
		return
	}
	h.db.Close() // what was committed is on the disk, and nothing else was promised
}

// abandon gives the file back where the library cannot: its map keeps the open
// file, and so the lock, past the closing of the descriptor.
func (h *handle) abandon() {
	_ = syscall.Flock(int(h.file.Fd()), syscall.LOCK_UN)
	h.file.Close()
}

func isPanic(err error) bool {
	var p *panicError
	return errors.As(err, &p)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	return errors.Join(err, d.Close())
}

// allocated returns what a file takes on disk; holes count nothing.
func allocated(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int64(st.Blocks) * 512
	}
	return info.Size()
}
