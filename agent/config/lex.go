package config

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"davy/rules"
)

// maxTokens is the most words of one value; a longer one is cut and named.
const maxTokens = 64

// lex cuts the text of a value into words, comparison signs and commas, each
// with its place.
func (c *compiler) lex(n *node) []*node {
	var toks []*node
	s := n.text
	for i := 0; i < len(s) && len(toks) < maxTokens; {
		j := i
		switch {
		case s[i] == ' ':
			i++
			continue
		case s[i] == ',':
			j++
		case opAt(s[i:]) > 0:
			j += opAt(s[i:])
		default:
			for j < len(s) && s[j] != ' ' && s[j] != ',' && opAt(s[j:]) == 0 {
				j++
			}
		}
		toks = append(toks, n.piece(i, j))
		i = j
	}
	return toks
}

var ops = []struct {
	sign string
	op   rules.Op
}{
	{">=", rules.GE},
	{"<=", rules.LE},
	{"!=", rules.NE},
	{"≥", rules.GE},
	{"≤", rules.LE},
	{"≠", rules.NE},
	{"==", rules.EQ},
	{">", rules.GT},
	{"<", rules.LT},
	{"=", rules.EQ},
}

func opAt(s string) int {
	for _, o := range ops {
		if strings.HasPrefix(s, o.sign) {
			return len(o.sign)
		}
	}
	return 0
}

func opOf(s string) (rules.Op, bool) {
	i := slices.IndexFunc(ops, func(o struct {
		sign string
		op   rules.Op
	},
	) bool {
		return o.sign == s
	})
	if i < 0 {
		return 0, false
	}
	return ops[i].op, true
}

// isNumber reports a decimal number: sign, digits, point, exponent.
func numberLen(s string) int {
	i := 0
	if i < len(s) && (s[i] == '-' || s[i] == '+') {
		i++
	}
	digits := 0
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i, digits = i+1, digits+1
	}
	if digits > 0 && i+1 < len(s) && s[i] == '.' && s[i+1] >= '0' && s[i+1] <= '9' {
		for i++; i < len(s) && s[i] >= '0' && s[i] <= '9'; i++ {
		}
	}
	if digits == 0 {
		return 0
	}
	if j := i + 1; i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		if j < len(s) && (s[j] == '-' || s[j] == '+') {
			j++
		}
		if j < len(s) && s[j] >= '0' && s[j] <= '9' {
			for ; j < len(s) && s[j] >= '0' && s[j] <= '9'; j++ {
			}
			i = j
		}
	}
	return i
}

// number takes a number from the first of toks. What is glued to it ("150ppm")
// comes back as the first of rest.
func (c *compiler) number(toks []*node, whole *node) (v float64, rest []*node, ok bool) {
	if len(toks) == 0 {
		c.bad(whole, "number-missing", "", "text", whole.text)
		return 0, nil, false
	}
	t := toks[0]
	n := numberLen(t.text)
	v, err := strconv.ParseFloat(t.text[:n], 64)
	if n == 0 || err != nil || math.IsInf(v, 0) {
		hint := ""
		if strings.ContainsAny(t.text, "0123456789") {
			hint = "number-form"
		}
		c.bad(t, "bad-number", hint, "text", t.text)
		return 0, nil, false
	}
	tail := t.text[n:]
	if strings.HasPrefix(tail, ".") || len(tail) > 1 && (tail[0] == 'x' || tail[0] == 'X') {
		c.bad(t, "bad-number", "number-form", "text", t.text)
		return 0, nil, false
	}
	rest = toks[1:]
	if n < len(t.text) {
		rest = append([]*node{t.piece(n, len(t.text))}, rest...)
	} else if len(rest) > 1 && rest[0].text == "," && numberLen(rest[1].text) > 0 && rest[0].place.Col == t.place.Col+t.width && rest[1].place.Col == rest[0].place.Col+1 {
		c.bad(t, "bad-number", "number-comma", "text", t.text+","+rest[1].text)
		return 0, nil, false
	}
	return v + 0, rest, true
}

