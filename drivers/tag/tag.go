// Package tag is the vocabulary every other package speaks: a tag has a name
// and an id, a reading is a value with a quality and two times.
//
// It promises that the zero value of everything is the safe one: the zero
// Quality is bad (never read), the zero Value holds nothing, the zero Reading
// is therefore a bad reading of no tag. Nothing here does I/O, looks at a
// clock, holds a pointer or allocates; a []Reading is never scanned by the
// garbage collector. It imports the standard library only.
package tag

import (
	"math"
	"strconv"
)

// Name is what people call a tag: "device.point", for example "comp1.discharge-temp".
type Name string

// ID is the index of a tag in its plan: dense, from 1. 0 is no tag.
type ID uint32

// Stamp is one instant on two clocks, in nanoseconds. Wall is UTC since 1970
// and may be wrong or step; Mono counts since boot, never steps, and is the
// only one that freshness, delays and votes are computed with.
type Stamp struct{ Wall, Mono int64 }

// Kind says what a Value holds.
type Kind uint8

// The kinds of a value. None is the kind of the zero Value.
const (
	None Kind = iota
	Bool
	Int
	Float32
	Float64
	Enum
	Text
)

// Value is one value of any kind, comparable with ==, never a NaN and never a
// negative zero, so that equal values are equal bits. It takes 16 bytes on
// every architecture: on 32 bits Go aligns a uint64 to 4 bytes, hence the padding.
type Value struct {
	kind Kind
	_    uint32 // the same size on every architecture; an array here would keep a Value out of registers
	bits uint64
}

// BoolValue returns b as a Value.
func BoolValue(b bool) Value {
	if b {
		return Value{kind: Bool, bits: 1}
	}
	return Value{kind: Bool}
}

// IntValue returns i as a Value.
func IntValue(i int64) Value { return Value{kind: Int, bits: uint64(i)} }

// EnumValue returns the code of an enumeration as a Value.
func EnumValue(code int64) Value { return Value{kind: Enum, bits: uint64(code)} }

// TextValue returns an index into the plan's table of texts as a Value.
func TextValue(index uint32) Value { return Value{kind: Text, bits: uint64(index)} }

// Float32Value returns f as a Value; ok is false for a NaN or an infinity,
// which no Value can hold: the reading is bad then.
func Float32Value(f float32) (v Value, ok bool) {
	if f != f || math.IsInf(float64(f), 0) {
		return Value{}, false
	}
	return Value{kind: Float32, bits: uint64(math.Float32bits(f + 0))}, true // +0 turns -0 into 0
}

// Float64Value returns f as a Value; ok is false for a NaN or an infinity.
func Float64Value(f float64) (v Value, ok bool) {
	if f != f || math.IsInf(f, 0) {
		return Value{}, false
	}
	return Value{kind: Float64, bits: math.Float64bits(f + 0)}, true
}

// Kind returns what v holds.
func (v Value) Kind() Kind { return v.kind }

// Bits returns the raw 64 bits, for encoding; see FromBits.
func (v Value) Bits() uint64 { return v.bits }

// FromBits rebuilds a Value from Kind and Bits as they came from elsewhere;
// ok is false where no Value has these (an unknown kind, a NaN, a -0, bits
// that the kind does not use).
func FromBits(k Kind, bits uint64) (v Value, ok bool) {
	switch k {
	case None:
		return Value{}, bits == 0
	case Bool:
		return Value{kind: Bool, bits: bits & 1}, bits <= 1
	case Int, Enum:
		return Value{kind: k, bits: bits}, true
	case Text:
		return Value{kind: k, bits: bits & math.MaxUint32}, bits <= math.MaxUint32
	case Float32:
		if bits > math.MaxUint32 {
			return Value{}, false
		}
		v, ok = Float32Value(math.Float32frombits(uint32(bits)))
	case Float64:
		v, ok = Float64Value(math.Float64frombits(bits))
	}
	return v, ok && v.bits == bits
}

// True reports whether v is a true Bool or a number that is not 0.
func (v Value) True() bool { return v.Float() != 0 }

// Int returns v as an integer; floats are truncated, None is 0.
func (v Value) Int() int64 {
	switch v.kind {
	case Float32, Float64:
		return int64(v.Float())
	}
	return int64(v.bits)
}

// Float returns v as a float64 of the same number; None is 0.
func (v Value) Float() float64 {
	switch v.kind {
	case Float64:
		return math.Float64frombits(v.bits)
	case Float32:
		return float64(math.Float32frombits(uint32(v.bits)))
	case Int, Enum:
		return float64(int64(v.bits))
	}
	return float64(v.bits)
}

// String prints v for logs, the shortest form that reads back.
func (v Value) String() string {
	switch v.kind {
	case None:
		return "-"
	case Bool:
		if v.bits == 1 {
			return "true"
		}
		return "false"
	case Float32:
		return strconv.FormatFloat(v.Float(), 'g', -1, 32)
	case Float64:
		return strconv.FormatFloat(v.Float(), 'g', -1, 64)
	case Int, Enum:
		return strconv.FormatInt(int64(v.bits), 10)
	}
	return "text#" + strconv.FormatUint(v.bits, 10)
}

// Reading is what is known of one tag at one time.
type Reading struct {
	Tag      ID
	Quality  Quality
	Value    Value
	Source   int64 // what the source says, ns since 1970, 0 if absent; data, never used for freshness
	Received Stamp // when Davy got it
}
