package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWhatCounts(t *testing.T) {
	f := func(name, in string, clean bool, passed, failed int, says ...string) {
		t.Helper()
		var out strings.Builder
		r := newRun(&out, false, "")
		r.read(strings.NewReader(in))
		r.end(clean)
		r.summary(10)
		if r.passed != passed || r.failed != failed {
			t.Errorf("%s: %d passed, %d failed; want %d, %d\n%s", name, r.passed, r.failed, passed, failed, &out)
		}
		for _, s := range says {
			if !strings.Contains(out.String(), s) {
				t.Errorf("%s: output lacks %q:\n%s", name, s, &out)
			}
		}
	}
	const (
		runA  = `{"Action":"run","Package":"p","Test":"TestA"}` + "\n"
		sayA  = `{"Action":"output","Package":"p","Test":"TestA","Output":"a_test.go:7: reason\n"}` + "\n"
		passA = `{"Action":"pass","Package":"p","Test":"TestA","Elapsed":1.5}` + "\n"
		failA = `{"Action":"fail","Package":"p","Test":"TestA","Elapsed":0.1}` + "\n"
		skipA = `{"Action":"skip","Package":"p","Test":"TestA","Elapsed":0}` + "\n"
		passP = `{"Action":"pass","Package":"p","Elapsed":2}` + "\n"
		failP = `{"Action":"fail","Package":"p","Elapsed":2}` + "\n"
		noneP = `{"Action":"skip","Package":"q","Elapsed":0}` + "\n"
		build = `{"ImportPath":"p","Action":"build-output","Output":"p.go:3:1: undefined: x\n"}` + "\n"
		notP  = `{"Action":"fail","Package":"p","Elapsed":0,"FailedBuild":"p"}` + "\n"
	)
	f("passes", runA+sayA+passA+passP, true, 1, 0, "1 passed, 0 failed", "1.5 s  p TestA")
	f("fails", runA+sayA+failA+failP, false, 0, 1, "a_test.go:7: reason", "0 passed, 1 failed")
	f("a skip fails although go test is content", runA+sayA+skipA+passP, true, 0, 1, "a_test.go:7: reason", "FAIL", "skipped test is a failed test")
	f("a package without tests is no skip", noneP+runA+passA+passP, true, 1, 0)
	f("nothing ran", noneP, true, 0, 1, "no test ran", "0 passed, 1 failed")
	f("does not build", build+notP, false, 0, 1, "undefined: x", "does not build")
	f("dies in the middle", runA+sayA+failP, false, 0, 1, "TestA (did not end)", "--- FAIL: TestA (it did not end)", "a_test.go:7: reason")
	f("fails outside its tests", runA+passA+failP, false, 1, 1, "outside its tests")
	f("go test gives up", "no such package\n", false, 0, 1, "no such package")
}

func TestPassedOutputIsQuiet(t *testing.T) {
	var out strings.Builder
	r := newRun(&out, false, "kills=")
	r.read(strings.NewReader(`{"Action":"output","Package":"p","Test":"TestA","Output":"chatter\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"kills=40\n"}
{"Action":"pass","Package":"p","Test":"TestA","Elapsed":0.1}
{"Action":"pass","Package":"p","Elapsed":0.1}
`))
	if strings.Contains(out.String(), "chatter") {
		t.Errorf("a passed test's output was printed:\n%s", &out)
	}
	if !strings.Contains(out.String(), "kills=40\n") {
		t.Errorf("the result was not printed:\n%s", &out)
	}
}

func TestTallyAddsUp(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tally")
	for range 2 {
		if err := note(file, 3, 1); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != "3 1\n3 1\n" {
		t.Errorf("tally = %q, %v", got, err)
	}
}
