package opcua

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"davy/drivers"
	"davy/drivers/child"
)

// Limits of a link, each with what happens at it.
const (
	Startup   = 15 * time.Second // a child that said nothing for so long after its start is ended
	FirstWait = time.Second      // before the first restart of a child
	LastWait  = time.Minute      // the waits double up to this one
	GoodWhile = 2 * time.Minute  // a child that lived so long is forgiven: FirstWait again
)

// errClosed is what calls on a closed link get.
var errClosed = errors.New("link closed")

// Stats of a link since it was opened.
type Stats struct {
	Children  uint64 // started
	Sessions  uint64 // of all children
	Samples   uint64 // taken
	Overflows uint64 // samples before which the server dropped others
	Refused   uint64 // samples that were no truth of this session: wrong item, time or generation
}

// link is one child and what is known of it. Read and Subscribe belong to the
// goroutine that opened it; Write may be called beside them.
type link struct {
	drivers.LinkConfig
	o        *Options
	start    func(context.Context, *slog.Logger, func(context.Context, net.Conn) error) error
	announce func(drivers.Event)
	report   report // of Read

	ctx   context.Context // of the children: ends with Close
	stop  context.CancelFunc
	group sync.WaitGroup

	mu      sync.Mutex
	running bool
	closed  bool
	talk    *talk         // nil: between two children
	changed chan struct{} // closed and replaced when talk, or its state, changes
	why     error         // why there is no child, or the last one ended
	failed  uint32        // the generation of the last child that ended with a pause, or will
	until   time.Time     // the next child is not started before
	wait    time.Duration // the nominal length of the last pause
	said    bool          // whether the server is untrusted was said
	doubted bool          // and it is

	generation                                      uint32
	children, sessions, samples, overflows, refused atomic.Uint64
}

func newLink(cfg drivers.LinkConfig, o *Options, start func(context.Context, *slog.Logger, func(context.Context, net.Conn) error) error) *link {
	l := &link{LinkConfig: cfg, o: o, start: start, changed: make(chan struct{})}
	l.report.l = l
	l.ctx, l.stop = context.WithCancel(context.Background())
	return l
}

// Stats returns a copy, from any goroutine.
func (l *link) Stats() Stats {
	return Stats{l.children.Load(), l.sessions.Load(), l.samples.Load(), l.overflows.Load(), l.refused.Load()}
}

// Duplex says that Write may be called while Subscribe runs.
func (l *link) Duplex() {}

// Announce implements Announcer.
func (l *link) Announce(f func(drivers.Event)) { l.announce = f }

// Close ends the child, which closes its session, and waits for it: at most
// Grace and what the kernel needs.
func (l *link) Close() error {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.stop()
	l.group.Wait()
	return nil
}

// run keeps a child until the link is closed, or until a child's only
// subscription was ended in order: the next is started when somebody needs it.
func (l *link) run() {
	for {
		began := time.Now()
		l.generation++
		l.children.Add(1)
		err := l.start(l.ctx, l.Log, l.serve)
		if l.ctx.Err() != nil {
			l.gone(errClosed, 0)
			return
		}
		if errors.Is(err, errLeft) {
			l.mu.Lock()
			l.running = false
			l.change()
			l.mu.Unlock()
			return
		}
		if err == nil {
			err = child.ErrEnded
		}
		if time.Since(began) >= GoodWhile {
			l.wait = 0
		}
		l.wait = min(max(2*l.wait, FirstWait), LastWait)
		pause := l.wait/2 + rand.N(l.wait/2+1)
		l.Log.Warn("opc ua child ended", "link", l.Name, "err", err, "again_ms", pause.Milliseconds())
		l.gone(err, pause)
		t := time.NewTimer(pause)
		select {
		case <-l.ctx.Done():
			t.Stop()
			l.gone(errClosed, 0)
			return
		case <-t.C:
		}
	}
}

// gone says that there is no child now, why, and for how long.
func (l *link) gone(err error, pause time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.why, l.failed, l.until = err, l.generation, time.Now().Add(pause)
	l.change()
}

// change wakes whoever waits for a change. The caller holds l.mu.
func (l *link) change() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// conversation returns the present child's, as soon as it takes requests; the
// first call starts the first child. During a pause between two children it
// returns the reason at once, unless the child that failed is of a generation
// up to forgiven: then the next one is waited for.
func (l *link) conversation(ctx context.Context, forgiven uint32) (*talk, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		switch {
		case l.closed:
			return nil, errClosed
		case l.talk != nil:
			return l.talk, nil
		case !l.running:
			l.running = true
			l.group.Go(l.run)
		case l.failed > forgiven && time.Now().Before(l.until):
			return nil, l.why
		}
		if err := l.next(ctx); err != nil {
			if l.why != nil && l.talk == nil {
				err = fmt.Errorf("%w (before: %w)", err, l.why)
			}
			return nil, err
		}
	}
}

