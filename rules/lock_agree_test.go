package rules

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

func apartSet(spread float64, change func(*Interlock)) Set {
	return lockSet(2, 3, func(l *Interlock) {
		l.Discrepancy = Discrepancy{Priority: Medium, Spread: spread, After: 10 * s}
		if change != nil {
			change(l)
		}
	})
}

// aboveSet is of detectors that say when they are above their range.
func aboveSet(spread float64) Set {
	set := apartSet(spread, nil)
	for i := 1; i <= 3; i++ {
		set.Tags[i].OverRange = true
	}
	return set
}

func TestDiscrepancy(t *testing.T) {
	for name, c := range map[string]struct {
		set    Set
		script string
	}{
		"further apart than the spread, and back": {apartSet(15, nil), `
			0s a=1 b=1 c=1 => armed L
			1s a=16
			60s
			61s a=16.5
			70s
			71s ?L.discrepancy=unacked => raised L.discrepancy#1
			72s a=10
			80s a=40
			81s a=10
			90s
			91s => returned L.discrepancy#1`},
		"for less than its time": {apartSet(15, nil), `
			0s a=1 b=1 c=1 => armed L
			1s a=50
			10s a=1
			11s a=50
			20s a=1
			99s`},
		"one that is bad differs from nobody": {apartSet(15, nil), `
			0s a=1 b=1 c=1 => armed L
			1s a=bad
			11s => degraded L a!bad
			60s ?L.discrepancy=normal`},
		"the others may still differ": {apartSet(15, nil), `
			0s a=1 b=1 c=1 => armed L
			1s a=bad b=50
			11s => raised L.discrepancy#1; degraded L a!bad`},
		"bad does not clear it": {apartSet(15, nil), `
			0s a=50 b=1 c=1 => armed L
			10s => raised L.discrepancy#1
			11s a=bad
			21s => degraded L a!bad
			99s ?L.discrepancy=unacked
			100s a=1 => restored L
			110s => returned L.discrepancy#1`},
		"a time that runs goes on under bad": {apartSet(15, nil), `
			0s a=50 b=1 c=1 => armed L
			5s a=bad
			10s => raised L.discrepancy#1
			15s => degraded L a!bad`},
		"votes, of channels that measure nothing": {apartSet(0, nil), `
			0s a=1 b=50 c=99 => armed L
			60s a=100
			70s => raised L.discrepancy#1
			71s a=99
			81s => returned L.discrepancy#1`},
		"all want the trip: they agree": {apartSet(0, nil), `
			0s a=1 b=1 c=1 => armed L
			1s a=100 b=100 c=100 => tripped L#1 first=a votes=a,b,c; demand fan by L
			60s`},
		"in test it is not judged": {apartSet(15, nil), `
			0s a=1 b=1 c=1 => armed L
			1s a=test:90 => degraded L a!test
			60s ?L.discrepancy=normal`},
		"in test it is not judged, also where tests vote": {apartSet(15, func(l *Interlock) { l.InTestCounts = true }), `
			0s a=1 b=1 c=1 => armed L
			1s a=test:90
			60s ?L.discrepancy=normal`},
		"a person's hand is not compared": {apartSet(0, func(l *Interlock) { l.M, l.Channels[0].Manual = 1, true }), `
			0s a=1 b=1 c=1 => armed L
			1s a=100 => tripped L#1 first=a votes=a; demand fan by L
			60s b=100 c=1
			70s => raised L.discrepancy#1`},
		"above the range its number is the least that it can be": {aboveSet(15), `
			0s a=90 b=90 c=90 => armed L
			1s a=above:0
			60s ?L.discrepancy=normal
			61s a=over:150
			71s => raised L.discrepancy#1`},
		"above the range it is not known that it agrees": {aboveSet(15), `
			0s a=90 b=1 c=1 => armed L
			10s => raised L.discrepancy#1
			11s a=above:1
			60s ?L.discrepancy=unacked
			61s a=1
			71s => returned L.discrepancy#1`},
		"above the range it votes": {aboveSet(0), `
			0s a=1 b=1 c=1 => armed L
			1s a=above:0
			11s => raised L.discrepancy#1`},
		"forced it does not clear it": {apartSet(15, nil), `
			0s a=50 b=1 c=1 => armed L
			10s => raised L.discrepancy#1
			11s a=forced:1
			30s ?L.discrepancy=unacked => degraded L a!bad@21s`},
		"a bypass silences nothing": {apartSet(15, func(l *Interlock) { l.Bypass = Permit{AtMost: time.Hour} }), `
			0s a=1 b=1 c=1 => armed L
			1s bypass:L:a:1h => bypassed L a 1h0m0s by li; degraded L a!bypassed
			2s a=50
			12s => raised L.discrepancy#1`},
		"also while it is not armed": {func() Set {
			set := apartSet(15, nil)
			set.Interlocks[0].Arm = Condition{4, GE, 1}
			return set
		}(), `
			0s a=1 b=1 c=50 f=0 => unarmed L
			10s => raised L.discrepancy#1`},
		"restart: the time goes on": {apartSet(15, nil), `
			0s a=50 b=1 c=1 => armed L
			6s restart:2s a=50 b=1 c=1 => armed L
			10s => raised L.discrepancy#1
			12s restart:1s ?L.discrepancy=unacked
			13s a=1 b=1 c=1 => armed L
			23s => returned L.discrepancy#1`},
	} {
		t.Run(name, func(t *testing.T) { play(t, c.set, c.script) })
	}
}

