package arch

import (
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// Visible: what people read stands in words, in both languages. In Go outside
// tests no literal holds a Chinese character, and the programs that people
// use print no literal of two words.
func Visible(t *Tree) []Finding {
	var found []Finding
	for _, f := range t.Go {
		if f.Test || f.Generated || f.Dir == wordsPkg || f.Dir == "test/arch" {
			continue
		}
		ast.Inspect(f.File, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.BasicLit:
				if s, ok := literal(n); ok && han(s) && !strings.Contains(notShown[f.Path], s) {
					found = append(found, t.at(f, n, "Chinese text outside agent/i18n: %s", n.Value))
				}
			case *ast.CallExpr:
				name, printing := strings.CutPrefix(callee(n), "fmt.")
				if !printing || !strings.HasPrefix(name, "Print") && !strings.HasPrefix(name, "Fprint") || !forPeople(f.Dir) {
					return true
				}
				for _, a := range n.Args {
					if s, ok := literal(a); ok && prose.MatchString(verb.ReplaceAllString(s, "")) {
						found = append(found, t.at(f, a, "visible text outside agent/i18n: %q", s))
					}
				}
			}
			return true
		})
	}
	return found
}

// Chinese that a program compares with and does not show: file, and the literals in it.
var notShown = map[string]string{
	"cmd/davy/apply.go": "是", // an answer, beside y and yes
}

func forPeople(dir string) bool { return top(dir) == "cmd" || top(dir) == "agent" }

var (
	prose = regexp.MustCompile(`[A-Za-z]{2,}[,:;]? [A-Za-z]{2,}`)
	verb  = regexp.MustCompile(`%[-+# 0-9.*]*[a-zA-Z]`)
)

func han(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return unicode.Is(unicode.Han, r) })
}

// What stands at the top of the tree.
var topLevel = []string{
	"cmd", "agent", "drivers", "rules", "firmware-configs", "test",
	"go.mod", "go.sum", "Makefile", "README.md", "README.zh-CN.md", "LICENSE", "CHANGELOG.md",
	".ci", ".gitignore", ".gitattributes", ".editorconfig", "staticcheck.conf",
}

// Top: the top of the tree is fixed.
func Top(t *Tree) []Finding {
	entries, err := os.ReadDir(t.Root)
	if err != nil {
		return []Finding{{File: ".", Text: err.Error()}}
	}
	var found []Finding
	for _, e := range entries {
		if name := e.Name(); !ignored(name) && !slices.Contains(topLevel, name) {
			found = append(found, Finding{File: name, Text: "has no place at the top of the tree"})
		}
	}
	return found
}

var (
	place  = regexp.MustCompile(`(^|[\s"'=(` + "`" + `])/(tmp|root|home|work|farm|Users)/[A-Za-z]`)
	mirror = regexp.MustCompile(`\b(proxy\.golang\.org|goproxy\.[a-z]+|registry\.npmjs\.org|npmmirror\.com|deb\.debian\.org|mirrors?\.[a-z0-9-]+\.[a-z.]+)\b`)
)

// Machine: no path of one machine and no registry's host in any file.
func Machine(t *Tree) []Finding {
	var found []Finding
	for _, name := range t.Texts {
		if name == "test/arch/files.go" || name == "go.sum" {
			continue
		}
		text, err := os.ReadFile(filepath.Join(t.Root, filepath.FromSlash(name)))
		if err != nil {
			continue // gone between the listing and the reading
		}
		for i, line := range strings.Split(string(text), "\n") {
			if s := place.FindString(line); s != "" {
				found = append(found, Finding{File: name, Line: i + 1, Text: "a path of one machine: " + strings.TrimSpace(line)})
			}
			if s := mirror.FindString(line); s != "" {
				found = append(found, Finding{File: name, Line: i + 1, Text: "a registry's host: " + s})
			}
		}
	}
	return found
}
