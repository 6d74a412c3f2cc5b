package config

import (
	"slices"
	"strings"
	"testing"
	"time"

	"davy/rules"
)

const agreeRules = `interlocks:
  L:
    text: {zh: 联锁, en: Interlock}
    trip_when: 1 of 2
    channels:
      - d.a >= 60 ppm
      - d.b >= 60 ppm
    permissives:
      - d.t >= 20 °C
      - {when: d.run = yes and d.mode = idle, raise_after: 10s, priority: high, text: {zh: 备妥, en: Ready}}
    discrepancy: 15 ppm for 60s, alarm low
    then: [demand: fan]
    reset: by operator
tests:
  - name: {zh: 甲, en: A}
    story:
      - at: 0s
        set: {d.a: 1 ppm, d.b: 20 ppm, d.t: 10 °C, d.run: off, d.mode: idle}
      - at: 20s
        expect: {L.d.t.not-permitted: unacked, L.permissive-2.not-permitted: unacked, L.discrepancy: normal, L: armed}
      - at: 61s
        expect: {L.discrepancy: unacked}
`

func compileAgree(text string) (*Plan, Problems) {
	return Compile(putProfiles(bundleOf(computedSite, text), gasFile), testSet())
}

func TestPermissivesAndDiscrepancy(t *testing.T) {
	plan, problems := compileAgree(agreeRules)
	if plan == nil {
		t.Fatal(codes(problems))
	}
	l := plan.Rules.Interlocks[0]
	if want := (rules.Discrepancy{Priority: rules.Low, Spread: 15, After: time.Minute}); l.Discrepancy != want {
		t.Errorf("%+v", l.Discrepancy)
	}
	p := l.Permissives
	if len(p) != 2 || p[0].Name != "d.t" || p[0].Cond.Limit != 20 || p[0].Cond.Op != rules.GE || p[0].Priority != rules.Medium || p[0].After != 0 {
		t.Fatalf("%+v", p)
	}
	if p[1].Name != "permissive-2" || p[1].Priority != rules.High || p[1].After != 10*time.Second || p[1].Text != (rules.Text{Zh: "备妥", En: "Ready"}) {
		t.Errorf("%+v", p[1])
	}
	if _, err := rules.New(plan.Rules); err != nil {
		t.Error(err)
	}
	// What a permissive looks at is watched.
	for _, name := range []string{"d.t.not-watched", "L.permissive-2.not-watched"} {
		if !slices.ContainsFunc(plan.Rules.Alarms, func(a rules.Alarm) bool { return a.Name == name }) {
			t.Errorf("%s is missing", name)
		}
	}
	for _, x := range []struct {
		text string
		want rules.Discrepancy
	}{
		{"votes differ for 5s, alarm high", rules.Discrepancy{Priority: rules.High, After: 5 * time.Second}},
		{"votes differ for 5s", rules.Discrepancy{Priority: rules.Medium, After: 5 * time.Second}},
		{"10.62 mg/m³ for 2min", rules.Discrepancy{Priority: rules.Medium, Spread: 15, After: 2 * time.Minute}},
	} {
		plan, problems := compileAgree(strings.Replace(strings.Split(agreeRules, "tests:")[0], "15 ppm for 60s, alarm low", x.text, 1))
		if plan == nil {
			t.Errorf("%s: %v", x.text, codes(problems))
			continue
		}
		got := plan.Rules.Interlocks[0].Discrepancy
		if got.Spread < x.want.Spread-0.1 || got.Spread > x.want.Spread+0.1 || got.After != x.want.After || got.Priority != x.want.Priority {
			t.Errorf("%s: %+v", x.text, got)
		}
	}
}

