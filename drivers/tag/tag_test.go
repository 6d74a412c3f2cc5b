package tag

import (
	"math"
	"testing"
	"unsafe"
)

func TestSizes(t *testing.T) {
	if n := unsafe.Sizeof(Value{}); n != 16 {
		t.Errorf("a Value takes %d bytes, not 16", n)
	}
	if n := unsafe.Sizeof(Reading{}); n != 48 {
		t.Errorf("a Reading takes %d bytes, not 48", n)
	}
}

func TestTheZeroIsSafe(t *testing.T) {
	var r Reading
	if !r.Quality.Bad() || r.Quality.Reason() != NeverRead || !r.Quality.Valid() || r.Quality.Usable() {
		t.Errorf("the zero quality is %#x", uint32(r.Quality))
	}
	if r.Value.Kind() != None || r.Value.True() || r.Value.Float() != 0 || r.Value.Int() != 0 {
		t.Errorf("the zero value is %v", r.Value)
	}
}

func TestNoValueIsNaNOrInfinite(t *testing.T) {
	for _, f := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.Float64frombits(0x7ff0000000000001), math.Float64frombits(0xfff8000000000000)} {
		if v, ok := Float64Value(f); ok || v != (Value{}) {
			t.Errorf("Float64Value(%g) = %v, %v", f, v, ok)
		}
		if v, ok := Float32Value(float32(f)); ok || v != (Value{}) {
			t.Errorf("Float32Value(%g) = %v, %v", f, v, ok)
		}
	}
}

func TestZeroHasNoSign(t *testing.T) {
	minus := math.Copysign(0, -1)
	a, _ := Float64Value(minus)
	b, _ := Float64Value(0)
	if a != b || a.Bits() != 0 {
		t.Errorf("-0 is %#x", a.Bits())
	}
	c, _ := Float32Value(float32(minus))
	d, _ := Float32Value(0)
	if c != d || c.Bits() != 0 {
		t.Errorf("-0 as float32 is %#x", c.Bits())
	}
}

func TestEqualIsExact(t *testing.T) {
	f := func(x float64) Value { v, _ := Float64Value(x); return v }
	g := func(x float32) Value { v, _ := Float32Value(x); return v }
	tenth, fifth := 0.1, 0.2
	if f(tenth+fifth) == f(0.3) || f(math.Nextafter(1, 2)) == f(1) {
		t.Error("float64 is not compared exactly")
	}
	// A number of one kind is not that number of another.
	for i, v := range []Value{BoolValue(true), IntValue(1), EnumValue(1), TextValue(1), f(1), g(1), {}} {
		for j, w := range []Value{BoolValue(true), IntValue(1), EnumValue(1), TextValue(1), f(1), g(1), {}} {
			if (v == w) != (i == j) {
				t.Errorf("%v (%d) == %v (%d) is %v", v, v.Kind(), w, w.Kind(), v == w)
			}
		}
	}
}

func TestNumbers(t *testing.T) {
	f := func(v Value, wantInt int64, wantFloat float64, wantString string) {
		t.Helper()
		if v.Int() != wantInt || v.Float() != wantFloat || v.String() != wantString || v.True() != (wantFloat != 0) {
			t.Errorf("%v: Int %d, Float %g, True %v; want %d, %g, %q", v, v.Int(), v.Float(), v.True(), wantInt, wantFloat, wantString)
		}
	}
	x, _ := Float32Value(2.7)
	f(x, 2, float64(float32(2.7)), "2.7")
	x, _ = Float64Value(-2.7)
	f(x, -2, -2.7, "-2.7")
	f(IntValue(math.MinInt64), math.MinInt64, -1<<63, "-9223372036854775808")
	f(IntValue(math.MaxInt64), math.MaxInt64, 1<<63, "9223372036854775807")
	f(EnumValue(-3), -3, -3, "-3")
	f(TextValue(math.MaxUint32), math.MaxUint32, math.MaxUint32, "text#4294967295")
	f(BoolValue(true), 1, 1, "true")
	f(BoolValue(false), 0, 0, "false")
	f(Value{}, 0, 0, "-")
}

func TestFromBitsTakesOnlyWhatBitsGives(t *testing.T) {
	x, _ := Float64Value(-1e300)
	y, _ := Float32Value(3.5)
	for _, v := range []Value{{}, BoolValue(true), BoolValue(false), IntValue(-1), EnumValue(math.MinInt64), TextValue(7), x, y} {
		if got, ok := FromBits(v.Kind(), v.Bits()); !ok || got != v {
			t.Errorf("FromBits of %v = %v, %v", v, got, ok)
		}
	}
	for _, c := range []struct {
		kind Kind
		bits uint64
	}{
		{None, 1},
		{Bool, 2},
		{Bool, math.MaxUint64},
		{Text, 1 << 32},
		{Float32, 1 << 32},
		{Text + 1, 0},
		{255, 7},
		{Float32, 0x7fc00000},
		{Float32, 0x7f800000},
		{Float32, 0x80000000},
		{Float64, 0x7ff8000000000000},
		{Float64, 0xfff0000000000000},
		{Float64, 1 << 63},
	} {
		if v, ok := FromBits(c.kind, c.bits); ok {
			t.Errorf("FromBits(%d, %#x) = %v, which no Value is", c.kind, c.bits, v)
		}
	}
}

func FuzzFromBits(f *testing.F) {
	f.Add(uint8(4), uint64(0x7ff8000000000000))
	f.Add(uint8(1), uint64(2))
	f.Fuzz(func(t *testing.T, kind uint8, bits uint64) {
		v, ok := FromBits(Kind(kind), bits)
		if f := v.Float(); f != f || math.IsInf(f, 0) {
			t.Fatalf("%v is no number", v)
		}
		if ok && (v.Kind() != Kind(kind) || v.Bits() != bits) {
			t.Fatalf("FromBits(%d, %#x) holds %d, %#x", kind, bits, v.Kind(), v.Bits())
		}
	})
}
