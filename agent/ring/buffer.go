package ring

import (
	"sort"
	"time"

	"davy/drivers/tag"
)

// buffer is what waits in the decider: readings until they are sent, events
// until they are durable, and what was lost of both. It has no lock, no clock
// and no I/O: Writer's mutex guards it and times are passed in.
type buffer struct {
	maxReadings, maxEvents, maxBytes int

	ring  []tag.Reading // circular; its length is maxReadings
	first int           // index of the oldest
	count int

	events    []held // serials grow
	bytes     int    // of events, encoded
	offered   uint64 // highest serial that was offered or restored
	restored  uint64 // highest serial that came from the latch
	permitted uint64 // events above it may not be sent
	durable   uint64 // the keeper has every event of this lineage up to it
	sent      uint64 // highest serial sent in this conversation
	sentEver  uint64 // … in any of this lineage

	lost   Lost // of readings (and what Offer brought), not yet told
	told   Lost // … told at toldAt
	toldAt time.Time
}

// held is an event that waits.
type held struct {
	Event
	size int
}

// restore puts back the events that the latch kept. They may be sent.
func (b *buffer) restore(events []Event) {
	for i := range events {
		b.add(&events[i])
	}
	b.restored, b.permitted = b.offered, b.offered
}

// add keeps a copy of e and makes room for it: samples of records go before
// events do. Votes and samples are copied too, because the engine uses its own
// again.
func (b *buffer) add(e *Event) {
	if e.Serial <= b.offered {
		panic("BUG: ring: serial does not grow")
	}
	b.offered = e.Serial
	h := held{Event: *e, size: eventSize(e)}
	if len(e.Votes) > 0 {
		h.Votes = append(h.Votes[:0:0], e.Votes...)
	}
	if len(e.Record) > 0 {
		h.Samples = max(e.Samples, uint32(len(e.Record)))
		h.Record = append(h.Record[:0:0], Thin(e.Record)...)
	}
	b.events = append(b.events, h)
	b.bytes += h.size
	for i := 0; i < len(b.events) && b.bytes > b.maxBytes; i++ {
		if one := &b.events[i]; len(one.Record) > 0 {
			n := recordSize(&one.Event)
			one.LeaveOut()
			one.size, b.bytes = one.size-n, b.bytes-n
		}
	}
	for (len(b.events) > b.maxEvents || b.bytes > b.maxBytes) && b.displace() {
	}
}

// displace gives up the oldest event of the least priority, and notes it in the
// event after it. The newest has none after it: if it is the one, the buffer
// holds one more than its limit until the next comes.
func (b *buffer) displace() bool {
	last := len(b.events) - 1
	if last == 0 {
		return false
	}
	least := 0
	for i := range b.events[:last] {
		if b.events[i].Priority < b.events[least].Priority {
			least = i
		}
	}
	one := &b.events[last]
	if one.Priority < b.events[least].Priority && last <= b.maxEvents && b.bytes-one.size <= b.maxBytes {
		return false
	}
	e, next := &b.events[least], &b.events[least+1]
	next.LostFrom, next.LostAt = e.Serial, e.At
	if e.LostFrom > 0 {
		next.LostFrom, next.LostAt = e.LostFrom, e.LostAt
	}
	b.bytes -= e.size
	copy(b.events[least:], b.events[least+1:])
	b.events[last] = held{}
	b.events = b.events[:last]
	return true
}

// put keeps a reading; the oldest goes if there is no room.
func (b *buffer) put(r *tag.Reading) {
	if b.count == len(b.ring) {
		old := b.ring[b.first].Received
		b.lost = merge(b.lost, Lost{Readings: 1, From: old, To: old})
		b.first = (b.first + 1) % len(b.ring)
		b.count--
	}
	b.ring[(b.first+b.count)%len(b.ring)] = *r
	b.count++
}

// retag gives what waits other tag ids; a reading whose tag is 0 then is lost,
// and so is a sample of a record, which Event.Samples still counts.
func (b *buffer) retag(to func(tag.ID) tag.ID) {
	for i := range b.events {
		e := &b.events[i]
		e.Tag = to(e.Tag)
		kept := e.Record[:0:0] // the old ones may be with whoever asked for the Outbox
		for _, s := range e.Record {
			if s.Tag = to(s.Tag); s.Tag != 0 {
				kept = append(kept, s)
			}
		}
		b.bytes -= (len(e.Record) - len(kept)) * sampleSize
		e.size -= (len(e.Record) - len(kept)) * sampleSize
		e.Record = kept
	}
	for range b.count {
		r := b.ring[b.first]
		b.first = (b.first + 1) % len(b.ring)
		b.count--
		if r.Tag = to(r.Tag); r.Tag == 0 {
			b.lost = merge(b.lost, Lost{Readings: 1, From: r.Received, To: r.Received})
			continue
		}
		b.ring[(b.first+b.count)%len(b.ring)] = r
		b.count++
	}
}

