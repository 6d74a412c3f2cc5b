package config

import (
	"io/fs"
	"math"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"pgregory.net/rapid"

	"davy/drivers/gpio"
	"davy/rules"
)

// shippedProfiles reads every file of firmware-configs/profiles.
func shippedProfiles(t *testing.T) (*compiler, map[string]*scheme) {
	t.Helper()
	dir := os.DirFS("../../firmware-configs/profiles")
	files, err := fs.Glob(dir, "*.yaml")
	if err != nil || len(files) < 2 {
		t.Fatalf("%v: %v", files, err)
	}
	b := &Bundle{}
	var names []string
	for _, file := range files {
		name := strings.TrimSuffix(file, path.Ext(file))
		putProfiles(b, name)
		if name != gasFile {
			names = append(names, name)
		}
	}
	if !slices.Equal(names, shipped) {
		t.Errorf("the files are %v, and what is proposed for a wrong name %v", names, shipped)
	}
	c := newCompiler(b, testSet())
	schemes := map[string]*scheme{}
	c.gases()
	for _, name := range names {
		schemes[name] = c.scheme(name)
	}
	for _, p := range c.problems {
		t.Errorf("%s %s %v", p.Place, p.Code, p.Args)
	}
	if len(c.problems) > 0 {
		t.FailNow()
	}
	return c, schemes
}

// Every file reads without a word; every text stands in both languages; every
// source is one of some number. That every number has a source and a mark the
// reader itself holds (TestProfileForm).
func TestProfileFiles(t *testing.T) {
	c, schemes := shippedProfiles(t)
	text := func(what string, x rules.Text) {
		t.Helper()
		han := strings.ContainsFunc(x.Zh, func(r rune) bool { return unicode.Is(unicode.Han, r) })
		if !han || x.En == "" || strings.ContainsFunc(x.En, func(r rune) bool { return unicode.Is(unicode.Han, r) }) {
			t.Errorf("%s: %q, %q", what, x.Zh, x.En)
		}
	}
	for name, g := range c.gases() {
		text(name, g.text)
		if len(g.lels) > 1 && slices.ContainsFunc(g.lels[1:], func(x lel) bool { return x.at.v == g.lels[0].at.v }) {
			t.Errorf("%s has one explosion limit under two names", name)
		}
	}
	n := 0
	for name, s := range schemes {
		text(name, s.title)
		for _, x := range s.caveats {
			text(name, x)
		}
		if len(s.caveats) == 0 {
			t.Errorf("%s says nothing of what is not confirmed", name)
		}
		used := map[string]bool{}
		count := func(x *sourced) {
			if x == nil {
				return
			}
			n++
			for _, k := range x.sources {
				used[k] = true
			}
		}
		for _, p := range s.profiles {
			text(p.full(), p.text)
			if p.confirm != (rules.Text{}) {
				text(p.full(), p.confirm)
			}
			for _, l := range p.levels {
				text(p.full(), l.text)
				count(l.at)
				count(l.ofIDLH)
			}
			for _, x := range []*sourced{p.idlh, p.deadband, p.raiseAfter, p.clearAfter, p.mac, p.twa, p.stel} {
				count(x)
			}
		}
		for k := range s.sources {
			if !used[k] {
				t.Errorf("%s: nothing is from %s", name, k)
			}
		}
	}
	if n < 150 {
		t.Errorf("only %d numbers", n)
	}
}

// gb50493Table is the table of the field notes: level 1 and 2 in mg/m³ as
// printed, and in ppm at 20 °C and 101.3 kPa as reckoned there.
var gb50493Table = []struct {
	gas             string
	low, high       float64
	lowPPM, highPPM string
}{
	{"nh3", 20, 40, "28.3", "56.5"},
	{"h2s", 10, 20, "7.1", "14.1"},
	{"co", 20, 40, "17.2", "34.4"},
	{"cl2", 1, 2, "0.34", "0.68"},
	{"so2", 5, 10, "1.88", "3.76"},
	{"no2", 5, 10, "2.6", "5.2"},
	{"no", 5, 10, "4.0", "8.0"},
	{"hcl", 7.5, 15, "4.9", "9.9"},
	{"hf", 2, 4, "2.4", "4.8"},
	{"hcn", 1, 2, "0.89", "1.8"},
	{"cocl2", 0.5, 1, "0.12", "0.24"},
	{"benzene", 6, 12, "1.85", "3.7"},
	{"toluene", 50, 100, "13", "26"},
	{"xylene", 50, 100, "11", "23"},
	{"methanol", 25, 50, "18.8", "37.5"},
	{"co2", 9000, 18000, "4919", "9838"},
	{"eo", 0.6, 1.2, "0.33", "0.66"},
	{"vcm", 10, 20, "3.8", "7.7"},
	{"acrylonitrile", 1, 2, "0.45", "0.9"},
	{"phenol", 10, 20, "", ""},
	{"o3", 0.3, 0.6, "0.15", "0.30"},
	{"h2o2", 1.5, 3, "", ""},
	{"br2", 0.3, 0.6, "", ""},
}

