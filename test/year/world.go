package year

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"davy/drivers/tag"
	"davy/rules"
	"davy/rules/ruletest"
)

// Tag is what the world must know of a tag, beside its name.
type Tag struct {
	Kind      tag.Kind
	Ranged    bool
	Low, High float64
	Computed  bool // the engine makes it
}

// sensor is an instrument and what it looks at.
type sensor struct {
	Tag
	calm    float64 // for which nothing is wrong
	swing   float64 // by which seasons and days move it, and nothing goes wrong
	noise   float64
	step    float64 // it shows no finer, so that it stands exactly on a limit now and then
	follows int     // output whose state it shows; -1 none
	device  int     // index into Set.Devices; -1 none
}

// move is something that happens in the plant: a leak as one tag sees it, an
// upset, a switch that is thrown.
type move struct {
	id                     tag.ID
	to                     float64
	from, rise, hold, fall int64
}

// shape returns how far a move is at t, 0 to 1.
func (m *move) shape(t int64) float64 {
	switch t -= m.from; {
	case t < 0:
		return 0
	case t < m.rise:
		return float64(t) / float64(m.rise)
	case t < m.rise+m.hold:
		return 1
	case t < m.rise+m.hold+m.fall:
		return 1 - float64(t-m.rise-m.hold)/float64(m.fall)
	}
	return 0
}

func (m *move) over(t int64) bool { return t >= m.from+m.rise+m.hold+m.fall }

// fault is what instruments or their lines suffer.
type fault struct {
	tags     []tag.ID
	from, to int64
	quality  tag.Quality // as read; silent: nothing is read
	silent   bool
	frozen   bool
}

// World is the plant as it is.
type World struct {
	r       *rand.Rand
	sensors []sensor // by tag
	moves   []move
	faults  []fault
	frozen  map[tag.ID]tag.Value
	Follow  []float64 // by output: what its proof shows, 0 or 1
}

// NewWorld makes a plant in which nothing is wrong.
func NewWorld(r *rand.Rand, set *rules.Set, tags []Tag) *World {
	w := &World{r: r, sensors: make([]sensor, len(tags)), frozen: map[tag.ID]tag.Value{}, Follow: make([]float64, len(set.Outputs))}
	for i := range tags {
		w.sensors[i] = sensor{Tag: tags[i], follows: -1, device: -1}
	}
	for d := range set.Devices {
		for _, id := range set.Devices[d].Tags {
			w.sensors[id].device = d
		}
	}
	for o := range set.Outputs {
		if set.Outputs[o].Proved {
			w.sensors[set.Outputs[o].Proof.Tag].follows = o
		}
	}
	for id := 1; id < len(tags); id++ {
		w.sensors[id].settle(set, tag.ID(id))
	}
	return w
}

// settle finds a value for which nothing is wrong, as far from all limits as
// there is one.
func (s *sensor) settle(set *rules.Set, id tag.ID) {
	var wrong, want []rules.Condition
	for i := range set.Alarms {
		if a := &set.Alarms[i]; a.Cond.Tag == id && !a.NotWatched {
			wrong = append(wrong, a.Cond)
			for _, m := range a.Modes {
				c := a.Cond
				c.Limit = m.Limit
				wrong = append(wrong, c)
			}
		}
	}
	for i := range set.Interlocks {
		l := &set.Interlocks[i]
		for k := range l.Channels {
			if l.Channels[k].Cond.Tag == id {
				wrong = append(wrong, l.Channels[k].Cond)
			}
			if k < len(l.ResetConds) && l.ResetConds[k].Tag == id {
				want = append(want, l.ResetConds[k])
			}
		}
		for _, c := range []rules.Condition{l.Arm, l.ResetWhen} {
			if c.Tag == id {
				want = append(want, c)
			}
		}
	}
	low, high := s.Low, s.High
	if !s.Ranged {
		low, high = 0, 1
	}
	best := math.Inf(-1)
	for n := range 101 {
		v := low + (high-low)*float64(n)/100
		if s.Kind == tag.Bool || s.Kind == tag.Enum || s.Kind == tag.Int {
			v = math.Round(v)
		}
		score, near := 0.0, (high-low)/2
		for i := range wrong {
			score -= 10 * float64(count(Holds(&wrong[i], v)))
			near = min(near, math.Abs(v-wrong[i].Limit))
		}
		for i := range want {
			score -= 3 * float64(count(!Holds(&want[i], v)))
		}
		if s.number() {
			score += near / (high - low)
		}
		if score > best {
			best, s.calm, s.swing = score, v, near/2
		}
	}
	if s.number() {
		s.noise = (high - low) / 2000
		s.step = math.Pow(10, math.Floor(math.Log10((high-low)/200)))
	} else {
		s.swing = 0
	}
}

