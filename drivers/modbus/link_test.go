package modbus

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"davy/drivers"
	"davy/drivers/tag"
)

// peer is the device's end of the connections a link makes, in a bubble.
// serve is called with the number of the connection, from 0; nil refuses it.
type peer struct {
	serve  func(n int) func(c net.Conn)
	dialed int
}

var errRefused = errors.New("connection refused")

func (p *peer) dial(ctx context.Context, _ string) (Port, error) {
	n := p.dialed
	p.dialed++
	serve := p.serve(n)
	if serve == nil {
		return nil, errRefused
	}
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		serve(theirs)
	}()
	return ours, ctx.Err()
}

// receive reads one request; nil when the connection is over.
func receive(c net.Conn) []byte {
	b := make([]byte, maxADU)
	if _, err := io.ReadFull(c, b[:header]); err != nil {
		return nil
	}
	n := 6 + int(binary.BigEndian.Uint16(b[4:]))
	if _, err := io.ReadFull(c, b[header:n]); err != nil {
		return nil
	}
	return b[:n]
}

// reply frames a PDU as the answer to request.
func reply(request []byte, pdu ...byte) []byte {
	out := append(append([]byte(nil), request[:4]...), 0, byte(1+len(pdu)), request[6])
	return append(out, pdu...)
}

// right is the right answer to a read: every register holds its address.
func right(request []byte) []byte {
	first, count := binary.BigEndian.Uint16(request[8:]), binary.BigEndian.Uint16(request[10:])
	pdu := []byte{request[7], byte(2 * count)}
	for i := range count {
		pdu = binary.BigEndian.AppendUint16(pdu, first+i)
	}
	return reply(request, pdu...)
}

const wait = 300 * time.Millisecond

// bubble runs f in a bubble with a link to p.
func bubble(t *testing.T, p *peer, f func(t *testing.T, l *link)) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		now := func() tag.Stamp { return tag.Stamp{Wall: time.Now().UnixNano(), Mono: int64(time.Since(start))} }
		opened, err := TCP{Dial: p.dial}.Open(t.Context(), drivers.LinkConfig{Name: "plc", Settings: drivers.Settings{Target: "plc:502"}, Timeout: wait, Now: now})
		if err != nil {
			t.Fatal(err)
		}
		l := opened.(*link)
		f(t, l)
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		synctest.Wait() // what the peer noted may be read now
	})
}

// request1 plans one request for the registers at, one point each.
func request1(t *testing.T, station int, at ...string) drivers.Request {
	t.Helper()
	var points []drivers.Point
	for i, s := range at {
		p := point(t, s, "")
		p.Tag, p.Station = tag.ID(i+1), station
		points = append(points, p)
	}
	requests, err := TCP{}.Plan(drivers.Settings{}, points)
	if err != nil || len(requests) != 1 {
		t.Fatal(len(requests), err)
	}
	return requests[0]
}

func TestReadingsCarryTheTimeOfTheirAnswer(t *testing.T) {
	p := &peer{serve: func(int) func(net.Conn) {
		return func(c net.Conn) {
			for q := receive(c); q != nil; q = receive(c) {
				time.Sleep(20 * time.Millisecond)
				c.Write(right(q))
			}
		}
	}}
	bubble(t, p, func(t *testing.T, l *link) {
		rs, err := l.Read(t.Context(), request1(t, 3, "holding 7", "holding 9"), nil)
		if err != nil || len(rs) != 2 {
			t.Fatal(rs, err)
		}
		for i, want := range []int64{7, 9} {
			if r := rs[i]; r.Value != tag.IntValue(want) || r.Quality != tag.GoodQuality || r.Tag != tag.ID(i+1) || r.Received.Mono != int64(20*time.Millisecond) {
				t.Errorf("%+v", r)
			}
		}
	})
}