// The levels are those of the table, and no others; in ppm they are its ppm.
func TestProfilesAgreeWithTheTable(t *testing.T) {
	_, schemes := shippedProfiles(t)
	s := schemes["gb50493"]
	if n := len(s.profiles); n != len(gb50493Table)+3 { // combustible, open-path, oxygen
		t.Errorf("%d profiles", n)
	}
	for _, x := range gb50493Table {
		p := s.profiles[x.gas]
		if p == nil {
			t.Errorf("no %s", x.gas)
			continue
		}
		for _, y := range []struct {
			kind string
			mass float64
			ppm  string
		}{{"high", x.low, x.lowPPM}, {"high-high", x.high, x.highPPM}} {
			at := p.level(y.kind).at
			if at.v != y.mass || at.unit != "mg/m³" || at.mark != "verified" {
				t.Errorf("%s %s: %+v", x.gas, y.kind, at)
			}
			v, air, err := rescale(at.v, at.unit, "ppm", p.gas.calibrated(), false)
			if err != nil || !air {
				t.Fatalf("%s: %v %v", x.gas, err, air)
			}
			if y.ppm == "" {
				continue
			}
			_, frac, _ := strings.Cut(y.ppm, ".")
			want, err := strconv.ParseFloat(y.ppm, 64)
			if err != nil {
				t.Fatal(err)
			}
			if math.Abs(v-want) > 0.51*math.Pow(10, -float64(len(frac))) {
				t.Errorf("%s %s: %g ppm, the table has %s", x.gas, y.kind, v, y.ppm)
			}
			if r := towardsSafety(v, rules.GE); r > v || r < 0.9*v {
				t.Errorf("%s %s: %g rounds to %g", x.gas, y.kind, v, r)
			}
		}
	}
}

// GB/T 50493 takes the MAC or the PC-TWA; GBZ/T 223 half and whole of the MAC or
// the PC-STEL. Where a row does otherwise it says that it must be confirmed.
func TestProfilesFollowTheLimitsOfExposure(t *testing.T) {
	_, schemes := shippedProfiles(t)
	compared := 0
	for name, e := range schemes["gbz21"].profiles {
		if len(e.levels) != 0 || e.mac == nil && e.twa == nil || e.mac != nil && (e.twa != nil || e.stel != nil) {
			t.Errorf("gbz21/%s: %+v", name, e)
		}
		if p := schemes["gb50493"].profiles[name]; p != nil {
			compared++
			oel := e.mac
			if oel == nil {
				oel = e.twa
			}
			if p.level("high").at.v != oel.v && p.confirm == (rules.Text{}) {
				t.Errorf("gb50493/%s: level 1 is %g, the limit of exposure %g", name, p.level("high").at.v, oel.v)
			}
			if p.level("high-high").at.v != 2*p.level("high").at.v {
				t.Errorf("gb50493/%s: level 2 is not twice level 1", name)
			}
		}
		ceiling := e.mac
		if ceiling == nil {
			ceiling = e.stel
		}
		p := schemes["gbzt223"].profiles[name]
		if (p == nil) != (ceiling == nil) {
			t.Errorf("gbzt223/%s: %v, ceiling %v", name, p, ceiling)
			continue
		}
		if p != nil && (p.level("high").at.v != ceiling.v/2 || p.level("high-high").at.v != ceiling.v || p.gas != e.gas) {
			t.Errorf("gbzt223/%s is not half and whole of %g", name, ceiling.v)
		}
	}
	if compared < 15 {
		t.Errorf("only %d compared", compared)
	}
	for name := range schemes["gbzt223"].profiles {
		if schemes["gbz21"].profiles[name] == nil {
			t.Errorf("gbzt223/%s is from nowhere", name)
		}
	}
}

