package rules

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"davy/drivers/tag"

	"pgregory.net/rapid"
)

const modelTags = 4

// drawSet makes a set of rules with short delays.
func drawSet(t *rapid.T) Set {
	delay := rapid.Custom(func(t *rapid.T) time.Duration { return s * time.Duration(rapid.IntRange(0, 4).Draw(t, "s")) })
	cond := func(id int) Condition {
		return Condition{tag.ID(id), Op(rapid.IntRange(0, 5).Draw(t, "op")), float64(rapid.IntRange(0, 4).Draw(t, "limit"))}
	}
	anyTag := func() int { return rapid.IntRange(1, modelTags).Draw(t, "tag") }
	set := Set{Tags: tagsOf("a", "b", "c", "d"), Settle: s * time.Duration(rapid.IntRange(1, 8).Draw(t, "settle"))}
	for i := range rapid.IntRange(0, 4).Draw(t, "alarms") {
		a := Alarm{
			Name: fmt.Sprintf("A%d", i), Cond: cond(anyTag()), Priority: Low, OnDelay: delay.Draw(t, "on"), OffDelay: delay.Draw(t, "off"),
			Latch: rapid.Bool().Draw(t, "latch"), NotWatched: rapid.IntRange(0, 3).Draw(t, "not watched") == 0,
		}
		if a.Cond.Op < EQ {
			a.Deadband = float64(rapid.IntRange(0, 2).Draw(t, "deadband"))
		}
		set.Alarms = append(set.Alarms, a)
	}
	set.Outputs = []Output{{Name: "o1", Proved: true, Proof: cond(anyTag()), Within: delay.Draw(t, "within")}, {Name: "o2"}}
	if rapid.Bool().Draw(t, "escalate") {
		set.Outputs[0].Escalate = []string{"o2"}
	}
	for i := range rapid.IntRange(0, 2).Draw(t, "interlocks") {
		n := rapid.IntRange(1, 3).Draw(t, "n")
		l := Interlock{
			Name: fmt.Sprintf("L%d", i), Priority: High, M: rapid.IntRange(1, n).Draw(t, "m"), OnDelay: delay.Draw(t, "delay"),
			Bad: BadPolicy(rapid.IntRange(0, 2).Draw(t, "bad")), BadAfter: delay.Draw(t, "after"), InTestCounts: rapid.Bool().Draw(t, "in test"),
			AllBadHolds: rapid.Bool().Draw(t, "holds"), DegradedPriority: Priority(rapid.IntRange(0, 1).Draw(t, "degraded")), DegradedAtMost: delay.Draw(t, "at most"),
			ManualReset: rapid.Bool().Draw(t, "manual"), ResetFor: delay.Draw(t, "reset for"),
		}
		for k := range n {
			l.Channels = append(l.Channels, Channel{Name: fmt.Sprintf("c%d", k), Cond: cond(anyTag())})
		}
		if rapid.Bool().Draw(t, "conds") {
			for k := range n {
				l.ResetConds = append(l.ResetConds, cond(int(l.Channels[k].Cond.Tag)))
			}
		}
		for o := range set.Outputs {
			if rapid.Bool().Draw(t, "demand") {
				l.Demands = append(l.Demands, Demand{Output: set.Outputs[o].Name, Delay: delay.Draw(t, "take")})
			}
		}
		drawLock(t, &l, cond, delay)
		set.Interlocks = append(set.Interlocks, l)
	}
	return set
}

func newModel(set Set) *model {
	m := &model{set: set, auto: map[string]*modelAlarm{}, outputs: make([]bool, len(set.Outputs)), proofs: make([]modelProof, len(set.Outputs))}
	auto := func(name string, on time.Duration) { m.auto[name] = &modelAlarm{Alarm: Alarm{Name: name, OnDelay: on}} }
	for _, a := range set.Alarms {
		m.alarms = append(m.alarms, modelAlarm{Alarm: a})
	}
	for _, l := range set.Interlocks {
		m.locks = append(m.locks, modelLock{Interlock: l, ch: make([]modelChannel, len(l.Channels)), seat: -1, demanded: make([]bool, len(l.Demands)), since: make([]int, len(l.Demands))})
		auto(l.Name+".tripped", 0)
		if l.ArmDue.Tag != 0 {
			auto(l.Name+".not-armed", l.ArmWithin)
		}
		if l.Discrepancy.Priority > 0 {
			auto(l.Name+".discrepancy", l.Discrepancy.After)
			m.auto[l.Name+".discrepancy"].OffDelay = l.Discrepancy.After
		}
		for _, p := range l.Permissives {
			auto(l.Name+"."+p.Name+".not-permitted", p.After)
		}
		if l.Bypass.AlarmOnly {
			auto(l.Name+".bypass-overdue", 0)
		}
		if l.DegradedPriority > 0 {
			auto(l.Name+".degraded", 0)
		}
		if l.DegradedAtMost > 0 {
			auto(l.Name+".degraded-overdue", l.DegradedAtMost)
		}
	}
	for _, o := range set.Outputs {
		if o.Proved {
			auto(o.Name+".proof", o.Within)
		}
	}
	return m
}

