package rules

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"davy/drivers/tag"
)

// armSet has an interlock that is armed while p >= 1, over a channel of tag a.
func armSet(change func(*Interlock)) Set {
	set := lockSet(1, 1, change)
	set.Tags = append(set.Tags, tagsOf("p", "d")[1:]...)
	set.Interlocks[0].Arm = Condition{5, GE, 1}
	return set
}

func TestArm(t *testing.T) {
	due := func(l *Interlock) { l.ArmDue, l.ArmWithin = Condition{6, GE, 1}, 10*s }
	for name, c := range map[string]struct {
		set    Set
		script string
	}{
		"armed and unarmed": {armSet(nil), `
			0s a=1 p=0 ?L=unarmed => unarmed L
			1s a=100 ?L=unarmed ?fan=off
			2s a=1
			3s p=1 ?L=armed => armed L
			4s p=0 => unarmed L`},
		"what stands when it is armed trips": {armSet(nil), `
			0s a=100 p=0 => unarmed L
			9s p=1 => armed L; tripped L#1 first=a votes=a; demand fan by L`},
		"the on-delay begins with the arming": {armSet(func(l *Interlock) { l.OnDelay = 5 * s }), `
			0s a=100 p=0 => unarmed L
			9s p=1 => armed L
			14s => tripped L#1 first=a votes=a; demand fan by L`},
		"a vote that waits is dropped with the arming": {armSet(func(l *Interlock) { l.OnDelay = 5 * s }), `
			0s a=100 p=1 => armed L
			4s p=0 => unarmed L
			6s p=1 => armed L
			10s
			11s => tripped L#1 first=a votes=a; demand fan by L`},
		"not known is armed": {armSet(nil), `
			0s a=1 p=bad ?L=armed => armed L
			1s p=0 => unarmed L
			2s p=bad ?L=armed => armed L
			3s a=100 => tripped L#1 first=a votes=a; demand fan by L`},
		"never read is not known, when the start is over": {armSet(nil), `
			0s a=100 ?L=starting
			31s => armed L@30s; tripped L#1 first=a votes=a@30s; demand fan by L@30s`},
		"a trip that stands is not ended": {armSet(manual), `
			0s a=100 p=1 => armed L; tripped L#1 first=a votes=a; demand fan by L
			1s p=0 ?L=tripped ?fan=on,by-L
			2s a=1 reset:L ?L=unarmed => reset L#1; unarmed L; release fan by L
			3s p=1 => armed L`},
		"degraded also while it is not armed": {armSet(nil), `
			0s a=1 p=0 => unarmed L
			1s a=bad
			11s ?L=unarmed,degraded => degraded L a!bad`},
		"not armed when it is due": {armSet(due), `
			0s a=1 p=0 d=0 => unarmed L
			1s d=1
			5s d=bad
			11s ?L.not-armed=unacked => raised L.not-armed#1
			12s d=bad p=bad ?L.not-armed=unacked => armed L
			13s p=1 => returned L.not-armed#1
			14s ack:L.not-armed p=0 d=1 => unarmed L; acked L.not-armed#1
			20s d=0
			21s d=1
			30s p=1 => armed L`},
		"restart: said anew": {armSet(nil), `
			0s a=1 p=0 => unarmed L
			5s restart:1s ?L=starting
			6s a=100 p=0 ?L=unarmed => unarmed L`},
		"restart: a vote that waited is dropped where it is not armed": {armSet(func(l *Interlock) { l.OnDelay = 20 * s }), `
			0s a=100 p=1 => armed L
			10s restart:5s
			11s a=100 p=0 => unarmed L
			12s p=1 => armed L
			31s
			32s => tripped L#1 first=a votes=a; demand fan by L`},
		"hand-over: said once": {armSet(due), `
			0s a=1 p=0 d=1 => unarmed L
			5s handover ?L=unarmed
			10s ?L=unarmed => raised L.not-armed#1
			11s handover p=1 => armed L; returned L.not-armed#1`},
	} {
		t.Run(name, func(t *testing.T) { play(t, c.set, c.script) })
	}
}

