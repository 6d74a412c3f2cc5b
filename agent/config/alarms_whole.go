package config

import (
	"math"
	"slices"

	"davy/rules"
)

// finishAlarm adds what needs all limits of an entry: the deadband that the
// profile proposes, which limit lies beyond which, the modes.
func (c *compiler) finishAlarm(e *entry, approved string, whole *node) {
	at := e.f.get("profile")
	if e.profile != nil && e.t != nil && !e.t.vague && !at.lost {
		c.profiled(e, approved, at)
	}
	for i := range e.alarms {
		for j := range e.alarms {
			if a, b := limitKinds[e.kinds[i]].name, limitKinds[e.kinds[j]].name; a == "high" && b == "high-high" || a == "low" && b == "low-low" {
				e.alarms[i].Beyond = e.alarms[j].Name
			}
		}
	}
	c.modes(e)
	c.plan.Rules.Alarms = append(c.plan.Rules.Alarms, e.alarms...)
}

// profiled completes what a profile proposed for an entry and keeps its basis.
func (c *compiler) profiled(e *entry, approved string, at *node) {
	x := c.plan.Tags[e.t.id]
	if !e.deadband {
		lowest := math.Inf(1)
		for i, a := range e.alarms {
			if limitKinds[e.kinds[i]].op == rules.GE {
				lowest = min(lowest, a.Cond.Limit)
			}
		}
		if math.IsInf(lowest, 1) {
			lowest = 0
		}
		e.basis.Deadband = c.proposedDeadband(e.t, e.profile, lowest, at)
		for i := range e.alarms {
			if !e.banded[i] && limitKinds[e.kinds[i]].op != rules.EQ {
				e.alarms[i].Deadband = e.basis.Deadband.Value
			}
		}
	}
	for i, a := range e.alarms {
		j := slices.IndexFunc(e.basis.Limits, func(l LimitBasis) bool { return l.Kind == limitKinds[e.kinds[i]].name })
		if j >= 0 {
			e.basis.Limits[j].LatchOver = a.LatchOver
		}
		if j >= 0 && (a.Deadband != e.basis.Deadband.Value || a.OnDelay != e.basis.OnDelay.Value || a.OffDelay != e.basis.OffDelay.Value) {
			l := &e.basis.Limits[j]
			l.Apart, l.Deadband, l.OnDelay, l.OffDelay = true, a.Deadband, a.OnDelay, a.OffDelay
		}
	}
	proposed := slices.ContainsFunc(e.basis.Limits, func(l LimitBasis) bool { return !l.Own })
	if n := e.f.get("approved"); proposed && approved == "" && (n == nil || !n.lost) {
		c.warn(at, "not-approved", "not-approved", "profile", e.profile.full())
	}
	e.basis.Alarm, e.basis.Tag, e.basis.Unit, e.basis.Profile = e.name, string(e.t.name), x.Unit, e.profile.full()
	e.basis.Approved, e.basis.Proposed, e.basis.Confirm, e.basis.Place = approved, proposed, e.profile.confirm, at.place
	c.plan.Profiles = append(c.plan.Profiles, e.basis)
	s := e.profile.scheme
	if !slices.ContainsFunc(c.plan.Schemes, func(x Scheme) bool { return x.Name == s.name }) {
		c.plan.Schemes = append(c.plan.Schemes, Scheme{s.name, s.title, s.sources, s.caveats})
	}
}

// maxModes is how many operating modes one alarm may have.
const maxModes = 16

// modes reads the operating modes with limits of their own:
//
//	modes:
//	  defrost: {when: comp1.defrost = on, high: 140 °C, high-high: off}
//
// The first that holds counts; a limit that a mode does not write stays.
func (c *compiler) modes(e *entry) {
	n := e.f.get("modes")
	if n == nil {
		return
	}
	list := c.nameList(n, "modes")
	if len(list) > maxModes {
		c.bad(n, "too-many", "", "what", key("modes"), "limit", maxModes)
		return
	}
	modeForm := form{{name: "when", must: true}}
	for _, k := range limitKinds {
		modeForm = append(modeForm, field{name: k.name})
	}
	for _, p := range list {
		f := c.read(p.val, "mode", modeForm)
		m := rules.Mode{Name: p.key.text, When: c.suppression(f.get("when"), e.name+".mode-"+p.key.text)}
		last := math.Inf(-1)
		for i, k := range limitKinds {
			j := slices.Index(e.kinds, i)
			x := f.get(k.name)
			if j < 0 {
				if x != nil && !c.vague[e.name+"."+k.name] {
					c.bad(x, "mode-no-limit", "", "level", k.name, "name", e.name)
				}
				continue
			}
			m.Limit, m.Off = e.alarms[j].Cond.Limit, false
			switch _, ok := c.plain(x); {
			case x == nil:
			case !ok:
				continue
			case x.text == "off":
				m.Off = true
			case k.op == rules.EQ:
				c.word(x, "off")
				continue
			default:
				v, ok := c.writtenAt(e.t, x, x, k.name)
				if !ok {
					continue
				}
				m.Limit = v
			}
			if !m.Off && k.op != rules.EQ {
				if m.Limit <= last {
					at := x
					if at == nil {
						at = p.key
					}
					c.bad(at, "mode-order", "", "mode", p.key.text, "level", k.name)
				}
				last = m.Limit
			}
			if m.Off || k.op != rules.EQ { // a state has no limit that a mode could keep
				e.alarms[j].Modes = append(e.alarms[j].Modes, m)
			}
		}
	}
}
