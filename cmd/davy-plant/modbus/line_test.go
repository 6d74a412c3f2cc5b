package modbus

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"davy/drivers/tag"
)

func now() tag.Stamp { return tag.Stamp{} }

// bus is a line with m on it, in a bubble: what is said is answered within its time.
type bus struct {
	t *testing.T
	c net.Conn
}

func onLine(t *testing.T, l Line, m *memory, f func(b bus)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- l.Serve(ctx, theirs, m, now) }()
		f(bus{t, ours})
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// hear returns what comes within d.
func (b bus) hear(d time.Duration) []byte {
	b.t.Helper()
	if err := b.c.SetReadDeadline(time.Now().Add(d)); err != nil {
		b.t.Fatal(err)
	}
	all, _ := io.ReadAll(b.c) // ends with the deadline
	return all
}

func (b bus) say(data []byte) {
	b.t.Helper()
	if _, err := b.c.Write(data); err != nil {
		b.t.Fatal(err)
	}
}

func (b bus) ask(req, want string) {
	b.t.Helper()
	b.say(frame(b.t, req))
	if got := b.hear(time.Second); !bytes.Equal(got, frame(b.t, want)) {
		b.t.Errorf("%s\n got %x\nwant %s", req, got, want)
	}
}

// RTU as it is on the wire; the sums of the first two are those of the
// specification's and of common manuals' examples.
func TestRTU(t *testing.T) {
	m := &memory{reply: func(r Request) (Reply, bool) { return Reply{Silent: true}, r.Unit == 9 }}
	onLine(t, Line{Framing: RTU}, m, func(b bus) {
		b.ask("11 03 006b 0003 7687", "11 03 06 006b 006c 006d c88c")
		b.ask("01 03 0000 000a c5cd", "01 03 14 0000 0001 0002 0003 0004 0005 0006 0007 0008 0009 cd51")
		b.ask("01 03 0000 000a c5cc", "")                     // a wrong sum
		b.ask("00 06 0001 0003 9819", "")                     // to everybody
		b.ask("09 03 0000 0001 8542", "")                     // not here
		b.ask("01 07 41e2", "01 87 01 8230")                  // a function that is not here
		b.ask("ff 01 03 0000 000a c5cd", "")                  // noise before it spoils it
		b.ask("01 06 0001 0003 980b", "01 06 0001 0003 980b") // and is forgotten
		for _, x := range frame(t, "01 06 0001 0003 980b") {
			b.say([]byte{x})
			time.Sleep(10 * time.Millisecond)
		}
		if got := b.hear(time.Second); !bytes.Equal(got, frame(t, "01 06 0001 0003 980b")) {
			t.Errorf("in pieces: %x", got)
		}
		b.say(frame(t, "01 06 0001")) // the rest never comes
		time.Sleep(StillAfter + time.Millisecond)
		b.ask("01 06 0001 0003 980b", "01 06 0001 0003 980b")
		b.say(bytes.Repeat([]byte{0x55}, 3*maxRTU))
		time.Sleep(StillAfter + time.Millisecond)
		b.ask("01 06 0001 0003 980b", "01 06 0001 0003 980b")
	})
	if len(m.writes) != 4 {
		t.Errorf("%d writes", len(m.writes))
	}
}

// ASCII: the same, in letters.
func TestASCII(t *testing.T) {
	onLine(t, Line{Framing: ASCII}, &memory{}, func(b bus) {
		f := func(req, want string) {
			t.Helper()
			b.say([]byte(req))
			if got := string(b.hear(time.Second)); got != want {
				t.Errorf("%q: got %q, want %q", req, got, want)
			}
		}
		f(":1103006B00037E\r\n", ":110306006B006C006DA2\r\n")
		f(":1103006B00037F\r\n", "")
		f("noise:11:1103006B00037E\r\n", ":110306006B006C006DA2\r\n")
		f(":1103006b00037e\n", ":110306006B006C006DA2\r\n")
		f(":11\r\n:0107F8\r\n", ":01870177\r\n")
		f(":zz\r\n"+strings.Repeat("x", 3*maxASCII), "")
		f(":0106000100030000", "")
		f(":1103006B00037E\r\n", ":110306006B006C006DA2\r\n")
	})
}

