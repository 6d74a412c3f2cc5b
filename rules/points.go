package rules

import (
	"slices"
	"strings"
	"time"

	"davy/drivers/tag"
)

// point is what persons may do something to: first every device of the set,
// then every interlock (which is only tested).
type point struct {
	name     string
	test     Permit
	every    int64 // Device.TestEvery
	alarm    int   // "<name>.test-due"; -1 none
	removed  bool
	tested   bool // now
	passed   bool // a passed test is known
	out      who  // of removed
	tester   who  // of tested
	ends     int64
	passedAt int64 // Mono; it may be before this run
	passedOn int64 // Wall
}

// who did something, when and why.
type who struct {
	person
	proved bool
	at     tag.Stamp
}

func (c *Command) by(now tag.Stamp) who { return who{c.person(), c.Proved, now} }

func (w *who) mark() Mark { return Mark{w.who, w.note, w.at} }

// force is a tag of a device, and the value that it has by force.
type force struct {
	tag    tag.ID
	device int32
	given  *given // nil: it has its own
}

// given is a value by force.
type given struct {
	value tag.Value
	by    who
	ends  int64
}

// ended is a force of before the restart.
type ended struct {
	name  string
	tag   tag.ID
	value tag.Value
}

// points is what persons did to points.
type points struct {
	all      []point
	devices  int // of them
	names    map[string]int
	forces   []force   // of the tags of all devices, in their order
	ofTag    []int32   // tag → index+1 in forces; 0: of no device
	gone     []ended   // until the first step says so
	overlays []Overlay // of this outcome
	laid     int       // of them, with the image already
	nextEnd  int64     // Mono at which the next of forces and of tests of devices ends; 0 none
}

func (e *Engine) pointTimer(i, which int) int { return e.slots.of(refPoint, i, which) }
func (e *Engine) forceTimer(i int) int        { return e.slots.of(refForce, i, forceTimer) }

// doPoint carries out a command to a point; mine is false for one to something else.
func (e *Engine) doPoint(c *Command, now tag.Stamp) (code string, args map[string]any, mine bool) {
	p := &e.points
	i, known := p.names[c.Rule]
	unknown := "unknown-device"
	switch c.Verb {
	case Remove, Restore:
		if !known || i >= p.devices {
			return "", nil, false // perhaps an alarm
		}
	case BeginTest, EndTest:
	case Force, EndForce:
		i = e.forceOf(tag.Name(c.Rule))
		known = i >= 0
		unknown = "unknown-tag"
	default:
		return "", nil, false
	}
	if !known {
		return unknown, nil, true
	}
	switch c.Verb {
	case Remove:
		code = e.removeDevice(i, c, now)
	case Restore:
		code = e.restoreDevice(i, c, now)
	case BeginTest:
		code, args = e.beginTest(i, c, now)
	case EndTest:
		code = e.endTest(i, c, now)
	case Force:
		code, args = e.force(i, c, now)
	case EndForce:
		code = e.endForce(i, c, now)
	}
	return code, args, true
}

// refuses says why a person may not begin what p permits. most bounds
// p.AtMost; long is the code for a longer time.
func (p *Permit) refuses(c *Command, most time.Duration, long string) (code string, args map[string]any) {
	most = min(p.AtMost, most)
	switch {
	case most <= 0:
		return "not-permitted", nil
	case !c.Proved:
		return "needs-proved", nil
	case len(p.Roles) > 0 && !common(p.Roles, c.Roles):
		return "needs-role", map[string]any{"roles": strings.Join(p.Roles, ", ")}
	case !c.noted():
		return "needs-reason", nil
	case c.For < 0:
		return "needs-time", nil
	case c.For > most:
		return long, map[string]any{"most": short(int64(most))}
	}
	return "", nil
}

func (e *Engine) pointEvent(c *Command, k Kind, i int, now tag.Stamp) Event {
	e.durable = true
	return c.on(Event{Kind: k, At: now, Rule: e.points.all[i].name})
}

// removeDevice takes a device out of service.
func (e *Engine) removeDevice(i int, c *Command, now tag.Stamp) (code string) {
	p := &e.points.all[i]
	switch {
	case !c.Proved:
		return "needs-proved"
	case !c.noted():
		return "needs-reason"
	case p.removed:
		return "already-removed"
	}
	for f := range e.points.forces {
		if one := &e.points.forces[f]; one.given != nil && int(one.device) == i {
			e.stopForce(f, c.on(Event{At: now}))
		}
	}
	if p.tested {
		e.stopTest(i, c.on(Event{At: now, Result: Aborted}))
	}
	p.removed, p.out = true, c.by(now)
	e.emit(e.pointEvent(c, PointRemoved, i, now))
	e.takeOutAlarms(i, c, now)
	e.overlayDevice(i)
	return ""
}

