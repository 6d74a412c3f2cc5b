package hj212

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"davy/agent/uplink/feed"
	"davy/agent/wire"
)

// level is how long a period is.
type level uint8

// The levels, with their commands.
const (
	minuteLevel level = iota
	hourLevel
	dayLevel
)

var commands = [...]int{minuteLevel: 2051, hourLevel: 2061, dayLevel: 2031}

// period is one minute period, hour or day of local time.
type period struct {
	level    level
	from, to int64 // wall time, ns
}

// periods is what a destination knows of what is to be sent. Under its mutex.
type periods struct {
	pending map[period]bool
	done    map[period]marks
	cache   map[period]computed
	flying  period        // is computed and on its way; zero: none is
	late    marks         // readings of it that came meanwhile
	began   bool          // the periods that the last process left open were looked for
	changed chan struct{} // closed when one was confirmed
}

// marks is up to which records of which epochs a period was computed from.
type marks []mark

type mark struct {
	epoch  wire.Epoch
	number uint64
}

func newPeriods() periods {
	return periods{pending: map[period]bool{}, done: map[period]marks{}, cache: map[period]computed{}, changed: make(chan struct{})}
}

func (m marks) cover(epoch wire.Epoch, number uint64) bool {
	for _, k := range m {
		if k.epoch == epoch {
			return number <= k.number
		}
	}
	return false
}

func (m *marks) add(k mark) {
	for i := range *m {
		if (*m)[i].epoch == k.epoch {
			(*m)[i].number = max((*m)[i].number, k.number)
			return
		}
	}
	*m = append(*m, k)
}

// periodOf returns the period of a level that a wall time is in.
func (d *Destination) periodOf(l level, wall int64) period {
	if l == dayLevel {
		y, m, day := time.Unix(0, wall).In(d.o.Zone).Date()
		return period{l, time.Date(y, m, day, 0, 0, 0, 0, d.o.Zone).UnixNano(), time.Date(y, m, day+1, 0, 0, 0, 0, d.o.Zone).UnixNano()}
	}
	long := int64(time.Hour)
	if l == minuteLevel {
		long = int64(d.o.Minute)
	}
	east := int64(d.offset(wall)) * second
	from := floorDiv(wall+east, long)*long - east
	return period{l, from, from + long}
}

// levels returns those that are sent.
func (d *Destination) levels() (out []level) {
	if d.o.Minute > 0 {
		out = append(out, minuteLevel)
	}
	if d.o.Hour {
		out = append(out, hourLevel)
	}
	if d.o.Day {
		out = append(out, dayLevel)
	}
	return out
}

// over reports whether a period may be computed: what was recorded of it is in
// the journal.
func (d *Destination) over(p period, now int64) bool { return now >= p.to+int64(d.o.Settle) }

// note takes a reading to its periods. Under the mutex.
func (d *Destination) note(r *feed.Record) {
	at := r.Reading.Received.Wall
	for l := minuteLevel; l <= dayLevel && d.o.Minute > 0; l++ {
		p := d.periodOf(l, at)
		if c, ok := d.cache[p]; ok && !c.marks.cover(r.Epoch, r.Number) {
			delete(d.cache, p)
		}
	}
	for _, l := range d.levels() {
		p := d.periodOf(l, at)
		if m, sent := d.done[p]; sent {
			if m.cover(r.Epoch, r.Number) {
				continue
			}
			delete(d.done, p)
			d.counts.Again++
		}
		if p == d.flying {
			d.late.add(mark{r.Epoch, r.Number})
		}
		d.pending[p] = true
	}
}

// unsent returns the periods that are over and not sent yet. Under the mutex.
func (d *Destination) unsent(now int64) map[period]bool {
	need := map[period]bool{}
	for p := range d.pending {
		if d.over(p, now) {
			need[p] = true
		}
	}
	return need
}

// open marks the periods that may have been open when an earlier process ended
// whose last reading is of a wall time: that reading's, and those that had
// ended less than Settle before. Under the mutex.
func (d *Destination) open(wall int64) {
	for _, l := range d.levels() {
		for p := d.periodOf(l, wall); p.to > wall-int64(d.o.Settle); p = d.periodOf(l, p.from-1) {
			d.pending[p] = true
		}
	}
}

// due returns the period that is to be sent next, and if there is none how
// long until there may be one.
func (d *Destination) due(now int64) (next period, ok bool, wait time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	wait = slowestLook
	for p := range d.pending {
		if !d.over(p, now) {
			wait = min(wait, time.Duration(p.to+int64(d.o.Settle)-now))
			continue
		}
		if !ok || before(p, next) {
			next, ok = p, true
		}
	}
	return next, ok, wait
}

// before orders periods by their end; the shorter one goes first.
func before(a, b period) bool {
	return cmp.Or(cmp.Compare(a.to, b.to), cmp.Compare(a.level, b.level)) < 0
}

// fly notes that a period is about to be computed and sent.
func (d *Destination) fly(p period) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if p != d.flying { // else the last session ended over it
		d.flying, d.late = p, nil
	}
}

