package config

import (
	"errors"
	"strings"

	"davy/rules"
	units "davy/rules/unit"
)

// gasFile is the file of profiles that holds the gas constants.
const gasFile = "gases"

// A gas is what a conversion has to know of one, with where each number is from.
type gas struct {
	name    string
	text    rules.Text
	formula string
	molar   *sourced // g/mol; nil where it is not one substance
	lels    []lel
}

// A lel is a lower explosive limit under the name of the table it is from.
type lel struct {
	name string
	at   *sourced // %VOL
}

// A tagGas is the gas that a tag measures, and which LEL its detector was
// calibrated to: 0 where the table of the gas has several and none is named.
type tagGas struct {
	*gas
	lel     float64
	lelName string
}

// of is what package unit has to know.
func (g *tagGas) of() units.Gas {
	if g == nil {
		return units.Gas{}
	}
	x := units.Gas{LEL: g.lel}
	if g.molar != nil {
		x.Molar = g.molar.v
	}
	return x
}

// calibrated names the only LEL of a gas, if there is one only.
func (g *gas) calibrated() *tagGas {
	t := &tagGas{gas: g}
	if len(g.lels) == 1 {
		t.lel, t.lelName = g.lels[0].at.v, g.lels[0].name
	}
	return t
}

// gases reads the gas constants, once.
func (c *compiler) gases() map[string]*gas {
	if c.gas != nil {
		return c.gas
	}
	c.gas = map[string]*gas{}
	p := c.paper(profilePath(gasFile))
	if p == nil || p.root == nil {
		return c.gas
	}
	f := c.read(p.root, "gas-file", form{
		{name: "davy"}, {name: "title", must: true}, {name: "sources", must: true}, {name: "caveats"}, {name: "gases", must: true},
	})
	head := c.profileHead(f, gasFile)
	for _, x := range c.nameList(f.get("gases"), "gases") {
		c.gas[x.key.text] = c.readGas(head, x)
	}
	return c.gas
}

func (c *compiler) readGas(head *scheme, p pair) *gas {
	f := c.read(p.val, "gas", form{{name: "text", must: true}, {name: "formula"}, {name: "molar"}, {name: "lel"}})
	g := &gas{name: p.key.text}
	g.text, _ = c.prose(f.get("text"))
	if n := f.get("formula"); n != nil {
		g.formula, _ = c.plain(n)
	}
	g.molar = c.sourced(head, f.get("molar"), "g/mol")
	if n := f.get("lel"); n != nil {
		for _, x := range c.nameList(n, "lel") {
			if at := c.sourced(head, x.val, "%VOL"); at != nil {
				g.lels = append(g.lels, lel{x.key.text, at})
			}
		}
	}
	return g
}

// gasOf reads `gas: nh3` or `gas: ch4, lel iec` of a tag.
func (c *compiler) gasOf(n *node) *tagGas {
	if _, ok := c.plain(n); !ok {
		return nil
	}
	toks := c.lex(n)
	if len(toks) == 0 {
		return nil
	}
	g := c.gasNamed(toks[0])
	if g == nil {
		return nil
	}
	t := g.calibrated()
	rest := toks[1:]
	if len(rest) == 0 {
		return t
	}
	rest, ok := c.expect(rest, n, "ch4, lel iec", ",", "lel")
	if !ok {
		return nil
	}
	if len(rest) == 0 {
		c.bad(n, "bad-form", "write-form", "text", n.text, "form", "ch4, lel iec")
		return nil
	}
	for _, x := range g.lels {
		if x.name == rest[0].text {
			t.lel, t.lelName = x.at.v, x.name
		}
	}
	if t.lelName != rest[0].text {
		c.bad(rest[0], "unknown-lel", "known-are", "name", rest[0].text, "gas", g.name, "list", listing(g.lelNames()))
		return nil
	}
	if !c.nothing(rest[1:]) {
		return nil
	}
	return t
}

func (g *gas) lelNames() string {
	var out []string
	for _, x := range g.lels {
		out = append(out, x.name+" ("+decimal(x.at.v)+" %VOL)")
	}
	return strings.Join(out, ", ")
}

