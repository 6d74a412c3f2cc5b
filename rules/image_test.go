package rules

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"davy/drivers/tag"
)

func TestImage(t *testing.T) {
	m := NewImage(Set{Tags: tagsOf("a:10s", "b:10s", "c")})
	put := func(id tag.ID, v float64, q tag.Quality, at time.Duration, want bool) {
		t.Helper()
		x, _ := tag.Float64Value(v)
		if got := m.Put(tag.Reading{Tag: id, Quality: q, Value: x, Received: rigStamp(at)}); got != want {
			t.Errorf("put %d at %v: changed %v, want %v", id, at, got, want)
		}
	}
	changed := func(want ...tag.ID) {
		t.Helper()
		if got := m.TakeChanged(); !slices.Equal(got, want) {
			t.Errorf("changed %v, want %v", got, want)
		}
	}
	age := func(at, want time.Duration) {
		t.Helper()
		next := m.Age(rigStamp(at)) // not after the true one, and not now
		if want < 0 && next != 0 || want >= 0 && (next > rigStamp(want).Mono || next <= rigStamp(at).Mono) {
			t.Errorf("at %v: next %v, want %v", at, time.Duration(next-rigBase), want)
		}
	}
	good := tag.GoodQuality
	age(0, -1)
	changed()
	if r := m.Readings()[1]; r.Tag != 1 || !unread(r.Quality) {
		t.Errorf("%+v", r)
	}
	put(2, 5, good, 0, true) // the first
	put(1, 0, good, 0, true)
	put(3, 0, tag.BadNoComm, 0, true)
	put(2, 6, good, time.Second, true)
	changed(2, 1, 3)
	changed()
	put(1, 0, good, 2*time.Second, false) // only fresher
	changed()
	put(1, 0, good|tag.Test, 3*time.Second, true) // another quality
	put(1, 0, good, 3*time.Second, true)
	changed(1)
	age(4*time.Second, 11*time.Second)
	age(10999*time.Millisecond, 11*time.Second)
	changed()
	age(11*time.Second, 13*time.Second)
	changed(2)
	if r := m.Readings()[2]; r.Quality != tag.BadStale || r.Value.Float() != 6 || r.Received != rigStamp(time.Second) {
		t.Errorf("%+v", r)
	}
	age(1000*time.Second, -1) // c has no time to live
	changed(1)
	put(2, 6, good, 1000*time.Second, true) // revived by the same value
	age(1000*time.Second, 1010*time.Second)
	changed(2)
	put(2, 6, tag.BadNoComm, 1001*time.Second, true)
	changed(2)
	age(1011*time.Second, -1)
	changed() // it is bad already, and keeps its reason
	if r := m.Readings()[2]; r.Quality != tag.BadNoComm {
		t.Errorf("%+v", r)
	}
	// A reading that is older than its predecessor expires earlier.
	put(1, 1, good, 1020*time.Second, true)
	put(1, 1, good, 1015*time.Second, false)
	age(1020*time.Second, 1025*time.Second)
	age(1025*time.Second, -1)
	if r := m.Readings()[1]; r.Quality != tag.BadStale {
		t.Errorf("%+v", r)
	}
	for _, id := range []tag.ID{0, 4} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("a reading of tag %d is taken", id)
				}
			}()
			m.Put(tag.Reading{Tag: id})
		}()
	}
}

// The lazy image and one that looks at every tag agree.
func TestImageAgainstScan(t *testing.T) {
	const n = 40
	set := Set{Tags: make([]Tag, n+1)}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range set.Tags {
		set.Tags[i].TTL = time.Duration(r.IntN(5)) * time.Second
	}
	m, all := NewImage(set), make([]tag.Reading, n+1)
	for i := range all {
		all[i].Tag = tag.ID(i)
	}
	for at := time.Duration(0); at < 2000*time.Second; at += time.Duration(r.IntN(1500)) * time.Millisecond {
		now := rigStamp(at)
		want := map[tag.ID]bool{}
		for range r.IntN(6) {
			x := tag.Reading{Tag: tag.ID(1 + r.IntN(n)), Quality: tag.GoodQuality, Value: tag.IntValue(int64(r.IntN(3))), Received: now}
			old := &all[x.Tag]
			if old.Quality != x.Quality || old.Value != x.Value {
				want[x.Tag] = true
			}
			*old = x
			m.Put(x)
		}
		next := int64(0)
		for i := range all {
			x := &all[i]
			if due := x.Received.Mono + int64(set.Tags[i].TTL); i > 0 && set.Tags[i].TTL > 0 && x.Quality.Good() {
				if due <= now.Mono {
					x.Quality, want[x.Tag] = tag.BadStale, true
				} else if next == 0 || due < next {
					next = due
				}
			}
		}
		if got := m.Age(now); next != 0 && got == 0 || next != 0 && got > next || got != 0 && got <= now.Mono {
			t.Fatalf("at %v: look again at %d, the next is at %d", at, got, next)
		}
		got := m.TakeChanged()
		if len(got) != len(want) || slices.ContainsFunc(got, func(id tag.ID) bool { return !want[id] }) {
			t.Fatalf("at %v: changed %v, want %v", at, got, want)
		}
		if !slices.Equal(m.Readings(), all) {
			t.Fatalf("at %v: the images differ", at)
		}
	}
}

func TestImageAllocatesNothing(t *testing.T) {
	const n = 200
	set := Set{Tags: make([]Tag, n+1)}
	for i := range set.Tags {
		set.Tags[i].TTL = 3 * time.Second
	}
	m := NewImage(set)
	at := time.Duration(0)
	if got := testing.AllocsPerRun(100, func() {
		for i := 1; i <= n; i++ {
			m.Put(tag.Reading{Tag: tag.ID(i), Quality: tag.GoodQuality, Value: tag.IntValue(int64(at)), Received: rigStamp(at)})
		}
		m.Age(rigStamp(at + 5*time.Second))
		m.TakeChanged()
		at += time.Second
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
}
