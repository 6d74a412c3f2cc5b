package config

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"davy/agent/i18n"
	"davy/rules"
)

// A field is one key that a section may have.
type field struct {
	name  string
	must  bool
	later string   // belongs to a later release: hint "later-<later>" says what to write instead
	of    string   // belongs to links of other kinds, which it names
	other bool     // another kind of link, while this one's is known: not worth a list
	hint  string   // hint for where it is missing
	also  []string // what people write for it
}

// A form is the fields of one kind of section, in the order of the documents.
type form []field

// fields is a section read against its form.
type fields struct {
	c    *compiler
	n    *node
	form form
	vals map[string]*node
}

// read takes a section's keys against its form and names, in one place, what
// is unknown, what belongs to a later release, and what is missing. The
// result may be used whatever was wrong.
func (c *compiler) read(n *node, what string, f form) fields {
	out := fields{c, n, f, map[string]*node{}}
	if !c.isSection(n, what) {
		return out
	}
	for _, p := range n.pairs {
		i := slices.IndexFunc(f, func(x field) bool { return x.name == p.key.text })
		switch {
		case i < 0:
			c.unknownField(p.key, what, f)
		case f[i].later != "":
			c.bad(p.key, "not-in-this-version", "later-"+f[i].later, "what", p.key.text)
			p.val.lost = true
			out.vals[p.key.text] = p.val
		case f[i].of != "":
			c.bad(p.key, "field-of-other-kind", "field-of-other-kind", "field", p.key.text, "kinds", f[i].of)
			p.val.lost = true
			out.vals[p.key.text] = p.val
		default:
			out.vals[p.key.text] = p.val
		}
	}
	for _, x := range f {
		if x.must && out.vals[x.name] == nil && !c.lostNear(n, x.name) {
			hint := x.hint
			if hint == "" {
				hint = "missing-field"
			}
			c.badOnce(n, "missing-field", hint, "field", x.name, "what", i18n.Key("what."+what))
		}
	}
	return out
}

func (c *compiler) unknownField(key *node, what string, f form) {
	for _, x := range f {
		if slices.Contains(x.also, strings.ToLower(key.text)) {
			if x.name == "station" {
				c.bad(key, "unknown-field", "station-not-unit", "field", key.text, "what", i18n.Key("what."+what))
			} else {
				c.bad(key, "unknown-field", "did-you-mean", "field", key.text, "what", i18n.Key("what."+what), "want", x.name)
			}
			return
		}
	}
	var names []string
	for _, x := range f {
		if x.later == "" && x.of == "" && !x.other {
			names = append(names, x.name)
		}
	}
	if near := c.nearest(key.text, names); near == "station" {
		c.bad(key, "unknown-field", "did-you-mean-station", "field", key.text, "what", i18n.Key("what."+what))
	} else if near != "" {
		c.bad(key, "unknown-field", "did-you-mean", "field", key.text, "what", i18n.Key("what."+what), "want", near)
	} else {
		c.bad(key, "unknown-field", "fields-are", "field", key.text, "what", i18n.Key("what."+what), "list", listing(strings.Join(names, ", ")))
	}
}

// get returns a field's value, nil where it is not written.
func (f fields) get(name string) *node {
	if !slices.ContainsFunc(f.form, func(x field) bool { return x.name == name }) {
		panic("BUG: config: field " + name + " is not in its form")
	}
	return f.vals[name]
}

// nameList returns the entries of a section whose keys are names that people
// give (links, devices, tags), leaving out those that cannot be names.
func (c *compiler) nameList(n *node, what string) []pair {
	if !c.isSection(n, what) {
		return nil
	}
	var out []pair
	for _, p := range n.pairs {
		if c.name(p.key) {
			out = append(out, p)
		}
	}
	return out
}

// maxNameLen is the longest name of a link, a device, a tag or a rule.
const maxNameLen = 48

func (c *compiler) name(n *node) bool {
	if n.lost {
		return false
	}
	s := n.text
	ok := len(s) <= maxNameLen && s != ""
	for i, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		ok = ok && (letter || i > 0 && (r == '-' || r == '_'))
	}
	if !ok && !c.wide(n) {
		c.bad(n, "bad-name", "bad-name", "name", s)
	}
	return ok
}

// isSection reports whether there is a section to read; what has another form is named.
func (c *compiler) isSection(n *node, what string) bool {
	if n == nil || n.lost {
		return false
	}
	if n.kind != section {
		c.bad(n, "not-a-section", "not-a-section", "what", key(what), "text", n.text)
	}
	return n.kind == section
}

// isList is isSection for a list; form shows how its first line is written.
func (c *compiler) isList(n *node, form string) bool {
	if n == nil || n.lost {
		return false
	}
	if n.kind != list {
		c.bad(n, "not-a-list", "write-list", "form", form)
	}
	return n.kind == list
}

// isScalar is isSection for one value.
func (c *compiler) isScalar(n *node) bool {
	if n == nil || n.lost {
		return false
	}
	if n.kind != scalar {
		c.bad(n, "not-a-value", "not-a-value")
	}
	return n.kind == scalar
}

// plain returns the text of a field that is not prose; full-width characters
// in it are named. ok is false where there is none or something was reported.
func (c *compiler) plain(n *node) (string, bool) {
	if !c.isScalar(n) || c.wide(n) {
		return "", false
	}
	return n.text, true
}

