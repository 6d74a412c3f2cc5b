package ring

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"davy/drivers/tag"
	"davy/rules"
)

func stampGen(t *rapid.T) tag.Stamp {
	return tag.Stamp{Wall: rapid.Int64().Draw(t, "wall"), Mono: rapid.Int64().Draw(t, "mono")}
}

func qualityGen(t *rapid.T) tag.Quality {
	r := tag.Reason(rapid.Uint8Range(0, uint8(tag.LocalOverride)).Draw(t, "reason"))
	return tag.MakeQuality(r.Status(), r, tag.Quality(rapid.Uint8Range(0, 31).Draw(t, "flags")))
}

func valueGen(t *rapid.T) tag.Value {
	switch rapid.IntRange(0, 6).Draw(t, "kind") {
	case 1:
		return tag.BoolValue(rapid.Bool().Draw(t, "bool"))
	case 2:
		return tag.IntValue(rapid.Int64().Draw(t, "int"))
	case 3:
		v, _ := tag.Float32Value(rapid.Float32().Draw(t, "f32"))
		return v
	case 4:
		v, _ := tag.Float64Value(rapid.Float64().Draw(t, "f64"))
		return v
	case 5:
		return tag.EnumValue(rapid.Int64().Draw(t, "enum"))
	case 6:
		return tag.TextValue(rapid.Uint32().Draw(t, "text"))
	}
	return tag.Value{}
}

func readingGen(t *rapid.T) tag.Reading {
	return tag.Reading{
		Tag: tag.ID(rapid.Uint32().Draw(t, "tag")), Quality: qualityGen(t), Value: valueGen(t),
		Source: rapid.Int64().Draw(t, "source"), Received: stampGen(t),
	}
}

func eventGen(t *rapid.T, serial uint64) Event {
	text := rapid.StringN(0, 40, 200)
	e := Event{Serial: serial, Event: rules.Event{
		Kind: rules.Kind(rapid.Uint8().Draw(t, "kind")), At: stampGen(t), Rule: text.Draw(t, "rule"),
		Occurrence: rapid.Uint64().Draw(t, "occurrence"), Priority: rules.Priority(rapid.Uint8().Draw(t, "priority")),
		Tag: tag.ID(rapid.Uint32().Draw(t, "tag")), Value: valueGen(t), Quality: qualityGen(t),
		Limit: rapid.Float64().Draw(t, "limit"), FirstOut: text.Draw(t, "first-out"), Output: text.Draw(t, "output"),
		Who: text.Draw(t, "who"), Proved: rapid.Bool().Draw(t, "proved"), Note: text.Draw(t, "note"),
		Hidden: rules.AlarmState(rapid.Uint8().Draw(t, "hidden")), Test: rapid.Bool().Draw(t, "test"), First: rapid.Bool().Draw(t, "first"),
		Channel: text.Draw(t, "of"), Second: text.Draw(t, "second"), Old: text.Draw(t, "old"), New: text.Draw(t, "new"), For: time.Duration(rapid.Int64Range(0, math.MaxInt64).Draw(t, "for")),
		Result: rules.Result(rapid.Uint8().Draw(t, "result")),
	}}
	for range rapid.IntRange(0, 4).Draw(t, "samples") {
		e.Record = append(e.Record, rules.Sample{Tag: tag.ID(rapid.Uint32().Draw(t, "tag")), At: stampGen(t), Value: valueGen(t), Quality: qualityGen(t)})
	}
	e.Samples = uint32(len(e.Record)) + rapid.Uint32Range(0, 1000).Draw(t, "left-out")
	if serial > 1 && rapid.Bool().Draw(t, "lost") {
		e.LostFrom, e.LostAt = serial-1, stampGen(t)
	}
	for range rapid.IntRange(0, 4).Draw(t, "votes") {
		e.Votes = append(e.Votes, rules.Vote{
			Channel: text.Draw(t, "channel"), Reason: rules.VoteReason(rapid.Uint8().Draw(t, "why")), Since: stampGen(t),
			Quality: qualityGen(t), Value: valueGen(t), Last: rapid.Bool().Draw(t, "last"),
		})
	}
	return e
}

