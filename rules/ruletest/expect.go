package ruletest

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"davy/drivers/tag"
	"davy/rules"
)

// answer is what a key is now, and what may be wanted of it.
type answer struct {
	got    string
	words  []string // states that may be wanted; nil: any text
	marks  []string
	holds  func(want string) bool
	marked func(want string) string // got with what a want of the same state did not find; nil: got
}

// expect compares what the story expects with what is.
func (r *runner) expect(x *Expect) {
	r.look(x)
	if x.Tag.Tag != 0 {
		r.expectTag(x)
		return
	}
	a, known := r.answer(x.Key)
	if !known {
		r.fail(x.Where, "unknown-key", "key", x.Key)
		return
	}
	want := strings.Join(strings.Fields(x.Want), " ")
	if a.words != nil && !IsWant(want, a.words, a.marks) {
		words := strings.Join(a.words, ", ")
		if len(a.marks) > 0 {
			words += " [" + strings.Join(a.marks, ", ") + "]"
		}
		r.fail(x.Where, "unknown-word", "key", x.Key, "want", x.Want, "words", words)
		return
	}
	if a.holds(want) {
		return
	}
	got := a.got
	if a.marked != nil {
		got = a.marked(want)
	}
	r.fail(x.Where, "expected", "at", spell(r.at), "key", x.Key, "want", want, "got", got)
}

// expectTag compares a tag's reading.
func (r *runner) expectTag(x *Expect) {
	w := &x.Tag
	if int(w.Tag) >= len(r.set.Tags) {
		r.fail(x.Where, "unknown-tag", "tag", int(w.Tag))
		return
	}
	p := r.image.Readings()[w.Tag]
	v := p.Value.Float()
	none := p.Value.Kind() == tag.None
	if qualityHolds(w.Quality, p.Quality) && (!w.Valued || !none && v >= w.Low && v <= w.High) {
		return
	}
	got := qualityWord(p.Quality)
	if !none {
		shown := strconv.FormatFloat(v, 'g', -1, 64)
		if p.Value.Kind() == tag.Float32 {
			shown = strconv.FormatFloat(v, 'g', -1, 32)
		}
		if got = shown + " " + got; p.Quality == tag.GoodQuality {
			got = shown
		}
	}
	r.fail(x.Where, "expected", "at", spell(r.at), "key", x.Key, "want", x.Want, "got", got)
}

// answer returns what a key is.
func (r *runner) answer(key string) (a answer, known bool) {
	text := func(got string) (answer, bool) {
		return answer{got: got, holds: func(want string) bool { return want == got }}, true
	}
	voted := func(trip *rules.Event) (answer, bool) {
		got := votesOf(trip)
		return answer{got: got, holds: func(want string) bool { return slices.Equal(votes(want), votes(got)) }}, true
	}
	switch key {
	case firstOutKey:
		return text(firstOf(r.trip))
	case votesKey:
		return voted(r.trip)
	}
	if v, ok := r.engine.Alarm(key); ok {
		state, marks := alarmWord(&v)
		return answer{
			got: state, words: alarmWords[:], marks: alarmMarks[:],
			holds: func(want string) bool { return alarmHolds(want, state, marks) },
			marked: func(want string) string {
				if strings.Fields(want)[0] == state {
					return strings.Join(append([]string{state}, marks...), " ")
				}
				return state
			},
		}, true
	}
	if v, ok := r.engine.Interlock(key, r.stamp(r.at)); ok {
		state, marks := lockWord(&v)
		return answer{
			got: strings.Join(append([]string{state}, marks...), " "), words: lockWords[:], marks: lockMarks[:],
			holds: func(want string) bool { return lockHolds(want, state, marks) },
		}, true
	}
	for i := range r.set.Outputs {
		if r.set.Outputs[i].Name == key {
			got := r.word(i, r.engine.Demands(nil)[i].Protective)
			return answer{
				got: got, words: []string{r.word(i, false), r.word(i, true)},
				holds: func(want string) bool { return want == got },
			}, true
		}
	}
	if rule, ok := strings.CutSuffix(key, raisedSuffix); ok && r.isRule(rule) {
		return text(strconv.Itoa(r.result.raised[rule]))
	}
	if lock, ok := strings.CutSuffix(key, "."+firstOutKey); ok && r.isLock(lock) {
		return text(firstOf(r.trips[lock]))
	}
	if lock, ok := strings.CutSuffix(key, "."+votesKey); ok && r.isLock(lock) {
		return voted(r.trips[lock])
	}
	return answer{}, false
}

func (r *runner) isLock(name string) bool {
	_, ok := r.engine.Interlock(name, r.stamp(r.at))
	return ok
}

func (r *runner) isRule(name string) bool {
	_, ok := r.engine.Alarm(name)
	return ok || r.isLock(name)
}

// votes splits "a bad + b" into its votes; their order does not matter.
func votes(s string) []string {
	all := strings.Split(s, "+")
	for i := range all {
		all[i] = strings.Join(strings.Fields(all[i]), " ")
	}
	slices.SortFunc(all, cmp.Compare)
	return all
}

func firstOf(trip *rules.Event) string {
	if trip == nil || trip.FirstOut == "" {
		return nothing
	}
	return trip.FirstOut
}

// votesOf prints the votes of a trip: "nh3-3.gas bad + nh3-1.gas".
func votesOf(trip *rules.Event) string {
	if trip == nil || len(trip.Votes) == 0 {
		return nothing
	}
	all := make([]string, len(trip.Votes))
	for i, v := range trip.Votes {
		all[i] = v.Channel
		switch v.Reason {
		case rules.VoteBad:
			all[i] += " bad"
		case rules.VoteTest:
			all[i] += " test"
		}
	}
	return strings.Join(all, " + ")
}

// spell prints a time as the files write it.
func spell(d time.Duration) string {
	for _, u := range []struct {
		d    time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "min"}, {time.Second, "s"}} {
		if d >= u.d && d%u.d == 0 {
			return strconv.FormatInt(int64(d/u.d), 10) + u.name
		}
	}
	switch {
	case d == 0:
		return "0s"
	case d > time.Second:
		return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + "s"
	}
	return strconv.FormatFloat(float64(d)/1e6, 'f', -1, 64) + "ms"
}
