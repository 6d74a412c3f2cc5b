package year

import (
	"davy/drivers/tag"
	"davy/rules"
)

// truth of a condition that need not be known.
type truth int8

const (
	unknown truth = iota
	no
	yes
)

// is returns whether a condition holds; other where none was written.
func (b *book) is(c *rules.Condition, other truth) truth {
	if c.Tag == 0 {
		return other
	}
	return b.meets(c, b.look(c.Tag))
}

// meets says whether a reading meets a condition. One of a detector that says
// that it lies above the range is beyond every limit, whatever the number.
func (b *book) meets(c *rules.Condition, r look) truth {
	above := b.set.Tags[c.Tag].OverRange && r.q&tag.Constant == tag.LimitHigh && r.q&tag.Forced == 0 && (r.q.Usable() || r.q.Reason() == tag.OutOfRange)
	switch {
	case above && (c.Op == rules.GE || c.Op == rules.GT):
		return yes
	case !r.usable():
		return unknown
	case above && (c.Op == rules.LE || c.Op == rules.LT):
		return no
	case Holds(c, r.v.Float()):
		return yes
	}
	return no
}

// unless returns the condition that holds where c does not.
func unless(c rules.Condition) rules.Condition {
	c.Op = [...]rules.Op{rules.GE: rules.LT, rules.GT: rules.LE, rules.LE: rules.GT, rules.LT: rules.GE, rules.EQ: rules.NE, rules.NE: rules.EQ}[c.Op]
	return c
}

// judge brings every interlock, and then every output, to t.
func (b *book) judge(t int64) {
	for i := range b.locks {
		b.judgeLock(i, t)
	}
	for o := range b.driven {
		on := false
		for i := range b.locks {
			for k, d := range b.set.Interlocks[i].Demands {
				on = on || d.Output == b.set.Outputs[o].Name && b.locks[i].made[k]
			}
		}
		if on == b.driven[o] {
			continue
		}
		b.driven[o] = on
		if b.fuzzy[o] {
			continue
		}
		k := rules.OutputReleased
		if on {
			k = rules.OutputDemanded
		}
		b.expect(k, b.set.Outputs[o].Name, t)
	}
}

func (b *book) judgeLock(i int, t int64) {
	l, d := &b.locks[i], &b.set.Interlocks[i]
	b.judgeBypass(i, t)
	by := -1
	if p := &b.bypass[i]; p.counts() {
		by = p.channel
	}
	for k := range l.channels {
		b.judgeChannel(d, l, k, t)
	}
	if l.settling && (t >= b.start+int64(b.settle()) || b.allRead(d, l)) {
		l.settling = false
	}
	l.takeSeat(by)

	usable, bad, effective, process := 0, 0, 0, 0
	l.tested = l.tested && l.tripped
	for k := range l.channels {
		c := &l.channels[k]
		gone := !c.usable && k != l.seat
		if gone && !c.bad {
			c.badSince = t
		}
		c.bad = gone
		c.effective = gone && t-c.badSince >= int64(d.BadAfter)
		is := c.over && (c.usable || gone && d.Bad == rules.LastGood && !c.effective)
		if is && !c.process {
			c.since = t
		}
		c.process = is
		if k == by {
			continue
		}
		usable, bad, effective, process = usable+count(c.usable), bad+count(gone), effective+count(c.effective), process+count(is)
	}

	m, rest, votes := d.M, len(l.channels)-count(l.seat >= 0), process
	if by >= 0 {
		m, rest = max(m-1, 1), rest-1
	}
	blind := usable == 0 && bad > 0
	switch {
	case d.Bad == rules.LeftOut:
		rest -= effective
	case blind && d.AllBadHolds:
	default:
		votes += effective
	}
	need := min(m, rest)
	l.standing = need > 0 && votes >= need || blind && effective == bad && !d.AllBadHolds
	b.endRunOn(l, t)
	if l.settling {
		l.make(d, t)
		return
	}
	unarmed := b.is(&d.Arm, yes) == no
	switch {
	case l.tripped:
		b.release(i, by, usable, t)
	case unarmed || !l.standing:
		l.pending, l.credit = false, -1
	default:
		if !l.pending {
			l.pending, l.since = true, t
			if l.credit >= 0 {
				l.since = b.start - l.credit
			}
		}
		if t-l.since >= int64(d.OnDelay) {
			b.trip(i, t)
			b.release(i, by, usable, t)
		}
	}
	l.make(d, t)
}

// make makes the demands of a trip whose delay is over.
func (l *lock) make(d *rules.Interlock, t int64) {
	for k := range l.made {
		l.made[k] = l.made[k] || l.tripped && t >= l.at+int64(d.Demands[k].Delay)
	}
}

func (b *book) endRunOn(l *lock, t int64) {
	for k := range l.made {
		if l.ends[k] != 0 && l.ends[k] <= t && !l.tripped {
			l.made[k], l.ends[k] = false, 0
		}
	}
}

