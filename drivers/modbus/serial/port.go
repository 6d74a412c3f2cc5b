package serial

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Lines knows which link of this process has which line. The zero value is
// ready; links that share lines share one.
type Lines struct {
	mu   sync.Mutex
	held map[string]string // by resolved path: the link
}

// Open is Open for a link of that name. The line must not be another link's:
// that is ErrBusy, and the error names the other.
func (l *Lines) Open(link, path string, s Settings) (*Port, error) {
	device, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, fmt.Errorf("open line: %w", err)
	}
	l.mu.Lock()
	other, taken := l.held[device]
	if !taken {
		if l.held == nil {
			l.held = map[string]string{}
		}
		l.held[device] = link
	}
	l.mu.Unlock()
	if taken {
		return nil, fmt.Errorf("open line %s: %w: %s has it for link %s", path, ErrBusy, device, other)
	}
	free := func() {
		l.mu.Lock()
		delete(l.held, device)
		l.mu.Unlock()
	}
	p, err := Open(device, s)
	if err != nil {
		free()
		return nil, err
	}
	p.free = free
	return p, nil
}

// Port is an open line.
type Port struct {
	file      *os.File
	raw       syscall.RawConn
	free      func()    // gives the line back to its Lines
	once      sync.Once // of free
	start     time.Time
	character time.Duration // 0 where bytes take no time: a pseudo terminal
	before    time.Duration // from the first byte written to the first on the wire
	until     atomic.Int64  // deadline since start, ns; never: none
	busy      time.Duration // when the last byte written is over, since start

	// Of the Read or Write that runs, for functions made once so that none
	// allocates. Reading and writing are one goroutine's.
	buf                      []byte
	n                        int
	err                      error
	poll                     [1]unix.PollFd
	left                     unix.Timespec
	reading, writing         func(fd uintptr) bool
	readOnce, writeOnce, end func(fd uintptr)
	flush                    func(fd uintptr)
}

const never = int64(1<<63 - 1)

// Open opens a line and sets it up. The path may be a link to the device.
func Open(path string, s Settings) (*Port, error) {
	file, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		if errors.Is(err, unix.EBUSY) {
			return nil, fmt.Errorf("open line %s: %w: another program has it", path, ErrBusy)
		}
		return nil, fmt.Errorf("open line %s: %w", path, bare(err))
	}
	p := &Port{file: file, start: time.Now(), character: s.Character()}
	p.until.Store(never)
	if err = p.prepare(s); err != nil {
		file.Close() // the reason is known
		return nil, fmt.Errorf("open line %s: %w", path, err)
	}
	return p, nil
}

func (p *Port) prepare(s Settings) (err error) {
	if p.raw, err = p.file.SyscallConn(); err != nil {
		return bare(err)
	}
	p.reading = func(fd uintptr) bool { p.read(fd); return p.err != unix.EAGAIN }
	p.writing = func(fd uintptr) bool { p.write(fd); return p.err != unix.EAGAIN }
	p.readOnce = p.read
	p.writeOnce = p.write
	p.end = p.fine
	p.flush = func(fd uintptr) { p.err = unix.IoctlSetInt(int(fd), unix.TCFLSH, unix.TCIFLUSH) }
	var inner error
	err = p.raw.Control(func(fd uintptr) { inner = p.setUp(int(fd), s) })
	if err = errors.Join(err, inner); err != nil {
		return err
	}
	// Without the poller a read could not be ended.
	if err = p.file.SetDeadline(time.Time{}); err != nil {
		return fmt.Errorf("no deadlines: %w", bare(err))
	}
	if s.RS485.On {
		p.before = s.RS485.Before
	}
	return nil
}

// Read reads what has come, or waits for it until the deadline
// (os.ErrDeadlineExceeded). What has come by then is read even after it.
func (p *Port) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	p.buf = b
	for {
		if err := p.raw.Control(p.readOnce); err != nil {
			return 0, os.ErrClosed
		}
		if p.err == unix.EAGAIN {
			left := p.remains()
			switch {
			case left <= 0:
				p.err = os.ErrDeadlineExceeded
			case left <= int64(Fine):
				p.left = unix.NsecToTimespec(left)
				if err := p.raw.Control(p.end); err != nil {
					return 0, os.ErrClosed
				}
				continue
			default:
				err := p.raw.Read(p.reading)
				if errors.Is(err, os.ErrDeadlineExceeded) {
					continue // the rest is fine
				}
				if err != nil {
					return 0, os.ErrClosed
				}
			}
		}
		n, err := p.n, p.err
		p.buf = nil
		return n, err
	}
}

