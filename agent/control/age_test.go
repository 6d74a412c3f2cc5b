package control

import (
	"testing"
	"time"

	"davy/drivers/tag"
	"davy/rules"
)

// That a tag became stale is recorded once, at the instant at which it counts.
func TestWhatIsStaleIsRecorded(t *testing.T) {
	set := rules.Set{Tags: []rules.Tag{{}, {Name: "a", TTL: 3 * time.Second}, {Name: "b", TTL: 3 * time.Second}}}
	l := &Loop{image: rules.NewImage(set)}
	at := func(d time.Duration) tag.Stamp { return tag.Stamp{Wall: int64(d) + 1e18, Mono: int64(d) + 1e9} }
	l.image.Put(tag.Reading{Tag: 1, Quality: tag.GoodQuality, Value: tag.IntValue(7), Received: at(0)})
	l.image.Put(tag.Reading{Tag: 2, Quality: tag.BadNoComm, Received: at(0)}) // bad already, and says why
	for _, d := range []time.Duration{time.Second, 3*time.Second + 1, 4 * time.Second} {
		l.age(at(d))
	}
	want := tag.Reading{Tag: 1, Quality: tag.BadStale, Value: tag.IntValue(7), Received: at(3*time.Second + 1)}
	if len(l.turn.Readings) != 1 || l.turn.Readings[0] != want {
		t.Errorf("%+v, want %+v", l.turn.Readings, want)
	}
}
