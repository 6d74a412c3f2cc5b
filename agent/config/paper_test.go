package config

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func paperCodes(text string) (got []string, p *paper) {
	p = readPaper("f", []byte(text), func(x Problem) {
		got = append(got, fmt.Sprintf("%s %d:%d", x.Code, x.Place.Line, x.Place.Col))
	})
	slices.Sort(got)
	return got, p
}

// Everything of YAML that is refused or named, with its place; after it a
// second mistake on the last line, which must not be hidden.
func TestPaperRefuses(t *testing.T) {
	for _, x := range []struct{ text, want string }{
		{"a: &x {b: 1}", "yaml-anchor 1:4"},
		{"a: &x\n  b: 1", "yaml-anchor 1:4"},
		{"a: *x", "yaml-alias 1:4"},
		{"a: [1, *x, 2]", "yaml-alias 1:8"},
		{"a: !run", "yaml-tag 1:4"},
		{"a: !!str 5", "yaml-tag 1:4"},
		{"a: {b: !x 5, c: 1}", "yaml-tag 1:8"},
		{"<<: {b: 1}", "yaml-merge 1:1"},
		{"<<: *b", "yaml-alias 1:5, yaml-merge 1:1"},
		{"a:", "yaml-no-value 1:1"},
		{"a:  # a comment", "yaml-no-value 1:1"},
		{"a: {b: , c: 1}", "yaml-no-value 1:5"},
		{"a:\n  - 1\n  -", "yaml-no-value 3:4"},
		{"a: {zh: 机房, 二号}", "yaml-comma 1:13"},
		{"\ta: 1", "yaml-tab 1:1"},
		{"a:\n\tb: 1\n\tc: 2", "yaml-tab 2:1, yaml-tab 3:1"},
		{"a:\t1", "yaml-tab 1:3"},
		{"\ufeffa: 1", "yaml-bom 1:1"},
		{"a：1", "yaml-full-width 1:2"},
		{"a： 1", "yaml-full-width 1:2"},
		{"a: {b：1， c: 2}", "yaml-full-width 1:6, yaml-full-width 1:8"},
		{"a: ｛b: 1｝", "yaml-full-width 1:4, yaml-full-width 1:9"},
		{"a: [1，2]", "yaml-full-width 1:6"},
		{"a: “text”", "yaml-full-width 1:4"},
		{"a:\n  － 1", "yaml-full-width 2:3"},
		{"a:\u30001", "yaml-odd-blank 1:3"},
		{"a:\n\u3000b: 1", "yaml-odd-blank 2:1"},
		{"a: 冷库 #3", "yaml-hash 1:7"},
		{"a: {zh: 冷库 #3, en: Store}", "yaml-hash 1:12"},
		{"a: {t:1}", "yaml-colon-blank 1:6"},
		{"a: {t:1, u:2}", "yaml-colon-blank 1:11, yaml-colon-blank 1:6"},
		{"t:1", "yaml-colon-blank 1:2"},
		{"a:\n  - demand:fan1", "yaml-colon-blank 2:11"},
		{"a: 1\na: 2", "duplicate-key 2:1"},
		{"a: {b: 1, b: 2}", "duplicate-key 1:11"},
		{"a: 1\n---\nb: 2", "yaml-many-documents 2:1"},
		{"a: 1\n...\nb: 2", "yaml-many-documents 2:1"},
		{"%YAML 1.2\na: 1", "yaml-directive 1:1"},
		{"a: %", "yaml-needs-quotes 1:4"},
		{"a: >= 95", "yaml-needs-quotes 1:4"},
		{"a: {b: >= 95, c: %}", "yaml-needs-quotes 1:18, yaml-needs-quotes 1:8"},
		{"a: @x", "yaml-needs-quotes 1:4"},
		{"a: `x`", "yaml-needs-quotes 1:4"},
		{"a: != 5", "yaml-needs-quotes 1:4"},
		{"a: |\n  text\n  more", "yaml-block-text 1:4"},
		{"a: >-\n  text", "yaml-block-text 1:4"},
		{"a: one\n  two", "yaml-many-lines 1:4"},
		{"a: 'one\n  two'", "yaml-quote-open 1:4, yaml-indent 2:3"},
		{"a: \"open", "yaml-quote-open 1:4"},
		{"a: 'open", "yaml-quote-open 1:4"},
		{"a: \"x\\ny\"", "yaml-many-lines 1:4"},
		{"a: {b: 1", "yaml-bracket-open 1:4"},
		{"a: [1, 2", "yaml-bracket-open 1:4"},
		{"a: {b: [1, 2}", "yaml-bracket-open 1:8"},
		{"a: b: c", "yaml-unexpected-colon 1:5"},
		{"a: 1\n  b: 2", "yaml-unexpected-colon 2:4"},
		{"a:\n  b: 1\n c: 2", "yaml-indent 3:2"},
		{"a: 1\n- b", "yaml-indent 2:1"},
		{"? a\n: b", "yaml-key 1:1, yaml-broken 2:1"},
		{"{a: 1}: 2", "yaml-key 1:1"},
		{"a: x\x00y", "yaml-control 1:5"},
		{"a: 'x\u202ey'", "yaml-control 1:6"},
		{"a: x\u2028y", "yaml-control 1:5"},
		{"a: \xc0\xe4\xbf\xe2", "yaml-gbk 1:4"}, // 冷库
		{"a: x\xffy", "yaml-not-utf8 1:5"},
		{"a: {b: {c: {d: {e: {f: {g: {h: {i: {j: {k: {l: {m: {n: 1}}}}}}}}}}}}}", "yaml-deep"},
	} {
		got, _ := paperCodes(x.text)
		want := strings.Split(x.want, ", ")
		slices.Sort(want)
		switch {
		case x.want == "yaml-deep":
			if len(got) != 1 || !strings.HasPrefix(got[0], "yaml-deep") {
				t.Errorf("%q: got %v", x.text, got)
			}
			continue
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: got %v, want %v", x.text, got, want)
		}
		last := "\nz:\nz: 4 #x"
		line := strings.Count(x.text, "\n") + 3
		got, _ = paperCodes(x.text + last)
		if !slices.Contains(got, fmt.Sprintf("yaml-hash %d:6", line)) {
			t.Errorf("%q hides a mistake after it: %v", x.text, got)
		}
		for _, w := range want {
			if !slices.Contains(got, w) {
				t.Errorf("%q with a mistake after it: got %v, lacks %s", x.text, got, w)
			}
		}
	}
}

