package ring

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// step is how much of a frame is read before more memory is taken for it.
const step = 64 << 10

// input reads frames.
type input struct {
	r   *bufio.Reader
	buf []byte
}

// next returns the kind and the body of the next frame; the body lives until
// the next call. The end between two frames is io.EOF, within one
// io.ErrUnexpectedEOF.
func (in *input) next() (kind byte, body []byte, err error) {
	var head [frameHead]byte
	if _, err := io.ReadFull(in.r, head[:]); err != nil {
		return 0, nil, err
	}
	n := le.Uint32(head[:])
	if n < 1 || n > MaxFrame {
		return 0, nil, fmt.Errorf("%w: length %d", ErrFrame, n)
	}
	// Memory is taken as bytes come, not as they are announced.
	in.buf = in.buf[:0]
	for left := int(n); left > 0; {
		part := min(left, step)
		at := len(in.buf)
		if cap(in.buf)-at < part {
			in.buf = append(in.buf, make([]byte, part)...)
		}
		in.buf = in.buf[:at+part]
		if _, err := io.ReadFull(in.r, in.buf[at:]); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return 0, nil, err
		}
		left -= part
	}
	return in.buf[0], in.buf[1:], nil
}

// Reader is the keeper's end. Next belongs to one goroutine, Send to one
// goroutine (the same or another).
type Reader struct {
	conn   io.ReadWriteCloser
	in     input
	out    []byte
	stop   func() bool
	watch  *time.Timer
	ended  atomic.Bool // ctx of Accept ended
	silent atomic.Bool
}

// Accept reads the decider's Hello. The connection belongs to the Reader from
// now on; it is closed when ctx ends, or by Close. The keeper sends a Status at
// once: the decider's silence timer runs.
func Accept(ctx context.Context, conn io.ReadWriteCloser) (*Reader, Hello, error) {
	r := &Reader{conn: conn, in: input{r: bufio.NewReaderSize(conn, step)}}
	r.stop = context.AfterFunc(ctx, func() {
		r.ended.Store(true)
		_ = conn.Close()
	})
	r.watch = time.AfterFunc(Silence, func() {
		r.silent.Store(true)
		_ = conn.Close()
	})
	var h Hello
	kind, body, err := r.next()
	switch {
	case err != nil:
	case kind != helloFrame:
		err = fmt.Errorf("%w: kind %d before hello", ErrFrame, kind)
	default:
		err = decodeHello(body, &h)
	}
	if err != nil {
		_ = r.Close()
		return nil, Hello{}, fmt.Errorf("accept decider: %w", err)
	}
	r.in.buf = nil // a site may be large, and no frame after it is
	return r, h, nil
}

// next reads a frame within Silence. The time that the keeper itself spends
// between two calls does not count.
func (r *Reader) next() (byte, []byte, error) {
	r.watch.Reset(Silence)
	kind, body, err := r.in.next()
	r.watch.Stop()
	if err != nil {
		switch {
		case r.ended.Load():
			err = context.Canceled
		case r.silent.Load():
			err = ErrSilent
		}
	}
	return kind, body, err
}

// Next reads the next turn into t, whose slices are used again; what the events
// hold is not. io.EOF says that the decider is gone; the keeper ends then.
func (r *Reader) Next(t *Turn) error {
	kind, body, err := r.next()
	if err != nil {
		// A socket that is closed while it holds an unread Status says reset,
		// after everything that was sent has been read.
		if errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) {
			return io.EOF
		}
		return fmt.Errorf("read turn: %w", err)
	}
	if kind != turnFrame {
		return fmt.Errorf("read turn: %w: kind %d", ErrFrame, kind)
	}
	return decodeTurn(body, t)
}

// Send tells the decider how the keeper is.
func (r *Reader) Send(s Status) error {
	out, err := frame(r.out[:0], statusFrame, func(b []byte) []byte { return appendStatus(b, &s) })
	if err != nil {
		return err
	}
	r.out = out
	if _, err := r.conn.Write(out); err != nil {
		return fmt.Errorf("send status: %w", err)
	}
	return nil
}

// Close ends the conversation.
func (r *Reader) Close() error {
	r.stop()
	r.watch.Stop()
	return r.conn.Close()
}