// What a Reply asks of a line, byte by byte and by the clock.
func TestLineFaults(t *testing.T) {
	var rep Reply
	m := &memory{reply: func(Request) (Reply, bool) { rep.Words = []uint16{7}; return rep, true }}
	const req, sound = "01 03 0000 0001 840a", "01 03 02 0007 f986"
	l := Line{Framing: RTU, Turn: 4 * time.Millisecond}
	f := func(r Reply, want string, after time.Duration) {
		t.Helper()
		rep = r
		onLine(t, l, m, func(b bus) {
			b.say(frame(b.t, req))
			began := time.Now()
			first := make([]byte, 1)
			if want == "" {
				if got := b.hear(5 * time.Second); len(got) > 0 {
					b.t.Errorf("%+v: got %x", r, got)
				}
				return
			}
			if _, err := io.ReadFull(b.c, first); err != nil {
				b.t.Fatal(err)
			}
			if d := time.Since(began); d != after {
				b.t.Errorf("%+v: after %v, want %v", r, d, after)
			}
			if got := append(first, b.hear(5*time.Second)...); !bytes.Equal(got, frame(b.t, want)) {
				b.t.Errorf("%+v\n got %x\nwant %s", r, got, want)
			}
		})
	}
	f(Reply{}, sound, l.Turn)
	f(Reply{Delay: time.Second}, sound, time.Second+l.Turn)
	f(Reply{Silent: true}, "", 0)
	f(Reply{Reset: true}, "", 0)
	f(Reply{Function: 4}, "01 04 02 0007 f8f2", l.Turn)
	f(Reply{Station: 2}, "02 03 02 0007 bd86", l.Turn)
	f(Reply{Cut: 2}, "01 03 00 20f0", l.Turn)
	f(Reply{Extra: 2}, "01 03 04 0007 0000 4bf2", l.Turn)
	f(Reply{Garbled: true}, "01 03 02 2407 f986", l.Turn)
	f(Reply{Copies: 1}, sound+sound, l.Turn)
	f(Reply{Split: 20 * time.Millisecond}, sound, l.Turn)
	rep = Reply{Split: 20 * time.Millisecond}
	onLine(t, l, m, func(b bus) {
		b.say(frame(b.t, req))
		if got := b.hear(50 * time.Millisecond); len(got) != 3 { // at 4, 24 and 44 ms
			b.t.Errorf("%d bytes in 50 ms", len(got))
		}
		b.hear(time.Second)
	})
}

// The faults that only connections have, and RTU on one.
func TestConnectionFaults(t *testing.T) {
	var halfOpen atomic.Bool
	m := &memory{
		reply:  func(Request) (Reply, bool) { return Reply{Words: []uint16{7}, HalfOpen: halfOpen.Load()}, true },
		opened: make(chan uint64, 100), closed: make(chan uint64, 100),
	}
	s, err := ListenAs(RTU, "127.0.0.1:0", m, now)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	f := func(c net.Conn, answered bool) {
		t.Helper()
		if _, err := c.Write(frame(t, "01 03 0000 0001 840a")); err != nil {
			t.Fatal(err)
		}
		wait := 50 * time.Millisecond
		if answered {
			wait = patience
		}
		_ = c.SetReadDeadline(time.Now().Add(wait))
		got := make([]byte, 7)
		if n, err := io.ReadFull(c, got); answered != (err == nil) || n != 0 && n != 7 {
			t.Errorf("%d bytes, %v", n, err)
		}
	}
	sound := dial(t, s)
	f(sound, true)
	s.Deaf(true)
	f(dial(t, s), false)
	f(sound, true)
	s.Deaf(false)
	f(dial(t, s), true)
	halfOpen.Store(true)
	f(sound, false)
	halfOpen.Store(false)
	f(sound, false)
	f(dial(t, s), true)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A unit that dials in says who it is, answers there, and comes back.
func TestCaller(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	m := &memory{opened: make(chan uint64, 100), closed: make(chan uint64, 100)}
	r := &Caller{Addr: ln.Addr().String(), Framing: RTU, Hello: []byte("GW-7"), IDs: new(atomic.Uint64)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx, m, now) }()
	for round := range 3 {
		c, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(patience))
		hello := make([]byte, 4)
		if _, err := io.ReadFull(c, hello); err != nil || string(hello) != "GW-7" {
			t.Fatalf("%q, %v", hello, err)
		}
		if _, err := c.Write(frame(t, "11 03 006b 0003 7687")); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 11)
		if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, frame(t, "11 03 06 006b 006c 006d c88c")) {
			t.Fatalf("%x, %v", got, err)
		}
		switch round {
		case 0:
			_ = c.Close()
		case 1:
			r.Refuse()
			if _, err := c.Read(got); err == nil {
				t.Error("a refused connection goes on")
			}
			if err := r.Accept(ctx); err != nil {
				t.Error(err)
			}
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if len(m.opened) != 3 || len(m.closed) != 3 {
		t.Errorf("%d opened, %d closed", len(m.opened), len(m.closed))
	}
}

// Nothing that is heard makes a reader panic or keep more than it may.
func FuzzHear(f *testing.F) {
	f.Add(0, []byte("\x00\x01\x00\x00\x00\x06\x01\x03\x00\x00\x00\x01"))
	f.Add(1, []byte("\x11\x03\x00\x6b\x00\x03\x76\x87"))
	f.Add(2, []byte(":1103006B00037E\r\n"))
	f.Fuzz(func(t *testing.T, framing int, data []byte) {
		r := reader{from: bytes.NewReader(data), framing: Framing(uint(framing) % 3)}
		for {
			a, err := r.next()
			if err != nil {
				return
			}
			if len(a.pdu) < 1 || len(a.pdu) > maxPDU || len(r.buf) > len(data) {
				t.Fatalf("%x, %d kept", a.pdu, len(r.buf))
			}
			parse(a.unit, a.pdu)
		}
	})
}
