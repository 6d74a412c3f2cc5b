// Package unit knows the engineering units that technicians write: which two
// are of the same quantity, and how a number goes from one to the other.
//
// A Unit is a comparable value; the zero one is no unit. What is not known is
// a unit of its own: it is the same as itself by its text, and a product with
// it is judged by its other parts ("NTU/s" becomes "NTU/min").
//
// Gas concentrations are three quantities: a share of the volume (ppm, ppb,
// %VOL), a mass in a volume (mg/m³) and a share of the lower explosive limit
// (%LEL). They go into each other only by a named gas, and the mass also by the
// temperature and pressure of the air. Plain % is none of them. Pressure is
// gauge or absolute as it is written: "kPa", "kPa(g)" and "kPa(a)" are three
// units that do not convert, because nothing says how.
//
// Temperatures have a zero that is not zero: 20 °C are 293.15 K, but a
// difference of 20 °C is one of 20 K. Unit.Difference makes the second one; in
// a product ("°C/min") it is always meant.
//
// It owns nothing, keeps nothing and panics at nothing. Imports: nothing of ours.
package unit

import (
	"errors"
	"math"
	"math/big"
	"strconv"
)

// The dimensions that a unit is made of.
const (
	length = iota
	mass
	second
	kelvin
	ampere
	candela
	mole
	turn
	percent
	humidity // relative
	volume   // share of the volume
	lel      // share of the lower explosive limit
	normal   // a cubic metre at 0 °C and 101.325 kPa
	gauge    // a pressure written as gauge
	absolute // a pressure written as absolute
	dims
)

type dim [dims]int8

// Unit is an engineering unit. Comparable: two spellings of one unit are equal,
// as long as its factor is of whole numbers below 2^53 (a product as
// kgf·mH₂O·GPa/cm² is beyond that, and may differ in the last digit). The zero
// value is no unit.
type Unit struct {
	text     string
	own      string  // the parts that are not known, as printed; each is a dimension of its own
	dim      dim     // of the parts that are known
	num, den float64 // one of it is num/den in base units; two whole numbers, so that a quotient of two units is rounded once
	zero     float64 // of temperatures: how far absolute zero is below its zero, in hundredths of itself; a whole number
	diff     bool    // a difference of temperatures
}

// Gas is what a conversion has to know of a gas. A zero is not known.
type Gas struct {
	Molar float64 // g/mol
	LEL   float64 // lower explosive limit, %VOL
}

// Air is what a volume of gas was measured at. The zero value is Workplace.
type Air struct {
	Temperature float64 // °C
	Pressure    float64 // kPa, absolute
}

// Workplace returns the air that workplace limits in mg/m³ are meant at:
// 20 °C and 101.325 kPa.
func Workplace() Air { return Air{Temperature: 20, Pressure: 101.325} }

// Why a number does not go from one unit to another.
var (
	ErrDifferent = errors.New("units of different quantities")
	ErrMolar     = errors.New("the molar mass of the gas is not known")
	ErrLEL       = errors.New("the lower explosive limit of the gas is not known")
	ErrAir       = errors.New("no such air")
)

// String returns the unit as it is to be printed, "" for none.
func (u Unit) String() string { return u.text }

// Known reports whether every part of u is known. The zero unit is known.
func (u Unit) Known() bool { return u.own == "" }

// Same reports whether u and v are units of the same quantity: they convert
// without knowing more. No unit is the same only as no unit and plain ratios.
func (u Unit) Same(v Unit) bool { return u.own == v.own && u.dim == v.dim }

// SameWithGas reports whether u and v are the same, or would be if the gas and
// the air were known.
func (u Unit) SameWithGas(v Unit) bool {
	return u.own == v.own && u.dim.asMass() == v.dim.asMass()
}

// Time reports whether u is a unit of time.
func (u Unit) Time() bool { return u.own == "" && u.dim == dim{second: 1} }

// Temperature reports whether u is a unit of temperature that has a zero of
// its own: two of them subtracted are a Difference.
func (u Unit) Temperature() bool { return u.own == "" && u.dim == dim{kelvin: 1} && !u.diff }

// Difference returns u as the unit of a difference: a deadband, a deviation, a
// rate's numerator. Only temperatures change by it. It prints as u does.
func (u Unit) Difference() Unit {
	u.diff = u.own == "" && u.dim == dim{kelvin: 1}
	u.zero = 0
	return u
}

// Is reports whether u and v are one unit, a difference or not.
func (u Unit) Is(v Unit) bool { return u.text == v.text }

// asMass counts a share of the volume or of the LEL as a mass in a volume.
func (d dim) asMass() dim {
	n := d[volume] + d[lel]
	d[volume], d[lel] = 0, 0
	d[mass] += n
	d[length] -= 3 * n
	return d
}

