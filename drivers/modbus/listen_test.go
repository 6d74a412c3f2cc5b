package modbus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"davy/drivers"
	"davy/drivers/tag"
)

// porch is a listener in a bubble: units dial in by call.
type porch struct {
	calls  chan net.Conn
	closed chan struct{}
	err    error
}

func (p *porch) Accept() (net.Conn, error) {
	if p.err != nil {
		return nil, p.err
	}
	select {
	case c := <-p.calls:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *porch) Close() error {
	select {
	case <-p.closed:
	default:
		close(p.closed)
	}
	return nil
}

func (p *porch) Addr() net.Addr { return &net.TCPAddr{} }

// caller is a connection that comes from an address.
type caller struct {
	net.Conn
	from string
}

func (c caller) RemoteAddr() net.Addr {
	a, err := net.ResolveTCPAddr("tcp", c.from)
	if err != nil {
		panic(err)
	}
	return a
}

// street is a hub with its porches.
type street struct {
	Hub
	porches []*porch
	refuse  error
}

func newStreet() *street {
	s := &street{}
	s.Listen = func(string) (net.Listener, error) {
		if s.refuse != nil {
			return nil, s.refuse
		}
		p := &porch{calls: make(chan net.Conn), closed: make(chan struct{})}
		s.porches = append(s.porches, p)
		return p, nil
	}
	return s
}

// call dials in to the newest porch and returns the unit's end.
func (s *street) call(from string) net.Conn {
	ours, theirs := net.Pipe()
	s.porches[len(s.porches)-1].calls <- caller{ours, from}
	return theirs
}

// answer is a unit that sends hello and then answers right until it is hung up on.
func answer(c net.Conn, hello string, beside string) {
	go func() {
		defer c.Close()
		if hello != "" { // a pipe waits for a reader even with nothing
			if _, err := c.Write([]byte(hello)); err != nil {
				return
			}
		}
		for q := receive(c); q != nil; q = receive(c) {
			if _, err := c.Write([]byte(beside + string(right(q)) + beside)); err != nil {
				return
			}
		}
	}()
}

// listener opens a link that listens, in a bubble or out of one.
func listener(t *testing.T, h *Hub, log *slog.Logger, target string, fields drivers.Fields) *link {
	t.Helper()
	d := TCP{Hub: h}
	settings, err := d.ParseLink(target, fields)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	l, err := d.Open(t.Context(), drivers.LinkConfig{Name: "u", Settings: settings, Timeout: wait, Log: log, Now: func() tag.Stamp {
		return tag.Stamp{Mono: int64(time.Since(start)) + 1}
	}})
	if err != nil {
		t.Fatal(err)
	}
	return l.(*link)
}

func good(t *testing.T, l *link, q drivers.Request) {
	t.Helper()
	rs, err := l.Read(t.Context(), q, nil)
	if err != nil || !rs[0].Quality.Good() || rs[0].Value != tag.IntValue(int64(q.Points()[0].Address.(Address).Number)) {
		t.Error(rs, err)
	}
}

func TestAUnitDialsIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreet()
		l := listener(t, &s.Hub, nil, "listen :5020", nil)
		q := request1(t, 1, "holding 100")
		from := time.Now()
		rs, err := l.Read(t.Context(), q, nil)
		if took := time.Since(from); took != wait || !errors.Is(err, errNobody) || rs[0].Quality != tag.BadNoComm {
			t.Error(took, rs, err)
		}
		time.AfterFunc(wait/2, func() { answer(s.call("10.0.0.1:9"), "", "") })
		good(t, l, q) // waits for the unit within its time
		if len(s.porches) != 1 {
			t.Error(len(s.porches), "listeners")
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		<-s.porches[0].closed
	})
}

