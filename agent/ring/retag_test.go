package ring

import (
	"testing"

	"davy/drivers/tag"
	"davy/rules"
)

// What waits over a change of plan gets the tags of the new plan, and what has
// none there is given up and counted: never another tag's.
func TestRetagNeverGivesAReadingToAnotherTag(t *testing.T) {
	w := NewWriter(WriterOptions{MaxReadings: 4})
	turn := Turn{Events: []Event{{Serial: 1, Event: rules.Event{Rule: "a", Tag: 1}}, {Serial: 2, Event: rules.Event{Rule: "b", Tag: 2}}}}
	for i := range 6 { // two more than there is room: it has gone round
		turn.Readings = append(turn.Readings, tag.Reading{Tag: tag.ID(i%3 + 1), Received: tag.Stamp{Mono: int64(i)}})
	}
	w.Offer(&turn)
	w.Retag(func(id tag.ID) tag.ID { return map[tag.ID]tag.ID{1: 7, 3: 1}[id] }) // 2 is gone
	var got Turn
	w.b.permitted = 2
	w.b.fill(&got, w.statusAt)
	var tags []tag.ID
	for _, r := range got.Readings {
		tags = append(tags, r.Tag)
	}
	if len(tags) != 3 || tags[0] != 1 || tags[1] != 7 || tags[2] != 1 { // of 3, 1, 2, 3
		t.Errorf("tags of the readings: %v", tags)
	}
	if got.Lost.Readings != 3 {
		t.Errorf("%d readings counted as lost: two for lack of room and one whose tag is gone", got.Lost.Readings)
	}
	if len(got.Events) != 2 || got.Events[0].Tag != 7 || got.Events[1].Tag != 0 || got.Events[1].Rule != "b" {
		t.Errorf("events: %+v", got.Events)
	}
}
