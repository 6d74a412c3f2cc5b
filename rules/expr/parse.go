package expr

import (
	"cmp"
	"slices"
	"strings"

	"davy/rules/unit"
)

// op is what a node does.
type op uint8

const (
	opNone  op = iota
	opConst    // a number, or true and false as 1 and 0
	opName     // a tag, or a state until the check knows
	opText     // a state in quotes, or one that the check knows
	opNeg
	opNot
	opAdd
	opSub
	opMul
	opDiv
	opEQ
	opNE
	opLT
	opLE
	opGT
	opGE
	opAnd
	opOr
	opCall
	opScale // a conversion: put in by the check
)

// node of the tree. The check writes what stands below the line.
type node struct {
	op         op
	off, width int
	from, to   int    // the same with its parentheses
	name       string // of a name, a text, a function
	args       []*node
	num        float64
	unit       string // of a number, as written
	unitOff    int

	typ    typ
	tag    Tag
	fn     *function
	span   int64           // of a window, ns
	window int             // its place in the state
	scale  unit.Conversion // of opScale
	shown  string          // of a number that was converted, as it was written
	turns  int64           // of since: ns at which the comparison with it turns; 0 whole seconds
	need   float64         // of a function of exposure: the coverage that is written, at most 1; 0 none
}

// notes collects problems.
type notes struct{ list []Problem }

func (n *notes) bad(off, width int, code, hint string, args ...any) {
	p := Problem{Offset: off, Width: width, Code: code, Hint: hint}
	for i := 0; i+1 < len(args); i += 2 {
		if p.Args == nil {
			p.Args = map[string]any{}
		}
		p.Args[args[i].(string)] = args[i+1]
	}
	n.list = append(n.list, p)
}

// sorted returns the problems by place.
func (n *notes) sorted() []Problem {
	slices.SortStableFunc(n.list, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Offset, b.Offset), strings.Compare(a.Code, b.Code))
	})
	return n.list
}

// parser is a Pratt parser. After the first thing that it cannot read it gives
// up: what comes behind would be guessed.
type parser struct {
	lex   lexer
	tok   token
	notes *notes
	nodes int
	depth int
	lost  bool
}

// How tightly operators bind.
const (
	bindOr = iota + 1
	bindAnd
	bindNot
	bindCompare
	bindAdd
	bindMul
	bindSign
)

type infix struct {
	op   op
	bind int
}

var infixes = map[string]infix{
	"or": {opOr, bindOr}, "and": {opAnd, bindAnd},
	"=": {opEQ, bindCompare}, "!=": {opNE, bindCompare}, "<": {opLT, bindCompare}, "<=": {opLE, bindCompare}, ">": {opGT, bindCompare}, ">=": {opGE, bindCompare},
	"+": {opAdd, bindAdd}, "-": {opSub, bindAdd}, "*": {opMul, bindMul}, "/": {opDiv, bindMul},
}

// read parses a whole source; nil where it cannot be read.
func read(src string, env *Env, n *notes) *node {
	if len(src) > MaxSource {
		n.bad(0, len(src), "expr-too-long", "", "max", MaxSource)
		return nil
	}
	p := &parser{lex: lexer{src: src, env: env, notes: n}, notes: n}
	p.advance()
	if p.tok.kind == tokEnd && len(n.list) == 0 {
		n.bad(0, 0, "expr-empty", "")
		return nil
	}
	root := p.expression(0)
	if !p.lost && p.tok.kind != tokEnd {
		p.unexpected()
	}
	if p.lost || len(n.list) > 0 && slices.ContainsFunc(n.list, func(x Problem) bool { return x.Code != "expr-minus" }) {
		return nil
	}
	return root
}

func (p *parser) advance() { p.tok = p.lex.next() }

// fail notes the first problem that ends the reading.
func (p *parser) fail(off, width int, code, hint string, args ...any) *node {
	if !p.lost {
		p.notes.bad(off, width, code, hint, args...)
	}
	p.lost = true
	return &node{off: off, width: width}
}

func (p *parser) unexpected() *node {
	t := p.tok
	if t.kind == tokEnd {
		return p.fail(t.off, 0, "expr-value-missing", "")
	}
	shown := p.lex.src[t.off : t.off+t.width]
	if t.kind == tokName {
		for _, w := range [...]string{"and", "or", "not"} {
			if strings.EqualFold(w, t.text) {
				return p.fail(t.off, t.width, "expr-unexpected", "did-you-mean", "text", shown, "want", w)
			}
		}
	}
	return p.fail(t.off, t.width, "expr-unexpected", "", "text", shown)
}

