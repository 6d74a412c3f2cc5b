package modbus

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"

	"davy/drivers"
	"davy/drivers/tag"
)

// layout says which byte of a number, A the most significant, stands where: of
// 32 bits the order's own name; of 16 and 64 the same done to one register or four.
var layout = map[int]map[string]string{
	16: {"": "AB", "ABCD": "AB", "CDAB": "AB", "BADC": "BA", "DCBA": "BA"},
	32: {"": "ABCD", "ABCD": "ABCD", "CDAB": "CDAB", "BADC": "BADC", "DCBA": "DCBA"},
	64: {"": "ABCDEFGH", "ABCD": "ABCDEFGH", "CDAB": "GHEFCDAB", "BADC": "BADCFEHG", "DCBA": "HGFEDCBA"},
}

// meant is what bytes on the wire mean by the definition of a type, in whole
// numbers of any size; ok is false where they mean none that a reading can hold.
func meant(typ, order string, wire []byte) (v tag.Value, ok bool) {
	bits := 8 * len(wire)
	number := make([]byte, len(wire))
	for at, letter := range layout[bits][order] {
		number[letter-'A'] = wire[at]
	}
	n := new(big.Int).SetBytes(number)
	switch {
	case typ == "float32":
		sign, exponent, fraction := n.Bit(31), int(n.Uint64()>>23&255), n.Uint64()&(1<<23-1)
		f := math.Ldexp(float64(fraction)+1<<23, exponent-127-23)
		switch exponent {
		case 255:
			return tag.Value{}, false
		case 0:
			f = math.Ldexp(float64(fraction), -126-23)
		}
		if sign == 1 {
			f = -f
		}
		return tag.Float32Value(float32(f))
	case typ == "float64":
		sign, exponent, fraction := n.Bit(63), int(n.Uint64()>>52&2047), n.Uint64()&(1<<52-1)
		f := math.Ldexp(float64(fraction+1<<52), exponent-1023-52)
		switch exponent {
		case 2047:
			return tag.Value{}, false
		case 0:
			f = math.Ldexp(float64(fraction), -1022-52)
		}
		if sign == 1 {
			f = math.Copysign(f, -1)
		}
		return tag.Float64Value(f)
	case strings.HasPrefix(typ, "bcd"):
		m, good := new(big.Int).SetString(n.Text(16), 10)
		if !good {
			return tag.Value{}, false
		}
		n = m
	case strings.HasPrefix(typ, "int") && n.Bit(bits-1) == 1:
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(bits)))
	}
	if !n.IsInt64() {
		return tag.Value{}, false
	}
	return tag.IntValue(n.Int64()), true
}

// Every type in every order, at its extremes and at random: what is read is what
// the definition says, and what is written is read again.
func TestEveryTypeByItsDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for typ, bits := range map[string]int{
		"int16": 16, "uint16": 16, "int32": 32, "uint32": 32, "int64": 64, "uint64": 64, "float32": 32, "float64": 64, "bcd16": 16, "bcd32": 32,
	} {
		for order := range layout[32] {
			p := point(t, "holding 100", strings.TrimSpace(typ+" "+order))
			p.Write = true
			edges := [][]byte{{0x00}, {0xff}, {0x7f, 0xff}, {0x80, 0x00}, {0x7f, 0x80}, {0x12, 0x34}, {0x99}, {0x9a}, {0x01}}
			for range 400 {
				wire := make([]byte, bits/8)
				for i := range wire {
					wire[i] = byte(r.Uint32())
				}
				if e := edges[r.IntN(len(edges))]; r.IntN(2) == 0 {
					for i := range wire {
						wire[i] = e[min(i, len(e)-1)]
					}
				}
				if strings.HasPrefix(typ, "bcd") && r.IntN(4) > 0 {
					for i := range wire {
						wire[i] = byte(r.IntN(10)<<4 | r.IntN(10))
					}
				}
				want, ok := meant(typ, order, wire)
				got, q := Decode(&p, wire)
				if q.Good() != ok || ok && (got != want) {
					t.Fatalf("%s %s % x is %v %v, by definition %v %v", typ, order, wire, got, q, want, ok)
				}
				// The way of a request, where the usual values go another way; in a
				// range and out of it.
				for _, ranged := range []drivers.Point{p, inRange(p, got, -1, 1), inRange(p, got, 1, 2), inRange(p, got, -2, -1)} {
					got, q := Decode(&ranged, wire)
					if ok && ranged.Ranged && (q.Reason() == tag.OutOfRange) != (got.Float() < ranged.Low || got.Float() > ranged.High) {
						t.Fatalf("%s %s % x from %v to %v is %v", typ, order, wire, ranged.Low, ranged.High, q)
					}
					if up := got.Float() > ranged.High; got.Kind() != tag.None && q.Reason() == tag.OutOfRange && (q.OverRange() != up || q.Flags() == 0) {
						t.Fatalf("%s %s % x from %v to %v is %v", typ, order, wire, ranged.Low, ranged.High, q)
					}
					if v, again := reading(t, ranged, 100, string(wire)); v != got || again != q {
						t.Fatalf("%s %s % x from %v to %v is %v %v in a block, not %v %v", typ, order, wire, ranged.Low, ranged.High, v, again, got, q)
					}
				}
				if !ok || got.Float() == 0 && wire[0]|wire[len(wire)-1] != 0 {
					continue // -0 is 0
				}
				raw, err := encode(&p, got)
				if err != nil || string(raw) != string(wire) {
					t.Fatalf("%s %s: %v is written as % x, not % x: %v", typ, order, got, raw, wire, err)
				}
			}
		}
	}
}

