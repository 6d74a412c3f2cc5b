package journal

import (
	"errors"
	"testing"
	"time"

	"davy/agent/wire"
)

// A new destination begins where it was told to, also where the disk did not
// let its cursor get there at first; until it has, nobody is given the cursor.
func TestBeginAgain(t *testing.T) {
	b := newBench(t)
	j := b.open()
	for range 4 {
		must(t, j.Append(Batch{Readings: b.readings(10)}))
	}
	must(t, j.Close())
	b.pass(time.Second)
	from := b.now().Wall
	b.o.From = map[string]Begin{"new": {Wall: from}}
	j = b.open()
	must(t, j.Append(Batch{Readings: b.readings(10)}))
	bad := errors.New("unreadable now")
	b.onDisk(func(op string) error {
		if op == "read" {
			return bad
		}
		return nil
	})
	if j.Placed("new") != nil {
		t.Error("a cursor that nobody asked for")
	}
	if _, err := j.Cursor("new"); !errors.Is(err, bad) {
		t.Fatalf("the disk was not read: %v", err)
	}
	if j.Placed("new") != nil {
		t.Error("a cursor that is not at its beginning")
	}
	b.onDisk(nil)
	c, err := j.Cursor("new")
	must(t, err)
	if j.Placed("new") != c {
		t.Error("not the cursor")
	}
	for _, it := range drain(t, c, wire.ReadingStream) {
		if it.WallTo < from {
			t.Errorf("readings %d to %d are from before", it.Block.First, it.Block.Last())
		}
	}
}
