package expr

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"testing"

	"davy/drivers/tag"
	"pgregory.net/rapid"
)

// A second evaluation, by the words of the package comment alone: it walks a
// tree that the test made, and looks at every operand every time.

type known struct {
	f float64
	q tag.Quality
}

// tree is an expression as the test makes it: how it is written, and what it is.
type tree struct {
	text  string
	value func(map[string]known) known
}

func worstOf(list ...known) tag.Quality {
	pick := func(in func(tag.Reason) bool) (tag.Reason, bool) {
		found, any := tag.Reason(255), false
		for _, x := range list {
			if r := x.q.Reason(); in(r) && (!any || r < found) {
				found, any = r, true
			}
		}
		return found, any
	}
	flags := tag.Quality(0)
	for _, x := range list {
		flags |= x.q.Flags()
	}
	for _, in := range []func(tag.Reason) bool{
		func(r tag.Reason) bool { return r.Status() == tag.Bad },
		func(r tag.Reason) bool { return r == tag.LastUsable },
		func(r tag.Reason) bool { return r.Status() == tag.Uncertain },
		func(r tag.Reason) bool { return r == tag.LocalOverride },
	} {
		if r, ok := pick(in); ok {
			return tag.MakeQuality(r.Status(), r, flags)
		}
	}
	return tag.GoodQuality | flags
}

func arithmetic(f float64, args ...known) known {
	q := worstOf(args...)
	switch {
	case q.Bad():
		return known{0, q}
	case math.IsNaN(f) || math.IsInf(f, 0):
		return known{0, tag.BadRange | q.Flags()}
	}
	return known{f, q}
}

func truth(b bool, args ...known) known {
	if b {
		return known{1, worstOf(args...)}
	}
	return known{0, worstOf(args...)}
}

// decide is and (by 0) or or (by 1).
func decide(by float64, x, y known) known {
	var sides []known
	for _, s := range []known{x, y} {
		if s.q.Usable() && s.f == by {
			sides = append(sides, s)
		}
	}
	if len(sides) == 0 {
		if by == 0 {
			return truth(x.f != 0 && y.f != 0, x, y)
		}
		return truth(x.f != 0 || y.f != 0, x, y)
	}
	return slices.MaxFunc(sides, func(a, b known) int {
		for _, key := range []func(tag.Quality) int{
			func(q tag.Quality) int { return int(q.Status()) },
			func(q tag.Quality) int { return -int(q.Flags()) },
			func(q tag.Quality) int { return -slices.Index([]tag.Reason{tag.Plain, tag.LocalOverride}, q.Reason()) },
		} {
			if d := key(a.q) - key(b.q); d != 0 {
				return d
			}
		}
		return int(a.q.Reason()) - int(b.q.Reason())
	})
}

