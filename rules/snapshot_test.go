package rules

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"davy/drivers/tag"
)

func TestRestart(t *testing.T) {
	over := Condition{Op: GE, Limit: 100}
	reset60 := func(l *Interlock) {
		manual(l)
		l.ResetConds, l.ResetFor = []Condition{{1, LT, 25}}, 60*s
	}
	for name, c := range map[string]struct {
		set    Set
		script string
	}{
		"alarm: state and occurrence, bad until read": {alarmSet(Alarm{Cond: over}), `
			0s a=100 ack:hi => raised hi#1; acked hi#1
			5s restart:2s ?hi=acked
			6s a=1 ?hi=normal => returned hi#1
			7s restart:2s
			8s a=100 => raised hi#2`},
		"alarm: latched and returned": {alarmSet(Alarm{Cond: over, Latch: true}), `
			0s a=100 => raised hi#1
			1s a=1 => returned hi#1
			5s restart:1s ?hi=latched ack:hi => acked hi#1
			6s restart:1s ?hi=latched-acked reset:hi => unlatched hi#1`},
		"alarm: an on-delay waits for the first reading and goes on": {alarmSet(Alarm{Cond: over, OnDelay: 10 * s}), `
			0s a=100
			6s restart:3s
			8s a=bad
			11s ?hi=unacked => raised hi#1@10s`},
		"alarm: an on-delay that is over by then": {alarmSet(Alarm{Cond: over, OnDelay: 10 * s}), `
			0s a=100
			30s restart:20s
			50s ?hi=normal
			70s a=100 => raised hi#1`},
		"alarm: an on-delay that nobody confirms": {alarmSet(Alarm{Cond: over, OnDelay: 10 * s}), `
			0s a=100
			6s restart:3s
			8s a=1
			9s a=100
			19s => raised hi#1`},
		"alarm: the time down counts as standing, not as clear": {alarmSet(Alarm{Cond: over, OnDelay: 10 * s, OffDelay: 10 * s}), `
			0s a=100
			10s => raised hi#1
			11s a=1
			15s restart:0s
			100s a=1
			105s ?hi=unacked
			106s => returned hi#1`},
		"alarm: off-delay, an unknown time down": {alarmSet(Alarm{Cond: over, OffDelay: 10 * s}), `
			0s a=100 => raised hi#1
			1s a=1
			5s restart:-1s
			6s a=1
			12s => returned hi#1`},
		"not watched: restored, and read": {alarmSet(Alarm{NotWatched: true}), `
			0s a=1
			1s a=bad => raised hi#1
			5s restart:1s ?hi=unacked
			6s a=1 => returned hi#1`},
		"alarm: a hand-over loses nothing": {alarmSet(Alarm{Cond: over, OnDelay: 10 * s}), `
			0s a=100
			6s handover
			10s => raised hi#1`},
		"trip: stands and demands, and is no second trip": {lockSet(1, 1, manual), `
			0s a=100 => armed L; tripped L#1 first=a votes=a; demand fan by L
			5s restart:2s ?L=tripped ?fan=on,by-L reset:L!reset-not-met
			6s a=100 reset:L!still-standing
			7s a=1 reset:L ?fan=off => reset L#1; release fan by L
			8s a=100 => tripped L#2 first=a votes=a; demand fan by L`},
		"trip: not reset before everything was read": {lockSet(1, 2, func(l *Interlock) { manual(l); l.Bad = LeftOut }), `
			0s a=100 b=1 => armed L; tripped L#1 first=a votes=a; demand fan by L
			5s restart:2s
			6s a=1 reset:L!reset-not-met
			7s b=1 reset:L => reset L#1; release fan by L`},
		"trip: one that resets itself waits for readings": {lockSet(1, 1, nil), `
			0s a=100 => armed L; tripped L#1 first=a votes=a; demand fan by L
			5s restart:2s
			6s ?fan=on,by-L
			7s a=1 => reset L#1; release fan by L`},
		"trip: nothing new latches while starting": {lockSet(1, 2, manual), `
			0s a=1 b=1 => armed L
			5s restart:2s ?L=starting
			6s a=500 ?L=starting
			7s b=1 => armed L; tripped L#1 first=a votes=a; demand fan by L`},
		"trip: the demand's delay goes on": {lockSet(1, 1, func(l *Interlock) { l.Demands = []Demand{{Output: "fan", Delay: 0}, {Output: "horn", Delay: 20 * s}} }), `
			0s a=100 => armed L; tripped L#1 first=a votes=a; demand fan by L
			10s restart:5s ?horn=off
			20s ?horn=on,by-L => demand horn by L`},
		"trip: a delay that ended meanwhile": {lockSet(1, 1, func(l *Interlock) { l.Demands = []Demand{{Output: "fan", Delay: 0}, {Output: "horn", Delay: 20 * s}} }), `
			0s a=100 => armed L; tripped L#1 first=a votes=a; demand fan by L
			60s restart:50s ?horn=on,by-L => demand horn by L`},
		"vote: the on-delay goes on": {lockSet(1, 1, func(l *Interlock) { l.OnDelay = 20 * s }), `
			0s a=100 => armed L
			10s restart:5s
			15s a=100 => armed L
			20s => tripped L#1 first=a votes=a; demand fan by L`},
		"vote: an on-delay that nobody confirms": {lockSet(1, 1, func(l *Interlock) { l.OnDelay = 20 * s }), `
			0s a=100 => armed L
			10s restart:5s
			15s a=1 => armed L
			16s a=100
			36s => tripped L#1 first=a votes=a; demand fan by L`},
		"reset condition: a restart begins anew": {lockSet(1, 1, reset60), `
			0s a=100 => armed L; tripped L#1 first=a votes=a; demand fan by L
			1s a=1
			31s restart:1s
			32s a=1 ?L=tripped,in1m0s`},
		"reset condition: a hand-over goes on": {lockSet(1, 1, reset60), `
			0s a=100 => armed L; tripped L#1 first=a votes=a; demand fan by L
			1s a=1
			31s handover ?L=tripped,in30s
			61s ?L=tripped,ready`},
		"bad channel: a hand-over goes on": {lockSet(2, 3, manual), `
			0s a=1 b=1 c=1 => armed L
			1s a=bad
			6s handover ?L=armed
			11s => degraded L a!bad
			12s handover ?L=armed,degraded
			13s a=1 => restored L`},
		"bad channel: last good is handed over": {lockSet(2, 2, func(l *Interlock) { manual(l); l.Bad = LastGood }), `
			0s a=100 b=1 => armed L
			1s a=bad => degraded L a!bad
			2s handover ?L=armed,degraded
			3s b=100 => tripped L#1 first=a votes=a,b; demand fan by L`},
		"test: the place is handed over": {lockSet(2, 3, manual), `
			0s a=1 b=1 c=1 => armed L
			1s b=test:1 => degraded L b!test
			2s a=test:1
			3s handover
			12s => degraded L a!bad
			13s c=100 => tripped L#1 first=c votes=a!bad,c; demand fan by L`},
		"restart: nobody watched meanwhile, though everything is read at once": {lockSet(1, 1, reset60), `
			0s a=100 => armed L; tripped L#1 first=a votes=a; demand fan by L
			1s a=1
			31s restart:1s a=1 ?L=tripped,in1m0s`},
		"restart: armed anew, and a bad channel counts anew": {lockSet(2, 3, manual), `
			0s a=1 b=1 c=1 => armed L
			1s a=bad
			6s restart:1s a=bad b=1 c=1 => armed L
			15s ?L=armed
			16s => degraded L a!bad`},
		"degraded: said once, and said when it is over": {lockSet(2, 3, manual), `
			0s a=bad b=1 c=1 => armed L
			10s => degraded L a!bad
			20s restart:5s
			21s a=1 b=1 c=1 => armed L; restored L`},
		"degraded: still so": {lockSet(2, 3, manual), `
			0s a=bad b=1 c=1 => armed L
			10s => degraded L a!bad
			20s restart:5s
			21s a=bad b=1 c=1 ?L=armed,degraded => armed L
			40s ?L=armed,degraded`},
	} {
		t.Run(name, func(t *testing.T) { play(t, c.set, c.script) })
	}
}

