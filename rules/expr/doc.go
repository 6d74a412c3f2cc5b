// Package expr is the one small language of conditions and computed tags.
//
//	nh3-1.gas >= 150 ppm and not bad(nh3-2.gas)
//	abs(t1 - median(t1, t2, t3)) > 3 °C
//	rate(furnace.temp, 1min) > 5 °C/min
//
// Compile reads a text once, with all that is wrong in it and where, and makes
// a Program; Program.Eval judges it over an image and allocates nothing. It has
// no clock, no goroutine and no I/O: time comes in with each call.
//
// # Words
//
// Numbers with or without a unit ("150 ppm", "10min"), true, false, texts in
// quotes, names of tags, + - * /, = != < <= > >=, and or not, parentheses, and
// the functions below. A duration is a number whose unit is one of time. A name
// is read greedily: letters of any script, digits, _ . - and /; so minus needs
// blanks around it, and a quotient of two tags too. && || == ≥ ≤ ≠ are read
// as and, or, =, >=, <=, !=. `and` binds tighter than `or`, `not` tighter than
// both, comparisons tighter than `not`.
//
//	abs(x)                    its amount
//	min(x, …) max(x, …)       of at most MaxArgs
//	avg(x, …) median(x, …)
//	bad(x)                    x is not usable; itself always good
//	since(c)                  how long c has been true, 0 s while it is false
//	stuck(x, 10min)           x has not moved for that long
//	stuck(x, 10min, 0.2 °C)   …by more than that
//	delta(x, 10s)             x now less x then
//	rate(x, 10s)              the same over the time between, per second
//	avg_over(x, 15min)        time-weighted: a reading holds until the next
//	max_over(x, 15min) min_over(x, 15min)
//	count_over(c, 10min)      how often c became true
//	stel(x)                   mean of 15 min: avg_over(x, 15min) of the air
//	twa(x)                    of the running shift: the sum of C·T, over 8 h
//	twa_last(x)               of the one before, when it was over
//	shift_max(x)              the highest of the running shift
//	shift_max_last(x)         of the one before
//	shift_seen(x)             how much of the running shift can still be seen, %
//
// # Units
//
// Units are part of the type. Numbers of one quantity convert, and gas
// concentrations (ppm, mg/m³, %LEL) if a tag names its gas; all else is a
// problem that names both units. A number without a unit takes the other side's.
// Two temperatures subtracted are a difference, which has no zero point: beside
// it 5 °C are 5 K.
//
// Enumerations and texts compare with the names of their states, by = and !=.
//
// # Quality
//
// A value has a quality, and what may not be judged (tag.Quality.Usable is
// false: bad, last usable, forced) is not known to logic: `or` is true where one
// side is known to be true, `and` is false where one side is known to be false,
// and the quality is then that of the best side that decides alone; all else
// with an unknown side is unknown, with the worst quality. Arithmetic and
// comparisons carry the worst quality: the status and the reason of the worst
// operand and the flags of all, so that a test and a force travel. A last-usable
// or forced operand counts as worse than any usable one and keeps its value:
// the outcome has a value, and may not be judged either.
//
// Median leaves out what may not be judged, and what is in test, while at least
// half is left, and is sub-normal then: a test gas at one of three detectors makes
// no test of what the other two say, and takes no channel out of a vote. A quotient by zero, or a number that a float64 does not
// hold, is bad, out of range. Numbers are float64 on every architecture;
// integers above 2^53 lose their last digits.
//
// # Windows
//
// The functions over time look at readings, not at steps: what they say changes
// only when their argument does, and at instants that Next tells beforehand.
// Steps in between change nothing, not a bit. A window is cut into Slots equal
// slots of the monotonic clock; the oldest is counted in part (avg_over) or
// whole (max_over, min_over, count_over), so that a window looks back between
// its length and a slot more. delta and rate compare with the value that was
// held at the beginning of the oldest slot.
//
// Where less than three quarters of a window was usable its value is bad; where
// less than all was, it is uncertain, sub-normal. What is left out is not zero.
// since and stuck go on through what is not usable, and say nothing meanwhile:
// a bad reading ends nothing that an alarm may stand on.
//
// since and stuck go on over a restart from where they were; a stop of unknown
// length counts as the shortest, a window slot by slot begins anew after it.
//
// since counts whole seconds, but where it is compared with a number (other
// than by = and !=), which becomes true at that very instant.
//
// # Exposure
//
// stel, twa and the functions of the shift are made for what people breathe
// (GBZ 2.1: PC-STEL a mean of 15 min, PC-TWA a day of 8 h, MAC never exceeded).
// What a detector says while it is tested is not the air: it counts as not seen.
// A concentration below zero is zero.
//
// stel says of a window what avg_over does, and is good only where all of it was
// seen, bad where less than the coverage was (75 % where none is written). With each
// reading and each Beat (15 s) it is reckoned anew; exact at the ends of beats, and in
// between off by at most a 240th of how far the oldest slot's readings lie apart.
//
// A shift begins and ends by the wall clock and is counted by the monotonic one.
// twa and shift_max of the running one say what is certain: time that was not seen
// counts as nothing, and the value is uncertain, "at least". It never falls until the
// shift ends, so that a limit that was passed stays so. Of a shift that is over
// twa_last takes what was not seen for the mean of what was; it and shift_max_last are
// bad where less than the coverage was seen, uncertain where less than all was, and
// hold until the next shift is over. What was seen of a shift that the clock was put
// back in may be longer than the shift, and counts as it is. A second in a shift is not missed. shift_seen is
// always good. The sum is exact to the rounding of a float64, and reckoned with each
// Beat, so that twa is behind by at most 15 s; shift_max is not behind.
//
// What was not seen: bad readings, readings in test, what was before the first step,
// the time from a snapshot to the start after it by the wall clock, and what the wall
// clock was put forward by (more than Slip). Put back, the shift goes on for as long,
// uncertain; put back by more than StepBack before its beginning, another one begins
// and of the last nothing is known, as after more than one shift without a look.
// A clock in doubt that is put back by so much is not followed until the shift is
// over, it is put forward to what was believed, or it is in doubt no more, whatever
// starts in between: it has lost its time, as at a start without a battery. While Env.ClockInDoubt is true all of it is uncertain, and so is a shift that is over
// by such a clock; where it turns out right the running one is good again. A shift
// that is over is not opened again.
//
// # Who owns what
//
// A Program is immutable and may be shared. A State belongs to one goroutine;
// a program without windows needs none (nil). Eval takes a time that goes back
// for the last one. It must be called when the argument of a window changed, and
// at the latest at Next.
//
// Imports: drivers/tag, rules/shift, rules/unit.
package expr

