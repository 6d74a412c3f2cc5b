package expr

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"davy/drivers/tag"
	"davy/rules/unit"
)

func unitOf(s string) unit.Unit {
	u, err := unit.Parse(s)
	if err != nil {
		panic(err)
	}
	return u
}

var nh3 = unit.Gas{Molar: 17.03, LEL: 15}

// table is the plant of these tests. Tags are numbered from 1 in this order.
var table = []struct {
	name string
	tag  Tag
}{
	{"a", Tag{Kind: Number}},
	{"b", Tag{Kind: Number}},
	{"c", Tag{Kind: Bool}},
	{"d", Tag{Kind: Number}},
	{"e", Tag{Kind: Number}},
	{"t1", Tag{Kind: Number, Unit: unitOf("°C")}},
	{"t2", Tag{Kind: Number, Unit: unitOf("°C")}},
	{"tf", Tag{Kind: Number, Unit: unitOf("°F")}},
	{"superheat", Tag{Kind: Number, Unit: unitOf("K")}},
	{"p1", Tag{Kind: Number, Unit: unitOf("MPa")}},
	{"p2", Tag{Kind: Number, Unit: unitOf("kPa")}},
	{"nh3-1.gas", Tag{Kind: Number, Unit: unitOf("mg/m³"), Gas: nh3}},
	{"nh3-2.gas", Tag{Kind: Number, Unit: unitOf("ppm"), Gas: nh3}},
	{"lel", Tag{Kind: Number, Unit: unitOf("%LEL"), Gas: nh3}},
	{"gas", Tag{Kind: Number, Unit: unitOf("ppm")}},
	{"冷库/3#1", Tag{Kind: Number}}, // cannot be written: # is no part of a name
	{"冷库/3-1.温度", Tag{Kind: Number, Unit: unitOf("°C")}},
	{"valve", Tag{Kind: Text, States: map[string]float64{"shut": 0, "open": 1, "moving": 2}}},
	{"valve2", Tag{Kind: Text, States: map[string]float64{"shut": 0, "open": 1, "moving": 2}}},
	{"lamp", Tag{Kind: Text, States: map[string]float64{"off": 0, "open": 3}}},
	{"fan-run", Tag{Kind: Bool, States: map[string]float64{"stop": 0, "run": 1}}},
	{"1st-pump.run", Tag{Kind: Bool}},
	{"turbidity", Tag{Kind: Number, Unit: unitOf("NTU")}},
	{"flow", Tag{Kind: Number, Unit: unitOf("m³/h")}},
	{"open", Tag{Kind: Bool}},
}

func testEnv() *Env {
	byName, names := map[string]Tag{}, []string{}
	for i, x := range table {
		x.tag.ID = tag.ID(i + 1)
		byName[x.name] = x.tag
		names = append(names, x.name)
	}
	return &Env{Tag: func(name string) (Tag, bool) { t, ok := byName[name]; return t, ok }, Names: func() []string { return names }}
}

func idOf(t testing.TB, name string) tag.ID {
	x, ok := testEnv().Tag(name)
	if !ok {
		t.Fatalf("there is no tag %s", name)
	}
	return x.ID
}

func compile(t testing.TB, src string) *Program {
	t.Helper()
	p, problems := Compile(src, testEnv())
	if len(problems) > 0 {
		t.Fatalf("%s: %v", src, problems)
	}
	return p
}

// The qualities of these tests by a letter behind the value.
var letters = map[byte]tag.Quality{
	'x': tag.BadNoComm,
	's': tag.BadSensor,
	'u': tag.MakeQuality(tag.Uncertain, tag.NotAccurate, 0),
	'i': tag.MakeQuality(tag.Uncertain, tag.Initial, 0),
	'l': tag.MakeQuality(tag.Uncertain, tag.LastUsable, 0),
	'f': tag.GoodQuality | tag.Forced,
	't': tag.GoodQuality | tag.Test,
	'o': tag.MakeQuality(tag.Good, tag.LocalOverride, 0),
	'n': tag.BadSensor | tag.Test,
}

