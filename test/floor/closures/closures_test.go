package closures

import "testing"

func TestStep(t *testing.T) {
	r := Limits(3, 100)
	for _, c := range []struct {
		slots []float64
		want  int
	}{
		{[]float64{1, 2, 99.9}, 0},
		{[]float64{100, 2, 200}, 2},
		{[]float64{100, 2, 200}, 0},
		{[]float64{1, 100, 200}, 2},
	} {
		if got := r.Step(c.slots); got != c.want {
			t.Errorf("%v: %d changed, want %d", c.slots, got, c.want)
		}
	}
}
