package figure

import (
	"errors"
	"math"
	"strings"
	"testing"
)

func TestPrint(t *testing.T) {
	f := func(value float64, limit []float64, want string, holds bool) {
		t.Helper()
		var w strings.Builder
		if got := Print(&w, "a.b", value, "MB", limit...); got != holds || w.String() != want {
			t.Errorf("Print(%v, %v) = %v %q, want %v %q", value, limit, got, w.String(), holds, want)
		}
	}
	f(12.6486, nil, "BENCH a.b 12.65 MB\n", true)
	f(12.6486, []float64{14}, "BENCH a.b 12.65 MB 14\n", true)
	f(14, []float64{14}, "BENCH a.b 14 MB 14\n", true)
	f(14.01, []float64{14}, "BENCH a.b 14.01 MB 14\n  a.b: the limit is passed\n", false)
	f(0, []float64{0}, "BENCH a.b 0 MB 0\n", true)
	f(1, []float64{0}, "BENCH a.b 1 MB 0\n  a.b: the limit is passed\n", false)
	f(123456, nil, "BENCH a.b 123456 MB\n", true)
	f(math.NaN(), []float64{1}, "BENCH a.b NaN MB 1\n  a.b: the limit is passed\n", false)
}

// runs returns values one after the other, and the last one for ever.
func runs(v ...float64) func() (float64, error) {
	return func() (float64, error) {
		one := v[0]
		if len(v) > 1 {
			v = v[1:]
		}
		return one, nil
	}
}

func TestCompare(t *testing.T) {
	c, err := Compare(runs(900, 3), runs(1)) // the first run is dropped
	if err != nil || c.Median != 3 || c.High != 3 || c.Control != 1 || c.Noisy || c.Pairs != Pairs || c.Tried != 1 {
		t.Errorf("quiet machine: %+v, %v", c, err)
	}

	// A machine that is busy in the first try and quiet in the second.
	n := 0
	c, err = Compare(runs(2), func() (float64, error) {
		n++
		if n <= 2*(Pairs+1) && n%2 == 0 {
			return 1.2, nil
		}
		return 1, nil
	})
	if err != nil || c.Noisy || c.Tried != 2 || c.Median != 2 {
		t.Errorf("busy at first: %+v, %v", c, err)
	}

	boom := errors.New("boom")
	if _, err := Compare(runs(1), func() (float64, error) { return 1, boom }); !errors.Is(err, boom) {
		t.Errorf("a run that fails: %v", err)
	}
	if _, err := Compare(runs(1), runs(0)); err == nil {
		t.Error("a reference of nothing was compared with")
	}
}

func TestRatio(t *testing.T) {
	f := func(ours, reference func() (float64, error), holds bool, line string) {
		t.Helper()
		var w strings.Builder
		got := Ratio(&w, "a.b", 2, ours, reference)
		first, _, _ := strings.Cut(w.String(), "\n")
		if got != holds || first != line {
			t.Errorf("Ratio = %v %q, want %v %q", got, first, holds, line)
		}
	}
	f(runs(1.5), runs(1), true, "BENCH a.b 1.5 x 2")
	f(runs(2.5), runs(1), false, "BENCH a.b 2.5 x 2")
	growing := 1.0
	f(runs(2.5), func() (float64, error) { growing *= 1.5; return growing, nil }, true, "BENCH a.b noisy x 2")
	f(runs(1), func() (float64, error) { return 0, errors.New("no socket") }, false, "  a.b: could not be taken: no socket")
}

func TestMiddleAndTail(t *testing.T) {
	v := []float64{5, 1, 4, 2, 3}
	if got := Median(v); got != 3 {
		t.Errorf("median = %v", got)
	}
	if got := Median(v[:4]); got != 3 {
		t.Errorf("median of four = %v", got)
	}
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(100 - i)
	}
	if got := Quantile(hundred, 0.99); got != 99 {
		t.Errorf("p99 of 1..100 = %v", got)
	}
	if got := Quantile(v, 1); got != 5 {
		t.Errorf("p100 = %v", got)
	}
	if !math.IsNaN(Median(nil)) || !math.IsNaN(Quantile(nil, 0.5)) {
		t.Error("the middle of nothing is a number")
	}
}

func TestMachineNamesDisk(t *testing.T) {
	m := Machine(t.TempDir())
	if !strings.Contains(m, " on ") || !strings.Contains(m, "processor: ") {
		t.Errorf("Machine = %q", m)
	}
}
