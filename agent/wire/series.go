package wire

import (
	"fmt"
	"math"

	"davy/drivers/tag"
)

// A series is the values of one tag within a body as long as their kind stays;
// readings without a value do not end it. Its values are whole numbers in one
// of these forms, the same for all of them and exact bit for bit; the numbers
// are stored as the first one and the differences that follow.
const (
	formTimes = 16 // + e, 1 to maxDecimals: a float is the number times the float64 nearest to 10 to the power of -e
	formBits  = 32 // a float's bits as a number: as they are where they are of a positive one, else the negative of those of its amount
	// 0: the number itself; of a float e, 0 to maxDecimals: the number over 10 to the power of e
)

const (
	maxDecimals = 9
	exact32     = 1 << 24 // up to here the numbers of a float32 are worth it: above, its bits are no longer
	exact64     = 1 << 53
)

var (
	powers  = [maxDecimals + 1]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9}
	inverse = [maxDecimals + 1]float64{1, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9}
)

func float(k tag.Kind) bool { return k == tag.Float32 || k == tag.Float64 }

// round returns the whole number nearest to f, which is no larger than exact64.
func round(f float64) int64 {
	if f < 0 {
		return int64(f - 0.5)
	}
	return int64(f + 0.5)
}

// number returns the number that stands for v in a form; ok is false where
// none does exactly.
func number(form int, v tag.Value) (m int64, ok bool) {
	k := v.Kind()
	if !float(k) {
		return int64(v.Bits()), true
	}
	if form == formBits {
		return signed(k, v.Bits()), true
	}
	f, most := v.Float(), float64(exact64)
	if k == tag.Float32 {
		most = exact32
	}
	if form > formTimes {
		f = float64(f * powers[form-formTimes])
	} else {
		f = float64(f * powers[form])
	}
	if math.Abs(f) > most {
		return 0, false
	}
	m = round(f)
	bits, _ := restore(form, k, m)
	return m, bits == v.Bits()
}

// restore returns the bits of a value that the number stands for. ok is false
// for a form that the kind does not have; whether a value has these bits is
// another question.
func restore(form int, k tag.Kind, m int64) (bits uint64, ok bool) {
	if !float(k) {
		return uint64(m), form == 0
	}
	var f float64
	switch {
	case form == formBits:
		return unsigned(k, m), true
	case form <= maxDecimals:
		f = float64(m) / powers[form]
	case form > formTimes && form <= formTimes+maxDecimals:
		f = float64(m) * inverse[form-formTimes]
	default:
		return 0, false
	}
	if k == tag.Float32 {
		return uint64(math.Float32bits(float32(f))), true
	}
	return math.Float64bits(f), true
}

// signed turns the bits of a float into a number that grows with it.
func signed(k tag.Kind, bits uint64) int64 {
	if k == tag.Float32 {
		if bits>>31 == 1 {
			return -int64(bits & math.MaxInt32)
		}
		return int64(bits)
	}
	if bits>>63 == 1 {
		return -int64(bits & math.MaxInt64)
	}
	return int64(bits)
}

func unsigned(k tag.Kind, m int64) uint64 {
	switch {
	case m >= 0:
		return uint64(m)
	case k == tag.Float32:
		return 1<<31 | uint64(-m)
	}
	return 1<<63 | uint64(-m)
}

// step returns the difference between two numbers of a series, unstep its
// inverse. The bits of a float32 are 32, so that their differences fit 32 too.
func step(form int, k tag.Kind, from, to int64) uint64 {
	d := to - from
	if form == formBits && k == tag.Float32 {
		d = int64(int32(d))
	}
	return uint64(d<<1) ^ uint64(d>>63)
}

// series appends the values vs of one kind: its form and widths, its first
// number and the differences.
func (e *columns) series(vs []tag.Value) {
	k := vs[0].Kind()
	form := e.form(vs)
	first := step(form, k, 0, e.numbers[0])
	var all uint64
	for i, m := range e.numbers[1:] {
		all |= step(form, k, e.numbers[i], m)
	}
	w, d := width(first), width(all)
	e.forms = append(e.forms, byte(form))
	e.widths = append(e.widths, byte(w<<4|d))
	e.firsts[w] = append(e.firsts[w], first)
	if d > 0 {
		for i, m := range e.numbers[1:] {
			e.deltas[d] = append(e.deltas[d], step(form, k, e.numbers[i], m))
		}
	}
}

// form finds the first form that all of vs have, and their numbers.
func (e *columns) form(vs []tag.Value) int {
	if !float(vs[0].Kind()) {
		e.fill(0, vs)
		return 0
	}
	for n := range maxDecimals + 1 {
		if e.fill(n, vs) {
			return n
		}
		if n > 0 && vs[0].Kind() == tag.Float64 && e.fill(formTimes+n, vs) {
			return formTimes + n
		}
	}
	e.fill(formBits, vs)
	return formBits
}

func (e *columns) fill(form int, vs []tag.Value) bool {
	e.numbers = e.numbers[:0]
	for i := range vs {
		m, ok := number(form, vs[i])
		if !ok {
			return false
		}
		e.numbers = append(e.numbers, m)
	}
	return true
}

// value is the inverse of number: the next value of a series, the number
// before which is last.
func value(form int, k tag.Kind, last *int64, delta uint64, dst *tag.Value) error {
	*last += zag(delta)
	if form == formBits && k == tag.Float32 {
		*last = int64(int32(*last))
	}
	bits, ok := restore(form, k, *last)
	if !ok {
		return fmt.Errorf("%w: values of kind %d have no form %d", ErrMalformed, k, form)
	}
	return makeValue(uint64(k), bits, dst)
}
