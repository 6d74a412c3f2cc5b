package export

import (
	"bytes"
	"cmp"
	"maps"
	"math"
	"slices"

	"davy/agent/evidence"
	"davy/agent/wire"
)

// chainEpochs checks that each epoch goes on from its parent, as its first
// record says.
func (v *verifier) chainEpochs() {
	at := map[wire.Epoch]int{}
	for i, s := range v.sections {
		if _, twice := at[s.id]; !twice {
			at[s.id] = i
		}
	}
	child := map[wire.Epoch]*section{}
	for i, s := range v.sections {
		if s.start == nil {
			v.find(s, Finding{Code: EpochBegin, Told: !v.trust.Strict})
			continue
		}
		if len(s.start.Parent) != len(s.id) {
			if i > 0 { // an epoch without a parent begins a journal
				v.find(s, Finding{Code: Unasked, Told: !v.trust.Strict})
			}
			continue
		}
		parent := wire.Epoch(s.start.Parent)
		s.report.Parent = hexID(parent)
		if other := child[parent]; other != nil {
			v.find(s, Finding{Code: EpochFork, Text: hexID(other.id)})
		}
		child[parent] = s
		p, here := at[parent]
		switch {
		case here && p < i:
			v.parent(v.sections[p], s)
		case here:
			v.find(s, Finding{Code: EpochOrder, Text: hexID(parent)})
		case v.before(i, s) || len(v.r.Claim.Epochs) > 0 && !slices.Contains(v.r.Claim.Epochs, hexID(parent)):
			v.find(s, Finding{Code: Unasked, Told: true, Text: hexID(parent)})
		default:
			v.find(s, Finding{Code: EpochMissing, Text: hexID(parent)})
		}
	}
}

// before reports whether what came before section i, the parent of which is not
// in the file, was not asked for. Of all there ever was, or of a time that began
// earlier, the parent is a part.
func (v *verifier) before(i int, s *section) bool {
	c := &v.r.Claim
	return i == 0 && (c.Salvage || len(c.Epochs) > 0 || c.From != 0 && s.began <= c.From)
}

// parent compares an epoch with what its child says of it.
func (v *verifier) parent(p, s *section) {
	same := 0
	for _, h := range s.start.ParentHeads {
		f := Finding{Stream: h.Stream, Text: hexID(s.id)}
		x := p.find(h.Stream)
		if x == nil {
			x = &stream{name: h.Stream, next: 1}
		}
		last := x.next - 1
		switch {
		case last < h.Number:
			v.hole(numbers{epoch: p.id, stream: h.Stream, from: last + 1, to: h.Number, root: h.Root, rooted: true, before: x.last(), leaves: x.tail()})
			x.vouched = true
		case last > h.Number, x.root != h.Root && h.Number > 0:
			f.Code, f.From = HeadsOther, h.Number
			v.find(p, f)
		default:
			x.vouched = true
			same++
		}
	}
	p.vouched = same == len(s.start.ParentHeads) && same > 0 && s.signed != nil &&
		!slices.ContainsFunc(p.streams, func(x *stream) bool { return x.first != 0 && !x.vouched })
	if len(s.start.ParentCheckpoint) == 0 {
		return
	}
	c, err := evidence.ReadCheckpoint(s.start.ParentCheckpoint)
	if err != nil || c.Epoch != p.id || c.Gateway != v.r.Claim.Gateway {
		f := Finding{Code: NoteBad, Text: "parent checkpoint"}
		if err != nil {
			f.Text += ": " + err.Error()
		}
		v.find(s, f)
		return
	}
	for _, m := range p.marks {
		if m.size == c.Size && m.root != c.Root {
			v.find(p, Finding{Code: NoteFork, From: c.Size, Text: hexID(s.id)})
			return
		}
	}
	if int64(c.Size) > p.report.Leaves {
		v.find(p, Finding{Code: NotePlace, Expected: c.Size, Got: uint64(p.report.Leaves), Text: hexID(s.id)})
	}
}

