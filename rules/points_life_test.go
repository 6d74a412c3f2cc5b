package rules

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"davy/drivers/tag"

	"pgregory.net/rapid"
)

// What persons did survives a restart, but for a force: the restart says that
// it is gone. A hand-over keeps it all.
func TestPointsRestart(t *testing.T) {
	for name, script := range map[string]string{
		"a removed device": `
			0s a=1 b=1 c=1 => armed L
			1s remove:D => out D
			11s => degraded L a!bad
			20s restart:5s ?D=out-by-li
			21s a=1 b=1 c=1 ?a=1,bad,out => armed L
			22s restore:D ?a=1 => in D; restored L`,
		"a test, with what is left of it": `
			0s a=1 b=1 c=1 => armed L
			1s test:D:60s => testing D for 1m0s; degraded L a!test
			20s restart:5s ?D=testing,41s
			21s a=1 b=1 c=1 ?a=1,test => armed L
			61s => tested D aborted by nobody; restored L`,
		"a test, and a stop of unknown length": `
			0s a=1 b=1 c=1 => armed L
			1s test:D:60s => testing D for 1m0s; degraded L a!test
			20s restart:-1s ?D=testing,41s
			21s endtest:D:failed => tested D failed`,
		"a test that was over by then": `
			0s a=1 b=1 c=1 => armed L
			1s test:D:60s => testing D for 1m0s; degraded L a!test
			100s restart:90s ?D=in => tested D aborted by nobody`,
		"a force is gone, and it is said": `
			0s a=1 b=1 c=1 => armed L
			1s force:a:9:10m => forced a 9 for 10m0s
			2s restart:1s b=1 c=1 ?a=-,bad => unforced a 9 by nobody
			3s restart:1s a=1 b=1 c=1 ?a=1 => armed L
			20m`,
		"a hand-over keeps force and test": `
			0s a=1 b=1 c=1 => armed L
			1s force:b:9:10m test:D:20m => forced b 9 for 10m0s; testing D for 20m0s; degraded L a!test
			2s handover ?b=9,forced ?a=1,test ?D=testing,19m59s
			3s b=500 ?L=armed,degraded
			5s b=2
			11s => degraded L b!bad
			10m1s ?b=2 => unforced b 9 by nobody
			20m1s ?D=in => tested D aborted by nobody; restored L`,
	} {
		t.Run(name, func(t *testing.T) { play(t, deviceSet(3, 3, func(l *Interlock) { l.Bad = LeftOut }), script) })
	}
}

