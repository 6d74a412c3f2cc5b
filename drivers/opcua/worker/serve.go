package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"davy/drivers/child"
	"davy/drivers/opcua"
)

// Options of a worker. The zero value is that of a child process.
type Options struct {
	Log *slog.Logger // nil: slog's default
	// ClockTrusted says whether dates of certificates can be judged by our clock;
	// nil asks the kernel whether something synchronises it.
	ClockTrusted func() bool
	FirstPause   time.Duration // before the second attempt to connect; 0: a second
	LastPause    time.Duration // what the pauses double up to; 0: half a minute
	// ChannelLife is how long the keys of a channel are asked to hold, in whole
	// seconds; they are renewed after three quarters of it. 0: an hour.
	ChannelLife time.Duration
	// Asleep is how long the machine has slept since it started, which no timer
	// counts; nil asks the kernel.
	Asleep func() time.Duration
}

// Sink takes what a worker finds out. Its methods are never called at the same
// time; an error ends the worker.
type Sink interface {
	State(opcua.State) error
	Readings(*opcua.Batch) error // the batch is used again
	Condition(*opcua.Condition) error
	Done(opcua.Done) error
}

// hungAfter is how long the goroutine that owns the session may be away before
// the pulse stops and the parent ends us.
const hungAfter = 10 * time.Second

// Serve is a child's side of the conversation on rw: it returns when that ends
// or ctx does, with its session closed. nil: the parent ended the conversation.
func Serve(ctx context.Context, rw io.ReadWriteCloser, o Options) error {
	conn := child.NewConn(rw)
	defer conn.Close()
	if err := send(conn, opcua.KindReady, opcua.Ready{Version: opcua.Version}); err != nil {
		return err
	}
	kind, body, err := conn.Read()
	if err != nil {
		return ended(err)
	}
	var hello opcua.Hello
	if kind != opcua.KindHello {
		return fmt.Errorf("serve: a frame of kind %d before hello", kind)
	}
	if err := json.Unmarshal(body, &hello); err != nil {
		return fmt.Errorf("serve: hello: %w", err)
	}
	if hello.Version != opcua.Version {
		return fmt.Errorf("serve: the parent speaks version %d, we speak %d", hello.Version, opcua.Version)
	}
	w := New(hello, &frames{conn: conn}, o)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var group sync.WaitGroup
	group.Go(func() { cancel(w.Run(ctx)) })
	group.Go(func() { cancel(w.pulse(ctx, conn)) })
	group.Go(func() { // whatever ends, Read ends with it
		<-ctx.Done()
		<-w.done
		_ = conn.Close()
	})
	for err == nil {
		if kind, body, err = conn.Read(); err == nil {
			err = w.take(kind, body)
		}
	}
	cancel(err)
	group.Wait()
	return ended(context.Cause(ctx))
}

// ended is nil for a conversation that the other side ended in order.
func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// pulse tells the parent that we live, as long as the owner of the session does.
func (w *Worker) pulse(ctx context.Context, conn *child.Conn) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	hung := make(chan struct{})
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	group.Go(func() {
		t := time.NewTicker(child.Beat)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
				if since := time.Since(w.start) - time.Duration(w.beat.Load()); since > hungAfter {
					close(hung)
					cancel()
					return
				}
			}
		}
	})
	err := conn.Pulse(ctx)
	select {
	case <-hung:
		return errors.New("serve: the owner of the session hangs")
	default:
		return err
	}
}

// take takes one frame of the parent.
func (w *Worker) take(kind byte, body []byte) error {
	switch kind {
	case opcua.KindItems:
		var m opcua.Items
		if err := json.Unmarshal(body, &m); err != nil {
			return fmt.Errorf("serve: items: %w", err)
		}
		return w.Items(m)
	case opcua.KindSubscribe, opcua.KindRead:
		a, err := opcua.DecodeAsk(body)
		if err != nil {
			return fmt.Errorf("serve: %w", err)
		}
		if kind == opcua.KindRead {
			return w.Read(a)
		}
		return w.Subscribe(a)
	case opcua.KindWrite:
		var m opcua.Write
		if err := json.Unmarshal(body, &m); err != nil {
			return fmt.Errorf("serve: write: %w", err)
		}
		return w.Write(m)
	}
	return fmt.Errorf("serve: a frame of kind %d", kind)
}

// frames is the Sink that writes to the parent.
type frames struct {
	conn *child.Conn
	buf  []byte
}

func send(conn *child.Conn, kind byte, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	return conn.Write(kind, body)
}

func (f *frames) State(s opcua.State) error { return send(f.conn, opcua.KindState, s) }
func (f *frames) Done(d opcua.Done) error   { return send(f.conn, opcua.KindDone, d) }
func (f *frames) Condition(c *opcua.Condition) error {
	return send(f.conn, opcua.KindCondition, c)
}

func (f *frames) Readings(b *opcua.Batch) error {
	f.buf = b.Append(f.buf[:0])
	return f.conn.Write(opcua.KindReadings, f.buf)
}

// asleep is how long the machine has slept since it started: by as much one of
// the kernel's two clocks is behind the other. It is exact to the time between
// the two calls.
func asleep() time.Duration {
	var with, without unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &without) != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &with) != nil {
		return 0
	}
	return time.Duration(with.Nano() - without.Nano())
}

// kernelTrusted reports whether the kernel believes the clock to be synchronised.
func kernelTrusted() bool {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	return err == nil && state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0
}