// numbers explains what is missing by the gap records, and says the rest.
func (v *verifier) numbers() {
	slices.SortStableFunc(v.gaps, func(a, b numbers) int {
		return cmp.Or(bytes.Compare(a.epoch[:], b.epoch[:]), cmp.Compare(a.stream, b.stream), cmp.Compare(a.from, b.from))
	})
	byID := map[wire.Epoch]*section{}
	ranges := map[wire.Epoch]map[string]Range{}
	for i, s := range v.sections {
		if byID[s.id] != nil { // there twice, and named
			continue
		}
		byID[s.id] = s
		ranges[s.id] = v.ranges(s, i)
	}
	slices.SortStableFunc(v.holes, func(a, b numbers) int {
		return cmp.Or(cmp.Compare(byID[a.epoch].index, byID[b.epoch].index), cmp.Compare(a.stream, b.stream), cmp.Compare(a.from, b.from))
	})
	for _, h := range v.holes {
		v.explain(byID[h.epoch], &h, ranges[h.epoch][h.stream])
	}
	for _, s := range v.sections {
		if s.lastGone >= 0 && s.find(wire.EventStream) == nil && v.claimed(s) && !v.beside(s) {
			v.find(s, Finding{Code: Absent, Stream: wire.EventStream, Leaf: uint64(s.lastGone)})
		}
		v.unexplained(s)
		for _, x := range s.streams {
			if x.first != 0 {
				s.report.Streams = append(s.report.Streams, StreamReport{x.name, x.first, x.next - 1, x.records, x.wallFrom, x.wallTo})
				v.window(s, x)
			}
		}
		v.marks(s)
	}
}

