package config

import (
	"fmt"
	"strings"
	"time"

	"davy/drivers/tag"
	"davy/rules"
)

// permissiveForm is of a permissive that says more than its condition.
var permissiveForm = form{
	{name: "when", must: true},
	{name: "raise_after", also: []string{"raise-after", "delay", "after"}},
	{name: "priority"},
	{name: "text"},
}

// permissives reads what must hold before what an interlock stopped may start
// again: `- caustic.level >= 60 %`, or `- {when: …, raise_after: 10s, priority:
// high, text: …}`. It is asked of a reset and watched while the interlock is
// armed. It is not asked of a trip: Davy adds protective actions and inhibits
// none, so there is no word with which one could be made to wait for something.
func (c *compiler) permissives(n *node, x *rules.Interlock) {
	const form = "caustic.level >= 60 %"
	if n == nil || !c.isList(n, "- "+form) {
		return
	}
	if len(n.items) == 0 || len(n.items) > maxChannels {
		c.bad(n, "permissives-count", "", "limit", maxChannels)
		return
	}
	first := map[string]*node{}
	for k, item := range n.items {
		p := rules.Permissive{Priority: rules.Medium}
		if item.kind == section {
			f := c.read(item, "permissive", permissiveForm)
			if at := f.get("raise_after"); at != nil {
				p.After, _ = c.span(at, 0, maxDelay)
			}
			if at := f.get("priority"); at != nil {
				p.Priority, _ = c.priority(at)
			}
			if at := f.get("text"); at != nil {
				p.Text, _ = c.prose(at)
			}
			if item = f.get("when"); item == nil {
				continue
			}
		}
		cond, t, ok := c.conditionOf(item, fmt.Sprintf("%s.permissive-%d", x.Name, k+1), form)
		if !ok {
			continue
		}
		p.Cond, p.Name = cond, strings.TrimPrefix(string(t.name), x.Name+".")
		if of := c.plan.Tags[t.id].Text; p.Text == (rules.Text{}) && of.En != string(t.name) {
			p.Text = of
		}
		if before := first[p.Name]; before != nil {
			c.bad(c.lex(item)[0], "permissive-twice", "permissive-twice", "tag", p.Name, "line", before.place.Line)
			continue
		}
		first[p.Name] = item
		t.used = true
		x.Permissives = append(x.Permissives, p)
	}
}

const (
	discrepancyForm = "15 ppm for 60s, alarm medium | votes differ for 60s, alarm medium"
	// minDiscrepancy is the shortest time of one: channels are read one after the other.
	minDiscrepancy = time.Second
)

// discrepancy reads `15 ppm for 60s, alarm medium`, or for channels that do not
// measure the same in one unit `votes differ for 60s, alarm medium`.
func (c *compiler) discrepancy(n *node, chans []channel, whole int, x *rules.Interlock) {
	s, ok := c.plain(n)
	if !ok {
		return
	}
	hands := 0 // they are not compared
	for _, ch := range x.Channels {
		if ch.Manual {
			hands++
		}
	}
	if whole > 0 && whole-hands < 2 {
		c.bad(n, "discrepancy-one-channel", "discrepancy-one-channel", "name", x.Name)
		return
	}
	d := rules.Discrepancy{Priority: rules.Medium}
	toks := c.lex(n)
	if starts(toks, "votes", "differ") {
		toks = toks[2:]
	} else if d.Spread, toks, ok = c.spread(n, toks, chans); !ok {
		return
	}
	if toks, ok = c.expect(toks, n, discrepancyForm, "for"); !ok {
		return
	}
	if d.After, toks, ok = c.duration(toks, n); !ok || !c.bounds(n, d.After, minDiscrepancy, maxDelay) {
		return
	}
	if starts(toks, ",") {
		toks = toks[1:]
	}
	if len(toks) > 0 {
		if toks, ok = c.expect(toks, n, discrepancyForm, "alarm"); !ok {
			return
		}
		if len(toks) == 0 {
			c.bad(n, "bad-form", "write-form", "text", s, "form", discrepancyForm)
			return
		}
		if d.Priority, ok = c.priority(toks[0]); !ok {
			return
		}
		toks = toks[1:]
	}
	if c.nothing(toks) {
		x.Discrepancy = d
	}
}

// spread reads how far the channels may lie apart, in the unit that they share.
func (c *compiler) spread(n *node, toks []*node, chans []channel) (v float64, rest []*node, ok bool) {
	if v, toks, ok = c.number(toks, n); !ok {
		return 0, nil, false
	}
	u, at, rest := unit(toks)
	var first *tagInfo
	for _, ch := range chans {
		t := ch.tag
		switch {
		case t == nil || t.vague || t.unknownKind:
			continue
		case t.stated() || t.kind == tag.Bool:
			c.bad(n, "discrepancy-of-states", "discrepancy-of-states", "tag", string(t.name))
			return 0, nil, false
		case first == nil:
			first = t
		case c.plan.Tags[t.id].Unit != c.plan.Tags[first.id].Unit:
			c.bad(n, "discrepancy-units", "discrepancy-of-states", "first", string(first.name), "one", shownUnit(c.plan.Tags[first.id].Unit),
				"second", string(t.name), "other", shownUnit(c.plan.Tags[t.id].Unit))
			return 0, nil, false
		}
	}
	if first == nil { // no channel could be read: only the form
		return 0, rest, true
	}
	if v, ok = c.convert(first, v, u, at, true); !ok {
		return 0, nil, false
	}
	x := c.plan.Tags[first.id]
	switch {
	case v <= 0:
		c.bad(n, "discrepancy-none", "discrepancy-of-states", "text", n.text)
	case x.Ranged && v >= x.High-x.Low:
		c.bad(n, "discrepancy-too-big", "", "text", n.text, "span", decimal(x.High-x.Low), "unit", x.Unit)
	default:
		return v, rest, true
	}
	return 0, nil, false
}
