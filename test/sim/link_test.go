package sim

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"davy/agent/ring"
	"davy/drivers/sim"
	"davy/drivers/tag"
	"davy/rules"
)

// keepAlive gives the I/O module a watchdog of its own.
var keepAlive = []string{"    may_write: [fan]\n", "    may_write: [fan, wd]\n    watchdog: wd = 1 every 1s\n"}

func TestASlowLinkIsLateAndCountedAndNeverCatchesUp(t *testing.T) {
	b := newBench(t)
	synctest.Test(t, func(t *testing.T) {
		b.t = t
		b.start()
		defer b.stop()
		b.after(2 * time.Second)
		if s := b.workers[0].Stats(); s.Overruns != 0 || s.Answers < 9 {
			t.Fatalf("a link with time to spare: %+v", s)
		}
		// An answer takes 250 ms of a slot of 200 ms: every second one is missed.
		b.gas.Behave(sim.Behaviour{Delay: 250 * time.Millisecond})
		before := b.workers[0].Stats()
		b.after(130 * time.Second)
		s := b.workers[0].Stats()
		if s.Failures != 0 || s.Longest < 250*time.Millisecond || s.Longest > 260*time.Millisecond {
			t.Errorf("%+v", s)
		}
		asked, missed := s.Answers-before.Answers, s.Overruns-before.Overruns
		if due := uint64(130 * 5); asked < 320 || asked > 330 || asked+missed < due-5 || asked+missed > due+5 {
			t.Errorf("asked %d, missed %d: together not the %d slots that were due", asked, missed, due)
		}
		if a := b.alarm("link.gas.overrun"); a.State != rules.Unacked {
			t.Errorf("over-run alarm: %v", a.State)
		}
		if a := b.alarm("link.io.overrun"); a.State != rules.Normal {
			t.Errorf("the other link has over-runs too: %v", a.State)
		}
		// Fast again it asks at its pace, not what it missed.
		b.gas.Behave(sim.Behaviour{})
		b.after(time.Second)
		before = b.workers[0].Stats()
		b.after(10 * time.Second)
		if s := b.workers[0].Stats(); s.Answers-before.Answers > 50+1 || s.Overruns != before.Overruns {
			t.Errorf("%d answers in 10 s, %d over-runs", s.Answers-before.Answers, s.Overruns-before.Overruns)
		}
		b.after(130 * time.Second)
		if a := b.alarm("link.gas.overrun"); a.State != rules.ReturnedUnacked {
			t.Errorf("over-run alarm of a link that keeps up: %v", a.State)
		}
	})
}

func TestASilentLinkIsAnAlarmAndComesBackWhole(t *testing.T) {
	b := newBench(t)
	synctest.Test(t, func(t *testing.T) {
		b.t = t
		b.start()
		defer b.stop()
		b.after(2 * time.Second)
		b.io.Behave(sim.Behaviour{Silent: true})
		b.after(2500 * time.Millisecond)
		if b.workers[1].Stats().Silent {
			t.Error("silent after 2.5 s; a link has 3 s")
		}
		b.after(3 * time.Second)
		s := b.workers[1].Stats()
		if a := b.alarm("link.io.silent"); a.State != rules.Normal || !s.Silent || s.Problem == "" {
			t.Errorf("alarm %v, %+v", a.State, s)
		}
		b.after(10 * time.Second) // a switch that starts again is no alarm
		if a := b.alarm("link.io.silent"); a.State != rules.Unacked {
			t.Errorf("silent for 15 s: alarm %v", a.State)
		}
		if a := b.alarm("link.gas.silent"); a.State != rules.Normal {
			t.Errorf("the link beside it: %v", a.State)
		}
		// A dead link is asked seldom.
		b.after(time.Minute)
		before := b.workers[1].Stats()
		b.after(time.Minute)
		if n := b.workers[1].Stats().Failures - before.Failures; n < 6 || n > 26 {
			t.Errorf("a dead link was asked %d times in a minute", n)
		}
		b.io.Behave(sim.Behaviour{})
		b.after(6 * time.Second)
		s = b.workers[1].Stats()
		if a := b.alarm("link.io.silent"); a.State != rules.ReturnedUnacked || s.Silent || s.Problem != "" {
			t.Errorf("back: alarm %v, %+v", a.State, s)
		}
		for i, r := range b.view().Image {
			if i > 0 && b.plan.Tags[i].Link >= 0 && !r.Quality.Good() {
				t.Errorf("%s is %v six seconds after its link is back", b.plan.Tags[i].Name, r.Quality)
			}
		}
		if n := b.count(rules.AlarmRaised, "link.io.silent"); n != 1 {
			t.Errorf("raised %d times", n)
		}
	})
}

