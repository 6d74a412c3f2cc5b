package opcua

import (
	"math"
	"testing"
	"time"

	"davy/drivers"
	"davy/drivers/tag"
)

func f32(t testing.TB, f float32) tag.Value {
	t.Helper()
	v, ok := tag.Float32Value(f)
	if !ok {
		t.Fatal(f)
	}
	return v
}

func TestConvertRoundsNothing(t *testing.T) {
	texts := []drivers.Text{{Text: "ok", Index: 4}, {Text: "fault", Index: 9}}
	f := func(k tag.Kind, v any, want tag.Value, reason Reason) {
		t.Helper()
		got, r := Convert(k, v, texts)
		if got != want || r != reason {
			t.Errorf("%v %T %v: %v (%d), %v; want %v (%d), %v", k, v, v, got, got.Kind(), r, want, want.Kind(), reason)
		}
	}
	none := tag.Value{}
	f(tag.Bool, true, tag.BoolValue(true), NoReason)
	f(tag.Bool, int32(1), none, WrongType)
	f(tag.Bool, uint64(math.MaxUint64), none, WrongType)
	f(tag.Int, int8(-128), tag.IntValue(-128), NoReason)
	f(tag.Int, uint8(255), tag.IntValue(255), NoReason)
	f(tag.Int, int16(-5), tag.IntValue(-5), NoReason)
	f(tag.Int, uint16(65535), tag.IntValue(65535), NoReason)
	f(tag.Int, int32(math.MinInt32), tag.IntValue(math.MinInt32), NoReason)
	f(tag.Int, uint32(math.MaxUint32), tag.IntValue(math.MaxUint32), NoReason)
	f(tag.Int, int64(math.MinInt64), tag.IntValue(math.MinInt64), NoReason)
	f(tag.Int, uint64(math.MaxInt64), tag.IntValue(math.MaxInt64), NoReason)
	f(tag.Int, uint64(math.MaxInt64)+1, none, TooLarge)
	f(tag.Int, 1.0, none, WrongType)
	f(tag.Int, true, none, WrongType)
	f(tag.Enum, int32(-3), tag.EnumValue(-3), NoReason)
	f(tag.Float64, int64(1<<53), float(t, 1<<53), NoReason)
	f(tag.Float64, int64(1<<53+1), none, TooLarge)
	f(tag.Float64, int64(-1<<53-1), none, TooLarge)
	f(tag.Float64, uint64(math.MaxUint64), none, TooLarge)
	f(tag.Float64, float32(0.1), float(t, float64(float32(0.1))), NoReason)
	f(tag.Float64, math.Copysign(0, -1), float(t, 0), NoReason)
	f(tag.Float64, math.NaN(), none, NotNumber)
	f(tag.Float64, math.Inf(1), none, NotNumber)
	f(tag.Float64, "1", none, WrongType)
	f(tag.Float32, float32(1.5), f32(t, 1.5), NoReason)
	f(tag.Float32, 1.5, none, WrongType)
	f(tag.Float32, int32(1<<24), f32(t, 1<<24), NoReason)
	f(tag.Float32, int32(1<<24+1), none, TooLarge)
	f(tag.Float32, float32(math.Inf(-1)), none, NotNumber)
	f(tag.Text, "fault", tag.TextValue(9), NoReason)
	f(tag.Text, "Fault", none, OtherText)
	f(tag.Text, int32(4), none, WrongType)
	f(tag.Float64, nil, none, NoValue)
	f(tag.Float64, []float64{1}, none, WrongType)
	f(tag.Float64, time.Now(), none, WrongType)
	for r := WrongType; r < reasons; r++ {
		if !r.Quality().Bad() || !r.Quality().Valid() || r.String() == "" {
			t.Errorf("%v is %#x", r, uint32(r.Quality()))
		}
	}
}

func TestQualityOfStatus(t *testing.T) {
	f := func(status uint32, want tag.Quality) {
		t.Helper()
		if got := Quality(status); got != want || !got.Valid() {
			t.Errorf("%#08x is %#x, want %#x", status, uint32(got), uint32(want))
		}
	}
	f(0, tag.GoodQuality)
	f(0x40930000, tag.MakeQuality(tag.Uncertain, tag.NotAccurate, 0))
	f(0x80340000, tag.BadConfig)
	f(0x80350000, tag.BadConfig)
	f(0x801F0000, tag.BadConfig)
	f(0x808A0000, tag.BadNoComm)
	f(0x80050000, tag.BadNoComm)
	f(0x808C0000, tag.BadSensor)
	f(0x80320000, tag.BadNeverRead)
	f(0x80000000, tag.BadDeviceFault)
	f(0xC0000000, tag.BadDeviceFault)
	f(0x80340500, tag.BadConfig|tag.LimitLow)
	f(0x00000600, tag.GoodQuality|tag.LimitHigh)
	f(0x00000480, tag.GoodQuality) // overflow
	for status, want := range map[uint32]bool{0x480: true, 0x80: false, 0x400: false, 0x80340480: true} {
		if Overflow(status) != want {
			t.Errorf("%#x: overflow %v", status, !want)
		}
	}
}

