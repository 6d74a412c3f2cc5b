package unit

import "strings"

// symbol is one known part of a unit.
type symbol struct {
	text     string // as printed
	dim      dim
	num, den float64
	zero     float64
}

// prefix is a power of ten before a symbol.
type prefix struct {
	text     string
	num, den float64
}

// The prefixes; a symbol takes those that its line names.
var prefixes = [...]prefix{
	{"n", 1, 1e9},
	{"µ", 1, 1e6},
	{"m", 1, 1e3},
	{"c", 1, 1e2},
	{"d", 1, 10},
	{"h", 100, 1},
	{"k", 1e3, 1},
	{"M", 1e6, 1},
	{"G", 1e9, 1},
}

// base is one line of the table of symbols: base units are m kg s K A cd mol,
// a turn, a share of 1.
type base struct {
	text     string
	takes    string // prefixes
	dim      dim
	num, den float64
	zero     float64
}

var bases = [...]base{
	{"m", "nµmcdk", dim{length: 1}, 1, 1, 0},
	{"g", "nµmk", dim{mass: 1}, 1, 1e3, 0},
	{"t", "", dim{mass: 1}, 1e3, 1, 0},
	{"s", "nµm", dim{second: 1}, 1, 1, 0},
	{"min", "", dim{second: 1}, 60, 1, 0},
	{"h", "", dim{second: 1}, 3600, 1, 0},
	{"d", "", dim{second: 1}, 86400, 1, 0},
	{"K", "", dim{kelvin: 1}, 1, 1, 0},
	{"°C", "", dim{kelvin: 1}, 1, 1, 27315},
	{"°F", "", dim{kelvin: 1}, 5, 9, 45967},
	{"A", "µmk", dim{ampere: 1}, 1, 1, 0},
	{"cd", "", dim{candela: 1}, 1, 1, 0},
	{"lm", "", dim{candela: 1}, 1, 1, 0}, // the solid angle is a number
	{"lx", "k", dim{candela: 1, length: -2}, 1, 1, 0},
	{"mol", "mk", dim{mole: 1}, 1, 1, 0},

	{"L", "µmh", dim{length: 3}, 1, 1e3, 0},
	{"cc", "", dim{length: 3}, 1, 1e6, 0},
	{"Nm³", "", dim{normal: 1}, 1, 1, 0},
	{"Hz", "kM", dim{second: -1}, 1, 1, 0},
	{"rpm", "", dim{turn: 1, second: -1}, 1, 60, 0},
	{"r", "", dim{turn: 1}, 1, 1, 0},
	{"°", "", dim{turn: 1}, 1, 360, 0},
	{"N", "mk", force, 1, 1, 0},
	{"kgf", "", force, 980665, 1e5, 0},
	{"J", "kMG", dim{mass: 1, length: 2, second: -2}, 1, 1, 0},
	{"Wh", "kMG", dim{mass: 1, length: 2, second: -2}, 3600, 1, 0},
	{"W", "mkM", power, 1, 1, 0},
	{"VA", "kM", power, 1, 1, 0},
	{"var", "kM", power, 1, 1, 0},
	{"V", "µmk", dim{mass: 1, length: 2, second: -3, ampere: -1}, 1, 1, 0},
	{"Ω", "mkM", dim{mass: 1, length: 2, second: -3, ampere: -2}, 1, 1, 0},
	{"S", "µm", dim{mass: -1, length: -2, second: 3, ampere: 2}, 1, 1, 0},
	{"cP", "", dim{mass: 1, length: -1, second: -1}, 1, 1e3, 0},
	{"cSt", "", dim{length: 2, second: -1}, 1, 1e6, 0},

	{"%", "", dim{percent: 1}, 1, 100, 0},
	{"‰", "", dim{percent: 1}, 1, 1000, 0},
	{"%RH", "", dim{humidity: 1}, 1, 100, 0},
	{"ppm", "", dim{volume: 1}, 1, 1e6, 0},
	{"ppb", "", dim{volume: 1}, 1, 1e9, 0},
	{"%VOL", "", dim{volume: 1}, 1, 100, 0},
	{"LEL", "", dim{lel: 1}, 1, 1, 0},
	{"%LEL", "", dim{lel: 1}, 1, 100, 0},
}

