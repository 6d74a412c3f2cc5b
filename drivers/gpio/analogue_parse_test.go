package gpio

import (
	"errors"
	"testing"
	"time"

	"davy/drivers"
	"davy/drivers/tag"
)

func TestParseConverter(t *testing.T) {
	link := func(target, want string) {
		t.Helper()
		s, err := Analogue{}.ParseLink(target, nil)
		got := s.Target
		if err != nil {
			got = codes(err)
		} else if !s.Exclusive {
			t.Errorf("%q: another link may have the same converter", target)
		}
		if got != want {
			t.Errorf("%q is %q, want %q", target, got, want)
		}
	}
	link("/dev/i2c-1 0x48", "/dev/i2c-1 0x48")
	link("i2c-1 0x4B", "/dev/i2c-1 0x4b")
	link("1  73", "/dev/i2c-1 0x49")
	link("/dev/i2c/sensors 0x4a", "/dev/i2c/sensors 0x4a")
	for _, s := range []string{"", "/dev/i2c-1", "/dev/i2c-1 0x47", "/dev/i2c-1 0x4c", "/dev/i2c-1 0x48 0", "/etc/x 0x48", "/dev/ 0x48", "/dev/i2c-1 x"} {
		link(s, "ads1115.target")
	}

	address := func(s, want string) {
		t.Helper()
		a, err := Analogue{}.ParseAddress(s)
		got := ""
		if err != nil {
			got = codes(err)
		} else {
			got = a.String()
		}
		if got != want {
			t.Errorf("%q is %q, want %q", s, got, want)
		}
	}
	address("channel 0", "channel 0")
	address("Channel 2-3", "channel 2-3")
	address("channel 1 gain ±0.512V", "channel 1 gain 0.512 V")
	address("channel 1 gain 256 mV", "channel 1 gain 0.256 V")
	address("channel 4", "ads1115.address")
	address("channel -1", "ads1115.address")
	address("channel", "ads1115.address")
	address("ain0", "ads1115.address")
	address("channel 1-0", "ads1115.pair")
	address("channel 1-2", "ads1115.pair")
	address("channel 1 gain 3 V", "ads1115.gain")
	address("channel 1 x", "ads1115.gain")

	device := func(want string, more ...string) {
		t.Helper()
		o, err := Analogue{}.ParseDevice(with(more...))
		got := ""
		if err != nil {
			got = codes(err)
		} else {
			got = volts(adsFullScale[o.(loop).gain])
		}
		if got != want {
			t.Errorf("%q is %q, want %q", more, got, want)
		}
	}
	device("4.096 V")
	device("4.096 V", "shunt", "100 Ω") // 22 mA is 2.2 V
	device("2.048 V", "shunt", "49.9 ohm")
	device("1.024 V", "shunt", "46.4")
	device("6.144 V", "shunt", "220Ω")
	device("0.256 V", "shunt", "10 Ω")
	device("6.144 V", "gain", "±6.144 V")
	device("shunt ads1115.shunt", "shunt", "250 Ω")
	device("shunt ads1115.shunt", "shunt", "0")
	device("shunt ads1115.shunt", "shunt", "-100 Ω")
	device("shunt ads1115.shunt", "shunt", "NaN")
	device("gain ads1115.gain-small", "shunt", "100 Ω", "gain", "2.048 V")
	device("gain ads1115.gain", "gain", "5 V")
	device("rate ads1115.rate", "rate", "100")
	device("function_check ads1115.function-check", "function_check", "1 to 3 mA") // without a shunt
	device("function_check ads1115.function-check", "shunt", "100 Ω", "function_check", "3 to 4 mA")
	device("function_check ads1115.function-check", "shunt", "100 Ω", "function_check", "3 to 1 mA")
	device("4.096 V", "shunt", "100 Ω", "function_check", "21.5 to 22 mA")
}

func TestPlanConverter(t *testing.T) {
	d := Analogue{}
	f := func(want string, p drivers.Point) {
		t.Helper()
		_, err := d.Plan(drivers.Settings{}, []drivers.Point{p})
		got := ""
		if err != nil {
			got = codes(err)
		}
		if got != want {
			t.Errorf("%s: %q, want %q", p.Address, got, want)
		}
	}
	p := point(t, d, 1, "channel 0", with("shunt", "100 Ω"))
	f("", p)
	p.Gain = 2
	f("", p)
	p.Ranged, p.High = true, 1
	f("ads1115.scale", p)
	p.Gain, p.Write = 0, true
	f("ads1115.write", p)
	f("ads1115.point-gain", point(t, d, 1, "channel 0 gain 1.024 V", with("shunt", "100 Ω")))
	f("", point(t, d, 1, "channel 0 gain 1.024 V", quick))
	reqs, err := d.Plan(drivers.Settings{}, []drivers.Point{point(t, d, 1, "channel 0", with("rate", "8")), point(t, d, 2, "channel 1", with("rate", "8"))})
	if err != nil || len(reqs) != 1 || reqs[0].Cost() < 2*time.Second/8 || reqs[0].Cost() > 2*time.Second/5 {
		t.Errorf("%v, %v", reqs, err)
	}
	l, err := NewAnalogue().Open(t.Context(), drivers.LinkConfig{Settings: drivers.Settings{Options: converter{"/dev/i2c-1", 0x48}}})
	if err != nil {
		t.Fatal(err)
	}
	p.Write = true
	if err := l.Write(t.Context(), p, tag.BoolValue(true)); !errors.Is(err, drivers.ErrReadOnly) {
		t.Errorf("write: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}
