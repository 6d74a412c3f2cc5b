package modbus

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// reopening is how a line comes to its port again.
type reopening struct {
	up       bool  // the port answered; only for the log
	fruitful bool  // this port answered
	failed   int   // fruitless attempts in a row
	silent   int   // requests in a row without an answer, on a connection
	mute     int   // connections given up for silence in a row
	redial   int64 // not before, Mono
	last     error // why there is none
	strays   int   // answers heard that nobody asked for
}

// attach sees to it that there is a port.
func (l *line) attach(ctx context.Context, deadline time.Time) error {
	if l.port != nil && l.way != nil {
		if waits, urgent := l.way.fresher(); waits && urgent {
			l.drop(errors.New("the unit has dialed in again"), true)
		}
	}
	if l.port != nil {
		return nil
	}
	if wait := l.redial - l.now().Mono; l.reopening.last != nil && wait > 0 {
		return fmt.Errorf("%w (opening again in %v)", l.reopening.last, time.Duration(wait).Round(time.Millisecond))
	}
	l.count.Dialed++
	opening, cancel := context.WithDeadline(ctx, deadline)
	port, err := l.dial(opening)
	cancel()
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		l.pauseFor(err)
		return err
	}
	l.port, l.reopening.last = port, nil
	l.drain, _ = port.(drainer)
	l.sender, _ = port.(sender)
	l.in.clear()
	l.heardAt = time.Now()
	l.fruitful, l.reopening.silent, l.strays = false, 0, 0
	l.echoes = l.echo
	if !l.allow {
		l.listenUntil = l.now().Mono + int64(ListenFor)
	}
	return nil
}

// answered notes that somebody is there.
func (l *line) answered() {
	l.count.Answered++
	l.failed, l.mute, l.reopening.silent, l.fruitful = 0, 0, 0, true
	if l.way != nil && !l.up {
		l.way.good()
	}
	if !l.up {
		l.up = true
		l.log.Info("line answering", "target", l.target)
	}
}

// hushed notes a silence: a connection on which everybody is silent is
// replaced, for it may be half open. A device file cannot be.
func (l *line) hushed(limit time.Duration) {
	if l.way == nil || !inFull(silence(limit), l.timeout) {
		return
	}
	l.reopening.silent++
	waits, _ := l.way.fresher()
	if waits || l.reopening.silent >= SilentLimit<<min(l.mute, SilentDoublings) {
		l.mute++
		l.drop(silence(limit), true) // the silence was pause enough
	}
}

// drop closes the port and returns why.
func (l *line) drop(why error, ours bool) error {
	l.watch.end()
	l.port.Close() // the reason is known
	l.port, l.drain, l.sender = nil, nil, nil
	l.count.Lost++
	if l.up {
		l.up = false
		l.log.Warn("line lost", "target", l.target, "error", why)
	}
	if !l.fruitful && !ours {
		l.pauseFor(why)
	}
	return why
}

// pauseFor puts the next opening off, longer with each fruitless one.
func (l *line) pauseFor(why error) {
	wait := RedialFirst
	for i := 0; i < l.failed && wait < RedialLast; i++ {
		wait *= 2
	}
	wait = min(wait, RedialLast)
	wait = wait/2 + rand.N(wait/2+1)
	l.failed++
	l.redial = l.now().Mono + int64(wait)
	l.reopening.last = why
}

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
