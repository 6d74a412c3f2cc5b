package expr

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"davy/drivers/tag"
	"davy/rules/unit"
)

// Program is a compiled expression. Immutable.
type Program struct {
	text    string
	typ     Type
	inputs  []tag.ID
	windows []windowPlan
	run     run
	simple  simple
}

// Compile makes a Program of a text, or says all that is wrong with it, sorted
// by place; then there is no Program.
func Compile(src string, env *Env) (*Program, []Problem) {
	notes := &notes{}
	root := read(src, env, notes)
	if root == nil {
		return nil, notes.sorted()
	}
	c := &checker{env: env, notes: notes, air: env.Air}
	c.check(root)
	if root.typ.Kind == Text {
		c.bad(root, "expr-text-alone", "")
	}
	if len(notes.list) > 0 {
		return nil, notes.sorted()
	}
	p := &Program{text: write(root), typ: Type{Kind: root.typ.Kind, Unit: root.typ.Unit, Gas: root.typ.Gas}, run: build(root), simple: simpleOf(root)}
	collect(root, &p.inputs)
	for _, n := range c.windows {
		w := planWindow(n, env)
		if p.windows = append(p.windows, w); w.clock > 0 {
			p.inputs = append(p.inputs, w.clock)
		}
	}
	slices.Sort(p.inputs)
	p.inputs = slices.Compact(p.inputs)
	return p, nil
}

func collect(n *node, ids *[]tag.ID) {
	if n.op == opName {
		*ids = append(*ids, n.tag.ID)
	}
	for _, a := range n.args {
		collect(a, ids)
	}
}

// String prints the expression in the one way we write it; Compile reads it
// back as the same program.
func (p *Program) String() string { return p.text }

// Type returns what the expression yields.
func (p *Program) Type() Type { return p.typ }

// Inputs returns the tags that it looks at, sorted. The caller must not change it.
func (p *Program) Inputs() []tag.ID { return p.inputs }

// Timed reports whether it has windows: it needs a State, and Next.
func (p *Program) Timed() bool { return len(p.windows) > 0 }

// LookBack returns the length of the longest window; 0 where there is none.
func (p *Program) LookBack() (longest time.Duration) {
	for i := range p.windows {
		longest = max(longest, time.Duration(p.windows[i].span))
	}
	return longest
}

// Windows returns how many windows are kept slot by slot (avg_over, max_over,
// min_over, count_over, delta, rate): what a snapshot holds of each is some 0.9 kB.
func (p *Program) Windows() (n int) {
	for i := range p.windows {
		if p.windows[i].slot > 0 {
			n++
		}
	}
	return n
}

// Shifts returns how many windows are of the shift: what a snapshot holds of
// each is some 0.2 kB, and it must be taken now and then for what they count.
func (p *Program) Shifts() (n int) {
	for i := range p.windows {
		if p.windows[i].kind.ofShift() {
			n++
		}
	}
	return n
}

// Blind returns how long after a start the program is bad, because too little of
// its longest such window was seen.
func (p *Program) Blind() (longest time.Duration) {
	for i := range p.windows {
		switch w := &p.windows[i]; {
		case w.slot == 0:
		case w.kind == winDelta || w.kind == winRate: // they need its beginning
			longest = max(longest, time.Duration(w.span))
		default:
			longest = max(longest, time.Duration(w.span-w.miss))
		}
	}
	return longest
}

// Compares returns the parts of a program that is one comparison of one tag
// with a constant in its unit, which a caller may judge by itself; ok is false
// for any other. sign is one of = != < <= > >=.
func (p *Program) Compares() (id tag.ID, sign string, limit float64, ok bool) {
	return p.simple.id, p.simple.sign, p.simple.limit, p.simple.sign != ""
}

// simple is what Compares returns.
type simple struct {
	id    tag.ID
	sign  string
	limit float64
}

