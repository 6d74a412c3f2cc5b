package record

import (
	"davy/agent/config"
	"davy/agent/ring"
	"davy/agent/wire"
	"davy/drivers/tag"
)

// watch counts what a beacon says: from every reading that came, kept or not.
type watch struct {
	of         []bool // by tag: it is read from a device
	good       []bool
	tags, now  uint32
	from, last tag.Stamp // of the beacon, of the last turn
	worst      uint32
	turns      uint64
	events     uint64
	longest    int64
	some       bool // a turn came
}

func newWatch(p *config.Plan, began tag.Stamp) watch {
	w := watch{of: make([]bool, len(p.Tags)), good: make([]bool, len(p.Tags)), from: began}
	for i := range p.Tags {
		if w.of[i] = p.Tags[i].ID != 0 && p.Tags[i].Link >= 0; w.of[i] {
			w.tags++
		}
	}
	return w
}

// turn takes what one turn says of the tags.
func (w *watch) turn(t *ring.Turn) {
	w.turns++
	if w.some {
		w.longest = max(w.longest, t.Now.Mono-w.last.Mono)
	}
	w.last, w.some = t.Now, true
	if t.Lost.Readings > 0 { // who knows which: good again with the next one of each
		clear(w.good)
		w.now, w.worst = 0, 0
	}
	for i := range t.Readings {
		id := t.Readings[i].Tag
		if int(id) >= len(w.of) || !w.of[id] {
			continue
		}
		if good := t.Readings[i].Quality.Good(); good != w.good[id] {
			w.good[id] = good
			if good {
				w.now++
			} else {
				w.now--
				w.worst = min(w.worst, w.now)
			}
		}
	}
}

// beacon says what was watched since the one before, and begins the next. The
// time since the last turn counts as one between turns: who stopped deciding
// must not look as if all were well.
func (w *watch) beacon(now tag.Stamp) *wire.Beacon {
	b := &wire.Beacon{
		From: w.from, To: now, Tags: w.tags, Good: w.now, Worst: w.worst, Turns: w.turns, Events: w.events, Longest: w.longest,
	}
	since := w.from
	if w.some {
		since = w.last
	}
	b.Longest = max(b.Longest, now.Mono-since.Mono)
	w.from, w.worst, w.turns, w.events, w.longest = now, w.now, 0, 0, 0
	return b
}
