package rules

import (
	"errors"
	"slices"
	"testing"
	"time"

	"davy/drivers/tag"
)

// lockSet has tags a, b, c, f and an interlock L over the first n, m of which
// trip it at 100, with a demand of fan.
func lockSet(m, n int, change func(*Interlock)) Set {
	set := Set{
		Tags:    tagsOf("a", "b", "c", "f"),
		Outputs: []Output{{Name: "fan"}, {Name: "horn"}},
	}
	l := Interlock{Name: "L", Priority: Critical, M: m, Demands: []Demand{{Output: "fan"}}, BadAfter: 10 * s}
	for i := range n {
		l.Channels = append(l.Channels, Channel{Name: string(rune('a' + i)), Cond: Condition{tag.ID(i + 1), GE, 100}})
	}
	if change != nil {
		change(&l)
	}
	set.Interlocks = []Interlock{l}
	return set
}

func manual(l *Interlock) { l.ManualReset = true }

// A refused reset says which channels hold the interlock.
func TestRefusedResetNamesTheChannels(t *testing.T) {
	r := play(t, lockSet(2, 3, manual), `
		0s a=1 b=1 c=1 => armed L
		1s a=100
		2s b=100 => tripped L#1 first=a votes=a,b; demand fan by L
		3s a=1 c=bad
		13s => degraded L c!bad`)
	in := Input{Now: rigStamp(13 * s), Image: r.img.Readings()}
	err := r.e.Do(&in, Command{Verb: Reset, Rule: "L", Occurrence: 1}, &r.out)
	var refused *RefusedError
	if !errors.As(err, &refused) || refused.Code != "still-standing" || refused.Args["rule"] != "L" || refused.Args["channels"] != "b, c" {
		t.Errorf("got %+v", refused)
	}
}