func TestAgreementProblems(t *testing.T) {
	for _, x := range []struct{ from, to, want string }{
		{"15 ppm for 60s, alarm low", "«15 ppm", "bad-form"},
		{"15 ppm for 60s, alarm low", "15 ppm «in 60s", "bad-form"},
		{"15 ppm for 60s, alarm low", "«0 ppm for 60s", "discrepancy-none"},
		{"15 ppm for 60s, alarm low", "«100 ppm for 60s", "discrepancy-too-big"},
		{"15 ppm for 60s, alarm low", "15 «kPa for 60s", "unit-differs"},
		{"15 ppm for 60s, alarm low", "«15 ppm for 100ms", "out-of-bounds"},
		{"15 ppm for 60s, alarm low", "15 ppm for 60s, alarm «loud", "bad-word"},
		{"15 ppm for 60s, alarm low", "«15 ppm for 60s, alarm", "bad-form"},
		{"15 ppm for 60s, alarm low", "«differ for 60s", "bad-number"},
		{"15 ppm for 60s, alarm low", "15 ppm for 60s, alarm low «too", "unexpected"},
		{"- d.b >= 60 ppm\n", "- d.run = no\n    priority: high\n", "discrepancy-of-states"},
		{"- d.b >= 60 ppm\n", "- d.t >= 60 °C\n    priority: high\n", "discrepancy-units"},
		{"- d.t >= 20 °C\n", "- d.t >= «20 ppm\n", "unit-differs"},
		{"- d.t >= 20 °C\n", "- d.t >= 20 °C\n      - «d.t <= 90 °C\n", "permissive-twice"},
		{"- d.t >= 20 °C\n", "- {«raise_after: 5s}\n", "missing-field"},
		{"priority: high, text", "priority: «loud, text", "bad-word"},
		{"raise_after: 10s", "raise_after: «10", "bad-duration"},
		{"{when: d.run = yes and d.mode = idle", "{when: «d.tt > 5 °C and d.mode = idle", "expr-unknown-tag"},
	} {
		text, at := edit(t, RulesFile, strings.Split(agreeRules, "tests:")[0], x.from, x.to)
		_, problems := compileAgree(text)
		problems = slices.DeleteFunc(problems, func(p Problem) bool { return p.Warn })
		if len(problems) != 1 || problems[0].Code != x.want || at.Line > 0 && problems[0].Place.Line != at.Line {
			t.Errorf("%s → %s: %v, want %s at %v", x.from, x.to, codes(problems), x.want, at)
		}
	}
	one := strings.NewReplacer("1 of 2", "1 of 1", "      - d.b >= 60 ppm\n", "", "reset: by", "channel_bad: left out\n    reset: by").Replace(strings.Split(agreeRules, "tests:")[0])
	if _, problems := compileAgree(one); !slices.Equal(codes(problems), []string{"discrepancy-one-channel rules.yaml:10:18"}) {
		t.Error(codes(problems))
	}
	hand := strings.Replace(strings.Split(agreeRules, "tests:")[0], "- d.b >= 60 ppm", "- {when: d.b >= 60 ppm, manual: yes}", 1)
	if _, problems := compileAgree(hand); !slices.Contains(codes(problems), "discrepancy-one-channel rules.yaml:11:18") {
		t.Error(codes(problems))
	}
}

// A word in a proof means what it means at the tag that is looked at, also
// where the output writes another number under the same word.
func TestProofMeansTheTag(t *testing.T) {
	for _, x := range []struct {
		states, proof string
		want          float64
		warns         bool
	}{
		{"{release: 0, stop: 1}", "d.run = stop", 0, true},
		{"{release: 0, stop: 1}", "d.run = run", 1, false},
		{"{release: 0, halt: 1}", "d.run = stop", 0, false},
		{"{stop: 0, run: 1}", "d.run = run", 1, false},
		{"{stop: 1, run: 0}", "d.run = run", 1, true},
		{"{open: 0, shut: 1}", "d.run = shut", 1, false},
		{"{casting: 0, idle: 1}", "d.mode = idle", 0, true},
	} {
		words := strings.NewReplacer("{", "", "}", "", ": 0", "", ": 1", "").Replace(x.states)
		idle, protective, _ := strings.Cut(words, ", ")
		site := strings.Replace(computedSite, "idle: stop, protective: run,", "states: "+x.states+", idle: "+idle+", protective: "+protective+", proof: "+x.proof+" within 5s,", 1)
		plan, problems := Compile(putProfiles(bundleOf(site, strings.Split(agreeRules, "tests:")[0]), gasFile), testSet())
		if plan == nil {
			t.Errorf("%s, %s: %v", x.states, x.proof, codes(problems))
			continue
		}
		warned := slices.ContainsFunc(problems, func(p Problem) bool { return p.Code == "proof-word" && p.Warn })
		if got := plan.Rules.Outputs[0].Proof.Limit; got != x.want || warned != x.warns {
			t.Errorf("%s, %s: %v, warned %v", x.states, x.proof, got, warned)
		}
	}
}
