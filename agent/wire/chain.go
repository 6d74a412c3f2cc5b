package wire

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"strings"

	"github.com/klauspost/compress/zstd"

	"davy/drivers/tag"
)

// NextRoot returns the chain after a block, see Root.
func NextRoot(before Root, stream string, first uint64, count uint32, body []byte) Root {
	return sha256.Sum256(LeafData(before, stream, first, count, sha256.Sum256(body)))
}

// LeafData is what a block's leaf in the epoch's log says: exactly the bytes
// whose SHA-256 is the chain after the block, so that a leaf commits to the
// records, to their numbers and to all of the stream before them. sum is the
// SHA-256 of the block's body.
func LeafData(before Root, stream string, first uint64, count uint32, sum [32]byte) []byte {
	b := make([]byte, 0, 160)
	b = append(b, before[:]...)
	b = append(b, stream...)
	b = append(b, 0)
	b = binary.BigEndian.AppendUint64(b, first)
	b = binary.BigEndian.AppendUint64(b, uint64(count))
	return append(b, sum[:]...)
}

// RecordHash is the hash of one record by its name and its canonical bytes:
// SHA-256(epoch ‖ stream ‖ 0 ‖ number, 8 bytes big endian ‖ canonical). The
// canonical bytes are those of Event.Append or AppendReading: of what a block
// says, not of how it was compressed.
func RecordHash(epoch Epoch, stream string, number uint64, canonical []byte) [32]byte {
	b := make([]byte, 0, 64+len(canonical))
	b = append(b, epoch[:]...)
	b = append(b, stream...)
	b = append(b, 0)
	b = binary.BigEndian.AppendUint64(b, number)
	b = append(b, canonical...)
	return sha256.Sum256(b)
}

// AppendReading appends the canonical bytes of a reading: tag, quality (4
// bytes each), kind (1), bits, source, wall, mono (8 each), big endian.
func AppendReading(dst []byte, r tag.Reading) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(r.Tag))
	dst = binary.BigEndian.AppendUint32(dst, uint32(r.Quality))
	dst = append(dst, byte(r.Value.Kind()))
	dst = binary.BigEndian.AppendUint64(dst, r.Value.Bits())
	dst = binary.BigEndian.AppendUint64(dst, uint64(r.Source))
	dst = binary.BigEndian.AppendUint64(dst, uint64(r.Received.Wall))
	return binary.BigEndian.AppendUint64(dst, uint64(r.Received.Mono))
}

// readingSize is the length of a reading's canonical bytes.
const readingSize = 4 + 4 + 1 + 4*8

// DecodeReading reads what AppendReading wrote.
func DecodeReading(b []byte) (r tag.Reading, err error) {
	if len(b) != readingSize {
		return r, fmt.Errorf("decode reading: %d bytes, not %d", len(b), readingSize)
	}
	u := func(at int) uint64 { return binary.BigEndian.Uint64(b[at:]) }
	r.Tag = tag.ID(binary.BigEndian.Uint32(b))
	r.Quality = tag.Quality(binary.BigEndian.Uint32(b[4:]))
	r.Source = int64(u(17))
	r.Received = tag.Stamp{Wall: int64(u(25)), Mono: int64(u(33))}
	var ok bool
	if r.Value, ok = tag.FromBits(tag.Kind(b[8]), u(9)); !ok {
		return r, fmt.Errorf("decode reading: no value has kind %d and bits %#x", b[8], u(9))
	}
	return r, nil
}

// Digest is the hash of an export: SHA-256 over the RecordHash of every
// record, sorted by epoch (its bytes), stream and number. Journal and receiver
// come to the same sum exactly when they hold the same records.
type Digest struct {
	h      hash.Hash
	epoch  Epoch
	stream string
	number uint64
	Count  uint64 // records so far
}

// ErrOrder says that a record came out of order or twice.
var ErrOrder = errors.New("records out of order")

// Add adds a record. Records must come sorted.
func (d *Digest) Add(epoch Epoch, stream string, number uint64, canonical []byte) error {
	if d.h == nil {
		d.h = sha256.New()
	} else if cmp.Or(strings.Compare(string(d.epoch[:]), string(epoch[:])),
		strings.Compare(d.stream, stream), cmp.Compare(d.number, number)) >= 0 {
		return fmt.Errorf("digest %x %s %d: %w", epoch, stream, number, ErrOrder)
	}
	d.epoch, d.stream, d.number = epoch, stream, number
	sum := RecordHash(epoch, stream, number, canonical)
	d.h.Write(sum[:])
	d.Count++
	return nil
}

// Sum returns the hash of the records added.
func (d *Digest) Sum() (sum [32]byte) {
	if d.h == nil {
		return sha256.Sum256(nil)
	}
	d.h.Sum(sum[:0])
	return sum
}

// window is how far back compressed data may refer; it bounds memory on both sides.
const window = 64 << 10

// Both are made when the program starts, because they hold channels: made
// later, within one bubble of testing/synctest, they would be of no use in
// another. Untouched, their tables take address space and no memory.
var (
	encoder = newEncoder()
	decoder = newDecoder()
)

func newEncoder() *zstd.Encoder {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedDefault),
		zstd.WithWindowSize(window), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false))
	if err != nil {
		panic("BUG: wire: " + err.Error())
	}
	e.EncodeAll(nil, nil) // makes its channel
	return e
}

func newDecoder() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(MaxBody), zstd.WithDecodeAllCapLimit(false))
	if err != nil {
		panic("BUG: wire: " + err.Error())
	}
	return d
}

func pack(b []byte) []byte { return encoder.EncodeAll(b, nil) }

func unpack(body []byte) ([]byte, error) {
	b, err := decoder.DecodeAll(body, nil)
	switch {
	case errors.Is(err, zstd.ErrDecoderSizeExceeded), err == nil && len(b) > MaxBody:
		return nil, fmt.Errorf("decompress: %w", ErrTooLarge)
	case err != nil:
		return nil, fmt.Errorf("decompress: %w: %w", ErrMalformed, err)
	}
	return b, nil
}
