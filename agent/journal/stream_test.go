package journal

import (
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"davy/agent/ring"
	"davy/agent/wire"
	"davy/drivers/tag"
)

// Blocks gives what a walk gives, passes over what is too old, and goes on where
// a keeper opens the journal meanwhile.
func TestBlocksGoOnBesideAKeeper(t *testing.T) {
	now := int64(1_700_000_000e9)
	o := Options{Dir: t.TempDir(), Gateway: "GW-1", SegmentBytes: minSegment, Now: func() tag.Stamp { now++; return tag.Stamp{Wall: now, Mono: now} }}
	open := func() *Journal {
		j, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	const batches = 2*aheadBlocks + 5
	j := open()
	for range batches {
		now += int64(time.Second)
		if err := j.Append(Batch{Readings: []tag.Reading{{Tag: 1, Received: o.Now()}, {Tag: 2, Received: o.Now()}}, Events: []wire.Event{{Kind: uint32(ring.AgentStarted), At: o.Now()}}}); err != nil {
			t.Fatal(err)
		}
	}
	first := j.Epoch()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	now += int64(time.Hour)
	r, err := OpenReadOnly(o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	spans := r.Spans()
	if len(spans) != 1 || spans[0].Epoch != first || spans[0].Reading <= spans[0].From || spans[0].Reading > spans[0].To {
		t.Fatalf("%+v", spans)
	}
	blocks, n := r.Blocks(first, wire.ReadingStream), uint64(0)
	for {
		it, err := blocks.Next(0)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || it.Block.First != n+1 {
			t.Fatalf("block %d after %d: %v", it.Block.First, n, err)
		}
		if n += uint64(it.Block.Count); n == 2 { // a keeper finds its files free, and takes them
			j = open()
		}
	}
	if n != 2*batches || len(r.Damaged) > 0 {
		t.Errorf("%d readings of %d, %v", n, 2*batches, r.Damaged)
	}
	if it, err := r.Blocks(first, wire.ReadingStream).Next(spans[0].Reading); err != nil || it.Block.Last() != 2*batches {
		t.Errorf("the last block: %+v, %v", it.Block, err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := OpenReadOnly(o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if order := again.Spans(); len(order) != 2 || order[0].Epoch != first || slices.Contains(order[1:], order[0]) {
		t.Errorf("%+v", order)
	}
}
