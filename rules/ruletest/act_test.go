package ruletest

import (
	"testing"
	"time"

	"davy/rules"
)

// A person shelves, silences and unshelves, with a name, a role and a reason;
// a refusal is expected by its code.
func TestActsOfPersons(t *testing.T) {
	const rule = "comp1-discharge.high-high"
	shelve := Do{Verb: rules.Shelve, Rule: rule, By: "operator", Roles: []string{"operator"}, For: time.Hour, Note: "the sensor is changed"}
	bare := shelve
	bare.Note, bare.Refuse = "", true
	r := Run(room(), Story{Steps: []Step{
		{Set: append([]Set{set(4, 150)}, still...), Expect: expects(rule + ": unacked")},
		{At: s, Do: []Do{bare, shelve}, Expect: expects(rule + ": shelved standing")},
		{At: time.Hour, Expect: expects(rule + ": shelved")},
		{At: time.Hour + 2*s, Expect: expects(rule + ": unacked, " + rule + ".raised: 2")},
		{At: 2 * time.Hour, Do: []Do{{Verb: rules.Ack, Rule: rule, Note: "seen"}, {Verb: rules.Ack, Rule: rule, Refuse: true, Code: "already-acked"}, {Verb: rules.Ack, Rule: rule, Refuse: true, Code: "not-alarm", Where: "z"}}},
	}}, word)
	if got, want := r.text(), "z refused-otherwise reason=refused.already-acked rule="+rule+" want=not-alarm"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// The second person confirms the bypass that waits, and anybody ends the one
// that is there, without naming its channel.
func TestActsOnTheBypassThatIsThere(t *testing.T) {
	set := room()
	l := &set.Interlocks[0]
	l.Bypass = rules.Permit{Roles: []string{"engineer"}, Second: []string{"shift-leader"}, AtMost: time.Hour}
	r := Run(set, Story{Steps: []Step{
		{Set: still, Do: []Do{
			{Verb: rules.Bypass, Rule: l.Name, Channel: l.Channels[1].Name, By: "engineer", Roles: []string{"engineer"}, For: time.Hour, Note: "a new cell"},
		}, Expect: expects(l.Name + ": armed asked")},
		{At: s, Do: []Do{{Verb: rules.Confirm, Rule: l.Name, By: "shift-leader", Roles: []string{"shift-leader"}}}, Expect: expects(l.Name + ": armed bypassed")},
		{At: 2 * s, Do: []Do{{Verb: rules.EndBypass, Rule: l.Name}}, Expect: expects(l.Name + ": armed")},
		{At: 3 * s, Do: []Do{{Verb: rules.EndBypass, Rule: l.Name, Refuse: true, Where: "z"}}},
	}}, word)
	if got := r.text(); got != "" {
		t.Error(got)
	}
}

// Who watches a story sees it after every step of the engine, and at the
// story's own steps before their expectations.
func TestObserve(t *testing.T) {
	var seen []time.Duration
	var steps int
	r := Observe(room(), Story{Steps: []Step{{Set: append([]Set{set(4, 150)}, still...)}, {At: 10 * s, Expect: expects("comp1-discharge.high: unacked")}}}, word, func(x *Sight) {
		if x.Step == nil {
			seen = append(seen, x.At)
			return
		}
		steps++
		if v, ok := x.Engine.Alarm("comp1-discharge.high"); x.At > 0 && (!ok || !v.Standing || x.Readings[4].Value.Float() != 150) {
			t.Errorf("at %v: %+v", x.At, v)
		}
	})
	if !r.OK() || steps != 2 || len(seen) != r.Steps {
		t.Errorf("steps %d of 2, %d sights of %d, %s", steps, len(seen), r.Steps, r.text())
	}
}
