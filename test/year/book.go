package year

import (
	"maps"
	"slices"
	"time"

	"davy/drivers/tag"
	"davy/rules"
)

// look is a reading as it counts.
type look struct {
	v tag.Value
	q tag.Quality
}

func (l look) usable() bool { return l.q.Usable() && l.v.Kind() != tag.None }
func (l look) unread() bool { return l.q&^0xff == tag.BadNeverRead }
func (l look) tested() bool { return l.q&tag.Test != 0 || l.q.Reason() == tag.FunctionCheck }

// given is something that a person gave a time: it ends then.
type given struct {
	on    bool
	ends  int64
	began int64
	v     tag.Value // of a force
}

// bypassed is the bypass of an interlock.
type bypassed struct {
	waiting, on, overdue, reminded bool
	channel                        int
	length, ends                   int64
}

func (b *bypassed) counts() bool { return b.on || b.overdue }

// channel as the book sees it.
type channel struct {
	read, usable, testing, bad, effective, process bool
	over, clear, against                           bool // by the last usable value
	testSince, badSince, since                     int64
}

// lock is an interlock as the book sees it.
type lock struct {
	settling, tripped, standing, pending, holding, ready, tested bool
	at, since, holdSince                                         int64 // tripped, pending, holding since
	credit                                                       int64 // how long a vote had stood before a restart; -1 none
	seat                                                         int
	channels                                                     []channel
	firsts                                                       []string // what may be called the first-out of its last trip
	made                                                         []bool   // its demands
	ends                                                         []int64  // of made ones that run on; 0 not
}

// expect is an event that must come.
type expect struct {
	kind rules.Kind
	rule string
	at   int64
}

// book is what follows from what happened, up to now. Times are true ones.
type book struct {
	set     *rules.Set
	now     int64
	start   int64 // of this run of the engine
	raw     []look
	force   []given // by tag
	test    []given // by device
	drill   []given // by interlock
	removed []bool  // by device
	device  []int   // by tag; -1 none
	bypass  []bypassed
	locks   []lock
	driven  []bool // by output
	fuzzy   []bool // by output: what the proof of one leads to is not known here
	shelf   map[string]given
	alarms  []alarm // by the number of their name
	seen    [][3]glance
	tested  int64 // when a drill, or a trip by a vote of a test, was over last
	want    []expect
	saw     func(b *book, id tag.ID, at int64) // a tag looks otherwise
}

// glance is how a tag looked from an instant on.
type glance struct {
	at int64
	look
}

func newBook(set *rules.Set, now int64, saw func(*book, tag.ID, int64)) *book {
	b := &book{saw: saw, now: now, start: now, shelf: map[string]given{}}
	b.fit(set)
	for i := range b.locks {
		b.locks[i].settling = true
	}
	return b
}

// fit lays the book out for a set; what has a name in the old one is kept.
func (b *book) fit(set *rules.Set) {
	old := *b
	b.set = set
	b.raw, b.force, b.device = make([]look, len(set.Tags)), make([]given, len(set.Tags)), make([]int, len(set.Tags))
	b.seen = make([][3]glance, len(set.Tags))
	copy(b.seen, old.seen)
	copy(b.force, old.force)
	copy(b.raw, old.raw)
	b.test, b.removed = make([]given, len(set.Devices)), make([]bool, len(set.Devices))
	copy(b.test, old.test)
	copy(b.removed, old.removed)
	for i := range b.device {
		b.device[i] = -1
	}
	for d := range set.Devices {
		for _, id := range set.Devices[d].Tags {
			b.device[id] = d
		}
	}
	b.driven, b.fuzzy = make([]bool, len(set.Outputs)), make([]bool, len(set.Outputs))
	copy(b.driven, old.driven)
	for o := range set.Outputs {
		for _, e := range set.Outputs[o].Escalate {
			b.fuzzy[slices.IndexFunc(set.Outputs, func(x rules.Output) bool { return x.Name == e })] = true
		}
	}
	n := len(set.Interlocks)
	b.drill, b.bypass, b.locks = make([]given, n), make([]bypassed, n), make([]lock, n)
	for i := range set.Interlocks {
		l := &set.Interlocks[i]
		at := -1
		if old.set != nil {
			at = slices.IndexFunc(old.set.Interlocks, func(x rules.Interlock) bool { return x.Name == l.Name })
		}
		if at >= 0 {
			b.drill[i], b.bypass[i], b.locks[i] = old.drill[at], old.bypass[at], old.locks[at]
			continue
		}
		b.locks[i] = lock{seat: -1, credit: -1, channels: make([]channel, len(l.Channels)), made: make([]bool, len(l.Demands)), ends: make([]int64, len(l.Demands))}
	}
}