func permissiveSet(change func(*Interlock)) Set {
	set := armSet(func(l *Interlock) {
		l.ManualReset, l.ResetFor = true, 5*s
		l.Permissives = []Permissive{{Name: "level", Cond: Condition{6, GE, 20}, Priority: Medium, After: 10 * s}, {Name: "ready", Cond: Condition{4, EQ, 1}, Priority: Low}}
		if change != nil {
			change(l)
		}
	})
	return set
}

func TestPermissives(t *testing.T) {
	for name, c := range map[string]struct {
		set    Set
		script string
	}{
		"missing never keeps a trip from tripping": {permissiveSet(nil), `
			0s a=1 p=1 d=0 f=0 => armed L; raised L.ready.not-permitted#1
			1s a=100 => tripped L#1 first=a votes=a; demand fan by L`},
		"nor does it trip": {permissiveSet(nil), `
			0s a=1 p=1 d=30 f=1 => armed L
			1s d=0 f=0 => raised L.ready.not-permitted#1
			11s => raised L.level.not-permitted#1
			99s ?L=armed ?fan=off
			100s d=20 => returned L.level.not-permitted#1`},
		"no reset without": {permissiveSet(nil), `
			0s a=100 p=1 d=30 f=1 => armed L; tripped L#1 first=a votes=a; demand fan by L
			1s a=1
			3s d=0
			7s reset:L!reset-not-met
			8s d=30
			12s reset:L!reset-not-yet
			13s reset:L => reset L#1; release fan by L`},
		"not known is not permitted, and no second alarm": {permissiveSet(nil), `
			0s a=100 p=1 d=30 f=1 => armed L; tripped L#1 first=a votes=a; demand fan by L
			1s a=1 d=bad
			99s reset:L!reset-not-met ?L.level.not-permitted=normal`},
		"not known does not clear it": {permissiveSet(nil), `
			0s a=1 p=1 d=0 f=1 => armed L
			10s => raised L.level.not-permitted#1
			11s d=bad
			99s ?L.level.not-permitted=unacked`},
		"not due while it is not armed": {permissiveSet(nil), `
			0s a=1 p=0 d=0 f=1 => unarmed L
			99s ?L.level.not-permitted=normal
			100s p=1 => armed L
			110s => raised L.level.not-permitted#1
			111s p=0 => returned L.level.not-permitted#1; unarmed L`},
		"due while it is not known whether it is armed": {permissiveSet(nil), `
			0s a=1 p=bad d=0 f=1 => armed L
			10s => raised L.level.not-permitted#1`},
		"by itself it is not reset without": {permissiveSet(func(l *Interlock) { l.ManualReset = false }), `
			0s a=100 p=1 d=0 f=1 => armed L; tripped L#1 first=a votes=a; demand fan by L
			1s a=1
			10s => raised L.level.not-permitted#1
			60s d=20 => returned L.level.not-permitted#1
			65s => reset L#1; release fan by L`},
		"restart: the alarm stands, and no reset before it was read": {permissiveSet(nil), `
			0s a=100 p=1 d=0 f=1 => armed L; tripped L#1 first=a votes=a; demand fan by L
			10s => raised L.level.not-permitted#1
			11s restart:1s ?L.level.not-permitted=unacked
			12s a=1 p=1 f=1
			60s reset:L!reset-not-met
			61s d=30 => returned L.level.not-permitted#1
			66s reset:L => reset L#1; release fan by L`},
	} {
		t.Run(name, func(t *testing.T) { play(t, c.set, c.script) })
	}
}

