package hj212

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"davy/agent/uplink/feed"
	"davy/agent/wire"
	"davy/drivers/tag"
	"davy/rules"
)

// A host that is away, that is silent, and that is there again: every period
// comes once it is, with its own time.
func TestNothingIsMissingAfterAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, stats)
		value := func(int64) (float64, tag.Quality) { return 1, tag.GoodQuality }
		s := b.connect()
		if err := b.hours(s, 15*time.Minute, value); err != nil {
			t.Fatal(err)
		}
		expect(t, "before", times(b.h.frames("2051")), "000000")
		s.Close()
		b.hours(nil, 3*time.Hour, value)
		b.h.setAct(func(got) bool { return false }) // the next one has it from its beginning
		s = b.connect()
		began := time.Now()
		err := b.send(s)
		if !errors.Is(err, ErrSilent) || !errors.Is(s.Err(), ErrSilent) {
			t.Errorf("%v, %v", err, s.Err())
		}
		if took := time.Since(began); took != 40*time.Second { // once and three times again, 10 s each
			t.Errorf("it took %v", took)
		}
		all := b.h.frames("")
		for _, g := range all {
			if g.qn != all[0].qn || g.cp != all[0].cp {
				t.Errorf("%+v sent again as %+v", all[0], g)
			}
		}
		if c := b.d.Counts(); len(all) != 4 || c.Resent != 3 {
			t.Errorf("%d frames, %+v", len(all), c)
		}
		s.Close()
		lost := all[0]
		b.h.setAct(nil)
		s = b.connect()
		if err := b.send(s); err != nil {
			t.Fatal(err)
		}
		expect(t, "minutes", times(b.h.frames("2051")), "001000 002000 003000 004000 005000 010000 011000 012000 013000 014000 015000 020000 021000 022000 023000 024000 025000 030000")
		expect(t, "hours", times(b.h.frames("2061")), "000000 010000 020000")
		if first := b.h.frames("")[0]; first.cp != lost.cp || first.qn <= lost.qn {
			t.Errorf("%+v after %+v", first, lost)
		}
		before := len(b.h.frames(""))
		b.sent = 0 // the feed's cursor was not on disk
		if err := b.send(s); err != nil {
			t.Fatal(err)
		}
		if n := len(b.h.frames("")); n != before {
			t.Errorf("%d frames, then %d", before, n)
		}
		s.Close()
	})
}

func times(frames []got) string {
	var out []string
	for _, g := range frames {
		out = append(out, g.cp[len("DataTime=YYYYMMDD"):len("DataTime=YYYYMMDDhhmmss")])
	}
	return strings.Join(out, " ")
}

// What a process left open when it ended is sent by the next one.
func TestAnotherProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, stats)
		value := func(int64) (float64, tag.Quality) { return 1, tag.GoodQuality }
		s := b.connect()
		if err := b.hours(s, 57*time.Minute, value); err != nil {
			t.Fatal(err)
		}
		s.Close()
		after(90 * time.Minute)
		o := b.d.o
		d, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		b.d, b.epoch, b.next = d, wire.Epoch{2}, 0
		s = b.connect()
		if err := b.hours(s, 5*time.Minute, value); err != nil {
			t.Fatal(err)
		}
		expect(t, "minutes", times(b.h.frames("2051")), "005000 022000")
		expect(t, "hours", b.cps("2061"), "DataTime=20250801000000;a21001-Min=1.00,a21001-Avg=1.00,a21001-Max=1.00,a21001-Flag=N;w00000-Cou=6.9,w00000-Min=2.0,w00000-Avg=2.0,w00000-Max=2.0,w00000-Flag=N")
		s.Close()
	})
}

// Readings that come into the journal after their period was sent.
func TestMoreOfAPeriodThatWasSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, stats)
		s := b.connect()
		if err := b.hours(s, 11*time.Minute, func(int64) (float64, tag.Quality) { return 1, tag.GoodQuality }); err != nil {
			t.Fatal(err)
		}
		b.record("nh3.ppm", day0+595*second, 9, tag.GoodQuality)
		if err := b.send(s); err != nil {
			t.Fatal(err)
		}
		m := b.h.frames("2051")
		if len(m) != 2 || !strings.Contains(m[1].cp, "a21001-Max=9.00") || !strings.HasPrefix(m[1].cp, "DataTime=20250801000000") || b.d.Counts().Again != 1 {
			t.Errorf("%v, %+v", m, b.d.Counts())
		}
		s.Close()
	})
}

// A clock that was never set, or runs far ahead: the host would keep it for
// ever. And a process that left nothing open has nothing to send.
func TestTimesThatCannotBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, stats)
		b.record("other", day0-7*3600*second, 1, tag.GoodQuality)
		b.record("nh3.ppm", 86400*second, 1, tag.GoodQuality)
		b.record("nh3.ppm", day0+48*3600*second, 1, tag.GoodQuality)
		b.record("nh3.ppm", day0-6*3600*second, 1, tag.GoodQuality)
		s := b.connect()
		b.sent = 1
		if err := b.send(s); err != nil {
			t.Fatal(err)
		}
		after(time.Minute)
		expect(t, "minutes", times(b.h.frames("2051")), "180000")
		if c := b.d.Counts(); c.LeftOut["clock"] != 2 {
			t.Errorf("%+v", c)
		}
		s.Close()
		b.sent = 3
		b.d, _ = New(b.d.o)
		s = b.connect()
		if err := b.send(s); err != nil { // the reading before it is another tag's
			t.Fatal(err)
		}
		after(time.Minute)
		expect(t, "minutes of the next process", times(b.h.frames("2051")), "180000")
		s.Close()
	})
}

