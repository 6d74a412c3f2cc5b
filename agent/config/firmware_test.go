package config

import (
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"

	"davy/rules/ruletest"
)

// Every device template of firmware-configs makes a plan without a word.
func TestTemplates(t *testing.T) {
	devices := os.DirFS("../../firmware-configs/devices")
	n := 0
	err := fs.WalkDir(devices, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".yaml") {
			return err
		}
		n++
		data, err := fs.ReadFile(devices, path)
		if err != nil {
			return err
		}
		name := strings.TrimSuffix(path, ".yaml")
		b := bundleOf(smallSite+fmt.Sprintf("links: {plc: {modbus-tcp: 10.0.0.1}}\ndevices: {d: {link: plc, station: 1, template: %s}}\n", name), "")
		b.Put(templatePath(name), data)
		if plan, problems := Compile(b, testSet()); plan == nil || len(problems) > 0 {
			t.Errorf("%s: %v", name, codes(problems))
		}
		return nil
	})
	if err != nil || n == 0 {
		t.Errorf("%d templates: %v", n, err)
	}
}

// The template that their README shows is one.
func TestTemplateOfTheReadme(t *testing.T) {
	text, err := os.ReadFile("../../firmware-configs/devices/README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```yaml\n")
	block, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("no template in the README")
	}
	b := bundleOf(smallSite+"links: {plc: {modbus-tcp: 10.0.0.1}}\ndevices: {d: {link: plc, station: 1, template: v/m, tags: {gas: {range: 0 to 100 ppm}}}}\n", "")
	b.Put(templatePath("v/m"), []byte(block))
	c := newCompiler(b, testSet())
	c.compile()
	if len(c.problems) > 0 || len(c.devices[0].vectors) != 1 || len(c.plan.Templates) != 1 || len(c.plan.Templates[0].Caveats) != 1 {
		t.Fatalf("%v", codes(c.problems))
	}
	if gas := c.plan.Tags[1]; gas.Unit != "ppm" || gas.High != 100 {
		t.Errorf("the site's range: %+v", gas)
	}
	readVector(t, c, c.devices[0].vectors[0])
}

// The map of the bench detector is agreed with davy-plant.
func TestBenchDetector(t *testing.T) {
	b, p := ReadSite(os.DirFS("testdata/bench-nh3"), ".", os.DirFS("../../firmware-configs/devices"))
	plan, q := Compile(b, testSet())
	if plan == nil {
		t.Fatalf("%v", codes(p.Join(q)))
	}
	gas, state := plan.Tags[1], plan.Tags[2]
	if gas.Name != "nh3-1.gas" || gas.Unit != "ppm" || gas.Low != 0 || gas.High != 1000 || state.Name != "nh3-1.state" || gas.T90 == 0 {
		t.Errorf("%+v %+v", gas, state)
	}
	at := map[string]string{}
	for _, s := range plan.Links[0].Scans {
		for _, p := range s.Request.Points() {
			at[string(p.Name)] = p.Address.String() + " " + p.Type.Order
		}
	}
	if at["nh3-1.gas"] != "holding 0 (ref 40001) ABCD" || !strings.HasPrefix(at["nh3-1.state"], "holding 2 (ref 40003)") {
		t.Errorf("addresses %v", at)
	}
}

// The stories of the example hold on the engine itself.
func TestExampleStories(t *testing.T) {
	_, plan, _ := readDir(t, "example")
	for _, s := range plan.Stories {
		r := ruletest.Run(plan.Rules, s, func(i int, protective bool) string {
			if protective {
				return plan.Outputs[i].ProtectiveName
			}
			return plan.Outputs[i].IdleName
		})
		if !r.OK() {
			t.Errorf("%s: %+v", s.Name.En, r.Failures)
		}
	}
}
