package export

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"math/bits"

	"davy/agent/evidence"
	"davy/agent/merkle"
	"davy/agent/wire"
)

// Writer writes an evidence file. The first error stays: Close returns it.
type Writer struct {
	w      *bufio.Writer
	buf    []byte
	end    End
	err    error
	log    writeLog
	opened bool // an epoch
}

// writeLog is what the writer knows of the epoch's log: the subtrees of the
// group that is under way.
type writeLog struct {
	pos   int64
	peaks []subtree // complete, the largest first, within the group
	known bool      // no leaf of the group is a hole
	edge  []subtree // complete, the largest first, of all leaves
	holed bool      // one of them is a hole: edge is worth nothing
	noted int64     // size of the last note
}

// NewWriter begins a file.
func NewWriter(w io.Writer, c Claim, keys []Key) *Writer {
	x := &Writer{w: bufio.NewWriterSize(w, 64<<10), end: End{Frames: map[string]int64{}}}
	_, x.err = x.w.WriteString(magic)
	x.end.Bytes = int64(len(magic))
	x.json(claimFrame, c)
	for _, k := range keys {
		x.json(keyFrame, k)
	}
	return x
}

func (x *Writer) json(kind byte, v any) {
	b, err := json.Marshal(v)
	if err != nil && x.err == nil {
		x.err = err
	}
	x.frame(kind, b)
}

func (x *Writer) frame(kind byte, payload []byte) {
	if x.err == nil && len(payload) > maxFrame {
		x.err = fmt.Errorf("frame %c of %d bytes: %w", kind, len(payload), wire.ErrTooLarge)
	}
	if x.err != nil {
		return
	}
	var head [headSize]byte
	head[0] = kind
	binary.BigEndian.PutUint32(head[1:], uint32(len(payload)))
	binary.BigEndian.PutUint32(head[5:], crc32.Checksum(payload, castagnoli))
	binary.BigEndian.PutUint32(head[9:], crc32.Checksum(head[:9], castagnoli))
	if _, x.err = x.w.Write(head[:]); x.err == nil {
		_, x.err = x.w.Write(payload)
	}
	x.end.Bytes += int64(headSize + len(payload))
	x.end.Frames[string(rune(kind))]++
}

// Epoch begins the section of an epoch. Parents come first.
func (x *Writer) Epoch(id wire.Epoch) {
	x.frame(epochFrame, id[:])
	x.end.Epochs = append(x.end.Epochs, EndEpoch{Epoch: hex.EncodeToString(id[:])})
	x.log, x.opened = writeLog{known: true}, true
}

// Leaves returns how many leaves of the epoch's log the file has so far.
func (x *Writer) Leaves() int64 { return x.log.pos }

// Signed returns the leaves that the epoch's last checkpoint in the file covers.
func (x *Writer) Signed() int64 { return x.log.noted }

func (x *Writer) epoch() *EndEpoch {
	if !x.opened {
		panic("BUG: export: no epoch was begun")
	}
	return &x.end.Epochs[len(x.end.Epochs)-1]
}

// Receipt adds a signed receipt of the epoch.
func (x *Writer) Receipt(signed []byte) {
	x.epoch()
	x.frame(receiptFrame, signed)
}

// Block adds the next leaf. hash is what the gateway's log has in its place;
// nil: nothing else is known, and the block speaks for itself.
func (x *Writer) Block(k *wire.Block, hash *merkle.Hash) error {
	if int64(k.Leaf) != x.log.pos {
		return fmt.Errorf("export block %s %d: leaf %d where %d is due: %w", k.Stream, k.First, k.Leaf, x.log.pos, ErrOrder)
	}
	own := merkle.Hash{}
	if hash != nil {
		own = *hash
	} else {
		own = leafOf(k, sha256.Sum256(k.Body))
	}
	x.buf = appendBlock(x.buf[:0], k, own)
	x.frame(blockFrame, x.buf)
	x.epoch().Blocks++
	x.log.push(subtree{0, x.log.pos, own})
	x.closeGroup()
	return x.err
}

