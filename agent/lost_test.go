package agent

import (
	"log/slog"
	"strings"
	"testing"

	"davy/agent/control"
	"davy/agent/ring"
	"davy/drivers/tag"
	"davy/rules"
)

// After an update the latch file may hold rules of a form that this version
// does not read. The interlocks start tripped, and the record says why, once.
func TestRulesNotUnderstood(t *testing.T) {
	set := rules.Set{
		Tags:       []rules.Tag{{}, {Name: "a.x"}},
		Outputs:    []rules.Output{{Name: "fan"}},
		Interlocks: []rules.Interlock{{Name: "L", Priority: rules.Critical, Channels: []rules.Channel{{Name: "a.x", Cond: rules.Condition{Tag: 1, Op: rules.GE, Limit: 5}}}, M: 1, Demands: []rules.Demand{{Output: "fan"}}, ManualReset: true}},
	}
	p := &process{o: Options{Log: slog.New(slog.DiscardHandler)}, memory: control.Memory{
		Saved: tag.Stamp{Wall: 1, Mono: 1}, Engine: []byte("DRS\x01\x00\x00\x00\x02\x00\x00"),
	}}
	e, err := p.engine(set, false)
	if err != nil {
		t.Fatal(err)
	}
	var out rules.Outcome
	rules.Step(e, rules.NewImage(set), tag.Stamp{Wall: 2, Mono: 2}, &out)
	if len(out.Events) == 0 || out.Events[0].Kind != rules.InterlockTrippedAtStart {
		t.Fatalf("not tripped at start: %+v", out.Events)
	}
	told := p.tellLost(tag.Stamp{Wall: 2, Mono: 2})
	if !p.lost || told == nil || told.Kind != ring.LatchLost || !strings.Contains(told.Note, "version") {
		t.Errorf("lost %v, told %+v", p.lost, told)
	}
	if told = p.tellLost(tag.Stamp{Wall: 3, Mono: 3}); told != nil {
		t.Errorf("told twice: %+v", told)
	}
}

// Of events that wait in the latch file while another plan becomes the accepted
// one nothing may be told by numbers of the old plan's tags.
func TestEventsOfAnotherPlan(t *testing.T) {
	events := []ring.Event{
		{Serial: 1, Event: rules.Event{Rule: "a", Tag: 3}},
		{Serial: 2, Event: rules.Event{Rule: "L", Tag: 1, Record: []rules.Sample{{Tag: 1}, {Tag: 2}}}, Samples: 9},
		{Serial: 3, Event: rules.Event{Rule: "M", Record: []rules.Sample{{Tag: 7}}}},
	}
	untag(events)
	for i, want := range []uint32{0, 9, 1} {
		if e := events[i]; e.Tag != 0 || len(e.Record) > 0 || e.Samples != want || e.Rule == "" {
			t.Errorf("event %d: tag %d, %d samples of %d, rule %q", e.Serial, e.Tag, len(e.Record), e.Samples, e.Rule)
		}
	}
}
