package config

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"davy/drivers/tag"
	"davy/rules"
	"davy/rules/ruletest"
)

const storySite = smallSite + `links: {plc: {modbus-tcp: 10.0.0.1}}
devices:
  a: {link: plc, station: 1, tags: {gas: {at: holding 0, type: float32 ABCD, range: 0 to 1000 ppm}, run: {at: coil 0, type: bool}}}
  b: {link: plc, station: 2, tags: {gas: {at: holding 0, type: float32 ABCD, range: 0 to 1000 ppm}}}
  io: {link: plc, station: 3, may_write: [coil 0], tags: {on: {at: discrete 0, type: bool}}}
outputs:
  fan1: {text: Fan, drives: io coil 0, idle: stop, protective: run, davy_dead: stays, link_lost: stays}
`

const storyRules = `alarms:
  a: {watch: a.gas, high: {at: 28 ppm, priority: medium, text: x}, deadband: 2 ppm}
interlocks:
  GAS:
    text: x
    trip_when: 1 of 2
    channels: [a.gas >= 150 ppm, b.gas >= 150 ppm]
    channel_bad: counts as trip after 10s
    degraded: alarm medium
    then: [demand: fan1]
    reset: by operator
tests:
  - name: x
    story:
`

// steps compiles a story and leaves out what is known of the vote.
func steps(t *testing.T, text string) (*Plan, Problems) {
	t.Helper()
	p, problems := Compile(bundleOf(storySite, storyRules+text), testSet())
	return p, slices.DeleteFunc(problems, func(x Problem) bool { return x.Code == "vote-one-link" })
}

// Every act that a person has, as a line and with all that can be said.
func TestActs(t *testing.T) {
	p, problems := steps(t, `      - at: 0s
        do:
          - ack a.high
          - reset GAS refused
          - reset GAS by shift-leader refused not-tripped
          - shelve a.high for 1h by operator
          - unshelve a.high
          - silence
          - remove a
          - restore a
          - end-bypass GAS
          - end-force a.gas
          - begin-test a for 10min
          - {bypass: GAS, channel: a.gas, by: engineer, second: shift-leader, for: 2h, because: the detector is changed}
          - {confirm: GAS, by: anna, roles: [engineer, shift-leader], refused: yes}
          - {force: a.gas, to: 5 ppm, for: 10min, by: engineer}
          - {force: a.run, to: on, for: 10min, refused: unknown-rule}
          - {end-test: a, result: passed}
          - {silence: all}
`)
	if len(problems) != 0 {
		t.Fatalf("%v", codes(problems))
	}
	f32, _ := tag.Float32Value(5)
	want := []ruletest.Do{
		{Verb: rules.Ack, Rule: "a.high"},
		{Verb: rules.Reset, Rule: "GAS", Refuse: true},
		{Verb: rules.Reset, Rule: "GAS", By: "shift-leader", Roles: []string{"shift-leader"}, Refuse: true, Code: "not-tripped"},
		{Verb: rules.Shelve, Rule: "a.high", For: time.Hour, By: "operator", Roles: []string{"operator"}},
		{Verb: rules.Unshelve, Rule: "a.high"},
		{Verb: rules.Silence},
		{Verb: rules.Remove, Rule: "a"},
		{Verb: rules.Restore, Rule: "a"},
		{Verb: rules.EndBypass, Rule: "GAS"},
		{Verb: rules.EndForce, Rule: "a.gas"},
		{Verb: rules.BeginTest, Rule: "a", For: 10 * time.Minute},
		{Verb: rules.Bypass, Rule: "GAS", Channel: "a.gas", By: "engineer", Roles: []string{"engineer"}, For: 2 * time.Hour, Note: "the detector is changed"},
		{Verb: rules.Confirm, Rule: "GAS", By: "shift-leader", Roles: []string{"shift-leader"}},
		{Verb: rules.Confirm, Rule: "GAS", By: "anna", Roles: []string{"engineer", "shift-leader"}, Refuse: true},
		{Verb: rules.Force, Rule: "a.gas", Value: f32, For: 10 * time.Minute, By: "engineer", Roles: []string{"engineer"}},
		{Verb: rules.Force, Rule: "a.run", Value: tag.BoolValue(true), For: 10 * time.Minute, Refuse: true, Code: "unknown-rule"},
		{Verb: rules.EndTest, Rule: "a", Result: rules.Passed},
		{Verb: rules.Silence},
	}
	got := p.Stories[0].Steps[0].Do
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) {
			t.Fatalf("%d acts, want %d", len(got), len(want))
		}
		if got[i].Where = ""; !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("%+v\nwant %+v", got[i], want[i])
		}
	}
}

