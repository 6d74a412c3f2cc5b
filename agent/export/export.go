// Package export is the evidence file: records of a journal in one file that
// anyone can check who has a public key, without the gateway and its site.
//
// It promises: a file is written and read in one go, in memory that does not
// grow with it; any bytes lead to findings or an error, never a panic; a byte
// that is changed anywhere is found. What Verify calls whole is whole: every
// block hashes to a leaf of its epoch's log, the log is that of checkpoints
// signed by a gateway for whose key somebody vouches, numbers have no holes but
// those that gap records name, and epochs follow one another. What is not
// witnessed, not signed or not in the file is said, never passed over.
//
// It does not prove that a register was true, nor that the log was not forked
// after the last witnessed checkpoint, nor that nothing came after the newest
// record: a file that ends earlier, with an older checkpoint, is whole as far as
// it goes, and says when that was signed.
//
// # The file
//
// All numbers are big endian. A file is the 16 bytes "davy evidence 1\n" and
// frames:
//
//	kind     1 byte
//	length   4 bytes, of the payload, at most 16 MiB
//	sum      4 bytes, CRC32C (Castagnoli) of the payload
//	head     4 bytes, CRC32C of the nine bytes before
//	payload
//
// in this order: C, then any number of K, then for each epoch, parents first, E
// and after it R, B, S and N as they come, and Z at the end. Nothing follows Z:
// a file without it was cut off. A frame of another kind is passed over, if its
// kind is a small letter, and else an error.
//
//	C  claim: JSON (type Claim), what was asked for and of which gateway
//	K  key: JSON (type Key), of a receiver or of the gateway, with the
//	   certificate of its authority if it has one (a wire.Signed of kind
//	   "certificate", see agent/wire/davy.proto)
//	E  epoch: 16 bytes, its id
//	R  receipt: a wire.Signed of kind "receipt", as it came
//	B  block: leaf 8, hash 32, first 8, count 4, chain before 32, length of the
//	   name of the stream 1, name, body (the rest), as the journal stored them
//	S  subtree: level 1, index 8, hash 32: the root over leaves
//	   index·2^level to (index+1)·2^level-1 of the epoch's log
//	N  note: a checkpoint of the epoch, signed (agent/evidence, Checkpoint)
//	Z  end: JSON (type End), what the file holds
//
// # How it is checked
//
// Leaf data of a block are the bytes (agent/wire, LeafData)
//
//	chain before 32 | stream | 0 | first 8 | count as 8 | SHA-256(body) 32
//
// The chain after the block is their SHA-256, and the next block of the stream
// in this epoch begins with it; the first one begins with 32 zero bytes. The
// leaf is SHA-256(0 | leaf data), a node of the log SHA-256(1 | left | right),
// the tree that of RFC 6962. B frames stand in the order of their leaves, from
// 0 without a hole. A leaf whose block is not in the file is covered by an S
// frame in its place: index·2^level is then the leaf that is due. After every
// 256 leaves (from a multiple of 256) an S frame of level 8 says their root,
// and before an N frame S frames say the complete subtrees between the last
// multiple of 256 and its size. Those and the hash of a B frame are not needed;
// they are there so that what was changed can be named: where they disagree
// with the blocks, the blocks or they were altered, and the checkpoint says
// which. An N frame stands after the last leaf that it covers; the root of the
// leaves so far must be the checkpoint's, and its gateway and epoch those of
// the file and the section.
//
// The first record of an epoch, number 1 of the stream "event", names the
// parent, the parent's last numbers with the chain there, and its last
// checkpoint. Within the range of numbers that Z names for a stream nothing may
// be missing that no gap record names (field gap of an event, of this or a
// later epoch). Where C has a time, the range goes one block beyond it on
// either side, or to the first number, or to where the log shows that no other
// block of the stream can be: so the file shows that this is all there was. (A
// journal that has deleted old records in order claims the time since which it
// has all. Times within a log go up but for what readings wait for their commit.)
//
// Imports: agent/evidence, merkle, wire.
package export

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"davy/agent/merkle"
	"davy/agent/wire"
)

const magic = "davy evidence 1\n"

// Format is the number in it.
const Format = 1

// The kinds of frames.
const (
	claimFrame   = 'C'
	keyFrame     = 'K'
	epochFrame   = 'E'
	receiptFrame = 'R'
	blockFrame   = 'B'
	subtreeFrame = 'S'
	noteFrame    = 'N'
	endFrame     = 'Z'
)

// kindName is what a kind of frame is called in findings.
func kindName(kind byte) string {
	switch kind {
	case claimFrame:
		return "claim"
	case keyFrame:
		return "key"
	case epochFrame:
		return "epoch"
	case receiptFrame:
		return "receipt"
	case blockFrame:
		return "block"
	case subtreeFrame:
		return "hash"
	case noteFrame:
		return "checkpoint"
	case endFrame:
		return "end"
	}
	return string(rune(kind))
}

const (
	headSize    = 13
	maxFrame    = 16 << 20 // bytes of a payload; a longer one is no frame
	maxJSON     = 4 << 20  // bytes of a claim, a key or an end; a longer one is an error
	groupLevel  = 8
	group       = 1 << groupLevel // leaves under one S frame
	blockFixed  = 8 + 32 + 8 + 4 + 32 + 1
	subtreeSize = 1 + 8 + 32
	maxLevel    = 62
)