func TestTurnRoundTrip(t *testing.T) {
	got := Turn{Events: []Event{}, Readings: []tag.Reading{}} // one for all, so that what was before would show
	rapid.Check(t, func(t *rapid.T) {
		want := Turn{
			Now: stampGen(t), ClockTrusted: rapid.Bool().Draw(t, "trusted"), Armed: rapid.Bool().Draw(t, "armed"),
			ClockError: time.Duration(rapid.Int64().Draw(t, "error")),
			Lost:       Lost{Readings: rapid.Uint64().Draw(t, "lr"), Events: rapid.Uint64().Draw(t, "le"), From: stampGen(t), To: stampGen(t)},
			Events:     []Event{}, Readings: []tag.Reading{},
		}
		for i := range rapid.IntRange(0, 3).Draw(t, "events") {
			want.Events = append(want.Events, eventGen(t, uint64(i)))
		}
		for range rapid.IntRange(0, 5).Draw(t, "readings") {
			want.Readings = append(want.Readings, readingGen(t))
		}
		b := appendTurn(nil, &want)
		if err := decodeTurn(b, &got); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got  %+v\nwant %+v", got, want)
		}
		// Every shorter frame, and one with a byte more, is refused.
		if cut := rapid.IntRange(0, len(b)-1).Draw(t, "cut"); decodeTurn(b[:cut], &got) == nil {
			t.Fatalf("a frame cut at %d of %d was taken", cut, len(b))
		}
		if decodeTurn(append(b, 0), &got) == nil {
			t.Fatal("a frame with a byte too many was taken")
		}
	})
}

func TestReadingSize(t *testing.T) {
	var r tag.Reading
	if n := len(appendReading(nil, &r)); n != ReadingSize {
		t.Fatalf("a reading takes %d bytes, ReadingSize is %d", n, ReadingSize)
	}
	// Bits that belong to no kind are refused.
	b := appendReading(nil, &r)
	b[9] = 1
	if decodeReading(b, &r) {
		t.Fatal("a reading with a kind of 256 was taken")
	}
}

func TestLeastSizes(t *testing.T) {
	for _, c := range []struct {
		what       string
		got, least int
	}{
		{"event", len(appendEvent(nil, &Event{})), leastEvent},
		{"vote", len(appendEvent(nil, &Event{Event: rules.Event{Votes: make([]rules.Vote, 1)}})) - leastEvent, leastVote},
		{"sample", len(appendEvent(nil, &Event{Event: rules.Event{Record: make([]rules.Sample, 1)}})) - leastEvent, sampleSize},
		{"head", len(appendStatus(nil, &Status{Heads: make([]Head, 1)})) - len(appendStatus(nil, &Status{})), leastHead},
		{"uplink", len(appendStatus(nil, &Status{Uplinks: make([]UplinkStatus, 1)})) - len(appendStatus(nil, &Status{})), leastUplink},
		{"text", len(appendStatus(nil, &Status{Conditions: make([]string, 1)})) - len(appendStatus(nil, &Status{})), leastText},
	} {
		if c.got != c.least {
			t.Errorf("the least %s takes %d bytes, not %d", c.what, c.got, c.least)
		}
	}
}

func TestEventsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := []Event{}
		serial := uint64(0)
		for range rapid.IntRange(0, 5).Draw(t, "n") {
			serial += rapid.Uint64Range(2, 1000).Draw(t, "step")
			want = append(want, eventGen(t, serial))
		}
		b := AppendEvents(nil, want)
		sum := 2
		for i := range want {
			sum += eventSize(&want[i])
		}
		if len(b) > sum {
			t.Fatalf("%d bytes, eventSize promised at most %d", len(b), sum)
		}
		got, err := DecodeEvents(b)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got  %+v\nwant %+v", got, want)
		}
		if _, err := DecodeEvents(append(b, 0)); !errors.Is(err, ErrFrame) {
			t.Fatalf("a byte too many: %v", err)
		}
	})
	twice := AppendEvents(nil, []Event{{Serial: 4}, {Serial: 4}})
	if _, err := DecodeEvents(twice); !errors.Is(err, ErrFrame) {
		t.Errorf("a serial twice: %v", err)
	}
	if _, err := DecodeEvents([]byte{protocol + 1, 0}); !errors.Is(err, ErrVersion) {
		t.Errorf("another version: %v", err)
	}
}

// A text that is too long is cut at a character, and what cannot be said at
// all is bad: a frame of ours always holds.
func TestWhatCannotBeSaid(t *testing.T) {
	e := Event{Serial: 1, Event: rules.Event{
		Note: strings.Repeat("氨", MaxText), Quality: tag.Quality(math.MaxUint32), Votes: make([]rules.Vote, MaxVotes+5),
	}}
	e.Votes[0].Channel = strings.Repeat("渠", MaxName)
	got, err := DecodeEvents(AppendEvents(nil, []Event{e}))
	if err != nil {
		t.Fatal(err)
	}
	g := &got[0]
	if len(g.Note) > MaxText || strings.TrimLeft(g.Note, "氨") != "…" {
		t.Errorf("note of %d bytes ends in %q", len(g.Note), g.Note[len(g.Note)-6:])
	}
	if c := g.Votes[0].Channel; len(c) > MaxName || strings.TrimLeft(c, "渠") != "…" {
		t.Errorf("channel %q", c)
	}
	if len(g.Votes) != MaxVotes || g.Quality != tag.BadDeviceFault {
		t.Errorf("%d votes, quality %x", len(g.Votes), g.Quality)
	}
}

