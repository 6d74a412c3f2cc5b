package keep

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"davy/agent/ring"
	"davy/agent/wire"
	"davy/drivers/tag"
)

// A box without a clock chip boots in 1970; an hour later NTP sets it by
// decades, later somebody by a minute. Each is noted once, small corrections
// are not, and every reading of the boot can be stamped again from the notes.
func TestClockIsNotedWhenItChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var wrong atomic.Int64
		wrong.Store(-began.UnixNano()) // 1970
		var trusted atomic.Bool
		now := func() tag.Stamp {
			mono := int64(time.Since(began)) + 1000
			return tag.Stamp{Wall: began.UnixNano() + mono + wrong.Load(), Mono: mono}
		}
		k := &keeper{o: Options{Now: now, Boot: "b", Trusted: func() (bool, time.Duration) {
			if !trusted.Load() {
				return false, 0
			}
			return true, 20 * time.Millisecond
		}}}
		var notes []wire.Event
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- k.clock(ctx, func(e wire.Event) { notes = append(notes, e) }) }()
		synctest.Wait()
		early := now() // a reading under the wrong clock
		time.Sleep(time.Hour)
		wrong.Store(0)
		time.Sleep(10 * time.Second) // set, and not yet called synchronised
		trusted.Store(true)
		time.Sleep(time.Hour)
		wrong.Store(int64(300 * time.Millisecond)) // slewed
		time.Sleep(time.Hour)
		wrong.Store(int64(time.Minute))
		time.Sleep(time.Hour)
		trusted.Store(false)
		time.Sleep(time.Hour)
		stop()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		want := []bool{false, false, true, true, false}
		if len(notes) != len(want) {
			t.Fatalf("%d notes, want %d: %+v", len(notes), len(want), notes)
		}
		var sure *wire.Clock
		for i, e := range notes {
			c := e.Clock
			if e.Kind != uint32(ring.ClockNoted) || c.Trusted != want[i] || c.Boot != "b" || c.Offset != e.At.Wall-e.At.Mono ||
				(c.Source == sourceKernel) != c.Trusted || (c.Error > 0) != c.Trusted {
				t.Errorf("note %d: %+v %+v", i, e, c)
			}
			if sure == nil && c.Trusted {
				sure = c
			}
		}
		if was, got := began.UnixNano()+early.Mono, early.Mono+sure.Offset; was != got {
			t.Errorf("stamped again: %d, it was %d", got, was)
		}
	})
}