func TestResetWhen(t *testing.T) {
	set := lockSet(1, 2, func(l *Interlock) {
		manual(l)
		l.ResetWhen, l.ResetFor = Condition{4, EQ, 1}, 10*s
	})
	r := play(t, set, `
		0s a=100 b=1 f=0 => armed L; tripped L#1 first=a votes=a; demand fan by L
		1s a=1 reset:L!reset-not-met
		2s b=bad f=bad reset:L!reset-not-met`)
	args := func(code string, want map[string]any) {
		t.Helper()
		var refused *RefusedError
		err := r.e.Do(&Input{Now: rigStamp(r.now), Image: r.img.Readings()}, Command{Verb: Reset, Rule: "L", Occurrence: 1}, &r.out)
		if !errors.As(err, &refused) || refused.Code != code {
			t.Fatalf("%v", err)
		}
		for k, v := range want {
			if refused.Args[k] != v {
				t.Errorf("%s is %v, want %v", k, refused.Args[k], v)
			}
		}
	}
	args("reset-not-met", map[string]any{"rule": "L", "conditions": "b, f"})
	if v, _ := r.e.Interlock("L", rigStamp(r.now)); !slices.Equal(v.Missing, []string{"b", "f"}) {
		t.Errorf("missing %q", v.Missing)
	}
	r.play(`3s b=1 f=1 ?L=tripped,in10s`)
	args("reset-not-yet", map[string]any{"left": "10s"})
	r.play(`
		8s f=0 ?L=tripped
		9s f=1 ?L=tripped,in10s
		19s reset:L ?L=armed => reset L#1; release fan by L`)
	if v, _ := r.e.Interlock("L", rigStamp(r.now)); v.Missing != nil {
		t.Errorf("missing %q", v.Missing)
	}
	// By itself, too.
	set.Interlocks[0].ManualReset = false
	play(t, set, `
		0s a=100 b=1 f=0 => armed L; tripped L#1 first=a votes=a; demand fan by L
		1s a=1
		30s f=1
		40s => reset L#1; release fan by L`)
}

func TestRunOn(t *testing.T) {
	set := lockSet(1, 1, func(l *Interlock) { l.Demands = []Demand{{Output: "fan", RunOn: 60 * s}, {Output: "horn"}} })
	trip := `
		0s a=100 => armed L; tripped L#1 first=a votes=a; demand fan by L; demand horn by L
		10s a=1 ?L=armed ?fan=on,by-L ?horn=off => reset L#1; release horn by L
		`
	for name, script := range map[string]string{
		"held":   `70s ?fan=off => release fan by L`,
		"joined": "69s a=100 => tripped L#2 first=a votes=a; demand horn by L\n75s a=150 ?fan=on,by-L\n80s a=1 => reset L#2; release horn by L\n139s ?fan=on,by-L\n140s => release fan by L",
		"hand-over": `
			20s handover ?fan=on,by-L
			70s => release fan by L`,
		"restart": `
			20s restart:5s ?fan=on,by-L
			21s a=1 => armed L
			70s => release fan by L`,
		"restart, an unknown time down": `
			20s restart:-1s ?fan=on,by-L
			21s a=1 => armed L
			70s a=1 ?fan=off => release fan by L`,
		"it ended meanwhile": `
			90s restart:30s ?fan=off => release fan by L`,
		"a restart and a new trip": `
			20s restart:5s
			30s a=100 => armed L; tripped L#2 first=a votes=a; demand horn by L
			90s a=1 => reset L#2; release horn by L
			150s => release fan by L`,
	} {
		t.Run(name, func(t *testing.T) { play(t, set, trip+script) })
	}
	// Before the first step the owner sees it, or that it is over.
	r := play(t, set, trip)
	for down, on := range map[time.Duration]bool{0: true, -1: true, 59 * s: true, 60 * s: false} {
		e, _ := New(set)
		if err := e.Restore(r.e.Snapshot(nil, rigStamp(10*s)), down); err != nil {
			t.Fatal(err)
		}
		if d := e.Demands(nil)[0]; d.Protective != on {
			t.Errorf("after %v: %+v", down, d)
		}
		var out Outcome
		e.Step(&Input{Now: rigStamp(99 * s), Image: NewImage(set).Readings()}, &out)
		if len(out.Demands) != 1 || out.Demands[0].Protective != on {
			t.Errorf("after %v: %+v", down, out.Demands)
		}
	}
}