// What is wrong with an act or an expectation, at its place.
func TestStoryProblems(t *testing.T) {
	f := func(line, code string) {
		t.Helper()
		text, at := edit(t, RulesFile, storyRules+"      - at: 0s\n        set: {a.gas: 5 ppm}\n        X\n", "X", line)
		_, problems := Compile(bundleOf(storySite, text), testSet())
		problems = slices.DeleteFunc(problems, func(x Problem) bool { return x.Code == "vote-one-link" })
		if len(problems) != 1 || problems[0].Code != code || problems[0].Place != at {
			t.Errorf("%s: %v, want %s %s", line, codes(problems), code, at)
		}
	}
	f("do: «bypass GAS", "bad-form")
	f("do: «{by: engineer}", "act-no-verb")
	f("do: {ack: a.high, «reset: GAS}", "act-verbs")
	f("do: «{bypass: GAS, for: 1h}", "act-needs")
	f("do: «{shelve: a.high}", "act-needs")
	f("do: «{ack: a.high, for: 1h}", "act-field")
	f("do: {bypass: GAS, channel: «c.gas, for: 1h}", "bad-word")
	f("do: {bypass: GAS, channel: a.gas, for: 1h, «secnd: engineer}", "unknown-field")
	f("do: {bypass: GAS, channel: a.gas, for: 1h, by: engineer, second: «engineer, refused: yes}", "act-second")
	f("do: {ack: a.high, second: «engineer}", "act-second")
	f("do: {ack: a.high, refused: «maybe}", "bad-form")
	f("do: {ack: «b.high}", "unknown-rule")
	f("do: unshelve «GAS", "unknown-rule")
	f("do: {force: a.gas, to: 5 «bar, for: 1h}", "unit-differs")
	f("do: {force: «a.gaz, to: 5 ppm, for: 1h}", "unknown-tag")
	f("do: {end-test: a, result: «good}", "bad-word")
	f("do: {silence: «GAS}", "bad-word")
	f("do: ack a.high refused «maybe", "unexpected")
	f("expect: {a.high: «shelf}", "bad-word")
	f("expect: {a.high: «unacked loud}", "bad-word")
	f("expect: {GAS: «armed armed}", "bad-word")
	f("expect: {«a.gas: }", "yaml-no-value")
	f("expect: {a.gas: 5 «bar}", "unit-differs")
	f("expect: {a.gas: «6 to 5 ppm}", "bad-form")
	f("expect: {a.gas: 5 ppm «fine}", "unexpected")
	f("expect: {a.high.raised: «x}", "bad-integer")
	f("expect: {«a.high.votes: x}", "unknown-expectation")
}

// What a tag should read.
func TestExpectationsOfTags(t *testing.T) {
	p, problems := steps(t, `      - at: 0s
        set: {a.gas: 5 ppm bad}
        expect: {a.gas: 5 ppm, b.gas: 4.5 to 5 ppm uncertain, a.run: on, GAS: armed bypassed overdue, GAS.votes: a.gas bad + b.gas, a.high.raised: 0}
      - at: 1s
        expect: {a.gas: stale, io.on: 'off'}
`)
	if len(problems) != 0 {
		t.Fatalf("%v", codes(problems))
	}
	first, second := p.Stories[0].Steps[0], p.Stories[0].Steps[1]
	if q := first.Set[0]; q.Quality != tag.BadNoComm || q.Value.Float() != 5 {
		t.Errorf("%+v", q)
	}
	want := []ruletest.TagWant{
		{Tag: p.tagID(t, "a.gas"), Valued: true, Low: 5 - 5e-6, High: 5 + 5e-6},
		{Tag: p.tagID(t, "b.gas"), Valued: true, Low: 4.5, High: 5 + 5e-6, Quality: "uncertain"},
		{Tag: p.tagID(t, "a.run"), Valued: true, Low: 1, High: 1},
		{},
		{},
		{},
	}
	for i, x := range first.Expect {
		if x.Tag != want[i] {
			t.Errorf("%s: %+v, want %+v", x.Key, x.Tag, want[i])
		}
	}
	if x := second.Expect[0].Tag; x.Valued || x.Quality != "stale" {
		t.Errorf("%+v", x)
	}
	if x := second.Expect[1].Tag; !x.Valued || x.Low != 0 || x.High != 0 {
		t.Errorf("%+v", x)
	}
}

