package config

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"davy/agent/i18n"
	"davy/rules"
	"davy/test/scale"
)

// Whatever stands in the files: no panic, problems within their file, a plan
// only without an error, and one that the engine takes.
func FuzzCompile(f *testing.F) {
	for _, dir := range []string{"example", "twelve"} {
		site, err := os.ReadFile(filepath.Join("testdata", dir, SiteFile))
		if err != nil {
			f.Fatal(err)
		}
		rules, err := os.ReadFile(filepath.Join("testdata", dir, RulesFile))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(site, rules)
	}
	f.Add([]byte(linkSite), []byte{})
	f.Add([]byte(smallSite+valuesSite), []byte("alarms: {a: {watch: d.d, is: {at: run, priority: low, text: x}}}"))
	f.Add([]byte(smallSite), []byte("a: {b: [1, 2}\n\t- x: “y”\n? {}: ："))
	f.Add([]byte("\xff\xfe\x00"), []byte("a: &b [*b, *b]\n<<: *b\n--- !x\n%TAG"))
	f.Add([]byte("a: |\n  x\n b: >= 5 #x\n"), []byte(`tests: [{name: a, story: [{at: 0s, set: {a.b: ramp to 1e308 by 99999d}}]}]`))
	f.Fuzz(func(t *testing.T, site, ruleText []byte) {
		b := bundleOf(string(site), string(ruleText))
		plan, problems := Compile(b, testSet())
		if (plan != nil) != problems.OK() {
			t.Fatalf("plan %v with problems %v", plan != nil, codes(problems))
		}
		for _, p := range problems {
			data, ok := b.File(p.Place.File)
			if p.Place.Line < 0 || p.Place.Col < 0 || ok && p.Place.Line > len(splitLines(data)) || p.Width < 1 {
				t.Fatalf("%s is outside its file", p.Place)
			}
			for _, l := range []i18n.Lang{i18n.Zh, i18n.En} {
				if s := p.Text(l) + p.Remedy(l); strings.Contains(s, "⟨problem") || strings.Contains(s, "⟨hint") {
					t.Fatalf("no words: %s", s)
				}
			}
		}
		var out bytes.Buffer
		if err := problems.Write(&out, i18n.Zh, b); err != nil {
			t.Fatal(err)
		}
		if plan != nil {
			if _, err := rules.New(plan.Rules); err != nil {
				t.Fatalf("the engine refuses a plan: %v", err)
			}
			if err := plan.Report().Write(&out, i18n.En); err != nil {
				t.Fatal(err)
			}
		}
		again, err := DecodeBundle(b.Encode())
		if err != nil || again.Hash() != b.Hash() {
			t.Fatalf("bundle does not come back: %v", err)
		}
		Diff(b, bundleOf(smallSite, ""))
	})
}

func FuzzDecodeBundle(f *testing.F) {
	f.Add(bundleOf(smallSite, "x").Encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		if b, err := DecodeBundle(data); err == nil && !bytes.Equal(b.Encode(), data) {
			t.Fatal("a bundle that is not canonical")
		}
	})
}

// hostileTime is far above what a machine needs for one of these files (the
// slowest, whole, takes some four seconds), and far below what anything
// quadratic would.
const hostileTime = 60 * time.Second

// Files made to be slow: an eighth of the biggest there may be; a scale of 8
// takes them whole.
func TestHostileFilesTakeBoundedTime(t *testing.T) {
	size := min(scale.Of(MaxFile/8), MaxFile-200)
	repeat := func(format string, n int) string {
		var b strings.Builder
		for i := 0; b.Len() < size && i < n; i++ {
			if strings.Contains(format, "%") {
				fmt.Fprintf(&b, format, i)
			} else {
				b.WriteString(format)
			}
		}
		return b.String()
	}
	const many = 1 << 20
	devices := "links: {plc: {modbus-tcp: 10.0.0.1}}\ndevices:\n"
	for name, x := range map[string][2]string{
		"brackets":      {repeat("[", many), ""},
		"more brackets": {repeat("[\n", many), ""},
		"more braces":   {repeat("{a:\n", many), ""},
		"braces":        {"a: " + repeat("{a: ", many), ""},
		"dashes":        {repeat("- ", many), ""},
		"indents":       {repeat("a:\n ", many), ""},
		"errors":        {repeat("a: b: c\n", many), ""},
		"tabs":          {repeat("\ta: 1\n", many), ""},
		"wide":          {repeat("a：1\n", many), ""},
		"keys":          {repeat("k%d: 1\n", many), ""},
		"same keys":     {repeat("k: 1\n", many), ""},
		"comments":      {"a: 1\n" + repeat("# x\n", many), ""},
		"anchors":       {repeat("a%d: &a *a\n", many), ""},
		"flow":          {"a: {" + repeat("a%d: 1, ", many) + "}", ""},
		"quotes":        {repeat("a%d: \"\n", many), ""},
		"one line":      {"a: " + repeat("x ", many), ""},
		"commas":        {"a: [" + repeat("，", many), ""},
		"links":         {smallSite + "links:\n" + repeat("  l%d: {modbus-tcp: 10.0.0.1}\n", many), ""},
		"devices":       {smallSite + devices + repeat("  d%d: {link: plx, station: 1}\n", many), ""},
		"outputs":       {smallSite + devices + repeat("  d%d: {link: plc, station: 1}\n", 2000) + "outputs:\n" + repeat("  o%d: {drives: x coil 0, idle: off}\n", many), ""},
		"tags":          {smallSite + devices + "  d:\n    link: plc\n    station: 1\n    tags:\n" + repeat("      t%d: {at: coil 0}\n", many), "alarms:\n" + repeat("  a%d: {watch: d.x, high: {at: 1}}\n", many)},
		"expectations":  {smallSite, "tests:\n- name: x\n  story:\n" + repeat("  - {at: %ds, expect: {NH3: armed}}\n", many)},
		"values":        {smallSite + "journal: {size: " + repeat("1 ", many) + "}", ""},
	} {
		begin := time.Now()
		b := bundleOf(x[0], x[1])
		_, problems := Compile(b, testSet())
		var out bytes.Buffer
		if err := problems.Write(&out, i18n.En, b); err != nil {
			t.Fatal(err)
		}
		took := time.Since(begin)
		if took > hostileTime {
			t.Errorf("%s took %v", name, took)
		}
		t.Logf("%-13s %8d bytes %6d problems %v", name, len(x[0])+len(x[1]), len(problems), took.Round(time.Millisecond))
		if len(problems) == 0 && name != "links" { // fewer than MaxLinks are a site
			t.Errorf("%s: no problem", name)
		}
	}
}
