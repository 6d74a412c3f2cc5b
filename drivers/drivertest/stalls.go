package drivertest

import (
	"context"
	"sync/atomic"
	"time"
)

// beat is how often a process looks whether it still runs.
const beat = 100 * time.Millisecond

// stalls measures for how long this process did not get to run: what a busy
// machine takes is no lateness of a driver's.
type stalls struct {
	lost  atomic.Int64 // nanoseconds so far
	beats atomic.Int64
}

func (s *stalls) watch(ctx context.Context) {
	for last := time.Now(); ctx.Err() == nil; {
		pause(ctx, beat)
		now := time.Now()
		if late := now.Sub(last) - beat; late > 0 {
			s.lost.Add(int64(late))
		}
		last = now
		s.beats.Add(1)
	}
}

// in reports whether what began when lost was read, and took so long, took at
// most so much but for the time that was lost.
func (s *stalls) in(ctx context.Context, lost int64, took, most time.Duration) bool {
	if took <= most {
		return true
	}
	for n := s.beats.Load() + 2; s.beats.Load() < n && ctx.Err() == nil; { // so that it is counted
		pause(ctx, beat/4)
	}
	return took-time.Duration(s.lost.Load()-lost) <= most
}
