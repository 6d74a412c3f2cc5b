package drivertest

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// Only what the process was held up is left out of what a request took.
func TestStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var s stalls
		go s.watch(ctx)
		time.Sleep(10 * beat)
		if lost := s.lost.Load(); lost != 0 || s.beats.Load() < 9 {
			t.Errorf("%v lost while nothing held it up, %d beats", time.Duration(lost), s.beats.Load())
		}
		if !s.in(ctx, 0, time.Second, time.Second) || s.in(ctx, 0, time.Second+1, time.Second) {
			t.Error("what took as long as it may is late, or what took longer is not")
		}
		before := s.lost.Load()
		s.lost.Add(int64(time.Second))
		if !s.in(ctx, before, 2*time.Second, time.Second) || s.in(ctx, before, 2*time.Second+1, time.Second) || s.in(ctx, s.lost.Load(), 2*time.Second, time.Second) {
			t.Error("what was lost while it ran is not left out, or more is")
		}
	})
}