// proofSet: fan is proved by f = 1 within 10 s, else horn is demanded, and
// where that is not proved by c = 1 within 5 s, siren.
func proofSet() Set {
	set := lockSet(1, 1, nil)
	set.Outputs = []Output{
		{Name: "fan", Proved: true, Proof: Condition{4, EQ, 1}, Within: 10 * s, Escalate: []string{"horn"}},
		{Name: "horn", Proved: true, Proof: Condition{3, EQ, 1}, Within: 5 * s, Escalate: []string{"siren"}},
		{Name: "siren"},
	}
	return set
}

func TestEscalate(t *testing.T) {
	for name, script := range map[string]string{
		"proved in time, once": `
			0s a=1 c=0 f=0 => armed L
			1s a=100 => tripped L#1 first=a votes=a; demand fan by L
			4s f=1 => proved fan 3s
			5s f=0
			6s f=1 ?horn=off
			7s a=1 => reset L#1; release fan by L
			8s a=100 => tripped L#2 first=a votes=a; demand fan by L; proved fan 0s`,
		"escalated as long as the first is demanded": `
			0s a=1 c=0 f=0 => armed L
			1s a=100 => tripped L#1 first=a votes=a; demand fan by L
			11s ?horn=on,by-L => raised fan.proof#1; escalated fan; demand horn by L
			12s f=1 ?horn=on,by-L => returned fan.proof#1; proved fan 11s
			13s c=1 => proved horn 12s
			14s a=1 ?horn=off => reset L#1; release fan by L; release horn by L
			15s a=100 f=bad => tripped L#2 first=a votes=a; demand fan by L
			25s => raised fan.proof#2; escalated fan; demand horn by L; proved horn 10s`,
		"and on": `
			0s a=100 c=0 f=0 => armed L; tripped L#1 first=a votes=a; demand fan by L
			10s => raised fan.proof#1; escalated fan; demand horn by L
			15s ?siren=on,by-L => raised horn.proof#1; escalated horn; demand siren by L
			16s a=1 => reset L#1; release fan by L; returned fan.proof#1; release horn by L; returned horn.proof#1; release siren by L`,
		"a shelved alarm escalates all the same, for a proof lost later": `
			0s a=100 c=0 f=1 => armed L; tripped L#1 first=a votes=a; demand fan by L; proved fan 0s
			5s f=0
			15s => raised fan.proof#1; escalated fan; demand horn by L`,
		"hand-overs": `
			0s a=100 c=0 f=0 => armed L; tripped L#1 first=a votes=a; demand fan by L
			4s handover
			10s => raised fan.proof#1; escalated fan; demand horn by L
			11s handover ?horn=on,by-L
			15s => raised horn.proof#1; escalated horn; demand siren by L
			16s handover ?siren=on,by-L f=1 c=1 => returned horn.proof#1; proved horn 16s; returned fan.proof#1; proved fan 16s
			17s handover a=1 ?fan=off ?horn=off ?siren=off => reset L#1; release fan by L; release horn by L; release siren by L`,
		"a restart, and the proof came meanwhile": `
			0s a=100 c=0 f=0 => armed L; tripped L#1 first=a votes=a; demand fan by L
			6s restart:3s a=100 c=0 f=1 => proved fan 6s`,
		"a restart: the time down counts": `
			0s a=100 c=0 f=0 => armed L; tripped L#1 first=a votes=a; demand fan by L
			30s restart:25s ?horn=on,by-L => raised fan.proof#1; escalated fan; demand horn by L
			31s f=1 => returned fan.proof#1; proved fan 31s
			32s restart:1s ?horn=on,by-L`,
		"a restart: nobody knows how long": `
			0s a=100 c=0 f=0 => armed L; tripped L#1 first=a votes=a; demand fan by L
			8s restart:-1s
			9s f=1 => proved fan 0s`,
	} {
		t.Run(name, func(t *testing.T) { play(t, proofSet(), script) })
	}
	r := play(t, proofSet(), `
		0s a=1 c=0 f=0 => armed L
		1s a=100 => tripped L#1 first=a votes=a; demand fan by L
		11s => raised fan.proof#1; escalated fan; demand horn by L`)
	v := r.out.Events[slices.IndexFunc(r.out.Events, func(v Event) bool { return v.Kind == OutputEscalated })]
	if v.Rule != "L" || v.Occurrence != 1 || v.Tag != 4 || v.Value.Float() != 0 || v.Quality != tag.GoodQuality || v.Priority != Critical {
		t.Errorf("%+v", v)
	}
	if !r.out.Durable {
		t.Error("it is not kept")
	}
}

