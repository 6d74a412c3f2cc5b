package modbus

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"davy/drivers"
	"davy/drivers/tag"
)

// Port is a byte stream with time: what a link needs of a connection.
type Port interface {
	io.ReadWriteCloser
	SetDeadline(t time.Time) error // may be called while Read or Write blocks, and ends them
}

// Counts is what happened on a link since it was opened.
type Counts struct {
	Asked    uint64 // requests sent
	Answered uint64 // answers that fitted, exceptions included
	Silent   uint64 // requests without an answer in time
	Dropped  uint64 // frames that answered no waiting request: late, doubled, unasked
	Nonsense uint64 // answers with the right id and the wrong content
	Dialed   uint64 // attempts to connect
	Lost     uint64 // connections closed for an error, a framing error or silence
}

// silence is a request that was sent and not answered within this time.
type silence time.Duration

func (s silence) Error() string {
	return fmt.Sprintf("no answer within %v", time.Duration(s).Round(time.Millisecond))
}

var errCut = fmt.Errorf("%w: a frame was cut short at the deadline", errFraming)

// link is one connection, now and then replaced. Only port is shared, with
// the function that interrupts it when a context ends.
type link struct {
	name    string
	target  string
	timeout time.Duration
	log     *slog.Logger
	now     func() tag.Stamp
	dial    func(ctx context.Context, target string) (Port, error)
	counts  Counts

	// The connection.
	conn   Port
	id     uint16    // last transaction id
	stride uint16    // odd: all 65,536 ids come before one returns
	used   int       // ids used since the connection was made or all were answered
	owes   bool      // a request on this connection went unanswered
	silent int       // requests in a row without an answer
	until  time.Time // when the present Read or Write has to be over
	in     [2 * maxADU]byte
	r, w   int // in[r:w] was received and not looked at
	out    [maxADU]byte

	// Redialling.
	up       bool  // the last connection answered; only for the log
	fruitful bool  // this connection answered
	failed   int   // fruitless attempts in a row
	mute     int   // connections given up for silence in a row
	redial   int64 // not before, Mono
	last     error // why there is none

	// What interrupts a blocked Read or Write: registered for the context
	// whose Done channel is done, and kept while calls bring the same one.
	done    <-chan struct{}
	stop    func() bool
	mu      sync.Mutex
	port    Port // while a transaction runs
	watched int  // counts contexts

	// What was learnt about blocks; see split.go.
	heard  [256]uint32 // answers of a station
	splits map[*request]*split
}

func open(cfg drivers.LinkConfig, dial func(context.Context, string) (Port, error)) *link {
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		panic("BUG: modbus: LinkConfig.Now is nil")
	}
	return &link{name: cfg.Name, target: cfg.Target, timeout: cfg.Timeout, log: cfg.Log, now: cfg.Now, dial: dial, splits: map[*request]*split{}}
}

// Counts returns what happened so far.
func (l *link) Counts() Counts { return l.counts }

// Close ends the connection.
func (l *link) Close() error {
	if l.stop != nil {
		l.stop()
		l.stop, l.done = nil, nil
	}
	if l.conn == nil {
		return nil
	}
	err := l.conn.Close()
	l.conn = nil
	if err != nil {
		return fmt.Errorf("close %s: %w", l.name, err)
	}
	return nil
}

// watch has interrupt called when ctx ends. It costs nothing while calls
// come with the same context.
func (l *link) watch(ctx context.Context) {
	done := ctx.Done()
	if done == l.done {
		return
	}
	if l.stop != nil {
		l.stop()
		l.stop = nil
	}
	l.done = done
	l.mu.Lock()
	l.watched++
	mine := l.watched
	l.mu.Unlock()
	if done != nil {
		l.stop = context.AfterFunc(ctx, func() { l.interrupt(mine) })
	}
}

// interrupt ends what blocks on the connection, unless the link has gone on
// to another context meanwhile.
func (l *link) interrupt(watched int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.port != nil && l.watched == watched {
		// A closed connection refuses the deadline, and blocks nobody.
		if err := l.port.SetDeadline(time.Unix(1, 0)); err != nil {
			return
		}
	}
}

