package modbus

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"davy/drivers"
	"davy/drivers/tag"
)

func point(t testing.TB, at, typ string) drivers.Point {
	t.Helper()
	a, err := TCP{}.ParseAddress(at)
	if err != nil {
		t.Fatal(err)
	}
	ty, err := TCP{}.ParseType(a, typ)
	if err != nil {
		t.Fatal(err)
	}
	return drivers.Point{Tag: 1, Name: tag.Name("d." + at), Station: 1, Address: a, Type: ty}
}

func TestTypes(t *testing.T) {
	f := func(at, s string, want drivers.Type) {
		t.Helper()
		if p := point(t, at, s); p.Type != want {
			t.Errorf("%s %q is %+v, want %+v", at, s, p.Type, want)
		}
	}
	f("holding 1", "", drivers.Type{Kind: tag.Int, Bits: 16})
	f("coil 1", "", drivers.Type{Kind: tag.Bool, Bits: 1})
	f("discrete 1", "bool", drivers.Type{Kind: tag.Bool, Bits: 1})
	f("holding 1 bit 2", "", drivers.Type{Kind: tag.Bool, Bits: 16})
	f("holding 1", "bool", drivers.Type{Kind: tag.Bool, Bits: 16})
	f("holding 1", "int16", drivers.Type{Kind: tag.Int, Bits: 16, Sign: true})
	f("holding 1", "uint16 BADC", drivers.Type{Kind: tag.Int, Bits: 16, Order: "BADC"})
	f("holding 1", "float32", drivers.Type{Kind: tag.Float32, Bits: 32, Order: "ABCD"})
	f("holding 1", " Float32  cdab ", drivers.Type{Kind: tag.Float32, Bits: 32, Order: "CDAB"})
	f("holding 65532", "float64", drivers.Type{Kind: tag.Float64, Bits: 64, Order: "ABCD"})

	f("holding 1", "bcd16", drivers.Type{Kind: tag.Int, Bits: 16, BCD: true})
	f("holding 1", "bcd32 CDAB", drivers.Type{Kind: tag.Int, Bits: 32, BCD: true, Order: "CDAB"})
	f("holding 1", "uint16 bits 4..7", drivers.Type{Kind: tag.Int, Bits: 16, Shift: 4, Width: 4})
	f("holding 1", "uint16 BADC Bits 15", drivers.Type{Kind: tag.Int, Bits: 16, Order: "BADC", Shift: 15, Width: 1})
	f("holding 1", "int32 bits 0..31", drivers.Type{Kind: tag.Int, Bits: 32, Sign: true, Order: "ABCD", Width: 32})
	f("holding 1", "uint64 bits 60..63", drivers.Type{Kind: tag.Int, Bits: 64, Order: "ABCD", Shift: 60, Width: 4})
	f("holding 65528", "text 8", drivers.Type{Kind: tag.Text, Bytes: 16})
	f("input 1", "Text 125 badc", drivers.Type{Kind: tag.Text, Bytes: 250, Order: "BADC"})

	g := func(at, s, code string) {
		t.Helper()
		a, _ := parseAddress(at)
		_, err := TCP{}.ParseType(a, s)
		var h *drivers.Hint
		if !errors.As(err, &h) || h.Code != code {
			t.Errorf("%s %q: %v, want %s", at, s, err, code)
		}
	}
	g("holding 1", "float", "modbus.type-unknown")
	g("holding 1", "float32 CDAB x", "modbus.type-unknown")
	g("holding 1", "float32 ACBD", "modbus.order-unknown")
	g("coil 1", "uint16", "modbus.type-of-bit")
	g("holding 1 bit 3", "uint16", "modbus.type-of-bit")
	g("coil 1", "bool CDAB", "modbus.order-of-bit")
	g("holding 65535", "float32", "address.past-end")
	g("holding 65533", "float64", "address.past-end")
	g("holding 65529", "text 8", "address.past-end")
	g("holding 1", "text", "modbus.text-length")
	g("holding 1", "text 0", "modbus.text-length")
	g("holding 1", "text 126", "modbus.text-length")
	g("holding 1", "text BADC", "modbus.text-length")
	g("holding 1", "text 8 CDAB", "modbus.order-of-text")
	g("holding 1", "text 8 bits 1..2", "modbus.bits")
	g("holding 1", "uint16 bits 4..16", "modbus.bits")
	g("holding 1", "uint16 bits 7..4", "modbus.bits")
	g("holding 1", "uint16 bits", "modbus.order-unknown")
	g("holding 1", "float32 bits 0..3", "modbus.bits")
	g("holding 1", "bcd16 bits 0..3", "modbus.bits")
	g("holding 1 bit 3", "text 8", "modbus.type-of-bit")
}

