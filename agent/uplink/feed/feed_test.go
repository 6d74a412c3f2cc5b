package feed

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"davy/agent/journal"
	"davy/agent/wire"
	"davy/drivers/tag"
)

func TestEverythingOnceEventsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t)
		p.open("a")
		for range 20 {
			p.add(2, 300)
		}
		p.start()
		wait(t, time.Minute, "everything confirmed", func() bool { return p.backlog() == 0 })
		got := p.far.records()
		if twice := p.whole(got); twice > 0 {
			t.Errorf("%d records came twice", twice)
		}
		reading := false
		for _, r := range got {
			if r.Stream == wire.ReadingStream {
				reading = true
				if want := fmt.Sprintf("a-%d", r.Reading.Tag); r.Tag == nil || r.Tag.Name != want || r.Table == nil {
					t.Fatalf("reading %d has tag %v", r.Number, r.Tag)
				}
			} else if reading {
				t.Fatalf("event %d came after readings", r.Number)
			}
			if r.History {
				t.Errorf("%s %d is called history", r.Stream, r.Number)
			}
		}
		if s := p.f.Status(); !s.Connected || !s.Answering || s.Error != "" || s.Records != uint64(len(got)) || s.LastConfirm.Wall == 0 {
			t.Errorf("status %+v", s)
		}
	})
}

// A backlog of two epochs, begun in the middle of the first after a restart:
// names are those of each epoch's own table.
func TestNamesOfAnOlderPlan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t)
		p.open("old")
		p.add(1, 10)
		p.start()
		wait(t, time.Minute, "the first confirmed", func() bool { return p.backlog() == 0 })
		p.stop()
		p.add(1, 10)
		p.close()
		first := len(p.far.records())
		p.open("new")
		p.add(1, 10)
		p.start()
		wait(t, time.Minute, "everything confirmed", func() bool { return p.backlog() == 0 })
		if twice := p.whole(p.far.records()); twice > 0 {
			t.Errorf("%d came twice", twice)
		}
		count := map[string]int{}
		for _, r := range p.far.records()[first:] {
			if r.Reading != nil || r.Event.Tag != 0 {
				if r.Tag == nil {
					t.Fatalf("%s %d has no tag", r.Stream, r.Number)
				}
				count[r.Tag.Name[:3]]++
			}
		}
		if count["old"] != 11 || count["new"] != 11 {
			t.Errorf("names %v", count)
		}
	})
}

// Where the journal has no table, the current epoch's comes from elsewhere, and
// without it a record goes without its tag.
func TestNoTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			table func() *wire.Table
			want  uint64
		}{{nil, 5}, {func() *wire.Table { return nil }, 5}, {func() *wire.Table {
			return &wire.Table{Tags: []wire.TableTag{{ID: 1}, {ID: 2}, {ID: 3}, {ID: 4}, {ID: 5}, {ID: 6}, {ID: 7}, {ID: 8}, {ID: 9}, {ID: 10}}}
		}, 0}} {
			p := newPlant(t)
			p.open("")
			p.add(0, 5)
			p.o.Table = c.table
			p.start()
			wait(t, time.Minute, "everything confirmed", func() bool { return p.backlog() == 0 })
			if s := p.f.Status(); s.Unnamed != c.want {
				t.Errorf("%d without a tag, want %d", s.Unnamed, c.want)
			}
			p.stop()
		}
	})
}

// While an hour of backlog drains at its rate, what comes now arrives at once
// and unmarked, events before it, and in the end everything has come.
func TestLiveOvertakesHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t)
		p.open("a")
		for range 40 {
			p.add(0, 100)
		}
		time.Sleep(time.Hour)
		p.o.HistoryRate = 100
		p.start()
		wait(t, 2*time.Second, "history begins", func() bool { return len(p.far.records()) > 0 })
		began := time.Now()
		for range 10 {
			p.add(1, 5)
			at := p.n
			wait(t, time.Second, "the live ones", func() bool {
				got := p.far.records()
				n := 0
				for _, r := range got {
					if r.Reading != nil && !r.History {
						n++
					}
				}
				return n == (at-4000)/6*5
			})
			time.Sleep(time.Second)
		}
		if p.backlog() == 0 {
			t.Fatal("nothing was left to overtake: the test proves nothing")
		}
		if s := p.f.Status(); s.Ahead != 1 {
			t.Errorf("%d stretches ahead", s.Ahead)
		}
		wait(t, time.Minute, "everything confirmed", func() bool { return p.backlog() == 0 })
		if d := time.Since(began); d < 35*time.Second {
			t.Errorf("4000 records of history at 100 a second took %v", d)
		}
		got := p.far.records()
		if twice := p.whole(got); twice > 0 {
			t.Errorf("%d records came twice", twice)
		}
		history := 0
		for _, r := range got {
			if r.Reading != nil && r.History {
				history++
			}
		}
		if history != 4000 {
			t.Errorf("%d of history", history)
		}
		wait(t, 2*time.Second, "nothing ahead", func() bool { return p.f.Status().Ahead == 0 })
		p.add(1, 5)
		wait(t, time.Second, "what comes after", func() bool { return p.backlog() == 0 })
	})
}

