package expr

import (
	"math"
	"slices"

	"davy/drivers/tag"
)

// run is a compiled node: a number (a condition is 0 or 1, a state its code)
// and its quality. The number is finite; where the quality is bad it means nothing.
type run func(image []tag.Reading, st *State) (float64, tag.Quality)

// reading returns what the image holds. What it does not hold is a plan that
// does not fit: bad, configuration.
func reading(image []tag.Reading, id tag.ID) (float64, tag.Quality) {
	if uint(id) >= uint(len(image)) {
		return 0, tag.BadConfig
	}
	r := &image[id]
	if r.Value.Kind() == tag.Float64 {
		return math.Float64frombits(r.Value.Bits()), r.Quality
	}
	return other(r)
}

// other is a reading that is no float64.
func other(r *tag.Reading) (float64, tag.Quality) {
	switch r.Value.Kind() {
	case tag.None:
		if !r.Quality.Bad() {
			return 0, tag.BadConfig | r.Quality.Flags()
		}
		return 0, r.Quality
	case tag.Bool:
		return float64(r.Value.Bits()), r.Quality
	}
	return r.Value.Float(), r.Quality
}

func build(n *node) run {
	switch n.op {
	case opConst, opText:
		k := n.num
		return func([]tag.Reading, *State) (float64, tag.Quality) { return k, tag.GoodQuality }
	case opName:
		id := n.tag.ID
		if n.typ.Kind == Bool {
			return func(image []tag.Reading, _ *State) (float64, tag.Quality) {
				f, q := reading(image, id)
				if f != 0 {
					f = 1
				}
				return f, q
			}
		}
		return func(image []tag.Reading, _ *State) (float64, tag.Quality) { return reading(image, id) }
	case opNeg, opNot, opScale:
		return buildOne(n)
	case opAnd, opOr:
		return buildLogic(n.op, build(n.args[0]), build(n.args[1]))
	case opAdd, opSub, opMul, opDiv:
		return buildSum(n)
	case opCall:
		return buildCall(n)
	}
	return buildCompare(n)
}

func buildOne(n *node) run {
	x := build(n.args[0])
	switch n.op {
	case opNeg:
		return func(image []tag.Reading, st *State) (float64, tag.Quality) {
			f, q := x(image, st)
			return -f, q
		}
	case opNot:
		return func(image []tag.Reading, st *State) (float64, tag.Quality) {
			f, q := x(image, st)
			return 1 - f, q
		}
	}
	scale := n.scale
	return func(image []tag.Reading, st *State) (float64, tag.Quality) {
		f, q := x(image, st)
		return finite(scale.Of(f), q)
	}
}

// buildLogic leaves the second side out only where the first decides and
// nothing can be better: the outcome does not hang on the order.
func buildLogic(o op, a, b run) run {
	decides := 0.0
	if o == opOr {
		decides = 1
	}
	return func(image []tag.Reading, st *State) (float64, tag.Quality) {
		x, p := a(image, st)
		if p == tag.GoodQuality {
			if x == decides {
				return x, p
			}
			y, q := b(image, st)
			if q == tag.GoodQuality {
				return y, q
			}
			return either(decides, x, p, y, q)
		}
		y, q := b(image, st)
		return either(decides, x, p, y, q)
	}
}

func buildSum(n *node) run {
	a, b := build(n.args[0]), build(n.args[1])
	switch n.op {
	case opAdd:
		return func(image []tag.Reading, st *State) (float64, tag.Quality) {
			x, p := a(image, st)
			y, q := b(image, st)
			return finite(x+y, worst(p, q))
		}
	case opSub:
		if n.args[0].op == opName && n.args[1].op == opName {
			i, j := n.args[0].tag.ID, n.args[1].tag.ID
			return func(image []tag.Reading, _ *State) (float64, tag.Quality) {
				x, p := reading(image, i)
				y, q := reading(image, j)
				return finite(x-y, worst(p, q))
			}
		}
		return func(image []tag.Reading, st *State) (float64, tag.Quality) {
			x, p := a(image, st)
			y, q := b(image, st)
			return finite(x-y, worst(p, q))
		}
	case opMul:
		return func(image []tag.Reading, st *State) (float64, tag.Quality) {
			x, p := a(image, st)
			y, q := b(image, st)
			return finite(x*y, worst(p, q))
		}
	}
	return func(image []tag.Reading, st *State) (float64, tag.Quality) {
		x, p := a(image, st)
		y, q := b(image, st)
		return finite(x/y, worst(p, q))
	}
}

