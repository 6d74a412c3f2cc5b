package modbus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// What bounds a Hub. Beside these a link holds at most two connections: the one
// that it uses and the newest that waits for it.
const (
	// RegistrationTime is how long a unit may take to send its registration;
	// then it is refused.
	RegistrationTime = 10 * time.Second
	// MaxGreeting is how many connections of one address may be within that
	// time; of more the oldest is closed, because a unit registers at once.
	MaxGreeting = 16
	// MaxRemarks is how many causes and addresses of refused connections a Hub
	// remembers, so that each is logged once; what comes beyond is not logged.
	MaxRemarks = 256
)

// errNobody says that a link listens and its unit has not dialed in.
var errNobody = errors.New("no unit has dialed in")

// Hub owns the listeners of links whose units dial in: one listener for each
// address, shared by the links that name it. The zero value is ready; all the
// drivers of a program share one, because an address can be listened to once.
//
// A connection belongs to the link whose `from` admits its address and whose
// `registration` it begins with. Where one link alone listens and wants no
// registration, whoever `from` admits is its unit. A unit that dials in again
// leaves its old connection half open, so with a registration the newest
// connection replaces the older one at once; without one anybody could push a
// good unit aside like that, so there the newest waits until the older is silent.
//
// Modbus has no authentication and neither has this: `from` and `registration`
// keep mistakes apart. Who can send from such an address can be such a unit.
// An address of a private network or a VPN is the place for it.
//
// A listener opens when its first link is asked for the first time, and closes
// with its last link.
type Hub struct {
	// Listen opens a listener; nil is TCP.
	Listen func(address string) (net.Listener, error)

	mu      sync.Mutex
	doors   map[string]*door
	remarks map[string]bool
}

// door is one address.
type door struct {
	hub      *Hub
	address  string
	listener net.Listener // nil: not open
	seats    []*seat
	greeting []net.Conn // whose registration is awaited, the oldest first
	wg       sync.WaitGroup
}

// seat is one link's place at a door.
type seat struct {
	door    *door
	unit    *unit
	log     *slog.Logger
	waiting *guest // good, and not taken yet
	taken   *guest // the link's
	arrived chan struct{}
	left    bool
}

// guest is a connection that found its seat: a Port.
type guest struct {
	net.Conn
	seat *seat
	head []byte // came together with the registration
}

// Read returns what came with the registration, then what comes.
func (g *guest) Read(b []byte) (int, error) {
	if len(g.head) > 0 {
		n := copy(b, g.head)
		g.head = g.head[n:]
		return n, nil
	}
	return g.Conn.Read(b)
}

// Close frees the seat.
func (g *guest) Close() error {
	h := g.seat.door.hub
	h.mu.Lock()
	if g.seat.taken == g {
		g.seat.taken = nil
	}
	h.mu.Unlock()
	return g.Conn.Close()
}

// join takes a place for a link; leave gives it back.
func (h *Hub) join(u *unit, log *slog.Logger) *seat {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.doors == nil {
		h.doors, h.remarks = map[string]*door{}, map[string]bool{}
	}
	d := h.doors[u.address]
	if d == nil {
		d = &door{hub: h, address: u.address}
		h.doors[u.address] = d
	}
	s := &seat{door: d, unit: u, log: log, arrived: make(chan struct{}, 1)}
	d.seats = append(d.seats, s)
	return s
}

// leave closes what waits for the link and, after the last link of a door, the
// door. It returns when nothing of it runs any more.
func (s *seat) leave() {
	d := s.door
	d.hub.mu.Lock()
	if s.left {
		d.hub.mu.Unlock()
		return
	}
	s.left = true
	s.put(nil)
	d.seats = slices.DeleteFunc(d.seats, func(o *seat) bool { return o == s })
	last := len(d.seats) == 0
	if last {
		delete(d.hub.doors, d.address)
		if d.listener != nil {
			d.listener.Close() // nobody is left whom an error could concern
			d.listener = nil
		}
		for _, c := range d.greeting {
			c.Close()
		}
	}
	d.hub.mu.Unlock()
	if last {
		d.wg.Wait()
	}
}

// put gives the seat its next connection in place of one that waits; mu is held.
func (s *seat) put(g *guest) {
	if s.waiting != nil {
		s.waiting.Conn.Close() // an older one: its unit is on the newer
	}
	s.waiting = g
}

// dial returns the connection of the link's unit, waiting for it within ctx.
// Its signature is that of a dialer.
func (s *seat) dial(ctx context.Context, _ string) (Port, error) {
	for {
		g, err := s.take()
		if err != nil {
			return nil, err
		}
		if g != nil {
			return g, nil
		}
		select {
		case <-s.arrived:
		case <-ctx.Done():
			return nil, fmt.Errorf("%s: %w", s.unit, errNobody)
		}
	}
}

// take returns the connection that waits, nil where there is none, and sees to
// it that the door is open.
func (s *seat) take() (*guest, error) {
	h := s.door.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.left {
		return nil, net.ErrClosed
	}
	if err := s.door.open(); err != nil {
		return nil, err
	}
	g := s.waiting
	if g == nil {
		return nil, nil
	}
	s.waiting, s.taken = nil, g
	return g, nil
}

