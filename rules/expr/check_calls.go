package expr

import (
	"math"
	"slices"
	"time"

	"davy/rules/unit"
)

// form of a function.
type form uint8

const (
	formAbs    form = iota
	formFew         // one or more numbers
	formBad         // anything
	formSince       // a condition
	formStuck       // a number or condition, a duration, perhaps a number
	formOver        // a number, a duration
	formCount       // a condition, a duration
	formDelta       // as over, a difference
	formPerSec      // as over, per second
	formStel        // a concentration, perhaps a coverage
	formShift       // a number; of a shift that is over perhaps a coverage
)

type function struct {
	name   string
	shape  string // how it is written
	form   form
	window windowKind // 0: no function over time

	concentration bool // is what it takes
}

var functions = [...]function{
	{"abs", "abs(x)", formAbs, 0, false},
	{"min", "min(x, y)", formFew, 0, false},
	{"max", "max(x, y)", formFew, 0, false},
	{"avg", "avg(x, y)", formFew, 0, false},
	{"median", "median(x, y, z)", formFew, 0, false},
	{"bad", "bad(x)", formBad, 0, false},
	{"since", "since(x > 1)", formSince, winSince, false},
	{"stuck", "stuck(x, 10min)", formStuck, winStuck, false},
	{"delta", "delta(x, 10s)", formDelta, winDelta, false},
	{"rate", "rate(x, 10s)", formPerSec, winRate, false},
	{"avg_over", "avg_over(x, 15min)", formOver, winAvg, false},
	{"max_over", "max_over(x, 15min)", formOver, winMax, false},
	{"min_over", "min_over(x, 15min)", formOver, winMin, false},
	{"count_over", "count_over(x > 1, 10min)", formCount, winCount, false},
	{"stel", "stel(x, 75 %)", formStel, winAvg, true},
	{"twa", "twa(x)", formShift, winTWA, true},
	{"twa_last", "twa_last(x, 75 %)", formShift, winTWALast, true},
	{"shift_max", "shift_max(x)", formShift, winTop, false},
	{"shift_max_last", "shift_max_last(x, 75 %)", formShift, winTopLast, false},
	{"shift_seen", "shift_seen(x)", formShift, winSeen, false},
}

var (
	second, _  = unit.Parse("s")
	percent, _ = unit.Parse("%")
	ppm, _     = unit.Parse("ppm")
)

func (c *checker) call(n *node) {
	i := slices.IndexFunc(functions[:], func(f function) bool { return f.name == n.name })
	if i < 0 {
		var names []string
		for _, f := range functions {
			names = append(names, f.name)
		}
		hint, args := "", []any{"name", n.name}
		if near := Nearest(n.name, names); near != "" {
			hint, args = "did-you-mean", append(args, "want", near)
		}
		c.notes.bad(n.off, len(n.name), "expr-unknown-function", hint, args...)
		c.both(n)
		return
	}
	n.fn = &functions[i]
	c.both(n)
	want, most := 1, 1
	switch n.fn.form {
	case formFew:
		most = MaxArgs
	case formStuck:
		want, most = 2, 3
	case formOver, formCount, formDelta, formPerSec:
		want, most = 2, 2
	case formStel, formShift:
		if w := n.fn.window; w == winAvg || w == winTWALast || w == winTopLast {
			most = 2
		}
	}
	if len(n.args) < want || len(n.args) > most {
		c.bad(n, "expr-arguments", "write-form", "name", n.name, "form", n.fn.shape)
		return
	}
	c.callOf(n)
}

func (c *checker) callOf(n *node) {
	x := n.args[0]
	switch n.fn.form {
	case formAbs:
		if c.numbers(n.args) {
			n.typ = x.typ
			if x.op == opConst {
				c.fold(n, math.Abs(x.num))
			}
		}
		return
	case formFew:
		if c.numbers(n.args) && c.unify(n.args) {
			n.typ = n.args[0].typ
			n.typ.lit = false
		}
		return
	case formBad:
		if x.op == opText {
			c.bad(x, "expr-text-alone", "")
		}
		n.typ.Kind = Bool
		return
	}
	ok := true
	switch n.fn.form {
	case formSince, formCount:
		ok = c.condition(x)
	case formStuck:
		ok = x.typ.Kind == Bool && len(n.args) < 3 || c.numbers(append(n.args[:1:1], n.args[2:]...))
		if ok && len(n.args) == 3 {
			ok = c.band(n)
		}
	default:
		ok = c.numbers(n.args[:1])
	}
	switch n.fn.form {
	case formSince:
	case formStel, formShift:
		ok = c.exposure(n) && ok
	default:
		ok = c.duration(n) && ok
	}
	if !ok {
		return
	}
	n.typ = typ{Kind: Number, Unit: x.typ.Unit, Gas: x.typ.Gas}
	switch n.fn.form {
	case formSince:
		n.typ = typ{Kind: Number, Unit: second}
	case formCount:
		n.typ = typ{Kind: Number}
	case formStuck:
		n.typ = typ{Kind: Bool}
	case formShift:
		if n.fn.window == winSeen {
			n.typ = typ{Kind: Number, Unit: percent}
		}
	case formDelta:
		n.typ.Unit = n.typ.Unit.Difference()
	case formPerSec:
		n.typ.Unit = n.typ.Unit.Difference().Div(second)
	}
	if len(c.windows) == MaxWindows {
		c.notes.bad(n.off, len(n.name), "expr-too-many-windows", "", "max", MaxWindows)
		return
	}
	n.window = len(c.windows)
	c.windows = append(c.windows, n)
}

