// Package operate uses words. Most of them exist, and 中文 in a comment is no text.
package operate

import (
	"fmt"
	"os"

	"davy/agent/i18n"
)

func use(code string) {
	i18n.Text("a.same")
	i18n.Text("a.missing")
	i18n.Text("a.joined." + code)
	i18n.Text("a.nothing." + code)
	say("a.placeholder")
	say("a.gone")
	_ = i18n.Key("a.unit")
	_ = []string{"a.empty", "a.untranslated", "a.chinese", "a.english-only", "a.chinese-only"}
	_ = fmt.Sprintf("a.formatted.%s", code)

	fmt.Println("泄漏")
	fmt.Fprintln(os.Stdout, "gas is leaking")
	fmt.Printf("%s: %d\n", code, 1)
	_ = fmt.Errorf("read link: no answer")
}

func joined(key string) { i18n.Text("a.joined." + key) }

func more() {
	joined("called")
	joined("not-called")
	_ = "deep-" + codes[0]
}

func say(key string) { fmt.Println(i18n.Text(key)) }

var codes = []string{"one"}
