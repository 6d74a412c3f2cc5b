package ruletest

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"

	"davy/drivers/tag"
	"davy/rules"
)

// Found says what a search has found.
type Found uint8

// What can be found.
//
//	TripsWithout  the interlock trips while fewer than M of its channels have their condition in the plant
//	HoldsBack     each of M channels has had it for longer than all delays together, it is armed, and it does not trip
//	Chatters      an alarm moves three times within a minute while its tag moves within its noise
//
// The value beside a bad quality is the plant's; one in test or by force is not.
const (
	TripsWithout Found = iota + 1
	HoldsBack
	Chatters
)

// String is the word for it in JSON and the last part of its key in agent/i18n.
func (f Found) String() string {
	return [...]string{TripsWithout: "trips-without", HoldsBack: "holds-back", Chatters: "chatters"}[f]
}

// Options of a search.
type Options struct {
	Seed  uint64
	Steps int           // of the engine, about; 0: DefaultSteps
	Stop  func() bool   // asked between trials; nil: never
	Tags  []ExploredTag // indexed by tag.ID; a tag that is not there is a 64-bit number without noise
	Word  Word
	// Known are stories whose findings are the site's own: what it shows itself,
	// because its policies want it, is not found again.
	Known []Story
}

// ExploredTag is what a search must know of a tag.
type ExploredTag struct {
	Kind  tag.Kind
	Noise float64 // readings of a steady value lie so far on either side of it, engineering units; 0: it does not move by itself
}

// Finding is what a search has found, as a story that holds and shows it.
type Finding struct {
	What Found
	Rule string
	// Declared: the rule's own policies say that it should. Else the engine
	// contradicts what is declared, which is a defect of Davy.
	Declared bool
	Story    Story // without a name
}

// Exploration is the outcome of a search.
type Exploration struct {
	Findings []Finding
	Trials   int
	Steps    int // of the engine
}

// Bounds of a search.
const (
	DefaultSteps = 200_000
	trialSteps   = 10_000 // of the engine in one trial; a longer one is given up
	maxActs      = 6      // of a trial on an interlock
	maxMoves     = 12     // of a trial on an alarm
	shrinkRuns   = 400    // of one finding
)

// Explore searches, from a seed, for what Found lists. The same options but
// Stop find the same. Rules that look at a computed tag are not searched: a
// search sets what a rule looks at, and such a tag cannot be set. One that only
// arms an interlock is left unknown, and that arms it when the start is over.
// What is found is made as short as it can.
func Explore(set rules.Set, o Options) Exploration { return exploreAgainst(set, set, o) }

// exploreAgainst holds an engine of set against another declaration.
func exploreAgainst(set, declared rules.Set, o Options) Exploration {
	if o.Steps <= 0 {
		o.Steps = DefaultSteps
	}
	x := &explorer{set: set, declared: declared, o: o, best: map[hit]*Finding{}, known: map[hit]bool{}}
	for i := range declared.Interlocks {
		if slices.ContainsFunc(declared.Interlocks[i].Channels, func(c rules.Channel) bool { return x.computed(c.Cond.Tag) }) {
			continue
		}
		x.targets = append(x.targets, &target{lock: &declared.Interlocks[i]})
	}
	for i := range declared.Alarms {
		a := &declared.Alarms[i]
		if ordered := a.Cond.Op <= rules.LT; ordered && !a.Agent && !a.NotWatched && !x.computed(a.Cond.Tag) && x.tag(a.Cond.Tag).Noise > 0 && isNumber(x.tag(a.Cond.Tag).Kind) {
			x.targets = append(x.targets, &target{alarm: a})
		}
	}
	for i, t := range x.targets {
		t.rand = rand.New(rand.NewPCG(o.Seed, uint64(i)))
	}
	for k := range o.Known {
		x.learn(o.Known[k])
	}
	for len(x.targets) > 0 && x.steps < o.Steps && (o.Stop == nil || !o.Stop()) {
		x.trials++
		x.try(x.targets[(x.trials-1)%len(x.targets)], x.trials/len(x.targets))
	}
	return Exploration{Findings: x.findings(), Trials: x.trials, Steps: x.steps}
}

type explorer struct {
	set, declared rules.Set
	o             Options
	targets       []*target
	best          map[hit]*Finding
	known         map[hit]bool
	trials, steps int
}

// target is a rule that is searched.
type target struct {
	lock  *rules.Interlock
	alarm *rules.Alarm
	rand  *rand.Rand
}

// hit is one thing that was found, but for the story.
type hit struct {
	what     Found
	rule     string
	declared bool
}

func (x *explorer) tag(id tag.ID) ExploredTag {
	if int(id) < len(x.o.Tags) && x.o.Tags[id].Kind != tag.None {
		return x.o.Tags[id]
	}
	return ExploredTag{Kind: tag.Float64}
}

func (x *explorer) computed(id tag.ID) bool {
	return slices.ContainsFunc(x.declared.Computed, func(c rules.Computed) bool { return c.Tag == id })
}

// armedFrom is when a search has an interlock armed: at once, but where a tag
// that cannot be set arms it, for it must be read or the start be over.
func (x *explorer) armedFrom(l *rules.Interlock) time.Duration {
	if l.Arm.Tag == 0 || !x.computed(l.Arm.Tag) {
		return 0
	}
	return cmp.Or(x.declared.Settle, rules.DefaultSettle)
}