func TestInterlock(t *testing.T) {
	bad := func(p BadPolicy, more ...func(*Interlock)) func(*Interlock) {
		return func(l *Interlock) {
			l.Bad, l.ManualReset = p, true
			for _, f := range more {
				f(l)
			}
		}
	}
	holds := func(l *Interlock) { l.AllBadHolds = true }
	testVotes := func(l *Interlock) { l.InTestCounts = true }
	for name, c := range map[string]struct {
		set    Set
		script string
	}{
		"starting until each input was read": {lockSet(2, 3, manual), `
			0s ?L=starting ?fan=off
			1s a=500 b=500 ?L=starting
			2s c=bad ?L=tripped ?fan=on,by-L => armed L; tripped L#1 first=a votes=a,b; demand fan by L`},
		"starting at most Settle, and what was never read is bad since the start": {lockSet(2, 3, manual), `
			0s
			1s a=500
			29s ?L=starting
			31s => armed L@30s; degraded L b!bad@30s; degraded L c!bad@30s; tripped L#1 first=a votes=a,b!bad,c!bad@30s; demand fan by L@30s`},
		"the vote's on-delay begins when the start is over": {lockSet(1, 2, func(l *Interlock) { l.OnDelay = 5 * s }), `
			0s a=500
			8s b=1 ?L=armed => armed L
			13s => tripped L#1 first=a votes=a; demand fan by L`},
		"1oo2": {lockSet(1, 2, manual), `
			0s a=1 b=1 => armed L
			1s b=100 => tripped L#1 first=b votes=b; demand fan by L`},
		"2oo2": {lockSet(2, 2, manual), `
			0s a=1 b=1 => armed L
			1s b=100 ?L=armed
			2s a=100 => tripped L#1 first=b votes=b,a; demand fan by L`},
		"2oo3: first-out is who stands longest, frozen until the reset": {lockSet(2, 3, manual), `
			0s a=1 b=1 c=1 => armed L
			1s a=100
			2s b=100 => tripped L#1 first=a votes=a,b; demand fan by L
			3s a=1 b=1 c=1 ?L=tripped,ready
			4s c=100 a=100 ?L=tripped
			5s reset:L!still-standing
			6s c=1 a=1 reset:L ?L=armed ?fan=off => reset L#1; release fan by L
			7s reset:L!not-tripped ack:L!not-alarm`},
		"2oo3: a condition that left and came back is the later one": {lockSet(2, 3, manual), `
			0s a=1 b=1 c=1 => armed L
			1s a=100
			2s a=1
			3s b=100
			4s a=100 => tripped L#1 first=b votes=b,a; demand fan by L`},
		"together: the order of the channels": {lockSet(2, 3, manual), `
			0s a=1 b=1 c=1 => armed L
			1s c=100 b=100 => tripped L#1 first=b votes=b,c; demand fan by L`},
		"on-delay of the vote": {lockSet(2, 3, func(l *Interlock) { l.OnDelay, l.ManualReset = 5*s, true }), `
			0s a=100 b=1 c=1 => armed L
			1s b=100
			5s b=1
			6s c=100
			8s a=1 b=100
			12s ?L=tripped => tripped L#1 first=c votes=c,b@11s; demand fan by L@11s`},
		"uncertain votes by its value, last-usable and forced are bad": {lockSet(2, 3, bad(CountsAsTrip)), `
			0s a=1 b=1 c=1 => armed L
			1s a=unc:500 b=last:500 c=forced:500 ?L=armed
			11s => degraded L b!bad; degraded L c!bad; tripped L#1 first=a votes=a,b!bad,c!bad; demand fan by L`},

		"counts as trip: not before BadAfter": {lockSet(2, 3, bad(CountsAsTrip)), `
			0s a=1 b=1 c=1 => armed L
			1s b=100
			20s c=bad ?L=armed
			29s ?L=armed
			30s ?L=tripped,degraded => degraded L c!bad; tripped L#1 first=b votes=b,c!bad; demand fan by L`},
		"counts as trip: a bad one and then a true one": {lockSet(2, 3, bad(CountsAsTrip)), `
			0s a=5 b=5 c=5 => armed L
			20s c=bad
			31s ?L=armed,degraded => degraded L c!bad@30s
			40s a=160 => tripped L#1 first=a votes=c!bad,a; demand fan by L`},
		"counts as trip: no process, the first bad one is first-out": {lockSet(2, 3, bad(CountsAsTrip)), `
			0s a=5 b=5 c=5 => armed L
			20s c=bad
			25s a=bad
			40s => degraded L c!bad@30s; degraded L a!bad@35s; tripped L#1 first=c votes=c!bad,a!bad@35s; demand fan by L@35s`},
		"counts as trip: the clock starts anew when it was good": {lockSet(1, 1, bad(CountsAsTrip)), `
			0s a=5 => armed L
			20s a=bad
			29s a=5
			30s a=bad
			39s ?L=armed
			40s => degraded L a!bad; tripped L#1 first=a votes=a!bad; demand fan by L`},
		"counts as trip: another reason of bad does not start the clock anew": {lockSet(1, 1, bad(CountsAsTrip)), `
			0s a=5 => armed L
			20s a=bad
			25s a=sensor
			30s => degraded L a!bad; tripped L#1 first=a votes=a!bad; demand fan by L`},
		"counts as trip at once": {lockSet(1, 1, func(l *Interlock) { l.BadAfter = 0 }), `
			0s a=5 => armed L
			1s a=bad => degraded L a!bad; tripped L#1 first=a votes=a!bad; demand fan by L
			2s a=5 => restored L; reset L#1; release fan by L`},
		"a bad channel's last value is no vote": {lockSet(1, 2, bad(CountsAsTrip, func(l *Interlock) { l.OnDelay = 5 * s })), `
			0s a=1 b=1 => armed L
			1s a=500
			2s a=bad
			8s ?L=armed
			12s ?L=armed,degraded => degraded L a!bad
			17s => tripped L#1 first=a votes=a!bad; demand fan by L`},

		"left out: of the rest min(M, rest)": {lockSet(2, 3, bad(LeftOut)), `
			0s a=1 b=1 c=1 => armed L
			1s a=bad
			2s b=100 ?L=armed
			11s ?L=armed,degraded => degraded L a!bad
			12s c=bad
			22s ?L=tripped,degraded => degraded L c!bad; tripped L#1 first=b votes=b; demand fan by L`},
		"left out: one rest that is normal": {lockSet(2, 3, bad(LeftOut)), `
			0s a=bad b=bad c=1 => armed L
			10s ?L=armed,degraded => degraded L a!bad; degraded L b!bad
			11s c=100 => tripped L#1 first=c votes=c; demand fan by L`},
		"left out: all bad trips": {lockSet(2, 3, bad(LeftOut)), `
			0s a=bad b=bad c=1 => armed L
			10s => degraded L a!bad; degraded L b!bad
			15s c=bad
			24s ?L=armed,degraded
			25s => degraded L c!bad; tripped L#1 first=a votes=a!bad,b!bad,c!bad; demand fan by L
			26s reset:L!still-standing`},
		"left out: all bad holds": {lockSet(2, 3, bad(LeftOut, holds)), `
			0s a=bad b=bad c=bad => armed L
			60s ?L=armed,out,degraded => degraded L a!bad@10s; degraded L b!bad@10s; degraded L c!bad@10s
			61s a=100 => tripped L#1 first=a votes=a; demand fan by L
			62s a=bad reset:L!reset-not-met
			63s b=1 ?L=tripped,degraded,ready reset:L => reset L#1; release fan by L`},
		"counts as trip: all bad holds": {lockSet(2, 3, bad(CountsAsTrip, holds)), `
			0s a=1 b=1 c=1 => armed L
			1s a=bad b=bad c=bad
			60s ?L=armed,out,degraded => degraded L a!bad@11s; degraded L b!bad@11s; degraded L c!bad@11s
			61s a=1 => tripped L#1 first=b votes=b!bad,c!bad; demand fan by L`},
		"1oo1: bad holds": {lockSet(1, 1, bad(CountsAsTrip, holds)), `
			0s a=1 => armed L
			1s a=bad
			60s ?L=armed,out,degraded => degraded L a!bad@11s
			61s a=100 => restored L; tripped L#1 first=a votes=a; demand fan by L`},

		"last good: votes by its last value, then counts": {lockSet(2, 3, bad(LastGood)), `
			0s a=500 b=1 c=1 => armed L
			1s a=bad ?L=armed,degraded => degraded L a!bad
			2s b=100 => tripped L#1 first=a votes=a,b; demand fan by L`},
		"last good: of a normal value, until BadAfter": {lockSet(2, 3, bad(LastGood)), `
			0s a=1 b=100 c=1 => armed L
			1s a=bad ?L=armed,degraded => degraded L a!bad
			10s ?L=armed,degraded
			11s => tripped L#1 first=b votes=b,a!bad; demand fan by L`},
		"last good: what was never good has none": {lockSet(1, 2, bad(LastGood)), `
			0s a=bad:500 b=1 => armed L; degraded L a!bad
			9s ?L=armed,degraded
			10s => tripped L#1 first=a votes=a!bad; demand fan by L`},
		"last good: all bad trips after BadAfter, the last values meanwhile": {lockSet(2, 2, bad(LastGood)), `
			0s a=1 b=1 => armed L
			1s a=bad b=bad ?L=armed,degraded => degraded L a!bad; degraded L b!bad
			11s => tripped L#1 first=a votes=a!bad,b!bad; demand fan by L`},
		"last good: all bad holds": {lockSet(1, 2, bad(LastGood, holds)), `
			0s a=1 b=1 => armed L
			1s a=bad b=bad => degraded L a!bad; degraded L b!bad
			60s ?L=armed,out,degraded`},

		"in test is left out, one at a time": {lockSet(2, 3, bad(CountsAsTrip)), `
			0s a=1 b=1 c=1 => armed L
			1s a=test:500 ?L=armed,degraded => degraded L a!test
			2s b=fc:500 ?L=armed,degraded
			3s c=1
			11s ?L=armed,degraded
			12s ?L=armed,degraded => degraded L b!bad
			13s c=100 => tripped L#1 first=c votes=b!bad,c; demand fan by L`},
		"in test: the second gets the place that becomes free": {lockSet(2, 3, bad(CountsAsTrip)), `
			0s a=1 b=1 c=1 => armed L
			1s a=test:1 => degraded L a!test
			2s b=test:1
			3s a=1 ?L=armed,degraded => degraded L b!test
			30s ?L=armed,degraded
			31s a=100
			32s b=1 ?L=armed => restored L`},
		"in test: 1oo1 does not trip, and is degraded": {lockSet(1, 1, bad(CountsAsTrip)), `
			0s a=1 => armed L
			1s a=test:500 => degraded L a!test
			60s ?L=armed,out,degraded
			61s a=500 => restored L; tripped L#1 first=a votes=a; demand fan by L`},
		"in test: the others all bad is all bad": {lockSet(2, 2, bad(LeftOut)), `
			0s a=test:1 b=1 => armed L; degraded L a!test
			1s b=bad
			11s => degraded L b!bad; tripped L#1 first=b votes=b!bad; demand fan by L`},
		"in test counts: votes all the same": {lockSet(2, 3, bad(CountsAsTrip, testVotes)), `
			0s a=test:500 b=1 c=1 ?L=armed => armed L
			1s b=fc:500 => tripped L#1 first=a votes=a!test,b!test; demand fan by L`},
		"in test counts: bad all the same": {lockSet(1, 1, bad(CountsAsTrip, testVotes)), `
			0s a=1 => armed L
			1s a=bad
			11s => degraded L a!bad; tripped L#1 first=a votes=a!bad; demand fan by L`},

		"reset: the negation where nothing was written": {lockSet(1, 1, manual), `
			0s a=100 => armed L; tripped L#1 first=a votes=a; demand fan by L
			1s a=99.9 reset:L => reset L#1; release fan by L`},
		"reset: the condition for ResetFor": {lockSet(1, 2, func(l *Interlock) {
			manual(l)
			l.ResetConds, l.ResetFor = []Condition{{1, LT, 25}, {2, LT, 25}}, 60*s
		}), `
			0s a=100 b=1 => armed L; tripped L#1 first=a votes=a; demand fan by L
			1s reset:L!still-standing
			2s a=50 reset:L!reset-not-met
			3s a=24
			62s ?L=tripped,in1s reset:L!reset-not-yet
			62500ms b=25 ?L=tripped reset:L!reset-not-met
			63s b=20
			122s ?L=tripped,in1s reset:L!reset-not-yet
			123s ?L=tripped,ready
			124s a=25 ?L=tripped reset:L!reset-not-met
			125s a=24 ?L=tripped,in1m0s
			185s reset:L:2!wrong-occurrence reset:L ?L=armed => reset L#1; release fan by L`},
		"reset: a bad channel does not satisfy it": {lockSet(1, 2, manual), `
			0s a=100 b=1 => armed L; tripped L#1 first=a votes=a; demand fan by L
			1s a=1 b=bad ?L=tripped reset:L!reset-not-met
			2s b=1 reset:L => reset L#1; release fan by L`},
		"reset: a bad channel that is left out is skipped": {lockSet(1, 2, bad(LeftOut)), `
			0s a=100 b=1 => armed L; tripped L#1 first=a votes=a; demand fan by L
			1s a=1 b=bad reset:L => reset L#1; release fan by L`},
		"reset: a channel in test is skipped": {lockSet(1, 2, manual), `
			0s a=100 b=1 => armed L; tripped L#1 first=a votes=a; demand fan by L
			1s a=1 b=test:500 reset:L => degraded L b!test; reset L#1; release fan by L`},
		"reset: by itself": {lockSet(1, 1, func(l *Interlock) { l.ResetFor = 5 * s }), `
			0s a=100 => armed L; tripped L#1 first=a votes=a; demand fan by L
			1s a=1
			3s a=100
			4s a=1
			10s ?L=armed => reset L#1@9s; release fan by L@9s
			11s a=100 => tripped L#2 first=a votes=a; demand fan by L`},
		"demands, each after its delay": {lockSet(1, 1, func(l *Interlock) {
			l.Demands = []Demand{{Output: "horn", Delay: 3 * s}, {Output: "fan", Delay: 0}}
		}), `
			0s a=100 ?fan=on,by-L ?horn=off => armed L; tripped L#1 first=a votes=a; demand fan by L
			4s ?horn=on,by-L => demand horn by L@3s
			5s a=1 ?horn=off => reset L#1; release horn by L; release fan by L
			6s a=100 => tripped L#2 first=a votes=a; demand fan by L
			8s a=1 => reset L#2; release fan by L
			60s ?horn=off`},
	} {
		t.Run(name, func(t *testing.T) { play(t, c.set, c.script) })
	}
}

