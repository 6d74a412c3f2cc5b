package rules

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"davy/drivers/tag"

	"pgregory.net/rapid"
)

type modelLock struct {
	Interlock
	state             InterlockState
	settled, degraded bool
	armRead, out      bool
	ch                []modelChannel
	seat              int
	standing, ready   bool
	votes, resets     span
	occ, tripped      int
	untripped         int // when it was reset
	firstOut          string
	frozen            string
	demanded          []bool
	since             []int // of each demand that is made: twice the time, and those with a delay first
	record            span  // from the trip, until it was said
	bypass            modelBypass
}

// modelBypass is the one of an interlock; asked or on says whether there is one.
type modelBypass struct {
	asked, on, overdue, reminded, late bool
	ch, ends, length                   int
	who, second, session               string
}

// modelProof is what is awaited of an output.
type modelProof struct {
	sought, escalated bool
	lack              span
}

// truth of a condition; where none was written it is other.
func (m *model) truth(c Condition, other truth) truth {
	switch {
	case c.Tag == 0:
		return other
	case !usable(&m.image[c.Tag]):
		return unknown
	}
	return truthOf(m.holds(c, 0))
}

func (m *model) lock(l *modelLock, settled bool, t int) {
	allRead := true
	for k := range l.ch {
		c, r := &l.ch[k], &m.image[l.Channels[k].Cond.Tag]
		c.read = c.read || r.Quality != tag.BadNeverRead
		allRead = allRead && c.read
		c.test.set(inTest(r.Quality) && !l.InTestCounts, t)
		c.usable = !c.test.is && usable(r)
		if l.InTestCounts && r.Quality.Reason() == tag.FunctionCheck {
			c.usable = r.Value.Kind() != tag.None
		}
		if c.usable {
			c.over, c.clear = m.holds(l.Channels[k].Cond, 0), !m.holds(l.Channels[k].Cond, 0)
			if l.ResetConds != nil {
				c.clear = m.holds(l.ResetConds[k], 0)
			}
			c.against = !c.clear
		}
	}
	l.armRead = l.armRead || l.Arm.Tag == 0 || m.image[l.Arm.Tag].Quality != tag.BadNeverRead
	armed, words := Armed, map[InterlockState]string{Armed: "armed", Unarmed: "unarmed"}
	if m.truth(l.Arm, yes) == no {
		armed = Unarmed
	}
	if !l.settled && (allRead && l.armRead || settled) {
		l.settled = true
		if l.state == Starting {
			l.state = armed
			m.say(t, "%s %s", words[armed], l.Name)
		}
	}
	m.bypass(l, t)
	by := -1
	if l.bypass.on {
		by = l.bypass.ch
	}
	if l.seat >= 0 && (!l.ch[l.seat].test.is || by >= 0) {
		l.seat = -1
	}
	for k := range l.ch {
		if l.ch[k].test.is && l.seat < 0 && by < 0 {
			l.seat = k
			for j := range l.ch {
				if l.ch[j].test.is && l.ch[j].test.from < l.ch[l.seat].test.from {
					l.seat = j
				}
			}
		}
	}
	inVote, votes, live, bad, policy := 0, 0, 0, 0, 0
	outs := 0
	for k := range l.ch {
		c := &l.ch[k]
		c.bad.set(!c.usable && l.seat != k, t)
		c.policy = c.bad.lasted(l.BadAfter, t)
		c.process.set(c.over && (c.usable || c.bad.is && !c.policy && l.Bad == LastGood), t)
		if k != by {
			live += count(c.usable)
			bad += count(c.bad.is)
			policy += count(c.policy)
			if l.seat != k && !(c.policy && l.Bad == LeftOut) {
				inVote++
			}
		}
		out := l.settled && (l.seat == k || by == k || c.policy || c.bad.is && (c.out || l.Bad == LastGood))
		if out && !c.out {
			m.say(t, "degraded %s %s", l.Name, l.Channels[k].Name)
		}
		c.out = out
		outs += count(out)
	}
	if l.degraded && outs == 0 {
		m.say(t, "restored %s", l.Name)
	}
	l.degraded = outs > 0
	if l.settled {
		for _, a := range []string{".degraded", ".degraded-overdue"} {
			if m.auto[l.Name+a] != nil {
				m.alarm(m.auto[l.Name+a], truthOf(outs > 0), false, t)
			}
		}
		if a := m.auto[l.Name+".not-armed"]; a != nil {
			c := unknown
			switch due, arm := m.truth(l.ArmDue, no), m.truth(l.Arm, yes); {
			case due == no || arm == yes:
				c = no
			case due == yes && arm == no:
				c = yes
			}
			m.alarm(a, c, false, t)
		}
		m.agree(l, t)
	}
	allBad := live == 0 && bad > 0
	for k := range l.ch {
		c := &l.ch[k]
		if k != by {
			votes += count(c.process.is || c.policy && l.Bad != LeftOut && !(allBad && l.AllBadHolds))
		}
	}
	need := min(l.M, inVote)
	if by >= 0 {
		need = min(max(l.M-1, 1), inVote)
	}
	l.standing = inVote > 0 && votes >= need || allBad && policy == bad && !l.AllBadHolds
	l.out = !l.standing && (inVote == 0 || allBad && policy == bad)
	if !l.settled {
		return
	}
	if l.state != Tripped && l.state != armed {
		l.state = armed
		m.say(t, "%s %s", words[armed], l.Name)
	}
	l.votes.set(l.standing && l.state == Armed, t)
	if l.votes.lasted(l.OnDelay, t) {
		l.votes.is = false
		m.trip(l, allBad, t)
	}
	for k, d := range l.Demands { // a delay that ends now has ended, also with a reset
		if l.state == Tripped && !l.demanded[k] && t-l.tripped >= int(d.Delay/time.Second) {
			l.demanded[k], l.since[k] = true, 2*t+count(l.tripped == t)
		}
	}
	hold := l.state == Tripped && !l.standing && (live > 0 || by >= 0 && len(l.ch) == 1) && m.truth(l.ResetWhen, yes) == yes
	for _, p := range l.Permissives {
		hold = hold && m.truth(p.Cond, yes) == yes
	}
	for k := range l.ch {
		c := &l.ch[k]
		hold = hold && (c.usable && c.clear || c.bad.is && l.Bad == LeftOut || l.seat == k || by == k)
	}
	l.resets.set(hold, t)
	l.ready = l.resets.lasted(l.ResetFor, t)
	if l.ready && !l.ManualReset && (by < 0 || l.ch[by].usable && l.ch[by].clear) && !slices.ContainsFunc(l.ch, func(c modelChannel) bool { return c.against }) {
		m.reset(l, t)
	}
	m.alarm(m.auto[l.Name+".tripped"], truthOf(l.state == Tripped), false, t)
	for k, d := range l.Demands {
		l.demanded[k] = l.demanded[k] && (l.state == Tripped || t-l.untripped < int(d.RunOn/time.Second))
	}
}

