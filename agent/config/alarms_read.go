package config

import (
	"math"
	"slices"
	"strconv"
	"time"

	"davy/drivers/tag"
	"davy/rules"
)

var alarmForm = form{
	{name: "watch", must: true, also: []string{"tag", "at"}},
	{name: "high", also: []string{"h", "hi"}},
	{name: "high-high", also: []string{"hh", "hihi", "high_high", "highhigh"}},
	{name: "low", also: []string{"l", "lo"}},
	{name: "low-low", also: []string{"ll", "lolo", "low_low", "lowlow"}},
	{name: "is"},
	{name: "profile"},
	{name: "approved", also: []string{"approval", "approved_by"}},
	{name: "deadband", also: []string{"hysteresis", "dead_band"}},
	{name: "raise_after", also: []string{"raise-after", "delay", "on_delay", "on-delay"}},
	{name: "clear_after", also: []string{"clear-after", "off_delay", "off-delay"}},
	{name: "ready_within", also: []string{"ready-within", "warm_up", "warm-up", "warmup"}},
	{name: "test_within", also: []string{"test-within", "calibration", "in_test"}},
	{name: "latch"},
	{name: "auto_ack", also: []string{"auto-ack", "autoack"}},
	{name: "realarm_after", also: []string{"realarm", "re_alarm", "realarm-after"}},
	{name: "shelve", also: []string{"shelving"}},
	{name: "suppress_when", also: []string{"suppress", "suppress-when", "inhibit"}},
	{name: "group"},
	{name: "guide", also: []string{"guidance", "action", "help"}},
	{name: "modes", also: []string{"mode"}},
	{name: "rate"},
	{name: "deviation"},
	{name: "frozen", also: []string{"stuck", "flat_line"}},
}

var limitForm = form{
	{name: "at", must: true, also: []string{"limit", "value"}},
	{name: "priority", must: true},
	{name: "text", must: true},
	{name: "guide", also: []string{"guidance", "action", "help"}},
	{name: "deadband", also: []string{"hysteresis", "dead_band"}},
	{name: "raise_after", also: []string{"raise-after", "delay", "on_delay", "on-delay"}},
	{name: "clear_after", also: []string{"clear-after", "off_delay", "off-delay"}},
	{name: "shelve", also: []string{"shelving"}},
	{name: "over_range", also: []string{"over-range", "overrange"}},
}

// limitKinds in rising order of the value; is is a state.
var limitKinds = []struct {
	name string
	op   rules.Op
}{{"low-low", rules.LE}, {"low", rules.LE}, {"high", rules.GE}, {"high-high", rules.GE}, {"is", rules.EQ}}

func (c *compiler) compileAlarms() {
	for _, p := range c.named("alarms", "alarms") {
		c.claim(p.key)
		c.alarm(p)
	}
}

// Bounds of an alarm's times.
const (
	maxDelay   = 24 * time.Hour // of any delay of a rule
	minRealarm = time.Minute
	maxRealarm = 24 * time.Hour
	maxShelve  = 24 * time.Hour // a shift and the next two; what must be away for longer is out of service
)

// An entry is one entry of the section alarms while it is compiled: at most one
// alarm for each kind of limit.
type entry struct {
	name     string
	f        fields
	t        *tagInfo
	profile  *profile
	basis    Basis
	deadband bool // the site wrote one
	alarms   []rules.Alarm
	kinds    []int  // of alarms: index into limitKinds
	banded   []bool // of alarms: with a deadband of its own
}

// alarm makes one alarm for each limit that is written, or that the profile proposes.
func (c *compiler) alarm(p pair) {
	e := &entry{name: p.key.text, f: c.read(p.val, "alarm", alarmForm)}
	f := e.f
	e.t = c.tagNamed(f.get("watch"))
	e.profile = c.profileNamed(f.get("profile"))
	e.profile = c.limitsOf(e)
	approved := c.approval(f.get("approved"))
	shared := c.sharedAlarm(e)
	last, lastName, limits := math.Inf(-1), "", 0
	for i, k := range limitKinds {
		n := f.get(k.name)
		name := p.key.text + "." + k.name
		if n == nil && f.get("profile") != nil && e.profile == nil {
			c.vague[name] = true // what an unknown profile proposes is not known
		}
		if n == nil && e.profile.level(k.name) == nil {
			continue
		}
		limits++
		if c.taken[name] == nil {
			c.taken[name] = p.key
		}
		a := shared
		a.Name = name
		v, at, banded, ok := c.alarmLimit(e, n, i, &a)
		if !ok || e.t == nil {
			c.vague[name] = true
			continue
		}
		if k.op == rules.EQ {
			a.Deadband = 0
		} else {
			if v <= last {
				c.bad(at, "limit-order", "", "first", lastName, "second", k.name)
			}
			last, lastName = v, k.name
		}
		e.t.used = true
		a.Cond = rules.Condition{Tag: e.t.id, Op: k.op, Limit: v}
		e.t.detector = e.t.detector || a.LatchOver
		if k.op == rules.EQ {
			a.Sort = rules.OfState
		}
		e.alarms, e.kinds, e.banded = append(e.alarms, a), append(e.kinds, i), append(e.banded, banded)
	}
	c.detectorStates(e)
	c.finishAlarm(e, approved, p.key)
	limits += c.timeAlarms(e, shared)
	none := f.get("profile") == nil || e.profile != nil
	if limits == 0 && p.val.kind == section && none && !p.val.lost && !c.lostNear(p.val, ":") {
		if e.profile != nil && e.profile.ofExposure() {
			c.badOnce(p.key, "alarm-no-limit", "profile-of-exposure", "name", p.key.text)
		} else if e.profile != nil {
			c.badOnce(p.key, "alarm-no-limit", "profile-no-limits", "name", p.key.text)
		} else {
			c.badOnce(p.key, "alarm-no-limit", "alarm-no-limit", "name", p.key.text)
		}
	}
}

