package serial

import (
	"errors"
	"testing"
	"time"

	"davy/drivers"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]Settings{
		"9600 8E1":     {Baud: 9600, Bits: 8, Parity: 'E', Stop: 1},
		" 19200  8n2 ": {Baud: 19200, Bits: 8, Parity: 'N', Stop: 2},
		"1200 7O1":     {Baud: 1200, Bits: 7, Parity: 'O', Stop: 1},
		"921600 8N1":   {Baud: 921600, Bits: 8, Parity: 'N', Stop: 1},
		"250000 8N1":   {Baud: 250000, Bits: 8, Parity: 'N', Stop: 1}, // no standard speed
	} {
		got, err := Parse(text)
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for text, code := range map[string]string{
		"": "form", "9600": "form", "8E1 9600": "form", "9600 8E1 x": "form", "9600 8E": "form", "fast 8E1": "form",
		"600 8E1": "speed", "1000000 8N1": "speed", "-9600 8N1": "speed",
		"9600 9E1": "frame", "9600 8X1": "frame", "9600 8E3": "frame", "9600 ８E": "form",
	} {
		_, err := Parse(text)
		var hint *drivers.Hint
		if !errors.As(err, &hint) || hint.Code != "modbus.serial-"+code {
			t.Errorf("%q: %v, want %s", text, err, code)
		}
	}
}

func TestCharacter(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"9600 8E1": 11 * time.Second / 9600, "9600 8N1": 10 * time.Second / 9600, "9600 8N2": 11 * time.Second / 9600, "9600 7E1": 10 * time.Second / 9600,
	} {
		s, err := Parse(text)
		if err != nil || s.Character() != want || s.String() != text {
			t.Error(text, s.Character(), s, err)
		}
	}
}

func TestParseRS485(t *testing.T) {
	for text, want := range map[string]RS485{
		"off":      {},
		"rts high": {On: true},
		"rts low":  {On: true, Low: true},
		"rts high, before 1ms, after 2ms, terminate": {On: true, Before: time.Millisecond, After: 2 * time.Millisecond, Terminate: true},
		"Terminate, RTS high":                        {On: true, Terminate: true},
	} {
		if got, err := ParseRS485(text); err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "on", "terminate", "rts", "rts up", "rts high, rts low", "rts high,, terminate", "rts high, before", "rts high, before 1", "rts high, before 1500us", "rts high, after 1s", "rts high, after -1ms", "rts high, delay 1ms"} {
		_, err := ParseRS485(text)
		var hint *drivers.Hint
		if !errors.As(err, &hint) || hint.Code != "modbus.rs485" {
			t.Errorf("%q: %v", text, err)
		}
	}
}
