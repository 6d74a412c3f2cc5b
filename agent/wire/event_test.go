package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"davy/drivers/tag"
)

// What a newer gateway says beyond this version stays in the event's bytes as
// it came, so that what is stored and hashed is what was recorded.
func TestFieldsOfANewerPeerStay(t *testing.T) {
	e := Event{Kind: 63, Rule: "new", Test: true, Channel: "nh3-1.gas"}
	raw := e.Append(nil)
	newer := protowire.AppendVarint(protowire.AppendTag(nil, lastField+1, protowire.VarintType), 300)
	newer = protowire.AppendFixed32(protowire.AppendTag(newer, lastField+2, protowire.Fixed32Type), 7)
	newer = protowire.AppendBytes(protowire.AppendTag(newer, lastField+3, protowire.BytesType), []byte("氨"))
	raw = append(raw, newer...)
	got, err := DecodeEvent(raw)
	if err != nil || !bytes.Equal(got.Newer, newer) || !got.Test || got.Channel != "nh3-1.gas" {
		t.Fatalf("%v %+v", err, got)
	}
	if again := got.Append(nil); !bytes.Equal(again, raw) {
		t.Errorf("%x became %x", raw, again)
	}
	if got, err = DecodeEvent(e.Append(nil)); err != nil || got.Newer != nil || !reflect.DeepEqual(*got, e) {
		t.Errorf("%v %+v", err, got)
	}
	if _, err := DecodeEvent(raw[:len(raw)-1]); !errors.Is(err, ErrMalformed) {
		t.Errorf("cut in a field that is not known: %v", err)
	}
}

// The bytes of a bypass, a test and a record, written down: what was ever sent
// must stay readable.
func TestBytesOfRecordsStay(t *testing.T) {
	f := func(e Event, want string) {
		t.Helper()
		if got := hex.EncodeToString(e.Append(nil)); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	f(Event{Kind: 23, Rule: "NH3-150", Channel: "nh3-1.gas", Second: "wang", For: 14400e9, Test: true},
		"08172207"+"4e48332d313530"+"b00101"+"c201096e68332d312e676173"+"ca010477616e67"+"d001808094ae98c606")
	f(Event{Kind: 35, Rule: "nh3-1", Result: 2, First: true, Hidden: 7}, "0823"+"22056e68332d31"+"a80107"+"b80101"+"d80102")
	f(Event{Kind: 27, Samples: 9, Record: []tag.Reading{
		{Tag: 1, Value: tag.BoolValue(true), Quality: tag.GoodQuality, Received: tag.Stamp{Wall: 5, Mono: 6}},
		{Tag: 1, Value: tag.BoolValue(false), Quality: tag.GoodQuality, Received: tag.Stamp{Wall: 6, Mono: 7}},
	}}, "081b"+"e2012c"+"42020101"+"480a"+"500c"+"5a020102"+"6a020100"+"72060280a0808008"+"7a020201"+"82010100"+"8a010111"+"92010102"+"9a010101"+"e80109")
}

// Records of many events do not take more than one bound together: a body of
// few bytes that promises a million readings is refused before they are made.
func TestHostileRecords(t *testing.T) {
	n := protowire.AppendVarint(nil, MaxRecords)
	body := putBytes(nil, colScans, n)
	body = putBytes(body, colTags, n)
	body = putBytes(body, colQualities, append(n, 0))
	body = putBytes(body, colKinds, append(n, 0))
	event := protowire.AppendBytes(protowire.AppendTag(nil, 28, protowire.BytesType), body)
	one, err := DecodeEvent(event)
	if err != nil || len(one.Record) != MaxRecords {
		t.Fatalf("%v: the largest record has %d readings", err, len(one.Record))
	}
	var events []byte
	for range MaxItems/MaxRecords + 1 {
		events = putBytes(events, 1, event)
	}
	if _, err := DecodeEvents(pack(events)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("more readings than MaxItems: %v", err)
	}
	for what, raw := range map[string][]byte{
		"columns of two lengths": putBytes(nil, 28, putBytes(putBytes(nil, colScans, []byte{1}), colTags, []byte{2})),
		"text that is not UTF-8": putBytes(nil, 24, []byte{0xff}),
	} {
		if _, err := DecodeEvent(raw); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
