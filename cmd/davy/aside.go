package main

import (
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"
)

// Limits of the decider's log.
const (
	asideLines = 1024        // lines that wait; more are lost, and counted
	asideLast  = time.Second // at the end the log has so long for what waits
)

// aside is a log's writer that never makes its caller wait: a full disk, a
// stopped journald or a terminal that nobody reads must not hold the control
// loop. What does not fit is lost, and a line says how much.
type aside struct {
	lines      chan []byte
	lost       atomic.Uint64
	stop, done chan struct{}
}

// beside starts the goroutine that writes to w; close ends it.
func beside(w io.Writer) *aside {
	a := &aside{lines: make(chan []byte, asideLines), stop: make(chan struct{}), done: make(chan struct{})}
	go a.run(w)
	return a
}

// Write takes one line and returns at once.
func (a *aside) Write(line []byte) (int, error) {
	select {
	case a.lines <- slices.Clone(line):
	default:
		a.lost.Add(1)
	}
	return len(line), nil
}

func (a *aside) run(w io.Writer) {
	defer close(a.done)
	for {
		var line []byte
		select {
		case line = <-a.lines:
		default:
			select {
			case line = <-a.lines:
			case <-a.stop:
				return
			}
		}
		_, err := w.Write(line)
		if n := a.lost.Swap(0); n > 0 && err == nil {
			_, err = fmt.Fprintf(w, `{"time":%q,"level":"WARN","msg":"log lines lost","count":%d}`+"\n", time.Now().Format(time.RFC3339Nano), n)
		}
		if err != nil { // there is no other place to say it
			a.lost.Add(1)
		}
	}
}

// close writes what waits, for at most asideLast: a writer that hangs is left
// to the end of the process.
func (a *aside) close() {
	close(a.stop)
	t := time.NewTimer(asideLast)
	defer t.Stop()
	select {
	case <-a.done:
	case <-t.C:
	}
}