func TestSilenceIsNamed(t *testing.T) {
	p := &peer{serve: func(int) func(net.Conn) {
		return func(c net.Conn) {
			for receive(c) != nil {
			}
		}
	}}
	bubble(t, p, func(t *testing.T, l *link) {
		from := time.Now()
		rs, err := l.Read(t.Context(), request1(t, 3, "holding 0", "holding 19", "holding 9"), nil)
		want := "read plc station 3 holding 0..19 (ref 40001..40020): no answer within 300ms"
		if err == nil || err.Error() != want {
			t.Errorf("%v\nwant %s", err, want)
		}
		if took := time.Since(from); took != wait {
			t.Errorf("it took %v", took)
		}
		for _, r := range rs {
			if r.Quality != tag.BadNoComm || r.Value != (tag.Value{}) || r.Received.Mono != int64(wait) {
				t.Errorf("%+v", r)
			}
		}
		// A shorter deadline of the caller is obeyed and named.
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := l.Read(ctx, request1(t, 3, "holding 5"), nil); err == nil || !strings.HasSuffix(err.Error(), "no answer within 50ms") {
			t.Error(err)
		}
	})
}

func TestALateAnswerLandsNowhere(t *testing.T) {
	p := &peer{serve: func(int) func(net.Conn) {
		return func(c net.Conn) {
			late := receive(c)
			next := receive(c)
			c.Write(right(late)) // in the middle of the next request
			time.Sleep(10 * time.Millisecond)
			c.Write(right(late)) // and once more
			c.Write(right(next))
			for q := receive(c); q != nil; q = receive(c) {
				c.Write(right(q))
			}
		}
	}}
	bubble(t, p, func(t *testing.T, l *link) {
		a, b := request1(t, 1, "holding 100"), request1(t, 1, "holding 200")
		if rs, err := l.Read(t.Context(), a, nil); err == nil || rs[0].Quality != tag.BadNoComm {
			t.Error(rs, err)
		}
		for range 3 {
			rs, err := l.Read(t.Context(), b, nil)
			if err != nil || rs[0].Value != tag.IntValue(200) || !rs[0].Quality.Good() {
				t.Error(rs, err)
			}
		}
		if c := l.Counts(); c.Dropped != 2 || c.Silent != 1 || c.Dialed != 1 || c.Lost != 0 || c.Asked != 4 || c.Answered != 3 {
			t.Errorf("%+v", c)
		}
	})
}