func TestOverdueSurvivesRestarts(t *testing.T) {
	set := lockSet(2, 3, func(l *Interlock) { l.DegradedAtMost = time.Hour })
	play(t, set, `
		0s a=bad b=1 c=1 => armed L
		10s => degraded L a!bad
		30m restart:29m
		30m10s a=bad b=1 c=1 => armed L
		61m => raised L.degraded-overdue#1@1h0m10s`)
}

func TestStartTripped(t *testing.T) {
	set := lockSet(1, 1, manual)
	k := lockSet(1, 1, nil).Interlocks[0]
	k.Name, k.Demands = "K", nil
	set.Interlocks = append(set.Interlocks, k)
	r := newRig(t, set)
	r.e.StartTripped()
	if d := r.e.Demands(nil); !d[0].Protective || d[0].By != "L" || d[1].Protective {
		t.Errorf("before the first step: %+v", d)
	}
	r.play(`0s ?L=tripped ?K=starting ?fan=on,by-L => tripped-at-start L#1; demand fan by L`)
	if len(r.out.Demands) != 1 || !r.out.Durable {
		t.Errorf("%+v", r.out)
	}
	r.play(`
		1s reset:L!reset-not-met
		2s a=1 reset:L ?L=armed ?fan=off => armed K; reset L#1; release fan by L`)
}

