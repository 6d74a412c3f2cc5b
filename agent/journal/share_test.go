package journal

import (
	"testing"

	"davy/agent/wire"
)

// A flood of events takes no more than its share from readings that nobody has
// yet, what goes is named, and gaps and the tag table outlive it.
func TestFloodOfEventsLeavesReadings(t *testing.T) {
	b := newBench(t)
	b.o.MaxBytes, b.o.SegmentBytes = 3<<20, minSegment
	j := b.open()
	must(t, j.Append(Batch{Events: []wire.Event{{Kind: 1, At: b.now(), Table: &wire.Table{Plan: []byte{7}}}}}))
	reading := func() {
		t.Helper()
		health := b.events(1<<40, 1)
		health[0].Note = noise(b.rnd, 60_000)
		must(t, j.Append(Batch{Health: health}))
	}
	for range 80 { // more than there is room for
		reading()
	}
	first := j.Stat().Gaps
	if first == 0 {
		t.Fatal("no reading had to go")
	}
	for i := range 100 {
		events := b.events(uint64(i+1), 1)
		events[0].Note = noise(b.rnd, 60_000)
		must(t, j.Append(Batch{Events: events, Serial: uint64(i + 1)}))
	}
	left := j.bytesOf(readingFamily)
	if s := j.Stat(); left <= minSegment || s.Bytes > s.MaxBytes+2*minSegment {
		t.Errorf("%d bytes of readings are left, %d in all", left, s.Bytes)
	}
	tables, named := 0, map[string]uint64{}
	c, err := j.Cursor("regulator")
	must(t, err)
	for _, it := range drain(t, c, wire.EventStream) {
		events, err := wire.DecodeEvents(it.Block.Body)
		must(t, err)
		for _, e := range events {
			if e.Table != nil && e.Table.Plan[0] == 7 {
				tables++
			}
			if e.Gap != nil {
				named[e.Gap.Stream] += e.Gap.Count
			}
		}
	}
	there := map[string]uint64{}
	for _, stream := range streamNames {
		for _, it := range drain(t, c, stream) {
			there[stream] += uint64(it.Block.Count)
		}
	}
	heads := j.Heads()
	for _, h := range heads {
		if there[h.Stream]+named[h.Stream] != h.Number {
			t.Errorf("%s: %d there, %d named, of %d", h.Stream, there[h.Stream], named[h.Stream], h.Number)
		}
	}
	if tables != 1 || named[wire.EventStream] == 0 {
		t.Errorf("%d tag tables, named %v", tables, named)
	}
	must(t, j.Close())
	verify(t, b.o.Dir)
}
