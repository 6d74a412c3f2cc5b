// Package ci tests the scripts in .ci: each is copied beside a Makefile that
// was made for the test, so that nothing of the project is built or run here.
// It holds the scripts to what CI rests on: a failed step fails the run and
// does not stop the others, nothing is counted twice, and a demo that notices
// nothing is a failure.
//
// Imports: nothing of ours.
package ci

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// run copies a script beside a Makefile and runs it; it returns what was
// printed and the exit status.
func run(t *testing.T, script, makefile string, args ...string) (string, int) {
	t.Helper()
	dir := t.TempDir()
	src, err := os.ReadFile(filepath.Join("../../../.ci", script))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, ".ci"), 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, ".ci", script)
	if err := os.WriteFile(file, src, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "Makefile"), []byte(makefile), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("bash", append([]string{file}, args...)...)
	cmd.Env = append(os.Environ(), "MAKEFLAGS=", "MAKELEVEL=0")
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

func TestSteps(t *testing.T) {
	const makefile = `
setup broken:
	@exit 3
good:
	@echo did good $(WHAT)
tests:
	@echo 7 0 >>$$DAVY_TALLY
red:
	@echo 5 2 >>$$DAVY_TALLY; exit 1
beside:
	@echo 5 0 >>$$DAVY_TALLY; exit 1
waits:
	@for i in $$(seq 100); do [ -e met ] && exit 0; sleep 0.1; done; exit 1
dies:
	@kill -9 $$(cut -d " " -f 4 /proc/$$PPID/stat); sleep 10
meets:
	@touch met; echo did meet
`
	f := func(status int, last string, says, never string, steps ...string) {
		t.Helper()
		out, got := run(t, "steps", makefile, steps...)
		lines := strings.Split(strings.TrimSpace(out), "\n")
		if got != status || lines[len(lines)-1] != last {
			t.Errorf("%q: status %d, last line %q; want %d, %q\n%s", steps, got, lines[len(lines)-1], status, last, out)
		}
		if !strings.Contains(out, says) || never != "" && strings.Contains(out, never) {
			t.Errorf("%q: output lacks %q or holds %q:\n%s", steps, says, never, out)
		}
	}
	f(0, "8 passed, 0 failed", "did good here", "failed:", "good WHAT=here", "tests")
	f(1, "1 passed, 1 failed", "did good", "", "broken", "good")
	f(1, "5 passed, 2 failed", "failed: make red", "", "red")
	f(1, "5 passed, 1 failed", "failed: make beside", "", "beside")
	f(1, "0 passed, 1 failed", "failed: make setup", "did good", "setup", "good")
	f(1, "0 passed, 1 failed", "failed: make absent", "", "absent")
	f(0, "2 passed, 0 failed", "did meet", "failed:", "waits & meets")
	f(1, "13 passed, 2 failed", "failed: make red", "failed: make tests", "red & tests", "good WHAT=here")
	f(1, "13 passed, 2 failed", "did good here", "", "tests & red", "good WHAT=here")
	f(1, "8 passed, 1 failed", "failed: make dies", "failed: make tests", "tests & dies", "good WHAT=here")
}

func TestDemoFault(t *testing.T) {
	f := func(demo string, status int, says string) {
		t.Helper()
		out, got := run(t, "demo-fault", "demo:\n\t@"+demo+"\n")
		if got != status || !strings.Contains(out, says) {
			t.Errorf("demo %q: status %d, want %d\n%s", demo, got, status, out)
		}
	}
	f(`test $$DEMO_FAULT = drop-one && echo '{"a":1,"complete":false}'; exit 1`, 0, "the demo noticed")
	f(`echo '{"a":1,"complete":true}'`, 1, "did not notice")
	f(`echo '{"a":1,"complete":false}'`, 1, "did not notice")
	f(`echo '{"a":1,"complete":true}'; exit 1`, 1, "not because the record is incomplete")
	f(`echo no such port; exit 1`, 1, "not because the record is incomplete")
}
