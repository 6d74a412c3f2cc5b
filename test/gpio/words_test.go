package gpio

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"davy/agent/i18n"
	"davy/drivers"
	"davy/drivers/gpio"
)

// Every mistake that the two drivers name has words in both languages, with
// nothing left open in them, and every word of theirs is used.
func TestEveryMistakeHasWords(t *testing.T) {
	var found []error
	lines, converter := gpio.Driver{}, gpio.Analogue{}
	for _, s := range []string{"DI1", "line 65536", "line " + strings.Repeat("x", 32), "line DI1 low"} {
		_, err := lines.ParseAddress(s)
		found = append(found, err)
	}
	for _, s := range []string{"ain0", "channel 1-2", "channel 0 gain 3 V"} {
		_, err := converter.ParseAddress(s)
		found = append(found, err)
	}
	_, err := lines.ParseLink("", drivers.Fields{"mode": "fast"})
	found = append(found, joined(err)...)
	_, err = converter.ParseLink("", nil)
	found = append(found, err)
	_, err = lines.ParseDevice(drivers.Fields{"debounce": "5", "bias": "up"})
	found = append(found, joined(err)...)
	for _, f := range []drivers.Fields{
		{"shunt": "250 Ω", "gain": "5 V", "rate": "1", "function_check": "4 to 20 mA"}, {"shunt": "100 Ω", "gain": "2.048 V"},
	} {
		_, err = converter.ParseDevice(f)
		found = append(found, joined(err)...)
	}
	at := func(d drivers.Driver, s string) drivers.Address {
		a, err := d.ParseAddress(s)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	_, err = lines.ParseType(at(lines, "line DI1"), "int")
	found = append(found, err)
	_, err = converter.ParseType(at(converter, "channel 0"), "int")
	found = append(found, err)
	debounced, err := lines.ParseDevice(drivers.Fields{"debounce": "5ms"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = lines.Plan(drivers.Settings{}, []drivers.Point{
		{Name: "a", Address: at(lines, "line DI1"), State: &drivers.State{}, Gain: 2},
		{Name: "b", Address: at(lines, "line DI1"), Options: debounced},
		{Name: "c", Address: at(lines, "output DI1")},
		{Name: "d", Address: at(lines, "line DI2"), Write: true},
	})
	found = append(found, joined(err)...)
	loop, err := converter.ParseDevice(drivers.Fields{"shunt": "100 Ω"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = converter.Plan(drivers.Settings{}, []drivers.Point{
		{Name: "a", Address: at(converter, "channel 0"), Write: true},
		{Name: "b", Address: at(converter, "channel 0"), Options: loop, Ranged: true, Gain: 2},
		{Name: "c", Address: at(converter, "channel 0 gain 0.256 V"), Options: loop},
	})
	found = append(found, joined(err)...)

	used := map[string]bool{}
	for i, err := range found {
		var h *drivers.Hint
		if !errors.As(err, &h) {
			t.Errorf("mistake %d: %v holds no hint", i, err)
			continue
		}
		keys := []string{"problem." + h.Code}
		if h.Hint != "" {
			keys = append(keys, "hint."+h.Hint)
		}
		for _, key := range keys {
			used[key] = true
			for _, lang := range []i18n.Lang{i18n.En, i18n.Zh} {
				if text := lang.Text(key, h.Args); strings.ContainsAny(text, "{}⟨⟩") {
					t.Errorf("%s in %v: %q", key, lang, text)
				}
			}
		}
	}
	if want := 45; len(used) != want { // of each language, all of gpio.*.json
		t.Errorf("%d words used, want %d", len(used), want)
	}
}

// joined are the errors that one holds.
func joined(err error) []error {
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		return j.Unwrap()
	}
	return []error{fmt.Errorf("not joined: %w", err)}
}
