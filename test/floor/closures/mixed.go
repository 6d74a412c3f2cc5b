// Package closures is a reference: a thousand mixed rules as a good programmer
// would write them by hand in Go, one closure each over an image of readings, for
// one plant: what is compared with what, the delays and the votes stand in the
// code, and nothing is checked, found by a name or kept for later. What such a
// Plant does, and what it has not, is said there. Figures of the rules are taken
// against it, and package rules must say the same events on the same readings
// (test/bench/rulesbench). Change it only in a commit of its own, with the figures
// before and after; it is never tuned to the engine.
//
// Imports: drivers/tag.
package closures

import (
	"math"
	"time"

	"davy/drivers/tag"
)

// The tags of one unit, from its first on; the last three hold what is made of
// the others. Unit u of a Plant begins at tag 1 + u*Tags.
const (
	Level    = iota
	Temp     // °C
	Sibling  // °C, beside Temp
	Contact  // a bool
	Mode     // an enumeration
	Pressure // bar
	Gas      // ppm, and two more
	Rate     = iota + 2
	Deviation
	Logic
	Tags
	Measured = Rate // tags before it come from outside
)

// PerUnit is how many rules a unit has: 15 alarms, 2 interlocks and 3 tags that are made
// of others. Of the first they are in this order, with these numbers.
const PerUnit = 20

// Limit is an alarm on one tag.
type Limit struct {
	Name          string
	Tag           int
	Below         bool // <= and not >=
	Equal         bool // =
	Watch         bool // that it cannot be judged, and nothing else
	At, Band      float64
	OnFor, OffFor time.Duration
	Latch         bool
	Group         bool // the unit's one group
}

// Limits are the alarms of a unit.
func Limits() []Limit {
	const s = time.Second
	return []Limit{
		{Name: "low-low", Tag: Level, Below: true, At: 5, Band: 2, OnFor: 2 * s, OffFor: s},
		{Name: "low", Tag: Level, Below: true, At: 10, Band: 2, OnFor: 5 * s, OffFor: 10 * s},
		{Name: "high", Tag: Level, At: 90, Band: 2, OnFor: 5 * s, OffFor: 10 * s},
		{Name: "high-high", Tag: Level, At: 95, Band: 2, OnFor: 2 * s, OffFor: s, Latch: true},
		{Name: "rising", Tag: Rate, At: 0.5, Band: 0.125, OnFor: s, OffFor: s},
		{Name: "apart", Tag: Deviation, At: 5, Band: 1, OnFor: 3 * s, OffFor: 3 * s},
		{Name: "odd", Tag: Logic, Equal: true, At: 1, OnFor: s},
		{Name: "stopped", Tag: Mode, Equal: true, At: 2},
		{Name: "level-unseen", Tag: Level, Watch: true, OnFor: 10 * s},
		{Name: "temp-unseen", Tag: Temp, Watch: true, OnFor: 10 * s},
		{Name: "sibling-unseen", Tag: Sibling, Watch: true, OnFor: 10 * s},
		{Name: "pressure-unseen", Tag: Pressure, Watch: true, OnFor: 10 * s},
		{Name: "gas-1", Tag: Gas, At: 25, Band: 2, OffFor: 5 * s, Latch: true, Group: true},
		{Name: "gas-2", Tag: Gas + 1, At: 25, Band: 2, OffFor: 5 * s, Latch: true, Group: true},
		{Name: "gas-3", Tag: Gas + 2, At: 25, Band: 2, OffFor: 5 * s, Latch: true, Group: true},
	}
}

// RateOver is the window of Rate; it is cut into Slots.
const (
	RateOver = time.Minute
	Slots    = 60
)

// Vote is an interlock: M of the channels at or above At trip it.
type Vote struct {
	Name             string
	M, First, N      int // channels are tags, the first and how many
	At               float64
	LeftOut          bool // a channel that is bad for BadFor leaves the vote; else it votes to trip
	BadFor, OnFor    time.Duration
	Manual           bool // a person resets it
	ResetFor         time.Duration
	Degraded         bool // an alarm says so
	Valve, Fan       bool // what it demands
	ValveFor, FanFor time.Duration
}