func TestDecode(t *testing.T) {
	f := func(p drivers.Point, raw string, want string, kind tag.Kind, q tag.Quality) {
		t.Helper()
		v, got := Decode(&p, []byte(raw))
		if v.String() != want || got != q || got.Good() && v.Kind() != kind || got.Good() && v.Kind() != p.Kind() {
			t.Errorf("%s %+v of % x is %v (kind %d) %#x, want %s %#x", p.Name, p.Type, raw, v, v.Kind(), uint32(got), want, uint32(q))
		}
	}
	good := tag.GoodQuality
	f(point(t, "coil 0", ""), "\x01", "true", tag.Bool, good)
	f(point(t, "coil 0", ""), "\x00", "false", tag.Bool, good)
	f(point(t, "holding 0", "bool"), "\x01\x00", "true", tag.Bool, good)
	f(point(t, "holding 0", "bool"), "\x00\x00", "false", tag.Bool, good)
	f(point(t, "holding 0 bit 0", ""), "\x80\x01", "true", tag.Bool, good)
	f(point(t, "holding 0 bit 15", ""), "\x80\x01", "true", tag.Bool, good)
	f(point(t, "holding 0 bit 8", ""), "\x80\x01", "false", tag.Bool, good)
	f(point(t, "holding 0", ""), "\xff\xfe", "65534", tag.Int, good)
	f(point(t, "holding 0", "int16"), "\xff\xfe", "-2", tag.Int, good)
	f(point(t, "holding 0", "uint16 BADC"), "\x01\x02", "513", tag.Int, good)
	f(point(t, "holding 0", "uint32"), "\x01\x02\x03\x04", "16909060", tag.Int, good)
	f(point(t, "holding 0", "uint32 CDAB"), "\x03\x04\x01\x02", "16909060", tag.Int, good)
	f(point(t, "holding 0", "uint32 BADC"), "\x02\x01\x04\x03", "16909060", tag.Int, good)
	f(point(t, "holding 0", "uint32 DCBA"), "\x04\x03\x02\x01", "16909060", tag.Int, good)
	f(point(t, "holding 0", "uint32"), "\xff\xff\xff\xff", "4294967295", tag.Int, good)
	f(point(t, "holding 0", "int32"), "\xff\xff\xff\xff", "-1", tag.Int, good)
	f(point(t, "holding 0", "int64"), "\x80\x00\x00\x00\x00\x00\x00\x00", "-9223372036854775808", tag.Int, good)
	f(point(t, "holding 0", "uint64 CDAB"), "\x00\x04\x00\x03\x00\x02\x00\x01", "281483566841860", tag.Int, good)
	f(point(t, "holding 0", "uint64 DCBA"), "\x04\x00\x03\x00\x02\x00\x01\x00", "281483566841860", tag.Int, good)
	f(point(t, "holding 0", "uint64"), "\x80\x00\x00\x00\x00\x00\x00\x00", "-", tag.None, tag.BadRange)
	f(point(t, "holding 0", "float32"), "\x43\x65\x02\x8f", "229.01", tag.Float32, good)
	f(point(t, "holding 0", "float32 CDAB"), "\x02\x8f\x43\x65", "229.01", tag.Float32, good)
	f(point(t, "holding 0", "float32"), "\x80\x00\x00\x00", "0", tag.Float32, good)
	f(point(t, "holding 0", "float32"), "\x7f\xc0\x00\x00", "-", tag.None, tag.BadSensor)
	f(point(t, "holding 0", "float32"), "\x7f\x80\x00\x00", "-", tag.None, tag.BadSensor)
	f(point(t, "holding 0", "float64"), "\x3f\xf8\x00\x00\x00\x00\x00\x00", "1.5", tag.Float64, good)
	f(point(t, "holding 0", "float64"), "\xff\xf0\x00\x00\x00\x00\x00\x00", "-", tag.None, tag.BadSensor)

	scaled := func(typ string, gain, offset, low, high float64) drivers.Point {
		p := point(t, "holding 0", typ)
		p.Gain, p.Offset, p.Ranged, p.Low, p.High = gain, offset, low < high, low, high
		return p
	}
	f(scaled("uint16", 0.1, 0, 0, 0), "\x00\x7b", "12.3", tag.Float64, good)
	f(scaled("int16", 0.1, -40, 0, 0), "\xff\xff", "-40.1", tag.Float64, good)
	f(scaled("uint16", 0, 5, 0, 0), "\x00\x01", "6", tag.Float64, good)
	f(scaled("uint16", 1, 0, 0, 0), "\x00\x01", "1", tag.Int, good)
	f(scaled("float32", 2, 0, 0, 0), "\x3f\x80\x00\x00", "2", tag.Float64, good)
	f(scaled("float32", 1e300, 0, 0, 0), "\x7f\x7f\xff\xff", "-", tag.None, tag.BadSensor)
	f(scaled("uint64", 0.5, 0, 0, 0), "\x80\x00\x00\x00\x00\x00\x00\x00", "4.611686018427388e+18", tag.Float64, good)
	f(scaled("int16", 1, 0, 0, 100), "\x00\x64", "100", tag.Int, good)
	f(scaled("int16", 1, 0, 0, 100), "\x00\x65", "101", tag.Int, tag.BadRange|tag.LimitHigh)
	f(scaled("int16", 1, 0, 0, 100), "\xff\xff", "-1", tag.Int, tag.BadRange|tag.LimitLow)
	f(scaled("float32", 0, 0, -50, 180), "\x43\x65\x02\x8f", "229.01", tag.Float32, tag.BadRange|tag.LimitHigh)

	f(point(t, "holding 0", "bcd16"), "\x12\x34", "1234", tag.Int, good)
	f(point(t, "holding 0", "bcd16"), "\x12\x3a", "-", tag.None, tag.BadSensor)
	f(point(t, "holding 0", "bcd32 CDAB"), "\x56\x78\x12\x34", "12345678", tag.Int, good)
	f(scaled("bcd16", 0.1, 0, 0, 0), "\x01\x23", "12.3", tag.Float64, good)
	f(point(t, "holding 0", "uint16 bits 4..7"), "\xab\xcd", "12", tag.Int, good)
	f(point(t, "holding 0", "uint16 BADC bits 4..7"), "\xab\xcd", "10", tag.Int, good)
	f(point(t, "holding 0", "int16 bits 4..7"), "\xab\xcd", "-4", tag.Int, good)
	f(point(t, "holding 0", "uint32 CDAB bits 16..31"), "\x00\x01\x12\x34", "4660", tag.Int, good)
	f(point(t, "holding 0", "int64 bits 0..63"), "\xff\xff\xff\xff\xff\xff\xff\xff", "-1", tag.Int, good)
	f(scaled("uint16 bits 0..7", 0.5, 0, 0, 100), "\xff\x07", "3.5", tag.Float64, good)
	f(scaled("uint16 bits 0..7", 0.5, 0, 0, 100), "\x00\xff", "127.5", tag.Float64, tag.BadRange|tag.LimitHigh)
}

