package config

import (
	"reflect"
	"strings"
	"testing"

	"davy/rules"
)

const changesSite = smallSite + `links: {plc: {modbus-tcp: 10.0.0.1}}
devices:
  d:
    link: plc
    station: 1
    tags:
      MORE
      gas: {at: holding 1, unit: ppm, range: 0 to 100 ppm}
      two: {at: holding 2, unit: ppm}
      fan: {at: coil 3}
`

const changesRules = `alarms:
  one:
    watch: d.gas
    high: {at: 25 ppm, priority: high, text: {zh: 高, en: high}}
    deadband: 2 ppm
    raise_after: 1s
  two:
    watch: d.two
    high: {at: 10 ppm, priority: low, text: {zh: 高, en: high}}
`

// Every change of a limit, a delay or a whole rule is told with what stood and
// what stands, and nothing else is: not a new tag, by which all ids move, not a
// new text.
func TestChanges(t *testing.T) {
	compile := func(site, ruled string) *Plan {
		t.Helper()
		p, problems := Compile(bundleOf(site, ruled), testSet())
		if p == nil {
			t.Fatalf("%+v", problems)
		}
		return p
	}
	plain := strings.Replace(changesSite, "      MORE\n", "", 1)
	old := compile(plain, changesRules)
	f := func(what, site, ruled string, want ...Change) {
		t.Helper()
		if got := Changes(old, compile(site, ruled)); !reflect.DeepEqual(got, want) && len(got)+len(want) > 0 {
			t.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
		}
	}
	swap := func(from, to string) string {
		if !strings.Contains(changesRules, from) {
			t.Fatal(from)
		}
		return strings.Replace(changesRules, from, to, 1)
	}
	f("nothing", plain, changesRules)
	f("a tag more", strings.Replace(changesSite, "MORE", "aaa: {at: holding 9}", 1), changesRules, Change{Rule: "d.aaa", Part: RuleAdded})
	f("a text", plain, swap("en: high", "en: HIGH"))
	f("a limit", plain, swap("25 ppm", "28 ppm"), Change{"one.high", "limit", "d.gas ≥ 25 ppm", "d.gas ≥ 28 ppm"})
	f("a deadband and a delay", plain, swap("deadband: 2 ppm\n    raise_after: 1s", "deadband: 3 ppm\n    raise_after: 90s"),
		Change{"one.high", "deadband", "2 ppm", "3 ppm"}, Change{"one.high", "on-delay", "1s", "1m30s"})
	f("a delay less", plain, swap("    raise_after: 1s\n", ""), Change{"one.high", "on-delay", "1s", ""})
	f("a rule less", plain, changesRules[:strings.Index(changesRules, "  two:")], Change{Rule: "d.two.not-watched", Part: RuleRemoved},
		Change{Rule: "two.high", Part: RuleRemoved, Old: "d.two ≥ 10 ppm"})
	f("a rule more", plain, changesRules+"  three: {watch: d.fan, is: {at: on, priority: low, text: {zh: 开, en: on}}}\n",
		Change{Rule: "d.fan.not-watched", Part: RuleAdded}, Change{Rule: "three.is", Part: RuleAdded, New: "d.fan = true"})
	f("a range", strings.Replace(plain, "0 to 100", "0 to 200", 1), changesRules, Change{"d.gas", "range", "0 ppm .. 100 ppm", "0 ppm .. 200 ppm"})
}

// A tag may be called what an alarm's limit is called: a device and an alarm of
// one name, a tag high. The limit is told all the same.
func TestChangesOfOneName(t *testing.T) {
	site := strings.Replace(changesSite, "      MORE\n", "      high: {at: holding 9, unit: ppm, range: 0 to 5 ppm}\n", 1)
	ruled := "alarms:\n  d: {watch: d.gas, high: {at: 25 ppm, priority: high, text: {zh: 高, en: high}}}\n"
	plan := func(site, ruled string) *Plan {
		p, problems := Compile(bundleOf(site, ruled), testSet())
		if p == nil {
			t.Fatalf("%+v", problems)
		}
		return p
	}
	got := Changes(plan(site, ruled), plan(strings.Replace(site, "0 to 5 ppm", "0 to 6 ppm", 1), strings.Replace(ruled, "25", "28", 1)))
	want := []Change{{"d.high", "limit", "d.gas ≥ 25 ppm", "d.gas ≥ 28 ppm"}, {"d.high", "range", "0 ppm .. 5 ppm", "0 ppm .. 6 ppm"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
}

// Every field of a rule has a code of its own in records: the next one that is
// added fails here until it has.
func TestEveryPartHasACode(t *testing.T) {
	quiet := map[string]bool{"Cond": true, "Channels": true}
	var look func(reflect.Type)
	seen := map[reflect.Type]bool{}
	look = func(x reflect.Type) {
		for x.Kind() == reflect.Slice {
			x = x.Elem()
		}
		if x.Kind() != reflect.Struct || seen[x] || x == reflect.TypeFor[rules.Condition]() || x == reflect.TypeFor[rules.Text]() {
			return
		}
		seen[x] = true
		codes := map[string]string{}
		for i := range x.NumField() {
			f := x.Field(i)
			look(f.Type)
			if f.Name == "Name" || f.Type == reflect.TypeFor[rules.Text]() {
				continue
			}
			code, known := partCodes[f.Name]
			if !known || code == "" && !quiet[f.Name] || code != "" && codes[code] != "" {
				t.Errorf("%s.%s: code %q, as %q", x.Name(), f.Name, code, codes[code])
			}
			codes[code] = f.Name
		}
	}
	look(reflect.TypeFor[rules.Alarm]())
	look(reflect.TypeFor[rules.Interlock]())
	look(reflect.TypeFor[rules.Output]())
}
