package year

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"davy/drivers/tag"
	"davy/rules"
	"davy/rules/ruletest"
)

// round is what persons do when they come by.
func (y *year) round() error {
	for _, a := range y.e.Alarms(nil, y.stamp()) {
		c := rules.Command{Rule: a.Name, Occurrence: a.Occurrence}
		switch {
		case a.State == rules.OutOfService && y.r.IntN(6) == 0:
			c.Verb = rules.Restore
		case a.State == rules.Shelved && y.r.IntN(8) == 0:
			c.Verb = rules.Unshelve
		case a.State == rules.LatchedAcked:
			c.Verb = rules.Reset
		case y.r.IntN(30) == 0:
			c.Verb, c.For = rules.Shelve, time.Duration(y.w.span(time.Minute, 10*time.Hour))
		case y.r.IntN(3) == 0: // late, or not at all
			c.Verb = rules.Ack
			c.Occurrence -= uint64(count(y.r.IntN(20) == 0))
		default:
			continue
		}
		if err := y.do(c); err != nil {
			return err
		}
	}
	for i := range y.set.Interlocks {
		if err := y.atLock(i); err != nil {
			return err
		}
	}
	for range 2 {
		if err := y.atPoint(); err != nil {
			return err
		}
	}
	if y.r.IntN(6) == 0 {
		return y.do(rules.Command{Verb: rules.Silence})
	}
	return nil
}

// pick returns one of a list, "" of an empty one.
func pick[T any](r *rand.Rand, all []T) (one T) {
	if len(all) > 0 {
		one = all[r.IntN(len(all))]
	}
	return one
}

// atLock is what persons do to an interlock.
func (y *year) atLock(i int) error {
	d, l, p := &y.set.Interlocks[i], &y.book.locks[i], &y.book.bypass[i]
	v, _ := y.e.Interlock(d.Name, y.stamp())
	c := rules.Command{Rule: d.Name, Occurrence: v.Occurrence}
	switch n := y.r.IntN(40); {
	case l.tripped && n < 20: // often too early
		c.Verb = rules.Reset
	case p.waiting && n >= 20 && n < 32:
		c.Verb, c.Who, c.Session, c.Channel = rules.Confirm, "wang", "s2", d.Channels[p.channel].Name
		c.Roles = d.Bypass.Second
		switch n {
		case 20:
			c.Who = "li"
		case 21:
			c.Session = "s1"
		}
	case p.counts() && n == 3:
		c.Verb, c.Channel = rules.EndBypass, d.Channels[p.channel].Name
	case n < 3:
		c.Verb, c.Channel, c.Roles = rules.Bypass, pick(y.r, d.Channels).Name, d.Bypass.Roles
		c.For = time.Duration(y.w.span(time.Second, d.Bypass.AtMost*5/4+2*time.Second))
	case n == 4:
		c.Verb, c.Roles = rules.BeginTest, d.Test.Roles
	case n < 8 && y.book.drill[i].on:
		c.Verb, c.Result = rules.EndTest, rules.Result(y.r.IntN(4))
	default:
		return nil
	}
	return y.do(c)
}

// atPoint is what persons do to a device or a tag.
func (y *year) atPoint() error {
	if len(y.set.Devices) == 0 {
		return nil
	}
	d := y.r.IntN(len(y.set.Devices))
	dev := &y.set.Devices[d]
	id := pick(y.r, dev.Tags)
	c := rules.Command{Rule: dev.Name}
	switch n := y.r.IntN(60); {
	case y.book.removed[d] && n < 20:
		c.Verb = rules.Restore
	case n == 0:
		c.Verb = rules.Remove
	case n < 3 && id != 0:
		c.Verb, c.Rule, c.Roles = rules.Force, string(y.set.Tags[id].Name), dev.Force.Roles
		s := &y.w.sensors[id]
		c.Value, c.For = ruletest.ValueOf(s.Kind, s.Low+(s.High-s.Low)*y.r.Float64()), time.Duration(y.w.span(time.Second, 70*time.Minute))
	case n < 12 && id != 0 && y.book.force[id].on:
		c.Verb, c.Rule = rules.EndForce, string(y.set.Tags[id].Name)
	case n < 15 && !y.book.test[d].on: // a bump test: gas is put on
		c.Verb, c.Roles, c.For = rules.BeginTest, dev.Test.Roles, time.Duration(y.w.span(time.Minute, time.Hour))
		if s := &y.w.sensors[id]; id != 0 && s.number() && y.r.IntN(3) > 0 {
			y.w.Push(id, s.Low+(s.High-s.Low)*y.r.Float64(), y.now)
		}
		y.tally.Tests++
	case n < 40 && y.book.test[d].on:
		c.Verb, c.Result = rules.EndTest, rules.Result(y.r.IntN(4))
	default:
		return nil
	}
	return y.do(c)
}

