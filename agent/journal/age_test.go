package journal

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"davy/agent/ring"
	"davy/agent/wire"
	"davy/drivers/tag"
	"davy/test/scale"
)

// Whatever the wall clock said when records were made, and wherever it steps:
// only time lived under a trusted clock makes them old, also over restarts.
func TestNoStepOfTheClockDeletes(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for _, x := range []struct {
		name         string
		before, then time.Duration // the wall clock's error while recording, and after
		trusted      bool          // while recording
	}{
		{"boot in 1970", -time.Duration(wall0), 0, false},
		{"boot in 1970, believed", -time.Duration(wall0), 0, true},
		{"a step of a year ahead", 0, year, true},
		{"a step of a year back", 0, -year, true},
		{"a year ahead, set right", year, 0, true},
		{"a year behind, set right", -year, 0, true},
		{"right", 0, 0, true},
	} {
		t.Run(x.name, func(t *testing.T) {
			b := newBench(t)
			b.o.SegmentBytes, b.o.Keep, b.o.Trusted = minSegment, 4*time.Hour, x.trusted
			off := x.before
			b.o.Now = func() tag.Stamp { s := b.now(); s.Wall += int64(off); return s }
			j := b.open()
			for range 10 {
				must(t, j.Append(Batch{Readings: b.readings(12000)}))
			}
			c, err := j.Cursor("regulator")
			must(t, err)
			must(t, c.Confirm(receipt(j.Epoch(), j.Heads()...)))
			must(t, j.Append(Batch{Readings: b.readings(10)}))
			all := j.Stat().Segments
			off = x.then
			must(t, j.Retain(true))
			for range 3 {
				b.pass(time.Hour)
				must(t, j.Retain(true))
				if n := j.Stat().Segments; n != all || n < 4 {
					t.Fatalf("%d of %d segments", n, all)
				}
			}
			must(t, j.Append(Batch{Readings: b.readings(10)}))
			must(t, j.Close())
			b.pass(year) // off
			b.o.Trusted = true
			j = b.open()
			must(t, j.Retain(true))
			if n := j.Stat().Segments; n != all {
				t.Fatalf("%d of %d segments after a year off", n, all)
			}
			b.pass(90 * time.Minute)
			must(t, j.Retain(true))
			if n := j.Stat(); n.Segments > 3 || n.Gaps > 0 {
				t.Fatalf("%d of %d segments stay, %d gaps", n.Segments, all, n.Gaps)
			}
		})
	}
}

// Segments reach their greatest size, which is 128 MiB on a 32-bit machine and
// in a soak, and everything can be read back through maps of that size.
func TestSegmentsReachTheirLimit(t *testing.T) {
	mib := 16
	if strconv.IntSize == 32 {
		mib = 128
	}
	b := newBench(t)
	b.o.SegmentBytes, b.o.MaxBytes = min(MaxSegment, int64(scale.Of(mib))<<20), 8*MaxSegment
	j := b.open()
	size := j.o.SegmentBytes
	// A long text that does not compress, made cheaply.
	line := make([]byte, 700_000)
	for i := range line {
		line[i] = byte(' ' + b.rnd.Uint32()%95)
	}
	n := uint64(0)
	for j.Stat().Segments < 4 { // one of events, two full, one begun
		n++
		k := int(n * 7919 % uint64(len(line)))
		must(t, j.Append(Batch{Health: []wire.Event{{Kind: uint32(ring.GapRecorded), At: b.now(), Serial: n, Note: string(line[k:]) + string(line[:k])}}}))
	}
	var full int
	for _, s := range j.segments {
		if s.bytes > size {
			t.Errorf("%s takes %d bytes of %d", s.path, s.bytes, size)
		}
		if s.bytes > size-2<<20 {
			full++
		}
	}
	if full < 2 && size > 4<<20 {
		t.Errorf("%d segments are full", full)
	}
	must(t, j.Close())
	j = b.open()
	c, err := j.Cursor("regulator")
	must(t, err)
	read, pos := uint64(0), Pos{}
	for {
		items, err := c.Next(wire.HealthStream, pos, 1<<20)
		must(t, err)
		if len(items) == 0 {
			break
		}
		for i := range items {
			events, err := wire.DecodeEvents(items[i].Block.Body)
			must(t, err)
			for _, e := range events {
				if read++; e.Serial != read || len(e.Note) != len(line) || strings.TrimSpace(e.Note) == "" {
					t.Fatalf("record %d is %d", read, e.Serial)
				}
			}
		}
		pos = items[len(items)-1].After()
	}
	if read != n || j.Stat().Quarantined > 0 {
		t.Fatalf("%d of %d records, %d files set aside", read, n, j.Stat().Quarantined)
	}
	t.Logf("%d records in segments of %d MiB", n, size>>20)
}