// inRange gives an instrument a range around, below or above a value.
func inRange(p drivers.Point, v tag.Value, below, above float64) drivers.Point {
	p.Ranged, p.Low, p.High = true, v.Float()+below, v.Float()+above
	return p
}

// What does not fit is refused, to the last unit.
func TestWritesStopAtTheLastUnit(t *testing.T) {
	for typ, ends := range map[string][2]string{
		"int16": {"-32768", "32767"}, "uint16": {"0", "65535"}, "int32": {"-2147483648", "2147483647"}, "uint32": {"0", "4294967295"},
		"int64": {"-9223372036854775808", "9223372036854775807"}, "uint64": {"0", "9223372036854775807"}, "bcd16": {"0", "9999"}, "bcd32": {"0", "99999999"},
	} {
		p := point(t, "holding 100", typ)
		for i, text := range ends {
			n, _ := new(big.Int).SetString(text, 10)
			if _, err := encode(&p, tag.IntValue(n.Int64())); err != nil {
				t.Error(typ, text, err)
			}
			if n.Add(n, big.NewInt(int64(2*i-1))); !n.IsInt64() {
				continue
			}
			if raw, err := encode(&p, tag.IntValue(n.Int64())); err == nil {
				t.Errorf("%s: %v is written as % x", typ, n, raw)
			}
		}
		for _, f := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), 1 << 63, 1e300, -1e300} {
			if v, ok := tag.Float64Value(f); ok {
				if raw, err := encode(&p, v); err == nil {
					t.Errorf("%s: %v is written as % x", typ, f, raw)
				}
			}
		}
	}
}

// Fields of bits: every place and width, with a sign and without.
func TestEveryFieldOfBits(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, typ := range []string{"uint16", "int16", "uint32", "int32", "uint64", "int64"} {
		var bits int
		fmt.Sscanf(strings.TrimLeft(typ, "uint"), "%d", &bits)
		for from := range bits {
			for to := from; to < bits; to++ {
				p := point(t, "holding 100", fmt.Sprintf("%s bits %d..%d", typ, from, to))
				wire := make([]byte, bits/8)
				for i := range wire {
					wire[i] = byte(r.Uint32())
				}
				n := new(big.Int).SetBytes(wire)
				n.Rsh(n, uint(from))
				width := uint(to - from + 1)
				n.And(n, new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), width), big.NewInt(1)))
				if typ[0] == 'i' && n.Bit(int(width)-1) == 1 {
					n.Sub(n, new(big.Int).Lsh(big.NewInt(1), width))
				}
				got, q := Decode(&p, wire)
				if q.Good() != n.IsInt64() || q.Good() && got.Int() != n.Int64() {
					t.Fatalf("%s bits %d..%d of % x is %v %v, not %v", typ, from, to, wire, got, q, n)
				}
			}
		}
	}
}