func one(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// mirror turns a comparison round, so that a constant stands on the right.
var mirror = [...]op{opEQ: opEQ, opNE: opNE, opLT: opGT, opLE: opGE, opGT: opLT, opGE: opLE}

func buildCompare(n *node) run {
	o, left, right := n.op, n.args[0], n.args[1]
	if left.op == opConst || left.op == opText {
		o, left, right = mirror[o], right, left
	}
	if right.op == opConst || right.op == opText {
		if left.op == opName {
			return compareTag(o, left.tag.ID, right.num)
		}
		return compareConst(o, build(left), right.num)
	}
	a, b := build(left), build(right)
	return func(image []tag.Reading, st *State) (float64, tag.Quality) {
		x, p := a(image, st)
		y, q := b(image, st)
		return one(holds(o, x, y)), worst(p, q)
	}
}

func holds(o op, x, y float64) bool {
	switch o {
	case opEQ:
		return x == y
	case opNE:
		return x != y
	case opLT:
		return x < y
	case opLE:
		return x <= y
	case opGT:
		return x > y
	}
	return x >= y
}

// compareTag is what most conditions are: a tag and a constant.
func compareTag(o op, id tag.ID, k float64) run {
	switch o {
	case opLT:
		return func(image []tag.Reading, _ *State) (float64, tag.Quality) {
			x, q := reading(image, id)
			return one(x < k), q
		}
	case opLE:
		return func(image []tag.Reading, _ *State) (float64, tag.Quality) {
			x, q := reading(image, id)
			return one(x <= k), q
		}
	case opGT:
		return func(image []tag.Reading, _ *State) (float64, tag.Quality) {
			x, q := reading(image, id)
			return one(x > k), q
		}
	case opGE:
		return func(image []tag.Reading, _ *State) (float64, tag.Quality) {
			x, q := reading(image, id)
			return one(x >= k), q
		}
	}
	return func(image []tag.Reading, _ *State) (float64, tag.Quality) {
		x, q := reading(image, id)
		return one(holds(o, x, k)), q
	}
}

func compareConst(o op, a run, k float64) run {
	switch o {
	case opGT:
		return func(image []tag.Reading, st *State) (float64, tag.Quality) {
			x, q := a(image, st)
			return one(x > k), q
		}
	case opGE:
		return func(image []tag.Reading, st *State) (float64, tag.Quality) {
			x, q := a(image, st)
			return one(x >= k), q
		}
	}
	return func(image []tag.Reading, st *State) (float64, tag.Quality) {
		x, q := a(image, st)
		return one(holds(o, x, k)), q
	}
}

func buildCall(n *node) run {
	if n.fn.window != 0 {
		i := n.window
		return func(_ []tag.Reading, st *State) (float64, tag.Quality) {
			w := &st.windows[i]
			return w.value, w.quality
		}
	}
	var args []run
	for _, a := range n.args {
		args = append(args, build(a))
	}
	x := args[0]
	switch n.fn.name {
	case "abs":
		return func(image []tag.Reading, st *State) (float64, tag.Quality) {
			f, q := x(image, st)
			return math.Abs(f), q
		}
	case "bad":
		return func(image []tag.Reading, st *State) (float64, tag.Quality) {
			_, q := x(image, st)
			return one(!q.Usable()), tag.GoodQuality | q&tag.Test
		}
	case "median":
		return median(args)
	case "avg":
		return average(args)
	}
	if len(args) == 1 {
		return x
	}
	greatest := n.fn.name == "max"
	return func(image []tag.Reading, st *State) (float64, tag.Quality) {
		f, q := x(image, st)
		for _, a := range args[1:] {
			y, p := a(image, st)
			if q = worst(q, p); y > f == greatest {
				f = y
			}
		}
		return f, q
	}
}

func average(args []run) run {
	n := float64(len(args))
	return func(image []tag.Reading, st *State) (float64, tag.Quality) {
		sum, q := args[0](image, st)
		for _, a := range args[1:] {
			y, p := a(image, st)
			sum += y
			q = worst(q, p)
		}
		return finite(sum/n, q)
	}
}

// median leaves out what may not be judged and what is in test, as long as half
// is left: a test gas at one of three is no part of what the others say, and does
// not make a test of it. Where it takes those in test, it is one.
func median(args []run) run {
	return func(image []tag.Reading, st *State) (float64, tag.Quality) {
		var list, tested [MaxArgs]float64
		n, more, all, good, most := 0, 0, tag.GoodQuality, tag.GoodQuality, tag.GoodQuality
		for _, a := range args {
			f, q := a(image, st)
			all = worst(all, q)
			switch {
			case !q.Usable():
				continue
			case q&tag.Test != 0:
				tested[more] = f
				more++
			default:
				good = worst(good, q)
				list[n] = f
				n++
			}
			most = worst(most, q)
		}
		if 2*n < len(args) {
			n, good = n+copy(list[n:], tested[:more]), most
		}
		if 2*n < len(args) {
			return 0, bad(all)
		}
		if n < len(args) {
			good = worst(good, subNormal)
		}
		slices.Sort(list[:n])
		f := list[n/2]
		if n%2 == 0 {
			f = list[n/2-1] + (f-list[n/2-1])/2
		}
		return finite(f, good)
	}
}

// subNormal is a value that rests on less than it should.
const subNormal = tag.Quality(tag.Uncertain)<<30 | tag.Quality(tag.SubNormal)<<8

// bad returns q, or where that is not bad (last usable, forced) that nothing
// was read which counts, with its flags.
func bad(q tag.Quality) tag.Quality {
	if q.Bad() {
		return q
	}
	return tag.BadNeverRead | q.Flags()
}
