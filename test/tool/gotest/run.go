package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// A test or package faster than this is not named among the slowest, in seconds.
const notable = 0.5

// event is one line of `go test -json` (go doc test2json, and the two build
// actions that go test adds).
type event struct {
	Action      string
	Package     string
	ImportPath  string
	Test        string
	Elapsed     float64 // seconds
	Output      string
	FailedBuild string
}

type timed struct {
	name    string
	seconds float64
}

// run is what has been seen so far.
type run struct {
	w              io.Writer
	each           bool
	say            string
	passed, failed int
	failures       []string            // names, in the order in which they came
	output         map[string][]string // by package and test, until it ends
	open           map[string][]string // tests that began and have not ended, by package
	tests          []timed
	packages       []timed
	count          map[string]int // tests that ended, by package
	bad            map[string]int // of them failed or skipped
}

func newRun(w io.Writer, each bool, say string) *run {
	return &run{
		w: w, each: each, say: say,
		output: map[string][]string{}, open: map[string][]string{},
		count: map[string]int{}, bad: map[string]int{},
	}
}

// line takes one line of output. What is not JSON is shown as it is.
func (r *run) line(b []byte) {
	var e event
	if err := json.Unmarshal(b, &e); err != nil {
		_, _ = r.w.Write(b)
		return
	}
	switch e.Action {
	case "build-output":
		fmt.Fprint(r.w, e.Output)
	case "output":
		key := e.Package + " " + e.Test
		r.output[key] = append(r.output[key], e.Output)
		if r.say != "" && strings.HasPrefix(strings.TrimSpace(e.Output), r.say) {
			fmt.Fprintln(r.w, strings.TrimSpace(e.Output))
		}
	case "run":
		r.open[e.Package] = append(r.open[e.Package], e.Test)
	case "pass", "fail", "skip":
		if e.Test != "" {
			r.ended(e)
		} else {
			r.endedPackage(e)
		}
	}
}

// ended takes the end of one test or subtest.
func (r *run) ended(e event) {
	name := e.Package + " " + e.Test
	r.open[e.Package] = slices.DeleteFunc(r.open[e.Package], func(s string) bool { return s == e.Test })
	r.count[e.Package]++
	top := !strings.Contains(e.Test, "/")
	if top {
		r.tests = append(r.tests, timed{name, e.Elapsed})
	}
	switch e.Action {
	case "pass":
		r.passed++
	case "fail":
		r.fail(e.Package, name)
		r.show(name)
	case "skip":
		r.fail(e.Package, name+" (skipped: a skipped test is a failed test)")
		r.show(name)
	}
	if r.each && top {
		fmt.Fprintf(r.w, "     %-4s %6.1f s  %s\n", e.Action, e.Elapsed, name)
	}
	delete(r.output, name)
}

// endedPackage takes the end of a package.
func (r *run) endedPackage(e event) {
	for _, test := range r.open[e.Package] {
		name := e.Package + " " + test
		r.fail(e.Package, name+" (did not end)")
		r.show(name)
		fmt.Fprintf(r.w, "--- FAIL: %s (it did not end)\n", test) // as go test says it of others: whoever reads only that finds it
	}
	delete(r.open, e.Package)
	r.packages = append(r.packages, timed{e.Package, e.Elapsed})
	word := "ok"
	switch {
	case e.Action == "fail":
		word = "FAIL"
		if e.FailedBuild != "" {
			r.fail(e.Package, e.Package+" (does not build)")
		} else if r.bad[e.Package] == 0 {
			r.fail(e.Package, e.Package+" (failed outside its tests)")
		}
		r.show(e.Package + " ")
	case e.Action == "skip":
		word = "-" // no test files
	case r.bad[e.Package] > 0:
		word = "FAIL"
	}
	fmt.Fprintf(r.w, "%-4s %7.1f s  %5d  %s\n", word, e.Elapsed, r.count[e.Package], e.Package)
	delete(r.output, e.Package+" ")
}

// end closes the run; clean says that go test itself was content.
func (r *run) end(clean bool) {
	if !clean && r.failed == 0 {
		r.fail("", "go test (it said no more than the lines above)")
	}
	if r.passed+r.failed == 0 {
		r.fail("", "no test ran")
	}
}

func (r *run) fail(pkg, name string) {
	r.failed++
	r.bad[pkg]++
	r.failures = append(r.failures, name)
}

// show prints what a failed test or package printed.
func (r *run) show(name string) {
	fmt.Fprintf(r.w, "---- %s\n", strings.TrimSpace(name))
	for _, s := range r.output[name] {
		fmt.Fprint(r.w, s)
	}
}
