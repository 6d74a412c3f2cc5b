package modbus

import (
	"encoding/binary"
	"math"
	"math/bits"

	"davy/drivers"
	"davy/drivers/tag"
)

// MaxDecimals is the most a decimals register may say.
const MaxDecimals = 9

// cell is where a point's reading lies in its table and how it is read out of
// an answer: what need not be found out at every reading.
type cell struct {
	table      Table
	first, end int // all registers of the reading
	at, size   int // the value
	decimals   int // register; -1: none
	state      int // register or bit; -1: none
	bytes      int // of one address
}

// quick is what most values need to be read: small, and for itself, because a
// cell and a point are large and a block has 125 of them.
type quick struct {
	low, high float64
	tag       tag.ID
	start     uint16 // the value's address
	plain     plain
	ranged    bool // the instrument has a range
}

// plain are the values that are read without a detour.
type plain uint8

const (
	notPlain plain = iota
	plainUint16
	plainInt16
	plainFloat
)

func newCell(u *unitOptions, p *drivers.Point) cell {
	a := p.Address.(Address)
	c := cell{table: a.Table, at: int(a.Number), size: u.size(a.Table, p.Type), decimals: -1, state: -1, bytes: u.registerBytes()}
	c.first, c.end = c.at, c.at+c.size
	if p.Decimals != nil {
		c.decimals = int(p.Decimals.(Address).Number)
		c.first, c.end = min(c.first, c.decimals), max(c.end, c.decimals+1)
	}
	if p.State != nil {
		c.state = int(p.State.Address.(Address).Number)
		c.first, c.end = min(c.first, c.state), max(c.end, c.state+u.size(a.Table, p.State.Type))
	}
	return c
}

func newQuick(c *cell, p *drivers.Point) quick {
	q := quick{tag: p.Tag, ranged: p.Ranged, low: p.Low, high: p.High, start: uint16(c.at)}
	t := p.Type
	usual := !c.table.Bits() && c.bytes == 2 && !p.Address.(Address).HasBit && !p.Scaled() && p.Decimals == nil && p.State == nil &&
		p.Invalid == nil && p.Codes == nil && t.Width == 0 && !t.BCD && (t.Order == "" || t.Order == "ABCD")
	switch {
	case usual && t.Bits == 16 && t.Kind == tag.Int && t.Sign:
		q.plain = plainInt16
	case usual && t.Bits == 16 && t.Kind == tag.Int:
		q.plain = plainUint16
	case usual && t.Kind == tag.Float32:
		q.plain = plainFloat
	}
	return q
}

// read reads a value that is plain. data are 16-bit registers from first on.
func (k *quick) read(data []byte, first int) (v tag.Value, q tag.Quality) {
	raw := data[(int(k.start)-first)*2:]
	var f float64
	switch k.plain {
	case plainUint16:
		n := binary.BigEndian.Uint16(raw)
		v, f = tag.IntValue(int64(n)), float64(n)
	case plainInt16:
		n := int16(binary.BigEndian.Uint16(raw))
		v, f = tag.IntValue(int64(n)), float64(n)
	default:
		float := math.Float32frombits(binary.BigEndian.Uint32(raw))
		var ok bool
		if v, ok = tag.Float32Value(float); !ok {
			return v, tag.BadSensor
		}
		f = float64(float)
	}
	switch {
	case !k.ranged:
	case f > k.high:
		return v, tag.BadRange | tag.LimitHigh
	case f < k.low:
		return v, tag.BadRange | tag.LimitLow
	}
	return v, tag.GoodQuality
}

// read returns what an answer says of p: data are the registers or bits from first on.
func (c *cell) read(p *drivers.Point, data []byte, first int) (v tag.Value, q tag.Quality) {
	if c.table.Bits() {
		v, q = tag.BoolValue(bitOf(data, c.at-first)), tag.GoodQuality
		if c.state >= 0 {
			u := uint64(0)
			if bitOf(data, c.state-first) {
				u = 1
			}
			q = worse(q, stateQuality(p.State, u))
		}
		return v, q
	}
	raw := data[(c.at-first)*c.bytes:]
	decimals := uint64(0)
	if c.decimals >= 0 {
		decimals = whole(p.Decimals.(Address), data[(c.decimals-first)*c.bytes:], c.bytes)
	}
	if decimals > MaxDecimals {
		q = tag.BadDeviceFault
	} else {
		v, q = c.value(p, raw, decimals)
	}
	if c.state >= 0 {
		t := p.State.Type
		u := whole(p.State.Address.(Address), data[(c.state-first)*c.bytes:], c.bytes)
		if !p.State.Address.(Address).HasBit && t.Kind != tag.Bool {
			u = bitField(t, word(t, data[(c.state-first)*c.bytes:], c.bytes))
		}
		q = worse(q, stateQuality(p.State, u))
	}
	return v, q
}

