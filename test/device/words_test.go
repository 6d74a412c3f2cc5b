package device

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"davy/agent/i18n"
	"davy/drivers"
	"davy/drivers/modbus"
	"davy/drivers/sim"
	"davy/drivers/tag"
)

// parts takes joined errors apart.
func parts(err error) []error {
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		return j.Unwrap()
	}
	return []error{err}
}

// Every mistake that the drivers name has words in both languages, with
// nothing left open in them.
func TestEveryMistakeHasWords(t *testing.T) {
	var found []error
	driver := modbus.TCP{}
	for _, s := range []string{
		"", "40011", "ref 50001", "holding 40011", "holding 400011", "holding 1 (ref 40011)", "holding 65536", "holding 1 bit 16", "coil 1 bit 1",
	} {
		_, err := driver.ParseAddress(s)
		found = append(found, err)
	}
	for at, types := range map[string][]string{
		"holding 1": {"float", "float32 ACBD"}, "coil 1": {"uint16", "bool CDAB"}, "holding 65535": {"float32"},
	} {
		for _, s := range types {
			a, err := driver.ParseAddress(at)
			if err != nil {
				t.Fatal(err)
			}
			_, err = driver.ParseType(a, s)
			found = append(found, err)
		}
	}
	for target, fields := range map[string]drivers.Fields{
		"a b": nil, "listen": nil,
		"a":            {"registration": "x", "pipeline": "17", "keep_alive": "1s", "connections": "17"},
		"listen :5020": {"heartbeat": "0x", "from": "b", "idle_release": "1s"},
	} {
		_, err := driver.ParseLink(target, fields)
		found = append(found, parts(err)...)
	}
	_, err := driver.ParseDevice(drivers.Fields{
		"gaps": "x", "max_block": "x", "registers": "x", "write": "x", "accept_any_unit": "x", "identity": "x", "pause": "x", "late_max": "x",
	})
	found = append(found, parts(err)...)
	word, bit := drivers.Type{Kind: tag.Int, Bits: 16}, drivers.Type{Kind: tag.Bool, Bits: 1}
	for _, p := range []drivers.Point{
		{Station: 256, Address: modbus.Address{Table: modbus.Holding}, Type: word},
		{Write: true, Address: modbus.Address{Table: modbus.Input}, Type: word},
		{Gain: 2, Address: modbus.Address{Table: modbus.Coil}, Type: bit},
	} {
		_, err := driver.Plan(drivers.Settings{}, []drivers.Point{p})
		found = append(found, err)
	}
	_, err = sim.Driver{}.ParseLink("", nil)
	found = append(found, err)
	_, err = sim.Driver{}.ParseAddress("")
	found = append(found, err)
	_, err = sim.Driver{}.ParseType(sim.Address("x"), "y")
	found = append(found, err)

	codes := map[string]bool{}
	for i, err := range found {
		var h *drivers.Hint
		if !errors.As(err, &h) {
			t.Errorf("mistake %d: %v holds no hint", i, err)
			continue
		}
		codes[h.Code] = true
		keys := []string{"problem." + h.Code}
		if h.Hint != "" {
			keys = append(keys, "hint."+h.Hint)
		}
		for _, key := range keys {
			for _, lang := range []i18n.Lang{i18n.Zh, i18n.En} {
				if text := lang.Text(key, h.Args); strings.ContainsAny(text, "{}⟨⟩") {
					t.Errorf("%s %s: %s", lang, key, text)
				}
			}
		}
	}
	if want := 36; len(codes) != want {
		t.Errorf("%d mistakes were provoked, want %d: %v", len(codes), want, fmt.Sprint(codes))
	}
}
