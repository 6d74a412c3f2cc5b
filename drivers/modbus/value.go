package modbus

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"strings"

	"davy/drivers"
	"davy/drivers/tag"
)

var types = map[string]drivers.Type{
	"int16":   {Kind: tag.Int, Bits: 16, Sign: true},
	"uint16":  {Kind: tag.Int, Bits: 16},
	"int32":   {Kind: tag.Int, Bits: 32, Sign: true},
	"uint32":  {Kind: tag.Int, Bits: 32},
	"int64":   {Kind: tag.Int, Bits: 64, Sign: true},
	"uint64":  {Kind: tag.Int, Bits: 64},
	"float32": {Kind: tag.Float32, Bits: 32},
	"float64": {Kind: tag.Float64, Bits: 64},
}

const typeNames = "bool, int16, uint16, int32, uint32, int64, uint64, float32, float64"

// parseType reads "float32 CDAB". The order says where the bytes of the
// number, A the most significant, stand in the registers: ABCD big-endian (the
// default), CDAB the registers swapped, BADC the bytes in each register
// swapped, DCBA both; of 64 bits likewise. "" is bool for a bit and uint16 for
// a register. A bool of a whole register is true when it is not 0.
func parseType(a Address, s string) (drivers.Type, error) {
	fields := strings.Fields(s)
	args := map[string]any{"text": s, "types": typeNames, "at": a.String()}
	if len(fields) > 2 {
		return drivers.Type{}, wrong("modbus.type-unknown", "modbus.type", args)
	}
	bit := a.Table.Bits() || a.HasBit
	name := "uint16"
	if bit {
		name = "bool"
	}
	if len(fields) > 0 {
		name = strings.ToLower(fields[0])
	}
	t, ok := types[name]
	if name == "bool" {
		t, ok = drivers.Type{Kind: tag.Bool, Bits: 16}, true
		if a.Table.Bits() {
			t.Bits = 1
		}
	}
	switch {
	case !ok:
		return drivers.Type{}, wrong("modbus.type-unknown", "modbus.type", args)
	case bit && name != "bool":
		return drivers.Type{}, wrong("modbus.type-of-bit", "modbus.type-of-bit", args)
	case bit && len(fields) == 2:
		return drivers.Type{}, wrong("modbus.order-of-bit", "", args)
	}
	if t.Bits > 16 {
		t.Order = "ABCD"
	}
	if len(fields) == 2 {
		switch order := strings.ToUpper(fields[1]); order {
		case "ABCD", "CDAB", "BADC", "DCBA":
			t.Order = order
		default:
			args["order"] = fields[1]
			return drivers.Type{}, wrong("modbus.order-unknown", "modbus.order", args)
		}
	}
	if int(a.Number)+size(a.Table, t) > 65536 {
		return drivers.Type{}, wrong("address.past-end", "", args)
	}
	return t, nil
}

// size returns how many registers or bits of the table a point takes.
func size(t Table, typ drivers.Type) int {
	if t.Bits() || typ.Bits < 16 {
		return 1
	}
	return typ.Bits / 16
}

// word puts the registers in raw together to one number in the order of typ.
func word(typ drivers.Type, raw []byte) (u uint64) {
	n := typ.Bits / 16
	for i := range n {
		j := i
		if typ.Order == "CDAB" || typ.Order == "DCBA" {
			j = n - 1 - i
		}
		w := binary.BigEndian.Uint16(raw[2*j:])
		if typ.Order == "BADC" || typ.Order == "DCBA" {
			w = bits.ReverseBytes16(w)
		}
		u = u<<16 | uint64(w)
	}
	return u
}

