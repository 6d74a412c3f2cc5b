package rules

import (
	"slices"
	"testing"
	"time"

	"davy/drivers/tag"

	"pgregory.net/rapid"
)

func TestOverlay(t *testing.T) {
	m := NewImage(Set{Tags: tagsOf("a:10s", "b")})
	f := func(x float64) tag.Value { v, _ := tag.Float64Value(x); return v }
	put := func(q tag.Quality, v float64, at time.Duration, want bool) {
		t.Helper()
		if got := m.Put(tag.Reading{Tag: 1, Quality: q, Value: f(v), Source: 7, Received: rigStamp(at)}); got != want {
			t.Errorf("put %v at %v: changed %v", v, at, got)
		}
	}
	is := func(q tag.Quality, v float64, at time.Duration, changed bool) {
		t.Helper()
		if r, want := m.Readings()[1], (tag.Reading{Tag: 1, Quality: q, Value: f(v), Source: 7, Received: rigStamp(at)}); r != want {
			t.Errorf("got  %+v\nwant %+v", r, want)
		}
		if got := slices.Contains(m.TakeChanged(), 1); got != changed {
			t.Errorf("changed %v", got)
		}
	}
	over := func(o Overlay, want bool) {
		t.Helper()
		o.Tag = 1
		if got := m.Overlay(o); got != want {
			t.Errorf("%+v: changed %v", o, got)
		}
	}
	good := tag.GoodQuality
	forced := tag.MakeQuality(tag.Uncertain, tag.Substituted, tag.Forced)
	out := tag.MakeQuality(tag.Bad, tag.OutOfService, 0)
	put(good|tag.LimitHigh, 5, 0, true)
	over(Overlay{Forced: true, Value: f(9)}, true)
	is(forced, 9, 0, true)
	if forced.Usable() || !forced.Valid() {
		t.Error("a forced value may be judged")
	}
	put(tag.BadNoComm, 5, 1*s, false) // it looks the same
	is(forced, 9, 1*s, false)
	over(Overlay{Forced: true, Test: true, Value: f(9)}, true)
	is(forced|tag.Test, 9, 1*s, true)
	put(good|tag.Maintenance, 6, 2*s, true)
	is(forced|tag.Test|tag.Maintenance, 9, 2*s, true)
	over(Overlay{Removed: true, Test: true, Forced: true, Value: f(9)}, true)
	is(out|tag.Maintenance, 6, 2*s, true)
	put(good|tag.Test|tag.LimitLow, 7, 3*s, true)
	is(out|tag.LimitLow, 7, 3*s, true) // not Test: a vote leaves that out
	over(Overlay{Test: true}, true)
	is(good|tag.Test|tag.LimitLow, 7, 3*s, true)
	put(tag.BadSensor, 7, 4*s, true)
	is(tag.BadSensor|tag.Test, 7, 4*s, true)
	put(good, 7, 5*s, true)
	m.Age(rigStamp(15 * s))
	is(tag.BadStale|tag.Test, 7, 5*s, true)
	over(Overlay{}, true)
	is(tag.BadStale, 7, 5*s, true)
	over(Overlay{}, false)
	is(tag.BadStale, 7, 5*s, false)

	// Beneath a force a reading ages, and is stale when the force ends.
	put(good, 8, 20*s, true)
	over(Overlay{Forced: true, Value: f(1)}, true)
	m.TakeChanged()
	m.Age(rigStamp(30 * s))
	is(forced, 1, 20*s, false)
	over(Overlay{}, true)
	is(tag.BadStale, 8, 20*s, true)
	if len(m.laid) != 0 {
		t.Error("something still lies over a tag")
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("an overlay of no tag is taken")
			}
		}()
		m.Overlay(Overlay{Tag: 3})
	}()
}

// An image with overlays shows at every time what the overlay makes of the
// reading that a plain image has, and marks what changed, no more and no less.
func TestOverlayAgainstPlain(t *testing.T) {
	checks(t, 500)
	rapid.Check(t, func(t *rapid.T) {
		const n = 4
		set := Set{Tags: tagsOf("a:3s", "b:2s", "c", "d:4s")}
		m, plain := NewImage(set), NewImage(set)
		over := make([]Overlay, n+1)
		shown := slices.Clone(m.Readings())
		now := time.Duration(0)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now += time.Duration(rapid.IntRange(0, 1500).Draw(t, "ms")) * time.Millisecond
			for range rapid.IntRange(0, 3).Draw(t, "puts") {
				r := tag.Reading{Tag: tag.ID(rapid.IntRange(1, n).Draw(t, "tag")), Quality: rapid.SampledFrom(modelQualities).Draw(t, "q"), Value: tag.IntValue(int64(rapid.IntRange(0, 2).Draw(t, "v"))), Received: rigStamp(now)}
				m.Put(r)
				plain.Put(r)
			}
			for range rapid.IntRange(0, 2).Draw(t, "overlays") {
				o := Overlay{
					Tag: tag.ID(rapid.IntRange(1, n).Draw(t, "tag")), Removed: rapid.IntRange(0, 4).Draw(t, "out") == 0,
					Test: rapid.Bool().Draw(t, "test"), Forced: rapid.Bool().Draw(t, "forced"), Value: tag.IntValue(int64(rapid.IntRange(0, 2).Draw(t, "v"))),
				}
				over[o.Tag] = o
				m.Overlay(o)
			}
			m.Age(rigStamp(now))
			plain.Age(rigStamp(now))
			changed := m.TakeChanged()
			for id := tag.ID(1); id <= n; id++ {
				want := over[id].look(plain.Readings()[id])
				got := m.Readings()[id]
				if got != want || m.Overlaid(id) != !over[id].nothing() {
					t.Fatalf("at %v: %+v, want %+v", now, got, want)
				}
				if was := shown[id]; (was.Quality != got.Quality || was.Value != got.Value) && !slices.Contains(changed, id) {
					t.Fatalf("at %v: %+v is not marked", now, got)
				}
			}
			shown = slices.Clone(m.Readings())
		}
	})
}

// Readings under an overlay, and a step while permits run, allocate nothing.
func TestOverlayAllocatesNothing(t *testing.T) {
	r := play(t, deviceSet(3, 3, nil), `
		0s a=1 b=1 c=1 => armed L
		1s force:a:5:1h test:D:1h => forced a 5 for 1h0m0s; testing D for 1h0m0s; degraded L a!test`)
	at := 21 * s
	if got := testing.AllocsPerRun(1000, func() {
		for id := tag.ID(1); id <= 4; id++ {
			r.img.Put(tag.Reading{Tag: id, Quality: tag.GoodQuality, Value: tag.IntValue(int64(at) % 90), Received: rigStamp(at)})
		}
		Step(r.e, r.img, rigStamp(at), &r.out)
		at += 7 * time.Millisecond
	}); got != 0 || len(r.out.Events) > 0 {
		t.Errorf("%v allocations, %d events", got, len(r.out.Events))
	}
}
