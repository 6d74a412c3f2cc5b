package modbus

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"davy/drivers"
)

// How a connection is kept.
const (
	// DefaultKeepAlive is after how much quiet the kernel asks a peer whether it
	// is still there, where `keep_alive` does not say it. A peer that says nothing
	// for as long again is gone.
	DefaultKeepAlive = 15 * time.Second
	// ShortestKeepAlive and LongestKeepAlive bound `keep_alive`, ShortestIdle and
	// LongestIdle `idle_release`.
	ShortestKeepAlive = 3 * time.Second
	LongestKeepAlive  = time.Hour
	ShortestIdle      = 100 * time.Millisecond
	LongestIdle       = time.Hour
	// MaxAlternates is how many addresses a target may have.
	MaxAlternates = 4
	// MaxConnections is the most that `connections` may say.
	MaxConnections = 16

	keepAliveProbes = 3
)

// reach is how a link on TCP comes to its connection, as the site says it:
// addresses to dial, or a unit that dials in. It is part of Settings.Options
// and never changes.
type reach struct {
	addresses []string // to dial, the first preferred; none where unit is set
	unit      *unit
	keepAlive time.Duration // 0: the kernel asks nobody
	idle      time.Duration // close the connection after so much quiet; 0: never
	most      int           // connections that the device takes, from all links of the site
}

// reachFields are the link fields of everything that runs on TCP.
func reachFields() []drivers.Field {
	return append(listenFields(),
		drivers.Field{Name: "idle_release", Also: []string{"idle_timeout", "idle_close"}},
		drivers.Field{Name: "keep_alive", Also: []string{"keepalive", "tcp_keep_alive"}},
		drivers.Field{Name: "connections", Also: []string{"max_connections", "connection_cap"}},
	)
}

// parseReach reads a target on TCP, "192.168.1.20:502", "[a:502, b:502]" or
// "listen :5020", with its fields. The canonical target of a unit that dials in
// has its registration in it, so that it is one link's alone.
func parseReach(target string, fields drivers.Fields) (r *reach, canonical string, errs []error) {
	r = &reach{keepAlive: DefaultKeepAlive, most: 1}
	u, dialsIn, errs := parseUnit(target, fields)
	if dialsIn {
		r.unit, canonical = u, u.String()
		if text, written := fields["idle_release"]; written {
			errs = append(errs, field("idle_release", wrong("modbus.listen-idle", "modbus.listen-idle", map[string]any{"text": text})))
		}
	} else {
		var more []error
		r.addresses, more = parseTargets(target)
		errs = append(errs, more...)
		canonical = strings.Join(r.addresses, ", ")
		for _, f := range listenFields() {
			if _, written := fields[f.Name]; written {
				errs = append(errs, field(f.Name, wrong("modbus.listen-only", "modbus.listen-only", map[string]any{"field": f.Name, "target": target})))
			}
		}
		errs = append(errs, duration(fields, "idle_release", ShortestIdle, LongestIdle, &r.idle))
	}
	errs = append(errs, duration(fields, "keep_alive", ShortestKeepAlive, LongestKeepAlive, &r.keepAlive))
	if u != nil {
		u.keepAlive = r.keepAlive
	}
	if text, written := fields["connections"]; written {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || n < 1 || n > MaxConnections {
			errs = append(errs, field("connections", wrong("modbus.connections", "modbus.connections", map[string]any{"text": text, "most": MaxConnections})))
		}
		r.most = n
	}
	return r, canonical, compact(errs)
}

// parseTargets reads one address or several.
func parseTargets(target string) (out []string, errs []error) {
	parts := list(target)
	if len(parts) == 0 || len(parts) > MaxAlternates {
		return nil, []error{field("", wrong("modbus.target", "modbus.target", map[string]any{"text": target}))}
	}
	for _, p := range parts {
		s, err := parseTarget(p)
		if err != nil {
			errs = append(errs, field("", err))
			continue
		}
		out = append(out, s)
	}
	return out, errs
}

// duration reads a time of the site file, "15s", or "off".
func duration(fields drivers.Fields, name string, least, most time.Duration, into *time.Duration) error {
	text, written := fields[name]
	if !written {
		return nil
	}
	if text = strings.TrimSpace(text); text == "off" {
		*into = 0
		return nil
	}
	d, err := time.ParseDuration(strings.ReplaceAll(text, " ", ""))
	if err != nil || d < least || d > most {
		return field(name, wrong("modbus.span", "modbus.span", map[string]any{"text": text, "least": least.String(), "most": most.String()}))
	}
	*into = d
	return nil
}

