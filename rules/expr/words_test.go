package expr

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every code and hint has words in both languages, and no words are left over.
func TestEveryCodeHasWords(t *testing.T) {
	codes := map[string]bool{}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`"(expr-[a-z-]+)"`).FindAllStringSubmatch(string(src), -1) {
			codes[m[1]] = true
		}
	}
	if len(codes) < 30 {
		t.Fatalf("only %d codes seen", len(codes))
	}
	for _, lang := range []string{"zh", "en"} {
		raw, err := os.ReadFile("../../agent/i18n/words/expr." + lang + ".json")
		words := map[string]string{}
		if err == nil {
			err = json.Unmarshal(raw, &words)
		}
		if err != nil {
			t.Fatal(err)
		}
		for code := range codes {
			if words["problem."+code] == "" && words["hint."+code] == "" {
				t.Errorf("%s: no words for %s", lang, code)
			}
		}
		for key := range words {
			if _, code, _ := strings.Cut(key, "."); !codes[code] {
				t.Errorf("%s: nobody says %s", lang, key)
			}
		}
	}
}
