package rules

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"davy/drivers/tag"
)

// In scripts: force:tag:value:time, unforce:tag, remove:device, restore:device,
// test:device:time, endtest:device:passed (failed, aborted), each with !code.
// ?device and ?tag show what is laid over them; the events say so, with TEST.
var pointVerbs = map[string]Verb{
	"force": Force, "unforce": EndForce, "remove": Remove, "restore": Restore, "test": BeginTest, "endtest": EndTest,
}

var resultWords = []string{"", "passed", "failed", "aborted"}

func (r *rig) doPoint(part []string, code string) []string {
	r.t.Helper()
	c := Command{Verb: pointVerbs[part[0]], Rule: part[1], Who: "li", Proved: true, Note: "n", Roles: []string{"engineer"}}
	if c.Verb == Force {
		n, _ := strconv.ParseFloat(part[2], 64)
		c.Value, _ = tag.Float64Value(n)
	}
	switch last := part[len(part)-1]; c.Verb {
	case Force, BeginTest:
		c.For, _ = time.ParseDuration(last)
	case EndTest:
		c.Result = Result(max(slices.Index(resultWords, last), 0))
	}
	err := Do(r.e, r.img, rigStamp(r.now), c, &r.out)
	var refused *RefusedError
	switch {
	case err == nil && code == "":
		for _, v := range r.out.Events {
			if v.Kind >= PointRemoved && (v.Who != "li" || !v.Proved || v.Note != "n") {
				r.fatal("the event does not say who: %+v", v)
			}
		}
	case !errors.As(err, &refused) || refused.Code != code || refused.Rule != c.Rule:
		r.fatal("%v: got %v, want refusal %q", part, err, code)
	case len(r.out.Events) > 0:
		r.fatal("%v: refused with events", part)
	}
	return r.events()
}

// pointEvent prints the events of points, and of nothing else in a script.
func pointEvent(v *Event) string {
	s := ""
	switch v.Kind {
	case PointRemoved:
		s = "out " + v.Rule
	case PointRestored:
		s = "in " + v.Rule
	case ForceBegan:
		s = "forced " + v.Rule + " " + v.Value.String() + " for " + v.For.String()
	case ForceEnded:
		s = "unforced " + v.Rule + " " + v.Value.String()
	case TestBegan:
		s = "testing " + v.Rule + " for " + v.For.String()
	case TestEnded:
		s = "tested " + v.Rule + " " + resultWords[v.Result]
	case InterlockRecorded:
		s = strings.TrimSpace(fmt.Sprintf("recorded %s#%d %s", v.Rule, v.Occurrence, recordText(v.Record)))
	default:
		return fmt.Sprintf("kind%d %s#%d", v.Kind, v.Rule, v.Occurrence)
	}
	if v.Kind >= ForceBegan && !v.Test {
		s += " NO TEST FLAG"
	}
	if v.Who == "" && v.Kind >= PointRemoved {
		s += " by nobody"
	}
	return s
}

// recordText prints a record: tag number, value (b bad), seconds of the script.
func recordText(samples []Sample) string {
	var all []string
	for _, x := range samples {
		w := x.Value.String()
		if x.Quality.Bad() {
			w = "b" + w
		}
		all = append(all, fmt.Sprintf("%d=%s@%v", x.Tag, w, time.Duration(x.At.Mono-rigBase)))
	}
	return strings.Join(all, ",")
}

// point shows a device, or the reading of a tag as it counts.
func (r *rig) point(name string) (string, bool) {
	for _, d := range r.e.Devices(nil, rigStamp(r.now)) {
		switch {
		case d.Name != name:
		case d.Removed != nil:
			return "out-by-" + d.Removed.Who, true
		case d.Test != nil:
			return "testing," + d.Test.Left.String(), true
		default:
			return "in", true
		}
	}
	for id := 1; id < len(r.set.Tags); id++ {
		if string(r.set.Tags[id].Name) == name {
			x := r.img.Readings()[id]
			q := x.Quality
			w := x.Value.String()
			for _, f := range []struct {
				is   bool
				word string
			}{
				{q.Bad(), "bad"},
				{q.Reason() == tag.OutOfService, "out"},
				{q.Reason() == tag.Stale, "stale"},
				{q&tag.Test != 0, "test"},
				{q&tag.Forced != 0, "forced"},
			} {
				if f.is {
					w += "," + f.word
				}
			}
			return w, true
		}
	}
	return "", false
}

// deviceSet is a lockSet in which D has a and E has b, c.
func deviceSet(m, n int, change func(*Interlock)) Set {
	set := lockSet(m, n, change)
	p := Permit{Roles: []string{"engineer"}, AtMost: time.Hour}
	set.Devices = []Device{
		{Name: "D", Tags: []tag.ID{1}, Force: p, Test: p},
		{Name: "E", Tags: []tag.ID{2, 3}, Force: p, Test: p},
	}
	return set
}

