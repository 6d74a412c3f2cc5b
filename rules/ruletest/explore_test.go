package ruletest

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"davy/drivers/tag"
	"davy/rules"
	"davy/rules/expr"
)

// pair is an interlock of two detectors, either of which trips.
func pair(change func(*rules.Interlock)) rules.Set {
	l := rules.Interlock{
		Name: "GAS", Priority: rules.Critical, M: 1, BadAfter: 10 * s, OnDelay: 2 * s, DegradedPriority: rules.Medium, ManualReset: true,
		Demands: []rules.Demand{{Output: "fan1"}},
		Channels: []rules.Channel{
			{Name: "a.gas", Cond: rules.Condition{Tag: 1, Op: rules.GE, Limit: 150}},
			{Name: "b.gas", Cond: rules.Condition{Tag: 2, Op: rules.GE, Limit: 150}},
		},
	}
	change(&l)
	return rules.Set{
		Tags:       []rules.Tag{{}, {Name: "a.gas"}, {Name: "b.gas"}, {Name: "c.temp"}},
		Outputs:    []rules.Output{{Name: "fan1"}},
		Interlocks: []rules.Interlock{l},
	}
}

func found(all []Finding) string {
	var names []string
	for _, f := range all {
		how := "declared"
		if !f.Declared {
			how = "CONTRADICTS"
		}
		names = append(names, fmt.Sprintf("%s %s %s", f.Rule, f.What, how))
	}
	return strings.Join(names, ", ")
}

// told prints what a story sets and expects: "0s 1=140 2=140 | 3s 1=140 bad".
func told(s Story) string {
	var steps []string
	for _, st := range s.Steps {
		line := spell(st.At)
		for _, x := range st.Set {
			line += fmt.Sprintf(" %d=%g", x.Tag, x.Value.Float())
			if w := qualityWord(x.Quality); w != "good" {
				line += " " + w
			}
		}
		for _, x := range st.Expect {
			line += fmt.Sprintf(" %s: %s", x.Key, x.Want)
		}
		steps = append(steps, line)
	}
	return strings.Join(steps, " | ")
}

// What the policies of each set allow, worked out by hand.
func TestExploreFindsWhatPoliciesAllow(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*rules.Interlock)
		want   string
		story  string // of the first
	}{
		// Two detectors that are gone hide whatever is there, for ever.
		"left out, all bad holds": {
			func(l *rules.Interlock) { l.Bad, l.AllBadHolds = rules.LeftOut, true },
			"GAS holds-back declared",
			"0s 1=140 2=140 | 1s 1=160 bad | 14s GAS: armed degraded",
		},
		// One that is gone hides what is there until it trips, and then it trips without a cause.
		"counts as trip": {
			func(*rules.Interlock) {},
			"GAS trips-without declared",
			"0s 1=140 2=140 | 1s 2=140 bad | 13s GAS: tripped degraded GAS.votes: b.gas bad",
		},
		// Either of two is asked for, both must be bad.
		"two of two, counts as trip": {
			func(l *rules.Interlock) { l.M = 2 },
			"GAS trips-without declared",
			"0s 1=140 2=140 | 1s 1=140 bad 2=140 bad | 13s GAS: tripped degraded GAS.votes: a.gas bad + b.gas bad",
		},
		"two of two, left out": {
			func(l *rules.Interlock) { l.M, l.Bad = 2, rules.LeftOut },
			"GAS trips-without declared",
			"",
		},
		// One gone too long trips; both gone hold for ever, whatever is there.
		"its last good value, all bad holds": {
			func(l *rules.Interlock) { l.Bad, l.AllBadHolds = rules.LastGood, true },
			"GAS trips-without declared, GAS holds-back declared",
			"0s 1=140 2=140 | 1s 2=140 bad | 13s GAS: tripped degraded GAS.votes: b.gas bad",
		},
	} {
		t.Run(name, func(t *testing.T) {
			set := pair(c.change)
			r := Explore(set, Options{Seed: 1, Steps: 6_000})
			if got := found(r.Findings); got != c.want {
				t.Errorf("found %s, want %s", got, c.want)
			}
			for i, f := range r.Findings {
				if i == 0 && c.story != "" && told(f.Story) != c.story {
					t.Errorf("%s: %s\nwant %s", f.What, told(f.Story), c.story)
				}
				if one := Run(set, f.Story, nil); !one.OK() {
					t.Errorf("%s: the story does not hold: %s", told(f.Story), one.text())
				}
			}
			if r.Steps < 6_000 || r.Trials == 0 {
				t.Errorf("%d trials, %d steps: not what was asked for", r.Trials, r.Steps)
			}
			// With its own stories the site has said that it knows.
			known := Options{Seed: 2, Steps: 2_000}
			for _, f := range r.Findings {
				known.Known = append(known.Known, f.Story)
			}
			for _, again := range Explore(set, known).Findings {
				if slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.What == again.What }) {
					t.Errorf("found again: %s", told(again.Story))
				}
			}
		})
	}
}

