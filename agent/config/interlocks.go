package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"davy/rules"
)

var interlockForm = form{
	{name: "text", must: true},
	{name: "priority"},
	{name: "trip_when", must: true, hint: "missing-trip-when", also: []string{"trip-when", "vote", "votes", "voting"}},
	{name: "channels", must: true, also: []string{"causes", "inputs", "channel"}},
	{name: "channel_bad", also: []string{"channel-bad", "bad"}},
	{name: "channel_in_test", also: []string{"channel-in-test", "in_test"}},
	{name: "all_channels_bad", also: []string{"all-channels-bad", "all_bad"}},
	{name: "degraded"},
	{name: "raise_after", also: []string{"raise-after", "delay", "on_delay"}},
	{name: "then", must: true, also: []string{"effects", "effect", "actions", "action", "demand"}},
	{name: "reset", must: true, hint: "missing-reset"},
	{name: "reset_when", also: []string{"reset-when"}},
	{name: "arm_when", also: []string{"arm-when", "armed_when", "active_when"}},
	{name: "arm_due", also: []string{"arm-due"}},
	{name: "permissives", also: []string{"permissive", "start_when"}},
	{name: "discrepancy", also: []string{"disagree"}},
	{name: "test", also: []string{"proof_test", "drill"}},
	{name: "test_every", also: []string{"test-every", "proof_test_every"}},
	{name: "bypass", also: []string{"permit", "override"}},
	{name: "approved", later: "approved"},
}

func (c *compiler) compileInterlocks() {
	for _, p := range c.named("interlocks", "interlocks") {
		c.claim(p.key)
		c.interlock(p)
	}
}

// maxChannels is the most channels of one interlock.
const maxChannels = 64

func (c *compiler) interlock(p pair) {
	f := c.read(p.val, "interlock", interlockForm)
	x := rules.Interlock{Name: p.key.text, Priority: rules.High, DegradedPriority: rules.Medium}
	x.Text, _ = c.prose(f.get("text"))
	if n := f.get("priority"); n != nil {
		x.Priority, _ = c.priority(n)
	}
	chans, whole := c.channels(f.get("channels"), &x)
	c.vote(f.get("trip_when"), whole, &x)
	if n := f.get("raise_after"); n != nil {
		x.OnDelay, _ = c.span(n, 0, maxDelay)
	}
	c.channelBad(p, f, whole, &x)
	c.blindChannels(chans, &x)
	if n := f.get("channel_in_test"); n != nil {
		s, _ := c.word(n, "left out, one at a time", "counts")
		x.InTestCounts = s == "counts"
	}
	if n := f.get("all_channels_bad"); n != nil {
		s, _ := c.word(n, "trip", "hold")
		x.AllBadHolds = s == "hold"
	}
	c.degraded(f.get("degraded"), &x)
	c.arming(f, &x)
	c.permissives(f.get("permissives"), &x)
	c.discrepancy(f.get("discrepancy"), chans, whole, &x)
	c.bypass(f.get("bypass"), &x)
	if n := f.get("test"); n != nil {
		x.Test = c.ownPermit(n, "engineer, longest 1h", maxPermit)
	}
	if n := f.get("test_every"); n != nil {
		x.TestEvery, _ = c.span(n, minTestEvery, maxTestEvery)
	}
	if n := f.get("reset_when"); n != nil {
		x.ResetWhen, _, _ = c.conditionOf(n, x.Name+".reset", "room.people = 0")
	}
	c.demands(f.get("then"), &x)
	c.reset(f.get("reset"), chans, whole, &x)
	c.shared(f.get("trip_when"), chans, whole, &x)
	c.plan.Rules.Interlocks = append(c.plan.Rules.Interlocks, x)
}

// blindChannels warns of channels that look back so far that they count as bad
// after each start, and trip.
func (c *compiler) blindChannels(chans []channel, x *rules.Interlock) {
	for _, ch := range chans {
		if ch.tag != nil && x.Bad != rules.LeftOut && ch.tag.blind > rules.DefaultSettle+x.BadAfter {
			c.warn(ch.n, "channel-blind", "channel-blind", "time", spell(ch.tag.blind))
		}
	}
}

// A channel is one cause of an interlock while it is compiled; tag is nil where it could not be read.
type channel struct {
	n   *node
	tag *tagInfo
}

// channelForm is of a channel that says more than its condition: `{when:
// estop.pressed = yes, manual: yes}`.
var channelForm = form{{name: "when", must: true}, {name: "manual"}}

