package wire

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"davy/drivers/tag"
)

func f32(f float32) tag.Value {
	v, ok := tag.Float32Value(f)
	if !ok {
		panic("BUG: test value")
	}
	return v
}

func sample() (*Envelope, []Event, []tag.Reading) {
	events := []Event{
		{
			Kind: 1, At: tag.Stamp{Wall: 1_800_000_000_000_000_000, Mono: 77}, Rule: "nh3-1.high", Occurrence: 3, Priority: 4, Tag: 2, Value: f32(151.5),
			Quality: tag.GoodQuality, Limit: 150, Note: "机房", Serial: 9,
		},
		{Kind: 6, Rule: "leak", FirstOut: "nh3-1.gas", Votes: []Vote{{Channel: "nh3-1.gas", Reason: 1, Quality: tag.GoodQuality, Value: f32(151.5), Last: true}}},
	}
	readings := []tag.Reading{
		{Tag: 1, Quality: tag.GoodQuality, Value: f32(20.25), Received: tag.Stamp{Wall: 1_800_000_000_000_000_000, Mono: 5}},
		{Tag: 2, Quality: tag.BadNoComm, Received: tag.Stamp{Wall: 1_800_000_000_000_000_000, Mono: 6}},
		{Tag: 1, Quality: tag.GoodQuality, Value: f32(20.5), Source: 4, Received: tag.Stamp{Wall: 1_800_000_001_000_000_000, Mono: 1_000_000_005}},
	}
	e := &Envelope{
		Version: Version, Gateway: "JY-0231-GW1", Epoch: Epoch{1, 2, 3}, Plan: []byte{9}, Sent: tag.Stamp{Wall: 5, Mono: 6}, Boot: "b", ClockTrusted: true,
		ClockError: 7, OutputsArmed: true,
		Blocks: []Block{{Stream: EventStream, First: 1, Count: 2, Body: []byte("body")}},
		Heads:  []Head{{Stream: EventStream, Number: 2, Root: Root{4}}},
	}
	return e, events, readings
}

// The bytes of today, written down: what was ever sent must stay readable.
func TestBytesStay(t *testing.T) {
	e, events, readings := sample()
	f := func(what string, got []byte, want string) {
		t.Helper()
		if hex.EncodeToString(got) != want {
			t.Errorf("%s\n got %x\nwant %s", what, got, want)
		}
	}
	f("envelope", e.Encode(nil), "0801120b4a592d303233312d4757311a10010203000000000000000000000000002233"+
		"0a056576656e74100118022204626f64792a20"+strings.Repeat("00", 32)+
		"2a2b0a056576656e7410021a2004"+strings.Repeat("00", 31)+"320109380a400c4a0162500158076001")
	f("event", events[0].Append(nil), "0801108080a0bbd29df1fa31189a01220a6e68332d312e68696768280330043802420b08031100801743000000004880a08080085"+
		"10000000000c0624082"+"0106e69cbae688bf880109")
	f("reading", AppendReading(nil, readings[2]), "000000018000100003000000004"+"1a40000"+"0000000000000004"+"18fae276cf4eca00"+"000000003b9aca05")
	back, err := DecodeEnvelope(e.Encode(nil))
	if err != nil || !reflect.DeepEqual(e, back) {
		t.Errorf("%v\n%+v\n%+v", err, e, back)
	}
	if got, err := DecodeReadings(EncodeReadings(readings)); err != nil || !reflect.DeepEqual(got, readings) {
		t.Errorf("readings %v %+v", err, got)
	}
	if got, err := DecodeEvents(EncodeEvents(events)); err != nil || !reflect.DeepEqual(got, events) {
		t.Errorf("events %v %+v", err, got)
	}
	r := NextRoot(Root{}, EventStream, 1, 2, []byte("body"))
	f("root", r[:], "d8cef805ab5b3e55c29e38bb065562e1db2cdd242d5286554bfad640d82f49b4")
	h := RecordHash(Epoch{1}, EventStream, 1, []byte("x"))
	f("record hash", h[:], "e1bd32d8f67a6c40104ab800c97b9535510b651da1c5b1791b241da23f320601")
}

