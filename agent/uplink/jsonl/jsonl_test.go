package jsonl

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"davy/agent/ring"
	"davy/agent/uplink/feed"
	"davy/agent/wire"
	"davy/drivers/tag"
	"davy/rules"
)

const wall0 = int64(1_800_000_000_123_456_789)

func float64Value(f float64) tag.Value { v, _ := tag.Float64Value(f); return v }
func float32Value(f float32) tag.Value { v, _ := tag.Float32Value(f); return v }

// message decodes one message with the standard library, held against the schema.
func message(t interface {
	Helper()
	Fatalf(string, ...any)
}, s schema, records ...feed.Record,
) []map[string]any {
	t.Helper()
	var out []map[string]any
	for len(records) > 0 {
		raw, n := appendMessage(nil, "GW-1", records)
		if err := s.check(raw); err != nil {
			t.Fatalf("%v\n%s", err, raw)
		}
		if !utf8.Valid(raw) || !json.Valid(raw) {
			t.Fatalf("not JSON: %q", raw)
		}
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber()
		var m struct{ Records []map[string]any }
		if err := d.Decode(&m); err != nil {
			t.Fatalf("%v", err)
		}
		if len(m.Records) != n {
			t.Fatalf("%d records, said %d", len(m.Records), n)
		}
		out = append(out, m.Records...)
		records = records[n:]
	}
	return out
}

func TestReadings(t *testing.T) {
	s := loadSchema(t)
	named := &wire.TableTag{ID: 3, Name: "comp1.state", Unit: "°C", Names: []wire.Name{{Code: 0, Text: "停"}, {Code: 1, Text: "run \"1\""}, {Code: 7, Text: "defrost\n"}}}
	for _, c := range []struct {
		value   tag.Value
		quality tag.Quality
		want    map[string]any
	}{
		{float64Value(0.1), tag.GoodQuality, map[string]any{"type": "float64", "value": json.Number("0.1"), "quality": "good"}},
		{float32Value(0.1), tag.GoodQuality, map[string]any{"type": "float32", "value": json.Number("0.1"), "quality": "good"}},
		{float64Value(1e300), tag.GoodQuality, map[string]any{"type": "float64", "value": json.Number("1e+300"), "quality": "good"}},
		{tag.IntValue(maxExact), tag.GoodQuality, map[string]any{"type": "int", "value": json.Number("9007199254740991"), "quality": "good"}},
		{tag.IntValue(maxExact + 1), tag.GoodQuality, map[string]any{"type": "int", "value": "9007199254740992", "quality": "good"}},
		{tag.IntValue(math.MinInt64), tag.GoodQuality, map[string]any{"type": "int", "value": "-9223372036854775808", "quality": "good"}},
		{tag.BoolValue(true), tag.GoodQuality, map[string]any{"type": "bool", "value": true, "name": "run \"1\"", "quality": "good"}},
		{tag.EnumValue(7), tag.GoodQuality, map[string]any{"type": "enum", "value": json.Number("7"), "name": "defrost\n", "quality": "good"}},
		{tag.TextValue(0), tag.GoodQuality, map[string]any{"type": "text", "value": "停", "quality": "good"}},
		{tag.TextValue(5), tag.GoodQuality, map[string]any{"type": "text", "value": nil, "quality": "good"}},
		{float64Value(28.5), tag.BadNoComm, map[string]any{"type": "float64", "value": nil, "bad_value": json.Number("28.5"), "quality": "bad", "reason": "no-communication"}},
		{tag.Value{}, tag.BadNeverRead, map[string]any{"type": "none", "value": nil, "quality": "bad", "reason": "never-read"}},
		{float64Value(1), tag.MakeQuality(tag.Uncertain, tag.LastUsable, tag.LimitHigh|tag.Forced), map[string]any{
			"type": "float64", "value": json.Number("1"), "quality": "uncertain", "reason": "last-usable", "flags": []any{"limit-high", "forced"},
		}},
		{float64Value(1), tag.Quality(0xffffffff), map[string]any{
			"type": "float64", "value": json.Number("1"), "quality": "bad", "reason": "reason-255", "flags": []any{"limit-low", "limit-high", "forced", "test", "maintenance"},
		}},
	} {
		r := tag.Reading{Tag: 3, Quality: c.quality, Value: c.value, Received: tag.Stamp{Wall: wall0, Mono: 5}}
		got := message(t, s, feed.Record{Stream: wire.ReadingStream, Number: 9, Reading: &r, Tag: named})[0]
		for k, v := range map[string]any{
			"n": json.Number("9"), "time": "2027-01-15T08:00:00.123456789Z", "mono": json.Number("5"), "id": json.Number("3"), "tag": "comp1.state", "unit": "°C",
		} {
			c.want[k] = v
		}
		if c.quality == 0xffffffff { // not a quality: shown as bad, its value too
			delete(c.want, "value")
			delete(got, "value")
			delete(got, "bad_value")
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%v %#x:\n got %v\nwant %v", c.value, uint32(c.quality), got, c.want)
		}
	}
}

