package sim

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"davy/drivers/sim"
	"davy/drivers/tag"
	"davy/rules"
)

func TestTripDrivesTheFanAndResetReleasesIt(t *testing.T) {
	b := newBench(t)
	synctest.Test(t, func(t *testing.T) {
		b.t = t
		b.start()
		defer b.stop()
		b.after(2 * time.Second)
		if got := b.interlock().State; got != rules.Armed {
			t.Fatalf("state after two seconds of good readings: %v", got)
		}
		if n := len(b.written()); n != 0 {
			t.Fatalf("%d writes to an output that nothing demanded", n)
		}
		b.set(160, 170, 5)
		changed := time.Now()
		b.after(time.Second)
		w := b.written()
		if len(w) != 1 || !w[0].on {
			t.Fatalf("writes after the leak: %v", w)
		}
		if took := w[0].at.Sub(changed); took > 300*time.Millisecond {
			t.Errorf("fan commanded %v after the registers changed; the scan is 200 ms", took)
		}
		i := b.interlock()
		if i.State != rules.Tripped || i.FirstOut != "d1.gas" {
			t.Errorf("tripped=%v first-out %q", i.State, i.FirstOut)
		}
		cmd := rules.Command{Verb: rules.Reset, Rule: "NH3-150", Occurrence: i.Occurrence, Who: "op"}
		var refused *rules.RefusedError
		if err := b.loop.Do(context.Background(), cmd); !errors.As(err, &refused) {
			t.Errorf("reset while the gas stands: %v", err)
		}
		b.set(5, 5, 5)
		b.after(7 * time.Second)
		if err := b.loop.Do(context.Background(), cmd); err != nil {
			t.Fatalf("reset: %v", err)
		}
		b.after(time.Second)
		if w := b.written(); len(w) != 2 || w[1].on {
			t.Errorf("writes after the reset: %v", w)
		}
		if b.count(rules.InterlockTripped, "NH3-150") != 1 || b.count(rules.InterlockReset, "NH3-150") != 1 {
			t.Error("one trip and one reset were meant to be recorded")
		}
	})
}

func TestARestartForgetsNothingAndMovesNothing(t *testing.T) {
	b := newBench(t)
	synctest.Test(t, func(t *testing.T) {
		b.t = t
		b.start()
		b.after(2 * time.Second)
		b.set(160, 170, 5)
		b.after(time.Second)
		before := b.alarm("d1.high")
		b.stop()
		n := len(b.written())
		b.after(3 * time.Second)
		b.start()
		defer b.stop()
		b.after(5 * time.Second)
		if i := b.interlock(); i.State != rules.Tripped || i.FirstOut != "d1.gas" {
			t.Errorf("after the restart: %v first-out %q", i.State, i.FirstOut)
		}
		if after := b.alarm("d1.high"); after.State != rules.Unacked || after.Occurrence != before.Occurrence {
			t.Errorf("alarm before %v/%d, after %v/%d", before.State, before.Occurrence, after.State, after.Occurrence)
		}
		for _, w := range b.written()[n:] {
			if !w.on {
				t.Error("the fan was commanded off by a restart")
			}
		}
		if b.count(rules.InterlockTripped, "NH3-150") != 0 || b.count(rules.AlarmRaised, "d1.high") != 0 {
			t.Error("a restart raised again what was standing")
		}
		if n := b.count(rules.AlarmRaised, "io1.fan-run.not-watched"); n != 0 {
			t.Error("a restart made an alarm of its own silence")
		}
	})
}

func TestADeadDetectorIsAnAlarmAndAVote(t *testing.T) {
	b := newBench(t)
	synctest.Test(t, func(t *testing.T) {
		b.t = t
		b.start()
		defer b.stop()
		b.after(2 * time.Second)
		b.gas.Behave(sim.Behaviour{Unreadable: []string{"g3"}})
		b.after(30 * time.Second)
		if a := b.alarm("d3.gas.not-watched"); a.State != rules.Unacked {
			t.Errorf("not-watched alarm: %v", a.State)
		}
		if i := b.interlock(); i.State != rules.Armed || !i.Degraded {
			t.Errorf("interlock: %v degraded=%v", i.State, i.Degraded)
		}
		b.set(5, 160, 5)
		b.after(time.Second)
		if i := b.interlock(); i.State != rules.Tripped || i.FirstOut != "d2.gas" {
			t.Errorf("2oo3 with one bad: %v first-out %q", i.State, i.FirstOut)
		}
	})
}

