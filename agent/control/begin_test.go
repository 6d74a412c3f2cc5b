package control

import (
	"testing"
	"time"

	"davy/agent/config"
	"davy/drivers/tag"
	"davy/rules"
	"davy/rules/expr"
	"davy/rules/load"
)

// The first readings of a start may step the rules before the loop's first turn
// ends: what is computed knows by then that the clock is in doubt.
func TestTheFirstStepKnowsTheClock(t *testing.T) {
	p, problems := expr.Compile("clock", &expr.Env{Tag: func(string) (expr.Tag, bool) { return expr.Tag{ID: 2, Kind: expr.Bool}, true }})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	set := rules.Set{Tags: []rules.Tag{{}, {Name: "a"}, {Name: "clock.unsynchronised"}, {Name: "c"}}, Computed: []rules.Computed{{Tag: 3, Program: p}}}
	e, err := rules.New(set)
	if err != nil {
		t.Fatal(err)
	}
	now := tag.Stamp{Wall: 1e9, Mono: 1e9}
	l := New(Options{
		Plan: &config.Plan{Rules: set, Tags: make([]config.Tag, 4), Conditions: map[string]tag.ID{"clock.unsynchronised": 2}}, Engine: e,
		Now: func() tag.Stamp { return now }, Clock: func() (bool, time.Duration) { return false, 0 },
	})
	l.begin()
	for i := range 2 {
		now.Mono += int64(i)
		l.take(&tag.Reading{Tag: 1, Quality: tag.GoodQuality, Value: tag.IntValue(int64(i)), Received: now})
	}
	for _, r := range l.turn.Readings {
		if r.Tag == 3 {
			if !r.Quality.Good() || !r.Value.True() {
				t.Errorf("at the first step the clock is not in doubt: %+v", r)
			}
			return
		}
	}
	t.Error("there was no step")
}

// An alarm that acknowledges itself, and one that a new plan does not have, wait for nobody.
func TestLoadOfWhatNobodyAcknowledges(t *testing.T) {
	over := rules.Condition{Tag: 1, Op: rules.GE, Limit: 10}
	set := rules.Set{Tags: []rules.Tag{{}, {Name: "a"}}, Alarms: []rules.Alarm{
		{Name: "auto", Cond: over, Priority: rules.Low, AutoAck: true, ShelveAtMost: time.Hour}, {Name: "plain", Cond: over, Priority: rules.Low, ShelveAtMost: time.Hour},
	}}
	at := func(d time.Duration) tag.Stamp { return tag.Stamp{Wall: 1e18 + int64(d), Mono: 1e9 + int64(d)} }
	m := load.New()
	run := func(set rules.Set) (*Loop, func(d time.Duration, v int64)) {
		t.Helper()
		e, err := rules.New(set)
		if err != nil {
			t.Fatal(err)
		}
		l := New(Options{Plan: &config.Plan{Rules: set, Tags: make([]config.Tag, 2)}, Engine: e, Load: m})
		return l, func(d time.Duration, v int64) {
			l.image.Put(tag.Reading{Tag: 1, Quality: tag.GoodQuality, Value: tag.IntValue(v), Received: at(d)})
			l.stepOnce(at(d))
		}
	}
	ack := func(l *Loop, d time.Duration, rule string) {
		t.Helper()
		v, _ := l.o.Engine.Alarm(rule)
		if err := rules.Do(l.o.Engine, l.image, at(d), rules.Command{Verb: rules.Ack, Rule: rule, Occurrence: v.Occurrence, Who: "op"}, &l.out); err != nil {
			t.Fatal(err)
		}
		l.settle(at(d))
	}
	l, put := run(set)
	put(0, 0)
	put(time.Second, 20)
	put(2*time.Second, 0)
	put(time.Hour, 20)
	ack(l, time.Hour+time.Minute, "auto")
	if f := m.Figures(at(2*time.Hour), nil); f.Acks != 1 || f.LongestAck != time.Minute {
		t.Errorf("it acknowledged itself after a second, and was acknowledged a minute after its next raise: %d, %v", f.Acks, f.LongestAck)
	}
	run(rules.Set{Tags: set.Tags, Alarms: set.Alarms[:1]}) // applied: plain, unacknowledged since its first second, is no more
	l, put = run(set)
	put(3*time.Hour, 0)
	put(4*time.Hour, 20)
	ack(l, 4*time.Hour+2*time.Minute, "plain")
	if f := m.Figures(at(5*time.Hour), nil); f.Acks != 2 || f.LongestAck != 2*time.Minute {
		t.Errorf("longest %v of %d", f.LongestAck, f.Acks)
	}
}
