package unit

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxLen is the longest text of a unit, in bytes; a longer one is no unit.
const MaxLen = 32

// maxParts is of how many parts a unit is made at most, and maxPower the
// highest power of one; beyond them the whole text is a unit of its own.
const (
	maxParts = 8
	maxPower = 4
)

// What Parse refuses.
var (
	ErrLong      = errors.New("a unit has at most 32 bytes")
	ErrCharacter = errors.New("a character that no unit has")
	ErrNumber    = errors.New("a number is no unit")
)

// part is a symbol to a power.
type part struct {
	symbol string // as printed
	power  int
}

// plain writes what looks alike as we do.
var plain = strings.NewReplacer(
	"\u2103", "°C", "\u00baC", "°C", "\u02daC", "°C", "\u2109", "°F", "\u00baF", "°F", "\uff05", "%", "\uff0f", "/", "\uff08", "(", "\uff09", ")",
	"\u03bc", "\u00b5", "\u2126", "\u03a9", "\u22c5", "·", "\u2022", "·", "\u2219", "·", "×", "·", "*", "·",
	"㎎", "mg", "㎏", "kg", "㎜", "mm", "㎝", "cm", "㎞", "km", "㎡", "m²", "㎥", "m³", "㎍", "\u00b5g", "㎾", "kW", "㎫", "MPa", "㎪", "kPa",
	"^2", "²", "^3", "³", "^-1", "⁻¹",
	"LEL.m", "LEL·m", "LEL-m", "LEL·m", "LELm", "LEL·m", "lel.m", "LEL·m", "ppm.m", "ppm·m", "ppm-m", "ppm·m", "N.m", "N·m", "N-m", "N·m",
)

// Parse returns the unit that s writes; blanks around it and within it do not
// count, and the empty text is no unit. The error is one of this package's.
func Parse(s string) (Unit, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return Unit{}, nil
	}
	if len(s) > MaxLen {
		return Unit{}, ErrLong
	}
	letters := false
	for _, r := range s {
		letters = letters || unicode.IsLetter(r) || strings.ContainsRune("%％‰°℃℉", r) || r >= 0x3300 && r <= 0x33ff
		known := unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.Is(unicode.No, r) || strings.ContainsRune("%％‰/／°º˚℃℉⁻₂·⋅•∙×*-_()（）^. ", r) || r >= 0x3300 && r <= 0x33ff
		if !known || r == utf8.RuneError {
			return Unit{}, ErrCharacter
		}
	}
	if !letters || s[0] >= '0' && s[0] <= '9' && !strings.HasPrefix(s, "1/") {
		return Unit{}, ErrNumber
	}
	s = strings.ReplaceAll(plain.Replace(s), " ", "")
	if u, ok := single(s); ok {
		return u, nil
	}
	parts, ok := split(s)
	if !ok {
		return Unit{text: s, own: s, num: 1, den: 1}, nil
	}
	return build(parts), nil
}

// single makes the unit of one symbol.
func single(s string) (Unit, bool) {
	x, ok := symbols[s]
	return Unit{text: x.text, dim: x.dim, num: x.num, den: x.den, zero: x.zero}, ok
}

// split takes a unit apart: products, and one quotient whose denominator is
// one symbol, a product in parentheses, or again a quotient. "W/m²·K" can be
// read in two ways and is not taken apart.
func split(s string) ([]part, bool) {
	over, under, quotient := cut(s)
	parts, ok := product(nil, over, 1)
	for ok && quotient {
		var one string
		one, under, quotient = cut(under)
		if inner, both := strings.CutPrefix(one, "("); both && strings.HasSuffix(inner, ")") {
			one = strings.TrimSuffix(inner, ")")
		} else if strings.Contains(one, "·") {
			return nil, false
		}
		parts, ok = product(parts, one, -1)
	}
	return parts, ok && len(parts) <= maxParts
}