func TestASilentOutputDeviceDelaysNoDecision(t *testing.T) {
	b := newBench(t)
	synctest.Test(t, func(t *testing.T) {
		b.t = t
		b.start()
		defer b.stop()
		b.after(2 * time.Second)
		b.io.Behave(sim.Behaviour{Silent: true})
		b.after(time.Second)
		b.set(160, 170, 5)
		b.after(500 * time.Millisecond)
		if i := b.interlock(); i.State != rules.Tripped {
			t.Error("a silent output device held the trip up")
		}
		b.after(10 * time.Second)
		if v := b.view(); v.Longest > 110*time.Millisecond {
			t.Errorf("longest time between two turns %v", v.Longest)
		}
		if a := b.alarm("output.fan1.unconfirmed"); a.State != rules.Unacked {
			t.Errorf("unconfirmed output: alarm %v", a.State)
		}
		b.io.Behave(sim.Behaviour{})
		b.after(6 * time.Second)
		if w := b.written(); len(w) == 0 || !w[len(w)-1].on {
			t.Errorf("the demand was not driven when the device came back: %v", w)
		}
		b.after(4 * time.Second)
		if a := b.alarm("output.fan1.unconfirmed"); a.State == rules.Unacked {
			t.Error("the alarm stands though the fan is confirmed")
		}
	})
}

func TestDisarmedJudgesAndDrivesNothing(t *testing.T) {
	b := newBench(t)
	b.armed = false
	synctest.Test(t, func(t *testing.T) {
		b.t = t
		b.start()
		defer b.stop()
		b.after(2 * time.Second)
		b.set(160, 170, 5)
		b.after(5 * time.Second)
		if b.interlock().State != rules.Tripped || len(b.written()) != 0 {
			t.Errorf("disarmed: %v, writes %v", b.interlock().State, b.written())
		}
		if err := b.loop.Arm(context.Background(), true, "op", false, "commissioned"); err != nil {
			t.Fatal(err)
		}
		b.after(time.Second)
		if w := b.written(); len(w) != 1 || !w[0].on {
			t.Errorf("armed: %v", w)
		}
	})
}

func TestADemandIsHeldAndAHandStartIsNotFought(t *testing.T) {
	b := newBench(t)
	synctest.Test(t, func(t *testing.T) {
		b.t = t
		b.start()
		defer b.stop()
		b.after(2 * time.Second)
		b.io.Set("fan", tag.BoolValue(true)) // by hand
		b.after(10 * time.Second)
		if n := len(b.written()); n != 0 {
			t.Fatalf("a hand start was fought: %d writes", n)
		}
		b.io.Set("fan", tag.BoolValue(false))
		b.set(160, 170, 5)
		b.after(2 * time.Second)
		b.io.Set("fan", tag.BoolValue(false)) // somebody switches it off while demanded
		n := len(b.written())
		b.after(3 * time.Second)
		if w := b.written(); len(w) <= n || !w[len(w)-1].on {
			t.Errorf("the demand was not held: %v", w)
		}
	})
}

func TestALostLatchFileStartsTripped(t *testing.T) {
	b := newBench(t)
	synctest.Test(t, func(t *testing.T) {
		b.t = t
		b.start()
		b.after(2 * time.Second)
		b.stop()
		engine, err := rules.New(b.plan.Rules)
		if err != nil {
			t.Fatal(err)
		}
		engine.StartTripped()
		var out rules.Outcome
		image := rules.NewImage(b.plan.Rules)
		engine.Step(&rules.Input{Now: now(), Image: image.Readings(), Changed: image.TakeChanged()}, &out)
		if len(out.Demands) != 1 || !out.Demands[0].Protective {
			t.Errorf("demands of an engine that starts tripped: %v", out.Demands)
		}
	})
}