// After Restore, and before the first step, the owner can drive restored trips.
func TestRestoredDemandsBeforeFirstStep(t *testing.T) {
	set := lockSet(1, 1, func(l *Interlock) { l.Demands = []Demand{{Output: "fan", Delay: 0}, {Output: "horn", Delay: 20 * s}} })
	r := play(t, set, `0s a=100 => armed L; tripped L#1 first=a votes=a; demand fan by L`)
	b := r.e.Snapshot(nil, rigStamp(5*s))
	for _, c := range []struct {
		down time.Duration
		horn bool
	}{{-1, false}, {10 * s, false}, {15 * s, true}} {
		e, _ := New(set)
		if err := e.Restore(b, c.down); err != nil {
			t.Fatal(err)
		}
		if d := e.Demands(nil); !d[0].Protective || d[0].By != "L" || d[1].Protective != c.horn {
			t.Errorf("down %v: %+v", c.down, d)
		}
		var out Outcome
		e.Step(&Input{Now: rigStamp(99 * s), Image: NewImage(set).Readings()}, &out)
		if len(out.Demands) != 1+count(c.horn) || out.Demands[0].Output != 0 {
			t.Errorf("down %v: %+v", c.down, out.Demands)
		}
		if v, _ := e.Interlock("L", rigStamp(99*s)); v.TrippedAt != rigStamp(94*s-max(c.down, 0)) || v.FirstOut != "a" || len(v.Votes) != 1 || v.Votes[0].Since != v.TrippedAt {
			t.Errorf("down %v: %+v", c.down, v)
		}
	}
}