// do lets a person say something, and compares what follows from it with the book.
func (y *year) do(c rules.Command) error {
	if c.Who == "" {
		c.Who, c.Session = "li", "s1"
	}
	c.Proved, c.Note = y.r.IntN(30) > 0, "shift"
	y.say("%s: verb %d of %s#%d %s for %v", c.Who, c.Verb, c.Rule, c.Occurrence, c.Channel, c.For)
	if y.r.IntN(2) == 0 { // with whatever time brings at the same instant
		if err := y.step(nil); err != nil {
			return err
		}
	}
	y.put(nil)
	may := y.may(&c)
	err := rules.Do(y.e, y.img, y.stamp(), c, &y.out)
	y.tally.Commands++
	var refused *rules.RefusedError
	if err != nil && !errors.As(err, &refused) {
		return err
	}
	switch ok := err == nil; {
	case ok && may == no:
		return fmt.Errorf("%+v was carried out, and must not be", c)
	case !ok && may == yes:
		return fmt.Errorf("%+v was refused: %w", c, err)
	case !ok && y.standing && refused.Code != "still-standing":
		return fmt.Errorf("%+v was refused with %s, and its votes stand", c, refused.Code)
	case !ok:
		y.tally.Refused++
		y.say("refused: %s", refused.Code)
		return y.step(nil)
	}
	return y.follow()
}

// may says whether a command must be carried out, as far as the book knows.
func (y *year) may(c *rules.Command) truth {
	y.standing = false
	ahead := y.book.clone() // what time brings up to now comes first
	ahead.advance(y.now)
	ahead.judge(y.now)
	lock := slices.IndexFunc(y.set.Interlocks, func(l rules.Interlock) bool { return l.Name == c.Rule })
	alarm, known := y.names[c.Rule]
	switch c.Verb {
	case rules.Reset:
		if lock >= 0 && !ahead.locks[lock].ready {
			y.standing = ahead.locks[lock].tripped && ahead.locks[lock].standing
			return no
		}
		if lock >= 0 {
			return yes
		}
	case rules.Shelve:
		if known && !mayShelve(c.Rule, y.decl[alarm]) {
			return no
		}
	case rules.Force, rules.Remove, rules.Restore, rules.BeginTest, rules.EndTest:
		if !c.Proved || c.Verb == rules.Force && c.For > rules.MaxForce {
			return no
		}
	case rules.Bypass:
		p, d := &ahead.bypass[lock], &y.set.Interlocks[lock]
		at := slices.IndexFunc(d.Channels, func(x rules.Channel) bool { return x.Name == c.Channel })
		if !c.Proved || c.For > d.Bypass.AtMost || d.Channels[at].Manual || p.counts() || p.waiting {
			return no
		}
		if seat := ahead.locks[lock].seat; seat >= 0 && seat != at {
			return no
		}
		return yes
	case rules.Confirm:
		if p := &ahead.bypass[lock]; !c.Proved || !p.waiting || c.Who == "li" || c.Session == "s1" {
			return no
		}
	}
	return unknown
}

