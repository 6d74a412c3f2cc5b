// Package idealline is the least that a master on a serial line must do: it
// writes the bytes of a request, reads exactly as many as the known answer has,
// keeps the pause between two frames, and nothing else. It checks no sum, knows
// no timeout and no second device: nothing that is right can be faster.
//
// Imports: golang.org/x/sys/unix.
package idealline

import (
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// wakeUp is how long before the end of a pause the client is awake.
const wakeUp = 400 * time.Microsecond

// Client is one master. It belongs to one goroutine.
type Client struct {
	line   *os.File
	gap    time.Duration
	answer []byte
	last   time.Time // when the last answer was whole
}

// Open opens a device file that is set up already. gap is the pause between an
// answer and the next request: 3.5 characters.
func Open(path string, gap time.Duration) (*Client, error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	return &Client{line: f, gap: gap}, nil
}

// Ask sends a request and returns its answer of n bytes, which lives until the next Ask.
func (c *Client) Ask(request []byte, n int) ([]byte, error) {
	if wait := c.gap - time.Since(c.last) - wakeUp; wait > 0 {
		t := unix.NsecToTimespec(int64(wait))
		_ = unix.Nanosleep(&t, nil) // finer than the runtime's timers; what a signal cuts off is waited for below
	}
	for time.Since(c.last) < c.gap { // nobody may be woken later than the ideal
	}
	if _, err := c.line.Write(request); err != nil {
		return nil, err
	}
	if len(c.answer) < n {
		c.answer = make([]byte, n)
	}
	_, err := io.ReadFull(c.line, c.answer[:n])
	c.last = time.Now()
	return c.answer[:n], err
}

// Close closes the device file.
func (c *Client) Close() error { return c.line.Close() }