// image makes one of "a=5 b=3x c=true": a value and perhaps the letter of a quality.
func image(t testing.TB, inputs string) []tag.Reading {
	t.Helper()
	out := make([]tag.Reading, len(table)+1)
	for i := range out {
		out[i].Tag = tag.ID(i)
	}
	for _, in := range strings.Fields(inputs) {
		name, text, _ := strings.Cut(in, "=")
		set(t, out, name, text)
	}
	return out
}

func set(t testing.TB, image []tag.Reading, name, text string) {
	t.Helper()
	id := idOf(t, name)
	r := &image[id]
	r.Quality = tag.GoodQuality
	if q, ok := letters[text[len(text)-1]]; ok && table[id-1].tag.Kind != Text {
		r.Quality, text = q, text[:len(text)-1]
	}
	switch x := table[id-1].tag; x.Kind {
	case Bool:
		r.Value = tag.BoolValue(text == "1")
	case Text:
		r.Value = tag.EnumValue(int64(x.States[text]))
	default:
		var f float64
		if _, err := fmt.Sscan(text, &f); err != nil {
			t.Fatal(err)
		}
		r.Value, _ = tag.Float64Value(f)
	}
}

// shown prints an outcome as the tables have it.
func shown(v tag.Value, q tag.Quality) string {
	s := v.String()
	for letter, other := range letters {
		if q == other {
			return s + string(letter)
		}
	}
	switch q {
	case tag.GoodQuality:
		return s
	case tag.BadRange:
		return s + " range"
	case tag.BadNeverRead:
		return s + " never"
	case tag.BadConfig:
		return s + " config"
	case subNormal:
		return s + " sub"
	}
	return fmt.Sprintf("%s %#x", s, uint32(q))
}

