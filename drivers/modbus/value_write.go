package modbus

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"davy/drivers"
	"davy/drivers/tag"
)

// encode turns a value in engineering units into the registers of p, or into
// one byte for a coil or a bit. What does not fit the type or the range is refused.
func encode(p *drivers.Point, v tag.Value) ([]byte, error) {
	a := p.Address.(Address)
	if v.Kind() == tag.None || v.Kind() == tag.Text {
		return nil, fmt.Errorf("value %v is not a number", v)
	}
	bytes := optionsOf(p).registerBytes()
	if p.Type.Kind == tag.Bool {
		if f := v.Float(); f != 0 && f != 1 {
			return nil, fmt.Errorf("value %v is neither 0 nor 1", v)
		}
		on := byte(0)
		if v.True() {
			on = 1
		}
		if a.Table.Bits() || a.HasBit {
			return []byte{on}, nil
		}
		raw := make([]byte, bytes)
		raw[bytes-1] = on
		return raw, nil
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
		if invalidFloat(p, f).Bad() {
			return nil, fmt.Errorf("value %v is one that means no measurement", v)
		}
	default:
		i, err := integer(p, v)
		if err != nil {
			return nil, err
		}
		u = uint64(i)
		if p.Type.BCD {
			var ok bool
			if u, ok = toBCD(u, p.Type.Bits); !ok || i < 0 {
				return nil, fmt.Errorf("value %v does not fit", v)
			}
		}
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

// integer returns the raw number of an integer point; of engineering units that
// fall between two, the nearest.
func integer(p *drivers.Point, v tag.Value) (int64, error) {
	i := v.Int()
	if p.Scaled() || v.Kind() == tag.Float32 || v.Kind() == tag.Float64 {
		f := math.Round(unscale(p, v.Float()))
		if !(f >= -(1<<63) && f < 1<<63) {
			return 0, fmt.Errorf("value %v does not fit", v)
		}
		i = int64(f)
	}
	low, high := int64(0), int64(math.MaxInt64)
	if p.Type.Sign {
		low, high = int64(math.MinInt64)>>(64-p.Type.Bits), int64(math.MaxInt64)>>(64-p.Type.Bits)
	} else if p.Type.Bits < 64 {
		high = 1<<p.Type.Bits - 1
	}
	switch {
	case i < low || i > high:
		return 0, fmt.Errorf("value %v does not fit", v)
	case p.Codes != nil && !slices.Contains(p.Codes, i):
		return 0, fmt.Errorf("value %v is no code that the point names", v)
	case invalid(p, i).Bad():
		return 0, fmt.Errorf("value %v is one that means no measurement", v)
	}
	return i, nil
}

func unscale(p *drivers.Point, f float64) float64 {
	gain := p.Gain
	if gain == 0 {
		gain = 1
	}
	return (f - p.Offset) / gain
}
