package config

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"davy/drivers"
	"davy/drivers/tag"
)

// Limits of what a tag says of its raw numbers; at each of them a problem says so.
const (
	maxInvalid  = 32
	maxWords    = 64 // names of states, or texts, of one tag
	maxTagText  = 64 // bytes of one text
	maxAllTexts = 4096
)

// decimalsOf reads `decimals: holding 6`, the register that says how many
// decimals the raw number has.
func (c *compiler) decimalsOf(d *device, n *node, t *Tag, pt *drivers.Point) {
	s, ok := c.plain(n)
	if !ok || pt.Address == nil {
		return
	}
	if t.Kind != tag.Int && t.Kind != tag.Float32 && t.Kind != tag.Float64 {
		c.bad(n, "not-of-number", "", "field", "decimals")
		return
	}
	a, err := d.link.driver.ParseAddress(s)
	if err != nil {
		c.driverBad(n, "bad-address", err)
		return
	}
	ty, err := d.link.driver.ParseType(a, "")
	if err != nil {
		c.driverBad(n, "bad-type", err)
		return
	}
	if ty.Kind != tag.Int {
		c.bad(n, "decimals-type", "", "text", s)
		return
	}
	pt.Decimals, t.Kind = a, tag.Float64
}

// invalidOf reads the raw numbers that are no measurement:
//
//	invalid: 0x8000 = fault
//	invalid: {-32768: fault, 32767: over-range, ..-16385: fault}
//
// The numbers are whole ones of the type, with its sign, before decimals and
// scale; in hexadecimal they are the bits. A stretch open to one side goes to the end
// of the type.
func (c *compiler) invalidOf(n *node, t *Tag, pt *drivers.Point) {
	if n == nil || n.lost || pt.Address == nil {
		return
	}
	if pt.Type.Kind == tag.Bool || pt.Type.Kind == tag.Text || pt.Type.Kind == tag.None {
		c.bad(n, "not-of-number", "", "field", "invalid")
		return
	}
	type entry struct{ at, numbers, word *node }
	var entries []entry
	const form = "{0x8000: fault, 32767: over-range, ..-16385: fault}"
	switch n.kind {
	case section:
		for _, p := range n.pairs {
			if !p.key.lost {
				entries = append(entries, entry{p.key, p.key, p.val})
			}
		}
	case scalar:
		toks := c.lex(n)
		for len(toks) > 0 {
			if len(toks) < 3 || toks[1].text != "=" {
				c.bad(n, "bad-form", "write-form", "text", n.text, "form", form)
				return
			}
			entries = append(entries, entry{toks[0], toks[0], toks[2]})
			if toks = toks[3:]; starts(toks, ",") {
				toks = toks[1:]
			} else if !c.nothing(toks) {
				return
			}
		}
	default:
		c.bad(n, "bad-form", "write-form", "text", "-", "form", form)
		return
	}
	if len(entries) > maxInvalid {
		c.bad(n, "too-many", "", "what", key("invalid"), "limit", maxInvalid)
		return
	}
	for _, e := range entries {
		low, high, ok := c.rawStretch(e.numbers, pt.Type)
		w, known := c.quality(e.word)
		switch {
		case !ok || !known:
		case w.invalid == 0:
			c.bad(e.word, "invalid-word", "invalid-word", "text", w.word)
		case slices.ContainsFunc(pt.Invalid, func(x drivers.Invalid) bool { return x.Low <= high && low <= x.High }):
			c.bad(e.at, "invalid-twice", "", "text", e.at.text)
		default:
			pt.Invalid = append(pt.Invalid, drivers.Invalid{Low: low, High: high, Quality: w.invalid})
		}
	}
}

// bitsOf is how many bits a number of a type has.
func bitsOf(ty drivers.Type) int {
	if ty.Width > 0 {
		return ty.Width
	}
	return ty.Bits
}