// band checks the third argument of stuck: a number of the source, in the
// unit of the first.
func (c *checker) band(n *node) bool {
	band := n.args[2]
	if band.op != opConst || band.num < 0 {
		c.bad(band, "expr-band", "")
		return false
	}
	to := n.args[0].typ
	to.Unit = to.Unit.Difference()
	if band.typ.bare {
		band.shown = writeConst(band)
		band.typ.Unit, band.typ.bare = to.Unit, false
	}
	band.typ.Unit = band.typ.Unit.Difference()
	return c.convert(n.args, 2, to, n.args[0])
}

// duration checks the second argument of a window.
func (c *checker) duration(n *node) bool {
	d := n.args[1]
	if d.typ.Kind == 0 {
		return false
	}
	if d.op != opConst || d.typ.Kind != Number || d.typ.bare || !d.typ.Unit.Time() {
		hint := "expr-duration"
		if d.typ.Unit.String() == "m" {
			hint = "duration-m"
		}
		c.bad(d, "expr-duration", hint)
		return false
	}
	s, err := unit.Convert(d.num, d.typ.Unit, second, unit.Gas{}, unit.Air{})
	if err != nil || s < MinWindow.Seconds() || s > MaxWindow.Seconds() {
		c.bad(d, "expr-duration-bounds", "", "low", "1s", "high", "31d")
		return false
	}
	n.span = int64(math.Round(s * float64(time.Second)))
	return true
}

// exposure checks a function of exposure: that a shift is known, that what it
// takes is a concentration, and the coverage.
func (c *checker) exposure(n *node) bool {
	x, k := n.args[0], n.fn.window
	switch {
	case k.ofShift() && c.env.Shifts == nil:
		c.notes.bad(n.off, len(n.name), "expr-no-shifts", "expr-no-shifts", "name", n.name)
		return false
	case x.typ.Kind == 0:
		return false
	case n.fn.concentration && !x.typ.Unit.SameWithGas(ppm):
		c.bad(x, "expr-concentration", "", "name", n.name, "have", x.typ.Unit.String())
		return false
	}
	switch k {
	case winAvg:
		n.span = int64(ShortTerm)
	case winTWALast, winTopLast:
		n.span = int64(c.env.Shifts.Longest())
	default:
		n.span = int64(Beat)
	}
	if len(n.args) == 1 {
		return true
	}
	d := n.args[1]
	if d.typ.Kind == 0 {
		return false
	}
	if d.op != opConst || !d.typ.Unit.Is(percent) || d.num < 1 || d.num > 100 {
		c.bad(d, "expr-coverage", "")
		return false
	}
	n.need = d.num / 100
	return true
}

// turning notes at a since that is compared with a number of the source when
// the comparison turns.
func (c *checker) turning(n *node) {
	o, x, k := n.op, n.args[0], n.args[1]
	if k.fn != nil && k.fn.window == winSince {
		x, k = k, x
		o = map[op]op{opLT: opGT, opLE: opGE, opGT: opLT, opGE: opLE}[o]
	}
	if x.fn == nil || x.fn.window != winSince || k.op != opConst {
		return
	}
	// The first nanosecond whose seconds are at least k.num, or more than it.
	least := math.Ceil(k.num * float64(time.Second))
	if !(least > 0 && least < float64(MaxWindow)) {
		x.turns = -1 // at once, or never
		if least >= float64(MaxWindow) {
			x.turns = 0
		}
		return
	}
	at := int64(least) - 2
	beyond := func(at int64) bool {
		s := float64(at) / float64(time.Second)
		return s > k.num || s == k.num && (o == opGE || o == opLT)
	}
	for !beyond(at) {
		at++
	}
	x.turns = at
}
