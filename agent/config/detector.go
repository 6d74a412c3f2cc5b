package config

import (
	"time"

	"davy/agent/i18n"
	"davy/drivers/tag"
	"davy/rules"
	units "davy/rules/unit"
)

// What a detector says of itself (an entry of alarms, or its profile):
//
//	ready_within: 5min     it may warm up so long, then <tag>.not-ready
//	test_within: 60min     in calibration, bump test or inhibit its alarms are
//	                       suppressed by design so long, then <tag>.in-test
//	high-high: {at: 56 ppm, over_range: yes, …}   above its range: latches
//
// Where neither it nor its profile says so, warming up and being in test are not
// being watched, as any other fault.

// The endings of the names of the alarms of a detector's states.
const (
	NotReadySuffix = ".not-ready"
	InTestSuffix   = ".in-test"
)

// Bounds of the two times.
const (
	minState = 10 * time.Second
	maxState = 24 * time.Hour
)

// detectorStates reads the times of an entry. Where two entries of one tag name
// one, the shorter counts.
func (c *compiler) detectorStates(e *entry) {
	take := func(name string, proposed *sourced, basis *DelayBasis) time.Duration {
		d := time.Duration(0)
		if proposed != nil {
			d = proposed.span()
			*basis = DelayBasis{d, proposed.origin()}
		}
		if n := e.f.get(name); n != nil {
			d, _ = c.span(n, minState, maxState)
			*basis = DelayBasis{Value: d}
		}
		return d
	}
	var p profile
	if e.profile != nil {
		p = *e.profile
	}
	ready, test := take("ready_within", p.ready, &e.basis.Ready), take("test_within", p.test, &e.basis.Test)
	if e.t != nil {
		e.t.detector = e.t.detector || p.gas != nil
		e.t.ready, e.t.inTest = shorter(e.t.ready, ready), shorter(e.t.inTest, test)
	}
}

// shorter returns the shorter of two times of which 0 is none.
func shorter(a, b time.Duration) time.Duration {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}

// overRange reads `over_range: yes` of a limit; a profile's level may only be made stricter.
func (c *compiler) overRange(e *entry, n *node, i int, a *rules.Alarm) {
	if n == nil {
		return
	}
	yes := c.yes(n, false)
	switch {
	case yes && limitKinds[i].op != rules.GE:
		c.bad(n, "over-range-low", "", "level", limitKinds[i].name)
	case !yes && a.LatchOver && !n.lost:
		c.bad(n, "over-range-forbidden", "", "profile", e.profile.full())
	default:
		a.LatchOver = yes
	}
}

// stateAlarms adds the alarms of a detector's states beside that of a tag that
// is not watched.
func (c *compiler) stateAlarms(info *tagInfo, not *rules.Alarm) {
	for _, x := range []struct {
		suffix string
		text   rules.Text
		state  rules.DetectorState
		within time.Duration
	}{
		{NotReadySuffix, c.watchText(info, "config.not-ready", "config.not-ready-text"), rules.WarmingUp, info.ready},
		{InTestSuffix, c.watchText(info, "config.in-test", "config.in-test-text"), rules.InTest, info.inTest},
	} {
		if x.within == 0 {
			continue
		}
		name := string(info.name) + x.suffix
		if c.taken[name] == nil {
			c.taken[name] = info.n
		}
		a := *not
		a.Name, a.Text, a.OnDelay = name, x.text, x.within
		a.Except, a.Only = 0, x.state
		c.plan.Rules.Alarms = append(c.plan.Rules.Alarms, a)
		not.Except |= x.state
	}
}

// watchText is what an alarm says that a tag is not watched; words are for one
// that has no text of its own, with for one that has.
func (c *compiler) watchText(info *tagInfo, words, with string) rules.Text {
	t := c.plan.Tags[info.id]
	zh, en := i18n.Args{"tag": string(t.Name)}, i18n.Args{"tag": string(t.Name)}
	if t.Text.En != string(t.Name) {
		words = with
		zh["text"], en["text"] = t.Text.Zh, t.Text.En
	}
	return rules.Text{Zh: i18n.Zh.Text(words, zh), En: i18n.En.Text(words, en)}
}

// isDetector reports whether what lies above the range of a tag's instrument
// is beyond every limit: it or its profile names a gas, or a limit latches there.
func (t *tagInfo) isDetector() bool { return t.kind != tag.Bool && (t.gas != nil || t.detector) }

// isOfDetectors reports whether a tag is a detector, or computed by a site's own
// words of nothing but detectors, in their unit (the highest of a room): above the
// range of one of them its number says as little. A rate has another unit; STEL,
// TWA and MAC reckon with what was seen.
func (c *compiler) isOfDetectors(t *tagInfo) bool {
	of := c.plan.Tags[t.id].Of
	if !t.composed || t.kind == tag.Bool || len(of) == 0 {
		return t.isDetector()
	}
	own, err := units.Parse(c.plan.Tags[t.id].Unit)
	if err != nil || c.plan.Tags[t.id].Unit == "" {
		return t.isDetector()
	}
	for _, id := range of {
		if u, err := units.Parse(c.plan.Tags[id].Unit); err != nil || !u.SameWithGas(own) || !c.tags[id].isDetector() {
			return t.isDetector()
		}
	}
	return true
}