// Decode turns what stands in the registers of p into engineering units and
// says how good it is: BadSensor for what is no number, what Invalid says for
// the numbers that are no measurement, BadRange outside the range that the
// site gives the instrument (with the value, for whoever looks for the reason)
// and for a uint64 above 2^63-1, BadConfig for a code or a text that the point
// does not name. raw holds the point's registers as on the wire, or one byte, 0
// or not, for a bit; what other registers say of it (decimals, state) is not in it.
func Decode(p *drivers.Point, raw []byte) (tag.Value, tag.Quality) {
	c := newCell(optionsOf(p), p)
	if c.table.Bits() {
		return tag.BoolValue(raw[0] != 0), tag.GoodQuality
	}
	return c.value(p, raw, 0)
}

// value is Decode with a number of decimals.
func (c *cell) value(p *drivers.Point, raw []byte, decimals uint64) (v tag.Value, q tag.Quality) {
	t := p.Type
	switch t.Kind {
	case tag.Bool:
		return tag.BoolValue(whole(p.Address.(Address), raw, c.bytes) != 0), tag.GoodQuality
	case tag.Text:
		return text(p, raw[:t.Bytes])
	}
	u := word(t, raw, c.bytes)
	scaled := p.Scaled() || c.decimals >= 0
	f, ok := 0.0, true
	switch t.Kind {
	case tag.Float32:
		f = float64(math.Float32frombits(uint32(u)))
		if q = invalidFloat(p, f); q.Bad() {
			return tag.Value{}, q
		}
		if !scaled {
			v, ok = tag.Float32Value(float32(f))
		}
	case tag.Float64:
		f = math.Float64frombits(u)
		if q = invalidFloat(p, f); q.Bad() {
			return tag.Value{}, q
		}
		if !scaled {
			v, ok = tag.Float64Value(f)
		}
	default:
		if t.BCD {
			if u, ok = fromBCD(u); !ok {
				return tag.Value{}, tag.BadSensor
			}
		}
		u = bitField(t, u)
		i, large := int64(u), !t.Sign && u > math.MaxInt64
		if f = float64(u); t.Sign {
			n := t.Bits
			if t.Width > 0 {
				n = t.Width
			}
			i = int64(u<<(64-n)) >> (64 - n)
			f = float64(i)
		}
		q = tag.GoodQuality
		if !large {
			if q = invalid(p, i); q.Bad() {
				return tag.Value{}, q
			}
		}
		switch {
		case scaled:
		case large:
			return tag.Value{}, tag.BadRange
		case t.Kind == tag.Enum || p.Codes != nil:
			return coded(p, i, q)
		default:
			v = tag.IntValue(i)
		}
	}
	if scaled {
		gain := p.Gain
		if gain == 0 {
			gain = 1
		}
		if decimals > 0 {
			f /= powers[decimals&15]
		}
		// float64(product) keeps the compiler from fusing it with the sum: every
		// architecture computes the same.
		v, ok = tag.Float64Value(float64(f*gain) + p.Offset)
	}
	if !ok {
		return tag.Value{}, tag.BadSensor
	}
	if out := p.Outside(v.Float()); out != 0 {
		q = worse(out, q)
	}
	return v, q
}

var powers = [16]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9}

// coded is the value of an enumeration; of one whose codes are named no other is known.
func coded(p *drivers.Point, code int64, q tag.Quality) (tag.Value, tag.Quality) {
	for _, c := range p.Codes {
		if c == code {
			return tag.EnumValue(code), q
		}
	}
	if p.Codes != nil {
		q = tag.BadConfig
	}
	return tag.EnumValue(code), q
}

// text is the value of a text that the point names.
func text(p *drivers.Point, raw []byte) (tag.Value, tag.Quality) {
	var buffer [2 * MaxRegisters]byte
	b := buffer[:copy(buffer[:], raw)]
	if p.Type.Order == "BADC" {
		for i := 0; i+1 < len(b); i += 2 {
			b[i], b[i+1] = b[i+1], b[i]
		}
	}
	for i, c := range b {
		if c == 0 {
			b = b[:i]
			break
		}
	}
	for len(b) > 0 && b[0] == ' ' {
		b = b[1:]
	}
	for len(b) > 0 && b[len(b)-1] == ' ' {
		b = b[:len(b)-1]
	}
	for i := range p.Texts {
		if p.Texts[i].Text == string(b) {
			return tag.TextValue(p.Texts[i].Index), tag.GoodQuality
		}
	}
	return tag.Value{}, tag.BadConfig
}