func TestNewSaysEverythingOfLocks(t *testing.T) {
	set := lockSet(1, 2, func(l *Interlock) {
		l.Arm, l.ArmDue, l.ResetWhen = Condition{Tag: 9}, Condition{Tag: 1, Op: 9}, Condition{Tag: 7}
		l.Bypass = Permit{AtMost: MaxDelay + 1, Roles: []string{""}}
		l.Demands[0].RunOn = -1
	})
	k := lockSet(1, 1, func(l *Interlock) {
		l.Name, l.ArmWithin, l.Bypass = "K", s, Permit{Second: []string{"leader"}}
	}).Interlocks[0]
	m := lockSet(1, 1, func(l *Interlock) { l.Name, l.ArmDue, l.ArmWithin = "M", Condition{Tag: 1}, s }).Interlocks[0]
	set.Interlocks = append(set.Interlocks, k, m)
	proof := Condition{1, GE, 1}
	set.Outputs = []Output{
		{Name: "fan", Escalate: []string{"horn", "bell", "horn"}},
		{Name: "horn", Proved: true, Proof: proof, Escalate: []string{"siren"}},
		{Name: "siren", Proved: true, Proof: proof, Escalate: []string{"horn"}},
		{Name: "self", Proved: true, Proof: proof, Escalate: []string{"self"}},
		{Name: "good", Proved: true, Proof: proof, Escalate: []string{"lamp"}},
		{Name: "lamp"},
	}
	_, err := New(set)
	if err == nil {
		t.Fatal("it is taken")
	}
	for _, want := range []string{
		`interlock "L" arming condition: tag 9 is not in the set`,
		`interlock "L" condition that arming is due: unknown comparison 9`,
		`interlock "L" reset condition: tag 7 is not in the set`,
		`interlock "L": arming is due, and there is no arming condition or no time for it`,
		`interlock "L": longest bypass of`,
		`interlock "L": a role of its bypass has no name`,
		`interlock "L" demand: run-on of -1ns`,
		`interlock "K": a time to arm within has no meaning`,
		`interlock "K": says who may bypass and no longest time`,
		`interlock "M": arming is due, and there is no arming condition`,
		`output "fan" escalates: output "bell" is not in the set`,
		`output "fan": escalates to output "horn" twice`,
		`output "fan": escalates, and there is no proof`,
		`output "horn": escalates in a circle`,
		`output "siren": escalates in a circle`,
		`output "self": escalates in a circle`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("it does not say: %s", want)
		}
	}
	for _, bad := range []string{`"good"`, `"lamp"`} {
		if strings.Contains(err.Error(), bad) {
			t.Errorf("it says something of %s: %v", bad, err)
		}
	}
}