func TestDegraded(t *testing.T) {
	set := lockSet(2, 3, func(l *Interlock) {
		l.DegradedPriority, l.DegradedAtMost, l.Text = High, time.Minute, Text{"机房", "room"}
	})
	r := play(t, set, `
		0s a=1 b=1 c=1 => armed L
		1s a=bad
		11s ?L.degraded=unacked ?L.degraded-overdue=normal => degraded L a!bad; raised L.degraded#1
		12s a=1 => restored L; returned L.degraded#1
		13s ack:L.degraded => acked L.degraded#1
		20s a=bad b=test:1 => degraded L b!test; raised L.degraded#2
		30s => degraded L a!bad
		79s b=1 ?L.degraded=unacked
		81s ?L.degraded-overdue=unacked => raised L.degraded-overdue#1@1m20s
		82s ack:L.degraded-overdue => acked L.degraded-overdue#1`)
	views := r.e.Alarms(nil, rigStamp(r.now))
	if len(views) != 2 || views[0].Of != "degraded" || views[0].Priority != High || views[1].Of != "degraded-overdue" || views[1].Priority != Critical || views[1].Text.En != "room" {
		t.Errorf("%+v", views)
	}
	r.play(`90s a=1 => restored L; returned L.degraded#2; returned L.degraded-overdue#1`)

	set.Interlocks[0].DegradedPriority, set.Interlocks[0].DegradedAtMost = 0, 0
	play(t, set, `
		0s a=1 b=1 c=1 => armed L
		1s a=bad
		11s => degraded L a!bad
		12s ack:L.degraded!unknown-rule`)
}