func (p *Plan) tagID(t *testing.T, name string) tag.ID {
	t.Helper()
	for i := range p.Tags {
		if string(p.Tags[i].Name) == name {
			return p.Tags[i].ID
		}
	}
	t.Fatalf("no tag %s", name)
	return 0
}

// A story that can never fail is refused, and only such a one.
func TestStoriesThatNeverFail(t *testing.T) {
	const never = "story-never-fails"
	for _, c := range []struct{ text, want string }{
		{"      - at: 0s\n        set: {a.gas: 500 ppm}\n", "story-without-expect"},
		{"      - at: 0s\n", "story-without-expect"},
		{"      - {at: 0s, expect: {a.high: normal, GAS: starting, fan1: stop, first_out: none, GAS.votes: none, a.high.raised: 0}}\n      - {at: 1s, set: {a.gas: 500 ppm}}\n", never},
		// What it sets is not what the rule looks at.
		{"      - {at: 0s, set: {b.gas: 500 ppm}, expect: {a.high: normal}}\n", never},
		{"      - {at: 0s, set: {a.gas: 500 ppm}, expect: {GAS: starting, fan1: stop}}\n", never},
		{"      - {at: 29s, set: {io.on: on}, expect: {GAS: starting, GAS.degraded: normal}}\n", never},
		{"      - {at: 10s, expect: {a.gas.not-watched: normal}}\n", never},
		// It says what else may come of it.
		{"      - {at: 0s, set: {a.gas: 5 ppm}, expect: {a.high: normal}}\n", ""},
		{"      - {at: 0s, set: {a.gas: 5 ppm, b.gas: 5 ppm}, expect: {fan1: stop}}\n", ""},
		{"      - {at: 30s, expect: {GAS: starting}}\n", ""}, // the start is over
		{"      - {at: 30s, expect: {a.gas.not-watched: normal}}\n", ""},
		{"      - {at: 0s, expect: {a.high: unacked}}\n", ""}, // it fails, and the runner says so
		{"      - {at: 0s, expect: {a.gas: bad}}\n", ""},
		{"      - {at: 0s, do: reset GAS refused}\n", ""}, // an act is refused or not
	} {
		_, problems := steps(t, c.text)
		got := strings.Join(codes(problems), " ")
		want := c.want
		if want != "" {
			want += " rules.yaml:13:11"
		}
		if got != want {
			t.Errorf("%s: %q, want %q", c.text, got, want)
		}
	}
}

// What a search writes is read back as the same story.
func TestStoryText(t *testing.T) {
	p, problems := steps(t, `      - at: 0s
        set: {a.gas: 27.93 ppm, b.gas: 5 ppm bad, a.run: on, io.on: 'off'}
      - at: 1500ms
        set: {a.gas: 0.1 ppm sensor, b.gas: test, a.run: off forced}
      - at: 10min
        set: {b.gas: -2 ppm uncertain, a.gas: bad}
        expect: {GAS: armed degraded, GAS.votes: a.gas bad + b.gas, a.high.raised: 2}
`)
	if len(problems) != 0 {
		t.Fatalf("%v", codes(problems))
	}
	was := p.Stories[0]
	was.Name = rules.Text{Zh: "氨: 'x' {y}", En: "it's: #1"}
	text := p.StoryText(&was)
	again, problems := Compile(bundleOf(storySite, storyRules[:strings.Index(storyRules, "  - name: x")]+text), testSet())
	if again == nil {
		t.Fatalf("%v\n%s", codes(problems), text)
	}
	got := again.Stories[0]
	strip := func(s *ruletest.Story) {
		s.Where = ""
		for i := range s.Steps {
			s.Steps[i].Where = ""
			for k := range s.Steps[i].Set {
				s.Steps[i].Set[k].Where = ""
			}
			for k := range s.Steps[i].Expect {
				s.Steps[i].Expect[k].Where = ""
			}
		}
	}
	strip(&was)
	strip(&got)
	if !reflect.DeepEqual(was, got) {
		t.Errorf("%+v\nwant %+v\n%s", got, was, text)
	}
}