// What is shown names what does not hold, and what is not known.
func TestPermissiveView(t *testing.T) {
	r := play(t, permissiveSet(nil), `
		0s a=100 p=1 d=0 f=bad => armed L; tripped L#1 first=a votes=a; demand fan by L
		1s a=1`)
	v, _ := r.e.Interlock("L", rigStamp(s))
	if want := []PermissiveView{{"level", false}, {"ready", true}}; !slices.Equal(v.NotPermitted, want) || !slices.Equal(v.Missing, []string{"level", "ready"}) {
		t.Errorf("%+v", v)
	}
	r.play("2s d=30 f=1")
	if v, _ = r.e.Interlock("L", rigStamp(2*s)); v.NotPermitted != nil {
		t.Errorf("%+v", v)
	}
}

func TestNewRefusesAgreement(t *testing.T) {
	for name, change := range map[string]func(*Interlock){
		"spread without priority": func(l *Interlock) { l.Discrepancy = Discrepancy{Spread: 1} },
		"time without priority":   func(l *Interlock) { l.Discrepancy = Discrepancy{After: s} },
		"priority":                func(l *Interlock) { l.Discrepancy = Discrepancy{Priority: 9} },
		"spread":                  func(l *Interlock) { l.Discrepancy = Discrepancy{Priority: Low, Spread: math.NaN()} },
		"endless spread":          func(l *Interlock) { l.Discrepancy = Discrepancy{Priority: Low, Spread: math.Inf(1)} },
		"negative spread":         func(l *Interlock) { l.Discrepancy = Discrepancy{Priority: Low, Spread: -1} },
		"negative time":           func(l *Interlock) { l.Discrepancy = Discrepancy{Priority: Low, After: -1} },
		"one channel":             func(l *Interlock) { l.M, l.Channels, l.Discrepancy = 1, l.Channels[:1], Discrepancy{Priority: Low} },
		"one beside a hand": func(l *Interlock) {
			l.Channels[0].Manual, l.Channels[1].Manual, l.Discrepancy = true, true, Discrepancy{Priority: Low}
		},
		"an alarm's name that no snapshot holds": func(l *Interlock) {
			l.Permissives = []Permissive{{Name: strings.Repeat("x", MaxName), Cond: Condition{1, GE, 1}, Priority: Low}}
			l.Name = strings.Repeat("y", MaxName)
		},
		"permissive without name": func(l *Interlock) { l.Permissives = []Permissive{{Cond: Condition{1, GE, 1}, Priority: Low}} },
		"permissive twice": func(l *Interlock) {
			l.Permissives = slices.Repeat([]Permissive{{Name: "x", Cond: Condition{1, GE, 1}, Priority: Low}}, 2)
		},
		"without condition": func(l *Interlock) { l.Permissives = []Permissive{{Name: "x", Priority: Low}} },
		"without priority":  func(l *Interlock) { l.Permissives = []Permissive{{Name: "x", Cond: Condition{1, GE, 1}}} },
		"of a tag that is not one": func(l *Interlock) {
			l.Permissives = []Permissive{{Name: "x", Cond: Condition{77, GE, 1}, Priority: Low}}
		},
		"negative delay": func(l *Interlock) {
			l.Permissives = []Permissive{{Name: "x", Cond: Condition{1, GE, 1}, Priority: Low, After: -1}}
		},
	} {
		if _, err := New(lockSet(2, 3, change)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := New(lockSet(2, 3, func(l *Interlock) {
		l.Discrepancy = Discrepancy{Priority: Low}
		l.Permissives = []Permissive{{Name: "x", Cond: Condition{1, GE, 1}, Priority: Low}}
	})); err != nil {
		t.Error(err)
	}
}

// What an alarm of a drilled interlock says is of the drill, whatever dots are in its name.
func TestAlarmsOfADrill(t *testing.T) {
	r := play(t, apartSet(5, func(l *Interlock) {
		l.Test, l.Discrepancy.After = Permit{AtMost: time.Hour}, 0
		l.Permissives = []Permissive{{Name: "caustic.level", Cond: Condition{4, EQ, 1}, Priority: Low}}
	}), `
		0s a=1 b=1 c=1 f=1 => armed L
		1s test:L:10m => testing L for 10m0s
		2s a=50 f=0 => raised L.caustic.level.not-permitted#1; raised L.discrepancy#1`)
	if len(r.out.Events) != 2 {
		t.Fatal(r.out.Events)
	}
	for _, v := range r.out.Events {
		if !v.Test {
			t.Errorf("%s is not of a test", v.Rule)
		}
	}
}
