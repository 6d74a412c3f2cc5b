package uplink

import (
	"testing"
	"testing/synctest"
	"time"

	"davy/agent/wire"
)

func TestEventsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t)
		for range 30 {
			p.add(2, 200)
		}
		p.start(func(int) *line { return newLine(honest) })
		wait(t, 5*time.Second, "everything confirmed", func() bool { return p.backlog() == 0 })
		reading := false
		for i, m := range p.lines[0].messages() {
			if m.stream == wire.ReadingStream {
				reading = true
			} else if reading && m.stream == wire.EventStream {
				t.Errorf("message %d is of events and comes after readings of the backlog", i)
			}
			if len(m.e.Heads) < 2 || !m.e.OutputsArmed || !m.e.ClockTrusted || len(m.e.Plan) != 32 || m.e.Gateway != gateway {
				t.Errorf("message %d does not say what it should: %d heads", i, len(m.e.Heads))
			}
		}
		if !reading {
			t.Error("no readings came")
		}
		if s := p.u.Status(); !s.Connected || !s.Answering || s.Error != "" || s.Receipts == 0 || s.LastReceipt.Wall == 0 {
			t.Errorf("status %+v", s)
		}
	})
}

// An event that happens while a backlog of readings drains is the next message.
func TestEventOvertakesReadings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t)
		for range 200 {
			p.add(0, 1000)
		}
		l := newLine(func(l *line, e *wire.Envelope) {
			r := signed(l.take(e), key(2))
			time.AfterFunc(3*time.Second, func() { l.receipts <- r })
		})
		p.start(func(int) *line { return l })
		wait(t, 30*time.Second, "some readings sent", func() bool { return len(l.messages()) > 5 })
		at := len(l.messages())
		p.add(1, 0)
		wait(t, time.Second, "the event", func() bool {
			for i, m := range l.messages()[at:] {
				if m.stream == wire.EventStream {
					if i > 1 {
						t.Fatalf("%d messages of readings went before it", i)
					}
					return true
				}
			}
			return false
		})
		if p.backlog() == 0 {
			t.Error("nothing was left to overtake: the test proves nothing")
		}
		p.cancel()
		<-p.ended
	})
}

// Without receipts: back to the confirmed place after ReceiptWait, one message
// of the old ones at a time, but events that happen meanwhile go out all the same.
func TestRewind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t)
		for range 20 {
			p.add(1, 500)
		}
		mute := true
		l := newLine(func(l *line, e *wire.Envelope) {
			r := l.take(e)
			if !mute {
				l.receipts <- signed(r, key(2))
			}
		})
		p.start(func(int) *line { return l })
		wait(t, time.Second, "first messages", func() bool { return len(l.messages()) > 0 })
		began := l.messages()[0].at
		time.Sleep(DefaultReceiptWait - time.Second)
		synctest.Wait()
		before := len(l.messages())
		time.Sleep(1100 * time.Millisecond)
		synctest.Wait()
		got := l.messages()
		if len(got) != before+1 || got[before].e.Blocks[0].First != got[0].e.Blocks[0].First || got[before].stream != got[0].stream {
			t.Fatalf("%d messages before the wait was over, %d after: want one more, the first again", before, len(got))
		}
		if d := got[before].at.Sub(began); d < DefaultReceiptWait || d > DefaultReceiptWait+time.Second {
			t.Errorf("sent again after %v", d)
		}
		p.add(1, 100)
		wait(t, time.Second, "the new event", func() bool { return len(l.messages()) == before+2 })
		if m := l.messages()[before+1]; m.stream != wire.EventStream {
			t.Errorf("while probing a message of %s went out", m.stream)
		}
		if s := p.u.Status(); s.Rewinds != 1 || s.Error == "" {
			t.Errorf("status %+v", s)
		}
		mute = false
		wait(t, MaxReceiptWait, "everything confirmed", func() bool { return p.backlog() == 0 })
	})
}

// A destination that never answers is connected anew, ever more rarely, and
// nothing moves.
func TestNeverAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t)
		p.add(5, 100)
		all := p.backlog()
		p.start(func(int) *line { return newLine(nil) })
		time.Sleep(time.Hour)
		synctest.Wait()
		p.mu.Lock()
		dials := p.dials
		p.mu.Unlock()
		if dials < 10 || dials > 40 {
			t.Errorf("%d connections in an hour", dials)
		}
		if p.backlog() != all {
			t.Errorf("the backlog is %d of %d", p.backlog(), all)
		}
	})
}

