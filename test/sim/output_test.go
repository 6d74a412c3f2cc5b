package sim

import (
	"testing"
	"testing/synctest"
	"time"

	"davy/drivers/tag"
	"davy/rules"
)

// What an end in order leaves behind: where a demand holds an output it stays,
// else it is as davy_dead says.
func TestAnOrderlyStopLeavesOutputsAsDeclared(t *testing.T) {
	for _, c := range []struct {
		dead   string
		before bool // the fan's coil before the stop
		leak   bool
		want   []bool // writes of the stop
	}{
		{"stays", false, false, nil},
		{"stays", true, false, nil},
		{"idle", true, false, []bool{false}},
		{"protective", false, false, []bool{true}},
		{"stays", false, true, nil},
		{"idle", false, true, nil}, // a demand holds it: it stays where it is
		{"protective", false, true, nil},
	} {
		t.Run(c.dead, func(t *testing.T) {
			b := newBenchWith(t, append([]string{"davy_dead: stays", "davy_dead: " + c.dead}, keepAlive...))
			synctest.Test(t, func(t *testing.T) {
				b.t = t
				b.io.Set("fan", tag.BoolValue(c.before))
				b.io.Set("wd", tag.BoolValue(false))
				b.start()
				b.after(2 * time.Second)
				if c.leak {
					b.set(160, 170, 5)
					b.after(2 * time.Second)
				}
				n := len(b.written())
				if n != count(c.leak) {
					t.Fatalf("%d writes before the stop", n)
				}
				b.stop()
				w := b.written()[n:]
				if len(w) != len(c.want) {
					t.Fatalf("writes of the stop: %v, want %v", w, c.want)
				}
				for i := range w {
					if w[i].on != c.want[i] {
						t.Errorf("writes of the stop: %v, want %v", w, c.want)
					}
				}
			})
		})
	}
}

func TestADisarmedStopWritesNothing(t *testing.T) {
	b := newBenchWith(t, append([]string{"davy_dead: stays", "davy_dead: protective"}, keepAlive...))
	b.armed = false
	synctest.Test(t, func(t *testing.T) {
		b.t = t
		b.start()
		b.after(2 * time.Second)
		b.stop()
		if w := b.written(); len(w) > 0 {
			t.Errorf("%v", w)
		}
	})
}

// What a start does to an output that nothing demands.
func TestAfterRestart(t *testing.T) {
	for _, c := range []struct {
		after  string
		before bool
		want   []bool
	}{
		{"as it was", true, nil},
		{"as it was", false, nil},
		{"idle", true, []bool{false}},
		{"idle", false, []bool{false}}, // written once; a level that is there already does no harm
		{"protective", false, []bool{true}},
	} {
		t.Run(c.after, func(t *testing.T) {
			b := newBenchWith(t, []string{"after_restart: as it was", "after_restart: " + c.after})
			synctest.Test(t, func(t *testing.T) {
				b.t = t
				b.io.Set("fan", tag.BoolValue(c.before))
				b.start()
				defer b.stop()
				b.after(10 * time.Second)
				w := b.written()
				if len(w) != len(c.want) || len(w) == 1 && w[0].on != c.want[0] {
					t.Errorf("writes of the start: %v, want %v", w, c.want)
				}
				b.io.Set("fan", tag.BoolValue(!c.before)) // by hand
				b.after(10 * time.Second)
				if n := len(b.written()); n != len(c.want) {
					t.Errorf("a hand was fought after the start: %v", b.written())
				}
			})
		})
	}
}

// A trip that stands goes before what after_restart says: the fan never stops.
func TestAfterRestartDoesNotReleaseATrip(t *testing.T) {
	for range 3 { // whichever goroutine runs first
		b := newBenchWith(t, []string{"after_restart: as it was", "after_restart: idle"})
		synctest.Test(t, func(t *testing.T) {
			b.t = t
			b.start()
			b.after(2 * time.Second)
			b.set(160, 170, 5)
			b.after(2 * time.Second)
			b.stop()
			n := len(b.written())
			b.after(time.Second)
			b.start()
			defer b.stop()
			b.after(5 * time.Second)
			for _, w := range b.written()[n:] {
				if !w.on {
					t.Error("the fan was stopped while its trip stands")
				}
			}
			if b.interlock().State != rules.Tripped {
				t.Error("the trip is forgotten")
			}
		})
	}
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}
