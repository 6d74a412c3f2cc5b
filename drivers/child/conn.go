package child

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// Limits, each with what happens at it.
const (
	MaxFrame = 1 << 20         // bytes of a body; a longer one is an error on either side, and nothing is allocated for it
	Beat     = time.Second     // a side that has nothing to say sends a Heart this often
	Quiet    = 3 * time.Second // a side that hears nothing for so long takes the other for gone: ErrQuiet
	// WriteWait is how long one frame may take to be written; then the other side
	// does not read, and the stream is broken.
	WriteWait = Quiet

	header = 5       // length and kind
	buffer = 1 << 16 // bytes that one read of the stream takes at most
)

// Heart is the kind of a frame that says only that its sender lives. Read
// never returns it. Every other kind is its users'.
const Heart byte = 0

// Errors of a conversation. After any of them the stream is broken: Close it.
var (
	ErrQuiet = errors.New("silent for " + Quiet.String()) // nothing came for Quiet
	ErrLong  = errors.New("frame longer than its limit")
)

// Conn is one side's end of the conversation. Read belongs to one goroutine;
// Write may be called from any.
type Conn struct {
	rw     io.ReadWriteCloser
	timed  deadliner // nil: rw knows no deadlines, so nothing is bounded but by Close
	in     *bufio.Reader
	body   []byte // of the last frame read
	head   [header]byte
	turn   chan struct{} // holds one while somebody writes; a channel, so that a bubble's time goes on
	out    []byte        // the frame being written
	broken error         // of the first write that failed: half a frame may be out
}

type deadliner interface {
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

// NewConn makes a Conn of a stream and owns it. A stream with deadlines (a
// socket, a net.Pipe) is watched for Quiet.
func NewConn(rw io.ReadWriteCloser) *Conn {
	timed, _ := rw.(deadliner)
	return &Conn{rw: rw, timed: timed, in: bufio.NewReaderSize(rw, buffer), turn: make(chan struct{}, 1)}
}

// Read returns the next frame that is not a Heart. The body lives until the
// next Read. io.EOF: the other side ended between two frames; a wrapped
// io.ErrUnexpectedEOF: within one; ErrQuiet: nothing came for Quiet.
func (c *Conn) Read() (kind byte, body []byte, err error) {
	for {
		if kind, body, err = c.frame(Quiet); err != nil || kind != Heart {
			return kind, body, err
		}
	}
}

// Await is Read for the first frame, which the other side, just starting, has
// another time for. A Heart is returned too.
func (c *Conn) Await(d time.Duration) (kind byte, body []byte, err error) { return c.frame(d) }

// frame reads one frame, which has d to arrive whole.
func (c *Conn) frame(d time.Duration) (byte, []byte, error) {
	if c.timed != nil {
		if err := c.timed.SetReadDeadline(time.Now().Add(d)); err != nil {
			return 0, nil, fmt.Errorf("read frame: %w", err)
		}
	}
	if _, err := io.ReadFull(c.in, c.head[:]); err != nil {
		return 0, nil, reading(err)
	}
	n := binary.LittleEndian.Uint32(c.head[:4])
	if n > MaxFrame {
		return 0, nil, fmt.Errorf("read frame of %d bytes: %w", n, ErrLong)
	}
	if int(n) > cap(c.body) {
		c.body = make([]byte, n)
	}
	c.body = c.body[:n]
	if _, err := io.ReadFull(c.in, c.body); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, reading(err)
	}
	return c.head[4], c.body, nil
}

func reading(err error) error {
	switch {
	case err == io.EOF:
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = ErrQuiet
	}
	return fmt.Errorf("read frame: %w", err)
}

// Write sends one frame, whole or not at all as far as the other side can
// tell. It blocks while the other side does not read, at most WriteWait. After
// an error every Write fails.
func (c *Conn) Write(kind byte, body []byte) error {
	if len(body) > MaxFrame {
		return fmt.Errorf("write frame of %d bytes: %w", len(body), ErrLong)
	}
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	if c.broken != nil {
		return c.broken
	}
	c.out = binary.LittleEndian.AppendUint32(c.out[:0], uint32(len(body)))
	c.out = append(append(c.out, kind), body...)
	if c.timed != nil {
		if err := c.timed.SetWriteDeadline(time.Now().Add(WriteWait)); err != nil {
			c.broken = fmt.Errorf("write frame: %w", err)
			return c.broken
		}
	}
	if _, err := c.rw.Write(c.out); err != nil {
		c.broken = fmt.Errorf("write frame: %w", err)
	}
	return c.broken
}

// Pulse sends a Heart now and every Beat until ctx ends or a write fails. It
// says that its goroutine lives and no more: whoever works calls it from where
// a hang of the work is a hang of the pulse, or ends ctx when the work hangs.
func (c *Conn) Pulse(ctx context.Context) error {
	t := time.NewTicker(Beat)
	defer t.Stop()
	for {
		if err := c.Write(Heart, nil); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
}

// Close closes the stream; a Read or Write under way fails.
func (c *Conn) Close() error { return c.rw.Close() }
