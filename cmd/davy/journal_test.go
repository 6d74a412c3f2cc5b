package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"davy/agent/journal"
	"davy/agent/replay/history"
	"davy/agent/ring"
	"davy/agent/wire"
	"davy/drivers/tag"
)

// An export names the tag of each reading by the table of its own epoch, the
// epochs in the order in which they began. Without a table it names none.
func TestExportNamesTheTags(t *testing.T) {
	state := t.TempDir()
	now := int64(1_700_000_000e9)
	o := journal.Options{Dir: journalDir(state), Gateway: "GW-1", Now: func() tag.Stamp {
		now++
		return tag.Stamp{Wall: now, Mono: now}
	}}
	var epochs []string
	tables := []string{"a.gas", "b.gas", "", "d.gas", "e.gas"} // the name of tag 1 in each epoch
	for _, name := range tables {
		j, err := journal.Open(o)
		if err != nil {
			t.Fatal(err)
		}
		id := j.Epoch()
		epochs = append(epochs, hex.EncodeToString(id[:]))
		b := journal.Batch{Readings: []tag.Reading{{Tag: 1, Value: tag.IntValue(5), Quality: tag.GoodQuality, Received: o.Now()}, {Tag: 2, Received: o.Now()}}}
		if name != "" {
			b.Events = []wire.Event{{Kind: uint32(ring.TagTable), At: o.Now(), Table: &wire.Table{Tags: []wire.TableTag{{ID: 1, Name: name, Names: []wire.Name{{Code: 5, Text: "run"}}}}}}, {Kind: 1, At: o.Now(), Tag: 1}}
		}
		if err := j.Append(b); err != nil {
			t.Fatal(err)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		now += int64(time.Hour)
	}
	var out, errs bytes.Buffer
	if code := program().Main([]string{"journal", "export", "--state", state}, &out, &errs); code != 0 {
		t.Fatalf("exit %d: %s", code, errs.String())
	}
	var order, readings, events []string
	for d := json.NewDecoder(&out); d.More(); {
		var x history.Line
		if err := d.Decode(&x); err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(order, x.Epoch) {
			order = append(order, x.Epoch)
		}
		if x.Stream == wire.ReadingStream {
			readings = append(readings, x.Tag)
			if want := map[bool]string{true: "run"}[x.Tag != ""]; x.Name != want {
				t.Errorf("the value of %q is called %q, want %q", x.Tag, x.Name, want)
			}
		} else if x.Tag != "" {
			events = append(events, x.Tag)
		}
	}
	if !slices.Equal(order, epochs) {
		t.Errorf("epochs %q, want %q", order, epochs)
	}
	if want := []string{"a.gas", "", "b.gas", "", "", "", "d.gas", "", "e.gas", ""}; !slices.Equal(readings, want) {
		t.Errorf("readings of %q, want %q", readings, want)
	}
	if want := []string{"a.gas", "b.gas", "d.gas", "e.gas"}; !slices.Equal(events, want) {
		t.Errorf("events of %q, want %q", events, want)
	}
}

// A segment that cannot be read is said, and the command fails: what it printed
// is not all there was.
func TestADamagedSegmentIsSaid(t *testing.T) {
	state := t.TempDir()
	j, err := journal.Open(journal.Options{Dir: journalDir(state), Gateway: "GW-1", Now: func() tag.Stamp { return tag.Stamp{Wall: 1, Mono: 1} }})
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	run := func(what string) (int, string) {
		var out, errs bytes.Buffer
		code := program().Main([]string{"journal", what, "--state", state, "--lang", "en"}, &out, &errs)
		return code, errs.String()
	}
	if code, errs := run("stat"); code != 0 || errs != "" {
		t.Fatalf("a journal that is well: exit %d %s", code, errs)
	}
	segment := filepath.Join(journalDir(state), "reading-00000099.seg")
	if err := os.WriteFile(segment, bytes.Repeat([]byte("no segment"), 2000), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, what := range []string{"stat", "export"} {
		if code, errs := run(what); code != 1 || !strings.Contains(errs, filepath.Base(segment)) {
			t.Errorf("%s: exit %d, %q", what, code, errs)
		}
	}
}