// channels reads the conditions. whole is how many are written: the vote is
// held against it even where one of them could not be read. -1: not known.
func (c *compiler) channels(n *node, x *rules.Interlock) (chans []channel, whole int) {
	if !c.isList(n, "- nh3-1.gas >= 150 ppm") {
		return nil, -1
	}
	if len(n.items) == 0 || len(n.items) > maxChannels {
		c.bad(n, "channels-count", "", "limit", maxChannels)
		return nil, -1
	}
	first := map[string]*node{}
	for _, item := range n.items {
		ch := channel{n: item}
		manual := false
		if item.kind == section {
			f := c.read(item, "channel", channelForm)
			manual = c.yes(f.get("manual"), false)
			if item = f.get("when"); item == nil {
				item = &node{lost: true}
			}
		}
		if _, ok := c.plain(item); ok {
			cond, t, ok := c.conditionOf(item, fmt.Sprintf("%s.channel-%d", x.Name, len(chans)+1), "nh3-1.gas >= 150 ppm")
			if ok {
				ch.tag = t
				x.Channels = append(x.Channels, rules.Channel{Name: string(t.name), Cond: cond, Manual: manual})
			}
			if t != nil {
				if before := first[string(t.name)]; before != nil {
					c.bad(c.lex(item)[0], "channel-twice", "channel-twice", "tag", string(t.name), "line", before.place.Line)
				} else {
					first[string(t.name)] = item
				}
			}
		}
		chans = append(chans, ch)
	}
	return chans, len(n.items)
}

// vote reads `2 of 3`, `any` or `all`.
func (c *compiler) vote(n *node, whole int, x *rules.Interlock) {
	s, ok := c.plain(n)
	if !ok {
		return
	}
	switch s {
	case "any":
		x.M = 1
		return
	case "all":
		x.M = whole
		return
	}
	left, right, cut := strings.Cut(s, " of ")
	m, err1 := strconv.Atoi(strings.TrimSpace(left))
	of, err2 := strconv.Atoi(strings.TrimSpace(right))
	switch {
	case !cut || err1 != nil || err2 != nil:
		c.bad(n, "bad-form", "write-form", "text", s, "form", "2 of 3 | any | all")
	case m < 1 || m > of:
		c.bad(n, "vote-impossible", "vote-impossible", "m", m, "n", of)
	case whole >= 0 && of != whole:
		c.bad(n, "vote-count", "vote-count", "n", of, "channels", whole)
	default:
		x.M = m
	}
}

// channelBad reads `counts as trip after 10s | left out | last good for 30s,
// then counts as trip`. A single channel must say it.
func (c *compiler) channelBad(p pair, f fields, whole int, x *rules.Interlock) {
	n := f.get("channel_bad")
	if n == nil {
		if whole == 1 && !c.lostNear(p.val, "channel_bad") {
			c.badOnce(p.key, "one-channel-policy", "one-channel-policy", "name", p.key.text)
		}
		return
	}
	s, ok := c.plain(n)
	if !ok {
		return
	}
	const form = "counts as trip after 10s | left out | last good for 30s, then counts as trip"
	toks := c.lex(n)
	switch {
	case starts(toks, "counts", "as", "trip"):
		x.Bad = rules.CountsAsTrip
		toks = toks[3:]
	case starts(toks, "left", "out"):
		x.Bad = rules.LeftOut
		toks = toks[2:]
	case starts(toks, "last", "good", "for"):
		x.Bad = rules.LastGood
		d, rest, ok := c.duration(toks[3:], n)
		if !ok || !c.bounds(n, d, 0, maxDelay) {
			return
		}
		x.BadAfter = d
		if starts(rest, ",") {
			rest = rest[1:]
		}
		if rest, ok = c.expect(rest, n, form, "then", "counts", "as", "trip"); ok {
			c.nothing(rest)
		}
		return
	default:
		c.bad(n, "bad-form", "write-form", "text", s, "form", form)
		return
	}
	if starts(toks, "after") {
		d, rest, ok := c.duration(toks[1:], n)
		if !ok || !c.bounds(n, d, 0, maxDelay) {
			return
		}
		x.BadAfter, toks = d, rest
	}
	c.nothing(toks)
}

