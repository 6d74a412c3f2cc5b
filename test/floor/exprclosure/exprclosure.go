// Package exprclosure is a reference: one condition as a person would write it
// by hand in Go over an image of readings,
//
//	a > 25 and (b < 10 or c) and abs(d - e) > 3
//
// with quality treated: three-valued logic (what is known to decide decides,
// else what may not be judged makes the outcome bad), the worst quality carried
// through the subtraction with the flags of both, and no number that is none. It
// is fixed: the tags, the limits and the units stand in the code. Figures of
// expressions are taken against it; change it only in a commit of its own, with
// the figures before and after.
//
// Imports: drivers/tag.
package exprclosure

import (
	"math"

	"davy/drivers/tag"
)

// The tags of the condition in its image.
const (
	A = tag.ID(iota + 1)
	B
	C
	D
	E
	Size // of the image
)

// New returns the condition.
func New() func(image []tag.Reading) (tag.Value, tag.Quality) {
	return func(image []tag.Reading) (tag.Value, tag.Quality) {
		a, b, c, d, e := &image[A], &image[B], &image[C], &image[D], &image[E]
		if a.Quality == tag.GoodQuality && b.Quality == tag.GoodQuality && c.Quality == tag.GoodQuality &&
			d.Quality == tag.GoodQuality && e.Quality == tag.GoodQuality { // as it nearly always is
			diff := math.Abs(d.Value.Float() - e.Value.Float())
			if !math.IsInf(diff, 0) {
				return tag.BoolValue(a.Value.Float() > 25 && (b.Value.Float() < 10 || c.Value.True()) && diff > 3), tag.GoodQuality
			}
		}
		aq := a.Quality
		aUsable := aq.Usable()
		aTrue := a.Value.Float() > 25
		if aUsable && !aTrue {
			return tag.BoolValue(false), aq
		}
		// b < 10 or c
		bq, cq := b.Quality, c.Quality
		bUsable, cUsable := bq.Usable(), cq.Usable()
		bTrue, cTrue := b.Value.Float() < 10, c.Value.True()
		orTrue, orQ := bTrue || cTrue, bq
		switch {
		case bUsable && bTrue:
		case cUsable && cTrue:
			orQ = cq
		default:
			orQ = worst(bq, cq)
		}
		if orQ.Usable() && !orTrue {
			return tag.BoolValue(false), orQ
		}
		// abs(d - e) > 3
		deQ := worst(d.Quality, e.Quality)
		diff := math.Abs(d.Value.Float() - e.Value.Float())
		if math.IsInf(diff, 0) {
			deQ = worst(deQ, tag.BadRange)
		}
		deTrue := diff > 3
		if deQ.Usable() && !deTrue {
			return tag.BoolValue(false), deQ
		}
		q := worst(worst(aq, orQ), deQ)
		if q.Bad() {
			return tag.Value{}, q
		}
		return tag.BoolValue(aTrue && orTrue && deTrue), q
	}
}

// worst returns the status and the reason of the worse, and the flags of both.
func worst(p, q tag.Quality) tag.Quality {
	if p == q {
		return p
	}
	if q.Status() < p.Status() || q.Status() == p.Status() && q.Reason() < p.Reason() {
		p, q = q, p
	}
	return p | q.Flags()
}
