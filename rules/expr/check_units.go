package expr

import (
	"davy/rules/unit"
)

// unify brings numbers to one unit, that of the first that is no number of
// the source, and reports whether that went.
func (c *checker) unify(list []*node) bool {
	var lead *node
	for _, n := range list {
		if !n.typ.bare && (lead == nil || lead.typ.lit && !n.typ.lit) {
			lead = n
		}
	}
	if lead == nil {
		return true
	}
	want := lead.typ
	for _, n := range list { // beside a difference of temperatures all are differences
		if !n.typ.bare && n.typ.Unit == n.typ.Unit.Difference() && want.Unit.Temperature() {
			want.Unit = want.Unit.Difference()
		}
	}
	for _, n := range list {
		if want.Gas == (unit.Gas{}) {
			want.Gas = n.typ.Gas
		}
	}
	ok := true
	for i := range list {
		ok = c.convert(list, i, want, lead) && ok
	}
	return ok
}

// convert brings list[i] to a type.
func (c *checker) convert(list []*node, i int, to typ, lead *node) bool {
	n := list[i]
	if n.typ.bare || n.typ.Unit.Is(to.Unit) {
		if n.op == opConst && n.shown == "" {
			n.shown = writeConst(n) // a bare number stays one
		}
		n.typ.bare, n.typ.Unit, n.typ.Gas = false, to.Unit, to.Gas
		return true
	}
	gas := n.typ.Gas
	if gas == (unit.Gas{}) {
		gas = to.Gas
	}
	if n.op == opConst {
		v, err := unit.Convert(n.num, n.typ.Unit, to.Unit, gas, c.air)
		if err != nil {
			return c.unconverted(n, lead, err)
		}
		shown := writeConst(n)
		c.fold(n, v)
		n.shown = shown
	} else {
		scale, err := unit.Between(n.typ.Unit, to.Unit, gas, c.air)
		if err != nil {
			return c.unconverted(n, lead, err)
		}
		list[i] = &node{op: opScale, off: n.off, width: n.width, from: n.from, to: n.to, scale: scale, args: []*node{n}, typ: n.typ}
		n = list[i]
	}
	n.typ.Unit, n.typ.Gas = to.Unit, gas
	return n.typ.Kind != 0
}

// unconverted says why n is not in the unit of lead.
func (c *checker) unconverted(n, lead *node, err error) bool {
	have, want := n.typ.Unit.String(), lead.typ.Unit.String()
	switch {
	case err == unit.ErrMolar || err == unit.ErrLEL:
		code := "expr-gas-molar"
		if err == unit.ErrLEL {
			code = "expr-gas-lel"
		}
		c.bad(n, code, "expr-gas", "have", have, "want", want)
	case err == unit.ErrAir:
		c.bad(n, "expr-air", "", "have", have, "want", want)
	case have == "":
		c.bad(n, "expr-unit-missing", "", "want", want)
	case want == "":
		c.bad(n, "expr-unit-missing", "", "want", have)
	default:
		c.bad(n, "expr-units", "", "have", have, "want", want)
	}
	return false
}

// sum checks + and -. Of temperatures: one less another is a difference; more
// or less a difference, or a number of the source, it stays what it is.
func (c *checker) sum(n *node) {
	a, b := n.args[0], n.args[1]
	both := a.typ.Unit.Temperature() && b.typ.Unit.Temperature()
	if both && b.typ.lit {
		b.typ.Unit = b.typ.Unit.Difference()
	} else if both && a.typ.lit && n.op == opAdd {
		a.typ.Unit = a.typ.Unit.Difference()
	}
	result := c.sumOf(n.op, a, b)
	// Each is converted for itself: 20 °C plus a difference of 9 °F are 25 °C.
	for i, x := range n.args {
		to := result
		if x.typ.Unit.Temperature() {
			to.Unit = plainOf(result.Unit, a, b)
		} else {
			to.Unit = result.Unit.Difference()
		}
		lead := a
		if i == 0 {
			lead = b
		}
		if !c.convert(n.args, i, to, lead) {
			return
		}
	}
	n.typ = result
	a, b = n.args[0], n.args[1]
	if a.op == opConst && b.op == opConst {
		v := a.num + b.num
		if n.op == opSub {
			v = a.num - b.num
		}
		c.fold(n, v)
	}
}

// sumOf returns the type of a sum: the unit of the side that is no number of
// the source, or of the first.
func (c *checker) sumOf(o op, a, b *node) typ {
	t := a.typ
	if a.typ.bare || a.typ.lit && !b.typ.lit && !b.typ.bare {
		t = b.typ
	}
	t.bare, t.lit = a.typ.bare && b.typ.bare, a.typ.lit && b.typ.lit
	if t.Gas == (unit.Gas{}) {
		t.Gas = a.typ.Gas
	}
	absA, absB := a.typ.Unit.Temperature(), b.typ.Unit.Temperature()
	switch {
	case o == opSub && absA && absB, !absA && !absB:
		t.Unit = t.Unit.Difference()
	default:
		t.Unit = plainOf(t.Unit, a, b)
	}
	return t
}

// plainOf returns u as a temperature with its zero, if it is one.
func plainOf(u unit.Unit, sides ...*node) unit.Unit {
	for _, n := range sides {
		if n.typ.Unit.Is(u) && n.typ.Unit.Temperature() {
			return n.typ.Unit
		}
	}
	if plain, err := unit.Parse(u.String()); err == nil {
		return plain
	}
	return u
}

func (c *checker) product(n *node) {
	a, b := n.args[0], n.args[1]
	t := typ{Kind: Number, Gas: a.typ.Gas, bare: a.typ.bare && b.typ.bare, lit: a.typ.lit && b.typ.lit}
	if t.Gas == (unit.Gas{}) {
		t.Gas = b.typ.Gas
	}
	switch {
	case n.op == opMul:
		t.Unit = a.typ.Unit.Mul(b.typ.Unit)
	case !a.typ.bare && !b.typ.bare && a.typ.Unit.Same(b.typ.Unit):
		if !c.convert(n.args, 1, a.typ, a) {
			return
		}
	default:
		t.Unit = a.typ.Unit.Div(b.typ.Unit)
	}
	n.typ = t
	a, b = n.args[0], n.args[1]
	if a.op == opConst && b.op == opConst {
		v := a.num * b.num
		if n.op == opDiv {
			v = a.num / b.num
		}
		c.fold(n, v)
	}
}
