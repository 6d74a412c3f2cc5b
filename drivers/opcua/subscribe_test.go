package opcua

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"davy/drivers"
	"davy/drivers/tag"
)

// follower subscribes in a goroutine and keeps what came.
type follower struct {
	l    *link
	got  []string // "tag=value" of good readings, "tag!" of bad ones
	err  error
	took time.Duration
	done chan struct{}
	stop context.CancelFunc
}

func follow(t *testing.T, l *link, points []drivers.Point, each func()) *follower {
	ctx, stop := context.WithCancel(t.Context())
	f := &follower{l: l, done: make(chan struct{}), stop: stop}
	go func() {
		defer close(f.done)
		began := time.Now()
		f.err = l.Subscribe(ctx, points, func(rs []tag.Reading) {
			for _, r := range rs {
				if !r.Quality.Valid() || r.Received.Mono == 0 || r.Received.Mono > l.Now().Mono {
					t.Errorf("%+v", r)
				}
				if r.Quality.Bad() {
					f.got = append(f.got, fmt.Sprintf("%d!", r.Tag))
				} else {
					f.got = append(f.got, fmt.Sprintf("%d=%v", r.Tag, r.Value))
				}
			}
			if each != nil {
				each()
			}
		})
		f.took = time.Since(began)
	}()
	return f
}

// end stops it and closes the link.
func (f *follower) end(t *testing.T) {
	f.stop()
	<-f.done
	if err := f.l.Close(); err != nil {
		t.Error(err)
	}
}

// subscribed plays a child up to its Subscribe.
func subscribed(p *puppet) (Ask, bool) {
	if !p.greet() {
		return Ask{}, false
	}
	kind, a, _, ok := p.next()
	if ok && kind != KindSubscribe {
		p.t.Errorf("a frame of kind %d", kind)
	}
	p.up(1)
	return a, ok
}

func TestSamplesComeInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		n := MaxItems + 3
		d, _ := puppets(t, func(p *puppet) {
			a, ok := subscribed(p)
			if !ok {
				return
			}
			if int(a.Count) != n || len(p.items) != n || p.items[a.First+1].Address != (Address{URI: "u", Type: Numeric, ID: "1"}) || p.items[a.First].Sampling != time.Second || p.items[a.First].Kind != tag.Float64 {
				t.Errorf("%+v, %d items, %+v", a, len(p.items), p.items[a.First+1])
			}
			h := a.First
			over := p.sample(h, 5)
			over.Overflow = true
			p.readings(1, 0, p.sample(h, 1), p.sample(h+2, 2), p.sample(h, 3), p.sample(h, 4))
			p.readings(1, 0)
			lost := Sample{Handle: h + 1, Quality: tag.BadConfig, Status: 0x80340000, Reason: NotFound, Received: p.clock.Now()}
			p.readings(1, 0, over, lost, lost) // said once
			p.readings(1, 0, p.sample(h+1, 6))
			p.idle()
		})
		f := follow(t, open(t, d, config(&log)), points(t, n), nil)
		synctest.Wait()
		f.end(t)
		if want := []string{"1=1", "3=2", "1=3", "1=4", "1=5", "2!", "2!", "2=6"}; !slices.Equal(f.got, want) || !errors.Is(f.err, context.Canceled) {
			t.Errorf("%q, %v", f.got, f.err)
		}
		if s := f.l.Stats(); s != (Stats{Children: 1, Sessions: 1, Samples: 8, Overflows: 1}) {
			t.Errorf("%+v", s)
		}
		for _, want := range []string{"dropped samples", "item bad", "0x80340000", "no such namespace", "item good again"} {
			if strings.Count(log.String(), want) != 1 {
				t.Errorf("%q not once in %s", want, log.String())
			}
		}
	})
}

// A session that is lost makes every point bad at once, and nothing of it is
// taken any more; a new one in time goes on.
func TestALostSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, children := puppets(t, func(p *puppet) {
			a, ok := subscribed(p)
			if !ok {
				return
			}
			p.readings(1, 0, p.sample(a.First, 1))
			p.down(CodeSilent)
			p.down(CodeConnect)
			p.readings(1, 0, p.sample(a.First, 666))
			p.up(2)
			p.readings(1, 0, p.sample(a.First, 667))
			p.readings(2, 0, p.sample(a.First, 2))
			p.idle()
		})
		f := follow(t, open(t, d, config(nil)), points(t, 2), nil)
		time.Sleep(time.Minute)
		f.end(t)
		if want := []string{"1=1", "1!", "2!", "1=2"}; !slices.Equal(f.got, want) || int(children.Load()) != 1 {
			t.Errorf("%q, %v, %d children", f.got, f.err, int(children.Load()))
		}
		if f.l.Stats().Refused != 2 {
			t.Errorf("%+v", f.l.Stats())
		}
	})
}

