package rules

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// In scripts: shelve:alarm:time (with :n another occurrence than the present
// one), unshelve:alarm, silence, remove:alarm, restore:alarm. A verb that ends
// in - is said without a note. ??alarm shows the whole of an alarm's view.
var alarmVerbs = map[string]Verb{
	"shelve": Shelve, "unshelve": Unshelve, "silence": Silence, "shelve-": Shelve,
}

var overWords = map[AlarmState]string{Shelved: "shelved", Suppressed: "suppressed", OutOfService: "out"}

func (r *rig) doAlarm(in *Input, part []string, code string) []string {
	r.t.Helper()
	c := Command{Verb: alarmVerbs[part[0]], Who: "li", Note: "n"}
	if strings.HasSuffix(part[0], "-") {
		c.Note = " "
	}
	if len(part) > 1 {
		c.Rule = part[1]
	}
	if a, ok := r.e.Alarm(c.Rule); ok {
		c.Occurrence = a.Occurrence
	}
	if len(part) > 2 {
		c.For, _ = time.ParseDuration(part[2])
	}
	if len(part) > 3 {
		c.Occurrence, _ = strconv.ParseUint(part[3], 10, 64)
	}
	err := r.e.Do(in, c, &r.out)
	var refused *RefusedError
	switch {
	case err == nil && code == "":
		if v := r.out.Events[0]; v.Who != "li" || v.Proved || v.Note != "n" || v.For != c.For || !r.out.Durable {
			r.fatal("%v: the event does not say who: %+v", part, v)
		}
	case !errors.As(err, &refused) || refused.Code != code || refused.Rule != c.Rule:
		r.fatal("%v: got %v, want refusal %q", part, err, code)
	case len(r.out.Events) > 0:
		r.fatal("%v: refused with events", part)
	}
	return r.events()
}

// raisedHow says what a raise or a return has that others do not.
func raisedHow(v *Event) (s string) {
	if v.Hidden != Normal {
		s += " " + overWords[v.Hidden]
	}
	if v.First {
		s += " first"
	}
	return s
}

func lifeEvent(v *Event, s string) string {
	switch v.Kind {
	case AlarmShelved:
		return "shelve " + s + " " + v.For.String()
	case AlarmUnshelved:
		return "unshelve " + s
	case AlarmSuppressed:
		if v.Note != "" {
			return "suppress " + s + " under " + v.Note
		}
		return "suppress " + s
	case AlarmUnsuppressed:
		return "unsuppress " + s
	case AlarmRemoved:
		return "remove " + s
	case AlarmRestored:
		return "restore " + s
	case AlarmRealarmed:
		return "again " + s
	}
	return "silenced" + v.Rule
}

// life shows an alarm.
func (r *rig) life(name string) string {
	for _, a := range r.e.Alarms(nil, rigStamp(r.now)) {
		if a.Name != name {
			continue
		}
		w := stateWords[a.State] + overWords[a.State]
		for _, x := range []struct {
			is   bool
			word string
		}{
			{a.State > LatchedAcked && a.Standing, "standing"},
			{a.Sounds, "sounds"},
			{a.First, "first"},
			{a.Left != 0, "left:" + a.Left.String()},
			{a.Who != "", a.Who + ":" + a.Note},
			{a.Under != "", "under:" + a.Under},
			{a.InTest, "in-test"},
			{a.Mode != "", fmt.Sprintf("%s:%g", a.Mode, a.Limit)},
		} {
			if x.is {
				w += "," + x.word
			}
		}
		return w
	}
	return "normal"
}

// ofTrip says that event i is the alarm of a trip or a reset, which the script
// does not name: each of those must be followed by its own, at once. Only the
// record of the trip before may come between.
func (r *rig) ofTrip(i int) bool {
	r.t.Helper()
	all := r.out.Events
	pair := map[Kind]Kind{InterlockTripped: AlarmRaised, InterlockTrippedAtStart: AlarmRaised, InterlockReset: AlarmReturned}
	fits := func(v, w *Event) bool {
		return pair[v.Kind] == w.Kind && w.Rule == v.Rule+".tripped" && w.At == v.At && w.Priority == v.Priority
	}
	if pair[all[i].Kind] != 0 {
		next := i + 1
		for next < len(all) && all[next].Kind == InterlockRecorded {
			next++
		}
		if next == len(all) || !fits(&all[i], &all[next]) {
			r.fatal("%s without its alarm", r.event(&all[i]))
		}
		return false
	}
	last := i - 1
	for last >= 0 && all[last].Kind == InterlockRecorded {
		last--
	}
	return last >= 0 && pair[all[last].Kind] != 0 && fits(&all[last], &all[i])
}
