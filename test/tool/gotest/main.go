// Command gotest runs `go test -json` and holds it to the rule of this house:
// a skipped test is a failed test, and a run in which nothing ran has failed.
//
//	gotest [-each] [-slow n] [-say text] [-tally file] -- packages and flags of go test…
//
// It prints one line per package (with -each one per top-level test too), the
// whole output of what failed (of what passed only the lines that begin with the
// text of -say, which is how a test prints a result), the slowest tests and
// packages, and as its last line "N passed, M failed". Every test and subtest
// counts once; a package that fails without a failed test (it does not build,
// it panics outside a test) counts as one failure, and so does a skip. The
// results of go test's cache are never used, and go test's own vet is off: make
// vet holds everything to more, once. With -tally the two numbers are
// appended to a file, so that a run of many steps can add them up.
//
// Exit status: 0 all passed, 1 something failed, 2 wrong usage.
//
// Imports: nothing of ours.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
)

func main() {
	each := flag.Bool("each", false, "print every top-level test as it ends")
	slow := flag.Int("slow", 10, "how many of the slowest tests and packages to print")
	say := flag.String("say", "", "print the lines of output that begin with this, of passed tests too")
	cached := flag.Bool("cached", false, "let go take the result of a package that did not change")
	tally := flag.String("tally", os.Getenv("DAVY_TALLY"), "file to append the numbers of passed and failed tests to")
	flag.Parse()
	if flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "gotest: name the packages to test")
		os.Exit(2)
	}
	run := newRun(os.Stdout, *each, *say)
	if err := run.test(flag.Args(), *cached); err != nil {
		fmt.Fprintln(os.Stderr, "gotest:", err)
		os.Exit(1)
	}
	run.summary(*slow)
	if *tally != "" {
		if err := note(*tally, run.passed, run.failed); err != nil {
			fmt.Fprintln(os.Stderr, "gotest:", err)
			os.Exit(1)
		}
	}
	if run.failed > 0 {
		os.Exit(1)
	}
}

// test runs go test over args and reads what it says until it ends.
func (r *run) test(args []string, cached bool) error {
	line := []string{"test", "-json", "-vet=off"}
	if !cached {
		line = append(line, "-count=1")
	}
	cmd := exec.Command("go", append(line, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("go test: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("go test: %w", err)
	}
	r.read(out)
	err = cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return fmt.Errorf("go test: %w", err)
	}
	r.end(err == nil)
	return nil
}

// read takes every line of go test's output.
func (r *run) read(out io.Reader) {
	in := bufio.NewReaderSize(out, 1<<16)
	for {
		line, err := in.ReadBytes('\n')
		if len(line) > 0 {
			r.line(line)
		}
		if err != nil {
			return
		}
	}
}

func (r *run) summary(slow int) {
	top := func(what string, all []timed) {
		slices.SortFunc(all, func(a, b timed) int { return int((b.seconds - a.seconds) * 1000) })
		all = all[:min(len(all), slow)]
		for len(all) > 0 && all[len(all)-1].seconds < notable {
			all = all[:len(all)-1]
		}
		if len(all) == 0 {
			return
		}
		fmt.Fprintf(r.w, "slowest %s:\n", what)
		for _, t := range all {
			fmt.Fprintf(r.w, "  %7.1f s  %s\n", t.seconds, t.name)
		}
	}
	top("packages", r.packages)
	top("tests", r.tests)
	if len(r.failures) > 0 {
		fmt.Fprintln(r.w, "failed:")
		for _, f := range r.failures {
			fmt.Fprintf(r.w, "  %s\n", f)
		}
	}
	fmt.Fprintf(r.w, "%d passed, %d failed\n", r.passed, r.failed)
}

// note appends the result to the tally.
func note(file string, passed, failed int) error {
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%d %d\n", passed, failed)
	return errors.Join(err, f.Close())
}