// next waits for the next change. The caller holds l.mu, which is free meanwhile.
func (l *link) next(ctx context.Context) error {
	changed := l.changed
	l.mu.Unlock()
	defer l.mu.Lock()
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// session returns the conversation with a child that has a session, or why it has none.
func (l *link) session(ctx context.Context) (*talk, error) {
	t, err := l.conversation(ctx, 0)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		switch _, err := t.up(); {
		case err == nil:
			return t, nil
		case l.talk != t:
			return nil, l.why
		case !errors.Is(err, errNoSessionYet):
			return nil, err
		}
		if err := l.next(ctx); err != nil {
			return nil, fmt.Errorf("%w: %w", errNoSessionYet, err)
		}
	}
}

// serve is the conversation with one child: it greets, keeps the pulse, and
// takes what comes until the stream ends or makes no sense.
func (l *link) serve(ctx context.Context, stream net.Conn) (err error) {
	conn := child.NewConn(stream)
	began := l.Now()
	kind, body, err := conn.Await(Startup)
	if err != nil {
		return fmt.Errorf("wait for child: %w", err)
	}
	var ready Ready
	if kind != KindReady {
		return fmt.Errorf("greet child: frame of kind %d: %w", kind, ErrMessage)
	}
	if err := decode(body, &ready); err != nil {
		return err
	}
	if ready.Version != Version {
		return fmt.Errorf("greet child: it speaks version %d, not %d: the binary was replaced; restart davy", ready.Version, Version)
	}
	greeted, err := l.hello(conn)
	if err != nil {
		return err
	}
	t := newTalk(l, conn, began.Mono)
	ctx, stop := context.WithCancel(ctx)
	var pulse sync.WaitGroup
	pulse.Go(func() {
		if err := conn.Pulse(ctx); ctx.Err() == nil && err != nil {
			_ = conn.Close() // Read ends with it
		}
	})
	l.mu.Lock()
	l.talk = t
	l.change()
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		l.talk, l.why = nil, err
		l.change()
		l.mu.Unlock()
		t.end(err)
		stop()
		_ = conn.Close()
		pulse.Wait()
	}()
	read := func() (byte, []byte, error) { return conn.Await(Startup) }
	for first := true; ; first = false {
		kind, body, err := read()
		if err == nil && first {
			t.answered(greeted)
		}
		if err == nil && kind != child.Heart {
			err = t.take(kind, body)
		}
		read = conn.Read
		if err != nil {
			if t.over() {
				return errLeft
			}
			return fmt.Errorf("child: %w", err)
		}
	}
}

// expect says that the child of this generation is going to end: that is no news
// to whoever subscribes next.
func (l *link) expect(generation uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed = max(l.failed, generation)
}

// latest is the generation of the last child that failed, or is about to.
func (l *link) latest() uint32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

// hello sends what the child must know, and returns when (Mono). Secrets go
// this way only.
func (l *link) hello(conn *child.Conn) (int64, error) {
	h := Hello{Version: Version, Generation: l.generation, Name: l.Name, Target: l.Target, Options: *l.o, Dir: l.Dir, Timeout: l.Timeout}
	if name := l.o.Login.Secret; name != "" {
		if l.Secret == nil {
			return 0, fmt.Errorf("log in: no secrets are kept here: davy secret set %s", name)
		}
		s, err := l.Secret(name)
		if err != nil {
			return 0, fmt.Errorf("log in: %w", err)
		}
		switch {
		case l.o.Login.Kind == Certificate:
			h.Key = s
		case l.o.Login.User != "":
			h.User, h.Password = l.o.Login.User, s
		default:
			var ok bool
			if h.User, h.Password, ok = strings.Cut(s, ":"); !ok {
				return 0, fmt.Errorf("log in: secret %s is not user:password", name)
			}
		}
	}
	h.Now = l.Now()
	return h.Now.Mono, send(conn, KindHello, h)
}

// untrusted tells of a change of the condition.
func (l *link) untrusted(on bool) {
	l.mu.Lock()
	tell := !l.said || l.doubted != on
	l.said, l.doubted = true, on
	l.mu.Unlock()
	if tell && l.Say != nil && l.o.Mode > ModeNone {
		l.Say(Untrusted, on)
	}
}