// sent notes that the host has a period, computed up to some records. It stays
// to be sent where more of it came meanwhile.
func (d *Destination) sent(p period, m marks) {
	d.mu.Lock()
	defer d.mu.Unlock()
	again := false
	for _, k := range d.late {
		again = again || !m.cover(k.epoch, k.number)
	}
	d.flying, d.late = period{}, nil
	if again {
		d.counts.Again++
		clear(d.cache) // one may have been computed before and kept after they came
	} else {
		delete(d.pending, p)
		d.done[p] = m
		forget(d.done, maxDone)
	}
	close(d.changed)
	d.changed = make(chan struct{})
}

// waiting reports whether one of need is still to be sent, and a channel that
// is closed when that may have changed.
func (d *Destination) waiting(need map[period]bool) (<-chan struct{}, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for p := range need {
		if d.pending[p] {
			return d.changed, true
		}
	}
	return nil, false
}

// computed is what was made of a period.
type computed struct {
	stats []Stat // by factor
	marks marks  // up to which records
	known bool   // the journal has a reading of a factor in it
}

// compute returns the statistics of a period that is over: a day from its
// hours, an hour from its minute periods, those from the journal.
func (d *Destination) compute(ctx context.Context, p period) (computed, error) {
	if c, ok := d.cached(p); ok {
		return c, nil
	}
	if p.level == minuteLevel {
		all, err := d.gather(ctx, p.from, p.to)
		if err != nil {
			return computed{}, err
		}
		return all[0], nil
	}
	var parts []computed
	for at := p.from; at < p.to; at = d.periodOf(p.level-1, at).to {
		if p.level == hourLevel {
			if c, ok := d.cached(d.periodOf(minuteLevel, at)); ok {
				parts = append(parts, c)
				continue
			}
			all, err := d.gather(ctx, p.from, p.to) // one pass for all of them
			if err != nil {
				return computed{}, err
			}
			parts = all
			break
		}
		c, err := d.compute(ctx, d.periodOf(hourLevel, at))
		if err != nil {
			return computed{}, err
		}
		parts = append(parts, c)
	}
	c := computed{stats: roll(parts, len(d.o.Factors), d.o.AnyBad)}
	for _, part := range parts {
		c.known = c.known || part.known
		for _, k := range part.marks {
			c.marks.add(k)
		}
	}
	d.keep(p, c)
	return c, nil
}

func (d *Destination) cached(p period) (computed, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, ok := d.cache[p]
	return c, ok
}

func (d *Destination) keep(p period, c computed) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cache[p] = c
	forget(d.cache, maxCached)
}

// forget drops the oldest periods above a number of them.
func forget[T any](m map[period]T, most int) {
	for len(m) > most {
		var oldest period
		first := true
		for p := range m {
			if first || before(p, oldest) {
				oldest, first = p, false
			}
		}
		delete(m, oldest)
	}
}

// gather computes the minute periods of a stretch in one pass.
func (d *Destination) gather(ctx context.Context, from, to int64) ([]computed, error) {
	step := int64(d.o.Minute)
	g := newGather(d.o.Factors, from, step, int((to-from)/step))
	out := make([]computed, len(g.bins))
	hold := int64(0)
	for _, f := range d.o.Factors {
		hold = max(hold, int64(f.Hold))
	}
	err := d.o.Past(ctx, from-hold, to, func(r feed.Record) {
		if r.Reading == nil {
			return
		}
		at := r.Reading.Received.Wall
		if at < from-hold || at >= to {
			return
		}
		i, ok := d.factorOf(&r)
		if at >= from {
			c := &out[(at-from)/step]
			c.marks.add(mark{r.Epoch, r.Number})
			c.known = c.known || ok
		}
		if ok {
			g.add(i, sampleOf(r.Reading))
		}
	})
	if err != nil {
		return nil, fmt.Errorf("read journal from %s: %w", d.local(from), err)
	}
	for n, stats := range g.end(d.o.AnyBad) {
		out[n].stats = stats
		d.keep(d.periodOf(minuteLevel, from+int64(n)*step), out[n])
	}
	return out, nil
}

func (d *Destination) factorOf(r *feed.Record) (int, bool) {
	if r.Tag == nil {
		return 0, false
	}
	i, ok := d.factors[r.Tag.Name]
	return i, ok
}

// between returns the periods of a level that begin in [from, to], at most n
// of them and one more.
func (d *Destination) between(l level, from, to int64, n int) (out []period) {
	for p := d.periodOf(l, from); p.from <= to && len(out) <= n; p = d.periodOf(l, p.to) {
		if p.from >= from {
			out = append(out, p)
		}
	}
	return slices.Clip(out)
}

// groups returns what is sent of a period.
func (d *Destination) groups(p period, stats []Stat) (first Group, rest []Group) {
	for i := range stats {
		rest = append(rest, d.o.Factors[i].group(&stats[i]))
	}
	return Group{{"DataTime", d.local(p.from)}}, rest
}
