package gpio

import (
	"errors"
	"strings"
	"testing"

	"davy/drivers"
)

func TestParseAddress(t *testing.T) {
	f := func(s, want string) {
		t.Helper()
		a, err := Driver{}.ParseAddress(s)
		got := ""
		if err != nil {
			var h *drivers.Hint
			if !errors.As(err, &h) {
				t.Errorf("%q: %v is no hint", s, err)
				return
			}
			got = h.Code
		} else {
			got = a.String()
		}
		if got != want {
			t.Errorf("%q is %q, want %q", s, got, want)
		}
	}
	f("line DI1", "line DI1")
	f("  LINE   DI1  ", "line DI1")
	f("line DI1 inverted", "line DI1 inverted")
	f("output RELAY1 Inverted", "output RELAY1 inverted")
	f("line 3", "line 3")
	f("line 003", "line 3")
	f(`line "3"`, `line "3"`)
	f(`line "P9_12 [gpio1_28]" inverted`, `line "P9_12 [gpio1_28]" inverted`)
	f(`line "DI1"`, "line DI1")
	f("line 输入1", "line 输入1")
	f("line inverted", "line inverted") // a name is a name

	f("", "gpio.address")
	f("line", "gpio.address")
	f("DI1", "gpio.address")
	f("3", "gpio.address")
	f("lineDI1", "gpio.address")
	f(`line ""`, "gpio.address")
	f(`line "DI1`, "gpio.address")
	f(`line "DI1"inverted`, "gpio.address")
	f(`line D"I1`, "gpio.address")
	f("line 65536", "gpio.offset")
	f("line 99999999999999999999", "gpio.offset")
	f("line "+strings.Repeat("x", 31), "line "+strings.Repeat("x", 31))
	f("line "+strings.Repeat("x", 32), "gpio.name")
	f("line DI\x071", "gpio.name")
	f("line DI1 active-low", "gpio.suffix")
	f("line DI1 inverted inverted", "gpio.suffix")
}

func TestParseLink(t *testing.T) {
	f := func(target, mode, want string) {
		t.Helper()
		s, err := Driver{}.ParseLink(target, drivers.Fields{"mode": mode})
		got := s.Target
		if err != nil {
			got = codes(err)
		} else if (Driver{}).Subscribes(s) == (mode == "poll") {
			t.Errorf("%q %q subscribes: %v", target, mode, Driver{}.Subscribes(s))
		}
		if got != want {
			t.Errorf("%q %q is %q, want %q", target, mode, got, want)
		}
	}
	f("gpiochip0", "", "gpiochip0")
	f(" gpiochip12 ", "edges", "gpiochip12")
	f("0", "poll", "gpiochip0")
	f("/dev/gpiochip3", "", "gpiochip3")
	f("/dev/gpio/di", "", "/dev/gpio/di")
	f("30200000.gpio", "", "30200000.gpio")
	f("pinctrl-bcm2711", "", "pinctrl-bcm2711")
	f("", "", "gpio.target")
	f("/etc/passwd", "", "gpio.target")
	f("a/b", "", "gpio.target")
	f(strings.Repeat("x", 32), "", "gpio.target")
	f("gpio\nchip0", "", "gpio.target")
	f("gpiochip0", "fast", "mode gpio.mode")
	f("", "fast", "gpio.target, mode gpio.mode")
}

// codes are the problems of an error, with the field each is about.
func codes(err error) string {
	errs := []error{err}
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		errs = j.Unwrap()
	}
	var out []string
	for _, err := range errs {
		var f *drivers.FieldError
		var h *drivers.Hint
		switch {
		case !errors.As(err, &h):
			out = append(out, "no hint: "+err.Error())
		case errors.As(err, &f) && f.Field != "":
			out = append(out, f.Field+" "+h.Code)
		default:
			out = append(out, h.Code)
		}
	}
	return strings.Join(out, ", ")
}

// What is parsed prints as text that is parsed to the same, of both drivers.
func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{
		"line DI1", "output RELAY1 inverted", "line 3", `line "P9_12 [gpio]" inverted`, `line "3"`, "line \xff",
		"channel 0", "channel 0-1", "channel 2 gain 0.256 V", "channel 3 gain ±512 mV", "line \"\"", "output",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, d := range []drivers.Driver{Driver{}, Analogue{}} {
			a, err := d.ParseAddress(s)
			if err != nil {
				var h *drivers.Hint
				if !errors.As(err, &h) || a != nil {
					t.Fatalf("%q: %v, %v", s, a, err)
				}
				continue
			}
			again, err := d.ParseAddress(a.String())
			if err != nil || again != a {
				t.Fatalf("%q is %q, which is %v, %v", s, a, again, err)
			}
			if _, err := d.ParseType(a, ""); err != nil {
				t.Fatalf("%q has no natural type: %v", s, err)
			}
		}
	})
}

// Whatever stands in a field gives settings or problems that have words.
func FuzzFields(f *testing.F) {
	f.Add("5ms", "pull-up", "100 Ω", "4.096 V", "128", "1.5 to 3 mA", "/dev/i2c-1 0x48")
	f.Add("-1s", "x", "NaN", "±0.256 V", "9", "3 to 1 mA", "1 75")
	f.Add("1h", "off", "1e400 ohm", "512 mV", "860", "21 to 22 mA", "i2c-7 0x4c")
	f.Fuzz(func(t *testing.T, debounce, bias, shunt, gain, rate, check, target string) {
		d := Driver{}
		if o, err := d.ParseDevice(drivers.Fields{"debounce": debounce, "bias": bias}); err == nil {
			if o := o.(lineOptions); o.debounce < 0 || o.debounce > MaxDebounce {
				t.Fatalf("debounce %q is %v", debounce, o.debounce)
			}
		}
		a := Analogue{}
		if o, err := a.ParseDevice(drivers.Fields{"shunt": shunt, "gain": gain, "rate": rate, "function_check": check}); err == nil {
			o := o.(loop)
			if o.gain < 0 || o.gain >= len(adsFullScale) || o.rate < 0 || o.rate >= len(adsRates) {
				t.Fatalf("%q %q: %+v", gain, rate, o)
			}
			if o.shunt != 0 && (o.shunt < MinShunt || o.shunt > MaxShunt || through(adsFullScale[o.gain], o.shunt) < seen) {
				t.Fatalf("%q with %q: %+v", shunt, gain, o)
			}
		} else if strings.Contains(codes(err), "no hint") {
			t.Fatal(err)
		}
		if s, err := a.ParseLink(target, nil); err == nil {
			if again, err := a.ParseLink(s.Target, nil); err != nil || again.Target != s.Target {
				t.Fatalf("%q is %q, which is %q, %v", target, s.Target, again.Target, err)
			}
		}
		if s, err := d.ParseLink(target, nil); err == nil {
			if again, err := d.ParseLink(s.Target, nil); err != nil || again.Target != s.Target {
				t.Fatalf("%q is %q, which is %q, %v", target, s.Target, again.Target, err)
			}
		}
	})
}