// make counts and places a node.
func (p *parser) make(n node) *node {
	if p.nodes++; p.nodes > MaxNodes {
		return p.fail(n.off, n.width, "expr-too-big", "", "max", MaxNodes)
	}
	if n.to == 0 {
		n.from, n.to = n.off, n.off+n.width
	}
	return &n
}

// deeper runs f one level down.
func (p *parser) deeper(f func() *node) *node {
	if p.depth == MaxDepth {
		return p.fail(p.tok.off, p.tok.width, "expr-too-deep", "", "max", MaxDepth)
	}
	p.depth++
	defer func() { p.depth-- }()
	return f()
}

// expression reads what binds tighter than bind.
func (p *parser) expression(bind int) *node {
	left := p.operand()
	for !p.lost && p.tok.kind == tokOp {
		t := p.tok
		in, ok := infixes[t.text]
		if !ok || in.bind <= bind {
			break
		}
		if in.op == opSub && !(t.before && t.after) {
			p.notes.bad(t.off, t.width, "expr-minus", "")
		}
		if in.bind == bindCompare && left.op >= opEQ && left.op <= opGE && left.from == left.off {
			return p.fail(t.off, t.width, "expr-chain", "expr-chain")
		}
		p.advance()
		right := p.expression(in.bind)
		left = p.make(node{op: in.op, off: left.from, width: right.to - left.from, args: []*node{left, right}})
	}
	return left
}

// operand reads one value with what stands before it.
func (p *parser) operand() *node {
	t := p.tok
	switch {
	case p.lost:
		return &node{off: t.off}
	case t.kind == tokNumber:
		p.advance()
		return p.make(node{op: opConst, off: t.off, width: t.width, num: t.num, unit: t.unit, unitOff: t.unitOff, typ: typ{Kind: Number}})
	case t.kind == tokText:
		p.advance()
		return p.make(node{op: opText, off: t.off, width: t.width, name: t.text})
	case t.kind == tokName:
		p.advance()
		if p.tok.kind == tokOp && p.tok.text == "(" {
			return p.deeper(func() *node { return p.call(t) })
		}
		if t.text == "true" || t.text == "false" {
			n := p.make(node{op: opConst, off: t.off, width: t.width, typ: typ{Kind: Bool}})
			if t.text == "true" {
				n.num = 1
			}
			return n
		}
		return p.make(node{op: opName, off: t.off, width: t.width, name: t.text})
	case t.kind == tokOp && t.text == "(":
		return p.deeper(func() *node { return p.group(t) })
	case t.kind == tokOp && (t.text == "-" || t.text == "not"):
		o, bind := opNeg, bindMul
		if t.text == "not" {
			o, bind = opNot, bindNot
		}
		p.advance()
		return p.deeper(func() *node {
			arg := p.expression(bind)
			return p.make(node{op: o, off: t.off, width: arg.to - t.off, args: []*node{arg}})
		})
	}
	return p.unexpected()
}

func (p *parser) group(open token) *node {
	p.advance()
	n := p.expression(0)
	if p.lost {
		return n
	}
	if !p.at(")") {
		return p.unclosed(open)
	}
	n.from, n.to = open.off, p.tok.off+1
	p.advance()
	return n
}

func (p *parser) at(sign string) bool { return p.tok.kind == tokOp && p.tok.text == sign }

func (p *parser) unclosed(open token) *node {
	if p.tok.kind != tokEnd {
		return p.unexpected()
	}
	return p.fail(open.off, open.width, "expr-unclosed", "")
}

func (p *parser) call(name token) *node {
	open := p.tok
	p.advance()
	n := node{op: opCall, off: name.off, name: name.text}
	for !p.at(")") {
		if len(n.args) > 0 {
			if !p.at(",") {
				return p.unclosed(open)
			}
			p.advance()
		}
		if len(n.args) == MaxArgs {
			return p.fail(p.tok.off, p.tok.width, "expr-too-many-arguments", "", "max", MaxArgs)
		}
		n.args = append(n.args, p.expression(0))
		if p.lost {
			return n.args[0]
		}
	}
	n.width = p.tok.off + 1 - n.off
	p.advance()
	return p.make(n)
}