func TestDropped(t *testing.T) {
	set := lockSet(1, 1, nil)
	set.Alarms = []Alarm{{Name: "hi", Cond: Condition{2, GE, 1}, Priority: Low}, {Name: "lo", Cond: Condition{2, LE, -1}, Priority: Low}}
	r := play(t, set, `0s a=100 b=5 => raised hi#1; armed L; tripped L#1 first=a votes=a; demand fan by L`)
	b := r.e.Snapshot(nil, rigStamp(0))
	set.Interlocks[0].Name, set.Alarms[0].Name, set.Alarms[1].Name = "M", "high", "hi2"
	e, err := New(set)
	if err != nil {
		t.Fatal(err)
	}
	if err = e.Restore(b, 0); err != nil || !slices.Equal(e.Dropped(), []string{"L", "L.tripped", "hi"}) {
		t.Errorf("dropped %v, %v", e.Dropped(), err)
	}
	if a := e.Alarms(nil, rigStamp(0)); len(a) != 0 {
		t.Errorf("new rules start normal, yet %+v", a)
	}
	// A name that is now another sort of rule is gone as well.
	set.Alarms[0].Name, set.Interlocks[0].Name = "L", "hi"
	e, _ = New(set)
	if err = e.Restore(b, 0); err != nil || !slices.Equal(e.Dropped(), []string{"L", "L.tripped", "hi"}) {
		t.Errorf("dropped %v, %v", e.Dropped(), err)
	}
	// A latched state of an alarm that latches no more.
	for name, want := range map[string]AlarmState{"0s a=100 => raised hi#1\n1s a=1 => returned hi#1": ReturnedUnacked, "0s a=100 ack:hi => raised hi#1; acked hi#1\n1s a=1 => returned hi#1": Normal} {
		r = play(t, alarmSet(Alarm{Cond: Condition{Op: GE, Limit: 1}, Latch: true}), strings.ReplaceAll(name, "a=1 ", "a=0 "))
		e, _ = New(alarmSet(Alarm{Cond: Condition{Op: GE, Limit: 1}}))
		_ = e.Restore(r.e.Snapshot(nil, rigStamp(0)), 0)
		if a, _ := e.Alarm("hi"); a.State != want {
			t.Errorf("state %v, want %v", a.State, want)
		}
	}
}

func TestSnapshotDefects(t *testing.T) {
	set := lockSet(2, 3, manual)
	set.Alarms = []Alarm{{Name: "hi", Cond: Condition{1, GE, 1}, Priority: Low, OffDelay: s}}
	r := play(t, set, `
		0s a=100 b=100 c=bad => raised hi#1; armed L; tripped L#1 first=a votes=a,b; demand fan by L
		1s a=0`)
	good := r.e.Snapshot(nil, rigStamp(s))
	refuse := func(what string, b []byte) {
		t.Helper()
		e, _ := New(set)
		if err := e.Restore(b, 0); !errors.Is(err, ErrSnapshot) {
			t.Errorf("%s: %v", what, err)
		}
		if a := e.Alarms(nil, tag.Stamp{}); len(a) != 0 || e.Demands(nil)[0].Protective {
			t.Errorf("%s: something was taken over", what)
		}
	}
	for n := range good {
		refuse("cut short", good[:n])
	}
	refuse("too long", append(slices.Clone(good), 0))
	for i := range 8 {
		b := slices.Clone(good)
		b[i] ^= 1
		refuse("head changed", b)
	}
	e, _ := New(set)
	if err := e.Restore(good, 0); err != nil {
		t.Fatal(err)
	}
	// What drivers should not make does not keep a snapshot from being read back.
	r = newRig(t, set)
	in := Input{Now: rigStamp(0), Image: r.img.Readings()}
	in.Image[1] = tag.Reading{Tag: 1, Quality: tag.Quality(3)<<30 | 0x7f00, Value: tag.BoolValue(true)}
	in.Image[2], in.Image[3] = in.Image[1], in.Image[1]
	set.Interlocks[0].Channels[0].Cond.Limit, set.Interlocks[0].Channels[1].Cond.Limit = 1, 1
	e, _ = New(set)
	e.Step(&in, &r.out)
	other, _ := New(set)
	if err := other.Restore(e.Snapshot(nil, rigStamp(0)), 0); err != nil {
		t.Error(err)
	}
}

