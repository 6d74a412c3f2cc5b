// Package reactbench takes how much slower the agent acts while its keeper
// works hard.
//
// react.loaded_vs_idle. The real `davy run` and its keeper watch a value of a
// plant in this process; every step of the value is an event, and from the
// answer that carries it to the arrival of the coil's write (type plant says
// how both are stamped) is its reaction. Idle has this alone. Loaded has
// besides: Load tags read and recorded every second, a real mosquitto at QoS 1,
// a real receiver that commits and signs, a backlog that drains from the first
// to the last event, somebody who asks for the status every second, and a
// collector that is made to run often. Broker and receiver have the least
// share of the processors, for on a plant they are other machines; the plant,
// decider and keeper have theirs. What is compared is the p99 of a run.
//
// Imports: agent/clock, agent/journal, agent/operate, agent/ring, agent/wire,
// drivers/tag, test/bench/figure, test/bench/stand, test/rig.
package reactbench

import (
	"fmt"
	"io"
	"slices"
	"time"

	"davy/test/bench/figure"
	"davy/test/bench/stand"
)

const (
	// Events of one run: at least 5,000 of each side in the pairs that count.
	Events      = 800
	mostTimes   = 1.5
	leastGCs    = 20
	name        = "react.loaded_vs_idle"
	leastEvents = 5000
)

// Run prints the figure and reports whether it holds.
func Run(w io.Writer) bool {
	bin, err := stand.Build("davy", "davy-receiver")
	if err != nil {
		return figure.Failed(w, name, err)
	}
	idle, err := newSide(bin, false, Events)
	if err != nil {
		return figure.Failed(w, name, err)
	}
	defer idle.close()
	loaded, err := newSide(bin, true, Events)
	if err != nil {
		return figure.Failed(w, name, err)
	}
	defer loaded.close()
	taken := true
	watched := func(run func() (float64, error)) func() (float64, error) {
		return func() (float64, error) {
			v, err := run()
			taken = taken && err == nil
			return v, err
		}
	}
	holds := figure.Ratio(w, name, mostTimes, watched(loaded.run), chained(watched(idle.run)))
	describe(w, "idle", idle)
	describe(w, "loaded", loaded)
	fmt.Fprintf(w, "  loaded: %d readings of the backlog confirmed, at least %d collections of each process (%s)\n", loaded.drained, loaded.collections, frequentGC)
	if n := idle.plant.missed() + loaded.plant.missed(); n > 0 {
		fmt.Fprintf(w, "  %d writes had no stamp of the kernel and count until the plant saw them\n", n)
	}
	if taken && (loaded.collections < leastGCs || len(loaded.took) < leastEvents || len(idle.took) < leastEvents) {
		return figure.Failed(w, name, fmt.Errorf("%d and %d events, %d collections: too few", len(loaded.took), len(idle.took), loaded.collections))
	}
	return holds
}

// describe prints what stands behind a quotient, for people.
func describe(w io.Writer, which string, s *side) {
	if len(s.took) == 0 {
		return
	}
	all := slices.Sorted(slices.Values(s.took))
	at := func(q float64) time.Duration { return all[int(q*float64(len(all)-1))].Round(time.Microsecond) }
	fmt.Fprintf(w, "  %s: %d events, p50 %v, p99 %v, p99.9 %v, longest %v\n", which, len(all), at(0.5), at(0.99), at(0.999), at(1))
}

// chained lets the run of a reference after ours be also the one before the
// next: ours, reference, ours, reference, …
func chained(run func() (float64, error)) func() (float64, error) {
	var last float64
	before := true // which of the two the next call is
	return func() (v float64, err error) {
		if before && last > 0 {
			before = false
			return last, nil
		}
		before = !before
		last, err = run()
		return last, err
	}
}
