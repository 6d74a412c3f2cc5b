package journal

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"davy/agent/wire"
)

// Salvaged is what a look at every page of some segment files found: the blocks
// whose checksums hold, wherever they lie and whatever became of the tree of
// pages over them. It is read with pread, without the library and its map, and
// nothing is ever written there.
type Salvaged struct {
	Blocks []SalvagedBlock // by epoch, oldest first, and leaf
	Lost   []string        // what could not be read, or belongs to nothing
}

// SalvagedBlock is where a block was found.
type SalvagedBlock struct {
	Epoch wire.Epoch
	File  string

	ordinal uint32
	leaf    uint64
	first   uint64
	last    uint64
	stream  int
	at      int64
	size    int
	before  wire.Root
	after   wire.Root
}

// Limits of salvage, each with what happens at it.
const (
	salvageRun    = 4096 // pages of one node; more: the page is none
	salvageEpochs = 4096 // ids of epochs in all files; further ones are not known
	salvageFaults = 20   // stretches of a file that cannot be read are named; further ones are counted
)

// What a page of the library looks like: id 8, flags 2, count 2, overflow 4,
// then for each element of a leaf flags 4, place 4 (from the element), length of
// the key 4, of the value 4; all in the order of the machine, which is the small
// end first on all that we build for. A nested bucket is its root page 8 and
// sequence 8; root page 0: the page follows.
const (
	boltPage    = 4096
	boltHead    = 16
	boltElement = 16
	boltLeaf    = 2
	boltBucket  = 1 // of an element
	boltNested  = 16
)

// Salvage looks through the segment files that path is, or that lie in the
// directory and those below.
func Salvage(path string) (*Salvaged, error) {
	var files []string
	err := filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil && p == path:
			return err
		case err != nil:
			return nil // named below, where a file of it is missed
		case d.Type().IsRegular() && (p == path || strings.HasSuffix(p, ".seg")):
			files = append(files, p)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("salvage: %w", err)
	}
	s := &salvager{ids: map[uint32][]wire.Epoch{}, spoilt: map[string]string{}}
	for _, f := range files { // an id may stand in another file than its blocks
		s.scan(f, s.ident)
	}
	s.lost = nil // said the second time
	for _, f := range files {
		s.scan(f, s.take)
	}
	s.settle()
	return &Salvaged{s.found, s.lost}, nil
}

// salvager is what is known while it looks.
type salvager struct {
	ids   map[uint32][]wire.Epoch
	known int
	found []SalvagedBlock
	lost  []string
	// spoilt are blocks by their keys of which a copy was found that does not hold.
	spoilt map[string]string
	path   string
}

// element is one key and value of a leaf page. at is the place of the value in the file.
type element struct {
	bucket bool
	inner  bool // it lies in a bucket that lies in its parent's page
	key    []byte
	value  []byte
	at     int64
}

// scan calls f with every element of every leaf page of a file.
func (s *salvager) scan(path string, f func(e *element)) {
	s.path = path
	file, err := os.Open(path)
	if err != nil {
		s.lost = append(s.lost, err.Error())
		return
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		s.lost = append(s.lost, err.Error())
		return
	}
	faults := 0
	fault := func(page int64, err error) {
		if faults++; faults <= salvageFaults {
			s.lost = append(s.lost, fmt.Sprintf("%s: page %d: %v", filepath.Base(path), page, err))
		}
	}
	var buf []byte
	for page := range (info.Size() + boltPage - 1) / boltPage {
		var head [boltHead]byte
		if _, err := file.ReadAt(head[:], page*boltPage); err != nil {
			fault(page, err)
			continue
		}
		id, flags, overflow := binary.LittleEndian.Uint64(head[:]), binary.LittleEndian.Uint16(head[8:]), binary.LittleEndian.Uint32(head[12:])
		if flags != boltLeaf || id != uint64(page) || overflow >= salvageRun {
			continue
		}
		size := int(overflow+1) * boltPage
		if len(buf) < size {
			buf = make([]byte, size)
		}
		n, err := file.ReadAt(buf[:size], page*boltPage)
		if err != nil && !errors.Is(err, io.EOF) {
			fault(page, err)
		}
		elements(buf[:n], page*boltPage, f)
	}
	if faults > salvageFaults {
		s.lost = append(s.lost, fmt.Sprintf("%s: %d pages in all could not be read", filepath.Base(path), faults))
	}
}

// elements calls f with those of a leaf page that lie within it.
func elements(b []byte, at int64, f func(*element)) {
	if len(b) < boltHead {
		return
	}
	count := int(binary.LittleEndian.Uint16(b[10:]))
	for i := range count {
		x := boltHead + i*boltElement
		if x+boltElement > len(b) {
			return
		}
		flags := binary.LittleEndian.Uint32(b[x:])
		pos, ksize, vsize := int64(binary.LittleEndian.Uint32(b[x+4:])), int64(binary.LittleEndian.Uint32(b[x+8:])), int64(binary.LittleEndian.Uint32(b[x+12:]))
		k := int64(x) + pos
		if k+ksize+vsize > int64(len(b)) {
			continue
		}
		f(&element{bucket: flags == boltBucket, key: b[k : k+ksize], value: b[k+ksize : k+ksize+vsize], at: at + k + ksize})
	}
}

