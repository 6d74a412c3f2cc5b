package uplink

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"davy/agent/wire"
)

// A message that is lost on the way (a broker whose queue for the receiver was
// full) is sent again after the receipt wait, also while receipts for other
// streams keep coming: an alarm must not wait until the readings stop.
func TestLostMessageAmongOthers(t *testing.T) {
	for _, stream := range []string{wire.EventStream, wire.ReadingStream} {
		t.Run(stream, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlant(t)
				var lost atomic.Int64
				lost.Store(2) // nothing is lost until all is well
				p.start(func(int) *line {
					return newLine(func(l *line, e *wire.Envelope) {
						if e.Blocks[0].Stream == stream && lost.Load() < 2 {
							lost.Add(1)
							return
						}
						honest(l, e)
					})
				})
				lose, other := func() { p.add(1, 0) }, func() { p.add(0, 50) }
				if stream == wire.ReadingStream {
					lose, other = other, lose
				}
				wait(t, time.Minute, "everything receipted", func() bool { return p.backlog() == 0 })
				lost.Store(0)
				lose()
				began := time.Now()
				// What else there is comes each second, so that receipts never cease.
				for lost.Load() < 2 || p.c.Backlog()[index(stream)].Records > 0 {
					if time.Since(began) > 4*DefaultReceiptWait {
						t.Fatalf("not sent again within %v: %d lost, %+v waits", time.Since(began), lost.Load(), p.c.Backlog())
					}
					time.Sleep(time.Second)
					other()
					synctest.Wait()
				}
				if n := len(p.lines); n != 1 {
					t.Errorf("%d connections were made for it", n)
				}
				if s := p.u.Status(); !s.Answering || s.Rewinds != 2 {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

// index is a stream's place in a backlog.
func index(stream string) int {
	if stream == wire.ReadingStream {
		return 1
	}
	return 0
}
