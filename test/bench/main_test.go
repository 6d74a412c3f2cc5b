package main

import (
	"io"
	"strings"
	"testing"
)

func TestOnlyAndVerdict(t *testing.T) {
	var ran []string
	one := func(name string, holds bool) group {
		return group{name, func(io.Writer) bool { ran = append(ran, name); return holds }}
	}
	f := func(only, want string, ok, any bool, groups ...group) {
		t.Helper()
		ran = nil
		gotOK, gotAny := run(io.Discard, groups, only)
		if got := strings.Join(ran, " "); got != want || gotAny != any || any && gotOK != ok {
			t.Errorf("only %q: ran %q, ok %v, any %v", only, got, gotOK, gotAny)
		}
	}
	f("", "rules modbus", true, true, one("rules", true), one("modbus", true))
	f("", "rules modbus", false, true, one("rules", false), one("modbus", true))
	f("rules.allocs_per_step", "rules", true, true, one("rules", true), one("modbus", false))
	f("mod", "modbus", false, true, one("rules", true), one("modbus", false))
	f("nothing", "", true, false, one("rules", true))
}
