package arch

import (
	"go/ast"
	"go/token"
	"regexp"
	"strings"
)

// Comment: every package says what it is; one that is imported says it in more
// than one sentence.
func Comment(t *Tree) []Finding {
	docs, programs := map[string]string{}, map[string]bool{}
	var dirs []string
	for _, f := range t.Go {
		if _, seen := docs[f.Dir]; !seen {
			dirs = append(dirs, f.Dir)
			docs[f.Dir] = ""
		}
		programs[f.Dir] = programs[f.Dir] || f.Name.Name == "main"
		if f.Doc != nil {
			docs[f.Dir] += f.Doc.Text() + "\n"
		}
	}
	var found []Finding
	for _, dir := range dirs {
		switch doc := strings.TrimSpace(docs[dir]); {
		case doc == "":
			found = append(found, Finding{File: dir, Text: "the package has no comment"})
		case !programs[dir] && len(sentence.FindAllString(doc, -1)) < 2:
			found = append(found, Finding{File: dir, Text: "the package comment is one sentence: what does it promise, who owns what, what is durable when?"})
		}
	}
	return found
}

var sentence = regexp.MustCompile(`[\p{L}\p{N})"'` + "`" + `][.!?](\s|$)`)

// Sleep: no time.Sleep in tests outside a synctest bubble, where time is free.
// Inside is what stands in a bubble, what is a function literal in a test that
// opens one (a fake's answer, made before it), and a helper whose comment says
// that it is called in a bubble.
func Sleep(t *Tree) []Finding {
	var found []Finding
	opens := bubbles(t)
	for _, f := range t.Go {
		if !f.Test {
			continue
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if ok && fn.Doc != nil && strings.Contains(fn.Doc.Text(), "bubble") {
				continue
			}
			opener := ok && opens[f.Dir+" "+fn.Name.Name]
			ast.Inspect(d, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.FuncLit:
					return !opener
				case *ast.CallExpr:
					if callee(n) == "time.Sleep" {
						found = append(found, t.at(f, n, "time.Sleep in a test: wait for a condition, or use a synctest bubble"))
					}
				}
				return true
			})
		}
	}
	return found
}

// bubbles finds the test functions that open a bubble, by folder and name:
// themselves, or by calling one of the same folder that does.
func bubbles(t *Tree) map[string]bool {
	opens := map[string]bool{}
	for before := -1; before != len(opens); {
		before = len(opens)
		for _, f := range t.Go {
			for _, d := range f.Decls {
				fn, ok := d.(*ast.FuncDecl)
				if !ok || !f.Test {
					continue
				}
				ast.Inspect(fn, func(n ast.Node) bool {
					if c, ok := n.(*ast.CallExpr); ok && (callee(c) == "synctest.Test" || opens[f.Dir+" "+callee(c)]) {
						opens[f.Dir+" "+fn.Name.Name] = true
					}
					return true
				})
			}
		}
	}
	return opens
}

// Skip: a skipped test is a failed test.
func Skip(t *Tree) []Finding {
	var found []Finding
	for _, f := range t.Go {
		ast.Inspect(f.File, func(n ast.Node) bool {
			c, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			_, name, _ := strings.Cut(callee(c), ".")
			if name == "Skip" && f.Test || name == "Skipf" || name == "SkipNow" || callee(c) == "testing.Short" {
				found = append(found, t.at(f, c, "%s: nothing is skipped here", callee(c)))
			}
			return true
		})
	}
	return found
}

// Init: no init functions; what has to be joined is joined in cmd. Generated
// code is excused.
func Init(t *Tree) []Finding {
	var found []Finding
	for _, f := range t.Go {
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" && !f.Generated {
				found = append(found, t.at(f, fn, "an init function"))
			}
		}
	}
	return found
}

// Reconnect: paho completes a publish without a PUBACK when it reconnects by
// itself. It is on by default, so whoever makes options turns it off.
func Reconnect(t *Tree) []Finding {
	var found []Finding
	for _, f := range t.Go {
		var made ast.Node
		off := false
		ast.Inspect(f.File, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				_, name, _ := strings.Cut(callee(n), ".")
				switch name {
				case "NewClientOptions":
					made = n
				case "SetAutoReconnect", "SetConnectRetry":
					if len(n.Args) == 1 && isFalse(n.Args[0]) {
						off = off || name == "SetAutoReconnect"
					} else {
						found = append(found, t.at(f, n, "%s that is not plainly false", name))
					}
				}
			case *ast.AssignStmt:
				for i, l := range n.Lhs {
					if s, ok := l.(*ast.SelectorExpr); ok && s.Sel.Name == "AutoReconnect" && i < len(n.Rhs) {
						if isFalse(n.Rhs[i]) {
							off = true
						} else {
							found = append(found, t.at(f, n, "AutoReconnect that is not plainly false"))
						}
					}
				}
			case *ast.KeyValueExpr:
				if k, ok := n.Key.(*ast.Ident); ok && k.Name == "AutoReconnect" && !isFalse(n.Value) {
					found = append(found, t.at(f, n, "AutoReconnect that is not plainly false"))
				}
			}
			return true
		})
		if made != nil && !off {
			found = append(found, t.at(f, made, "NewClientOptions without SetAutoReconnect(false) in the same file"))
		}
	}
	return found
}

func isFalse(e ast.Expr) bool {
	id, ok := e.(*ast.Ident)
	return ok && id.Name == "false"
}

// Bug: only a programmer's error panics, and it says so. A value that was
// recovered, or came in as any, may be passed on.
func Bug(t *Tree) []Finding {
	var found []Finding
	for _, f := range t.Go {
		if f.Test || f.Generated {
			continue
		}
		for _, d := range f.Decls {
			recovers, passed := recovered(d)
			ast.Inspect(d, func(n ast.Node) bool {
				c, ok := n.(*ast.CallExpr)
				if !ok || callee(c) != "panic" || len(c.Args) != 1 || saysBug(c.Args[0]) {
					return true
				}
				if id, plain := c.Args[0].(*ast.Ident); !plain || !recovers && !passed[id.Name] {
					found = append(found, t.at(f, c, `a panic that does not say "BUG:"`))
				}
				return true
			})
		}
	}
	return found
}

// recovered reports whether a declaration recovers, and its parameters of type any.
func recovered(d ast.Decl) (recovers bool, passed map[string]bool) {
	passed = map[string]bool{}
	ast.Inspect(d, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			recovers = recovers || callee(n) == "recover"
		case *ast.FuncType:
			for _, field := range n.Params.List {
				if id, ok := field.Type.(*ast.Ident); ok && id.Name == "any" {
					for _, name := range field.Names {
						passed[name.Name] = true
					}
				}
			}
		}
		return true
	})
	return recovers, passed
}

// saysBug reports whether the first literal of an expression begins with BUG:.
func saysBug(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.BinaryExpr:
		return e.Op == token.ADD && saysBug(e.X)
	case *ast.CallExpr:
		return len(e.Args) > 0 && saysBug(e.Args[0])
	default:
		s, ok := literal(e)
		return ok && strings.HasPrefix(s, "BUG: ")
	}
}

var unfinished = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|X` + `XX)\b`)

// Unfinished: what is left to do stands in an issue, not in the source.
func Unfinished(t *Tree) []Finding {
	var found []Finding
	for _, f := range t.Go {
		for _, group := range f.Comments {
			for _, c := range group.List {
				if w := unfinished.FindString(c.Text); w != "" {
					found = append(found, t.at(f, c, "%s", w))
				}
			}
		}
	}
	return found
}