func TestReceiptsThatDoNotFit(t *testing.T) {
	cases := []struct {
		code string
		spam func(r *wire.Receipt) []byte
	}{
		{"malformed", func(*wire.Receipt) []byte { return []byte("nonsense") }},
		{"malformed", func(*wire.Receipt) []byte {
			s := wire.Sign(wire.ReceiptKind, []byte{0xff, 0xff}, key(2))
			return s.Encode(nil)
		}},
		{"key", func(r *wire.Receipt) []byte { return signed(r, key(3)) }},
		{"signature", func(r *wire.Receipt) []byte {
			s := wire.Sign(wire.ReceiptKind, r.Encode(nil), key(2))
			s.Signature[3] ^= 1
			return s.Encode(nil)
		}},
		{"signature", func(r *wire.Receipt) []byte { // signed, but as something else
			s := wire.Sign(wire.EnvelopeKind, r.Encode(nil), key(2))
			return s.Encode(nil)
		}},
		{"version", func(r *wire.Receipt) []byte { r.Version = 9; return signed(r, key(2)) }},
		{"gateway", func(r *wire.Receipt) []byte { r.Gateway = "GW-2"; return signed(r, key(2)) }},
		{"destination", func(r *wire.Receipt) []byte { r.Destination = "scada"; return signed(r, key(2)) }},
		{"epoch", func(r *wire.Receipt) []byte { r.Epoch[0] ^= 1; return signed(r, key(2)) }},
		{"ahead", func(r *wire.Receipt) []byte { r.Upto[0].Number += 1000; return signed(r, key(2)) }},
		{"root", func(r *wire.Receipt) []byte { r.Upto[0].Root[31] ^= 1; return signed(r, key(2)) }},
		{"stream", func(r *wire.Receipt) []byte { r.Upto[0].Stream = "gossip"; return signed(r, key(2)) }},
	}
	for _, c := range cases {
		t.Run(c.code, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlant(t)
				p.add(3, 100)
				all := p.backlog()
				l := newLine(func(l *line, e *wire.Envelope) { l.receipts <- c.spam(l.take(e)) })
				p.start(func(int) *line { return l })
				wait(t, time.Second, "a refusal", func() bool { return p.u.Status().Refused > 0 })
				if p.backlog() != all {
					t.Errorf("the backlog moved from %d to %d", all, p.backlog())
				}
				if p.u.Status().Receipts != 0 {
					t.Error("it counted as a receipt")
				}
				p.cancel()
				<-p.ended
				if p.refused[c.code] == 0 || len(p.refused) != 1 {
					t.Errorf("refused %v, want %s", p.refused, c.code)
				}
			})
		})
	}
}

// A flood of bad receipts is reported at a bounded rate, costs bounded work,
// and does not keep a good one from counting later.
func TestFloodOfReceipts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t)
		p.add(3, 100)
		l := newLine(nil)
		p.start(func(n int) *line {
			if n == 1 {
				return l
			}
			return newLine(honest)
		})
		wait(t, time.Second, "messages", func() bool { return len(l.messages()) > 1 })
		for range 100 {
			for range 500 {
				l.receipts <- []byte("x")
			}
			time.Sleep(time.Second)
		}
		synctest.Wait()
		s := p.u.Status()
		if s.Refused > 101*ReceiptsPerSecond || s.Dropped < 100*(500-ReceiptsPerSecond)/2 {
			t.Errorf("%d checked, %d dropped", s.Refused, s.Dropped)
		}
		p.mu.Lock()
		reports := p.reports
		p.mu.Unlock()
		if reports < 1 || reports > 3 {
			t.Errorf("%d reports in 100 s", reports)
		}
		wait(t, 2*MaxReceiptWait, "everything confirmed", func() bool { return p.backlog() == 0 })
	})
}

// Connections that fail are tried again with a growing pause, and the backlog
// goes when one holds. A line that drops in the middle loses nothing.
func TestReconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t)
		for range 50 {
			p.add(1, 300)
		}
		cut := 0
		p.start(func(n int) *line {
			if n <= 5 {
				return nil
			}
			return newLine(func(l *line, e *wire.Envelope) {
				honest(l, e)
				if cut++; cut <= 3 {
					_ = l.Close()
				}
			})
		})
		wait(t, 5*time.Minute, "everything confirmed", func() bool { return p.backlog() == 0 })
		if p.dials < 8 {
			t.Errorf("%d connections", p.dials)
		}
	})
}

// BytesPerSecond holds readings to their pace, and never an event.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t)
		p.rate = 20_000
		for range 40 {
			p.add(0, 1000)
		}
		l := newLine(honest)
		p.start(func(int) *line { return l })
		began := time.Now()
		wait(t, time.Second, "a first message", func() bool { return len(l.messages()) > 1 })
		p.add(1, 0)
		wait(t, 300*time.Millisecond, "the event", func() bool {
			all := l.messages()
			return all[len(all)-1].stream == wire.EventStream && len(all[len(all)-1].e.Blocks) == 1 && all[len(all)-1].e.Blocks[0].First > 1
		})
		wait(t, 5*time.Minute, "everything confirmed", func() bool { return p.backlog() == 0 })
		took, bytes := time.Since(began).Seconds(), float64(p.u.Status().Bytes)
		if rate := bytes / took; rate > 1.6*20_000 || rate < 0.5*20_000 {
			t.Errorf("%.0f bytes in %.1f s", bytes, took)
		}
	})
}

// Run returns soon after its context, whatever the other side does.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t)
		p.add(1, 10)
		l := newLine(nil)
		p.start(func(int) *line { return l })
		wait(t, time.Second, "messages", func() bool { return len(l.messages()) > 0 })
		began := time.Now()
		p.stop()
		if d := time.Since(began); d > time.Second {
			t.Errorf("a destination that does not answer held it for %v", d)
		}
	})
}

// What was recorded just before the end still gets its receipt, within Grace.
func TestGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t)
		l := newLine(func(l *line, e *wire.Envelope) {
			r := signed(l.take(e), key(2))
			time.AfterFunc(300*time.Millisecond, func() { l.receipts <- r })
		})
		p.start(func(int) *line { return l })
		wait(t, 2*time.Second, "the start record confirmed", func() bool { return p.backlog() == 0 })
		p.add(1, 10)
		p.cancel()
		<-p.ended
		if n := p.backlog(); n != 0 {
			t.Errorf("%d records without receipt", n)
		}
	})
}