func TestCodesAndTexts(t *testing.T) {
	f := func(p drivers.Point, raw string, want tag.Value, q tag.Quality) {
		t.Helper()
		if v, got := Decode(&p, []byte(raw)); v != want || got != q {
			t.Errorf("%+v of %q is %v %#x, want %v %#x", p.Type, raw, v, uint32(got), want, uint32(q))
		}
	}
	mode := point(t, "holding 0", "uint16 bits 0..3")
	mode.Codes = []int64{0, 1, 8}
	f(mode, "\xff\xf8", tag.EnumValue(8), tag.GoodQuality)
	f(mode, "\xff\xf0", tag.EnumValue(0), tag.GoodQuality)
	f(mode, "\xff\xf7", tag.EnumValue(7), tag.BadConfig)
	mode.Invalid = []drivers.Invalid{{Low: 8, High: 9, Quality: tag.BadSensor}}
	f(mode, "\xff\xf8", tag.Value{}, tag.BadSensor)

	name := point(t, "holding 0", "text 4")
	name.Texts = []drivers.Text{{Text: "NH3", Index: 7}, {Text: "H2S gas", Index: 8}, {Text: "", Index: 9}, {Text: "H2S gas!", Index: 10}}
	f(name, "NH3\x00\xff\xff\xff\xff", tag.TextValue(7), tag.GoodQuality)
	f(name, " NH3    ", tag.TextValue(7), tag.GoodQuality)
	f(name, "H2S gas\x00", tag.TextValue(8), tag.GoodQuality)
	f(name, "H2S gas!", tag.TextValue(10), tag.GoodQuality)
	f(name, "\x00H3     ", tag.TextValue(9), tag.GoodQuality)
	f(name, "nh3     ", tag.Value{}, tag.BadConfig)
	f(name, "NH3\x01    ", tag.Value{}, tag.BadConfig)
	name.Type.Order = "BADC"
	f(name, "2H Sag\x00s", tag.TextValue(8), tag.GoodQuality)
}

