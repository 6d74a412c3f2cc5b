package wire

import (
	"fmt"
	"math/bits"

	"google.golang.org/protobuf/encoding/protowire"
)

// width returns how many bytes a number takes.
func width(v uint64) int { return (bits.Len64(v) + 7) / 8 }

// appendPlanes appends numbers of w bytes each: first the lowest byte of all,
// then the second of all, and so on, so that what is alike lies together.
func appendPlanes(b []byte, w int, numbers []uint64) []byte {
	for k := range w {
		for _, v := range numbers {
			b = append(b, byte(v>>(8*k)))
		}
	}
	return b
}

// plane returns number i of n that appendPlanes wrote to b.
func plane(b []byte, w, i, n int) (v uint64) {
	for k := range w {
		v |= uint64(b[k*n+i]) << (8 * k)
	}
	return v
}

// appendNumbers appends the width of the largest number, and the planes.
// Nothing is appended where all are 0.
func appendNumbers(b []byte, numbers []uint64) []byte {
	var all uint64
	for _, v := range numbers {
		all |= v
	}
	w := width(all)
	if w == 0 {
		return b
	}
	return appendPlanes(append(b, byte(w)), w, numbers)
}

// numbers reads what appendNumbers wrote.
type numbers struct {
	b       []byte
	w, i, n int
}

func newNumbers(b []byte, n int, column int) (numbers, error) {
	if len(b) == 0 {
		return numbers{}, nil
	}
	x := numbers{b: b[1:], w: int(b[0]), n: n}
	if x.w < 1 || x.w > 8 || len(x.b) != x.w*n {
		return x, fmt.Errorf("%w: column %d has %d bytes for %d numbers of %d", ErrMalformed, column, len(x.b), n, x.w)
	}
	return x, nil
}

func (x *numbers) next() uint64 {
	x.i++
	return plane(x.b, x.w, x.i-1, x.n)
}

// classes are numbers by their width; those of width 0 take nothing.
type classes [9][]uint64

func (c *classes) append(b []byte) []byte {
	for w := 1; w < len(c); w++ {
		b = appendPlanes(b, w, c[w])
	}
	return b
}

// classed reads what classes appended.
type classed struct {
	b    [9][]byte
	i, n [9]int
}

// newClassed reads n[w] numbers of each width w.
func newClassed(b []byte, n [9]int, column int) (c classed, err error) {
	c.n = n
	for w := 1; w < len(n); w++ {
		size := w * n[w] // at most 8 times MaxRecords
		if size > len(b) {
			return c, fmt.Errorf("%w: column %d ends early", ErrMalformed, column)
		}
		c.b[w], b = b[:size], b[size:]
	}
	if len(b) > 0 {
		return c, fmt.Errorf("%w: column %d is longer than its numbers", ErrMalformed, column)
	}
	return c, nil
}

func (c *classed) next(w int) uint64 {
	c.i[w]++
	return plane(c.b[w], w, c.i[w]-1, c.n[w])
}

// run writes what comes one after the other as pairs: how many, of what.
type run struct {
	to *[]byte
	v  uint64
	n  uint64
}

func (r *run) add(v uint64) {
	if v != r.v {
		r.end()
		r.v = v
	}
	r.n++
}

func (r *run) end() {
	if r.n > 0 {
		*r.to = protowire.AppendVarint(protowire.AppendVarint(*r.to, r.n), r.v)
	}
	r.n = 0
}

// varints reads a packed column. After its end every number is 0, and bad.
type varints struct {
	b   []byte
	bad bool
}

func (x *varints) next() uint64 {
	v, k := protowire.ConsumeVarint(x.b)
	if k < 0 {
		x.bad = true
		return 0
	}
	x.b = x.b[k:]
	return v
}

// runs reads what run wrote.
type runs struct {
	varints
	v, left uint64
}

func (r *runs) next() uint64 {
	if r.left == 0 {
		r.left, r.v = r.varints.next(), r.varints.next()
		r.bad = r.bad || r.left == 0
	}
	r.left--
	return r.v
}

// ended returns an error unless the column was read exactly to its end.
func (x *varints) ended(column int) error {
	if x.bad || len(x.b) > 0 {
		return fmt.Errorf("%w: column %d has not one entry per record", ErrMalformed, column)
	}
	return nil
}
