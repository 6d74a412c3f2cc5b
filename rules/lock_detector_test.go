package rules

import "testing"

// A trip stands while its detector warms up or is calibrated, and does not reset itself by it.
func TestTripAndDetectorStates(t *testing.T) {
	for name, c := range map[string]struct {
		set    Set
		script string
	}{
		"warm-up on a single tripped channel": {func() Set {
			set := lockSet(1, 1, func(l *Interlock) { l.Bad, l.BadAfter, l.AllBadHolds = LeftOut, 10*s, true })
			set.Tags[1].OverRange = true
			return set
		}(), `
			0s a=1 => armed L
			1s a=100 => tripped L#1 first=a votes=a; demand fan by L
			2s a=warm:0
			60s ?L=tripped,out,degraded => degraded L a!bad@12s
			61s a=fc
			99s a=bad
			200s
			201s a=0 => restored L; reset L#1; release fan by L`},
		"warm-up of 1 of 2, automatic reset": {func() Set {
			set := lockSet(1, 2, func(l *Interlock) { l.Bad, l.BadAfter = LeftOut, 10*s })
			set.Tags[1].OverRange = true
			return set
		}(), `
			0s a=1 b=1 => armed L
			1s a=above:0 => tripped L#1 first=a votes=a; demand fan by L
			2s a=warm:0
			60s ?L=tripped,degraded,ready => degraded L a!bad@12s
			61s a=over:0 => restored L
			62s ?L=tripped
			63s a=0 => reset L#1; release fan by L`},
	} {
		t.Run(name, func(t *testing.T) { play(t, c.set, c.script) })
	}
}

// Above its range a detector is equal to no number that it shows.
func TestNoResetByANumberAboveTheRange(t *testing.T) {
	set := aboveSet(15)
	l := &set.Interlocks[0]
	l.ManualReset, l.Discrepancy = true, Discrepancy{}
	l.ResetConds = []Condition{{1, EQ, 0}, {2, EQ, 0}, {3, NE, 7}}
	play(t, set, `
		0s a=0 b=0 c=0 => armed L
		1s a=above:0 b=above:0 => tripped L#1 first=a votes=a,b; demand fan by L
		2s b=0 reset:L!reset-not-met
		3s a=over:0 reset:L!reset-not-met
		4s a=0 c=over:1 reset:L!reset-not-met
		5s c=1 reset:L => reset L#1; release fan by L`)
}