// sharedAlarm reads what the limits of one entry share.
func (c *compiler) sharedAlarm(e *entry) rules.Alarm {
	f, p := e.f, e.profile
	var a rules.Alarm
	if p != nil {
		a.Latch = p.latch
		if d := p.raiseAfter; d != nil {
			a.OnDelay = d.span()
			e.basis.OnDelay = DelayBasis{d.span(), d.origin()}
		}
		if d := p.clearAfter; d != nil {
			a.OffDelay = d.span()
			e.basis.OffDelay = DelayBasis{d.span(), d.origin()}
		}
	}
	if n := f.get("raise_after"); n != nil {
		a.OnDelay, _ = c.span(n, 0, maxDelay)
		e.basis.OnDelay = DelayBasis{Value: a.OnDelay}
	}
	if n := f.get("clear_after"); n != nil {
		a.OffDelay, _ = c.span(n, 0, maxDelay)
		e.basis.OffDelay = DelayBasis{Value: a.OffDelay}
	}
	a.Latch = c.yes(f.get("latch"), a.Latch)
	if n := f.get("auto_ack"); n != nil {
		if a.AutoAck = c.yes(n, false); a.AutoAck && a.Latch {
			c.bad(n, "latch-auto-ack", "latch-auto-ack")
		}
	}
	if n := f.get("realarm_after"); n != nil {
		a.Realarm, _ = c.span(n, minRealarm, maxRealarm)
	}
	if n := f.get("group"); n != nil {
		if s, ok := c.plain(n); ok && c.name(n) {
			a.Group = s
		}
	}
	if n := f.get("guide"); n != nil {
		a.Guide, _ = c.prose(n)
	}
	a.NoShelve, a.ShelveAtMost = c.shelving(f.get("shelve"))
	a.Suppress = c.suppression(f.get("suppress_when"), e.name+".suppress")
	if n := f.get("deadband"); n != nil {
		a.Deadband, e.deadband = c.deadband(e.t, n), true
		e.basis.Deadband = DeadbandBasis{Value: a.Deadband}
	}
	return a
}

// shelving reads `shelve: no`, `shelve: yes` or `shelve: at most 4h`.
func (c *compiler) shelving(n *node) (never bool, most time.Duration) {
	if _, ok := c.plain(n); !ok {
		return false, 0
	}
	toks := c.lex(n)
	if !starts(toks, "at", "most") {
		s, _ := c.word(n, "yes", "no", "at most 4h")
		return s == "no", 0
	}
	most, rest, ok := c.duration(toks[2:], n)
	if !ok || !c.nothing(rest) || !c.bounds(n, most, time.Minute, maxShelve) {
		return false, 0
	}
	return false, most
}

// suppression reads `suppress_when: comp1.run = stop`.
func (c *compiler) suppression(n *node, name string) rules.Condition {
	if _, ok := c.plain(n); !ok {
		return rules.Condition{}
	}
	cond, _, ok := c.conditionOf(n, name, "comp1.fan-run = stop")
	if !ok {
		return rules.Condition{}
	}
	return cond
}

