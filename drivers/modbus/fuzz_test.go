package modbus

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"davy/drivers"
	"davy/drivers/tag"

	lib "github.com/goburrow/modbus"
)

// What FuzzDecode tries: every type in every order, with a few bit fields.
var (
	fuzzTypes = []string{
		"bool", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64", "bcd16", "bcd32",
		"int16 bits 3..9", "uint32 bits 7..7", "int64 bits 30..40", "text 3",
	}
	fuzzOrders = []string{"ABCD", "CDAB", "BADC", "DCBA"}
)

// arranged is an independent reading of the byte orders: where in the registers
// each byte of the number stands, the most significant first.
func arranged(order string, raw []byte) (u uint64) {
	n := len(raw)
	for i := range n {
		at := i
		if order[0] == 'C' || order[0] == 'D' { // the registers swapped
			at = n - 2 - i/2*2 + i%2
		}
		if order == "BADC" || order == "DCBA" { // and the bytes in each
			at ^= 1
		}
		u = u<<8 + uint64(raw[at])
	}
	return u
}

// Whatever stands in the registers: no panic, nothing that is no number is
// good, a good number is the one that its bytes spell, and a good unscaled value is
// encoded as the registers it came from. With the tag davybug one pattern is
// read wrongly, and this finds it:
//
//	go test -tags davybug -run '^$' -fuzz '^FuzzDecode$' -fuzztime 60s ./drivers/modbus
func FuzzDecode(f *testing.F) {
	f.Add(uint8(7), uint8(0), []byte{0x43, 0x65, 2, 0x8f, 0, 0, 0, 0}, 0.0, 0.0, -50.0, 180.0, uint16(0), uint16(0))
	f.Add(uint8(7), uint8(1), []byte{0x7f, 0xc0, 0, 0, 0, 0, 0, 0}, 0.1, -40.0, 0.0, 0.0, uint16(2), uint16(3))
	f.Add(uint8(9), uint8(0), []byte{0x12, 0x3a}, 0.0, 0.0, 0.0, 0.0, uint16(10), uint16(0x8000))
	f.Add(uint8(14), uint8(2), []byte("N3H "), 0.0, 0.0, 0.0, 0.0, uint16(0), uint16(0))
	f.Fuzz(func(t *testing.T, n, o uint8, raw []byte, gain, offset, low, high float64, decimals, state uint16) {
		raw = append(append([]byte(nil), raw...), make([]byte, 8)...)[:8]
		name, order := fuzzTypes[int(n)%len(fuzzTypes)], fuzzOrders[o%4]
		base, bits, _ := strings.Cut(name, " bits")
		typ := base + " " + order
		if bits != "" {
			typ += " bits" + bits
		}
		if base == "bool" {
			typ = base
		}
		a, _ := parseAddress("holding 0")
		ty, err := parseType(a, typ)
		if err != nil {
			return // a text in an order that it cannot have
		}
		p := drivers.Point{Tag: 1, Station: 1, Address: a, Type: ty, Ranged: low < high, Low: low, High: high}
		if ty.Kind != tag.Bool && ty.Kind != tag.Text {
			p.Gain, p.Offset = gain, offset
		}
		p.Texts = []drivers.Text{{Text: "NH3", Index: 1}, {Text: "", Index: 2}}
		v, q := Decode(&p, raw)
		judge(t, &p, raw, v, q)
		companion(t, p, raw, decimals, state, q)
		if ty.Kind != tag.Bool && ty.Kind != tag.Text {
			exact(t, drivers.Point{Tag: 1, Station: 1, Address: a, Type: ty}, raw)
		}
	})
}