func (b *book) judgeChannel(d *rules.Interlock, l *lock, k int, t int64) {
	c, r := &l.channels[k], b.look(d.Channels[k].Cond.Tag)
	c.read = c.read || !r.unread()
	testing := r.tested() && !d.InTestCounts
	if testing && !c.testing {
		c.testSince = t
	}
	c.testing = testing
	over, back := d.Channels[k].Cond, unless(d.Channels[k].Cond)
	if k < len(d.ResetConds) && d.ResetConds[k].Tag != 0 {
		back = d.ResetConds[k]
	}
	c.usable = !testing && b.meets(&over, r) != unknown
	if d.InTestCounts && r.q.Reason() == tag.FunctionCheck {
		c.usable = r.q&tag.Forced == 0 && r.v.Kind() != tag.None
		r.q = tag.GoodQuality // by its value
	}
	if !c.usable {
		return
	}
	c.over, c.clear = b.meets(&over, r) == yes, b.meets(&back, r) == yes
	c.against = !c.clear
}

func (b *book) allRead(d *rules.Interlock, l *lock) bool {
	for k := range l.channels {
		if !l.channels[k].read {
			return false
		}
	}
	return d.Arm.Tag == 0 || !b.look(d.Arm.Tag).unread()
}

// takeSeat: of the channels in test one is left out, the one that is in test
// longest; none while one is bypassed.
func (l *lock) takeSeat(by int) {
	if by >= 0 {
		l.seat = -1
		return
	}
	if l.seat >= 0 && l.channels[l.seat].testing {
		return
	}
	l.seat = -1
	for k := range l.channels {
		if l.channels[k].testing && (l.seat < 0 || l.channels[k].testSince < l.channels[l.seat].testSince) {
			l.seat = k
		}
	}
}

func (b *book) trip(i int, t int64) {
	l, d := &b.locks[i], &b.set.Interlocks[i]
	l.tripped, l.at, l.pending, l.credit, l.holding, l.ready = true, t, false, -1, false, false
	l.tested = false
	for k := range l.channels { // of a vote that is one of a test
		c := &l.channels[k]
		if c.process || c.effective {
			q := b.look(d.Channels[k].Cond.Tag)
			l.tested = l.tested || q.tested() || q.q&tag.Forced != 0
		}
	}
	for k := range l.ends {
		l.ends[k] = 0
	}
	by := -1
	if p := &b.bypass[i]; p.counts() {
		by = p.channel
	}
	l.firsts = l.firstOut(d, by)
	b.expect(rules.InterlockTripped, d.Name, t)
}

// firstOut names the channels of which any may be called the first: those whose
// condition became true first, else those that became bad first.
func (l *lock) firstOut(d *rules.Interlock, by int) (names []string) {
	for _, process := range []bool{true, false} {
		first := int64(0)
		for k := range l.channels {
			c := &l.channels[k]
			since := c.since
			if !process {
				since = c.badSince
			}
			if k == by || process && !c.process || !process && !c.effective {
				continue
			}
			if len(names) == 0 || since < first {
				names, first = nil, since
			}
			if since == first {
				names = append(names, d.Channels[k].Name)
			}
		}
		if len(names) > 0 {
			break
		}
	}
	return names
}

// release sees whether a trip may be reset, and resets it where no person must.
func (b *book) release(i, by, usable int, t int64) {
	l, d := &b.locks[i], &b.set.Interlocks[i]
	hold := !l.standing && (usable > 0 || by >= 0 && len(l.channels) == 1) && b.is(&d.ResetWhen, yes) == yes
	for k := range d.Permissives {
		hold = hold && b.is(&d.Permissives[k].Cond, no) == yes
	}
	held := by >= 0 && !(l.channels[by].usable && l.channels[by].clear)
	for k := range l.channels {
		c := &l.channels[k]
		hold = hold && (c.usable && c.clear || c.bad && d.Bad == rules.LeftOut || k == l.seat || k == by)
		held = held || c.against
	}
	if !hold {
		l.holding, l.ready = false, false
		return
	}
	if !l.holding {
		l.holding, l.holdSince = true, t
	}
	if l.ready = t-l.holdSince >= int64(d.ResetFor); l.ready && !d.ManualReset && !held {
		b.expect(rules.InterlockReset, d.Name, t)
		b.reset(i, t)
	}
}

// reset ends a trip.
func (b *book) reset(i int, t int64) {
	l, d := &b.locks[i], &b.set.Interlocks[i]
	if l.tested {
		b.tested = t
	}
	l.tripped, l.holding, l.ready, l.tested = false, false, false, false
	for k := range l.made {
		switch {
		case !l.made[k]:
		case d.Demands[k].RunOn > 0:
			l.ends[k] = t + int64(d.Demands[k].RunOn)
		default:
			l.made[k] = false
		}
	}
}

// judgeBypass lets a bypass remind, and end or stay as its rule says.
func (b *book) judgeBypass(i int, t int64) {
	p, d := &b.bypass[i], &b.set.Interlocks[i]
	switch {
	case p.waiting && t >= p.ends:
		*p = bypassed{}
		b.expect(rules.BypassEnded, d.Name, t)
	case p.on && t >= p.ends && d.Bypass.AlarmOnly:
		p.on, p.overdue = false, true
		b.expect(rules.BypassOverdue, d.Name, t)
	case p.on && t >= p.ends:
		*p = bypassed{}
		b.expect(rules.BypassEnded, d.Name, t)
	case p.on && !p.reminded && t >= p.ends-p.length/5:
		p.reminded = true
		b.expect(rules.BypassReminded, d.Name, t)
	}
}