// get moves at most n of the oldest readings to dst.
func (b *buffer) get(dst []tag.Reading, n int) []tag.Reading {
	n = min(n, b.count)
	head := min(n, len(b.ring)-b.first)
	dst = append(dst, b.ring[b.first:b.first+head]...)
	dst = append(dst, b.ring[:n-head]...)
	b.count -= n
	b.first = (b.first + n) % len(b.ring)
	if b.count == 0 {
		b.first = 0 // so that a keeper which keeps up leaves most of the ring untouched
	}
	return dst
}

// after returns the index of the first event whose serial is greater.
func (b *buffer) after(serial uint64) int {
	return sort.Search(len(b.events), func(i int) bool { return b.events[i].Serial > serial })
}

// sendable returns how many events may be sent, and from which index.
func (b *buffer) sendable() (from, n int) {
	from = b.after(max(b.sent, b.durable))
	return from, max(0, b.after(b.permitted)-from)
}

// fill moves what may be sent into t: events, readings, what was lost. more
// says that something is left. The times of t are the caller's.
func (b *buffer) fill(t *Turn, now time.Time) (more bool) {
	t.Readings = b.get(t.Readings, FrameReadings)
	if b.lost != (Lost{}) {
		if now.Sub(b.toldAt) > LostAgain {
			b.told = Lost{}
		}
		b.told, b.toldAt = merge(b.told, b.lost), now
		t.Lost, b.lost = b.lost, Lost{}
	}
	from, n := b.sendable()
	take := min(n, FrameEvents)
	for i := range b.events[from : from+take] {
		e := &b.events[from+i]
		// What was displaced after it was sent in this conversation is with the
		// keeper; what is durable was never lost.
		if first := max(e.LostFrom, b.sent+1); e.LostFrom > 0 && first < e.Serial {
			t.Lost = merge(t.Lost, Lost{Events: e.Serial - first, From: e.LostAt, To: e.At})
		}
		t.Events = append(t.Events, e.Event)
		b.sent = e.Serial
	}
	b.sentEver = max(b.sentEver, b.sent)
	return n > take || b.count > 0
}

// release forgets the events up to serial: they are durable.
func (b *buffer) release(serial uint64) {
	b.durable = max(b.durable, serial)
	n := b.after(serial)
	if n > 0 {
		for i := range b.events[:n] {
			b.bytes -= b.events[i].size
		}
		left := copy(b.events, b.events[n:])
		clear(b.events[left:])
		b.events = b.events[:left]
	}
	if len(b.events) > 0 && b.events[0].LostFrom > 0 {
		if e := &b.events[0]; serial+1 >= e.Serial {
			e.LostFrom, e.LostAt = 0, tag.Stamp{}
		} else {
			e.LostFrom = max(e.LostFrom, serial+1)
		}
	}
}

// foreign reports whether the keeper's word that everything up to durable is
// on its disk cannot be about our events: one of this process is among them
// that was never sent.
func (b *buffer) foreign(durable uint64) bool {
	i := b.after(max(b.restored, b.sentEver))
	return i < len(b.events) && b.events[i].Serial <= durable
}

// begin starts a conversation in which the keeper is known to have everything
// up to durable: what else was sent before is sent again.
func (b *buffer) begin(durable uint64) {
	b.durable, b.sent = 0, 0
	b.release(durable)
}

// end ends a conversation: what was told a moment ago may not have arrived.
func (b *buffer) end(now time.Time) {
	if b.told != (Lost{}) && now.Sub(b.toldAt) <= LostAgain {
		b.lost = merge(b.lost, b.told)
	}
	b.told = Lost{}
}

// lineage makes the serials those of another lineage: nothing of it was sent
// or is durable. What was restored and is still here was not durable in the old.
func (b *buffer) lineage() { b.durable, b.sent, b.sentEver = 0, 0, 0 }

// merge adds two counts; the times span both.
func merge(a, b Lost) Lost {
	switch {
	case a == Lost{}:
		return b
	case b == Lost{}:
		return a
	}
	a.Readings += b.Readings
	a.Events += b.Events
	if b.From.Mono < a.From.Mono {
		a.From = b.From
	}
	if b.To.Mono > a.To.Mono {
		a.To = b.To
	}
	return a
}
