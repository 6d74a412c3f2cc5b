package ruletest

import (
	"math"
	"slices"
	"time"

	"davy/drivers/tag"
	"davy/rules"
)

const grain = 100 * time.Millisecond // of the times of a trial

// ValueOf makes the value of a kind; a number that the kind cannot be is cut to
// what it can, and none where there is no such.
func ValueOf(k tag.Kind, f float64) tag.Value {
	switch k {
	case tag.Bool:
		return tag.BoolValue(f != 0)
	case tag.Enum:
		return tag.EnumValue(int64(math.Round(f)))
	case tag.Float32:
		v, _ := tag.Float32Value(float32(f))
		return v
	case tag.Int:
		return tag.IntValue(int64(math.Round(f)))
	case tag.Text:
		return tag.TextValue(uint32(max(f, 0)))
	}
	v, _ := tag.Float64Value(f)
	return v
}

func (x *explorer) value(id tag.ID, f float64) tag.Value { return ValueOf(x.tag(id).Kind, f) }

// side returns a value of a condition's tag for which it holds, or does not.
// It is a tenth of the limit away, so that a story reads well.
func (x *explorer) side(c *rules.Condition, want bool) tag.Value {
	away := math.Abs(c.Limit) / 10
	if away == 0 || !isNumber(x.tag(c.Tag).Kind) {
		away = 1
	}
	away = math.Pow(10, math.Floor(math.Log10(away)))
	for _, f := range [...]float64{c.Limit + away, c.Limit - away, c.Limit, 0, 1} {
		if v := x.value(c.Tag, f); v.Kind() != tag.None && holds(c, v) == want {
			return v
		}
	}
	return x.value(c.Tag, c.Limit)
}

// calm is a plant in which the interlock is armed and nothing wants the trip.
func (x *explorer) calm(l *rules.Interlock) Step {
	st := Step{}
	give := func(c *rules.Condition, want bool) {
		if c.Tag != 0 && !slices.ContainsFunc(st.Set, func(s Set) bool { return s.Tag == c.Tag }) {
			st.Set = append(st.Set, Set{Tag: c.Tag, Value: x.side(c, want), Quality: tag.GoodQuality})
		}
	}
	for k := range l.Channels {
		give(&l.Channels[k].Cond, false)
	}
	if x.armedFrom(l) == 0 {
		give(&l.Arm, true)
	}
	return st
}

// lockTrial does so many things at random to the channels of an interlock, and
// then waits longer than all its delays.
func (x *explorer) lockTrial(t *target, acts int) Story {
	l := t.lock
	s := Story{Steps: []Step{x.calm(l)}}
	waits := []time.Duration{time.Second, l.OnDelay, l.OnDelay + time.Second, l.BadAfter, l.BadAfter + time.Second, l.BadAfter + l.OnDelay + time.Second}
	span := 2*(l.OnDelay+l.BadAfter) + 5*time.Second
	qualities := []tag.Quality{tag.GoodQuality, tag.GoodQuality, tag.BadNoComm, tag.BadNoComm, tag.BadSensor, tag.GoodQuality | tag.Test, tag.GoodQuality | tag.Forced, uncertain}
	at := x.armedFrom(l)
	for range acts {
		wait := waits[t.rand.IntN(len(waits))]
		if t.rand.IntN(4) == 0 {
			wait = time.Duration(t.rand.Int64N(int64(span)))
		}
		if t.rand.IntN(3) == 0 {
			wait = 0 // together with the one before
		}
		wait = wait / grain * grain
		if at += wait; wait > 0 || len(s.Steps) == 1 {
			at = max(at, grain)
			s.Steps = append(s.Steps, Step{At: at})
		}
		st := &s.Steps[len(s.Steps)-1]
		c := &l.Channels[t.rand.IntN(len(l.Channels))].Cond
		set := Set{Tag: c.Tag, Value: x.side(c, t.rand.IntN(2) == 0), Quality: qualities[t.rand.IntN(len(qualities))]}
		st.Set = slices.DeleteFunc(st.Set, func(other Set) bool { return other.Tag == c.Tag })
		st.Set = append(st.Set, set)
	}
	s.Steps = append(s.Steps, Step{At: at + span})
	return s
}

const uncertain = tag.Quality(tag.Uncertain)<<30 | tag.Quality(tag.UncertainPlain)<<8

