package journalbench

import (
	"math"
	"math/rand/v2"
	"time"

	"davy/drivers/tag"
)

// The plant whose readings are kept: devices, each asked once a second, each
// answer with one stamp.
const (
	devices    = 10
	perDevice  = 50
	tags       = devices * perDevice
	scanJitter = 2 * time.Millisecond      // either way
	clockNoise = 60                        // ns between the readings of the two clocks of one stamp, at most
	boot       = 1_700_000_000_000_000_000 // wall time when mono was 0
)

// signal is one tag's: of a shape, with its own numbers.
type signal struct {
	shape        shape
	base, now    float64
	noise, drift float64
	count        int64
	speed        float64
	until        int64 // seconds: the shape's next change
	scaled       bool  // a register and its scale, which the agent multiplies: a float64; else a float32 of a device that divides
}

type shape uint8

const (
	temperature shape = iota // 0.1 K: slow drift, noise of about one step
	gas                      // whole ppm: 0, and now and then a leak that comes in steps and goes
	pressure                 // 0.01 bar: noise of about one and a half steps
	counter                  // whole kWh, litres, pulses, starts: some fast, some slow
	state                    // of a pump, valve, contact
	raw                      // a transmitter's float32 as it is: noise of 0.02 to 0.2 % of the value
)

// quantised is one device of a gateway: what its registers hold, in their order.
var quantised = []struct {
	shape shape
	n     int
}{{temperature, 20}, {gas, 12}, {pressure, 8}, {counter, 4}, {state, 6}}

// plant makes readings: always the same ones.
type plant struct {
	rnd     *rand.Rand
	signals []signal
	second  int64
	out     []tag.Reading
}

// newPlant returns a plant of quantised signals, or of raw float32 ones.
func newPlant(rawFloats bool) *plant {
	p := &plant{rnd: rand.New(rand.NewPCG(5, 500)), second: 3600}
	for d := range devices {
		if rawFloats {
			for range perDevice {
				p.add(raw)
			}
			continue
		}
		for _, k := range quantised {
			for range k.n {
				p.add(k.shape)
				p.signals[len(p.signals)-1].scaled = d%2 == 0
			}
		}
	}
	return p
}

func (p *plant) add(s shape) {
	x := signal{shape: s}
	u := p.rnd.Float64
	switch s {
	case temperature:
		x.base, x.noise, x.drift = -30+150*u(), 0.05+0.1*u(), 0.005
	case gas:
		x.until = p.second + int64(p.rnd.IntN(4*3600))
	case pressure:
		x.base, x.noise, x.drift = 1+15*u(), 0.005+0.02*u(), 0.001
	case counter:
		x.count, x.speed = p.rnd.Int64N(2_000_000), math.Pow(10, -3+4*u())
	case state:
		x.count, x.until = int64(p.rnd.IntN(2)), p.second+int64(p.rnd.IntN(1800))
	case raw:
		x.base = math.Pow(10, -1+4*u())
		x.noise, x.drift = x.base*(2e-4+18e-4*u()), x.base*1e-5
	}
	x.now = x.base
	p.signals = append(p.signals, x)
}

// next returns the readings of n seconds, in the order in which they came.
// They live until the next call.
func (p *plant) next(n int) []tag.Reading {
	p.out = p.out[:0]
	for range n {
		p.second++
		for d := range devices {
			mono := p.second*int64(time.Second) + int64(d)*int64(time.Second)/devices + p.rnd.Int64N(2*int64(scanJitter)) - int64(scanJitter)
			at := tag.Stamp{Wall: boot + mono + p.rnd.Int64N(clockNoise), Mono: mono}
			for i := d * perDevice; i < (d+1)*perDevice; i++ {
				p.out = append(p.out, tag.Reading{Tag: tag.ID(i + 1), Quality: tag.GoodQuality, Value: p.step(&p.signals[i]), Received: at})
			}
		}
	}
	return p.out
}

func (p *plant) step(x *signal) tag.Value {
	f := func(number, scale float64) tag.Value {
		if x.scaled {
			out, _ := tag.Float64Value(number * scale)
			return out
		}
		out, _ := tag.Float32Value(float32(number / math.Round(1/scale)))
		return out
	}
	switch x.shape {
	case gas:
		if p.second >= x.until {
			if x.now > 0 && p.rnd.IntN(4) > 0 {
				x.now = max(0, x.now-float64(1+p.rnd.IntN(20))) // it goes as it came
			} else {
				x.now += float64(1 + p.rnd.IntN(20))
			}
			x.until = p.second + 1 + int64(p.rnd.IntN(10))
			if x.now == 0 {
				x.until = p.second + int64(p.rnd.IntN(4*3600))
			}
		}
		return f(x.now, 1)
	case counter:
		x.now += x.speed * (0.9 + 0.2*p.rnd.Float64())
		return tag.IntValue(x.count + int64(x.now))
	case state:
		if p.second >= x.until {
			x.count, x.until = 1-x.count, p.second+10+int64(p.rnd.IntN(1800))
		}
		return tag.BoolValue(x.count == 1)
	}
	x.now += x.drift*p.rnd.NormFloat64() + (x.base-x.now)*1e-4
	v := x.now + x.noise*p.rnd.NormFloat64()
	switch x.shape {
	case temperature:
		return f(math.Round(v*10), 0.1)
	case pressure:
		return f(math.Round(v*100), 0.01)
	}
	return f(v, 1)
}