// The pressures stand three times: as written, gauge, absolute.
var pressures = [...]base{
	{"Pa", "mhkMG", pressure, 1, 1, 0},
	{"bar", "m", pressure, 1e5, 1, 0},
	{"atm", "", pressure, 101325, 1, 0},
	{"psi", "", pressure, 6894757293168, 1e9, 0},
	{"mmHg", "", pressure, 133322387415, 1e9, 0},
	{"mmH₂O", "", pressure, 980665, 1e5, 0},
	{"mH₂O", "", pressure, 980665, 1e2, 0},
}

var (
	force    = dim{mass: 1, length: 1, second: -2}
	power    = dim{mass: 1, length: 2, second: -3}
	pressure = dim{mass: 1, length: -1, second: -2}
)

// spellings are other ways to write a symbol.
var spellings = map[string]string{
	"degC": "°C", "deg C": "°C", "degF": "°F", "deg": "°",
	"l": "L", "ml": "mL", "µl": "µL",
	"sec": "s", "hr": "h", "hour": "h", "day": "d",
	"um": "µm", "ug": "µg", "us": "µs", "uA": "µA", "uV": "µV", "uS": "µS", "uL": "µL", "ul": "µL",
	"Mpa": "MPa", "MPA": "MPa", "KPa": "kPa", "Kpa": "kPa", "kpa": "kPa", "KPA": "kPa", "pa": "Pa", "PA": "Pa", "Bar": "bar", "BAR": "bar", "PSI": "psi",
	"Kg": "kg", "KG": "kg", "KW": "kW", "Kw": "kW", "KWh": "kWh", "kwh": "kWh", "KWH": "kWh", "KV": "kV", "KVA": "kVA", "kVar": "kvar", "KVar": "kvar", "Var": "var", "KA": "kA",
	"HZ": "Hz", "hz": "Hz", "RPM": "rpm", "rev": "r", "lux": "lx", "Lux": "lx",
	"ohm": "Ω", "Ohm": "Ω", "kohm": "kΩ", "Mohm": "MΩ",
	"Nm3": "Nm³", "cc³": "cc", "mmH2O": "mmH₂O", "mH2O": "mH₂O", "mmhg": "mmHg",
	"PPM": "ppm", "Ppm": "ppm", "ppmv": "ppm", "PPB": "ppb", "ppbv": "ppb",
	"%vol": "%VOL", "%Vol": "%VOL", "vol%": "%VOL", "Vol%": "%VOL", "VOL%": "%VOL", "%V/V": "%VOL", "%v/v": "%VOL", "%(V/V)": "%VOL", "%(v/v)": "%VOL",
	"%lel": "%LEL", "%Lel": "%LEL", "LEL%": "%LEL", "lel%": "%LEL", "lel": "LEL",
	"%rh": "%RH", "%Rh": "%RH", "RH%": "%RH", "%r.h.": "%RH",
}

// symbols are all known parts by their text.
var symbols = func() map[string]symbol {
	m := map[string]symbol{}
	add := func(b base) {
		if _, twice := m[b.text]; twice {
			panic("BUG: unit: " + b.text + " stands twice in the table")
		}
		m[b.text] = symbol{b.text, b.dim, b.num, b.den, b.zero}
		for _, p := range prefixes {
			if strings.Contains(b.takes, p.text) {
				m[p.text+b.text] = symbol{p.text + b.text, b.dim, b.num * p.num, b.den * p.den, 0}
			}
		}
	}
	for _, b := range bases {
		add(b)
	}
	for _, b := range pressures {
		add(b)
	}
	// "kPa(g)", and as technicians write it: "kPaG", "barg".
	for _, b := range pressures {
		for _, name := range append([]string{""}, strings.Split(b.takes, "")...) {
			s := m[name+b.text]
			for _, how := range [...]struct {
				at   int
				mark string
			}{{gauge, "g"}, {absolute, "a"}} {
				s.text = name + b.text + "(" + how.mark + ")"
				s.dim = pressure
				s.dim[how.at] = 1
				for _, t := range []string{s.text, name + b.text + "(" + strings.ToUpper(how.mark) + ")", name + b.text + how.mark, name + b.text + strings.ToUpper(how.mark)} {
					m[t] = s
				}
			}
		}
	}
	for other, text := range spellings {
		s, ok := m[text]
		if _, twice := m[other]; !ok || twice {
			panic("BUG: unit: spelling " + other)
		}
		m[other] = s
	}
	return m
}()
