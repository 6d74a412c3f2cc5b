package closures

// vote is the state of one interlock.
type vote struct {
	Vote
	p                   *Plant
	u                   int
	unit                *unit
	channels            []channel
	alarm, lost         *alarm // that it tripped, and that a channel is out; nil none
	armed, tripped      bool
	pending, holding    bool
	ready               bool
	since, held, tripAt int64
	outs                int
	occurrence          uint64
	due                 int64 // when something is over; else never
	valve, fan          bool  // demanded
}

// channel is one cause.
type channel struct {
	usable, over   bool // over: by the last value that could be judged
	bad, counts    bool // counts: bad for BadFor
	process, out   bool
	since, badFrom int64
}

// vote returns the closure of one interlock.
func (p *Plant) vote(u, base int, w Vote) func() {
	v := &vote{Vote: w, p: p, u: u, unit: &p.units[u], channels: make([]channel, w.N), due: never}
	v.alarm = &alarm{p: p, unit: u, name: w.Name + ".tripped", due: never}
	if w.Degraded {
		v.lost = &alarm{p: p, unit: u, name: w.Name + ".degraded", due: never}
	}
	v.unit.votes = append(v.unit.votes, v)
	first, at := base+w.First, w.At
	return func() {
		if v.due <= p.now {
			v.judge()
		}
		for k := range v.channels {
			c, r := &v.channels[k], &p.image[first+k]
			if c.usable = usable(r); c.usable {
				c.over = r.Value.Float() >= at
			}
		}
		v.judge()
	}
}

func (v *vote) say(k Kind) {
	v.p.Events = append(v.p.Events, Event{Kind: k, Unit: v.u, Name: v.Name, Occurrence: v.occurrence})
}

// judge brings it to now.
func (v *vote) judge() {
	now := v.p.now
	if !v.armed {
		v.armed = true
		v.say(Armed)
	}
	v.due = never
	usable, bad, counts, process := 0, 0, 0, 0
	outs := 0
	for k := range v.channels {
		c := &v.channels[k]
		switch {
		case c.usable:
			c.bad, c.counts = false, false
		case !c.bad:
			c.bad, c.badFrom = true, now
		}
		if c.bad && !c.counts {
			if at := c.badFrom + int64(v.BadFor); at <= now {
				c.counts = true
			} else {
				v.due = min(v.due, at)
			}
		}
		over := c.over && c.usable
		if over && !c.process {
			c.since = now
		}
		c.process = over
		if c.usable {
			usable++
		}
		if c.bad {
			bad++
		}
		if c.counts {
			counts++
		}
		if over {
			process++
		}
		if c.counts {
			outs++
			if !c.out {
				v.say(Lost)
			}
		}
		c.out = c.counts
	}
	if v.outs > 0 && outs == 0 {
		v.say(Whole)
	}
	v.outs = outs
	if v.lost != nil {
		v.lost.known(outs > 0)
	}
	rest, votes := v.N, process
	if v.LeftOut {
		rest -= counts
	} else {
		votes += counts
	}
	need := min(v.M, rest)
	standing := need > 0 && votes >= need || usable == 0 && bad > 0 && counts == bad
	if !v.tripped {
		v.delay(standing)
	}
	if v.tripped {
		v.release(!standing && usable > 0)
	}
}

// delay trips when the vote has stood for OnFor.
func (v *vote) delay(standing bool) {
	now := v.p.now
	switch {
	case !standing:
		v.pending = false
		return
	case !v.pending:
		v.pending, v.since = true, now
	}
	if at := v.since + int64(v.OnFor); at > now {
		v.due = min(v.due, at)
		return
	}
	v.tripped, v.pending, v.holding, v.ready, v.tripAt = true, false, false, false, now
	v.occurrence++
	e := Event{Kind: Tripped, Unit: v.u, Name: v.Name, Occurrence: v.occurrence, FirstOut: v.firstOut()}
	v.p.Events = append(v.p.Events, e)
	v.alarm.known(true)
}

// firstOut is the channel whose value was the first of those that vote by it,
// else the one that was bad first.
func (v *vote) firstOut() int {
	first := -1
	for k := range v.channels {
		if c := &v.channels[k]; c.process && (first < 0 || c.since < v.channels[first].since) {
			first = k
		}
	}
	for k := range v.channels {
		if c := &v.channels[k]; (first < 0 || !v.channels[first].process) && c.counts && (first < 0 || c.badFrom < v.channels[first].badFrom) {
			first = k
		}
	}
	return first
}

// release demands what is due, and sees whether the trip may be reset.
func (v *vote) release(hold bool) {
	now := v.p.now
	v.take(v.Valve, &v.valve, &v.unit.valve, int64(v.ValveFor))
	v.take(v.Fan, &v.fan, &v.unit.fan, int64(v.FanFor))
	for k := range v.channels {
		c := &v.channels[k]
		hold = hold && (c.usable && !c.over || c.bad && v.LeftOut)
	}
	if !hold {
		v.holding, v.ready = false, false
		return
	}
	if !v.holding {
		v.holding, v.held = true, now
	}
	if at := v.held + int64(v.ResetFor); at > now {
		v.due = min(v.due, at)
		return
	}
	v.ready = true
	if !v.Manual {
		v.reset()
	}
}

// take demands an output when its delay is over.
func (v *vote) take(wants bool, has *bool, o *output, delay int64) {
	if !wants || *has {
		return
	}
	if at := v.tripAt + delay; at > v.p.now {
		v.due = min(v.due, at)
		return
	}
	*has = true
	o.by++
}

func (v *vote) reset() {
	v.tripped, v.holding, v.ready = false, false, false
	v.say(Reset)
	v.alarm.known(false)
	for _, d := range []struct {
		has *bool
		o   *output
	}{{&v.valve, &v.unit.valve}, {&v.fan, &v.unit.fan}} {
		if *d.has {
			*d.has = false
			d.o.by--
		}
	}
}
