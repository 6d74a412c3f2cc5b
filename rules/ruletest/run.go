package ruletest

import (
	"math"
	"slices"
	"time"

	"davy/drivers/tag"
	"davy/rules"
)

const (
	rampEvery = 100 * time.Millisecond // a ramp is stepped this often
	maxSteps  = 1_000_000              // of the engine in one story; more is refused
	maxAt     = 366 * 24 * time.Hour   // latest time in a story
	person    = "story"                // who acts where a story does not say
)

// zero is the instant at which every story begins: the same on every machine.
// Its wall time is the story's where that says one.
var zero = tag.Stamp{Wall: 1_767_225_600_000_000_000, Mono: int64(time.Second)}

// Run plays one story on an engine of its own. The engine steps at every
// deadline of its own, at every step of the story, and each 100 ms of a ramp.
// At the time of a story's step come first the timers that end there, then
// what it sets, then what it does, and then what it expects is looked at.
func Run(set rules.Set, s Story, word Word) Result { return run(set, s, word, maxSteps, nil) }

// spy is told what happens in a story, in its order: what a tag was given, and
// what a step of the engine brought.
type spy interface {
	gave(id tag.ID, q tag.Quality, v tag.Value, at time.Duration)
	stepped(at time.Duration, out *rules.Outcome)
}

func run(set rules.Set, s Story, word Word, most int, spy spy) Result {
	return played(set, s, word, most, spy).result
}

// played returns the runner at the end of the story. Without an engine the set
// is wrong.
func played(set rules.Set, s Story, word Word, most int, spy spy) *runner {
	return watched(set, s, word, most, spy, nil)
}

func watched(set rules.Set, s Story, word Word, most int, spy spy, see func(*Sight)) *runner {
	r := &runner{most: most, set: set, spy: spy, see: see, story: s, word: word, at: -1, trips: map[string]*rules.Event{}, result: Result{Name: s.Name, Where: s.Where, raised: map[string]int{}, quiet: map[string]bool{}, seen: map[Unseen]bool{}}}
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
		return r
	}
	still := set // values hold until set again: nothing is ever stale
	still.Tags = slices.Clone(set.Tags)
	for i := range still.Tags {
		still.Tags[i].TTL = 0
	}
	r.image = rules.NewImage(still)
	r.touched = make([]bool, len(set.Tags))
	r.watchVotes()
	r.play()
	r.coverage()
	return r
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
	touched []bool                  // tags that the story has set
	trip    *rules.Event            // the latest
	trips   map[string]*rules.Event // the latest of each interlock
	looks   []looked                // per interlock with more than one channel
	spy     spy                     // nil: none
	see     func(*Sight)            // nil: nobody watches
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
			r.fail(s.Where, "order", "at", spell(s.At))
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
		r.shown(s)
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
	if r.spy != nil {
		r.spy.gave(id, q, v, at)
	}
	r.image.Put(tag.Reading{Tag: id, Quality: q, Value: v, Received: r.stamp(at)})
}

func (r *runner) stamp(at time.Duration) tag.Stamp {
	wall := zero.Wall
	if r.story.Start != 0 {
		wall = r.story.Start
	}
	return tag.Stamp{Wall: wall + int64(at), Mono: zero.Mono + int64(at)}
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
		r.fail(s.Where, "ramp", "by", spell(s.By))
		return
	}
	r.ramps = append(r.ramps, ramp{set: *s, from: was.Value.Float(), to: s.Value.Float(), start: at})
}

// step steps the engine at the given time.
func (r *runner) step(at time.Duration) {
	r.at = at
	r.result.Steps++
	rules.Step(r.engine, r.image, r.stamp(at), &r.out)
	r.outcome()
	r.shown(nil)
}

func (r *runner) outcome() {
	r.noteVotes()
	for i := range r.out.Events {
		switch v := r.out.Events[i]; v.Kind {
		case rules.InterlockTripped:
			r.trip, r.trips[v.Rule] = &v, &v
			r.result.raised[v.Rule]++
		case rules.AlarmRaised:
			r.result.raised[v.Rule]++
		}
	}
	if r.spy != nil {
		r.spy.stepped(r.at, &r.out)
	}
	r.next = -1
	if r.out.Next != 0 {
		r.next = time.Duration(r.out.Next - zero.Mono)
	}
}