// person writes into the book what a person did.
func (y *year) person(v *rules.Event) error {
	b, at := y.book, v.At.Mono+y.base
	lock := slices.IndexFunc(b.set.Interlocks, func(l rules.Interlock) bool { return l.Name == v.Rule })
	dev := slices.IndexFunc(b.set.Devices, func(d rules.Device) bool { return d.Name == v.Rule })
	touch := func() {
		for _, id := range b.set.Devices[dev].Tags {
			y.saw(id, at)
		}
	}
	switch {
	case v.Kind == rules.InterlockTrippedAtStart:
		if !y.lost {
			return fmt.Errorf("%s tripped at the start, and nothing was lost", v.Rule)
		}
	case v.Kind == rules.InterlockReset && v.Who != "":
		if !b.locks[lock].ready {
			return fmt.Errorf("%s was reset, and its reset condition does not hold", v.Rule)
		}
		b.reset(lock, at)
	case v.Kind == rules.BypassAsked || v.Kind == rules.BypassBegan:
		p, d := &b.bypass[lock], &b.set.Interlocks[lock]
		k := slices.IndexFunc(d.Channels, func(x rules.Channel) bool { return x.Name == v.Channel })
		switch two := len(d.Bypass.Second) > 0; {
		case p.counts(), p.waiting && p.channel != k, v.For > d.Bypass.AtMost, d.Channels[k].Manual:
			return fmt.Errorf("%s: a bypass that must not be: %+v", v.Rule, p)
		case v.Kind == rules.BypassBegan && two && (!p.waiting || v.Second == "" || v.Second == v.Who):
			return fmt.Errorf("%s: bypassed by one person", v.Rule)
		}
		switch other := y.r.IntN(len(d.Channels)); y.r.IntN(3) { // of all times, now
		case 0:
			y.w.Leak(d, at)
		case 1:
			y.w.Push(d.Channels[other].Cond.Tag, y.w.Beyond(&d.Channels[other].Cond, true), at)
		}
		*p = bypassed{waiting: true, channel: k, length: int64(v.For), ends: at + int64(rules.ConfirmWithin)}
		if v.Kind == rules.BypassBegan {
			p.waiting, p.on, p.ends = false, true, at+int64(v.For)
		}
	case v.Kind == rules.BypassEnded && v.Who != "":
		b.bypass[lock] = bypassed{}
	case v.Kind == rules.ForceBegan:
		b.force[v.Tag] = given{on: true, began: at, ends: at + int64(v.For), v: v.Value}
		if v.For > rules.MaxForce {
			return fmt.Errorf("%s: forced for %v", v.Rule, v.For)
		}
		y.saw(v.Tag, at)
	case v.Kind == rules.ForceEnded && v.Who != "":
		b.force[v.Tag] = given{}
		y.saw(v.Tag, at)
	case v.Kind == rules.TestBegan && dev >= 0:
		b.test[dev] = given{on: true, began: at, ends: at + int64(v.For)}
		touch()
	case v.Kind == rules.TestBegan:
		b.drill[lock] = given{on: true, began: at, ends: at + int64(v.For)}
	case v.Kind == rules.TestEnded && v.Who == "":
	case v.Kind == rules.TestEnded && dev >= 0:
		b.test[dev] = given{}
		touch()
	case v.Kind == rules.TestEnded:
		b.drill[lock], b.tested = given{}, at
	case v.Kind == rules.PointRemoved || v.Kind == rules.PointRestored:
		b.removed[dev] = v.Kind == rules.PointRemoved
		touch()
	}
	return nil
}

// restart ends the engine and begins another: an end in order, a kill, a
// power cut with a reboot, or one that also loses the file.
func (y *year) restart() error {
	y.tally.Restarts++
	if len(y.saved) == 0 || y.r.IntN(3) == 0 {
		y.save() // an end in order
	}
	kept := y.saved[len(y.saved)-1]
	passed, boot := int64(0), y.base
	y.now += y.w.span(50*time.Millisecond, []time.Duration{3 * time.Second, 5 * time.Minute, 20 * time.Hour}[y.r.IntN(3)])
	if y.r.IntN(3) == 0 {
		y.tally.Cuts++
		lag := y.w.span(0, 2*time.Second) // what the disk had not taken yet
		for i := len(y.saved) - 1; i > 0 && y.saved[i].at > y.now-lag; i-- {
			kept = y.saved[i-1]
		}
		boot = y.now - int64(5*time.Second)
	}
	gap := y.now - kept.at
	passed = max(gap, 1)
	if boot != y.base && y.r.IntN(2) == 0 {
		passed = -1 // nobody trusts the clock
	}
	y.base, y.saved = boot, nil
	y.lost = y.r.IntN(100) == 0
	y.say("restart: gap %v, told %v, lost %v", time.Duration(gap), time.Duration(passed), y.lost)
	if y.lost {
		y.book = newBook(y.set, y.now, y.sees)
		if err := y.begin(*y.set, nil, 0, nil); err != nil {
			return err
		}
		y.e.StartTripped()
		for i := range y.book.locks {
			if y.set.Interlocks[i].ManualReset {
				y.book.locks[i].tripped, y.book.locks[i].at = true, y.now
			}
		}
		return y.step(nil)
	}
	y.book = kept.book
	set := *kept.book.set
	if err := y.begin(set, kept.snap, passed, nil); err != nil {
		return err
	}
	y.book.restart(y.set, y.now, gap, passed, false, false)
	return y.step(nil)
}

