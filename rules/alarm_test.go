package rules

import (
	"testing"
	"time"
)

const s = time.Second

// alarmSet has one tag a and one alarm hi on it.
func alarmSet(a Alarm) Set {
	a.Name, a.Cond.Tag = "hi", 1
	if a.Priority == 0 {
		a.Priority = Medium
	}
	return Set{Tags: tagsOf("a"), Alarms: []Alarm{a}}
}

func TestAlarm(t *testing.T) {
	over := Condition{Op: GE, Limit: 100}
	for name, c := range map[string]struct {
		alarm  Alarm
		script string
	}{
		"A to B to C to A": {Alarm{Cond: over}, `
			0s a=5
			1s a=100 ?hi=unacked    => raised hi#1
			2s a=120 ack:hi ?hi=acked => acked hi#1
			3s a=99 ?hi=normal      => returned hi#1`},
		"B to D to A": {Alarm{Cond: over}, `
			0s a=100             => raised hi#1
			1s a=5 ?hi=returned  => returned hi#1
			2s ack:hi ?hi=normal => acked hi#1`},
		"D to B is a new occurrence": {Alarm{Cond: over}, `
			0s a=100             => raised hi#1
			1s a=5               => returned hi#1
			2s a=100 ?hi=unacked => raised hi#2
			3s ack:hi:1!wrong-occurrence ack:hi:2 => acked hi#2`},
		"latched: B to E to F to A": {Alarm{Cond: over, Latch: true}, `
			0s a=100             => raised hi#1
			1s reset:hi!still-standing
			2s a=5 ?hi=latched   => returned hi#1
			3s reset:hi!not-acked
			4s ack:hi ?hi=latched-acked => acked hi#1
			5s reset:hi ?hi=normal => unlatched hi#1
			6s reset:hi!not-tripped`},
		"latched: C to F, F to B, E to B": {Alarm{Cond: over, Latch: true}, `
			0s a=100 ack:hi      => raised hi#1; acked hi#1
			1s a=5 ?hi=latched-acked => returned hi#1
			2s a=100 ?hi=unacked => raised hi#2
			3s a=5 ?hi=latched   => returned hi#2
			4s a=100 ?hi=unacked => raised hi#3`},
		"acknowledged twice, of none, of nothing": {Alarm{Cond: over}, `
			0s a=5 ack:hi!wrong-occurrence ack:hi:1!wrong-occurrence
			1s a=100             => raised hi#1
			2s ack:hi:0!wrong-occurrence ack:hi:2!wrong-occurrence ack:hi ack:hi!already-acked => acked hi#1
			3s a=1               => returned hi#1
			4s ack:hi!already-acked ack:ho!unknown-rule`},
		"on-delay": {Alarm{Cond: over, OnDelay: 5 * s}, `
			0s a=100
			4s a=99
			5s a=100
			9s a=130
			12s ?hi=unacked      => raised hi#1@10s`},
		"on-delay that ends as the condition does": {Alarm{Cond: over, OnDelay: 5 * s}, `
			0s a=100
			5s a=1               => raised hi#1; returned hi#1`},
		"off-delay": {Alarm{Cond: over, OffDelay: 5 * s}, `
			0s a=100             => raised hi#1
			1s a=1
			5s a=100
			6s a=1
			10s a=2 ?hi=unacked
			12s                  => returned hi#1@11s`},
		"deadband acts in the clearing direction only": {Alarm{Cond: over, Deadband: 10}, `
			0s a=95
			1s a=99.9
			2s a=100             => raised hi#1
			3s a=90.1
			4s a=90
			5s a=89.9            => returned hi#1
			6s a=95
			7s a=100             => raised hi#2`},
		"deadband, the other way": {Alarm{Cond: Condition{Op: LE, Limit: 10}, Deadband: 2}, `
			0s a=11
			1s a=10              => raised hi#1
			2s a=12
			3s a=12.1            => returned hi#1`},
		"in the deadband an off-delay starts over": {Alarm{Cond: over, Deadband: 10, OffDelay: 5 * s}, `
			0s a=100             => raised hi#1
			1s a=80
			4s a=95
			5s a=80
			11s                  => returned hi#1@10s`},
		"in the deadband an on-delay does not stand": {Alarm{Cond: over, Deadband: 10, OnDelay: 5 * s}, `
			0s a=100
			1s a=95
			9s
			10s a=100
			15s                  => raised hi#1`},
		"> < and <=": {Alarm{Cond: Condition{Op: GT, Limit: 1}, Deadband: 1}, `
			0s a=1
			1s a=1.1             => raised hi#1
			2s a=0.1
			3s a=0               => returned hi#1`},
		"<": {Alarm{Cond: Condition{Op: LT, Limit: 1}}, `
			0s a=1
			1s a=0.9             => raised hi#1
			2s a=1               => returned hi#1`},
		"= and not =": {Alarm{Cond: Condition{Op: EQ, Limit: 1}}, `
			0s a=0
			1s a=1               => raised hi#1
			2s a=2               => returned hi#1`},
		"not =": {Alarm{Cond: Condition{Op: NE, Limit: 1}}, `
			0s a=1
			1s a=0               => raised hi#1
			2s a=1               => returned hi#1`},
		"bad: an on-delay goes on": {Alarm{Cond: over, OnDelay: 5 * s}, `
			0s a=100
			3s a=bad
			9s                   => raised hi#1@5s`},
		"bad: an on-delay does not begin": {Alarm{Cond: over, OnDelay: 5 * s}, `
			0s a=bad:100
			9s
			10s a=100
			15s                  => raised hi#1`},
		"bad: an off-delay holds, and goes on": {Alarm{Cond: over, OffDelay: 5 * s}, `
			0s a=100             => raised hi#1
			1s a=1
			3s a=bad
			20s ?hi=unacked
			21s a=1
			23s ?hi=unacked
			24s                  => returned hi#1`},
		"bad: an off-delay that held is void when the condition is back": {Alarm{Cond: over, OffDelay: 5 * s}, `
			0s a=100             => raised hi#1
			1s a=1
			3s a=bad
			4s a=100
			5s a=1
			9s ?hi=unacked
			10s                  => returned hi#1`},
		"bad: a standing alarm stands": {Alarm{Cond: over}, `
			0s a=100             => raised hi#1
			1s a=bad:1 ?hi=unacked
			2s a=stale ack:hi ?hi=acked => acked hi#1
			3s a=1               => returned hi#1`},
		"bad: a normal one stays normal": {Alarm{Cond: over}, `
			0s a=1
			1s a=bad:500
			2s a=forced:500
			3s a=last:500
			4s ?hi=normal
			5s a=unc:500         => raised hi#1`},
		"bad: a latched one stays latched": {Alarm{Cond: over, Latch: true}, `
			0s a=100             => raised hi#1
			1s a=1               => returned hi#1
			2s a=bad ?hi=latched`},
		"not watched": {Alarm{NotWatched: true, OnDelay: 10 * s, OffDelay: 2 * s}, `
			0s a=5
			1s a=bad
			5s a=5
			6s a=stale
			17s                  => raised hi#1@16s
			18s a=bad
			20s a=5
			22s ?hi=returned     => returned hi#1`},
		"not watched: what may not be judged is not watched": {Alarm{NotWatched: true}, `
			0s a=5
			1s a=last:5          => raised hi#1
			2s a=unc:5           => returned hi#1
			3s a=forced:5        => raised hi#2
			4s a=test:5          => returned hi#2
			5s a=fc:5            => raised hi#3`},
		"not watched: a start is not an alarm": {Alarm{NotWatched: true, OnDelay: 10 * s}, `
			0s
			29s ?hi=normal
			31s                  => raised hi#1@30s`},
		"not watched: bad from the first reading, counted from the start": {Alarm{NotWatched: true, OnDelay: 10 * s}, `
			0s
			3s a=bad
			11s                  => raised hi#1@10s`},
		"not watched: read in time": {Alarm{NotWatched: true, OnDelay: 10 * s}, `
			0s
			9s a=1
			60s ?hi=normal`},
	} {
		t.Run(name, func(t *testing.T) { play(t, alarmSet(c.alarm), c.script) })
	}
}