// exact reads a number without scale and range: it is what its bytes spell,
// and is encoded as the registers it came from.
func exact(t *testing.T, p drivers.Point, raw []byte) {
	t.Helper()
	v, q := Decode(&p, raw)
	if !q.Good() {
		return
	}
	raw = raw[:p.Type.Bits/8]
	order := p.Type.Order
	want := arranged(order, raw)
	got, mask := v.Bits(), ^uint64(0)>>(64-p.Type.Bits)
	switch {
	case p.Type.BCD:
		if fmt.Sprint(v.Int()) != strings.TrimLeft(fmt.Sprintf("%x", want), "0") && want != 0 {
			t.Fatalf("%+v of % x is %v", p.Type, raw, v)
		}
	case p.Type.Width > 0:
		if mask = 1<<p.Type.Width - 1; got&mask != want>>p.Type.Shift&mask {
			t.Fatalf("%+v of % x is %v", p.Type, raw, v)
		}
		return
	case p.Type.Kind != tag.Int && want<<(65-p.Type.Bits) == 0: // -0 is 0
		if got != 0 {
			t.Fatalf("%+v of % x is %v", p.Type, raw, v)
		}
		return
	case got&mask != want:
		t.Fatalf("%+v of % x is %v (%x), want %x", p.Type, raw, v, got, want)
	}
	if back, err := encode(&p, v); err != nil || !bytes.Equal(back, raw) {
		t.Fatalf("%+v of % x is %v, and that % x, %v", p.Type, raw, v, back, err)
	}
}

// judge checks what is true of every reading.
func judge(t *testing.T, p *drivers.Point, raw []byte, v tag.Value, q tag.Quality) {
	t.Helper()
	if !q.Valid() {
		t.Fatalf("quality %#x", uint32(q))
	}
	if q.Bad() {
		return
	}
	x := v.Float()
	if x != x || math.IsInf(x, 0) || p.Ranged && p.Type.Kind != tag.Bool && p.Type.Kind != tag.Text && (x < p.Low || x > p.High) {
		t.Fatalf("%+v of % x is good and %v", p.Type, raw, v)
	}
	if want := p.Kind(); v.Kind() != want && (p.Decimals == nil || v.Kind() != tag.Float64) {
		t.Fatalf("%+v holds kind %d, promised %d", p.Type, v.Kind(), want)
	}
}

// companion reads the same registers with decimals and a state beside them: it
// is never better than without, and never better than its state.
func companion(t *testing.T, p drivers.Point, raw []byte, decimals, state uint16, alone tag.Quality) {
	t.Helper()
	if p.Type.Kind == tag.Int || p.Type.Kind == tag.Float32 || p.Type.Kind == tag.Float64 {
		p.Decimals = Address{Table: Holding, Number: 4}
	}
	p.State = &drivers.State{Address: Address{Table: Holding, Number: 5}, Type: drivers.Type{Kind: tag.Int, Bits: 16}, Means: []drivers.Meaning{
		{Mask: 3, Value: 1, Quality: tag.GoodQuality}, {Mask: 4, Value: 4, Quality: tag.MakeQuality(tag.Uncertain, tag.Initial, 0)}, {Mask: 8, Value: 8, Quality: tag.BadSensor},
	}, Otherwise: tag.BadDeviceFault}
	c := newCell(nil, &p)
	data := binary.BigEndian.AppendUint16(append([]byte(nil), raw...), decimals)
	data = binary.BigEndian.AppendUint16(data, state)
	v, q := c.read(&p, data, 0)
	judge(t, &p, raw, v, q)
	if q.Good() && (state&3 != 1 || state&12 != 0 || alone.Reason() == tag.Configuration || p.Decimals != nil && decimals > MaxDecimals) {
		t.Fatalf("%+v of % x, decimals %d, state %#x is good", p.Type, raw, decimals, state)
	}
}

// requests is one of each that a link sends, to station 3.
func fuzzRequests() [][]byte {
	one := func(build func(lib.Client) ([]byte, error)) []byte { return frame(3, build) }
	identify, _ := packager{3}.Encode(&lib.ProtocolDataUnit{FunctionCode: funcIdentify, Data: []byte{meiIdentify, basicCode, 0}})
	return [][]byte{
		readFrame(3, Coil, 10, 9),
		readFrame(3, Discrete, 10, 16),
		readFrame(3, Input, 10, 1),
		readFrame(3, Holding, 10, 4),
		one(func(c lib.Client) ([]byte, error) { return c.WriteSingleCoil(7, 0xff00) }),
		one(func(c lib.Client) ([]byte, error) { return c.WriteSingleRegister(7, 9) }),
		one(func(c lib.Client) ([]byte, error) { return c.WriteMultipleCoils(7, 1, []byte{1}) }),
		one(func(c lib.Client) ([]byte, error) { return c.WriteMultipleRegisters(7, 2, []byte{1, 2, 3, 4}) }),
		one(func(c lib.Client) ([]byte, error) { return c.MaskWriteRegister(7, 0xfff7, 8) }),
		one(func(c lib.Client) ([]byte, error) { return c.ReadWriteMultipleRegisters(7, 1, 7, 1, []byte{0, 9}) }),
		identify,
	}
}

