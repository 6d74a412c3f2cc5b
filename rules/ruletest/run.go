package ruletest

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"davy/drivers/tag"
	"davy/rules"
)

const (
	rampEvery = 100 * time.Millisecond // a ramp is stepped this often
	maxSteps  = 1_000_000              // of the engine in one story; more is refused
	maxAt     = 366 * 24 * time.Hour   // latest time in a story
	person    = "story"                // who acts in a story
)

// zero is the instant at which every story begins: the same on every machine.
var zero = tag.Stamp{Wall: 1_767_225_600_000_000_000, Mono: int64(time.Second)}

// Run plays one story on an engine of its own. The engine steps at every
// deadline of its own, at every step of the story, and each 100 ms of a ramp.
// At the time of a story's step come first the timers that end there, then
// what it sets, then what it does, and then what it expects is looked at.
func Run(set rules.Set, s Story, word Word) Result { return run(set, s, word, maxSteps) }

func run(set rules.Set, s Story, word Word, most int) Result {
	r := &runner{most: most, set: set, story: s, word: word, at: -1, result: Result{Name: s.Name, Where: s.Where, raised: map[string]bool{}, quiet: map[string]bool{}}}
	if word == nil {
		r.word = func(_ int, protective bool) string {
			if protective {
				return "protective"
			}
			return "idle"
		}
	}
	var err error
	if r.engine, err = rules.New(set); err != nil {
		r.fail(s.Where, "rules", "error", err.Error())
		return r.result
	}
	still := set // values hold until set again: nothing is ever stale
	still.Tags = slices.Clone(set.Tags)
	for i := range still.Tags {
		still.Tags[i].TTL = 0
	}
	r.image = rules.NewImage(still)
	r.touched = make([]bool, len(set.Tags))
	r.play()
	r.coverage()
	return r.result
}

type runner struct {
	most    int // steps of the engine
	set     rules.Set
	story   Story
	word    Word
	engine  *rules.Engine
	image   *rules.Image
	out     rules.Outcome
	at      time.Duration // the present; -1 before the first step
	next    time.Duration // of the engine; -1 none
	ramps   []ramp
	touched []bool       // tags that the story has set
	trip    *rules.Event // the latest
	result  Result
}

// ramp is a value on its way.
type ramp struct {
	set      Set
	from, to float64
	start    time.Duration
	step     int64
}

func (r *ramp) due() time.Duration {
	return min(r.start+time.Duration(r.step+1)*rampEvery, r.set.By)
}

func (r *runner) fail(where, code string, args ...any) {
	f := Failure{Where: where, Code: "ruletest." + code, Args: map[string]any{}}
	for i := 0; i+1 < len(args); i += 2 {
		f.Args[args[i].(string)] = args[i+1]
	}
	r.result.Failures = append(r.result.Failures, f)
}

func (r *runner) play() {
	if len(r.story.Steps) == 0 || r.story.Steps[0].At > 0 {
		r.step(0)
	}
	for i := range r.story.Steps {
		s := &r.story.Steps[i]
		if s.At < 0 || s.At < r.at || s.At > maxAt {
			r.fail(s.Where, "order", "at", s.At.String())
			return
		}
		if !r.until(s.At) {
			r.fail(s.Where, "too-long", "limit", r.most)
			return
		}
		r.result.Length = s.At
		for k := range s.Set {
			r.take(&s.Set[k], s.At)
		}
		r.step(s.At)
		for k := range s.Do {
			r.do(&s.Do[k])
		}
		for k := range s.Expect {
			r.expect(&s.Expect[k])
		}
	}
}

// until lets time pass up to, but not including, at.
func (r *runner) until(at time.Duration) bool {
	for r.result.Steps < r.most {
		due, moving := r.next, -1
		for i := range r.ramps {
			if d := r.ramps[i].due(); due < 0 || d < due {
				due = d
			}
		}
		if r.at < 0 || due < 0 || due >= at {
			for i := range r.ramps {
				if r.ramps[i].due() == at {
					r.move(i, at)
				}
			}
			r.ended()
			return true
		}
		for i := range r.ramps {
			if r.ramps[i].due() == due {
				r.move(i, due)
				moving = i
			}
		}
		if moving >= 0 {
			r.ended()
		}
		r.step(due)
	}
	return false
}