func TestValues(t *testing.T) {
	f := func(src, inputs, want string) {
		t.Helper()
		p, problems := Compile(src, testEnv())
		if len(problems) > 0 {
			t.Errorf("%s: %v", src, problems)
			return
		}
		if got := shown(p.Eval(nil, image(t, inputs), tag.Stamp{})); got != want {
			t.Errorf("%s with %s = %s, want %s", src, inputs, got, want)
		}
		again, problems := Compile(p.String(), testEnv())
		if len(problems) > 0 || again.String() != p.String() {
			t.Errorf("%s is printed as %s, which is read as %v %v", src, p, again, problems)
			return
		}
		if got := shown(again.Eval(nil, image(t, inputs), tag.Stamp{})); got != want {
			t.Errorf("%s, printed as %s: %s, want %s", src, p, got, want)
		}
	}
	// The figure's expression.
	fig := "a > 25 && (b < 10 || c) && abs(d - e) > 3"
	f(fig, "a=26 b=9 c=0 d=1 e=5", "true")
	f(fig, "a=25 b=9 c=0 d=1 e=5", "false")
	f(fig, "a=26 b=9x c=1 d=1 e=5", "true")
	f(fig, "a=26 b=9x c=0 d=1 e=5", "-x")
	f(fig, "a=26x b=9x c=0 d=1 e=2", "false")

	// Arithmetic, precedence, numbers.
	f("1 + 2 * 3", "", "7")
	f("(1 + 2) * 3", "", "9")
	f("10 - 2 - 3", "", "5")
	f("100 / 10 / 2", "", "5")
	f("-a * 2", "a=3", "-6")
	f("a - -5", "a=3", "8")
	f("--a", "a=3", "3")
	f("2.5e3 + 0.0", "", "2500")
	f("a / b", "a=1 b=4", "0.25")
	f("a / b", "a=1 b=0", "- range")
	f("a / b", "a=0 b=0", "- range")
	f("a / b", "a=0x b=0", "-x")
	f("a * b", "a=1e300 b=1e300", "- range")
	f("a / b", "a=1t b=0", fmt.Sprintf("- %#x", uint32(tag.BadRange|tag.Test)))
	f("a + 4294967296", "a=4294967295", "8.589934591e+09")
	f("a > 2147483648", "a=2147483649", "true")
	f("abs(a)", "a=-3", "3")
	f("min(a, b, 4)", "a=3 b=5", "3")
	f("max(a, b, 4)", "a=3 b=5", "5")
	f("min(a)", "a=3", "3")
	f("avg(a, b, d)", "a=1 b=2 d=6", "3")
	f("avg(a, b)", "a=1e308 b=1.7e308", "- range")
	f("median(a, b, d)", "a=9 b=2 d=6", "6")
	f("median(a, b)", "a=9 b=2", "5.5")
	f("median(a, b)", "a=1.7e308 b=1.7e308", "1.7e+308")

	// Comparisons.
	f("a = 5", "a=5", "true")
	f("a != 5", "a=5", "false")
	f("a == 5", "a=5", "true")
	f("a ≥ 5 and a ≤ 5 and not (a ≠ 5)", "a=5", "true")
	f("5 < a", "a=6", "true")
	f("5 >= a", "a=6", "false")
	f("5 >= a", "a=5", "true")
	f("5 <= a", "a=5", "true")
	f("5 > a", "a=5", "false")
	f("(t1 - t2) / 9 °F", "t1=30 t2=20", "2")
	f("(a > 1) = (b > 1)", "a=2 b=2", "true")
	f("c = true", "c=1", "true")
	f("c != false", "c=1", "true")
	f("a < b", "a=1 b=2", "true")

	// Three-valued logic.
	logic := func(c, fan, and, or string) {
		t.Helper()
		for _, in := range [][2]string{{c, fan}, {fan, c}} { // the order does not matter
			inputs := "c=" + in[0] + " open=" + in[1]
			f("c and open", inputs, and)
			f("c or open", inputs, or)
			f("not (not c or not open)", inputs, and)
			f("not (not c and not open)", inputs, or)
		}
	}
	logic("1", "1", "true", "true")
	logic("1", "0", "false", "true")
	logic("0", "0", "false", "false")
	logic("1", "0x", "-x", "true")
	logic("0", "1x", "false", "-x")
	logic("0x", "0s", "-x", "-x") // no communication stands before sensor
	logic("1", "1f", "truef", "true")
	logic("0", "1f", "false", "truef")
	logic("0", "0f", "false", "falsef")
	logic("1", "0f", "falsef", "true")
	logic("1", "1l", "truel", "true")
	logic("0", "1l", "false", "truel")
	logic("1u", "0x", "-x", "trueu")
	logic("0u", "0x", "falseu", "-x")
	logic("1u", "1", "trueu", "true")
	logic("0u", "0", "false", "falseu")
	logic("1t", "0", "false", "truet")
	logic("1t", "1", "truet", "true")
	logic("0t", "0x", "falset", "-"+strings.TrimPrefix(shown(tag.Value{}, tag.BadNoComm|tag.Test), "-"))
	logic("0x", "0x", "-x", "-x")

	// Worst quality.
	f("a + b", "a=1 b=2u", "3u")
	f("a + b", "a=1u b=2x", "-x")
	f("a + b", "a=1l b=2u", "3l") // it may not be judged
	f("a + b", "a=1i b=2l", "3l")
	f("a + b", "a=1i b=2u", "3i")
	f("a + b", "a=1o b=2", "3o")
	f("a + b", "a=1f b=2", "3f")
	f("a + b", "a=1s b=2t", "-n")
	f("a > b", "a=1 b=2x", "-x")
	f("a > b", "a=3t b=2", "truet")
	f("a > 1", "a=3l", "truel")
	f("max(a, b)", "a=1 b=2x", "-x")
	f("median(a, b, d)", "a=1 b=2x d=3", "2 sub")
	f("median(a, b, d)", "a=1 b=2x d=3x", "-x")
	f("median(a, b, d)", "a=1 b=2f d=3l", fmt.Sprintf("- %#x", uint32(tag.BadNeverRead|tag.Forced)))
	f("bad(a)", "a=1", "false")
	f("bad(a)", "a=1x", "true")
	f("bad(a)", "a=1f", "true")
	f("bad(a)", "a=1l", "true")
	f("bad(a)", "a=1u", "false")
	f("bad(a)", "a=1t", "falset")
	f("bad(a) or a > 5", "a=9x", "true")
	f("a + 1", "", "- never")

	// Units.
	f("t1 > 25 °C", "t1=26", "true")
	f("t1 > 77 °F", "t1=25.1", "true")
	f("t1 > 77 °F", "t1=24.9", "false")
	f("t1 > 25", "t1=26", "true")
	f("t1 > tf", "t1=26 tf=77", "true")
	f("tf > t1", "t1=24 tf=77", "true")
	f("t1 - t2 > 5 K", "t1=30 t2=24.5", "true")
	f("t1 - t2 > 9 °F", "t1=30 t2=24.5", "true")
	f("t1 - tf > 5 °C", "t1=30 tf=75", "true")
	f("t1 - t2 > superheat", "t1=30 t2=24.5 superheat=5", "true")
	f("superheat < t1 - t2", "t1=30 t2=24.5 superheat=5", "true")
	f("(t1 + tf) / 2", "t1=20 tf=86", "25")
	f("t1 + 9 °F", "t1=20", "25")
	f("9 °F + t1", "t1=20", "25")
	f("t1 - 9 °F > 19 °C", "t1=25", "true")
	f("30 °C - t1 < 5 K", "t1=26", "true")
	f("t1 > 20 °C + 5 °C", "t1=26", "true")
	f("avg(t1, tf)", "t1=20 tf=86", "25")
	f("abs(t1 - median(t1, t2, tf)) > 3 °C", "t1=30 t2=20 tf=68", "true")
	f("-t1", "t1=5", "-5")
	f("p1 * 1000 > 1600", "p1=1.7", "true")
	f("p1 > 1600 kPa", "p1=1.61", "true")
	f("p1 > 16 bar", "p1=1.59", "false")
	f("p1 - p2", "p1=1.6 p2=600", "1")
	f("p1 / p2", "p1=1 p2=500", "2")
	f("p1 / p2 > 1", "p1=1 p2=500", "true")
	f("flow * 2 h > 10 m³", "flow=6", "true")
	f("flow > 1000 L/min", "flow=61", "true")
	f("flow / flow", "flow=5", "1")
	f("2 * t1", "t1=5", "10")
	f("turbidity > 5 NTU", "turbidity=6", "true")
	f("nh3-1.gas > 150 ppm", "nh3-1.gas=107", "true")
	f("nh3-1.gas > 150 ppm", "nh3-1.gas=106", "false")
	f("nh3-2.gas > 20 mg/m³", "nh3-2.gas=28.3", "true")
	f("nh3-2.gas > 20 mg/m³", "nh3-2.gas=28.2", "false")
	f("nh3-2.gas > nh3-1.gas", "nh3-2.gas=28.3 nh3-1.gas=20", "true")
	f("nh3-1.gas < nh3-2.gas", "nh3-2.gas=28.3 nh3-1.gas=20", "true")
	f("nh3-2.gas >= 25 %LEL", "nh3-2.gas=37500", "true")
	f("lel >= 37500ppm", "lel=25", "true")
	f("gas > 150ppm", "gas=151", "true")
	f("max(nh3-1.gas, nh3-2.gas) > 20", "nh3-1.gas=1 nh3-2.gas=29", "true")

	// Names and states.
	f("冷库/3-1.温度 > -18 °C", "冷库/3-1.温度=-17", "true")
	f("1st-pump.run", "1st-pump.run=1", "true")
	f("valve = open", "valve=open", "true") // the state, not the tag of that name
	f("open = valve", "valve=shut", "false")
	f("valve != 'moving'", "valve=shut", "true")
	f(`valve = "open" or c`, "valve=open c=0x", "true")
	f("valve = valve2", "valve=open valve2=open", "true")
	f("fan-run = run", "fan-run=1", "true")
	f("fan-run = stop", "fan-run=1x", "-x")
	f("not fan-run", "fan-run=0", "true")
	f("lamp = open", "lamp=open", "true")
}