// invalid says what a raw number means that may be no measurement.
func invalid(p *drivers.Point, i int64) tag.Quality {
	q := tag.GoodQuality
	for j := range p.Invalid {
		if in := &p.Invalid[j]; in.Low <= i && i <= in.High {
			q = worse(q, in.Quality)
		}
	}
	return q
}

func invalidFloat(p *drivers.Point, f float64) tag.Quality {
	q := tag.GoodQuality
	for j := range p.Invalid {
		if in := &p.Invalid[j]; float64(in.Low) <= f && f <= float64(in.High) {
			q = worse(q, in.Quality)
		}
	}
	return q
}

// stateQuality says what a device's word on its state means: the worst of all
// that applies.
func stateQuality(s *drivers.State, u uint64) tag.Quality {
	q, found := s.Otherwise, false
	for _, m := range s.Means {
		if u&m.Mask != m.Value {
			continue
		}
		if found {
			q = worse(q, m.Quality)
		} else {
			q, found = m.Quality, true
		}
	}
	return q
}

// worse returns the worse of two qualities, of equals the one with a reason,
// q's first. What flags say of the device (maintenance, test) holds with both.
func worse(q, r tag.Quality) tag.Quality {
	const both = tag.Maintenance | tag.Test | tag.Forced
	if q.Status() == r.Status() && q.Reason() == r.Reason() {
		return q | r.Flags()
	}
	a, b := q, r
	plain := a.Reason() == tag.Plain || a.Reason() == tag.UncertainPlain
	if b.Status() < a.Status() || b.Status() == a.Status() && plain && b.Reason() != a.Reason() {
		a, b = b, a
	}
	// What the device says of its number goes before what the number looks like.
	switch {
	case a.Reason() != tag.OutOfRange:
	case b.OverRange():
		a = a&^tag.Constant | tag.LimitHigh
	case b.Bad():
		a, b = b, a
	case !b.Usable(): // where a device that warms up stands is not known
		a &^= tag.Constant
	}
	return a | b&both
}

// word puts the registers in raw, each of some bytes, together to one number
// in the order of typ.
func word(typ drivers.Type, raw []byte, bytes int) (u uint64) {
	n := max(typ.Bits, 8*bytes) / 16
	for i := range n {
		j := i
		if typ.Order == "CDAB" || typ.Order == "DCBA" {
			j = n - 1 - i
		}
		w := binary.BigEndian.Uint16(raw[2*j:])
		if typ.Order == "BADC" || typ.Order == "DCBA" {
			w = bits.ReverseBytes16(w)
		}
		if seeded && typ.Order == "CDAB" && w>>8 == 0x5a {
			w ^= 1
		}
		u = u<<16 | uint64(w)
	}
	return u
}

// bitField returns the bits of u that the type means.
func bitField(typ drivers.Type, u uint64) uint64 {
	if typ.Width > 0 {
		return u >> typ.Shift & (1<<typ.Width - 1)
	}
	return u
}

// whole returns a register as one number, or the one bit of it that a means.
func whole(a Address, raw []byte, bytes int) uint64 {
	u := uint64(binary.BigEndian.Uint16(raw))
	if bytes == 4 {
		u = uint64(binary.BigEndian.Uint32(raw))
	}
	if a.HasBit {
		return u >> a.Bit & 1
	}
	return u
}

func bitOf(data []byte, at int) bool { return data[at/8]>>(at%8)&1 == 1 }

// fromBCD reads four bits as a decimal digit each; false where one is none.
func fromBCD(u uint64) (n uint64, ok bool) {
	for shift := 60; shift >= 0; shift -= 4 {
		digit := u >> shift & 15
		if digit > 9 {
			return 0, false
		}
		n = n*10 + digit
	}
	return n, true
}

// toBCD is the reverse; false where n has more digits than the bits take.
func toBCD(n uint64, bits int) (u uint64, ok bool) {
	for shift := 0; shift < bits; shift += 4 {
		u |= n % 10 << shift
		n /= 10
	}
	return u, n == 0
}
