// Package modbus is the Modbus side of a plant on a bench: function codes 1 to
// 6, 15, 16, 22, 23 and 43/14, exceptions, and wires that can be made to
// misbehave. It shares no code with the driver it is there to test.
//
// A Server listens for connections of Modbus TCP, or of RTU or ASCII frames as
// serial bridges carry them; a Caller makes such a connection itself, as a 4G
// unit does; Serve works on any stream, a serial line above all. A Device
// answers; these only carry. What a Device may ask of the wire stands in its
// Reply: answer late, never, short, long, garbled, twice, in single bytes, with
// another function code or station, or end the connection. A late answer does
// not hold up the requests behind it, so it arrives among the answers to others,
// as behind a busy gateway.
//
// Promises: a request that breaks the protocol gets the exception that the
// specification gives it; a frame that is not Modbus ends its connection, or on
// RTU and ASCII is for nobody; neither reaches the Device. Every limit has a
// name and says what happens at it. Nothing is durable. Device is called from
// many goroutines at once.
//
// Imports: drivers/tag.
package modbus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"davy/drivers/tag"
)

// Limits. At MaxConns a further connection is closed at once. At MaxPending
// late answers on one connection the next request waits until one is sent.
// A client that does not take its answer for WriteTimeout loses its connection.
const (
	MaxConns     = 128
	MaxPending   = 32
	WriteTimeout = 2 * time.Second
	rebindTries  = 50
	rebindPause  = 20 * time.Millisecond
	acceptPause  = 20 * time.Millisecond
)

// Device is what stands behind the server.
type Device interface {
	// Serve answers one request that is in order by the protocol's rules. It
	// owns nothing of the Request after it returns.
	Serve(Request) Reply
	// Opened and Closed tell of connections; ids count from 1 and never come again.
	Opened(conn uint64, remote string)
	Closed(conn uint64)
}

// Reply is a Device's answer and what the wire does with it.
type Reply struct {
	Exception Exception // not 0: this instead of data
	Bits      []bool    // answers functions 1 and 2: exactly Request.Count
	Words     []uint16  // answers functions 3, 4 and 23: exactly Request.Count
	Objects   []string  // answers function 43

	Delay    time.Duration // the answer leaves this much later
	Silent   bool          // it never leaves
	Reset    bool          // instead of it the connection is reset (RST); on a line nothing leaves
	HalfOpen bool          // from now on nothing is answered on this connection, and it stays
	Function byte          // not 0: it carries this function code
	Station  byte          // not 0: it carries this unit id
	Cut      int           // so many bytes are missing at its end; the lengths in it agree with what is left
	Extra    int           // so many are too much; the lengths agree
	Garbled  bool          // its sum is wrong, or on Modbus TCP its protocol
	Copies   int           // it leaves so many times more
	Split    time.Duration // not 0: it leaves byte by byte, so far apart
}

// Server is one listening address over one Device.
type Server struct {
	// IDs, if not nil, counts the connections together with other servers of
	// the same Device. It is set before Run.
	IDs *atomic.Uint64

	framing Framing
	device  Device
	now     func() tag.Stamp
	addr    string

	mu      sync.Mutex
	ln      net.Listener // nil while connections are refused
	deaf    bool
	conns   map[*net.TCPConn]struct{}
	changed chan struct{} // holds one: ln was replaced
}

// Listen opens addr ("127.0.0.1:0") for d, for Modbus TCP; now stamps the
// requests. Serving begins with Run.
func Listen(addr string, d Device, now func() tag.Stamp) (*Server, error) {
	return ListenAs(TCP, addr, d, now)
}

// ListenAs is Listen for any framing.
func ListenAs(f Framing, addr string, d Device, now func() tag.Stamp) (*Server, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen modbus %s: %w", addr, err)
	}
	return &Server{
		IDs: new(atomic.Uint64), framing: f, device: d, now: now, addr: ln.Addr().String(), ln: ln,
		conns: map[*net.TCPConn]struct{}{}, changed: make(chan struct{}, 1),
	}, nil
}

// Addr returns the address that is listened on, with the port it got.
func (s *Server) Addr() string { return s.addr }

// Run serves until ctx ends and returns when every connection has ended.
func (s *Server) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.closeAll(false)
	})
	defer stop()
	for ctx.Err() == nil {
		s.mu.Lock()
		ln := s.ln
		s.mu.Unlock()
		if ln == nil {
			select {
			case <-ctx.Done():
			case <-s.changed:
			}
			continue
		}
		c, err := ln.Accept()
		switch {
		case err == nil:
			tc := c.(*net.TCPConn)
			if id, deaf := s.track(ctx, tc); id != 0 {
				wg.Go(func() { s.serve(ctx, id, tc, deaf) })
			}
		case errors.Is(err, net.ErrClosed):
		default: // out of descriptors: connections that end free some
			select {
			case <-ctx.Done():
			case <-time.After(acceptPause):
			}
		}
	}
	return nil
}

// track enters a connection and returns its id, or closes it and returns 0
// when there are too many, connections are refused or the server ends. deaf
// says that it is never to be answered.
func (s *Server) track(ctx context.Context, c *net.TCPConn) (id uint64, deaf bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ln == nil || len(s.conns) >= MaxConns || ctx.Err() != nil {
		reset(c)
		return 0, false
	}
	s.conns[c] = struct{}{}
	return s.IDs.Add(1), s.deaf
}

// Deaf has every connection that comes from now on accepted and never
// answered, or with false answered again; those that are there go on.
func (s *Server) Deaf(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deaf = on
}

// closeAll ends every connection, and the listener unless it is to stay. mu is held.
func (s *Server) closeAll(keepListening bool) {
	if s.ln != nil && !keepListening {
		_ = s.ln.Close()
		s.ln = nil
	}
	for c := range s.conns {
		reset(c)
	}
}

// ResetAll resets every connection; new ones are accepted.
func (s *Server) ResetAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closeAll(true)
}

// Refuse resets every connection and has new ones refused by the kernel, until Accept.
func (s *Server) Refuse() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closeAll(false)
}

// Accept ends what Refuse began, on the same address.
func (s *Server) Accept(ctx context.Context) error {
	for try := 1; ; try++ {
		s.mu.Lock()
		if s.ln != nil {
			s.mu.Unlock()
			return nil
		}
		ln, err := net.Listen("tcp", s.addr)
		if err == nil {
			if ctx.Err() != nil {
				_ = ln.Close()
			} else {
				s.ln = ln
			}
		}
		s.mu.Unlock()
		switch {
		case err == nil:
			select {
			case s.changed <- struct{}{}:
			default:
			}
			return ctx.Err()
		case try == rebindTries:
			return fmt.Errorf("listen modbus %s again: %w", s.addr, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(rebindPause):
		}
	}
}

func reset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}

// serve answers one connection's requests until it ends.
func (s *Server) serve(ctx context.Context, id uint64, c *net.TCPConn, deaf bool) {
	s.device.Opened(id, c.RemoteAddr().String())
	w := wire{framing: s.framing, device: s.device, now: s.now, id: id, c: c, mute: deaf, reset: func() { reset(c) }}
	w.serve(ctx)
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.device.Closed(id)
}
