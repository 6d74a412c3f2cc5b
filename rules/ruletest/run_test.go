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
)

const s = time.Second

// room is the machine room of the example site: three detectors, two of which
// trip at 150 ppm; a discharge temperature with a latched alarm; a fan.
func room() rules.Set {
	set := rules.Set{
		Tags: []rules.Tag{{}, {Name: "nh3-1.gas", TTL: 3 * s}, {Name: "nh3-2.gas", TTL: 3 * s}, {Name: "nh3-3.gas", TTL: 3 * s}, {Name: "comp1.discharge-temp"}, {Name: "comp1.fan-run"}, {Name: "record.stopped"}},
		Alarms: []rules.Alarm{
			{Name: "comp1-discharge.high", Cond: rules.Condition{Tag: 4, Op: rules.GE, Limit: 130}, Priority: rules.Medium, Deadband: 2, OnDelay: 5 * s, Latch: true},
			{Name: "comp1-discharge.high-high", Cond: rules.Condition{Tag: 4, Op: rules.GE, Limit: 145}, Priority: rules.High},
			{Name: "nh3-3.not-watched", Cond: rules.Condition{Tag: 3}, NotWatched: true, Priority: rules.High, OnDelay: 10 * s},
			{Name: "record.stopped", Cond: rules.Condition{Tag: 6, Op: rules.EQ, Limit: 1}, Priority: rules.High, Agent: true},
		},
		Outputs: []rules.Output{{Name: "fan1", Proved: true, Proof: rules.Condition{Tag: 5, Op: rules.EQ, Limit: 1}, Within: 10 * s}},
	}
	l := rules.Interlock{
		Name: "NH3-150", Priority: rules.Critical, M: 2, BadAfter: 10 * s, DegradedPriority: rules.Medium, DegradedAtMost: 72 * time.Hour,
		Demands: []rules.Demand{{Output: "fan1"}}, ManualReset: true, ResetFor: 10 * time.Minute,
	}
	for id := tag.ID(1); id <= 3; id++ {
		l.Channels = append(l.Channels, rules.Channel{Name: string(set.Tags[id].Name), Cond: rules.Condition{Tag: id, Op: rules.GE, Limit: 150}})
		l.ResetConds = append(l.ResetConds, rules.Condition{Tag: id, Op: rules.LT, Limit: 25})
	}
	set.Interlocks = []rules.Interlock{l}
	return set
}

func word(_ int, protective bool) string {
	if protective {
		return "run"
	}
	return "stop"
}

func set(id tag.ID, f float64) Set {
	v, _ := tag.Float64Value(f)
	return Set{Tag: id, Value: v, Quality: tag.GoodQuality}
}

func quality(id tag.ID, q tag.Quality) Set { return Set{Tag: id, Quality: q} }

func slope(id tag.ID, f float64, by time.Duration) Set {
	x := set(id, f)
	x.By = by
	return x
}

// expects turns "NH3-150: armed, fan1: stop" into expectations.
func expects(list string) (all []Expect) {
	for one := range strings.SplitSeq(list, ", ") {
		key, want, _ := strings.Cut(one, ": ")
		all = append(all, Expect{Key: key, Want: want, Where: "x"})
	}
	return all
}

func (r *Result) text() string {
	var all []string
	for _, f := range r.Failures {
		keys := make([]string, 0, len(f.Args))
		for k, v := range f.Args {
			keys = append(keys, fmt.Sprintf("%s=%v", k, v))
		}
		slices.Sort(keys)
		all = append(all, fmt.Sprintf("%s %s %s", f.Where, strings.TrimPrefix(f.Code, "ruletest."), strings.Join(keys, " ")))
	}
	return strings.Join(all, "\n")
}

var still = []Set{set(1, 5), set(2, 5), set(3, 5)}

// The story of the example site, to the second.
func example() Story {
	return Story{Name: rules.Text{Zh: "一台变送器失效后仍能联锁", En: "trips with one detector dead"}, Where: "rules.yaml:30:5", Steps: []Step{
		{At: 0, Set: still},
		{At: 20 * s, Set: []Set{quality(3, tag.BadNoComm)}},
		{At: 29 * s, Expect: expects("NH3-150: armed, fan1: stop, first_out: none, votes: none, nh3-3.not-watched: normal")},
		{At: 31 * s, Expect: expects("NH3-150: armed degraded, NH3-150.degraded: unacked, nh3-3.not-watched: unacked")},
		{
			At: 40 * s, Set: []Set{set(1, 160)},
			Expect: expects("NH3-150: tripped degraded, first_out: nh3-1.gas, votes: nh3-3.gas bad + nh3-1.gas, votes: nh3-1.gas + nh3-3.gas bad, fan1: run"),
		},
	}}
}

