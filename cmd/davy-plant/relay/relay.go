// Package relay is a serial line between two ends that takes its time: every
// character arrives when a line of that speed would have brought it, so that
// what is built upon line timing can be tested and measured without a cable.
//
// An end is a pseudo terminal that this package makes (Pty), for programs that
// open a device file, or any stream in the process. The line is one pair of
// wires, as RS-485 is: what both ends say at the same time is garbled for both.
//
// Promises: a character is never heard before its last bit could have come. It
// is heard at most Grain later, but for what the machine's scheduler adds. Times
// are kept by an absolute schedule: a late wake-up delays what it found due and
// nothing behind it. What a Fault does is done to bursts, that is to what an
// end wrote at once, before the line paces it.
//
// A Line owns both ends while it runs and closes them when it ends. Nothing is
// durable. Limits have names. It looks at package time alone, so that streams in
// the process may be tested in a synctest bubble.
//
// Imports: golang.org/x/sys/unix.
package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
	"time"
)

// Grain is how much later than its time a character may be handed over, so
// that a fast line need not wake for each. At MaxQueue characters that are not
// yet on the wire the end that wrote them waits, as at a full UART.
const (
	Grain    = time.Millisecond
	MaxQueue = 4096
)

// DefaultBits is a character of 8E1 or 8N2 (and 7E2): start, eight, parity or
// stop, stop. 8N1 and 7E1 have ten.
const DefaultBits = 11

// Side is one end of a line.
type Side int

// The sides, as Run's arguments have them.
const (
	Master Side = iota
	Slave
)

// Burst is what one end wrote at once.
type Burst struct {
	From  Side
	Count int // of the bursts of this side, from 1
	Data  []byte
}

// Piece is what the line makes of a burst, or of a part of it.
type Piece struct {
	Pause time.Duration // the wire is still for this long before it
	Data  []byte
}

// Effect is what the line does to one burst: nothing is heard of no pieces.
type Effect struct {
	Pieces []Piece
	Echo   bool // the end that spoke hears it too, as with an adapter that cannot stop listening
}

// Line is the wire. The zero value of everything but Baud is a sound line.
type Line struct {
	Baud int // bits per second, above 0
	Bits int // of one character; 0 is DefaultBits
	// Fault, if not nil, is asked of every burst; the calls of one side come in
	// order, those of both sides may come at once. It must not keep Data.
	Fault func(Burst) Effect
	Seed  uint64 // of the garbling
}

// Char is the time that one character takes.
func (l Line) Char() time.Duration {
	bits := l.Bits
	if bits == 0 {
		bits = DefaultBits
	}
	return time.Duration(bits) * time.Second / time.Duration(l.Baud)
}

// Run carries characters between the ends until ctx ends or an end does. It
// closes both and waits for its own goroutines. An end that was closed or has
// no more to say is no error.
func (l Line) Run(ctx context.Context, master, slave io.ReadWriteCloser) error {
	if l.Baud <= 0 || l.Bits < 0 {
		panic("BUG: relay: a line without a speed")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := &wire{line: l, char: l.Char(), ends: [2]io.ReadWriteCloser{master, slave}, rnd: rand.New(rand.NewPCG(l.Seed, 1))}
	for i := range w.ways {
		w.ways[i].more = make(chan struct{}, 1)
		w.ways[i].room = make(chan struct{}, 1)
	}
	var errs [4]error
	var wg sync.WaitGroup
	for _, side := range []Side{Master, Slave} {
		wg.Go(func() { defer cancel(); errs[side] = w.listen(ctx, side) })
		wg.Go(func() { defer cancel(); errs[2+side] = w.deliver(ctx, side) })
	}
	<-ctx.Done()
	for _, e := range w.ends {
		_ = e.Close() // it may have been closed by its owner
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return fmt.Errorf("relay: %w", err)
		}
	}
	return nil
}

// wire is a running line.
type wire struct {
	line Line
	char time.Duration
	ends [2]io.ReadWriteCloser

	mu   sync.Mutex
	ways [2]way // by the side that hears
	free [2]time.Time
	rnd  *rand.Rand
}

