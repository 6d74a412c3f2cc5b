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

// defaultSettle is Set.Settle where none is given.
const defaultSettle = 30 * time.Second

// Fault is the name of the alarm that says that a rule panicked and was isolated.
const Fault = "rules.broken"

// The endings of the names of automatic alarms.
const (
	degradedSuffix = ".degraded"
	overdueSuffix  = ".degraded-overdue"
	proofSuffix    = ".proof"
)

// New makes an engine for a set. The error joins everything that is wrong with it.
func New(set Set) (*Engine, error) {
	b := builder{e: &Engine{set: set, names: map[string]ref{}}, taken: map[string]string{}}
	e := b.e
	if set.Settle == 0 {
		e.set.Settle = defaultSettle
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
	for i := range set.Outputs {
		b.output(i, &set.Outputs[i])
	}
	e.fault = b.automatic(Fault, "broken", Text{}, Critical, 0)
	e.about[e.fault].agent = true
	if n := max(len(e.alarms), len(e.channels), len(e.interlocks), len(e.demands), len(e.outputs)); n > maxRules {
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
	taken map[string]string // name → what has it
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

func (b *builder) priority(what string, p Priority) {
	if p < Low || p > Critical {
		b.wrong(what, "", "priority %d is not one", p)
	}
}

func (b *builder) alarm(a *Alarm) {
	what := fmt.Sprintf("alarm %q", a.Name)
	b.name("alarm", a.Name)
	b.condition(what, a.Cond, !a.NotWatched)
	b.priority(what, a.Priority)
	b.delay(what, "on-delay", a.OnDelay)
	b.delay(what, "off-delay", a.OffDelay)
	switch {
	case !(a.Deadband >= 0) || math.IsInf(a.Deadband, 0):
		b.wrong(what, "", "the deadband is not a number from 0")
	case a.Deadband > 0 && !a.NotWatched && a.Cond.Op >= EQ:
		b.wrong(what, "", "a deadband has no meaning with = or ≠")
	}
	back := a.Cond.Limit - a.Deadband
	if a.Cond.Op == LE || a.Cond.Op == LT {
		back = a.Cond.Limit + a.Deadband
	}
	b.add(a.Name, alarm{
		tag: a.Cond.Tag, op: a.Cond.Op, limit: a.Cond.Limit, back: back, notWatched: a.NotWatched, latch: a.Latch,
		on: int64(a.OnDelay), off: int64(a.OffDelay), left: -1, credit: -1,
	}, about{name: a.Name, text: a.Text, priority: a.Priority, agent: a.Agent})
}

func (b *builder) add(name string, a alarm, v about) int {
	e := b.e
	e.names[name] = refAlarm | ref(len(e.alarms))
	e.alarms, e.about = append(e.alarms, a), append(e.about, v)
	return len(e.alarms) - 1
}

// automatic adds an alarm whose condition comes from the engine.
func (b *builder) automatic(name, of string, text Text, p Priority, delay time.Duration) int {
	if other, twice := b.taken[name]; twice {
		b.wrong("alarm", name, "the name is already that of an %s", other)
	}
	b.taken[name] = "automatic alarm"
	return b.add(name, alarm{driven: true, on: int64(delay), left: -1, credit: -1},
		about{name: name, text: text, of: of, priority: p})
}

func (b *builder) interlock(i int, l *Interlock) {
	e := b.e
	what := fmt.Sprintf("interlock %q", l.Name)
	b.name("interlock", l.Name)
	b.priority(what, l.Priority)
	if len(l.Channels) == 0 || l.M < 1 || l.M > len(l.Channels) {
		b.wrong(what, "", "%d of %d channels is no vote", l.M, len(l.Channels))
	}
	if l.Bad > LastGood {
		b.wrong(what, "", "unknown policy %d for bad channels", l.Bad)
	}
	if l.DegradedPriority > Critical {
		b.priority(what, l.DegradedPriority)
	}
	b.delay(what, "on-delay", l.OnDelay)
	b.delay(what, "delay of bad channels", l.BadAfter)
	b.delay(what, "degraded time", l.DegradedAtMost)
	b.delay(what, "reset time", l.ResetFor)
	if n := len(l.ResetConds); n != 0 && n != len(l.Channels) {
		b.wrong(what, "", "%d reset conditions for %d channels", n, len(l.Channels))
	}
	k := interlock{
		name: l.Name, text: l.Text, priority: l.Priority, first: len(e.channels), n: len(l.Channels), m: l.M,
		onDelay: int64(l.OnDelay), bad: l.Bad, badAfter: int64(l.BadAfter), testVotes: l.InTestCounts, holdsAll: l.AllBadHolds,
		manual: l.ManualReset, resetFor: int64(l.ResetFor), demand: len(e.demands), demands: len(l.Demands),
		degraded: -1, overdue: -1, state: Starting, settling: true, seat: -1, credit: -1, holdCredit: -1,
	}
	b.channels(what, i, l)
	b.demands(what, i, l)
	if l.DegradedPriority != 0 {
		k.degraded = b.automatic(l.Name+degradedSuffix, "degraded", l.Text, l.DegradedPriority, 0)
	}
	if l.DegradedAtMost > 0 {
		k.overdue = b.automatic(l.Name+overdueSuffix, "degraded-overdue", l.Text, min(l.DegradedPriority+1, Critical), l.DegradedAtMost)
	}
	e.names[l.Name] = refInterlock | ref(i)
	e.interlocks = append(e.interlocks, k)
}

func (b *builder) channels(what string, i int, l *Interlock) {
	seen := map[string]bool{}
	for k, ch := range l.Channels {
		of := fmt.Sprintf("%s channel %q", what, ch.Name)
		if ch.Name == "" || len(ch.Name) > MaxName || seen[ch.Name] {
			b.wrong(of, "", "the name is empty, longer than %d bytes, or stands twice", MaxName)
		}
		seen[ch.Name] = true
		b.condition(of, ch.Cond, true)
		if ch.Cond.Op > NE {
			continue
		}
		back := Condition{ch.Cond.Tag, ch.Cond.Op.negated(), ch.Cond.Limit}
		if k < len(l.ResetConds) && l.ResetConds[k].Tag != 0 {
			back = l.ResetConds[k]
			b.condition(of+" reset", back, true)
			if back.Tag != ch.Cond.Tag {
				b.wrong(of, "", "the reset condition is on another tag")
			}
		}
		b.e.channels = append(b.e.channels, channel{
			lock: int32(i), name: ch.Name, tag: ch.Cond.Tag, op: ch.Cond.Op, limit: ch.Cond.Limit, back: back.Op, backLimit: back.Limit,
		})
	}
}

func (b *builder) demands(what string, i int, l *Interlock) {
	seen := map[string]bool{}
	for _, d := range l.Demands {
		b.delay(what+" demand", "delay", d.Delay)
		if seen[d.Output] {
			b.wrong(what, "", "demands output %q twice", d.Output)
		}
		seen[d.Output] = true
		at := -1
		for o := range b.e.set.Outputs {
			if b.e.set.Outputs[o].Name == d.Output {
				at = o
			}
		}
		if at < 0 {
			b.wrong(what, "", "output %q is not in the set", d.Output)
		}
		b.e.demands = append(b.e.demands, demand{lock: int32(i), output: int32(at), delay: int64(d.Delay)})
	}
}

func (b *builder) output(i int, o *Output) {
	what := fmt.Sprintf("output %q", o.Name)
	k := output{name: o.Name, proved: o.Proved, op: o.Proof.Op, limit: o.Proof.Limit, alarm: -1}
	if o.Proved {
		b.condition(what+" proof", o.Proof, true)
		b.delay(what, "time of its proof", o.Within)
		k.alarm = b.automatic(o.Name+proofSuffix, "proof", o.Text, High, o.Within)
		b.e.alarms[k.alarm].tag, b.e.alarms[k.alarm].limit = o.Proof.Tag, o.Proof.Limit
	}
	for d := range b.e.demands {
		if int(b.e.demands[d].output) == i {
			k.demands = append(k.demands, int32(d))
		}
	}
	b.e.outputs = append(b.e.outputs, k)
}

// link lays out what Step needs, once nothing is wrong.
func (b *builder) link() {
	e := b.e
	by := make([][]ref, max(len(e.set.Tags), 1))
	add := func(id tag.ID, r ref) { by[id] = append(by[id], r) }
	for i := range e.set.Alarms {
		add(e.alarms[i].tag, e.names[e.about[i].name])
	}
	for i := range e.set.Outputs {
		if e.set.Outputs[i].Proved {
			add(e.set.Outputs[i].Proof.Tag, refProof|ref(i))
		}
	}
	for i := range e.channels {
		add(e.channels[i].tag, refChannel|ref(i))
	}
	for _, refs := range by {
		e.index = append(e.index, uint32(len(e.refs)))
		e.refs = append(e.refs, refs...)
	}
	e.index = append(e.index, uint32(len(e.refs)))

	e.alarmSlot = len(e.channels)
	e.lockSlot = e.alarmSlot + len(e.alarms)
	e.takeSlot = e.lockSlot + lockTimers*len(e.interlocks)
	e.timers = newTimers(e.takeSlot + len(e.demands))
	e.dirty = make([]int32, 0, len(e.interlocks))
	e.moved = make([]int32, 0, len(e.outputs))
	e.checks = make([]int32, 0, len(e.outputs))
	e.states = make([]OutputState, 0, len(e.outputs))
}
