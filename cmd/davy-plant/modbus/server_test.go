package modbus

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"davy/drivers/tag"
)

const patience = 20 * time.Second // how long a test waits for what must happen

// memory answers with each register's own address, and notes writes.
type memory struct {
	mu     sync.Mutex
	reply  func(Request) (Reply, bool) // first; false: answer as usual
	writes []Request
	opened chan uint64
	closed chan uint64
}

func (m *memory) Serve(r Request) Reply {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.reply != nil {
		if rep, ok := m.reply(r); ok {
			return rep
		}
	}
	var rep Reply
	if r.Write() {
		m.writes = append(m.writes, r)
	}
	switch {
	case r.Function == Identify:
		rep.Objects = []string{"D", "1"}
	case r.Write() && r.Function != ReadWrite:
	case r.Function <= ReadDiscretes:
		for i := range r.Count {
			rep.Bits = append(rep.Bits, (r.Address+i)%3 == 0)
		}
	default:
		for i := range r.Count {
			rep.Words = append(rep.Words, uint16(r.Address+i))
		}
	}
	return rep
}

func (m *memory) Opened(id uint64, _ string) { m.opened <- id }
func (m *memory) Closed(id uint64)           { m.closed <- id }

// start serves m and returns the server; both end with the test.
func start(t *testing.T, m *memory) *Server {
	t.Helper()
	m.opened, m.closed = make(chan uint64, 1000), make(chan uint64, 1000)
	s, err := Listen("127.0.0.1:0", m, func() tag.Stamp { return tag.Stamp{Mono: 7} })
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(patience):
			t.Error("Run does not return")
		}
	})
	return s
}

func dial(t *testing.T, s *Server) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

func frame(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// ask sends a frame and returns the answer to it.
func ask(t *testing.T, c net.Conn, req []byte) []byte {
	t.Helper()
	if _, err := c.Write(req); err != nil {
		t.Fatal(err)
	}
	return receive(t, c)
}

func receive(t *testing.T, c net.Conn) []byte {
	t.Helper()
	head := make([]byte, headSize)
	if _, err := io.ReadFull(c, head); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, int(head[4])<<8+int(head[5])-1)
	if _, err := io.ReadFull(c, body); err != nil {
		t.Fatal(err)
	}
	return append(head, body...)
}