func TestAlarmEventAndView(t *testing.T) {
	set := alarmSet(Alarm{Cond: Condition{Op: GE, Limit: 100}, OnDelay: 5 * s, Priority: High, Text: Text{"高", "high"}, Agent: true})
	r := newRig(t, set)
	r.play(`0s a=110`)
	r.put("a=125")
	in := Input{Now: rigStamp(9 * s), Image: r.img.Readings(), Changed: r.img.TakeChanged()}
	r.e.Step(&in, &r.out)
	if len(r.out.Events) != 1 || !r.out.Durable {
		t.Fatalf("%+v", r.out)
	}
	v := r.out.Events[0]
	// The deadline lies before the second reading: the event carries what was known then.
	if v.At != rigStamp(5*s) || v.Value.Float() != 110 || v.Limit != 100 || v.Priority != High || v.Tag != 1 || !v.Quality.Good() {
		t.Errorf("event %+v", v)
	}
	views := r.e.Alarms(nil, in.Now)
	if len(views) != 1 {
		t.Fatalf("%d alarms, want the one that stands", len(views))
	}
	a := views[0]
	if a.Name != "hi" || a.Text.Zh != "高" || a.State != Unacked || a.Raised != v.At || a.Value != v.Value || a.Limit != 100 || !a.Agent || a.Of != "" {
		t.Errorf("view %+v", a)
	}
	r.e.Step(&Input{Now: rigStamp(10 * s), Image: in.Image}, &r.out)
	if len(r.out.Events) != 0 || r.out.Durable || r.out.Next != 0 {
		t.Errorf("a step in which nothing happens: %+v", r.out)
	}
}

