package replay

import (
	"slices"
	"testing"
	"time"

	"davy/agent/wire"
	"davy/drivers/tag"
	"davy/rules"
)

// What persons had declared, and what stood by its own history, before the engines
// began is not in them: a rule that it is said of is not exact.
func TestWhatWasBeforeIsNeverExact(t *testing.T) {
	values := make([]float64, 1500)
	for i := range values {
		values[i] = 5
	}
	values[1300] = 20
	const from = wall0 + 1200e9
	event := func(k rules.Kind, name string, d time.Duration, who string) wire.Event {
		return wire.Event{Kind: uint32(k), At: at(d), Rule: name, Serial: 1 << 40, Who: who, Proved: who != ""}
	}
	const early, later = 5500 * time.Millisecond, 300500 * time.Millisecond
	for name, c := range map[string]struct {
		events []wire.Event
		before bool
	}{
		"nothing":                {nil, false},
		"out of service":         {[]wire.Event{event(rules.AlarmRemoved, "a.gas.high", early, "zhang")}, true},
		"and in service again":   {[]wire.Event{event(rules.AlarmRemoved, "a.gas.high", early, "zhang"), event(rules.AlarmRestored, "a.gas.high", later, "zhang")}, false},
		"shelved":                {[]wire.Event{event(rules.AlarmShelved, "a.gas.high", early, "zhang")}, true},
		"shelved, and over":      {[]wire.Event{event(rules.AlarmShelved, "a.gas.high", early, "zhang"), event(rules.AlarmUnshelved, "a.gas.high", later, "")}, false},
		"its tag is forced":      {[]wire.Event{event(rules.ForceBegan, "a.gas", early, "zhang")}, true},
		"another tag is forced":  {[]wire.Event{event(rules.ForceBegan, "b.gas", early, "zhang")}, false},
		"its device is removed":  {[]wire.Event{event(rules.PointRemoved, "a", early, "zhang")}, true},
		"its device is tested":   {[]wire.Event{event(rules.TestBegan, "a", early, "zhang")}, true},
		"bypassed":               {[]wire.Event{event(rules.BypassBegan, "a.gas.high", early, "zhang")}, true},
		"raised, and it stands":  {[]wire.Event{event(rules.AlarmRaised, "a.gas.high", early, "")}, true},
		"tripped, and it stands": {[]wire.Event{event(rules.InterlockTripped, "a.gas.high", early, "")}, true},
		"raised, and returned":   {[]wire.Event{event(rules.AlarmRaised, "a.gas.high", early, ""), event(rules.AlarmReturned, "a.gas.high", later, "")}, false},
	} {
		o := Options{Present: planOf(1, 50), New: planOf(2, 15), From: from}
		for _, p := range []*rules.Set{&o.Present.Rules, &o.New.Rules} {
			p.Devices = append(p.Devices, rules.Device{Name: "a", Tags: []tag.ID{1}})
		}
		m := record(t, o.Present, values...)
		o.Source = m
		m.events[0] = append(m.events[0], c.events...)
		slices.SortStableFunc(m.events[0], func(a, b wire.Event) int { return int(min(1, max(-1, a.At.Mono-b.At.Mono))) })
		r := rule(t, run1(t, o), "a.gas.high")
		got := slices.ContainsFunc(r.Why, func(w Why) bool { return w.Code == "before" })
		if got != c.before || r.Came != 1 {
			t.Errorf("%s: %s, came %d", name, graded(r), r.Came)
		}
		if !c.before && r.Grade != Exact {
			t.Errorf("%s: %s", name, graded(r))
		}
	}
}

// A delay that is longer than the engines ran before the window is not exact.
func TestALongDelayIsNotExact(t *testing.T) {
	for after, want := range map[time.Duration]string{MostLead: "exact", MostLead + 1: "approximate look-back", 30 * time.Minute: "exact"} {
		o := Options{Present: planOf(1, 50), New: planOf(2, 50)}
		o.New.Rules.Alarms[0].OnDelay = after
		m := record(t, o.Present, 5, 5, 5)
		late := m.readings[0][0]
		late.Received = at(MostLead + time.Hour)
		m.readings[0] = append(m.readings[0], late)
		m.epochs[0].To, o.Source, o.From = late.Received.Wall, m, late.Received.Wall-1
		if got := graded(rule(t, run1(t, o), "a.gas.high")); got != want {
			t.Errorf("after %s: %s, want %s", after, got, want)
		}
	}
}