// cut cuts at the first slash that is in no parentheses.
func cut(s string) (before, after string, found bool) {
	depth := 0
	for i, r := range s {
		switch {
		case r == '(':
			depth++
		case r == ')':
			depth--
		case r == '/' && depth == 0:
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

// product adds the parts of "a·b²".
func product(parts []part, s string, sign int) ([]part, bool) {
	if s == "1" && sign > 0 {
		return parts, true
	}
	for one := range strings.SplitSeq(s, "·") {
		p, ok := factor(one)
		if !ok {
			return nil, false
		}
		p.power *= sign
		parts = add(parts, p)
	}
	return parts, true
}

// powers are how a power is written.
var powers = []struct {
	text  string
	power int
}{{"⁻¹", -1}, {"²", 2}, {"³", 3}, {"2", 2}, {"3", 3}, {"⁴", 4}}

func factor(s string) (part, bool) {
	if x, ok := symbols[s]; ok {
		return part{x.text, 1}, true
	}
	for _, p := range powers {
		if head, ok := strings.CutSuffix(s, p.text); ok {
			if x, ok := symbols[head]; ok {
				return part{x.text, p.power}, true
			}
			if p.text != "2" && p.text != "3" && head != "" { // CO2 is a name
				return part{head, p.power}, name(head)
			}
		}
	}
	return part{s, 1}, name(s)
}

// name reports whether s can be one symbol that is not known.
func name(s string) bool {
	return strings.IndexFunc(s, unicode.IsLetter) == 0 && !strings.ContainsAny(s, "/·²³⁴¹⁻^") && strings.Count(s, "(") == strings.Count(s, ")")
}

// add multiplies parts by one more.
func add(parts []part, p part) []part {
	for i := range parts {
		if parts[i].symbol == p.symbol {
			if parts[i].power += p.power; parts[i].power == 0 {
				return slices.Delete(parts, i, i+1)
			}
			return parts
		}
	}
	return append(parts, p)
}

// build makes a unit of its parts.
func build(parts []part) Unit {
	text := write(parts)
	if len(parts) == 0 {
		return Unit{}
	}
	if len(parts) == 1 && parts[0].power == 1 {
		if u, ok := single(parts[0].symbol); ok {
			return u
		}
	}
	u := Unit{text: text, num: 1, den: 1}
	var own []part
	for _, p := range parts {
		if p.power > maxPower || p.power < -maxPower || len(parts) > maxParts {
			return Unit{text: text, own: text, num: 1, den: 1}
		}
		x, ok := symbols[p.symbol]
		if !ok {
			if !name(p.symbol) {
				return Unit{text: text, own: text, num: 1, den: 1}
			}
			own = append(own, p)
			continue
		}
		for range max(p.power, -p.power) {
			if p.power > 0 {
				u.num, u.den = u.num*x.num, u.den*x.den
			} else {
				u.num, u.den = u.num*x.den, u.den*x.num
			}
		}
		for i := range u.dim {
			u.dim[i] += x.dim[i] * int8(p.power)
		}
	}
	slices.SortFunc(own, func(a, b part) int { return strings.Compare(a.symbol, b.symbol) })
	u.own = write(own)
	return u
}

// write prints parts: "kg/(m·s)".
func write(parts []part) string {
	over, under, n := "", "", 0
	for _, p := range parts {
		if p.power > 0 {
			over = join(over, p.symbol, p.power)
		} else {
			under = join(under, p.symbol, -p.power)
			n++
		}
	}
	switch {
	case n == 0:
		return over
	case over == "":
		over = "1"
	}
	if n > 1 {
		under = "(" + under + ")"
	}
	return over + "/" + under
}

func join(s, symbol string, power int) string {
	if s != "" {
		s += "·"
	}
	s += symbol
	for _, p := range powers {
		if p.power == power && power > 1 {
			return s + p.text
		}
	}
	if power > maxPower {
		s += "^" + strconv.Itoa(power)
	}
	return s
}

// Mul returns the unit of a product.
func (u Unit) Mul(v Unit) Unit { return u.times(v, 1) }

// Div returns the unit of a quotient. What stands above and below cancels by
// its symbol: m³/h times h is m³, times min it is m³·min/h.
func (u Unit) Div(v Unit) Unit { return u.times(v, -1) }

func (u Unit) times(v Unit, sign int) Unit {
	if v.text == "" {
		return u
	}
	parts := u.parts(nil, 1)
	return build(v.parts(parts, sign))
}

// parts adds the parts of u.
func (u Unit) parts(to []part, sign int) []part {
	if u.text == "" {
		return to
	}
	if _, ok := symbols[u.text]; ok {
		return add(to, part{u.text, sign})
	}
	parts, ok := split(u.text)
	if !ok {
		return add(to, part{u.text, sign})
	}
	for _, p := range parts {
		to = add(to, part{p.symbol, p.power * sign})
	}
	return to
}