// A loop that stands still takes nothing; the links wait with what they have,
// nobody keeps the devices' watchdogs fed, and afterwards all is taken in order.
func TestALoopThatStandsStill(t *testing.T) {
	b := newBenchWith(t, keepAlive)
	synctest.Test(t, func(t *testing.T) {
		b.t = t
		var fed atomic.Int64
		b.io.Set("wd", tag.BoolValue(false))
		b.io.OnWrite("wd", func(tag.Value) error { fed.Add(1); return nil })
		b.start()
		defer b.stop()
		b.after(10 * time.Second)
		if n := fed.Load(); n < 9 || n > 11 {
			t.Fatalf("watchdog fed %d times in 10 s", n)
		}
		goOn := b.stall()
		b.after(2 * time.Second) // it looks at its clock once a second
		n := fed.Load()
		if b.loop.Alive() {
			t.Error("a loop that stands still says that it lives")
		}
		asked := b.workers[0].Stats().Answers
		b.set(160, 170, 5)
		b.after(10 * time.Second)
		b.set(5, 5, 5)
		b.after(20 * time.Second)
		if fed.Load() != n {
			t.Errorf("watchdog fed %d times for a loop that stood still", fed.Load()-n)
		}
		// 64 batches wait for the loop, and one in each link's hand; then the links wait too.
		if more := b.workers[0].Stats().Answers - asked; more > 64+8 {
			t.Errorf("%d answers for a loop that takes none", more)
		}
		goOn()
		b.after(5 * time.Second)
		if s, due := b.workers[0].Stats(), uint64(5*(10+2+30+5)); s.Answers+s.Overruns < due-5 || s.Answers+s.Overruns > due+5 {
			t.Errorf("asked %d, missed %d: together not the %d slots that were due", s.Answers, s.Overruns, due)
		}
		if !b.loop.Alive() || fed.Load() <= n {
			t.Error("it does not go on")
		}
		if v := b.view(); v.Longest < 30*time.Second {
			t.Errorf("longest time between two turns %v", v.Longest)
		}
		if b.count(rules.AlarmRaised, "control.slow") != 1 || b.alarm("control.slow").State != rules.ReturnedUnacked {
			t.Errorf("slow control: %v", b.alarm("control.slow").State)
		}
		// The leak came and went meanwhile: the readings that were taken then
		// are judged, in their order.
		if b.count(rules.InterlockTripped, "NH3-150") != 1 || b.interlock().FirstOut != "d1.gas" {
			t.Errorf("a leak that was read was not judged: %v", b.interlock().State)
		}
		for i, r := range b.view().Image {
			if i > 0 && b.plan.Tags[i].Link >= 0 && !r.Quality.Good() {
				t.Errorf("%s is %v", b.plan.Tags[i].Name, r.Quality)
			}
		}
	})
}

func TestAStepOfTheClockIsAnEventAndNothingElse(t *testing.T) {
	b := newBench(t)
	synctest.Test(t, func(t *testing.T) {
		b.t = t
		b.start()
		defer b.stop()
		b.after(5 * time.Second)
		if n := b.count(ring.ClockStepped, ""); n != 0 {
			t.Fatalf("%d steps of a clock that nobody moved", n)
		}
		steps := func() (s []float64) {
			for _, e := range b.view().Log {
				if e.Kind == ring.ClockStepped {
					s = append(s, e.Value.Float())
				}
			}
			return s
		}
		for _, d := range []time.Duration{time.Second, -24 * time.Hour, 400 * 24 * time.Hour} {
			b.shifted.Add(int64(d))
			b.after(3 * time.Second)
		}
		if s := steps(); len(s) != 2 || s[0] != -86400 || s[1] != 400*86400 {
			t.Errorf("steps %v, want -86400 and 34560000; a second is none", s)
		}
		for i, r := range b.view().Image {
			if i > 0 && b.plan.Tags[i].Link >= 0 && !r.Quality.Good() {
				t.Errorf("%s is %v because somebody set the clock", b.plan.Tags[i].Name, r.Quality)
			}
		}
		if i := b.interlock(); i.State != rules.Armed || len(b.written()) != 0 {
			t.Errorf("%v, %d writes", i.State, len(b.written()))
		}
		// Delays count on the other clock: a leak trips as ever.
		b.set(160, 170, 5)
		b.after(time.Second)
		if i := b.interlock(); i.State != rules.Tripped {
			t.Errorf("a leak after the steps: %v", i.State)
		}
		if err := b.loop.Do(context.Background(), rules.Command{Verb: rules.Reset, Rule: "NH3-150", Occurrence: 1}); err == nil {
			t.Error("reset while the gas stands")
		}
	})
}
