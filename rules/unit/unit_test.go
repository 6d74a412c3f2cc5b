package unit

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func parse(t *testing.T, s string) Unit {
	t.Helper()
	u, err := Parse(s)
	if err != nil {
		t.Fatalf("Parse(%q): %v", s, err)
	}
	return u
}

func TestSpellings(t *testing.T) {
	f := func(want string, spellings ...string) {
		t.Helper()
		u := parse(t, want)
		if u.String() != want || !u.Known() {
			t.Errorf("%q is printed %q, known %v", want, u, u.Known())
		}
		for _, s := range spellings {
			if v := parse(t, s); v != u {
				t.Errorf("%q is %+v, not %+v", s, v, u)
			}
		}
	}
	f("", " ", "\t")
	f("°C", "℃", "degC", "ºC", "˚C", " ° C")
	f("°F", "℉", "degF")
	f("%", "％")
	f("%VOL", "%vol", "vol%", "%V/V", "% VOL")
	f("%LEL", "%lel", "LEL%", "% LEL")
	f("%RH", "%rh", "RH%")
	f("LEL·m", "LEL.m", "LEL-m", "LELm", "LEL*m", "LEL⋅m")
	f("%LEL·m", "%LEL.m")
	f("mg/m³", "mg/m3", "mg/m^3", "mg / m³", "㎎/㎥", "mg／m3")
	f("µg/m³", "\u03bcg/m3", "ug/m3", "\u00b5g/m^3")
	f("m³/h", "m3/h", "m^3/h", "m3/hr", "㎥/h")
	f("Nm³/h", "Nm3/h", "Nm^3/h")
	f("L/min", "l/min")
	f("MPa", "Mpa", "MPA", "㎫")
	f("kPa", "KPa", "kpa", "Kpa")
	f("MPa(g)", "MPaG", "MPag", "MPa（G）")
	f("bar(a)", "bara", "barA")
	f("kgf/cm²", "kgf/cm2", "kgf/cm^2")
	f("kW", "KW", "㎾")
	f("kΩ", "k\u2126", "kohm")
	f("W/(m²·K)", "W/(m2*K)", "W/m²/K")
	f("1/min")
	f("°C/min", "℃/min", "degC/min")
	f("N·m", "N.m", "N*m")
	f("r/min", "rev/min")
	f("mm/s²", "mm/s2", "mm/s^2")
}

func TestTheUnknownIsItsOwn(t *testing.T) {
	f := func(a, b string, same bool) {
		t.Helper()
		if u, v := parse(t, a), parse(t, b); u.Same(v) != same || v.Same(u) != same {
			t.Errorf("%q (%+v) and %q (%+v): same %v", a, u, b, v, u.Same(v))
		}
	}
	f("NTU", "NTU", true)
	f("NTU", "pH", false)
	f("NTU", "", false)
	f("NTU", "%", false)
	f("NTU/s", "NTU/min", true)
	f("NTU/s", "pH/min", false)
	f("dB(A)", "dB(A)", true)
	f("W/m²·K", "W/(m²·K)", false) // which of two it is nobody knows
	f("CO2", "CO3", false)
	f("吨", "t", false)
	if parse(t, "NTU").Known() || parse(t, "NTU/s").Known() {
		t.Error("NTU is known")
	}
}

func TestRefused(t *testing.T) {
	f := func(s string, want error) {
		t.Helper()
		if u, err := Parse(s); !errors.Is(err, want) || u != (Unit{}) {
			t.Errorf("Parse(%q) = %+v, %v; want %v", s, u, err, want)
		}
	}
	f("12", ErrNumber)
	f("-", ErrNumber)
	f("a\nb", ErrCharacter)
	f("a=b", ErrCharacter)
	f("\xff", ErrCharacter)
	f("a\u202eb", ErrCharacter)
	f(strings.Repeat("a", MaxLen+1), ErrLong)
}

