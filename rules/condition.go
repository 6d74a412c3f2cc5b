package rules

import "davy/drivers/tag"

// truth is the three-valued outcome of a condition.
type truth uint8

const (
	no truth = iota
	yes
	unknown
)

func truthOf(b bool) truth {
	if b {
		return yes
	}
	return no
}

// holds compares. An operator that New has not checked is a programmer's error.
func (op Op) holds(v, limit float64) bool {
	switch op {
	case GE:
		return v >= limit
	case GT:
		return v > limit
	case LE:
		return v <= limit
	case LT:
		return v < limit
	case EQ:
		return v == limit
	case NE:
		return v != limit
	}
	panic("BUG: rules: unknown comparison")
}

// negated returns the operator that holds exactly where op does not.
func (op Op) negated() Op {
	return [...]Op{GE: LT, GT: LE, LE: GT, LT: GE, EQ: NE, NE: EQ}[op]
}

// usable reports whether a reading may be judged: its quality says so and
// there is a value at all.
func usable(r *tag.Reading) bool {
	return r.Quality.Usable() && r.Value.Kind() != tag.None
}

// unread reports whether nothing was ever read; any reading, also a bad one, ends that.
func unread(q tag.Quality) bool { return q&^0xff == tag.BadNeverRead }

// inTest reports whether a quality says that its point is being tested or calibrated.
func inTest(q tag.Quality) bool { return q&tag.Test != 0 || q.Reason() == tag.FunctionCheck }
