package modbus

import (
	"errors"
	"strings"
	"testing"
	"time"

	"davy/drivers"
)

func TestDeviceFields(t *testing.T) {
	f := func(want unitOptions, fields ...string) {
		t.Helper()
		if got, ok := options(t, fields...).(*unitOptions); !ok || *got != want {
			t.Errorf("%v is %+v, want %+v", fields, got, want)
		}
	}
	if o := options(t); o != nil {
		t.Errorf("nothing written is %+v", o)
	}
	if o := options(t, "gaps", "yes", "registers", "16 bit", "write", "usual", "accept_any_unit", "no", "pause", "0s"); o != nil {
		t.Errorf("all as usual is %+v", o)
	}
	f(unitOptions{}, "gaps", "no")
	f(unitOptions{gaps: 8}, "gaps", " 8 Registers ")
	f(unitOptions{gaps: anyGap, maxBlock: 60}, "max_block", "60")
	f(unitOptions{gaps: anyGap, maxBlock: 125}, "max_block", "125 registers")
	f(unitOptions{gaps: anyGap, wide: true}, "registers", "32bit")
	f(unitOptions{gaps: anyGap, write: writeReadwrite}, "write", "readwrite")
	f(unitOptions{gaps: anyGap, anyUnit: true}, "accept_any_unit", "yes")
	f(unitOptions{gaps: anyGap, identity: identity{set: true, at: Address{Table: Input, Number: 3}, value: 0x1234}}, "identity", "ref 30004 = 0x1234")
	f(unitOptions{gaps: anyGap, identity: identity{set: true, at: Address{Table: Holding}}}, "identity", "holding 0=0")
	f(unitOptions{gaps: anyGap, wide: true, identity: identity{set: true, at: Address{Table: Holding}, value: 0x10000}}, "identity", "holding 0 = 65536", "registers", "32 bit")
	f(unitOptions{gaps: anyGap, pause: 50 * time.Millisecond, lateMax: 4 * time.Second}, "pause", "50ms", "late_max", "4s")

	g := func(field string, texts ...string) {
		t.Helper()
		for _, s := range texts {
			_, err := parseDevice(drivers.Fields{field: s})
			var e *drivers.FieldError
			var h *drivers.Hint
			if !errors.As(err, &e) || e.Field != field || !errors.As(err, &h) || h.Code != "modbus.device."+field || h.Args["text"] != s {
				t.Errorf("%s: %q: %v", field, s, err)
			}
		}
	}
	g("gaps", "", "never", "-1", "2001", "8 bits")
	g("max_block", "0", "126", "", "ten")
	g("registers", "64 bit", "", "wide")
	g("write", "16", "")
	g("accept_any_unit", "true", "")
	g("identity", "holding 0", "0 = 1", "coil 0 = 1", "holding 0 bit 3 = 1", "holding 0 = ", "holding 0 = 0x10000", "holding 0 = 0x100000000", "holding 40001 = 1")
	g("pause", "50", "-1s", "11s", "")
	g("late_max", "4", "99ms", "61s")

	_, err := parseDevice(drivers.Fields{"gaps": "x", "pause": "y"})
	for _, name := range []string{"modbus.device.gaps", "modbus.device.pause"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v does not name %s", err, name)
		}
	}
	fields := map[string]bool{}
	for _, d := range []drivers.Driver{TCP{}, RTU{}, ASCII{}} {
		for _, field := range d.DeviceFields() {
			fields[field.Name] = true
		}
	}
	if len(fields) != len(deviceFields()) {
		t.Errorf("the drivers know %v", fields)
	}
}
