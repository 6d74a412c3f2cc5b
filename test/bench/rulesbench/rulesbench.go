// Package rulesbench takes the figures of package rules: what a step in which
// every input changed costs against hand-written closures, and what it allocates;
// and what a step in which one changed costs with many rules over few.
//
// The first is over Rules mixed rules: limits with their deadbands and delays,
// rates and deviations by computed tags, states, not-watched, groups, latches, a
// vote of one and one of two out of three. Both sides are given two images in turn,
// in which every value differs and none is over its limit; that both say the same
// of images that are, a test shows. Ours keeps the record of a minute as well, and
// knows what may be asked of it by a person. The second is of plain limits.
//
// Imports: rules, rules/expr, drivers/tag, test/bench/figure, test/floor/closures.
package rulesbench

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"testing"
	"time"

	"davy/drivers/tag"
	"davy/rules"
	"davy/test/bench/figure"
	"davy/test/floor/closures"
)

// What is run, and what must hold.
const (
	Rules     = 1000
	steps     = 2000 // of ours in one run, some 200 ms
	faster    = 4    // the reference makes as many times more
	limit     = 100.0
	mostTimes = 14.0

	few, many  = 100, 10_000 // rules, of which one moves
	sparse     = 200_000     // steps of one run
	mostSparse = 1.5
	mostAlloc  = 0.0
)

var errChanged = errors.New("a rule changed: nothing should")

// Run prints the figures and reports whether they hold.
func Run(w io.Writer) (ok bool) {
	m, err := newMixed(Rules / closures.PerUnit)
	if err != nil {
		return figure.Failed(w, "rules.step_vs_closures", err)
	}
	ok = figure.Ratio(w, "rules.step_vs_closures", mostTimes, m.run(steps), m.runPlant(steps*faster))
	ok = m.allocs(w) && ok
	small, err1 := newOurs(few)
	large, err2 := newOurs(many)
	if err := errors.Join(err1, err2); err != nil {
		return figure.Failed(w, "rules.sparse_ratio", err)
	}
	return figure.Ratio(w, "rules.sparse_ratio", mostSparse, large.runOne(sparse), small.runOne(sparse)) && ok
}

// allocs prints what a step in which nothing becomes another state allocates.
func (o *ours) allocs(w io.Writer) bool {
	return figure.Print(w, "rules.allocs_per_step", testing.AllocsPerRun(steps/10, o.step), "allocs", mostAlloc)
}

// value is what tag i has in image k, where there are plain limits only.
func value(i, k int) float64 { return float64(i%90 + k) }

type ours struct {
	engine *rules.Engine
	images [2][]tag.Reading
	in     rules.Input
	out    rules.Outcome
	n      int
}

func newOurs(n int) (*ours, error) {
	o := &ours{}
	set := rules.Set{Tags: make([]rules.Tag, n+1)}
	for k := range o.images {
		o.images[k] = make([]tag.Reading, n+1)
	}
	for i := 1; i <= n; i++ {
		set.Alarms = append(set.Alarms, rules.Alarm{
			Name: "limit-" + strconv.Itoa(i), Cond: rules.Condition{Tag: tag.ID(i), Op: rules.GE, Limit: limit}, Priority: rules.Medium,
			Deadband: 2, OnDelay: 5 * time.Second, OffDelay: 10 * time.Second,
		})
		o.in.Changed = append(o.in.Changed, tag.ID(i))
		for k := range o.images {
			v, _ := tag.Float64Value(value(i-1, k))
			o.images[k][i] = tag.Reading{Tag: tag.ID(i), Quality: tag.GoodQuality, Value: v}
		}
	}
	var err error
	if o.engine, err = rules.New(set); err != nil {
		return nil, fmt.Errorf("make %d rules: %w", n, err)
	}
	o.step()
	return o, nil
}

// step makes one step in which every input changed.
func (o *ours) step() {
	o.n++
	o.in.Image = o.images[o.n&1]
	o.in.Now.Mono += tenth
	o.engine.Step(&o.in, &o.out)
}

// run returns what takes the seconds of one of n steps.
func (o *ours) run(n int) func() (float64, error) {
	return func() (float64, error) {
		start := time.Now()
		for range n {
			o.step()
			if len(o.out.Events) > 0 {
				return 0, errChanged
			}
		}
		return time.Since(start).Seconds() / float64(n), nil
	}
}

// runOne returns what takes the seconds of one of n steps in which one input
// changed, of the same few in turn on both sides.
func (o *ours) runOne(n int) func() (float64, error) {
	all := o.in.Changed
	return func() (float64, error) {
		defer func() { o.in.Changed = all }()
		start := time.Now()
		for i := range n {
			k := i % few
			o.in.Changed = all[k : k+1]
			o.step()
			if len(o.out.Events) > 0 {
				return 0, errChanged
			}
		}
		return time.Since(start).Seconds() / float64(n), nil
	}
}
