package config

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"davy/drivers"
	"davy/drivers/gpio"
	"davy/drivers/modbus"
	"davy/drivers/opcua"
)

var update = flag.Bool("update", false, "write the golden files")

// testSet is every protocol that a site may use; tcpOnly is a binary that speaks
// one of them.
func testSet() drivers.Set {
	return drivers.Set{
		"modbus-tcp": modbus.TCP{}, "modbus-rtu": modbus.RTU{}, "modbus-ascii": modbus.ASCII{}, "opcua": opcua.Driver{}, "gpio": gpio.New(),
	}
}

func tcpOnly() drivers.Set { return drivers.Set{"modbus-tcp": modbus.TCP{}} }

// templates is what a site of testdata may borrow: templates of its own, and
// the profiles that davy has.
func templates() fs.FS { return library{} }

type library struct{}

func (library) Open(name string) (fs.File, error) {
	if strings.HasPrefix(name, profileDir+"/") {
		return os.DirFS("../../firmware-configs").Open(name)
	}
	return os.DirFS("testdata/templates").Open(name)
}

// putProfiles adds files of profiles as ReadSite would.
func putProfiles(b *Bundle, names ...string) *Bundle {
	for _, name := range names {
		data, err := fs.ReadFile(templates(), profilePath(name))
		if err != nil {
			panic(err)
		}
		b.Put(profilePath(name), data)
	}
	return b
}

// readDir reads a site of testdata and compiles it.
func readDir(t *testing.T, dir string) (*Bundle, *Plan, Problems) {
	t.Helper()
	b, p := ReadSite(os.DirFS(filepath.Join("testdata", dir)), ".", templates())
	if b == nil {
		t.Fatalf("%s: no bundle: %v", dir, codes(p))
	}
	plan, q := Compile(b, testSet())
	return b, plan, p.Join(q)
}

// codes lists problems as "code file:line:col", in their order.
func codes(p Problems) []string {
	var out []string
	for _, x := range p {
		s := x.Code + " " + x.Place.String()
		if x.Warn {
			s = "warning " + s
		}
		out = append(out, s)
	}
	return out
}

func bundleOf(site, rules string) *Bundle {
	b := &Bundle{}
	b.Put(SiteFile, []byte(site))
	if rules != "" {
		b.Put(RulesFile, []byte(rules))
	}
	data, err := os.ReadFile("testdata/templates/davy/bench-nh3.yaml")
	if err != nil {
		panic(err)
	}
	b.Put(templatePath("davy/bench-nh3"), data)
	return b
}

// golden compares got with a golden file.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs:\n%s", name, firstDifference(got, string(want)))
	}
}

func firstDifference(got, want string) string {
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range max(len(a), len(b)) {
		x, y := "(end)", "(end)"
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if x != y {
			return fmt.Sprintf("line %d\n got %q\nwant %q", i+1, x, y)
		}
	}
	return ""
}

// marked returns the codes of problems, sorted, a warning's with its mark, and
// whether one of them is at the place; there may be none.
func marked(problems Problems, at Place) (codes []string, found bool) {
	found = at.Line == 0
	for _, p := range problems {
		code := p.Code
		if p.Warn {
			code = "warning-" + code
		}
		codes = append(codes, code)
		found = found || p.Place == at
	}
	slices.Sort(codes)
	return codes, found
}
