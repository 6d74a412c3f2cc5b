package rules

import (
	"davy/drivers/tag"
)

// The section of points: those of devices and interlocks that are not as they
// are without a word from a person, then the tags that have a value by force,
// then the trips whose record is not complete.

// Bits of a point's flags.
const (
	pointLock    = 1 << iota // it is an interlock
	pointRemoved             // followed by who
	pointTested              // followed by who, and what is left
	pointPassed              // followed by how long ago, and the wall time
)

func (e *Engine) pointFlags(i int) uint64 {
	p := &e.points.all[i]
	return uint64(count(i >= e.points.devices)*pointLock | count(p.removed)*pointRemoved | count(p.tested)*pointTested | count(p.passed)*pointPassed)
}

func (e *Engine) writePoints(w *writer) {
	n := 0
	for i := range e.points.all {
		n += count(e.pointFlags(i)&^pointLock != 0)
	}
	w.num(uint64(n))
	for i := range e.points.all {
		p, flags := &e.points.all[i], e.pointFlags(i)
		if flags&^pointLock == 0 {
			continue
		}
		w.text(p.name)
		w.num(flags)
		if p.removed {
			w.who(&p.out)
		}
		if p.tested {
			w.who(&p.tester)
			w.span(p.ends - w.now)
		}
		if p.passed {
			w.age(p.passedAt)
			w.num(uint64(max(p.passedOn, 0)))
		}
	}
	n = 0
	for i := range e.points.forces {
		n += count(e.points.forces[i].given != nil)
	}
	w.num(uint64(n + len(e.points.gone)))
	for i := range e.points.forces {
		if f, g := &e.points.forces[i], e.points.forces[i].given; g != nil {
			w.text(string(e.set.Tags[f.tag].Name))
			w.value(g.value)
			w.who(&g.by)
			w.span(g.ends - w.now)
		}
	}
	for i := range e.points.gone { // nobody was told yet
		g := &e.points.gone[i]
		w.text(g.name)
		w.value(g.value)
		w.who(&who{at: tag.Stamp{Mono: w.now}})
		w.span(0)
	}
	n = 0
	for i := range e.records {
		n += count(e.records[i].open)
	}
	w.num(uint64(n))
	for i := range e.records {
		if r := &e.records[i]; r.open {
			w.text(e.interlocks[i].name)
			w.num(r.occurrence)
			w.num(uint64(count(r.test)))
			w.age(r.trip.Mono)
		}
	}
}

func (w *writer) who(p *who) {
	w.text(p.who[:min(len(p.who), maxText)])
	w.text(p.note)
	w.num(uint64(count(p.proved)))
	w.age(p.at.Mono)
}

// What a snapshot says of points.
type (
	savedPoints struct {
		points  []savedPoint
		forces  []savedForce
		records []savedRecord
	}
	savedPoint struct {
		name               string
		flags              uint64
		out, tester        who
		left, passed, wall int64
	}
	savedForce struct {
		name  string
		value tag.Value
		by    who
		left  int64
	}
	savedRecord struct {
		name       string
		occurrence uint64
		test       bool
		age        int64
	}
)

func (r *reader) points() (s savedPoints) {
	seen := map[string]bool{}
	once := func(what, name string) {
		if seen[what+name] {
			r.wrong("%s %q stands twice", what, name)
		}
		seen[what+name] = true
	}
	for n := r.num(maxRules); n > 0 && r.err == nil; n-- {
		p := savedPoint{name: r.text(), flags: r.num(2*pointPassed - 1)}
		once("point", p.name)
		if p.flags&pointRemoved != 0 {
			p.out = r.who()
		}
		if p.flags&pointTested != 0 {
			p.tester, p.left = r.who(), r.age()
		}
		if p.flags&pointPassed != 0 {
			p.passed, p.wall = r.age(), int64(r.num(1<<63-1))
		}
		s.points = append(s.points, p)
	}
	for n := r.num(maxRules); n > 0 && r.err == nil; n-- {
		f := savedForce{name: r.text(), value: r.value(), by: r.who(), left: r.age()}
		once("force", f.name)
		s.forces = append(s.forces, f)
	}
	for n := r.num(maxRules); n > 0 && r.err == nil; n-- {
		c := savedRecord{name: r.text(), occurrence: r.num(maxOccurrence), test: r.num(1) == 1, age: r.age()}
		once("record", c.name)
		s.records = append(s.records, c)
	}
	return s
}

