package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gopcua/opcua/ua"

	"davy/drivers/opcua"
)

// The limits of a worker.
const (
	firstPause   = time.Second      // before the second attempt to connect; doubles up to
	lastPause    = 30 * time.Second // this
	goodWhile    = time.Minute      // a session that lasted so long is forgiven: firstPause again
	connectSteps = 4                // times the timeout of a call, for the some ten calls that a session takes
	nap          = time.Second      // a machine that slept for longer has a session in doubt: no clock of ours counted it
	overdue      = 5 * time.Second  // after its deadline, work that has not come back is hung
	tick         = 200 * time.Millisecond
	// The library keeps one small object for each renewal of the channel's keys
	// until the channel closes; after so long a session is made anew.
	recycle    = 30 * 24 * time.Hour
	retryFirst = 10 * time.Second // before refused items are asked for again; doubles up to
	retryLast  = 5 * time.Minute  // this
	queued     = 64               // reads and writes that wait; more are answered "no session"
)

// errHung says that the library did not come back: the process has to end.
var errHung = errors.New("the library hangs")

// Worker holds one session, or tries to.
type Worker struct {
	o     Options
	hello opcua.Hello
	sink  Sink
	clock opcua.Clock
	log   *slog.Logger
	start time.Time
	beat  atomic.Int64  // of the owner, nanoseconds since start
	done  chan struct{} // closed when Run returned
	stats Stats

	out    sync.Mutex // one call of the sink at a time; guards:
	up     uint32     // the session whose samples may pass; 0: none
	number uint32     // of the last session
	broken error      // of the sink

	mu        sync.Mutex
	items     []opcua.Item // by handle
	asked     *opcua.Ask   // what to subscribe to
	current   *session
	subscribe chan struct{}
	writes    chan opcua.Write
	reads     chan opcua.Ask
	deadlines map[uint32]time.Time // of what waits in writes and reads, by request
}

// Stats count since the start of the worker.
type Stats struct {
	Attempts  atomic.Uint64 // to make a session
	Sessions  atomic.Uint64 // made
	Keys      atomic.Uint64 // that servers gave channels, at their start and at each renewal
	Overflows atomic.Uint64 // samples before which the server dropped others
	Strays    atomic.Uint64 // notifications that belong to nothing we asked for
	Unnamed   atomic.Uint64 // events that are no condition's, and were not handed on
}

// New makes a worker that reports to sink. Run does the work.
func New(hello opcua.Hello, sink Sink, o Options) *Worker {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.ClockTrusted == nil {
		o.ClockTrusted = kernelTrusted
	}
	if o.Asleep == nil {
		o.Asleep = asleep
	}
	if o.FirstPause == 0 {
		o.FirstPause = firstPause
	}
	if o.LastPause == 0 {
		o.LastPause = lastPause
	}
	return &Worker{
		o: o, hello: hello, sink: sink, clock: opcua.NewClock(hello.Now), start: time.Now(),
		log: o.Log.With("link", hello.Name), done: make(chan struct{}), subscribe: make(chan struct{}, 1),
		writes: make(chan opcua.Write, queued), reads: make(chan opcua.Ask, queued), deadlines: map[uint32]time.Time{},
	}
}

// Stats returns the counts, which go on counting.
func (w *Worker) Stats() *Stats { return &w.stats }

// Items takes items and their handles.
func (w *Worker) Items(m opcua.Items) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if int(m.First) != len(w.items) || len(m.Items) > opcua.MaxItems || len(w.items)+len(m.Items) > opcua.MaxHandle {
		return fmt.Errorf("serve: %d items from %d after %d", len(m.Items), m.First, len(w.items))
	}
	w.items = append(w.items, m.Items...)
	return nil
}

// have checks that an Ask names items that are there.
func (w *Worker) have(a opcua.Ask) error {
	if uint64(a.First)+uint64(a.Count) > uint64(len(w.items)) {
		return fmt.Errorf("serve: items %d to %d of %d", a.First, a.First+a.Count, len(w.items))
	}
	return nil
}

// Subscribe asks for a subscription, in this session and all that follow.
func (w *Worker) Subscribe(a opcua.Ask) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.have(a); err != nil {
		return err
	}
	if w.asked != nil {
		return errors.New("serve: subscribed twice")
	}
	w.asked = &a
	w.subscribe <- struct{}{}
	return nil
}

// wish returns what is subscribed to.
func (w *Worker) wish() (opcua.Ask, []opcua.Item, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.asked == nil {
		return opcua.Ask{}, nil, false
	}
	return *w.asked, w.items, true
}

