package gpio

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/physic"

	"davy/drivers"
	"davy/drivers/tag"
)

// Analogue is "ads1115" in a site file: a converter of four inputs on I²C. It
// is made by NewAnalogue; the zero Analogue can parse and plan, but opens nothing.
//
// Without a shunt a channel is a voltage, in volts. With one it is a 4–20 mA
// loop: a point that has a range has its low end at 4 mA and its high end at
// 20 mA, one that has none is in mA.
type Analogue struct {
	stuck *stuck
	open  func(path string, timeout time.Duration) (i2c.BusCloser, error)
}

// NewAnalogue makes the driver of a process.
func NewAnalogue() Analogue {
	return Analogue{stuck: &stuck{}, open: func(path string, timeout time.Duration) (i2c.BusCloser, error) { return OpenBus(path, timeout) }}
}

var _ drivers.Driver = Analogue{}

// Limits of what can be configured.
const (
	MinShunt = 1 * physic.Ohm
	// MaxShunt has 22 mA at 5 V; beyond, a failing loop would lift the input above
	// the converter's supply and could not be seen.
	MaxShunt = 220 * physic.Ohm
	// seen is the current that the chosen scale must reach, to tell a failure from the end of the scale.
	seen = 22 * physic.MilliAmpere
	// busByte is the time of a byte on a bus of 100 kHz, and busBytes how many a measurement takes.
	busByte  = 90 * time.Microsecond
	busBytes = 18
	// defaultRate is 128 conversions a second, the chip's own.
	defaultRate = 4
	defaultGain = 1 // ±4.096 V
)

// converter is the options of an ads1115 link.
type converter struct {
	path string
	addr uint16
}

// loop is the options of a device.
type loop struct {
	shunt     physic.ElectricResistance // 0: a voltage
	gain      int
	rate      int
	checkLow  physic.ElectricCurrent // a current that says "function check"; both 0: none
	checkHigh physic.ElectricCurrent
}

// Channel is an input of the converter, or the difference of two. It is comparable.
type Channel struct {
	Plus  uint8
	Minus uint8 // single: ground
	Scale int   // index of a scale of its own, plus 1; 0: the device's
}

// single is Minus of an input against ground.
const single = 0xff

// String prints the channel as people write it: "channel 0-1 gain 0.256 V".
func (c Channel) String() string {
	s := fmt.Sprintf("channel %d", c.Plus)
	if c.Minus != single {
		s += fmt.Sprintf("-%d", c.Minus)
	}
	if c.Scale > 0 {
		s += " gain " + volts(adsFullScale[c.Scale-1])
	}
	return s
}

func volts(v physic.ElectricPotential) string {
	return strconv.FormatFloat(float64(v)/float64(physic.Volt), 'f', -1, 64) + " V"
}

// mux is the chip's number of a channel.
func (c Channel) mux() uint8 {
	if c.Minus == single {
		return 4 + c.Plus
	}
	return uint8(slices.Index(pairs[:], [2]uint8{c.Plus, c.Minus}))
}

// pairs are the differences that the chip can take, in its own order.
var pairs = [...][2]uint8{{0, 1}, {0, 3}, {1, 3}, {2, 3}}

// LinkFields returns none.
func (Analogue) LinkFields() []drivers.Field { return nil }

// DeviceFields returns shunt ("100 Ω"), gain ("4.096 V"), rate ("128", a
// second) and function_check ("1.5 to 3 mA").
func (Analogue) DeviceFields() []drivers.Field {
	return []drivers.Field{{Name: "shunt"}, {Name: "gain"}, {Name: "rate"}, {Name: "function_check"}}
}