// fuzzSizes are the PDU lengths of their right answers, for registers of 16 and of 32 bits.
var fuzzSizes = [][2]int{{4, 4}, {4, 4}, {4, 6}, {10, 18}, {5, 5}, {5, 5}, {5, 5}, {5, 5}, {7, 7}, {4, 6}, {0, 0}}

func TestAnswerSizes(t *testing.T) {
	for i, q := range fuzzRequests() {
		for j, u := range []*unitOptions{nil, {wide: true}} {
			if got := u.answerSize(q); got != fuzzSizes[i][j] {
				t.Errorf("the answer to % x has %d bytes, want %d", q, got, fuzzSizes[i][j])
			}
		}
	}
}

// fuzzAnswers are right answers to fuzzRequests, as far as 16 bits go.
var fuzzAnswers = []string{
	"\x01\x02\xff\x01", "\x02\x02\x01\x02", "\x04\x02\x00\x07", "\x03\x08\x01\x02\x03\x04\x05\x06\x07\x08",
	"\x05\x00\x07\xff\x00", "\x06\x00\x07\x00\x09", "\x0f\x00\x07\x00\x01", "\x10\x00\x07\x00\x02", "\x16\x00\x07\xff\xf7\x00\x08", "\x17\x02\x00\x09",
	"\x2b\x0e\x01\x01\x00\x00\x02\x00\x03abc\x01\x01d",
}

func framed(unit byte, pdu string) []byte {
	return append([]byte{0, 0, 0, 0, byte((1 + len(pdu)) >> 8), byte(1 + len(pdu)), unit}, pdu...)
}

func TestTheRightAnswers(t *testing.T) {
	for i, q := range fuzzRequests() {
		right := framed(3, fuzzAnswers[i])
		if _, err := check(q, right); err != nil {
			t.Errorf("% x: %v", right, err)
		}
		other := framed(0, fuzzAnswers[i])
		if _, err := check(q, other); !errors.Is(err, errNonsense) {
			t.Errorf("% x of another unit: %v", other, err)
		}
		if _, err := (&unitOptions{anyUnit: true}).check(q, other); err != nil {
			t.Errorf("% x of any unit: %v", other, err)
		}
		if n := (*unitOptions)(nil).answerSize(q); n > 0 && n != len(right)-7 {
			t.Errorf("% x has %d bytes and not %d", right, len(right)-7, n)
		}
		for cut := range right { // anything short of it
			short := append([]byte(nil), right[:cut]...)
			if cut >= 6 {
				binary.BigEndian.PutUint16(short[4:], uint16(cut-6))
			}
			if _, err := check(q, short); err == nil {
				t.Errorf("% x was taken for an answer to % x", short, q)
			}
		}
		if _, err := check(q, framed(3, fuzzAnswers[i]+"\x00")); err == nil {
			t.Errorf("a byte more was taken for an answer to % x", q)
		}
	}
}

// A hostile answer is never good: only the one that fits every field of its
// request gives data, and then they are as long as asked for.
func FuzzAnswer(f *testing.F) {
	all := fuzzRequests()
	for i := range all {
		right := framed(3, fuzzAnswers[i])
		f.Add(right)
		f.Add(framed(3, string([]byte{all[i][7] | 0x80, 2})))
		for at := range right { // each byte of the frame wrong
			wrong := bytes.Clone(right)
			wrong[at] ^= 1
			f.Add(wrong)
		}
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		for i, request := range all {
			for j, u := range []*unitOptions{nil, {wide: true}, {anyUnit: true}} {
				data, err := u.check(request, answer)
				if err != nil {
					if _, ok := err.(exception); !ok && !errors.Is(err, errNonsense) {
						t.Fatalf("the error is %v", err)
					}
					continue
				}
				if err := proper(request, answer, data, fuzzSizes[i][j%2], j == 2); err != nil {
					t.Fatalf("% x was taken for an answer to % x: %v", answer, request, err)
				}
			}
		}
	})
}

