package config

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"davy/agent/i18n"
)

// One site with twelve different mistakes: twelve codes, each at its place,
// none hidden by another and nothing said beside them.
func TestTwelveMistakes(t *testing.T) {
	b, plan, problems := readDir(t, "twelve")
	if plan != nil {
		t.Error("a plan was made")
	}
	want := []string{
		"yaml-hash site.yaml:5:14",
		"yaml-unexpected-colon site.yaml:7:12",
		"unknown-field site.yaml:14:22",
		"yaml-full-width site.yaml:15:42",
		"address.ambiguous site.yaml:22:13",
		"yaml-needs-quotes site.yaml:25:66",
		"not-in-may-write site.yaml:33:24",
		"unit-differs rules.yaml:4:87",
		"limit-outside-range rules.yaml:7:16",
		"unknown-profile rules.yaml:10:14",
		"vote-count rules.yaml:15:16",
		"output-unknown-state rules.yaml:21:17",
	}
	if got := codes(problems); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, lang := range []i18n.Lang{i18n.Zh, i18n.En} {
		var out bytes.Buffer
		if err := problems.Write(&out, lang, b); err != nil {
			t.Fatal(err)
		}
		golden(t, "twelve/golden."+string(lang)+".txt", out.String())
	}
}

// Each mistake alone is found at the same place as among the others.
func TestTwelveOneByOne(t *testing.T) {
	b, _, all := readDir(t, "twelve")
	repaired := map[string]string{
		"yaml-hash": "name: 江阴冷库 #3→name: 江阴冷库", "yaml-unexpected-colon": "    outputs: armed→  outputs: armed",
		"unknown-field": "statoin→station", "yaml-full-width": "：→: ", "address.ambiguous": "holding 40011→ref 40011",
		"yaml-needs-quotes": "unit: %→unit: '%'", "not-in-may-write": "[coil 0]→[coil 0, coil 1]", "unit-differs": "1.3 MPa→130 °C",
		"limit-outside-range": "120 %→90 %", "unknown-profile": "profile: gb50493/NH3→high: {at: 28 ppm, priority: low, text: x}",
		"vote-count": "2 of 4→2 of 3", "output-unknown-state": "davy_dead: stays}→davy_dead: stays, link_lost: stays}",
	}
	if len(repaired) != len(all) {
		t.Fatalf("%d repairs for %d mistakes", len(repaired), len(all))
	}
	for _, alone := range all {
		c := &Bundle{}
		for _, f := range b.Files {
			text := string(f.Data)
			for code, r := range repaired {
				if from, to, _ := strings.Cut(r, "→"); code != alone.Code {
					text = strings.ReplaceAll(text, from, to)
				}
			}
			c.Put(f.Name, []byte(text))
		}
		_, p := Compile(c, testSet())
		p = slices.DeleteFunc(p, func(x Problem) bool { return x.Warn })
		if len(p) != 1 || p[0].Code != alone.Code || p[0].Place.Line != alone.Place.Line {
			t.Errorf("%s alone: got %v", alone.Code, codes(p))
		}
	}
}
