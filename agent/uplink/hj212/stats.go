package hj212

import (
	"math"
	"strconv"
	"strings"
	"time"

	"davy/agent/uplink/feed"
	"davy/drivers/tag"
)

// flagNone is the flag of a time of which nothing is known: nobody read the
// instrument.
const flagNone = 'B'

// normal is the part of a period that must be normal for its flag to be, of
// flue gas: tables C.16 to C.18.
const normal = 0.75

// sample is one reading as the statistics take it.
type sample struct {
	at    int64 // wall time, ns; 0: none
	v     float64
	has   bool // v may be counted
	shown bool // v may be shown with its flag
	flag  byte
}

// sampleOf takes a reading. A value counts when it was measured: not bad, not
// the last usable one, not put in by hand, not of a calibration.
func sampleOf(r *tag.Reading) sample {
	s := sample{at: r.Received.Wall, flag: r.Quality.Foreign().HJ212}
	switch r.Value.Kind() {
	case tag.Bool, tag.Int, tag.Float32, tag.Float64, tag.Enum:
		s.v = r.Value.Float()
		s.shown = !r.Quality.Bad()
		s.has = r.Quality.Usable() && r.Quality&tag.Test == 0
	}
	return s
}

// Stat is what is sent of one factor for one period.
type Stat struct {
	Has           bool // Min, Avg, Max and Cou mean something
	Min, Avg, Max float64
	Cou           float64
	Flag          byte
}

// bin gathers one factor in one minute period.
type bin struct {
	sum      float64 // value by seconds
	weight   int64   // ns
	min, max float64
	flags    [len(letters)]int64 // ns by letter
}

// letters are the data flags of table 8. Where several abnormal ones stood
// equally long, the one that says least of the value is taken.
const letters = "NBDFMCTS"

func letter(flag byte) int { return max(strings.IndexByte(letters, flag), 0) }

// gather makes the statistics of consecutive minute periods in one pass over
// the readings in the order of the journal.
type gather struct {
	from, step int64 // ns
	factors    []Factor
	bins       [][]bin // by period and factor
	last       []sample
}

func newGather(factors []Factor, from, step int64, n int) *gather {
	g := &gather{from: from, step: step, factors: factors, last: make([]sample, len(factors))}
	for range n {
		g.bins = append(g.bins, make([]bin, len(factors)))
	}
	return g
}

// add takes the next reading of a factor.
func (g *gather) add(i int, s sample) {
	g.spread(i, s.at)
	g.last[i] = s
}

// spread lets the last reading of a factor stand until a time. A clock that
// was set back between two readings makes the first of them count for nothing.
func (g *gather) spread(i int, until int64) {
	s := &g.last[i]
	if s.at == 0 {
		return
	}
	until = min(until, s.at+int64(g.factors[i].Hold), g.from+g.step*int64(len(g.bins)))
	for at := max(s.at, g.from); at < until; {
		n := (at - g.from) / g.step
		next := min(until, g.from+(n+1)*g.step)
		b := &g.bins[n][i]
		b.flags[letter(s.flag)] += next - at
		if s.has {
			if b.weight == 0 {
				b.min, b.max = s.v, s.v
			}
			b.min, b.max = min(b.min, s.v), max(b.max, s.v)
			b.sum += s.v * float64(next-at) / 1e9
			b.weight += next - at
		}
		at = next
	}
}

// end returns the statistics by period and factor.
func (g *gather) end(anyBad bool) [][]Stat {
	for i := range g.last {
		g.spread(i, math.MaxInt64)
	}
	out := make([][]Stat, len(g.bins))
	for n := range g.bins {
		out[n] = make([]Stat, len(g.factors))
		for i := range g.bins[n] {
			b := &g.bins[n][i]
			st := Stat{Flag: b.flag(g.step, anyBad)}
			if b.weight > 0 {
				st.Has, st.Min, st.Max, st.Avg = true, b.min, b.max, b.sum/(float64(b.weight)/1e9)
				st.Avg = min(max(st.Avg, st.Min), st.Max) // a sum rounds
				st.Cou = b.sum * g.factors[i].Total
			}
			out[n][i] = st
		}
	}
	return out
}

