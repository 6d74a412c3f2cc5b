package rig

import (
	"context"
	"sync/atomic"
	"time"
)

// Stall measures how long the machine kept a process of the test from running:
// what a limit in real time must be lengthened by on a machine that is shared.
// On a quiet machine it is nothing.
type Stall struct{ sum, longest atomic.Int64 }

// stallTick is how often it looks; what comes later than twice that was kept waiting.
const stallTick = 10 * time.Millisecond

// WatchStall measures until ctx ends.
func WatchStall(ctx context.Context) *Stall {
	s := &Stall{}
	go func() {
		t := time.NewTicker(stallTick)
		defer t.Stop()
		last := time.Now()
		for ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case <-t.C:
			}
			now := time.Now()
			if late := now.Sub(last) - 2*stallTick; late > 0 {
				s.sum.Add(int64(late))
				s.longest.Store(max(s.longest.Load(), int64(late)))
			}
			last = now
		}
	}()
	return s
}

// Sum is all that was waited.
func (s *Stall) Sum() time.Duration { return time.Duration(s.sum.Load()) }

// Longest is the longest wait.
func (s *Stall) Longest() time.Duration { return time.Duration(s.longest.Load()) }