// Decode turns what stands in the registers of p into engineering units and
// says how good it is: BadSensor for what is no number, BadRange outside the
// range that the site gives the instrument (with the value, for whoever looks
// for the reason) and for a uint64 above 2^63-1. raw holds the point's
// registers as on the wire, or one byte, 0 or not, for a bit.
func Decode(p *drivers.Point, raw []byte) (tag.Value, tag.Quality) {
	a := p.Address.(Address)
	if a.Table.Bits() {
		return tag.BoolValue(raw[0] != 0), tag.GoodQuality
	}
	u := word(p.Type, raw)
	if a.HasBit {
		return tag.BoolValue(u>>a.Bit&1 == 1), tag.GoodQuality
	}
	// float64(product) keeps the compiler from fusing it with the sum: every
	// architecture computes the same.
	gain, scaled := p.Gain, p.Scaled()
	if gain == 0 {
		gain = 1
	}
	v, ok := tag.Value{}, true
	switch p.Type.Kind {
	case tag.Bool:
		return tag.BoolValue(u != 0), tag.GoodQuality
	case tag.Float32:
		f := math.Float32frombits(uint32(u))
		if scaled {
			v, ok = tag.Float64Value(float64(float64(f)*gain) + p.Offset)
		} else {
			v, ok = tag.Float32Value(f)
		}
	case tag.Float64:
		v, ok = tag.Float64Value(float64(math.Float64frombits(u)*gain) + p.Offset)
	default:
		f := float64(u)
		if p.Type.Sign {
			shift := 64 - p.Type.Bits
			i := int64(u<<shift) >> shift
			u, f = uint64(i), float64(i)
		} else if u > math.MaxInt64 && !scaled {
			return tag.Value{}, tag.BadRange
		}
		if scaled {
			v, ok = tag.Float64Value(float64(f*gain) + p.Offset)
		} else if p.Type.Kind == tag.Enum {
			v = tag.EnumValue(int64(u))
		} else {
			v = tag.IntValue(int64(u))
		}
	}
	if !ok {
		return tag.Value{}, tag.BadSensor
	}
	if f := v.Float(); p.Ranged && (f < p.Low || f > p.High) {
		return v, tag.BadRange
	}
	return v, tag.GoodQuality
}

// encode turns a value in engineering units into the registers of p, or into
// one byte for a coil. What does not fit the type or the range is refused.
func encode(p *drivers.Point, v tag.Value) ([]byte, error) {
	a := p.Address.(Address)
	if v.Kind() == tag.None || v.Kind() == tag.Text {
		return nil, fmt.Errorf("value %v is not a number", v)
	}
	if p.Type.Kind == tag.Bool {
		if f := v.Float(); f != 0 && f != 1 {
			return nil, fmt.Errorf("value %v is neither 0 nor 1", v)
		}
		on := byte(0)
		if v.True() {
			on = 1
		}
		if a.Table.Bits() {
			return []byte{on}, nil
		}
		return []byte{0, on}, nil
	}
	f := v.Float()
	if p.Ranged && (f < p.Low || f > p.High) {
		return nil, fmt.Errorf("value %v is outside %g to %g", v, p.Low, p.High)
	}
	var u uint64
	switch p.Type.Kind {
	case tag.Float32, tag.Float64:
		if p.Scaled() {
			f = unscale(p, f)
		}
		u = math.Float64bits(f)
		if p.Type.Kind == tag.Float32 {
			u = uint64(math.Float32bits(float32(f)))
			f = float64(float32(f))
		}
		if math.IsInf(f, 0) || f != f {
			return nil, fmt.Errorf("value %v does not fit", v)
		}
	default:
		exact := !p.Scaled() && (v.Kind() == tag.Int || v.Kind() == tag.Enum || v.Kind() == tag.Bool)
		i := v.Int()
		if !exact {
			f = math.Round(unscale(p, f))
			if !(f >= -(1<<63) && f < 1<<63) {
				return nil, fmt.Errorf("value %v does not fit", v)
			}
			i = int64(f)
		}
		low, high := int64(0), int64(math.MaxInt64)
		if p.Type.Sign {
			low, high = int64(math.MinInt64)>>(64-p.Type.Bits), int64(math.MaxInt64)>>(64-p.Type.Bits)
		} else if p.Type.Bits < 64 {
			high = 1<<p.Type.Bits - 1
		}
		if i < low || i > high {
			return nil, fmt.Errorf("value %v does not fit", v)
		}
		u = uint64(i)
	}
	raw := make([]byte, p.Type.Bits/8)
	n := p.Type.Bits / 16
	for i := range n {
		w := uint16(u >> (16 * (n - 1 - i)))
		if p.Type.Order == "BADC" || p.Type.Order == "DCBA" {
			w = bits.ReverseBytes16(w)
		}
		j := i
		if p.Type.Order == "CDAB" || p.Type.Order == "DCBA" {
			j = n - 1 - i
		}
		binary.BigEndian.PutUint16(raw[2*j:], w)
	}
	return raw, nil
}

func unscale(p *drivers.Point, f float64) float64 {
	gain := p.Gain
	if gain == 0 {
		gain = 1
	}
	return (f - p.Offset) / gain
}