func near(a, b, part float64) bool {
	return math.Abs(a-b) <= part*math.Max(math.Abs(a), math.Abs(b))
}

func TestScale(t *testing.T) {
	f := func(v float64, from, to string, want float64) {
		t.Helper()
		u, w := parse(t, from), parse(t, to)
		factor, offset, err := Scale(u, w, Gas{}, Air{})
		if got := v*factor + offset; err != nil || !near(got, want, 1e-12) || !u.Same(w) {
			t.Errorf("%v %s = %v %s, want %v (%v)", v, from, got, to, want, err)
		}
		factor, offset, err = Scale(w, u, Gas{}, Air{})
		if got := want*factor + offset; err != nil || !near(got, v, 1e-12) {
			t.Errorf("%v %s = %v %s, want %v (%v)", want, to, got, from, v, err)
		}
	}
	f(1.6, "MPa", "bar", 16)
	f(1.6, "MPa", "kPa", 1600)
	f(1, "bar(g)", "kPa(g)", 100)
	f(1, "kgf/cm²", "kPa", 98.0665)
	f(1, "psi", "kPa", 6.894757293168)
	f(10, "mmH₂O", "Pa", 98.0665)
	f(20, "°C", "K", 293.15)
	f(-40, "°C", "°F", -40)
	f(212, "°F", "°C", 100)
	f(5, "°C/min", "°C/h", 300)
	f(9, "°F/min", "°C/min", 5)
	f(5, "°C/min", "K/min", 5)
	f(50, "%", "‰", 500)
	f(1, "%VOL", "ppm", 10000)
	f(1, "ppm", "ppb", 1000)
	f(1, "mg/m³", "µg/m³", 1000)
	f(1, "LEL·m", "%LEL·m", 100)
	f(1, "m³/h", "L/min", 1000.0/60)
	f(1, "m", "mm", 1000)
	f(1, "A", "mA", 1000)
	f(3000, "rpm", "r/min", 3000)
	f(2, "h", "min", 120)
	f(1, "kWh", "MJ", 3.6)
	f(1, "NTU/s", "NTU/min", 60)
	f(1, "mS/cm", "µS/cm", 1000)
	f(1, "cP", "mPa·s", 1)
}

// Decimal steps are exact: 150 ppb is not 0.15000000000000002 ppm.
func TestDecimalStepsAreRoundedOnce(t *testing.T) {
	for _, pair := range [][2]string{{"mg/m³", "µg/m³"}, {"MPa", "kPa"}, {"ppm", "ppb"}, {"m", "mm"}, {"%VOL", "ppm"}, {"m³", "L"}} {
		big, small := parse(t, pair[0]), parse(t, pair[1])
		up, _, err1 := Scale(small, big, Gas{}, Air{})
		down, _, err2 := Scale(big, small, Gas{}, Air{})
		want, _ := strconv.ParseFloat("1e-"+strconv.Itoa(int(math.Round(math.Log10(down)))), 64)
		if err1 != nil || err2 != nil || down != math.Trunc(down) || up != want {
			t.Errorf("%v: %v and %v, want %v; %v, %v", pair, down, up, want, err1, err2)
		}
	}
}

