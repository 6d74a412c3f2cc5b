package process

import (
	"math"
	"testing"
	"time"
)

// run steps p for d.
func run(p *Plant, d time.Duration) {
	for range d / Period {
		p.Step()
	}
}

// The same seed and the same calls give the same plant; another seed another.
func TestSeed(t *testing.T) {
	play := func(seed uint64) []float64 {
		p := New(seed, 4)
		var all []float64
		for i := range 3000 {
			switch i {
			case 500:
				p.Leak = 12
			case 1500:
				p.FanStart = true
			}
			p.Step()
			all = append(all, p.Gas[0], p.Gas[1], p.Gas[2], p.DischargeC, p.Discharge, p.Level)
		}
		return all
	}
	a, b, c := play(7), play(7), play(8)
	differ := false
	for i := range a {
		if a[i] != b[i] {
			t.Fatalf("value %d: %v and %v from one seed", i, a[i], b[i])
		}
		differ = differ || a[i] != c[i]
	}
	if !differ {
		t.Error("two seeds, one plant")
	}
}

// In normal running nothing comes near a limit, at any speed.
func TestNormal(t *testing.T) {
	for _, speed := range []float64{MinSpeed, 1, 20, MaxSpeed} {
		p := New(1, speed)
		for range 60000 {
			p.Step()
			for _, g := range p.Gas {
				if g < 0 || g > 12 {
					t.Fatalf("speed %v: %v ppm", speed, g)
				}
			}
			if p.DischargeC < 95 || p.DischargeC > 125 || p.Discharge < 1.1 || p.Discharge > 1.4 || p.Suction < 0.15 || p.Suction > 0.25 ||
				p.Oil < 0.4 || p.Level < 55 || p.Level > 70 || p.Tripped || !p.Running || p.FanRun || p.SirenSounds || p.LevelAtLimit {
				t.Fatalf("speed %v: %+v", speed, *p)
			}
		}
	}
}

// A leak raises every detector beyond 150 ppm; the fan thins it; without the
// leak the air clears. Speed says how fast, not how far.
func TestLeak(t *testing.T) {
	for _, speed := range []float64{1, 5} {
		in := func(s float64) time.Duration { return time.Duration(s / speed * float64(time.Second)) }
		p := New(3, speed)
		p.Leak = 15
		run(p, in(30))
		for i, g := range p.Gas {
			if g < 150 {
				t.Errorf("speed %v: detector %d shows %v", speed, i+1, g)
			}
		}
		if !(p.Gas[0] > p.Gas[1] && p.Gas[1] > p.Gas[2]) {
			t.Errorf("speed %v: the nearest does not show most: %v", speed, p.Gas)
		}
		still := p.Gas[1]
		run(p, in(30))
		if p.Gas[1] < still || p.Gas[0] > gasMax {
			t.Errorf("speed %v: %v, then %v", speed, still, p.Gas)
		}
		high := p.Room
		p.FanStart = true
		run(p, fanRunUp+in(60))
		if want := p.Leak / (leakThrough + fanThrough); !p.FanRun || p.Room > high/2 || math.Abs(p.Room-want) > want/20 {
			t.Errorf("speed %v: the fan leaves %v of %v ppm, want about %v", speed, p.Room, high, want)
		}
		p.Leak = 0
		run(p, in(120))
		for i, g := range p.Gas {
			if g > 5 {
				t.Errorf("speed %v: detector %d still shows %v", speed, i+1, g)
			}
		}
	}
}

// The feedback follows the command after the run-up, both ways, whatever the
// speed; a fan whose contactor is jammed never reports.
func TestFan(t *testing.T) {
	for _, speed := range []float64{1, 50} {
		p := New(1, speed)
		p.FanStart, p.Siren = true, true
		run(p, fanRunUp-Period)
		if p.FanRun || !p.SirenSounds {
			t.Errorf("speed %v: fan %v siren %v before the run-up", speed, p.FanRun, p.SirenSounds)
		}
		run(p, Period)
		if !p.FanRun {
			t.Errorf("speed %v: no feedback after the run-up", speed)
		}
		p.FanStart, p.Siren = false, false
		run(p, fanRunUp-Period)
		if !p.FanRun || p.SirenSounds {
			t.Errorf("speed %v: stopped at once", speed)
		}
		run(p, Period)
		if p.FanRun {
			t.Errorf("speed %v: never stops", speed)
		}
		p.FanJam, p.FanStart = true, true
		run(p, 10*fanRunUp)
		if p.FanRun || p.Ventilation() != 0 {
			t.Errorf("speed %v: a jammed fan runs", speed)
		}
	}
}

// The compressor heats with its load, stops by itself when it is too hot, and
// starts again only after a reset.
func TestCompressor(t *testing.T) {
	p := New(1, 10)
	p.Load = 40
	run(p, time.Minute)
	cool := p.DischargeC
	p.Load = 100
	run(p, time.Minute)
	if p.DischargeC < cool+20 || p.Tripped {
		t.Errorf("%v °C at 40 %%, %v at 100 %%, tripped %v", cool, p.DischargeC, p.Tripped)
	}
	p.Trip()
	run(p, time.Minute)
	if p.Running || p.Oil > 0.01 || math.Abs(p.Suction-p.Discharge) > 0.01 || p.DischargeC > 60 {
		t.Errorf("after a trip: %+v", *p)
	}
	p.ResetCompressor()
	run(p, time.Minute)
	if !p.Running || p.Oil < 0.4 {
		t.Errorf("after its reset: %+v", *p)
	}
	p.Load = 120
	p.DischargeC = ownTripTemp + 1
	p.Step()
	if p.Running || !p.Tripped {
		t.Error("runs on when it is too hot")
	}
}

// The vessel fills, its switch closes with a hysteresis of its own, and it never holds more than all.
func TestVessel(t *testing.T) {
	p := New(1, 1)
	p.Fill = 2
	for p.Level < levelSwitch {
		if p.LevelAtLimit {
			t.Fatalf("switch closed at %v %%", p.Level)
		}
		p.Step()
	}
	if !p.LevelAtLimit {
		t.Errorf("switch open at %v %%", p.Level)
	}
	run(p, time.Minute)
	if p.Level != 100 {
		t.Errorf("%v %%", p.Level)
	}
	p.Fill = -50
	for p.Level >= levelSwitch-2 {
		if !p.LevelAtLimit {
			t.Fatalf("switch open at %v %%", p.Level)
		}
		p.Step()
	}
	run(p, time.Minute)
	if p.Level != 0 || p.LevelAtLimit {
		t.Errorf("%v %%, switch %v", p.Level, p.LevelAtLimit)
	}
}
