package agent

import (
	"errors"
	"testing"

	"davy/agent/config"
	"davy/agent/operate"
	"davy/agent/people"
)

// The agent itself looks at who makes another plan live, whatever the command
// line has looked at before.
func TestMayApply(t *testing.T) {
	roll := people.Roll{Persons: []people.Person{{ID: "li", Roles: []people.Role{people.Engineer}}, {ID: "wang", Roles: []people.Role{people.Operator}}}}
	f := func(apply []people.Role, who operate.Who, want string) {
		t.Helper()
		r := roll
		r.Apply = apply
		err := mayApply(&generation{a: &Accepted{Plan: &config.Plan{People: config.People{Roll: r}}}}, &operate.Command{Who: who})
		var said *operate.Error
		if want == "" && err != nil || want != "" && (!errors.As(err, &said) || said.Code != want) {
			t.Errorf("%v, %+v: %v, want %q", apply, who, err, want)
		}
	}
	f(nil, operate.Who{Name: "li", Proved: true}, "")
	f(nil, operate.Who{Name: "wang", Proved: true}, "")
	f([]people.Role{people.Engineer}, operate.Who{Name: "li", Proved: true}, "")
	f([]people.Role{people.Engineer}, operate.Who{Name: "wang", Proved: true}, "refused.may-not-apply")
	f(nil, operate.Who{Name: "root"}, "refused.needs-person")
	f(nil, operate.Who{Name: "li"}, "refused.needs-person") // a user of the machine with the same name
	f(nil, operate.Who{Name: "zhao", Proved: true}, "refused.needs-person")
	roll.Persons = nil
	f(nil, operate.Who{Name: "root"}, "")
}