func (r *reader) who() who {
	return who{person: person{r.text(), r.note()}, proved: r.num(1) == 1, at: before(r.age())}
}

// restorePoints takes over what persons did, for no longer than the set permits
// now. A test goes on for what is left of it, less the time in which nobody
// decided where that is known.
func (e *Engine) restorePoints(s *savedPoints, passed int64, handover bool) {
	for i := range s.points {
		v := &s.points[i]
		at, ok := e.points.names[v.name]
		if !ok || v.flags&pointLock != 0 != (at >= e.points.devices) {
			if v.flags&(pointRemoved|pointTested) != 0 {
				e.dropped = append(e.dropped, v.name)
			}
			continue
		}
		p := &e.points.all[at]
		p.removed, p.tested, p.passed = v.flags&pointRemoved != 0 && at < e.points.devices, v.flags&pointTested != 0, v.flags&pointPassed != 0
		p.out, p.tester = v.out, v.tester
		p.out.at.Mono, p.out.at.Wall = p.out.at.Mono-passed, p.out.at.Wall-passed
		p.tester.at.Mono, p.tester.at.Wall = p.tester.at.Mono-passed, p.tester.at.Wall-passed
		p.ends, p.passedAt, p.passedOn = min(v.left, int64(p.test.AtMost))-passed, -v.passed-passed, v.wall
	}
	forces := map[string]int{}
	if len(s.forces) > 0 {
		for i := range e.points.forces {
			forces[string(e.set.Tags[e.points.forces[i].tag].Name)] = i
		}
	}
	for i := range s.forces {
		v := &s.forces[i]
		at, ok := forces[v.name]
		if !ok {
			e.dropped = append(e.dropped, v.name)
			continue
		}
		f := &e.points.forces[at]
		if left := min(v.left, int64(min(e.set.Devices[f.device].Force.AtMost, MaxForce))); handover && left > 0 {
			f.given = &given{v.value, v.by, left}
		} else {
			e.points.gone = append(e.points.gone, ended{v.name, f.tag, v.value})
		}
	}
	for i := range s.records {
		v := &s.records[i]
		if f, ok := e.named(v.name); ok && f.kind() == refInterlock {
			e.records[f.index()] = record{inputs: e.records[f.index()].inputs, open: true, occurrence: v.occurrence, test: v.test, trip: before(v.age + passed)}
		}
	}
}

// startPoints anchors what Restore brought to the clock of this run.
func (e *Engine) startPoints(anchor func(*tag.Stamp)) {
	mono := func(at *int64) {
		s := tag.Stamp{Mono: *at}
		anchor(&s)
		*at = s.Mono
	}
	for i := range e.points.all {
		p := &e.points.all[i]
		anchor(&p.out.at)
		anchor(&p.tester.at)
		mono(&p.ends)
		mono(&p.passedAt)
	}
	for i := range e.points.forces {
		if g := e.points.forces[i].given; g != nil {
			anchor(&g.by.at)
			mono(&g.ends)
		}
	}
}

// firstPoints sets the timers of what Restore brought, and says which forces
// the restart ended. It may be called again after a panic.
func (e *Engine) firstPoints(now tag.Stamp) {
	for _, g := range e.points.gone {
		e.durable = true
		e.emit(Event{Kind: ForceEnded, At: now, Rule: g.name, Tag: g.tag, Value: g.value, Test: true})
	}
	e.points.gone = nil
	for i := range e.points.all {
		p := &e.points.all[i]
		switch {
		case p.tested && p.ends <= now.Mono:
			e.stopTest(i, Event{At: now, Result: Aborted})
		case p.tested:
			e.timers.set(e.pointTimer(i, testTimer), p.ends)
			e.judgeDue(i, now)
		default:
			e.judgeDue(i, now)
		}
	}
	for a := range e.set.Alarms { // one may be new, or not the device's any more
		c, out := Command{}, false
		if d := e.deviceOf(e.alarms[a].tag); d >= 0 && e.points.all[d].removed {
			by := &e.points.all[d].out
			c, out = Command{Who: by.who, Proved: by.proved, Note: by.note}, true
		}
		e.takeOut(a, out, &c, now)
	}
	for i := range e.points.forces {
		if g := e.points.forces[i].given; g != nil {
			e.timers.set(e.forceTimer(i), g.ends)
		}
	}
	e.ends()
	e.points.overlays = e.Overlays(e.points.overlays)
}