// The ladder of the field notes, each step with its standard.
func TestAmmoniaLadder(t *testing.T) {
	_, schemes := shippedProfiles(t)
	for _, x := range []struct {
		profile, kind string
		want          float64
		unit          string
	}{
		{"iiar2", "high", 25, "ppm"},
		{"iiar2", "high-high", 150, "ppm"},
		{"gb50072", "high-high", 150, "ppm"},
		{"gb50072-cut-off", "high-high", 25, "%LEL"},
		{"gb28009", "high-high", 100, "ppm"},
		{"en378-small", "high", 157, "ppm"},
		{"en378", "high", 500, "ppm"},
		{"en378", "high-high", 30000, "ppm"},
		{"iso5149", "high", 200, "ppm"},
		{"iso5149", "high-high", 30000, "ppm"},
		{"ashrae15", "high", 1000, "ppm"},
		{"iiar2-vent", "high", 10000, "ppm"},
		{"iiar2-shutdown", "high-high", 40000, "ppm"},
	} {
		l := schemes["ammonia"].profiles[x.profile].level(x.kind)
		if l == nil || l.at.v != x.want || l.at.unit != x.unit || !l.noShelve {
			t.Errorf("%s %s: %+v", x.profile, x.kind, l)
		}
	}
	if v, air, err := rescale(25, "%LEL", "ppm", schemes["ammonia"].profiles["gb50072-cut-off"].gas.calibrated(), false); v != 37500 || air || err != nil {
		t.Errorf("25 %%LEL of ammonia are %g ppm, air %v, %v", v, air, err)
	}
	if l := schemes["gb50493"].profiles["oxygen"]; l.level("low").at.v != 19.5 || l.level("high").at.v != 23.5 || l.level("high-high") != nil {
		t.Errorf("oxygen: %+v", l)
	}
}

// NE 43 as a profile is NE 43 as the current inputs judge.
func TestCurrentBands(t *testing.T) {
	_, schemes := shippedProfiles(t)
	p := schemes["ne43"].profiles["current"]
	for kind, want := range map[string]int64{"low-low": int64(gpio.FailureLow), "low": int64(gpio.SignalLow), "high": int64(gpio.SignalHigh), "high-high": int64(gpio.FailureHigh)} {
		if at := p.level(kind).at; int64(math.Round(at.v*1e6)) != want || at.unit != "mA" {
			t.Errorf("%s: %s, the inputs have %d nA", kind, at.written(), want)
		}
	}
}

// weights are standard atomic weights.
var weights = map[string]float64{"H": 1.008, "C": 12.011, "N": 14.007, "O": 15.999, "F": 18.998, "P": 30.974, "S": 32.06, "Cl": 35.45, "Br": 79.904}

// A molar mass is the sum over the formula.
func TestMolarMasses(t *testing.T) {
	c, _ := shippedProfiles(t)
	atom := regexp.MustCompile(`([A-Z][a-z]?)(\d*)`)
	n := 0
	for name, g := range c.gases() {
		if g.molar == nil {
			if g.formula != "" {
				t.Errorf("%s has a formula and no mass", name)
			}
			continue
		}
		sum, rest := 0.0, g.formula
		for _, m := range atom.FindAllStringSubmatch(g.formula, -1) {
			count := 1
			if m[2] != "" {
				count, _ = strconv.Atoi(m[2])
			}
			if weights[m[1]] == 0 {
				t.Errorf("%s: no weight of %s", name, m[1])
			}
			sum += float64(count) * weights[m[1]]
			rest = strings.Replace(rest, m[0], "", 1)
		}
		if rest != "" || math.Abs(sum-g.molar.v) > 0.04 || g.molar.mark != "derived" {
			t.Errorf("%s: %s is %g, the file has %s", name, g.formula, sum, g.molar.written())
		}
		n++
	}
	if n < 30 {
		t.Errorf("only %d", n)
	}
}

func TestTowardsSafety(t *testing.T) {
	for _, x := range []struct {
		v    float64
		op   rules.Op
		want float64
	}{
		{28.25, rules.GE, 28},
		{56.5, rules.GE, 56},
		{0.339, rules.GE, 0.33},
		{0.33, rules.GE, 0.33},
		{0.99999999999, rules.GE, 1}, // but for the last bits
		{0.999, rules.GE, 0.99},
		{37500, rules.GE, 37000},
		{4919, rules.GE, 4900},
		{1e-7, rules.GE, 1e-7},
		{19.51, rules.LE, 20},
		{19.5, rules.LE, 20},
		{19, rules.LE, 19},
		{0.1951, rules.LE, 0.2},
		{-5.55, rules.GE, -5.6},
		{-5.55, rules.LE, -5.5},
		{0, rules.GE, 0},
	} {
		if got := towardsSafety(x.v, x.op); got != x.want {
			t.Errorf("%g: got %g, want %g", x.v, got, x.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.Float64Range(1e-9, 1e9).Draw(t, "v")
		down, up := towardsSafety(v, rules.GE), towardsSafety(v, rules.LE)
		tiny := 1e-9 * v
		if down > v+tiny || up < v-tiny || down < v*0.9 || up > v*1.1+tiny {
			t.Fatalf("%g: down %g, up %g", v, down, up)
		}
		if towardsSafety(down, rules.GE) != down || towardsSafety(up, rules.LE) != up {
			t.Fatalf("%g: what is rounded rounds again", v)
		}
	})
}