func (b *book) clone() *book {
	c := *b
	c.raw, c.force, c.test, c.drill, c.removed = slices.Clone(b.raw), slices.Clone(b.force), slices.Clone(b.test), slices.Clone(b.drill), slices.Clone(b.removed)
	c.bypass, c.locks, c.driven = slices.Clone(b.bypass), slices.Clone(b.locks), slices.Clone(b.driven)
	for i := range c.locks {
		l := &c.locks[i]
		l.channels, l.made, l.ends = slices.Clone(l.channels), slices.Clone(l.made), slices.Clone(l.ends)
	}
	c.shelf, c.alarms, c.seen = maps.Clone(b.shelf), slices.Clone(b.alarms), slices.Clone(b.seen)
	c.want = nil
	return &c
}

// restart is what a restart leaves: at is the first step, gap what passed since
// the snapshot, passed what the engine is told of it (negative: not known).
// seen: the readings were handed over, too.
func (b *book) restart(set *rules.Set, at, gap, passed int64, handover, seen bool) {
	shift := gap - max(passed, 0)
	snap, begun := at-gap, b.start
	b.fit(set)
	b.now, b.start = at, at
	for i := range b.locks {
		l := &b.locks[i]
		switch {
		case l.tripped:
			l.credit = -1
		case l.pending:
			l.credit = snap - l.since + max(passed, 0)
		case l.credit >= 0:
			l.credit += snap - begun + max(passed, 0)
		}
		l.pending, l.at, l.settling = false, l.at+shift, true
		if !handover || !seen {
			l.holding = false
		}
		l.ready = false
		for k := range l.ends {
			if l.ends[k] != 0 {
				l.ends[k] += shift
			}
		}
		for k := range l.channels {
			c := &l.channels[k]
			c.read, c.usable = false, false
			if !handover {
				*c = channel{against: c.against}
			}
		}
		if !handover {
			l.seat = -1
		}
		b.bypass[i].ends += shift
		b.drill[i].ends += shift
	}
	for d := range b.test {
		b.test[d].ends += shift
	}
	for name, g := range b.shelf {
		g.ends += shift
		b.shelf[name] = g
	}
	for id := range b.force {
		if b.force[id].on && !handover {
			b.force[id] = given{}
			b.expect(rules.ForceEnded, string(set.Tags[id].Name), at)
		}
	}
	if !seen {
		clear(b.raw)
	}
	for i := range b.alarms {
		a := &b.alarms[i]
		if seen {
			continue
		}
		switch {
		case a.standing:
			a.credit = -1
		case a.since >= 0:
			a.credit = snap - a.since + max(passed, 0)
		case a.credit >= 0:
			a.credit += snap - begun + max(passed, 0)
		}
		a.since, a.clear, a.restored = -1, -1, true
	}
	for id := range b.raw {
		b.glance(tag.ID(id), at)
	}
}

// glance keeps how a tag looks from t on.
func (b *book) glance(id tag.ID, t int64) {
	h := &b.seen[id]
	if now := b.look(id); h[0].look != now {
		h[0], h[1], h[2] = glance{t, now}, h[0], h[1]
	}
}

