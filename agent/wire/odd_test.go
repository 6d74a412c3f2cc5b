package wire

import (
	"math"
	"testing"

	"davy/drivers/tag"
)

// What a value is comes back bit for bit, alone and among others.
func TestOddValues(t *testing.T) {
	f32 := []float32{0, float32(math.Copysign(0, -1)), math.SmallestNonzeroFloat32, -math.SmallestNonzeroFloat32, math.MaxFloat32, -math.MaxFloat32, 0.1, -0.1, 1 << 24, 1<<24 + 2}
	f64 := []float64{0, math.Copysign(0, -1), math.SmallestNonzeroFloat64, -math.SmallestNonzeroFloat64, math.MaxFloat64, -math.MaxFloat64, 0.1, -0.1, 1 << 53, 1<<53 + 2}
	var all []tag.Value
	for _, f := range f32 {
		if v, ok := tag.Float32Value(f); ok {
			all = append(all, v)
		}
	}
	for _, f := range f64 {
		if v, ok := tag.Float64Value(f); ok {
			all = append(all, v)
		}
	}
	check := func(vs ...tag.Value) {
		t.Helper()
		in := make([]tag.Reading, len(vs))
		for i, v := range vs {
			in[i] = tag.Reading{Tag: 1, Value: v, Quality: tag.GoodQuality}
		}
		out, err := DecodeReadings(EncodeReadings(in))
		if err != nil || len(out) != len(in) {
			t.Fatal(err)
		}
		for i := range in {
			if in[i] != out[i] || in[i].Value.Bits() != out[i].Value.Bits() {
				t.Errorf("%v %x: %x", in[i].Value, in[i].Value.Bits(), out[i].Value.Bits())
			}
		}
	}
	for _, a := range all {
		check(a)
		for _, b := range all {
			check(a, b)
		}
	}
}