// Conversion is how a number goes from one unit to another.
type Conversion struct {
	num, den float64 // whole numbers, as far as no gas comes in
	offset   float64
}

// Of returns v in the other unit, rounded as little as can be: 700 kPa are
// 0.7 MPa, which times a factor of 0.001 would not give.
func (c Conversion) Of(v float64) float64 { return v*c.num/c.den + c.offset }

// Scale returns a Conversion as v*factor + offset. The offset is 0 but between
// two temperatures of which neither is a Difference. The error is one of this
// package's.
func Scale(from, to Unit, g Gas, a Air) (factor, offset float64, err error) {
	c, err := Between(from, to, g, a)
	if err != nil {
		return 0, 0, err
	}
	return c.num / c.den, c.offset, nil
}

// Convert returns v of one unit in the other, for numbers that a person wrote:
// v counts as the shortest decimal that it is, and the outcome is rounded once,
// so that 700.1 kPa are what 0.7001 MPa are. It allocates; Conversion.Of does not.
func Convert(v float64, from, to Unit, g Gas, a Air) (float64, error) {
	c, err := Between(from, to, g, a)
	if err != nil {
		return 0, err
	}
	x, ok := new(big.Rat).SetString(strconv.FormatFloat(v, 'g', -1, 64))
	num, den := new(big.Rat).SetFloat64(c.num), new(big.Rat).SetFloat64(c.den)
	if !ok || num == nil || den == nil { // no number, or none that a float64 holds
		return c.Of(v), nil
	}
	x.Quo(x.Mul(x, num), den)
	if !from.diff && !to.diff {
		zero := new(big.Rat).SetFloat64(from.zero)
		zero.Quo(zero.Mul(zero, num), den)
		zero.Sub(zero, new(big.Rat).SetFloat64(to.zero))
		x.Add(x, zero.Quo(zero, new(big.Rat).SetInt64(100)))
	}
	f, _ := x.Float64()
	return f, nil
}

// Between returns how a number goes from one unit to another, or one of this
// package's errors.
func Between(from, to Unit, g Gas, a Air) (Conversion, error) {
	if !from.SameWithGas(to) {
		return Conversion{}, ErrDifferent
	}
	if from.Is(to) {
		return Conversion{1, 1, 0}, nil
	}
	num, den := from.scale()
	toNum, toDen := to.scale()
	c := Conversion{num: num * toDen, den: den * toNum}
	if from.dim != to.dim {
		if err := c.byGas(from.dim, to.dim, g, a); err != nil {
			return Conversion{}, err
		}
	}
	if !from.diff && !to.diff {
		c.offset = (from.zero*c.num - to.zero*c.den) / (100 * c.den)
	}
	if factor := c.num / c.den; math.IsNaN(factor) || math.IsInf(factor, 0) || factor == 0 {
		return Conversion{}, ErrDifferent // out of what a float64 holds: no plant has it
	}
	return c, nil
}

func (u Unit) scale() (num, den float64) {
	if u.den == 0 {
		return 1, 1
	}
	return u.num, u.den
}

// byGas takes the gas into c; from and to differ in nothing else.
func (c *Conversion) byGas(from, to dim, g Gas, a Air) error {
	// Of the LEL, as shares of the volume.
	if n := from[lel] - to[lel]; n != 0 {
		if !(g.LEL > 0 && g.LEL <= 100) {
			return ErrLEL
		}
		c.times(g.LEL, 100, n)
	}
	// Of the volume, as kg/m³.
	if n := from[volume] + from[lel] - to[volume] - to[lel]; n != 0 {
		if !(g.Molar > 0 && g.Molar < 1e6) {
			return ErrMolar
		}
		v, err := a.MolarVolume()
		if err != nil {
			return err
		}
		c.times(g.Molar, v, n)
	}
	return nil
}

// times multiplies by (num/den) to the power n.
func (c *Conversion) times(num, den float64, n int8) {
	if n < 0 {
		num, den, n = den, num, -n
	}
	for range n {
		c.num, c.den = c.num*num, c.den*den
	}
}

// MolarVolume returns the volume of a mole of gas in the air, in L: 22.414 at
// 0 °C and 101.325 kPa, of an ideal gas.
func (a Air) MolarVolume() (float64, error) {
	const litres, ice, atmosphere = 22.414, 273.15, 101.325
	if a == (Air{}) {
		a = Workplace()
	}
	if !(a.Temperature > -ice && a.Temperature < 1e4 && a.Pressure > 0 && a.Pressure < 1e6) {
		return 0, ErrAir
	}
	return litres * (ice + a.Temperature) / ice * atmosphere / a.Pressure, nil
}