// Run makes sessions until ctx ends. Only it does: nobody else reconnects.
func (w *Worker) Run(ctx context.Context) error {
	defer close(w.done)
	var group sync.WaitGroup
	defer group.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group.Go(func() { w.caller(ctx) })
	pause, last := w.o.FirstPause, ""
	for {
		began := time.Now()
		err := w.session(ctx)
		if w.failed() != nil {
			return w.failed()
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if errors.Is(err, errHung) {
			return err
		}
		if said := err.Error(); said != last {
			w.log.Warn("opc ua session ended", "err", err)
			last = said
		}
		if time.Since(began) > goodWhile {
			pause, last = w.o.FirstPause, ""
		}
		if err := w.wait(ctx, pause/2+rand.N(pause)); err != nil {
			return err
		}
		pause = min(2*pause, w.o.LastPause)
	}
}

// alive says that the owner of the session works.
func (w *Worker) alive() { w.beat.Store(int64(time.Since(w.start))) }

// wait pauses.
func (w *Worker) wait(ctx context.Context, d time.Duration) error {
	end := time.NewTimer(d)
	defer end.Stop()
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		w.alive()
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-end.C:
			return nil
		case <-t.C:
		}
	}
}

// busy does f, which may take until limit, in a goroutine of its own, so that a
// library that hangs is seen to hang: errHung.
func (w *Worker) busy(ctx context.Context, limit time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		defer func() {
			if r := recover(); r != nil {
				done <- fail(opcua.CodeInternal, fmt.Errorf("panic: %v", r))
			}
		}()
		done <- f(ctx)
	}()
	t := time.NewTicker(tick)
	defer t.Stop()
	var over <-chan time.Time
	ended := ctx.Done()
	for {
		w.alive()
		select {
		case err := <-done:
			return err
		case <-ended:
			ended = nil
			over = time.After(overdue)
		case <-over:
			return errHung
		case <-t.C:
		}
	}
}

// session makes a session and holds it until it is in doubt or ctx ends.
func (w *Worker) session(ctx context.Context) error {
	w.stats.Attempts.Add(1)
	s := &session{w: w, doubt: make(chan error, 1), writing: make(chan struct{}, 1), types: map[string]writable{}}
	var fingerprintOf string
	err := w.busy(ctx, connectSteps*w.hello.Timeout+overdue, func(ctx context.Context) error {
		site, err := w.site()
		if err != nil {
			return err
		}
		if s.c, err = site.connect(ctx); err != nil {
			var u *untrusted
			if errors.As(err, &u) {
				if kept := reject(w.hello.Dir, u.DER); kept != nil {
					w.log.Warn("refused certificate not kept", "err", kept)
				}
			}
			return err
		}
		fingerprintOf = fingerprint(s.c.gate.want.server)
		if s.c.gate.want.server == nil {
			fingerprintOf = ""
		}
		if s.space, err = s.c.learn(ctx); err != nil {
			s.c.close(ctx)
			return fail(opcua.CodeSession, err)
		}
		return nil
	})
	if err != nil {
		if ctx.Err() == nil {
			w.down(nil, err)
		}
		return err
	}
	w.stats.Sessions.Add(1)
	s.ctx, s.cancel = context.WithCancel(ctx)
	w.begin(s, hexPrint(fingerprintOf))
	err = s.hold(ctx)
	w.down(s, err)
	s.cancel()
	if hung := w.busy(context.WithoutCancel(ctx), farewell+overdue, func(ctx context.Context) error {
		s.group.Wait()
		s.c.close(ctx)
		return nil
	}); hung != nil {
		return hung
	}
	return err
}

// begin lets the samples of s pass.
func (w *Worker) begin(s *session, fingerprint string) {
	w.out.Lock()
	w.number++
	s.number, w.up = w.number, w.number
	w.say(w.sink.State(opcua.State{Generation: w.hello.Generation, Session: s.number, Up: true, Fingerprint: fingerprint}))
	w.out.Unlock()
	w.mu.Lock()
	w.current = s
	w.mu.Unlock()
	w.log.Info("opc ua session up", "session", s.number, "namespaces", len(s.space.namespaces), "per_read", s.space.perRead, "per_create", s.space.perCreate)
}

// down lets no sample pass any more, and says why. s is nil where there was none.
func (w *Worker) down(s *session, err error) {
	w.mu.Lock()
	w.current = nil
	w.mu.Unlock()
	m := opcua.State{Generation: w.hello.Generation, Code: opcua.CodeInternal, Text: cut(err)}
	if s != nil {
		m.Session, m.Code = s.number, opcua.CodeSession
	}
	var f *failure
	if errors.As(err, &f) {
		m.Code = f.Code
	}
	var u *untrusted
	if errors.As(err, &u) {
		m.Fingerprint = hexPrint(u.Fingerprint)
	}
	w.out.Lock()
	defer w.out.Unlock()
	w.up = 0
	w.say(w.sink.State(m))
}

// cut bounds the text of an error.
func cut(err error) string {
	if err == nil {
		return ""
	}
	return short(err.Error())
}

// say remembers the first error of the sink. The caller holds out.
func (w *Worker) say(err error) {
	if w.broken == nil {
		w.broken = err
	}
}

func (w *Worker) failed() error {
	w.out.Lock()
	defer w.out.Unlock()
	return w.broken
}