// A host that takes connections and never answers: what it did not answer is
// sent by the next process too, for no reading counts as given while a period
// before it waits.
func TestNothingIsMissingAfterASilentHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, stats)
		value := func(int64) (float64, tag.Quality) { return 1, tag.GoodQuality }
		b.h = &host{act: func(got) bool { return false }}
		for b.now().Wall < day0+47*60*second {
			s := b.connect()
			if err := b.hours(s, 47*time.Minute, value); !errors.Is(err, ErrSilent) {
				t.Fatal(err)
			}
			if s.(feed.Answerer).Answers() != 0 {
				t.Error("a silent host is said to answer")
			}
			s.Close()
			b.hours(nil, 3*time.Minute, value)
		}
		d, err := New(b.d.o)
		if err != nil {
			t.Fatal(err)
		}
		b.d, b.epoch, b.next = d, wire.Epoch{2}, 0
		b.h.setAct(nil)
		s := b.connect()
		if err := b.hours(s, 5*time.Minute, value); err != nil {
			t.Fatal(err)
		}
		expect(t, "minutes", times(b.h.frames("2051")), "000000 001000 002000 003000 004000")
		if s.(feed.Answerer).Answers() != 5 {
			t.Errorf("%d answers", s.(feed.Answerer).Answers())
		}
		s.Close()
	})
}

// A period that ended less than Settle before the last reading was open too.
func TestAnotherProcessAtTheEndOfAPeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, stats)
		value := func(int64) (float64, tag.Quality) { return 1, tag.GoodQuality }
		s := b.connect()
		if err := b.hours(s, 10*time.Minute, value); err != nil {
			t.Fatal(err)
		}
		b.record("nh3.ppm", b.now().Wall, 1, tag.GoodQuality) // at its end
		if err := b.send(s); err != nil {
			t.Fatal(err)
		}
		s.Close()
		expect(t, "minutes before", times(b.h.frames("2051")), "")
		after(5 * time.Minute)
		d, err := New(b.d.o)
		if err != nil {
			t.Fatal(err)
		}
		b.d, b.epoch, b.next = d, wire.Epoch{2}, 0
		s = b.connect()
		if err := b.hours(s, time.Minute, value); err != nil {
			t.Fatal(err)
		}
		expect(t, "minutes", times(b.h.frames("2051")), "000000")
		s.Close()
	})
}

// While the statistics of a long time are made, an event goes in between, and
// what was taken is not taken twice.
func TestEventsBetweenLongStatistics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		b := newBench(t, func(o *Options) {
			stats(o)
			o.Events = LogAnswered
			past := o.Past
			o.Past = func(ctx context.Context, from, to int64, f func(feed.Record)) error {
				select {
				case <-hold:
				case <-ctx.Done():
					return ctx.Err()
				}
				return past(ctx, from, to, f)
			}
		})
		s := b.connect()
		b.record("nh3.ppm", day0-2*86400*second, 1, tag.GoodQuality)
		b.record("other", day0-2*86400*second, 1, tag.GoodQuality)
		for range 3 {
			if err := s.Send(t.Context(), b.held); !errors.Is(err, feed.ErrLater) {
				t.Fatalf("readings: %v", err)
			}
			event := feed.Record{Epoch: b.epoch, Stream: wire.EventStream, Number: 1, Event: &wire.Event{Kind: uint32(rules.AlarmRaised), Rule: "nh3-high", At: b.now()}}
			if err := s.Send(t.Context(), []feed.Record{event}); err != nil {
				t.Fatalf("event: %v", err)
			}
		}
		if n := len(b.h.frames("3020")); n != 3 || len(b.h.frames("2031")) != 0 {
			t.Errorf("%d events, %v", n, b.h.frames("2031"))
		}
		close(hold)
		if err := b.send(s); err != nil {
			t.Fatal(err)
		}
		if n := len(b.h.frames("2031")); n != 1 || b.d.Counts().LeftOut["reading"] != 1 {
			t.Errorf("%d days, %+v", n, b.d.Counts())
		}
		s.Close()
	})
}

// Readings that come into the journal while their period is on its way.
func TestMoreOfAPeriodOnItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, stats)
		s := b.connect()
		if err := b.hours(s, 10*time.Minute, func(int64) (float64, tag.Quality) { return 1, tag.GoodQuality }); err != nil {
			t.Fatal(err)
		}
		n := 0
		b.h.setAct(func(got) bool { n++; return n > 1 }) // the first is lost
		after(15 * time.Second)
		if f := b.h.frames("2051"); len(f) != 1 {
			t.Fatalf("%v", f)
		}
		b.record("nh3.ppm", day0+595*second, 9, tag.GoodQuality)
		if err := b.send(s); err != nil {
			t.Fatal(err)
		}
		m := b.h.frames("2051")
		if len(m) != 3 || m[1].qn != m[0].qn || !strings.Contains(m[2].cp, "a21001-Max=9.00") || b.d.Counts().Again != 1 {
			t.Errorf("%v, %+v", m, b.d.Counts())
		}
		s.Close()
	})
}