func TestStories(t *testing.T) {
	for name, c := range map[string]struct {
		steps []Step
		want  string
	}{
		"the example": {example().Steps, ""},
		"at the very second the delay has ended": {[]Step{
			{Set: still},
			{At: 20 * s, Set: []Set{quality(3, tag.BadNoComm)}},
			{At: 30*s - 1, Expect: expects("NH3-150: armed")},
			{At: 30 * s, Expect: expects("NH3-150: armed degraded")},
		}, ""},
		"expected and got": {[]Step{
			{Set: still, Expect: expects("NH3-150: tripped, fan1: run, first_out: nh3-2.gas, votes: nh3-2.gas, comp1-discharge.high: acked")},
		}, `x expected at=0s got=armed key=NH3-150 want=tripped
x expected at=0s got=stop key=fan1 want=run
x expected at=0s got=none key=first_out want=nh3-2.gas
x expected at=0s got=none key=votes want=nh3-2.gas
x expected at=0s got=normal key=comp1-discharge.high want=acked`},
		"starting until everything is set, at most Settle": {[]Step{
			{Set: still[:2], Expect: expects("NH3-150: starting")},
			{At: 29 * s, Expect: expects("NH3-150: starting, fan1: stop")},
			{At: 30 * s, Expect: expects("NH3-150: armed degraded")},
		}, ""},
		"acts, as the person sees it": {[]Step{
			{Set: append([]Set{set(4, 140)}, still...), Expect: expects("comp1-discharge.high: normal")},
			{At: 6 * s, Do: []Do{{Verb: rules.Ack, Rule: "comp1-discharge.high"}, {Verb: rules.Reset, Rule: "comp1-discharge.high", Refuse: true}}, Expect: expects("comp1-discharge.high: acked")},
			{At: 7 * s, Set: []Set{set(4, 128)}, Expect: expects("comp1-discharge.high: acked")},
			{At: 8 * s, Set: []Set{set(4, 127)}, Expect: expects("comp1-discharge.high: latched")},
			{At: 9 * s, Do: []Do{{Verb: rules.Reset, Rule: "comp1-discharge.high"}}, Expect: expects("comp1-discharge.high: normal")},
			{At: 10 * s, Do: []Do{{Verb: rules.Reset, Rule: "NH3-150", Where: "y"}, {Verb: rules.Ack, Rule: "comp1-discharge.high", Where: "z"}, {Verb: rules.Ack, Rule: "no", Where: "w"}}},
			{At: 11 * s, Set: []Set{set(4, 150)}},
			{At: 17 * s, Do: []Do{{Verb: rules.Ack, Rule: "comp1-discharge.high", Refuse: true, Where: "v"}}},
		}, `y refused reason=refused.wrong-occurrence rule=NH3-150
z refused reason=refused.already-acked rule=comp1-discharge.high
w unknown-act rule=no
v not-refused rule=comp1-discharge.high`},
		"a value holds, and a quality keeps it": {[]Step{
			{Set: append([]Set{set(5, 0)}, still...)},
			{At: time.Hour, Set: []Set{set(1, 200), quality(2, tag.GoodQuality|tag.Test)}, Expect: expects("NH3-150: armed degraded")},
			{At: 2 * time.Hour, Set: []Set{set(3, 200)}, Expect: expects("NH3-150: tripped degraded")},
			{At: 2*time.Hour + 9*s, Expect: expects("fan1.proof: normal")},
			{At: 2*time.Hour + 10*s, Expect: expects("fan1.proof: unacked")},
			{At: 3 * time.Hour, Set: []Set{set(1, 20), set(3, 20), quality(2, tag.GoodQuality), set(5, 1)}, Expect: expects("fan1.proof: returned, NH3-150: tripped")},
			{At: 3*time.Hour + 599*s, Do: []Do{{Verb: rules.Reset, Rule: "NH3-150", Refuse: true}}},
			{At: 3*time.Hour + 600*s, Do: []Do{{Verb: rules.Reset, Rule: "NH3-150"}}, Expect: expects("NH3-150: armed, fan1: stop, first_out: nh3-1.gas")},
		}, ""},
		// 5 to 155 in 15 s: 1 ppm each 100 ms, 150 at 14.5 s; the temperature passes 145 between two points.
		"ramps": {[]Step{
			{Set: append([]Set{set(4, 100)}, still...)},
			{At: 0, Set: []Set{slope(1, 155, 15*s), slope(2, 155, 15*s), slope(4, 200, 250*time.Millisecond)}},
			{At: 200 * time.Millisecond, Expect: expects("comp1-discharge.high-high: unacked, comp1-discharge.high: normal")},
			{At: 5099 * time.Millisecond, Expect: expects("comp1-discharge.high: normal")},
			{At: 5100 * time.Millisecond, Expect: expects("comp1-discharge.high: unacked")},
			{At: 14499 * time.Millisecond, Expect: expects("NH3-150: armed")},
			{At: 14500 * time.Millisecond, Expect: expects("NH3-150: tripped, votes: nh3-1.gas + nh3-2.gas")},
		}, ""},
		"a value ends a ramp": {[]Step{
			{Set: append([]Set{set(4, 100)}, still...)},
			{At: s, Set: []Set{slope(4, 150, 11*s)}},
			{At: 2 * s, Set: []Set{set(4, 100)}},
			{At: 20 * s, Expect: expects("comp1-discharge.high-high: normal, comp1-discharge.high: normal")},
		}, ""},
		"ramps that are none": {[]Step{
			{At: s, Set: []Set{slope(4, 5, 5*s), slope(1, 5, s), {Tag: 5, By: 9 * s, Value: tag.BoolValue(true), Quality: tag.GoodQuality}, set(99, 1)}},
		}, ` ramp by=5s
 ramp by=1s
 ramp by=9s
 unknown-tag tag=99`},
		"words and keys that are none": {[]Step{
			{Set: still, Expect: expects("NH3-150: trip, fan1: on, comp1-discharge.high: alarm, fan2: run")},
		}, `x unknown-word key=NH3-150 want=trip words=starting, armed, tripped, unarmed [degraded, bypassed, asked, overdue, test]
x unknown-word key=fan1 want=on words=stop, run
x unknown-word key=comp1-discharge.high want=alarm words=normal, unacked, acked, returned, latched, latched-acked, shelved, suppressed, out-of-service [sounds, silent, standing, first, test]
x unknown-key key=fan2`},
		"backwards": {[]Step{{At: 2 * s}, {At: s, Where: "w", Expect: expects("fan2: run")}}, `w order at=1s`},
		"too far":   {[]Step{{At: maxAt + s, Where: "w"}}, `w order at=31622401s`},
		"too long": {[]Step{
			{Set: []Set{set(4, 1)}},
			{At: s, Set: []Set{slope(4, 2, 300*24*time.Hour)}},
			{At: 299 * 24 * time.Hour, Where: "w"},
		}, `w too-long limit=20000`},
	} {
		t.Run(name, func(t *testing.T) {
			r := run(room(), Story{Steps: c.steps}, word, 20_000, nil)
			if got := r.text(); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
			if r.OK() != (c.want == "") {
				t.Error("OK says otherwise")
			}
		})
	}
}