// spanOf is the least and the greatest number of an integer type.
func spanOf(ty drivers.Type) (low, high int64) {
	n := bitsOf(ty)
	switch {
	case ty.Kind == tag.Float32 || ty.Kind == tag.Float64: // whole numbers that a float64 tells apart
		return -1 << 53, 1 << 53
	case ty.BCD:
		for range n / 4 {
			high = high*10 + 9
		}
		return 0, high
	case ty.Sign:
		return -1 << (n - 1), 1<<(n-1) - 1
	case n >= 63:
		return 0, 1<<63 - 1
	}
	return 0, 1<<n - 1
}

// rawStretch reads 5, 0x8000, 3..7, ..-16385 or 32000.. as raw numbers of a type.
func (c *compiler) rawStretch(n *node, ty drivers.Type) (low, high int64, ok bool) {
	least, greatest := spanOf(ty)
	one := func(s string) (int64, bool) {
		v, ok := rawNumber(s)
		if n := bitsOf(ty); ok && ty.Sign && ty.Kind != tag.Float32 && ty.Kind != tag.Float64 && strings.HasPrefix(s, "0x") && n < 64 && v >= 1<<(n-1) && v < 1<<n {
			v -= 1 << n // the bits of a negative number
		}
		if !ok {
			c.bad(n, "bad-raw", "bad-raw", "text", s)
			return 0, false
		}
		if v < least || v > greatest {
			c.bad(n, "out-of-bounds", "", "text", s, "low", least, "high", greatest)
			return 0, false
		}
		return v, true
	}
	from, to, cut := strings.Cut(n.text, "..")
	if !cut {
		v, ok := one(n.text)
		return v, v, ok
	}
	low, high = least, greatest
	if from == "" && to == "" {
		c.bad(n, "bad-raw", "bad-raw", "text", n.text)
		return 0, 0, false
	}
	if from != "" {
		if low, ok = one(from); !ok {
			return 0, 0, false
		}
	}
	if to != "" {
		if high, ok = one(to); !ok {
			return 0, 0, false
		}
	}
	if low > high {
		c.bad(n, "range-order", "", "low", low, "high", high)
		return 0, 0, false
	}
	return low, high, true
}

// stateNames reads `states: {0: stop, 1: run}`: the number becomes an
// enumeration whose numbers have names, for rules and for who reads the record.
func (c *compiler) stateNames(f fields, n *node, t *Tag, pt *drivers.Point, info *tagInfo) {
	switch {
	case pt.Address == nil:
		return
	case n == nil && t.Kind == tag.Enum:
		c.lacking(info.n, "states", "missing-states")
		return
	case !c.isSection(n, "states"):
		return
	case len(n.pairs) > maxWords:
		c.bad(n, "too-many", "", "what", key("states"), "limit", maxWords)
		return
	case t.Kind == tag.Bool:
	case t.Kind != tag.Int && t.Kind != tag.Enum || f.get("range") != nil:
		c.bad(n, "states-of", "states-of")
		return
	}
	words := map[string]float64{}
	for _, p := range n.pairs {
		name, ok := c.plain(p.val)
		if !ok || p.key.lost {
			continue
		}
		if numberLen(p.key.text) == 0 && numberLen(name) == len(name) {
			c.bad(p.key, "states-reversed", "states-reversed", "number", name, "word", p.key.text)
			continue
		}
		if numberLen(name) > 0 || !c.name(p.val) {
			c.bad(p.val, "bad-name", "bad-name", "name", name)
			continue
		}
		ty := pt.Type
		if t.Kind == tag.Bool {
			ty = drivers.Type{Kind: tag.Int, Bits: 1}
		}
		v, w, ok := c.rawStretch(p.key, ty)
		if !ok {
			continue
		}
		if v != w {
			c.bad(p.key, "bad-raw", "bad-raw", "text", p.key.text)
			continue
		}
		if _, twice := words[name]; twice || slices.ContainsFunc(t.Names, func(x Name) bool { return x.Code == v }) {
			c.bad(p.val, "state-name-twice", "", "text", name)
			continue
		}
		words[name] = float64(v)
		t.Names = append(t.Names, Name{v, name})
	}
	slices.SortFunc(t.Names, byCode)
	info.states, info.named = words, true
	if t.Kind == tag.Bool {
		return
	}
	for _, x := range t.Names {
		pt.Codes = append(pt.Codes, x.Code)
	}
	pt.Type.Kind, t.Kind = tag.Enum, tag.Enum
}