// emit hands samples on if their session is still up.
func (w *Worker) emit(s *session, request uint32, samples []opcua.Sample) {
	w.out.Lock()
	defer w.out.Unlock()
	for len(samples) > 0 && w.up == s.number && w.broken == nil {
		n := min(len(samples), opcua.MaxSamples)
		w.say(w.sink.Readings(&opcua.Batch{Generation: w.hello.Generation, Session: s.number, Request: request, Samples: samples[:n]}))
		samples = samples[n:]
	}
}

// session is what there is while a session is up.
type session struct {
	w      *Worker
	number uint32
	c      *channel
	space  *space
	ctx    context.Context
	cancel context.CancelFunc
	group  sync.WaitGroup // of the goroutines that use c
	doubt  chan error
	sub    *subscription
	types  map[string]writable // of the caller's goroutine

	writing chan struct{} // holds one while the library has a write
}

// distrust ends the session; the first reason counts.
func (s *session) distrust(code string, err error) {
	select {
	case s.doubt <- fail(code, err):
	default:
	}
}

// hold watches the session until there is a doubt.
func (s *session) hold(ctx context.Context) error {
	s.group.Go(s.canary)
	t := time.NewTicker(tick)
	defer t.Stop()
	old := time.NewTimer(recycle)
	defer old.Stop()
	retry, again := time.Duration(retryFirst), time.Time{}
	slept := s.w.o.Asleep()
	if _, _, ok := s.w.wish(); ok {
		select {
		case s.w.subscribe <- struct{}{}:
		default:
		}
	}
	for {
		s.w.alive()
		if s.w.failed() != nil {
			return s.w.failed()
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err := <-s.doubt:
			return err
		case <-old.C:
			return fail(opcua.CodeSession, fmt.Errorf("made anew after %v", recycle))
		case <-s.w.subscribe:
			asked, items, ok := s.w.wish()
			if !ok || s.sub != nil {
				continue
			}
			limit := 10*time.Second + s.w.hello.Timeout*time.Duration(2+2*int(asked.Count)/maxPerCall)
			if err := s.w.busy(s.ctx, limit, func(ctx context.Context) error { return s.build(ctx, asked, items) }); err != nil {
				return err
			}
			again = time.Now().Add(retry)
		case <-t.C:
			if err := s.c.gate.why(); err != nil {
				return fail(opcua.CodeConnect, err)
			}
			if d := s.w.o.Asleep() - slept; d > nap {
				return fail(opcua.CodeSilent, fmt.Errorf("this machine slept for %v", d.Round(time.Second)))
			}
			if s.sub == nil {
				continue
			}
			if err := s.sub.overdue(time.Since(s.w.start)); err != nil {
				return fail(opcua.CodeSilent, err)
			}
			if len(s.sub.refused) > 0 && time.Now().After(again) {
				if err := s.w.busy(s.ctx, 10*time.Second+4*s.w.hello.Timeout, s.again); err != nil {
					return err
				}
				retry = min(2*retry, retryLast)
				again = time.Now().Add(retry)
			}
		}
	}
}

// site puts together what a session needs. It is done for every attempt: a
// person may have mended a file meanwhile.
func (w *Worker) site() (*site, error) {
	h := &w.hello
	o := &h.Options
	s := &site{
		target: h.Target, life: w.o.ChannelLife, opened: &w.stats.Keys, login: o.Login, user: h.User, secret: h.Password, name: h.Name, dir: h.Dir, timeout: h.Timeout,
		now: time.Now, clockTrusted: w.o.ClockTrusted, log: w.log, uri: o.ApplicationURI, mode: ua.MessageSecurityMode(o.Mode),
	}
	var err error
	if s.addr, err = address(h.Target); err != nil {
		return nil, fail(opcua.CodeConnect, err)
	}
	if s.host, _, err = net.SplitHostPort(s.addr); err != nil {
		return nil, fail(opcua.CodeConnect, err)
	}
	ok := false
	if s.policy, ok = policyOf(o.Policy); !ok || o.Mode < opcua.ModeNone || o.Mode > opcua.ModeSignAndEncrypt || (o.Policy == opcua.PolicyNone) != (o.Mode == opcua.ModeNone) {
		return nil, &failure{opcua.CodePolicy, fmt.Errorf("no such security: policy %q, mode %v", o.Policy, o.Mode)}
	}
	if s.timeout <= 0 {
		s.timeout = 5 * time.Second
	}
	if o.Mode == opcua.ModeNone {
		if s.uri == "" {
			s.uri = "urn:davy"
		}
		return s, nil
	}
	if s.trust, err = trustOf(o, s.policy); err != nil {
		return nil, &failure{opcua.CodeUntrusted, err}
	}
	own, made, err := Own(h.Dir, o.ApplicationURI)
	if err != nil {
		return nil, &failure{opcua.CodeInternal, err}
	}
	if made {
		w.log.Info("opc ua certificate made", "sha256", fingerprint(own.DER), "application_uri", own.URI)
	}
	s.own, s.uri = own, own.URI
	if o.Login.Kind == opcua.Certificate {
		if s.userKey, err = userIdentity(o.Login.Certificate, h.Key); err != nil {
			return nil, &failure{opcua.CodeLogin, err}
		}
	}
	return s, nil
}
