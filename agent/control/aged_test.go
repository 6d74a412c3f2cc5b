package control

import (
	"context"
	"testing"
	"time"

	"davy/agent/config"
	"davy/drivers/tag"
	"davy/rules"
)

// A loop that stood still is asked before its next turn: what is too old by
// then is neither shown as good nor judged by a command.
func TestNothingOldIsGoodAfterALoopStoodStill(t *testing.T) {
	f := func(ask func(l *Loop)) {
		t.Helper()
		set := rules.Set{Tags: []rules.Tag{{}, {Name: "a", TTL: 3 * time.Second}}}
		e, err := rules.New(set)
		if err != nil {
			t.Fatal(err)
		}
		now := tag.Stamp{Wall: 1e18, Mono: 1e9}
		l := &Loop{
			o:     Options{Plan: &config.Plan{Rules: set}, Engine: e, Now: func() tag.Stamp { return now }},
			image: rules.NewImage(set), seen: make([]uint32, 2), calls: make(chan func(), 1), stopped: make(chan struct{}),
		}
		l.image.Put(tag.Reading{Tag: 1, Quality: tag.GoodQuality, Value: tag.IntValue(1), Received: now})
		now.Mono += int64(13 * time.Second)
		done := make(chan struct{})
		go func() { defer close(done); (<-l.calls)() }()
		ask(l)
		<-done
		if r := l.image.Readings()[1]; r.Quality != tag.BadStale {
			t.Errorf("a reading of 13 s ago is %v; its time to live is 3 s", r.Quality.Status())
		}
	}
	f(func(l *Loop) {
		v, err := l.View(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if q := v.Image[1].Quality; q != tag.BadStale {
			t.Errorf("a reading of 13 s ago is shown as %v", q.Status())
		}
	})
	f(func(l *Loop) {
		if err := l.Do(context.Background(), rules.Command{Verb: rules.Ack, Rule: "x"}); err == nil {
			t.Error("an alarm that is not there was acknowledged")
		}
	})
}