// degraded reads `alarm medium, at most 72h` or `no alarm`.
func (c *compiler) degraded(n *node, x *rules.Interlock) {
	s, ok := c.plain(n)
	if !ok {
		return
	}
	const form = "alarm medium, at most 72h | no alarm"
	toks := c.lex(n)
	switch {
	case starts(toks, "no", "alarm"):
		x.DegradedPriority = 0
		c.nothing(toks[2:])
		return
	case !starts(toks, "alarm") || len(toks) < 2:
		c.bad(n, "bad-form", "write-form", "text", s, "form", form)
		return
	}
	if p, ok := c.priority(toks[1]); ok {
		x.DegradedPriority = p
	}
	if toks = toks[2:]; len(toks) == 0 {
		return
	}
	if starts(toks, ",") {
		toks = toks[1:]
	}
	if toks, ok = c.expect(toks, n, form, "at", "most"); !ok {
		return
	}
	d, rest, ok := c.duration(toks, n)
	if ok && c.nothing(rest) && c.bounds(n, d, time.Minute, maxSpan) {
		x.DegradedAtMost = d
	}
}

var demandForm = form{{name: "demand", must: true, also: []string{"output", "drive", "run", "start"}}, {name: "after", also: []string{"delay"}}, {name: "run_on", also: []string{"run-on", "hold"}}}

// demands reads what a trip demands of outputs.
func (c *compiler) demands(n *node, x *rules.Interlock) {
	if !c.isList(n, "- demand: fan1") {
		return
	}
	if len(n.items) == 0 {
		c.bad(n, "no-demand", "")
	}
	for _, item := range n.items {
		f := c.read(item, "demand", demandForm)
		at := f.get("demand")
		if _, ok := c.plain(at); !ok {
			continue
		}
		toks := c.lex(at)
		if len(toks) == 0 {
			c.bad(at, "bad-form", "write-form", "text", at.text, "form", "fan1 after 5s")
			continue
		}
		d := rules.Demand{Output: toks[0].text}
		if starts(toks[1:], "after") {
			v, rest, ok := c.duration(toks[2:], at)
			if !ok || !c.nothing(rest) || !c.bounds(at, v, 0, maxDelay) {
				continue
			}
			d.Delay = v
		} else if !c.nothing(toks[1:]) {
			continue
		}
		if n := f.get("after"); n != nil {
			d.Delay, _ = c.span(n, 0, maxDelay)
		}
		if n := f.get("run_on"); n != nil {
			d.RunOn, _ = c.span(n, 0, maxDelay)
		}
		if slices.ContainsFunc(x.Demands, func(y rules.Demand) bool { return y.Output == d.Output }) {
			c.bad(toks[0], "demand-twice", "demand-twice", "output", d.Output)
			continue
		}
		if c.demandable(toks[0], d.Output) {
			x.Demands = append(x.Demands, d)
		}
	}
}

// demandable reports whether an interlock may demand an output: it must be
// known what becomes of it when Davy is dead and when its link is lost.
func (c *compiler) demandable(n *node, name string) bool {
	o := c.outputOf[name]
	if o == nil {
		c.unknown(n, "unknown-output", name, namesOf(c.outputs, func(o *output) string { return o.plan.Name }))
		return false
	}
	if o.vague || c.lostNear(o.val, "davy_dead") || c.lostNear(o.val, "link_lost") {
		return true
	}
	for _, x := range []struct {
		state State
		field string
		at    *node
	}{{o.plan.DavyDead, "davy_dead", o.deadAt}, {o.plan.LinkLost, "link_lost", o.lostAt}} {
		if x.state == Unknown && (x.at == nil || !x.at.lost) {
			c.badOnce(n, "output-unknown-state", "output-unknown-state", "output", name, "field", x.field)
		}
	}
	return true
}