// A link slower than what comes falls behind, lets the newest go first again
// and again, and nothing is lost over it, nor over sessions that fail.
func TestSlowLinkWithFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t)
		p.open("a")
		p.far.takes = 30 * time.Millisecond
		p.o.Live = 5 * time.Second
		failures := 0
		cuts := rand.New(rand.NewPCG(3, 4))
		p.far.refuse = func([]Record) error {
			if cuts.IntN(40) == 0 {
				failures++
				return errors.New("cut")
			}
			return nil
		}
		for range 5 {
			p.add(0, 200)
		}
		time.Sleep(time.Minute)
		p.start()
		most := 0
		for range 60 {
			p.add(1, 60) // twice what the link takes
			time.Sleep(time.Second)
			most = max(most, p.f.Status().Ahead)
		}
		if most < 2 {
			t.Errorf("at most %d stretches ahead: the test proves nothing; status %+v sends %d", most, p.f.Status(), len(p.far.sends))
		}
		wait(t, time.Hour, "everything confirmed", func() bool { return p.backlog() == 0 })
		p.whole(p.far.records())
		if failures == 0 {
			t.Error("no session failed")
		}
	})
}

// An event waits for one Send of readings at most, and a Send is bounded by time.
func TestEventOvertakesReadings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t)
		p.open("a")
		p.far.takes = 10 * time.Millisecond // 100 records a second
		for range 5 {
			p.add(0, 2000)
		}
		p.start()
		wait(t, time.Minute, "readings under way", func() bool { return len(p.far.records()) > 500 })
		p.add(1, 0)
		wait(t, 2*SendTime, "the event", func() bool {
			got := p.far.records()
			return got[len(got)-1].Event != nil || got[max(0, len(got)-100)].Event != nil
		})
		p.stop()
		if p.backlog() == 0 {
			t.Error("nothing was left: the test proves nothing")
		}
	})
}

func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t)
		p.open("a")
		p.add(1, 10)
		dials := 0
		p.o.Connect = func(context.Context) (Session, error) {
			if dials++; dials < 20 {
				return nil, errors.New("refused")
			}
			return &session{f: p.far, done: make(chan struct{})}, nil
		}
		p.start()
		began := time.Now()
		wait(t, time.Second, "the first refusal", func() bool { return p.f.Status().Error == "refused" })
		wait(t, 2*time.Minute, "everything confirmed", func() bool { return p.backlog() == 0 })
		if d := time.Since(began); d < 15*BackoffMax/2 {
			t.Errorf("20 connections within %v", d)
		}
		if s := p.f.Status(); s.Error != "" || !s.Connected {
			t.Errorf("status %+v", s)
		}
	})
}

// Run ends within its grace though the destination hangs, and sends what is
// left where it does not.
func TestEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t)
		p.open("a")
		p.add(1, 10)
		p.start()
		wait(t, time.Second, "confirmed", func() bool { return p.backlog() == 0 })
		p.add(1, 10)
		p.stop()
		if p.backlog() != 0 {
			t.Errorf("%d left behind", p.backlog())
		}
		p.far.takes = time.Hour
		p.add(1, 10)
		p.start()
		time.Sleep(time.Second)
		began := time.Now()
		p.stop()
		if d := time.Since(began); d > Grace {
			t.Errorf("a hanging destination held it for %v", d)
		}
	})
}