// Where every loss trips at once nothing can be hidden; and a detector that
// does not vote cannot trip. What is found is always declared.
func TestExploreFindsNothingThatIsNot(t *testing.T) {
	set := pair(func(l *rules.Interlock) { l.OnDelay, l.BadAfter = 0, 0 })
	if got := found(Explore(set, Options{Seed: 3, Steps: 6_000}).Findings); got != "GAS trips-without declared" {
		t.Errorf("found %s", got)
	}
	set = pair(func(l *rules.Interlock) { l.Bad, l.AllBadHolds = rules.LeftOut, true })
	if got := found(Explore(set, Options{Seed: 3, Steps: 6_000}).Findings); got != "GAS holds-back declared" {
		t.Errorf("found %s", got)
	}
}

// The engine is held against the declaration: an engine of another one is found out.
func TestExploreFindsAnEngineThatDoesOtherwise(t *testing.T) {
	declared := pair(func(*rules.Interlock) {})
	for name, c := range map[string]struct {
		change func(*rules.Interlock)
		want   string
	}{
		"it waits for both":            {func(l *rules.Interlock) { l.M = 2 }, "GAS holds-back CONTRADICTS"},
		"it compares the wrong way":    {func(l *rules.Interlock) { l.Channels[0].Cond.Op = rules.LT }, "GAS trips-without CONTRADICTS"},
		"it forgets the delay of bad":  {func(l *rules.Interlock) { l.BadAfter = 0 }, "GAS trips-without CONTRADICTS"},
		"it leaves a bad channel out":  {func(l *rules.Interlock) { l.Bad = rules.LeftOut }, "GAS holds-back CONTRADICTS"},
		"its delay is too long":        {func(l *rules.Interlock) { l.OnDelay = time.Hour }, "GAS holds-back CONTRADICTS"},
		"a channel in test has a vote": {func(l *rules.Interlock) { l.InTestCounts = true }, "GAS trips-without CONTRADICTS"},
	} {
		r := exploreAgainst(pair(c.change), declared, Options{Seed: 5, Steps: 8_000})
		if got := found(r.Findings); !strings.HasPrefix(got, c.want) && !strings.Contains(got, ", "+c.want) {
			t.Errorf("%s: found %s, want %s", name, got, c.want)
		}
	}
}

func TestExploreFindsChatter(t *testing.T) {
	set := rules.Set{Tags: []rules.Tag{{}, {Name: "c.temp"}}, Alarms: []rules.Alarm{
		{Name: "bare", Cond: rules.Condition{Tag: 1, Op: rules.GE, Limit: 130}, Priority: rules.Low},
		{Name: "held", Cond: rules.Condition{Tag: 1, Op: rules.GE, Limit: 130}, Priority: rules.Low, Deadband: 2},
		{Name: "slow", Cond: rules.Condition{Tag: 1, Op: rules.LE, Limit: 130}, Priority: rules.Low, OnDelay: 61 * s},
		{Name: "delayed", Cond: rules.Condition{Tag: 1, Op: rules.LE, Limit: 130}, Priority: rules.Low, OnDelay: 5 * s},
	}}
	o := Options{Seed: 1, Steps: 8_000, Tags: []ExploredTag{{}, {Kind: tag.Float64, Noise: 0.5}}}
	r := Explore(set, o)
	if got := found(r.Findings); got != "bare chatters declared, delayed chatters declared" {
		t.Errorf("found %s", got)
	}
	for _, f := range r.Findings {
		if one := Run(set, f.Story, nil); !one.OK() || len(f.Story.Steps) > 5 {
			t.Errorf("%s: %s", told(f.Story), one.text())
		}
		for _, st := range f.Story.Steps {
			for _, x := range st.Set {
				if v := x.Value.Float(); v < 129 || v > 131 {
					t.Errorf("%s moves further than its noise", told(f.Story))
				}
			}
		}
	}
	o.Tags[1].Noise = 0
	if r := Explore(set, o); len(r.Findings) != 0 || r.Trials != 0 {
		t.Errorf("without noise: %+v", r)
	}
}