// restoreDevice returns a device to service.
func (e *Engine) restoreDevice(i int, c *Command, now tag.Stamp) (code string) {
	p := &e.points.all[i]
	switch {
	case !c.Proved:
		return "needs-proved"
	case !c.noted():
		return "needs-reason"
	case !p.removed:
		return "not-removed"
	}
	p.removed, p.out = false, who{}
	e.emit(e.pointEvent(c, PointRestored, i, now))
	e.takeOutAlarms(i, c, now)
	e.overlayDevice(i)
	return ""
}

// takeOutAlarms takes the alarms of a device's tags out of service with it, or
// returns them.
func (e *Engine) takeOutAlarms(i int, c *Command, now tag.Stamp) {
	for a := range e.set.Alarms {
		if e.deviceOf(e.alarms[a].tag) == i {
			e.takeOut(a, e.points.all[i].removed, c, now)
		}
	}
}

// deviceOf returns the device of a tag; -1: none.
func (e *Engine) deviceOf(id tag.ID) int {
	if f := e.points.ofTag[id]; f > 0 {
		return int(e.points.forces[f-1].device)
	}
	return -1
}

// forceOf finds the tag of a device by its name; -1: no device has it. Only a
// person asks for one, now and then.
func (e *Engine) forceOf(name tag.Name) int {
	return slices.IndexFunc(e.points.forces, func(f force) bool { return e.set.Tags[f.tag].Name == name })
}

// force gives a tag a value. One that has one by force already gets the new
// one: the old force ends and another begins.
func (e *Engine) force(i int, c *Command, now tag.Stamp) (code string, args map[string]any) {
	f := &e.points.forces[i]
	permit := &e.set.Devices[f.device].Force
	switch code, args = permit.refuses(c, MaxForce, "force-too-long"); {
	case code != "":
		return code, args
	case c.For == 0:
		return "needs-time", nil
	case c.Value.Kind() == tag.None:
		return "force-needs-value", nil
	case e.points.all[f.device].removed:
		return "out-of-service", nil
	}
	if f.given != nil {
		e.stopForce(i, c.on(Event{At: now}))
	}
	f.given = &given{c.Value, c.by(now), now.Mono + int64(c.For)}
	e.timers.set(e.forceTimer(i), f.given.ends)
	e.durable = true
	e.emit(c.on(Event{Kind: ForceBegan, At: now, Rule: c.Rule, Tag: f.tag, Value: c.Value, For: c.For, Test: true}))
	e.overlay(f.tag)
	e.ends()
	return "", nil
}

// endForce lets a tag have its own value again. That needs no proof: it leads
// back to what is.
func (e *Engine) endForce(i int, c *Command, now tag.Stamp) (code string) {
	if e.points.forces[i].given == nil {
		return "not-forced"
	}
	e.stopForce(i, c.on(Event{At: now}))
	return ""
}

// stopForce ends a force; v says when, and who did it.
func (e *Engine) stopForce(i int, v Event) {
	f := &e.points.forces[i]
	v.Kind, v.Rule, v.Tag, v.Value, v.Test = ForceEnded, string(e.set.Tags[f.tag].Name), f.tag, f.given.value, true
	f.given = nil
	e.timers.stop(e.forceTimer(i))
	e.durable = true
	e.emit(v)
	e.overlay(f.tag)
	e.ends()
}

// beginTest begins a test. Without a time it may last as long as is permitted.
func (e *Engine) beginTest(i int, c *Command, now tag.Stamp) (code string, args map[string]any) {
	p := &e.points.all[i]
	switch code, args = p.test.refuses(c, MaxDelay, "test-too-long"); {
	case code != "":
		return code, args
	case p.removed:
		return "out-of-service", nil
	case p.tested:
		return "already-tested", nil
	}
	span := c.For
	if span == 0 {
		span = p.test.AtMost
	}
	p.tested, p.tester, p.ends = true, c.by(now), now.Mono+int64(span)
	e.timers.set(e.pointTimer(i, testTimer), p.ends)
	v := e.pointEvent(c, TestBegan, i, now)
	v.For, v.Test = span, true
	e.emit(v)
	e.overlayDevice(i)
	e.ends()
	return "", nil
}

// endTest ends a test with a result; one without counts as Aborted.
func (e *Engine) endTest(i int, c *Command, now tag.Stamp) (code string) {
	p := &e.points.all[i]
	switch {
	case !c.Proved:
		return "needs-proved"
	case !p.tested:
		return "not-tested"
	case c.Result > Aborted:
		return "test-no-result"
	}
	v := c.on(Event{At: now, Result: c.Result})
	if c.Result == 0 {
		v.Result = Aborted
	}
	e.stopTest(i, v)
	return ""
}

