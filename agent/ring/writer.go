package ring

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"davy/drivers/tag"
)

// Errors of a conversation.
var (
	// ErrSilent says that the peer sent nothing for Silence.
	ErrSilent = errors.New("peer silent")
	// ErrLineage says that the keeper has serials of this lineage that we never
	// sent: the latch could not be written before an earlier end. Serve must be
	// called with a new random lineage; everything not durable is sent in it.
	ErrLineage = errors.New("keeper is ahead of our serials: a new lineage is needed")
)

// WriterOptions is what a Writer needs. Zero limits are the package's.
type WriterOptions struct {
	// Pending is what DecodeEvents gave back from the latch: not durable as far
	// as is known, and permitted.
	Pending []Event
	// Changed, if set, is told when the keeper's conditions change, and when it
	// comes (alive) and goes. It is called from Serve's goroutines, must not
	// block and must not call the Writer.
	Changed func(s Status, alive bool)

	MaxReadings, MaxEvents, MaxEventBytes int
}

// Writer is the decider's end.
type Writer struct {
	changed func(Status, bool)
	// One note each: something may be sent at once, or after Gather.
	urgent, ordinary chan struct{}
	serving          atomic.Bool

	mu       sync.Mutex // held for copying only, never over I/O
	b        buffer
	head     Turn // the times and flags of the latest turn
	lineage  [16]byte
	ready    bool // in a conversation, and the keeper has an epoch
	status   Status
	statusAt time.Time
	heard    bool // status holds one of the present conversation
}

// NewWriter makes a Writer. It starts nothing.
func NewWriter(o WriterOptions) *Writer {
	or := func(n, limit int) int {
		if n <= 0 {
			return limit
		}
		return n
	}
	w := &Writer{changed: o.Changed, urgent: make(chan struct{}, 1), ordinary: make(chan struct{}, 1)}
	w.b = buffer{
		maxReadings: or(o.MaxReadings, MaxReadings),
		maxEvents:   or(o.MaxEvents, MaxEvents),
		maxBytes:    or(o.MaxEventBytes, MaxEventBytes),
	}
	w.b.ring = make([]tag.Reading, w.b.maxReadings)
	w.b.restore(o.Pending)
	return w
}

// Offer copies t into the buffers and returns: it waits for nobody. Serials
// grow from one Offer to the next (a programmer's error otherwise). t.Lost is
// added to what the buffers themselves had to give up.
func (w *Writer) Offer(t *Turn) {
	w.mu.Lock()
	w.head.Now, w.head.ClockTrusted, w.head.ClockError, w.head.Armed = t.Now, t.ClockTrusted, t.ClockError, t.Armed
	for i := range t.Events {
		w.b.add(&t.Events[i])
	}
	for i := range t.Readings {
		w.b.put(&t.Readings[i])
	}
	w.b.lost = merge(w.b.lost, t.Lost)
	half := w.b.count > FrameReadings/2
	_, events := w.b.sendable()
	w.mu.Unlock()
	switch {
	case events > 0 || half:
		poke(w.urgent)
	case len(t.Readings) > 0:
		poke(w.ordinary)
	}
}

// Permit lets events up to serial be sent: the latch snapshot that holds them
// is durable, or the latch failed and waiting for it would lose them.
func (w *Writer) Permit(serial uint64) {
	w.mu.Lock()
	w.b.permitted = max(w.b.permitted, serial)
	_, n := w.b.sendable()
	w.mu.Unlock()
	if n > 0 {
		poke(w.urgent)
	}
}

// Release forgets the events up to serial. Serve does it with what the keeper
// says; a caller needs it only where it knows better.
func (w *Writer) Release(serial uint64) {
	w.mu.Lock()
	w.b.release(serial)
	w.mu.Unlock()
}

// Retag gives what waits the tag ids of another plan; to says which, 0 none.
// A reading whose tag is none is given up, and counted as Lost; an event loses
// its tag and nothing else. No conversation may go on: the keeper of the plan
// before would take the new ids for its own.
func (w *Writer) Retag(to func(tag.ID) tag.ID) {
	if w.serving.Load() {
		panic("BUG: ring: retag in a conversation")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.b.retag(to)
}

// Outbox appends the events that are not yet durable to dst, for the latch's
// snapshot. Their votes are shared and are not to be changed.
func (w *Writer) Outbox(dst []Event) []Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.b.events {
		dst = append(dst, w.b.events[i].Event)
	}
	return dst
}

// Status returns the keeper's latest word and when it came; ok is false if no
// conversation is going on, or none has brought one yet.
func (w *Writer) Status() (s Status, at time.Time, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.status, w.statusAt, w.heard
}

// Waiting returns how much waits: readings not yet sent, events not yet durable.
func (w *Writer) Waiting() (readings, events int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.count, len(w.b.events)
}

