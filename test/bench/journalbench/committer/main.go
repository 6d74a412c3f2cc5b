// Command committer makes events durable, one transaction each: `committer DIR
// COUNT`. It is run under strace, by package journalbench.
//
// Imports: agent/clock, agent/journal, agent/wire.
package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"davy/agent/clock"
	"davy/agent/journal"
	"davy/agent/wire"
)

func main() {
	if err := commit(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "committer:", err)
		os.Exit(1)
	}
}

func commit(args []string) error {
	if len(args) != 2 {
		return errors.New("want a directory and a count")
	}
	n, err := strconv.ParseUint(args[1], 10, 32)
	if err != nil {
		return err
	}
	j, err := journal.Open(journal.Options{Dir: args[0], Gateway: "BENCH-1", Now: clock.Now, Boot: clock.BootID()})
	if err != nil {
		return err
	}
	for i := range n {
		at := clock.Now()
		b := journal.Batch{Events: []wire.Event{{Kind: 1, At: at, Rule: "NH3-150", Serial: i + 1}}, Lineage: [16]byte{1}, Serial: i + 1, Beat: at}
		if err := j.Append(b); err != nil {
			return errors.Join(err, j.Close())
		}
	}
	return j.Close()
}
