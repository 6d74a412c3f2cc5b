package i18n

import "testing"

func TestText(t *testing.T) {
	f := func(l Lang, key string, args Args, want string) {
		t.Helper()
		if got := l.Text(key, args); got != want {
			t.Errorf("%s %s: %q, want %q", l, key, got, want)
		}
	}
	f(En, "cli.arguments", Args{"command": "davy check", "args": "SITE"}, "davy check takes: SITE")
	f(Zh, "cli.arguments", Args{"command": "davy check", "args": Key("davy.check.args")}, "davy check 的参数：站点目录")
	f(En, "cli.arguments", Args{"command": "{args}", "args": "SITE"}, "{args} takes: SITE") // a value is no pattern
	f(En, "cli.arguments", nil, "{command} takes: {args}")
	f(En, "cli.arguments", Args{"command": 7, "unused": 1}, "7 takes: {args}")
	f(Zh, "no.such.key", nil, "⟨no.such.key⟩")
	f("fr", "cli.error", nil, "⟨cli.error⟩")
	if !Has("cli.error") || Has("no.such.key") {
		t.Error("Has does not know what there is")
	}
}

func TestFromEnv(t *testing.T) {
	f := func(all, messages, lang string, want Lang) {
		t.Helper()
		t.Setenv("LC_ALL", all)
		t.Setenv("LC_MESSAGES", messages)
		t.Setenv("LANG", lang)
		if got := FromEnv(); got != want {
			t.Errorf("LC_ALL=%q LC_MESSAGES=%q LANG=%q: %s, want %s", all, messages, lang, got, want)
		}
	}
	f("", "", "", En)
	f("", "", "zh_CN.UTF-8", Zh)
	f("", "zh_CN", "en_US.UTF-8", Zh)
	f("C", "", "zh_CN.UTF-8", En) // LC_ALL goes before LANG, also where it says nothing we know
	f("ZH", "", "", Zh)
	f("", "", "de_DE.UTF-8", En)
}

func TestWidth(t *testing.T) {
	f := func(s string, want int) {
		t.Helper()
		if got := Width(s); got != want {
			t.Errorf("%q: %d columns, want %d", s, got, want)
		}
	}
	f("", 0)
	f("fan1", 4)
	f("氨探测器1", 9)
	f("（，）：", 8) // full-width punctuation
	f("“x”", 3)
	f("°C µ NH₃", 8)
	f("e\u0301", 1)
	f("\u200b\ufeff", 0)
	f("𠮷", 2)
	f("ｱﾞ", 2) // half-width kana
	if got := Pad("氨", 4) + "|" + Pad("abcde", 4) + "|"; got != "氨  |abcde|" {
		t.Errorf("padded: %q", got)
	}
}