// bypass lets what is asked for, and what is bypassed, come to its end.
func (m *model) bypass(l *modelLock, t int) {
	b := &l.bypass
	name := l.Name
	if b.asked || b.on {
		name += " " + l.Channels[b.ch].Name
	}
	if b.on && !b.overdue && !b.reminded && t >= b.ends-b.length/5 && t < b.ends {
		b.reminded = true
		m.say(t, "reminded %s %v", name, time.Duration(b.ends-t)*time.Second)
	}
	switch {
	case b.asked && t >= b.ends:
		m.say(t, "unbypassed %s", name)
		*b = modelBypass{late: true, ch: b.ch}
	case b.on && !b.overdue && t >= b.ends && l.Bypass.AlarmOnly:
		b.overdue = true
		m.say(t, "overdue %s", name)
	case b.on && !b.overdue && t >= b.ends:
		m.say(t, "unbypassed %s", name)
		*b = modelBypass{ch: b.ch}
	}
	if a := m.auto[l.Name+".bypass-overdue"]; a != nil {
		m.alarm(a, truthOf(b.overdue), false, t)
	}
}

func (m *model) doBypass(l *modelLock, c Command, t int) string {
	at := slices.IndexFunc(l.Channels, func(ch Channel) bool { return ch.Name == c.Channel })
	b := &l.bypass
	name := l.Name + " " + c.Channel
	begin := func() {
		b.asked, b.on, b.ends = false, true, t+b.length
		who := b.who
		if b.second != "" {
			who += "+" + b.second
		}
		m.say(t, "bypassed %s %v by %s", name, time.Duration(b.length)*time.Second, who)
	}
	switch c.Verb {
	case Bypass:
		switch {
		case l.Bypass.AtMost == 0:
			return "bypass-not-allowed"
		case l.Channels[at].Manual:
			return "bypass-manual"
		case c.For > l.Bypass.AtMost:
			return "bypass-too-long"
		case (b.asked || b.on) && b.ch != at:
			return "bypass-other-channel"
		case b.asked:
			return "already-asked"
		case b.on:
			return "already-bypassed"
		case l.seat >= 0 && l.seat != at:
			return "bypass-other-channel"
		}
		*b = modelBypass{ch: at, length: int(c.For / time.Second), who: c.Who, session: c.Session}
		if len(l.Bypass.Second) == 0 {
			begin()
			break
		}
		b.asked, b.ends = true, t+600
		m.say(t, "asked %s %v by %s", name, c.For, c.Who)
	case Confirm:
		switch {
		case b.late && b.ch == at:
			return "bypass-too-late"
		case !b.asked || b.ch != at:
			return "bypass-none-waiting"
		case b.who == c.Who:
			return "bypass-same-person"
		case b.session == c.Session:
			return "bypass-same-session"
		case l.seat >= 0 && l.seat != at:
			return "bypass-other-channel"
		}
		b.second = c.Who
		begin()
	case EndBypass:
		if !b.asked && !b.on || b.ch != at {
			return "not-bypassed"
		}
		m.say(t, "unbypassed %s by %s", name, c.Who)
		*b = modelBypass{ch: b.ch}
	}
	m.instant(t)
	return ""
}

