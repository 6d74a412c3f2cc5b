package powercut

import (
	"cmp"
	"slices"
)

// span is a run of numbers, both ends in it.
type span struct{ from, to uint64 }

// spans is a set of numbers: in order, apart from each other.
type spans []span

func (s spans) add(from, to uint64) spans {
	if from > to {
		return s
	}
	all := append(slices.Clone(s), span{from, to})
	slices.SortFunc(all, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	out := all[:1]
	for _, x := range all[1:] {
		if last := &out[len(out)-1]; x.from <= last.to+1 {
			last.to = max(last.to, x.to)
		} else {
			out = append(out, x)
		}
	}
	return out
}

func (s spans) union(t spans) spans {
	for _, x := range t {
		s = s.add(x.from, x.to)
	}
	return s
}

// without returns what is in s and not in t.
func (s spans) without(t spans) (out spans) {
	for _, x := range s {
		from := x.from
		for _, y := range t {
			if y.to < from || y.from > x.to {
				continue
			}
			if y.from > from {
				out = append(out, span{from, y.from - 1})
			}
			from = y.to + 1
		}
		if from <= x.to {
			out = append(out, span{from, x.to})
		}
	}
	return out
}

// touches reports whether any of from to to is in s.
func (s spans) touches(from, to uint64) bool {
	return slices.ContainsFunc(s, func(x span) bool { return x.from <= to && x.to >= from })
}

func (s spans) count() (n uint64) {
	for _, x := range s {
		n += x.to - x.from + 1
	}
	return n
}
