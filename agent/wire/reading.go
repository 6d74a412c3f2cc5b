package wire

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"davy/drivers/tag"
)

// The columns of a ReadingBody, by field number.
const (
	colTag = iota + 1
	colWall
	colMono
	colSource
	colQuality
	colKind
	colBits
	columns
)

func integer(k tag.Kind) bool { return k == tag.Int || k == tag.Enum }

// EncodeReadings returns the compressed body of a block of the stream
// reading. More than MaxRecords readings are a programmer's error.
func EncodeReadings(readings []tag.Reading) []byte {
	if len(readings) > MaxRecords {
		panic("BUG: wire: too many readings for one block")
	}
	return pack(appendColumns(nil, readings))
}

// appendColumns appends the ReadingBody of readings.
func appendColumns(b []byte, readings []tag.Reading) []byte {
	var col [columns][]byte
	put := func(c int, v uint64) { col[c] = protowire.AppendVarint(col[c], v) }
	sint := func(c int, v int64) { put(c, protowire.EncodeZigZag(v)) }
	last := map[tag.ID]int{}
	var before tag.Stamp
	sourced := false
	for i := range readings {
		r := &readings[i]
		var same tag.Reading // the record before of the same tag
		if k, ok := last[r.Tag]; ok {
			same = readings[k]
		}
		last[r.Tag] = i
		put(colTag, uint64(r.Tag))
		sint(colWall, r.Received.Wall-before.Wall)
		sint(colMono, r.Received.Mono-before.Mono)
		before = r.Received
		sint(colSource, r.Source-r.Received.Wall)
		sourced = sourced || r.Source != 0
		put(colQuality, uint64(r.Quality^same.Quality))
		put(colKind, uint64(r.Value.Kind()^same.Value.Kind()))
		if integer(r.Value.Kind()) {
			sint(colBits, int64(r.Value.Bits()-same.Value.Bits()))
		} else {
			put(colBits, r.Value.Bits()^same.Value.Bits())
		}
	}
	if !sourced {
		col[colSource] = nil
	}
	for c := colTag; c < columns; c++ {
		b = putBytes(b, protowire.Number(c), col[c])
	}
	return b
}

// DecodeReadings reads the body of a block of the stream reading.
func DecodeReadings(body []byte) ([]tag.Reading, error) {
	b, err := unpack(body)
	if err != nil {
		return nil, fmt.Errorf("decode readings: %w", err)
	}
	readings, err := decodeColumns(b, MaxRecords)
	if err != nil {
		return nil, fmt.Errorf("decode readings: %w", err)
	}
	return readings, nil
}

// decodeColumns reads a ReadingBody of at most limit readings.
func decodeColumns(b []byte, limit int) ([]tag.Reading, error) {
	var col [columns][]byte
	err := visit(b, func(key, v uint64, p []byte) error {
		c := key >> 3
		if c < colTag || c >= columns {
			return nil
		}
		switch {
		case key&7 == bt && col[c] == nil:
			col[c] = p[:len(p):len(p)]
		case key&7 == bt: // a column may come in pieces
			col[c] = append(col[c], p...)
		case key&7 == vt: // or not packed
			col[c] = protowire.AppendVarint(col[c], v)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	n := 0
	for _, x := range col[colTag] {
		if x < 0x80 {
			n++
		}
	}
	if n > limit {
		return nil, ErrTooLarge
	}
	next := func(c int) (v uint64) {
		v, k := protowire.ConsumeVarint(col[c])
		if k < 0 {
			err = fmt.Errorf("%w: column %d ends early", ErrMalformed, c)
			return 0
		}
		col[c] = col[c][k:]
		return v
	}
	sourced := len(col[colSource]) > 0
	readings := make([]tag.Reading, n)
	last := make(map[tag.ID]int, min(n, 256))
	var before tag.Stamp
	for i := range readings {
		r := &readings[i]
		id := next(colTag)
		r.Tag = tag.ID(id)
		var same tag.Reading
		if k, ok := last[r.Tag]; ok {
			same = readings[k]
		}
		last[r.Tag] = i
		r.Received.Wall = before.Wall + zag(next(colWall))
		r.Received.Mono = before.Mono + zag(next(colMono))
		before = r.Received
		if sourced {
			r.Source = r.Received.Wall + zag(next(colSource))
		}
		q := next(colQuality)
		r.Quality = same.Quality ^ tag.Quality(q)
		k := next(colKind)
		kind := k ^ uint64(same.Value.Kind())
		bits := next(colBits)
		if err == nil && (id > maxUint32 || q > maxUint32 || !r.Quality.Valid()) {
			err = fmt.Errorf("%w: tag %d has no quality %x", ErrMalformed, id, uint32(r.Quality))
		}
		if integer(tag.Kind(kind)) {
			bits = uint64(zag(bits)) + same.Value.Bits()
		} else {
			bits ^= same.Value.Bits()
		}
		if err == nil {
			err = makeValue(kind, bits, &r.Value)
		}
		if err != nil {
			return nil, err
		}
	}
	for c := colTag; c < columns; c++ {
		if len(col[c]) > 0 {
			return nil, fmt.Errorf("%w: column %d is longer than the others", ErrMalformed, c)
		}
	}
	return readings, nil
}

const maxUint32 = 1<<32 - 1
