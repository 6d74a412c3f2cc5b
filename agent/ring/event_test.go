package ring

import (
	"encoding/hex"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"davy/drivers/tag"
	"davy/rules"
)

// fill sets every field that is not set to something that is not its zero
// value, so that a field which nobody carries shows.
func fill(v reflect.Value, n *int64) {
	*n++
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(*n))
	case reflect.Int, reflect.Int64:
		v.SetInt(*n)
	case reflect.Float64:
		v.SetFloat(float64(*n))
	case reflect.String:
		v.SetString("s" + strings.Repeat("x", int(*n%7)))
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(v.Index(i), n)
		}
	case reflect.Struct:
		switch v.Interface().(type) {
		case tag.Value:
			v.Set(reflect.ValueOf(tag.IntValue(*n)))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i), n)
		}
	default:
		panic("BUG: a kind of field that nobody fills: " + v.Kind().String())
	}
}

// Every field of an event comes out as it went in: the next one that is added to
// rules.Event fails here until it is carried.
func TestEveryFieldIsCarried(t *testing.T) {
	var e Event
	n := int64(0)
	fill(reflect.ValueOf(&e).Elem(), &n)
	e.Serial, e.LostFrom, e.Samples = 9, 7, 5
	e.Quality = tag.GoodQuality
	for i := range e.Votes {
		e.Votes[i].Quality = tag.BadNoComm
	}
	for i := range e.Record {
		e.Record[i].Quality = tag.BadDeviceFault
	}
	got, err := DecodeEvents(AppendEvents(nil, []Event{e}))
	if err != nil || !reflect.DeepEqual(got[0], e) {
		t.Fatalf("%v\ngot  %+v\nwant %+v", err, got, e)
	}
}

// What version 1 left in a latch file is read: an agent that is made new
// must not take its latches for damaged.
func TestVersion1IsRead(t *testing.T) {
	v, _ := tag.Float64Value(160.5)
	want := Event{Serial: 7, Event: rules.Event{
		Kind: rules.InterlockTripped, At: tag.Stamp{Wall: 11, Mono: 12}, Rule: "氨.high", Occurrence: 3, Priority: rules.High, Tag: 4, Value: v,
		Quality: tag.GoodQuality, Limit: 150, FirstOut: "nh3-1.gas", Who: "li", Proved: true, Note: "n",
		Votes: []rules.Vote{{Channel: "nh3-1.gas", Reason: rules.VoteBad, Quality: tag.BadNoComm, Last: true}},
	}}
	// As the version before this one wrote it.
	const old = "0101" + "0700000000000000" + "060301" + "000000000000000000000000000000000000000000000000" + "0b000000000000000c00000000000000" +
		"0300000000000000" + "04000000" + "040000000000106440" + "GOOD" + "0000000000c06240" + "08e6b0a82e68696768" + "096e68332d312e676173" + "00" + "026c69" + "016e" +
		"01" + "096e68332d312e676173" + "0201" + "00000000000000000000000000000000" + "NOCO" + "000000000000000000"
	q := func(q tag.Quality) string { return hex.EncodeToString(le.AppendUint32(nil, uint32(q))) }
	raw, err := hex.DecodeString(strings.NewReplacer("GOOD", q(tag.GoodQuality), "NOCO", q(tag.BadNoComm)).Replace(old))
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeEvents(raw)
	if err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], want) {
		t.Fatalf("%v\ngot  %+v\nwant %+v", err, got, want)
	}
	raw[2+8+2] |= flagTest // a flag that version 1 did not have
	if _, err := DecodeEvents(raw); !errors.Is(err, ErrFrame) {
		t.Errorf("a flag that version 1 did not have: %v", err)
	}
}

// A record that is too long is thinned evenly over its tags, says how long it
// was, and is never more than its bound.
func TestLongRecordIsThinned(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tags := rapid.IntRange(1, 40).Draw(t, "tags")
		n := rapid.IntRange(0, 5*MaxSamples).Draw(t, "n")
		e := Event{Serial: 1}
		for i := range n {
			e.Record = append(e.Record, rules.Sample{Tag: tag.ID(i%tags + 1), At: tag.Stamp{Mono: int64(i)}})
		}
		got, err := DecodeEvents(AppendEvents(nil, []Event{e}))
		if err != nil {
			t.Fatal(err)
		}
		r := got[0].Record
		if int(got[0].Samples) != n || len(r) > MaxSamples || n <= MaxSamples && len(r) != n || n > MaxSamples && len(r) < MaxSamples/4 {
			t.Fatalf("%d samples of %d tags: %d are left of %d", n, tags, len(r), got[0].Samples)
		}
		left := map[tag.ID]int{}
		for i := range r {
			left[r[i].Tag]++
			if i > 0 && r[i].At.Mono <= r[i-1].At.Mono {
				t.Fatal("not in the order of time")
			}
		}
		for id := 1; id <= min(tags, n); id++ {
			if d := left[tag.ID(id)] - left[1]; d < -1 || d > 1 {
				t.Fatalf("of tag %d %d samples are left, of tag 1 %d", id, left[tag.ID(id)], left[1])
			}
		}
	})
	e := Event{Serial: 1}
	for i := range 3 * MaxSamples { // each of a tag of its own
		e.Record = append(e.Record, rules.Sample{Tag: tag.ID(i + 1)})
	}
	if r := Thin(e.Record); len(r) != MaxSamples || r[0].Tag != 1 || r[MaxSamples-1].Tag != MaxSamples {
		t.Errorf("%d samples", len(r))
	}
}

