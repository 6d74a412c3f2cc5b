package config

import (
	"slices"
	"time"

	"davy/drivers/tag"
	"davy/rules"
)

// What persons may do to a device, beside taking it out of service, which every
// proved person may:
//
//	force: engineer, longest 1h      a value of one of its tags
//	test: technician, longest 1h     bump test, calibration
//	test_every: 90d                  the longest time between two passed tests
const (
	minTestEvery = 24 * time.Hour
	maxTestEvery = 5 * 366 * 24 * time.Hour
)

// devicePermits reads them.
func (c *compiler) devicePermits(d *device, f fields) {
	const form = "engineer, longest 1h"
	if n := f.get("force"); n != nil {
		d.rule.Force = c.ownPermit(n, form, rules.MaxForce)
	}
	if n := f.get("test"); n != nil {
		d.rule.Test = c.ownPermit(n, form, maxPermit)
	}
	if n := f.get("test_every"); n != nil {
		d.rule.TestEvery, _ = c.span(n, minTestEvery, maxTestEvery)
	}
}

// ownPermit reads a permit that takes one person and ends by itself.
func (c *compiler) ownPermit(n *node, form string, most time.Duration) rules.Permit {
	s, ok := c.plain(n)
	if !ok || s == "no" {
		return rules.Permit{}
	}
	p := c.permit(c.lex(n), n, form, most)
	if len(p.Second) > 0 || p.AlarmOnly {
		c.bad(n, "permit-of-one", "write-form", "text", s, "form", form)
		return rules.Permit{}
	}
	return p
}

// pointsOf makes each device with its tags known to the rules: what a person
// takes out of service, tests or forces.
func (c *compiler) pointsOf() {
	byDevice := map[*device][]tag.ID{}
	for _, t := range c.tags[1:] {
		if t.device != nil {
			byDevice[t.device] = append(byDevice[t.device], t.id)
		}
	}
	for _, d := range c.devices {
		for _, x := range c.plan.Rules.Interlocks { // a person names either
			if x.Name == d.name {
				c.bad(d.n, "name-taken", "", "name", d.name, "place", c.taken[d.name].place.String())
			}
		}
		if ids := byDevice[d]; len(ids) > 0 && !slices.ContainsFunc(c.plan.Rules.Devices, func(x rules.Device) bool { return x.Name == d.name }) {
			d.rule.Name, d.rule.Tags = d.name, ids
			c.plan.Rules.Devices = append(c.plan.Rules.Devices, d.rule)
		}
	}
}
