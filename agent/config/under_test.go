package config

import (
	"slices"
	"strings"
	"testing"
	"time"

	"davy/drivers/tag"
	"davy/rules"
)

// Everything behind one dead link is one line: the link's alarm. What each tag
// has to say stands, suppressed under it, and is raised when the link is back
// and the tag still bad.
func TestOneLineForADeadLink(t *testing.T) {
	_, plan, _ := readDir(t, "example")
	e, err := rules.New(plan.Rules)
	if err != nil {
		t.Fatal(err)
	}
	link := slices.IndexFunc(plan.Links, func(l Link) bool { return l.Name == "plc" })
	in := rules.Input{Image: make([]tag.Reading, len(plan.Tags))}
	var out rules.Outcome
	calls := map[string]bool{}
	step := func(at time.Duration, silent bool, back tag.Name) {
		in.Now = tag.Stamp{Mono: int64(time.Hour + at), Wall: int64(time.Hour + at)}
		in.Changed = in.Changed[:0]
		for _, x := range plan.Tags[1:] {
			r := tag.Reading{Tag: x.ID, Quality: tag.GoodQuality, Value: tag.IntValue(1), Received: in.Now}
			switch {
			case x.Name == "link.plc.silent":
				r.Value = tag.BoolValue(silent)
			case x.Link == link && (silent || x.Name == back):
				r.Quality, r.Value = tag.BadNoComm, tag.Value{}
			case x.Kind == tag.Bool:
				r.Value = tag.BoolValue(false)
			}
			in.Image[x.ID] = r
			in.Changed = append(in.Changed, x.ID)
		}
		e.Step(&in, &out)
		for _, x := range out.Events {
			if x.Kind == rules.AlarmRaised && x.Hidden == rules.Normal {
				calls[x.Rule] = true
			}
		}
	}
	step(0, false, "")
	for s := range 120 {
		step(time.Duration(s+1)*time.Second, true, "")
	}
	if !calls["link.plc.silent"] {
		t.Errorf("the link is silent and nobody is called: %v", calls)
	}
	behind := 0
	for _, a := range e.Alarms(nil, in.Now) {
		own := slices.IndexFunc(plan.Rules.Alarms, func(x rules.Alarm) bool { return x.Name == a.Name })
		if !strings.HasSuffix(a.Name, NotWatchedSuffix) || own < 0 || plan.Rules.Alarms[own].Under != "link.plc.silent" {
			continue
		}
		behind++
		if calls[a.Name] || !a.Standing || a.State != rules.Suppressed || a.Under != "link.plc.silent" {
			t.Errorf("%s called for itself: %+v", a.Name, a)
		}
	}
	if behind < 3 {
		t.Fatalf("%d tags stand behind the link", behind)
	}
	clear(calls)
	for s := range 120 {
		step(time.Duration(s+121)*time.Second, false, "nh3-2.gas")
	}
	if len(calls) != 1 || !calls["nh3-2.gas.not-watched"] {
		t.Errorf("the link is back, one tag is not: %v", calls)
	}
}