func TestTripEvent(t *testing.T) {
	set := lockSet(2, 3, manual)
	set.Interlocks[0].Text = Text{"氨", "ammonia"}
	r := play(t, set, `
		0s a=5 b=5 c=5 => armed L
		20s c=bad
		31s => degraded L c!bad@30s`)
	r.put("a=160")
	r.now = 40 * s
	in := Input{Now: rigStamp(40 * s), Image: r.img.Readings(), Changed: r.img.TakeChanged()}
	r.e.Step(&in, &r.out)
	v := r.out.Events[0]
	want := []Vote{
		{Channel: "c", Reason: VoteBad, Since: rigStamp(20 * s), Quality: tag.BadNoComm, Value: in.Image[3].Value},
		{Channel: "a", Reason: VoteProcess, Since: rigStamp(40 * s), Quality: tag.GoodQuality, Value: in.Image[1].Value, Last: true},
	}
	if v.Kind != InterlockTripped || v.At != rigStamp(40*s) || v.Tag != 1 || v.Value != in.Image[1].Value || v.Limit != 100 || v.Priority != Critical || !slices.Equal(v.Votes, want) {
		t.Errorf("%+v", v)
	}
	if len(r.out.Demands) != 1 || r.out.Demands[0] != (OutputState{Output: 0, Protective: true, By: "L"}) || !r.out.Durable {
		t.Errorf("%+v", r.out)
	}
	l := r.e.Interlocks(nil, &in)[0]
	if l.Text.En != "ammonia" || l.FirstOut != "a" || l.TrippedAt != rigStamp(40*s) || l.Occurrence != 1 || !l.Degraded || !slices.Equal(l.Votes, want) {
		t.Errorf("%+v", l)
	}
	// The votes of the trip stay what they were.
	r.play(`41s b=170 a=1 ?L=tripped,degraded`)
	if l = r.e.Interlocks(nil, &in)[0]; !slices.Equal(l.Votes, want) || l.FirstOut != "a" {
		t.Errorf("%+v", l)
	}
	// Before a trip the votes are those of now, and none completes anything.
	r = play(t, set, `
		0s a=5 b=500 c=5 => armed L`)
	l = r.e.Interlocks(nil, &in)[0]
	if len(l.Votes) != 1 || l.Votes[0].Channel != "b" || l.Votes[0].Last {
		t.Errorf("%+v", l.Votes)
	}
}

