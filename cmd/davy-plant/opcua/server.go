// Package opcua is the OPC UA server of a plant on a bench: a few variables of
// one namespace, reads, browsing and subscriptions, and connections that can be
// made to misbehave.
//
// It stands on gopcua's server, of which it takes transport, discovery, sessions
// and the standard address space. Namespace, subscriptions and monitored items
// are our own: the library's samples on no clock, keeps no queue, gives an id
// twice and can stop for good; its map namespace races with its readers. Between
// the client and the library stands a front of ours that listens, so that the
// port is known and a connection can be refused, reset or left hanging.
//
// There is no security: the endpoint is None and anonymous, and the library
// takes any password. Nothing about security may be tested with it.
//
// Promises: a sample is what the Source said at some instant of its sampling
// interval; samples of one item are published in order and once, unless its
// queue was full, which the overflow bit says. After a restart every session and
// subscription is gone and the namespace has another index. Limits have names.
// Nothing is durable. Source is called from many goroutines at once.
//
// Imports: bench, gopcua's server, ua and uasc.
package opcua

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gopcua/opcua/server"
	"github.com/gopcua/opcua/ua"

	"davy/cmd/davy-plant/bench"
)

// URI is the namespace of the plant's nodes, Application that of the server itself.
const (
	URI         = "urn:davy:plant:bench"
	Application = "urn:davy:plant"
)

// Limits of the front. At MaxConns a further connection is reset. A client that
// does not say hello within HelloTimeout, or takes nothing for WriteTimeout,
// loses its connection.
const (
	MaxConns     = 64
	HelloTimeout = 5 * time.Second
	WriteTimeout = 2 * time.Second
	maxHello     = 8192
	acceptPause  = 20 * time.Millisecond
	startTries   = 20
)

// Source is where values come from: *bench.Bench.
type Source interface {
	Nodes() []bench.Node
	Sample(name string) bench.Sample
}

// Server is one listening address over one Source.
type Server struct {
	source Source
	addr   string
	url    string

	silent, overflow, hang atomic.Bool

	mu       sync.Mutex
	ln       net.Listener // nil while connections are refused
	conns    map[net.Conn]struct{}
	inner    *inner
	restarts int
	changed  chan struct{} // holds one: ln was replaced
}

// inner is one life of the library's server.
type inner struct {
	srv    *server.Server
	addr   string
	subs   *subscriptions
	cancel context.CancelFunc
}

// Listen opens addr ("127.0.0.1:0") for the nodes of source. Serving begins with Run.
func Listen(addr string, source Source) (*Server, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen opc ua %s: %w", addr, err)
	}
	s := &Server{
		source: source, addr: ln.Addr().String(), url: "opc.tcp://" + ln.Addr().String(), ln: ln,
		conns: map[net.Conn]struct{}{}, changed: make(chan struct{}, 1),
	}
	if s.inner, err = s.life(); err != nil {
		_ = ln.Close()
		return nil, err
	}
	return s, nil
}

// URL returns the endpoint, with the port it got.
func (s *Server) URL() string { return s.url }

// life starts the library's server on a free port of loopback.
func (s *Server) life() (*inner, error) {
	for try := 1; ; try++ {
		in, err := s.attempt()
		if err == nil {
			return in, nil
		}
		if try == startTries {
			return nil, fmt.Errorf("start opc ua server: %w", err)
		}
	}
}

// attempt is life once: somebody else may take the port meanwhile.
func (s *Server) attempt() (*inner, error) {
	probe, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	port := probe.Addr().(*net.TCPAddr).Port
	if err := probe.Close(); err != nil {
		return nil, err
	}
	srv := server.New(
		server.EndPoint("127.0.0.1", port),
		server.EnableSecurity("None", ua.MessageSecurityModeNone),
		server.EnableAuthMode(ua.UserTokenTypeAnonymous),
		server.ServerName("davy-plant"), server.ManufacturerName("Davy"), server.ProductName("davy-plant"),
	)
	server.NewNodeNameSpace(srv, Application) // index 1, as the specification has it
	for i := range s.restarts % 2 {
		server.NewNodeNameSpace(srv, Application+":"+strconv.Itoa(i)) // who kept an index reads nothing
	}
	space := newSpace(s.source)
	srv.AddNamespace(space)
	space.enter(srv)
	ctx, cancel := context.WithCancel(context.Background())
	in := &inner{srv: srv, addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), cancel: cancel}
	in.subs = newSubscriptions(ctx, srv, &s.silent, &s.overflow)
	in.subs.register()
	if err := srv.Start(ctx); err != nil {
		cancel()
		return nil, err
	}
	for _, e := range srv.Endpoints() { // clients are to come through the front
		e.EndpointURL, e.Server.ApplicationURI, e.Server.DiscoveryURLs = s.url, Application, []string{s.url}
	}
	return in, nil
}