func TestProblems(t *testing.T) {
	// want is code@column+width and the hint, of all problems in their order;
	// columns count bytes from 1.
	f := func(src string, want ...string) {
		t.Helper()
		p, problems := Compile(src, testEnv())
		var got []string
		for _, x := range problems {
			s := fmt.Sprintf("%s@%d+%d", x.Code, x.Offset+1, x.Width)
			if x.Hint != "" {
				s += " " + x.Hint
			}
			if w, ok := x.Args["want"]; ok {
				s += fmt.Sprintf(" %v", w)
			}
			got = append(got, s)
		}
		if !slices.Equal(got, want) || (p == nil) != (len(want) > 0) {
			t.Errorf("%s:\n got %q\nwant %q", src, got, want)
		}
	}
	f("", "expr-empty@1+0")
	f("  ", "expr-empty@1+0")
	f(strings.Repeat("a", MaxSource+1), "expr-too-long@1+4097")
	f("a >", "expr-value-missing@4+0")
	f("(a > 1", "expr-unclosed@1+1")
	f("min(a, b", "expr-unclosed@4+1")
	f("a > 1)", "expr-unexpected@6+1")
	f("a > 1 b", "expr-unit-missing@5+3 b") // 1 b is of a unit b
	f("a b", "expr-unexpected@3+1")
	f("a > 1 AND b > 2", "expr-unexpected@7+3 did-you-mean and")
	f("c AND c", "expr-unexpected@3+3 did-you-mean and")
	f("a > > 1", "expr-unexpected@5+1")
	f("'open", "expr-unclosed-text@1+5")
	f("a # 1", "expr-character@3+1", "expr-unexpected@5+1")
	f("a ＞ 1", "expr-character@3+3 did-you-mean >", "expr-unexpected@7+1")
	f("!c", "expr-character@1+1 did-you-mean not")
	f("a > 1e999", "expr-number@5+5")
	f("1 < a < 5", "expr-chain@7+1 expr-chain")
	f("a -5 > 1", "expr-minus@3+1")
	f("(a)-b", "expr-minus@4+1")
	f("a - b")
	f("nonsense-tag > 1", "expr-unknown-tag@1+12")
	f("nh3-1.gaz > 1 and tt > 3", "expr-unknown-tag@1+9 did-you-mean nh3-1.gas", "expr-unknown-tag@19+2 did-you-mean t1")
	f("a-b > 1", "expr-unknown-tag@1+3 expr-blanks a - b")
	f("a-5 > 1", "expr-unknown-tag@1+3 expr-blanks a - 5")
	f("a/b > 1", "expr-unknown-tag@1+3 expr-blanks a / b")
	f("(zzzzzz) > 1", "expr-unknown-tag@2+6")
	f("t1 > p1", "expr-units@6+2 °C")
	f("t1 > 1.6 MPa", "expr-units@6+7 °C")
	f("abs(t1 - p1) > 3 or zzzzzz", "expr-units@10+2 °C", "expr-unknown-tag@21+6")
	f("t1 + 1 MPa", "expr-units@6+5 °C")
	f("a > 5 °C", "expr-unit-missing@5+5 °C")
	f("t1 > a", "expr-unit-missing@6+1 °C")
	f("gas > 20 mg/m³", "expr-gas-molar@7+9 expr-gas ppm")
	f("gas > 25 %LEL", "expr-gas-lel@7+7 expr-gas ppm")
	f("p1 > 1 MPa(g)", "expr-units@6+8 MPa")
	f("rate(t1, 10s) > 5 °C", "expr-units@17+5 °C/s")
	f("t1 > 5 a"+strings.Repeat("b", 40), "expr-bad-unit@8+41")
	f("a and b", "expr-needs-condition@1+1", "expr-needs-condition@7+1")
	f("not a", "expr-needs-condition@5+1")
	f("c + 1", "expr-needs-number@1+1")
	f("c > 0", "expr-needs-number@1+1")
	f("abs(c)", "expr-needs-number@5+1")
	f("c = 1", "expr-kinds-differ@1+5")
	f("valve = 1", "expr-kinds-differ@1+9")
	f("valve", "expr-text-alone@1+5")
	f("'open'", "expr-text-alone@1+6")
	f("valve > open", "expr-needs-number@1+5", "expr-needs-number@9+4")
	f("valve = opne", "expr-unknown-state@9+4 did-you-mean open")
	f("valve = zzzzzz", "expr-unknown-state@9+6 expr-states")
	f("valve = lamp", "expr-states-differ@1+12")
	f("'open' = 'open'", "expr-text-alone@1+15")
	f("1 / 0", "expr-constant@1+5")
	f("1e300 * 1e300 > a", "expr-constant@1+13")
	f("abz(a)", "expr-unknown-function@1+3 did-you-mean abs")
	f("frobnicate(a)", "expr-unknown-function@1+10")
	f("abs()", "expr-arguments@1+5 write-form")
	f("abs(a, b)", "expr-arguments@1+9 write-form")
	f("rate(a)", "expr-arguments@1+7 write-form")
	f("rate(a, 10)", "expr-duration@9+2 expr-duration")
	f("rate(a, 10 m)", "expr-duration@9+4 duration-m")
	f("rate(a, 0s)", "expr-duration-bounds@9+2")
	f("rate(a, 999ms)", "expr-duration-bounds@9+5")
	f("rate(a, 32d)", "expr-duration-bounds@9+3")
	f("rate(a, b)", "expr-duration@9+1 expr-duration")
	f("rate(c, 10s)", "expr-needs-number@6+1")
	f("since(a)", "expr-needs-condition@7+1")
	f("count_over(a, 10s)", "expr-needs-condition@12+1")
	f("stuck(t1, 10min, 1 MPa)", "expr-units@18+5 °C")
	f("stuck(t1, 10min, t2)", "expr-band@18+2")
	f("stuck(c, 10min, 1)", "expr-needs-number@7+1")
	f(strings.Repeat("(", MaxDepth+1)+"a", "expr-too-deep@51+1")
	f(strings.Repeat("not ", MaxDepth+1)+"c", "expr-too-deep@205+1")
	f("a"+strings.Repeat(" + a", MaxNodes/2), "expr-too-big@1+513")
	f("min("+strings.Repeat("a, ", MaxArgs)+"a)", "expr-too-many-arguments@53+1")
	f(strings.Repeat("since(c) > 5 s or ", MaxWindows)+"since(c) > 5 s", "expr-too-many-windows@145+5")
}