// Every event of a point that is tested or forced, or of a drilled rule, says so.
func TestEventsOfTests(t *testing.T) {
	set := deviceSet(1, 2, func(l *Interlock) {
		l.InTestCounts, l.ManualReset, l.DegradedPriority = true, true, Low
		l.Test = Permit{AtMost: time.Hour}
	})
	set.Outputs[0].Proved, set.Outputs[0].Proof, set.Outputs[0].Within = true, Condition{4, EQ, 1}, 5*s
	set.Alarms = []Alarm{{Name: "hi", Cond: Condition{1, GE, 50}, Priority: High}, {Name: "other", Cond: Condition{2, GE, 50}, Priority: High}}
	r := newRig(t, set)
	var got []string
	run := func(script string) {
		t.Helper()
		for line := range strings.Lines(script) {
			fields := strings.Fields(line)
			r.now, _ = time.ParseDuration(fields[0])
			var all []Event
			for _, f := range fields[1:] {
				if part := strings.Split(f, ":"); pointVerbs[part[0]] != 0 {
					r.doPoint(part, "")
					all = append(all, r.out.Events...)
				} else if part[0] == "reset" {
					if err := Do(r.e, r.img, rigStamp(r.now), Command{Verb: Reset, Rule: "L", Occurrence: r.e.interlocks[0].occurrence}, &r.out); err != nil {
						t.Fatal(line, err)
					}
					all = append(all, r.out.Events...)
				} else {
					r.put(f)
				}
			}
			Step(r.e, r.img, rigStamp(r.now), &r.out)
			for _, v := range append(all, r.out.Events...) {
				if v.Kind < PointRemoved {
					got = append(got, fmt.Sprintf("%d:%s:%v", v.Kind, v.Rule, v.Test))
				}
			}
		}
	}
	want := func(what string, all ...string) {
		t.Helper()
		if !slices.Equal(got, all) {
			t.Errorf("%s\n got %v\nwant %v", what, got, all)
		}
		got = nil
	}
	say := func(k Kind, rule string, test bool) string { return fmt.Sprintf("%d:%s:%v", k, rule, test) }
	run("0s a=1 b=1 f=0")
	want("armed", say(InterlockArmed, "L", false))
	run("1s test:D:10m\n2s a=60")
	want("alarm of a tested device", say(AlarmRaised, "hi", true))
	if v, _ := r.e.Alarm("hi"); !v.Test {
		t.Error("the test is not shown")
	}
	run("3s b=60")
	want("alarm of another", say(AlarmRaised, "other", false))
	run("4s b=1\n5s a=100 f=1")
	want("trip by a channel in test", say(AlarmReturned, "other", false), say(InterlockTripped, "L", true), say(AlarmRaised, "L.tripped", true), say(OutputDemanded, "L", true), say(OutputProved, "L", true))
	run("6s endtest:D:passed a=1 f=0")
	got = nil
	run("11s")
	want("the proof of a trip in test", say(AlarmRaised, "fan.proof", true))
	run("12s reset")
	got = nil
	run("2m")
	want("recorded", say(InterlockRecorded, "L", true))
	run("130s b=100")
	want("a true trip", say(AlarmRaised, "other", false), say(InterlockTripped, "L", false), say(AlarmRaised, "L.tripped", false), say(OutputDemanded, "L", false))
	run("131s test:L:10m b=1")
	got = nil
	run("132s reset")
	want("a reset in a drill", say(InterlockReset, "L", true), say(AlarmReturned, "L.tripped", true), say(OutputReleased, "L", true))
	if v, _ := r.e.Interlock("L", rigStamp(r.now)); !v.Test {
		t.Error("the drill is not shown")
	}
}

// The alarm that a test is due: from the start where none is known, and again
// when the time is over. Clocks that jump move nothing; a stop of known length counts.
func TestTestDue(t *testing.T) {
	set := deviceSet(3, 3, nil)
	set.Devices[0].TestEvery = 24 * time.Hour
	r := play(t, set, `
		0s a=1 b=1 c=1 ?D.test-due=unacked => armed L; raised D.test-due#1
		1s test:D:60s => testing D for 1m0s; degraded L a!test
		2s endtest:D:failed ?D.test-due=unacked => tested D failed; restored L
		3s test:D:60s => testing D for 1m0s; degraded L a!test
		4s endtest:D:passed => tested D passed; returned D.test-due#1; restored L
		23h
		24h4s => raised D.test-due#2
		24h5s test:D:60s => testing D for 1m0s; degraded L a!test
		24h6s endtest:D:passed => tested D passed; returned D.test-due#2; restored L
		25h handover
		30h restart:2h a=1 b=1 c=1 => armed L
		48h5s ?D.test-due=returned
		48h6s => raised D.test-due#3`)
	if d := r.e.Devices(nil, rigStamp(r.now))[0]; d.Passed != rigStamp(24*time.Hour+6*s).Wall {
		t.Errorf("the last passed test was at %d", d.Passed)
	}
	if v, _ := r.e.Alarm("D.test-due"); v.Of != "test-due" || v.Priority != Low {
		t.Errorf("%+v", v)
	}

	// The wall clock jumps, also behind the passed test and over a restart.
	e, _ := New(set)
	m := NewImage(set)
	var out Outcome
	at := func(mono time.Duration, wall int64) (raised bool) {
		Step(e, m, tag.Stamp{Wall: wall, Mono: rigBase + int64(mono)}, &out)
		a, _ := e.Alarm("D.test-due")
		return a.Standing || a.State == Unacked || a.State == Acked
	}
	do := func(mono time.Duration, wall int64, c Command) {
		c.Who, c.Note, c.Proved, c.Roles = "li", "n", true, []string{"engineer"}
		if err := Do(e, m, tag.Stamp{Wall: wall, Mono: rigBase + int64(mono)}, c, &out); err != nil {
			t.Fatal(err)
		}
	}
	const year = 365 * 24 * int64(time.Hour)
	do(0, 60*year, Command{Verb: BeginTest, Rule: "D"})
	do(s, 60*year, Command{Verb: EndTest, Rule: "D", Result: Passed})
	for i, wall := range []int64{60 * year, 0, 50 * year, 99 * year, 60 * year} {
		if at(time.Duration(i+1)*time.Hour, wall) {
			t.Errorf("raised by a clock that says %d", wall)
		}
	}
	b := e.Snapshot(nil, tag.Stamp{Wall: 0, Mono: rigBase + int64(6*time.Hour)})
	e, _ = New(set)
	if err := e.Restore(b, time.Hour); err != nil {
		t.Fatal(err)
	}
	if at(0, 99*year) || at(17*time.Hour, 0) || !at(17*time.Hour+s, 0) || !at(18*time.Hour, 60*year) {
		t.Error("the alarm goes by the clock")
	}
}

