package rules

import (
	"fmt"
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
