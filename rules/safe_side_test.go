package rules

import (
	"testing"
	"time"
)

// A channel that goes into test leaves the vote. What it voted before does not
// become safe by that: no output is released, except by a person or when the
// channel itself says so after the test.
func TestTestResetsNothing(t *testing.T) {
	set := deviceSet(1, 3, nil)
	play(t, set, `
		0s a=1 b=1 c=1 => armed L
		1s a=100 => tripped L#1 first=a votes=a; demand fan by L
		2s test:D:10m ?L=tripped,degraded,ready => testing D for 10m0s; degraded L a!test
		3s a=1 b=2 handover ?L=tripped,degraded,ready
		4s endtest:D:passed => tested D passed; restored L; reset L#1; release fan by L`)
	// Nor does a person have to wait for the end of the test.
	play(t, set, `
		0s a=1 b=1 c=1 => armed L
		1s a=100 => tripped L#1 first=a votes=a; demand fan by L
		2s test:D:10m => testing D for 10m0s; degraded L a!test
		3s reset:L => reset L#1; release fan by L`)
	// One that allowed it when its test began does not stand in the way, also over a hand-over.
	play(t, set, `
		0s a=1 b=1 c=1 => armed L
		1s test:D:10m => testing D for 10m0s; degraded L a!test
		2s a=100
		3s b=100 => tripped L#1 first=b votes=b; demand fan by L
		4s handover
		5s b=1 => reset L#1; release fan by L`)
}

// Nor does a channel that fails, or that a person takes away: a detector that
// the gas has destroyed must not stop the fan.
func TestFailureResetsNothing(t *testing.T) {
	for name, away := range map[string][2]string{
		"bad":     {"2s a=bad ?L=tripped,ready", ""},
		"removed": {"2s remove:D ?L=tripped,ready => out D", ""},
		"forced":  {"2s force:a:1:1h ?L=tripped,ready => forced a 1 for 1h0m0s", "=> unforced a 1 by nobody"},
	} {
		t.Run(name, func(t *testing.T) {
			script := `
				0s a=1 b=1 c=1 => armed L
				1s a=100 => tripped L#1 first=a votes=a; demand fan by L
				` + away[0] + `
				20s b=2 ?L=tripped,degraded,ready => degraded L a!bad@12s
				`
			play(t, deviceSet(1, 3, func(l *Interlock) { l.Bad = LeftOut }), script+`
				21s handover ?L=tripped,degraded,ready
				22s reset:L => reset L#1; release fan by L
				23s b=100 => tripped L#2 first=b votes=b; demand fan by L`)
			play(t, deviceSet(1, 3, func(l *Interlock) { l.Bad = LeftOut }), script+`
				21s restart:1s a=bad b=1 c=1 ?fan=on,by-L`+away[1])
		})
	}
	// One of which nothing else is known does not stand in the way, nor one that allowed it.
	play(t, deviceSet(1, 3, func(l *Interlock) { l.Bad = LeftOut }), `
		0s a=bad b=1 c=1 => armed L
		10s => degraded L a!bad
		11s b=100 => tripped L#1 first=b votes=b; demand fan by L
		12s b=1 => reset L#1; release fan by L
		13s c=bad
		30s b=100 => degraded L c!bad@23s; tripped L#2 first=b votes=b; demand fan by L
		31s b=1 => reset L#2; release fan by L`)
}

// A hand-over to a set that permits less ends what persons began, or shortens it.
func TestHandoverPermitsLess(t *testing.T) {
	r := play(t, deviceSet(3, 3, nil), `
		0s a=1 b=1 c=1 => armed L
		1s force:a:70:1h test:E:1h => forced a 70 for 1h0m0s; testing E for 1h0m0s; degraded L b!test`)
	r.set.Devices[0].Force.AtMost = 30 * time.Minute
	r.set.Devices[1].Test.AtMost = 10 * time.Minute
	r.engineOf("2s", `?a=70,forced ?E=testing,10m0s`)
	r.set.Devices[0].Force.AtMost = 0
	r.set.Devices[1].Test.AtMost = 0
	r.engineOf("3s", `?a=1 ?b=1 => unforced a 70 by nobody; tested E aborted by nobody; restored L`)
}

// engineOf hands over to an engine of the set as it is now.
func (r *rig) engineOf(at, rest string) {
	r.t.Helper()
	b := r.e.Snapshot(nil, rigStamp(r.now))
	e, err := New(r.set)
	if err != nil {
		r.t.Fatal(err)
	}
	if err = e.Restore(b, 0); err != nil {
		r.t.Fatal(err)
	}
	r.e = e
	r.play(at + " " + rest)
}

// That an interlock tripped, or a rule was isolated, cannot be hidden.
func TestTripIsNotRemoved(t *testing.T) {
	set := deviceSet(1, 3, func(l *Interlock) { l.DegradedPriority = Low })
	play(t, set, `
		0s a=1 b=1 c=1 => armed L
		1s a=100 => tripped L#1 first=a votes=a; demand fan by L
		2s remove:L.tripped!not-permitted remove:rules.broken!not-permitted ?L.tripped=unacked
		3s remove:L.degraded => remove L.degraded#0`)
}

// A gateway without a clock that loses its power again and again gives nobody
// more time than KeepEvery each time: that often a snapshot is asked for.
func TestTimesAreKept(t *testing.T) {
	for name, begin := range map[string]string{
		"shelved": "1s shelve:hi:4h => shelve hi#0 4h0m0s",
		"bypass":  "1s bypass:L:a:4h => bypassed L a 4h0m0s by li; degraded L a!bypassed",
		"test":    "1s test:D:1h => testing D for 1h0m0s; degraded L a!test",
		"none":    "1s a=2",
	} {
		set := deviceSet(2, 3, func(l *Interlock) { l.Bypass = Permit{AtMost: 8 * time.Hour} })
		set.Alarms = []Alarm{{Name: "hi", Cond: Condition{1, GE, 5000}, Priority: Low}}
		r := play(t, set, "0s a=1 b=1 c=1 => armed L\n"+begin)
		times := 0
		for now := r.now; now < 20*time.Minute; now += s {
			Step(r.e, r.img, rigStamp(now), &r.out)
			times += count(r.out.Durable)
		}
		if want := 3 * count(name != "none"); times != want {
			t.Errorf("%s: a snapshot was asked for %d times, want %d", name, times, want)
		}
	}
}
