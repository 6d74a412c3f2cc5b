package opcua

import (
	"context"
	"errors"
	"fmt"
	"time"

	"davy/drivers"
	"davy/drivers/tag"
)

// Read reads all items of a request in the session that stands, and waits for
// one within the link's timeout.
func (l *link) Read(ctx context.Context, req drivers.Request, dst []tag.Reading) ([]tag.Reading, error) {
	r, ok := req.(*request)
	if !ok {
		panic("BUG: opcua: request of another driver")
	}
	began := l.Now().Mono
	samples, late, all, err := l.read(ctx, r)
	now := l.Now()
	for i := range r.points {
		p := &r.points[i]
		x := tag.Reading{Tag: p.Tag, Quality: all, Received: now}
		if err == nil {
			switch s := &samples[i]; {
			case s.Received == (tag.Stamp{}): // the child forgot it
				x.Quality = tag.BadDeviceFault
			case s.Received.Mono < began-late: // not an answer to this request
				x.Quality = tag.BadDeviceFault
				l.refused.Add(1)
			default:
				x.Value, x.Quality = finish(p, s)
				x.Source, x.Received = s.Source, s.Received
				x.Received.Mono = max(x.Received.Mono, began) // the child's clock is late, and this came after we asked
				l.report.tell(p, s)
			}
		}
		dst = append(dst, x)
	}
	if err != nil {
		return dst, fmt.Errorf("read %s %s: %w", l.Name, r, err)
	}
	return dst, nil
}

// read asks and waits; late is how far the samples' clock is behind ours at
// most, all the quality of every point where err is not nil.
func (l *link) read(ctx context.Context, r *request) (samples []Sample, late int64, all tag.Quality, err error) {
	ctx, cancel := context.WithTimeout(ctx, l.Timeout)
	defer cancel()
	t, err := l.session(ctx)
	if err != nil {
		return nil, 0, tag.BadNoComm, err
	}
	first, err := t.give(r, r.points)
	if err != nil {
		return nil, 0, tag.BadNoComm, err
	}
	number, c := t.call(first, len(r.points))
	defer t.forget(number)
	d, err := t.ask(ctx, c, func(wait time.Duration) error {
		return t.conn.Write(KindRead, Ask{number, wait, first, uint32(len(r.points))}.Append(nil))
	})
	switch {
	case err != nil:
		return nil, 0, tag.BadNoComm, err
	case d.Code == "":
		return c.samples, t.behind(), tag.BadNoComm, nil
	case d.Code == DoneRefused:
		if all = Quality(d.Status); !all.Bad() {
			all = tag.BadDeviceFault
		}
		return nil, 0, all, doneError(d)
	}
	return nil, 0, tag.BadNoComm, doneError(d)
}

// ask sends a request and waits for its Done, at most until ctx ends. An error
// of the sending itself wraps errNotSent.
func (t *talk) ask(ctx context.Context, c *call, out func(wait time.Duration) error) (Done, error) {
	deadline, _ := ctx.Deadline()
	wait := time.Until(deadline)
	if wait <= 0 {
		return Done{}, fmt.Errorf("%w: %w", errNotSent, context.DeadlineExceeded)
	}
	if err := out(wait); err != nil {
		return Done{}, fmt.Errorf("%w: %w", errNotSent, err)
	}
	select {
	case d := <-c.done:
		return d, nil
	case <-t.ended:
		return Done{}, t.why
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return Done{}, fmt.Errorf("no answer within %v", wait.Round(time.Millisecond))
		}
		return Done{}, ctx.Err()
	}
}

func doneError(d Done) error {
	err := fmt.Errorf("%s (status %#08x)", d.Code, d.Status)
	if d.Text != "" {
		err = fmt.Errorf("%w: %s", err, clip(d.Text))
	}
	return err
}

// Write writes one value to its node; the child serves it before reads that
// wait. Nothing was done when the error does not wrap drivers.ErrUnknown.
func (l *link) Write(ctx context.Context, p drivers.Point, v tag.Value) error {
	fail := func(err error) error { return fmt.Errorf("write %s %s: %w", l.Name, p.Address, err) }
	if !p.Write || l.ReadOnly {
		return fail(drivers.ErrReadOnly)
	}
	if err := checkPoint(l.o, &p); err != nil {
		return fail(err)
	}
	v, text, err := raw(&p, v)
	if err != nil {
		return fail(err)
	}
	ctx, cancel := context.WithTimeout(ctx, l.Timeout)
	defer cancel()
	t, err := l.session(ctx)
	if err != nil {
		return fail(err)
	}
	number, c := t.call(0, 0)
	defer t.forget(number)
	d, err := t.ask(ctx, c, func(wait time.Duration) error {
		return send(t.conn, KindWrite, Write{number, wait, p.Address.(Address), v.Kind(), v.Bits(), text})
	})
	switch {
	case errors.Is(err, errNotSent): // half a frame is no request
		return fail(err)
	case err != nil:
		return fail(fmt.Errorf("%w: %w", drivers.ErrUnknown, err))
	case d.Code == "":
		return nil
	case d.Code == DoneNoSession, d.Code == DoneType, d.Code == DoneRefused && !doubtful(d.Status):
		return fail(doneError(d))
	}
	return fail(fmt.Errorf("%w: %w", drivers.ErrUnknown, doneError(d)))
}

// doubtful reports whether a server that refused a write with this status may
// have done it: it timed out on its own side, or lost sight of the device.
func doubtful(status uint32) bool {
	switch status >> 16 {
	case 0x800A, // BadTimeout
		0x8005, // BadCommunicationError
		0x8031, // BadNoCommunication
		0x808A, // BadNotConnected
		0x808B, // BadDeviceFailure
		0x8002, // BadInternalError
		0x8085, // BadRequestTimeout
		0x80AE, // BadConnectionClosed
		0x8000, // Bad, and no more
		0x8001: // BadUnexpectedError
		return true
	}
	return status>>30 != 2 // not bad at all: it was not refused
}