func isNumber(k tag.Kind) bool { return k == tag.Float32 || k == tag.Float64 || k == tag.Int }

// play plays a story with a target's oracle and says what was found and when.
func (x *explorer) play(t *target, s Story) map[hit]time.Duration {
	hits := map[hit]time.Duration{}
	r := run(x.set, s, x.o.Word, trialSteps, x.spyOn(t, hits, true))
	x.steps += r.Steps
	return hits
}

// spyOn returns who watches a target and notes what there is to find.
func (x *explorer) spyOn(t *target, hits map[hit]time.Duration, trial bool) spy {
	if t.lock == nil {
		return &restless{alarm: t.alarm.Name, found: noteIn(hits, t.alarm.Name)}
	}
	o := newOracle(t.lock, noteIn(hits, t.lock.Name))
	if trial { // a story of the site gives what arms it
		o.from = x.armedFrom(t.lock)
	}
	return o
}

// learn plays a story of the site once, with all targets watched: what it shows
// by declaration is known.
func (x *explorer) learn(s Story) {
	hits := map[hit]time.Duration{}
	var all spies
	for _, t := range x.targets {
		all = append(all, x.spyOn(t, hits, false))
	}
	run(x.set, s, x.o.Word, maxSteps, all)
	for h := range hits {
		x.known[h] = x.known[h] || h.declared
	}
}

// spies are told one after the other.
type spies []spy

func (all spies) gave(id tag.ID, q tag.Quality, v tag.Value, at time.Duration) {
	for _, one := range all {
		one.gave(id, q, v, at)
	}
}

func (all spies) stepped(at time.Duration, out *rules.Outcome) {
	for _, one := range all {
		one.stepped(at, out)
	}
}

func noteIn(hits map[hit]time.Duration, rule string) func(Found, bool, time.Duration) {
	return func(what Found, declared bool, at time.Duration) {
		h := hit{what, rule, declared}
		if _, twice := hits[h]; !twice {
			hits[h] = at
		}
	}
}

// try makes one trial. Early ones are short, so that what is found is.
func (x *explorer) try(t *target, round int) {
	var s Story
	if t.lock != nil {
		s = x.lockTrial(t, min(1+round/20, maxActs))
	} else {
		s = x.alarmTrial(t)
	}
	hits := x.play(t, s)
	for _, h := range sortedHits(hits) {
		if x.known[h] {
			continue
		}
		if b := x.best[h]; b != nil && weight(&b.Story) <= weight(&s) {
			continue
		}
		small := x.shrink(t, s, h)
		story, ok := x.tell(t, small, h)
		if b := x.best[h]; ok && (b == nil || weight(&story) < weight(&b.Story)) {
			x.best[h] = &Finding{What: h.what, Rule: h.rule, Declared: h.declared, Story: story}
		}
	}
}

func sortedHits(m map[hit]time.Duration) []hit {
	all := make([]hit, 0, len(m))
	for h := range m {
		all = append(all, h)
	}
	slices.SortFunc(all, func(a, b hit) int {
		if a.what != b.what {
			return int(a.what) - int(b.what)
		}
		return count(a.declared) - count(b.declared)
	})
	return all
}

// findings in the order of the set, contradictions first.
func (x *explorer) findings() (all []Finding) {
	for _, declared := range []bool{false, true} {
		for _, t := range x.targets {
			name := ""
			if t.lock != nil {
				name = t.lock.Name
			} else {
				name = t.alarm.Name
			}
			for what := TripsWithout; what <= Chatters; what++ {
				if f := x.best[hit{what, name, declared}]; f != nil {
					all = append(all, *f)
				}
			}
		}
	}
	return all
}

// weight orders stories: fewer things set, then fewer steps, then shorter.
func weight(s *Story) int64 {
	sets := 0
	for i := range s.Steps {
		sets += len(s.Steps[i].Set)
	}
	n := len(s.Steps)
	return int64(sets)<<52 + int64(n)<<44 + int64(s.Steps[n-1].At/time.Millisecond)
}

// tell makes the story that shows a hit: what led to it, and at its time what
// is then expected. It must hold.
func (x *explorer) tell(t *target, s Story, h hit) (Story, bool) {
	at, ok := x.play(t, s)[h]
	if !ok {
		return s, false
	}
	told := Story{Steps: slices.Clone(s.Steps)}
	for len(told.Steps) > 0 && told.Steps[len(told.Steps)-1].At > at {
		told.Steps = told.Steps[:len(told.Steps)-1]
	}
	n := len(told.Steps)
	if n == 0 || told.Steps[n-1].At < at {
		told.Steps = append(told.Steps, Step{At: at})
		n++
	}
	keys := []string{h.rule, h.rule + "." + votesKey}
	switch h.what {
	case HoldsBack:
		keys = keys[:1]
	case Chatters:
		keys = []string{h.rule + raisedSuffix}
	}
	end := &told.Steps[n-1]
	end.Expect = nil
	r := played(x.set, told, x.o.Word, trialSteps, nil)
	if r.engine == nil {
		return told, false
	}
	for _, k := range keys {
		if a, ok := r.answer(k); ok {
			end.Expect = append(end.Expect, Expect{Key: k, Want: a.got})
		}
	}
	again := run(x.set, told, x.o.Word, maxSteps, nil)
	return told, again.OK()
}