func number(t *rapid.T, deep int) tree {
	if deep == 0 || rapid.IntRange(0, 3).Draw(t, "leaf") == 0 {
		if rapid.IntRange(0, 3).Draw(t, "constant") == 0 {
			f := rapid.SampledFrom([]float64{0, 1, 2, 0.5, 3, 1e300, 4294967297}).Draw(t, "value")
			return tree{strconv.FormatFloat(f, 'g', -1, 64), func(map[string]known) known { return known{f, tag.GoodQuality} }}
		}
		name := rapid.SampledFrom([]string{"a", "b", "d", "e"}).Draw(t, "tag")
		return tree{name, func(in map[string]known) known { return in[name] }}
	}
	list := []tree{number(t, deep-1), number(t, deep-1), number(t, deep-1)}
	x, y := list[0], list[1]
	two := func(sign string, f func(x, y float64) float64) tree {
		return tree{fmt.Sprintf("(%s %s %s)", x.text, sign, y.text), func(in map[string]known) known {
			x, y := x.value(in), y.value(in)
			return arithmetic(f(x.f, y.f), x, y)
		}}
	}
	many := func(name string, f func([]float64) float64) tree {
		return tree{fmt.Sprintf("%s(%s, %s, %s)", name, x.text, y.text, list[2].text), func(in map[string]known) known {
			var args []known
			var numbers []float64
			for _, x := range list {
				args = append(args, x.value(in))
				numbers = append(numbers, args[len(args)-1].f)
			}
			if name == "median" {
				good := slices.DeleteFunc(slices.Clone(args), func(x known) bool { return !x.q.Usable() })
				if real := slices.DeleteFunc(slices.Clone(good), func(x known) bool { return x.q&tag.Test != 0 }); len(real) >= 2 {
					good = real
				}
				slices.SortFunc(good, func(a, b known) int {
					if a.f < b.f {
						return -1
					}
					return 1
				})
				q := worstOf(append(good, known{q: subNormal})...)
				switch len(good) {
				case 3:
					return known{good[1].f, worstOf(good...)}
				case 2:
					return arithmetic(good[0].f+(good[1].f-good[0].f)/2, known{q: q})
				}
				if q := worstOf(args...); q.Bad() {
					return known{0, q}
				}
				return known{0, tag.BadNeverRead | worstOf(args...).Flags()}
			}
			return arithmetic(f(numbers), args...)
		}}
	}
	switch rapid.IntRange(0, 10).Draw(t, "number") {
	case 0:
		return two("+", func(x, y float64) float64 { return x + y })
	case 1:
		return two("-", func(x, y float64) float64 { return x - y })
	case 2:
		return two("*", func(x, y float64) float64 { return x * y })
	case 3, 4:
		return two("/", func(x, y float64) float64 { return x / y })
	case 5:
		return tree{"-" + x.text, func(in map[string]known) known { x := x.value(in); return arithmetic(-x.f, x) }}
	case 6:
		return tree{"abs(" + x.text + ")", func(in map[string]known) known { x := x.value(in); return arithmetic(math.Abs(x.f), x) }}
	case 7:
		return many("min", slices.Min[[]float64])
	case 8:
		return many("max", slices.Max[[]float64])
	case 9:
		return many("avg", func(v []float64) float64 { return (v[0] + v[1] + v[2]) / 3 })
	}
	return many("median", nil)
}

func condition(t *rapid.T, deep int) tree {
	if deep == 0 || rapid.IntRange(0, 4).Draw(t, "leaf") == 0 {
		name := rapid.SampledFrom([]string{"c", "open", "fan-run", "true", "false"}).Draw(t, "tag")
		return tree{name, func(in map[string]known) known { return in[name] }}
	}
	switch rapid.IntRange(0, 5).Draw(t, "condition") {
	case 0:
		x := condition(t, deep-1)
		return tree{"not (" + x.text + ")", func(in map[string]known) known { x := x.value(in); return truth(x.f == 0, x) }}
	case 1:
		x := number(t, deep-1)
		return tree{"bad(" + x.text + ")", func(in map[string]known) known {
			x := x.value(in)
			return truth(!x.q.Usable(), known{q: tag.GoodQuality | x.q&tag.Test})
		}}
	case 2, 3:
		x, y := number(t, deep-1), number(t, deep-1)
		sign := rapid.SampledFrom([]string{"=", "!=", "<", "<=", ">", ">="}).Draw(t, "sign")
		return tree{fmt.Sprintf("%s %s %s", x.text, sign, y.text), func(in map[string]known) known {
			x, y := x.value(in), y.value(in)
			return truth(map[string]bool{"=": x.f == y.f, "!=": x.f != y.f, "<": x.f < y.f, "<=": x.f <= y.f, ">": x.f > y.f, ">=": x.f >= y.f}[sign], x, y)
		}}
	}
	x, y := condition(t, deep-1), condition(t, deep-1)
	word := rapid.SampledFrom([]string{"and", "or"}).Draw(t, "word")
	return tree{fmt.Sprintf("(%s) %s (%s)", x.text, word, y.text), func(in map[string]known) known {
		return decide(map[string]float64{"and": 0, "or": 1}[word], x.value(in), y.value(in))
	}}
}