func TestPointsRefused(t *testing.T) {
	set := deviceSet(3, 3, nil)
	set.Devices[1].Force.AtMost = 0
	set.Alarms = []Alarm{{Name: "hi", Cond: Condition{1, GE, 50}, Priority: High}}
	r := play(t, set, `0s a=1 b=1 c=1 => armed L`)
	v, _ := tag.Float64Value(1)
	good := Command{Verb: Force, Rule: "a", Who: "li", Proved: true, Note: "n", Roles: []string{"guard", "engineer"}, Value: v, For: time.Hour}
	for name, c := range map[string]struct {
		change func(*Command)
		want   string
	}{
		"force-too-long":     {func(c *Command) { c.For++ }, "force-too-long"},
		"no value":           {func(c *Command) { c.Value = tag.Value{} }, "force-needs-value"},
		"no time":            {func(c *Command) { c.For = 0 }, "needs-time"},
		"negative time":      {func(c *Command) { c.For = -1 }, "needs-time"},
		"no reason":          {func(c *Command) { c.Note = " " }, "needs-reason"},
		"not proved":         {func(c *Command) { c.Proved = false }, "needs-proved"},
		"no role":            {func(c *Command) { c.Roles = []string{"guard"} }, "needs-role"},
		"nobody may":         {func(c *Command) { c.Rule = "b" }, "not-permitted"},
		"of no device":       {func(c *Command) { c.Rule = "f" }, "unknown-tag"},
		"not forced":         {func(c *Command) { c.Verb = EndForce }, "not-forced"},
		"test: no device":    {func(c *Command) { c.Verb, c.Rule = BeginTest, "X" }, "unknown-device"},
		"test: an alarm":     {func(c *Command) { c.Verb, c.Rule = BeginTest, "hi" }, "unknown-device"},
		"test: nobody may":   {func(c *Command) { c.Verb, c.Rule = BeginTest, "L" }, "not-permitted"},
		"test-too-long":      {func(c *Command) { c.Verb, c.Rule, c.For = BeginTest, "D", time.Hour+1 }, "test-too-long"},
		"test: not begun":    {func(c *Command) { c.Verb, c.Rule = EndTest, "D" }, "not-tested"},
		"test: not proved":   {func(c *Command) { c.Verb, c.Rule, c.Proved = EndTest, "D", false }, "needs-proved"},
		"remove: not proved": {func(c *Command) { c.Verb, c.Rule, c.Proved = Remove, "D", false }, "needs-proved"},
		"remove: no reason":  {func(c *Command) { c.Verb, c.Rule, c.Note = Remove, "D", "" }, "needs-reason"},
		"restore: in":        {func(c *Command) { c.Verb, c.Rule = Restore, "D" }, "not-removed"},
		"restore: no reason": {func(c *Command) { c.Verb, c.Rule, c.Note = Restore, "D", "" }, "needs-reason"},
	} {
		c2 := good
		c.change(&c2)
		before := r.e.Snapshot(nil, rigStamp(0))
		err := Do(r.e, r.img, rigStamp(0), c2, &r.out)
		var refused *RefusedError
		if !errors.As(err, &refused) || refused.Code != c.want || string(before) != string(r.e.Snapshot(nil, rigStamp(0))) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	if err := Do(r.e, r.img, rigStamp(0), good, &r.out); err != nil || !r.out.Durable || len(r.out.Overlays) != 1 {
		t.Errorf("%v %+v", err, r.out)
	}
	if f := r.e.Forces(nil, rigStamp(10*time.Minute)); len(f) != 1 || f[0].Left != 50*time.Minute || f[0].Who != "li" || f[0].Since != rigStamp(0) || f[0].Value != v || f[0].Tag != 1 {
		t.Errorf("%+v", f)
	}
}

func TestNewDevices(t *testing.T) {
	c := Condition{Tag: 1, Limit: 1}
	set := Set{
		Tags:   tagsOf("a", "", "k"),
		Alarms: []Alarm{{Name: "hi", Cond: c, Priority: Low}},
		Devices: []Device{
			{Name: "hi", Tags: []tag.ID{1, 3, 4}},
			{Name: "D", Tags: []tag.ID{1}, Force: Permit{Second: []string{"x"}}, Test: Permit{AlarmOnly: true, AtMost: -1}, TestEvery: -1},
			{Name: "D"},
			{},
		},
	}
	set.Computed = []Computed{{Tag: 3}}
	_, err := New(set)
	got := fmt.Sprint(err)
	for _, want := range []string{
		`device "hi": the name is already that of an alarm`, `device "hi": tag 4 is not in the set`, `device "hi": tag "k" is computed`, `device "D": tag "a" is already that of a device`,
		`device "D" force: a second person is asked for by bypasses only`, `device "D" test: it ends at its time`, `device "D" test: longest time of -1ns`,
		`device "D": time between tests of -1ns`, `device "D": there is another of this name`, `device "": the name is empty`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("it does not say: %s\n%s", want, got)
		}
	}
}