// alarmLimit reads one limit, from what is written, or else from the profile.
// at is where it comes from; banded says that it has a deadband of its own.
func (c *compiler) alarmLimit(e *entry, n *node, i int, a *rules.Alarm) (v float64, at *node, banded, ok bool) {
	kind, l := limitKinds[i].name, e.profile.level(limitKinds[i].name)
	var b LimitBasis
	if l != nil {
		a.Priority = l.priority
		if l.noShelve {
			a.NoShelve, a.ShelveAtMost = true, 0
		}
		a.LatchOver = l.overRange && limitKinds[i].op == rules.GE
		if e.t != nil {
			a.Text = levelText(c.plan.Tags[e.t.id], e.profile, l)
		}
	}
	at = e.f.get("profile")
	want := limitForm
	if l != nil || at != nil && e.profile == nil { // of one that is not known it may be enough
		want = slices.Clone(limitForm)
		for i := range want {
			want[i].must = false
		}
	}
	f := fields{form: limitForm}
	if n != nil {
		f = c.read(n, "limit", want)
		if ok := c.writtenLimit(e, f, l, a, &banded); !ok {
			return 0, n, banded, false
		}
		c.overRange(e, f.get("over_range"), i, a)
	}
	if a.LatchOver && a.AutoAck {
		c.bad(e.f.get("auto_ack"), "latch-auto-ack", "latch-auto-ack")
		a.AutoAck = false
	}
	own := f.get("at")
	switch {
	case own == nil && l == nil:
		return 0, n, banded, false // that it is missing was said
	case e.t == nil || e.t.vague:
		_, _ = c.plain(own)
		return 0, at, banded, false
	}
	if l != nil {
		b, ok = c.proposed(e.t, e.profile, kind, limitKinds[i].op, at, own == nil)
		if !ok {
			return 0, at, banded, false
		}
		v = b.Limit
	}
	if own == nil {
		e.basis.Limits = append(e.basis.Limits, b)
		return v, at, banded, true
	}
	if v, ok = c.writtenAt(e.t, n, own, kind); !ok {
		return 0, own, banded, false
	}
	if l != nil {
		b.Own, b.Limit, b.Written = true, v, own.text
		if up := limitKinds[i].op == rules.GE; up && v > b.Profile || !up && v < b.Profile {
			c.warn(own, "looser-than-profile", "looser-than-profile", "text", own.text, "profile", e.profile.full(), "limit", decimal(b.Profile), "unit", c.plan.Tags[e.t.id].Unit)
		}
		e.basis.Limits = append(e.basis.Limits, b)
	}
	return v, own, banded, true
}

// writtenLimit reads what stands at one limit, but for the limit itself.
func (c *compiler) writtenLimit(e *entry, f fields, l *level, a *rules.Alarm, banded *bool) bool {
	ok1, ok2 := l != nil, l != nil
	if x := f.get("priority"); x != nil {
		a.Priority, ok1 = c.priority(x)
	}
	if x := f.get("text"); x != nil {
		a.Text, ok2 = c.prose(x)
	}
	if x := f.get("guide"); x != nil {
		a.Guide, _ = c.prose(x)
	}
	if x := f.get("deadband"); x != nil {
		a.Deadband, *banded = c.deadband(e.t, x), true
	}
	if x := f.get("raise_after"); x != nil {
		a.OnDelay, _ = c.span(x, 0, maxDelay)
	}
	if x := f.get("clear_after"); x != nil {
		a.OffDelay, _ = c.span(x, 0, maxDelay)
	}
	if x := f.get("shelve"); x != nil {
		never, most := c.shelving(x)
		if l != nil && l.noShelve && !never {
			c.bad(x, "shelve-forbidden", "shelve-forbidden", "profile", e.profile.full())
		} else {
			a.NoShelve, a.ShelveAtMost = never, most
		}
	}
	return ok1 && ok2
}

// writtenAt reads the limit itself; n is the whole of what is written of it.
func (c *compiler) writtenAt(t *tagInfo, n, at *node, kind string) (float64, bool) {
	if _, ok := c.plain(at); !ok {
		return 0, false
	}
	v, rest, ok := c.limit(t, c.lex(at), at, nil)
	if ok {
		ok = c.nothing(rest)
	}
	switch {
	case !ok || t.unknownKind || kind == "is":
	case t.kind == tag.Bool:
		c.bad(n, "limit-of-bool", "limit-of-bool", "text", at.text, "tag", string(t.name))
		ok = false
	case t.stated():
		c.bad(n, "limit-of-states", "limit-of-bool", "text", at.text, "tag", string(t.name))
		ok = false
	}
	return v, ok
}

// deadband reads `deadband: 2 °C`, a difference, smaller than the range of its tag.
func (c *compiler) deadband(t *tagInfo, n *node) float64 {
	if _, ok := c.plain(n); !ok {
		return 0
	}
	v, rest, ok := c.number(c.lex(n), n)
	if !ok {
		return 0
	}
	u, at, rest := unit(rest)
	if !c.nothing(rest) || t == nil || t.vague {
		return 0
	}
	x := c.plan.Tags[t.id]
	v, ok = c.convert(t, v, u, at, true)
	switch {
	case !ok:
	case v < 0:
		c.bad(n, "out-of-bounds", "", "text", n.text, "low", 0, "high", high(x))
	case x.Ranged && v >= x.High-x.Low:
		c.bad(n, "deadband-too-big", "", "text", n.text, "span", strconv.FormatFloat(x.High-x.Low, 'g', -1, 64), "unit", x.Unit)
	default:
		return v
	}
	return 0
}

func high(t Tag) any {
	if t.Ranged {
		return t.High - t.Low
	}
	return "…"
}