// ident notes the ids of epochs.
func (s *salvager) ident(e *element) {
	if e.bucket || len(e.key) != 4 || len(e.value) != len(wire.Epoch{}) {
		inline(e, s.ident)
		return
	}
	ordinal, id := binary.BigEndian.Uint32(e.key), wire.Epoch(e.value)
	if !slices.Contains(s.ids[ordinal], id) && s.known < salvageEpochs {
		s.ids[ordinal] = append(s.ids[ordinal], id)
		s.known++
	}
}

// inline calls f with the elements of a bucket that lies within its parent's
// page. The library lays no bucket into such a one: a page that does would be
// looked through for ever.
func inline(e *element, f func(e *element)) {
	if e.bucket && !e.inner && len(e.value) > boltNested && binary.LittleEndian.Uint64(e.value) == 0 {
		elements(e.value[boltNested:], e.at+boltNested, func(x *element) {
			x.inner = true
			f(x)
		})
	}
}

// take notes a block whose checksum holds under the name of an epoch.
func (s *salvager) take(e *element) {
	if e.bucket {
		inline(e, s.take)
		return
	}
	ordinal, stream, first, ok := parseBlockKey(e.key)
	if !ok || len(e.value) < blockHeader || e.value[4] != blockForm {
		return
	}
	for _, id := range s.ids[ordinal] {
		it, _, err := decodeBlock(id, stream, first, e.value)
		if err != nil {
			continue
		}
		b := SalvagedBlock{
			Epoch: id, File: s.path, ordinal: ordinal, leaf: it.Block.Leaf, first: first, last: it.Block.Last(), stream: stream,
			at: e.at, size: len(e.value), before: it.Block.RootBefore, after: it.rootAfter(),
		}
		s.found = append(s.found, b)
		return
	}
	s.spoilt[string(e.key)] = fmt.Sprintf("%s: %s %d: checksum, or the id of its epoch is lost", filepath.Base(s.path), streamNames[stream], first)
}

// settle sorts what was found and takes each block once: the library leaves
// older copies of pages behind. Of two with one name that differ, which a
// failed commit can leave, the one counts that the next block goes on from.
func (s *salvager) settle() {
	slices.SortStableFunc(s.found, func(a, b SalvagedBlock) int {
		return cmp.Or(cmp.Compare(a.ordinal, b.ordinal), strings.Compare(string(a.Epoch[:]), string(b.Epoch[:])), cmp.Compare(a.stream, b.stream), cmp.Compare(a.first, b.first))
	})
	befores := map[wire.Root]bool{}
	for i := range s.found {
		befores[s.found[i].before] = true
	}
	same := func(a, b *SalvagedBlock) bool {
		return a.Epoch == b.Epoch && a.stream == b.stream && a.first == b.first
	}
	var out []SalvagedBlock
	for i := range s.found {
		b := &s.found[i]
		n := len(out)
		switch {
		case n == 0 || !same(&out[n-1], b):
			out = append(out, *b)
		case out[n-1].after == b.after:
		case befores[b.after] && !befores[out[n-1].after]:
			out[n-1] = *b
			fallthrough
		default:
			s.lost = append(s.lost, fmt.Sprintf("%s: %s %d: a second block of this name, left by a failed commit", filepath.Base(b.File), streamNames[b.stream], b.first))
		}
	}
	for i := range out { // a copy that holds is enough
		delete(s.spoilt, string(blockKey(out[i].ordinal, out[i].stream, out[i].first)))
		if i > 0 && out[i].Epoch == out[i-1].Epoch && out[i].stream == out[i-1].stream && out[i].first > out[i-1].last+1 {
			s.lost = append(s.lost, fmt.Sprintf("epoch %x: %s %d to %d", out[i].Epoch, streamNames[out[i].stream], out[i-1].last+1, out[i].first-1))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(s.spoilt)) {
		s.lost = append(s.lost, s.spoilt[key])
	}
	slices.SortStableFunc(out, func(a, b SalvagedBlock) int {
		return cmp.Or(cmp.Compare(a.ordinal, b.ordinal), strings.Compare(string(a.Epoch[:]), string(b.Epoch[:])), cmp.Compare(a.leaf, b.leaf))
	})
	s.found = out
}

// Read reads a block again.
func (b *SalvagedBlock) Read() (Item, error) {
	f, err := os.Open(b.File)
	if err != nil {
		return Item{}, err
	}
	defer f.Close()
	v := make([]byte, b.size)
	if _, err := f.ReadAt(v, b.at); err != nil {
		return Item{}, err
	}
	it, body, err := decodeBlock(b.Epoch, b.stream, b.first, v)
	it.Block.Body = body
	return it, err
}
