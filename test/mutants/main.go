// Command mutants shows that the tests of package rules can fail: it puts one
// defect after another into the engine (a comparison turned round, a transition
// dropped) and counts how many of them a test catches. It prints "mutants 10/10"
// and exits 1 where one lives.
//
// Nothing in the checkout is changed: the compiler is given the changed file in
// the place of the true one (-overlay). A mutant whose text is not there exactly
// once, or that does not compile, is an error and not a catch; and the tests must
// pass without any.
//
// Imports: nothing of ours.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Mutant is one defect: in File, From becomes To.
type Mutant struct{ Name, File, From, To string }

// Tests are the packages whose tests must catch them.
var tests = []string{"./rules/..."}

func main() {
	if err := run(Mutants, tests); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run(mutants []Mutant, packages []string) error {
	dir, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if out, err := gotool("test", "", packages); err != nil {
		return fmt.Errorf("without a mutant: %w\n%s", err, out)
	}
	caught := 0
	for i, m := range mutants {
		overlay, err := m.write(dir)
		if err != nil {
			return fmt.Errorf("%s: %w", m.Name, err)
		}
		if out, err := gotool("build", overlay, packages); err != nil {
			return fmt.Errorf("%s does not compile: %w\n%s", m.Name, err, out)
		}
		out, err := gotool("test", overlay, packages)
		if err == nil {
			fmt.Printf("%2d lives   %s (%s)\n", i+1, m.Name, m.File)
			continue
		}
		caught++
		fmt.Printf("%2d caught  %s, by %s\n", i+1, m.Name, by(out))
	}
	fmt.Printf("mutants %d/%d\n", caught, len(mutants))
	if caught < len(mutants) {
		return fmt.Errorf("%d not caught", len(mutants)-caught)
	}
	return nil
}

// write writes the changed file, and the overlay that names it.
func (m *Mutant) write(dir string) (overlay string, err error) {
	text, err := os.ReadFile(m.File)
	if err != nil {
		return "", err
	}
	if n := bytes.Count(text, []byte(m.From)); n != 1 {
		return "", fmt.Errorf("%q stands %d times in %s", m.From, n, m.File)
	}
	changed := filepath.Join(dir, filepath.Base(m.File))
	if err := os.WriteFile(changed, bytes.Replace(text, []byte(m.From), []byte(m.To), 1), 0o600); err != nil {
		return "", err
	}
	path, err := filepath.Abs(m.File)
	if err != nil {
		return "", err
	}
	names, err := json.Marshal(map[string]map[string]string{"Replace": {path: changed}})
	if err != nil {
		return "", err
	}
	overlay = filepath.Join(dir, "overlay.json")
	return overlay, os.WriteFile(overlay, names, 0o600)
}

// gotool runs the go command; without an overlay as it is.
func gotool(what, overlay string, packages []string) ([]byte, error) {
	args := []string{what}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	if what == "test" {
		args = append(args, "-count=1", "-failfast")
	}
	return exec.Command("go", append(args, packages...)...).CombinedOutput()
}

// by names the first test that failed.
func by(out []byte) string {
	for line := range strings.Lines(string(out)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "--- FAIL: "); ok {
			name, _, _ = strings.Cut(name, " ")
			return name
		}
	}
	return "a test that stopped"
}
