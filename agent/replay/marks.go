package replay

import (
	"bytes"
	"math"

	"davy/agent/wire"
	"davy/drivers/tag"
)

// marks counts what is missing, as far as it touches what was replayed.
type marks struct{ gaps, unclean, holes, nameless, clock int }

// nameless tells of an epoch whose readings nothing names.
func (r *run) nameless(x *tag.Reading, to int64) {
	r.marks.nameless++
	r.gap(Gap{From: x.Received.Wall, To: min(to, r.rep.To), Stream: wire.ReadingStream, Cause: "epoch"})
}

func (r *run) gap(g Gap) {
	if g.To != 0 && g.To < r.rep.Began || g.From > r.rep.To {
		return
	}
	if len(r.rep.Gaps) == MaxGaps {
		r.rep.MoreGaps++
		return
	}
	r.rep.Gaps = append(r.rep.Gaps, g)
}

// began notes how an epoch began.
func (r *run) began(e *wire.Event) {
	s := e.Start
	r.root = len(s.Parent) == 0
	if s.Clean || len(s.Parent) == 0 || e.At.Wall < r.rep.Began {
		return
	}
	r.marks.unclean++
	g := Gap{To: e.At.Wall, Cause: "unclean"}
	if s.Unwatched >= 0 {
		g.From = e.At.Wall - s.Unwatched - int64(s.MayHaveLost)
	}
	r.gap(g)
}

// named notes a gap record.
func (r *run) named(g *wire.Gap) {
	if g.Stream == wire.HealthStream || g.WallTo != 0 && g.WallTo < r.rep.Began || g.WallFrom > r.rep.To {
		return
	}
	r.marks.gaps++
	n := g.Count
	if g.From != 0 {
		n = g.To - g.From + 1
	}
	r.gap(Gap{From: g.WallFrom, To: g.WallTo, Stream: g.Stream, Cause: g.Cause, Count: n})
}

// table learns what the numbers of an epoch's tags mean.
func (r *run) table(e *wire.Event) {
	for i, s := range r.side {
		s.read(e.Table, r.o.Renamed, func(w Why) {
			if i == fresh || w.Code != "renamed" {
				r.odd(w)
			}
		})
	}
	ours := bytes.Equal(e.Table.Plan, r.o.Present.Hash[:])
	at := max(e.At.Wall, r.rep.From)
	switch {
	case !ours && r.other == 0:
		r.other = at
	case ours && r.other != 0:
		r.stretch(at)
	}
	r.ours = ours
}

func (r *run) stretch(to int64) {
	if to > r.rep.From {
		r.rep.Plans = append(r.rep.Plans, Stretch{r.other, to})
	}
	r.other = 0
}

// odd keeps what does not fit of a tag, once.
func (r *run) odd(w Why) {
	if r.tags[w.Tag] == nil {
		r.tags[w.Tag] = map[Why]bool{}
	}
	r.tags[w.Tag][w] = true
}

// afterwards looks in what was recorded later for gaps that lie in the window.
func (r *run) afterwards(from int, epochs []Epoch) {
	for i := from; i < len(epochs); i++ {
		blocks, seen := r.o.Source.Events(i), uint64(0)
		if i == from {
			seen = r.upTo
		}
		for {
			b, err := blocks.Next(math.MinInt64)
			if err != nil {
				break
			}
			for k := range b.Records {
				if g := b.Records[k].Gap; g != nil && b.First+uint64(k) >= seen && g.WallFrom != 0 {
					r.named(g)
				}
			}
		}
	}
}

// clock sees when the wall clock was set, by the other one.
type clock struct {
	apart int64 // of the two
	some  bool
}

// look notes a step of more than MaxStep: what lies between two walls is no
// longer the time that went by, and the window may end before its time.
func (c *clock) look(at tag.Stamp, m *marks) {
	apart := at.Wall - at.Mono
	if d := apart - c.apart; c.some && (d > int64(MaxStep) || d < -int64(MaxStep)) {
		m.clock++
	}
	c.apart, c.some = apart, true
}