func TestPrinted(t *testing.T) {
	f := func(src, want string) {
		t.Helper()
		if got := compile(t, src).String(); got != want {
			t.Errorf("%s is printed as %s, want %s", src, got, want)
		}
	}
	f("((a>25))&&(b<10||c)", "a > 25 and (b < 10 or c)")
	f("a - (b - d)", "a - (b - d)")
	f("(a - b) - d", "a - b - d")
	f("a / (b * d)", "a / (b * d)")
	f("-(a + b)", "-(a + b)")
	f("not (c or open)", "not (c or open)")
	f("not a > 5", "not a > 5")
	f("(a > 1) = c", "(a > 1) = c")
	f("c = (a > 1)", "c = (a > 1)")
	f("nh3-1.gas>=150ppm", "nh3-1.gas >= 150 ppm")
	f("t1 > 25 ℃", "t1 > 25 °C")
	f("t1 > 20 °C + 5 °C", "t1 > 25 °C")
	f("avg_over(a, 15 min) > 3", "avg_over(a, 15min) > 3")
	f("stuck(t1, 0.5 h, 2)", "stuck(t1, 0.5h, 2)")
	f("valve = open", `valve = "open"`)
	f("a > -5", "a > -5")
	f("rate(t1,1min)>5 °C/min", "rate(t1, 1min) > 5 °C/min")
}

