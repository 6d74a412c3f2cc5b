package scan

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"davy/agent/config"
	"davy/agent/output"
	"davy/drivers"
	"davy/drivers/tag"
)

// A person who reads a dead station again and again does not blind the others.
func TestReadingADeadStationCostsItsNeighboursLittle(t *testing.T) {
	l := &line{wire: 20 * time.Millisecond, limit: time.Second, dead: map[int]bool{8: true}}
	run(t, 8, 1, 200*time.Millisecond, l, func(w *world) {
		l.pass(30 * time.Second)
		before, busy := l.asked[1], l.busy
		ctx, cancel := context.WithCancel(context.Background())
		var persons sync.WaitGroup
		for range 4 {
			persons.Go(func() {
				for ctx.Err() == nil {
					if r, _, err := w.ReadNow(ctx, 8); ctx.Err() == nil && (err == nil || r.Tag != 8 || r.Quality != tag.BadNoComm) {
						t.Errorf("a dead station said %+v, %v", r, err)
					}
					<-time.After(20 * time.Millisecond)
				}
			})
		}
		l.pass(time.Minute)
		n, took := l.asked[1]-before, l.busy-busy
		cancel()
		persons.Wait()
		if n < 270 {
			t.Errorf("a neighbour was asked %d times in a minute, 300 with nobody reading", n)
		}
		if took > 6*time.Second {
			t.Errorf("the dead one took %v of a minute", took)
		}
	})
}

// Neither does one who reads a point that alone is not answered, and his
// colleague gets an answer soon.
func TestReadingAMutePointLeavesTheLineToOthers(t *testing.T) {
	l := &line{wire: 20 * time.Millisecond, limit: time.Second, mute: 2}
	run(t, 4, 2, 200*time.Millisecond, l, func(w *world) {
		l.pass(30 * time.Second)
		before := l.asked[4]
		ctx, cancel := context.WithCancel(context.Background())
		var persons sync.WaitGroup
		for range 3 {
			persons.Go(func() {
				for ctx.Err() == nil {
					_, _, _ = w.ReadNow(ctx, 2)
				}
			})
		}
		l.pass(time.Minute)
		n := l.asked[4] - before
		l.pass(time.Millisecond)
		began := l.now().Mono
		r, _, err := w.ReadNow(context.Background(), 3)
		if waited := time.Duration(l.now().Mono - began); err != nil || !r.Quality.Good() || waited > 15*time.Second {
			t.Errorf("%+v, %v after %v", r, err, waited)
		}
		cancel()
		persons.Wait()
		if n < 300 { // of 600 in a minute with nobody reading
			t.Errorf("a neighbour was asked %d times", n)
		}
	})
}

// Who has left is not answered: nothing is sent for him.
func TestAReadOfWhoLeftIsNotSent(t *testing.T) {
	l := &line{wire: 5 * time.Millisecond, limit: time.Second}
	run(t, 1, 1, time.Hour, l, func(w *world) {
		l.pass(time.Second)
		gone := make(chan struct{})
		close(gone)
		before := l.asked[1]
		w.queue() <- ask{gone: gone, id: 1, reply: make(chan reply, 1)}
		l.pass(time.Second)
		if n := l.asked[1] - before; n != 0 {
			t.Errorf("asked %d times", n)
		}
	})
}

// The watchdog register of a dead device costs its neighbours no more than a
// probe does, and is written at once when the device is back.
func TestADeadKeepAliveCostsItsNeighboursLittle(t *testing.T) {
	l := &line{wire: 20 * time.Millisecond, limit: time.Second, dead: map[int]bool{8: true}}
	l.alive = []config.KeepAlive{{Point: drivers.Point{Station: 8}, Every: time.Second}}
	run(t, 8, 1, 200*time.Millisecond, l, func(*world) {
		l.pass(30 * time.Second)
		before := l.asked[1]
		l.pass(time.Minute)
		if n := l.asked[1] - before; n < 270 {
			t.Errorf("a neighbour was asked %d times in a minute of 300", n)
		}
	})
	l = &line{wire: 20 * time.Millisecond, limit: time.Second, dead: map[int]bool{8: true}}
	l.alive = []config.KeepAlive{{Point: drivers.Point{Station: 8}, Every: time.Minute}}
	run(t, 8, 1, 200*time.Millisecond, l, func(*world) {
		l.pass(5 * time.Second) // tried in vain
		delete(l.dead, 8)
		for read := l.asked[8]; l.fed == 0; l.pass(10 * time.Millisecond) {
			if l.asked[8] > read+2 {
				t.Error("the device answers and is not fed")
				return
			}
		}
	})
}