// How a subscription ends that is in doubt, and how long that takes.
func TestDoubt(t *testing.T) {
	for _, x := range []struct {
		name string
		play func(p *puppet, a Ask)
		want string
		took time.Duration // at most
	}{
		{"the session does not come back", func(p *puppet, a Ask) { p.down(CodeSession); p.idle() }, "session", Rebuild},
		{"the child dies", func(*puppet, Ask) {}, "child: ", 0},
		{"dies within a frame", func(p *puppet, a Ask) { _, _ = p.wire.Write([]byte{9, 0, 0, 0, 1, 2}) }, "child: ", 0},
		{"goes silent", func(p *puppet, a Ask) { p.stop(); p.beat.Wait(); p.idle() }, "silent for 3s", 3 * time.Second},
		{"stops within a frame", func(p *puppet, a Ask) {
			p.stop()
			p.beat.Wait()
			_, _ = p.wire.Write([]byte{9, 0, 0, 0, KindReadings, 1, 2})
			p.idle()
		}, "silent for 3s", 3 * time.Second},
		{"does not read", func(p *puppet, a Ask) { time.Sleep(time.Hour) }, "", 2 * 3 * time.Second},
		{"an item that is not subscribed to", func(p *puppet, a Ask) { p.readings(1, 0, p.sample(a.First+a.Count, 1)); p.idle() }, "not subscribed to", 0},
		{"garbage", func(p *puppet, a Ask) { _ = p.conn.Write(KindReadings, []byte("garbage")); p.idle() }, ErrMessage.Error(), 0},
		{"a huge length", func(p *puppet, a Ask) { _, _ = p.wire.Write([]byte{0, 0, 0, 0x80, KindReadings}); p.idle() }, "longer than its limit", 0},
		{"an old generation", func(p *puppet, a Ask) { p.hello.Generation += 3; p.readings(1, 0, p.sample(0, 1)); p.idle() }, "generation 4", 0},
		{"a session that goes back", func(p *puppet, a Ask) { p.up(1); p.idle() }, "session 1", 0},
		{"a condition of a value", func(p *puppet, a Ask) {
			_ = send(p.conn, KindCondition, Condition{Generation: 1, Session: 1, Received: p.clock.Now()})
			p.idle()
		}, "condition of item 0", 0},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, _ := puppets(t, func(p *puppet) {
					if a, ok := subscribed(p); ok {
						x.play(p, a)
					}
				})
				l := open(t, d, config(nil))
				f := follow(t, l, points(t, 2), nil)
				<-f.done
				if err := l.Close(); err != nil {
					t.Error(err)
				}
				if f.err == nil || !strings.Contains(f.err.Error(), x.want) || f.took > x.took {
					t.Errorf("%v after %v", f.err, f.took)
				}
				for _, r := range f.got {
					if !strings.HasSuffix(r, "!") {
						t.Errorf("got %q", f.got)
					}
				}
			})
		})
	}
}

func TestNoSessionCanBeMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _ := puppets(t, func(p *puppet) {
			if p.greet() {
				p.down(CodePolicy)
				p.idle()
			}
		}, func(p *puppet) {
			if p.greet() {
				p.idle()
			}
		})
		l := open(t, d, config(nil))
		f := follow(t, l, points(t, 2), nil)
		<-f.done
		var se *SessionError
		if !errors.As(f.err, &se) || se.Code != CodePolicy || f.took != 0 {
			t.Errorf("%v after %v", f.err, f.took)
		}
		// The next child says nothing of a session at all.
		f = follow(t, l, points(t, 2), nil)
		<-f.done
		if !errors.Is(f.err, errNoSessionYet) || f.took > Establish+LastWait || f.took < Establish {
			t.Errorf("%v after %v", f.err, f.took)
		}
		_ = l.Close()
	})
}