func simpleOf(n *node) simple {
	if n.op < opEQ || n.op > opGE {
		return simple{}
	}
	o, left, right := n.op, n.args[0], n.args[1]
	if left.op == opConst || left.op == opText {
		o, left, right = mirror[o], right, left
	}
	if left.op != opName || right.op != opConst && right.op != opText {
		return simple{}
	}
	return simple{left.tag.ID, operators[o], right.num}
}

// Eval judges the program over an image, which is indexed by tag.ID, at an
// instant: windows go by its Mono, and Wall says which shift it is in. The value is a Float64 or a Bool, and none where the quality
// is bad. A program without windows takes a nil State; of one with windows a
// State that is not its own makes the outcome bad, configuration.
func (p *Program) Eval(st *State, image []tag.Reading, now tag.Stamp) (tag.Value, tag.Quality) {
	if p.windows != nil {
		if st == nil || st.program != p {
			return tag.Value{}, tag.BadConfig
		}
		st.step(image, now)
	}
	f, q := p.run(image, st)
	if q.Bad() {
		return tag.Value{}, q
	}
	if p.typ.Kind == Bool {
		return tag.BoolValue(f != 0), q
	}
	v, ok := tag.Float64Value(f)
	if !ok {
		return tag.Value{}, tag.BadRange | q.Flags()
	}
	return v, q
}

// binds says how tightly an operator binds, as the parser has it.
var binds = [...]int{
	opOr: bindOr, opAnd: bindAnd, opNot: bindNot,
	opEQ: bindCompare, opNE: bindCompare, opLT: bindCompare, opLE: bindCompare, opGT: bindCompare, opGE: bindCompare,
	opAdd: bindAdd, opSub: bindAdd, opMul: bindMul, opDiv: bindMul, opNeg: bindMul,
}

var operators = [...]string{
	opOr: "or", opAnd: "and", opEQ: "=", opNE: "!=", opLT: "<", opLE: "<=", opGT: ">", opGE: ">=", opAdd: "+", opSub: "-", opMul: "*", opDiv: "/",
}

func (n *node) bind() int {
	if int(n.op) < len(binds) && binds[n.op] > 0 {
		return binds[n.op]
	}
	return bindSign
}

// write prints a tree with as few parentheses as it needs. Conversions are not
// printed: what is printed is read back and converted again.
func write(n *node) string {
	switch n.op {
	case opScale:
		return write(n.args[0])
	case opConst:
		return writeConst(n)
	case opText:
		return quote(n.name)
	case opName:
		return n.name
	case opNeg:
		return "-" + inner(n.args[0], bindMul+1)
	case opNot:
		return "not " + inner(n.args[0], bindNot+1)
	case opCall:
		var args []string
		for _, a := range n.args {
			args = append(args, write(a))
		}
		return n.name + "(" + strings.Join(args, ", ") + ")"
	}
	least := n.bind()
	left := least
	if least == bindCompare {
		left++ // a comparison of comparisons needs its parentheses
	}
	return inner(n.args[0], left) + " " + operators[n.op] + " " + inner(n.args[1], least+1)
}

func inner(n *node, least int) string {
	for n.op == opScale {
		n = n.args[0]
	}
	if n.bind() < least {
		return "(" + write(n) + ")"
	}
	return write(n)
}

func quote(s string) string {
	if strings.Contains(s, `"`) {
		return "'" + s + "'"
	}
	return `"` + s + `"`
}

// writeConst prints a constant as it was written, or if it was computed with its unit.
func writeConst(n *node) string {
	switch {
	case n.typ.Kind == Bool && n.num != 0:
		return "true"
	case n.typ.Kind == Bool:
		return "false"
	case n.shown != "":
		return n.shown
	}
	return writeNumber(n.num, n.typ.Unit)
}

// writeNumber prints a number with its unit: "10min", "150 ppm".
func writeNumber(v float64, u unit.Unit) string {
	s := strconv.FormatFloat(v, 'g', -1, 64)
	switch {
	case u == (unit.Unit{}):
		return s
	case u.Time():
		return s + u.String()
	}
	return s + " " + u.String()
}
