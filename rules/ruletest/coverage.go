package ruletest

import (
	"slices"
	"strings"
	"time"

	"davy/drivers/tag"
	"davy/rules"
)

// Degradation is a way in which the vote of an interlock loses channels.
type Degradation uint8

// The degradations; each is defined at Report.
const (
	ChannelBad Degradation = iota + 1
	ChannelInTest
	AllBad
	Aged
)

// String is the word for it in JSON and the last part of its key in agent/i18n.
func (d Degradation) String() string {
	return [...]string{ChannelBad: "channel-bad", ChannelInTest: "channel-in-test", AllBad: "all-bad", Aged: "aged"}[d]
}

// Unseen is a degradation that no story shows. Channel is "" for AllBad and Aged.
type Unseen struct {
	Rule    string
	What    Degradation
	Channel string
}

// degradations lists those of an interlock that a story can show.
func degradations(l *rules.Interlock) (all []Unseen) {
	if len(l.Channels) < 2 {
		return nil
	}
	for i := range l.Channels {
		all = append(all, Unseen{l.Name, ChannelBad, l.Channels[i].Name})
	}
	for i := range l.Channels {
		if !l.InTestCounts {
			all = append(all, Unseen{l.Name, ChannelInTest, l.Channels[i].Name})
		}
	}
	all = append(all, Unseen{Rule: l.Name, What: AllBad})
	if l.Bad == rules.LastGood {
		all = append(all, Unseen{Rule: l.Name, What: Aged})
	}
	return all
}

// looked is what a story has made of the channels of one interlock.
type looked struct {
	lock  int
	keys  []string        // what an expectation about it can name, but for the latest trip's
	set   []bool          // by channel: the story has set it
	bad   []bool          // it cannot be judged, and is not in test
	test  []bool          // it is in test
	since []time.Duration // while bad
}

func (r *runner) watchVotes() {
	for i := range r.set.Interlocks {
		l := &r.set.Interlocks[i]
		n := len(l.Channels)
		if n < 2 {
			continue
		}
		k := looked{
			lock: i, set: make([]bool, n), bad: make([]bool, n), test: make([]bool, n), since: make([]time.Duration, n),
			keys: []string{l.Name, l.Name + ".degraded", l.Name + ".degraded-overdue", l.Name + "." + votesKey, l.Name + "." + firstOutKey, l.Name + raisedSuffix},
		}
		for _, d := range l.Demands {
			k.keys = append(k.keys, d.Output)
		}
		r.looks = append(r.looks, k)
	}
}

// noteVotes keeps from when on a channel is bad. It looks at the image as the
// engine does, with what persons laid over it.
func (r *runner) noteVotes() {
	for i := range r.looks {
		k := &r.looks[i]
		for c := range k.bad {
			id := r.set.Interlocks[k.lock].Channels[c].Cond.Tag
			q := r.image.Readings()[id].Quality
			test := inTest(q)
			bad := !test && !q.Usable()
			if bad && !k.bad[c] {
				k.since[c] = r.at
			}
			k.set[c], k.bad[c], k.test[c] = k.set[c] || r.judged(id), bad, test
		}
	}
}

// look notes which degradations stand while a story holds an expectation
// against the interlock.
func (r *runner) look(x *Expect) {
	for i := range r.looks {
		k := &r.looks[i]
		l := &r.set.Interlocks[k.lock]
		latest := (x.Key == votesKey || x.Key == firstOutKey) && r.trip != nil && r.trip.Rule == l.Name
		if !latest && !slices.Contains(k.keys, x.Key) || slices.Contains(k.set, false) {
			continue
		}
		judged, aged := 0, 0
		for c := range l.Channels {
			judged += count(!k.bad[c] && !k.test[c])
			aged += count(k.bad[c] && r.at-k.since[c] >= l.BadAfter)
		}
		for c := range l.Channels {
			old := r.at-k.since[c] >= l.BadAfter
			if k.bad[c] && judged > 0 && (old || l.Bad == rules.LastGood) {
				r.result.seen[Unseen{l.Name, ChannelBad, l.Channels[c].Name}] = true
			}
			if k.test[c] && judged > 0 {
				r.result.seen[Unseen{l.Name, ChannelInTest, l.Channels[c].Name}] = true
			}
		}
		if aged == len(l.Channels) {
			r.result.seen[Unseen{Rule: l.Name, What: AllBad}] = true
		}
		if aged > 0 && judged > 0 {
			r.result.seen[Unseen{Rule: l.Name, What: Aged}] = true
		}
	}
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

// judged reports whether a tag has had something that the story brought: it
// was set, or it is computed of what was.
func (r *runner) judged(id tag.ID) bool {
	return r.touched[id] || r.image.Readings()[id].Quality.Usable()
}

// coverage says which rules the story judged and left normal. A rule counts
// as judged when the story has set every tag that it looks at.
func (r *runner) coverage() {
	for i := range r.set.Alarms {
		if a := &r.set.Alarms[i]; r.judged(a.Cond.Tag) && r.result.raised[a.Name] == 0 {
			r.result.quiet[a.Name] = true
		}
	}
	for i := range r.set.Interlocks {
		l := &r.set.Interlocks[i]
		unset := slices.ContainsFunc(l.Channels, func(c rules.Channel) bool { return !r.judged(c.Cond.Tag) })
		if !unset && r.result.raised[l.Name] == 0 {
			r.result.quiet[l.Name] = true
		}
	}
}

// Names reports whether pattern is found in a story's name, in either
// language, or in a rule, output or tag that it expects something of or acts
// on. A * in it stands for anything; capitals do not matter.
func (s *Story) Names(pattern string) bool {
	if matches(s.Name.Zh, pattern) || matches(s.Name.En, pattern) {
		return true
	}
	for i := range s.Steps {
		st := &s.Steps[i]
		if slices.ContainsFunc(st.Expect, func(x Expect) bool { return matches(x.Key, pattern) }) ||
			slices.ContainsFunc(st.Do, func(d Do) bool { return matches(d.Rule, pattern) }) {
			return true
		}
	}
	return false
}

func matches(in, pattern string) bool {
	in = strings.ToLower(in)
	for part := range strings.SplitSeq(strings.ToLower(pattern), "*") {
		_, rest, ok := strings.Cut(in, part)
		if !ok {
			return false
		}
		in = rest
	}
	return true
}