func TestDefaultWordsAndBrokenSet(t *testing.T) {
	r := Run(room(), Story{Steps: []Step{{Expect: expects("fan1: idle")}, {At: s, Set: []Set{set(1, 200), set(2, 200), set(3, 1)}, Expect: expects("fan1: protective")}}}, nil)
	if !r.OK() {
		t.Error(r.text())
	}
	bad := room()
	bad.Interlocks[0].M = 9
	r = Run(bad, example(), word)
	if len(r.Failures) != 1 || r.Failures[0].Code != "ruletest.rules" || r.Failures[0].Where != "rules.yaml:30:5" || !strings.Contains(fmt.Sprint(r.Failures[0].Args["error"]), "9 of 3") {
		t.Errorf("%+v", r.Failures)
	}
}

func TestReport(t *testing.T) {
	names := func(all []Rule) (s []string) {
		for _, r := range all {
			s = append(s, r.Name)
		}
		return s
	}
	quiet := Story{Steps: []Step{{Set: still}}}
	hot := Story{Steps: []Step{{Set: []Set{set(4, 150)}, Expect: expects("comp1-discharge.high-high: acked")}}}
	for _, c := range []struct {
		stories           []Story
		tripped, notQuiet []string
		failed            int
	}{
		{nil, []string{"comp1-discharge.high", "comp1-discharge.high-high", "nh3-3.not-watched", "NH3-150"}, []string{"comp1-discharge.high", "comp1-discharge.high-high", "nh3-3.not-watched", "NH3-150"}, 0},
		{[]Story{example()}, []string{"comp1-discharge.high", "comp1-discharge.high-high"}, []string{"comp1-discharge.high", "comp1-discharge.high-high", "nh3-3.not-watched", "NH3-150"}, 0},
		// The high alarm's delay had not ended: it was judged and stayed normal.
		{[]Story{example(), quiet, hot}, []string{"comp1-discharge.high"}, []string{"comp1-discharge.high-high"}, 1},
	} {
		r := RunAll(room(), c.stories, word)
		if !slices.Equal(names(r.NeverTripped), c.tripped) || !slices.Equal(names(r.NeverQuiet), c.notQuiet) || r.Failed() != c.failed || r.OK() != (c.failed == 0) || len(r.Results) != len(c.stories) {
			t.Errorf("%d stories: never tripped %v, never quiet %v, failed %d", len(c.stories), names(r.NeverTripped), names(r.NeverQuiet), r.Failed())
		}
	}
	r := RunAll(room(), nil, word)
	if !r.NeverTripped[2].NotWatched || !r.NeverTripped[3].Interlock || r.NeverTripped[0].NotWatched || r.NeverTripped[0].Interlock {
		t.Errorf("%+v", r.NeverTripped)
	}
}

// A story comes out the same every time, and does not change the set.
func TestAlwaysTheSame(t *testing.T) {
	a, before := room(), room()
	first := RunAll(a, []Story{example()}, word)
	for range 5 {
		if again := RunAll(a, []Story{example()}, word); !reflect.DeepEqual(first, again) {
			t.Fatal("two runs differ")
		}
	}
	if !reflect.DeepEqual(a, before) {
		t.Error("the set was changed")
	}
}
