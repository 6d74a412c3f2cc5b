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
	m, err := newMixed(5) // of the bench's fifty: all are alike
	if err != nil {
		t.Fatal(err)
	}
	for name, run := range map[string]func() (float64, error){"ours": m.run(100), "one": o.runOne(1000), "reference": m.runPlant(100)} {
		if seconds, err := run(); err != nil || seconds <= 0 {
			t.Errorf("%s: %v s, %v", name, seconds, err)
		}
	}
	for _, o := range []*ours{o, &m.ours} {
		for _, id := range o.in.Changed {
			if o.images[0][id].Value == o.images[1][id].Value {
				t.Errorf("tag %d does not change", id)
			}
		}
	}
	var w strings.Builder
	if !m.allocs(&w) || w.String() != "BENCH rules.allocs_per_step 0 allocs 0\n" {
		t.Error(w.String())
	}
}
