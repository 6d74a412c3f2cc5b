package year

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"davy/drivers/tag"
	"davy/rules"
)

// alarm is one alarm as its events tell it.
type alarm struct {
	standing                 bool
	own                      byte // A to F, the letters of the standard
	shelved, suppressed, out bool
	call                     bool // nothing lies over it any more, and it stands: people must be called
	called                   bool // … and were
	occurrence               uint64
	since                    int64 // the last reading that could be judged says that its condition holds, since then; -1 not
	clear                    int64 // it says that the alarm may return, since then, without a break; -1 not
	credit                   int64 // how long that had been so before a restart; -1 none
	restored                 bool  // what ran before a restart may count
}

func (a *alarm) over() rules.AlarmState {
	switch {
	case a.out:
		return rules.OutOfService
	case a.suppressed:
		return rules.Suppressed
	case a.shelved:
		return rules.Shelved
	}
	return rules.Normal
}

// lay says what lies over an alarm from here on.
func (a *alarm) lay(f func()) {
	was := a.over()
	f()
	switch is := a.over(); {
	case was == rules.Normal && is != rules.Normal:
		a.own = map[byte]byte{'A': 'A', 'B': 'B', 'C': 'B', 'D': 'A', 'E': 'E', 'F': 'E'}[a.own]
	case was != rules.Normal && is == rules.Normal:
		a.call, a.called = a.standing, false
	}
}

// take moves an alarm by one of its events; an error says what cannot be.
func (a *alarm) take(v *rules.Event, d *rules.Alarm) error {
	if a.own == 0 {
		a.own = 'A'
	}
	latch, auto := d != nil && d.Latch || v.Note == rules.OverRangeNote, d != nil && d.AutoAck
	next := func(says string, to map[byte]byte) error {
		is, ok := to[a.own]
		if !ok || a.over() != rules.Normal {
			return fmt.Errorf("%s in state %c under %d", says, a.own, a.over())
		}
		a.own = is
		return nil
	}
	switch v.Kind {
	case rules.AlarmRaised:
		switch {
		case v.Hidden != a.over():
			return fmt.Errorf("raised under %d, and %d lies over it", v.Hidden, a.over())
		case a.standing && !a.call:
			return fmt.Errorf("raised while it stands")
		case v.Occurrence != a.occurrence+1:
			return fmt.Errorf("occurrence %d after %d", v.Occurrence, a.occurrence)
		}
		a.standing, a.own, a.occurrence, a.call, a.called = true, 'B', v.Occurrence, false, true
	case rules.AlarmReturned:
		if !a.standing || v.Hidden != a.over() {
			return fmt.Errorf("returned under %d: standing %v, %d lies over it", v.Hidden, a.standing, a.over())
		}
		a.standing, a.call = false, false
		switch {
		case latch:
			a.own = map[byte]byte{'B': 'E', 'C': 'F'}[a.own]
		case a.own == 'B' && a.over() == rules.Normal && !auto:
			a.own = 'D'
		default:
			a.own = 'A'
		}
	case rules.AlarmAcked:
		return next("acknowledged", map[byte]byte{'B': 'C', 'D': 'A', 'E': 'F'})
	case rules.AlarmReset:
		return next("reset", map[byte]byte{'F': 'A'})
	case rules.AlarmRealarmed:
		return next("re-alarmed", map[byte]byte{'C': 'B'})
	case rules.AlarmShelved:
		if a.over() != rules.Normal {
			return fmt.Errorf("shelved under %d", a.over())
		}
		a.lay(func() { a.shelved = true })
	case rules.AlarmUnshelved:
		if !a.shelved {
			return fmt.Errorf("unshelved, and was not shelved")
		}
		a.lay(func() { a.shelved = false })
	case rules.AlarmSuppressed, rules.AlarmUnsuppressed:
		if a.suppressed == (v.Kind == rules.AlarmSuppressed) {
			return fmt.Errorf("suppressed or not twice")
		}
		a.lay(func() { a.suppressed = v.Kind == rules.AlarmSuppressed })
	case rules.AlarmRemoved, rules.AlarmRestored:
		if a.out == (v.Kind == rules.AlarmRemoved) {
			return fmt.Errorf("removed or restored twice")
		}
		a.lay(func() { a.out = v.Kind == rules.AlarmRemoved })
	}
	return nil
}

// shown reports whether a view shows an alarm as its events told it.
func (a *alarm) shown(v *rules.AlarmView) bool {
	own := map[byte]rules.AlarmState{
		0: rules.Normal, 'A': rules.Normal, 'B': rules.Unacked, 'C': rules.Acked, 'D': rules.ReturnedUnacked,
		'E': rules.LatchedUnacked, 'F': rules.LatchedAcked,
	}[a.own]
	if over := a.over(); over != rules.Normal {
		own = over
	}
	return v.State == own && v.Standing == a.standing && v.Occurrence == a.occurrence
}

// mayShelve says whether an alarm may be shelved at all, from its declaration
// and its name: neither a trip nor level 2 of a gas nor an isolated rule.
func mayShelve(name string, d *rules.Alarm) bool {
	if d == nil {
		return !strings.HasSuffix(name, ".tripped") && name != rules.Fault
	}
	return !d.NoShelve
}