import (
	"time"

	"davy/drivers/tag"
	"davy/rules/shift"
	"davy/rules/unit"
)

// The bounds of an expression. What goes beyond is a problem of its own code.
const (
	MaxSource  = 4096 // bytes
	MaxDepth   = 50   // of parentheses, functions and signs
	MaxNodes   = 256  // names, numbers, operators and functions
	MaxWindows = 8    // functions over time
	MaxArgs    = 16   // of min, max, avg, median

	MinWindow = time.Second
	MaxWindow = 31 * 24 * time.Hour
)

// Slots is how many slots a window has. One window takes 1.5 kB of State.
const Slots = 60

// Kind says what an expression yields.
type Kind uint8

// The kinds. The zero value is none.
const (
	_ Kind = iota
	Number
	Bool
	Text // enumerations too
)

// Type of an expression.
type Type struct {
	Kind Kind
	Unit unit.Unit // of a Number; a Difference where it is one of temperatures
	Gas  unit.Gas  // of a Number, as far as one gas is named
}

// Tag is what an expression has to know of a tag.
type Tag struct {
	ID     tag.ID
	Kind   Kind
	Unit   unit.Unit
	Gas    unit.Gas
	States map[string]float64 // of a Text the names of its codes; of a Bool, if it has names, those of 0 and 1
}

// Env says what the names in an expression mean.
type Env struct {
	Tag   func(name string) (Tag, bool)
	Names func() []string // all, for "did you mean"; may be nil
	Air   unit.Air        // for ppm and mg/m³; the zero value is the workplace's

	Shifts       *shift.Table // of the site; nil where it has none
	ClockInDoubt tag.ID       // the tag that is true while the wall clock is not to be relied on; 0 none
}

// Problem is one thing that is wrong with a text. Words are under
// "problem.<Code>" and "hint.<Hint>" of agent/i18n.
type Problem struct {
	Offset, Width int    // bytes of the source; Width at least 1 but at its end
	Code          string // stable
	Hint          string // "" none
	Args          map[string]any
}