// proper is check once more, by hand and slowly.
func proper(request, answer, data []byte, size int, anyUnit bool) error {
	switch {
	case binary.BigEndian.Uint32(answer) != 0 || int(answer[4])<<8+int(answer[5]) != len(answer)-6:
		return errors.New("header")
	case answer[6] != 3 && !anyUnit || answer[7] != request[7]:
		return errors.New("unit or function")
	case size > 0 && len(answer) != 7+size:
		return fmt.Errorf("%d bytes, not %d", len(answer)-7, size)
	}
	switch f := request[7]; {
	case f <= 4 || f == 23:
		if int(answer[8]) != size-2 || !bytes.Equal(data, answer[9:]) {
			return errors.New("count")
		}
	case f == 43:
		if answer[8] != 14 || answer[9] != request[9] || len(answer) < 14 || len(answer) > 260 {
			return errors.New("identification")
		}
	default:
		if !bytes.Equal(answer[8:], request[8:8+size-1]) {
			return errors.New("echo")
		}
	}
	return nil
}

// Whatever a device says of itself: no panic, every text printable, and the
// lengths of its answer are followed to its end.
func FuzzIdentity(f *testing.F) {
	f.Add([]byte(fuzzAnswers[10]))
	f.Add([]byte("\x2b\x0e\x01\x83\xff\x02\x01\x80\xf0\xff\xff"))
	f.Add([]byte("\x2b\x0e\x01\x01\x00\x00\xff\x00\x00\x01\x00"))
	f.Add([]byte("\x2b\x0e\x01\x01\x00\x00\x02\x00\xe0" + strings.Repeat("x", 224) + "\x01\x20"))
	request := fuzzRequests()[10]
	f.Fuzz(func(t *testing.T, pdu []byte) {
		n, ok := identitySize(pdu)
		if ok && (n < identityHead || n > maxPDU) {
			t.Fatalf("% x has %d bytes", pdu, n)
		}
		if len(pdu) > maxPDU {
			return
		}
		data, err := check(request, framed(3, string(pdu)))
		if (err == nil) != (ok && n == len(pdu) && pdu[2] == basicCode) && !(len(pdu) == 2 && pdu[0] == 0xab) {
			t.Fatalf("% x: %d, %v, %v", pdu, n, ok, err)
		}
		if err != nil {
			return
		}
		out, _, more, err := objects(nil, data)
		if err != nil {
			return
		}
		if more && len(out) == 0 {
			t.Fatal("more follows of nothing")
		}
		seen := map[byte]bool{}
		for _, o := range out {
			if seen[o.Number] || len(o.Text) > 3*255 || strings.ContainsAny(o.Text, "\x00\n\x1b") {
				t.Fatalf("%+v", o)
			}
			seen[o.Number] = true
		}
	})
}

// Whatever is written of a device: what is taken makes requests that can be.
func FuzzDevice(f *testing.F) {
	for _, s := range []string{"no", "8 registers", "60", "32 bit", "multiple", "yes", "holding 0 = 0x1234", "50ms", "4s"} {
		for i := range deviceFields() {
			f.Add(uint8(i), s)
		}
	}
	f.Fuzz(func(t *testing.T, n uint8, text string) {
		fields := deviceFields()
		name := fields[int(n)%len(fields)].Name
		o, err := parseDevice(drivers.Fields{name: text})
		if err != nil {
			var field *drivers.FieldError
			var h *drivers.Hint
			if !errors.As(err, &field) || field.Field != name || !errors.As(err, &h) || h.Hint == "" {
				t.Fatalf("%s: %q: %v", name, text, err)
			}
			return
		}
		u, _ := o.(*unitOptions)
		for table := range tables {
			limit := u.limit(Table(table))
			if limit < 1 || limit > MaxBits || u.gap(Table(table)) < 0 {
				t.Fatalf("%s: %q: limit %d", name, text, limit)
			}
			q := readFrame(1, Table(table), 0, limit)
			if size := u.answerSize(q); size > maxPDU {
				t.Fatalf("%s: %q: an answer of %d bytes", name, text, size)
			}
		}
	})
}