// more is lockStateText of the model, but for the state's word.
func (l *modelLock) more(now int) string {
	s := [...]string{"starting", "armed", "tripped", "unarmed"}[l.state]
	if l.out && l.state != Starting {
		s += ",out"
	}
	b := &l.bypass
	if !b.asked && !b.on {
		return s
	}
	left := time.Duration(b.ends-now) * time.Second
	if b.overdue {
		left = 0
	}
	s += fmt.Sprintf(",%s-%v", l.Channels[b.ch].Name, left)
	return s + strings.Repeat("?", count(b.asked)) + strings.Repeat("!", count(b.overdue))
}

func (m *model) trip(l *modelLock, allBad bool, t int) {
	l.state, l.tripped = Tripped, t
	if l.record.is {
		m.say(t, "recorded %s#%d", l.Name, l.occ)
	}
	l.record = span{true, t}
	l.occ++
	l.firstOut, l.frozen = "", ""
	best := 1 << 30
	in := func(k int) bool { return !l.bypass.on || l.bypass.ch != k }
	process := false
	for k := range l.ch {
		if c := &l.ch[k]; in(k) && c.process.is {
			process = true
			if c.process.from < best {
				best, l.firstOut = c.process.from, l.Channels[k].Name
			}
		}
	}
	for k := range l.ch {
		if c := &l.ch[k]; in(k) && c.policy && c.bad.from < best && !process {
			best, l.firstOut = c.bad.from, l.Channels[k].Name
		}
	}
	type vote struct {
		from int
		s    string
	}
	var all []vote
	for k := range l.ch {
		c := &l.ch[k]
		name := l.Channels[k].Name
		switch {
		case !in(k):
		case c.process.is && inTest(m.image[l.Channels[k].Cond.Tag].Quality):
			all = append(all, vote{c.process.from, name + "!test"})
		case c.process.is:
			all = append(all, vote{c.process.from, name})
		case c.policy && (l.Bad != LeftOut || allBad) && !(allBad && l.AllBadHolds):
			all = append(all, vote{c.bad.from + int(l.BadAfter/time.Second), name + "!bad"})
		}
	}
	slices.SortStableFunc(all, func(a, b vote) int { return cmp.Compare(a.from, b.from) })
	for i, v := range all {
		if i > 0 {
			l.frozen += ","
		}
		l.frozen += v.s
	}
	m.say(t, "tripped %s#%d first=%s votes=%s", l.Name, l.occ, l.firstOut, l.frozen)
}

