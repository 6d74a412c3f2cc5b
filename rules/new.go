package rules

import (
	"errors"
	"fmt"
	"math"
	"time"

	"davy/drivers/tag"
)

// The limits of a set.
const (
	MaxDelay = 3660 * 24 * time.Hour // of any delay
	MaxName  = 200                   // bytes of a rule's, channel's or output's name
	maxRules = refMask               // of any kind, and of channels and demands
)

// DefaultSettle is Set.Settle where none is given.
const DefaultSettle = 30 * time.Second

// Fault is the name of the alarm that says that a rule panicked and was isolated.
const Fault = "rules.broken"

// The endings of the names of automatic alarms.
const (
	degradedSuffix = ".degraded"
	overdueSuffix  = ".degraded-overdue"
	proofSuffix    = ".proof"
	trippedSuffix  = ".tripped"
	notArmedSuffix = ".not-armed"
	bypassSuffix   = ".bypass-overdue"

	discrepancySuffix  = ".discrepancy"
	notPermittedSuffix = ".not-permitted"
)

// New makes an engine for a set. The error joins everything that is wrong with it.
// The set is not copied: nobody may change what it holds while the engine lives.
func New(set Set) (*Engine, error) {
	b := builder{e: &Engine{set: set, below: map[int32][]int32{}}, names: map[string]ref{}, taken: map[string]string{}}
	e := b.e
	if set.Settle == 0 {
		e.set.Settle = DefaultSettle
	}
	b.delay("set", "settle", set.Settle)
	for i := range set.Outputs {
		b.name("output", set.Outputs[i].Name)
	}
	for i := range set.Alarms {
		b.alarm(&set.Alarms[i])
	}
	for i := range set.Interlocks {
		b.interlock(i, &set.Interlocks[i])
	}
	b.escalations()
	for i := range set.Outputs {
		b.output(i, &set.Outputs[i])
	}
	b.points()
	b.computed()
	e.fault = b.automatic(Fault, "", "broken", Text{}, Critical, 0)
	fault := e.rule(e.fault)
	fault.Agent, fault.NoShelve = true, true
	b.relate()
	if n := max(len(e.alarms), len(e.channels), len(e.interlocks), len(e.guards), len(e.demands), len(e.outputs), len(e.whens), len(e.computer.all), len(e.points.all), len(e.points.forces)); n > maxRules {
		b.wrong("set", "", "has %d rules of a kind, more than %d", n, maxRules)
	}
	if err := errors.Join(b.errs...); err != nil {
		return nil, err
	}
	b.link()
	return e, nil
}

type builder struct {
	e     *Engine
	errs  []error
	names map[string]ref
	taken map[string]string // name → what has it
	tests map[tag.ID]int32  // tag → the alarm of the set that it is in test too long; made when asked for
}

func (b *builder) wrong(what, name, format string, args ...any) {
	if name != "" {
		what = fmt.Sprintf("%s %q", what, name)
	}
	b.errs = append(b.errs, fmt.Errorf("%s: %s", what, fmt.Sprintf(format, args...)))
}

func (b *builder) name(what, name string) {
	switch other, twice := b.taken[name]; {
	case name == "":
		b.wrong(what, "", "has no name")
	case len(name) > MaxName:
		b.wrong(what, name, "the name has more than %d bytes", MaxName)
	case twice:
		b.wrong(what, name, "the name is already that of an %s", other)
	}
	b.taken[name] = what
}

func (b *builder) delay(what, which string, d time.Duration) {
	if d < 0 || d > MaxDelay {
		b.wrong(what, "", "%s of %v is not within 0 and %v", which, d, MaxDelay)
	}
}

func (b *builder) condition(what string, c Condition, limited bool) {
	if c.Tag == 0 || int(c.Tag) >= len(b.e.set.Tags) {
		b.wrong(what, "", "tag %d is not in the set", c.Tag)
	}
	if !limited {
		return
	}
	if c.Op > NE {
		b.wrong(what, "", "unknown comparison %d", c.Op)
	}
	if math.IsNaN(c.Limit) || math.IsInf(c.Limit, 0) {
		b.wrong(what, "", "the limit is not a number")
	}
}

// link lays out what Step needs, once nothing is wrong.
func (b *builder) link() {
	e := b.e
	by := make([][]ref, max(len(e.set.Tags), 1))
	all := 0
	add := func(id tag.ID, r ref) { by[id], all = append(by[id], r), all+1 }
	b.records(add)
	for i := range e.set.Alarms {
		add(e.alarms[i].tag, refAlarm|ref(i))
	}
	for i := range e.set.Outputs {
		if e.set.Outputs[i].Proved {
			add(e.set.Outputs[i].Proof.Tag, refProof|ref(i))
		}
	}
	for i := range e.channels {
		add(e.channels[i].tag, refChannel|ref(i))
	}
	for i := range e.guards {
		add(e.guards[i].tag, refGuard|ref(i))
	}
	for i := range e.whens {
		add(e.whens[i].tag, refWhen|ref(i))
	}
	e.index, e.refs = make([]uint32, 0, len(by)+1), make([]ref, 0, all)
	for _, refs := range by {
		e.index = append(e.index, uint32(len(e.refs)))
		e.refs = append(e.refs, refs...)
	}
	e.index = append(e.index, uint32(len(e.refs)))

	b.trim()
	e.late = newTimers(len(e.alarms), 0)
	e.timers = newTimers(e.slots.layOut(e), 0)
	e.dirty = make([]int32, 0, len(e.interlocks))
	e.moved = make([]int32, 0, len(e.outputs))
	e.checks = make([]int32, 0, len(e.outputs))
	e.states = make([]OutputState, 0, len(e.outputs))
}
