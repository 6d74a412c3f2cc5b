// Package modbus is a Modbus TCP server for a plant on a bench: framing,
// function codes 1 to 6, 15 and 16, exceptions, and a wire that can be made to
// misbehave. It shares no code with the driver it is there to test.
//
// A Device answers; the server only carries. What a Device may ask of the wire
// stands in its Reply: answer late, never, short, with another function code,
// or reset the connection. A late answer does not hold up the requests behind
// it, so it arrives among the answers to others, as behind a busy gateway.
//
// Promises: a request that breaks the protocol gets the exception that the
// specification gives it, a frame that is not Modbus ends its connection, and
// neither reaches the Device. Every limit has a name and says what happens at
// it. Nothing is durable. Device is called from many goroutines at once.
//
// Imports: drivers/tag.
package modbus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
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
	Words     []uint16  // answers functions 3 and 4: exactly Request.Count

	Delay    time.Duration // the answer leaves this much later
	Silent   bool          // it never leaves
	Reset    bool          // instead of it the connection is reset (RST)
	Function byte          // not 0: it carries this function code
	Cut      int           // so many bytes are missing at its end; the lengths in it agree with what is left
}

// Server is one listening address over one Device.
type Server struct {
	device Device
	now    func() tag.Stamp
	addr   string

	mu      sync.Mutex
	ln      net.Listener // nil while connections are refused
	conns   map[*net.TCPConn]struct{}
	lastID  uint64
	changed chan struct{} // holds one: ln was replaced
}

// Listen opens addr ("127.0.0.1:0") for d; now stamps the requests. Serving
// begins with Run.
func Listen(addr string, d Device, now func() tag.Stamp) (*Server, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen modbus %s: %w", addr, err)
	}
	return &Server{
		device: d, now: now, addr: ln.Addr().String(), ln: ln,
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
			if id := s.track(ctx, tc); id != 0 {
				wg.Go(func() { s.serve(ctx, id, tc) })
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
// when there are too many, connections are refused or the server ends.
func (s *Server) track(ctx context.Context, c *net.TCPConn) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ln == nil || len(s.conns) >= MaxConns || ctx.Err() != nil {
		reset(c)
		return 0
	}
	s.conns[c] = struct{}{}
	s.lastID++
	return s.lastID
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
func (s *Server) serve(ctx context.Context, id uint64, c *net.TCPConn) {
	s.device.Opened(id, c.RemoteAddr().String())
	ctx, cancel := context.WithCancel(ctx)
	var late sync.WaitGroup
	pending := make(chan struct{}, MaxPending)
	defer func() {
		cancel()
		_ = c.Close()
		late.Wait()
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
		s.device.Closed(id)
	}()
	var head [headSize]byte
	var body [maxPDU]byte
	for {
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return
		}
		n := pduSize(head)
		if n < 0 {
			return // not Modbus: nothing after it can be trusted either
		}
		if _, err := io.ReadFull(c, body[:n]); err != nil {
			return
		}
		req, exc := parse(head, body[:n])
		req.Conn, req.At = id, s.now()
		var rep Reply
		if exc != 0 {
			rep.Exception = exc
		} else {
			rep = s.device.Serve(req)
		}
		if rep.Silent {
			continue
		}
		if rep.Reset {
			reset(c)
			return
		}
		frame := encode(head, req, rep)
		if rep.Delay <= 0 {
			if !send(c, frame) {
				return
			}
			continue
		}
		select {
		case pending <- struct{}{}:
		case <-ctx.Done():
			return
		}
		late.Go(func() {
			defer func() { <-pending }()
			t := time.NewTimer(rep.Delay)
			defer t.Stop()
			select {
			case <-t.C:
				send(c, frame)
			case <-ctx.Done():
			}
		})
	}
}

// send writes a whole frame; one Write of a net.Conn is never mixed with another.
func send(c *net.TCPConn, frame []byte) bool {
	_ = c.SetWriteDeadline(time.Now().Add(WriteTimeout))
	_, err := c.Write(frame)
	if err != nil {
		_ = c.Close()
	}
	return err == nil
}
