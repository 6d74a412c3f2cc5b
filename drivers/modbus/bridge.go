package modbus

import (
	"context"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"davy/drivers"
	"davy/drivers/modbus/serial"
)

// lineParts are what the drivers of RTU and ASCII have in common.
type lineParts struct {
	lines *serial.Lines
	hub   *Hub
	open  func(ctx context.Context, path string, s serial.Settings) (Port, error)
	dial  func(ctx context.Context, target string) (Port, error)
}

func openLine(cfg drivers.LinkConfig, ascii bool, p lineParts) *link {
	return open(cfg, func(cfg drivers.LinkConfig) channel { return newLine(cfg, optionsOfLine(cfg.Settings, ascii), p) })
}

// newLine makes the channel of a line.
func newLine(cfg drivers.LinkConfig, o *lineOptions, p lineParts) *line {
	l := &line{
		framer: rtu{}, lineOptions: o, target: cfg.Target, timeout: cfg.Timeout,
		log: cfg.Log, now: cfg.Now, say: cfg.Say, echoes: o.echo, out: make([]byte, 0, 2*maxBody+16),
	}
	if o.ascii {
		l.framer = ascii{}
	}
	if o.reach != nil {
		dial := p.dial
		if dial == nil {
			tcp := dialer(o.reach.keepAlive)
			dial = func(ctx context.Context, target string) (Port, error) {
				c, err := tcp(ctx, target)
				if err != nil {
					return nil, err
				}
				return drainable(c), nil
			}
		}
		l.way = newWay(cfg, o.reach, p.hub, dial)
		l.dial = l.way.open
		return l
	}
	if !o.ascii {
		l.quiet = gap(o.serial.Baud)
	}
	l.dial = func(ctx context.Context) (Port, error) { return p.port(ctx, cfg.Name, o) }
	return l
}

// port opens a device.
func (p lineParts) port(ctx context.Context, link string, o *lineOptions) (Port, error) {
	if p.open != nil {
		return p.open(ctx, o.device, o.serial)
	}
	lines := p.lines
	if lines == nil {
		lines = new(serial.Lines)
	}
	port, err := lines.Open(link, o.device, o.serial)
	if err != nil {
		return nil, err
	}
	return port, nil
}

// bridge is a connection that can be drained: what has come is read without a
// wait, which net.Conn cannot do.
type bridge struct {
	Port
	raw  syscall.RawConn
	read func(fd uintptr) bool
	buf  []byte
	n    int
	err  error
}

// drainable makes a TCP connection a drainer; anything else it lets be.
func drainable(p Port) Port {
	c, ok := p.(*net.TCPConn)
	if !ok {
		return p
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return p // closed already: the next read says so
	}
	b := &bridge{Port: p, raw: raw}
	b.read = func(fd uintptr) bool {
		b.n, b.err = unix.Read(int(fd), b.buf)
		return true
	}
	return b
}

// Drain reads what has come; 0 and no error where nothing has.
func (b *bridge) Drain(into []byte) (int, error) {
	b.buf = into
	// A deadline that is past would keep it from looking.
	if err := b.SetDeadline(time.Time{}); err != nil {
		return 0, err
	}
	if err := b.raw.Read(b.read); err != nil {
		return 0, err
	}
	b.buf = nil
	switch {
	case b.err == unix.EAGAIN || b.err == unix.EINTR:
		return 0, nil
	case b.err != nil:
		return 0, os.NewSyscallError("read", b.err)
	case b.n == 0:
		return 0, io.EOF
	}
	return b.n, nil
}