func FuzzRestore(f *testing.F) {
	set := lockSet(2, 3, func(l *Interlock) {
		manual(l)
		l.DegradedPriority, l.DegradedAtMost = Low, time.Hour
	})
	set.Alarms = []Alarm{
		{Name: "hi", Cond: Condition{1, GE, 1}, Priority: Low, OffDelay: s, OnDelay: s},
		{
			Name: "life", Cond: Condition{1, GE, 1}, Priority: Low, Realarm: s, Group: "g", Under: "hi", Suppress: Condition{2, GE, 7},
			Modes: []Mode{{Name: "m", When: Condition{3, GE, 7}, Limit: 3}},
		},
	}
	set.Devices = deviceSet(1, 1, nil).Devices
	set.Interlocks[0].Test = Permit{AtMost: time.Hour}
	points := newRig(f, set)
	for _, c := range []Command{
		{Verb: BeginTest, Rule: "L"},
		{Verb: EndTest, Rule: "L", Result: Passed},
		{Verb: BeginTest, Rule: "E"},
		{Verb: Force, Rule: "b", Value: tag.IntValue(5), For: time.Hour},
		{Verb: Remove, Rule: "D"},
	} {
		c.Who, c.Note, c.Proved, c.Roles = "li", "n", true, []string{"engineer"}
		if err := Do(points.e, points.img, rigStamp(0), c, &points.out); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(points.e.Snapshot(nil, rigStamp(3*s)), int64(0))
	f.Add(points.e.Snapshot(nil, rigStamp(3*s)), int64(time.Minute))
	for _, script := range []string{
		"0s\n1s a=100 b=100 c=bad", "0s a=5\n2s a=0", "0s a=bad b=test:1 c=100", "0s a=100 b=100 c=1\n1s a=1\n12s c=bad",
	} {
		e, _ := New(set)
		r := &rig{t: f, set: set, e: e, img: NewImage(set)}
		for line := range strings.Lines(script) {
			fields := strings.Fields(line)
			r.now, _ = time.ParseDuration(fields[0])
			for _, x := range fields[1:] {
				r.put(x)
			}
			e.Step(&Input{Now: rigStamp(r.now), Image: r.img.Readings(), Changed: r.img.TakeChanged()}, &r.out)
		}
		f.Add(e.Snapshot(nil, rigStamp(r.now)), int64(0))
		f.Add(e.Snapshot(nil, rigStamp(r.now)), int64(time.Hour))
		for _, c := range []Command{
			{Verb: Silence},
			{Verb: Remove, Rule: "hi", Note: "n", Proved: true},
			{Verb: Restore, Rule: "hi", Note: "n", Proved: true},
			{Verb: Shelve, Rule: "life", Note: "n", For: time.Hour},
			{Verb: Remove, Rule: "life", Note: "n", Proved: true},
		} {
			if a, ok := e.Alarm(c.Rule); ok {
				c.Occurrence = a.Occurrence
			}
			_ = e.Do(&Input{Now: rigStamp(r.now), Image: r.img.Readings()}, c, &r.out)
			f.Add(e.Snapshot(nil, rigStamp(r.now)), int64(time.Minute))
		}
	}
	f.Add([]byte(snapshotMagic+"\x00\x00\x00\x02\x00\x00"), int64(-1))
	f.Fuzz(func(t *testing.T, b []byte, down int64) {
		e, err := New(set)
		if err != nil {
			t.Fatal(err)
		}
		if err = e.Restore(b, time.Duration(down)); err != nil {
			if !errors.Is(err, ErrSnapshot) {
				t.Fatal(err)
			}
			return
		}
		var out Outcome
		img := NewImage(set)
		for i, v := range []float64{0, 100, 1} {
			e.Snapshot(nil, rigStamp(time.Duration(i)*time.Hour))
			x, _ := tag.Float64Value(v)
			for id := 1; id < len(set.Tags); id++ {
				img.Put(tag.Reading{Tag: tag.ID(id), Quality: tag.GoodQuality, Value: x})
			}
			e.Step(&Input{Now: rigStamp(time.Duration(i) * time.Hour), Image: img.Readings(), Changed: img.TakeChanged()}, &out)
			for _, v := range out.Events {
				if v.Kind == 0 || v.Rule == Fault {
					t.Fatalf("%+v", v)
				}
			}
		}
		again, _ := New(set)
		if err = again.Restore(e.Snapshot(nil, rigStamp(3*time.Hour)), 0); err != nil {
			t.Fatal(err)
		}
	})
}