// Bytes that promise more samples than the bound, than there were or than
// there are, and what is no duration, are refused.
func TestHostileRecord(t *testing.T) {
	e := Event{Serial: 1, Event: rules.Event{Record: make([]rules.Sample, 2)}}
	good := AppendEvents(nil, []Event{e})
	at := len(good) - 2 - 2*sampleSize // the samples, and two empty texts behind them; before it their count, Samples, two empty texts, For
	for _, c := range []struct {
		what  string
		bytes func([]byte) []byte
	}{
		{"more samples than there were", func(b []byte) []byte { b[at-5] = 1; return b }},
		{"more than there are", func(b []byte) []byte { b[at-1] = 3; return b }},
		{"a value that is none", func(b []byte) []byte { b[at+4+16] = 0xff; return b }},
		{"a quality that is none", func(b []byte) []byte { b[len(b)-3] = 0xff; return b }},
		{"a negative duration", func(b []byte) []byte { b[at-5-2-1] = 0x80; return b }},
		{"an unknown flag", func(b []byte) []byte { b[2+8+2] = 8; return b }},
		{"more than MaxSamples", func(b []byte) []byte {
			many := append(b[:at-5:at-5], 0xff, 0xff, 0, 0, 0x81, 0x08) // 1025
			return append(many, make([]byte, (MaxSamples+1)*sampleSize)...)
		}},
	} {
		if _, err := DecodeEvents(c.bytes(append([]byte(nil), good...))); !errors.Is(err, ErrFrame) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
	if _, err := DecodeEvents(good); err != nil {
		t.Error(err)
	}
}

// Where there is no room samples go before events do, the oldest first, and
// what is left still says how many there were.
func TestSamplesGoBeforeEvents(t *testing.T) {
	w := NewWriter(WriterOptions{MaxReadings: 1, MaxEventBytes: 3 * MaxSamples * sampleSize})
	for i := range uint64(50) {
		w.Offer(&Turn{Events: []Event{{Serial: 2*i + 1}, {Serial: 2*i + 2, Event: rules.Event{Kind: rules.InterlockRecorded, Record: make([]rules.Sample, 2*MaxSamples)}}}})
	}
	out := w.Outbox(nil)
	if len(out) != 100 {
		t.Fatalf("%d events of 100 are left", len(out))
	}
	sum := 0
	for i := range out {
		e := &out[i]
		sum += eventSize(e)
		if e.Serial%2 == 0 && e.Samples != 2*MaxSamples || e.LostFrom != 0 {
			t.Errorf("event %d: %d samples, lost from %d", e.Serial, e.Samples, e.LostFrom)
		}
	}
	if sum > 3*MaxSamples*sampleSize || len(out[99].Record) != MaxSamples || len(out[1].Record) != 0 || sum != w.b.bytes {
		t.Errorf("%d bytes (%d counted), %d samples in the newest, %d in the oldest", sum, w.b.bytes, len(out[99].Record), len(out[1].Record))
	}
	if n := len(AppendEvents(nil, out)); n > sum+3 {
		t.Errorf("%d bytes, eventSize promised %d", n, sum)
	}
	if w.Release(100); w.b.bytes != 0 || len(w.b.events) != 0 {
		t.Errorf("%d bytes are counted when no event is left", w.b.bytes)
	}
}

// The samples of a record get the tags of the new plan, and one whose tag is
// gone goes: never another tag's.
func TestRetagOfRecords(t *testing.T) {
	w := NewWriter(WriterOptions{MaxReadings: 1})
	w.Offer(&Turn{Events: []Event{{Serial: 1, Event: rules.Event{Record: []rules.Sample{{Tag: 1}, {Tag: 2}, {Tag: 3}}}}}})
	before := w.Outbox(nil)
	w.Retag(func(id tag.ID) tag.ID { return map[tag.ID]tag.ID{1: 7, 3: 1}[id] })
	out := w.Outbox(nil)
	if r := out[0].Record; len(r) != 2 || r[0].Tag != 7 || r[1].Tag != 1 || out[0].Samples != 3 {
		t.Errorf("%+v", out[0])
	}
	if before[0].Record[0].Tag != 1 {
		t.Error("what was handed out before was changed")
	}
	if w.b.bytes != eventSize(&out[0]) || w.b.events[0].size != w.b.bytes {
		t.Errorf("%d bytes counted, %d needed", w.b.bytes, eventSize(&out[0]))
	}
}

// A full frame of the longest events of the buffer holds: it is never more than MaxFrame.
func TestLargestFrame(t *testing.T) {
	longest := Event{Event: rules.Event{Record: make([]rules.Sample, MaxSamples), Votes: make([]rules.Vote, MaxVotes)}}
	for _, s := range []*string{&longest.Rule, &longest.FirstOut, &longest.Output, &longest.Who, &longest.Note, &longest.Second, &longest.Old, &longest.New} {
		*s = strings.Repeat("x", MaxText)
	}
	if n := MaxEventBytes + eventSize(&longest) + FrameReadings*ReadingSize + 200; n > MaxFrame || n > math.MaxInt32 {
		t.Errorf("%d bytes", n)
	}
}
