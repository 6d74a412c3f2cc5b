package rules

import (
	"fmt"

	"davy/drivers/tag"
)

// Image is the process image: the newest reading of every tag, and which of
// them changed. It ages readings that outlive their time to live, and shows
// what persons laid over a tag (Overlay). It belongs to one goroutine. After
// NewImage only Overlay allocates.
//
// Ageing is lazy: a reading that is refreshed keeps the deadline it had, and
// only when that comes the true one takes its place. So a reading costs one look
// in its time to live, however often it is refreshed.
type Image struct {
	readings []tag.Reading
	ttl      []int64
	marked   []bool // in changed
	changed  []tag.ID
	taken    bool     // changed was handed out
	aged     []tag.ID // by the last Age
	expiry   timers   // by tag; a key may be earlier than the reading's true expiry, never later
	place    []int32  // by tag: index+1 in laid; 0: nothing lies over it
	laid     []laid
}

// laid is a tag with an overlay, and what came from its source.
type laid struct {
	Overlay
	raw    tag.Reading // as put and aged, without the overlay
	before tag.Reading // where came: raw as it was when the changes were last taken
	came   bool        // raw is newer than that
}

// NewImage returns an image of the set's tags in which nothing was read yet.
func NewImage(set Set) *Image {
	n := max(len(set.Tags), 1)
	m := &Image{
		readings: make([]tag.Reading, n),
		ttl:      make([]int64, n),
		marked:   make([]bool, n),
		changed:  make([]tag.ID, 0, n),
		aged:     make([]tag.ID, 0, n),
		expiry:   newTimers(n, n),
		place:    make([]int32, n),
	}
	for i := range set.Tags {
		m.readings[i].Tag = tag.ID(i)
		m.ttl[i] = int64(set.Tags[i].TTL)
	}
	return m
}

// Put replaces the reading of r.Tag and reports whether it is a change: the
// first reading, another value or another quality. A reading that says the
// same again only keeps it fresh. What lies over the tag stays: Readings has
// the reading as it counts and as it is to be recorded. A tag that the set does
// not have is a programmer's error.
func (m *Image) Put(r tag.Reading) (changed bool) {
	m.check(r.Tag)
	m.release()
	at := r.Received.Mono
	if k := m.place[r.Tag]; k > 0 {
		r = m.laid[k-1].take(r)
	}
	changed = m.show(r)
	if m.ttl[r.Tag] > 0 {
		slot, at := int(r.Tag), at+m.ttl[r.Tag]
		if !m.expiry.runs(slot) || at < m.expiry.at(slot) {
			m.expiry.set(slot, at)
		}
	}
	return changed
}

func (m *Image) check(id tag.ID) {
	if id == 0 || int(id) >= len(m.readings) {
		panic(fmt.Sprintf("BUG: rules: reading of tag %d of %d", id, len(m.readings)))
	}
}

// show puts a reading as it counts.
func (m *Image) show(r tag.Reading) (changed bool) {
	p := &m.readings[r.Tag]
	changed = p.Quality != r.Quality || p.Value != r.Value
	*p = r
	if changed {
		m.mark(r.Tag)
	}
	return changed
}

// Age makes every reading stale that has reached its time to live: BadStale,
// with its value kept. A reading that is bad already keeps its reason, which
// says more. It returns the Mono before which there will be no other, 0 if there
// will be none: look again then. Under an overlay the reading ages as well; a
// forced value does not.
func (m *Image) Age(now tag.Stamp) (next int64) {
	m.aged = m.aged[:0]
	for {
		slot, at := m.expiry.first()
		if slot < 0 {
			return 0
		}
		if at > now.Mono {
			return at
		}
		r := m.readings[slot]
		k := m.place[slot]
		if k > 0 {
			r = m.laid[k-1].raw
		}
		if due := r.Received.Mono + m.ttl[slot]; due > at { // it was refreshed meanwhile
			m.expiry.set(slot, due)
			continue
		}
		m.expiry.stop(slot)
		if r.Quality.Bad() {
			continue
		}
		m.release()
		r.Quality = tag.BadStale
		if k > 0 {
			r = m.laid[k-1].take(r)
		}
		m.show(r)
		m.aged = append(m.aged, r.Tag)
	}
}

// Aged returns the tags that the last Age made stale. The slice lives until the
// next Age.
func (m *Image) Aged() []tag.ID { return m.aged }

// Readings returns the image itself, indexed by tag.ID. It is the caller's to read only.
func (m *Image) Readings() []tag.Reading { return m.readings }

// TakeChanged returns the tags that changed since the last call, in the order
// of their first change. The slice lives until the next Put, Age or Overlay.
func (m *Image) TakeChanged() []tag.ID {
	m.release()
	for _, id := range m.changed {
		m.marked[id] = false
	}
	for i := range m.laid {
		m.laid[i].came = false
	}
	m.taken = true
	return m.changed
}

func (m *Image) release() {
	if m.taken {
		m.taken, m.changed = false, m.changed[:0]
	}
}

func (m *Image) mark(id tag.ID) {
	if !m.marked[id] {
		m.marked[id] = true
		m.changed = append(m.changed, id)
	}
}
