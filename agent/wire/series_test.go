package wire

import (
	"math"
	"testing"

	"davy/drivers/tag"
)

// The form of a series is the shortest that is exact for all of its values.
func TestForms(t *testing.T) {
	f64 := func(vs ...float64) (out []tag.Value) {
		for _, f := range vs {
			v, _ := tag.Float64Value(f)
			out = append(out, v)
		}
		return out
	}
	f := func(what string, vs []tag.Value, form, widths byte) {
		t.Helper()
		var e columns
		e.series(vs)
		if e.forms[0] != form || e.widths[0] != widths {
			t.Errorf("%s: form %d, widths %#x, want %d, %#x", what, e.forms[0], e.widths[0], form, widths)
		}
	}
	n := 237.0 // a variable: a constant product would be exact
	f("a register and its scale", f64(n*0.1, (n+1)*0.1, 0), formTimes+1, 0x22)
	f("a decimal number", f64(n/10, (n+4)/10), 1, 0x21)
	f("neither", f64(n*0.1, (n+4)/10, 0.1+n/7), formBits, 0x87)
	f("whole numbers", f64(20, 20, 20), 0, 0x10)
	f("nothing", f64(0), 0, 0)
	f("bits of a float32", []tag.Value{f32(math.MaxFloat32), f32(-math.MaxFloat32)}, formBits, 0x44)
	f("many digits of a float32", []tag.Value{f32(8388.608), f32(8388.610)}, 3, 0x41)
	f("a counter", []tag.Value{tag.IntValue(70000), tag.IntValue(70001)}, 0, 0x31)
	f("the ends", []tag.Value{tag.IntValue(math.MinInt64), tag.IntValue(math.MaxInt64)}, 0, 0x81)
}
