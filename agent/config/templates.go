package config

import (
	"cmp"
	"slices"
	"strings"

	"davy/drivers"
	"davy/drivers/tag"
	"davy/rules"
)

// Template is a device template that a site uses, with what people must know
// who rely on it.
type Template struct {
	Name    string // "honeywell/midas"
	Source  string
	Caveats []rules.Text
	Devices []string
}

// A Vector is registers as they stand in a device and what a template makes of
// them: its proof, without the device.
type Vector struct {
	n      *node
	words  []vectorWords
	expect []vectorValue
}

// vectorWords are registers (or bits) from an address on.
type vectorWords struct {
	at    drivers.Address
	words []uint32
}

// vectorValue is what a tag is expected to be. The value of a bad one does not
// count.
type vectorValue struct {
	tag     tag.ID
	value   tag.Value
	quality tag.Quality
	where   *node
}

// Limits of a template's notes; at each of them a problem says so.
const (
	maxCaveats = 32
	maxVectors = 64
	maxWordsOf = 125 // words of one address of a vector
)

// caveats keeps what a template says of itself, once for all its devices.
func (c *compiler) caveats(d *device, f fields) {
	t := Template{Devices: []string{d.name}}
	if n := d.val.get("template"); n != nil {
		t.Name = n.text
	}
	if n := f.get("source"); n != nil && n.kind == scalar {
		t.Source = n.text
	}
	if i := slices.IndexFunc(c.plan.Templates, func(x Template) bool { return x.Name == t.Name }); i >= 0 {
		c.plan.Templates[i].Devices = append(c.plan.Templates[i].Devices, d.name)
		return
	}
	switch n := f.get("caveats"); {
	case !c.isList(n, "- {zh: …, en: …}"):
	case len(n.items) > maxCaveats:
		c.bad(n, "too-many", "", "what", key("caveats"), "limit", maxCaveats)
	default:
		for _, item := range n.items {
			if text, ok := c.prose(item); ok {
				t.Caveats = append(t.Caveats, text)
			}
		}
	}
	c.plan.Templates = append(c.plan.Templates, t)
}

var vectorForm = form{{name: "words", must: true, also: []string{"registers"}}, {name: "expect", must: true}}

// vectors reads a template's proofs:
//
//	vectors:
//	  - words: {holding 0: 0x42C8 0x0000, holding 2: 0}
//	    expect: {gas: 100 ppm, state: 0}
//
// Words are as on the wire; a value may end with the word of its quality
// (`100 ppm warm-up`), and a word alone is a bad one (`fault`).
func (c *compiler) vectors(d *device, n *node) {
	if d.link == nil || d.link.driver == nil || !c.isList(n, "- words: {holding 0: 0x42C8 0x0000}") {
		return
	}
	if len(n.items) > maxVectors {
		c.bad(n, "too-many", "", "what", key("vector"), "limit", maxVectors)
		return
	}
	for _, item := range n.items {
		f := c.read(item, "vector", vectorForm)
		v := Vector{n: item}
		c.vectorWords(d, f.get("words"), &v)
		c.vectorExpect(d, f.get("expect"), &v)
		d.vectors = append(d.vectors, v)
	}
}

func (c *compiler) vectorWords(d *device, n *node, v *Vector) {
	if !c.isSection(n, "words") {
		return
	}
	for _, p := range n.pairs {
		text, ok := c.plain(p.val)
		if !ok || p.key.lost {
			continue
		}
		a, err := d.link.driver.ParseAddress(p.key.text)
		if err != nil {
			c.driverBad(p.key, "bad-address", err)
			continue
		}
		w := vectorWords{at: a}
		for _, s := range strings.Fields(text) {
			x, ok := rawNumber(s)
			if !ok || x < 0 || x > 1<<32-1 || len(w.words) == maxWordsOf {
				c.bad(p.val, "bad-raw", "bad-raw", "text", s)
				break
			}
			w.words = append(w.words, uint32(x))
		}
		v.words = append(v.words, w)
	}
}

func (c *compiler) vectorExpect(d *device, n *node, v *Vector) {
	if !c.isSection(n, "expect") {
		return
	}
	for _, p := range n.pairs {
		if p.key.lost {
			continue
		}
		t := c.byName[tag.Name(d.name+"."+p.key.text)]
		if t == nil {
			c.bad(p.key, "unknown-tag", "", "name", p.key.text)
			continue
		}
		if _, ok := c.plain(p.val); !ok {
			continue
		}
		toks := c.lex(p.val)
		x := vectorValue{tag: t.id, quality: tag.GoodQuality, where: p.val}
		word := slices.IndexFunc(stateWords, func(w stateWord) bool { return len(toks) > 0 && w.word == toks[len(toks)-1].text })
		_, own := t.states[p.val.text]
		ok := true
		switch {
		case len(toks) == 1 && word >= 0 && !own:
			x.quality = cmp.Or(stateWords[word].invalid, stateWords[word].state)
			if !x.quality.Bad() {
				c.bad(p.val, "number-missing", "", "text", p.val.text)
				continue
			}
		case len(toks) > 1 && word >= 0:
			x.quality = stateWords[word].state
			toks = toks[:len(toks)-1]
			fallthrough
		default:
			var rest []*node
			x.value, rest, ok = c.storyValue(t, toks, p.val)
			ok = ok && c.nothing(rest)
		}
		if ok {
			v.expect = append(v.expect, x)
		}
	}
}