func TestPoints(t *testing.T) {
	alarmed := func(a Alarm) Set {
		set := deviceSet(3, 3, nil)
		a.Name, a.Cond, a.Priority = "hi", Condition{1, GE, 50}, High
		set.Alarms = []Alarm{a, {Name: "not", Cond: Condition{Tag: 1}, NotWatched: true, Priority: Low}}
		return set
	}
	for name, c := range map[string]struct {
		set    Set
		script string
	}{
		"force: shown, flagged, not judged, over at its time": {alarmed(Alarm{}), `
			0s a=1 b=1 c=1 => armed L
			1s force:a:70:10m ?a=70,forced ?hi=normal => forced a 70 for 10m0s; raised not#1
			2s a=60 ?a=70,forced ?hi=normal
			10m ?a=70,forced => degraded L a!bad@11s
			10m1s ?a=60 ?hi=unacked => unforced a 70 by nobody; raised hi#1; returned not#1; restored L`},
		"force: a step that comes late judges what there was at its end": {alarmed(Alarm{}), `
			0s a=1 b=1 c=1 => armed L
			1s force:a:70:10s => forced a 70 for 10s; raised not#1
			2s a=60
			20s a=2 ?a=2 => unforced a 70 by nobody@11s; degraded L a!bad@11s; raised hi#1@11s; returned not#1@11s; restored L@11s; returned hi#1`},
		"force: a channel that is forced is bad": {deviceSet(2, 3, nil), `
			0s a=1 b=1 c=1 => armed L
			1s force:a:1:1h => forced a 1 for 1h0m0s
			11s => degraded L a!bad
			12s b=100 => tripped L#1 first=b votes=a!bad,b; demand fan by L`},
		"force: ended by a person, replaced by one": {deviceSet(3, 3, nil), `
			0s a=1 b=1 c=1 => armed L
			1s force:a:5:1m force:a:6:2m ?a=6,forced => forced a 5 for 1m0s; unforced a 5; forced a 6 for 2m0s
			61s ?a=6,forced => degraded L a!bad@11s
			62s unforce:a unforce:a!not-forced ?a=1 => unforced a 6; restored L`},
		"force: a dead device stays dead beneath": {func() Set {
			set := deviceSet(3, 3, nil)
			set.Tags[1].TTL = 5 * s
			return set
		}(), `
			0s a=1 b=1 c=1 => armed L
			1s force:a:5:1m => forced a 5 for 1m0s
			20s ?a=5,forced => degraded L a!bad@11s
			21s unforce:a ?a=1,bad,stale => unforced a 5`},
		"removed: bad in the vote, and not left out as one in test": {deviceSet(2, 3, nil), `
			0s a=1 b=1 c=1 => armed L
			1s remove:D remove:D!already-removed ?a=1,bad,out ?D=out-by-li => out D
			2s a=test:7 ?a=7,bad,out
			11s => degraded L a!bad
			12s b=100 => tripped L#1 first=b votes=a!bad,b; demand fan by L
			13s b=1 restore:D ?a=7,test => in D; reset L#1; release fan by L`},
		"removed: ends force and test, and permits neither": {deviceSet(3, 3, nil), `
			0s a=1 b=1 c=1 => armed L
			1s force:a:5:1m => forced a 5 for 1m0s
			2s test:D:1m ?a=5,test,forced => testing D for 1m0s; degraded L a!test
			3s remove:D ?a=1,bad,out => unforced a 5; tested D aborted; out D
			4s force:a:5:1m!out-of-service test:D:1m!out-of-service
			5s restore:D restore:D!not-removed ?a=1 ?D=in => in D; restored L
			90s`},
		"test: readings carry the flag, the channel has the seat, the time ends it": {deviceSet(1, 3, nil), `
			0s a=1 b=1 c=1 => armed L
			1s test:D:10m test:D:10m!already-tested ?a=1,test ?D=testing,10m0s => testing D for 10m0s; degraded L a!test
			2s a=500 ?a=500,test ?L=armed,degraded
			3s a=1
			10m1s ?a=1 => tested D aborted by nobody; restored L
			10m2s a=500 => tripped L#1 first=a votes=a; demand fan by L`},
		"test: as long as is permitted where no time is said, ended with a result": {deviceSet(1, 3, nil), `
			0s a=1 b=1 c=1 => armed L
			1s test:E:0s ?b=1,test ?c=1,test => testing E for 1h0m0s; degraded L b!test
			2s endtest:E:passed endtest:E:passed!not-tested ?E=in => tested E passed; restored L`},
	} {
		t.Run(name, func(t *testing.T) { play(t, c.set, c.script) })
	}
}
