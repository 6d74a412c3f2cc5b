package rules

import (
	"math"

	"davy/drivers/tag"
)

// watchDiscrepancy drives the alarm that says that channels of one vote do not
// agree. A channel that cannot be judged agrees with nobody and differs from
// nobody: the others may still differ, but that all agree is not known. So
// what is bad, in test (also where tests vote) or forced neither raises the
// alarm nor clears it. A bypassed channel is compared as before: a bypass
// silences nothing. A person's hand is no instrument, and is not compared.
func (e *Engine) watchDiscrepancy(l *interlock, cs []channel, t tag.Stamp) {
	if l.discrepancy >= 0 {
		e.drive(l.discrepancy, apart(cs, l.spread), t)
	}
}

// apart says whether the values of channels lie further apart than spread; with
// a spread of 0, whether some channels want the trip and others do not.
//
// Of a detector above its range the number is the least that it can be: it may
// lie too far above another, and never below one, nor is it known that it agrees.
func apart(cs []channel, spread float64) truth {
	low, high := math.Inf(1), math.Inf(-1)
	all := true // can be judged
	for k := range cs {
		c := &cs[k]
		if c.manual {
			continue
		}
		if !c.usable || inTest(c.quality) {
			all = false
			continue
		}
		v, above := c.value.Float(), c.detector && c.quality.OverRange()
		if spread == 0 {
			v, above = float64(count(c.over)), false
		}
		if above {
			all = false
		} else {
			low = min(low, v)
		}
		if spread == 0 || c.value.Kind() != tag.None {
			high = max(high, v)
		}
	}
	switch {
	case high-low > spread:
		return yes
	case !all:
		return unknown
	}
	return no
}

// discrepancy takes what an interlock says of its channels' agreement.
func (b *builder) discrepancy(what string, k *interlock, l *Interlock) {
	d := &l.Discrepancy
	if d.Priority == 0 {
		if d.Spread != 0 || d.After != 0 {
			b.wrong(what, "", "says how far its channels may differ, and no priority of the alarm")
		}
		return
	}
	b.priority(what+" discrepancy", d.Priority)
	b.delay(what, "time of a discrepancy", d.After)
	if !(d.Spread >= 0) || d.Spread-d.Spread != 0 {
		b.wrong(what, "", "the spread of its channels is not a number from 0")
	}
	if l.measuring() < 2 {
		b.wrong(what, "", "one channel differs from nobody")
	}
	k.spread = d.Spread
	k.discrepancy = b.automatic(l.Name, discrepancySuffix, "discrepancy", l.Text, d.Priority, d.After)
	b.e.rule(k.discrepancy).OffDelay = d.After
}

// measuring is how many channels are not a person's hand.
func (l *Interlock) measuring() (n int) {
	for k := range l.Channels {
		n += count(!l.Channels[k].Manual)
	}
	return n
}