// begin sets the transaction's deadline; from here ctx can interrupt it.
func (l *link) begin(ctx context.Context, deadline time.Time) error {
	l.watch(ctx)
	l.mu.Lock()
	l.port = l.conn
	err := l.conn.SetDeadline(deadline)
	l.mu.Unlock()
	if err == nil {
		err = ctx.Err() // it may have ended before the deadline was set
	}
	return err
}

// end keeps a late interrupt from the connection.
func (l *link) end() {
	l.mu.Lock()
	l.port = nil
	l.mu.Unlock()
}

// unsent marks errors after which nothing was sent.
type unsent struct{ error }

func (u unsent) Unwrap() error { return u.error }

// limit gives a Read or Write its time, however many transactions it takes:
// the link's timeout, or until ctx's deadline if that is earlier.
func (l *link) limit(ctx context.Context) {
	l.until = time.Now().Add(l.timeout)
	if d, ok := ctx.Deadline(); ok && d.Before(l.until) {
		l.until = d
	}
}

// exchange sends the request adu and returns the data of its answer, which
// lives until the next exchange. The transaction's one deadline, connecting
// included, is what limit left. Where the peer had closed an idle connection,
// a read (again) is asked once more on a new one.
func (l *link) exchange(ctx context.Context, adu []byte, again bool) ([]byte, error) {
	deadline := l.until
	limit := time.Until(deadline)
	if err := ctx.Err(); err != nil || limit <= 0 {
		return nil, unsent{cmp.Or(err, context.DeadlineExceeded)}
	}
	if l.conn != nil && l.used == 1<<16 {
		if l.owes {
			l.drop(errors.New("transaction ids used up while an answer is owed"), false)
		}
		l.used = 0
	}
	old := l.conn != nil
	if err := l.connect(ctx, deadline); err != nil {
		return nil, unsent{err}
	}
	data, err := l.transact(ctx, adu, deadline, limit)
	if err != nil && again && old && l.conn == nil && !errors.Is(err, errFraming) && ctx.Err() == nil && time.Now().Before(deadline) {
		if l.connect(ctx, deadline) == nil {
			return l.transact(ctx, adu, deadline, limit)
		}
	}
	return data, err
}

// transact is one request and its answer on the connection there is. When it
// returns an error that is neither an exception, silence nor nonsense, the
// connection is closed.
func (l *link) transact(ctx context.Context, adu []byte, deadline time.Time, limit time.Duration) ([]byte, error) {
	l.id += l.stride
	l.used++
	request := l.out[:copy(l.out[:], adu)]
	binary.BigEndian.PutUint16(request, l.id)
	if err := l.begin(ctx, deadline); err != nil {
		l.end()
		if ctx.Err() != nil {
			return nil, unsent{ctx.Err()}
		}
		return nil, l.drop(err, false)
	}
	defer l.end()
	l.counts.Asked++
	if _, err := l.conn.Write(request); err != nil {
		// Part of it may be out: the stream cannot be used again.
		return nil, l.drop(cause(ctx, err), ctx.Err() != nil)
	}
	for {
		frame, err := l.frame()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, l.unanswered(ctx, limit)
		}
		if err != nil {
			return nil, l.drop(err, false)
		}
		if frame[0] != request[0] || frame[1] != request[1] {
			l.counts.Dropped++
			continue
		}
		data, err := check(request, frame)
		if err == nil || !errors.Is(err, errNonsense) {
			err = l.followed(err)
		}
		l.heard[request[6]]++
		l.silent = 0
		if errors.Is(err, errNonsense) {
			l.counts.Nonsense++
		} else if !errors.Is(err, errFraming) {
			l.answered()
		}
		if err != nil {
			return nil, err
		}
		return data, nil
	}
}

// followed looks at what came with the answer: nothing, or whole frames with
// other ids. Anything else means that the answer's own length may have lied;
// then the answer is not believed and the connection closed.
func (l *link) followed(err error) error {
	for at := l.r; at < l.w; {
		rest := l.in[at:l.w]
		n, ok := frameLength(rest)
		if !ok || n > len(rest) {
			return l.drop(fmt.Errorf("%w: %d bytes after the answer are no frame", errFraming, len(rest)), false)
		}
		at += n
	}
	return err
}