// With another master on the line nobody is asked: every point is bad, also of
// requests that were not tried, and the link is silent.
func TestALineThatIsNotOursMakesEveryPointBad(t *testing.T) {
	l := &line{wire: 5 * time.Millisecond, limit: 300 * time.Millisecond}
	run(t, 3, 4, time.Second, l, func(w *world) {
		l.pass(3 * time.Second)
		for id := tag.ID(1); id <= 12; id++ {
			if !w.last[id].Quality.Good() {
				t.Fatalf("tag %d: %v", id, w.last[id].Quality)
			}
		}
		l.other = l.now().Mono + int64(time.Minute)
		l.pass(15 * time.Second)
		for id := tag.ID(1); id <= 12; id++ {
			if w.last[id].Quality != tag.BadNoComm {
				t.Errorf("tag %d: %v", id, w.last[id].Quality)
			}
		}
		if s := w.Stats(); !s.Silent {
			t.Errorf("%+v", s)
		}
		l.pass(time.Minute)
		for id := tag.ID(1); id <= 12; id++ {
			if !w.last[id].Quality.Good() {
				t.Errorf("ours again: tag %d: %v", id, w.last[id].Quality)
			}
		}
	})
}

// pusher is a link that subscribes and says one good value of each point.
type pusher struct {
	line
	end   func() error // of the subscription, when ctx has not ended it
	write func() error
}

func (p *pusher) Subscribe(ctx context.Context, points []drivers.Point, emit func([]tag.Reading)) error {
	for i := range points {
		emit([]tag.Reading{{Tag: points[i].Tag, Quality: tag.GoodQuality, Received: p.now()}})
	}
	if p.end != nil {
		<-time.After(time.Second)
		return p.end()
	}
	<-ctx.Done()
	return ctx.Err()
}

func (p *pusher) Write(context.Context, drivers.Point, tag.Value) error { return p.write() }

type pushes struct {
	drivers.Driver
	p     *pusher
	opens int
}

func (d *pushes) Open(context.Context, drivers.LinkConfig) (drivers.Link, error) {
	if d.opens++; d.opens > 1 && d.p.write == nil {
		return nil, errors.New("no second link")
	}
	return d.p, nil
}

// Points that are subscribed to have no time to live: whatever ends their
// subscription makes them bad.
func TestAnEndedSubscriptionLeavesNothingGood(t *testing.T) {
	for name, p := range map[string]*pusher{
		"doubt":                {end: func() error { return errors.New("in doubt") }, write: func() error { return nil }},
		"panic":                {end: func() error { panic("of the library") }, write: func() error { return nil }},
		"no link for writing":  {},
		"panic of the writing": {write: func() error { panic("of the library") }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				p.now = func() tag.Stamp { return tag.Stamp{Mono: int64(time.Since(start)) + 1} }
				link := config.Link{
					Name: "ua", Timeout: time.Second, Subscribe: []drivers.Point{{Tag: 1}, {Tag: 2}},
					KeepAlive: []config.KeepAlive{{Every: time.Second}},
				}
				out := output.New(&config.Plan{Links: []config.Link{link}}, false, p.now, func(string, bool) {}, slog.New(slog.DiscardHandler))
				last := map[tag.ID]tag.Quality{}
				var mu sync.Mutex
				w := &Worker{
					Link: &link, Driver: &pushes{p: p}, Lane: out.Lane(0), Alive: func() bool { return true }, Condition: func(string, bool) {}, Now: p.now,
					Log: slog.New(slog.DiscardHandler),
					Offer: func(_ context.Context, b Batch) error {
						mu.Lock()
						defer mu.Unlock()
						for _, r := range b.Readings {
							last[r.Tag] = r.Quality
						}
						b.Free()
						return nil
					},
				}
				func() {
					defer func() { _ = recover() }() // as its supervisor does
					_ = w.Run(t.Context())
				}()
				if fmt.Sprint(last) != fmt.Sprint(map[tag.ID]tag.Quality{1: tag.BadNoComm, 2: tag.BadNoComm}) {
					t.Errorf("%v", last)
				}
				if !w.Stats().Silent {
					t.Error("the link is not silent")
				}
			})
		})
	}
}

// An alarm of the run before stands until somebody says otherwise: a driver's
// condition of which it says nothing ends with the first answer, one that it says
// stands does not.
func TestConditionsOfTheRunBeforeEnd(t *testing.T) {
	l := &line{wire: 5 * time.Millisecond, limit: time.Second, words: []string{"other-master", "untrusted"}, says: "untrusted"}
	run(t, 1, 1, time.Second, l, func(*world) {
		l.pass(3 * time.Second)
		on, said := l.told["link.line.other-master"]
		if on || !said || !l.told["link.line.untrusted"] {
			t.Errorf("%v", l.told)
		}
	})
}

// A person who reads a quiet station that is back ends its quiet.
func TestAReadEndsTheQuiet(t *testing.T) {
	l := &line{wire: 20 * time.Millisecond, limit: time.Second, dead: map[int]bool{2: true}}
	run(t, 2, 3, 200*time.Millisecond, l, func(w *world) {
		l.pass(30 * time.Second)
		for asked := l.asked[2]; l.asked[2] == asked; { // its next probe is far away then
			l.pass(100 * time.Millisecond)
		}
		l.pass(2 * time.Second)
		delete(l.dead, 2)
		if r, _, err := w.ReadNow(context.Background(), 5); err != nil || !r.Quality.Good() {
			t.Errorf("%+v, %v", r, err)
		}
		l.pass(time.Second)
		for id := tag.ID(4); id <= 6; id++ {
			if !w.last[id].Quality.Good() {
				t.Errorf("tag %d: %v", id, w.last[id].Quality)
			}
		}
	})
}