// flag returns the flag of a minute period of so many ns. What nobody knows of
// is not normal.
func (b *bin) flag(whole int64, anyBad bool) byte {
	known := int64(0)
	for _, n := range b.flags {
		known += n
	}
	b.flags[letter(flagNone)] += max(whole-known, 0)
	return judge(b.flags, whole, anyBad)
}

// judge returns the flag of a period from how much of it had which.
func judge(flags [len(letters)]int64, whole int64, anyBad bool) byte {
	if !anyBad {
		return threeQuarters(float64(flags[0]), float64(whole))
	}
	worst := 0
	for i, n := range flags {
		if i > 0 && n > 0 && (worst == 0 || n > flags[worst]) {
			worst = i
		}
	}
	return letters[worst]
}

func threeQuarters(n, of float64) byte {
	if n >= normal*of {
		return 'N'
	}
	return 'D'
}

// roll makes the statistics of a longer period from those of the shorter ones
// in it: the mean of their means, formulas 16, 17, 24 and 25.
func roll(parts []computed, factors int, anyBad bool) []Stat {
	out := make([]Stat, factors)
	for i := range out {
		st := &out[i]
		n := 0
		var flags [len(letters)]int64
		for _, p := range parts {
			s := &p.stats[i]
			flags[letter(s.Flag)]++
			if !s.Has {
				continue
			}
			if n++; n == 1 {
				st.Has, st.Min, st.Max = true, s.Min, s.Max
			}
			st.Min, st.Max = min(st.Min, s.Min), max(st.Max, s.Max)
			st.Avg += s.Avg
			st.Cou += s.Cou
		}
		if n > 0 {
			st.Avg = min(max(st.Avg/float64(n), st.Min), st.Max)
		}
		st.Flag = judge(flags, int64(len(parts)), anyBad)
	}
	return out
}

// number prints a value as N14.2 and its kin have it: no exponent, no minus
// before zero.
func number(v float64, decimals int) string {
	s := strconv.FormatFloat(v, 'f', decimals, 64)
	if s[0] == '-' {
		if f, _ := strconv.ParseFloat(s, 64); f == 0 {
			return s[1:]
		}
	}
	return s
}

// group returns the fields of a factor in a minute, an hour or a day.
func (f *Factor) group(st *Stat) Group {
	var g Group
	if st.Has {
		if f.Total != 0 {
			g = append(g, Field{f.Code + "-Cou", number(st.Cou, f.Decimals)})
		}
		g = append(g, Field{f.Code + "-Min", number(st.Min, f.Decimals)}, Field{f.Code + "-Avg", number(st.Avg, f.Decimals)}, Field{f.Code + "-Max", number(st.Max, f.Decimals)})
	}
	return append(g, Field{f.Code + "-Flag", string(rune(st.Flag))})
}

// realtime returns the fields of a factor now. A value that is bad, or too old
// to be told, is not shown, and neither is one of the future: the clock was set
// back since, and nobody knows how old it is.
func (f *Factor) realtime(s *sample, now int64) Group {
	if s.at == 0 || now-s.at > int64(f.Hold) || s.at-now > int64(f.Hold) {
		return Group{{f.Code + "-Flag", string(rune(flagNone))}}
	}
	flag := Field{f.Code + "-Flag", string(rune(s.flag))}
	if !s.shown {
		return Group{flag}
	}
	return Group{{f.Code + "-Rtd", number(s.v, f.Decimals)}, flag}
}

// take makes a record the newest of its factor if it is. What was taken by a
// clock that was set back since is newest no longer.
func (d *Destination) take(i int, r *feed.Record, now int64) {
	if s := sampleOf(r.Reading); s.at >= d.newest[i].at || d.newest[i].at > now {
		d.newest[i] = s
	}
}

// second is one second of wall time.
const second = int64(time.Second)