func TestWhatIsNoMeasurement(t *testing.T) {
	f := func(p drivers.Point, raw, want string, q tag.Quality) {
		t.Helper()
		if v, got := Decode(&p, []byte(raw)); v.String() != want || got != q {
			t.Errorf("%s of %q is %v %#x, want %s %#x", p.Type.Order, raw, v, uint32(got), want, uint32(q))
		}
	}
	warm := tag.MakeQuality(tag.Uncertain, tag.Initial, 0)
	p := point(t, "holding 0", "int16")
	p.Gain, p.Ranged, p.Low, p.High = 0.1, true, 0, 100
	p.Invalid = []drivers.Invalid{{Low: -32768, High: -16386, Quality: tag.BadSensor}, {Low: 500, High: 500, Quality: warm}}
	f(p, "\x80\x00", "-", tag.BadSensor) // before the range
	f(p, "\xbf\xfe", "-", tag.BadSensor) // -16386
	f(p, "\xbf\xff", "-1638.5", tag.BadRange|tag.LimitLow)
	f(p, "\x01\xf4", "50", warm)
	f(p, "\x01\xf5", "50.1", tag.GoodQuality)
	x := point(t, "holding 0", "float32")
	x.Invalid = []drivers.Invalid{{Low: -9999, High: -9999, Quality: tag.BadSensor}}
	f(x, "\xc6\x1c\x3c\x00", "-", tag.BadSensor)
	f(x, "\x3f\x80\x00\x00", "1", tag.GoodQuality)
	f(x, "\x7f\xc0\x00\x00", "-", tag.BadSensor)
}

// reading is what a block of registers says of p, all of one station.
func reading(t *testing.T, p drivers.Point, first int, data string) (tag.Value, tag.Quality) {
	t.Helper()
	requests, err := plan([]drivers.Point{p})
	if err != nil || len(requests) != 1 {
		t.Fatal(requests, err)
	}
	r := requests[0].(*request)
	if int(r.whole.first) != first || r.whole.count*r.unit.registerBytes() != len(data) {
		t.Fatalf("%s asks for %d registers from %d", r, r.whole.count, r.whole.first)
	}
	out := make([]tag.Reading, 1)
	if err := r.decode(&r.whole, &r.whole.form, []byte(data), out); err != nil {
		t.Log(err)
	}
	return out[0].Value, out[0].Quality
}

func TestDecimalsComeWithTheValue(t *testing.T) {
	p := point(t, "holding 4", "uint16")
	p.Decimals = Address{Table: Holding, Number: 6}
	f := func(data, want string, q tag.Quality) {
		t.Helper()
		if v, got := reading(t, p, 4, data); v.String() != want || got != q || got.Good() && v.Kind() != tag.Float64 {
			t.Errorf("%q is %v %#x, want %s", data, v, uint32(got), want)
		}
	}
	f("\x00\x7b\xff\xff\x00\x01", "12.3", tag.GoodQuality)
	f("\x00\x7b\xff\xff\x00\x00", "123", tag.GoodQuality)
	f("\x00\x7b\xff\xff\x00\x09", "1.23e-07", tag.GoodQuality)
	f("\x00\x7b\xff\xff\x00\x0a", "-", tag.BadDeviceFault)
	f("\x00\x7b\xff\xff\x80\x01", "-", tag.BadDeviceFault)
	p.Gain, p.Offset = 2, 1
	f("\x00\x7b\xff\xff\x00\x01", "25.6", tag.GoodQuality)
	p.Decimals = Address{Table: Holding, Number: 3} // before it
	if v, q := reading(t, p, 3, "\x00\x02\x01\x00"); v.String() != "6.12" || !q.Good() {
		t.Error(v, q)
	}
}