// ranges returns what the end claims to hold of section i, one range for each
// stream: a second one would hide a hole. What it claims and nothing here
// explains is missing.
func (v *verifier) ranges(s *section, i int) map[string]Range {
	of := map[string]Range{}
	if i < len(v.end.Epochs) {
		for _, r := range v.end.Epochs[i].Streams {
			if _, twice := of[r.Stream]; !twice && r.From > 0 && r.From <= r.To {
				of[r.Stream] = r
			}
		}
	}
	for _, x := range s.streams {
		r, claimed := of[x.name]
		switch {
		case !claimed && x.first != 0: // the end was cut off, or says less than there is
			if v.ended && v.asked(x.name) {
				v.find(s, Finding{Code: Totals, Kind: "range", Stream: x.name})
			}
			of[x.name] = Range{x.name, x.first, x.next - 1}
		case claimed && r.To >= x.next && !x.vouched:
			v.hole(numbers{epoch: s.id, stream: x.name, from: x.next, to: r.To, before: x.last(), leaves: x.tail()})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(of)) {
		if r := of[name]; s.find(name) == nil {
			v.hole(numbers{epoch: s.id, stream: name, from: r.From, to: r.To, leaves: hole{0, math.MaxInt64}})
		}
	}
	return of
}

// beside reports whether a whole epoch is before or after the time asked for,
// as its own first record and that of the next one in the file show.
func (v *verifier) beside(s *section) bool {
	c := &v.r.Claim
	if c.To != 0 && s.start != nil && s.began > c.To {
		return true
	}
	if i := s.index + 1; c.From != 0 && i < len(v.sections) {
		n := v.sections[i]
		return n.start != nil && bytes.Equal(n.start.Parent, s.id[:]) && n.began < c.From
	}
	return false
}

// claimed reports whether an epoch was asked for, or is there to explain others.
func (v *verifier) claimed(s *section) bool {
	return len(v.r.Claim.Epochs) == 0 || slices.Contains(v.r.Claim.Epochs, hexID(s.id))
}

// asked reports whether a stream was asked for.
func (v *verifier) asked(name string) bool {
	return name == wire.EventStream || len(v.r.Claim.Streams) == 0 || slices.Contains(v.r.Claim.Streams, name)
}

// explain says of missing numbers which were given up, and which are missing:
// those within the range that the file claims to hold.
func (v *verifier) explain(s *section, h *numbers, r Range) {
	say := func(from, to uint64) {
		if from > to {
			return
		}
		f := Finding{Code: Missing, Stream: h.stream, From: from, To: to}
		inside := from <= r.To && to >= r.From && r.From > 0
		c := &v.r.Claim
		switch {
		case inside: // the file itself says that it should be there
		case !v.asked(h.stream), !v.claimed(s), v.beside(s), c.From != 0 && h.after != nil && *h.after < c.From, c.To != 0 && h.before != nil && *h.before > c.To:
			f.Code, f.Told = NotHere, true
		case c.From != 0 || c.To != 0:
			f.Code = Window
		}
		v.find(s, f)
	}
	// Cut at the ends of the range: what is outside of it may be no error.
	parts := func(from, to uint64) {
		if r.From == 0 {
			say(from, to)
			return
		}
		say(from, min(to, r.From-1))
		say(max(from, r.From), min(to, r.To))
		if r.To < to {
			say(max(from, r.To+1), to)
		}
	}
	from := h.from
	first, _ := slices.BinarySearchFunc(v.gaps, *h, func(g, h numbers) int {
		return cmp.Or(bytes.Compare(g.epoch[:], h.epoch[:]), cmp.Compare(g.stream, h.stream), cmp.Compare(g.from, 0))
	})
	for i := first; i < len(v.gaps) && from <= h.to; i++ {
		g := &v.gaps[i]
		if g.epoch != h.epoch || g.stream != h.stream || g.from > h.to {
			break
		}
		if g.to < from {
			continue
		}
		if g.from > from {
			parts(from, g.from-1)
			from = g.from
		}
		to := min(g.to, h.to)
		v.find(s, Finding{Code: Gap, Told: !v.trust.Strict, Stream: h.stream, From: from, To: to, Text: g.cause})
		if g.to == h.to && g.rooted && h.rooted && g.root != h.root {
			v.find(s, Finding{Code: Chain, Stream: h.stream, From: h.to + 1, To: h.to + 1})
		}
		from = to + 1
	}
	if from <= h.to {
		parts(from, h.to)
	}
}

// window says where nothing shows that the last record of a stream is the last
// that was asked for: a later leaf of which only the hash is here may be of any
// stream, the next epoch does not say that no more came, and what stands behind
// that leaf is not from before the time asked for.
func (v *verifier) window(s *section, x *stream) {
	c := &v.r.Claim
	switch {
	case !v.asked(x.name), !v.claimed(s), v.beside(s), x.vouched, s.lastGone <= x.leaf:
	case c.To != 0 && x.wallTo > c.To, c.From != 0 && s.behind != nil && *s.behind < c.From:
	default: // where not all streams were asked for, those leaves are most often of another
		v.find(s, Finding{Code: WindowEnd, Told: !v.allAsked() && !v.trust.Strict, Stream: x.name, From: x.next - 1, Leaf: uint64(s.lastGone)})
	}
}

// marks says what of an epoch nobody signed or witnessed.
func (v *verifier) marks(s *section) {
	n := uint64(max(0, s.report.Leaves))
	if n == 0 {
		return
	}
	size := func(m *Mark) uint64 {
		if m == nil {
			return 0
		}
		return m.Size
	}
	signed, witnessed := size(s.signed), size(s.witness)
	if signed < n && !s.vouched && (signed > 0 || s.notes == 0) { // else it was said that none fits
		v.find(s, Finding{Code: Unsigned, From: signed, To: n - 1})
	}
	if len(v.receivers) > 0 && witnessed < n {
		v.find(s, Finding{Code: Unwitnessed, Told: !v.trust.Strict, From: witnessed, To: n - 1})
	}
}