// Who is slower than the child holds it up; nothing is lost, and nothing grows.
func TestAFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 500
		var sent atomic.Int64 // and not taken
		d, _ := puppets(t, func(p *puppet) {
			a, ok := subscribed(p)
			if !ok {
				return
			}
			p.beat.Go(p.idle)
			for i := range n {
				p.readings(1, 0, p.sample(a.First, float64(i)))
				sent.Add(1)
			}
			time.Sleep(2 * time.Hour)
		})
		waiting := int64(0)
		l := open(t, d, config(nil))
		f := follow(t, l, points(t, 1), func() {
			time.Sleep(100 * time.Millisecond)
			waiting = max(waiting, sent.Load())
			sent.Add(-1)
		})
		time.Sleep(time.Hour)
		f.end(t)
		if len(f.got) != n || !slices.IsSortedFunc(f.got, func(a, b string) int { return len(a) - len(b) }) || f.got[n-1] != fmt.Sprintf("1=%d", n-1) {
			t.Errorf("%d readings, %v", len(f.got), f.err)
		}
		if waiting > feeds+5 {
			t.Errorf("%d batches waited", waiting)
		}
	})
}

// Writes and reads go over the same child while it is subscribed to.
func TestWritingBesideASubscription(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, children := puppets(t, honest)
		l := open(t, d, config(nil))
		f := follow(t, l, points(t, 3), nil)
		synctest.Wait()
		p := points(t, 1)[0]
		p.Write = true
		var writing sync.WaitGroup
		for range 8 {
			writing.Go(func() {
				if err := l.Write(t.Context(), p, float(t, 1)); err != nil {
					t.Error(err)
				}
			})
		}
		writing.Wait()
		f.end(t)
		if int(children.Load()) != 1 || len(f.got) != 3 {
			t.Errorf("%d children, %q", int(children.Load()), f.got)
		}
	})
}

// A subscription that is begun again has a child of its own.
func TestSubscribingAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, children := puppets(t, honest)
		l := open(t, d, config(nil))
		for i := range 5 {
			f := follow(t, l, points(t, 3), nil)
			time.Sleep(2 * time.Minute)
			f.stop()
			<-f.done
			if len(f.got) != 3 || int(children.Load()) != i+1 {
				t.Errorf("%q, %v, %d children", f.got, f.err, int(children.Load()))
			}
		}
		_ = l.Close()
	})
}

func TestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ps := []drivers.Point{points(t, 1)[0], point(t, 7, "conditions of nsu=u;s=Area1", "")}
		d, _ := puppets(t, func(p *puppet) {
			a, ok := subscribed(p)
			if !ok {
				return
			}
			if x := p.items[a.First+1]; x.Address.What != Conditions || x.Kind != tag.Int {
				t.Errorf("%+v", x)
			}
			c := Condition{
				Generation: 1, Session: 1, Handle: a.First + 1, Received: p.clock.Now(), Time: 5, ID: "id", Source: "Pump", Name: "High", Severity: 2000,
				Message: strings.Repeat("x", MaxText+1), Active: true, Retain: true,
			}
			_ = send(p.conn, KindCondition, c)
			p.readings(1, 0, Sample{Handle: a.First + 1, Quality: tag.GoodQuality, Value: tag.IntValue(1), Received: p.clock.Now()})
			p.down(CodeSilent)
			_ = send(p.conn, KindCondition, c) // of a session that has ended
			p.idle()
		})
		l := open(t, d, config(nil))
		var events []drivers.Event
		var order []int
		batches := 0
		var a drivers.Announcer = l
		a.Announce(func(e drivers.Event) { events = append(events, e); order = append(order, batches) })
		f := follow(t, l, ps, func() { batches++ })
		synctest.Wait()
		f.end(t)
		if len(events) != 1 || len(order) != 1 || order[0] != 0 || len(f.got) < 1 || f.got[0] != "7=1" {
			t.Fatalf("%+v %v %q", events, order, f.got)
		}
		if e := events[0]; e.Tag != 7 || e.Time != 5 || e.ID != "id" || e.Source != "Pump" || e.Name != "High" || e.Severity != 1000 || len(e.Message) != MaxText || !e.Active || e.Acked || !e.Retain || e.Received.Mono == 0 {
			t.Errorf("%+v", e)
		}
	})
}

// What cannot be is refused before anything starts.
func TestPointsThatCannotBeSubscribedTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, children := puppets(t, honest)
		l := open(t, d, config(nil))
		ps := points(t, 1)
		ps[0].Station = 3
		f := follow(t, l, ps, nil)
		<-f.done
		var h *drivers.Hint
		if !errors.As(f.err, &h) || h.Code != "opcua.station" || int(children.Load()) != 0 {
			t.Errorf("%v, %d children", f.err, int(children.Load()))
		}
		_ = l.Close()
	})
}
