package rulesbench

import (
	"strings"
	"testing"
)

// Both sides do what the figure says they do; times are not judged here.
func TestFigures(t *testing.T) {
	o, err := newOurs(Rules)
	if err != nil {
		t.Fatal(err)
	}
	for name, run := range map[string]func() (float64, error){"ours": o.run, "one": o.runOne, "reference": newReference()} {
		if seconds, err := run(); err != nil || seconds <= 0 {
			t.Errorf("%s: %v s, %v", name, seconds, err)
		}
	}
	for i := range o.images[0][1:] {
		if o.images[0][i+1].Value == o.images[1][i+1].Value {
			t.Errorf("tag %d does not change", i+1)
		}
	}
	var w strings.Builder
	if !o.allocs(&w) || w.String() != "BENCH rules.allocs_per_step 0 allocs 0\n" {
		t.Error(w.String())
	}
}