// notUnits are the words that end a quantity: they cannot be units.
var notUnits = []string{",", "to", "for", "within", "by", "every", "or", "then", "change", "after", "test", "uncertain", "forced", "bad", "when", "all", "at"}

// unit takes a unit from the first of toks, in the one way we write it; ""
// where there is none.
func unit(toks []*node) (u string, at *node, rest []*node) {
	if len(toks) == 0 || slices.Contains(notUnits, toks[0].text) || opAt(toks[0].text) > 0 {
		return "", nil, toks
	}
	return canonical(toks[0].text), toks[0], toks[1:]
}

// canonical writes a unit as we do: ℃ and degC as °C, ％ as %, m3 as m³.
func canonical(u string) string {
	switch u {
	case "℃", "degC", "º" + "C", "˚C":
		return "°C"
	case "℉", "degF":
		return "°F"
	}
	u = strings.ReplaceAll(u, "％", "%")
	for _, x := range []string{"m", "dm", "cm"} {
		u = strings.ReplaceAll(u, "/"+x+"3", "/"+x+"³")
		if u == x+"3" || strings.HasPrefix(u, x+"3/") {
			u = x + "³" + u[len(x)+1:]
		}
	}
	return u
}

// maxUnit is the longest unit, in bytes.
const maxUnit = 16

func (c *compiler) goodUnit(at *node, u string) bool {
	ok := len(u) <= maxUnit && u != ""
	for _, r := range u {
		ok = ok && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("%/°³²µ·*-_()^.", r))
	}
	if !ok {
		c.bad(at, "bad-unit", "", "text", u)
	}
	return ok
}

var spans = map[string]time.Duration{
	"ms": time.Millisecond, "s": time.Second, "min": time.Minute, "h": time.Hour, "d": 24 * time.Hour,
}

// duration takes a duration ("10s", "10 min") from the first of toks.
func (c *compiler) duration(toks []*node, whole *node) (time.Duration, []*node, bool) {
	if len(toks) == 0 {
		c.bad(whole, "duration-missing", "duration-form", "text", whole.text)
		return 0, nil, false
	}
	first := toks[0]
	if numberLen(first.text) == 0 {
		c.bad(first, "bad-duration", "duration-form", "text", first.text)
		return 0, nil, false
	}
	v, rest, ok := c.number(toks, whole)
	if !ok {
		return 0, nil, false
	}
	if v == 0 && (len(rest) == 0 || rest[0].text == ",") {
		return 0, rest, true
	}
	if len(rest) == 0 || spans[rest[0].text] == 0 {
		text, hint := first.text, "duration-form"
		if len(rest) > 0 && rest[0].text == "m" {
			hint = "duration-m"
		}
		c.bad(first, "bad-duration", hint, "text", text)
		return 0, nil, false
	}
	d := v * float64(spans[rest[0].text])
	if d < 0 || d > float64(maxSpan) {
		c.bad(first, "out-of-bounds", "", "text", first.text, "low", "0s", "high", spell(maxSpan))
		return 0, nil, false
	}
	return time.Duration(math.Round(d)), rest[1:], true
}

// maxSpan is the longest duration that can be written.
const maxSpan = 3650 * 24 * time.Hour

// expect takes the given words from toks; what stands there instead is named.
func (c *compiler) expect(toks []*node, whole *node, form string, words ...string) ([]*node, bool) {
	for _, w := range words {
		if len(toks) == 0 {
			c.bad(whole, "bad-form", "write-form", "text", whole.text, "form", form)
			return nil, false
		}
		if toks[0].text != w {
			c.bad(toks[0], "bad-form", "write-form", "text", toks[0].text, "form", form)
			return nil, false
		}
		toks = toks[1:]
	}
	return toks, true
}

// nothing says that something follows where nothing may.
func (c *compiler) nothing(toks []*node) bool {
	if len(toks) > 0 {
		c.bad(toks[0], "unexpected", "", "text", toks[0].text)
		return false
	}
	return true
}

func starts(toks []*node, words ...string) bool {
	if len(toks) < len(words) {
		return false
	}
	for i, w := range words {
		if toks[i].text != w {
			return false
		}
	}
	return true
}