// move puts the value that a ramp has at the given time.
func (r *runner) move(i int, at time.Duration) {
	p := &r.ramps[i]
	p.step++
	part := float64(at-p.start) / float64(p.set.By-p.start)
	v, ok := number(p.set.Value.Kind(), p.from+(p.to-p.from)*part)
	if at == p.set.By {
		v, ok = p.set.Value, true
	}
	if ok {
		r.put(p.set.Tag, p.set.Quality, v, at)
	}
}

// number makes a value of a kind; integers are rounded.
func number(k tag.Kind, f float64) (tag.Value, bool) {
	switch k {
	case tag.Float32:
		return tag.Float32Value(float32(f))
	case tag.Float64:
		return tag.Float64Value(f)
	case tag.Int:
		return tag.IntValue(int64(math.Round(f))), true
	}
	return tag.Value{}, false
}

func (r *runner) ended() {
	r.ramps = slices.DeleteFunc(r.ramps, func(p ramp) bool { return p.due() <= p.start+time.Duration(p.step)*rampEvery })
}

func (r *runner) put(id tag.ID, q tag.Quality, v tag.Value, at time.Duration) {
	r.touched[id] = true
	r.image.Put(tag.Reading{Tag: id, Quality: q, Value: v, Received: r.stamp(at)})
}

func (r *runner) stamp(at time.Duration) tag.Stamp {
	return tag.Stamp{Wall: zero.Wall + int64(at), Mono: zero.Mono + int64(at)}
}

// take does what a story's step sets. A quality alone keeps the value.
func (r *runner) take(s *Set, at time.Duration) {
	if s.Tag == 0 || int(s.Tag) >= len(r.set.Tags) {
		r.fail(s.Where, "unknown-tag", "tag", int(s.Tag))
		return
	}
	r.ramps = slices.DeleteFunc(r.ramps, func(p ramp) bool { return p.set.Tag == s.Tag })
	was := r.image.Readings()[s.Tag]
	if s.By == 0 {
		v := s.Value
		if v.Kind() == tag.None {
			v = was.Value
		}
		r.put(s.Tag, s.Quality, v, at)
		return
	}
	_, ok := number(s.Value.Kind(), 0)
	if s.By <= at || s.By > maxAt || !ok || was.Value.Kind() == tag.None {
		r.fail(s.Where, "ramp", "by", s.By.String())
		return
	}
	r.ramps = append(r.ramps, ramp{set: *s, from: was.Value.Float(), to: s.Value.Float(), start: at})
}

// step steps the engine at the given time.
func (r *runner) step(at time.Duration) {
	r.at = at
	r.result.Steps++
	in := r.input()
	r.engine.Step(&in, &r.out)
	r.outcome()
}

func (r *runner) input() rules.Input {
	return rules.Input{Now: r.stamp(r.at), Image: r.image.Readings(), Changed: r.image.TakeChanged()}
}

func (r *runner) outcome() {
	for i := range r.out.Events {
		switch v := r.out.Events[i]; v.Kind {
		case rules.InterlockTripped:
			r.trip = &v
			r.result.raised[v.Rule] = true
		case rules.AlarmRaised:
			r.result.raised[v.Rule] = true
		}
	}
	r.next = -1
	if r.out.Next != 0 {
		r.next = time.Duration(r.out.Next - zero.Mono)
	}
}

// do acts on the rule's present occurrence, as a person who sees it would.
func (r *runner) do(d *Do) {
	c := rules.Command{Verb: d.Verb, Rule: d.Rule, Who: person}
	if a, ok := r.engine.Alarm(d.Rule); ok {
		c.Occurrence = a.Occurrence
	} else if l, ok := r.engine.Interlock(d.Rule, r.stamp(r.at)); ok {
		c.Occurrence = l.Occurrence
	} else {
		r.fail(d.Where, "unknown-act", "rule", d.Rule)
		return
	}
	in := r.input()
	err := r.engine.Do(&in, c, &r.out)
	var refused *rules.RefusedError
	switch {
	case err == nil:
		r.outcome()
		if d.Refuse {
			r.fail(d.Where, "not-refused", "rule", d.Rule)
		}
	case !d.Refuse && errors.As(err, &refused):
		r.fail(d.Where, "refused", "rule", d.Rule, "reason", "refused."+refused.Code)
	}
}

