package replay

import (
	"slices"
	"time"

	"davy/agent/people"
	"davy/agent/wire"
	"davy/drivers/tag"
	"davy/rules"
)

// act is what a person did, as far as an event says it.
type act struct {
	verb string
	cmd  rules.Command
}

// acts turns events back into what persons did.
type acts struct {
	roles map[string][]string // of persons, by id
	all   []string
	// out is the last event that took a device out of service or returned it: those
	// of its alarms at the same instant follow from it.
	out wire.Event
}

func newActs(rolls ...*people.Roll) *acts {
	a := &acts{roles: map[string][]string{}}
	for _, r := range people.Roles() {
		a.all = append(a.all, string(r))
	}
	for _, roll := range rolls { // the later one counts
		for i := range roll.Persons {
			p := &roll.Persons[i]
			a.roles[p.ID] = p.RoleNames()
		}
	}
	return a
}

// rolesOf returns a person's roles. One whom neither plan knows was known then,
// and had what it took.
func (a *acts) rolesOf(who string, proved bool) []string {
	if !proved {
		return nil
	}
	if roles, ok := a.roles[who]; ok {
		return slices.Clone(roles)
	}
	return a.all
}

// of returns what a person did that led to an event; ok is false where nobody did.
func (a *acts) of(e *wire.Event) (x act, ok bool) {
	if e.Who == "" {
		return x, false
	}
	x.cmd = rules.Command{
		Rule: e.Rule, Who: e.Who, Proved: e.Proved, Note: e.Note, Channel: e.Channel, Value: e.Value, For: time.Duration(e.For),
		Result: rules.Result(e.Result), Roles: a.rolesOf(e.Who, e.Proved), Session: "replay " + e.Who,
	}
	set := func(name string, v rules.Verb) { x.verb, x.cmd.Verb = name, v }
	switch k := rules.Kind(e.Kind); k {
	case rules.AlarmAcked:
		set("ack", rules.Ack)
	case rules.AlarmReset, rules.InterlockReset:
		set("reset", rules.Reset)
	case rules.AlarmShelved:
		set("shelve", rules.Shelve)
	case rules.AlarmUnshelved:
		set("unshelve", rules.Unshelve)
	case rules.SoundSilenced:
		set("silence", rules.Silence)
	case rules.AlarmRemoved, rules.AlarmRestored:
		if a.out.At == e.At && a.out.Who == e.Who {
			return x, false
		}
		set("remove", rules.Remove)
		if k == rules.AlarmRestored {
			set("restore", rules.Restore)
		}
	case rules.PointRemoved:
		a.out = wire.Event{At: e.At, Who: e.Who}
		set("remove", rules.Remove)
	case rules.PointRestored:
		a.out = wire.Event{At: e.At, Who: e.Who}
		set("restore", rules.Restore)
	case rules.BypassAsked:
		set("bypass", rules.Bypass)
	case rules.BypassBegan:
		if set("bypass", rules.Bypass); e.Second != "" {
			set("confirm", rules.Confirm)
			x.cmd.Who, x.cmd.Session = e.Second, "replay "+e.Second
			x.cmd.Roles = a.rolesOf(e.Second, e.Proved)
		}
	case rules.BypassEnded:
		set("end-bypass", rules.EndBypass)
	case rules.ForceBegan:
		set("force", rules.Force)
	case rules.ForceEnded:
		set("end-force", rules.EndForce)
	case rules.TestBegan:
		set("test", rules.BeginTest)
	case rules.TestEnded:
		set("end-test", rules.EndTest)
	default:
		return x, false
	}
	return x, true
}

// already reports whether a refusal says that what was to be done is so, by
// what was done before it: a bypass that needs no second person any more.
func (x *act) already(s *side, code string) bool {
	if x.cmd.Verb != rules.Confirm || code != "bypass-none-waiting" {
		return false
	}
	l, ok := s.engine.Interlock(x.cmd.Rule, s.now)
	return ok && l.Bypass != nil && !l.Bypass.Waiting && l.Bypass.Channel == x.cmd.Channel
}

// turn brings the value of a forced tag to what it is here.
func (x *act) turn(s *side, id tag.ID) rules.Command {
	c := x.cmd
	if c.Verb == rules.Force && int(id) < len(s.ids) {
		if v, ok := s.ids[id].turned(c.Value); ok {
			c.Value = v
		}
	}
	return c
}