func TestSignature(t *testing.T) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))
	s := Sign(EnvelopeKind, []byte("hello"), key)
	if !s.Verify(EnvelopeKind) {
		t.Fatal("own signature")
	}
	if s.Verify(ReceiptKind) {
		t.Error("an envelope passes for a receipt")
	}
	f := func(what string, change func(*Signed)) {
		t.Helper()
		c := Signed{bytes.Clone(s.Body), bytes.Clone(s.Key), bytes.Clone(s.Signature)}
		change(&c)
		if c.Verify(EnvelopeKind) {
			t.Errorf("%s verifies", what)
		}
	}
	f("other body", func(s *Signed) { s.Body[0]++ })
	f("other key", func(s *Signed) { s.Key[0]++ })
	f("short key", func(s *Signed) { s.Key = s.Key[:31] })
	f("no key", func(s *Signed) { s.Key = nil })
	f("other signature", func(s *Signed) { s.Signature[0]++ })
	f("no signature", func(s *Signed) { s.Signature = nil })
}

// What is hostile is refused with an error that says which kind, and does not
// take much memory.
func TestHostileBodies(t *testing.T) {
	f := func(what string, want error, decode func() error) {
		t.Helper()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := decode()
		runtime.ReadMemStats(&after)
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 8*MaxBody {
			t.Errorf("%s: allocated %d bytes", what, took)
		}
	}
	events := func(raw []byte) func() error {
		body := pack(raw)
		return func() error { _, err := DecodeEvents(body); return err }
	}
	readings := func(raw []byte) func() error {
		body := pack(raw)
		return func() error { _, err := DecodeReadings(body); return err }
	}
	f("a bomb", ErrTooLarge, events(make([]byte, MaxBody+1)))
	f("a bomb of readings", ErrTooLarge, readings(make([]byte, 4*MaxBody)))
	f("too many events", ErrTooLarge, events(bytes.Repeat([]byte{0x0a, 0}, MaxRecords+1)))
	var vote []byte
	vote = putMessage(vote, 1, func(b []byte) []byte { return append(b, bytes.Repeat([]byte{12<<3 | 2, 0}, MaxItems)...) })
	f("too many votes", ErrTooLarge, events(vote))
	table := func(b []byte) func() error {
		return events(putMessage(nil, 1, func(d []byte) []byte {
			return putMessage(d, 20, func(d []byte) []byte { return putMessage(d, 2, func(d []byte) []byte { return append(d, b...) }) })
		}))
	}
	f("too many names", ErrTooLarge, table(bytes.Repeat([]byte{10<<3 | 2, 0}, MaxItems)))
	f("a long name", ErrTooLarge, table((&TableTag{Names: []Name{{Text: strings.Repeat("x", MaxName+1)}}}).append(nil)))
	f("the longest name", nil, table((&TableTag{Names: []Name{{Text: strings.Repeat("x", MaxName)}}}).append(nil)))
	f("not compressed", ErrMalformed, func() error { _, err := DecodeEvents([]byte("plain")); return err })
	f("not UTF-8", ErrMalformed, events(putMessage(nil, 1, func(b []byte) []byte { return append(b, 4<<3|2, 1, 0xff) })))
	f("a NaN", ErrMalformed, events(putMessage(nil, 1, func(b []byte) []byte {
		return putMessage(b, 8, func(b []byte) []byte { return putFixed64(putUint(b, 1, uint64(tag.Float64)), 2, 0x7ff8000000000001) })
	})))
	col := func(n int, v ...uint64) (b []byte) {
		for _, x := range v {
			b = protowire.AppendVarint(b, x)
		}
		return putBytes(nil, protowire.Number(n), b)
	}
	one := func(more ...[]byte) []byte { // a body of one good reading of tag 1, and more of its columns
		return slicesOf(append([][]byte{
			col(colScans, 1), col(colTags, 1), col(colQualities, 1, uint64(tag.GoodQuality)), col(colKinds, 1, uint64(tag.Int)), col(colForms, 0), col(colWidths, 0),
		}, more...)...)
	}
	f("a good body", nil, readings(one()))
	f("a column twice", ErrMalformed, readings(one(col(colTags, 1))))
	f("no tags", ErrMalformed, readings(col(colScans, 1)))
	f("tags without scans", ErrMalformed, readings(col(colTags, 1)))
	f("a scan of nothing", ErrMalformed, readings(col(colScans, 1, 0)))
	f("a tag below 0", ErrMalformed, readings(slicesOf(col(colScans, 1), col(colTags, 0, 1))))
	f("a quality that is none", ErrMalformed, readings(slicesOf(col(colScans, 1), col(colTags, 1), col(colQualities, 1, 0xffffffff), col(colKinds, 1, 0))))
	f("a quality of nothing", ErrMalformed, readings(slicesOf(col(colScans, 1), col(colTags, 1), col(colQualities, 0, 0), col(colKinds, 1, 0))))
	f("a kind that is none", ErrMalformed, readings(slicesOf(col(colScans, 1), col(colTags, 1), col(colQualities, 1, 0), col(colKinds, 1, 7))))
	f("a form that is none", ErrMalformed, readings(one(col(colForms, 1))))
	f("a wide difference", ErrMalformed, readings(one(col(colWidths, 15))))
	f("a wide number", ErrMalformed, readings(one(col(colWidths, 9<<4&127|1, 0))))
	f("numbers of nothing", ErrMalformed, readings(one(col(colFirsts, 1))))
	f("too few numbers", ErrMalformed, readings(one(col(colWidths, 1<<4))))
	f("stamps of one scan", ErrMalformed, readings(one(col(colWalls, 1, 1))))
	f("source times of more", ErrMalformed, readings(one(col(colSourced, 0, 2))))
	f("too many readings", ErrTooLarge, readings(col(colScans, MaxRecords+1)))
	f("far too many readings", ErrTooLarge, readings(col(colScans, 1<<63, 1<<63)))
	f("an envelope without epoch", ErrMalformed, func() error { _, err := DecodeEnvelope([]byte{8, 1}); return err })
	f("a receipt with a short root", ErrMalformed, func() error {
		_, err := DecodeReceipt(append(putBytes(nil, 5, make([]byte, 16)), 6<<3|2, 3, 0x1a, 1, 0))
		return err
	})
	huge := make([]byte, MaxMessage+1)
	f("a huge message", ErrTooLarge, func() error { _, err := DecodeSigned(huge); return err })
}

