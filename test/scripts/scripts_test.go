// Package scripts is what a person sees of the three programs at a terminal:
// command, standard output, standard error and exit status, in both languages.
// Each file of testdata is one script over the real binaries, which are built
// once; the plant is the real davy-plant on a port of its own.
//
// Beside what testscript brings there are:
//
//	exits STATUS PROGRAM ARGS…       runs it; its exit status must be STATUS
//	until PATTERN PROGRAM ARGS…      runs it again and again until its output matches
//	plant                            starts the bench plant: $PLANT is its address, $CONTROL its control line,
//	                                 $OPCUA its OPC UA server
//	site                             writes the bench plant's site to $WORK/site
//	edit FILE OLD NEW                replaces OLD, which must be there once
//	damage FILE                      turns a byte of every kilobyte over
//	accept SITE STATE                makes a site live without compiling or testing it
//	inorder FILE TEXT…               the texts stand in the file in this order
//
// A script owns $WORK. Nothing outlives it.
package scripts

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"davy/agent/accept"
	"davy/agent/config"
	firmware "davy/firmware-configs"
	"davy/test/rig"
)

// patience is for a loaded machine and for qemu; a condition that holds is seen at once.
const patience = 60 * time.Second

var bin string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "davy-scripts-")
		if err == nil {
			defer os.RemoveAll(dir)
			err = rig.Build(dir, "davy", "davy-receiver", "davy-plant")
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		bin = dir
		return m.Run()
	}())
}

// benchKey is where a script keeps its bench.
type benchKey struct{}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
			e.Setenv("LC_ALL", "C")
			b := &rig.Bench{Rig: &rig.Rig{Dir: e.WorkDir, Bin: bin}, Broker: "127.0.0.1:1", Key: "ed25519:" + strings.Repeat("A", 43) + "="}
			e.Values[benchKey{}] = b
			e.Defer(b.Close)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"accept": accepted, "exits": exits, "until": until, "plant": plant, "site": site, "edit": edit, "damage": damage, "inorder": inorder,
		},
	})
}

func bench(ts *testscript.TestScript) *rig.Bench { return ts.Value(benchKey{}).(*rig.Bench) }

func need(ts *testscript.TestScript, neg, ok bool, usage string) {
	if neg || !ok {
		ts.Fatalf("usage: %s", usage)
	}
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) >= 2, "exits STATUS PROGRAM ARGS…")
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit status %d, not %d", got, want)
	}
}

func until(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) >= 2, "until PATTERN PROGRAM ARGS…")
	pattern, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	path := args[1]
	if !strings.Contains(path, "/") {
		path = filepath.Join(bin, path)
	}
	var out []byte
	if rig.WaitFor(patience, "", func() bool {
		cmd := exec.Command(path, args[2:]...)
		cmd.Dir = ts.MkAbs(".")
		cmd.Env = append(os.Environ(), "LC_ALL="+ts.Getenv("LC_ALL"))
		out, _ = cmd.CombinedOutput() // what it says counts, also while nothing runs yet
		return pattern.Match(out)
	}) != nil {
		ts.Fatalf("not seen in %v: %s\n%s", patience, args[0], out)
	}
}

func plant(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 0, "plant")
	b := bench(ts)
	ts.Check(b.StartPlant())
	ts.Setenv("PLANT", b.PlantAddr)
	ts.Setenv("CONTROL", b.Control)
	ts.Setenv("OPCUA", b.PlantUA)
}

func site(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 0, "site")
	b := bench(ts)
	if b.PlantAddr == "" {
		b.PlantAddr = "127.0.0.1:1" // nobody answers
	}
	ts.Check(b.WriteSite(nil))
}

func edit(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 3, "edit FILE OLD NEW")
	text := ts.ReadFile(args[0])
	if n := strings.Count(text, args[1]); n != 1 {
		ts.Fatalf("%q stands %d times in %s", args[1], n, args[0])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Replace(text, args[1], args[2], 1)), 0o644))
}

// accepted makes a site live whatever its tests say, as another version may have.
func accepted(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 2, "accept SITE STATE")
	dir := ts.MkAbs(args[0])
	b, problems := config.ReadSite(os.DirFS(dir), ".", firmware.Library)
	if !problems.OK() {
		ts.Fatalf("%v", problems)
	}
	ts.Check(accept.Save(ts.MkAbs(args[1]), &accept.Acceptance{Bundle: b.Encode(), Dir: dir, Who: "script", Reason: "by another version"}))
}

func damage(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 1, "damage FILE")
	b := []byte(ts.ReadFile(args[0]))
	for i := 40; i < len(b); i += 1024 {
		b[i] ^= 0xff
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o600))
}

func inorder(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) >= 2, "inorder FILE TEXT…")
	text := ts.ReadFile(args[0])
	for _, want := range args[1:] {
		_, after, found := strings.Cut(text, want)
		if !found {
			ts.Fatalf("%q is not there, or not after the texts before it", want)
		}
		text = after
	}
}
