package scan

import (
	"time"

	"davy/drivers"
	"davy/drivers/tag"
)

// How many events a device may tell: a server that tells more at once, or more
// in the long run, is cut short, and what was cut is said in the log. The tag
// of its conditions counts what stands all the same.
const (
	tellBurst = 200
	tellEvery = 500 * time.Millisecond
	tellKnown = 4096 // conditions whose last word is remembered; more: they are told again
)

// teller bounds what a link's devices tell.
type teller struct {
	left int
	at   int64 // Mono of the last refill
	cut  int
	said map[string]drivers.Event // the last word on a condition, without its times
}

// again reports whether a refresh says what was said already.
func (t *teller) again(e drivers.Event) bool {
	refreshed := e.Refreshed
	e.Received, e.Time, e.Refreshed = tag.Stamp{}, 0, false
	before, known := t.said[e.ID]
	if t.said == nil || len(t.said) >= tellKnown {
		t.said = map[string]drivers.Event{}
	}
	t.said[e.ID] = e
	return refreshed && known && before == e
}

func (w *Worker) announce(e drivers.Event) {
	t, now := &w.teller, w.Now().Mono
	if t.again(e) {
		return
	}
	if t.at == 0 {
		t.at, t.left = now, tellBurst
	}
	if more := (now - t.at) / int64(tellEvery); more > 0 {
		t.left = int(min(int64(t.left)+more, tellBurst))
		t.at += more * int64(tellEvery)
	}
	if t.left == 0 {
		if t.cut++; t.cut == 1 {
			w.Log.Warn("events of a device cut short", "link", w.Link.Name, "burst", tellBurst, "every_ms", tellEvery.Milliseconds())
		}
		return
	}
	if t.cut > 0 {
		w.Log.Info("events of a device come again", "link", w.Link.Name, "cut", t.cut)
		t.cut = 0
	}
	t.left--
	w.Tell(e)
}
