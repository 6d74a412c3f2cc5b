// Package exprbench takes the figures of package rules/expr: what judging one
// condition costs against the same written by hand in Go, and what it allocates.
//
// Both sides judge Source over the same images in turn, in which every tag is
// looked at and the outcome changes; quality is good in most, uncertain or bad
// in some.
//
// Imports: drivers/tag, rules/expr, test/bench/figure, test/floor/exprclosure.
package exprbench

import (
	"fmt"
	"io"
	"testing"
	"time"

	"davy/drivers/tag"
	"davy/rules/expr"
	"davy/test/bench/figure"
	"davy/test/floor/exprclosure"
)

// Source is what is judged.
const Source = "a > 25 && (b < 10 || c) && abs(d - e) > 3"

// What is run, and what must hold.
const (
	evals     = 800_000 // of one run, some 20 ms
	mostTimes = 4.0
	mostAlloc = 0.0
)

// Run prints the figures and reports whether they hold.
func Run(w io.Writer) (ok bool) {
	b, err := newBench()
	if err != nil {
		return figure.Failed(w, "expr.eval_vs_closure", err)
	}
	ok = figure.Ratio(w, "expr.eval_vs_closure", mostTimes, b.ours, b.reference)
	return b.allocs(w) && ok
}

func (b *bench) allocs(w io.Writer) bool {
	n := 0
	allocs := testing.AllocsPerRun(1000, func() {
		n++
		b.program.Eval(b.state, b.images[n%len(b.images)], tag.Stamp{Mono: int64(n)})
	})
	return figure.Print(w, "expr.allocs_per_eval", allocs, "allocs", mostAlloc)
}

type bench struct {
	program *expr.Program
	state   *expr.State
	closure func([]tag.Reading) (tag.Value, tag.Quality)
	images  [8][]tag.Reading
}

func newBench() (*bench, error) {
	ids := map[string]tag.ID{"a": exprclosure.A, "b": exprclosure.B, "c": exprclosure.C, "d": exprclosure.D, "e": exprclosure.E}
	env := &expr.Env{Tag: func(name string) (expr.Tag, bool) {
		id, ok := ids[name]
		kind := expr.Number
		if name == "c" {
			kind = expr.Bool
		}
		return expr.Tag{ID: id, Kind: kind}, ok
	}}
	program, problems := expr.Compile(Source, env)
	if len(problems) > 0 {
		return nil, fmt.Errorf("compile %s: %v", Source, problems)
	}
	b := &bench{program: program, state: program.NewState(), closure: exprclosure.New()}
	for k := range b.images {
		image := make([]tag.Reading, exprclosure.Size)
		put := func(id tag.ID, v float64, q tag.Quality) {
			x, _ := tag.Float64Value(v)
			image[id] = tag.Reading{Tag: id, Value: x, Quality: q}
		}
		good, other := tag.GoodQuality, tag.GoodQuality
		switch k {
		case 3:
			other = tag.MakeQuality(tag.Uncertain, tag.NotAccurate, 0)
		case 7:
			other = tag.BadNoComm
		}
		put(exprclosure.A, 26+float64(k), good)
		put(exprclosure.B, 11, other)
		put(exprclosure.D, 10+float64(k%2), good)
		put(exprclosure.E, 7, good)
		image[exprclosure.C] = tag.Reading{Tag: exprclosure.C, Value: tag.BoolValue(true), Quality: good}
		b.images[k] = image
	}
	return b, nil
}

// ours returns the seconds that judging by an expression takes.
func (b *bench) ours() (float64, error) {
	start, trues := time.Now(), 0
	for n := range evals {
		if v, _ := b.program.Eval(b.state, b.images[n%len(b.images)], tag.Stamp{Mono: int64(n)}); v.True() {
			trues++
		}
	}
	return judged(start, trues)
}

// reference returns the same of the closure.
func (b *bench) reference() (float64, error) {
	start, trues := time.Now(), 0
	for n := range evals {
		if v, _ := b.closure(b.images[n%len(b.images)]); v.True() {
			trues++
		}
	}
	return judged(start, trues)
}

func judged(start time.Time, trues int) (float64, error) {
	took := time.Since(start).Seconds() / evals
	if trues != evals/2 {
		return 0, fmt.Errorf("true %d times of %d, not half", trues, evals)
	}
	return took, nil
}
