package journal

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// A damaged page that leads round and round is an end, and is told.
func TestPagesInACircle(t *testing.T) {
	const head, element = 16, 16 // of a page, and of what a branch page holds: pos, size of its key, page
	for name, spoil := range map[string]func(page []byte, n int){
		"a key that is too great": func(page []byte, n int) {
			last := page[head+(n-1)*element:] // pos counts from here
			last[binary.LittleEndian.Uint32(last)] = 0xff
		},
		"a page that comes twice": func(page []byte, n int) {
			for i := 2; i < n-1; i++ {
				copy(page[head+i*element+8:][:8], page[head+8:])
			}
		},
	} {
		now := int64(1_700_000_000e9)
		o := Options{Dir: t.TempDir(), Gateway: "GW-1", Now: func() tag.Stamp { now++; return tag.Stamp{Wall: now, Mono: now} }}
		j, err := Open(o)
		must(t, err)
		for range 5 * aheadBlocks {
			must(t, j.Append(Batch{Readings: []tag.Reading{{Tag: 1, Received: o.Now()}}}))
		}
		must(t, j.Close())
		file := filepath.Join(o.Dir, "reading-00000000.seg")
		raw, err := os.ReadFile(file)
		must(t, err)
		spoiled := 0
		for page, size := raw, os.Getpagesize(); len(page) >= size; page = page[size:] {
			if n := int(binary.LittleEndian.Uint16(page[10:])); page[8] == 1 && n >= 4 && binary.LittleEndian.Uint32(page[head+4:]) == 13 {
				spoil(page, n)
				spoiled++
			}
		}
		must(t, os.WriteFile(file, raw, 0o600))
		r, err := OpenReadOnly(o.Dir)
		must(t, err)
		n := 0
		for _, s := range r.Spans() {
			for blocks := r.Blocks(s.Epoch, wire.ReadingStream); ; n++ {
				if _, err := blocks.Next(0); errors.Is(err, io.EOF) {
					break
				}
			}
		}
		if spoiled == 0 || n > 5*aheadBlocks || !slices.ContainsFunc(r.Damaged, func(s string) bool { return strings.Contains(s, "out of order") }) {
			t.Errorf("%s: %d pages, %d blocks, damaged: %v", name, spoiled, n, r.Damaged)
		}
		must(t, r.Close())
	}
}