// compact drops what is no error.
func compact(errs []error) (out []error) {
	for _, err := range errs {
		if err != nil {
			out = append(out, err)
		}
	}
	return out
}

// way is how an open link comes to its connection. It belongs to its link's
// goroutine. The channel says by good that a connection answers, and dials
// again where it does not.
type way struct {
	dial    func(ctx context.Context, target string) (Port, error)
	targets []string
	seat    *seat // of a unit that dials in
	idle    time.Duration
	log     *slog.Logger
	at      int  // the target of the present connection
	proved  bool // it answered
	known   int  // the target that answered last, -1 none
}

// newWay makes the way of a link; dial nil is TCP, hub nil one of its own.
func newWay(cfg drivers.LinkConfig, r *reach, hub *Hub, dial func(context.Context, string) (Port, error)) *way {
	w := &way{dial: dial, targets: []string{cfg.Target}, log: cfg.Log, proved: true, known: -1}
	keep := DefaultKeepAlive
	if r != nil {
		keep, w.idle = r.keepAlive, r.idle
		if len(r.addresses) > 0 {
			w.targets = r.addresses
		}
	}
	switch {
	case r != nil && r.unit != nil:
		if hub == nil {
			hub = new(Hub)
		}
		w.seat = hub.join(r.unit, cfg.Log)
		w.dial = w.seat.dial
	case dial == nil:
		w.dial = dialer(keep)
	}
	return w
}

// open returns a new connection: of the target that answered last, and where
// that does not connect or did not answer, of the others in turn, each with its
// share of the time that is left.
func (w *way) open(ctx context.Context) (Port, error) {
	if !w.proved { // it was connected and never answered
		w.at = (w.at + 1) % len(w.targets)
	}
	var first error
	for i := range w.targets {
		at := (w.at + i) % len(w.targets)
		p, err := w.try(ctx, w.targets[at], len(w.targets)-i)
		if err == nil {
			w.at, w.proved = at, false
			return p, nil
		}
		if first == nil {
			first = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, first
}

func (w *way) try(ctx context.Context, target string, left int) (Port, error) {
	if until, ok := ctx.Deadline(); ok && left > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(until)/time.Duration(left))
		defer cancel()
	}
	return w.dial(ctx, target)
}

// good says that the present connection answers.
func (w *way) good() {
	w.proved = true
	if w.known >= 0 && w.known != w.at {
		w.log.Warn("alternate address in use", "address", w.targets[w.at], "before", w.targets[w.known])
	}
	w.known = w.at
}

// fresher reports whether a newer connection of the unit waits, and whether
// the present one is known to be left behind.
func (w *way) fresher() (waits, urgent bool) {
	if w.seat == nil {
		return false, false
	}
	return w.seat.fresher()
}

// close ends listening for this link.
func (w *way) close() {
	if w.seat != nil {
		w.seat.leave()
	}
}

// packets are what a unit that dials in sends beside answers.
func (w *way) packets() [][]byte {
	if w.seat == nil {
		return nil
	}
	return w.seat.unit.packets()
}

// dialer dials TCP, with the kernel's keep-alive.
func dialer(keep time.Duration) func(ctx context.Context, target string) (Port, error) {
	n := net.Dialer{KeepAliveConfig: keepAliveConfig(keep)}
	if keep == 0 {
		n.KeepAlive = -1
	}
	n.Control = func(_, _ string, c syscall.RawConn) error { return userTimeout(c, keep) }
	return func(ctx context.Context, target string) (Port, error) { return n.DialContext(ctx, "tcp", target) }
}

func keepAliveConfig(keep time.Duration) net.KeepAliveConfig {
	return net.KeepAliveConfig{Enable: keep > 0, Idle: keep, Interval: keep / keepAliveProbes, Count: keepAliveProbes}
}

// keepAlive has the kernel watch over a connection that was accepted. A
// connection that is none of TCP needs none.
func keepAlive(c net.Conn, keep time.Duration) {
	t, ok := c.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := t.SyscallConn()
	if err == nil {
		err = errors.Join(t.SetKeepAliveConfig(keepAliveConfig(keep)), userTimeout(raw, keep))
	}
	if err != nil {
		c.Close() // it was over already: the link finds that and waits for the next
	}
}

// userTimeout bounds how long what was sent may stay without acknowledgement:
// without it a connection whose peer lost its power lives on for a quarter of
// an hour while requests are sent.
func userTimeout(c syscall.RawConn, keep time.Duration) error {
	if keep == 0 {
		return nil
	}
	var err error
	if cerr := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int((2 * keep).Milliseconds()))
	}); cerr != nil {
		return cerr
	}
	return err
}
