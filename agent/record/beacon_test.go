package record

import (
	"testing"

	"davy/agent/config"
	"davy/agent/ring"
	"davy/agent/wire"
	"davy/drivers/tag"
)

// A beacon counts what was read from devices, says the fewest that were good at
// one time, and calls nothing good that it has not seen to be.
func TestBeacon(t *testing.T) {
	p := &config.Plan{Tags: []config.Tag{{}, {ID: 1}, {ID: 2}, {ID: 3, Link: -1}, {ID: 4}}}
	at := func(ms int64) tag.Stamp { return tag.Stamp{Wall: 1e18 + ms*1e6, Mono: ms * 1e6} }
	w := newWatch(p, at(0))
	turn := func(ms int64, lost uint64, changes ...int) { // a tag that is good, or -tag that is bad
		x := &ring.Turn{Now: at(ms)}
		x.Lost.Readings = lost
		for _, c := range changes {
			r := tag.Reading{Tag: tag.ID(max(c, -c)), Quality: tag.BadNoComm}
			if c > 0 {
				r.Quality = tag.GoodQuality
			}
			x.Readings = append(x.Readings, r)
		}
		w.turn(x)
	}
	f := func(now int64, want wire.Beacon) {
		t.Helper()
		if got := w.beacon(at(now)); *got != want {
			t.Errorf("at %d ms\n got %+v\nwant %+v", now, *got, want)
		}
	}
	f(500, wire.Beacon{From: at(0), To: at(500), Tags: 3, Longest: 500e6}) // nobody decided yet, nothing is good
	turn(600, 0, 1, 2, 3, 4, 99)
	turn(700, 0, 1, 2)
	w.events++
	f(1000, wire.Beacon{From: at(500), To: at(1000), Tags: 3, Good: 3, Turns: 2, Events: 1, Longest: 300e6})
	turn(1100, 0, -1, -2)
	turn(1200, 0, 1)
	f(2000, wire.Beacon{From: at(1000), To: at(2000), Tags: 3, Good: 2, Worst: 1, Turns: 2, Longest: 800e6})
	turn(2100, 0)
	turn(2150, 7, 4) // what was lost on the way may have been anything
	turn(2200, 0, 1, 2)
	f(2300, wire.Beacon{From: at(2000), To: at(2300), Tags: 3, Good: 3, Worst: 0, Turns: 3, Longest: 900e6})
	f(2400, wire.Beacon{From: at(2300), To: at(2400), Tags: 3, Good: 3, Worst: 3, Longest: 200e6})
}