// Answers with one thing wrong each: none is good, and a stream that cannot be
// followed costs the connection.
func TestAWrongAnswerIsNeverGood(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(request, answer []byte) []byte
		want  tag.Quality
		lost  bool
	}{
		"transaction":    {func(q, a []byte) []byte { a[1]++; return a }, tag.BadNoComm, false},
		"protocol":       {func(q, a []byte) []byte { a[3] = 1; return a }, tag.BadDeviceFault, true},
		"length 0":       {func(q, a []byte) []byte { a[5] = 0; return a }, tag.BadDeviceFault, true},
		"length 1":       {func(q, a []byte) []byte { a[5] = 1; return a }, tag.BadDeviceFault, true},
		"length too big": {func(q, a []byte) []byte { a[4] = 2; return a }, tag.BadDeviceFault, true},
		"length lies":    {func(q, a []byte) []byte { a[5]--; return a }, tag.BadDeviceFault, true},
		"unit":           {func(q, a []byte) []byte { a[6]++; return a }, tag.BadDeviceFault, false},
		"function":       {func(q, a []byte) []byte { a[7] = 4; return a }, tag.BadDeviceFault, false},
		"byte count":     {func(q, a []byte) []byte { a[8]++; return a }, tag.BadDeviceFault, false},
		"short": {func(q, a []byte) []byte {
			data := a[9 : len(a)-2]
			return reply(q, append([]byte{3, byte(len(data))}, data...)...)
		}, tag.BadDeviceFault, false},
		"long": {func(q, a []byte) []byte {
			return reply(q, append([]byte{3, byte(len(a) - 7)}, append(a[9:], 0, 9)...)...)
		}, tag.BadDeviceFault, false},
		"empty":            {func(q, a []byte) []byte { return reply(q, 3, 0) }, tag.BadDeviceFault, false},
		"nothing":          {func(q, a []byte) []byte { return reply(q, 3) }, tag.BadDeviceFault, false},
		"exception":        {func(q, a []byte) []byte { return reply(q, 0x83, 4) }, tag.BadDeviceFault, false},
		"long exception":   {func(q, a []byte) []byte { return reply(q, 0x83, 2, 0) }, tag.BadDeviceFault, false},
		"other exception":  {func(q, a []byte) []byte { return reply(q, 0x84, 2) }, tag.BadDeviceFault, false},
		"illegal address":  {func(q, a []byte) []byte { return reply(q, 0x83, 2) }, tag.BadConfig, false},
		"illegal function": {func(q, a []byte) []byte { return reply(q, 0x83, 1) }, tag.BadConfig, false},
		"busy":             {func(q, a []byte) []byte { return reply(q, 0x83, 6) }, tag.BadDeviceFault, false},
		"gateway":          {func(q, a []byte) []byte { return reply(q, 0x83, 11) }, tag.BadNoComm, false},
		"cut":              {func(q, a []byte) []byte { return a[:len(a)-1] }, tag.BadNoComm, true},
		"trailing":         {func(q, a []byte) []byte { return append(a, 1, 2, 3, 4, 5, 6, 7) }, tag.BadDeviceFault, true},
	} {
		t.Run(name, func(t *testing.T) {
			p := &peer{serve: func(int) func(net.Conn) {
				return func(conn net.Conn) {
					for q := receive(conn); q != nil; q = receive(conn) {
						conn.Write(c.spoil(q, right(q)))
					}
				}
			}}
			bubble(t, p, func(t *testing.T, l *link) {
				rs, _ := l.Read(t.Context(), request1(t, 1, "holding 7", "holding 8"), nil)
				for _, r := range rs {
					if r.Quality != c.want || r.Value != (tag.Value{}) {
						t.Errorf("%+v, want %#x", r, uint32(c.want))
					}
				}
				if lost := l.Counts().Lost > 0; lost != c.lost {
					t.Errorf("connection lost: %v, want %v", lost, c.lost)
				}
			})
		})
	}
}

// A device that numbers its answers by itself never meets an id of ours by counting.
func TestADeviceThatCountsIsNeverBelieved(t *testing.T) {
	p := &peer{serve: func(int) func(net.Conn) {
		return func(c net.Conn) {
			for q := receive(c); q != nil; q = receive(c) {
				ahead := right(q)
				binary.BigEndian.PutUint16(ahead, binary.BigEndian.Uint16(q)+1)
				c.Write(append(right(q), ahead...))
			}
		}
	}}
	bubble(t, p, func(t *testing.T, l *link) {
		a, b := request1(t, 1, "holding 100"), request1(t, 1, "holding 200")
		for range 50 {
			for _, q := range []drivers.Request{a, b} {
				rs, err := l.Read(t.Context(), q, nil)
				if want := q.Points()[0].Address.(Address).Number; err != nil || rs[0].Value != tag.IntValue(int64(want)) {
					t.Fatal(rs, err)
				}
			}
		}
	})
}

func TestIDsDoNotComeTwiceWhereAnAnswerIsOwed(t *testing.T) {
	seen := map[uint16]int{}
	p := &peer{serve: func(n int) func(net.Conn) {
		return func(c net.Conn) {
			first := true
			for q := receive(c); q != nil; q = receive(c) {
				if n == 0 {
					seen[binary.BigEndian.Uint16(q)]++
				}
				if n > 0 || !first {
					c.Write(right(q))
				}
				first = false
			}
		}
	}}
	bubble(t, p, func(t *testing.T, l *link) {
		q := request1(t, 1, "holding 100")
		var dst []tag.Reading
		for range 1<<16 + 10 {
			dst, _ = l.Read(t.Context(), q, dst[:0])
		}
		if len(seen) != 1<<16 {
			t.Errorf("%d ids were used on the first connection", len(seen))
		}
		for id, n := range seen {
			if n != 1 {
				t.Fatalf("id %d came %d times while an answer was owed", id, n)
			}
		}
		if p.dialed != 2 {
			t.Errorf("%d connections", p.dialed)
		}
		l.channel.(*mbap).used = 1<<16 - 10
		for range 1000 { // the second connection owes nothing and may go round
			dst, _ = l.Read(t.Context(), q, dst[:0])
		}
		if p.dialed != 2 || !dst[0].Quality.Good() {
			t.Errorf("%d connections, %v", p.dialed, dst)
		}
	})
}