// ParseLink reads a bus and an address, "/dev/i2c-1 0x48".
func (Analogue) ParseLink(target string, _ drivers.Fields) (drivers.Settings, error) {
	fields := strings.Fields(target)
	if len(fields) == 2 {
		path := fields[0]
		switch {
		case number(path):
			path = "/dev/i2c-" + path
		case strings.HasPrefix(path, "i2c-"):
			path = "/dev/" + path
		}
		addr, err := strconv.ParseUint(fields[1], 0, 7)
		if err == nil && addr >= 0x48 && addr <= 0x4b && strings.HasPrefix(path, "/dev/") && len(path) > len("/dev/") && len(path) < 256 {
			return drivers.Settings{
				Target: fmt.Sprintf("%s 0x%02x", path, addr), Options: converter{path, uint16(addr)},
				Exclusive: true, // two links would turn each other's switch
			}, nil
		}
	}
	return drivers.Settings{}, &drivers.FieldError{Err: wrong("ads1115.target", "ads1115.target", map[string]any{"text": target})}
}

// ParseDevice reads shunt, gain, rate and function_check.
func (Analogue) ParseDevice(fields drivers.Fields) (any, error) {
	var errs []error
	bad := func(field, hint string) {
		errs = append(errs, &drivers.FieldError{Field: field, Err: wrong("ads1115."+hint, "ads1115."+hint, map[string]any{"text": fields[field]})})
	}
	o := loop{gain: -1, rate: defaultRate}
	if s := fields["shunt"]; s != "" {
		ohms, ok := quantity(s, "Ω", "ohm", "ohms", "")
		o.shunt = physic.ElectricResistance(math.Round(ohms * float64(physic.Ohm)))
		if !ok || o.shunt < MinShunt || o.shunt > MaxShunt {
			bad("shunt", "shunt")
			o.shunt = 0
		}
	}
	if s := fields["gain"]; s != "" {
		if o.gain = scale(s); o.gain < 0 {
			bad("gain", "gain")
		} else if o.shunt > 0 && through(adsFullScale[o.gain], o.shunt) < seen {
			bad("gain", "gain-small")
		}
	}
	if s := strings.TrimSpace(fields["rate"]); s != "" {
		n, err := strconv.Atoi(s)
		if o.rate = slices.Index(adsRates[:], n); err != nil || o.rate < 0 {
			bad("rate", "rate")
		}
	}
	if s := fields["function_check"]; s != "" {
		var ok bool
		if o.checkLow, o.checkHigh, ok = band(s); !ok || o.shunt == 0 && fields["shunt"] == "" {
			bad("function_check", "function-check")
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	if o.gain < 0 {
		o.gain = defaultGain
		for i := len(adsFullScale) - 1; o.shunt > 0 && i >= 0; i-- { // the finest that sees a failure
			if through(adsFullScale[i], o.shunt) >= seen {
				o.gain = i
				break
			}
		}
	}
	return o, nil
}

// quantity reads a positive number with one of the units, "" being none.
func quantity(s string, units ...string) (float64, bool) {
	s = strings.ToLower(strings.TrimSpace(s))
	for _, u := range units {
		u = strings.ToLower(u)
		rest, ok := strings.CutSuffix(s, u)
		if !ok {
			continue
		}
		f, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
		if err == nil && f >= 0 && f < 1e6 {
			return f, true
		}
	}
	return 0, false
}

// scale reads a full scale, "4.096 V", "±4.096 V", "512 mV"; -1: there is none such.
func scale(s string) int {
	s = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(s), "±"))
	f, ok := quantity(s, "mv")
	f /= 1000
	if !ok {
		if f, ok = quantity(s, "v", ""); !ok {
			return -1
		}
	}
	return slices.Index(adsFullScale[:], physic.ElectricPotential(math.Round(f*float64(physic.Volt))))
}

// band reads "1.5 to 3 mA", within what is a failure otherwise.
func band(s string) (low, high physic.ElectricCurrent, ok bool) {
	from, to, found := strings.Cut(s, " to ")
	a, ok1 := quantity(from, "ma", "")
	b, ok2 := quantity(to, "ma")
	low, high = physic.ElectricCurrent(math.Round(a*float64(physic.MilliAmpere))), physic.ElectricCurrent(math.Round(b*float64(physic.MilliAmpere)))
	ok = found && ok1 && ok2 && low > 0 && low <= high && (high <= FailureLow || low >= FailureHigh && high <= seen)
	return low, high, ok
}