func (s *sensor) number() bool {
	return s.Ranged && (s.Kind == tag.Float32 || s.Kind == tag.Float64 || s.Kind == tag.Int)
}

const (
	day       = int64(24 * time.Hour)
	yearSpan  = 365 * day
	pollCalm  = 40 * time.Second // between two readings of everything, about
	pollQuick = 2 * time.Second  // while something happens
	life      = 150 * time.Second
)

// Truth returns the value at a tag's place.
func (w *World) Truth(id tag.ID, t int64) float64 {
	s := &w.sensors[id]
	if s.follows >= 0 {
		return w.Follow[s.follows]
	}
	v := s.calm
	if s.number() {
		v += s.swing * (0.5*math.Sin(2*math.Pi*float64(t)/float64(yearSpan)) + 0.3*math.Sin(2*math.Pi*float64(t)/float64(day)))
	}
	base := v
	for i := range w.moves {
		if m := &w.moves[i]; m.id == id {
			if f := m.shape(t); s.number() {
				v += f * (m.to - base)
			} else if f >= 0.5 {
				v = m.to
			}
		}
	}
	return v
}

// read returns what the instrument of a tag says at t; ok is false where nothing is said.
func (w *World) read(id tag.ID, t int64) (v tag.Value, q tag.Quality, ok bool) {
	s := &w.sensors[id]
	f := w.Truth(id, t)
	if s.number() {
		f = math.Round((f+s.noise*(2*w.r.Float64()-1))/s.step) * s.step
		f = min(max(f, s.Low), s.High)
	}
	v, q = ruletest.ValueOf(s.Kind, f), tag.GoodQuality
	for i := range w.faults {
		x := &w.faults[i]
		if t < x.from || t >= x.to || !slices.Contains(x.tags, id) {
			continue
		}
		switch {
		case x.silent:
			return v, q, false
		case x.frozen:
			if was, has := w.frozen[id]; has {
				v = was
			} else {
				w.frozen[id] = v
			}
		default:
			q = x.quality
			if q.Bad() && w.r.IntN(2) == 0 {
				v = tag.Value{}
			}
		}
	}
	return v, q, true
}

// busy says that something happens at t, so that everything is read often.
func (w *World) busy(t int64) bool {
	for i := range w.moves {
		if m := &w.moves[i]; t >= m.from-int64(time.Minute) && t < m.from+m.rise+m.hold+m.fall+int64(time.Minute) {
			return true
		}
	}
	return false
}

// Tidy forgets what is over.
func (w *World) Tidy(t int64) {
	w.moves = slices.DeleteFunc(w.moves, func(m move) bool { return m.over(t) })
	w.faults = slices.DeleteFunc(w.faults, func(f fault) bool {
		if t < f.to {
			return false
		}
		for _, id := range f.tags {
			delete(w.frozen, id)
		}
		return true
	})
}

// Beyond returns a value for which a condition holds, or just does not.
func (w *World) Beyond(c *rules.Condition, over bool) float64 {
	s := &w.sensors[c.Tag]
	if !s.number() {
		for _, v := range []float64{c.Limit, 0, 1, 2, 3, c.Limit + 1, c.Limit - 1} {
			if Holds(c, v) == over {
				return v
			}
		}
		return c.Limit
	}
	away := (s.High - s.Low) * math.Pow(10, -1-2*w.r.Float64())
	for _, v := range []float64{c.Limit + away, c.Limit - away} {
		if Holds(c, v) == over {
			return v
		}
	}
	return c.Limit
}