// Links of one port are told apart by what their units send first.
func TestRegistrationTellsUnitsApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreet()
		var out bytes.Buffer
		log := slog.New(slog.NewTextHandler(&out, nil))
		a := listener(t, &s.Hub, log, "listen 0.0.0.0:5020", drivers.Fields{"registration": "JY01"})
		b := listener(t, &s.Hub, log, "listen :5020", drivers.Fields{"registration": "0x4a593031 32"}) // JY012
		q1, q2 := request1(t, 1, "holding 1"), request1(t, 1, "holding 2")
		a.Read(t.Context(), q1, nil) // opens the door
		if len(s.porches) != 1 {
			t.Fatal(len(s.porches), "listeners")
		}
		split := s.call("10.0.0.2:7") // in two pieces, the first of them the other's
		go func() {
			split.Write([]byte("JY01"))
			time.Sleep(time.Second)
			answer(split, "2", "")
		}()
		time.Sleep(2 * time.Second)
		good(t, b, q2)
		if _, err := a.Read(t.Context(), q1, nil); !errors.Is(err, errNobody) {
			t.Error(err)
		}
		one := s.call("10.0.0.1:7")
		go func() { answer(one, "JY01", "") }()
		time.Sleep(RegistrationTime) // it might have been the longer one
		good(t, a, q1)
		good(t, b, q2)

		stranger := s.call("10.0.0.3:7")
		stranger.Write([]byte("JX"))
		if _, err := stranger.Read(make([]byte, 1)); err == nil {
			t.Error("a stranger was not hung up on")
		}
		from := time.Now()
		for range 3 {
			if _, err := s.call("10.0.0.4:7").Read(make([]byte, 1)); err == nil {
				t.Error("who says nothing was not hung up on")
			}
		}
		if took := time.Since(from); took != 3*RegistrationTime {
			t.Errorf("they were waited for %v", took)
		}
		for text, want := range map[string]int{"JX": 1, "no registration": 1} {
			if n := strings.Count(out.String(), text); n != want {
				t.Errorf("%q stands %d times in\n%s", text, n, out.String())
			}
		}
		a.Close()
		good(t, b, q2) // the door is open for the other
		b.Close()
		<-s.porches[0].closed
	})
}

func TestOnlyFromMayDialIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreet()
		l := listener(t, &s.Hub, nil, "listen :5020", drivers.Fields{"from": "10.8.0.0/16, 192.168.1.7"})
		l.Read(t.Context(), request1(t, 1, "holding 1"), nil)
		for from, in := range map[string]bool{"10.8.3.4:1": true, "[::ffff:10.8.3.4]:1": true, "192.168.1.7:1": true, "192.168.1.8:1": false, "[fe80::1%eth0]:1": false} {
			c := s.call(from)
			c.SetReadDeadline(time.Now().Add(time.Second))
			if _, err := c.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) != in {
				t.Errorf("%s: %v", from, err)
			}
			c.Close()
		}
		l.Close()
	})
}

// A unit that lost its network dials in again and leaves the old connection
// half open: with a registration the newest takes its place at once and costs
// no reading; without one it waits until the older is silent.
func TestTheNewestConnectionReplacesAnOlder(t *testing.T) {
	for _, fields := range []drivers.Fields{nil, {"registration": "JY"}} {
		t.Run(fmt.Sprint(fields), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStreet()
				l := listener(t, &s.Hub, nil, "listen :5020", fields)
				defer l.Close()
				q := request1(t, 1, "holding 100")
				l.Read(t.Context(), q, nil)
				old := s.call("10.0.0.1:1")
				go func() {
					if fields != nil {
						old.Write([]byte(fields["registration"]))
					}
					old.Write(right(receive(old)))
					for receive(old) != nil { // half open: nothing comes back any more
					}
				}()
				synctest.Wait()
				good(t, l, q)
				if fields == nil {
					answer(s.call("10.0.0.1:2"), "", "")
					synctest.Wait()
				} else { // in the middle of a request
					time.AfterFunc(wait/3, func() { answer(s.call("10.0.0.1:2"), "JY", "") })
				}
				began := time.Now()
				if fields == nil {
					if rs, _ := l.Read(t.Context(), q, nil); rs[0].Quality != tag.BadNoComm {
						t.Error(rs)
					}
				}
				good(t, l, q)
				if took := time.Since(began); fields != nil && took != wait/3 {
					t.Errorf("it took %v", took)
				}
				if fields == nil {
					return
				}
				answer(s.call("10.0.0.1:3"), "JY", "") // and while nothing is asked
				synctest.Wait()
				good(t, l, q)
				if c := l.Counts(); c.Silent != 0 {
					t.Errorf("%+v", c)
				}
			})
		})
	}
}

// What a unit sends beside answers is taken out of the stream, wherever it
// comes between two of them.
func TestAHeartbeatIsNoAnswer(t *testing.T) {
	for _, beat := range []string{"0xfe", "0x0000", "heart"} {
		t.Run(beat, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStreet()
				l := listener(t, &s.Hub, nil, "listen :5020", drivers.Fields{"heartbeat": beat, "registration": "JY0231"})
				raw, _ := packet(beat)
				q := request1(t, 1, "holding 100")
				l.Read(t.Context(), q, nil)
				answer(s.call("10.0.0.1:1"), "JY0231"+string(raw), string(raw)+"JY0231"+string(raw))
				synctest.Wait()
				m := l.channel.(*mbap)
				good(t, l, q)
				like := func(id uint16) bool { return byte(id>>8) == raw[0] || byte(id>>8) == 'J' }
				all := mbap{packets: m.packets, id: m.id, stride: m.stride}
				seen := map[uint16]bool{}
				for range 1 << 16 {
					all.next()
					seen[all.id] = true
					if like(all.id) {
						t.Fatalf("id %#x begins like a packet", all.id)
					}
				}
				if len(seen) != 1<<16-2*256 {
					t.Errorf("%d ids are used", len(seen))
				}
				for _, first := range []byte{raw[0], 'J', 0, 0xff} { // over what is left out, on the wire
					m.id, m.stride = uint16(first)<<8-10, 1
					for range 300 {
						good(t, l, q)
						if like(m.id) {
							t.Fatalf("id %#x begins like a packet", m.id)
						}
					}
				}
				if c := l.Counts(); c.Dialed != 2 || c.Lost != 0 || c.Dropped != 0 {
					t.Errorf("%+v", c)
				}
				l.Close()
			})
		})
	}
}

