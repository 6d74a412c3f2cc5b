package control

import (
	"testing"
	"time"

	"davy/drivers/tag"
	"davy/rules"
)

// What lies over a tag is in the readings that are recorded: when it begins,
// on each that comes, and when it ends, also where a reading comes before the
// loop has seen that its time is over.
func TestOverlaysAreRecorded(t *testing.T) {
	permit := rules.Permit{AtMost: time.Hour}
	set := rules.Set{Tags: []rules.Tag{{}, {Name: "a"}}, Devices: []rules.Device{{Name: "D", Tags: []tag.ID{1}, Force: permit, Test: permit}}}
	e, err := rules.New(set)
	if err != nil {
		t.Fatal(err)
	}
	l := &Loop{o: Options{Engine: e}, image: rules.NewImage(set), seen: make([]uint32, 2)}
	at := func(d time.Duration) tag.Stamp { return tag.Stamp{Wall: int64(d) + 1e18, Mono: int64(d) + 1e9} }
	put := func(d time.Duration, v int64) {
		l.take(&tag.Reading{Tag: 1, Quality: tag.GoodQuality, Value: tag.IntValue(v), Received: at(d)})
	}
	do := func(d time.Duration, c rules.Command) {
		t.Helper()
		c.Who, c.Proved, c.Note, c.For = "li", true, "n", 10*time.Second
		if err := rules.Do(e, l.image, at(d), c, &l.out); err != nil {
			t.Fatal(err)
		}
		l.settle(at(d))
	}
	const s = time.Second
	forced, out := tag.MakeQuality(tag.Uncertain, tag.Substituted, tag.Forced), tag.MakeQuality(tag.Bad, tag.OutOfService, 0)
	want := func(all ...tag.Reading) {
		t.Helper()
		for i, r := range l.turn.Readings {
			if i < len(all) && r != all[i] {
				t.Errorf("%d: got %+v, want %+v", i, r, all[i])
			}
		}
		if len(l.turn.Readings) != len(all) {
			t.Errorf("%d readings, want %d", len(l.turn.Readings), len(all))
		}
		l.turn.Readings = nil
	}
	is := func(q tag.Quality, v int64, d time.Duration) tag.Reading {
		return tag.Reading{Tag: 1, Quality: q, Value: tag.IntValue(v), Received: at(d)}
	}
	put(0, 1)
	l.stepOnce(at(0))
	want(is(tag.GoodQuality, 1, 0))
	do(1*s, rules.Command{Verb: rules.Force, Rule: "a", Value: tag.IntValue(9)})
	put(2*s, 2)
	l.stepOnce(at(2 * s))
	want(is(forced, 9, 1*s), is(forced, 9, 2*s))
	put(12*s, 3) // the force ended at 11 s
	want(is(tag.GoodQuality, 2, 12*s), is(tag.GoodQuality, 3, 12*s))
	do(13*s, rules.Command{Verb: rules.BeginTest, Rule: "D"})
	put(14*s, 4)
	want(is(tag.GoodQuality|tag.Test, 3, 13*s), is(tag.GoodQuality|tag.Test, 4, 14*s))
	do(15*s, rules.Command{Verb: rules.Remove, Rule: "D"})
	put(16*s, 5)
	want(is(out, 4, 15*s), is(out, 5, 16*s))
}