func slicesOf(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func TestDigestWantsOrder(t *testing.T) {
	var d Digest
	add := func(e Epoch, s string, n uint64) error { return d.Add(e, s, n, []byte("x")) }
	for _, err := range []error{add(Epoch{1}, EventStream, 1), add(Epoch{1}, EventStream, 2), add(Epoch{1}, ReadingStream, 1), add(Epoch{2}, EventStream, 1)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range []error{add(Epoch{2}, EventStream, 1), add(Epoch{1}, ReadingStream, 7), add(Epoch{2}, "a", 1)} {
		if !errors.Is(err, ErrOrder) {
			t.Errorf("got %v", err)
		}
	}
	if d.Count != 4 {
		t.Errorf("count %d", d.Count)
	}
}

// A value that is a code has the name that the table gives it, an amount none.
func TestNameOf(t *testing.T) {
	row := TableTag{Names: []Name{{0, "stop"}, {1, "run"}, {-2, "lost"}}}
	for _, x := range []struct {
		v    tag.Value
		want string
	}{{tag.BoolValue(true), "run"}, {tag.EnumValue(-2), "lost"}, {tag.TextValue(0), "stop"}, {tag.EnumValue(5), ""}, {f32(1), ""}, {tag.Value{}, ""}} {
		if got := row.NameOf(x.v); got != x.want {
			t.Errorf("%s: %q, want %q", x.v, got, x.want)
		}
	}
}

// A name that is not UTF-8 (from a device, a person) must not make a block
// that no receiver takes.
func TestTextIsMadeReadable(t *testing.T) {
	in := Event{Kind: 1, Note: "\xb0\xb1\xc6\xf8"} // GBK
	out, err := DecodeEvents(EncodeEvents([]Event{in}))
	if err != nil || out[0].Note != "\uFFFD" {
		t.Fatalf("%+v, %v", out, err)
	}
}

func FuzzDecode(f *testing.F) {
	e, events, readings := sample()
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))
	s := Sign(EnvelopeKind, e.Encode(nil), key)
	f.Add(s.Encode(nil))
	f.Add(e.Encode(nil))
	f.Add(EncodeEvents(events))
	f.Add(EncodeReadings(readings))
	f.Add((&Receipt{Version: 1, Upto: e.Heads, Refused: []Refused{{Stream: "event", From: 1, To: 2, Code: "x"}}}).Encode(nil))
	e.Checkpoint, e.Proof, e.Blocks[0].Leaf = []byte("note"), &Proof{Size: 7, Hashes: []Root{{1}, {2}}}, 8
	f.Add(e.Encode(nil))
	f.Add((&Receipt{Version: 1, Witness: []byte("note"), Log: "proof", Certificate: []byte("c")}).Encode(nil))
	f.Add((&Resume{Version: 1, Number: 3, Have: []Have{{Epoch: Epoch{1}, Upto: e.Heads, Witness: []byte("note")}}, Certificate: []byte("c")}).Encode(nil))
	f.Add((&Certificate{Version: 1, Key: []byte("k"), Name: "n", NotBefore: 1, NotAfter: 2, Number: 3, Least: 2}).Encode(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		// Whatever is read is written and read again the same.
		if r, err := DecodeResume(b); err == nil {
			back, err := DecodeResume(r.Encode(nil))
			if err != nil || !reflect.DeepEqual(r, back) {
				t.Fatalf("resume %v\n%+v\n%+v", err, r, back)
			}
		}
		if c, err := DecodeCertificate(b); err == nil {
			back, err := DecodeCertificate(c.Encode(nil))
			if err != nil || !reflect.DeepEqual(c, back) {
				t.Fatalf("certificate %v\n%+v\n%+v", err, c, back)
			}
		}
		if e, err := DecodeEnvelope(b); err == nil {
			back, err := DecodeEnvelope(e.Encode(nil))
			if err != nil || !reflect.DeepEqual(e, back) {
				t.Fatalf("envelope %v\n%+v\n%+v", err, e, back)
			}
		}
		if r, err := DecodeReceipt(b); err == nil {
			back, err := DecodeReceipt(r.Encode(nil))
			if err != nil || !reflect.DeepEqual(r, back) {
				t.Fatalf("receipt %v\n%+v\n%+v", err, r, back)
			}
		}
		if s, err := DecodeSigned(b); err == nil {
			s.Verify(EnvelopeKind)
		}
		for _, body := range [][]byte{b, pack(b)} {
			if rs, err := DecodeReadings(body); err == nil && len(rs) > 0 {
				back, err := DecodeReadings(EncodeReadings(rs))
				if err != nil || !reflect.DeepEqual(rs, back) {
					t.Fatalf("readings %v", err)
				}
			}
			if es, err := DecodeEvents(body); err == nil && len(es) > 0 {
				back, err := DecodeEvents(EncodeEvents(es))
				if err != nil || len(es) != len(back) {
					t.Fatalf("events %v", err)
				}
				for i := range es {
					if !bytes.Equal(es[i].Append(nil), back[i].Append(nil)) {
						t.Fatal("canonical bytes changed")
					}
				}
			}
		}
	})
}
