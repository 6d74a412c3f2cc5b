package config

import (
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"davy/drivers"
	"davy/drivers/tag"
)

// Limits of a state word; at each of them a problem says so.
const (
	maxStateEntries = 64
	maxStateBits    = 32
)

// deviceState reads the state word of a device, or else of its template:
//
//	state: {at: holding 2, type: uint16, 0: good, 1: warm-up, else: fault}
//	state: {at: holding 0, bits 0..3 = 1: good, bits 0..3 = 8: calibration, bit 6: good, else: fault}
//	state: no
//
// A number is the word, but for the bits that have an entry of their own.
// `bit 4: W` and `bits 1..3: W` say what a set bit means, `bits 0..3 = 8: W`
// what a number in these bits means. Of all that apply the worst counts. A
// number that nothing names, and a set bit that nothing names, is `else`,
// which is fault where it is not written. Without a number 0 is good.
func (c *compiler) deviceState(d *device, site, template fields) {
	for _, f := range []fields{site, template} {
		if f.form == nil {
			continue
		}
		if n := f.get("state"); n != nil {
			d.state = c.state(d, n)
			return
		}
	}
}

// tagState is the state word that holds for a tag: its own, or its device's;
// none for `state: no` and for a tag that shows the state word itself.
func (c *compiler) tagState(d *device, n *node, at drivers.Address) *drivers.State {
	s := d.state
	if n != nil {
		s = c.state(d, n)
	}
	if s == nil || at == nil || s.Address.String() == at.String() {
		return nil
	}
	return s
}

func (c *compiler) state(d *device, n *node) *drivers.State {
	if n.lost {
		return nil
	}
	if n.kind == scalar {
		c.word(n, "no")
		return nil
	}
	if !c.isSection(n, "state") {
		return nil
	}
	r := stateReader{c: c, otherwise: tag.BadSensor}
	if len(n.pairs) > maxStateEntries {
		c.bad(n, "too-many", "", "what", key("state"), "limit", maxStateEntries)
		return nil
	}
	s := &drivers.State{}
	if !c.stateWhere(d, n, s) {
		return nil
	}
	width := max(s.Type.Width, 0)
	if width == 0 {
		width = s.Type.Bits
	}
	if s.Type.Kind == tag.Bool {
		width = 1
	}
	if s.Type.Kind != tag.Int && s.Type.Kind != tag.Bool || s.Type.Sign || width > maxStateBits {
		at := n.get("type")
		if at == nil {
			at = n.get("at")
		}
		c.bad(at, "state-type", "state-type", "limit", maxStateBits)
		return nil
	}
	r.full = uint64(1)<<width - 1
	ok := true
	for _, p := range n.pairs {
		switch p.key.text {
		case "at", "type":
		case "else":
			w, fine := c.quality(p.val)
			r.otherwise, ok = w.state, ok && fine
		default:
			ok = r.entry(p, width) && ok
		}
	}
	if !ok {
		return nil
	}
	s.Means, ok = r.means()
	s.Otherwise = r.otherwise
	if !ok {
		return nil
	}
	return s
}

// stateWhere reads where the state word stands and its type.
func (c *compiler) stateWhere(d *device, n *node, s *drivers.State) bool {
	at := n.get("at")
	if at == nil {
		if !c.lostNear(n, "at") {
			c.badOnce(n, "missing-field", "missing-at", "field", "at", "what", key("state"))
		}
		return false
	}
	text, ok := c.plain(at)
	if !ok || d.link == nil || d.link.driver == nil {
		return false
	}
	a, err := d.link.driver.ParseAddress(text)
	if err != nil {
		c.driverBad(at, "bad-address", err)
		return false
	}
	typ := ""
	if x := n.get("type"); x != nil {
		if typ, ok = c.plain(x); !ok {
			return false
		}
		at = x
	}
	ty, err := d.link.driver.ParseType(a, typ)
	if err != nil {
		c.driverBad(at, "bad-type", err)
		return false
	}
	s.Address, s.Type = a, ty
	return true
}

// A group is a stretch of bits that holds a number, with what its numbers mean.
type group struct {
	mask  uint64
	first *node
	means []drivers.Meaning
}

// A stateReader collects the entries of a state word.
type stateReader struct {
	c         *compiler
	full      uint64 // all bits of the word
	otherwise tag.Quality
	flags     []drivers.Meaning // single bits
	covered   uint64            // bits that an entry of bits is of
	groups    []group
	codes     group
}

// entry reads one entry.
func (r *stateReader) entry(p pair, width int) bool {
	c := r.c
	toks := c.lex(p.key)
	fits := func(v uint64, limit uint64) bool {
		if v > limit {
			c.bad(p.key, "out-of-bounds", "", "text", p.key.text, "low", 0, "high", limit)
			return false
		}
		return true
	}
	w, known := c.quality(p.val)
	switch {
	case p.key.lost || len(toks) == 0:
		return false
	case len(toks) == 1:
		v, ok := r.number(toks[0])
		if !ok || !fits(v, r.full) || !known {
			return false
		}
		if r.codes.first == nil {
			r.codes.first = p.key
		}
		return r.add(&r.codes, p.key, drivers.Meaning{Value: v, Quality: w.state})
	case starts(toks, "bit") && len(toks) == 2:
		v, ok := r.number(toks[1])
		return ok && fits(v, uint64(width-1)) && known && r.set(p.key, uint64(1)<<v, w.state)
	case starts(toks, "bits") && (len(toks) == 2 || len(toks) == 4 && toks[2].text == "="):
		from, to, ok := r.stretch(toks[1])
		if !ok || !fits(uint64(to), uint64(width-1)) {
			return false
		}
		mask := (uint64(1)<<(to-from+1) - 1) << from
		if len(toks) == 2 {
			return known && r.set(p.key, mask, w.state)
		}
		v, ok := r.number(toks[3])
		if !ok || !fits(v, mask>>from) || !known {
			return false
		}
		i := slices.IndexFunc(r.groups, func(g group) bool { return g.mask == mask })
		if i < 0 {
			if !r.cover(p.key, mask) {
				return false
			}
			i = len(r.groups)
			r.groups = append(r.groups, group{mask: mask, first: p.key})
		}
		return r.add(&r.groups[i], p.key, drivers.Meaning{Mask: mask, Value: v << from, Quality: w.state})
	}
	c.bad(p.key, "bad-form", "write-form", "text", p.key.text, "form", "2: fault | bit 4: maintenance | bits 0..3 = 8: calibration | else: fault")
	return false
}

