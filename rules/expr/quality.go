package expr

import "davy/drivers/tag"

// rank orders qualities for arithmetic, the best highest: by status, then what
// may be judged before what may not, then by reason; plain good is above all.
// Flags do not count.
func rank(q tag.Quality) int {
	r := q.Reason()
	n := int(q.Status())<<8 | int(r)
	switch r {
	case tag.LastUsable:
		n = int(tag.Uncertain) << 8
	case tag.Plain:
		n = int(tag.Good)<<8 | 0xff
	}
	return n
}

// worst returns the status and the reason of the worse, and the flags of both.
func worst(p, q tag.Quality) tag.Quality {
	if p == q {
		return p
	}
	if rank(q) < rank(p) {
		p, q = q, p
	}
	return p | q.Flags()
}

// best returns the better of two: by status, then with fewer flags, then by rank.
func best(p, q tag.Quality) tag.Quality {
	switch {
	case p.Status() != q.Status():
		if q.Status() > p.Status() {
			return q
		}
	case p.Flags() != q.Flags():
		if q.Flags() < p.Flags() {
			return q
		}
	case rank(q) > rank(p):
		return q
	}
	return p
}

// either is `or` where one side decides with 1, and `and` where one decides
// with 0, for sides of which not both are plain good.
func either(decides, x float64, p tag.Quality, y float64, q tag.Quality) (float64, tag.Quality) {
	first, second := x == decides && p.Usable(), y == decides && q.Usable()
	switch {
	case first && second:
		return decides, best(p, q)
	case first:
		return decides, p
	case second:
		return decides, q
	}
	if x != decides {
		x = y
	}
	return x, worst(p, q)
}

// finite holds a result to what a Value can be.
func finite(f float64, q tag.Quality) (float64, tag.Quality) {
	if f-f == 0 {
		return f, q
	}
	if q.Bad() {
		return 0, q
	}
	return 0, tag.BadRange | q.Flags()
}