// What can go wrong.
var (
	ErrFormat = errors.New("not an evidence file")
	ErrOrder  = errors.New("out of order")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Claim is what was asked for.
type Claim struct {
	Gateway string   `json:"gateway"`
	Made    int64    `json:"made"`              // wall time of the gateway, ns since 1970
	Maker   string   `json:"maker"`             // "davy 1.2.3"
	From    int64    `json:"from,omitempty"`    // ns since 1970; 0: from the first record there ever was
	To      int64    `json:"to,omitempty"`      // 0: to the newest
	Epochs  []string `json:"epochs,omitempty"`  // ids in hex; none: all
	Streams []string `json:"streams,omitempty"` // none: all; events are always there
	Salvage bool     `json:"salvage,omitempty"` // from a damaged disk: what is there is not all there was
}

// Key is a public key that what is in the file may be checked with. That it
// stands in the file is no reason to believe it.
type Key struct {
	Role        string `json:"role"` // "device", "receiver"
	Name        string `json:"name,omitempty"`
	Key         []byte `json:"key"`                   // ed25519
	Certificate []byte `json:"certificate,omitempty"` // a wire.Signed
}

// End is what the file holds.
type End struct {
	Bytes  int64            `json:"bytes"`  // before this frame
	Frames map[string]int64 `json:"frames"` // before this frame, by kind
	Epochs []EndEpoch       `json:"epochs"`
	Lost   []string         `json:"lost,omitempty"` // what could not be read where this was made
}

// EndEpoch is one epoch of it.
type EndEpoch struct {
	Epoch   string  `json:"epoch"`
	Leaves  int64   `json:"leaves"` // size of the log as far as the file goes
	Blocks  int64   `json:"blocks"`
	Notes   int64   `json:"notes"`
	Streams []Range `json:"streams,omitempty"`
}

// Range is the numbers of a stream within which nothing should be missing.
// Single blocks outside of it are there to explain others.
type Range struct {
	Stream string `json:"stream"`
	From   uint64 `json:"from"`
	To     uint64 `json:"to"`
}

// subtree is one S frame.
type subtree struct {
	level int
	index int64
	hash  merkle.Hash
}

func (s *subtree) from() int64 { return s.index << s.level }
func (s *subtree) to() int64   { return (s.index + 1) << s.level }

func (s *subtree) append(b []byte) []byte {
	b = append(b, byte(s.level))
	b = binary.BigEndian.AppendUint64(b, uint64(s.index))
	return append(b, s.hash[:]...)
}

func decodeSubtree(b []byte) (s subtree, err error) {
	if len(b) != subtreeSize || b[0] > maxLevel || binary.BigEndian.Uint64(b[1:]) >= 1<<(maxLevel-b[0]) {
		return s, fmt.Errorf("subtree: %w", wire.ErrMalformed)
	}
	s = subtree{level: int(b[0]), index: int64(binary.BigEndian.Uint64(b[1:]))}
	copy(s.hash[:], b[9:])
	return s, nil
}

func appendBlock(b []byte, k *wire.Block, hash merkle.Hash) []byte {
	b = binary.BigEndian.AppendUint64(b, k.Leaf)
	b = append(b, hash[:]...)
	b = binary.BigEndian.AppendUint64(b, k.First)
	b = binary.BigEndian.AppendUint32(b, k.Count)
	b = append(b, k.RootBefore[:]...)
	b = append(b, byte(len(k.Stream)))
	b = append(b, k.Stream...)
	return append(b, k.Body...)
}

// decodeBlock reads a B frame; the body is a part of b.
func decodeBlock(b []byte) (k wire.Block, hash merkle.Hash, err error) {
	bad := fmt.Errorf("block: %w", wire.ErrMalformed)
	if len(b) < blockFixed || len(b) < blockFixed+int(b[blockFixed-1]) {
		return k, hash, bad
	}
	k.Leaf = binary.BigEndian.Uint64(b)
	copy(hash[:], b[8:])
	k.First = binary.BigEndian.Uint64(b[40:])
	k.Count = binary.BigEndian.Uint32(b[48:])
	copy(k.RootBefore[:], b[52:])
	name := b[blockFixed:][:b[blockFixed-1]]
	k.Stream = string(name)
	k.Body = b[blockFixed+len(name):]
	if k.Leaf >= 1<<maxLevel || k.First == 0 || k.Count == 0 || k.Count > wire.MaxRecords || k.First >= 1<<63 || !streamName(k.Stream) {
		return k, hash, bad
	}
	return k, hash, nil
}

// streamName reports whether s can be the name of a stream: short and of small letters.
func streamName(s string) bool {
	for i := range len(s) {
		if s[i] < 'a' || s[i] > 'z' {
			return false
		}
	}
	return s != "" && len(s) <= 32
}

// leafOf returns the hash of a block's leaf.
func leafOf(k *wire.Block, sum [32]byte) merkle.Hash {
	return merkle.Tree{}.Leaf(wire.LeafData(k.RootBefore, k.Stream, k.First, k.Count, sum))
}
