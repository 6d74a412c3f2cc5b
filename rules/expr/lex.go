package expr

import (
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

type tokenKind uint8

const (
	tokEnd tokenKind = iota
	tokNumber
	tokName
	tokText
	tokOp // operators, parentheses, comma, and or not
)

type token struct {
	kind       tokenKind
	off, width int
	text       string // the name, the text without quotes, the operator as we write it
	num        float64
	unit       string // of a number, as written
	unitOff    int
	before     bool // a blank stands before it
	after      bool
}

// lexer cuts a source into tokens. A character that is none is a problem, once.
type lexer struct {
	src   string
	env   *Env
	at    int
	notes *notes
}

// signs are the operators, longest first, and how we write them.
var signs = [...][2]string{
	{"&&", "and"},
	{"||", "or"},
	{"==", "="},
	{"!=", "!="},
	{"<=", "<="},
	{">=", ">="},
	{"≠", "!="},
	{"≤", "<="},
	{"≥", ">="},
	{"<", "<"},
	{">", ">"},
	{"=", "="},
	{"+", "+"},
	{"-", "-"},
	{"*", "*"},
	{"/", "/"},
	{"(", "("},
	{")", ")"},
	{",", ","},
}

func (l *lexer) next() token {
	start := l.at
	l.blanks()
	t := token{off: l.at, before: l.at > start || start == 0}
	rest := l.src[l.at:]
	r, size := utf8.DecodeRuneInString(rest)
	switch {
	case rest == "":
		return t
	case nameStart(r):
		t.kind, t.text = tokName, rest[:nameLen(rest)]
		l.at += len(t.text)
		if keyword(t.text) {
			t.kind = tokOp
		}
	case r >= '0' && r <= '9':
		name := rest[:nameLen(rest)]
		if _, ok := l.env.Tag(name); ok && strings.ContainsFunc(name, unicode.IsLetter) {
			t.kind, t.text = tokName, name // a tag whose name begins with a digit
			l.at += len(name)
			break
		}
		l.number(&t)
	case r == '"' || r == '\'':
		end := strings.IndexRune(rest[1:], r)
		t.kind = tokText
		if end < 0 {
			t.text = rest[1:]
			l.at = len(l.src)
			l.notes.bad(t.off, len(rest), "expr-unclosed-text", "")
			break
		}
		t.text = rest[1 : 1+end]
		l.at += end + 2
	default:
		for _, s := range signs {
			if strings.HasPrefix(rest, s[0]) {
				t.kind, t.text = tokOp, s[1]
				l.at += len(s[0])
				t.width = len(s[0])
				t.after = l.at == len(l.src) || blank(l.src[l.at])
				return t
			}
		}
		l.at += size
		switch {
		case r == '!':
			l.notes.bad(t.off, size, "expr-character", "did-you-mean", "text", "!", "want", "not")
		case r >= 0xff01 && r <= 0xff5e:
			l.notes.bad(t.off, size, "expr-character", "did-you-mean", "text", string(r), "want", string(r-0xff01+'!'))
		default:
			l.notes.bad(t.off, size, "expr-character", "", "text", string(r))
		}
		return l.next()
	}
	t.width = l.at - t.off
	return t
}

func blank(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

func (l *lexer) blanks() {
	for l.at < len(l.src) && blank(l.src[l.at]) {
		l.at++
	}
}

func keyword(s string) bool { return s == "and" || s == "or" || s == "not" }

func nameStart(r rune) bool { return r == '_' || unicode.IsLetter(r) && r != utf8.RuneError }

// nameLen is how much of s is a name, read greedily.
func nameLen(s string) int {
	for i, r := range s {
		if !nameStart(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) && r != '.' && r != '-' && r != '/' {
			return i
		}
	}
	return len(s)
}

// number takes a number and the unit behind it.
func (l *lexer) number(t *token) {
	n := numberLen(l.src[l.at:])
	text := l.src[l.at : l.at+n]
	v, err := strconv.ParseFloat(text, 64)
	t.kind, t.num = tokNumber, v+0
	l.at += n
	if err != nil || math.IsInf(v, 0) {
		t.num = 0
		l.notes.bad(t.off, n, "expr-number", "", "text", text)
	}
	end := l.at
	l.blanks()
	if m := unitLen(l.src[l.at:]); m > 0 {
		t.unit, t.unitOff = l.src[l.at:l.at+m], l.at
		l.at += m
		return
	}
	l.at = end
}

// numberLen is how much of s is a number: digits, a point and digits, an exponent.
func numberLen(s string) int {
	digits := func(i int) int {
		for i < len(s) && s[i] >= '0' && s[i] <= '9' {
			i++
		}
		return i
	}
	n := digits(0)
	if n < len(s) && s[n] == '.' {
		n = digits(n + 1)
	}
	if n < len(s) && (s[n] == 'e' || s[n] == 'E') {
		i := n + 1
		if i < len(s) && (s[i] == '-' || s[i] == '+') {
			i++
		}
		if end := digits(i); end > i {
			return end
		}
	}
	return n
}

// unitLen is how much of s is a unit. A parenthesis belongs to it where its
// partner comes before a blank: "kPa(g)", "W/(m²·K)".
func unitLen(s string) int {
	rest, per := strings.CutPrefix(s, "1/")
	if per {
		s = rest
	}
	n, depth := 0, 0
	for i, r := range s {
		switch {
		case unicode.IsLetter(r) && r != utf8.RuneError, strings.ContainsRune("%‰°℃℉％", r), r >= 0x3380 && r <= 0x33df:
		case i > 0 && (unicode.IsDigit(r) || strings.ContainsRune("²³⁴⁻¹₂·/^._", r)):
		case (i > 0 || per) && r == '(' && depth == 0 && closes(s[i:]):
			depth++
		case r == ')' && depth == 1:
			depth--
		default:
			return word(s[:n], per)
		}
		n = i + utf8.RuneLen(r)
	}
	return word(s[:n], per)
}

// closes reports whether the parenthesis that s begins with is closed before a blank.
func closes(s string) bool {
	i := strings.IndexAny(s, ") \t\r\n,")
	return i > 0 && s[i] == ')'
}

// word is how long a unit is that stands alone, or behind "1/"; and, or and
// not are none.
func word(s string, per bool) int {
	switch {
	case s == "" || keyword(strings.ToLower(s)):
		return 0
	case per:
		return len(s) + len("1/")
	}
	return len(s)
}