// Timers that are due together fire in the order of their deadlines, however late the step.
func TestLateStep(t *testing.T) {
	set := Set{Tags: tagsOf("a")}
	for i, d := range []time.Duration{7 * s, 3 * s, 5 * s, 3 * s} {
		set.Alarms = append(set.Alarms, Alarm{Name: string(rune('p' + i)), Cond: Condition{1, GE, 1}, Priority: Low, OnDelay: d})
	}
	r := play(t, set, `
		0s a=1
		60s  => raised q#1@3s; raised s#1@3s; raised r#1@5s; raised p#1@7s`)
	if r.out.Next != 0 {
		t.Errorf("next %d after the last timer", r.out.Next)
	}
}

func TestNext(t *testing.T) {
	r := newRig(t, alarmSet(Alarm{Cond: Condition{Op: GE, Limit: 1}, OnDelay: 5 * s}))
	r.play(`0s a=0`)
	if r.out.Next != 0 {
		t.Errorf("next %d, want none", r.out.Next)
	}
	r.play(`1s a=1`)
	if r.out.Next != rigStamp(6*s).Mono {
		t.Errorf("next %d, want %d", r.out.Next, rigStamp(6*s).Mono)
	}
}

// Time that runs backwards counts as standing still.
func TestClockBackwards(t *testing.T) {
	r := newRig(t, alarmSet(Alarm{Cond: Condition{Op: GE, Limit: 1}}))
	r.play(`10s a=0`)
	r.put("a=1")
	r.e.Step(&Input{Now: rigStamp(3 * s), Image: r.img.Readings(), Changed: r.img.TakeChanged()}, &r.out)
	if len(r.out.Events) != 1 || r.out.Events[0].At.Mono != rigStamp(10*s).Mono {
		t.Errorf("%+v", r.out.Events)
	}
}

// A refused command loses nothing of the step that came with it.
func TestRefusedKeepsStep(t *testing.T) {
	r := newRig(t, alarmSet(Alarm{Cond: Condition{Op: GE, Limit: 1}}))
	r.play(`0s a=0`)
	r.put("a=1")
	in := Input{Now: rigStamp(1 * s), Image: r.img.Readings(), Changed: r.img.TakeChanged()}
	if err := r.e.Do(&in, Command{Verb: Reset, Rule: "hi", Occurrence: 7}, &r.out); err == nil {
		t.Fatal("not refused")
	}
	if len(r.out.Events) != 0 || r.out.Durable {
		t.Fatalf("%+v", r.out)
	}
	r.line = "after the refusal"
	r.e.Step(&Input{Now: rigStamp(2 * s), Image: in.Image}, &r.out)
	r.now = 2 * s
	if got := r.events(); len(got) != 1 || got[0] != "raised hi#1@1s" || !r.out.Durable {
		t.Errorf("got %v", got)
	}
}