func TestAboutAProgram(t *testing.T) {
	p := compile(t, "t2 - t1 > 5 K and avg_over(t1, 1min) > 3 and valve = open")
	if got, want := p.Inputs(), []tag.ID{idOf(t, "t1"), idOf(t, "t2"), idOf(t, "valve")}; !slices.Equal(got, want) {
		t.Errorf("inputs %v, want %v", got, want)
	}
	if p.Type().Kind != Bool || !p.Timed() || compile(t, "a").Timed() {
		t.Error("kind or windows")
	}
	for src, want := range map[string]string{"t1 - t2": "°C", "rate(p1, 10s)": "MPa/s", "a": "", "p1 / p2": "", "flow * 2 h": "m³", "nh3-1.gas + 5 ppm": "mg/m³", "since(c)": "s"} {
		if ty := compile(t, src).Type(); ty.Kind != Number || ty.Unit.String() != want {
			t.Errorf("%s is %v in %q", src, ty.Kind, ty.Unit)
		}
	}
	if ty := compile(t, "avg_over(nh3-2.gas, 15min)").Type(); ty.Gas != nh3 {
		t.Errorf("the gas is lost: %+v", ty)
	}
	for src, want := range map[string]string{"t1 > 77 °F": "6 > 25 true", "25 > t1": "6 < 25 true", "valve = open": "18 = 1 true", "c": "0  0 false", "a > b": "0  0 false", "abs(a) > 1": "0  0 false"} {
		id, sign, limit, ok := compile(t, src).Compares()
		if got := fmt.Sprintf("%d %s %.10g %v", id, sign, limit, ok); got != want {
			t.Errorf("%s compares %s, want %s", src, got, want)
		}
	}
}