// gasNamed returns the gas that a node names; what is unknown is a problem.
func (c *compiler) gasNamed(n *node) *gas {
	if n == nil || n.lost {
		return nil
	}
	all := c.gases()
	if g := all[n.text]; g != nil {
		return g
	}
	if p := c.papers[profilePath(gasFile)]; p != nil && (p.root == nil || len(p.sheet.lost) > 0) {
		n.lost = true
		return nil
	}
	if c.guesses > maxGuesses {
		c.bad(n, "unknown-gas", "", "name", n.text)
		return nil
	}
	if near := c.nearest(strings.ToLower(n.text), sortedNames(all)); near != "" {
		c.bad(n, "unknown-gas", "did-you-mean", "name", n.text, "want", near)
	} else {
		c.bad(n, "unknown-gas", "known-are", "name", n.text, "list", listing(strings.Join(sortedNames(all)[:min(len(all), maxListed)], ", ")))
	}
	return nil
}

// A Conversion is a number that stands in the site in another unit than its
// tag's, and what it became.
type Conversion struct {
	Tag     string
	Written string // "0.35 MPa"
	Used    float64
	Unit    string
	Gas     rules.Text // where a gas was needed
	Air     bool       // the air of the workplace was needed
	Place   Place
}

// convert takes a number in the unit u into the unit of its tag. A bare number
// takes the tag's unit. diff says that it is a difference: a deadband. at is
// where the unit stands.
func (c *compiler) convert(t *tagInfo, v float64, u string, at *node, diff bool) (float64, bool) {
	want := c.plan.Tags[t.id].Unit
	if u == "" || u == want {
		return v, true
	}
	used, air, err := rescale(v, u, want, t.gas, diff)
	if err != nil {
		c.inconvertible(t, u, at, t.gas, err)
		return 0, false
	}
	x := Conversion{Tag: string(t.name), Written: decimal(v) + " " + u, Used: used, Unit: want, Air: air, Place: at.place}
	if air || t.gas != nil && byLEL(u) != byLEL(want) {
		x.Gas = t.gas.text
	}
	for _, y := range c.plan.Converted {
		if x == y {
			return used, true // a reset is judged for each channel
		}
	}
	c.plan.Converted = append(c.plan.Converted, x)
	return used, true
}

func byLEL(u string) bool { return strings.HasPrefix(u, "%LEL") || strings.HasPrefix(u, "LEL") }

// errUnit says that a text is no unit.
var errUnit = errors.New("not a unit")

// rescale takes a number from one unit to another; air says that the
// temperature and pressure of the workplace were needed for it.
func rescale(v float64, from, to string, g *tagGas, diff bool) (out float64, air bool, err error) {
	a, err1 := units.Parse(from)
	b, err2 := units.Parse(to)
	if err1 != nil || err2 != nil {
		return 0, false, errUnit
	}
	if diff {
		a, b = a.Difference(), b.Difference()
	}
	// Rounded once: 7 bar are 0.7 MPa, and a reading of 0.7 has reached them.
	out, err = units.Convert(v, a, b, g.of(), units.Workplace())
	if err != nil {
		return 0, false, err
	}
	// What needs a molar mass needs the air too.
	_, _, without := units.Scale(a, b, units.Gas{LEL: g.of().LEL}, units.Workplace())
	return out, errors.Is(without, units.ErrMolar), nil
}

// inconvertible says why a unit does not go into that of its tag.
func (c *compiler) inconvertible(t *tagInfo, u string, at *node, g *tagGas, err error) {
	want := shownUnit(c.plan.Tags[t.id].Unit)
	switch {
	case g == nil && t.gasLost:
		at.lost = true
	case g == nil && (errors.Is(err, units.ErrMolar) || errors.Is(err, units.ErrLEL)):
		c.bad(at, "unit-needs-gas", "name-gas", "have", u, "want", want, "tag", string(t.name))
	case errors.Is(err, units.ErrMolar):
		c.bad(at, "gas-no-molar", "unit-of-tag", "have", u, "want", want, "tag", string(t.name), "gas", g.name)
	case errors.Is(err, units.ErrLEL) && len(g.lels) > 1:
		c.bad(at, "gas-lel-which", "gas-lel-which", "have", u, "want", want, "tag", string(t.name), "gas", g.name, "list", listing(g.lelNames()), "one", g.lels[0].name)
	case errors.Is(err, units.ErrLEL):
		c.bad(at, "gas-no-lel", "unit-of-tag", "have", u, "want", want, "tag", string(t.name), "gas", g.name)
	default:
		c.bad(at, "unit-differs", "unit-of-tag", "have", u, "want", want, "tag", string(t.name))
	}
}