// What does not run any more wakes nobody.
func TestNextOfInterlock(t *testing.T) {
	r := newRig(t, lockSet(1, 1, func(l *Interlock) {
		l.OnDelay, l.ResetFor, l.Demands = 5*s, 7*s, []Demand{{Output: "fan", Delay: 20 * s}}
	}))
	for _, c := range []struct {
		line string
		next time.Duration // 0 none
	}{
		{`0s`, 10 * s}, // never read is bad; Settle comes later
		{`1s a=1 => armed L`, 0},
		{`2s a=bad`, 12 * s},
		{`3s a=100`, 8 * s},
		{`4s a=1`, 0},
		{`5s a=100`, 10 * s},
		{`10s => tripped L#1 first=a votes=a`, 30 * s},
		{`11s a=1`, 18 * s},
		{`12s a=100`, 30 * s},
		{`13s a=1`, 20 * s},
		{`20s => reset L#1`, 70 * s}, // the record of the trip
		{`70s`, 0},
	} {
		r.play(c.line)
		want := rigStamp(c.next).Mono
		if c.next == 0 {
			want = 0
		}
		if r.out.Next != want {
			t.Errorf("%s: next %v, want %v", c.line, time.Duration(r.out.Next-rigBase), c.next)
		}
	}
}

// Two interlocks on one output: it is released when the last one is reset.
func TestDemandsAreOred(t *testing.T) {
	set := lockSet(1, 1, nil)
	k := lockSet(1, 1, nil).Interlocks[0]
	k.Name, k.Channels = "K", []Channel{{Name: "b", Cond: Condition{2, GE, 100}}}
	k.Demands = []Demand{{Output: "fan", Delay: 2 * s}}
	set.Interlocks = append(set.Interlocks, k)
	r := play(t, set, `
		0s a=1 b=1 => armed L; armed K
		1s b=100 => tripped K#1 first=b votes=b
		2s a=100 ?fan=on,by-L => tripped L#1 first=a votes=a; demand fan by L
		4s ?fan=on,by-L
		5s a=1 ?fan=on,by-K => reset L#1`)
	if len(r.out.Demands) != 0 {
		t.Errorf("the demand did not change, yet %+v", r.out.Demands)
	}
	r.play(`6s b=1 ?fan=off => reset K#1; release fan by K`)
	if len(r.out.Demands) != 1 || r.out.Demands[0].Protective || r.out.Demands[0].By != "" {
		t.Errorf("%+v", r.out.Demands)
	}
}

