package journal

import (
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

// The buckets of a segment. blocks holds one nested bucket per block: a small
// one lies inline in the page of its parent, which costs nothing; a large one
// has pages of its own, which are written once and never again. (Measured: as
// plain values, large blocks are rewritten with each neighbour; single records
// as keys cost a thousand times their size.)
var (
	bucketBlocks = []byte("b") // ordinal of the epoch, stream, first number → bucket{"b": block}
	bucketEpochs = []byte("e") // ordinal → id
	bucketGaps   = []byte("g") // ordinal, stream, from → to, root after
	bucketState  = []byte("s") // "s" → state
	keyBlock     = []byte("b")
	keyState     = []byte("s")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// epoch is one epoch as far as the files tell. Its fields belong to the
// journal's mutex; id and ordinal never change.
type epoch struct {
	id      wire.Epoch
	ordinal uint32 // order of the epochs
	heads   [streams]head
	gaps    [streams][]gap // named by a gap record, sorted
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
	gone     bool // no longer of the journal
	used     uint64
	runs     []run
	bytes    int64
}

// handle is an open file. The library's own closing is refused to a handle
// whose transaction panicked (it would wait for ever); then the descriptor is
// closed, which gives the lock back, and the map is left behind.
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
// times of its first and last record, chain before it, body.
const blockHeader = 4 + 1 + 4 + 8 + 8 + 32

const blockForm = 1

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
	b = append(b, it.Block.Body...)
	binary.BigEndian.PutUint32(b, blockSum(id, stream, it.Block.First, b[4:]))
	return b
}

// readBlock returns the block at k of bucket b with a body of its own.
func readBlock(b *bolt.Bucket, id wire.Epoch, k []byte) (Item, error) {
	_, stream, first, ok := parseBlockKey(k)
	nested := b.Bucket(k)
	if !ok || nested == nil {
		return Item{}, fmt.Errorf("block %x: %w", k, ErrDamaged)
	}
	v := nested.Get(keyBlock)
	if len(v) < blockHeader || v[4] != blockForm || binary.BigEndian.Uint32(v) != blockSum(id, stream, first, v[4:]) {
		return Item{}, fmt.Errorf("block %s %d: checksum: %w", streamNames[stream], first, ErrDamaged)
	}
	it := Item{Epoch: id, Block: wire.Block{Stream: streamNames[stream], First: first, Count: binary.BigEndian.Uint32(v[5:])}}
	it.WallFrom = int64(binary.BigEndian.Uint64(v[9:]))
	it.WallTo = int64(binary.BigEndian.Uint64(v[17:]))
	copy(it.Block.RootBefore[:], v[25:])
	it.Block.Body = append([]byte(nil), v[blockHeader:]...)
	if it.Block.Count == 0 {
		return Item{}, fmt.Errorf("block %s %d: empty: %w", streamNames[stream], first, ErrDamaged)
	}
	return it, nil
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
			h.file.Close() // again, where bolt did: harmless
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
		err = syncDir(filepath.Dir(path))
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
		h.file.Close()
		return
	}
	h.db.Close() // what was committed is on the disk, and nothing else was promised
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
