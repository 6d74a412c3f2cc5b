// Package plansearch finds the least time that a wire can be busy with reading
// a set of readings: what a Modbus plan is held against.
//
// It knows nothing of the planner. A reading takes some addresses in a row, a
// request asks for addresses in a row, every reading lies whole in some
// request, and a request takes a fixed time and some for each byte. Of small
// maps every way to deal the readings out to requests is tried, sensible or
// not. Of large ones the search walks along the addresses: see Walk.
package plansearch

import (
	"math"
	"slices"
	"time"
)

// Small is how many readings Exhaustive takes: 21,147 ways.
const Small = 9

// Reading takes the addresses from First to before End.
type Reading struct{ First, End int }

// Rules are what requests of one table obey and cost.
type Rules struct {
	Limit    int // addresses of one request
	Gap      int // addresses in a row that no reading uses and a request may bridge
	PerByte  time.Duration
	Fixed    time.Duration // of each request
	Bits     bool          // an address is a bit, eight to a byte; otherwise it has
	BytesPer int           // bytes
}

// Cost returns what a request for so many addresses costs.
func (r Rules) Cost(addresses int) time.Duration {
	bytes := addresses * r.BytesPer
	if r.Bits {
		bytes = (addresses + 7) / 8
	}
	return r.Fixed + time.Duration(bytes)*r.PerByte
}

// use marks the addresses that readings use.
func use(readings []Reading) []bool {
	end := 0
	for _, r := range readings {
		end = max(end, r.End)
	}
	used := make([]bool, end)
	for _, r := range readings {
		for a := r.First; a < r.End; a++ {
			used[a] = true
		}
	}
	return used
}

// allowed reports whether one request may ask for first to before end.
func (r Rules) allowed(used []bool, first, end int) bool {
	if end-first > r.Limit {
		return false
	}
	empty := 0
	for _, u := range used[first:end] {
		empty++
		if u {
			empty = 0
		}
		if empty > r.Gap {
			return false
		}
	}
	return true
}

// Allowed says whether a map with these readings may be asked for first to
// before end in one request.
func Allowed(rules Rules, readings []Reading) func(first, end int) bool {
	used := use(readings)
	return func(first, end int) bool { return end <= len(used) && rules.allowed(used, first, end) }
}

// Exhaustive returns the least cost over every way to deal the readings out;
// ok is false where no way obeys the rules. There are at most Small readings.
func Exhaustive(rules Rules, readings []Reading) (least time.Duration, ok bool) {
	if len(readings) > Small {
		panic("BUG: plansearch: too many readings to try everything")
	}
	used := use(readings)
	least = math.MaxInt64
	heaps := make([]Reading, 0, len(readings)) // what each request spans
	var deal func(i int)
	deal = func(i int) {
		if i == len(readings) {
			sum := time.Duration(0)
			for _, h := range heaps {
				if !rules.allowed(used, h.First, h.End) {
					return
				}
				sum += rules.Cost(h.End - h.First)
			}
			least, ok = min(least, sum), true
			return
		}
		for k := range heaps {
			before := heaps[k]
			heaps[k] = Reading{min(before.First, readings[i].First), max(before.End, readings[i].End)}
			deal(i + 1)
			heaps[k] = before
		}
		heaps = append(heaps, readings[i])
		deal(i + 1)
		heaps = heaps[:len(heaps)-1]
	}
	deal(0)
	return least, ok
}

// Walk returns the least cost of any number of readings.
//
// It stands at an address with all readings that begin before it done. The
// lowest reading not done begins a request, because a request that began lower
// would ask for more than it needs. The walk tries every length of that
// request; the next address it comes to is the lowest beginning of a reading
// that reaches beyond the request's end. Readings between there and that end are
// done already, and the next request, which has to take the one that reaches
// beyond, covers them again for nothing. From each address the rest costs the
// same however the walk came there, so addresses are settled from the last to the
// first.
func Walk(rules Rules, readings []Reading) (least time.Duration, ok bool) {
	if len(readings) == 0 {
		return 0, true
	}
	used := use(readings)
	last := len(used)
	// reach[a] is the furthest end of the readings that begin at a, 0 where none
	// does; follow[a] is where the next ones after a begin.
	reach, follow := make([]int, last+1), make([]int, last+1)
	for _, r := range readings {
		reach[r.First] = max(reach[r.First], r.End)
	}
	for a, next := last, last; a >= 0; a-- {
		follow[a] = next
		if reach[a] > 0 {
			next = a
		}
	}
	const never = math.MaxInt64
	rest := make([]time.Duration, last+1) // from the lowest reading at or after a
	for a := last - 1; a >= 0; a-- {
		if reach[a] == 0 {
			rest[a] = rest[a+1]
			continue
		}
		rest[a] = never
		next, empty := a, 0
		for end := a + 1; end <= last && end-a <= rules.Limit; end++ {
			empty++
			if used[end-1] {
				empty = 0
			}
			if empty > rules.Gap {
				break
			}
			for next < last && reach[next] <= end {
				next = follow[next]
			}
			if next > a && rest[next] < never {
				rest[a] = min(rest[a], rules.Cost(end-a)+rest[next])
			}
		}
	}
	first := 0
	for reach[first] == 0 {
		first++
	}
	return rest[first], rest[first] < never
}

// Least is Exhaustive where that can be, and Walk.
func Least(rules Rules, readings []Reading) (time.Duration, bool) {
	// Readings at the same place are one.
	distinct := slices.Clone(readings)
	slices.SortFunc(distinct, func(a, b Reading) int {
		if a.First != b.First {
			return a.First - b.First
		}
		return a.End - b.End
	})
	distinct = slices.Compact(distinct)
	if len(distinct) <= Small {
		return Exhaustive(rules, distinct)
	}
	return Walk(rules, distinct)
}
