// Package process is a small ammonia cold store as arithmetic: the air of a
// machine room with a leak, a fan and three detectors in it, a compressor, and
// the receiver vessel.
//
// Step advances it by Period. It has no clock, goroutine or I/O: the same seed
// and the same calls in the same order give the same values on every run. Speed
// quickens what is slow in nature (gas, heat, level, the detectors' response);
// what a machine does at its own pace (the fan's run-up) keeps its time.
//
// The figures are those of a small plant, not of one that exists: a room of
// 120 m³, an emergency fan of 34,000 m³/h, single-stage compression.
//
// A Plant belongs to one goroutine at a time. Imports: the standard library only.
package process

import (
	"math"
	"math/rand/v2"
	"time"
)

// Period is the fixed step.
const Period = 10 * time.Millisecond

// MinSpeed and MaxSpeed bound how far the slow dynamics may be stretched; the
// arithmetic stays stable between them.
const (
	MinSpeed = 0.1
	MaxSpeed = 100
)

// Detectors is how many NH₃ detectors the room has.
const Detectors = 3

// The figures of the room, the detectors and the machines. Rates are per
// second, time constants in seconds, both at speed 1.
const (
	leakThrough = 0.002                // share of the room's air that goes by itself
	fanThrough  = 34000.0 / 3600 / 120 // and by the emergency fan
	sensorLag   = 4.3                  // T90 of 10 s
	noiseSize   = 0.15                 // ppm
	noiseEvery  = 10                   // steps between two values of the noise
	gasMax      = 1000.0               // ppm, the detectors' range

	fanRunUp   = 1500 * time.Millisecond // from the command to the feedback, both ways
	sirenDelay = 50 * time.Millisecond

	heatLag      = 40.0
	pressureLag  = 6.0
	oilLag       = 2.0
	loadPeriod   = 240.0
	idleTemp     = 32.0  // °C
	suctionRun   = 0.19  // MPa
	standstill   = 0.42  // MPa, both sides of a compressor that stands
	ownTripTemp  = 155.0 // °C, the compressor's own controller stops it
	ownTripPress = 1.6   // MPa

	levelStart  = 62.0 // %
	levelSwitch = 88.0 // %, the switch closes; it opens 2 % below
)

// spread is how much of the room's concentration reaches each detector: the
// first hangs nearest the pumps.
var spread = [Detectors]float64{1.15, 1.0, 0.9}

// Plant is the state of everything. The exported fields above the line are
// set from outside at any time between two steps; those below are its answer.
type Plant struct {
	Leak     float64 // ppm per second into the room's air
	FanStart bool    // the contactor's command
	FanJam   bool    // the contactor does not follow
	Siren    bool    // command
	Started  bool    // the compressor is wanted to run
	Load     float64 // %, wanted; negative: the plant varies it by itself
	Fill     float64 // % of the receiver vessel per second

	// ---- answers ----
	Room         float64            // ppm
	Gas          [Detectors]float64 // ppm, what each detector shows
	FanRun       bool
	SirenSounds  bool
	Running      bool
	Tripped      bool    // by the compressor's own controller, until ResetCompressor
	LoadNow      float64 // %
	Suction      float64 // MPa
	Discharge    float64 // MPa
	DischargeC   float64 // °C
	Oil          float64 // MPa
	Level        float64 // %
	LevelAtLimit bool    // the switch of its own beside the level transmitter

	speed float64
	rnd   *rand.Rand
	steps uint64
	seen  [Detectors]float64 // lagged concentration
	noise [Detectors]float64
	fan   time.Duration // of run-up done, 0..fanRunUp
	siren time.Duration
	phase float64
}

// New returns a plant in normal running. speed is from MinSpeed to MaxSpeed.
func New(seed uint64, speed float64) *Plant {
	p := &Plant{
		Started: true, Load: -1, speed: speed,
		rnd:  rand.New(rand.NewPCG(seed, 0xda7e)),
		Room: 4, Running: true, LoadNow: 60, Level: levelStart,
	}
	p.phase = 2 * math.Pi * p.rnd.Float64()
	p.Suction, p.Discharge = suctionRun, wantDischarge(p.LoadNow)
	p.DischargeC, p.Oil = wantTemp(p.LoadNow), p.Suction+0.28
	for i := range p.seen {
		p.seen[i] = p.Room * spread[i]
	}
	p.show()
	return p
}