func (w *World) span(from, to time.Duration) int64 {
	return int64(from) + w.r.Int64N(int64(to-from))
}

// Push lets a tag move to a value for a while.
func (w *World) Push(id tag.ID, to float64, t int64) {
	if s := &w.sensors[id]; s.follows >= 0 || s.Computed {
		return
	}
	w.moves = append(w.moves, move{
		id: id, to: to, from: t, rise: w.span(time.Second, 5*time.Minute), hold: w.span(time.Second, 15*time.Minute), fall: w.span(time.Second, 10*time.Minute),
	})
}

// Leak drives some channels of an interlock, each as far as it is from the
// source, by a leak from small to far too large.
func (w *World) Leak(l *rules.Interlock, t int64) {
	size := []float64{0.15, 0.4, 0.9, 0.99, 1.1, 1.5, 4}[w.r.IntN(7)]
	rise, hold, fall := w.span(2*time.Second, 10*time.Minute), w.span(5*time.Second, 20*time.Minute), w.span(10*time.Second, 30*time.Minute)
	for k := range l.Channels {
		c := &l.Channels[k].Cond
		s := &w.sensors[c.Tag]
		near := []float64{0.3, 0.8, 1, 1, 1.2}[w.r.IntN(5)]
		if s.follows >= 0 || s.Computed || near*size < 0.9 && !s.number() {
			continue
		}
		to := w.Beyond(c, true)
		if s.number() {
			to = s.calm + (c.Limit-s.calm)*size*near
		}
		w.moves = append(w.moves, move{id: c.Tag, to: to, from: t + w.span(0, time.Minute), rise: rise, hold: hold, fall: fall})
	}
}

// fail lets instruments or a line fail.
func (w *World) fail(t int64) {
	var ids []tag.ID
	at := tag.ID(1 + w.r.IntN(len(w.sensors)-1))
	for id := 1; id < len(w.sensors); id++ {
		s := &w.sensors[id]
		near := s.device >= 0 && s.device == w.sensors[at].device
		if !s.Computed && (tag.ID(id) == at || near && w.r.IntN(4) > 0 || w.r.IntN(40) == 0) {
			ids = append(ids, tag.ID(id))
		}
	}
	f := fault{tags: ids, from: t, to: t + w.span(time.Second, time.Duration([]time.Duration{20 * time.Second, 10 * time.Minute, 6 * time.Hour}[w.r.IntN(3)]))}
	kinds := []tag.Quality{
		tag.BadNoComm, tag.BadNoComm, tag.BadSensor, tag.BadDeviceFault, tag.BadRange, tag.BadStale,
		tag.MakeQuality(tag.Uncertain, tag.Initial, 0), tag.MakeQuality(tag.Bad, tag.FunctionCheck, 0), tag.MakeQuality(tag.Uncertain, tag.NotAccurate, tag.Maintenance),
		tag.MakeQuality(tag.Uncertain, tag.LastUsable, 0), tag.GoodQuality | tag.Test, tag.MakeQuality(tag.Good, tag.Plain, tag.LimitHigh),
	}
	switch n := w.r.IntN(len(kinds) + 4); {
	case n < len(kinds):
		f.quality = kinds[n]
	case n == len(kinds):
		f.frozen = true
	default:
		f.silent = true
	}
	w.faults = append(w.faults, f)
}

// Holds compares as a declaration writes it.
func Holds(c *rules.Condition, f float64) bool {
	switch c.Op {
	case rules.GE:
		return f >= c.Limit
	case rules.GT:
		return f > c.Limit
	case rules.LE:
		return f <= c.Limit
	case rules.LT:
		return f < c.Limit
	case rules.EQ:
		return f == c.Limit
	case rules.NE:
		return f != c.Limit
	}
	return false
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}