// fresher reports whether a newer connection of the unit waits; urgent whether
// the one in use is known to be left behind by its unit.
func (s *seat) fresher() (waits, urgent bool) {
	s.door.hub.mu.Lock()
	defer s.door.hub.mu.Unlock()
	return s.waiting != nil, s.waiting != nil && len(s.unit.registration) > 0
}

// open listens unless it does already; mu is held.
func (d *door) open() error {
	if d.listener != nil {
		return nil
	}
	listen := d.hub.Listen
	if listen == nil {
		listen = func(address string) (net.Listener, error) { return net.Listen("tcp", address) }
	}
	l, err := listen(d.address)
	if err != nil {
		return err
	}
	d.listener = l
	d.wg.Go(func() { d.accept(l) })
	return nil
}

// accept greets who dials in until the listener closes. Where it fails, for
// want of descriptors for one, it is opened again when a link asks.
func (d *door) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		d.hub.mu.Lock()
		if err != nil {
			if d.listener == l {
				d.listener = nil
				d.remark("accept: "+err.Error(), "", "connections could not be accepted", "error", err)
				l.Close() // it said already what is wrong with it
			}
			d.hub.mu.Unlock()
			return
		}
		d.greet(c)
		d.hub.mu.Unlock()
	}
}

// greet finds the seat of a connection, or begins to wait for what tells it; mu is held.
func (d *door) greet(c net.Conn) {
	from := source(c)
	admitted := d.admitted(from)
	switch {
	case d.listener == nil || len(admitted) == 0:
		d.refuse(c, from, "its address is not in `from` of any link")
		return
	case len(admitted) == 1 && len(admitted[0].unit.registration) == 0:
		admitted[0].seat(c, nil)
		return
	}
	if len(d.greeting) >= MaxGreeting {
		d.greeting[0].Close() // its goroutine finds that and ends
		d.greeting = slices.Delete(d.greeting, 0, 1)
	}
	d.greeting = append(d.greeting, c)
	d.wg.Go(func() { d.register(c, from) })
}

// admitted returns the seats that a connection from an address may have; mu is held.
func (d *door) admitted(from netip.Addr) (out []*seat) {
	for _, s := range d.seats {
		if s.unit.admits(from) {
			out = append(out, s)
		}
	}
	return out
}

// register waits for the registration of a connection and seats it.
func (d *door) register(c net.Conn, from netip.Addr) {
	err := c.SetDeadline(time.Now().Add(RegistrationTime))
	var buf [2 * MaxPacket]byte
	n := 0
	for more := true; more; {
		var got int
		if err == nil && n < len(buf) {
			got, err = c.Read(buf[n:])
			n += got
		}
		d.hub.mu.Lock()
		var s *seat
		if s, more = d.match(buf[:n], from, err != nil || n == len(buf)); !more {
			d.greeting = slices.DeleteFunc(d.greeting, func(o net.Conn) bool { return o == c })
			switch {
			case s != nil && d.listener != nil && c.SetDeadline(time.Time{}) == nil:
				s.seat(c, bytes.Clone(buf[len(s.unit.registration):n]))
			case n == 0:
				d.refuse(c, from, fmt.Sprintf("it sent no registration within %v", RegistrationTime))
			default:
				d.refuse(c, from, fmt.Sprintf("no link has its registration, %q", buf[:min(n, MaxPacket)]))
			}
		}
		d.hub.mu.Unlock()
	}
}

// match finds the seat with the longest registration that sent begins with.
// more says that what follows could still decide it; over that nothing will. mu is held.
func (d *door) match(sent []byte, from netip.Addr, over bool) (best *seat, more bool) {
	for _, s := range d.admitted(from) {
		want := s.unit.registration
		switch {
		case len(want) == 0:
		case bytes.HasPrefix(sent, want):
			if best == nil || len(want) >= len(best.unit.registration) { // of equal ones the link that joined last
				best = s
			}
		case bytes.HasPrefix(want, sent):
			more = true
		}
	}
	return best, more && !over
}

// seat gives a connection to its link; mu is held.
func (s *seat) seat(c net.Conn, head []byte) {
	keepAlive(c, s.unit.keepAlive)
	s.put(&guest{Conn: c, seat: s, head: head})
	if s.taken != nil && len(s.unit.registration) > 0 {
		s.taken.Conn.Close() // the link finds it closed and takes the one that waits
	}
	select {
	case s.arrived <- struct{}{}:
	default: // it was told already
	}
}

// refuse closes a connection; mu is held.
func (d *door) refuse(c net.Conn, from netip.Addr, cause string) {
	c.Close()
	if d.listener != nil {
		d.remark(cause, from.String(), "connection refused", "from", from, "cause", cause)
	}
}

// remark logs once for each cause and address; mu is held.
func (d *door) remark(cause, from, text string, args ...any) {
	key := d.address + "\x00" + cause + "\x00" + from
	if h := d.hub; len(d.seats) > 0 && !h.remarks[key] && len(h.remarks) < MaxRemarks {
		h.remarks[key] = true
		d.seats[0].log.Warn(text, append(args, "address", d.address)...)
		if len(h.remarks) == MaxRemarks {
			d.seats[0].log.Warn("refused connections are not logged any more", "limit", MaxRemarks)
		}
	}
}

// source is the address that a connection comes from; the zero one is nobody's.
func source(c net.Conn) netip.Addr {
	p, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	return p.Addr().Unmap().WithZone("")
}
