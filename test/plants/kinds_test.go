package plants

import (
	"math"
	"slices"
	"strings"
	"time"

	"davy/agent/config"
	"davy/drivers/tag"
	"davy/rules"
	"davy/rules/ruletest"
	"davy/test/year"
)

// How far from its limit a value may lie that is just below it, or not far
// beyond it, as a part of the limit; of a limit of 0 as a part of the range.
const (
	near       = 0.05
	beyond     = 0.2
	nearOfZero = 0.01
)

// A kinds collects what the stories of a plan have shown of its rules.
type kinds struct {
	plan    *config.Plan
	sources map[string][]tag.ID // of each rule: the tags that are read for it
	seen    map[string]bool     // "alone RULE", "below RULE", "bad RULE CHANNEL", …

	// Of the story that is watched.
	read  []bool                   // by tag: it was usable before
	since []time.Duration          // by tag: since when it is bad, or not
	bad   []bool                   // by tag
	calm  map[string]time.Duration // since when a rule is as "below" says
	less  map[string]time.Duration // and as "one-less" says
	last  []tag.Reading            // of the sight before
	from  map[string]time.Duration // of what is not watched: since when
	dip   map[string]time.Duration // and how long it was before it was watched again
}

// missing lists what no story of a plan shows: for each rule there is one that
// trips it alone (an alarm also not far beyond its limit), one in which its value
// stays just below the limit and it does not, and one in which each of its
// channels is bad. What a story is called does not count: it counts what it
// expects of the rule while that is so.
func missing(plan *config.Plan) (out []string) {
	k := &kinds{plan: plan, sources: map[string][]tag.ID{}, seen: map[string]bool{}}
	for i := range plan.Rules.Alarms {
		a := &plan.Rules.Alarms[i]
		k.sources[a.Name] = k.madeOf(a.Cond.Tag)
	}
	for i := range plan.Rules.Interlocks {
		l := &plan.Rules.Interlocks[i]
		for _, c := range l.Channels {
			k.sources[l.Name] = append(k.sources[l.Name], k.madeOf(c.Cond.Tag)...)
		}
	}
	for _, s := range plan.Stories {
		n := len(plan.Rules.Tags)
		k.read, k.bad, k.since = make([]bool, n), make([]bool, n), make([]time.Duration, n)
		k.calm, k.less = map[string]time.Duration{}, map[string]time.Duration{}
		k.from, k.dip, k.last = map[string]time.Duration{}, map[string]time.Duration{}, nil
		ruletest.Observe(plan.Rules, s, nil, k.see)
	}
	want := func(what, why string) {
		if !k.seen[what] {
			out = append(out, "no story shows "+what+": "+why)
		}
	}
	for i := range plan.Rules.Alarms {
		a := &plan.Rules.Alarms[i]
		if a.Agent {
			continue
		}
		want("alone "+a.Name, "it is raised and nothing else stands but what looks at the same")
		if a.NotWatched {
			if plan.Tags[a.Cond.Tag].LookBack == 0 {
				want("below "+a.Name, "bad for half of its delay or longer, good again, and it was not raised")
			}
			continue
		}
		want("below "+a.Name, "a value just below its limit, for longer than its delay, and it is not raised")
		if plan.Tags[a.Cond.Tag].LookBack == 0 { // what looks back is hard to bring to a number
			want("above "+a.Name, "it stands at a value not far beyond its limit")
		}
		want("bad "+a.Name, "its tag is bad for longer than its not-watched alarm waits")
	}
	for i := range plan.Rules.Interlocks {
		l := &plan.Rules.Interlocks[i]
		want("alone "+l.Name, "it trips and nothing else stands but what looks at the same")
		want("below "+l.Name, "every channel just below its limit, for longer than its delay, and it is armed")
		if l.M > 1 {
			want("one-less "+l.Name, "one cause less than it takes, for longer than its delay, and it is armed")
		}
		for _, c := range l.Channels {
			want("bad "+l.Name+" "+c.Name, "this channel is bad, the others are not, for longer than its policy waits")
		}
	}
	return out
}

// madeOf are the tags that are read for a tag: itself, or what it is made of.
func (k *kinds) madeOf(id tag.ID) []tag.ID {
	if of := k.plan.Tags[id].Of; len(of) > 0 {
		return of
	}
	return []tag.ID{id}
}

