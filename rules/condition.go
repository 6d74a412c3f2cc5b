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

// measures is op.holds of a reading, by what its quality says of the number:
// above the range of a detector every >= and > holds, and no <= and <.
func (op Op) measures(q tag.Quality, v tag.Value, limit float64, detector bool) bool {
	if detector && op <= LT && q.OverRange() {
		return op <= GT
	}
	return op.holds(v.Float(), limit)
}

// judges reports whether a condition with op can be judged by a reading: there
// is a usable value, or it is enough to know that it is above the range.
func (op Op) judges(q tag.Quality, v tag.Value, detector bool) bool {
	return q.Usable() && v.Kind() != tag.None || detector && op <= GT && q.OverRange()
}

// stateOf returns the state of a detector that a quality tells of, 0 for another.
func stateOf(q tag.Quality) DetectorState {
	switch q.Reason() {
	case tag.Initial:
		return WarmingUp
	case tag.FunctionCheck:
		return InTest
	}
	return 0
}

// unread reports whether nothing was ever read; any reading, also a bad one, ends that.
func unread(q tag.Quality) bool { return q&^0xff == tag.BadNeverRead }

// inTest reports whether a quality says that its point is being tested or calibrated.
func inTest(q tag.Quality) bool { return q&tag.Test != 0 || q.Reason() == tag.FunctionCheck }
