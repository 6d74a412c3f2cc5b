// Package i18n holds every word a person sees, in Chinese and English.
//
// The words stand in words/<topic>.zh.json and words/<topic>.en.json: flat
// maps from a key ("problem.unknown-field") to a text with {placeholders}.
// Both languages have the same keys and the same placeholders; a test holds
// them to it. Logs are English and do not pass through here. A key without
// words is a programmer's error: it is shown as ⟨key⟩ and the tests find it.
//
// Imports: nothing of ours.
package i18n

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
)

//go:embed words/*.json
var files embed.FS

// Lang is a language.
type Lang string

// The languages.
const (
	Zh Lang = "zh"
	En Lang = "en"
)

// Args fill the placeholders of a text.
type Args map[string]any

var words = sync.OnceValue(func() map[Lang]map[string]string {
	all := map[Lang]map[string]string{Zh: {}, En: {}}
	names, _ := fs.Glob(files, "words/*.json")
	for _, name := range names {
		lang := Lang(strings.TrimSuffix(name, ".json")[strings.LastIndex(strings.TrimSuffix(name, ".json"), ".")+1:])
		raw, err := files.ReadFile(name)
		m := map[string]string{}
		if err == nil {
			err = json.Unmarshal(raw, &m)
		}
		if err != nil || all[lang] == nil {
			panic(fmt.Sprintf("BUG: i18n: %s: %v", name, err))
		}
		for k, v := range m {
			if _, twice := all[lang][k]; twice {
				panic(fmt.Sprintf("BUG: i18n: %s: key %q stands twice", name, k))
			}
			all[lang][k] = v
		}
	}
	return all
})

// Has reports whether there are words for key.
func Has(key string) bool { _, ok := words()[En][key]; return ok }

// Text returns the words for key with its placeholders filled. A placeholder
// without an argument stays as it is. A value that is an Args-free Lang-aware
// text (a Texter) is asked for its text in l.
func (l Lang) Text(key string, args Args) string {
	t, ok := words()[l][key]
	if !ok {
		return "⟨" + key + "⟩"
	}
	if len(args) == 0 || !strings.Contains(t, "{") {
		return t
	}
	pairs := make([]string, 0, 2*len(args))
	for k, v := range args {
		var s string
		if x, ok := v.(Texter); ok {
			s = x.In(l)
		} else {
			s = fmt.Sprint(v)
		}
		pairs = append(pairs, "{"+k+"}", s)
	}
	return strings.NewReplacer(pairs...).Replace(t)
}

// Texter is a value with words of its own.
type Texter interface{ In(Lang) string }

// Key is a Texter: the words of another key.
type Key string

// In returns the key's words.
func (k Key) In(l Lang) string { return l.Text(string(k), nil) }

// Parse reads "zh" or "en", also as a locale ("zh_CN.UTF-8").
func Parse(s string) (Lang, bool) {
	switch {
	case strings.HasPrefix(strings.ToLower(s), "zh"):
		return Zh, true
	case strings.HasPrefix(strings.ToLower(s), "en"):
		return En, true
	}
	return En, false
}

// FromEnv returns the language of the environment: LC_ALL, LC_MESSAGES, LANG; English if none says.
func FromEnv() Lang {
	for _, name := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		if v := os.Getenv(name); v != "" {
			l, _ := Parse(v)
			return l
		}
	}
	return En
}