// stopTest ends a test; v says when, with what result, and who did it.
func (e *Engine) stopTest(i int, v Event) {
	p := &e.points.all[i]
	v.Kind, v.Rule, v.Test = TestEnded, p.name, true
	p.tested, p.tester = false, who{}
	e.timers.stop(e.pointTimer(i, testTimer))
	e.durable = true
	e.emit(v)
	if v.Result == Passed {
		p.passed, p.passedAt, p.passedOn = true, v.At.Mono, v.At.Wall
	}
	e.judgeDue(i, v.At)
	e.overlayDevice(i)
	e.ends()
}

// judgeDue drives the alarm that says that a test is due.
func (e *Engine) judgeDue(i int, t tag.Stamp) {
	p := &e.points.all[i]
	if p.alarm < 0 {
		return
	}
	slot := e.pointTimer(i, dueTimer)
	at, due := passed(p.passedAt, p.every, t)
	due = due || !p.passed
	if due {
		e.timers.stop(slot)
	} else {
		e.timers.set(slot, at)
	}
	e.drive(p.alarm, truthOf(due), t)
}

// pointDue lets the time of a test be over, or a test be due.
func (e *Engine) pointDue(i, which int, t tag.Stamp) {
	if which == dueTimer {
		e.judgeDue(i, t)
	} else {
		e.stopTest(i, Event{At: t, Result: Aborted})
	}
}

// ends finds when the next force, or test of a device, ends.
func (e *Engine) ends() {
	p := &e.points
	p.nextEnd = 0
	earlier := func(at int64) {
		if p.nextEnd == 0 || at < p.nextEnd {
			p.nextEnd = at
		}
	}
	for i := range p.forces {
		if g := p.forces[i].given; g != nil {
			earlier(g.ends)
		}
	}
	for i := range p.all[:p.devices] {
		if p.all[i].tested {
			earlier(p.all[i].ends)
		}
	}
}

// overlayDevice says how the tags of a device look now; an interlock has none.
func (e *Engine) overlayDevice(i int) {
	if i < e.points.devices {
		for _, id := range e.set.Devices[i].Tags {
			e.overlay(id)
		}
	}
}

// overlay says how a tag looks now: the last word of an instant counts.
func (e *Engine) overlay(id tag.ID) {
	p := &e.points
	o := e.overlayOf(&p.forces[p.ofTag[id]-1])
	for i := p.laid; i < len(p.overlays); i++ {
		if p.overlays[i].Tag == id {
			p.overlays[i] = o
			return
		}
	}
	p.overlays = append(p.overlays, o)
}

func (e *Engine) overlayOf(f *force) Overlay {
	p := &e.points.all[f.device]
	o := Overlay{Tag: f.tag, Removed: p.removed, Test: p.tested}
	if f.given != nil {
		o.Forced, o.Value = true, f.given.value
	}
	return o
}

// Overlays appends what lies over tags. After Restore it is right already
// before the first Step.
func (e *Engine) Overlays(dst []Overlay) []Overlay {
	for i := range e.points.forces {
		if o := e.overlayOf(&e.points.forces[i]); !o.nothing() {
			dst = append(dst, o)
		}
	}
	return dst
}

// Devices appends every device, in the order of the set.
func (e *Engine) Devices(dst []DeviceView, now tag.Stamp) []DeviceView {
	for i := range e.set.Devices {
		p, d := &e.points.all[i], &e.set.Devices[i]
		v := DeviceView{Name: d.Name, Text: d.Text, Test: e.testView(i, now), Passed: p.passedOn}
		if p.removed {
			m := p.out.mark()
			v.Removed = &m
		}
		dst = append(dst, v)
	}
	return dst
}

// Forces appends every tag that has a value by force, in the order of the devices.
func (e *Engine) Forces(dst []ForceView, now tag.Stamp) []ForceView {
	for i := range e.points.forces {
		if f, g := &e.points.forces[i], e.points.forces[i].given; g != nil {
			dst = append(dst, ForceView{g.by.mark(), f.tag, g.value, time.Duration(max(g.ends-now.Mono, 0))})
		}
	}
	return dst
}

// testView shows the test of a point; nil: none.
func (e *Engine) testView(i int, now tag.Stamp) *TestView {
	p := &e.points.all[i]
	if !p.tested {
		return nil
	}
	return &TestView{p.tester.mark(), time.Duration(max(p.ends-now.Mono, 0))}
}