// sees lets the alarms of a tag look at it.
func (b *book) sees(d *rules.Alarm, a *alarm, t int64) {
	if len(d.Modes) > 0 || divided(d) {
		return
	}
	r := b.look(d.Cond.Tag)
	is, back := !r.usable(), r.usable()
	switch {
	case d.NotWatched && r.unread():
		a.since, a.clear = -1, -1
		return
	case d.NotWatched:
	case b.meets(&d.Cond, r) == unknown:
		a.clear = -1
		return
	default:
		is, back = b.meets(&d.Cond, r) == yes, b.clears(d, d.Cond.Limit, r)
	}
	switch {
	case !is:
		a.since, a.credit, a.restored = -1, -1, a.restored && a.standing
	case a.since < 0 && a.credit >= 0: // the time until it was seen again counts
		a.since, a.credit = b.start-a.credit, -1
	case a.since < 0:
		a.since = t
	}
	if !back {
		a.clear = -1
	} else if a.clear < 0 {
		a.clear = t
	}
}

// divided says that an alarm shares with others what NotWatched says of a tag.
func divided(d *rules.Alarm) bool { return d.Except != 0 || d.Only != 0 }

// clears says whether a reading lets an alarm that was raised at a limit return.
func (b *book) clears(d *rules.Alarm, limit float64, r look) bool {
	c := d.Cond
	c.Limit = limit
	at := b.meets(&c, r)
	switch c.Op {
	case rules.GE, rules.GT:
		c.Limit -= d.Deadband
	case rules.LE, rules.LT:
		c.Limit += d.Deadband
	}
	return at == no && b.meets(&c, r) == no
}

// cleared says why an alarm must not have returned: bad clears nothing.
func (b *book) cleared(v *rules.Event, d *rules.Alarm, at int64) error {
	looks := b.looks(d.Cond.Tag, at)
	if len(looks) == 0 {
		return nil // a computed tag that changed too often since: it is not known any more
	}
	for _, r := range looks {
		if d.NotWatched && (r.usable() || divided(d)) || !d.NotWatched && b.clears(d, v.Limit, r) {
			return nil
		}
	}
	return fmt.Errorf("returned at a reading that does not clear it: %v", looks)
}

// raised says why an alarm must not have been raised.
func (b *book) raised(d *rules.Alarm, a *alarm, at int64) error {
	looks := b.looks(d.Cond.Tag, at)
	switch {
	case len(looks) == 0:
	case d.NotWatched:
		if d.Only == 0 && !slices.ContainsFunc(looks, func(r look) bool { return !r.usable() }) {
			return fmt.Errorf("raised, and its tag is watched")
		}
	case len(d.Modes) > 0 || a.restored || d.LatchOver:
	case a.since < 0 && !slices.ContainsFunc(looks, func(r look) bool { return b.meets(&d.Cond, r) == yes }):
		return fmt.Errorf("raised without a cause: %v", looks)
	case a.since >= 0 && at-a.since < int64(d.OnDelay):
		return fmt.Errorf("raised %d ns after its cause began", at-a.since)
	}
	return nil
}

// due says what an alarm has not done though it should have, strictly before t.
func due(d *rules.Alarm, a *alarm, t int64) error {
	switch {
	case !a.standing && a.since >= 0 && t-a.since > int64(d.OnDelay):
		return fmt.Errorf("not raised, and its cause stands since %d ns", t-a.since)
	case a.standing && len(d.Modes) == 0 && !a.restored && a.clear >= 0 && t-a.clear > int64(d.OffDelay):
		return fmt.Errorf("still raised, and clear since %d ns", t-a.clear)
	}
	return nil
}

// testFlag says why an event must, or must not, carry the flag of a test.
func (b *book) testFlag(v *rules.Event, at int64) error {
	must, may := false, false
	switch v.Kind {
	case rules.ForceBegan, rules.ForceEnded, rules.TestBegan, rules.TestEnded:
		must, may = true, true
	}
	if v.Kind <= rules.AlarmReset && v.Tag != 0 {
		looks := b.looks(v.Tag, at)
		must = must || len(looks) > 0 && !slices.ContainsFunc(looks, func(r look) bool { return !r.tested() && r.q&tag.Forced == 0 })
	}
	for i := range b.locks {
		must = must || b.drill[i].on && b.set.Interlocks[i].Name == v.Rule && at > b.drill[i].began
		may = may || b.drill[i].on || b.locks[i].tripped && b.locks[i].tested
	}
	may = may || must || at <= b.tested || v.Kind == rules.InterlockRecorded && at <= b.tested+int64(time.Minute) // the record of such a trip
	for id := range b.seen {
		may = may || slices.ContainsFunc(b.looks(tag.ID(id), at), func(r look) bool { return r.tested() || r.q&tag.Forced != 0 })
	}
	switch {
	case must && !v.Test:
		return fmt.Errorf("no TEST flag")
	case v.Test && !may:
		return fmt.Errorf("TEST flag, and nothing is tested")
	}
	return nil
}