func TestStatusAndHelloRoundTrip(t *testing.T) {
	s := Status{
		Durable: 1 << 60, Epoch: [16]byte{1, 15: 9}, Bytes: 5e9, MaxBytes: 6e9,
		Heads:      []Head{{"event", 5, 4, 3}, {"reading", 1 << 40, 0, 7}},
		Uplinks:    []UplinkStatus{{"regulator", true, tag.Stamp{Wall: 1, Mono: 2}, 9, "断开", "silent", true, Witness{true, 3, 4, 5, 6, "fork"}}},
		Conditions: []string{"uplink.regulator.offline", ""},
	}
	got := Status{Conditions: []string{"old"}}
	if err := decodeStatus(appendStatus(nil, &s), &got); err != nil || !reflect.DeepEqual(got, s) {
		t.Errorf("status: %v\ngot  %+v\nwant %+v", err, got, s)
	}
	h := Hello{Version: "0.1", Lineage: [16]byte{7}, Boot: "b", Started: tag.Stamp{Wall: 3, Mono: 4}, Bundle: []byte("bundle"), StateDir: "/s"}
	var gotH Hello
	if err := decodeHello(appendHello(nil, &h), &gotH); err != nil || !reflect.DeepEqual(gotH, h) {
		t.Errorf("hello: %v\ngot  %+v\nwant %+v", err, gotH, h)
	}
	other := appendHello(nil, &h)
	other[8]++
	if err := decodeHello(other, &gotH); !errors.Is(err, ErrVersion) {
		t.Errorf("another version: %v", err)
	}
	if _, err := frame(nil, helloFrame, func(b []byte) []byte { return appendHello(b, &Hello{Bundle: make([]byte, MaxFrame)}) }); err == nil {
		t.Error("a hello longer than MaxFrame was encoded")
	}
}

// A frame that announces much and holds little takes little memory.
func TestHostileLength(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 100 {
		in := input{r: bufio.NewReader(bytes.NewReader([]byte{0, 0, 0x3f, 0, turnFrame, 1, 2}))} // 4.1 MB announced
		if _, _, err := in.next(); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("cut frame: %v", err)
		}
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 100*(4*step) {
		t.Errorf("100 cut frames took %d bytes", took)
	}
	for _, head := range []string{"\x00\x00\x00\x00", "\x01\x00\x40\x00", "\xff\xff\xff\xff"} {
		in := input{r: bufio.NewReader(strings.NewReader(head + "xxxx"))}
		if _, _, err := in.next(); !errors.Is(err, ErrFrame) {
			t.Errorf("length %x: %v", head, err)
		}
	}
}

func FuzzFrames(f *testing.F) {
	turn := Turn{Events: []Event{{Serial: 1, Event: rules.Event{Rule: "NH3-150", Votes: []rules.Vote{{Channel: "nh3-1.gas"}}}}}, Readings: make([]tag.Reading, 2)}
	f.Add(byte(0), appendHello(nil, &Hello{Bundle: []byte("x")}))
	f.Add(byte(1), appendTurn(nil, &turn))
	f.Add(byte(2), appendStatus(nil, &Status{Conditions: []string{"a"}, Heads: make([]Head, 1), Uplinks: make([]UplinkStatus, 1)}))
	f.Add(byte(3), AppendEvents(nil, turn.Events))
	f.Add(byte(1), []byte{16: 0, 100: 0xff, 101: 0xff, 102: 0xff, 103: 0xff, 104: 0xff, 105: 0xff, 106: 1})
	f.Fuzz(func(t *testing.T, what byte, b []byte) {
		// What is taken says the same when it is said again.
		switch what % 4 {
		case 0:
			var h, again Hello
			if decodeHello(b, &h) == nil {
				if err := decodeHello(appendHello(nil, &h), &again); err != nil || !reflect.DeepEqual(h, again) {
					t.Fatalf("%v\n%+v\n%+v", err, h, again)
				}
			}
		case 1:
			var x, again Turn
			if decodeTurn(b, &x) == nil {
				if err := decodeTurn(appendTurn(nil, &x), &again); err != nil || len(x.Events) != len(again.Events) || len(x.Readings) != len(again.Readings) {
					t.Fatalf("%v\n%+v\n%+v", err, x, again)
				}
			}
		case 2:
			var s, again Status
			if decodeStatus(b, &s) == nil {
				if err := decodeStatus(appendStatus(nil, &s), &again); err != nil || !reflect.DeepEqual(s, again) {
					t.Fatalf("%v\n%+v\n%+v", err, s, again)
				}
			}
		case 3:
			if events, err := DecodeEvents(b); err == nil {
				if again, err := DecodeEvents(AppendEvents(nil, events)); err != nil || len(again) != len(events) {
					t.Fatalf("%v\n%+v\n%+v", err, events, again)
				}
			}
		}
	})
}