// The device's word on its state caps the quality: never better than the value's own.
func TestTheStateCapsTheQuality(t *testing.T) {
	warm, check := tag.MakeQuality(tag.Uncertain, tag.Initial, 0), tag.MakeQuality(tag.Bad, tag.FunctionCheck, 0)
	p := point(t, "holding 4", "float32")
	p.Ranged, p.High = true, 100
	p.State = &drivers.State{Address: Address{Table: Holding, Number: 2}, Type: drivers.Type{Kind: tag.Int, Bits: 16, Shift: 4, Width: 8}, Means: []drivers.Meaning{
		{Mask: 0x0f, Value: 0, Quality: tag.GoodQuality},
		{Mask: 0x0f, Value: 1, Quality: warm},
		{Mask: 0x0f, Value: 2, Quality: tag.BadSensor},
		{Mask: 0x10, Value: 0x10, Quality: tag.GoodQuality | tag.Maintenance},
		{Mask: 0x20, Value: 0x20, Quality: check},
	}, Otherwise: tag.BadDeviceFault}
	f := func(state, data, want string, q tag.Quality) {
		t.Helper()
		if v, got := reading(t, p, 2, state+"\xff\xff"+data); v.String() != want || got != q {
			t.Errorf("%q %q is %v %#x, want %s %#x", state, data, v, uint32(got), want, uint32(q))
		}
	}
	const one, high, nan = "\x3f\x80\x00\x00", "\x43\x65\x02\x8f", "\x7f\xc0\x00\x00"
	f("\xf0\x0f", one, "1", tag.GoodQuality) // bits 4 to 11 only
	f("\x00\x10", one, "1", warm)
	f("\x00\x20", one, "1", tag.BadSensor)
	f("\x01\x00", one, "1", tag.GoodQuality|tag.Maintenance)
	f("\x01\x10", one, "1", warm|tag.Maintenance)
	f("\x03\x10", one, "1", check|tag.Maintenance)
	f("\x00\x30", one, "1", tag.BadDeviceFault) // not named
	f("\x00\x00", high, "229.01", tag.BadRange|tag.LimitHigh)
	f("\x00\x10", high, "229.01", tag.BadRange)
	f("\x01\x00", nan, "-", tag.BadSensor|tag.Maintenance)
	f("\x02\x00", nan, "-", tag.BadSensor)
	p.State.Address = Address{Table: Holding, Number: 6, HasBit: true, Bit: 15}
	p.State.Means = []drivers.Meaning{{Mask: 1, Value: 0, Quality: tag.GoodQuality}}
	for data, want := range map[string]tag.Quality{"\x7f\xff": tag.GoodQuality, "\x80\x00": tag.BadDeviceFault} {
		if v, q := reading(t, p, 4, one+data); v.String() != "1" || q != want {
			t.Errorf("%q is %v %#x", data, v, uint32(q))
		}
	}
	bit := point(t, "coil 1", "")
	bit.State = &drivers.State{Address: Address{Table: Coil, Number: 3}, Type: drivers.Type{Kind: tag.Bool, Bits: 1}, Means: []drivers.Meaning{{Mask: 1, Value: 1, Quality: tag.GoodQuality}}, Otherwise: tag.BadSensor}
	requests, err := plan([]drivers.Point{bit})
	if err != nil || requests[0].String() != "station 1 coil 1..3 (ref 2..4)" {
		t.Fatal(requests, err)
	}
	for data, want := range map[byte]tag.Quality{0b101: tag.GoodQuality, 0b011: tag.BadSensor} {
		r, out := requests[0].(*request), make([]tag.Reading, 1)
		if err := r.decode(&r.whole, &r.whole.form, []byte{data}, out); err != nil || out[0].Value != tag.BoolValue(true) || out[0].Quality != want {
			t.Error(out, err)
		}
	}
}