func (m *model) reset(l *modelLock, t int) {
	l.state, l.ready, l.resets.is, l.untripped = Armed, false, false, t
	m.say(t, "reset %s#%d", l.Name, l.occ)
	if m.truth(l.Arm, yes) == no {
		l.state = Unarmed
		m.say(t, "unarmed %s", l.Name)
	}
}

// output looks at who demands an output, and at its proof. Outputs escalate to
// later ones only.
func (m *model) output(o, t int) {
	spec, p := &m.set.Outputs[o], &m.proofs[o]
	on, since, tripped := false, 0, 0
	held := func(from, trip int) { // by whom longest, and of those by the first in the set
		if !on || from < since {
			since, tripped = from, trip
		}
		on = true
	}
	for i := range m.locks {
		l := &m.locks[i]
		for k, d := range l.Demands {
			if d.Output == spec.Name && l.demanded[k] {
				held(l.since[k], l.tripped)
			}
		}
	}
	for k := range o {
		on = on || m.proofs[k].escalated && slices.Contains(m.set.Outputs[k].Escalate, spec.Name)
	}
	if on != m.outputs[o] {
		m.outputs[o] = on
		p.sought = on && spec.Proved
		m.say(t, "output %s %v", spec.Name, on)
	}
	if !spec.Proved {
		return
	}
	proof := usable(&m.image[spec.Proof.Tag]) && m.holds(spec.Proof, 0)
	m.alarm(m.auto[spec.Name+".proof"], truthOf(on && !proof), false, t)
	if on && proof && p.sought {
		p.sought = false
		m.say(t, "proved %s %v", spec.Name, time.Duration(t-tripped)*time.Second)
	}
	p.lack.set(on && !proof, t)
	p.escalated = p.escalated && on
	if p.lack.lasted(spec.Within, t) && !p.escalated && len(spec.Escalate) > 0 {
		p.escalated = true
		m.say(t, "escalated %s", spec.Name)
	}
}

// drawBypass makes a command of bypasses.
func drawBypass(t *rapid.T, set *Set) Command {
	l := rapid.SampledFrom(set.Interlocks).Draw(t, "interlock")
	who := rapid.IntRange(0, 1).Draw(t, "who")
	return Command{
		Verb: Bypass + Verb(rapid.IntRange(0, 2).Draw(t, "bypass verb")), Rule: l.Name,
		Channel: l.Channels[rapid.IntRange(0, len(l.Channels)-1).Draw(t, "channel")].Name,
		Who:     []string{"li", "wang"}[who], Session: []string{"s1", "s2"}[min(who, rapid.IntRange(0, 5).Draw(t, "session"))],
		Proved: true, Roles: []string{"leader"}, Note: "n",
	}
}

// drawLock adds to an interlock what is asked of it beside its votes.
func drawLock(t *rapid.T, l *Interlock, cond func(int) Condition, delay *rapid.Generator[time.Duration]) {
	some := func(what string) Condition {
		if rapid.IntRange(0, 2).Draw(t, what) > 0 {
			return Condition{}
		}
		return cond(rapid.IntRange(1, modelTags).Draw(t, what))
	}
	if l.Arm, l.ResetWhen = some("arm"), some("reset when"); l.Arm.Tag != 0 {
		if l.ArmDue = some("due"); l.ArmDue.Tag != 0 {
			l.ArmWithin = s * time.Duration(rapid.IntRange(1, 4).Draw(t, "within"))
		}
	}
	drawAgree(t, l, cond, delay)
	if rapid.IntRange(0, 2).Draw(t, "permit") == 0 {
		return
	}
	l.Bypass = Permit{AtMost: 10 * s, AlarmOnly: rapid.Bool().Draw(t, "stays")}
	if rapid.Bool().Draw(t, "second") {
		l.Bypass.Second = []string{"leader"}
	}
	if rapid.IntRange(0, 4).Draw(t, "manual") == 0 && (l.Discrepancy.Priority == 0 || len(l.Channels) > 2) {
		l.Channels[0].Manual = true
	}
	for k := range l.Demands {
		l.Demands[k].RunOn = delay.Draw(t, "run-on")
	}
}
