package wire

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"davy/drivers/tag"
)

// Limits of what is decoded, each an error when passed.
const (
	MaxMessage = 16 << 20 // bytes of a Signed, Envelope or Receipt
	MaxBody    = 8 << 20  // bytes of a block's body, decompressed
	MaxRecords = 1 << 14  // records of a block
	MaxItems   = 1 << 17  // records, votes, tags, names and heads within one body
	MaxName    = 200      // bytes of the name of a code
	MaxNames   = 1 << 16  // names of codes in one tag table; who makes a larger one leaves the rest out
	MaxList    = 1 << 12  // blocks of an envelope, heads, refused ranges
)

// ErrMalformed says that bytes are not the message they should be.
var ErrMalformed = errors.New("malformed")

// ErrTooLarge says that bytes pass one of the limits.
var ErrTooLarge = errors.New("too large")

// The wire types, as they stand in the low bits of a field's key.
const (
	vt  = uint64(protowire.VarintType)
	f64 = uint64(protowire.Fixed64Type)
	bt  = uint64(protowire.BytesType)
)

// visit calls f for every field of message b with its key (number<<3 | type)
// and its value: v for numbers, p (within b) for bytes. Unknown fields come
// too: f ignores what it does not know, so that a newer peer can say more.
func visit(b []byte, f func(key, v uint64, p []byte) error) error {
	return visitRaw(b, func(key, v uint64, p, _ []byte) error { return f(key, v, p) })
}

// visitRaw is visit; f is also given the bytes of the whole field.
func visitRaw(b []byte, f func(key, v uint64, p, raw []byte) error) error {
	for len(b) > 0 {
		whole := b
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return ErrMalformed
		}
		b = b[n:]
		var v uint64
		var p []byte
		switch typ {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			v, n = protowire.ConsumeFixed64(b)
		case protowire.BytesType:
			p, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 {
			return ErrMalformed
		}
		b = b[n:]
		if err := f(uint64(num)<<3|uint64(typ), v, p, whole[:len(whole)-len(b)]); err != nil {
			return err
		}
	}
	return nil
}

// own returns a copy of a field's bytes; nil for none, as it is written.
func own(p []byte) []byte {
	if len(p) == 0 {
		return nil
	}
	return bytes.Clone(p)
}

func zag(v uint64) int64 { return protowire.DecodeZigZag(v) }

func text(p []byte, dst *string) error {
	if !utf8.Valid(p) {
		return fmt.Errorf("%w: text is not UTF-8", ErrMalformed)
	}
	*dst = string(p)
	return nil
}

func fixed(p, dst []byte) error {
	if len(p) != len(dst) {
		return fmt.Errorf("%w: %d bytes where %d belong", ErrMalformed, len(p), len(dst))
	}
	copy(dst, p)
	return nil
}

// The appenders leave out what is zero, as proto3 does.

func putUint(b []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), v)
}

func putSint(b []byte, num protowire.Number, v int64) []byte {
	return putUint(b, num, protowire.EncodeZigZag(v))
}

func putBool(b []byte, num protowire.Number, v bool) []byte {
	if !v {
		return b
	}
	return putUint(b, num, 1)
}

func putFixed64(b []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendFixed64(protowire.AppendTag(b, num, protowire.Fixed64Type), v)
}

func putDouble(b []byte, num protowire.Number, v float64) []byte {
	return putFixed64(b, num, math.Float64bits(v))
}

func putBytes(b []byte, num protowire.Number, v []byte) []byte {
	if len(v) == 0 {
		return b
	}
	return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), v)
}

// putText replaces what is not UTF-8, because no reader would take it.
func putText(b []byte, num protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), s)
}

// putMessage appends a message that f appends, with its length before it.
func putMessage(b []byte, num protowire.Number, f func([]byte) []byte) []byte {
	b = protowire.AppendTag(b, num, protowire.BytesType)
	at := len(b)
	b = f(append(b, 0)) // one byte is enough for most
	n := len(b) - at - 1
	if n < 0x80 {
		b[at] = byte(n)
		return b
	}
	size := protowire.SizeVarint(uint64(n))
	b = append(b, make([]byte, size-1)...)
	copy(b[at+size:], b[at+1:at+1+n])
	protowire.AppendVarint(b[at:at], uint64(n))
	return b
}

func putValue(b []byte, num protowire.Number, v tag.Value) []byte {
	if v.Kind() == tag.None {
		return b
	}
	return putMessage(b, num, func(b []byte) []byte {
		return putFixed64(putUint(b, 1, uint64(v.Kind())), 2, v.Bits())
	})
}

func getValue(p []byte, dst *tag.Value) error {
	var kind, bits uint64
	err := visit(p, func(key, v uint64, _ []byte) error {
		switch key {
		case 1<<3 | vt:
			kind = v
		case 2<<3 | f64:
			bits = v
		}
		return nil
	})
	if err != nil {
		return err
	}
	return makeValue(kind, bits, dst)
}

func makeValue(kind, bits uint64, dst *tag.Value) error {
	v, ok := tag.Value{}, false
	if kind <= math.MaxUint8 {
		v, ok = tag.FromBits(tag.Kind(kind), bits)
	}
	if !ok {
		return fmt.Errorf("%w: no value of kind %d has the bits %x", ErrMalformed, kind, bits)
	}
	*dst = v
	return nil
}