func TestAForeignImageOrState(t *testing.T) {
	p := compile(t, "a > 1")
	if got := shown(p.Eval(nil, nil, tag.Stamp{})); got != "- config" {
		t.Error(got)
	}
	in := image(t, "a=1")
	in[1].Value = tag.Value{}
	if got := shown(p.Eval(nil, in, tag.Stamp{})); got != "- config" {
		t.Error(got)
	}
	for _, v := range []tag.Value{tag.IntValue(math.MaxInt64), tag.BoolValue(true)} {
		in[1].Value = v
		if got, want := shown(p.Eval(nil, in, tag.Stamp{})), fmt.Sprint(v.Float() > 1); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
	w := compile(t, "since(a > 1) > 5 s")
	for _, st := range []*State{nil, compile(t, "since(a > 2) > 5 s").NewState()} {
		if got := shown(w.Eval(st, in, tag.Stamp{})); got != "- config" {
			t.Error(got)
		}
	}
	if p.NewState() != nil || p.NewState().Next() != 0 || p.NewState().Append(nil, 5) != nil || p.NewState().Restore([]byte{1}, 0) != nil {
		t.Error("a program without windows has a state")
	}
}

func TestNoAllocation(t *testing.T) {
	p := compile(t, "a > 25 and (b < 10 or c) and abs(d - e) > 3 or median(a, b, d) > avg_over(a, 10s) or rate(t1, 10s) > 5 °C/min or since(c) > 3 s or stuck(a, 5s) or count_over(c, 10s) > 3")
	st, now := p.NewState(), int64(0)
	in := [2][]tag.Reading{image(t, "a=26 b=11 c=1 d=1 e=5 t1=7"), image(t, "a=27x b=11 c=0 d=1 e=5 t1=8")}
	if n := testing.AllocsPerRun(2000, func() {
		now += 1e8
		p.Eval(st, in[now/1e8%2], tag.Stamp{Mono: now})
		st.Next()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
