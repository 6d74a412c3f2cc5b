// Command bench takes the figures that Davy promises and holds them to their
// limits: `go run ./test/bench [-only NAME]`, NAME being the beginning of a
// figure's name.
//
// It prints lines `BENCH name value unit [limit]` and exits 1 when a limit is
// passed or a figure could not be taken. How a figure is taken stands in
// package figure; each part of the house brings its own figures in a package
// below this one, and they are joined here.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"davy/test/bench/demobench"
	"davy/test/bench/exprbench"
	"davy/test/bench/figure"
	"davy/test/bench/gapbench"
	"davy/test/bench/journalbench"
	"davy/test/bench/linebench"
	"davy/test/bench/modbusbench"
	"davy/test/bench/opcuabench"
	"davy/test/bench/planbench"
	"davy/test/bench/pollbench"
	"davy/test/bench/reactbench"
	"davy/test/bench/rulesbench"
	"davy/test/bench/startbench"
)

// group is a few figures that are taken together.
type group struct {
	name string // what their names begin with
	run  func(w io.Writer) bool
}

var groups = []group{
	{"rules", rulesbench.Run},
	{"expr", exprbench.Run},
	{"poll.bus_time_vs_optimum", planbench.Run},
	{"modbus", modbusbench.Run},
	{"opcua", opcuabench.Run},
	{"rtu", linebench.Run},
	{"binary", binary},
	{"start.watching_s", startbench.Run},
	{"journal.bytes_per_reading", journalbench.Bytes},
	{"journal.written_per_reading", journalbench.Written},
	{"journal.durable_per_s_vs_append", journalbench.Durable},
	{"journal.fsyncs_per_event_commit", journalbench.Syncs},
	{"journal.commits_per_s_in_flood", journalbench.Flood},
	{"journal.append_after_drain_ratio", journalbench.Drain},
	{"react.beat_gap_ms", gapbench.Run},
	{"react.loaded_vs_idle", reactbench.Run},
	{"rss", demobench.Run},
	{"poll", pollbench.Run},
}

func main() {
	only := flag.String("only", "", "take only the figures whose names begin so")
	flag.Parse()
	fmt.Println("#", figure.Machine(os.TempDir()))
	ok, ran := run(os.Stdout, groups, *only)
	if !ran {
		fmt.Fprintf(os.Stderr, "bench: there is no figure %q\n", *only)
		os.Exit(2)
	}
	if !ok {
		os.Exit(1)
	}
}

// run takes the chosen groups and reports whether all held, and whether there
// were any.
func run(w io.Writer, groups []group, only string) (ok, ran bool) {
	ok = true
	for _, g := range groups {
		if !strings.HasPrefix(only, g.name) && !strings.HasPrefix(g.name, only) {
			continue
		}
		ran = true
		ok = g.run(w) && ok
	}
	return ok, ran
}
