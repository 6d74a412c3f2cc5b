package modbus

import (
	"errors"
	"strings"
	"testing"

	"davy/drivers"
)

func TestAddresses(t *testing.T) {
	f := func(s string, want Address, printed string) {
		t.Helper()
		a, err := parseAddress(s)
		if err != nil || a != want {
			t.Errorf("%q is %+v, %v; want %+v", s, a, err, want)
		}
		if a.String() != printed {
			t.Errorf("%q is printed %q, want %q", s, a, printed)
		}
	}
	f("holding 10", Address{Table: Holding, Number: 10}, "holding 10 (ref 40011)")
	f("ref 40011", Address{Table: Holding, Number: 10}, "holding 10 (ref 40011)")
	f("ref 400011", Address{Table: Holding, Number: 10}, "holding 10 (ref 40011)")
	f("input 0", Address{Table: Input}, "input 0 (ref 30001)")
	f("ref 30011", Address{Table: Input, Number: 10}, "input 10 (ref 30011)")
	f("coil 0", Address{Table: Coil}, "coil 0 (ref 1)")
	f("ref 1", Address{Table: Coil}, "coil 0 (ref 1)")
	f("ref 00001", Address{Table: Coil}, "coil 0 (ref 1)")
	f("ref 000001", Address{Table: Coil}, "coil 0 (ref 1)")
	f("ref 010001", Address{Table: Coil, Number: 10000}, "coil 10000 (ref 010001)")
	f("coil 10000", Address{Table: Coil, Number: 10000}, "coil 10000 (ref 010001)")
	f("coil 9998", Address{Table: Coil, Number: 9998}, "coil 9998 (ref 9999)")
	f("coil 9999", Address{Table: Coil, Number: 9999}, "coil 9999 (ref 010000)")
	f("discrete 0", Address{Table: Discrete}, "discrete 0 (ref 10001)")
	f("ref 10001", Address{Table: Discrete}, "discrete 0 (ref 10001)")
	f("ref 49999", Address{Table: Holding, Number: 9998}, "holding 9998 (ref 49999)")
	f("ref 410000", Address{Table: Holding, Number: 9999}, "holding 9999 (ref 410000)")
	f("ref 465536", Address{Table: Holding, Number: 65535}, "holding 65535 (ref 465536)")
	f("holding wire 40011", Address{Table: Holding, Number: 40011}, "holding 40011 (ref 440012)")
	f("holding 40000", Address{Table: Holding, Number: 40000}, "holding 40000 (ref 440001)")
	f("holding 12288", Address{Table: Holding, Number: 12288}, "holding 12288 (ref 412289)")
	f("holding 10 bit 3", Address{Table: Holding, Number: 10, HasBit: true, Bit: 3}, "holding 10 bit 3 (ref 40011 bit 3)")
	f("ref 30011 bit 0", Address{Table: Input, Number: 10, HasBit: true}, "input 10 bit 0 (ref 30011 bit 0)")
	f("  Holding   10 ", Address{Table: Holding, Number: 10}, "holding 10 (ref 40011)")
	f("holding 40011 (ref 440012)", Address{Table: Holding, Number: 40011}, "holding 40011 (ref 440012)")
}

func TestWrongAddresses(t *testing.T) {
	f := func(s, code string, args ...string) {
		t.Helper()
		_, err := parseAddress(s)
		var h *drivers.Hint
		if !errors.As(err, &h) || h.Code != code {
			t.Errorf("%q: %v, want %s", s, err, code)
			return
		}
		for i := 0; i < len(args); i += 2 {
			if got := h.Args[args[i]]; got != args[i+1] {
				t.Errorf("%q: %s is %q, want %q", s, args[i], got, args[i+1])
			}
		}
	}
	f("holding 40011", "address.ambiguous", "ref", "40011", "ref_wire", "holding 10 (ref 40011)", "wire", "holding 40011 (ref 440012)", "table", "holding")
	f("input 30001", "address.ambiguous", "ref_wire", "input 0 (ref 30001)")
	f("discrete 10001", "address.ambiguous")
	f("coil 00001", "address.ambiguous", "ref_wire", "coil 0 (ref 1)")
	f("holding 400011", "address.ambiguous", "ref_wire", "holding 10 (ref 40011)")
	f("holding 40011 bit 3", "address.ambiguous")
	f("40011", "address.bare", "meaning", "holding 10 (ref 40011)", "number", "40011")
	f("", "address.unknown")
	f("holdng 10", "address.unknown")
	f("holding", "address.unknown")
	f("holding ten", "address.unknown")
	f("holding 1 2", "address.unknown")
	f("holding -1", "address.unknown")
	f("holding １０", "address.unknown")
	f("holding 65536", "address.range")
	f("ref 0", "address.ref")
	f("ref 10000", "address.ref")
	f("ref 20001", "address.ref")
	f("ref 50001", "address.ref")
	f("ref 465537", "address.ref")
	f("ref 40011 40012", "address.ref")
	f("ref 4000011", "address.ref")
	f("holding 10 bit 16", "address.bit-range")
	f("coil 3 bit 1", "address.bit-of-bit")
	f("holding 10 (ref 40012)", "address.disagree", "first", "holding 10 (ref 40011)", "second", "holding 11 (ref 40012)")
}

func TestSpan(t *testing.T) {
	for _, c := range []struct {
		table Table
		first uint16
		count int
		want  string
	}{
		{Holding, 0, 20, "holding 0..19 (ref 40001..40020)"},
		{Holding, 10, 1, "holding 10 (ref 40011)"},
		{Holding, 9990, 20, "holding 9990..10009 (ref 49991..410010)"},
		{Coil, 65535, 1, "coil 65535 (ref 065536)"},
	} {
		if got := span(c.table, c.first, c.count); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

func TestTargets(t *testing.T) {
	for in, want := range map[string]string{
		"192.168.1.20:502": "192.168.1.20:502", "192.168.1.20": "192.168.1.20:502", " plc-1:1502 ": "plc-1:1502", "plc": "plc:502",
		"[fe80::1]:502": "[fe80::1]:502", "fe80::1": "[fe80::1]:502", "[fe80::1]": "[fe80::1]:502",
		"": "", ":502": "", "plc:0": "", "plc:65536": "", "plc:x": "", "http://plc:502": "", "a b:502": "", "192.168.1.20:502:3": "",
	} {
		settings, err := TCP{}.ParseLink(in, nil)
		got := settings.Target
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q is %q, %v; want %q", in, got, err, want)
		}
	}
}

// What is printed reads back as the same address, in both of its forms.
func FuzzAddress(f *testing.F) {
	for _, s := range []string{"holding 10", "ref 40011", "holding 40011", "holding wire 40011", "coil 00001", "ref 010001", "input 7 bit 15", "holding 10 (ref 40011)", "40011", "ref"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := parseAddress(s)
		if err != nil {
			var h *drivers.Hint
			if !errors.As(err, &h) || h.Code == "" {
				t.Fatalf("%q: an error without a hint: %v", s, err)
			}
			return
		}
		if a.HasBit && (a.Table.Bits() || a.Bit > 15) || !a.HasBit && a.Bit != 0 {
			t.Fatalf("%q is %+v", s, a)
		}
		printed := a.String()
		open := strings.Index(printed, " (")
		for _, again := range []string{printed, printed[open+2 : len(printed)-1], strings.Replace(printed[:open], " ", " wire ", 1)} {
			if b, err := parseAddress(again); err != nil || b != a {
				t.Fatalf("%q is printed %q, and %q is %v, %v", s, printed, again, b, err)
			}
		}
	})
}
