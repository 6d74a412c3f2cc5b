package export

import (
	"cmp"
	"math"
	"slices"

	"davy/agent/wire"
)

// hidden is a stretch of leaves of which only hashes are here, with the newest
// time of the records before it and the oldest of those behind it, as far as the
// next stretch; nil where there are none.
type hidden struct {
	hole
	before, behind *int64
}

// subtree takes an S frame.
func (v *verifier) subtree(s *section, b []byte, place Finding) {
	gone := s.log.gone
	x, err := decodeSubtree(b)
	if err != nil || !s.log.sub(x) {
		v.find(s, place)
		return
	}
	if s.log.gone == gone {
		return
	}
	n := len(s.hidden)
	switch {
	case n > 0 && s.hidden[n-1].behind == nil && s.hidden[n-1].to == x.from()-1:
		s.hidden[n-1].to = x.to() - 1
	case v.stretches == maxGaps:
		v.tooMany("hole")
	default:
		v.stretches++
		s.hidden = append(s.hidden, hidden{hole{x.from(), x.to() - 1}, s.newest, nil})
	}
}

// seen notes the times of a block.
func (s *section) seen(from, to int64) {
	if s.newest == nil || to > *s.newest {
		s.newest = &to
	}
	if n := len(s.hidden); n > 0 && (s.hidden[n-1].behind == nil || from < *s.hidden[n-1].behind) {
		s.hidden[n-1].behind = &from
	}
}

// tail is where later blocks of the stream are.
func (x *stream) tail() hole {
	if x.first == 0 {
		return hole{0, math.MaxInt64}
	}
	return hole{x.leaf, math.MaxInt64}
}

// allAsked reports whether no stream was left out.
func (v *verifier) allAsked() bool {
	return v.asked(wire.ReadingStream) && v.asked(wire.HealthStream)
}

// unexplained says which leaves, of which only hashes are here, belong to no
// stream that lacks something and are not beside the time asked for either: they
// are of a stream of which nothing is in the file.
func (v *verifier) unexplained(s *section) {
	c := &v.r.Claim
	if len(s.hidden) == 0 || !v.allAsked() || !v.claimed(s) || v.beside(s) {
		return
	}
	var lacks []hole
	for i := range v.holes {
		if v.holes[i].epoch == s.id {
			lacks = append(lacks, v.holes[i].leaves)
		}
	}
	told := false // a gap record names a stream of which nothing is here
	for i := range v.gaps {
		told = told || v.gaps[i].epoch == s.id && s.find(v.gaps[i].stream) == nil
	}
	slices.SortFunc(lacks, func(a, b hole) int { return cmp.Compare(a.from, b.from) })
	oldest := make([]int64, len(s.hidden)+1) // of the records behind each
	oldest[len(s.hidden)] = math.MaxInt64
	for i, h := range slices.Backward(s.hidden) {
		oldest[i] = oldest[i+1]
		if h.behind != nil {
			oldest[i] = min(oldest[i], *h.behind)
		}
	}
	reach, next := int64(-1), 0
	var out []hole
	for i, h := range s.hidden {
		for ; next < len(lacks) && lacks[next].from <= h.to; next++ {
			reach = max(reach, lacks[next].to)
		}
		switch {
		case reach >= h.from:
		case c.From != 0 && oldest[i] < c.From, c.To != 0 && h.before != nil && *h.before > c.To:
		default:
			out = addHole(out, h.hole)
		}
	}
	for _, h := range out {
		v.find(s, Finding{Code: Unexplained, Told: told && !v.trust.Strict, From: uint64(h.from), To: uint64(h.to)})
	}
}