// Requests and answers as the specification prints them, byte by byte.
func TestFrames(t *testing.T) {
	m := &memory{}
	c := dial(t, start(t, m))
	f := func(req, want string) {
		t.Helper()
		if got := ask(t, c, frame(t, req)); !bytes.Equal(got, frame(t, want)) {
			t.Errorf("%s\n got %x\nwant %s", req, got, want)
		}
	}
	// in order
	f("0001 0000 0006 01 01 0000 000a", "0001 0000 0005 01 01 02 4902") // 10 coils: 0, 3, 6, 9
	f("0002 0000 0006 01 02 0003 0001", "0002 0000 0004 01 02 01 01")
	f("0003 0000 0006 11 03 006b 0003", "0003 0000 0009 11 03 06 006b 006c 006d")
	f("0004 0000 0006 ff 04 ffff 0001", "0004 0000 0005 ff 04 02 ffff")
	f("0005 0000 0006 01 05 00ac ff00", "0005 0000 0006 01 05 00ac ff00")
	f("0006 0000 0006 01 05 00ac 0000", "0006 0000 0006 01 05 00ac 0000")
	f("0007 0000 0006 01 06 0001 0003", "0007 0000 0006 01 06 0001 0003")
	f("0008 0000 0009 01 0f 0013 000a 02 cd01", "0008 0000 0006 01 0f 0013 000a")
	f("0009 0000 000b 01 10 0001 0002 04 000a 0102", "0009 0000 0006 01 10 0001 0002")
	f("0019 0000 0008 01 16 0004 00f2 0025", "0019 0000 0008 01 16 0004 00f2 0025")
	f("001a 0000 000d 01 17 0003 0002 000e 0001 02 00ff", "001a 0000 0007 01 17 04 0003 0004")
	f("001b 0000 0005 01 2b 0e 01 00", "001b 0000 000e 01 2b 0e 01 81 00 00 02 00 01 44 01 01 31")
	// not in order
	f("000a 0000 0002 01 07", "000a 0000 0003 01 87 01")                        // a function that is not there
	f("000b 0000 0006 01 81 0000 0001", "000b 0000 0003 01 81 01")              // one with the error bit
	f("000c 0000 0006 01 03 0000 0000", "000c 0000 0003 01 83 03")              // nothing asked
	f("000d 0000 0006 01 03 0000 007e", "000d 0000 0003 01 83 03")              // 126 registers
	f("000e 0000 0006 01 01 0000 07d1", "000e 0000 0003 01 81 03")              // 2001 coils
	f("000f 0000 0006 01 04 ffff 0002", "000f 0000 0003 01 84 02")              // past the end
	f("0010 0000 0006 01 05 0000 0100", "0010 0000 0003 01 85 03")              // neither on nor off
	f("0011 0000 0005 01 03 0000 00", "0011 0000 0003 01 83 03")                // too short
	f("0012 0000 0007 01 06 0000 0001 00", "0012 0000 0003 01 86 03")           // too long
	f("0013 0000 0009 01 10 0000 0002 04 0001", "0013 0000 0003 01 90 03")      // less than it counts
	f("0014 0000 0009 01 10 0000 0001 01 0001", "0014 0000 0003 01 90 03")      // counts wrongly
	f("0015 0000 0008 01 0f 0000 0009 01 ff", "0015 0000 0003 01 8f 03")        // nine coils in one byte
	f("0016 0000 000b 01 10 ffff 0002 04 0001 0002", "0016 0000 0003 01 90 02") // past the end
	f("0017 0000 0006 01 10 0000 007c", "0017 0000 0003 01 90 03")              // 124 registers
	f("001c 0000 0007 01 16 0004 00f2 00", "001c 0000 0003 01 96 03")
	f("001d 0000 000d 01 17 ffff 0002 000e 0001 02 00ff", "001d 0000 0003 01 97 02")
	f("001e 0000 000d 01 17 0003 007e 000e 0001 02 00ff", "001e 0000 0003 01 97 03")
	f("001f 0000 0005 01 2b 0d 01 00", "001f 0000 0003 01 ab 01")
	f("0020 0000 0005 01 2b 0e 05 00", "0020 0000 0003 01 ab 03")
	f("0018 0000 0006 01 03 0000 007d", "0018 0000 00fd 01 03 fa "+counting(125)) // as many as there may be

	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.writes) != 7 {
		t.Fatalf("%d writes reached the device, want 7", len(m.writes))
	}
	if w := m.writes[5]; w.Address != 4 || w.Words[0] != 0xf2 || w.Words[1] != 0x25 {
		t.Errorf("masks %+v", w)
	}
	if w := m.writes[6]; w.Into != 14 || w.Words[0] != 0xff {
		t.Errorf("read and write %+v", w)
	}
	w := m.writes[3] // 0xcd01: 1 0 1 1 0 0 1 1, 1 0
	want := []bool{true, false, true, true, false, false, true, true, true, false}
	for i := range want {
		if w.Bits[i] != want[i] {
			t.Errorf("coil %d of %v", i, w.Bits)
		}
	}
	if w.Address != 0x13 || w.Conn != 1 || w.At.Mono != 7 {
		t.Errorf("write %+v", w)
	}
	if w := m.writes[4].Words; w[0] != 10 || w[1] != 0x102 {
		t.Errorf("words %v", w)
	}
}

func counting(n int) string {
	b := make([]byte, 2*n)
	for i := range n {
		b[2*i+1] = byte(i)
	}
	return hex.EncodeToString(b)
}

// What is not Modbus ends its connection and no other.
func TestNotModbus(t *testing.T) {
	for _, bad := range []string{
		"0001 0001 0006 01 03 0000 0001", // protocol
		"0001 0000 0001 01",              // length without a function
		"0001 0000 00ff 01",              // longer than a frame can be
		"474554202f20485454502f312e310d0a",
	} {
		s := start(t, &memory{})
		other, c := dial(t, s), dial(t, s)
		if _, err := c.Write(frame(t, bad)); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, syscall.ETIMEDOUT) {
			t.Errorf("%s: got %d bytes, %v", bad, n, err)
		}
		ask(t, other, frame(t, "0002 0000 0006 01 03 0000 0001"))
	}
}

// A frame may come in any pieces, and several at once.
func TestPieces(t *testing.T) {
	c := dial(t, start(t, &memory{}))
	two := frame(t, "0001 0000 0006 01 03 0005 0001 0002 0000 0006 01 03 0006 0001")
	for i := range two {
		if _, err := c.Write(two[i : i+1]); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"0001 0000 0005 01 03 02 0005", "0002 0000 0005 01 03 02 0006"} {
		if got := receive(t, c); !bytes.Equal(got, frame(t, want)) {
			t.Errorf("got %x, want %s", got, want)
		}
	}
}

