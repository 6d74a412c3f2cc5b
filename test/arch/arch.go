// Package arch is the rules of the house as tests: who may import whom, what
// every package says of itself, where words for people stand, and what a test
// may not do.
//
// Each rule is a function from a tree of sources to findings. It is tested
// twice: on testdata/house, a small tree that breaks every rule and stands
// beside things that only look like it (testdata/house.want names exactly what
// has to be reported), and on the repository, where nothing may be found. The
// table in table.go is the truth about imports: a new package is entered there
// with what it may import, or it is reported.
//
// The rules read syntax, not types, so that they hold for every architecture
// and while other packages do not build; only the wall between decider and
// keeper asks `go list`, because it reaches into the libraries.
//
// Imports: nothing of ours; imported by nobody.
package arch

import (
	"bytes"
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Module is the path of the module.
const Module = "davy"

// Rule is one rule of the house.
type Rule struct {
	Name  string
	Check func(*Tree) []Finding
}

// Rules is all of them.
var Rules = []Rule{
	{"imports", Imports},
	{"wall", Wall},
	{"comment", Comment},
	{"words", Words},
	{"visible", Visible},
	{"sleep", Sleep},
	{"skip", Skip},
	{"init", Init},
	{"reconnect", Reconnect},
	{"bug", Bug},
	{"unfinished", Unfinished},
	{"top", Top},
	{"machine", Machine},
}

// Finding is one breach of a rule.
type Finding struct {
	Rule string
	File string // below the root, with slashes
	Line int    // from 1; 0 is the file, or the package, as a whole
	Text string
}

func (f Finding) String() string {
	place := f.File
	if f.Line > 0 {
		place += ":" + strconv.Itoa(f.Line)
	}
	return f.Rule + " " + place + ": " + f.Text
}

// File is one Go file.
type File struct {
	*ast.File
	Path      string // below the root, with slashes
	Dir       string // of its package: "" is the root
	Test      bool
	Generated bool
}

// Tree is the sources below a root.
type Tree struct {
	Root  string
	Fset  *token.FileSet
	Go    []*File
	Texts []string // every file that is not binary, below the root
}

// Read parses every Go file below root. Folders that begin with a dot are
// read as texts only, testdata is left out of Go, and what is built is not
// read at all.
func Read(root string) (*Tree, error) {
	t := &Tree{Root: root, Fset: token.NewFileSet()}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		switch {
		case d.IsDir() && ignored(rel), d.IsDir() && rel == "test/arch/testdata":
			return fs.SkipDir
		case d.IsDir() || !d.Type().IsRegular() || ignored(rel):
			return nil
		}
		src, err := os.ReadFile(file)
		if os.IsNotExist(err) {
			return nil // an editor's file, gone between the listing and the reading
		}
		if err != nil {
			return err
		}
		if bytes.IndexByte(src, 0) < 0 {
			t.Texts = append(t.Texts, rel)
		}
		if !strings.HasSuffix(rel, ".go") || strings.Contains("/"+rel, "/testdata/") || strings.HasPrefix(rel, ".") {
			return nil
		}
		parsed, err := parser.ParseFile(t.Fset, file, src, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return fmt.Errorf("read %s: %w", rel, err)
		}
		dir := path.Dir(rel)
		if dir == "." {
			dir = ""
		}
		t.Go = append(t.Go, &File{
			File: parsed, Path: rel, Dir: dir,
			Test: strings.HasSuffix(rel, "_test.go"), Generated: ast.IsGenerated(parsed),
		})
		return nil
	})
	return t, err
}

// ignored reports what git does not keep.
func ignored(rel string) bool {
	return rel == ".git" || rel == ".cache" || rel == "bin"
}

// Check holds the tree to every rule and returns what it found, sorted.
func Check(t *Tree) []Finding {
	var all []Finding
	for _, r := range Rules {
		for _, f := range r.Check(t) {
			f.Rule = r.Name
			all = append(all, f)
		}
	}
	slices.SortFunc(all, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Text, b.Text))
	})
	return slices.Compact(all)
}

// at makes a finding at a node.
func (t *Tree) at(f *File, n ast.Node, format string, args ...any) Finding {
	return Finding{File: f.Path, Line: t.Fset.Position(n.Pos()).Line, Text: fmt.Sprintf(format, args...)}
}

// literal returns the text of a string literal.
func literal(e ast.Expr) (string, bool) {
	l, ok := e.(*ast.BasicLit)
	if !ok || l.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(l.Value)
	return s, err == nil
}

// callee returns "x.f" for the call x.f(…) of a plain name x, "f" for f(…),
// and ".f" for the call of a method on anything longer.
func callee(c *ast.CallExpr) string {
	switch f := c.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		if x, ok := f.X.(*ast.Ident); ok {
			return x.Name + "." + f.Sel.Name
		}
		return "." + f.Sel.Name
	}
	return ""
}
