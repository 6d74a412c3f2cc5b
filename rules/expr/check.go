package expr

import (
	"maps"
	"math"
	"slices"
	"strings"

	"davy/rules/unit"
)

// typ is a type while it is checked.
type typ struct {
	Kind Kind
	Unit unit.Unit
	Gas  unit.Gas
	bare bool // a number without a unit: it takes the other side's
	lit  bool // a number of the source: beside a difference of temperatures it is one
}

// checker gives every node its type. A node whose problem was named has kind 0,
// and nothing more is said of what stands on it.
type checker struct {
	env     *Env
	notes   *notes
	windows []*node // inner ones first
	air     unit.Air
}

func (c *checker) bad(n *node, code, hint string, args ...any) {
	c.notes.bad(n.off, n.width, code, hint, args...)
}

func (c *checker) check(n *node) {
	switch n.op {
	case opConst:
		c.constant(n)
	case opName:
		c.name(n)
	case opText:
		n.typ.Kind = Text // a state of whom its neighbour says
	case opNeg, opNot:
		c.check(n.args[0])
		c.sign(n)
	case opAnd, opOr:
		for _, a := range n.args {
			c.check(a)
			c.condition(a)
		}
		n.typ.Kind = Bool
	case opEQ, opNE:
		c.equality(n)
	case opLT, opLE, opGT, opGE:
		c.both(n)
		n.typ.Kind = Bool
		if c.numbers(n.args) && c.unify(n.args) {
			c.turning(n)
		}
	case opAdd, opSub:
		c.both(n)
		if c.numbers(n.args) {
			c.sum(n)
		}
	case opMul, opDiv:
		c.both(n)
		if c.numbers(n.args) {
			c.product(n)
		}
	case opCall:
		c.call(n)
	}
}

func (c *checker) both(n *node) {
	for _, a := range n.args {
		c.check(a)
	}
}

func (c *checker) constant(n *node) {
	if n.typ.Kind == Bool {
		return
	}
	n.typ.lit, n.typ.bare = true, n.unit == ""
	u, err := unit.Parse(n.unit)
	if err != nil {
		c.notes.bad(n.unitOff, len(n.unit), "expr-bad-unit", "", "unit", n.unit)
		n.typ.Kind = 0
		return
	}
	n.typ.Unit = u
}

func (c *checker) name(n *node) {
	if t, ok := c.env.Tag(n.name); ok {
		n.tag = t
		n.typ = typ{Kind: t.Kind, Unit: t.Unit, Gas: t.Gas}
		return
	}
	hint, args := c.meant(n.name)
	c.bad(n, "expr-unknown-tag", hint, append(args, "name", n.name)...)
}

// meant guesses what an unknown name was to be: two names without blanks
// around the minus or the slash, or another name.
func (c *checker) meant(name string) (hint string, args []any) {
	for i, r := range name {
		if r != '-' && r != '/' || i == 0 {
			continue
		}
		left, right := name[:i], name[i+1:]
		_, one := c.env.Tag(left)
		_, two := c.env.Tag(right)
		if one && (two || right == "" || right[0] >= '0' && right[0] <= '9') {
			return "expr-blanks", []any{"want", strings.TrimSpace(left + " " + string(r) + " " + right)}
		}
	}
	if c.env.Names != nil {
		if near := Nearest(name, c.env.Names()); near != "" {
			return "did-you-mean", []any{"want", near}
		}
	}
	return "", nil
}

func (c *checker) condition(n *node) bool {
	if n.typ.Kind == Bool {
		return true
	}
	if n.typ.Kind != 0 {
		c.bad(n, "expr-needs-condition", "")
	}
	return false
}

// numbers reports whether all are numbers.
func (c *checker) numbers(list []*node) bool {
	ok := true
	for _, n := range list {
		switch n.typ.Kind {
		case Number:
		case 0:
			ok = false
		default:
			ok = false
			c.bad(n, "expr-needs-number", "")
		}
	}
	return ok
}

func (c *checker) sign(n *node) {
	a := n.args[0]
	if n.op == opNot {
		c.condition(a)
		n.typ.Kind = Bool
		return
	}
	if !c.numbers(n.args) {
		return
	}
	n.typ = a.typ
	if a.op == opConst {
		c.fold(n, -a.num)
	}
}

// fold makes a constant of a node.
func (c *checker) fold(n *node, v float64) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		c.bad(n, "expr-constant", "")
		n.typ.Kind = 0
		return
	}
	n.op, n.num, n.args, n.shown = opConst, v+0, nil, ""
}

// equality checks = and !=: of numbers, of conditions, or of a tag and the
// name of a state.
func (c *checker) equality(n *node) {
	n.typ.Kind = Bool
	for i, a := range n.args {
		other := n.args[1-i]
		if other.op != opName || a.op != opName && a.op != opText {
			continue
		}
		t, ok := c.env.Tag(other.name)
		if !ok || t.States == nil {
			continue
		}
		if v, ok := t.States[a.name]; ok { // a state goes before a tag of that name
			c.check(other)
			a.op, a.num, a.typ = opText, v, other.typ
			return
		}
		if _, isTag := c.env.Tag(a.name); isTag && a.op == opName {
			continue
		}
		c.check(other)
		hint, args := "expr-states", []any{"name", a.name, "tag", other.name, "list", strings.Join(slices.Sorted(maps.Keys(t.States)), ", ")}
		if near := Nearest(a.name, slices.Sorted(maps.Keys(t.States))); near != "" {
			hint, args = "did-you-mean", append(args, "want", near)
		}
		c.bad(a, "expr-unknown-state", hint, args...)
		return
	}
	c.both(n)
	a, b := n.args[0], n.args[1]
	switch {
	case a.typ.Kind == 0 || b.typ.Kind == 0:
	case a.typ.Kind == Number && b.typ.Kind == Number:
		c.unify(n.args)
	case a.typ.Kind != b.typ.Kind:
		c.bad(n, "expr-kinds-differ", "")
	case a.typ.Kind == Text && (a.op != opName || b.op != opName):
		c.bad(n, "expr-text-alone", "")
	case a.typ.Kind == Text && !maps.Equal(a.tag.States, b.tag.States):
		c.bad(n, "expr-states-differ", "")
	}
}