var modelQualities = []tag.Quality{
	tag.GoodQuality, tag.GoodQuality, tag.GoodQuality, tag.GoodQuality, tag.BadNoComm, tag.BadStale, tag.GoodQuality | tag.Test,
	tag.MakeQuality(tag.Bad, tag.FunctionCheck, 0), tag.MakeQuality(tag.Uncertain, tag.LastUsable, 0), tag.MakeQuality(tag.Uncertain, tag.NotAccurate, 0),
}

// TestAgainstModel plays random rules, readings and commands to the engine and
// to the model. A hand-over to a new engine in between must not be seen.
func TestAgainstModel(t *testing.T) {
	checks(t, 4000)
	rapid.Check(t, func(t *rapid.T) {
		set := drawSet(t)
		e, err := New(set)
		if err != nil {
			t.Fatal(err)
		}
		m := newModel(set)
		img := NewImage(set)
		m.image = img.Readings()
		var out Outcome
		now := 0
		compare := func() {
			t.Helper()
			got, sorted := engineEvents(out.Events)
			slices.Sort(m.events)
			if !slices.Equal(got, m.events) || !sorted {
				t.Fatalf("at %d\n got %q\nwant %q", now, got, m.events)
			}
			m.events = nil
			if got, want := engineStates(e, set, rigStamp(s*time.Duration(now))), m.states(); !slices.Equal(got, want) {
				t.Fatalf("at %d\n got %q\nwant %q", now, got, want)
			}
		}
		for step := range rapid.IntRange(1, 30).Draw(t, "steps") {
			last := now
			now += rapid.IntRange(0, 6).Draw(t, "dt")
			if step > 0 {
				m.image = slices.Clone(img.Readings())
				for at := last + 1; at <= now; at++ {
					m.instant(at)
				}
			}
			for id := tag.ID(1); id <= modelTags; id++ {
				if rapid.Bool().Draw(t, "put") {
					q := rapid.SampledFrom(modelQualities).Draw(t, "q")
					v := tag.IntValue(int64(rapid.IntRange(0, 5).Draw(t, "v")))
					img.Put(tag.Reading{Tag: id, Quality: q, Value: v})
				}
			}
			m.image = img.Readings()
			if step == 0 {
				m.start = now
			}
			m.instant(now)
			in := Input{Now: rigStamp(s * time.Duration(now)), Image: img.Readings(), Changed: img.TakeChanged()}
			e.Step(&in, &out)
			compare()
			in.Changed = nil

			if rapid.Bool().Draw(t, "command") {
				names := make([]string, 0, len(e.names))
				for _, f := range e.names {
					names = append(names, e.name(f))
				}
				c := Command{Verb: Ack + Verb(rapid.IntRange(0, 1).Draw(t, "verb")), Rule: rapid.SampledFrom(names).Draw(t, "rule")}
				if a, ok := e.Alarm(c.Rule); ok {
					c.Occurrence = a.Occurrence
				} else if l, ok := e.Interlock(c.Rule, in.Now); ok {
					c.Occurrence = l.Occurrence
				}
				if rapid.IntRange(0, 5).Draw(t, "wrong") == 0 {
					c.Occurrence++
				}
				if len(set.Interlocks) > 0 && rapid.Bool().Draw(t, "bypass") {
					c = drawBypass(t, &set)
					c.For = 5 * s * time.Duration(rapid.IntRange(1, 3).Draw(t, "for"))
					if c.Verb == Confirm {
						c.For = 0
					}
				}
				if c.Rule != Fault {
					code := ""
					var refused *RefusedError
					if err := e.Do(&in, c, &out); errors.As(err, &refused) {
						code = refused.Code
					}
					if want := m.do(c, now); code != want {
						t.Fatalf("at %d %v %s: refused %q, want %q", now, c.Verb, c.Rule, code, want)
					}
					compare()
				}
			}
			read := !slices.ContainsFunc(img.Readings()[1:], func(r tag.Reading) bool { return r.Quality == tag.BadNeverRead })
			if read && rapid.IntRange(0, 4).Draw(t, "hand-over") == 0 {
				b := e.Snapshot(nil, in.Now)
				if e, err = New(set); err != nil {
					t.Fatal(err)
				}
				if err = e.Restore(b, 0); err != nil {
					t.Fatal(err)
				}
				e.Step(&in, &out)
				compare()
			}
		}
	})
}

// checks sets how many random runs there are, scaled by DAVY_TEST_SCALE.
func checks(t *testing.T, n int) {
	t.Helper()
	scale := 1.0
	if v := os.Getenv("DAVY_TEST_SCALE"); v != "" {
		var err error
		if scale, err = strconv.ParseFloat(v, 64); err != nil {
			t.Fatal(err)
		}
	}
	for name, v := range map[string]string{"rapid.checks": strconv.Itoa(max(1, int(float64(n)*scale))), "rapid.nofailfile": "true"} {
		if err := flag.Set(name, v); err != nil {
			t.Fatal(err)
		}
	}
}