func TestFinish(t *testing.T) {
	none := tag.Value{}
	f := func(typ string, v tag.Value, q tag.Quality, change func(p *drivers.Point), wantV tag.Value, wantQ tag.Quality) {
		t.Helper()
		p := point(t, 1, "i=1", typ)
		change(&p)
		if got, gotQ := finish(&p, &Sample{Value: v, Quality: q}); got != wantV || gotQ != wantQ {
			t.Errorf("%s %v %#x: %v %#x, want %v %#x", typ, v, uint32(q), got, uint32(gotQ), wantV, uint32(wantQ))
		}
	}
	plain := func(*drivers.Point) {}
	ranged := func(p *drivers.Point) { p.Ranged, p.Low, p.High = true, 0, 100 }
	uncertain := tag.MakeQuality(tag.Uncertain, tag.NotAccurate, tag.LimitHigh)
	f("float64", float(t, 5), tag.GoodQuality, plain, float(t, 5), tag.GoodQuality)
	f("float64", float(t, 5), uncertain, ranged, float(t, 5), uncertain)
	f("float64", none, tag.BadConfig, ranged, none, tag.BadConfig)
	f("float64", float(t, 100), tag.GoodQuality, ranged, float(t, 100), tag.GoodQuality)
	f("float64", float(t, 100.5), uncertain, ranged, float(t, 100.5), tag.BadRange|tag.LimitHigh)
	f("float64", tag.IntValue(5), tag.GoodQuality, plain, none, tag.BadDeviceFault)
	f("float64", tag.BoolValue(true), tag.GoodQuality, plain, none, tag.BadDeviceFault)
	scaled := func(p *drivers.Point) { p.Gain, p.Offset = 0.1, -40; ranged(p) }
	f("int", tag.IntValue(1000), tag.GoodQuality, scaled, float(t, 60), tag.GoodQuality)
	f("int", tag.IntValue(0), tag.GoodQuality, scaled, float(t, -40), tag.BadRange|tag.LimitLow)
	f("float64", float(t, 1e308), tag.GoodQuality, func(p *drivers.Point) { p.Gain = 10 }, none, tag.BadSensor)
	invalid := func(p *drivers.Point) {
		p.Invalid = []drivers.Invalid{{Low: -32768, High: -32768, Quality: tag.BadSensor}, {Low: 5, High: 6, Quality: uncertain}}
	}
	f("int", tag.IntValue(-32768), tag.GoodQuality, invalid, tag.IntValue(-32768), tag.BadSensor)
	f("int", tag.IntValue(6), tag.GoodQuality, invalid, tag.IntValue(6), uncertain)
	f("int", tag.IntValue(7), tag.GoodQuality, invalid, tag.IntValue(7), tag.GoodQuality)
	codes := func(p *drivers.Point) { p.Codes = []int64{0, 2} }
	f("enum", tag.EnumValue(2), tag.GoodQuality, codes, tag.EnumValue(2), tag.GoodQuality)
	f("enum", tag.EnumValue(1), tag.GoodQuality, codes, tag.EnumValue(1), tag.BadConfig)
	texts := func(p *drivers.Point) { p.Texts = []drivers.Text{{Text: "a", Index: 3}} }
	f("text", tag.TextValue(3), tag.GoodQuality, texts, tag.TextValue(3), tag.GoodQuality)
	f("text", tag.TextValue(4), tag.GoodQuality, texts, none, tag.BadConfig)
	f("bool", tag.BoolValue(true), tag.GoodQuality, plain, tag.BoolValue(true), tag.GoodQuality)
}

func TestRaw(t *testing.T) {
	f := func(typ string, v tag.Value, change func(p *drivers.Point), want tag.Value, text string, ok bool) {
		t.Helper()
		p := point(t, 1, "i=1", typ)
		change(&p)
		got, gotText, err := raw(&p, v)
		if got != want || gotText != text || (err == nil) != ok {
			t.Errorf("%s %v: %v %q %v, want %v %q", typ, v, got, gotText, err, want, text)
		}
	}
	none := tag.Value{}
	plain := func(*drivers.Point) {}
	ranged := func(p *drivers.Point) { p.Ranged, p.Low, p.High = true, 0, 100 }
	f("float64", float(t, 5), ranged, float(t, 5), "", true)
	f("float64", float(t, 100.1), ranged, none, "", false)
	f("float64", none, ranged, none, "", false)
	f("float32", float(t, 1e300), plain, none, "", false)
	f("float32", float(t, 0.5), plain, f32(t, 0.5), "", true)
	f("int", tag.IntValue(math.MinInt64), plain, tag.IntValue(math.MinInt64), "", true)
	f("int", float(t, 60), func(p *drivers.Point) { p.Gain, p.Offset = 0.1, -40 }, tag.IntValue(1000), "", true)
	f("int", float(t, 1e19), plain, none, "", false)
	f("int", float(t, -7), plain, tag.IntValue(-7), "", true)
	f("int", float(t, 3.4), plain, none, "", false)
	f("enum", float(t, 2.5), plain, none, "", false)
	f("bool", tag.IntValue(1), plain, tag.BoolValue(true), "", true)
	f("bool", tag.IntValue(2), plain, none, "", false)
	f("enum", tag.EnumValue(2), func(p *drivers.Point) { p.Codes = []int64{2} }, tag.EnumValue(2), "", true)
	f("enum", tag.EnumValue(3), func(p *drivers.Point) { p.Codes = []int64{2} }, none, "", false)
	texts := func(p *drivers.Point) { p.Texts = []drivers.Text{{Text: "run", Index: 3}} }
	f("text", tag.TextValue(3), texts, tag.TextValue(3), "run", true)
	f("text", tag.TextValue(4), texts, none, "", false)
	f("text", tag.IntValue(3), texts, none, "", false)
	f("float64", tag.TextValue(3), texts, none, "", false)
}
