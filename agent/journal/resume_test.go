package journal

import (
	"errors"
	"testing"
	"time"

	"davy/agent/wire"
)

// A cursor goes back to what a restored receiver has; what is here no more is
// named; whoever has something else is refused.
func TestResume(t *testing.T) {
	b := newBench(t)
	b.o.SegmentBytes, b.o.Keep = 256<<10, time.Minute
	j := b.open()
	c, err := j.Cursor("regulator")
	must(t, err)
	for i := range 5 {
		must(t, j.Append(Batch{Events: b.events(uint64(i+1), 1), Serial: uint64(i + 1)}))
		must(t, j.Append(Batch{Readings: b.readings(12000)}))
	}
	id := j.Epoch()
	var events []Item
	events = append(events, drain(t, c, wire.EventStream)...)
	had := wire.Head{Stream: wire.EventStream, Number: events[1].Block.Last(), Root: events[1].Block.RootAfter()}
	heads := j.Heads()
	must(t, c.Confirm(receipt(id, heads...)))
	b.pass(time.Hour)
	must(t, j.Retain(true))
	b.pass(time.Hour)
	must(t, j.Retain(true))
	left := drain(t, j.newCursor("from outside"), wire.ReadingStream)
	if len(left) == 0 || left[0].Block.First == 1 {
		t.Fatal("nothing expired: the test proves nothing")
	}
	first := left[0].Block.First
	for code, h := range map[string]wire.Head{
		"ahead": {Stream: wire.EventStream, Number: 1000}, "root": {Stream: wire.EventStream, Number: had.Number}, "stream": {Stream: "gossip"},
	} {
		var unfit *ReceiptError
		if _, err := c.Resume([]wire.Have{{Epoch: id, Upto: []wire.Head{h}}}); !errors.As(err, &unfit) || unfit.Code != code {
			t.Errorf("%s: %v", code, err)
		}
	}
	if n := drain(t, c, wire.ReadingStream); len(n) != 0 {
		t.Fatal("a resume that was refused moved something")
	}
	again, err := c.Resume([]wire.Have{{Epoch: id, Upto: []wire.Head{had, {Stream: wire.ReadingStream, Number: 100}}}})
	must(t, err)
	if want := 60000 - (first - 1) + heads[0].Number - had.Number; again < want || again > want+3 { // and the gap records
		t.Errorf("%d records again, want %d", again, want)
	}
	check := func() {
		t.Helper()
		got := drain(t, c, wire.ReadingStream)
		if len(got) == 0 || got[0].Block.First != first || got[len(got)-1].Block.Last() != 60000 {
			t.Errorf("%d blocks of readings", len(got))
		}
		ev := drain(t, c, wire.EventStream)
		if ev[0].Block.First != had.Number+1 {
			t.Errorf("events from %d", ev[0].Block.First)
		}
		named := 0
		for _, it := range ev {
			all, err := wire.DecodeEvents(it.Block.Body)
			must(t, err)
			for _, e := range all {
				if e.Gap != nil && e.Gap.Cause == CauseExpired {
					named++
					if e.Gap.From != 101 || e.Gap.To != first-1 || e.Gap.Stream != wire.ReadingStream || string(e.Gap.RootAfter) != string(left[0].Block.RootBefore[:]) {
						t.Errorf("gap %+v, want 101 to %d", e.Gap, first-1)
					}
				}
			}
		}
		if named != 1 {
			t.Errorf("%d gaps named", named)
		}
	}
	check()
	must(t, j.Close())
	j = b.open()
	c, err = j.Cursor("regulator")
	must(t, err)
	check()
}

// A receiver says only once that it was restored: a kill right after the cursor
// went back, with nothing else written, must not undo that.
func TestResumeLasts(t *testing.T) {
	b := newBench(t)
	j := b.open()
	c, err := j.Cursor("regulator")
	must(t, err)
	must(t, j.Append(Batch{Events: b.events(1, 5), Serial: 5}))
	must(t, c.Confirm(receipt(j.Epoch(), j.Heads()...)))
	must(t, j.Append(Batch{Beat: b.now()})) // the confirmed place is durable
	id := j.Epoch()
	again, err := c.Resume(nil)
	must(t, err)
	if again != 6 {
		t.Fatalf("%d records again", again)
	}
	j.release() // killed
	j = b.open()
	c, err = j.Cursor("regulator")
	must(t, err)
	if n := c.Confirmed(id, wire.EventStream); n != 0 {
		t.Errorf("confirmed up to %d", n)
	}
}