// wide names the first full-width or odd character of a text that is none of prose.
func (c *compiler) wide(n *node) bool {
	for i, r := range n.text {
		want, ok := narrow(r)
		if !ok {
			continue
		}
		at := n.piece(i, i+utf8.RuneLen(r))
		if want == " " {
			c.bad(at, "yaml-odd-blank", "yaml-odd-blank")
		} else {
			c.bad(at, "yaml-full-width", "yaml-full-width", "found", string(r), "want", want)
		}
		n.lost = true
		return true
	}
	return false
}

// narrow returns the ASCII form of a full-width character. ％ and ℃ are units
// and are read as such.
func narrow(r rune) (string, bool) {
	switch r {
	case '％':
		return "", false
	case '\u3000', '\u00a0', '\u2002', '\u2003', '\u2009', '\u202f':
		return " ", true
	case '“', '”', '＂':
		return "\"", true
	case '‘', '’', '＇':
		return "'", true
	case '。':
		return ".", true
	case '、':
		return ",", true
	case '【':
		return "[", true
	case '】':
		return "]", true
	case '－', '—', '–', '−':
		return "-", true
	}
	if r >= 0xff01 && r <= 0xff5e {
		return string(r - 0xff01 + '!'), true
	}
	return "", false
}

// maxText is the longest text for people, in characters.
const maxText = 120

// prose reads a text for people: {zh: …, en: …}, or one text for both.
func (c *compiler) prose(n *node) (t rules.Text, ok bool) {
	one := func(n *node) (string, bool) {
		switch {
		case !c.isScalar(n):
			return "", false
		case utf8.RuneCountInString(n.text) > maxText:
			c.bad(n, "text-too-long", "", "limit", maxText)
			return "", false
		case strings.TrimSpace(n.text) == "":
			c.bad(n, "text-empty", "")
			return "", false
		}
		for _, r := range n.text {
			if unseen(r) || r == '\t' {
				c.bad(n, "yaml-control", "", "code", hexRune(r))
				return "", false
			}
		}
		return n.text, true
	}
	if n == nil || n.lost {
		return t, false
	}
	if n.kind == scalar {
		s, ok := one(n)
		return rules.Text{Zh: s, En: s}, ok
	}
	f := c.read(n, "text", form{{name: "zh", must: true}, {name: "en", must: true}})
	zh, ok1 := one(f.get("zh"))
	en, ok2 := one(f.get("en"))
	return rules.Text{Zh: zh, En: en}, ok1 && ok2
}

// word reads one of a fixed set of words.
func (c *compiler) word(n *node, words ...string) (string, bool) {
	s, ok := c.plain(n)
	if !ok {
		return "", false
	}
	if slices.Contains(words, s) {
		return s, true
	}
	c.notOneOf(n, s, words)
	return "", false
}

func (c *compiler) notOneOf(n *node, s string, words []string) {
	if near := c.nearest(s, words); near != "" {
		c.bad(n, "bad-word", "did-you-mean", "text", s, "list", listing(strings.Join(words, " | ")), "want", near)
		return
	}
	c.bad(n, "bad-word", "one-of", "text", s, "list", listing(strings.Join(words, " | ")))
}

// yes reads yes or no.
func (c *compiler) yes(n *node, otherwise bool) bool {
	if n == nil {
		return otherwise
	}
	s, ok := c.word(n, "yes", "no", "true", "false")
	if !ok {
		return otherwise
	}
	return s == "yes" || s == "true"
}

// integer reads a whole number in decimal between low and high.
func (c *compiler) integer(n *node, low, high int) (int, bool) {
	s, ok := c.plain(n)
	if !ok {
		return 0, false
	}
	v, err := strconv.ParseInt(s, 10, 32)
	if err != nil || s[0] == '+' || len(s) > 1 && s[0] == '0' {
		c.bad(n, "bad-integer", "bad-integer", "text", s)
		return 0, false
	}
	if int(v) < low || int(v) > high {
		c.bad(n, "out-of-bounds", "", "text", s, "low", low, "high", high)
		return 0, false
	}
	return int(v), true
}

// span reads a duration between low and high.
func (c *compiler) span(n *node, low, high time.Duration) (time.Duration, bool) {
	if _, ok := c.plain(n); !ok {
		return 0, false
	}
	toks := c.lex(n)
	d, rest, ok := c.duration(toks, n)
	if !ok {
		return 0, false
	}
	if len(rest) > 0 {
		c.bad(rest[0], "unexpected", "", "text", rest[0].text)
		return 0, false
	}
	return d, c.bounds(n, d, low, high)
}

func (c *compiler) bounds(n *node, d, low, high time.Duration) bool {
	if d < low || d > high {
		c.bad(n, "out-of-bounds", "", "text", n.text, "low", spell(low), "high", spell(high))
		return false
	}
	return true
}

// spell prints a duration as the files write it.
func spell(d time.Duration) string {
	for _, u := range []struct {
		d    time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "min"}, {time.Second, "s"}} {
		if d >= u.d && d%u.d == 0 {
			return strconv.FormatInt(int64(d/u.d), 10) + u.name
		}
	}
	if d == 0 {
		return "0s"
	}
	if d > time.Second {
		return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + "s"
	}
	return strconv.FormatFloat(float64(d)/1e6, 'f', -1, 64) + "ms"
}
