package modbus

import (
	"bytes"
	"encoding/binary"
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
	f(scaled("int16", 1, 0, 0, 100), "\x00\x65", "101", tag.Int, tag.BadRange)
	f(scaled("int16", 1, 0, 0, 100), "\xff\xff", "-1", tag.Int, tag.BadRange)
	f(scaled("float32", 0, 0, -50, 180), "\x43\x65\x02\x8f", "229.01", tag.Float32, tag.BadRange)
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
	p := point(t, "holding 0", "")
	p.Gain, p.Offset, p.Ranged, p.Low, p.High = 0.1, 0, true, 0, 50
	f(p, x(12.3), "\x00\x7b")
	f(p, x(50.1), "")
	f(p, x(-0.1), "")
}

// Whatever stands in the registers: no panic, nothing that is no number is
// good, and a good unscaled value is encoded as the registers it came from.
func FuzzDecode(f *testing.F) {
	f.Add(uint8(0), uint8(0), []byte{0x43, 0x65, 2, 0x8f, 0, 0, 0, 0}, 0.0, 0.0, -50.0, 180.0)
	f.Add(uint8(6), uint8(1), []byte{0x7f, 0xc0, 0, 0, 0, 0, 0, 0}, 0.1, -40.0, 0.0, 0.0)
	names := []string{"bool", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"}
	orders := []string{"ABCD", "CDAB", "BADC", "DCBA"}
	f.Fuzz(func(t *testing.T, n, o uint8, raw []byte, gain, offset, low, high float64) {
		for len(raw) < 8 {
			raw = append(raw, 0)
		}
		name := names[int(n)%len(names)]
		typ := name
		if name != "bool" {
			typ += " " + orders[o%4]
		}
		p := point(t, "holding 0", typ)
		if name != "bool" {
			p.Gain, p.Offset = gain, offset
		}
		p.Ranged, p.Low, p.High = low < high, low, high
		v, q := Decode(&p, raw)
		if !q.Valid() || q.Bad() == q.Good() {
			t.Fatalf("quality %#x", uint32(q))
		}
		if !q.Good() {
			return
		}
		if v.Kind() != p.Kind() {
			t.Fatalf("%s holds kind %d, promised %d", typ, v.Kind(), p.Kind())
		}
		x := v.Float()
		if x != x || math.IsInf(x, 0) || p.Ranged && name != "bool" && (x < low || x > high) {
			t.Fatalf("%s of % x is good and %v", typ, raw, v)
		}
		if name == "bool" || p.Scaled() {
			return
		}
		back, err := encode(&p, v)
		zero := x == 0 // -0 is written as 0
		if err != nil || !zero && !bytes.Equal(back, raw[:p.Type.Bits/8]) {
			t.Fatalf("%s of % x is %v, and that % x, %v", typ, raw, v, back, err)
		}
	})
}

// A hostile answer is never good: only the one that fits every field of the
// request gives data, and then the data are the request's quantity.
func FuzzAnswer(f *testing.F) {
	request := readFrame(3, Holding, 10, 4)
	f.Add(request, []byte{0, 0, 0, 0, 0, 11, 3, 3, 8, 1, 2, 3, 4, 5, 6, 7, 8})
	f.Add(request, []byte{0, 0, 0, 0, 0, 3, 3, 0x83, 2})
	f.Add(readFrame(1, Coil, 0, 9), []byte{0, 0, 0, 0, 0, 5, 1, 1, 2, 255, 1})
	f.Add(request, []byte{})
	for _, one := range []int{0, 1, 2, 3, 4, 5, 6, 7, 8} { // each field of the frame wrong
		answer := []byte{0, 0, 0, 0, 0, 11, 3, 3, 8, 1, 2, 3, 4, 5, 6, 7, 8}
		answer[one] ^= 1
		f.Add(request, answer)
	}
	f.Fuzz(func(t *testing.T, _, answer []byte) {
		for table, quantity := range map[Table]int{Coil: 9, Discrete: 16, Input: 1, Holding: 4} {
			request := readFrame(3, table, 10, quantity)
			data, err := check(request, answer)
			if err == nil {
				want := 2 * quantity
				if table.Bits() {
					want = (quantity + 7) / 8
				}
				if len(data) != want || len(answer) != header+2+want || answer[6] != 3 || answer[7] != request[7] ||
					int(answer[8]) != want || binary.BigEndian.Uint32(answer) != 0 {
					t.Fatalf("% x was taken for an answer to % x", answer, request)
				}
			} else if _, ok := err.(exception); !ok && !errors.Is(err, errNonsense) {
				t.Fatalf("the error is %v", err)
			}
		}
	})
}
