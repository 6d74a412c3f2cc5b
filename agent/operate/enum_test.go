package operate

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"davy/rules"
)

// constants returns the names of the constants of an enumeration of package rules, as they stand in
// its source: nobody here has to remember which is the last.
func constants(t *testing.T, kind string) (list []string) {
	t.Helper()
	files, err := filepath.Glob("../../rules/types*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(err, len(files))
	}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.CONST {
				continue
			}
			in := false
			for _, s := range g.Specs {
				v := s.(*ast.ValueSpec)
				if id, ok := v.Type.(*ast.Ident); ok {
					in = id.Name == kind
				} else if len(v.Values) > 0 {
					in = false
				}
				if in && v.Names[0].Name != "_" {
					list = append(list, v.Names[0].Name)
				}
			}
		}
	}
	if len(list) == 0 {
		t.Fatalf("no constants of %s", kind)
	}
	return list
}

// inRules returns what a pattern finds in those files of package rules.
func inRules(t *testing.T, pattern string, names ...string) (found []string) {
	t.Helper()
	p := regexp.MustCompile(pattern)
	for _, name := range names {
		files, err := filepath.Glob("../../rules/" + name)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v: %d files", name, err, len(files))
		}
		for _, f := range files {
			raw, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(f, "_test.go") {
				continue
			}
			for _, m := range p.FindAllStringSubmatch(string(raw), -1) {
				found = append(found, m[1])
			}
		}
	}
	return found
}

// enum is how many constants an enumeration has.
func enum(t *testing.T, kind string) int { return len(constants(t, kind)) }

func lastKind(t *testing.T) rules.Kind { return rules.Kind(enum(t, "Kind")) }
