package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

// Imports: a package imports what the table allows it, and is in the table.
// Its tests may besides import what lies below it, never across the wall and
// never the folder test.
func Imports(t *Tree) []Finding {
	var found []Finding
	strangers := map[string]bool{}
	for _, f := range t.Go {
		p, ok := lookup(f.Dir)
		if !ok {
			if !strangers[f.Dir] {
				strangers[f.Dir] = true
				found = append(found, Finding{File: f.Dir, Text: "the package is not in the table of test/arch"})
			}
			continue
		}
		for _, spec := range f.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				continue // the parser has seen it already
			}
			ours, isOurs := strings.CutPrefix(path, Module+"/")
			switch {
			case isOurs && (listed(p.Ours, ours) || f.Test && mayTest(p, ours)):
			case isOurs:
				found = append(found, t.at(f, spec, "%s may not import %s", f.Dir, ours))
			case !strings.Contains(strings.SplitN(path, "/", 2)[0], "."):
				if path == "C" {
					found = append(found, t.at(f, spec, "cgo"))
				}
			case path == "golang.org/x/sys/unix", lib(p.Libs, path) || f.Test && lib(testLibs, path):
			default:
				found = append(found, t.at(f, spec, "%s may not use the library %s", f.Dir, path))
			}
		}
	}
	return found
}

// Layers, from the bottom: each folder's tests may use the ones below.
var layers = []string{"drivers", "rules", "agent", "firmware-configs", "cmd", "test"}

func mayTest(p Package, ours string) bool {
	if ours == p.Path || ours == "test/scale" { // a test package beside its own; how much to run
		return true
	}
	me, other := slices.Index(layers, top(p.Path)), slices.Index(layers, top(ours))
	return other >= 0 && other <= me && top(ours) != "test" && !across(p.Side, house[ours].Side)
}

func across(a, b Side) bool {
	return a == Decider && b == Keeper || a == Keeper && b == Decider || a == Bridge && b == Keeper
}

// Absent returns the lines of the table that no package stands behind.
func Absent(t *Tree) []string {
	there := map[string]bool{}
	for _, f := range t.Go {
		there[f.Dir] = true
	}
	var absent []string
	for _, p := range House {
		if !there[p.Path] {
			absent = append(absent, p.Path)
		}
	}
	return absent
}

// Wall: nothing that a package of the decider imports, directly or through
// anything else, belongs to the keeper or is a database, a broker's client,
// HTTP or TLS; and nothing of the keeper reaches the decider. Both processes
// are one binary, so it is the packages that are held to it.
func Wall(t *Tree) []Finding {
	graph, err := deps(t.Root)
	if err != nil {
		return []Finding{{File: "go.mod", Text: err.Error()}}
	}
	var found []Finding
	for _, p := range House {
		if p.Side == Neither {
			continue
		}
		breach := func(path string) bool {
			ours, isOurs := strings.CutPrefix(path, Module+"/")
			return isOurs && across(p.Side, house[ours].Side) || p.Side != Keeper && lib(strings.Join(forbidden, " "), path)
		}
		for _, path := range reach(graph, Module+"/"+p.Path) {
			if slices.IndexFunc(path, breach) == len(path)-1 { // what lies behind a breach is the same breach
				found = append(found, Finding{File: p.Path, Text: "reaches " + strings.Join(path[1:], " → ")})
			}
		}
	}
	return found
}

// deps asks go list what every package imports, libraries and all, as the
// gateway's processor sees it and without tests.
func deps(root string) (map[string][]string, error) {
	cmd := exec.Command("go", "list", "-e", "-deps", "-json=ImportPath,Imports", "./...")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOARCH=arm", "GOARM=7", "CGO_ENABLED=0", "GOOS=linux")
	var out, says bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &says
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("go list: %w: %s", err, says.String())
	}
	graph := map[string][]string{}
	for in := json.NewDecoder(&out); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := in.Decode(&p); errors.Is(err, io.EOF) {
			return graph, nil
		} else if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		graph[p.ImportPath] = p.Imports
	}
}

// reach returns a shortest path to each package that from reaches.
func reach(graph map[string][]string, from string) [][]string {
	paths := [][]string{{from}}
	seen := map[string]bool{from: true}
	for i := 0; i < len(paths); i++ {
		for _, next := range graph[paths[i][len(paths[i])-1]] {
			if !seen[next] {
				seen[next] = true
				paths = append(paths, append(slices.Clone(paths[i]), next))
			}
		}
	}
	return paths
}