// What technicians write and YAML can read is taken as it stands.
func TestPaperTakesAsItStands(t *testing.T) {
	text := `# a comment
a: -50 to 180 °C
b: 0 to 100 %
c: {d: 5 %, e: 'it''s', f: "冷库 #3"}   # a comment, with: a colon
g: 0231
h: 0x10
i: 010000E89
j: no
k: 机房：二号，三号
l: [coil 0, coil 1]
m: modbus://192.168.1.20:502
n: tls://receiver.example:8883
o: 08:00
p: nh3-1.gas >= 150 ppm
q: “一级”报警
r: ~
s: {zh: “一”和“二”, en: x#y}
t: C# minor
`
	got, p := paperCodes(text)
	if len(got) > 0 {
		t.Fatalf("problems: %v", got)
	}
	for key, want := range map[string]string{
		"a": "-50 to 180 °C", "b": "0 to 100 %", "g": "0231", "h": "0x10", "i": "010000E89", "j": "no", "k": "机房：二号，三号",
		"m": "modbus://192.168.1.20:502", "n": "tls://receiver.example:8883", "o": "08:00", "p": "nh3-1.gas >= 150 ppm", "q": "“一级”报警", "r": "~", "t": "C# minor",
	} {
		if n := p.root.get(key); n == nil || n.text != want {
			t.Errorf("%s: got %v, want %q", key, n, want)
		}
	}
	if n := p.root.get("c").get("f"); n.text != "冷库 #3" || n.place.Col != 28 || !n.quoted {
		t.Errorf("c.f: %+v", n)
	}
	if n := p.root.get("c").get("e"); n.text != "it's" {
		t.Errorf("c.e: %+v", n)
	}
	if n := p.root.get("s").get("en"); n.text != "x#y" || n.place.String() != "f:17:22" {
		t.Errorf("s.en: %+v", n)
	}
	if n := p.root.get("l"); n.kind != list || len(n.items) != 2 || n.items[1].text != "coil 1" {
		t.Errorf("l: %+v", n)
	}
}

// Windows line ends do not shift anything.
func TestPaperLineEnds(t *testing.T) {
	got, p := paperCodes("a: 1\r\nb: {c: 2}\r\nd: x #y\r\n")
	if !slices.Equal(got, []string{"yaml-hash 3:6"}) {
		t.Errorf("got %v", got)
	}
	if n := p.root.get("b").get("c"); n.text != "2" {
		t.Errorf("b.c: %+v", n)
	}
}

// Columns are characters of the file, also after a repair put something in.
func TestPaperColumnsAfterRepair(t *testing.T) {
	_, p := paperCodes("a: {b：1，c: 2， dd: 3}")
	for key, want := range map[string]int{"b": 7, "c": 12, "dd": 19} {
		if n := p.root.get("a").get(key); n == nil || n.place.Col != want {
			t.Errorf("%s: %+v, want column %d", key, n, want)
		}
	}
}

func TestLayOut(t *testing.T) {
	for _, x := range []struct {
		line       string
		col, width int
		pad, caret int
	}{
		{"name: x", 7, 1, 6, 1},
		{"name: 江阴冷库 #3", 12, 1, 15, 1},
		{"name: 江阴", 7, 2, 6, 4},
		{"a\tb", 3, 1, 2, 1},
		{"short", 99, 3, 5, 1},
		{"°C ppm", 4, 3, 3, 3},
	} {
		_, pad, caret := layOut(x.line, x.col, x.width)
		if pad != x.pad || caret != x.caret {
			t.Errorf("%q %d+%d: got %d+%d, want %d+%d", x.line, x.col, x.width, pad, caret, x.pad, x.caret)
		}
	}
	shown, pad, _ := layOut(strings.Repeat("长", 400)+"X", 401, 1)
	if cells([]rune(shown)) > shownWidth || pad >= cells([]rune(shown)) || !strings.HasSuffix(shown, "X") {
		t.Errorf("long line: %d cells, pad %d", cells([]rune(shown)), pad)
	}
}

// The caret stands right under a file of another encoding too.
func TestGBKCaret(t *testing.T) {
	b := bundleOf("davy: 1\ngateway: {id: A, name: \xc0\xe4\xbf\xe2, bord: x}\n", "")
	_, problems := Compile(b, testSet())
	if want := []string{"yaml-gbk site.yaml:2:24", "unknown-field site.yaml:2:28"}; !slices.Equal(codes(problems), want) {
		t.Fatalf("got %v", codes(problems))
	}
	var out strings.Builder
	if err := problems.Write(&out, "en", b); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")
	line, caret := []rune(lines[4]), lines[5]
	if at := strings.IndexRune(caret, '^'); string(line[at:at+4]) != "bord" {
		t.Errorf("the caret is off:\n%s", out.String())
	}
}
