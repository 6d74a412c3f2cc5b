package closures

// alarm is the state of one alarm.
type alarm struct {
	p          *Plant
	unit       int
	name       string
	on, off    int64
	latch      bool
	group      *group
	raised     bool
	latched    bool
	pending    bool
	occurrence uint64
	due        int64 // when the delay that runs is over; else never
	left       int64 // of an off-delay that is held
	at, leftAt int64 // raised, and left its group, last
}

// group knows which was the first of those that stand.
type group struct {
	standing, before int
	at               int64
}

func (g *group) touch(now int64) {
	if g.at != now {
		g.at, g.before = now, g.standing
	}
}

// limit returns the closure of one alarm.
func (p *Plant) limit(u, base int, l Limit) func() {
	a := &alarm{
		p: p, unit: u, name: l.Name, on: int64(l.OnFor), off: int64(l.OffFor), latch: l.Latch,
		due: never, left: int64(l.OffFor), leftAt: -1,
	}
	if l.Group {
		a.group = &p.units[u].group
	}
	id, at, band := base+l.Tag, l.At, l.Band
	switch {
	case l.Tag >= Rate:
		return p.ofMade(a, &p.units[u].made[l.Tag-Rate], l)
	case l.Watch:
		return func() {
			a.tick()
			a.known(!usable(&p.image[id]))
		}
	case l.Equal:
		return func() {
			a.tick()
			if r := &p.image[id]; usable(r) {
				a.known(r.Value.Float() == at)
			} else {
				a.unknown()
			}
		}
	case l.Below:
		return func() {
			a.tick()
			r := &p.image[id]
			if !usable(r) {
				a.unknown()
				return
			}
			v := r.Value.Float()
			a.known(v <= at || a.raised && v <= at+band)
		}
	}
	return func() {
		a.tick()
		r := &p.image[id]
		if !usable(r) {
			a.unknown()
			return
		}
		v := r.Value.Float()
		a.known(v >= at || a.raised && v >= at-band)
	}
}

// ofMade is limit of what is made of other tags.
func (p *Plant) ofMade(a *alarm, m *made, l Limit) func() {
	at, back := l.At, l.At-l.Band
	if l.Equal {
		back = at
	}
	m.then = func() {
		a.tick()
		if !m.ok {
			a.unknown()
			return
		}
		a.known(m.value >= at || a.raised && m.value >= back)
	}
	return m.then
}

// tick ends a delay that is over, by what was known before.
func (a *alarm) tick() {
	switch {
	case a.due > a.p.now:
	case a.raised:
		a.clear()
	default:
		a.raise()
	}
}

// known takes whether the condition holds.
func (a *alarm) known(holds bool) {
	switch {
	case a.raised && holds:
		a.due, a.left = never, a.off
	case a.raised && a.left == 0:
		a.clear()
	case a.raised:
		if a.due == never {
			a.due = a.p.now + a.left
		}
	case !holds:
		a.pending, a.due = false, never
	case !a.pending:
		if a.on == 0 {
			a.raise()
			return
		}
		a.pending, a.due = true, a.p.now+a.on
	}
}

// unknown: an off-delay is held, an on-delay goes on.
func (a *alarm) unknown() {
	if a.raised && a.due != never {
		a.left, a.due = a.due-a.p.now, never
	}
}

func (a *alarm) raise() {
	a.raised, a.latched, a.pending, a.due, a.left = true, false, false, never, a.off
	a.occurrence++
	a.at = a.p.now
	e := Event{Kind: Raised, Unit: a.unit, Name: a.name, Occurrence: a.occurrence}
	if g := a.group; g != nil {
		g.touch(a.p.now)
		g.standing++
		mine := 0
		if a.leftAt == a.p.now {
			mine = 1
		}
		e.First = g.before <= mine
	}
	a.p.Events = append(a.p.Events, e)
}

func (a *alarm) clear() {
	a.raised, a.latched, a.due, a.left = false, a.latch, never, a.off
	if g := a.group; g != nil {
		g.touch(a.p.now)
		g.standing--
		if a.at < a.p.now {
			a.leftAt = a.p.now
		}
	}
	a.p.Events = append(a.p.Events, Event{Kind: Returned, Unit: a.unit, Name: a.name, Occurrence: a.occurrence})
}