// end ends one life; its connections have been reset before.
func (in *inner) end() error {
	err := in.srv.Close()
	in.cancel()
	in.subs.wait()
	return err
}

// Run serves until ctx ends and returns when every connection has ended.
func (s *Server) Run(ctx context.Context) error {
	var wg sync.WaitGroup
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
			wg.Go(func() { s.serve(ctx, c) })
		case errors.Is(err, net.ErrClosed):
		default: // out of descriptors: connections that end free some
			select {
			case <-ctx.Done():
			case <-time.After(acceptPause):
			}
		}
	}
	wg.Wait()
	s.mu.Lock()
	in := s.inner
	s.mu.Unlock()
	return in.end()
}

// serve carries one connection between its client and the library.
func (s *Server) serve(ctx context.Context, c net.Conn) {
	defer func() { _ = c.Close() }()
	s.mu.Lock()
	if s.ln == nil || len(s.conns) >= MaxConns || ctx.Err() != nil {
		s.mu.Unlock()
		reset(c)
		return
	}
	s.conns[c] = struct{}{}
	to := s.inner.addr
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	}()
	hello, err := hello(c) // the library would keep everybody waiting for it
	if err != nil {
		return
	}
	d, err := net.Dial("tcp", to)
	if err != nil {
		reset(c)
		return
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer func() { _ = d.Close() }()
	if _, err := d.Write(hello); err != nil {
		return
	}
	wg.Go(func() {
		s.carry(c, d)
		reset(c)
	})
	s.carry(d, c)
}

// hello reads the first message of a connection.
func hello(c net.Conn) ([]byte, error) {
	if err := c.SetReadDeadline(time.Now().Add(HelloTimeout)); err != nil {
		return nil, err
	}
	b := make([]byte, 8, maxHello)
	if _, err := io.ReadFull(c, b); err != nil {
		return nil, err
	}
	n := int(b[4]) | int(b[5])<<8 | int(b[6])<<16 | int(b[7])<<24
	if string(b[:3]) != "HEL" || n < len(b) || n > maxHello {
		return nil, errors.New("no hello")
	}
	b = b[:n]
	if _, err := io.ReadFull(c, b[8:]); err != nil {
		return nil, err
	}
	return b, c.SetReadDeadline(time.Time{})
}

// carry copies until one of the two ends; while the server hangs, to nowhere.
func (s *Server) carry(to, from net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && !s.hang.Load() {
			_ = to.SetWriteDeadline(time.Now().Add(WriteTimeout)) // fails only when it was closed
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func reset(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = c.Close()
}

// closeAll resets every connection, and closes the listener unless it is to stay. mu is held.
func (s *Server) closeAll(keepListening bool) {
	if s.ln != nil && !keepListening {
		_ = s.ln.Close()
		s.ln = nil
	}
	for c := range s.conns {
		reset(c)
	}
}

// Silent has subscriptions say nothing more, neither data nor that they live;
// every other service answers.
func (s *Server) Silent(on bool) { s.silent.Store(on) }

// Overflow has every sample find its queue full.
func (s *Server) Overflow(on bool) { s.overflow.Store(on) }

// Hang has the connections stand open with nothing coming back, and what is
// sent on them lost. Its end resets them.
func (s *Server) Hang(on bool) {
	if s.hang.Swap(on) && !on {
		s.Blip()
	}
}

// Blip resets every connection; new ones are accepted.
func (s *Server) Blip() {
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
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ln != nil || ctx.Err() != nil {
		return ctx.Err()
	}
	var err error
	for range startTries {
		if s.ln, err = net.Listen("tcp", s.addr); err == nil {
			select {
			case s.changed <- struct{}{}:
			default:
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(acceptPause):
		}
	}
	return fmt.Errorf("listen opc ua %s again: %w", s.addr, err)
}

// Restart ends the library's server and begins another: sessions and
// subscriptions are gone, the namespace has another index.
func (s *Server) Restart(ctx context.Context) error {
	s.Refuse()
	s.mu.Lock()
	old := s.inner
	s.restarts++
	s.mu.Unlock()
	if err := old.end(); err != nil {
		return fmt.Errorf("end opc ua server: %w", err)
	}
	in, err := s.life()
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.inner = in
	s.mu.Unlock()
	return s.Accept(ctx)
}