// Serve runs one conversation with one keeper over conn, which it closes. It
// returns nil when ctx has ended (what could be sent within Farewell was), and
// otherwise why the conversation is over: io.EOF, ErrSilent, ErrLineage, what
// did not hold. One conversation at a time.
func (w *Writer) Serve(ctx context.Context, conn io.ReadWriteCloser, hello Hello) error {
	if !w.serving.CompareAndSwap(false, true) {
		panic("BUG: ring: two conversations at a time")
	}
	defer w.serving.Store(false)
	w.mu.Lock()
	if hello.Lineage != w.lineage {
		w.lineage = hello.Lineage
		w.b.lineage()
	}
	w.mu.Unlock()

	c := &conversation{w: w, conn: conn}
	c.silence = time.AfterFunc(Patience, func() { c.shut(ErrSilent) })
	farewell := time.AfterFunc(Farewell, func() { c.shut(nil) })
	farewell.Stop()
	unwatch := context.AfterFunc(ctx, func() { farewell.Reset(Farewell) })
	heard := make(chan error, 1)
	go func() { heard <- c.listen() }()

	err := c.talk(ctx, &hello, heard)
	c.shut(err)
	if !c.listened {
		<-heard
	}
	unwatch()
	farewell.Stop()
	c.silence.Stop()

	w.mu.Lock()
	was := w.heard
	w.ready, w.heard = false, false
	w.b.end(time.Now())
	w.mu.Unlock()
	if was && w.changed != nil {
		w.changed(Status{}, false)
	}
	if ctx.Err() != nil {
		return nil
	}
	return c.why
}

// conversation is one run of Serve.
type conversation struct {
	w        *Writer
	conn     io.ReadWriteCloser
	silence  *time.Timer
	listened bool // listen has returned, and its error was taken
	out      []byte
	turn     Turn

	once sync.Once
	why  error
}

// shut closes the connection; the first reason counts.
func (c *conversation) shut(why error) {
	c.once.Do(func() {
		c.why = why
		_ = c.conn.Close()
	})
}

// talk is the writing half, until something ends it.
func (c *conversation) talk(ctx context.Context, hello *Hello, heard <-chan error) error {
	var err error
	if c.out, err = frame(c.out[:0], helloFrame, func(b []byte) []byte { return appendHello(b, hello) }); err != nil {
		return err
	}
	if _, err := c.conn.Write(c.out); err != nil {
		return fmt.Errorf("send hello: %w", err)
	}
	c.out, hello.Bundle = nil, nil // a site may be large, and no frame after it is
	beat := time.NewTicker(Beat)
	defer beat.Stop()
	gather := time.NewTimer(Gather)
	gather.Stop()
	defer gather.Stop()
	force, gathering := false, false
	for {
		ending := ctx.Err() != nil
		for {
			some, more := c.fill()
			if !some && !force {
				break
			}
			force = false
			if err := c.send(); err != nil {
				return err
			}
			if !more {
				break
			}
		}
		if ending {
			return nil
		}
		for waiting := true; waiting; {
			select {
			case err := <-heard:
				c.listened = true
				return err
			case <-ctx.Done():
				waiting = false
			case <-c.w.urgent:
				waiting = false
			case <-c.w.ordinary:
				if !gathering { // from the first of them on
					gathering = true
					gather.Reset(Gather)
				}
			case <-gather.C:
				waiting, gathering = false, false
			case <-beat.C:
				waiting, force = false, true
			}
		}
	}
}

// fill takes what may be sent into c.turn; some says that there is anything.
func (c *conversation) fill() (some, more bool) {
	t := &c.turn
	clear(t.Events)
	*t = Turn{Events: t.Events[:0], Readings: t.Readings[:0]}
	w := c.w
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	t.Now, t.ClockTrusted, t.ClockError, t.Armed = w.head.Now, w.head.ClockTrusted, w.head.ClockError, w.head.Armed
	if !w.ready {
		return false, false
	}
	more = w.b.fill(t, now)
	return len(t.Events) > 0 || len(t.Readings) > 0 || t.Lost != Lost{}, more
}

// send writes c.turn.
func (c *conversation) send() (err error) {
	out := append(c.out[:0], 0, 0, 0, 0, turnFrame)
	out = appendTurn(out, &c.turn)
	le.PutUint32(out, uint32(len(out)-frameHead))
	c.out = out
	if _, err := c.conn.Write(out); err != nil {
		return fmt.Errorf("send turn: %w", err)
	}
	return nil
}

// listen is the reading half, until the connection ends.
func (c *conversation) listen() error {
	in := input{r: bufio.NewReader(c.conn)}
	for {
		kind, body, err := in.next()
		if err != nil {
			return err
		}
		c.silence.Reset(Silence)
		if kind != statusFrame {
			return fmt.Errorf("%w: kind %d from a keeper", ErrFrame, kind)
		}
		var s Status
		if err := decodeStatus(body, &s); err != nil {
			return err
		}
		if err := c.w.heed(s); err != nil {
			return err
		}
	}
}

// heed takes the keeper's word.
func (w *Writer) heed(s Status) error {
	w.mu.Lock()
	now := time.Now()
	news := !w.heard || !slices.Equal(s.Conditions, w.status.Conditions)
	w.status, w.statusAt, w.heard = s, now, true
	var err error
	if s.Epoch != [16]byte{} { // before, its journal is not open and Durable says nothing
		switch {
		case w.b.foreign(s.Durable):
			err = ErrLineage
		case !w.ready:
			w.ready = true
			w.b.begin(s.Durable)
		default:
			w.b.release(s.Durable)
		}
	}
	w.mu.Unlock()
	if news && w.changed != nil {
		w.changed(s, true)
	}
	poke(w.urgent)
	return err
}

// poke leaves a note in a channel of one, if none is there.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