// A device whose addresses hold 32 bits.
func TestWideRegisters(t *testing.T) {
	wide := options(t, "registers", "32 bit")
	f := func(at, typ, data, want string) {
		t.Helper()
		p := point(t, at, typ)
		p.Options = wide
		a := p.Address.(Address)
		if v, q := reading(t, p, int(a.Number), data); v.String() != want || !q.Good() {
			t.Errorf("%s %s of %q is %v %#x, want %s", at, typ, data, v, uint32(q), want)
		}
	}
	f("holding 506", "float32", "\x43\x65\x02\x8f", "229.01")
	f("holding 506", "float32 CDAB", "\x02\x8f\x43\x65", "229.01")
	f("holding 500", "uint32", "\x00\x01\x00\x00", "65536")
	f("holding 500", "uint32 bits 16..17", "\x00\x06\x00\x00", "2")
	f("holding 500 bit 3", "", "\x00\x00\x00\x08", "true")
	f("holding 500 bit 3", "", "\x00\x08\x00\x00", "false")
	f("holding 500", "bool", "\x00\x01\x00\x00", "true")
	f("holding 500", "float64", "\x3f\xf8\x00\x00\x00\x00\x00\x00", "1.5")

	level, next := point(t, "holding 506", "float32"), point(t, "holding 507", "uint32")
	level.Options, next.Options = wide, wide
	requests, err := plan([]drivers.Point{next, level})
	if err != nil || len(requests) != 1 || requests[0].String() != "station 1 holding 506..507 (ref 40507..40508)" {
		t.Fatal(requests, err)
	}
	r, out := requests[0].(*request), make([]tag.Reading, 2)
	if err := r.decode(&r.whole, &r.whole.form, []byte("\x3f\x80\x00\x00\x00\x00\x00\x07"), out); err != nil || out[0].Value.String() != "1" || out[1].Value.String() != "7" {
		t.Error(out, err)
	}
	if r.whole.size != 10 {
		t.Errorf("the answer has %d bytes", r.whole.size)
	}
	narrow := point(t, "holding 1", "uint16")
	narrow.Options = wide
	var h *drivers.Hint
	if _, err := plan([]drivers.Point{narrow}); !errors.As(err, &h) || h.Code != "modbus.narrow" {
		t.Error(err)
	}
}