// reset reads `by operator[, when all channels < 25 ppm for 10min]` or
// `automatic, when all channels …`.
func (c *compiler) reset(n *node, chans []channel, whole int, x *rules.Interlock) {
	for _, ch := range x.Channels {
		x.ResetConds = append(x.ResetConds, rules.Condition{Tag: ch.Cond.Tag, Op: negated(ch.Cond.Op), Limit: ch.Cond.Limit})
	}
	s, ok := c.plain(n)
	if !ok {
		return
	}
	const form = "by operator, when all channels < 25 ppm for 10min"
	toks := c.lex(n)
	switch {
	case starts(toks, "by", "operator"):
		x.ManualReset = true
		toks = toks[2:]
	case starts(toks, "automatic"):
		if toks = toks[1:]; len(toks) == 0 {
			c.bad(n, "reset-automatic", "write-form", "text", s, "form", "automatic, when all channels < 25 ppm for 10min")
			return
		}
	default:
		c.bad(n, "bad-form", "write-form", "text", s, "form", form)
		return
	}
	if len(toks) == 0 {
		return
	}
	if starts(toks, ",") {
		toks = toks[1:]
	}
	if toks, ok = c.expect(toks, n, form, "when", "all", "channels"); !ok {
		return
	}
	if len(toks) < 2 {
		c.bad(n, "bad-form", "write-form", "text", s, "form", form)
		return
	}
	op, signed := opOf(toks[0].text)
	if !signed {
		c.bad(toks[0], "bad-form", "write-form", "text", toks[0].text, "form", form)
		return
	}
	value := toks[1:]
	var rest []*node
	seen := false
	for _, ch := range chans { // the limit is judged for every channel
		if ch.tag == nil {
			continue
		}
		v, r, ok := c.limit(ch.tag, value, n, nil)
		if !ok || !c.ordered(ch.tag, op, toks[0]) {
			return
		}
		if i := slices.IndexFunc(x.Channels, func(y rules.Channel) bool { return y.Name == string(ch.tag.name) }); i >= 0 {
			x.ResetConds[i] = rules.Condition{Tag: ch.tag.id, Op: op, Limit: v}
			if meets(x.Channels[i].Cond, x.ResetConds[i]) {
				c.bad(value[0], "reset-while-tripping", "", "channel", x.Channels[i].Name)
				return
			}
		}
		rest, seen = r, true
	}
	if !seen { // no channel could be read: only the form
		_, r, ok := c.number(value, n)
		if !ok {
			return
		}
		_, _, rest = unit(r)
	}
	if len(rest) == 0 {
		return
	}
	if rest, ok = c.expect(rest, n, form, "for"); !ok {
		return
	}
	d, rest, ok := c.duration(rest, n)
	if ok && c.nothing(rest) && c.bounds(n, d, 0, maxDelay) {
		x.ResetFor = d
	}
}

func negated(op rules.Op) rules.Op {
	return map[rules.Op]rules.Op{rules.GE: rules.LT, rules.GT: rules.LE, rules.LE: rules.GT, rules.LT: rules.GE, rules.EQ: rules.NE, rules.NE: rules.EQ}[op]
}

// meets reports whether some value satisfies both the trip and the reset
// condition: then a reset would be taken while the cause stands. Only
// conditions that open to one side are judged.
func meets(trip, reset rules.Condition) bool {
	up := func(op rules.Op) bool { return op == rules.GE || op == rules.GT }
	down := func(op rules.Op) bool { return op == rules.LE || op == rules.LT }
	closed := trip.Op == rules.GE || trip.Op == rules.LE
	closed = closed && (reset.Op == rules.GE || reset.Op == rules.LE)
	switch {
	case up(trip.Op) && down(reset.Op):
		return reset.Limit > trip.Limit || closed && reset.Limit == trip.Limit
	case down(trip.Op) && up(reset.Op):
		return reset.Limit < trip.Limit || closed && reset.Limit == trip.Limit
	case up(trip.Op) && up(reset.Op), down(trip.Op) && down(reset.Op):
		return true
	case trip.Op == rules.EQ && reset.Op == rules.EQ, trip.Op == rules.NE && reset.Op == rules.NE:
		return trip.Limit == reset.Limit
	}
	return false
}

// shared warns where the loss of one thing takes M channels: the vote is no
// better than that thing.
func (c *compiler) shared(n *node, chans []channel, whole int, x *rules.Interlock) {
	if n == nil || n.lost || x.M < 1 || whole < 2 {
		return
	}
	devices, links := map[*device]int{}, map[*link]int{}
	for _, ch := range chans {
		if ch.tag != nil && ch.tag.device != nil {
			devices[ch.tag.device]++
			if l := ch.tag.device.link; l != nil {
				links[l]++
			}
		}
	}
	need := max(x.M, 2)
	for _, d := range c.devices {
		if devices[d] >= need {
			c.warn(n, "vote-one-device", "vote-shared", "count", devices[d], "device", d.name, "m", x.M)
			return // its link follows from it
		}
	}
	for _, l := range c.links {
		if links[l] >= need {
			c.warn(n, "vote-one-link", "vote-shared", "count", links[l], "link", l.plan.Name, "m", x.M)
		}
	}
}