func TestConvertRoundsOnce(t *testing.T) {
	for ms := range 2000 {
		want := float64(ms) / 1000
		if got, err := Convert(float64(ms), parse(t, "ms"), parse(t, "s"), Gas{}, Air{}); got != want || err != nil {
			t.Errorf("%d ms are %v s, %v", ms, got, err)
		}
	}
	if got, err := Convert(25, parse(t, "%LEL"), parse(t, "ppm"), Gas{LEL: 15}, Air{}); got != 37500 || err != nil {
		t.Errorf("25 %%LEL are %v ppm, %v", got, err)
	}
	for _, x := range []struct {
		v        float64
		from, to string
		want     float64
	}{{86, "°F", "°C", 30}, {77, "°F", "°C", 25}, {30, "°C", "°F", 86}, {25, "°C", "K", 298.15}, {700, "kPa", "MPa", 0.7}} {
		if got, err := Convert(x.v, parse(t, x.from), parse(t, x.to), Gas{}, Air{}); got != x.want || err != nil {
			t.Errorf("%v %s are %v %s, %v", x.v, x.from, got, x.to, err)
		}
	}
	if got, err := Convert(37500, parse(t, "ppm"), parse(t, "%LEL"), Gas{LEL: 15}, Air{}); got != 25 || err != nil {
		t.Errorf("37500 ppm are %v %%LEL, %v", got, err)
	}
	if got, err := Convert(1, parse(t, "°C"), parse(t, "m"), Gas{}, Air{}); got != 0 || !errors.Is(err, ErrDifferent) {
		t.Errorf("1 °C is %v m, %v", got, err)
	}
}

func TestDifferences(t *testing.T) {
	c, k, fahrenheit := parse(t, "°C"), parse(t, "K"), parse(t, "°F")
	f := func(v float64, from, to Unit, want float64) {
		t.Helper()
		factor, offset, err := Scale(from, to, Gas{}, Air{})
		if got := v*factor + offset; err != nil || !near(got, want, 1e-12) {
			t.Errorf("%v %+v = %v %+v, want %v (%v)", v, from, got, to, want, err)
		}
	}
	f(5, c.Difference(), k.Difference(), 5)
	f(9, fahrenheit.Difference(), c.Difference(), 5)
	f(9, fahrenheit.Difference(), c, 5)
	f(5, c, fahrenheit.Difference(), 9)
	f(5, c, k, 278.15)
	if c.Difference() == c || c.Difference().String() != "°C" || c.Difference().Temperature() || !c.Temperature() || !c.Same(c.Difference()) {
		t.Error("a difference is no temperature")
	}
	if p := parse(t, "kPa"); p.Difference() != p {
		t.Error("a difference of pressures is a pressure")
	}
}

// The figures of the field notes, 8.2, at 20 °C and 101.325 kPa.
func TestGases(t *testing.T) {
	ppm, mg, lel, vol := parse(t, "ppm"), parse(t, "mg/m³"), parse(t, "%LEL"), parse(t, "%VOL")
	for _, g := range []struct {
		name    string
		m, want float64
	}{
		{"NH3", 17.03, 0.708},
		{"H2S", 34.08, 1.417},
		{"CO", 28.01, 1.164},
		{"Cl2", 70.90, 2.947},
		{"SO2", 64.06, 2.663},
		{"HCl", 36.46, 1.516},
		{"HF", 20.01, 0.832},
		{"COCl2", 98.92, 4.112},
		{"C6H6", 78.11, 3.247},
		{"CH3OH", 32.04, 1.332},
		{"NO2", 46.01, 1.913},
		{"HCN", 27.03, 1.124},
		{"CO2", 44.01, 1.830},
	} {
		factor, offset, err := Scale(ppm, mg, Gas{Molar: g.m}, Workplace())
		if math.Abs(factor-g.want) > 0.0005001 || offset != 0 || err != nil {
			t.Errorf("%s: 1 ppm is %v mg/m³, want %v (%v)", g.name, factor, g.want, err)
		}
		back, _, err := Scale(mg, ppm, Gas{Molar: g.m}, Air{})
		if !near(back*factor, 1, 1e-12) || err != nil {
			t.Errorf("%s: there and back is %v (%v)", g.name, back*factor, err)
		}
	}
	f := func(v float64, from, to Unit, g Gas, a Air, want, part float64) {
		t.Helper()
		factor, offset, err := Scale(from, to, g, a)
		if got := v*factor + offset; err != nil || !near(got, want, part) {
			t.Errorf("%v %v = %v %v, want %v (%v)", v, from, got, to, want, err)
		}
	}
	nh3 := Gas{Molar: 17.03, LEL: 15}
	f(20, mg, ppm, nh3, Air{}, 28.3, 2e-3) // GB/T 50493 level 1
	f(40, mg, ppm, nh3, Air{}, 56.5, 2e-3)
	f(25, lel, ppm, nh3, Air{}, 37500, 1e-12)
	f(25, lel, vol, Gas{LEL: 15}, Air{}, 3.75, 1e-12) // without the molar mass
	f(25, lel, mg, nh3, Air{}, 26500, 3e-3)
	f(37500, ppm, lel, nh3, Air{}, 25, 1e-12)
	f(2, parse(t, "LEL·m"), parse(t, "ppm·m"), nh3, Air{}, 300000, 1e-12)
	f(60, parse(t, "ppm/min"), parse(t, "mg/m³/s"), nh3, Air{}, 0.708, 1e-3)
	for _, a := range []struct {
		air  Air
		want float64
	}{{Air{25, 101.325}, 24.465}, {Workplace(), 24.055}, {Air{}, 24.055}, {Air{0, 101.325}, 22.414}} {
		if v, err := a.air.MolarVolume(); math.Abs(v-a.want) > 0.0005 || err != nil {
			t.Errorf("a mole at %+v takes %v L, want %v (%v)", a.air, v, a.want, err)
		}
	}
}

