package record

import (
	"math"

	"davy/agent/config"
	"davy/drivers/tag"
)

// verdict says what becomes of a reading.
type verdict uint8

const (
	skip verdict = iota // by the tag's policy
	keep
	thin // the policy would keep it, the disk does not
)

// policy knows what was kept last of every tag.
type policy struct {
	tags []config.Tag
	last []kept // by tag.ID
}

type kept struct {
	value   tag.Value
	quality tag.Quality
	mono    int64
	some    bool
}

func newPolicy(p *config.Plan) policy {
	return policy{tags: p.Tags, last: make([]kept, len(p.Tags))}
}

// judge decides about a reading and remembers it if it is kept. A reading of a
// tag that the plan does not have is skipped: nobody could say what it is.
func (p *policy) judge(r *tag.Reading, scarce bool) verdict {
	if r.Tag == 0 || int(r.Tag) >= len(p.tags) {
		return skip
	}
	t, l := &p.tags[r.Tag], &p.last[r.Tag]
	if t.Record.Never {
		return skip
	}
	quality := !l.some || r.Quality != l.quality
	read := t.Link >= 0 || len(t.Of) > 0 // and not one of the agent's own conditions
	due := read && t.Record.Every > 0 && r.Received.Mono-l.mono >= int64(t.Record.Every)
	if !quality && !due && !changed(l.value, r.Value, t.Record.Change) {
		return skip
	}
	if scarce && !quality && r.Received.Mono-l.mono < int64(ThinEvery) {
		return thin
	}
	*l = kept{r.Value, r.Quality, r.Received.Mono, true}
	return keep
}

// changed reports whether a value differs from the one kept by more than
// change. Only numbers have a deadband.
func changed(a, b tag.Value, change float64) bool {
	if a == b {
		return false
	}
	if a.Kind() != b.Kind() {
		return true
	}
	switch a.Kind() {
	case tag.Int, tag.Float32, tag.Float64:
		return math.Abs(a.Float()-b.Float()) > change
	}
	return true
}
