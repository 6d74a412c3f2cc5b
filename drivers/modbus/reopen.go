package modbus

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// reopening is how a channel comes to its port again: to the connection of
// Modbus TCP, or to that of a line.
type reopening struct {
	up       bool  // the last port answered; only for the log
	fruitful bool  // this port answered
	failed   int   // fruitless attempts in a row
	silent   int   // requests in a row without an answer, on a connection
	mute     int   // connections given up for silence in a row
	redial   int64 // not before, Mono
	last     error // why there is none
}

// early returns an error while the next attempt is put off: what the last one
// failed of, and for how long yet.
func (r *reopening) early(now int64, doing string) error {
	if wait := time.Duration(r.redial - now); r.last != nil && wait > 0 {
		return fmt.Errorf("%w (%s again in %v)", r.last, doing, wait.Round(time.Millisecond))
	}
	return nil
}

// putOff puts the next attempt off, longer with each fruitless one.
func (r *reopening) putOff(now int64, why error) {
	wait := RedialFirst
	for i := 0; i < r.failed && wait < RedialLast; i++ {
		wait *= 2
	}
	wait = min(wait, RedialLast)
	wait = wait/2 + rand.N(wait/2+1)
	r.failed++
	r.redial, r.last = now+int64(wait), why
}

// halfOpen reports whether so many requests in a row had no answer that the
// connection may be dead without either end knowing.
func (r *reopening) halfOpen() bool { return r.silent >= SilentLimit<<min(r.mute, SilentDoublings) }

// watch ends what blocks on a port when a context does. It costs nothing while
// calls come with the same context.
type watch struct {
	done <-chan struct{}
	stop func() bool

	mu      sync.Mutex
	port    Port // while a transaction runs
	watched int  // counts contexts
}

// begin has ctx interrupt what runs on port until end.
func (w *watch) begin(ctx context.Context, port Port) {
	done := ctx.Done()
	if done == w.done {
		w.mu.Lock()
		w.port = port
		w.mu.Unlock()
		return
	}
	if w.stop != nil {
		w.stop()
		w.stop = nil
	}
	w.done = done
	w.mu.Lock()
	w.port = port
	w.watched++
	mine := w.watched
	w.mu.Unlock()
	if done != nil {
		w.stop = context.AfterFunc(ctx, func() { w.interrupt(mine) })
	}
}

func (w *watch) interrupt(watched int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.port != nil && w.watched == watched {
		// A closed port refuses the deadline, and blocks nobody.
		_ = w.port.SetDeadline(time.Unix(1, 0))
	}
}

// arm sets the deadline of what comes next.
func (w *watch) arm(ctx context.Context, deadline time.Time) error {
	w.mu.Lock()
	err := w.port.SetDeadline(deadline)
	w.mu.Unlock()
	if err == nil {
		err = ctx.Err() // it may have ended before the deadline was set
	}
	return err
}

// end keeps a late interrupt from the port.
func (w *watch) end() {
	w.mu.Lock()
	w.port = nil
	w.mu.Unlock()
}

func (w *watch) close() {
	if w.stop != nil {
		w.stop()
		w.stop, w.done = nil, nil
	}
}
