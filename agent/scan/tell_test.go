package scan

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"davy/agent/config"
	"davy/drivers"
	"davy/drivers/tag"
)

func TestWhatADeviceTellsIsBoundedAndToldOnce(t *testing.T) {
	var now int64
	var told []drivers.Event
	w := &Worker{
		Link: &config.Link{Name: "dcs"}, Log: slog.New(slog.DiscardHandler), Now: func() tag.Stamp { return tag.Stamp{Mono: now + 1} },
		Tell: func(e drivers.Event) { told = append(told, e) },
	}
	w.announce(drivers.Event{ID: "a", Active: true, Refreshed: true}) // it stood before we watched
	w.announce(drivers.Event{ID: "a", Active: true, Refreshed: true, Time: 5})
	w.announce(drivers.Event{ID: "a", Active: false})
	w.announce(drivers.Event{ID: "a", Active: true})
	w.announce(drivers.Event{ID: "a", Active: true}) // said anew, not refreshed
	if len(told) != 4 {
		t.Errorf("%d told: %+v", len(told), told)
	}
	for n := range 1000 {
		w.announce(drivers.Event{ID: fmt.Sprint(n)})
	}
	if len(told) != tellBurst {
		t.Errorf("%d told of a flood", len(told))
	}
	now += int64(10 * tellEvery)
	for n := range 100 {
		w.announce(drivers.Event{ID: fmt.Sprint(n), Active: true})
	}
	if len(told) != tellBurst+10 {
		t.Errorf("%d told afterwards", len(told)-tellBurst)
	}
	now += int64(24 * time.Hour)
	for n := range 1000 {
		w.announce(drivers.Event{ID: fmt.Sprint("x", n)})
	}
	if n := len(told) - tellBurst - 10; n != tellBurst {
		t.Errorf("%d told after a day of rest", n)
	}
}