// Time returns how long the plant has been running.
func (p *Plant) Time() time.Duration { return time.Duration(p.steps) * Period }

// Trip stops the compressor as its own controller does.
func (p *Plant) Trip() { p.Tripped, p.Running = true, false }

// ResetCompressor clears its trip; it starts if it is wanted.
func (p *Plant) ResetCompressor() { p.Tripped = false }

// Ventilation returns how far the fan has run up, 0 to 1.
func (p *Plant) Ventilation() float64 { return float64(p.fan) / float64(fanRunUp) }

// Step advances the plant by Period.
func (p *Plant) Step() {
	p.steps++
	dt := Period.Seconds() * p.speed
	p.machines()
	p.room(dt)
	p.compressor(dt)
	p.vessel(dt)
	p.show()
}

// machines moves the fan and the siren, at their own pace.
func (p *Plant) machines() {
	p.fan = toward(p.fan, p.FanStart && !p.FanJam, fanRunUp)
	p.siren = toward(p.siren, p.Siren, sirenDelay)
	switch p.fan {
	case fanRunUp:
		p.FanRun = true
	case 0:
		p.FanRun = false
	}
	switch p.siren {
	case sirenDelay:
		p.SirenSounds = true
	case 0:
		p.SirenSounds = false
	}
}

// toward moves d by one Period towards full or 0.
func toward(d time.Duration, up bool, full time.Duration) time.Duration {
	if up {
		return min(d+Period, full)
	}
	return max(d-Period, 0)
}

// room mixes the leak into the air and takes away what ventilation takes.
func (p *Plant) room(dt float64) {
	background := 4 * leakThrough // keeps some ppm of the day in the air
	through := leakThrough + fanThrough*p.Ventilation()
	p.Room += dt * (p.Leak + background - p.Room*through)
	p.Room = max(p.Room, 0)
	if p.steps%noiseEvery == 0 {
		for i := range p.noise {
			p.noise[i] = 0.9*p.noise[i] + noiseSize*(2*p.rnd.Float64()-1)
		}
	}
	for i := range p.seen {
		p.seen[i] += min(1, dt/sensorLag) * (p.Room*spread[i] - p.seen[i])
	}
}

// compressor follows its load; pressures and temperatures follow it.
func (p *Plant) compressor(dt float64) {
	p.Running = p.Started && !p.Tripped
	want := p.Load
	if want < 0 {
		p.phase += dt * 2 * math.Pi / loadPeriod
		want = 65 + 12*math.Sin(p.phase)
	}
	temp, high, low, oil := idleTemp, standstill, standstill, 0.0
	if p.Running {
		temp, high, low, oil = wantTemp(p.LoadNow), wantDischarge(p.LoadNow), suctionRun-0.0004*(p.LoadNow-60), suctionRun+0.28
	} else {
		want = 0
	}
	p.LoadNow += min(1, dt/pressureLag) * (want - p.LoadNow)
	p.DischargeC += min(1, dt/heatLag) * (temp - p.DischargeC)
	p.Discharge += min(1, dt/pressureLag) * (high - p.Discharge)
	p.Suction += min(1, dt/pressureLag) * (low - p.Suction)
	p.Oil += min(1, dt/oilLag) * (oil - p.Oil)
	if p.Running && (p.DischargeC >= ownTripTemp || p.Discharge >= ownTripPress) {
		p.Trip()
	}
}

// wantTemp is where the discharge temperature settles at a load in %, °C.
func wantTemp(load float64) float64 { return 78 + 0.5*load }

// wantDischarge is where the discharge pressure settles at a load in %, MPa.
func wantDischarge(load float64) float64 { return 0.95 + 0.0042*load }

// vessel fills or drains; with a load the level breathes a little.
func (p *Plant) vessel(dt float64) {
	p.Level += dt * (p.Fill + 0.004*math.Cos(p.phase))
	p.Level = min(max(p.Level, 0), 100)
	switch {
	case p.Level >= levelSwitch:
		p.LevelAtLimit = true
	case p.Level < levelSwitch-2:
		p.LevelAtLimit = false
	}
}

// show makes what the detectors show of what they have seen, in steps of
// 0.1 ppm as such instruments do.
func (p *Plant) show() {
	for i := range p.Gas {
		p.Gas[i] = math.Round(min(max(p.seen[i]+p.noise[i], 0), gasMax)*10) / 10
	}
}