// However many dial in, few are held.
func TestAFloodIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreet()
		var out bytes.Buffer
		l := listener(t, &s.Hub, slog.New(slog.NewTextHandler(&out, nil)), "listen :5020", drivers.Fields{"registration": "JY"})
		q := request1(t, 1, "holding 100")
		l.Read(t.Context(), q, nil)
		before := runtime.NumGoroutine()
		var all []net.Conn
		for i := range 400 {
			all = append(all, s.call(fmt.Sprintf("10.0.%d.%d:1", i/200, i%200)))
		}
		synctest.Wait()
		n := runtime.NumGoroutine() - before
		for range 10_000_000 { // one that is done is counted until the scheduler has put it away
			if n <= MaxGreeting {
				break
			}
			runtime.Gosched()
			n = runtime.NumGoroutine() - before
		}
		if n > MaxGreeting {
			t.Errorf("%d goroutines more", n)
		}
		answer(s.call("10.9.9.9:1"), "JY", "") // the good one has its place all the same
		synctest.Wait()
		good(t, l, q)
		time.Sleep(2 * RegistrationTime)
		for _, c := range all {
			if _, err := c.Write([]byte("x")); err == nil {
				t.Error("one of them is still there")
			}
		}
		if n := strings.Count(out.String(), "connection refused"); n != MaxRemarks {
			t.Errorf("%d refusals were logged", n)
		}
		l.Close()
	})
}

// A port that cannot be listened to is an error of the link, and tried again.
func TestAPortThatIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreet()
		s.refuse = errors.New("address already in use")
		l := listener(t, &s.Hub, nil, "listen :5020", nil)
		q := request1(t, 1, "holding 100")
		if _, err := l.Read(t.Context(), q, nil); !errors.Is(err, s.refuse) {
			t.Error(err)
		}
		s.refuse = nil
		time.Sleep(RedialFirst)
		l.Read(t.Context(), q, nil)
		answer(s.call("10.0.0.1:1"), "", "")
		synctest.Wait()
		good(t, l, q)
		// Where accepting fails later, it is begun again when the unit is missed.
		s.porches[0].err = errors.New("too many open files")
		s.call("10.0.0.1:2").Close()
		synctest.Wait()
		l.channel.(*mbap).conn.Close()
		for range 10 {
			if len(s.porches) > 1 {
				break
			}
			l.Read(t.Context(), q, nil)
			time.Sleep(time.Second)
		}
		answer(s.call("10.0.0.1:3"), "", "")
		synctest.Wait()
		good(t, l, q)
		l.Close()
	})
}

// Closing ends a Read's wait for a unit no sooner than its context does, and
// leaves nothing behind on real sockets.
func TestListeningLeavesNothingBehind(t *testing.T) {
	var h Hub
	var bound net.Listener
	h.Listen = func(string) (net.Listener, error) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		bound = l
		return l, err
	}
	goroutines := runtime.NumGoroutine()
	for range 20 {
		l := listener(t, &h, nil, "listen 127.0.0.1:5020", drivers.Fields{"registration": "JY"})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		l.Read(ctx, request1(t, 1, "holding 1"), nil)
		if _, err := l.channel.(*mbap).way.seat.take(); err != nil {
			t.Fatal(err)
		}
		c, err := net.Dial("tcp", bound.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("it was not hung up on")
		}
		c.Close()
	}
	// Close has waited for all of them to be done, but a goroutine that is done
	// is counted until the scheduler has put it away. One that hangs stays.
	n := runtime.NumGoroutine()
	for end := time.Now().Add(30 * time.Second); n > goroutines && time.Now().Before(end); n = runtime.NumGoroutine() {
		runtime.Gosched()
	}
	if n > goroutines {
		stacks := make([]byte, 1<<16)
		t.Errorf("%d goroutines, %d before:\n%s", n, goroutines, stacks[:runtime.Stack(stacks, true)])
	}
}