// alarmTrial moves an alarm's tag about its limit by no more than its noise,
// and no faster than once a second.
func (x *explorer) alarmTrial(t *target) Story {
	a := t.alarm
	id, noise := a.Cond.Tag, x.tag(a.Cond.Tag).Noise
	waits := []time.Duration{time.Second, 2 * time.Second, a.OnDelay, a.OnDelay + time.Second, a.OffDelay, a.OffDelay + time.Second}
	// The steady value lies within the noise of the limit.
	middle := a.Cond.Limit + noise*float64(t.rand.IntN(21)-10)/10
	give := func(part int) Set {
		return Set{Tag: id, Value: x.value(id, middle+noise*float64(part)/10), Quality: tag.GoodQuality}
	}
	s := Story{Steps: []Step{{Set: []Set{give(0)}}}}
	at := time.Duration(0)
	for range maxMoves {
		at += max(waits[t.rand.IntN(len(waits))]/grain*grain, time.Second)
		if at > 2*chatterWithin {
			break
		}
		part := t.rand.IntN(21) - 10
		if t.rand.IntN(2) == 0 { // the ends are where it happens
			part = 10 - 20*t.rand.IntN(2)
		}
		s.Steps = append(s.Steps, Step{At: at, Set: []Set{give(part)}})
	}
	s.Steps = append(s.Steps, Step{At: at + max(a.OnDelay, a.OffDelay) + time.Second})
	return s
}

// shrink leaves out of a story whatever its hit does not need, and shortens
// its waits, as long as it is still hit.
func (x *explorer) shrink(t *target, s Story, h hit) Story {
	runs := 0
	still := func(c Story) bool {
		if runs++; runs > shrinkRuns || len(c.Steps) == 0 {
			return false
		}
		_, ok := x.play(t, c)[h]
		return ok
	}
	for again := true; again && runs < shrinkRuns; {
		again = false
		for i := len(s.Steps) - 1; i > 0; i-- {
			if i < len(s.Steps) {
				if c := (Story{Steps: slices.Delete(slices.Clone(s.Steps), i, i+1)}); still(c) {
					s, again = c, true
					continue
				}
			}
			for k := len(s.Steps[i].Set) - 1; k >= 0; k-- {
				c := Story{Steps: slices.Clone(s.Steps)}
				c.Steps[i].Set = slices.Delete(slices.Clone(c.Steps[i].Set), k, k+1)
				if still(c) {
					s, again = c, true
				}
			}
		}
		for i := 1; i < len(s.Steps); i++ {
			gap := s.Steps[i].At - s.Steps[i-1].At
			for _, shorter := range []time.Duration{time.Second, gap / 2 / time.Second * time.Second, gap / time.Second * time.Second, gap - time.Second} {
				if shorter < time.Second || shorter >= gap {
					continue
				}
				c := Story{Steps: slices.Clone(s.Steps)}
				for k := i; k < len(c.Steps); k++ {
					c.Steps[k].At -= gap - shorter
				}
				if still(c) {
					s, again = c, true
					break
				}
			}
		}
		for i := 1; i < len(s.Steps); i++ {
			for k := range s.Steps[i].Set {
				for _, plainer := range x.plainer(s.Steps[0].Set, s.Steps[i].Set[k]) {
					c := Story{Steps: slices.Clone(s.Steps)}
					c.Steps[i].Set = slices.Clone(c.Steps[i].Set)
					c.Steps[i].Set[k] = plainer
					if still(c) {
						s, again = c, true
						break
					}
				}
			}
		}
	}
	return s
}

// plainer lists simpler forms of what a story sets: the value that the tag
// began with, a quality that is better known.
func (x *explorer) plainer(first []Set, v Set) (all []Set) {
	if i := slices.IndexFunc(first, func(f Set) bool { return f.Tag == v.Tag }); i >= 0 && first[i].Value != v.Value {
		calm := v
		calm.Value = first[i].Value
		all = append(all, calm)
	}
	for _, q := range []tag.Quality{tag.GoodQuality, tag.BadNoComm} {
		if v.Quality != q && (q == tag.GoodQuality || v.Quality == tag.BadSensor) {
			known := v
			known.Quality = q
			all = append(all, known)
		}
	}
	return all
}
