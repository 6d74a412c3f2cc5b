// Package figure takes figures and prints them, so that every bench of this
// house does both in the same way.
//
// A figure is one line, `BENCH name value unit [limit]`, and a limit is the
// largest value that holds. Counts are preferred to times. A time is never
// given by itself: Compare runs ours between two runs of a reference, at least
// Pairs times, and takes the median of the quotients; the two runs of the
// reference over each other are the control. Where the control's median is off
// by more than Drift the machine was busy with something else: the whole is
// run again, at most Tries times, and then reads `noisy` and is not judged.
//
// It owns nothing and looks at no clock: what a run returns (seconds, CPU
// seconds, allocations) is its own business, as long as less is better.
//
// Imports: nothing of ours.
package figure

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
)

// How a comparison is taken.
const (
	Pairs = 7    // interleaved, at least; one more goes first and is dropped
	Drift = 0.10 // of the control; above it the figure is noisy
	Tries = 3    // before a noisy figure is left unjudged
)

// Print prints one figure and reports whether it holds. Without a limit it does.
func Print(w io.Writer, name string, value float64, unit string, limit ...float64) bool {
	line := fmt.Sprintf("BENCH %s %s %s", name, number(value), unit)
	holds := true
	for _, l := range limit {
		line += " " + number(l)
		holds = value <= l // false for NaN too
	}
	fmt.Fprintln(w, line)
	if !holds {
		fmt.Fprintf(w, "  %s: the limit is passed\n", name)
	}
	return holds
}

// Failed prints why there is no figure. It returns false: what could not be
// taken does not hold.
func Failed(w io.Writer, name string, err error) bool {
	fmt.Fprintf(w, "  %s: could not be taken: %v\n", name, err)
	return false
}

// Ratio compares and prints the quotient, its spread and its control; it
// reports false when the limit is passed or a run failed.
func Ratio(w io.Writer, name string, limit float64, ours, reference func() (float64, error)) bool {
	c, err := Compare(ours, reference)
	if err != nil {
		return Failed(w, name, err)
	}
	holds := true
	if c.Noisy {
		fmt.Fprintf(w, "BENCH %s noisy x %s\n", name, number(limit))
	} else {
		holds = Print(w, name, c.Median, "x", limit)
	}
	fmt.Fprintf(w, "  %s: spread %s to %s, control %s, %d pairs, %d of at most %d tries\n",
		name, number(c.Low), number(c.High), number(c.Control), c.Pairs, c.Tried, Tries)
	return holds
}

// Comparison is ours over the reference.
type Comparison struct {
	Median, Low, High float64 // of the quotients of all pairs
	Control           float64 // median of the reference over itself; 1 on a quiet machine
	Pairs, Tried      int
	Noisy             bool
}

// Compare runs reference, ours, reference, …
func Compare(ours, reference func() (float64, error)) (Comparison, error) {
	var c Comparison
	for c.Tried = 1; ; c.Tried++ {
		if err := c.take(ours, reference); err != nil {
			return c, err
		}
		c.Noisy = math.Abs(c.Control-1) > Drift
		if !c.Noisy || c.Tried == Tries {
			return c, nil
		}
	}
}

func (c *Comparison) take(ours, reference func() (float64, error)) error {
	var quotients, controls []float64
	for i := range Pairs + 1 {
		before, err1 := reference()
		our, err2 := ours()
		after, err3 := reference()
		if err := cmp.Or(err1, err2, err3); err != nil {
			return err
		}
		if before <= 0 || after <= 0 {
			return fmt.Errorf("the reference measured %v and %v: too little to compare with", before, after)
		}
		if i == 0 {
			continue // the first is a start-up artefact
		}
		quotients = append(quotients, 2*our/(before+after))
		controls = append(controls, after/before)
	}
	c.Pairs = len(quotients)
	c.Median, c.Low, c.High = Median(quotients), slices.Min(quotients), slices.Max(quotients)
	c.Control = Median(controls)
	return nil
}

// Median returns the middle value; of an even count the mean of the two; NaN of none.
func Median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	switch n := len(v); {
	case n == 0:
		return math.NaN()
	case n%2 == 1:
		return v[n/2]
	default:
		return (v[n/2-1] + v[n/2]) / 2
	}
}

// Quantile returns the smallest value that is at least a share q of all
// (0.99: p99); NaN of none.
func Quantile(v []float64, q float64) float64 {
	v = slices.Sorted(slices.Values(v))
	if len(v) == 0 {
		return math.NaN()
	}
	i := int(math.Ceil(q*float64(len(v)))) - 1
	return v[min(max(i, 0), len(v)-1)]
}

// number writes four digits, and all of a whole number.
func number(v float64) string {
	if v == math.Trunc(v) || math.Abs(v) >= 1000 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}