func TestWhatDoesNotConvert(t *testing.T) {
	f := func(from, to string, g Gas, a Air, want error) {
		t.Helper()
		if _, _, err := Scale(parse(t, from), parse(t, to), g, a); !errors.Is(err, want) {
			t.Errorf("%s to %s: %v, want %v", from, to, err, want)
		}
	}
	nh3 := Gas{Molar: 17.03, LEL: 15}
	f("°C", "MPa", nh3, Air{}, ErrDifferent)
	f("%", "%VOL", nh3, Air{}, ErrDifferent)
	f("%", "%LEL", nh3, Air{}, ErrDifferent)
	f("%", "", nh3, Air{}, ErrDifferent)
	f("kPa(g)", "kPa(a)", nh3, Air{}, ErrDifferent)
	f("kPa(g)", "kPa", nh3, Air{}, ErrDifferent)
	f("m³/h", "Nm³/h", nh3, Air{}, ErrDifferent)
	f("LEL·m", "%LEL", nh3, Air{}, ErrDifferent)
	f("ppm", "mg/m³", Gas{LEL: 15}, Air{}, ErrMolar)
	f("ppm", "mg/m³", Gas{Molar: math.NaN()}, Air{}, ErrMolar)
	f("ppm", "mg/m³", Gas{Molar: math.Inf(1)}, Air{}, ErrMolar)
	f("ppm", "%LEL", Gas{Molar: 17}, Air{}, ErrLEL)
	f("ppm", "%LEL", Gas{Molar: 17, LEL: -1}, Air{}, ErrLEL)
	f("%LEL", "mg/m³", Gas{Molar: 17}, Air{}, ErrLEL)
	f("ppm", "mg/m³", nh3, Air{-300, 100}, ErrAir)
	f("ppm", "mg/m³", nh3, Air{20, 0}, ErrAir)
	f("ppm", "mg/m³", nh3, Air{math.NaN(), 100}, ErrAir)
	f("ppm", "mg/m³", nh3, Air{20, math.Inf(1)}, ErrAir)
	f("NTU", "pH", nh3, Air{}, ErrDifferent)
}

