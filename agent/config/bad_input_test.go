package config

import (
	"slices"
	"strings"
	"testing"

	"davy/agent/i18n"
)

// What could hurt is refused with its place, its reason and a remedy, in both
// languages: each by one edit of a good site.
func TestWhatCouldHurtIsRefused(t *testing.T) {
	for _, x := range []struct{ name, from, to, code string }{
		{"circular computed tags", "interlocks:", "computed:\n  «x: {value: 'y + 1 ppm'}\n  y: {value: 'x + d.a'}\ninterlocks:", "computed-circle"},
		{"a computed tag of itself", "interlocks:", "computed:\n  x: {value: '«x + d.a'}\ninterlocks:", "computed-circle"},
		{"a vote over fewer inputs than M", "1 of 2", "«3 of 2", "vote-impossible"},
		{"a vote over fewer inputs than it says", "1 of 2", "«2 of 3", "vote-count"},
		{"an interlock limit outside the range", "d.a >= 60 ppm", "d.a >= «160 ppm", "limit-outside-range"},
		{"a permissive outside the range", "d.t >= 20 °C", "d.t >= «220 °C", "limit-outside-range"},
		{"an alarm limit outside the range", "interlocks:", "alarms:\n  x: {watch: d.a, high: {at: «120 ppm, priority: low, text: {zh: 高, en: High}}}\ninterlocks:", "limit-outside-range"},
		{"a limit outside the range in another unit", "d.a >= 60 ppm", "d.a >= «90 mg/m³", "limit-outside-range"},
		{"two outputs on one coil", "interlocks:", "outputs:\n  horn: {drives: d «coil 9, idle: run, protective: stop, davy_dead: stays, link_lost: stays}\ninterlocks:", "written-twice"},
		{"one output demanded twice", "[demand: fan]", "[demand: fan, {demand: «fan, after: 5s}]", "demand-twice"},
		{"a bypass longer than allowed", "then:", "bypass: one channel, engineer, longest «96h\n    then:", "out-of-bounds"},
		{"a story that can never fail", "tests:", "tests:\n  - name: «{zh: 乙, en: B}\n    story:\n      - at: 1s\n        expect: {L: starting}", "story-never-fails"},
		{"a story that expects nothing", "tests:", "tests:\n  - name: «{zh: 乙, en: B}\n    story:\n      - at: 1s\n        set: {d.a: 1 ppm}", "story-without-expect"},
	} {
		text, at := edit(t, RulesFile, agreeRules, x.from, x.to)
		b := putProfiles(bundleOf(computedSite, text), gasFile)
		_, problems := Compile(b, testSet())
		i := slices.IndexFunc(problems, func(p Problem) bool { return p.Code == x.code })
		if i < 0 {
			t.Errorf("%s: %v, want %s", x.name, codes(problems), x.code)
			continue
		}
		p := problems[i]
		if p.Warn || p.Place.File != RulesFile || at.Line > 0 && p.Place.Line != at.Line {
			t.Errorf("%s: %+v, want line %d", x.name, p, at.Line)
		}
		for _, lang := range []i18n.Lang{i18n.Zh, i18n.En} {
			var w strings.Builder
			if err := problems[i:i+1].Write(&w, lang, b); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(w.String(), lang.Text("hint."+p.Hint, i18n.Args(p.Args))) || p.Hint == "" {
				t.Errorf("%s: no remedy: %s", x.name, w.String())
			}
		}
	}
}
