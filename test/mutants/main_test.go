package main

import (
	"strings"
	"testing"
)

// Each defect of the list can be put in: its text stands once in its file.
func TestListFits(t *testing.T) {
	t.Chdir("../..")
	dir := t.TempDir()
	for i := range Mutants {
		if _, err := Mutants[i].write(dir); err != nil {
			t.Errorf("%s: %v", Mutants[i].Name, err)
		}
	}
	if len(Mutants) != 10 {
		t.Errorf("%d mutants, not 10", len(Mutants))
	}
}

// A mutant that no test notices must be told from one that is caught, and what
// is no mutant at all from both.
func TestRun(t *testing.T) {
	t.Chdir("../..")
	quick := []string{"./rules/unit"}
	comment := Mutant{"a comment", "rules/unit/unit.go", "// It owns nothing, keeps nothing", "// It owns nothing and keeps nothing"}
	for name, c := range map[string]struct {
		mutant Mutant
		want   string
	}{
		"lives":     {comment, "1 not caught"},
		"no text":   {Mutant{"gone", comment.File, "this text stands nowhere", ""}, "stands 0 times"},
		"no sense":  {Mutant{"nonsense", comment.File, "package unit\n", "package unit\n\nvar x int = \"\"\n"}, "does not compile"},
		"no defect": {Mutant{"caught", comment.File, "Air{Temperature: 20, Pressure: 101.325}", "Air{Temperature: 25, Pressure: 101.325}"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := run([]Mutant{c.mutant}, quick)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}