// A new destination begins where the site says; one that was withdrawn holds
// nothing back, and is new when it comes again.
func TestBegin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t)
		p.open("a")
		var middle int64
		for i := range 10 {
			if i == 5 {
				middle = time.Now().UnixNano()
			}
			p.add(1, 20)
			time.Sleep(time.Minute)
		}
		count := func(begin journal.Begin) (events, readings int) {
			t.Helper()
			p.close()
			p.from = map[string]journal.Begin{p.name: begin}
			p.open("b")
			p.start()
			wait(t, time.Minute, "everything confirmed", func() bool { return p.backlog() == 0 })
			p.stop()
			for _, r := range p.far.records() {
				if r.Reading != nil {
					readings++
				} else if r.Event.Rule != "" {
					events++
				}
			}
			p.far.got = nil
			if s := p.j.Strangers([]string{"other"}); len(s) != 1 || s[0] != p.name {
				t.Errorf("strangers %v", s)
			}
			p.j.Forget(p.name)
			if s := p.j.Strangers(nil); len(s) != 0 {
				t.Errorf("strangers after forgetting %v", s)
			}
			return events, readings
		}
		for _, c := range []struct {
			name             string
			begin            journal.Begin
			events, readings int
		}{
			{"oldest", journal.Begin{}, 10, 200},
			{"now", journal.Begin{Wall: math.MaxInt64}, 0, 0},
			{"a date", journal.Begin{Wall: middle}, 5, 100},
			{"a date, whole epochs", journal.Begin{Wall: middle, Whole: true}, 10, 200},
			{"oldest again", journal.Begin{}, 10, 200},
		} {
			if e, r := count(c.begin); e != c.events || r != c.readings {
				t.Errorf("%s: %d events and %d readings, want %d and %d", c.name, e, r, c.events, c.readings)
			}
		}
	})
}

// later is a session that has taken readings and is at work on them.
type later struct {
	*session
	ready chan struct{}
}

func (s later) Send(ctx context.Context, records []Record) error {
	if records[0].Stream == wire.ReadingStream {
		select {
		case <-s.ready:
		case <-time.After(SendTime):
			return ErrLater
		}
	}
	return s.session.Send(ctx, records)
}

// Events go out while readings are worked on, in the same session, and the
// readings come again until they are confirmed.
func TestEventsBetweenReadingsThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t)
		p.open("a")
		ready := make(chan struct{})
		p.o.Connect = func(context.Context) (Session, error) {
			p.far.sessions++
			return later{&session{f: p.far, done: make(chan struct{})}, ready}, nil
		}
		p.add(0, 300)
		p.start()
		for range 3 {
			time.Sleep(10 * time.Second)
			p.add(1, 0)
			n := p.n - 300
			wait(t, 2*time.Second, "the event", func() bool { return len(p.far.records()) == n+2 }) // with the start and the table
		}
		close(ready)
		wait(t, time.Minute, "everything confirmed", func() bool { return p.backlog() == 0 })
		if twice := p.whole(p.far.records()); twice != 0 || p.far.sessions != 1 {
			t.Errorf("%d twice, %d sessions", twice, p.far.sessions)
		}
	})
}

// dumb is a session that takes everything and hears nothing.
type dumb struct {
	*session
	heard *uint64
}

func (s dumb) Answers() uint64 { return *s.heard }

// A destination of which nobody heard a word is not called answering.
func TestNobodyAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t)
		p.open("a")
		var heard uint64
		p.o.Connect = func(context.Context) (Session, error) {
			return dumb{&session{f: p.far, done: make(chan struct{})}, &heard}, nil
		}
		p.add(5, 5)
		p.start()
		wait(t, time.Minute, "everything taken", func() bool { return p.backlog() == 0 })
		if s := p.f.Status(); !s.Connected || s.Answering || s.LastConfirm != (tag.Stamp{}) || s.Records == 0 {
			t.Errorf("%+v", s)
		}
		heard++
		p.add(1, 0)
		wait(t, time.Minute, "it answers", func() bool { s := p.f.Status(); return s.Answering && s.LastConfirm.Wall != 0 })
	})
}

// A block of events that says nothing to this version, before the tag table of
// its epoch: readings are not held up, and have their names.
func TestUnreadableBlockBeforeTheTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t)
		p.open("")
		if err := p.j.Append(journal.Batch{Events: []wire.Event{{Kind: 1, At: now(), Table: &wire.Table{Tags: make([]wire.TableTag, wire.MaxItems+1)}}}}); err != nil {
			t.Fatal(err)
		}
		table := &wire.Table{}
		for i := range 10 {
			table.Tags = append(table.Tags, wire.TableTag{ID: tag.ID(i + 1), Name: "a"})
		}
		if err := p.j.Append(journal.Batch{Events: []wire.Event{{Kind: 129, At: now(), Table: table}}}); err != nil {
			t.Fatal(err)
		}
		p.add(0, 5)
		before := p.cursor()
		for at := (journal.Pos{}); ; { // a destination that has the events already
			items, err := before.Next(wire.EventStream, at, 1)
			if err != nil {
				t.Fatal(err)
			}
			if len(items) == 0 {
				break
			}
			at = items[0].After()
			if err := before.Advance(wire.EventStream, at); err != nil {
				t.Fatal(err)
			}
		}
		p.start()
		wait(t, time.Minute, "everything confirmed", func() bool { return p.backlog() == 0 })
		if s := p.f.Status(); s.Unnamed != 0 || s.Records != 5 || s.Sessions != 1 {
			t.Errorf("%+v", s)
		}
	})
}