// way holds what is on its way to one side.
type way struct {
	queue []char
	more  chan struct{} // holds one: queue was empty and is not
	room  chan struct{} // holds one: queue was full and is not
}

// char is a character on the wire.
type char struct {
	due  time.Time // its end
	from Side
	b    byte
	bad  bool // it met another
}

// other returns the side across.
func (s Side) other() Side { return 1 - s }

// listen puts on the wire what one side says.
func (w *wire) listen(ctx context.Context, side Side) error {
	buf := make([]byte, MaxQueue)
	for count := 1; ; count++ {
		n, err := w.ends[side].Read(buf)
		at := time.Now()
		if n > 0 {
			effect := Effect{Pieces: []Piece{{Data: buf[:n]}}}
			if w.line.Fault != nil {
				effect = w.line.Fault(Burst{side, count, buf[:n]})
			}
			for _, p := range effect.Pieces {
				at = w.say(side, at.Add(p.Pause), p.Data, effect.Echo)
			}
			for w.full(side.other()) {
				select {
				case <-w.ways[side.other()].room:
				case <-ctx.Done():
					return nil
				}
			}
		}
		if err != nil {
			return over(err)
		}
	}
}

// over makes nothing of the errors with which a stream ends.
func over(err error) error {
	for _, end := range []error{io.EOF, io.ErrClosedPipe, os.ErrClosed, syscall.EIO} { // EIO: a pseudo terminal that is gone
		if errors.Is(err, end) {
			return nil
		}
	}
	return err
}

func (w *wire) full(side Side) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.ways[side].queue) >= MaxQueue
}

// say puts data on the wire from at on, and returns when its last bit is out.
func (w *wire) say(side Side, at time.Time, data []byte, echo bool) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.free[side].After(at) {
		at = w.free[side]
	}
	for _, b := range data {
		due := at.Add(w.char)
		c := char{due: due, from: side, b: b}
		for i := range w.ways { // whoever else speaks during [at, due)
			q := w.ways[i].queue
			for j := range q {
				if q[j].from != side && q[j].due.After(at) && q[j].due.Add(-w.char).Before(due) {
					c.bad, q[j].bad = true, true
				}
			}
		}
		w.put(side.other(), c)
		if echo {
			w.put(side, c)
		}
		at = due
	}
	w.free[side] = at
	return at
}

// put enters a character among those that a side will hear, by their times. mu is held.
func (w *wire) put(side Side, c char) {
	y := &w.ways[side]
	i := len(y.queue)
	for i > 0 && y.queue[i-1].due.After(c.due) { // an echo among the other side's words
		i--
	}
	y.queue = append(y.queue, char{})
	copy(y.queue[i+1:], y.queue[i:])
	y.queue[i] = c
	wake(y.more)
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// deliver hands one side the characters whose time has come.
func (w *wire) deliver(ctx context.Context, side Side) error {
	y := &w.ways[side]
	timer := time.NewTimer(0)
	defer timer.Stop()
	out := make([]byte, 0, MaxQueue)
	for {
		w.mu.Lock()
		now := time.Now()
		n := 0
		out = out[:0]
		for ; n < len(y.queue) && !y.queue[n].due.After(now); n++ {
			c := y.queue[n]
			if c.bad {
				c.b ^= byte(1 + w.rnd.IntN(255))
			}
			out = append(out, c.b)
		}
		if y.queue = append(y.queue[:0], y.queue[n:]...); n > 0 {
			wake(y.room)
		}
		var next time.Time // when to look again: with the last that comes within a grain
		for i, c := range y.queue {
			if i > 0 && c.due.After(now.Add(Grain)) {
				break
			}
			next = c.due
		}
		w.mu.Unlock()
		if len(out) > 0 {
			if _, err := w.ends[side].Write(out); err != nil {
				return over(err)
			}
			continue
		}
		var due <-chan time.Time
		if !next.IsZero() {
			timer.Reset(time.Until(next))
			due = timer.C
		}
		select {
		case <-ctx.Done():
			return nil
		case <-due:
		case <-y.more:
		}
	}
}
