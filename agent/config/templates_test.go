package config

import (
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"davy/test/scale"
)

const someTemplate = `davy: 1
source: a manual
caveats: [{zh: 一, en: one}, two]
pause: 50ms
debounce: 5ms
state: {at: holding 2, 0: good, else: fault}
tags:
  gas: {at: holding 0, type: float32, range: 0 to 100 ppm}
  mode: {at: holding 3, states: {0: stop, 1: run}}
vectors:
  - words: {holding 0: 0x41C8 0x0000, holding 3: 1}
    expect: {gas: 25 ppm, mode: run}
`

// withTemplate is a site with one device of a template, and what the site says of it.
func withTemplate(template, more string) *Bundle {
	b := bundleOf(smallSite+"links: {plc: {modbus-tcp: 10.0.0.1}}\ndevices:\n  d: {link: plc, station: 1, template: v/m"+more+"}\n", "")
	b.Put(templatePath("v/m"), []byte(template))
	return b
}

// What a template says wrongly stands at its place in the template; a field of
// another protocol is passed over there.
func TestProblemsOfTemplates(t *testing.T) {
	if _, problems := Compile(withTemplate(someTemplate, ""), testSet()); len(problems) > 0 {
		t.Fatalf("%v", codes(problems))
	}
	for _, x := range []struct{ from, to, want string }{
		{"caveats: [{zh: 一, en: one}, two]", "caveats: «x", "not-a-list"},
		{"en: one}", "en: «''}", "text-empty"},
		{"pause: 50ms", "pause: «long", "modbus.device.pause"},
		{"pause: 50ms", "«pauses: 50ms", "unknown-field"},
		{"0: good", "0: «fine", "bad-word"},
		{"{holding 0: 0x41C8 0x0000,", "{«holdin 0: 0x41C8 0x0000,", "address.unknown"},
		{"0x41C8 0x0000", "«0x41C8 0x00G0", "bad-raw"},
		{"0x41C8 0x0000", "«0x141C80000", "bad-raw"},
		{"gas: 25 ppm", "«gass: 25 ppm", "unknown-tag"},
		{"gas: 25 ppm", "gas: 25 «%", "unit-differs"},
		{"gas: 25 ppm", "gas: «maintenance", "number-missing"},
		{"mode: run}", "mode: «runs}", "bad-word"},
		{"expect:", "«expects:", "unknown-field missing-field"},
		{"  - words", "  - «word", "unknown-field missing-field"},
		{"vectors:\n  - words", "vectors:\n    «words", "not-a-list"},
		{"davy: 1\n", "davy: 1\n«may_write: [coil 0]\n", "not-in-this-version"},
	} {
		text, at := edit(t, templatePath("v/m"), someTemplate, x.from, x.to)
		_, problems := Compile(withTemplate(text, ""), testSet())
		var got []string
		found := false
		for _, p := range problems {
			got = append(got, p.Code)
			found = found || p.Place == at
		}
		want := strings.Split(x.want, " ")
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) || !found {
			t.Errorf("%q → %q:\n got %v\nwant %v at %s", x.from, x.to, codes(problems), want, at)
		}
	}
}

// The site's own words on a tag of the template go before it, field by field.
func TestTagOfTemplateAndSite(t *testing.T) {
	plan, problems := Compile(withTemplate(someTemplate, ", tags: {gas: {range: 0 to 50 ppm, scan: 5s}, own: {at: holding 4}}"), testSet())
	if plan == nil || len(problems) > 0 {
		t.Fatalf("%v", codes(problems))
	}
	var names []string
	for _, x := range plan.Tags[1:] {
		if x.Link >= 0 {
			names = append(names, string(x.Name))
		}
	}
	gas := plan.Tags[1]
	if !slices.Equal(names, []string{"d.gas", "d.mode", "d.own"}) || gas.High != 50 || gas.Unit != "ppm" || spell(gas.Period) != "5s" || gas.Place.File != SiteFile {
		t.Errorf("%v: %+v", names, gas)
	}
	_, problems = Compile(withTemplate(someTemplate, ", tags: {gas: {rnage: 0 to 50 ppm}}"), testSet())
	if want := []string{"unknown-field site.yaml:5:58"}; !slices.Equal(codes(problems), want) {
		t.Errorf("%v", codes(problems))
	}
}

// Any few changes of a template give a plan or problems, never a panic.
func TestTemplateMutants(t *testing.T) {
	devices := os.DirFS("../../firmware-configs/devices")
	var texts []string
	err := fs.WalkDir(devices, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".yaml") {
			return err
		}
		data, err := fs.ReadFile(devices, path)
		texts = append(texts, string(data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	texts = append(texts, someTemplate)
	plans := 0
	n := scale.Of(600)
	for seed := range uint64(n) {
		r := rand.New(rand.NewPCG(seed, 2))
		plan, problems := compileOrTell(t, seed, withTemplate(mutant(r, texts[int(seed)%len(texts)]), ""))
		if plan == nil && problems.OK() {
			t.Fatalf("seed %d: no plan and no problem", seed)
		}
		if plan != nil {
			plans++
		}
	}
	if plans == 0 || plans == n {
		t.Errorf("%d of %d mutants compile: the test no longer tests both", plans, n)
	}
}