// ParseAddress reads "channel 0", "channel 0-1", each with "gain 0.256 V".
func (Analogue) ParseAddress(s string) (drivers.Address, error) {
	unknown := wrong("ads1115.address", "ads1115.address", map[string]any{"text": s})
	rest, ok := word(strings.TrimSpace(s), "channel")
	if !ok {
		return nil, unknown
	}
	what, gain, gained := strings.Cut(rest, " ")
	c := Channel{Minus: single}
	switch {
	case len(what) == 1 && what[0] >= '0' && what[0] <= '3':
		c.Plus = what[0] - '0'
	case len(what) == 3 && what[1] == '-':
		c.Plus, c.Minus = what[0]-'0', what[2]-'0'
		if slices.Index(pairs[:], [2]uint8{c.Plus, c.Minus}) < 0 {
			return nil, wrong("ads1115.pair", "ads1115.pair", map[string]any{"text": s})
		}
	default:
		return nil, unknown
	}
	if gained {
		gain, ok := word(strings.TrimSpace(gain), "gain")
		at := -1
		if ok {
			at = scale(gain)
		}
		if at < 0 {
			return nil, wrong("ads1115.gain", "ads1115.gain", map[string]any{"text": s})
		}
		c.Scale = at + 1
	}
	return c, nil
}

// ParseType reads "float64", the natural one.
func (Analogue) ParseType(_ drivers.Address, s string) (drivers.Type, error) {
	if s = strings.TrimSpace(s); s != "" && s != "float64" {
		return drivers.Type{}, wrong("ads1115.type", "ads1115.type", map[string]any{"text": s})
	}
	return drivers.Type{Kind: tag.Float64, Bits: 64, Sign: true}, nil
}

func channel(p *drivers.Point) Channel {
	c, ok := p.Address.(Channel)
	if !ok {
		panic("BUG: gpio: address of another driver")
	}
	return c
}

func loopOf(p *drivers.Point) loop {
	o, ok := p.Options.(loop)
	if !ok {
		return loop{gain: defaultGain, rate: defaultRate}
	}
	return o
}

// conversionOf is how a point is measured.
func conversionOf(p *drivers.Point) conversion {
	c, o := channel(p), loopOf(p)
	if c.Scale > 0 {
		o.gain = c.Scale - 1
	}
	return conversion{c.mux(), o.gain, o.rate}
}

// Plan puts the points of one period together; the converter takes them one
// after the other.
func (Analogue) Plan(_ drivers.Settings, points []drivers.Point) ([]drivers.Request, error) {
	var errs []error
	slowest := time.Duration(0)
	for i := range points {
		p := &points[i]
		o, c := loopOf(p), conversionOf(p)
		args := map[string]any{"tag": string(p.Name), "at": p.Address.String()}
		if err := unfit(p); err != nil {
			errs = append(errs, err)
		}
		switch {
		case p.Write:
			errs = append(errs, wrong("ads1115.write", "", args))
		case o.shunt > 0 && p.Ranged && p.Scaled():
			errs = append(errs, wrong("ads1115.scale", "ads1115.scale", args))
		case o.shunt > 0 && through(adsFullScale[c.gain], o.shunt) < seen:
			errs = append(errs, wrong("ads1115.point-gain", "ads1115.gain-small", args))
		}
		slowest = max(slowest, time.Duration(adsMargin*float64(c.time()))+busBytes*busByte)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return byPeriod(points, slowest), nil
}

// Open makes a link. The bus is opened when it is first asked.
func (d Analogue) Open(_ context.Context, cfg drivers.LinkConfig) (drivers.Link, error) {
	o, ok := cfg.Options.(converter)
	if !ok || d.stuck == nil {
		panic("BUG: gpio: Open of an Analogue that NewAnalogue did not make, or of another driver's settings")
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultTimeout
	}
	return &analogueLink{LinkConfig: cfg, driver: d, converter: o, guard: d.stuck.guard(o.path)}, nil
}