// Random words of persons and random readings: steps more than needed, and
// hand-overs to a new engine at one instant, change no event, no time of one,
// and no reading.
func TestPointsStepsAndHandOvers(t *testing.T) {
	checks(t, 500)
	rapid.Check(t, func(t *rapid.T) {
		set := deviceSet(2, 3, func(l *Interlock) {
			l.BadAfter, l.OnDelay, l.Test = 3*s, s, Permit{AtMost: 9 * s}
			l.ManualReset, l.InTestCounts = rapid.Bool().Draw(t, "manual"), rapid.Bool().Draw(t, "in test")
			l.Bad = BadPolicy(rapid.IntRange(0, 2).Draw(t, "bad"))
		})
		for i := range set.Devices {
			set.Devices[i].TestEvery = 12 * s
		}
		for id := tag.ID(1); id <= 3; id++ {
			set.Alarms = append(set.Alarms,
				Alarm{Name: fmt.Sprint("hi", id), Cond: Condition{id, GE, 100}, Priority: High, OnDelay: 2 * s, OffDelay: s, Latch: id == 2},
				Alarm{Name: fmt.Sprint("not", id), Cond: Condition{Tag: id}, Priority: Low, NotWatched: true})
		}
		type side struct {
			e   *Engine
			m   *Image
			got []string
			out Outcome
		}
		sides := []*side{{m: NewImage(set)}, {m: NewImage(set)}}
		for _, x := range sides {
			x.e, _ = New(set)
			for id := tag.ID(1); id <= 3; id++ { // the start is over at once
				x.m.Put(tag.Reading{Tag: id, Quality: tag.GoodQuality, Value: tag.IntValue(0), Received: rigStamp(0)})
			}
			Step(x.e, x.m, rigStamp(0), &x.out)
		}
		keep := func(x *side) {
			for _, v := range x.out.Events {
				v.Record = nil // a new engine has not seen what was before it
				x.got = append(x.got, fmt.Sprintf("%d %+v", v.At.Mono, v))
			}
			slices.Sort(x.got) // at one instant the order of what is put may be another
		}
		now := time.Duration(0)
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			next := now + time.Duration(rapid.IntRange(0, 4000).Draw(t, "ms"))*time.Millisecond
			for range rapid.IntRange(0, 3).Draw(t, "extra") {
				at := now + time.Duration(rapid.Int64Range(0, int64(next-now)).Draw(t, "at"))
				now = at
				x := sides[1]
				Step(x.e, x.m, rigStamp(at), &x.out)
				keep(x)
			}
			now = next
			for id := tag.ID(1); id <= 3; id++ {
				if !rapid.Bool().Draw(t, "put") {
					continue
				}
				v := tag.IntValue(int64(rapid.IntRange(99, 100).Draw(t, "v")))
				q := rapid.SampledFrom(modelQualities).Draw(t, "q")
				for _, x := range sides {
					x.m.Put(tag.Reading{Tag: id, Quality: q, Value: v, Received: rigStamp(now)})
				}
			}
			for _, x := range sides {
				Step(x.e, x.m, rigStamp(now), &x.out)
				keep(x)
			}
			for range rapid.IntRange(0, 2).Draw(t, "commands") {
				c := Command{Verb: rapid.SampledFrom([]Verb{Force, Force, EndForce, BeginTest, BeginTest, EndTest, Remove, Restore, Restore}).Draw(t, "verb"), Who: "li", Note: "n", Proved: true, Roles: []string{"engineer"}}
				c.Rule = rapid.SampledFrom([]string{"D", "E", "L"}).Draw(t, "device")
				if c.Verb == Force || c.Verb == EndForce {
					c.Rule = rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "tag")
				}
				c.Value, c.Result = tag.IntValue(int64(rapid.IntRange(99, 100).Draw(t, "value"))), Result(rapid.IntRange(0, 3).Draw(t, "result"))
				c.For = time.Duration(rapid.IntRange(0, 9000).Draw(t, "for")) * time.Millisecond
				var said []string
				for _, x := range sides {
					err := Do(x.e, x.m, rigStamp(now), c, &x.out)
					keep(x)
					said = append(said, fmt.Sprint(err))
				}
				if said[0] != said[1] {
					t.Fatalf("at %v %+v: %v", now, c, said)
				}
			}
			if x := sides[1]; rapid.IntRange(0, 3).Draw(t, "hand-over") == 0 {
				b := x.e.Snapshot(nil, rigStamp(now))
				x.e, _ = New(set)
				if err := x.e.Restore(b, 0); err != nil {
					t.Fatal(err)
				}
				if again := x.e.Snapshot(nil, rigStamp(now)); string(again) != string(b) {
					t.Fatalf("at %v the snapshot is another\n%q\n%q", now, b, again)
				}
				Step(x.e, x.m, rigStamp(now), &x.out)
				keep(x)
			}
			if !slices.Equal(sides[0].got, sides[1].got) {
				t.Fatalf("at %v\n%s\nand with more steps and hand-overs\n%s", now, strings.Join(sides[0].got, "\n"), strings.Join(sides[1].got, "\n"))
			}
			if !slices.Equal(sides[0].m.Readings(), sides[1].m.Readings()) {
				t.Fatalf("at %v the images differ", now)
			}
			a, b := fmt.Sprintf("%+v", sides[0].e.Forces(nil, rigStamp(now))), fmt.Sprintf("%+v", sides[1].e.Forces(nil, rigStamp(now)))
			if a != b {
				t.Fatalf("at %v\n%s\n%s", now, a, b)
			}
		}
	})
}
