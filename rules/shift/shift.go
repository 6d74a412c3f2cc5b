// Package shift knows when the shifts of a site begin: at times of day of the
// clock on its wall.
//
// A shift lasts from one such time to the next, whatever that is in hours: on
// the day on which clocks go forward the night shift is an hour shorter, on the
// day on which they go back an hour longer. A time of day that a day does not
// have (02:30 when clocks go from 2 to 3) is the instant at which they go; one
// that it has twice is the first of the two. Two times that become one instant so
// are one.
//
// A Table is immutable and may be shared. Nothing here looks at a clock or
// allocates once a table is made. The rules of the zone are the caller's.
//
// Imports: nothing of ours.
package shift

import (
	"slices"
	"time"
)

// Most is how many shifts a day can have.
const Most = 24

// Day is the length of one shift where there is one time of day only, but for
// days on which clocks change.
const Day = 24 * time.Hour

// Table is the shifts of a site.
type Table struct {
	zone *time.Location
	at   []time.Duration
}

// New makes a table of the times of day at which shifts begin, each at least 0
// and less than Day. None, more than Most, or one beyond a day is the caller's
// error and panics: a person's words were checked before.
func New(zone *time.Location, at []time.Duration) *Table {
	t := &Table{zone, slices.Compact(slices.Sorted(slices.Values(at)))}
	if n := len(t.at); zone == nil || n == 0 || n > Most || t.at[0] < 0 || t.at[n-1] >= Day {
		panic("BUG: shift: no such table")
	}
	return t
}

// days is how many days on either side of one are looked at: the date line was
// moved once over a whole day.
const days = 2

// Around returns the shift that an instant lies in: it begins at start and
// ends just before end, both UTC in ns since 1970, as wall is.
func (t *Table) Around(wall int64) (start, end int64) {
	y, m, d := time.Unix(0, wall).In(t.zone).Date()
	first := true
	for i := -days; i <= days; i++ {
		for _, at := range t.at {
			x := t.instant(time.Date(y, m, d+i, 0, 0, 0, 0, time.UTC).Add(at))
			switch {
			case x <= wall:
				start = x // they rise
			case first:
				end, first = x, false
			}
		}
	}
	return start, end
}

// instant returns when the clock on the wall first shows what naive shows in
// UTC, or has passed it.
func (t *Table) instant(naive time.Time) int64 {
	// Whatever the zone, these lie before and after it; in between clocks change once at most.
	_, before := naive.Add(-26 * time.Hour).In(t.zone).Zone()
	_, after := naive.Add(26 * time.Hour).In(t.zone).Zone()
	x := naive.Add(-time.Duration(before) * time.Second)
	if _, have := x.In(t.zone).Zone(); have == before {
		return x.UnixNano() // where there are two, the first
	}
	y := naive.Add(-time.Duration(after) * time.Second)
	if _, have := y.In(t.zone).Zone(); have == after {
		return y.UnixNano()
	}
	change, _ := x.In(t.zone).ZoneBounds() // it shows neither: it was skipped
	return change.UnixNano()
}

// Longest returns the length of the longest shift, with the hour of a day on
// which clocks go back.
func (t *Table) Longest() time.Duration {
	last := t.at[len(t.at)-1] - Day
	longest := time.Duration(0)
	for _, at := range t.at {
		longest, last = max(longest, at-last), at
	}
	return longest + time.Hour
}
