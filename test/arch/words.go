package arch

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/token"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Where the words stand, and the package that holds them.
const (
	wordsDir = "agent/i18n/words"
	wordsPkg = "agent/i18n"
)

// entry is one key in one file.
type entry struct{ file, text string }

// Words: Chinese and English have the same keys with the same placeholders,
// each key stands once and is used, and every key that the code names by a
// literal has words.
func Words(t *Tree) []Finding {
	found, zh, en := readWords(t)
	for _, key := range slices.Sorted(maps.Keys(en)) {
		if _, ok := zh[key]; !ok {
			found = append(found, Finding{File: en[key].file, Text: fmt.Sprintf("%q has no Chinese words", key)})
		}
	}
	used := usage(t)
	for _, key := range slices.Sorted(maps.Keys(zh)) {
		z, both := zh[key], en[key]
		e := both.text
		if both.file == "" {
			found = append(found, Finding{File: z.file, Text: fmt.Sprintf("%q has no English words", key)})
			continue
		}
		if a, b := placeholders(z.text), placeholders(e); !slices.Equal(a, b) {
			found = append(found, Finding{File: z.file, Text: fmt.Sprintf("%q: placeholders %v in Chinese, %v in English", key, a, b)})
		}
		if (strings.TrimSpace(z.text) == "") != (strings.TrimSpace(e) == "") {
			found = append(found, Finding{File: z.file, Text: fmt.Sprintf("%q is empty in one language only", key)})
		}
		if han(e) && key != "lang.name" {
			found = append(found, Finding{File: both.file, Text: fmt.Sprintf("%q: Chinese in the English words", key)})
		}
		if prose.MatchString(bare(e)) && !han(z.text) {
			found = append(found, Finding{File: z.file, Text: fmt.Sprintf("%q is not translated", key)})
		}
		if !used.has(key) {
			found = append(found, Finding{File: z.file, Text: fmt.Sprintf("%q is used nowhere", key)})
		}
	}
	for _, n := range used.named {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(en)), n.key.MatchString) {
			n.at.Text = fmt.Sprintf("no words for %s", n.shown)
			found = append(found, n.at)
		}
	}
	return found
}

func readWords(t *Tree) (found []Finding, zh, en map[string]entry) {
	zh, en = map[string]entry{}, map[string]entry{}
	for _, name := range t.Texts {
		if path.Dir(name) != wordsDir {
			continue
		}
		into := en
		switch {
		case strings.HasSuffix(name, ".zh.json"):
			into = zh
		case !strings.HasSuffix(name, ".en.json"):
			found = append(found, Finding{File: name, Text: "is neither <topic>.zh.json nor <topic>.en.json"})
			continue
		}
		text, err := os.ReadFile(filepath.Join(t.Root, filepath.FromSlash(name)))
		if err != nil {
			found = append(found, Finding{File: name, Text: err.Error()})
			continue
		}
		err = flat(text, func(key, value string) {
			if first, twice := into[key]; twice {
				found = append(found, Finding{File: name, Text: fmt.Sprintf("%q stands in %s already", key, first.file)})
			}
			into[key] = entry{name, value}
		})
		if err != nil {
			found = append(found, Finding{File: name, Text: err.Error()})
		}
	}
	return found, zh, en
}

// flat reads {"key": "text", …} pair by pair, so that a key that stands twice is seen.
func flat(text []byte, pair func(key, value string)) error {
	in := json.NewDecoder(bytes.NewReader(text))
	if open, err := in.Token(); err != nil || open != json.Delim('{') {
		return fmt.Errorf("is no flat JSON object: %v", err)
	}
	for in.More() {
		key, err := in.Token()
		if err != nil {
			return err
		}
		var value string
		if err := in.Decode(&value); err != nil {
			return fmt.Errorf("%v: %w", key, err)
		}
		pair(key.(string), value)
	}
	_, err := in.Token()
	return err
}

var holder = regexp.MustCompile(`\{[A-Za-z0-9_-]+\}`)

func placeholders(s string) []string {
	all := holder.FindAllString(s, -1)
	slices.Sort(all)
	return slices.Compact(all)
}

func bare(s string) string { return holder.ReplaceAllString(s, "") }

// uses is what the code says about keys.
type uses struct {
	literals map[string]bool  // every string literal
	patterns []*regexp.Regexp // literals joined with something: "problem."+code
	named    []named          // what stands where a key has to
}

type named struct {
	key   *regexp.Regexp
	shown string
	at    Finding
}

// has reports whether something makes the key: a literal, or a joint whose
// missing parts are made in the same way ("hint."+hint, where hint is
// "later-"+code and code is "gpio").
func (u *uses) has(key string) bool { return u.makes(key, 3) }

func (u *uses) makes(s string, deep int) bool {
	if u.literals[s] || deep == 0 {
		return u.literals[s]
	}
	return slices.ContainsFunc(u.patterns, func(p *regexp.Regexp) bool {
		m := p.FindStringSubmatch(s)
		return m != nil && !slices.ContainsFunc(m[1:], func(part string) bool { return !u.makes(part, deep-1) })
	})
}