func TestProducts(t *testing.T) {
	f := func(got Unit, want string) {
		t.Helper()
		if w := parse(t, want); got != w {
			t.Errorf("got %+v, want %+v", got, w)
		}
	}
	u := func(s string) Unit { return parse(t, s) }
	f(u("°C").Div(u("s")), "°C/s")
	f(u("°C").Difference().Div(u("s")), "°C/s")
	f(u("m³/h").Mul(u("h")), "m³")
	f(u("m³/h").Mul(u("min")), "m³·min/h")
	f(u("kW").Div(u("kW")), "")
	f(u("").Div(u("min")), "1/min")
	f(u("m").Mul(u("m")), "m²")
	f(u("NTU").Div(u("s")), "NTU/s")
	f(u("NTU/s").Mul(u("s")), "NTU")
	f(u("W/(m²·K)").Mul(u("m²")), "W/K")
	f(u("kPa(g)").Div(u("min")), "kPa(g)/min")
	f(u("dB(A)").Div(u("s")), "dB(A)/s")
	f(u("°C").Mul(u("")), "°C")
	many := u("m")
	for range 300 {
		many = many.Mul(u("m")).Div(u("NTU/x"))
	}
	if many.Known() || !many.Same(many) {
		t.Errorf("%+v", many)
	}
}

// What is printed is read back as the same unit.
func TestPrintedIsRead(t *testing.T) {
	texts := []string{"NTU", "dB(A)", "1/min", "W/(m²·K)", "kgf/cm²", "LEL·m"}
	for text := range symbols {
		texts = append(texts, text)
	}
	rapid.Check(t, func(t *rapid.T) {
		one := rapid.SampledFrom(texts)
		u, err := Parse(one.Draw(t, "first"))
		if err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(0, 3).Draw(t, "more") {
			v, err := Parse(one.Draw(t, "next"))
			if err != nil {
				t.Fatal(err)
			}
			if rapid.Bool().Draw(t, "over") {
				u = u.Div(v)
			} else {
				u = u.Mul(v)
			}
		}
		if len(u.String()) > MaxLen || max(u.num, u.den) >= 1<<53 {
			return // longer than is read, or not equal to the last digit: see Unit
		}
		if back, err := Parse(u.String()); err != nil || back != u {
			t.Fatalf("%+v is read back as %+v, %v", u, back, err)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"°C/min", "W/(m²·K)", "mg/m3", "LEL·m", "a/b·c", "1/", "(", "⁻¹", "m²²", "dB(A)/s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := Parse(s)
		if err != nil {
			return
		}
		if !u.Same(u) || u.Mul(Unit{}) != u {
			t.Fatalf("%q: %+v is not itself", s, u)
		}
		if len(u.String()) > MaxLen || max(u.num, u.den) >= 1<<53 {
			return // longer than is read, or not equal to the last digit: see Unit
		}
		if back, err := Parse(u.String()); err != nil || back != u {
			t.Fatalf("%q is %+v and read back as %+v, %v", s, u, back, err)
		}
	})
}

// A limit that a person writes in one unit is the very number that it is in the
// other: a reading that stands on it is not missed by a last bit.
func TestWrittenNumbersConvertExactly(t *testing.T) {
	for _, c := range []struct {
		from, to string
		shift    int
	}{
		{"kPa", "MPa", -3},
		{"MPa", "kPa", 3},
		{"mm", "m", -3},
		{"bar", "MPa", -1},
		{"bar", "kPa", 2},
		{"ppm", "%VOL", -4},
		{"%VOL", "ppm", 4},
		{"ppb", "ppm", -3},
		{"mg/m³", "µg/m³", 3},
	} {
		from, to := parse(t, c.from), parse(t, c.to)
		for i := -3000; i < 30000; i += 7 {
			v, _ := strconv.ParseFloat(strconv.Itoa(i)+"e-2", 64)
			want, _ := strconv.ParseFloat(fmt.Sprintf("%de%d", i, c.shift-2), 64)
			if got, err := Convert(v, from, to, Gas{}, Air{}); err != nil || got != want {
				t.Fatalf("%v %s are %v %s, not %v (%v)", v, c.from, got, c.to, want, err)
			}
		}
	}
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		if got, err := Convert(v, parse(t, "kPa"), parse(t, "MPa"), Gas{}, Air{}); err != nil || got-got == 0 {
			t.Errorf("%v became %v, %v", v, got, err)
		}
	}
}