// frame returns the next whole frame of the stream, reading as needed.
func (l *link) frame() ([]byte, error) {
	for {
		if l.r == l.w {
			l.r, l.w = 0, 0
		}
		if b := l.in[l.r:l.w]; len(b) >= header {
			n, ok := frameLength(b)
			if !ok {
				return nil, fmt.Errorf("%w: % x is no header", errFraming, b[:header])
			}
			if n <= len(b) {
				l.r += n
				return b[:n], nil
			}
		}
		if l.r > 0 && l.r+maxADU > len(l.in) {
			l.w = copy(l.in[:], l.in[l.r:l.w])
			l.r = 0
		}
		n, err := l.conn.Read(l.in[l.w:])
		l.w += n
		if n == 0 && err != nil {
			return nil, err
		}
	}
}

// frameLength returns the length of the frame that b begins with, as far as
// its header tells; ok is false when no frame begins like this.
func frameLength(b []byte) (n int, ok bool) {
	if len(b) >= 4 && (b[2] != 0 || b[3] != 0) {
		return 0, false
	}
	if len(b) < 6 {
		return header, true
	}
	n = 6 + int(binary.BigEndian.Uint16(b[4:]))
	return n, n > header && n <= maxADU
}

// unanswered notes a request whose answer did not come by its deadline.
func (l *link) unanswered(ctx context.Context, limit time.Duration) error {
	l.owes = true
	if errors.Is(ctx.Err(), context.Canceled) {
		if l.r < l.w {
			l.drop(errCut, true)
		}
		return ctx.Err()
	}
	l.counts.Silent++
	if l.inFull(silence(limit)) {
		l.silent++
	}
	switch {
	case l.r < l.w:
		l.drop(errCut, false)
	case l.silent >= SilentLimit<<min(l.mute, SilentDoublings):
		l.mute++
		l.drop(silence(limit), true) // the silence was pause enough
	}
	return silence(limit)
}

// answered notes an answer that fits its request.
func (l *link) answered() {
	l.counts.Answered++
	l.failed, l.mute, l.fruitful = 0, 0, true
	if !l.up {
		l.up = true
		l.log.Info("device answering", "target", l.target)
	}
}

// drop closes the connection and returns why. A fruitless connection delays
// the next, unless this end gave it up.
func (l *link) drop(why error, ours bool) error {
	l.conn.Close() // the reason is known, and a second error would say nothing more
	l.conn = nil
	l.counts.Lost++
	if l.up {
		l.up = false
		l.log.Warn("connection lost", "target", l.target, "error", why)
	}
	if !l.fruitful && !ours {
		l.pause(why)
	}
	return why
}

// pause puts the next connection off, longer with each fruitless one.
func (l *link) pause(why error) {
	wait := RedialFirst
	for i := 0; i < l.failed && wait < RedialLast; i++ {
		wait *= 2
	}
	wait = min(wait, RedialLast)
	wait = wait/2 + rand.N(wait/2+1)
	l.failed++
	l.redial = l.now().Mono + int64(wait)
	l.last = why
}

// connect makes a connection unless there is one, or it is too early.
func (l *link) connect(ctx context.Context, deadline time.Time) error {
	if l.conn != nil {
		return nil
	}
	if wait := l.redial - l.now().Mono; l.last != nil && wait > 0 {
		return fmt.Errorf("%w (connecting again in %v)", l.last, time.Duration(wait).Round(time.Millisecond))
	}
	l.counts.Dialed++
	dialing, cancel := context.WithDeadline(ctx, deadline)
	conn, err := l.dial(dialing, l.target)
	cancel()
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		l.pause(err)
		return err
	}
	l.conn, l.last = conn, nil
	l.id, l.stride = uint16(rand.Uint32()), uint16(rand.Uint32())|1
	l.used, l.owes, l.silent, l.fruitful = 0, false, 0, false
	l.r, l.w = 0, 0
	return nil
}

// cause prefers the reason of ctx over the deadline it was carried out with.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
