package gpio

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/physic"

	"davy/drivers"
	"davy/drivers/tag"
)

// simulated is an ADS1115 as its data sheet describes it, on a bus of its own.
type simulated struct {
	mu         sync.Mutex
	inputs     [4]physic.ElectricPotential
	oscillator float64 // how long a conversion takes, of its name; 0: 1
	never      bool    // a conversion does not end
	err        error   // of every transfer
	meddle     func(s *simulated, transfer int)
	hang       chan struct{}

	pointer    byte
	config     uint16
	conversion uint16
	done       time.Time
	transfers  int
	open       int
}

func (s *simulated) String() string { return "simulated" }

func (s *simulated) SetSpeed(physic.Frequency) error { return nil }

func (s *simulated) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
	return nil
}

func (s *simulated) Tx(addr uint16, w, r []byte) error {
	s.mu.Lock()
	hang := s.hang
	s.mu.Unlock()
	if hang != nil {
		<-hang
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.transfers++
	if s.err != nil {
		return s.err
	}
	if addr != 0x48 {
		return unix.ENXIO
	}
	if s.meddle != nil {
		s.meddle(s, s.transfers)
	}
	s.settle()
	if len(w) > 0 {
		s.pointer = w[0]
	}
	if len(w) == 3 && s.pointer == adsConfig {
		s.config = uint16(w[1])<<8 | uint16(w[2])
		if s.config&adsStart != 0 {
			slow := s.oscillator
			if slow == 0 {
				slow = 1
			}
			s.config &^= adsStart // it is converting
			s.done = time.Now().Add(time.Duration(slow * float64(time.Second) / float64(adsRates[s.config>>adsRateShift&7])))
		}
	}
	if len(r) == 2 {
		v := s.conversion
		if s.pointer == adsConfig {
			v = s.config
		}
		r[0], r[1] = byte(v>>8), byte(v)
	}
	return nil
}

// settle ends a conversion whose time is over; until then the register holds
// what it held before.
func (s *simulated) settle() {
	if s.never || s.config&adsStart != 0 || time.Now().Before(s.done) {
		return
	}
	s.config |= adsStart
	var plus, minus physic.ElectricPotential
	if mux := s.config >> adsMuxShift & 7; mux >= 4 {
		plus = s.inputs[mux-4]
	} else {
		plus, minus = s.inputs[pairs[mux][0]], s.inputs[pairs[mux][1]]
	}
	full := adsFullScale[s.config>>adsGainShift&7]
	raw := math.Round(float64(plus-minus) / float64(full) * (1 << 15))
	s.conversion = uint16(int16(max(math.MinInt16, min(math.MaxInt16, raw))))
}

// converterLink opens a link to a simulated converter.
func converterLink(t *testing.T, s *simulated, timeout time.Duration) (Analogue, *analogueLink, *bytes.Buffer) {
	t.Helper()
	d := NewAnalogue()
	d.open = func(path string, _ time.Duration) (i2c.BusCloser, error) {
		if path != "/dev/i2c-1" {
			return nil, unix.ENOENT
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.open++
		return s, nil
	}
	settings, err := d.ParseLink("1 0x48", nil)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	mono := int64(0)
	l, err := d.Open(t.Context(), drivers.LinkConfig{
		Name: "ai", Settings: settings, Timeout: timeout, Log: slog.New(slog.NewTextHandler(&log, nil)),
		Now: func() tag.Stamp { mono++; return tag.Stamp{Wall: 1e18 + mono, Mono: mono} },
	})
	if err != nil {
		t.Fatal(err)
	}
	return d, l.(*analogueLink), &log
}

func plan(t *testing.T, d Analogue, points ...drivers.Point) drivers.Request {
	t.Helper()
	reqs, err := d.Plan(drivers.Settings{}, points)
	if err != nil || len(reqs) != 1 {
		t.Fatalf("%d requests, %v", len(reqs), err)
	}
	return reqs[0]
}

// quick keeps the tests short: 1.2 ms a conversion.
var quick = drivers.Fields{"rate": "860"}

func with(more ...string) drivers.Fields {
	f := drivers.Fields{"rate": quick["rate"]}
	for i := 0; i < len(more); i += 2 {
		f[more[i]] = more[i+1]
	}
	return f
}

const grace = 20 * time.Second // of a busy machine

func TestVoltages(t *testing.T) {
	s := &simulated{inputs: [4]physic.ElectricPotential{1 * physic.Volt, 2500 * physic.MilliVolt, 100 * physic.MilliVolt, 5 * physic.Volt}}
	d, l, _ := converterLink(t, s, grace)
	defer l.Close()
	points := []drivers.Point{
		point(t, d, 1, "channel 0", quick),
		point(t, d, 2, "channel 1", quick),
		point(t, d, 3, "channel 2 gain 0.256 V", quick),
		point(t, d, 4, "channel 3", quick), // beyond ±4.096 V
		point(t, d, 5, "channel 3 gain 6.144 V", quick),
		point(t, d, 6, "channel 0-1", quick),
		point(t, d, 7, "channel 0-3", quick),
		point(t, d, 8, "channel 0", quick), // scaled
		point(t, d, 9, "channel 1", quick), // outside its range
	}
	points[7].Gain, points[7].Offset = 10, -3
	points[8].Ranged, points[8].Low, points[8].High = true, 0, 2
	rs, err := l.Read(t.Context(), plan(t, d, points...), nil)
	if err != nil || len(rs) != len(points) {
		t.Fatalf("%v, %v", rs, err)
	}
	high := tag.BadRange | tag.LimitHigh
	for i, want := range []struct {
		q      tag.Quality
		v      float64
		within float64
	}{
		{tag.GoodQuality, 1, 0.000125},
		{tag.GoodQuality, 2.5, 0.000125},
		{tag.GoodQuality, 0.1, 0.000008},
		{high, 0, 0},
		{tag.GoodQuality, 5, 0.00019},
		{tag.GoodQuality, -1.5, 0.000125},
		{tag.GoodQuality, -4, 0.000125},
		{tag.GoodQuality, 7, 0.00125},
		{tag.BadRange | tag.LimitHigh, 2.5, 0.000125},
	} {
		if r := rs[i]; r.Quality != want.q || math.Abs(r.Value.Float()-want.v) > want.within || r.Tag != points[i].Tag {
			t.Errorf("%s: %v %#x, want %v %#x", points[i].Address, r.Value, uint32(r.Quality), want.v, uint32(want.q))
		}
	}
}

// The bands of NE 43 through 100 Ω, at their limits and beside them.
func TestLoop(t *testing.T) {
	s := &simulated{}
	d, l, _ := converterLink(t, s, grace)
	defer l.Close()
	fields := with("shunt", "100 Ω", "function_check", "1.5 to 3 mA")
	ranged, plain := point(t, d, 1, "channel 0", fields), point(t, d, 2, "channel 0", fields)
	ranged.Ranged, ranged.Low, ranged.High = true, 0, 100
	req := plan(t, d, ranged, plain)
	low, high := tag.MakeQuality(tag.Uncertain, tag.RangeExceeded, tag.LimitLow), tag.MakeQuality(tag.Uncertain, tag.RangeExceeded, tag.LimitHigh)
	for _, x := range []struct {
		ma   float64
		q    tag.Quality
		want float64
	}{
		{0, tag.BadSensor | tag.LimitLow, 0},
		{-4, tag.BadSensor | tag.LimitLow, 0}, // wired the wrong way round
		{1.4, tag.BadSensor | tag.LimitLow, 0},
		{2, tag.MakeQuality(tag.Bad, tag.FunctionCheck, 0), 0},
		{3.1, tag.BadSensor | tag.LimitLow, 0},
		{3.59, tag.BadSensor | tag.LimitLow, 0},
		{3.62, low, -2.375},
		{3.79, low, -1.3125},
		{3.81, tag.GoodQuality, -1.1875},
		{4, tag.GoodQuality, 0},
		{12, tag.GoodQuality, 50},
		{20, tag.GoodQuality, 100},
		{20.49, tag.GoodQuality, 103.0625},
		{20.51, high, 103.1875},
		{20.98, high, 106.125},
		{21.01, tag.BadSensor | tag.LimitHigh, 0},
		{40, tag.BadSensor | tag.LimitHigh, 0},
		{60, tag.BadSensor | tag.LimitHigh, 0}, // beyond the scale
	} {
		s.mu.Lock()
		s.inputs[0] = physic.ElectricPotential(x.ma * 100 * float64(physic.MilliVolt))
		s.mu.Unlock()
		rs, err := l.Read(t.Context(), req, nil)
		if err != nil || len(rs) != 2 {
			t.Fatalf("%v mA: %v, %v", x.ma, rs, err)
		}
		if rs[0].Quality != x.q || rs[1].Quality != x.q {
			t.Errorf("%v mA: %#x and %#x, want %#x", x.ma, uint32(rs[0].Quality), uint32(rs[1].Quality), uint32(x.q))
		}
		mA := x.ma
		if x.q.Bad() {
			mA = 0
		}
		// A step of the scale of 4.096 V is 1.25 µA, 0.008 % of the range.
		if math.Abs(rs[0].Value.Float()-x.want) > 0.008 || math.Abs(rs[1].Value.Float()-mA) > 0.00125 {
			t.Errorf("%v mA: %v %% and %v mA, want %v", x.ma, rs[0].Value, rs[1].Value, x.want)
		}
	}
}

// The limits themselves belong to the failure, as NE 43 has them.
func TestBandLimits(t *testing.T) {
	for i, want := range map[physic.ElectricCurrent]tag.Status{
		FailureLow: tag.Bad, FailureLow + 1: tag.Uncertain, SignalLow - 1: tag.Uncertain, SignalLow: tag.Good,
		SignalZero: tag.Good, SignalFull: tag.Good,
		SignalHigh: tag.Good, SignalHigh + 1: tag.Uncertain, FailureHigh - 1: tag.Uncertain, FailureHigh: tag.Bad,
	} {
		if got := current(i).Status(); got != want {
			t.Errorf("%v: %d, want %d", i, got, want)
		}
	}
}

// A conversion that takes longer than its name says never gives the value of
// the channel before.
func TestSlowOscillator(t *testing.T) {
	s := &simulated{inputs: [4]physic.ElectricPotential{1 * physic.Volt, 2 * physic.Volt, 3 * physic.Volt, 0}, oscillator: 3.5}
	d, l, _ := converterLink(t, s, grace)
	defer l.Close()
	var points []drivers.Point
	for i, at := range []string{"channel 0", "channel 1", "channel 2", "channel 3"} {
		points = append(points, point(t, d, tag.ID(i+1), at, drivers.Fields{"rate": "250"}))
	}
	for range 2 {
		rs, err := l.Read(t.Context(), plan(t, d, points...), nil)
		for i, r := range rs {
			want := float64(s.inputs[i]) / float64(physic.Volt)
			if err != nil || !r.Quality.Good() || math.Abs(r.Value.Float()-want) > 0.001 {
				t.Errorf("%s: %v %#x, want %v, err %v", points[i].Address, r.Value, uint32(r.Quality), want, err)
			}
		}
	}
}

func TestConverterFaults(t *testing.T) {
	f := func(name string, want tag.Quality, is error, dead bool, fault func(s *simulated)) {
		t.Helper()
		s := &simulated{inputs: [4]physic.ElectricPotential{1 * physic.Volt, 2 * physic.Volt}}
		d, l, log := converterLink(t, s, grace)
		defer l.Close()
		req := plan(t, d, point(t, d, 1, "channel 0", quick), point(t, d, 2, "channel 1", quick))
		fault(s)
		for range 2 {
			rs, err := l.Read(t.Context(), req, nil)
			if len(rs) != 2 || rs[0].Quality != want || rs[0].Value != (tag.Value{}) || (err != nil) != dead || dead && !errors.Is(err, is) {
				t.Errorf("%s: %v, err %v", name, rs, err)
			}
		}
		if is != nil && strings.Count(log.String(), "not measured") != 2 {
			t.Errorf("%s: logged\n%s", name, log)
		}
		s.mu.Lock()
		s.err, s.never, s.meddle = nil, false, nil
		s.mu.Unlock()
		rs, err := l.Read(t.Context(), req, nil)
		if err != nil || !rs[0].Quality.Good() || !rs[1].Quality.Good() {
			t.Errorf("%s, and after it: %v, err %v", name, rs, err)
		}
		s.mu.Lock()
		if dead && s.open != 1 {
			t.Errorf("%s: %d buses open", name, s.open)
		}
		s.mu.Unlock()
	}
	f("absent", tag.BadNoComm, unix.ENXIO, true, func(s *simulated) { s.err = unix.ENXIO })
	f("absent, as other adapters say it", tag.BadNoComm, unix.EREMOTEIO, true, func(s *simulated) { s.err = unix.EREMOTEIO })
	f("never ends", tag.BadDeviceFault, errNoEnd, false, func(s *simulated) { s.never = true })
	f("reset while it converts", tag.BadDeviceFault, errForeign, false, func(s *simulated) {
		s.meddle = func(s *simulated, _ int) { s.config = 0x8583 }
	})
	// Another process turns the switch after the conversion ended and before the
	// number was read: the settings beside it are still ours at the first look.
	f("somebody else's conversion", tag.BadDeviceFault, errForeign, false, func(s *simulated) {
		s.meddle = func(s *simulated, _ int) {
			if s.pointer == adsConfig && s.config&adsStart != 0 && s.transfers > 2 {
				s.config ^= 1 << adsMuxShift
			}
		}
	})
}

// A bus that hangs costs the link its timeout, and no more; when it comes back
// everything is good, and at no time does a second transfer start beside it.
func TestHungBus(t *testing.T) {
	s := &simulated{inputs: [4]physic.ElectricPotential{1 * physic.Volt}, hang: make(chan struct{})}
	const timeout = 100 * time.Millisecond
	d, l, _ := converterLink(t, s, timeout)
	req := plan(t, d, point(t, d, 1, "channel 0", quick), point(t, d, 2, "channel 1", quick))
	for range 3 {
		from := time.Now()
		rs, err := l.Read(t.Context(), req, nil)
		took := time.Since(from)
		if !errors.Is(err, errStuck) || len(rs) != 2 || rs[0].Quality != tag.BadNoComm || took > timeout+grace/4 {
			t.Errorf("%v after %v, err %v", rs, took, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if rs, err := l.Read(ctx, req, nil); !errors.Is(err, context.Canceled) || len(rs) != 2 {
		t.Errorf("cancelled: %v, %v", rs, err)
	}
	if err := l.Close(); !errors.Is(err, errStuck) {
		t.Errorf("closed while it hangs: %v", err)
	}
	next, err := d.Open(t.Context(), drivers.LinkConfig{Name: "ai", Settings: l.Settings, Timeout: grace, Log: l.Log, Now: l.Now})
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	if s.transfers != 0 {
		t.Errorf("%d transfers ended on a bus that hangs", s.transfers)
	}
	close(s.hang)
	s.hang = nil
	s.mu.Unlock()
	rs, err := next.Read(t.Context(), req, nil)
	if err != nil || !rs[0].Quality.Good() {
		t.Errorf("when it comes back: %v, %v", rs, err)
	}
	if err := next.Close(); err != nil {
		t.Error(err)
	}
}

// The real bus, where there is none and where a file is no bus.
func TestOpenBus(t *testing.T) {
	if _, err := OpenBus("/dev/i2c-no-such", time.Second); !errors.Is(err, unix.ENOENT) {
		t.Errorf("%v", err)
	}
	if b, err := OpenBus("/dev/null", time.Second); err == nil {
		t.Errorf("/dev/null is a bus: %v", b)
	}
}
