package modbus

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"davy/drivers/tag"
)

// wire is one connection or line over a Device.
type wire struct {
	framing Framing
	device  Device
	now     func() tag.Stamp
	id      uint64
	c       io.ReadWriteCloser
	turn    time.Duration // stillness before an answer, and between two frames
	mute    bool          // nothing is answered
	reset   func()        // ends a connection with RST; nil: it is a line

	mu sync.Mutex // held while a frame leaves, so that no two are mixed
}

// Line is how stations on a serial line behave.
type Line struct {
	Framing Framing       // RTU or ASCII
	Turn    time.Duration // stillness before an answer: 3.5 characters, at least 1.75 ms
	ID      uint64        // of its requests, as a connection's
}

// Serve answers the requests on a stream until it ends or ctx does; then it
// closes it. That the stream ended is no error.
func (l Line) Serve(ctx context.Context, stream io.ReadWriteCloser, d Device, now func() tag.Stamp) error {
	w := wire{framing: l.Framing, device: d, now: now, id: l.ID, c: stream, turn: l.Turn}
	stop := context.AfterFunc(ctx, func() { _ = stream.Close() })
	defer stop()
	err := w.serve(ctx)
	for _, end := range []error{io.EOF, io.ErrClosedPipe, os.ErrClosed, syscall.EIO} {
		if errors.Is(err, end) {
			return nil
		}
	}
	return err
}

// serve works until the stream ends, closes it and waits for late answers.
func (w *wire) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var late sync.WaitGroup
	defer late.Wait()
	defer func() { _ = w.c.Close() }()
	defer cancel()
	pending := make(chan struct{}, MaxPending)
	from := reader{from: w.c, framing: w.framing}
	for {
		if w.mute {
			_, err := io.Copy(io.Discard, w.c)
			return err
		}
		f, err := from.next()
		if err != nil {
			return err
		}
		if w.framing != TCP && f.unit == 0 {
			continue // a broadcast: no unit here has anything to do with it
		}
		req, exc := parse(f.unit, f.pdu)
		req.Conn, req.At = w.id, w.now()
		var rep Reply
		if exc != 0 {
			rep.Exception = exc
		} else {
			rep = w.device.Serve(req)
		}
		if rep.Silent || rep.Reset && w.reset == nil {
			continue
		}
		if rep.Reset {
			w.reset()
			return nil
		}
		if rep.HalfOpen && w.reset != nil {
			w.mute = true
			continue
		}
		out := w.frame(f, req, rep)
		if rep.Delay <= 0 {
			if !w.send(ctx, out, rep) {
				return nil
			}
			continue
		}
		select {
		case pending <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		late.Go(func() {
			defer func() { <-pending }()
			if pause(ctx, rep.Delay) {
				w.send(ctx, out, rep)
			}
		})
	}
}

// frame makes the frame of an answer.
func (w *wire) frame(f adu, req Request, rep Reply) []byte {
	unit := f.unit
	if rep.Station != 0 {
		unit = rep.Station
	}
	out := w.framing.wrap(f.head, unit, answer(req, rep))
	if rep.Garbled {
		w.framing.spoil(out)
	}
	return out
}

// send lets a frame leave as often and in as many pieces as the reply says,
// after the line's stillness.
func (w *wire) send(ctx context.Context, out []byte, rep Reply) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for range 1 + rep.Copies {
		if w.turn > 0 && !pause(ctx, w.turn) {
			return false
		}
		if rep.Split <= 0 {
			if !w.write(out) {
				return false
			}
			continue
		}
		for i := range out {
			if i > 0 && !pause(ctx, rep.Split) || !w.write(out[i:i+1]) {
				return false
			}
		}
	}
	return true
}

func (w *wire) write(b []byte) bool {
	if c, ok := w.c.(interface{ SetWriteDeadline(t time.Time) error }); ok {
		_ = c.SetWriteDeadline(time.Now().Add(WriteTimeout)) // fails only when it was closed
	}
	_, err := w.c.Write(b)
	if err != nil {
		_ = w.c.Close()
	}
	return err == nil
}

// pause waits, and reports whether ctx still holds.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