// coverage says which rules the story judged and left normal. A rule counts
// as judged when the story has set every tag that it looks at.
func (r *runner) coverage() {
	for i := range r.set.Alarms {
		if a := &r.set.Alarms[i]; r.touched[a.Cond.Tag] && !r.result.raised[a.Name] {
			r.result.quiet[a.Name] = true
		}
	}
	for i := range r.set.Interlocks {
		l := &r.set.Interlocks[i]
		unset := slices.ContainsFunc(l.Channels, func(c rules.Channel) bool { return !r.touched[c.Cond.Tag] })
		if !unset && !r.result.raised[l.Name] {
			r.result.quiet[l.Name] = true
		}
	}
}

// Words of a state.
var (
	alarmWords = [...]string{
		rules.Normal: "normal", rules.Unacked: "unacked", rules.Acked: "acked", rules.ReturnedUnacked: "returned",
		rules.LatchedUnacked: "latched", rules.LatchedAcked: "latched",
	}
	lockWords = [...]string{rules.Starting: "starting", rules.Armed: "armed", rules.Tripped: "tripped"}
)

const (
	degradedWord = " degraded"
	firstOutKey  = "first_out"
	votesKey     = "votes"
	nothing      = "none" // first_out and votes before any trip
)

// expect compares what the story expects with what is.
func (r *runner) expect(x *Expect) {
	got, words, known := r.state(x.Key)
	if !known {
		r.fail(x.Where, "unknown-key", "key", x.Key)
		return
	}
	want := strings.Join(strings.Fields(x.Want), " ")
	if words != nil && !slices.Contains(words, want) {
		r.fail(x.Where, "unknown-word", "key", x.Key, "want", x.Want, "words", strings.Join(words, ", "))
		return
	}
	// A trip is a trip, with all channels or without one: "tripped" holds for
	// both. "armed" does not: a vote that has lost a channel is another one.
	same := want == got || want == lockWords[rules.Tripped] && got == want+degradedWord
	if x.Key == votesKey {
		same = slices.Equal(votes(want), votes(got))
	}
	if !same {
		r.fail(x.Where, "expected", "at", r.at.String(), "key", x.Key, "want", want, "got", got)
	}
}

// votes splits "a bad + b" into its votes; their order does not matter.
func votes(s string) []string {
	all := strings.Split(s, "+")
	for i := range all {
		all[i] = strings.TrimSpace(all[i])
	}
	slices.SortFunc(all, cmp.Compare)
	return all
}

// state returns the word of what a key names, and the words it can have.
func (r *runner) state(key string) (got string, words []string, known bool) {
	switch key {
	case firstOutKey:
		if r.trip == nil || r.trip.FirstOut == "" {
			return nothing, nil, true
		}
		return r.trip.FirstOut, nil, true
	case votesKey:
		return votesOf(r.trip), nil, true
	}
	if a, ok := r.engine.Alarm(key); ok {
		return alarmWords[a.State], alarmWords[:rules.LatchedAcked], true
	}
	if l, ok := r.engine.Interlock(key, r.stamp(r.at)); ok {
		got = lockWords[l.State]
		if l.Degraded {
			got += degradedWord
		}
		return got, []string{lockWords[rules.Starting], lockWords[rules.Armed], lockWords[rules.Armed] + degradedWord, lockWords[rules.Tripped], lockWords[rules.Tripped] + degradedWord}, true
	}
	for i := range r.set.Outputs {
		if r.set.Outputs[i].Name == key {
			d := r.engine.Demands(nil)[i]
			return r.word(i, d.Protective), []string{r.word(i, false), r.word(i, true)}, true
		}
	}
	return "", nil, false
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
