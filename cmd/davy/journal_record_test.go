package main

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"

	"davy/agent/journal"
	"davy/agent/replay/history"
	"davy/agent/ring"
	"davy/agent/wire"
	"davy/drivers/tag"
	"davy/rules"
)

// The frozen record of a trip is exported with the names of its tags, and with
// the flag of a test.
func TestExportOfARecord(t *testing.T) {
	state := t.TempDir()
	at := tag.Stamp{Wall: 1_700_000_000e9, Mono: 1}
	j, err := journal.Open(journal.Options{Dir: journalDir(state), Gateway: "GW-1", Now: func() tag.Stamp { return at }})
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Append(journal.Batch{Events: []wire.Event{
		{Kind: uint32(ring.TagTable), At: at, Table: &wire.Table{Tags: []wire.TableTag{{ID: 1, Name: "fan.state", Names: []wire.Name{{Code: 5, Text: "run"}}}}}},
		{Kind: uint32(rules.InterlockRecorded), At: at, Rule: "NH3-150", Test: true, Samples: 9, Record: []tag.Reading{
			{Tag: 1, Value: tag.IntValue(5), Quality: tag.GoodQuality, Received: at},
			{Tag: 2, Quality: tag.BadNoComm, Received: at},
		}},
	}}); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	if code := program().Main([]string{"journal", "export", "--state", state}, &out, &errs); code != 0 {
		t.Fatalf("exit %d: %s", code, errs.String())
	}
	found := 0
	for d := json.NewDecoder(&out); d.More(); {
		var x history.Line
		if err := d.Decode(&x); err != nil {
			t.Fatal(err)
		}
		if x.Event == nil || rules.Kind(x.Event.Kind) != rules.InterlockRecorded {
			continue
		}
		found++
		want := []history.Sampled{
			{Tag: "fan.state", At: at.Wall, Value: "5", Name: "run", Quality: uint32(tag.GoodQuality)},
			{Tag: "tag-2", At: at.Wall, Quality: uint32(tag.BadNoComm)},
		}
		if !x.Event.Test || x.Event.Samples != 9 || !reflect.DeepEqual(x.Record, want) {
			t.Errorf("%+v", x)
		}
	}
	if found != 1 {
		t.Errorf("%d records", found)
	}
}