// looks returns how a tag looked at t: more than one way where that changed then.
func (b *book) looks(id tag.ID, t int64) (all []look) {
	later := int64(-1)
	for _, g := range b.seen[id] {
		if g.at <= t && (later < 0 || later >= t) {
			all = append(all, g.look)
		}
		later = g.at
	}
	return all
}

// look returns how a tag looks, with what persons laid over it.
func (b *book) look(id tag.ID) look {
	r := b.raw[id]
	d := b.device[id]
	switch flags := r.q.Flags(); {
	case d >= 0 && b.removed[d]:
		r.q = tag.MakeQuality(tag.Bad, tag.OutOfService, flags&(tag.Constant|tag.Maintenance))
		return r
	case b.force[id].on:
		r.v = b.force[id].v
		r.q = tag.MakeQuality(tag.Uncertain, tag.Substituted, flags&(tag.Test|tag.Maintenance)|tag.Forced)
	}
	if d >= 0 && b.test[d].on {
		r.q |= tag.Test
	}
	return r
}

func (b *book) expect(k rules.Kind, rule string, at int64) {
	b.want = append(b.want, expect{k, rule, at})
}

// advance lets time pass with what is known.
func (b *book) advance(to int64) {
	for {
		d := b.deadline(to)
		if d == 0 {
			break
		}
		b.now = d
		b.judge(d)
		b.end(d)
		b.judge(d)
	}
	b.now = max(b.now, to)
}

// deadline returns the earliest time in (now, to] at which something is due; 0 none.
func (b *book) deadline(to int64) int64 {
	first := int64(0)
	at := func(d int64) {
		if d > b.now && d <= to && (first == 0 || d < first) {
			first = d
		}
	}
	for i := range b.locks {
		l, d := &b.locks[i], &b.set.Interlocks[i]
		if l.settling {
			at(b.start + int64(b.settle()))
		}
		for k := range l.channels {
			if c := &l.channels[k]; c.bad && !c.effective {
				at(c.badSince + int64(d.BadAfter))
			}
		}
		if l.pending {
			at(l.since + int64(d.OnDelay))
		}
		if l.holding {
			at(l.holdSince + int64(d.ResetFor))
		}
		for k := range l.made {
			if l.tripped && !l.made[k] {
				at(l.at + int64(d.Demands[k].Delay))
			}
			at(l.ends[k])
		}
		if p := &b.bypass[i]; p.waiting || p.on {
			at(p.ends)
			if p.on && !p.reminded {
				at(p.ends - p.length/5)
			}
		}
		if b.drill[i].on {
			at(b.drill[i].ends)
		}
	}
	for i := range b.force {
		if b.force[i].on {
			at(b.force[i].ends)
		}
	}
	for i := range b.test {
		if b.test[i].on {
			at(b.test[i].ends)
		}
	}
	for _, g := range b.shelf {
		at(g.ends)
	}
	return first
}

func (b *book) settle() time.Duration {
	if b.set.Settle == 0 {
		return 30 * time.Second
	}
	return b.set.Settle
}

// end lets what persons gave a time end at it.
func (b *book) end(t int64) {
	for i := range b.drill {
		if b.drill[i].on && b.drill[i].ends <= t {
			b.drill[i], b.tested = given{}, t
			b.expect(rules.TestEnded, b.set.Interlocks[i].Name, t)
		}
	}
	for i := range b.force {
		if b.force[i].on && b.force[i].ends <= t {
			b.force[i] = given{}
			b.expect(rules.ForceEnded, string(b.set.Tags[i].Name), t)
			b.saw(b, tag.ID(i), t)
		}
	}
	for i := range b.test {
		if b.test[i].on && b.test[i].ends <= t {
			b.test[i] = given{}
			b.expect(rules.TestEnded, b.set.Devices[i].Name, t)
			for _, id := range b.set.Devices[i].Tags {
				b.saw(b, id, t)
			}
		}
	}
	for name, g := range b.shelf {
		if g.ends <= t {
			delete(b.shelf, name)
			b.expect(rules.AlarmUnshelved, name, t)
		}
	}
}