// usage reads every Go file but the words' own package and tests.
func usage(t *Tree) *uses {
	u := &uses{literals: map[string]bool{}}
	wraps := wrappers(t)
	for _, f := range t.Go {
		if f.Test {
			continue
		}
		sees := imported(f)
		ast.Inspect(f.File, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.BasicLit:
				if s, ok := literal(n); ok {
					u.literals[s] = true
					if strings.Contains(s, "%") {
						u.pattern(verbs(s))
					}
				}
			case *ast.BinaryExpr:
				if p, joined := joint(n); joined {
					u.pattern(p)
				}
			case *ast.CallExpr:
				_, name, _ := strings.Cut(callee(n), ".")
				if name == "" {
					name = callee(n)
				}
				for dir, w := range wraps[name] {
					if (dir == f.Dir || sees[dir] && ast.IsExported(name)) && w.place < len(n.Args) {
						u.name(t, f, n.Args[w.place], w.form)
					}
				}
			}
			return true
		})
	}
	return u
}

// pattern keeps what could make a key: parts of keys with at least a letter.
func (u *uses) pattern(p string) {
	if keyParts.MatchString(p) {
		u.patterns = append(u.patterns, keysLike(p))
	}
}

// keysLike matches the keys that a joint can make; each missing part is a group.
func keysLike(p string) *regexp.Regexp {
	return regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(p), "\x00", "(.+)") + "$")
}

var keyParts = regexp.MustCompile(`^[a-z0-9.\x00_-]*[a-z][a-z0-9.\x00_-]*$`)

// name notes an expression that stands where a key has to, in the form that
// its function gives it.
func (u *uses) name(t *Tree, f *File, e ast.Expr, form string) {
	p, ok := literal(e)
	if !ok {
		if p, ok = joint(e); !ok {
			return
		}
	}
	p = strings.Replace(form, "\x00", p, 1)
	u.pattern(p)
	u.named = append(u.named, named{keysLike(p), strconv.Quote(strings.ReplaceAll(p, "\x00", "*")), t.at(f, e, "")})
}

// joint returns a concatenation of strings with NUL for every part that is
// not a literal.
func joint(e ast.Expr) (string, bool) {
	b, ok := e.(*ast.BinaryExpr)
	if !ok || b.Op != token.ADD {
		return "", false
	}
	part := func(e ast.Expr) string {
		if s, ok := literal(e); ok {
			return s
		}
		if s, ok := joint(e); ok {
			return s
		}
		return "\x00"
	}
	s := part(b.X) + part(b.Y)
	return s, strings.Trim(s, "\x00") != ""
}

func verbs(s string) string { return verb.ReplaceAllString(s, "\x00") }

// wrapper is a function that takes a key.
type wrapper struct {
	place int    // of the parameter
	form  string // what it makes of it: NUL, or "demo.NUL"
}

// wrappers finds them: those of the words' package, and those with a parameter
// `key string` in a package that imports it; by name, then by folder.
func wrappers(t *Tree) map[string]map[string]wrapper {
	all := map[string]map[string]wrapper{}
	put := func(name, dir string, w wrapper) {
		if all[name] == nil {
			all[name] = map[string]wrapper{}
		}
		all[name][dir] = w
	}
	for _, f := range t.Go {
		if f.Test || f.Dir != wordsPkg && !imported(f)[wordsPkg] {
			continue
		}
		ast.Inspect(f.File, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if i := keyPlace(n.Type); i >= 0 && n.Body != nil {
					put(n.Name.Name, f.Dir, wrapper{i, form(n.Body)})
				}
			case *ast.AssignStmt: // say := func(key string) …
				for k, r := range n.Rhs {
					fn, ok := r.(*ast.FuncLit)
					if !ok || len(n.Lhs) != len(n.Rhs) {
						continue
					}
					if id, ok := n.Lhs[k].(*ast.Ident); ok && keyPlace(fn.Type) >= 0 {
						put(id.Name, f.Dir, wrapper{keyPlace(fn.Type), form(fn.Body)})
					}
				}
			case *ast.TypeSpec: // i18n.Key("…") is a conversion
				if f.Dir == wordsPkg && n.Name.Name == "Key" {
					put("Key", f.Dir, wrapper{0, "\x00"})
				}
			}
			return true
		})
	}
	return all
}

// form returns what a function joins to its key.
func form(body *ast.BlockStmt) string {
	made := "\x00"
	ast.Inspect(body, func(n ast.Node) bool {
		if b, ok := n.(*ast.BinaryExpr); ok {
			id, isKey := b.Y.(*ast.Ident)
			if before, lit := literal(b.X); isKey && lit && id.Name == "key" && keyParts.MatchString(before) {
				made = before + "\x00"
			}
		}
		return true
	})
	return made
}

func keyPlace(fn *ast.FuncType) int {
	i := 0
	for _, field := range fn.Params.List {
		id, ok := field.Type.(*ast.Ident)
		for _, name := range field.Names {
			if ok && id.Name == "string" && name.Name == "key" {
				return i
			}
			i++
		}
	}
	return -1
}

// imported returns the packages of ours that a file imports.
func imported(f *File) map[string]bool {
	m := map[string]bool{}
	for _, spec := range f.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err == nil {
			if ours, ok := strings.CutPrefix(p, Module+"/"); ok {
				m[ours] = true
			}
		}
	}
	return m
}
