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
