// Package linebench takes the figures of serial lines: how much of a line the
// driver uses, and what a dead station costs its neighbours and its own points.
//
// The lines are pseudo terminals behind the relay of davy-plant, which lets
// every character take its time; the stations are davy-plant's, each answering
// after 3.5 characters of stillness, as the specification has it.
//
//   - rtu.line_use_*: 125 registers again and again through modbus.RTU, over the
//     time that the ideal client of test/floor needs for the same on the same
//     device file, interleaved. It is a share: the limit is the least that holds.
//   - rtu.dead_unit_cost: three lines side by side under agent/scan with compiled
//     plans, two with seven stations and one with these and a dead eighth; how
//     much longer a round of the seven takes on it, window by window.
//   - rtu.blind_s, rtu.dead_unit_back_s: six lines of eight stations; one of each
//     dies, at another instant of the scan on each, and comes back, at another
//     instant of the probes; the longest until its points were bad, and good again.
//
// Imports: agent/config, agent/scan, agent/output, cmd/davy-plant, drivers,
// drivers/modbus, test/bench/figure, test/floor/idealline.
package linebench

import (
	"fmt"
	"io"

	"davy/test/bench/figure"
)

// The limits.
const (
	least9600   = 0.97
	least115200 = 0.93
	mostCost    = 0.05
	mostBack    = 15 // s
)

// Run prints the figures and reports whether they hold.
func Run(w io.Writer) bool {
	ok := use(w, "rtu.line_use_9600", 9600, 4, least9600)
	ok = use(w, "rtu.line_use_115200", 115200, 40, least115200) && ok
	ok = cost(w) && ok
	return back(w) && ok
}

// share prints a share, whose limit is the least that holds.
func share(w io.Writer, name string, c figure.Comparison, least float64) bool {
	value := 1 / c.Median
	holds := c.Noisy || value >= least
	if c.Noisy {
		fmt.Fprintf(w, "BENCH %s noisy share %v\n", name, least)
	} else {
		fmt.Fprintf(w, "BENCH %s %.4g share %v\n", name, value, least)
	}
	if !holds {
		fmt.Fprintf(w, "  %s: below the limit\n", name)
	}
	fmt.Fprintf(w, "  %s: spread %.4g to %.4g, control %.4g, %d pairs, %d of at most %d tries\n",
		name, 1/c.High, 1/c.Low, c.Control, c.Pairs, c.Tried, figure.Tries)
	return holds
}
