package shift

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"
)

func zone(t testing.TB, name string) *time.Location {
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// table reads "08:00 20:00".
func table(t testing.TB, name, at string) *Table {
	var list []time.Duration
	for _, s := range strings.Fields(at) {
		x, err := time.Parse("15:04", s)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, time.Duration(x.Hour())*time.Hour+time.Duration(x.Minute())*time.Minute)
	}
	return New(zone(t, name), list)
}

func TestAround(t *testing.T) {
	for _, x := range []struct{ zone, at, now, start, end string }{
		{"Asia/Shanghai", "08:00 20:00", "2026-01-05T00:00:00Z", "2026-01-05T00:00:00Z", "2026-01-05T12:00:00Z"}, // its first instant is its own
		{"Asia/Shanghai", "08:00 20:00", "2026-01-04T23:59:59Z", "2026-01-04T12:00:00Z", "2026-01-05T00:00:00Z"},
		{"Asia/Shanghai", "20:00 08:00", "2026-01-05T12:00:00Z", "2026-01-05T12:00:00Z", "2026-01-06T00:00:00Z"}, // in any order
		{"UTC", "06:00", "2026-01-05T05:00:00Z", "2026-01-04T06:00:00Z", "2026-01-05T06:00:00Z"},
		{"Asia/Kathmandu", "06:00 14:00 22:00", "2026-01-05T00:14:59Z", "2026-01-04T16:15:00Z", "2026-01-05T00:15:00Z"},
		// Berlin: 2026-03-29 01:00Z from 2 to 3 o'clock, 2026-10-25 01:00Z from 3 to 2.
		{"Europe/Berlin", "06:00 22:00", "2026-03-29T00:00:00Z", "2026-03-28T21:00:00Z", "2026-03-29T04:00:00Z"}, // seven hours
		{"Europe/Berlin", "06:00 22:00", "2026-10-25T02:00:00Z", "2026-10-24T20:00:00Z", "2026-10-25T05:00:00Z"}, // nine
		{"Europe/Berlin", "02:30", "2026-03-29T02:00:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"},       // a time that is not there
		{"Europe/Berlin", "02:30", "2026-03-29T00:59:59Z", "2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z"},
		{"Europe/Berlin", "02:10 02:50", "2026-03-29T01:00:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:10:00Z"}, // two that are one
		{"Europe/Berlin", "02:30", "2026-10-25T01:00:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"},       // one that is there twice: the first
		{"Australia/Lord_Howe", "02:15", "2026-10-03T15:30:00Z", "2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"}, // half an hour
		{"Pacific/Apia", "08:00 20:00", "2011-12-30T09:00:00Z", "2011-12-30T06:00:00Z", "2011-12-30T10:00:00Z"},  // a day that was left out
		{"Pacific/Apia", "08:00 20:00", "2011-12-30T10:00:00Z", "2011-12-30T10:00:00Z", "2011-12-30T18:00:00Z"},
	} {
		now, _ := time.Parse(time.RFC3339, x.now)
		start, end := table(t, x.zone, x.at).Around(now.UnixNano())
		if s, e := time.Unix(0, start).UTC().Format(time.RFC3339), time.Unix(0, end).UTC().Format(time.RFC3339); s != x.start || e != x.end {
			t.Errorf("%s %s at %s: %s to %s, want %s to %s", x.zone, x.at, x.now, s, e, x.start, x.end)
		}
	}
}

// A second reckoning: minute by minute a clock on the wall is looked at, and a
// shift begins when it first shows a time of the list, or has jumped over it.
func TestAgainstAClockOnTheWall(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 11))
	zones := []string{"UTC", "Asia/Shanghai", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Casablanca", "America/St_Johns"}
	for _, name := range zones {
		z := zone(t, name)
		for _, day := range []string{"2026-03-08", "2026-03-28", "2026-02-14", "2026-03-21", "2026-04-04", "2026-10-03", "2026-10-24", "2026-10-31", "2026-07-01"} {
			begin, _ := time.Parse(time.DateOnly, day)
			var at []time.Duration
			for range 1 + r.IntN(4) {
				at = append(at, time.Duration(r.IntN(24*60))*time.Minute)
			}
			tab := New(z, at)
			// seen[d] is that the time of day was shown or passed on that date.
			type mark struct {
				date string
				at   time.Duration
			}
			shown, starts := map[mark]bool{}, []int64{}
			last := begin.Add(-24 * time.Hour)
			for x := last; x.Before(begin.Add(72 * time.Hour)); x = x.Add(time.Minute) {
				_, was := last.In(z).Zone()
				wall, jumped := naive(x.In(z)), naive(last.Add(time.Minute).In(time.FixedZone("", was)))
				if wall.Before(jumped) {
					jumped = wall
				}
				begins := false
				for _, d := range at {
					for n := jumped; !n.After(wall); n = n.Add(time.Minute) {
						if n.Sub(n.Truncate(Day)) == d {
							m := mark{n.Format(time.DateOnly), d}
							begins = begins || !shown[m]
							shown[m] = true
						}
					}
				}
				if begins {
					starts = append(starts, x.UnixNano())
				}
				last = x
			}
			for i := 1; i < len(starts); i++ {
				for _, w := range []int64{starts[i-1], starts[i] - 1, starts[i-1] + r.Int64N(starts[i]-starts[i-1])} {
					if s, e := tab.Around(w); s != starts[i-1] || e != starts[i] {
						t.Fatalf("%s %s %v at %s: %s to %s, want %s to %s", name, day, at, ut(w), ut(s), ut(e), ut(starts[i-1]), ut(starts[i]))
					}
				}
				if got := time.Duration(starts[i] - starts[i-1]); got > tab.Longest() {
					t.Errorf("%s %s %v: a shift of %s is longer than the longest, %s", name, day, at, got, tab.Longest())
				}
			}
		}
	}
}

// naive is what a clock shows, as if it were UTC.
func naive(t time.Time) time.Time {
	_, offset := t.Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

func ut(ns int64) string { return time.Unix(0, ns).UTC().Format(time.RFC3339) }

func TestAroundAllocatesNothing(t *testing.T) {
	tab := table(t, "Europe/Berlin", "06:00 14:00 22:00")
	now := time.Date(2026, 3, 29, 0, 0, 0, 0, time.UTC).UnixNano()
	if n := testing.AllocsPerRun(100, func() { tab.Around(now) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
