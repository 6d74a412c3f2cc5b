package control

import (
	"davy/agent/latch"
	"davy/agent/ring"
	"davy/drivers/tag"
)

// permit is a memory that was handed to the latch, and what waits for it.
type permit struct {
	gen    uint64
	serial uint64
	since  int64
	told   []chan error
}

// end tells who waits for p's memory what became of it.
func (p *permit) end(err error) {
	for _, c := range p.told {
		c <- err // it has room for one
	}
}

// remember hands the latch a new memory if something durable changed, and
// lets events go whose memory is on disk or has been waited for long enough.
func (l *Loop) remember(now tag.Stamp) {
	if l.dirty || l.latchSlow != 0 && now.Mono-l.probed > int64(latchProbe) {
		l.dirty, l.probed = false, now.Mono
		l.mem.Saved, l.mem.Boot, l.mem.Plan = now, l.o.Boot, l.o.Plan.Hash
		l.mem.Engine = l.o.Engine.Snapshot(l.mem.Engine[:0], now)
		l.mem.Outbox = lean(l.o.Keep.Outbox(l.mem.Outbox[:0]), OutboxSamples)
		l.payload = l.mem.Append(l.payload[:0])
		if len(l.payload) > latch.MaxPayload { // samples are worth less than events
			l.mem.Outbox = lean(l.mem.Outbox, 0)
			l.payload = l.mem.Append(l.payload[:0])
		}
		for len(l.payload) > latch.MaxPayload && len(l.mem.Outbox) > 1 {
			l.mem.Outbox = shorter(l.mem.Outbox) // states are worth more than what is to be told of them
			l.payload = l.mem.Append(l.payload[:0])
		}
		l.waiting = append(l.waiting, permit{l.o.Latch.Save(l.payload), l.mem.Serial, now.Mono, l.told})
		l.told = nil
	}
	for len(l.waiting) > 0 && now.Mono-l.waiting[0].since > int64(LatchPatience) {
		l.latchSlow, l.slowAt = l.waiting[0].gen, now.Mono
		l.put("latch.failed", true)
		l.release(1, ErrNotSaved)
	}
}

// lean leaves the samples out of the older records so that of all events
// together at most limit are left; each such event still says how many it had.
func lean(events []ring.Event, limit int) []ring.Event {
	for i := len(events) - 1; i >= 0; i-- {
		n := min(len(events[i].Record), ring.MaxSamples)
		if n > limit {
			events[i].LeaveOut()
			limit = 0 // an older one is not kept before a newer one
			continue
		}
		limit -= n
	}
	return events
}

// shorter gives up the older half of events; the first of the rest says so,
// should it ever be read back.
func shorter(events []ring.Event) []ring.Event {
	n := (len(events) + 1) / 2
	n = min(n, len(events)-1)
	from := events[0]
	events = append(events[:0], events[n:]...)
	if events[0].LostFrom, events[0].LostAt = from.Serial, from.At; from.LostFrom > 0 {
		events[0].LostFrom, events[0].LostAt = from.LostFrom, from.LostAt
	}
	return events
}

// release lets the events of the first n that wait go.
func (l *Loop) release(n int, err error) {
	l.o.Keep.Permit(l.waiting[n-1].serial)
	for i := range n {
		l.waiting[i].end(err)
	}
	l.waiting = append(l.waiting[:0], l.waiting[n:]...)
}

// saved looks at how far the latch is: events whose memory is on disk may go.
// A memory that could not be written lets its events go too, for waiting would
// lose them; the condition says so, until one that was asked for later is on
// disk in time.
func (l *Loop) saved() {
	s := l.o.Latch.State()
	n := 0
	for n < len(l.waiting) && l.waiting[n].gen <= s.Durable {
		n++
	}
	if n > 0 {
		l.release(n, nil)
	}
	n = 0
	for n < len(l.waiting) && s.Err != nil && l.waiting[n].gen <= s.Tried {
		n++
	}
	if n > 0 {
		l.release(n, ErrNotSaved)
	}
	if failed := s.Err != nil; failed != l.latchFailed {
		l.latchFailed = failed
		if failed {
			l.o.Log.Error("latch file not written", "err", s.Err)
		} else {
			l.o.Log.Info("latch file written again")
		}
	}
	switch {
	case s.Err != nil:
		l.put("latch.failed", true)
	case len(l.waiting) == 0 && s.Durable > l.latchSlow && (l.latchSlow == 0 || l.o.Now().Mono-l.slowAt > int64(latchProbe)/2):
		l.latchSlow = 0
		l.put("latch.failed", false)
	}
}
