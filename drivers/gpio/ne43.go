package gpio

import (
	"math"

	"periph.io/x/conn/v3/physic"

	"davy/drivers/tag"
)

// The bands of a 4–20 mA signal. NAMUR NE 43 gives the limits of failure
// (3.6 and 21 mA) and of the measuring signal (3.8 and 20.5 mA); what lies
// between them it leaves undefined, and here it is uncertain: a transmitter at
// its stop, or on its way to failure.
const (
	FailureLow  = 3600 * physic.MicroAmpere  // at or below: failure, or an open wire
	SignalLow   = 3800 * physic.MicroAmpere  // below: not the measuring signal
	SignalZero  = 4000 * physic.MicroAmpere  // the lower end of the range
	SignalFull  = 20000 * physic.MicroAmpere // the upper end of the range
	SignalHigh  = 20500 * physic.MicroAmpere // above: not the measuring signal
	FailureHigh = 21000 * physic.MicroAmpere // at or above: failure, or a short circuit
)

// current says what quality a loop current has. There is no delay and no
// hysteresis in it: those are a rule's matter, which knows what hangs on it.
func current(i physic.ElectricCurrent) tag.Quality {
	switch {
	case i <= FailureLow:
		return tag.BadSensor | tag.LimitLow
	case i >= FailureHigh:
		return tag.BadSensor | tag.LimitHigh
	case i < SignalLow:
		return tag.MakeQuality(tag.Uncertain, tag.RangeExceeded, tag.LimitLow)
	case i > SignalHigh:
		return tag.MakeQuality(tag.Uncertain, tag.RangeExceeded, tag.LimitHigh)
	}
	return tag.GoodQuality
}

// share is where between 4 and 20 mA a current is: 0 to 1, a little beyond at either end.
func share(i physic.ElectricCurrent) float64 {
	return float64(i-SignalZero) / float64(SignalFull-SignalZero)
}

// through is the current through a shunt: nV and nΩ give nA.
func through(v physic.ElectricPotential, shunt physic.ElectricResistance) physic.ElectricCurrent {
	return physic.ElectricCurrent(math.Round(float64(v) / float64(shunt) * float64(physic.Ampere)))
}
