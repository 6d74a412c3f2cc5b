package arch

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/house.want anew")

// The repository breaks no rule.
func TestHouse(t *testing.T) {
	tree, err := Read("../..")
	if err != nil {
		t.Fatal(err)
	}
	if len(tree.Go) == 0 {
		t.Fatal("no Go file was read")
	}
	for _, f := range Check(tree) {
		t.Error(f)
	}
	for _, p := range Absent(tree) {
		t.Errorf("imports test/arch/table.go: there is no package %s", p)
	}
}

// Each rule reports what the fixture breaks, and nothing else in it.
func TestFixture(t *testing.T) {
	tree, err := Read("testdata/house")
	if err != nil {
		t.Fatal(err)
	}
	found := Check(tree)
	var got strings.Builder
	for _, f := range found {
		got.WriteString(f.String() + "\n")
	}
	const file = "testdata/house.want"
	if *update {
		if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.SplitAfter(string(raw), "\n")
	have := strings.SplitAfter(got.String(), "\n")
	for _, line := range want {
		if !slices.Contains(have, line) {
			t.Errorf("not reported: %s", line)
		}
	}
	for _, line := range have {
		if !slices.Contains(want, line) {
			t.Errorf("reported without reason: %s", line)
		}
	}
	for _, r := range Rules {
		if !slices.ContainsFunc(found, func(f Finding) bool { return f.Rule == r.Name }) {
			t.Errorf("the fixture does not break the rule %s", r.Name)
		}
	}
	if !slices.Contains(Absent(tree), "agent/ring") {
		t.Error("a line of the table without a package is not reported")
	}
}

// The wall stands where the architecture draws it.
func TestSides(t *testing.T) {
	f := func(side Side, paths string) {
		t.Helper()
		for p := range strings.FieldsSeq(paths) {
			if house[p].Side != side {
				t.Errorf("%s is on side %d, want %d", p, house[p].Side, side)
			}
		}
	}
	f(Decider, "agent agent/scan agent/control agent/output agent/latch agent/operate")
	f(Bridge, "agent/ring")
	f(Keeper, "agent/record agent/journal agent/evidence agent/wire agent/uplink agent/keep")
}