func TestRedialBacksOff(t *testing.T) {
	p := &peer{serve: func(n int) func(net.Conn) {
		if n < 12 {
			return nil
		}
		return func(c net.Conn) {
			for q := receive(c); q != nil; q = receive(c) {
				c.Write(right(q))
			}
		}
	}}
	bubble(t, p, func(t *testing.T, l *link) {
		q := request1(t, 1, "holding 100")
		start, last, dialed := time.Now(), time.Duration(0), 0
		pause := RedialFirst
		for {
			rs, err := l.Read(t.Context(), q, nil)
			if p.dialed > dialed {
				at := time.Since(start)
				if gap := at - last; dialed > 0 && (gap < pause/2 || gap > pause+2*time.Millisecond) {
					t.Errorf("attempt %d came after %v, want %v to %v", dialed, gap, pause/2, pause)
				} else if dialed > 0 {
					pause = min(2*pause, RedialLast)
				}
				last, dialed = at, p.dialed
			}
			if err == nil {
				if !rs[0].Quality.Good() {
					t.Error(rs)
				}
				break
			}
			if !errors.Is(err, errRefused) || rs[0].Quality != tag.BadNoComm {
				t.Fatal(rs, err)
			}
			time.Sleep(time.Millisecond)
		}
		if pause != RedialLast {
			t.Errorf("the pause came to %v only", pause)
		}
	})
}

// Connections that are accepted and lead nowhere are fruitless too.
func TestAcceptedAndClosedBacksOff(t *testing.T) {
	p := &peer{serve: func(int) func(net.Conn) { return func(net.Conn) {} }}
	bubble(t, p, func(t *testing.T, l *link) {
		q := request1(t, 1, "holding 100")
		for range 1000 {
			l.Read(t.Context(), q, nil)
			time.Sleep(10 * time.Millisecond)
		}
		if p.dialed < 3 || p.dialed > 12 {
			t.Errorf("%d connections in ten seconds", p.dialed)
		}
	})
}

func TestAClosedIdleConnectionCostsNoReading(t *testing.T) {
	p := &peer{serve: func(int) func(net.Conn) {
		return func(c net.Conn) { c.Write(right(receive(c))) } // one answer, then closed
	}}
	bubble(t, p, func(t *testing.T, l *link) {
		q := request1(t, 1, "holding 100")
		for range 5 {
			rs, err := l.Read(t.Context(), q, nil)
			if err != nil || !rs[0].Quality.Good() {
				t.Fatal(rs, err)
			}
			synctest.Wait()
		}
	})
}

func TestASilentConnectionIsReplaced(t *testing.T) {
	p := &peer{serve: func(n int) func(net.Conn) {
		return func(c net.Conn) {
			for q := receive(c); q != nil; q = receive(c) {
				if n > 0 {
					c.Write(right(q))
				}
			}
		}
	}}
	bubble(t, p, func(t *testing.T, l *link) {
		q := request1(t, 1, "holding 100")
		for range SilentLimit {
			if rs, _ := l.Read(t.Context(), q, nil); rs[0].Quality != tag.BadNoComm {
				t.Error(rs)
			}
		}
		if rs, err := l.Read(t.Context(), q, nil); err != nil || !rs[0].Quality.Good() || p.dialed != 2 {
			t.Error(rs, err)
		}
	})
}

