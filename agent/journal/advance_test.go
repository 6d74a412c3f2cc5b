package journal

import (
	"errors"
	"testing"

	"davy/agent/wire"
)

// What a destination has confirmed at its own protocol may have gone with its
// file meanwhile, because who must confirm had it: its cursor moves all the same.
func TestAdvanceToWhatIsGone(t *testing.T) {
	b := newBench(t)
	b.o.SegmentBytes, b.o.MaxBytes = minSegment, 4<<20
	j := b.open()
	slow, err := j.Cursor("scada")
	must(t, err)
	regulator, err := j.Cursor("regulator")
	must(t, err)
	for range 3 {
		must(t, j.Append(Batch{Readings: b.readings(100)}))
	}
	items, err := slow.Next(wire.ReadingStream, Pos{}, 1)
	must(t, err)
	to := items[0].After()
	if to.Number != 100 {
		t.Fatalf("read up to %d", to.Number)
	}
	gone := func() bool { return !j.holds(j.epochs[0], 1, 1) }
	for n := 0; !gone(); n++ {
		if n == 1000 {
			t.Fatal("nothing was ever dropped")
		}
		must(t, j.Append(Batch{Readings: b.readings(4000)}))
		head := j.Head(wire.ReadingStream)
		must(t, regulator.Confirm(receipt(head.Epoch, wire.Head{Stream: wire.ReadingStream, Number: head.Number, Root: j.epochs[0].heads[1].root})))
	}
	if gaps := j.epochs[0].gaps[1]; len(gaps) > 0 {
		t.Fatalf("%d gaps: it was not given up as confirmed", len(gaps))
	}
	if err := slow.Advance(wire.ReadingStream, to); err != nil {
		t.Fatal(err)
	}
	if n := slow.Confirmed(to.Epoch, wire.ReadingStream); n != to.Number {
		t.Errorf("confirmed up to %d", n)
	}
	if items, err = slow.Next(wire.ReadingStream, Pos{}, 1); err != nil || len(items) != 1 || items[0].Block.First <= to.Number {
		t.Fatalf("%v, %v", items, err)
	}
	if err := slow.Advance(wire.ReadingStream, Pos{to.Epoch, items[0].Block.First}); err == nil {
		t.Error("it moved into a block")
	}
	// A journal that is opened again knows the same place.
	must(t, slow.Advance(wire.ReadingStream, items[0].After()))
	must(t, j.Close())
	again := b.open()
	if slow, err = again.Cursor("scada"); err != nil || slow.Confirmed(to.Epoch, wire.ReadingStream) != items[0].After().Number {
		t.Errorf("%v, confirmed up to %d", err, slow.Confirmed(to.Epoch, wire.ReadingStream))
	}
	if err := again.Close(); err != nil && !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}