// lacking names a field that a tag must have, unless it may be among what could not be read.
func (c *compiler) lacking(n *node, field, hint string) {
	if !c.lostNear(n, field) {
		c.badOnce(n, "missing-field", hint, "field", field, "what", key("tag"))
	}
}

func byCode(a, b Name) int { return cmp.Compare(a.Code, b.Code) }

// textsOf reads `texts: [NH3, Cl2]`: what a text point may say.
func (c *compiler) textsOf(n *node, t *Tag, pt *drivers.Point, info *tagInfo) {
	switch {
	case pt.Address == nil || n != nil && n.lost:
		return
	case n == nil && t.Kind == tag.Text:
		c.lacking(info.n, "texts", "missing-texts")
		return
	case n == nil:
		return
	case t.Kind != tag.Text:
		c.bad(n, "texts-of", "texts-of")
		return
	case !c.isList(n, "[NH3, Cl2]"):
		return
	case len(n.items) == 0 || len(n.items) > maxWords:
		c.bad(n, "too-many", "", "what", key("texts"), "limit", maxWords)
		return
	}
	words := map[string]float64{}
	for _, item := range n.items {
		if !c.isScalar(item) {
			continue
		}
		s := item.text
		limit := maxTagText
		if pt.Type.Bytes > 0 {
			limit = min(limit, pt.Type.Bytes)
		}
		switch _, twice := words[s]; {
		case twice:
			c.bad(item, "state-name-twice", "", "text", s)
			continue
		case len(s) > limit || strings.ContainsFunc(s, unseen) || !utf8.ValidString(s):
			c.bad(item, "bad-text", "", "text", s, "limit", limit)
			continue
		}
		i := slices.Index(c.plan.Texts, s)
		if i < 0 {
			if i = len(c.plan.Texts); i == maxAllTexts {
				c.bad(item, "too-many", "", "what", key("texts"), "limit", maxAllTexts)
				return
			}
			c.plan.Texts = append(c.plan.Texts, s)
		}
		words[s] = float64(i)
		t.Names = append(t.Names, Name{int64(i), s})
		pt.Texts = append(pt.Texts, drivers.Text{Text: s, Index: uint32(i)})
	}
	info.states, info.named = words, true
}

// names are the words of a tag's states or texts.
func (t *tagInfo) names() []string {
	var out []string
	for w := range t.states {
		out = append(out, w)
	}
	slices.Sort(out)
	return out
}

// stated reports whether the values of a tag are names and not amounts.
func (t *tagInfo) stated() bool { return t.kind == tag.Enum || t.kind == tag.Text }

// nameOf takes the word of a state or the text that a tag may have from toks;
// ok is false where it was reported. An enumeration may be given by its number
// too, if that has a name.
func (c *compiler) nameOf(t *tagInfo, toks []*node) (float64, []*node, bool) {
	at := toks[0]
	if v, ok := t.states[at.text]; ok {
		return v, toks[1:], true
	}
	if t.kind == tag.Enum && numberLen(at.text) == len(at.text) {
		v, err := strconv.ParseFloat(at.text, 64)
		for _, have := range t.states {
			if err == nil && have == v {
				return v, toks[1:], true
			}
		}
	}
	c.notOneOf(at, at.text, t.names())
	return 0, nil, false
}