// Votes are the interlocks of a unit.
func Votes() []Vote {
	const s = time.Second
	return []Vote{
		{Name: "pressure-trip", M: 1, First: Pressure, N: 1, At: 16, BadFor: 5 * s, OnFor: s, ResetFor: 10 * s, Valve: true},
		{Name: "gas-trip", M: 2, First: Gas, N: 3, At: 50, LeftOut: true, BadFor: 10 * s, OnFor: s / 2, Manual: true, ResetFor: 5 * s, Degraded: true, Fan: true, Valve: true, ValveFor: 2 * s},
	}
}

// Kind of an Event.
type Kind uint8

// The kinds.
const (
	Raised Kind = iota
	Returned
	Armed
	Tripped
	Reset
	Lost // a channel left the vote, or counts by what was written for a bad one
	Whole
	Demanded
	Released
)

// Event is what a step brought.
type Event struct {
	Kind       Kind
	Unit       int
	Name       string // of the rule, or of the output: "valve", "fan"
	Occurrence uint64 // of an alarm or a trip
	First      bool   // of a raise: of its group
	FirstOut   int    // of a trip: the channel, from 0
}

// Plant is a mix of rules written by hand: one closure for each, over an image
// of readings, with quality, deadband, delays, latches, groups, votes that lose
// their channels, first-out, and outputs that are demanded by several. What it
// has not: everything that a person may do but a reset, modes, suppression, a
// snapshot, records, and times between two steps: what is due is done in the
// next one. A step is made for every tenth of a second.
type Plant struct {
	image  []tag.Reading
	now    int64
	rules  []func()
	units  []unit
	Events []Event // of the last step
}

type unit struct {
	group      group
	valve, fan output
	votes      []*vote
	made       [3]made // Rate, Deviation, Logic
}

// made is a value that is made of others.
type made struct {
	value float64
	ok    bool
	then  func() // the alarm on it
}

// output is demanded while one of its interlocks says so.
type output struct {
	name  string
	by    int
	shown bool
}

const never = math.MaxInt64

// NewPlant makes a plant of so many units.
func NewPlant(units int) *Plant {
	p := &Plant{units: make([]unit, units)}
	for u := range p.units {
		k := &p.units[u]
		k.valve.name, k.fan.name = "valve", "fan"
		base := 1 + u*Tags
		p.rules = append(p.rules, p.rate(k, base+Temp), p.deviation(k, base+Temp, base+Sibling), p.logic(k, base))
		for _, l := range Limits() {
			p.rules = append(p.rules, p.limit(u, base, l))
		}
		for _, v := range Votes() {
			p.rules = append(p.rules, p.vote(u, base, v))
		}
	}
	return p
}

// Step judges every rule at now, in ns. The events live until the next one.
func (p *Plant) Step(now int64, image []tag.Reading) []Event {
	p.now, p.image, p.Events = now, image, p.Events[:0]
	for _, rule := range p.rules {
		rule()
	}
	for u := range p.units {
		p.show(u, &p.units[u].valve)
		p.show(u, &p.units[u].fan)
	}
	return p.Events
}

func (p *Plant) show(u int, o *output) {
	if on := o.by > 0; on != o.shown {
		o.shown = on
		e := Event{Kind: Released, Unit: u, Name: o.name}
		if on {
			e.Kind = Demanded
		}
		p.Events = append(p.Events, e)
	}
}

// Reset is a person's, of an interlock of a unit; it reports whether it was accepted.
func (p *Plant) Reset(u, which int) bool {
	v := p.units[u].votes[which]
	p.Events = p.Events[:0]
	if !v.tripped || !v.ready {
		return false
	}
	v.reset()
	p.show(u, &p.units[u].valve)
	p.show(u, &p.units[u].fan)
	return true
}

func usable(r *tag.Reading) bool { return r.Quality.Usable() && r.Value.Kind() != tag.None }