// see looks at one instant of a story. Between its steps only what is read counts.
func (k *kinds) see(s *ruletest.Sight) {
	same := func(a, b tag.Reading) bool { return a.Quality == b.Quality && a.Value == b.Value }
	if s.Step == nil && slices.EqualFunc(k.last, s.Readings, same) {
		return
	}
	k.last = append(k.last[:0], s.Readings...)
	for id := range s.Readings {
		bad := !s.Readings[id].Quality.Usable()
		if bad != k.bad[id] {
			k.bad[id], k.since[id] = bad, s.At
		}
		k.read[id] = k.read[id] || !bad
	}
	for i := range k.plan.Rules.Alarms {
		if a := &k.plan.Rules.Alarms[i]; !a.Agent {
			k.alarm(s, a)
		}
	}
	for i := range k.plan.Rules.Interlocks {
		k.lock(s, &k.plan.Rules.Interlocks[i])
	}
}

func (k *kinds) alarm(s *ruletest.Sight, a *rules.Alarm) {
	id := a.Cond.Tag
	cond, said := a.Cond, asked(s, a.Name)
	if a.NotWatched {
		k.watch(s, a)
	}
	if said || len(a.Modes) > 0 {
		v, _ := s.Engine.Alarm(a.Name)
		if cond.Limit = v.Limit; said {
			standing := v.Standing && (v.State == rules.Unacked || v.State == rules.Acked)
			// What is computed of one tag alone stands under that tag's own alarm, and calls nobody.
			under := v.Standing && v.State == rules.Suppressed && strings.HasSuffix(v.Under, config.NotWatchedSuffix)
			if standing && !a.NotWatched && k.next(s, cond, beyond) {
				k.seen["above "+a.Name] = true
			}
			if (standing || under) && k.alone(s, a.Name, a.NotWatched) {
				k.seen["alone "+a.Name] = true
			}
			if d := k.dip[a.Name]; v.State == rules.Normal && a.NotWatched && d >= a.OnDelay/2 && d < a.OnDelay {
				k.seen["below "+a.Name] = true
			}
		}
		if v.State != rules.Normal && v.State != rules.ReturnedUnacked {
			delete(k.calm, a.Name) // suppressed: nothing is shown by its silence
			return
		}
	}
	if a.NotWatched {
		return
	}
	just := k.just(s, cond)
	keep(k.calm, a.Name, just, s.At)
	if said && just && s.At-k.calm[a.Name] > a.OnDelay {
		k.seen["below "+a.Name] = true
	}
	if s.Step == nil || !k.bad[id] || !k.read[id] {
		return
	}
	if watch := string(k.plan.Tags[id].Name) + config.NotWatchedSuffix; said || asked(s, watch) {
		if v, ok := s.Engine.Alarm(watch); ok && v.Standing {
			k.seen["bad "+a.Name] = true
		}
	}
}

// keep keeps since when something is so.
func keep(since map[string]time.Duration, rule string, is bool, at time.Duration) {
	if !is {
		delete(since, rule)
	} else if _, already := since[rule]; !already {
		since[rule] = at
	}
}

// watch keeps how long a tag is as an alarm that says that it is not watched
// speaks of.
func (k *kinds) watch(s *ruletest.Sight, a *rules.Alarm) {
	id := a.Cond.Tag
	q := s.Readings[id].Quality
	var state rules.DetectorState
	switch q.Reason() {
	case tag.Initial:
		state = rules.WarmingUp
	case tag.FunctionCheck:
		state = rules.InTest
	}
	due := k.bad[id] && state&a.Except == 0
	if a.Only != 0 {
		due = state&a.Only != 0
	}
	from, was := k.from[a.Name]
	switch {
	case due && !was && k.read[id]:
		k.from[a.Name] = s.At
	case !due && was:
		k.dip[a.Name] = s.At - from
		delete(k.from, a.Name)
	}
}

