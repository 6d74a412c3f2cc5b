package config

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"davy/agent/i18n"
)

// Where the code and the hint of a problem stand among a call's arguments.
var problemCalls = map[string][2]int{
	"c.bad": {1, 2}, "c.badOnce": {1, 2}, "c.warn": {1, 2}, "c.unknown": {1, -1}, "c.driverBad": {1, -1}, "c.ownBad": {2, -1},
	"g.bad": {1, 2}, "r.bad": {2, 3}, "s.note": {2, 3}, "note": {2, 3}, "cv.note": {2, 3}, "refuse": {0, -1},
}

// Every problem and hint that the source can name has words, and no words are
// left over; every section has its name, every term its words.
func TestEveryCodeHasWords(t *testing.T) {
	used := map[string]bool{}
	use := func(prefix string, e ast.Expr) {
		lit, ok := e.(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING {
			return // passed on: whoever names it has it as a literal
		}
		if s, _ := strconv.Unquote(lit.Value); s != "" {
			used[prefix+s] = true
		}
	}
	set := token.NewFileSet()
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	look := func(n ast.Node) bool {
		switch x := n.(type) {
		case *ast.CallExpr:
			name := ""
			switch f := x.Fun.(type) {
			case *ast.Ident:
				name = f.Name
			case *ast.SelectorExpr:
				if id, ok := f.X.(*ast.Ident); ok {
					name = id.Name + "." + f.Sel.Name
				}
			}
			if at, ok := problemCalls[name]; ok && len(x.Args) > at[0] {
				use("problem.", x.Args[at[0]])
				if at[1] >= 0 {
					use("hint.", x.Args[at[1]])
				}
			}
			switch name {
			case "c.read":
				use("what.", x.Args[1])
			case "c.lacking":
				use("hint.", x.Args[2])
			case "key":
				use("what.", x.Args[0])
			case "c.named", "c.nameList", "c.isSection":
				use("what.", x.Args[1])
			}
		case *ast.KeyValueExpr:
			id, ok := x.Key.(*ast.Ident)
			if !ok {
				return true
			}
			switch id.Name {
			case "later":
				if lit, ok := x.Value.(*ast.BasicLit); ok {
					s, _ := strconv.Unquote(lit.Value)
					used["hint.later-"+s] = true
				}
			case "hint":
				if lit, ok := x.Value.(*ast.BasicLit); ok {
					use("hint.", lit)
				}
			case "Code", "Hint":
				if lit, ok := x.Value.(*ast.BasicLit); ok {
					use(map[string]string{"Code": "problem.", "Hint": "hint."}[id.Name], lit)
				}
			}
		}
		return true
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(set, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, look)
	}
	for _, x := range syntax {
		used["problem."+x.code] = true
		if h := hintOf(x.code); h != "" {
			used["hint."+h] = true
		}
	}
	for _, code := range []string{"yaml-broken", "yaml-anchor", "yaml-alias", "yaml-tag", "yaml-deep", "yaml-block-text", "yaml-many-lines", "yaml-gbk", "yaml-not-utf8"} {
		used["problem."+code] = true
		if h := hintOf(code); h != "" && code != "yaml-gbk" && code != "yaml-not-utf8" {
			used["hint."+h] = true
		}
	}
	for _, k := range laterKinds {
		used["hint.later-"+k] = true
	}
	for _, h := range []string{"station-not-unit", "did-you-mean", "number-form", "duration-form", "duration-m", "missing-field", "missing-davy", "missing-gateway"} {
		used["hint."+h] = true
	}
	for _, c := range Conditions {
		used["condition."+c.Code] = true
	}
	for _, c := range linkConditions {
		used["condition."+c.Code] = true
	}
	used["condition."+anyLinkCondition.Code] = true
	if len(used) < 200 {
		t.Fatalf("only %d keys found: this test does not see the calls", len(used))
	}
	for key := range used {
		if !i18n.Has(key) {
			t.Errorf("%s has no words", key)
		}
	}
	raw, err := ownWords()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^\s*"((?:problem|hint|condition|what)\.[^"]+)":`).FindAllStringSubmatch(string(raw), -1) {
		if !used[m[1]] {
			t.Errorf("%s: nobody says it", m[1])
		}
	}
}

// ownWords are the files of words that are this package's.
func ownWords() ([]byte, error) {
	a, err1 := os.ReadFile("../i18n/words/config.en.json")
	b, err2 := os.ReadFile("../i18n/words/profiles.en.json")
	return append(a, b...), errors.Join(err1, err2)
}

// Both languages have the same words with the same placeholders, and every
// golden text is without an unfilled one.
func TestLanguagesAgree(t *testing.T) {
	place := regexp.MustCompile(`\{[a-z]+\}`)
	raw, err := ownWords()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^\s*"([^"]+)":`).FindAllStringSubmatch(string(raw), -1) {
		en, zh := place.FindAllString(i18n.En.Text(m[1], nil), -1), place.FindAllString(i18n.Zh.Text(m[1], nil), -1)
		slices.Sort(en)
		slices.Sort(zh)
		if !slices.Equal(slices.Compact(en), slices.Compact(zh)) {
			t.Errorf("%s: %v in English, %v in Chinese", m[1], en, zh)
		}
	}
	for _, name := range []string{"twelve/golden.zh.txt", "twelve/golden.en.txt", "example.report.zh.txt", "example.report.en.txt"} {
		text, err := os.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "⟨") || regexp.MustCompile(`[^ :]\{[a-z]+\}`).Match(text) {
			t.Errorf("%s has a text that is not filled", name)
		}
	}
}