// apply hands over to another plan at one instant: other limits, another order
// of the rules; the readings go along, or are read anew.
func (y *year) apply() error {
	y.tally.Applies++
	set := y.o.Set
	set.Alarms, set.Interlocks = slices.Clone(set.Alarms), slices.Clone(set.Interlocks)
	y.r.Shuffle(len(set.Alarms), func(i, j int) { set.Alarms[i], set.Alarms[j] = set.Alarms[j], set.Alarms[i] })
	y.r.Shuffle(len(set.Interlocks), func(i, j int) {
		set.Interlocks[i], set.Interlocks[j] = set.Interlocks[j], set.Interlocks[i]
	})
	for i := range set.Alarms {
		if a := &set.Alarms[i]; !a.NotWatched && len(a.Modes) == 0 && y.w.sensors[a.Cond.Tag].number() && y.r.IntN(3) == 0 {
			a.Cond.Limit *= 0.97 + 0.06*y.r.Float64()
		}
	}
	snap := y.e.Snapshot(nil, y.stamp())
	seen := y.r.IntN(2) == 0
	var img *rules.Image
	if seen {
		img = y.img
	}
	y.say("apply: readings go along %v", seen)
	if err := y.begin(set, snap, 0, img); err != nil {
		return err
	}
	if d := y.e.Dropped(); len(d) > 0 {
		return fmt.Errorf("apply: %v dropped", d)
	}
	y.book.restart(y.set, y.now, 0, 0, true, seen)
	if seen {
		for id := range y.set.Tags {
			y.saw(tag.ID(id), y.now)
		}
	}
	y.saved = nil
	if err := y.step(nil); err != nil {
		return err
	}
	y.save()
	return y.views()
}

// views compares everything that is shown with what the events told.
func (y *year) views() error {
	seen := map[string]bool{}
	for _, v := range y.e.Alarms(nil, y.stamp()) {
		if seen[v.Name] {
			return fmt.Errorf("%s is shown twice", v.Name)
		}
		seen[v.Name] = true
		if a := &y.book.alarms[y.name(v.Name)]; !a.shown(&v) {
			return fmt.Errorf("shown %+v, told %c %+v", v, a.own, *a)
		}
	}
	for name, n := range y.names {
		v, ok := y.e.Alarm(name)
		if a := &y.book.alarms[n]; ok && !seen[name] && !a.shown(&v) {
			return fmt.Errorf("%s is not shown, and told as %c %+v", name, a.own, *a)
		}
	}
	for i, v := range y.e.Interlocks(nil, &rules.Input{Now: y.stamp(), Image: y.img.Readings()}) {
		l, p := &y.book.locks[i], &y.book.bypass[i]
		if (v.State == rules.Tripped) != l.tripped || v.State == rules.Tripped && v.ResetReady != l.ready && !l.settling {
			return fmt.Errorf("shown %+v, and by the book tripped %v, ready %v", v, l.tripped, l.ready)
		}
		if on := p.counts() || p.waiting; on != (v.Bypass != nil) || on && v.Bypass.Waiting != p.waiting {
			return fmt.Errorf("shown %+v, and by the book %+v", v.Bypass, *p)
		}
	}
	for o, d := range y.e.Demands(nil) {
		if d.Protective != y.book.driven[o] && !y.book.fuzzy[o] {
			return fmt.Errorf("%s demanded %v", y.set.Outputs[o].Name, d.Protective)
		}
	}
	return nil
}