func (k *kinds) lock(s *ruletest.Sight, l *rules.Interlock) {
	calm, causes, usable := true, 0, 0
	for _, c := range l.Channels {
		id := c.Cond.Tag
		calm = calm && k.just(s, c.Cond)
		if !k.bad[id] {
			usable++
			if year.Holds(&c.Cond, s.Readings[id].Value.Float()) {
				causes++
			}
		}
	}
	whole := usable == len(l.Channels)
	keep(k.calm, l.Name, calm, s.At)
	keep(k.less, l.Name, whole && causes == l.M-1, s.At)
	if !asked(s, l.Name) {
		return
	}
	v, _ := s.Engine.Interlock(l.Name, s.Now)
	if v.State == rules.Tripped && usable > 0 && causes >= l.M && k.alone(s, l.Name, false) {
		k.seen["alone "+l.Name] = true
	}
	for what, since := range map[string]map[string]time.Duration{"below ": k.calm, "one-less ": k.less} {
		if from, is := since[l.Name]; is && s.At-from > l.OnDelay && v.State == rules.Armed && v.Bypass == nil {
			k.seen[what+l.Name] = true
		}
	}
	for _, c := range l.Channels {
		id := c.Cond.Tag
		long := s.At-k.since[id] >= l.BadAfter || l.Bad == rules.LastGood
		if k.bad[id] && k.read[id] && usable == len(l.Channels)-1 && long {
			k.seen["bad "+l.Name+" "+c.Name] = true
		}
	}
}

// asked reports whether the story expects something of a rule here.
func asked(s *ruletest.Sight, rule string) bool {
	return s.Step != nil && slices.ContainsFunc(s.Step.Expect, func(x ruletest.Expect) bool {
		return x.Key == rule || strings.HasPrefix(x.Key, rule) && slices.Contains([]string{".raised", ".votes", ".first_out"}, x.Key[len(rule):])
	})
}

// just reports whether a value is on the quiet side of its limit, next to it.
// What is compared with = or != has no such side: it is not so.
func (k *kinds) just(s *ruletest.Sight, c rules.Condition) bool {
	if k.bad[c.Tag] {
		return false
	}
	v := s.Readings[c.Tag].Value.Float()
	return !year.Holds(&c, v) && k.next(s, c, near)
}

// next reports whether a value lies next to its limit, on either side.
func (k *kinds) next(s *ruletest.Sight, c rules.Condition, part float64) bool {
	if c.Op == rules.EQ || c.Op == rules.NE {
		return true
	}
	v := s.Readings[c.Tag].Value.Float()
	by := part * math.Abs(c.Limit)
	if t := &k.plan.Tags[c.Tag]; c.Limit == 0 && t.Ranged {
		by = nearOfZero * (t.High - t.Low)
	}
	return math.Abs(v-c.Limit) <= by
}

// alone reports whether nothing stands but what looks at the same tags as a
// rule (for one that says that a tag is not watched: at the same device), and
// what the engine says by itself of that and of outputs. That nobody watches a
// tag which the story never gave a value is the story's brevity, and so is it
// that nothing was ever tested.
func (k *kinds) alone(s *ruletest.Sight, rule string, device bool) bool {
	same := func(other string) bool {
		return slices.ContainsFunc(k.sources[other], func(id tag.ID) bool {
			return slices.ContainsFunc(k.sources[rule], func(own tag.ID) bool {
				return id == own || device && deviceOf(k.plan.Tags[id].Name) == deviceOf(k.plan.Tags[own].Name)
			})
		})
	}
	for _, v := range s.Engine.Alarms(nil, s.Now) {
		if v.Agent || !v.Standing || v.State != rules.Unacked && v.State != rules.Acked || v.Of == "proof" || v.Of == "test-due" {
			continue
		}
		if v.NotWatched && slices.ContainsFunc(k.sources[v.Name], func(id tag.ID) bool { return !k.read[id] }) {
			continue
		}
		if of := strings.TrimSuffix(v.Name, "."+v.Of); !same(v.Name) && (v.Of == "" || !same(of)) {
			return false
		}
	}
	for i := range k.plan.Rules.Interlocks {
		name := k.plan.Rules.Interlocks[i].Name
		if v, _ := s.Engine.Interlock(name, s.Now); v.State == rules.Tripped && !same(name) {
			return false
		}
	}
	return true
}

func deviceOf(name tag.Name) string {
	device, _, _ := strings.Cut(string(name), ".")
	return device
}
