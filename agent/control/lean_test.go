package control

import (
	"testing"

	"davy/agent/latch"
	"davy/agent/ring"
	"davy/rules"
)

// Of many long records the outbox keeps the newest, no more than its bound, and
// every event.
func TestOutboxKeepsFewSamples(t *testing.T) {
	var events []ring.Event
	for i := range uint64(20) {
		events = append(events, ring.Event{Serial: i + 1, Event: rules.Event{Kind: rules.InterlockRecorded, Record: make([]rules.Sample, 700)}})
	}
	events = lean(events, OutboxSamples)
	for i := range events {
		want := 0
		if i >= 18 { // the third would be 2,100
			want = 700
		}
		if n := len(events[i].Record); n != want || n == 0 && events[i].Samples != 700 {
			t.Errorf("event %d: %d samples of %d, want %d", i+1, n, events[i].Samples, want)
		}
	}
	events[19].Record = make([]rules.Sample, ring.MaxSamples*3) // as the ring would thin it
	if lean(events, OutboxSamples); len(events[19].Record) == 0 {
		t.Error("a record that is thinned to its bound was left out")
	}
	m := Memory{Outbox: events}
	if n := len(m.Append(nil)); n > latch.MaxPayload {
		t.Errorf("%d bytes, a slot holds %d", n, latch.MaxPayload)
	}
	if lean(events, 0); len(events[19].Record) != 0 || len(events) != 20 {
		t.Error("samples are left where none may be")
	}
}

// While the outputs are disarmed every event of the plant is one of a test.
func TestEventsOfThePlant(t *testing.T) {
	for k := rules.Kind(1); k < 255; k++ {
		want := k <= rules.TestEnded || k == ring.OutputWritten || k == ring.OutputFailed || k == ring.OutputUnknown || k == ring.DeviceEvent
		if k > rules.TestEnded && k < ring.AgentStarted {
			want = true // not given yet: of the rules
		}
		if ofPlant(k) != want {
			t.Errorf("kind %d: %v", k, !want)
		}
	}
}
