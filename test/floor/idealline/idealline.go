// Package idealline is the least that a master on a serial line must do: it
// writes the bytes of a request, reads exactly as many as the known answer has,
// keeps the pause between two frames, and nothing else. It checks no sum, knows
// no timeout and no second device, and blocks in the kernel, where no scheduler
// of ours stands between a character and its reader: nothing that is right can
// be faster but by the machine's mood.
//
// Imports: golang.org/x/sys/unix.
package idealline

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Client is one master. It belongs to one goroutine.
type Client struct {
	fd     int
	gap    time.Duration
	answer []byte
	last   time.Time // when the last answer was whole
}

// Open opens a device file that is set up already. gap is the pause between an
// answer and the next request: 3.5 characters.
func Open(path string, gap time.Duration) (*Client, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return &Client{fd: fd, gap: gap}, nil
}

// Ask sends a request and returns its answer of n bytes, which lives until the
// next Ask. Where no answer comes it waits for ever.
func (c *Client) Ask(request []byte, n int) ([]byte, error) {
	if wait := c.gap - time.Since(c.last); wait > 0 {
		t := unix.NsecToTimespec(int64(wait))
		for err := unix.Nanosleep(&t, &t); err != nil; err = unix.Nanosleep(&t, &t) {
			if !errors.Is(err, unix.EINTR) {
				return nil, os.NewSyscallError("nanosleep", err)
			}
		}
	}
	if sent, err := again(unix.Write, c.fd, request); err != nil || sent < len(request) {
		return nil, fmt.Errorf("write: %d bytes went out: %w", sent, errors.Join(err, io.ErrShortWrite))
	}
	if len(c.answer) < n {
		c.answer = make([]byte, n)
	}
	for got := 0; got < n; {
		m, err := again(unix.Read, c.fd, c.answer[got:n])
		if err != nil || m == 0 {
			return nil, fmt.Errorf("read: %w", errors.Join(err, io.ErrUnexpectedEOF))
		}
		got += m
	}
	c.last = time.Now()
	return c.answer[:n], nil
}

// again calls f until no signal cuts it short.
func again(f func(fd int, p []byte) (int, error), fd int, p []byte) (int, error) {
	for {
		n, err := f(fd, p)
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// Close closes the device file.
func (c *Client) Close() error { return unix.Close(c.fd) }