// Drain reads what has come and waits for nothing; 0 and no error where
// nothing has.
func (p *Port) Drain(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	p.buf = b
	if err := p.raw.Control(p.readOnce); err != nil {
		return 0, os.ErrClosed
	}
	p.buf = nil
	if p.err == unix.EAGAIN {
		return 0, nil
	}
	return p.n, p.err
}

// remains returns how long it is to the deadline, ns.
func (p *Port) remains() int64 {
	until := p.until.Load()
	if until == never {
		return never
	}
	return until - int64(time.Since(p.start))
}

// read tries once. A tty that hung up reads 0 bytes, or EIO.
func (p *Port) read(fd uintptr) {
	for {
		n, err := unix.Read(int(fd), p.buf)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			p.n, p.err = 0, unix.EAGAIN
		case err != nil:
			p.n, p.err = 0, gone(err)
		case n <= 0:
			p.n, p.err = 0, ErrUnplugged
		default:
			p.n, p.err = n, nil
		}
		return
	}
}

// fine waits for a byte with the kernel's own poll.
func (p *Port) fine(fd uintptr) {
	p.poll[0] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	// Whatever it says, the caller looks again: a signal, a byte, the end of the wait.
	_, _ = unix.Ppoll(p.poll[:], &p.left, nil)
}

// Write writes all of b, or as much as goes until the deadline. What it wrote
// is on its way; Sent says for how long.
func (p *Port) Write(b []byte) (int, error) {
	done := 0
	for done < len(b) {
		p.buf = b[done:]
		if err := p.raw.Control(p.writeOnce); err != nil {
			return done, os.ErrClosed
		}
		if p.err == unix.EAGAIN {
			if err := p.raw.Write(p.writing); err != nil {
				p.n, p.err = 0, os.ErrClosed
				if errors.Is(err, os.ErrDeadlineExceeded) {
					p.err = os.ErrDeadlineExceeded
				}
			}
		}
		done += p.n
		if p.n > 0 && p.character > 0 {
			now := time.Since(p.start)
			p.busy = max(p.busy, now+p.before) + time.Duration(p.n)*p.character
		}
		if p.err != nil {
			break
		}
	}
	p.buf = nil
	if done < len(b) {
		return done, p.err
	}
	return done, nil
}

func (p *Port) write(fd uintptr) {
	for {
		n, err := unix.Write(int(fd), p.buf)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			p.n, p.err = 0, unix.EAGAIN
		case err != nil:
			p.n, p.err = 0, gone(err)
		default:
			p.n, p.err = max(n, 0), nil
			if n == 0 {
				p.err = io.ErrShortWrite
			}
		}
		return
	}
}

// Sent returns how long what was written still takes to leave, by the line's
// speed; 0 where bytes take no time (a pseudo terminal).
func (p *Port) Sent() time.Duration {
	return max(0, p.busy-time.Since(p.start))
}

// Flush throws away what has come and was not read.
func (p *Port) Flush() error {
	if err := p.raw.Control(p.flush); err != nil {
		return os.ErrClosed
	}
	if p.err != nil {
		return gone(p.err)
	}
	return nil
}

// SetDeadline sets until when Read and Write wait; the zero time is for ever.
// A Read or Write that waits obeys it within Fine.
func (p *Port) SetDeadline(t time.Time) error {
	if t.IsZero() {
		p.until.Store(never)
		return p.file.SetDeadline(t)
	}
	p.until.Store(int64(t.Sub(p.start)))
	return p.file.SetDeadline(t.Add(-Fine))
}

// Close ends what waits and gives the line back.
func (p *Port) Close() error {
	if p.raw.Control(func(fd uintptr) { release(int(fd)) }) != nil {
		return os.ErrClosed
	}
	err := p.file.Close()
	p.once.Do(func() {
		if p.free != nil {
			p.free()
		}
	})
	return bare(err)
}

// gone is ErrUnplugged for what a device that is not there any more answers with.
func gone(err error) error {
	switch err {
	case unix.EIO, unix.ENODEV, unix.ENXIO, unix.ENOTTY, unix.EPIPE:
		return ErrUnplugged
	}
	return err
}

// bare takes off the path that os adds, because the caller says it.
func bare(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
