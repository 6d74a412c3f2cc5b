package keep

import (
	"context"
	"time"

	"davy/agent/ring"
	"davy/agent/wire"
)

// How the clock is watched.
const (
	ClockEvery = time.Second // how often it is looked at
	ClockMoved = time.Second // the wall clock went this far from where it was noted to be: it is noted again
)

// sourceKernel is the source of a clock that the kernel calls synchronised.
const sourceKernel = "kernel"

// clock notes in the journal how the wall clock is: at once, when it becomes
// trusted or stops being so, and when it was set. A record is never edited for
// it; whoever reads the journal puts the two together (wire.Clock).
func (k *keeper) clock(ctx context.Context, record func(wire.Event)) error {
	t := time.NewTicker(ClockEvery)
	defer t.Stop()
	var noted wire.Clock
	for first := true; ; first = false {
		now := k.o.Now()
		c := wire.Clock{Boot: k.o.Boot, Offset: now.Wall - now.Mono}
		var largest time.Duration
		if c.Trusted, largest = k.o.Trusted(); c.Trusted {
			c.Source, c.Error = sourceKernel, uint64(max(largest, 0))
		}
		if moved := c.Offset - noted.Offset; first || c.Trusted != noted.Trusted || moved > int64(ClockMoved) || moved < -int64(ClockMoved) {
			noted = c
			record(wire.Event{Kind: uint32(ring.ClockNoted), At: now, Clock: &c})
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}
