package exprbench

import (
	"strings"
	"testing"

	"davy/drivers/tag"
)

// Both sides say the same of every image; times are not judged here.
func TestFigures(t *testing.T) {
	b, err := newBench()
	if err != nil {
		t.Fatal(err)
	}
	for i, image := range b.images {
		v, q := b.program.Eval(b.state, image, tag.Stamp{})
		if w, p := b.closure(image); v != w || q != p {
			t.Errorf("image %d: %v %#x, the reference %v %#x", i, v, uint32(q), w, uint32(p))
		}
	}
	for name, run := range map[string]func() (float64, error){"ours": b.ours, "reference": b.reference} {
		if seconds, err := run(); err != nil || seconds <= 0 {
			t.Errorf("%s: %v s, %v", name, seconds, err)
		}
	}
	var w strings.Builder
	if !b.allocs(&w) || w.String() != "BENCH expr.allocs_per_eval 0 allocs 0\n" {
		t.Error(w.String())
	}
}