func TestAgainstTheNaiveEvaluation(t *testing.T) {
	var qualities []tag.Quality
	for r := tag.NeverRead; r <= tag.LocalOverride; r++ {
		for _, flags := range []tag.Quality{0, tag.Test, tag.Forced, tag.LimitHigh} {
			qualities = append(qualities, tag.MakeQuality(r.Status(), r, flags))
		}
	}
	ran := 0
	rapid.Check(t, func(t *rapid.T) {
		x := condition(t, 4)
		if rapid.Bool().Draw(t, "number") {
			x = number(t, 4)
		}
		p, problems := Compile(x.text, testEnv())
		if len(problems) > 0 {
			if c := problems[0].Code; c != "expr-constant" && c != "expr-too-big" {
				t.Fatalf("%s: %v", x.text, problems)
			}
			return
		}
		again, problems := Compile(p.String(), testEnv())
		if len(problems) > 0 || again.String() != p.String() {
			t.Fatalf("%s is printed as %s and read as %v %v", x.text, p, again, problems)
		}
		ran++
		for range 10 {
			in := map[string]known{"true": {1, tag.GoodQuality}, "false": {0, tag.GoodQuality}}
			image := make([]tag.Reading, len(table)+1)
			for i, x := range table {
				q := tag.GoodQuality
				if rapid.IntRange(0, 2).Draw(t, "quality") > 0 {
					q = rapid.SampledFrom(qualities).Draw(t, "q")
				}
				f := rapid.SampledFrom([]float64{0, 1, 1, 2, 3, -1, 1e300, -1.5}).Draw(t, x.name)
				v, _ := tag.Float64Value(f)
				if x.tag.Kind == Bool {
					f = one(f > 0.5)
					v = tag.BoolValue(f > 0.5)
				}
				image[i+1] = tag.Reading{Quality: q, Value: v}
				in[x.name] = known{f, q}
			}
			want := x.value(in)
			for _, p := range []*Program{p, again} {
				v, q := p.Eval(nil, image, tag.Stamp{})
				if q != want.q || !q.Bad() && v.Float() != want.f+0 || q.Bad() && v != (tag.Value{}) || !q.Bad() && v.Kind() == tag.None {
					t.Fatalf("%s with %v: %v %#x, want %v %#x", p, in, v, uint32(q), want.f, uint32(want.q))
				}
			}
		}
	})
	if ran < 30 {
		t.Errorf("only %d expressions ran", ran)
	}
}

func FuzzCompile(f *testing.F) {
	for _, s := range []string{
		"a > 25 && (b < 10 || c) && abs(d - e) > 3", everyWindow, "nh3-1.gas >= 150 ppm and not bad(nh3-2.gas)", "t1 - t2 > 5 K", "valve = open",
		"1 < a < 5", "a-b", "冷库/3-1.温度 > -18℃", "rate(t1, 1min) > 5 °C/min", "flow * 2 h > 10 m³", "avg(t1, tf, 20 °C)", "stuck(t1, 10min, 0.2 K)",
		"(((", "'", "1e999", "a ＞ 1", "-(-(-a))", "not not c", "a - -5", "max(nh3-1.gas, 5 %LEL, lel) / nh3-1.gas", "5 1/min", "5 1/i/m", "\xff", "30 °C - 68 °F < t1 - tf",
	} {
		f.Add(s)
	}
	images := [][]tag.Reading{image(f, ""), image(f, "a=1 b=2x c=1 t1=20 tf=80f nh3-1.gas=5t"), image(f, "a=1e300 b=1e300 c=0 d=-1e300")}
	f.Fuzz(func(t *testing.T, src string) {
		p, problems := Compile(src, testEnv())
		if (p == nil) != (len(problems) > 0) {
			t.Fatalf("%v %v", p, problems)
		}
		at := 0
		for _, x := range problems {
			if x.Offset < at || x.Width < 0 || x.Offset+x.Width > len(src) || x.Code == "" {
				t.Fatalf("%q: %+v", src, x)
			}
			at = x.Offset
		}
		if p == nil {
			return
		}
		again, problems := Compile(p.String(), testEnv())
		if len(p.String()) <= MaxSource && (len(problems) > 0 || again.String() != p.String()) {
			t.Fatalf("%q is printed as %q, which is read as %v %v", src, p, again, problems)
		}
		st, st2 := p.NewState(), (*State)(nil)
		if again != nil {
			st2 = again.NewState()
		}
		for i := range 9 {
			now := int64(i) * 7 * sec
			v, q := p.Eval(st, images[i%3], tag.Stamp{Mono: now})
			if !q.Valid() || q.Bad() != (v == tag.Value{}) || v.Kind() != tag.None && (v.Kind() == tag.Bool) != (p.Type().Kind == Bool) {
				t.Fatalf("%q: %v %#x", src, v, uint32(q))
			}
			if again == nil {
				continue
			}
			if w, r := again.Eval(st2, images[i%3], tag.Stamp{Mono: now}); w != v || r != q {
				t.Fatalf("%q is %v %#x, printed as %q %v %#x", src, v, uint32(q), p, w, uint32(r))
			}
			if st.Next() != st2.Next() {
				t.Fatalf("%q: next %d and %d", src, st.Next(), st2.Next())
			}
		}
	})
}
