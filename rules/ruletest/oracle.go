package ruletest

import (
	"time"

	"davy/drivers/tag"
	"davy/rules"
)

// oracle says what an interlock's declaration demands, from its channels, its
// M and its policies alone. It shares nothing with the engine: the search holds
// the two against each other, and both against the plant.
//
// The plant is what the story gives each channel as a value, also beside a bad
// quality: an instrument that is gone hides what is there. A value in test or by
// force is not the plant's.
type oracle struct {
	lock *rules.Interlock
	cs   []witness
	seat int // the one channel in test that is left out; -1 none
	at   time.Duration
	from time.Duration // earlier it is not armed

	arm      tag.Quality
	armValue tag.Value

	before   int           // true causes when this instant began
	causes   int           // and now
	standing bool          // the vote, as declared
	stood    time.Duration // since when
	tripped  bool          // the engine says so
	demanded bool          // the declaration has demanded a trip since the last reset

	found func(what Found, declared bool, at time.Duration)
}

// witness is a channel as the oracle sees it.
type witness struct {
	given     bool
	value     tag.Value
	quality   tag.Quality
	last      bool // the condition, by the last value that could be judged
	testing   bool
	testSince time.Duration
	bad       bool
	badSince  time.Duration
	true      bool // the condition, in the plant
	trueSince time.Duration
}

func newOracle(l *rules.Interlock, found func(Found, bool, time.Duration)) *oracle {
	return &oracle{lock: l, cs: make([]witness, len(l.Channels)), seat: -1, found: found}
}

// gave takes what the story gives a tag.
func (o *oracle) gave(id tag.ID, q tag.Quality, v tag.Value, at time.Duration) {
	o.advance(at)
	if o.lock.Arm.Tag == id {
		o.arm, o.armValue = q, v
	}
	for k := range o.cs {
		if o.lock.Channels[k].Cond.Tag != id {
			continue
		}
		w := &o.cs[k]
		w.given, w.value, w.quality = true, v, q
		test := inTest(q) && !o.lock.InTestCounts
		if test && !w.testing {
			w.testSince = at
		}
		w.testing = test
		if o.usable(k) {
			w.last = holds(&o.lock.Channels[k].Cond, v)
		}
	}
}

// stepped takes what the engine made of it, and compares.
func (o *oracle) stepped(at time.Duration, out *rules.Outcome) {
	o.advance(at)
	o.judge(at)
	for i := range out.Events {
		v := &out.Events[i]
		if v.Rule != o.lock.Name {
			continue
		}
		switch v.Kind {
		case rules.InterlockTripped:
			o.tripped = true
			if max(o.before, o.causes) < o.lock.M {
				o.found(TripsWithout, o.demanded, at)
			}
		case rules.InterlockReset:
			o.tripped, o.demanded, o.standing = false, false, false
			o.judge(at)
		}
	}
	l := o.lock
	lasting := 0 // longer than all delays together
	for k := range o.cs {
		lasting += count(o.cs[k].true && at-max(o.cs[k].trueSince, o.from) > l.OnDelay+l.BadAfter)
	}
	if !o.tripped && o.armed() && o.settled() && lasting >= l.M {
		o.found(HoldsBack, !o.demanded, at)
	}
	if o.demanded && !o.tripped && o.armed() && at > o.stood+l.OnDelay {
		o.found(HoldsBack, false, at)
	}
}

// advance lets time pass up to at, with what was given so far.
func (o *oracle) advance(at time.Duration) {
	for o.at < at {
		next := at
		for k := range o.cs {
			if due := o.cs[k].badSince + o.lock.BadAfter; o.cs[k].bad && due > o.at && due < next {
				next = due
			}
		}
		o.at = next
		o.judge(next)
		o.before = o.causes
	}
}