// number reads a number in decimal or hexadecimal.
func (r *stateReader) number(n *node) (uint64, bool) {
	c := r.c
	v, ok := rawNumber(n.text)
	if !ok || v < 0 {
		c.bad(n, "bad-raw", "bad-raw", "text", n.text)
		return 0, false
	}
	return uint64(v), true
}

// stretch reads 4..7.
func (r *stateReader) stretch(n *node) (from, to int, ok bool) {
	c := r.c
	a, b, _ := strings.Cut(n.text, "..")
	from, err1 := strconv.Atoi(a)
	to, err2 := strconv.Atoi(b)
	if err1 != nil || err2 != nil || from < 0 || to < from || to > 63 {
		c.bad(n, "bad-form", "write-form", "text", n.text, "form", "bits 4..7")
		return 0, 0, false
	}
	return from, to, true
}

// rawNumber reads a whole number, -16385 or 0x8000.
func rawNumber(s string) (int64, bool) {
	digits, minus := strings.CutPrefix(s, "-")
	base := 10
	if hex, ok := strings.CutPrefix(digits, "0x"); ok {
		digits, base = hex, 16
	} else if len(digits) > 1 && digits[0] == '0' {
		return 0, false
	}
	v, err := strconv.ParseUint(digits, base, 63)
	if err != nil || strings.ContainsAny(digits, "+_") {
		return 0, false
	}
	if minus {
		return -int64(v), true
	}
	return int64(v), true
}

// cover takes bits for an entry; they may have one only.
func (r *stateReader) cover(n *node, mask uint64) bool {
	c := r.c
	if both := r.covered & mask; both != 0 {
		c.bad(n, "state-bit-twice", "", "bit", bits.TrailingZeros64(both))
		return false
	}
	r.covered |= mask
	return true
}

// set says what each of some bits means when it is set.
func (r *stateReader) set(n *node, mask uint64, q tag.Quality) bool {
	if !r.cover(n, mask) {
		return false
	}
	for rest := mask; rest != 0; rest &= rest - 1 {
		bit := rest & -rest
		r.flags = append(r.flags, drivers.Meaning{Mask: bit, Value: bit, Quality: q})
	}
	return true
}

func (r *stateReader) add(g *group, n *node, m drivers.Meaning) bool {
	c := r.c
	if slices.ContainsFunc(g.means, func(x drivers.Meaning) bool { return x.Value == m.Value }) {
		c.bad(n, "state-number-twice", "", "text", n.text)
		return false
	}
	g.means = append(g.means, m)
	return true
}

// means puts everything together, so that the worst of what applies is what
// the entries say: also what no entry names has a meaning.
func (r *stateReader) means() ([]drivers.Meaning, bool) {
	c := r.c
	r.codes.mask = r.full &^ r.covered
	for i := range r.codes.means {
		m := &r.codes.means[i]
		if m.Value&r.covered != 0 {
			c.bad(r.codes.first, "state-overlap", "state-overlap", "value", m.Value)
			return nil, false
		}
		m.Mask = r.codes.mask
	}
	if r.codes.means == nil {
		r.codes.means = []drivers.Meaning{{Mask: r.codes.mask, Quality: tag.GoodQuality}}
	}
	out := slices.Clone(r.codes.means)
	if r.covered == 0 { // one number alone: Otherwise is what the others mean
		return out, true
	}
	out = r.others(out, r.codes)
	for _, g := range r.groups {
		out = append(out, g.means...)
		out = r.others(out, g)
	}
	return append(out, r.flags...), true
}

// others adds what the numbers of g mean that g does not name: stretches of
// numbers with the same leading bits, as few as there are.
func (r *stateReader) others(out []drivers.Meaning, g group) []drivers.Meaning {
	values := make([]uint64, len(g.means))
	for i, m := range g.means {
		values[i] = m.Value
	}
	var walk func(mask, value uint64, named []uint64, rest uint64)
	walk = func(mask, value uint64, named []uint64, rest uint64) {
		switch {
		case len(named) == 0:
			out = append(out, drivers.Meaning{Mask: mask, Value: value, Quality: r.otherwise})
			return
		case rest == 0:
			return
		}
		top := uint64(1) << (63 - bits.LeadingZeros64(rest))
		var with, without []uint64
		for _, v := range named {
			if v&top != 0 {
				with = append(with, v)
			} else {
				without = append(without, v)
			}
		}
		walk(mask|top, value, without, rest&^top)
		walk(mask|top, value|top, with, rest&^top)
	}
	walk(0, 0, values, g.mask)
	return out
}