func TestProof(t *testing.T) {
	set := lockSet(1, 1, nil)
	set.Outputs[0].Proved, set.Outputs[0].Proof, set.Outputs[0].Within = true, Condition{4, EQ, 1}, 10*s
	play(t, set, `
		# demanded and proved in time
		0s a=1 f=0 => armed L
		1s a=100 => tripped L#1 first=a votes=a; demand fan by L
		10s f=1 => proved fan 9s
		# lost while demanded
		20s f=0
		25s f=1
		30s f=bad
		41s ?fan.proof=unacked => raised fan.proof#1@40s
		42s f=1 ?fan.proof=returned => returned fan.proof#1
		43s ack:fan.proof => acked fan.proof#1
		# not demanded any more
		50s f=0
		61s => raised fan.proof#2@1m0s
		62s a=1 ?fan.proof=returned => reset L#1; release fan by L; returned fan.proof#2
		# idle needs no proof
		90s f=bad ?fan.proof=returned
		91s a=100 f=0 => tripped L#2 first=a votes=a; demand fan by L
		101s => raised fan.proof#3`)
	r := play(t, set, `
		0s a=100 f=0 => armed L; tripped L#1 first=a votes=a; demand fan by L
		10s => raised fan.proof#1`)
	v := r.out.Events[0]
	if v.Priority != High || v.Tag != 4 || v.Limit != 1 || v.Value.Float() != 0 || !v.Quality.Good() {
		t.Errorf("%+v", v)
	}
	if a := r.e.Alarms(nil, rigStamp(0)); len(a) != 2 || a[0].Of != "tripped" || a[1].Of != "proof" {
		t.Errorf("%+v", a)
	}
}