// A silent station behind a gateway does not cost a connection every few requests.
func TestSilenceForEverCostsFewConnections(t *testing.T) {
	p := &peer{serve: func(int) func(net.Conn) {
		return func(c net.Conn) {
			for receive(c) != nil {
			}
		}
	}}
	bubble(t, p, func(t *testing.T, l *link) {
		q := request1(t, 1, "holding 100")
		for range 1000 {
			l.Read(t.Context(), q, nil)
		}
		if n := 1000/(SilentLimit<<SilentDoublings) + SilentDoublings + 1; p.dialed < 5 || p.dialed > n {
			t.Errorf("%d connections in 1000 requests, want at most %d", p.dialed, n)
		}
	})
}

func TestCancelInterrupts(t *testing.T) {
	for name, serve := range map[string]func(c net.Conn){
		"in the read":  func(c net.Conn) { io.Copy(io.Discard, c) },
		"in the write": func(c net.Conn) { time.Sleep(time.Second) }, // a pipe takes nothing that nobody reads
	} {
		t.Run(name, func(t *testing.T) {
			p := &peer{serve: func(int) func(net.Conn) { return serve }}
			bubble(t, p, func(t *testing.T, l *link) {
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(10*time.Millisecond, cancel)
				from := time.Now()
				rs, err := l.Read(ctx, request1(t, 1, "holding 1", "holding 2"), nil)
				if took := time.Since(from); took != 10*time.Millisecond || !errors.Is(err, context.Canceled) {
					t.Errorf("after %v: %v", took, err)
				}
				if len(rs) != 2 || rs[0].Quality != tag.BadNoComm || rs[1].Quality != tag.BadNoComm {
					t.Error(rs)
				}
				time.Sleep(2 * time.Second) // until the peer is over
			})
		})
	}
	t.Run("in the dial", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			dial := func(ctx context.Context, _ string) (Port, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			l, _ := TCP{Dial: dial}.Open(t.Context(), drivers.LinkConfig{Timeout: wait, Now: func() tag.Stamp { return tag.Stamp{} }})
			from := time.Now()
			l.Read(t.Context(), request1(t, 1, "holding 1"), nil)
			if took := time.Since(from); took != wait {
				t.Errorf("a dial that leads nowhere took %v", took)
			}
		})
	})
}

// The end of one call's context does not touch the next call.
func TestAnOldContextDoesNotInterrupt(t *testing.T) {
	p := &peer{serve: func(int) func(net.Conn) {
		return func(c net.Conn) {
			for q := receive(c); q != nil; q = receive(c) {
				time.Sleep(100 * time.Millisecond)
				c.Write(right(q))
			}
		}
	}}
	bubble(t, p, func(t *testing.T, l *link) {
		q := request1(t, 1, "holding 1")
		for i := range 20 {
			ctx, cancel := context.WithCancel(t.Context())
			if _, err := l.Read(ctx, q, nil); err != nil {
				t.Error(i, err)
			}
			time.AfterFunc(time.Duration(i*5)*time.Millisecond, cancel) // within the next call
		}
		time.Sleep(time.Second)
	})
}

func TestLogsChangesOnly(t *testing.T) {
	p := &peer{serve: func(n int) func(net.Conn) {
		return func(c net.Conn) {
			for q := receive(c); q != nil && n%2 == 0; q = receive(c) {
				c.Write(reply(q, 0x83, 2))
				if n == 0 {
					return
				}
			}
		}
	}}
	var out bytes.Buffer
	bubble(t, p, func(t *testing.T, l *link) {
		l.log = slog.New(slog.NewTextHandler(&out, nil))
		l.channel.(*mbap).log = l.log
		q := request1(t, 1, "holding 1")
		for range 200 {
			l.Read(t.Context(), q, nil)
			time.Sleep(100 * time.Millisecond)
		}
	})
	for what, most := range map[string]int{"device answering": 2, "connection lost": 1, "address refused": 1} {
		if n := strings.Count(out.String(), what); n == 0 || n > most {
			t.Errorf("%q stands %d times in\n%s", what, n, out.String())
		}
	}
}
