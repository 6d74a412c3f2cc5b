package modbus

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"davy/drivers"
	"davy/drivers/modbus/serial"
)

func TestLineParsesItsLink(t *testing.T) {
	for _, c := range []struct {
		target string
		fields drivers.Fields
		want   string // the canonical target
		notes  string
		check  func(o *lineOptions) bool
	}{
		{"/dev/serial/by-path/../by-path/x", drivers.Fields{"serial": "19200 8N2"}, "/dev/serial/by-path/x", "", func(o *lineOptions) bool {
			return o.device == "/dev/serial/by-path/x" && o.serial == serial.Settings{Baud: 19200, Bits: 8, Parity: 'N', Stop: 2} && !o.allow && !o.echo && o.turnaround == DefaultTurnaround
		}},
		{"/dev/ttyUSB0", drivers.Fields{"serial": "9600 8E1", "other_master": "allow", "echo": "yes", "turnaround": "20ms", "late_max": "4s"}, "/dev/ttyUSB0", "link.note.bare-usb", func(o *lineOptions) bool {
			return o.allow && o.echo && o.turnaround == 20*time.Millisecond && o.lateMax == 4*time.Second
		}},
		{"/dev/ttyS1", drivers.Fields{"serial": "9600 8E1", "rs485": "rts high, after 2ms"}, "/dev/ttyS1", "", func(o *lineOptions) bool {
			return o.serial.RS485 == serial.RS485{On: true, After: 2 * time.Millisecond}
		}},
		{"tcp://192.168.1.9:4001", drivers.Fields{}, "tcp://192.168.1.9:4001", "", func(o *lineOptions) bool {
			return o.device == "" && o.reach.addresses[0] == "192.168.1.9:4001" && o.reach.keepAlive == DefaultKeepAlive
		}},
		{"listen :5020", drivers.Fields{"registration": "JY0231"}, `listen 0.0.0.0:5020 "JY0231"`, "link.note.dials-in", func(o *lineOptions) bool {
			return o.reach.unit != nil
		}},
	} {
		s, err := RTU{}.ParseLink(c.target, c.fields)
		if err != nil {
			t.Error(c.target, err)
			continue
		}
		if s.Target != c.want || strings.Join(s.Notes, " ") != c.notes || !s.Exclusive || !slices.Equal(s.Conditions, []string{"other-master"}) || !c.check(s.Options.(*lineOptions)) {
			t.Errorf("%s: %+v %+v", c.target, s, s.Options)
		}
	}
	if s, err := (ASCII{}).ParseLink("/dev/ttyS1", drivers.Fields{"serial": "9600 7E1"}); err != nil || !s.Options.(*lineOptions).ascii {
		t.Error(err)
	}
}

func TestLineRefusesItsLink(t *testing.T) {
	for _, c := range []struct {
		target string
		fields drivers.Fields
		want   string // field: code, in any order
	}{
		{"", nil, ": modbus.line"},
		{"COM3", drivers.Fields{"serial": "9600 8E1"}, ": modbus.line"},
		{"/dev/tty S1", drivers.Fields{"serial": "9600 8E1"}, ": modbus.line"},
		{"/dev/ttyS1", nil, "serial: modbus.serial-missing"},
		{"/dev/ttyS1", drivers.Fields{"serial": "9600"}, "serial: modbus.serial-form"},
		{"/dev/ttyS1", drivers.Fields{"serial": "9600 7E1"}, "serial: modbus.serial-seven"},
		{"/dev/ttyS1", drivers.Fields{"serial": "9600 8E1", "keep_alive": "15s"}, "keep_alive: modbus.bridge-only"},
		{"/dev/ttyS1", drivers.Fields{"serial": "50 8E1", "echo": "maybe", "other_master": "yes", "rs485": "on", "turnaround": "1h", "late_max": "0s"}, "echo: modbus.echo, late_max: modbus.line-time, other_master: modbus.other-master, rs485: modbus.rs485, serial: modbus.serial-speed, turnaround: modbus.line-time"},
		{"tcp://192.168.1.9", nil, ": modbus.bridge-port"},
		{"tcp://192.168.1.9:0", nil, ": modbus.target"},
		{"tcp://192.168.1.9:4001", drivers.Fields{"rs485": "rts high"}, "rs485: modbus.rs485-bridge"},
		{"192.168.1.9:4001", nil, ": modbus.line"},
		{"listen nowhere", nil, ": modbus.listen"},
	} {
		_, err := RTU{}.ParseLink(c.target, c.fields)
		var got []string
		for _, e := range parts(err) {
			var f *drivers.FieldError
			var h *drivers.Hint
			if !errors.As(e, &f) || !errors.As(e, &h) {
				t.Errorf("%s: %v is no hint for a field", c.target, e)
				continue
			}
			got = append(got, f.Field+": "+h.Code)
		}
		slices.Sort(got)
		if s := strings.Join(got, ", "); s != c.want {
			t.Errorf("%q %v:\n got %s\nwant %s", c.target, c.fields, s, c.want)
		}
	}
}

// parts takes joined errors apart.
func parts(err error) []error {
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		return j.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

// Every field that a line knows is one that the configuration hands over.
func TestLineFieldsAreKnown(t *testing.T) {
	var names []string
	for _, f := range (RTU{}).LinkFields() {
		names = append(names, f.Name)
	}
	want := []string{"serial", "rs485", "other_master", "echo", "turnaround", "late_max", "registration", "heartbeat", "from", "keep_alive"}
	if !reflect.DeepEqual(names, want) {
		t.Error(names)
	}
}

func TestLineWireTime(t *testing.T) {
	parse := func(text string, isASCII bool) wireCost {
		s, err := parseLine("/dev/ttyS1", drivers.Fields{"serial": text, "turnaround": "0s"}, isASCII)
		if err != nil {
			t.Fatal(err)
		}
		return s.Options.(*lineOptions).wire()
	}
	for text, want := range map[string]time.Duration{
		// 8 and 255 characters of 11 bits, two pauses
		"9600 8E1":   263*11*time.Second/9600 + 77*time.Second/9600,
		"115200 8N1": 263*10*time.Second/115200 + 3500*time.Microsecond,
	} {
		if got := parse(text, false).of(nil, Holding, 125); got < want-time.Microsecond || got > want+time.Microsecond {
			t.Errorf("%s: 125 registers cost %v, want %v", text, got, want)
		}
	}
	if got, want := parse("9600 7E1", true).of(nil, Holding, 10), (17+11+40)*10*time.Second/9600; got < want-time.Microsecond || got > want+time.Microsecond {
		t.Errorf("10 registers of ASCII cost %v, want %v", got, want)
	}
}