// Whatever a value, its JSON reads back as the same; a bad one is never the value.
func TestEveryValueComesBack(t *testing.T) {
	s := loadSchema(t)
	rapid.Check(t, func(t *rapid.T) {
		kind := tag.Kind(rapid.IntRange(1, 5).Draw(t, "kind"))
		v, ok := tag.FromBits(kind, rapid.Uint64().Draw(t, "bits"))
		if !ok {
			if v, ok = tag.FromBits(kind, uint64(rapid.Uint32().Draw(t, "bits32"))); !ok {
				v = tag.BoolValue(true)
			}
		}
		q := tag.GoodQuality
		if rapid.Bool().Draw(t, "bad") {
			q = tag.BadSensor
		}
		name := rapid.String().Draw(t, "name")
		r := tag.Reading{Tag: 1, Quality: q, Value: v, Received: tag.Stamp{Wall: rapid.Int64().Draw(t, "wall") / 2, Mono: rapid.Int64().Draw(t, "mono")}}
		got := message(t, s, feed.Record{Stream: wire.ReadingStream, Number: 1, Reading: &r, Tag: &wire.TableTag{Name: name}})[0]
		x := got["value"]
		if q.Bad() {
			if x != nil {
				t.Fatalf("a bad value is shown: %v", got)
			}
			x = got["bad_value"]
		}
		if want := strings.ToValidUTF8(name, "\ufffd"); got["tag"] != want && name == want {
			t.Fatalf("name %q came as %q", name, got["tag"])
		}
		back := tag.Value{}
		switch x := x.(type) {
		case bool:
			back = tag.BoolValue(x)
		case string:
			n, err := strconv.ParseInt(x, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			back, _ = tag.FromBits(v.Kind(), uint64(n))
		case json.Number:
			switch v.Kind() {
			case tag.Int, tag.Enum:
				n, err := x.Int64()
				if err != nil || n > maxExact || n < -maxExact {
					t.Fatalf("%v: %v", x, err)
				}
				back, _ = tag.FromBits(v.Kind(), uint64(n))
			case tag.Float32:
				f, _ := strconv.ParseFloat(x.String(), 32)
				back = float32Value(float32(f))
			default:
				f, _ := x.Float64()
				back = float64Value(f)
			}
		}
		if back != v {
			t.Fatalf("%v came back as %v from %v", v, back, x)
		}
	})
}

// An event says in codes all that it holds.
func TestEvents(t *testing.T) {
	s := loadSchema(t)
	at := tag.Stamp{Wall: wall0, Mono: 5}
	table := &wire.Table{Plan: []byte{1}, Tags: []wire.TableTag{{ID: 1, Name: "nh3-1.gas", Unit: "ppm", Kind: tag.Float32, Ranged: true, Low: 0, High: 100, TextZh: "氨"}}}
	events := []wire.Event{
		{
			Kind: uint32(rules.AlarmRaised), At: at, Rule: "nh3-1.high", Occurrence: 4, Priority: uint32(rules.High), Tag: 1, Value: float32Value(30), Quality: tag.GoodQuality,
			Limit: 28, Hidden: uint32(rules.Shelved), Test: true, First: true, Serial: 17,
		},
		{
			Kind: uint32(rules.InterlockTripped), At: at, Rule: "NH3-150", FirstOut: "nh3-1", Priority: 99, Votes: []wire.Vote{
				{Channel: "nh3-1", Reason: uint32(rules.VoteProcess), Since: at, Quality: tag.GoodQuality, Value: float32Value(160), Last: true},
				{Channel: "nh3-2", Reason: uint32(rules.VoteBad), Since: at, Quality: tag.BadNoComm},
			},
		},
		{Kind: uint32(rules.InterlockRecorded), At: at, Record: []tag.Reading{{Tag: 1, Quality: tag.GoodQuality, Value: float32Value(1), Received: at}}, Samples: 9},
		{Kind: uint32(rules.BypassBegan), At: at, Who: "li", Proved: true, Second: "wang", Channel: "nh3-1", For: 5e9, Note: "校准\t\x01\xff"},
		{Kind: uint32(rules.TestEnded), At: at, Result: uint32(rules.Passed)},
		{Kind: uint32(ring.EpochStarted), At: at, Start: &wire.Start{Parent: make([]byte, 16), Version: "1", Unwatched: -1, Plan: []byte{2}}},
		{Kind: uint32(ring.GapRecorded), At: at, Gap: &wire.Gap{Stream: "reading", Epoch: make([]byte, 16), From: 1, To: 5, Count: 5, WallFrom: wall0, WallTo: wall0, Cause: "disk-full"}},
		{Kind: uint32(ring.TagTable), At: at, Table: table},
		{Kind: uint32(ring.ClockNoted), At: at, Clock: &wire.Clock{Trusted: true, Source: "kernel", Error: 1e6}},
		{Kind: 250, At: at},
		{Kind: 70000, At: at},
		{Kind: uint32(ring.UplinkWithdrawn), At: at, Rule: "scada", Value: tag.IntValue(12)},
	}
	var records []feed.Record
	for i := range events {
		records = append(records, feed.Record{Stream: wire.EventStream, Number: uint64(i + 1), Event: &events[i], Table: table})
	}
	records[0].Tag, records[0].History = &table.Tags[0], true
	got := message(t, s, records...)
	for i, want := range []map[string]any{
		{
			"kind": "alarm-raised", "rule": "nh3-1.high", "occurrence": json.Number("4"), "priority": "high", "id": json.Number("1"), "tag": "nh3-1.gas", "unit": "ppm", "type": "float32",
			"value": json.Number("30"), "quality": "good", "limit": json.Number("28"), "hidden": "shelved", "test": true, "first": true, "serial": json.Number("17"), "history": true,
		},
		{"kind": "interlock-tripped", "rule": "NH3-150", "first_out": "nh3-1", "priority": "99", "votes": []any{
			map[string]any{"channel": "nh3-1", "vote": "process", "since": "2027-01-15T08:00:00.123456789Z", "type": "float32", "value": json.Number("160"), "quality": "good", "last": true},
			map[string]any{"channel": "nh3-2", "vote": "bad", "since": "2027-01-15T08:00:00.123456789Z", "type": "none", "value": nil, "quality": "bad", "reason": "no-communication"},
		}},
		{"kind": "interlock-recorded", "samples": json.Number("9"), "record": []any{map[string]any{
			"time": "2027-01-15T08:00:00.123456789Z", "mono": json.Number("5"), "id": json.Number("1"), "tag": "nh3-1.gas", "unit": "ppm", "type": "float32", "value": json.Number("1"), "quality": "good",
		}}},
		{"kind": "bypass-began", "who": "li", "proved": true, "second": "wang", "channel": "nh3-1", "for_s": json.Number("5"), "note": "校准\t\x01\ufffd"},
		{"kind": "test-ended", "result": "passed"},
		{"kind": "epoch-started", "start": map[string]any{"parent": strings.Repeat("00", 16), "version": "1", "clean": false, "may_have_lost_s": json.Number("0"), "plan": "02"}},
		{"kind": "gap-recorded", "gap": map[string]any{
			"stream": "reading", "epoch": strings.Repeat("00", 16), "from": json.Number("1"), "to": json.Number("5"), "count": json.Number("5"),
			"time_from": "2027-01-15T08:00:00.123456789Z", "time_to": "2027-01-15T08:00:00.123456789Z", "cause": "disk-full",
		}},
		{"kind": "tag-table", "plan": "01", "tags": []any{map[string]any{
			"id": json.Number("1"), "tag": "nh3-1.gas", "unit": "ppm", "type": "float32", "low": json.Number("0"), "high": json.Number("100"), "text_zh": "氨",
		}}},
		{"kind": "clock-noted", "clock": map[string]any{"trusted": true, "source": "kernel", "error_s": json.Number("0.001")}},
		{"kind": "kind-250"},
		{"kind": "kind-70000"},
		{"kind": "uplink-withdrawn", "rule": "scada", "type": "int", "value": json.Number("12")},
	} {
		want["n"], want["time"], want["mono"] = json.Number(strconv.Itoa(i+1)), "2027-01-15T08:00:00.123456789Z", json.Number("5")
		if !reflect.DeepEqual(got[i], want) {
			t.Errorf("event %d:\n got %v\nwant %v", i+1, got[i], want)
		}
	}
}

// A message has a bound, and an epoch of its own.
func TestMessagesAreBounded(t *testing.T) {
	s := loadSchema(t)
	var records []feed.Record
	for i := range 250 {
		r := tag.Reading{Tag: 1, Quality: tag.GoodQuality, Value: tag.IntValue(int64(i))}
		rec := feed.Record{Stream: wire.ReadingStream, Number: uint64(i + 1), Reading: &r}
		if i >= 150 {
			rec.Epoch[0] = 1
		}
		records = append(records, rec)
	}
	sizes := []int{}
	for rest := records; len(rest) > 0; {
		_, n := appendMessage(nil, "GW-1", rest)
		sizes, rest = append(sizes, n), rest[n:]
	}
	if want := []int{100, 50, 100}; !reflect.DeepEqual(sizes, want) {
		t.Errorf("messages of %v, want %v", sizes, want)
	}
	if got := message(t, s, records...); len(got) != 250 {
		t.Errorf("%d records", len(got))
	}
	long := feed.Record{Stream: wire.EventStream, Event: &wire.Event{Note: strings.Repeat("x", MaxBytes)}}
	if _, n := appendMessage(nil, "GW-1", []feed.Record{long, long}); n != 1 {
		t.Errorf("%d long records in one message", n)
	}
}

// Every number that rules and ring know has a word here.
func TestWords(t *testing.T) {
	for r := tag.NeverRead; r <= tag.LocalOverride; r++ {
		if int(r) >= len(reasons) || reasons[r] == "" && r != tag.Plain {
			t.Errorf("reason %d has no word", r)
		}
	}
	for k := rules.AlarmRaised; k <= rules.TestEnded; k++ {
		if strings.HasPrefix(kindName(uint32(k)), "kind-") {
			t.Errorf("kind %d has no word", k)
		}
	}
	for k := ring.EpochStarted; k <= ring.UplinkWithdrawn; k++ {
		if strings.HasPrefix(kindName(uint32(k)), "kind-") {
			t.Errorf("kind %d has no word", k)
		}
	}
}

// What a person put in is neither a good reading nor a bad one.
func TestForces(t *testing.T) {
	s := loadSchema(t)
	row := &wire.TableTag{ID: 1, Name: "a", Kind: tag.Float32}
	for _, kind := range []rules.Kind{rules.ForceBegan, rules.ForceEnded} {
		e := &wire.Event{Kind: uint32(kind), At: tag.Stamp{Wall: wall0, Mono: 5}, Tag: 1, Value: float32Value(30)}
		got := message(t, s, feed.Record{Stream: wire.EventStream, Number: 1, Event: e, Tag: row})[0]
		if got["value"] != json.Number("30") || got["quality"] != "uncertain" || got["reason"] != "substituted" || fmt.Sprint(got["flags"]) != "[forced]" {
			t.Errorf("%v", got)
		}
	}
}
