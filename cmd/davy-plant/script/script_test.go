package script

import (
	"strings"
	"testing"
	"time"

	"davy/agent/i18n"
)

var names = Names{Units: []string{"nh3-1", "io1"}, Tags: []string{"nh3-1.gas", "receiver1.level"}, Nodes: []string{"comp1.run"}}

// Every form, filled in, is read back as that form.
func TestForms(t *testing.T) {
	fill := strings.NewReplacer("RATE", "2.5", "NUMBER", "-3", "UNIT", "io1", "DURATION", "1m30s", "TABLE", "holding",
		"ADDRESS", "21", "CODE", "4", "TAG", "receiver1.level", "TEXT", "the leak begins",
		"EVERY", "7", "NODE", "comp1.run", "STATUS", "0x80340000")
	for _, form := range Forms {
		text := fill.Replace(form)
		c, p := ParseCommand("  "+strings.ReplaceAll(text, " ", "  ")+" ", names)
		if p != nil {
			t.Errorf("%s: %v", text, p)
			continue
		}
		if c.Form != form || c.Source != text {
			t.Errorf("%s: read as %q from %q", text, c.Form, c.Source)
		}
		has := func(word string, ok bool) {
			if strings.Contains(" "+form+" ", " "+word+" ") && !ok {
				t.Errorf("%s: %s is lost in %+v", text, word, c)
			}
		}
		has("RATE", c.Number == 2.5)
		has("NUMBER", c.Number == -3)
		has("UNIT", c.Unit == "io1")
		has("DURATION", c.Duration == 90*time.Second)
		has("TABLE", c.Table == "holding" && c.Address == 21 && c.Code == 4)
		has("TAG", c.Tag == "receiver1.level")
		has("EVERY", c.Number == 7)
		has("NODE", c.Node == "comp1.run" && c.Status == 0x80340000)
		has("TEXT", c.Text == "the leak begins")
	}
}

// A script comes back in the order of its times; comments and a BOM do not matter.
func TestScript(t *testing.T) {
	lines, problems := Parse(strings.NewReader("\ufeff# a bad day\n\nat 2s leak stop\n  at 500ms leak start 40\r\nat 2s mark after  it\n"), names)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	want := []struct {
		line int
		at   time.Duration
		text string
	}{{4, 500 * time.Millisecond, "leak start 40"}, {3, 2 * time.Second, "leak stop"}, {5, 2 * time.Second, "mark after it"}}
	if len(lines) != len(want) {
		t.Fatalf("%+v", lines)
	}
	for i, w := range want {
		if l := lines[i]; l.Line != w.line || l.At != w.at || l.Do.Source != w.text {
			t.Errorf("%d: %+v, want %+v", i, l, w)
		}
	}
}

// Every mistake of a script is reported in one go: line, cause, remedy.
func TestMistakes(t *testing.T) {
	in := []struct{ text, code, hint, says string }{
		{"at 1s leek start 4", "unknown-command", "near", "leak"},
		{"leak start 4", "no-time", "time-first", "leak start 4"},
		{"at", "no-time", "time-first", "at"},
		{"at 1s", "no-time", "time-first", "at 1s"},
		{"at soon leak stop", "bad-time", "duration", "soon"},
		{"at -1s leak stop", "bad-time", "duration", "-1s"},
		{"at 5 leak stop", "bad-time", "duration", "5"},
		{"at 9000h leak stop", "bad-time", "duration", "9000h"},
		{"at 1s leak", "missing", "form", "leak start RATE | leak stop"},
		{"at 1s leak start", "missing", "form", "leak start RATE"},
		{"at 1s leak start much", "not-here", "form", "much"},
		{"at 1s leak start -3", "not-here", "form", "-3"},
		{"at 1s leak start NaN", "not-here", "form", "NaN"},
		{"at 1s leak start 1e300", "not-here", "form", "1e300"},
		{"at 1s leak stop now", "too-much", "form", "now"},
		{"at 1s dead nh3-9", "unknown-unit", "near", "nh3-1"},
		{"at 1s hold reciever1.level 4", "unknown-tag", "near", "receiver1.level"},
		{"at 1s hold all 4", "not-here", "form", "all"},
		{"at 1s late io1 fast", "bad-time", "duration", "fast"},
		{"at 1s late io1 0s", "bad-time", "duration", "0s"},
		{"at 1s late io1 2h", "bad-time", "duration", "2h"},
		{"at 1s exception io1 holding 65536 2", "not-here", "form", "65536"},
		{"at 1s exception io1 register 4 2", "not-here", "form", "register"},
		{"at 1s exception io1 holding 4 0", "not-here", "form", "0"},
		{"at 1s exception io1 holding 4 12", "not-here", "form", "12"},
		{"at 1s condition io1 ill", "not-here", "form", "ill"},
	}
	var all []string
	for _, x := range in {
		all = append(all, x.text)
	}
	lines, problems := Parse(strings.NewReader(strings.Join(all, "\n")), names)
	if len(lines) != 0 || len(problems) != len(in) {
		t.Fatalf("%d lines and %d problems of %d", len(lines), len(problems), len(in))
	}
	for i, x := range in {
		p := problems[i]
		if p.Line != i+1 || p.Code != x.code || p.Hint != x.hint {
			t.Errorf("%q: line %d %s, hint %s; want %d %s, %s", x.text, p.Line, p.Code, p.Hint, i+1, x.code, x.hint)
		}
		for _, lang := range []i18n.Lang{i18n.En, i18n.Zh} {
			cause, remedy := p.In(lang)
			if both := cause + " " + remedy; !strings.Contains(both, x.says) || strings.ContainsAny(both, "{}⟨⟩") {
				t.Errorf("%q in %s: %s", x.text, lang, both)
			}
		}
	}
}

// A script without end is not read to its end.
func TestLimits(t *testing.T) {
	_, problems := Parse(strings.NewReader(strings.Repeat("at 1s leak stop\n", MaxLines+5)), names)
	if len(problems) != 1 || problems[0].Code != "too-many" || problems[0].Line != MaxLines+1 {
		t.Errorf("%v", problems)
	}
	_, problems = Parse(strings.NewReader("at 1s leak stop\nat 1s mark "+strings.Repeat("x", 2*MaxLine)), names)
	if len(problems) != 1 || problems[0].Code != "unreadable" || problems[0].Line != 2 {
		t.Errorf("%v", problems)
	}
	if _, p := ParseCommand("mark "+strings.Repeat("x", MaxLine), names); p == nil || p.Code != "too-long" {
		t.Errorf("%v", p)
	}
	if _, p := ParseCommand("  ", names); p == nil || p.Code != "empty" {
		t.Errorf("%v", p)
	}
}