// Everything that a device may ask of the wire, seen from the wire.
func TestWireFaults(t *testing.T) {
	m := &memory{reply: func(r Request) (Reply, bool) {
		switch r.Unit {
		case 1:
			return Reply{Words: []uint16{1}, Delay: 150 * time.Millisecond}, true
		case 2:
			return Reply{Words: []uint16{2, 2}, Cut: 2}, true
		case 3:
			return Reply{Words: []uint16{3}, Function: 4}, true
		case 4:
			return Reply{Silent: true}, true
		case 5:
			return Reply{Reset: true}, true
		case 6:
			return Reply{Exception: DeviceBusy}, true
		}
		return Reply{}, false
	}}
	s := start(t, m)
	c := dial(t, s)
	f := func(req, want string) {
		t.Helper()
		if got := ask(t, c, frame(t, req)); !bytes.Equal(got, frame(t, want)) {
			t.Errorf("%s\n got %x\nwant %s", req, got, want)
		}
	}
	f("0001 0000 0006 02 03 0000 0002", "0001 0000 0005 02 03 02 0002")
	f("0002 0000 0006 03 03 0000 0001", "0002 0000 0005 03 04 02 0003")
	f("0003 0000 0006 06 03 0000 0001", "0003 0000 0003 06 83 06")
	// The late answer comes behind the answer to the request after it, the
	// silent one not at all.
	began := time.Now()
	for _, req := range []string{"0004 0000 0006 01 03 0000 0001", "0005 0000 0006 04 03 0000 0001"} {
		if _, err := c.Write(frame(t, req)); err != nil {
			t.Fatal(err)
		}
	}
	f("0006 0000 0006 09 03 0009 0001", "0006 0000 0005 09 03 02 0009")
	if got := receive(t, c); !bytes.Equal(got, frame(t, "0004 0000 0005 01 03 02 0001")) {
		t.Errorf("late: got %x", got)
	}
	if d := time.Since(began); d < 150*time.Millisecond {
		t.Errorf("late by %v only", d)
	}
	if _, err := c.Write(frame(t, "0007 0000 0006 05 03 0000 0001")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("reset: %v", err)
	}
}

// Refuse resets what there is and has the kernel refuse what comes; Accept
// ends it on the same address.
func TestRefuse(t *testing.T) {
	m := &memory{}
	s := start(t, m)
	c := dial(t, s)
	ask(t, c, frame(t, "0001 0000 0006 01 03 0000 0001"))
	s.Refuse()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read: %v", err)
	}
	if _, err := net.Dial("tcp", s.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dial while refused: %v", err)
	}
	if err := s.Accept(t.Context()); err != nil {
		t.Fatal(err)
	}
	ask(t, dial(t, s), frame(t, "0001 0000 0006 01 03 0000 0001"))
	s.ResetAll()
	ask(t, dial(t, s), frame(t, "0001 0000 0006 01 03 0000 0001"))
}

// Beyond MaxConns a connection is closed, and room is made by those that end.
func TestTooMany(t *testing.T) {
	m := &memory{}
	s := start(t, m)
	all := make([]net.Conn, MaxConns)
	for i := range all {
		all[i] = dial(t, s)
		ask(t, all[i], frame(t, "0001 0000 0006 01 03 0000 0001"))
	}
	over, err := net.Dial("tcp", s.Addr())
	if err == nil { // else it was closed before the dial had returned
		if _, err = over.Read(make([]byte, 1)); err == nil {
			t.Error("one too many is served")
		}
		_ = over.Close()
	}
	_ = all[0].Close()
	select {
	case <-m.closed:
	case <-time.After(patience):
		t.Fatal("a closed connection is not noticed")
	}
	ask(t, dial(t, s), frame(t, "0001 0000 0006 01 03 0000 0001"))
}

// No PDU makes parse panic, and what it lets through is within the limits.
func FuzzParse(f *testing.F) {
	f.Add([]byte{3, 0, 0, 0, 1})
	f.Add([]byte{16, 0, 0, 0, 1, 2, 0, 1})
	f.Add([]byte{15, 0, 19, 0, 10, 2, 0xcd, 1})
	f.Fuzz(func(t *testing.T, pdu []byte) {
		if len(pdu) == 0 || len(pdu) > maxPDU {
			return
		}
		r, exc := parse(1, pdu)
		if exc != 0 {
			if len(answer(r, Reply{Exception: exc})) != 2 {
				t.Error("an exception of another length")
			}
			return
		}
		if r.Function != Identify && (r.Count < 1 || r.Address < 0 || r.Address+r.Count > addresses || r.Into+len(r.Words) > addresses) {
			t.Errorf("%+v", r)
		}
		rep := Reply{Bits: make([]bool, r.Count), Words: make([]uint16, min(r.Count, maxReadWords))}
		for _, rep.Extra = range []int{0, 9} {
			if n := len(answer(r, rep)); n > maxPDU {
				t.Errorf("an answer of %d bytes", n)
			}
		}
	})
}