// Skip says the hashes of the leaves up to to, whose blocks are not in the file.
func (x *Writer) Skip(to int64, at merkle.At) error {
	for x.log.pos < to && x.err == nil {
		s := widest(x.log.pos, to)
		hash, err := at(merkle.Place(s.level, s.index))
		if err != nil {
			return fmt.Errorf("export leaves %d to %d: %w", s.from(), s.to()-1, err)
		}
		s.hash = hash
		x.sub(s)
		x.log.push(s)
		if s.level < groupLevel {
			x.closeGroup()
		}
	}
	return x.err
}

// Hole goes on at a leaf though nothing is known of those before it: what was
// there is lost, and Verify says so.
func (x *Writer) Hole(to int64) {
	if to <= x.log.pos {
		return
	}
	x.log = writeLog{pos: to, known: to%group == 0, holed: true, noted: x.log.noted}
}

// Root returns the root of the leaves so far, as the hashes in the file have
// it; ok is false where one is not known.
func (x *Writer) Root() (root merkle.Hash, ok bool) {
	e := x.log.edge
	if x.log.holed || len(e) == 0 {
		return root, false
	}
	root = e[len(e)-1].hash
	for i := len(e) - 2; i >= 0; i-- {
		root = merkle.Tree{}.Node(e[i].hash, root)
	}
	return root, true
}

// widest is the largest complete subtree that begins at from and does not go beyond to.
func widest(from, to int64) subtree {
	level := bits.Len64(uint64(to-from)) - 1
	if from != 0 {
		level = min(level, bits.TrailingZeros64(uint64(from)))
	}
	return subtree{level: level, index: from >> level}
}

func (x *Writer) sub(s subtree) {
	x.buf = s.append(x.buf[:0])
	x.frame(subtreeFrame, x.buf)
}

func (l *writeLog) push(s subtree) {
	l.pos = s.to()
	l.edge = joined(l.edge, s)
	if l.pos%group == 0 && s.from()%group == 0 { // whole groups need not be remembered
		l.peaks, l.known = l.peaks[:0], true
		return
	}
	l.peaks = joined(l.peaks, s)
}

// joined adds a subtree to complete ones, and joins those that are siblings.
func joined(to []subtree, s subtree) []subtree {
	for n := len(to); n > 0 && to[n-1].level == s.level && to[n-1].index == s.index-1 && s.index&1 == 1; n = len(to) {
		s = subtree{s.level + 1, s.index >> 1, merkle.Tree{}.Node(to[n-1].hash, s.hash)}
		to = to[:n-1]
	}
	return append(to, s)
}

// closeGroup says the root over a group that is full.
func (x *Writer) closeGroup() {
	l := &x.log
	if l.pos%group != 0 {
		return
	}
	if len(l.peaks) == 1 && l.peaks[0].level == groupLevel {
		x.sub(l.peaks[0])
	}
	l.peaks, l.known = l.peaks[:0], true
}

// Note adds a checkpoint. It stands after the last leaf that it covers.
func (x *Writer) Note(note []byte) error {
	c, err := evidence.ReadCheckpoint(note)
	if err != nil {
		return fmt.Errorf("export checkpoint: %w", err)
	}
	if int64(c.Size) != x.log.pos {
		return fmt.Errorf("export checkpoint of %d leaves after %d: %w", c.Size, x.log.pos, ErrOrder)
	}
	if x.log.known {
		for _, s := range x.log.peaks {
			if s.level > 0 {
				x.sub(s)
			}
		}
	}
	x.frame(noteFrame, note)
	x.log.noted = x.log.pos
	x.epoch().Notes++
	return x.err
}

// EndEpoch ends a section; ranges are the numbers within which nothing should be missing.
func (x *Writer) EndEpoch(ranges []Range) {
	e := x.epoch()
	e.Leaves, e.Streams = x.log.pos, ranges
	x.opened = false
}

// Close ends the file; lost is what could not be read.
func (x *Writer) Close(lost []string) error {
	x.end.Lost = lost
	x.json(endFrame, x.end)
	if x.err == nil {
		x.err = x.w.Flush()
	}
	if x.err != nil {
		return fmt.Errorf("write evidence: %w", x.err)
	}
	return nil
}

// Epochs returns how many sections there are.
func (x *Writer) Epochs() int { return len(x.end.Epochs) }