func options(t testing.TB, fields ...string) any {
	t.Helper()
	f := drivers.Fields{}
	for i := 0; i < len(fields); i += 2 {
		f[fields[i]] = fields[i+1]
	}
	o, err := TCP{}.ParseDevice(f)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// An answer in which the identity register is wrong is another device's, or
// another request's: nothing of it is good.
func TestTheIdentityProvesAnAnswer(t *testing.T) {
	p := point(t, "holding 2", "")
	p.Options = options(t, "identity", "holding 0 = 0x1234")
	if v, q := reading(t, p, 0, "\x12\x34\x00\x00\x00\x07"); v != tag.IntValue(7) || !q.Good() {
		t.Error(v, q)
	}
	if v, q := reading(t, p, 0, "\x12\x35\x00\x00\x00\x07"); v != (tag.Value{}) || q != tag.BadDeviceFault {
		t.Error(v, q)
	}
	far := point(t, "holding 200", "")
	far.Options = p.Options
	if v, q := reading(t, far, 200, "\x00\x07"); v != tag.IntValue(7) || !q.Good() {
		t.Error(v, q)
	}
}

func TestWorse(t *testing.T) {
	warm := tag.MakeQuality(tag.Uncertain, tag.Initial, 0)
	plain := tag.MakeQuality(tag.Uncertain, tag.UncertainPlain, 0)
	local := tag.MakeQuality(tag.Good, tag.LocalOverride, 0)
	f := func(q, r, want tag.Quality) {
		t.Helper()
		if got := worse(q, r); got != want || !got.Valid() {
			t.Errorf("of %#x and %#x %#x, want %#x", uint32(q), uint32(r), uint32(got), uint32(want))
		}
	}
	f(tag.GoodQuality, tag.GoodQuality, tag.GoodQuality)
	f(tag.GoodQuality, warm, warm)
	f(warm, tag.GoodQuality, warm)
	f(plain, warm, warm)
	f(warm, plain, warm)
	f(tag.GoodQuality, local, local)
	f(tag.BadSensor, tag.BadNoComm, tag.BadSensor)
	f(tag.BadNeverRead, warm, tag.BadNeverRead)
	f(tag.GoodQuality|tag.Maintenance, tag.BadRange|tag.LimitHigh, tag.BadRange|tag.LimitHigh|tag.Maintenance)
	f(tag.BadRange|tag.LimitLow, tag.GoodQuality|tag.LimitHigh, tag.BadRange|tag.LimitHigh) // the device says over-range, its number is rubbish
	f(tag.BadRange|tag.LimitHigh, tag.BadSensor, tag.BadSensor)
	f(tag.BadRange|tag.LimitHigh, warm, tag.BadRange)
	f(tag.BadRange|tag.LimitHigh, tag.MakeQuality(tag.Bad, tag.FunctionCheck, 0), tag.MakeQuality(tag.Bad, tag.FunctionCheck, 0))
	f(tag.GoodQuality|tag.LimitHigh, warm, warm)
}

func TestEncode(t *testing.T) {
	x := func(f float64) tag.Value { v, _ := tag.Float64Value(f); return v }
	f := func(p drivers.Point, v tag.Value, want string) {
		t.Helper()
		raw, err := encode(&p, v)
		if (err != nil) != (want == "") || !bytes.Equal(raw, []byte(want)) {
			t.Errorf("%+v of %v is % x, %v; want % x", p.Type, v, raw, err, want)
		}
	}
	f(point(t, "coil 0", ""), tag.BoolValue(true), "\x01")
	f(point(t, "coil 0", ""), tag.IntValue(0), "\x00")
	f(point(t, "coil 0", ""), tag.IntValue(2), "")
	f(point(t, "holding 0", "bool"), tag.BoolValue(true), "\x00\x01")
	f(point(t, "holding 0", ""), tag.IntValue(65535), "\xff\xff")
	f(point(t, "holding 0", ""), tag.IntValue(65536), "")
	f(point(t, "holding 0", ""), tag.IntValue(-1), "")
	f(point(t, "holding 0", ""), x(2.5), "\x00\x03")
	f(point(t, "holding 0", ""), tag.Value{}, "")
	f(point(t, "holding 0", ""), tag.TextValue(1), "")
	f(point(t, "holding 0", "int16"), tag.IntValue(-32768), "\x80\x00")
	f(point(t, "holding 0", "int16"), tag.IntValue(-32769), "")
	f(point(t, "holding 0", "int16"), tag.IntValue(32768), "")
	f(point(t, "holding 0", "uint64"), tag.IntValue(-1), "")
	f(point(t, "holding 0", "int64"), tag.IntValue(math.MinInt64), "\x80\x00\x00\x00\x00\x00\x00\x00")
	f(point(t, "holding 0", "int64"), x(1e19), "")
	f(point(t, "holding 0", "uint32 CDAB"), tag.IntValue(0x01020304), "\x03\x04\x01\x02")
	f(point(t, "holding 0", "float32 DCBA"), x(1), "\x00\x00\x80\x3f")
	f(point(t, "holding 0", "float32"), x(1e300), "")
	f(point(t, "holding 0", "bcd16"), tag.IntValue(1234), "\x12\x34")
	f(point(t, "holding 0", "bcd16"), tag.IntValue(10000), "")
	f(point(t, "holding 0", "bcd16"), tag.IntValue(-1), "")
	f(point(t, "holding 0", "bcd32 CDAB"), tag.IntValue(12345678), "\x56\x78\x12\x34")
	f(point(t, "holding 0 bit 3", ""), tag.BoolValue(true), "\x01")
	mode := point(t, "holding 0", "uint16")
	mode.Codes, mode.Invalid = []int64{1, 3, 5}, []drivers.Invalid{{Low: 5, High: 5, Quality: tag.BadSensor}}
	f(mode, tag.EnumValue(3), "\x00\x03")
	f(mode, tag.EnumValue(2), "")
	f(mode, tag.EnumValue(5), "")
	wide := point(t, "holding 0", "bool")
	wide.Options = options(t, "registers", "32 bit")
	f(wide, tag.BoolValue(true), "\x00\x00\x00\x01")
	p := point(t, "holding 0", "")
	p.Gain, p.Offset, p.Ranged, p.Low, p.High = 0.1, 0, true, 0, 50
	f(p, x(12.3), "\x00\x7b")
	f(p, x(50.1), "")
	f(p, x(-0.1), "")
}
