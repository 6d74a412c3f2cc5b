package ruletest

import (
	"time"

	"davy/rules"
)

// Word returns the state word of an output ("run"), by its index in the set.
// Where it is nil the words are "protective" and "idle".
type Word = func(output int, protective bool) string

// Failure is one thing that a story said and that was not so. Code is a key of
// agent/i18n, Args fill its words:
//
//	ruletest.expected         at key want got
//	ruletest.unknown-key      key
//	ruletest.unknown-word     key want words
//	ruletest.refused          rule reason    (a key "refused.<code>"; its own arguments are there too)
//	ruletest.refused-otherwise rule want reason (want is a code)
//	ruletest.not-refused      rule
//	ruletest.unknown-tag      tag
//	ruletest.unknown-act      rule
//	ruletest.order            at             (before the step above it)
//	ruletest.ramp             by             (from no number, to no number, or not into the future)
//	ruletest.too-long         limit
//	ruletest.rules            error          (the set itself)
type Failure struct {
	Where string
	Code  string
	Args  map[string]any
}

// Result is what became of one story.
type Result struct {
	Name     rules.Text
	Where    string
	Failures []Failure
	Length   time.Duration // of the story
	Steps    int           // of the engine

	raised map[string]int  // rules that were raised or tripped, and how often
	quiet  map[string]bool // rules that were judged and stayed normal
	seen   map[Unseen]bool // degradations that an expectation looked at
}

// OK reports whether all was as expected.
func (r *Result) OK() bool { return len(r.Failures) == 0 }

// Rule names a rule of the set.
type Rule struct {
	Name       string
	Interlock  bool
	NotWatched bool
}

// Report is what became of all stories. The agent's own alarms
// (rules.Alarm.Agent) and the automatic ones are not among the rules named.
//
// A degradation of a vote was seen where an expectation about the interlock was
// looked at while it stood, in a story that had set every channel by then. About
// it is what names the interlock, its degraded alarms, its votes or first-out,
// or an output that it demands. Only interlocks of two channels and more have
// any. They are, by interlock:
//
//	ChannelBad     one for each channel: it could not be judged and was not in test, for
//	               BadAfter at least (where the last good value votes: at all), while
//	               another channel was good
//	ChannelInTest  one for each channel, unless tests vote: it was in test while another was good
//	AllBad         no channel could be judged and none was in test, each for BadAfter at least
//	Aged           only where the last good value votes: a channel was bad for BadAfter at
//	               least, so that its value counted no more, while another was good
type Report struct {
	Results      []Result
	NeverTripped []Rule // no story raises or trips it
	NeverQuiet   []Rule // there is no story in which it was judged and stayed normal
	NeverSeen    []Unseen
}

// OK reports whether every story went as it said.
func (r *Report) OK() bool { return r.Failed() == 0 }

// Failed counts the stories that did not.
func (r *Report) Failed() (n int) {
	for i := range r.Results {
		if !r.Results[i].OK() {
			n++
		}
	}
	return n
}

// RunAll runs the stories, each on an engine of its own.
func RunAll(set rules.Set, stories []Story, word Word) Report {
	var r Report
	raised, quiet, seen := map[string]bool{}, map[string]bool{}, map[Unseen]bool{}
	for _, s := range stories {
		one := Run(set, s, word)
		for name := range one.raised {
			raised[name] = true
		}
		for name := range one.quiet {
			quiet[name] = true
		}
		for u := range one.seen {
			seen[u] = true
		}
		r.Results = append(r.Results, one)
	}
	note := func(rule Rule) {
		if !raised[rule.Name] {
			r.NeverTripped = append(r.NeverTripped, rule)
		}
		if !quiet[rule.Name] {
			r.NeverQuiet = append(r.NeverQuiet, rule)
		}
	}
	for i := range set.Alarms {
		if a := &set.Alarms[i]; !a.Agent {
			note(Rule{Name: a.Name, NotWatched: a.NotWatched})
		}
	}
	for i := range set.Interlocks {
		l := &set.Interlocks[i]
		note(Rule{Name: l.Name, Interlock: true})
		for _, u := range degradations(l) {
			if !seen[u] {
				r.NeverSeen = append(r.NeverSeen, u)
			}
		}
	}
	return r
}