// judge brings the vote to an instant.
func (o *oracle) judge(at time.Duration) {
	o.at = at
	o.takeSeat()
	l := o.lock
	causes, usable, bad, effective, process := 0, 0, 0, 0, 0
	for k := range o.cs {
		w := &o.cs[k]
		judged := o.usable(k)
		gone := !judged && o.seat != k
		if gone && !w.bad {
			w.badSince = at
		}
		w.bad = gone
		out := gone && at-w.badSince >= l.BadAfter
		usable += count(judged)
		bad += count(gone)
		effective += count(out)
		process += count(w.last && (judged || gone && l.Bad == rules.LastGood && !out))
		is := w.given && !inTest(w.quality) && w.quality&tag.Forced == 0 && holds(&l.Channels[k].Cond, w.value)
		if is && !w.true {
			w.trueSince = at
		}
		w.true = is
		causes += count(is)
	}
	o.causes = causes

	rest, votes, blind := len(o.cs)-count(o.seat >= 0), process, usable == 0 && bad > 0
	switch {
	case l.Bad == rules.LeftOut:
		rest -= effective
	case blind && l.AllBadHolds:
	default:
		votes += effective
	}
	need := min(l.M, rest)
	standing := need > 0 && votes >= need || blind && effective == bad && !l.AllBadHolds
	standing = standing && o.settled() && o.armed()
	if standing && !o.standing {
		o.stood = at
	}
	o.standing = standing
	if standing && at-o.stood >= l.OnDelay {
		o.demanded = true
	}
}

// takeSeat: of the channels in test one is left out, the one that is in test longest.
func (o *oracle) takeSeat() {
	if o.seat >= 0 && o.cs[o.seat].testing {
		return
	}
	o.seat = -1
	for k := range o.cs {
		if o.cs[k].testing && (o.seat < 0 || o.cs[k].testSince < o.cs[o.seat].testSince) {
			o.seat = k
		}
	}
}

// usable reports whether a channel votes by its value.
func (o *oracle) usable(k int) bool {
	w := &o.cs[k]
	if !w.given || w.testing || w.value.Kind() == tag.None {
		return false
	}
	if o.lock.InTestCounts && w.quality.Reason() == tag.FunctionCheck {
		return w.quality&tag.Forced == 0
	}
	return w.quality.Usable()
}

// settled: every channel was given something. The search does so at once.
func (o *oracle) settled() bool {
	if o.at < o.from {
		return false
	}
	for k := range o.cs {
		if !o.cs[k].given {
			return false
		}
	}
	return true
}

// armed: the arming condition holds, or it is not known whether it does.
func (o *oracle) armed() bool {
	return o.lock.Arm.Tag == 0 || !o.arm.Usable() || o.armValue.Kind() == tag.None || holds(&o.lock.Arm, o.armValue)
}

// holds compares as the declaration writes it.
func holds(c *rules.Condition, v tag.Value) bool {
	if v.Kind() == tag.None {
		return false
	}
	switch f := v.Float(); c.Op {
	case rules.GE:
		return f >= c.Limit
	case rules.GT:
		return f > c.Limit
	case rules.LE:
		return f <= c.Limit
	case rules.LT:
		return f < c.Limit
	case rules.EQ:
		return f == c.Limit
	case rules.NE:
		return f != c.Limit
	}
	return false
}

// restless counts how often an alarm is raised and returns within a minute.
type restless struct {
	alarm string
	times []time.Duration
	found func(what Found, declared bool, at time.Duration)
}

// Chattering is what EEMUA 191 calls it: so many transitions within a minute.
const (
	chatterMoves  = 3
	chatterWithin = time.Minute
)

func (r *restless) gave(tag.ID, tag.Quality, tag.Value, time.Duration) {}

func (r *restless) stepped(at time.Duration, out *rules.Outcome) {
	for i := range out.Events {
		if v := &out.Events[i]; v.Rule == r.alarm && (v.Kind == rules.AlarmRaised || v.Kind == rules.AlarmReturned) {
			r.times = append(r.times, at)
			if n := len(r.times); n >= chatterMoves && at-r.times[n-chatterMoves] <= chatterWithin {
				r.found(Chatters, true, at)
			}
		}
	}
}
