package rules

import (
	"fmt"
	"slices"
)

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
		degraded: -1, overdue: -1, notArmed: -1, discrepancy: -1, state: Starting, settling: true, seat: -1, credit: -1, holdCredit: -1,
		bypass: bypass{channel: -1, alarm: -1, permitted: l.Bypass},
	}
	b.arming(what, &k, i, l)
	b.permit(what, &k, l)
	b.permissives(what, &k, i, l)
	b.discrepancy(what, &k, l)
	b.channels(what, i, l)
	b.demands(what, i, l)
	k.alarm = b.automatic(l.Name, trippedSuffix, "tripped", l.Text, l.Priority, 0)
	e.rule(k.alarm).NoShelve = true
	if l.DegradedPriority != 0 {
		k.degraded = b.automatic(l.Name, degradedSuffix, "degraded", l.Text, l.DegradedPriority, 0)
	}
	if l.DegradedAtMost > 0 {
		k.overdue = b.automatic(l.Name, overdueSuffix, "degraded-overdue", l.Text, min(l.DegradedPriority+1, Critical), l.DegradedAtMost)
	}
	b.names[l.Name] = refInterlock | ref(i)
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
			lock: int32(i), name: ch.Name, manual: ch.Manual, tag: ch.Cond.Tag, op: ch.Cond.Op, limit: ch.Cond.Limit, back: back.Op, backLimit: back.Limit,
			detector: b.detector(ch.Cond.Tag),
		})
	}
}

// guard takes an optional condition of an interlock; -1 none.
func (b *builder) guard(what string, i int, c Condition) int {
	if c.Tag == 0 {
		return -1
	}
	b.condition(what, c, true)
	b.e.guards = append(b.e.guards, guard{lock: int32(i), tag: c.Tag, op: c.Op, limit: c.Limit, is: unknown, detector: b.detector(c.Tag)})
	return len(b.e.guards) - 1
}

func (b *builder) arming(what string, k *interlock, i int, l *Interlock) {
	k.arm = b.guard(what+" arming condition", i, l.Arm)
	k.due = b.guard(what+" condition that arming is due", i, l.ArmDue)
	k.resetWhen = b.guard(what+" reset condition", i, l.ResetWhen)
	b.delay(what, "time to arm within", l.ArmWithin)
	switch {
	case k.due < 0 && l.ArmWithin != 0:
		b.wrong(what, "", "a time to arm within has no meaning without when arming is due")
	case k.due >= 0 && (k.arm < 0 || l.ArmWithin == 0):
		b.wrong(what, "", "arming is due, and there is no arming condition or no time for it")
	case k.due >= 0:
		k.notArmed = b.automatic(l.Name, notArmedSuffix, "not-armed", l.Text, l.Priority, l.ArmWithin)
	}
}

func (b *builder) permit(what string, k *interlock, l *Interlock) {
	p := &l.Bypass
	b.delay(what, "longest bypass", p.AtMost)
	if p.AtMost == 0 && (len(p.Roles) > 0 || len(p.Second) > 0 || p.AlarmOnly) {
		b.wrong(what, "", "says who may bypass and no longest time")
	}
	if slices.Contains(p.Roles, "") || slices.Contains(p.Second, "") {
		b.wrong(what, "", "a role of its bypass has no name")
	}
	if p.AtMost > 0 && p.AlarmOnly {
		k.bypass.alarm = b.automatic(l.Name, bypassSuffix, "bypass-overdue", l.Text, l.Priority, 0)
	}
}

// demands takes what an interlock demands. A demand drives its output to the
// protective state and nowhere else, so no two interlocks can want one output
// differently; who else writes an output is for the plan to see.
func (b *builder) demands(what string, i int, l *Interlock) {
	seen := map[string]bool{}
	for _, d := range l.Demands {
		b.delay(what+" demand", "delay", d.Delay)
		b.delay(what+" demand", "run-on", d.RunOn)
		if seen[d.Output] {
			b.wrong(what, "", "demands output %q twice", d.Output)
		}
		seen[d.Output] = true
		at := b.outputNamed(what, d.Output)
		b.e.demands = append(b.e.demands, demand{lock: int32(i), output: int32(at), delay: int64(d.Delay), runOn: int64(d.RunOn), from: -1})
	}
}

// outputNamed returns the index of an output; -1 and an error if there is none.
func (b *builder) outputNamed(what, name string) int {
	at := slices.IndexFunc(b.e.set.Outputs, func(o Output) bool { return o.Name == name })
	if at < 0 {
		b.wrong(what, "", "output %q is not in the set", name)
	}
	return at
}

// escalations lays out, behind the demands of the interlocks, those that are
// made when the proof of an output does not come.
func (b *builder) escalations() {
	outputs := b.e.set.Outputs
	next := make([][]int, len(outputs))
	for i := range outputs {
		o := &outputs[i]
		what := fmt.Sprintf("output %q", o.Name)
		if len(o.Escalate) > 0 && !o.Proved {
			b.wrong(what, "", "escalates, and there is no proof that could be missing")
		}
		for k, name := range o.Escalate {
			at := b.outputNamed(what+" escalates", name)
			if slices.Contains(o.Escalate[:k], name) {
				b.wrong(what, "", "escalates to output %q twice", name)
			}
			if at >= 0 {
				next[i] = append(next[i], at)
			}
			b.e.demands = append(b.e.demands, demand{lock: -1, output: int32(at), from: int32(i)})
		}
	}
	// What is left when outputs that lead nowhere are taken away, again and again, is in a circle or leads to one.
	left := len(outputs)
	gone := make([]bool, left)
	for was := left + 1; left < was; {
		was = left
		for i := range outputs {
			if !gone[i] && !slices.ContainsFunc(next[i], func(o int) bool { return !gone[o] }) {
				gone[i] = true
				left--
			}
		}
	}
	for i := range outputs {
		if !gone[i] {
			b.wrong("output", outputs[i].Name, "escalates in a circle, or to one that does")
		}
	}
}

func (b *builder) output(i int, o *Output) {
	what := fmt.Sprintf("output %q", o.Name)
	k := output{name: o.Name, proved: o.Proved, op: o.Proof.Op, limit: o.Proof.Limit, within: int64(o.Within), alarm: -1, escalate: -1, escalates: len(o.Escalate)}
	if o.Proved {
		b.condition(what+" proof", o.Proof, true)
		b.delay(what, "time of its proof", o.Within)
		k.alarm = b.automatic(o.Name, proofSuffix, "proof", o.Text, High, o.Within)
		b.e.alarms[k.alarm].tag, b.e.alarms[k.alarm].limit = o.Proof.Tag, o.Proof.Limit
	}
	for d := range b.e.demands {
		if int(b.e.demands[d].output) == i {
			k.demands = append(k.demands, int32(d))
		}
		if int(b.e.demands[d].from) == i && k.escalate < 0 {
			k.escalate = d
		}
	}
	b.e.outputs = append(b.e.outputs, k)
}
