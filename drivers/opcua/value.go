package opcua

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"davy/drivers"
	"davy/drivers/tag"
)

// finish turns a sample into what the point's reading holds: engineering
// units, and how good they are. The worst that is said of it counts: BadRange
// outside the range that the site gives the instrument (with the value, for
// whoever looks for the reason), BadConfig for a code or a text that the point
// does not know, whatever an Invalid number means.
func finish(p *drivers.Point, s *Sample) (tag.Value, tag.Quality) {
	v, q := s.Value, s.Quality
	if q.Bad() {
		return tag.Value{}, q
	}
	if v.Kind() != p.Type.Kind {
		return tag.Value{}, tag.BadDeviceFault
	}
	switch v.Kind() {
	case tag.Bool:
		return v, q
	case tag.Text:
		if !slices.ContainsFunc(p.Texts, func(t drivers.Text) bool { return t.Index == uint32(v.Bits()) }) {
			return tag.Value{}, tag.BadConfig
		}
		return v, q
	case tag.Int, tag.Enum:
		n := v.Int()
		for _, x := range p.Invalid {
			if n >= x.Low && n <= x.High && x.Quality.Status() < q.Status() {
				q = x.Quality
			}
		}
		if p.Codes != nil && !q.Bad() && !slices.Contains(p.Codes, n) {
			q = tag.BadConfig
		}
	}
	if p.Scaled() {
		// float64(product) keeps the compiler from fusing it with the sum: every
		// architecture computes the same.
		var ok bool
		if v, ok = tag.Float64Value(float64(v.Float()*gain(p)) + p.Offset); !ok {
			return tag.Value{}, tag.BadSensor
		}
	}
	if out := p.Outside(v.Float()); out != 0 && !q.Bad() {
		q = out | q.Flags()&^tag.Constant
	}
	return v, q
}

func gain(p *drivers.Point) float64 {
	if p.Gain == 0 {
		return 1
	}
	return p.Gain
}

// raw turns a value in engineering units into what is sent to the node: of the
// point's type, within its range, without scale. The child puts it into the
// server's own type, exactly, or refuses.
func raw(p *drivers.Point, v tag.Value) (tag.Value, string, error) {
	none := func(why string) (tag.Value, string, error) {
		return tag.Value{}, "", fmt.Errorf("value %v %s", v, why)
	}
	k := p.Type.Kind
	if k == tag.Text || v.Kind() == tag.Text {
		for _, t := range p.Texts {
			if k == v.Kind() && t.Index == uint32(v.Bits()) {
				return v, t.Text, nil
			}
		}
		return none("is no text of this point")
	}
	f := v.Float()
	switch {
	case v.Kind() == tag.None:
		return none("is no value")
	case p.Ranged && (f < p.Low || f > p.High):
		return none(fmt.Sprintf("is outside %g to %g", p.Low, p.High))
	}
	var ok bool
	var out tag.Value
	switch k {
	case tag.Bool:
		if f != 0 && f != 1 {
			return none("is neither 0 nor 1")
		}
		return tag.BoolValue(f == 1), "", nil
	case tag.Int, tag.Enum:
		n := v.Int()
		if float := v.Kind() == tag.Float32 || v.Kind() == tag.Float64; float || p.Scaled() {
			x := math.Round((f - p.Offset) / gain(p))
			if x != f && !p.Scaled() {
				return none("is no whole number")
			}
			if !(x >= -(1<<63) && x < 1<<63) {
				return none("does not fit")
			}
			n = int64(x)
		}
		if k == tag.Enum {
			if p.Codes != nil && !slices.Contains(p.Codes, n) {
				return none("is no code of this point")
			}
			return tag.EnumValue(n), "", nil
		}
		return tag.IntValue(n), "", nil
	case tag.Float32:
		out, ok = tag.Float32Value(float32((f - p.Offset) / gain(p)))
	case tag.Float64:
		out, ok = tag.Float64Value((f - p.Offset) / gain(p))
	}
	if !ok {
		return none("does not fit")
	}
	return out, "", nil
}

// errNotSent says that nothing went out.
var errNotSent = errors.New("not sent")
