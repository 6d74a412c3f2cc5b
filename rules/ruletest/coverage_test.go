package ruletest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"davy/drivers/tag"
	"davy/rules"
)

func unseen(r Report) string {
	var all []string
	for _, u := range r.NeverSeen {
		all = append(all, strings.TrimSpace(fmt.Sprintf("%s %s", u.What, u.Channel)))
	}
	return strings.Join(all, ", ")
}

// Of three detectors: each degradation is there until a story looks at it.
func TestDegradationsSeen(t *testing.T) {
	look := expects("NH3-150: tripped") // whether it holds does not matter here
	const all = "channel-bad nh3-1.gas, channel-bad nh3-2.gas, channel-bad nh3-3.gas, channel-in-test nh3-1.gas, channel-in-test nh3-2.gas, channel-in-test nh3-3.gas, all-bad"
	without := func(gone ...string) string {
		var rest []string
		for _, x := range strings.Split(all, ", ") {
			if !slices.Contains(gone, x) {
				rest = append(rest, x)
			}
		}
		return strings.Join(rest, ", ")
	}
	bad := func(ids ...tag.ID) (s []Set) {
		for _, id := range ids {
			s = append(s, quality(id, tag.BadNoComm))
		}
		return s
	}
	for name, c := range map[string]struct {
		steps []Step
		want  string
	}{
		"nothing":                    {[]Step{{Set: still, Expect: look}}, all},
		"bad, for its delay":         {[]Step{{Set: still}, {At: s, Set: bad(1)}, {At: 11 * s, Expect: look}}, without("channel-bad nh3-1.gas")},
		"bad, not long enough":       {[]Step{{Set: still}, {At: s, Set: bad(1)}, {At: 11*s - 1, Expect: look}}, all},
		"bad again":                  {[]Step{{Set: still}, {At: s, Set: bad(1)}, {At: 5 * s, Set: still}, {At: 6 * s, Set: bad(1)}, {At: 12 * s, Expect: look}}, all},
		"bad, for another reason":    {[]Step{{Set: still}, {At: s, Set: bad(1)}, {At: 9 * s, Set: []Set{quality(1, tag.BadSensor)}}, {At: 11 * s, Expect: look}}, without("channel-bad nh3-1.gas")},
		"forced is bad":              {[]Step{{Set: still}, {At: s, Set: []Set{quality(1, tag.GoodQuality|tag.Forced)}}, {At: 11 * s, Expect: look}}, without("channel-bad nh3-1.gas")},
		"nobody looks":               {[]Step{{Set: still}, {At: s, Set: bad(1)}, {At: 11 * s}}, all},
		"somebody looks elsewhere":   {[]Step{{Set: still}, {At: s, Set: bad(1)}, {At: 11 * s, Expect: expects("comp1-discharge.high: normal")}}, all},
		"at the output":              {[]Step{{Set: still}, {At: s, Set: bad(1)}, {At: 11 * s, Expect: expects("fan1: stop")}}, without("channel-bad nh3-1.gas")},
		"at the degraded alarm":      {[]Step{{Set: still}, {At: s, Set: bad(1)}, {At: 11 * s, Expect: expects("NH3-150.degraded: unacked")}}, without("channel-bad nh3-1.gas")},
		"at the votes of its trip":   {[]Step{{Set: still}, {At: s, Set: bad(1, 2)}, {At: 11 * s, Expect: expects("votes: x")}}, without("channel-bad nh3-1.gas", "channel-bad nh3-2.gas")},
		"at votes before any trip":   {[]Step{{Set: still}, {At: s, Set: bad(1)}, {At: 11 * s, Expect: expects("votes: none")}}, all},
		"another was never set":      {[]Step{{Set: still[:2]}, {At: s, Set: bad(1)}, {At: 40 * s, Expect: look}}, all},
		"in test, at once":           {[]Step{{Set: still}, {At: s, Set: []Set{quality(2, tag.GoodQuality|tag.Test)}, Expect: look}}, without("channel-in-test nh3-2.gas")},
		"a function check is a test": {[]Step{{Set: still}, {At: s, Set: []Set{quality(2, tag.MakeQuality(tag.Bad, tag.FunctionCheck, 0))}, Expect: look}}, without("channel-in-test nh3-2.gas")},
		"all bad, one too short":     {[]Step{{Set: still}, {At: s, Set: bad(1, 2)}, {At: 2 * s, Set: bad(3)}, {At: 11 * s, Expect: look}}, all},
		"all bad":                    {[]Step{{Set: still}, {At: s, Set: bad(1, 2)}, {At: 2 * s, Set: bad(3)}, {At: 12 * s, Expect: look}}, without("all-bad")},
	} {
		if got := unseen(RunAll(room(), []Story{{Steps: c.steps}}, word)); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, c.want)
		}
	}
}

// What an interlock can lose hangs on its declaration.
func TestDegradationsThereAre(t *testing.T) {
	set := room()
	l := &set.Interlocks[0]
	l.InTestCounts, l.Bad = true, rules.LastGood
	if got, want := unseen(RunAll(set, nil, word)), "channel-bad nh3-1.gas, channel-bad nh3-2.gas, channel-bad nh3-3.gas, all-bad, aged"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	// A last good value votes at once, and no more when it is too old.
	at := func(d Step) Story {
		return Story{Steps: []Step{{Set: still}, {At: s, Set: []Set{quality(1, tag.BadNoComm)}}, d}}
	}
	if got := unseen(RunAll(set, []Story{at(Step{At: 2 * s, Expect: expects("NH3-150: armed")})}, word)); got != "channel-bad nh3-2.gas, channel-bad nh3-3.gas, all-bad, aged" {
		t.Errorf("young: %s", got)
	}
	if got := unseen(RunAll(set, []Story{at(Step{At: 11 * s, Expect: expects("NH3-150: armed")})}, word)); got != "channel-bad nh3-2.gas, channel-bad nh3-3.gas, all-bad" {
		t.Errorf("old: %s", got)
	}
	l.M, l.Channels, l.ResetConds = 1, l.Channels[:1], nil
	if got := unseen(RunAll(set, nil, word)); got != "" {
		t.Errorf("one channel: %s", got)
	}
}

func TestNames(t *testing.T) {
	story := Story{Name: rules.Text{Zh: "泄漏", En: "A leak trips"}, Steps: []Step{
		{Do: []Do{{Rule: "comp1-discharge.high"}}, Expect: []Expect{{Key: "NH3-150"}}},
	}}
	f := func(pattern string, want bool) {
		t.Helper()
		if story.Names(pattern) != want {
			t.Errorf("%q: %v", pattern, !want)
		}
	}
	f("leak", true)
	f("LEAK*TRIP", true)
	f("trip*leak", false)
	f("泄", true)
	f("nh3-1*", true)
	f("nh3-2", false)
	f("discharge", true)
	f("*", true)
}