// The same seed and budget find the same, whatever the machine; a stop ends it.
func TestExploreIsDeterministic(t *testing.T) {
	set := pair(func(l *rules.Interlock) { l.Bad, l.AllBadHolds = rules.LeftOut, true })
	o := Options{Seed: 7, Steps: 5_000}
	a, b := Explore(set, o), Explore(set, o)
	if !reflect.DeepEqual(a, b) {
		t.Error("two searches differ")
	}
	asked := 0
	o.Stop = func() bool { asked++; return asked > 3 }
	if r := Explore(set, o); r.Trials != 3 {
		t.Errorf("%d trials after the stop", r.Trials)
	}
	if r := Explore(rules.Set{}, Options{}); r.Trials != 0 || len(r.Findings) != 0 {
		t.Errorf("nothing to search: %+v", r)
	}
}

// The oracle agrees with the engine on the stories of the example: what it
// finds there is declared.
func TestOracleOnTheExample(t *testing.T) {
	hits := map[hit]time.Duration{}
	set := room()
	run(set, example(), word, maxSteps, newOracle(&set.Interlocks[0], noteIn(hits, "NH3-150")))
	all := sortedHits(hits)
	if !slices.Equal(all, []hit{{TripsWithout, "NH3-150", true}}) {
		t.Errorf("%v", all)
	}
}

// A computed tag that arms an interlock cannot be set by a search: it is left
// unknown, which arms when the start is over. Nothing is found that is not, and
// what is is found.
func TestExploreWhatAComputedTagArms(t *testing.T) {
	set := pair(func(l *rules.Interlock) {
		l.Bad = rules.LeftOut
		l.Arm = rules.Condition{Tag: 4, Op: rules.EQ, Limit: 1}
	})
	set.Tags = append(set.Tags, rules.Tag{Name: "armed"})
	p, problems := expr.Compile("c.temp > 10", &expr.Env{Tag: func(name string) (expr.Tag, bool) { return expr.Tag{ID: 3, Kind: expr.Number}, name == "c.temp" }})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	set.Computed = []rules.Computed{{Tag: 4, Program: p}}
	r := Explore(set, Options{Seed: 5, Steps: 6_000})
	if got := found(r.Findings); got != "GAS trips-without declared, GAS holds-back declared" {
		t.Errorf("found %s", got)
	}
	for _, f := range r.Findings {
		if one := Run(set, f.Story, nil); !one.OK() || slices.ContainsFunc(f.Story.Steps, func(st Step) bool { return slices.ContainsFunc(st.Set, func(x Set) bool { return x.Tag == 4 }) }) {
			t.Errorf("%s: %s", told(f.Story), one.text())
		}
	}
	// A story of the site that shows it sets what arms it, and need not wait for the start to be over.
	num := func(id tag.ID, f float64) Set {
		v, _ := tag.Float64Value(f)
		return Set{Tag: id, Value: v, Quality: tag.GoodQuality}
	}
	knows := Story{Steps: []Step{{Set: []Set{num(1, 140), num(2, 140), num(3, 20)}}, {At: s, Set: []Set{{Tag: 1, Quality: tag.BadNoComm}, {Tag: 2, Quality: tag.BadNoComm}}}, {At: 20 * s}}}
	if got := found(Explore(set, Options{Seed: 5, Steps: 6_000, Known: []Story{knows}}).Findings); got != "GAS holds-back declared" {
		t.Errorf("found %s", got)
	}
	// An engine that waits longer than is declared is found out.
	slow := set
	slow.Interlocks = slices.Clone(set.Interlocks)
	slow.Interlocks[0].OnDelay = 9 * s
	if got := found(exploreAgainst(slow, set, Options{Seed: 5, Steps: 6_000}).Findings); !strings.Contains(got, "GAS holds-back CONTRADICTS") {
		t.Errorf("found %s", got)
	}
}
