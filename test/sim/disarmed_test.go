package sim

import (
	"testing"
	"testing/synctest"
	"time"

	"davy/agent/ring"
	"davy/rules"
)

// While the outputs are disarmed every event of a rule carries the flag of a
// test, and none when they are armed; that they are armed or not is itself no test.
func TestEventsWhileDisarmedAreOfATest(t *testing.T) {
	b := newBench(t)
	b.armed = false
	synctest.Test(t, func(t *testing.T) {
		b.t = t
		b.start()
		defer b.stop()
		b.after(2 * time.Second)
		look := func(after int, test bool) int {
			t.Helper()
			log := b.view().Log
			trips := 0
			for _, e := range log[after:] {
				want := test && e.Kind != ring.OutputsArmed && e.Kind != ring.OutputsDisarmed && e.Kind != ring.ClockStepped && e.Kind != ring.CommandRefused
				if e.Test != want {
					t.Errorf("event %d, kind %d of %q: test %v, want %v", e.Serial, e.Kind, e.Rule, e.Test, want)
				}
				if e.Kind == rules.InterlockTripped {
					trips++
				}
			}
			if trips != 1 {
				t.Errorf("%d trips", trips)
			}
			return len(log)
		}
		b.set(160, 170, 5)
		b.after(5 * time.Second)
		look(0, true)
		if len(b.written()) != 0 {
			t.Error("a disarmed output was written")
		}
		b.set(5, 5, 5)
		b.after(2 * time.Minute)
		if err := b.loop.Do(t.Context(), rules.Command{Verb: rules.Reset, Rule: "NH3-150", Occurrence: b.interlock().Occurrence, Who: "op"}); err != nil {
			t.Fatal(err)
		}
		b.after(time.Second)
		n := len(b.view().Log)
		if err := b.loop.Arm(t.Context(), true, "op", true, "first day"); err != nil {
			t.Fatal(err)
		}
		b.set(160, 170, 5)
		b.after(5 * time.Second)
		look(n, false)
	})
}
