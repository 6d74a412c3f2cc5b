// Package supervise runs the parts of a process, and its child processes, and
// says what to do when one of them ends.
//
// It promises: Run of a Group blocks until every goroutine that it started has
// returned; the end of a Vital part ends the group with that part's error; a
// Restart part runs again after 1 s, 2 s … 1 min (with jitter, from the start
// again after it ran for a good while); a panic is an error with a stack, and
// the policy of its part decides; the same failure is logged once and then
// counted. A Child gets one end of a socketpair as its fd 3, ends on EOF of it,
// and is killed when it does not end within Grace.
//
// Who owns what: a Group owns its goroutines and nothing of its parts; a Child
// owns the process and the parent's end of the socketpair. Nothing is durable.
//
// It assumes that a part returns when its context ends: one that does not
// keeps Run from returning (the hardware watchdog is for that). Time comes from
// package time, so that it runs in a synctest bubble; children do not.
//
// Imports: nothing of ours.
package supervise

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"time"
)

// Limits, each with what happens at it.
const (
	FirstWait = time.Second      // before the first restart of a part
	LastWait  = time.Minute      // the waits double up to this one
	GoodWhile = 2 * time.Minute  // a part that ran so long begins with FirstWait again, and its failures are forgotten
	MaxStack  = 16 << 10         // bytes of a panic's stack that are kept; the rest is cut
	Grace     = 10 * time.Second // a child has so long to end after its fd 3 was closed; then it is killed
)

// ErrEnded says that a part returned nil though nobody asked it to end.
var ErrEnded = errors.New("ended without being asked")

// Part is something that runs. Run blocks, owns every goroutine it starts, and
// returns when they have. It ends when ctx does.
type Part interface {
	Run(ctx context.Context) error
}

// Func is a function as a Part.
type Func func(ctx context.Context) error

// Run calls f.
func (f Func) Run(ctx context.Context) error { return f(ctx) }

// Policy says what the end of a part means.
type Policy uint8

// The policies. The zero value is the strict one.
const (
	Vital   Policy = iota // its end ends the group with its error
	Restart               // it is run again, everything else goes on
)

// PanicError is a panic of a part.
type PanicError struct {
	Value any
	Stack string // at most MaxStack bytes
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Backoff is a wait that doubles from Min to Max, with jitter: each wait is
// between half of its nominal length and all of it. The zero Backoff waits
// FirstWait to LastWait. It belongs to one goroutine.
type Backoff struct {
	Min, Max time.Duration
	next     time.Duration
}

// Next returns how long to wait now and doubles the wait after it.
func (b *Backoff) Next() time.Duration {
	lo, hi := b.Min, b.Max
	if lo <= 0 {
		lo = FirstWait
	}
	if hi < lo {
		hi = max(lo, LastWait)
	}
	d := min(max(b.next, lo), hi)
	b.next = min(2*d, hi)
	return d/2 + rand.N(d/2+1)
}

// Reset lets the next wait be Min again.
func (b *Backoff) Reset() { b.next = 0 }

// Wait blocks for Next, or until ctx ends, and reports whether it waited to the end.
func (b *Backoff) Wait(ctx context.Context) bool {
	t := time.NewTimer(b.Next())
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Group runs parts. The zero Group is ready; set its fields before Run.
type Group struct {
	Log *slog.Logger // nil: slog.Default()
	// Changed, if set, is told when a Restart part fails (err says why) and when
	// it has run for GoodWhile again (err is nil). It is called from goroutines
	// of the group and must not block.
	Changed func(name string, err error)

	mu    sync.Mutex
	parts []*running
	start func(*running) // starts a part; nil while Run does not run
	ran   bool
	wg    sync.WaitGroup
}

// running is one part of a group; cancel is set when it is started.
type running struct {
	name   string
	policy Policy
	part   Part
	cancel context.CancelFunc
	done   chan struct{}
}

// Add puts a part into the group, before Run or while it runs. Names are for
// logs and Remove; a name that is there already is a programmer's error.
func (g *Group) Add(name string, policy Policy, p Part) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, r := range g.parts {
		if r.name == name {
			panic("BUG: supervise: part " + name + " is there twice")
		}
	}
	r := &running{name: name, policy: policy, part: p, done: make(chan struct{})}
	g.parts = append(g.parts, r)
	if g.start != nil {
		g.start(r)
	}
}

// Remove ends a part, waits until it has returned, and takes it out of the
// group. Its end is nobody's failure, whatever its policy. It reports whether
// the part was there. It must not be called by the part itself.
func (g *Group) Remove(name string) bool {
	g.mu.Lock()
	for i, r := range g.parts {
		if r.name != name {
			continue
		}
		g.parts = append(g.parts[:i:i], g.parts[i+1:]...)
		cancel := r.cancel
		g.mu.Unlock()
		if cancel != nil {
			cancel()
			<-r.done
		}
		return true
	}
	g.mu.Unlock()
	return false
}

// Run runs all parts and blocks until each has returned. It returns nil when
// ctx ended, and otherwise the error of the Vital part that ended first, with
// its name. A Group runs once.
func (g *Group) Run(ctx context.Context) error {
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	g.mu.Lock()
	if g.ran {
		g.mu.Unlock()
		panic("BUG: supervise: a group runs once")
	}
	g.ran = true
	g.start = func(r *running) { g.run(inner, cancel, r) }
	for _, r := range g.parts {
		g.start(r)
	}
	g.mu.Unlock()

	<-inner.Done()
	g.mu.Lock()
	g.start = nil // what is added from now on is not started
	g.mu.Unlock()
	g.wg.Wait()
	var end *partError
	if errors.As(context.Cause(inner), &end) {
		return end
	}
	return nil
}

// partError is the end of a vital part.
type partError struct {
	name string
	err  error
}

func (e *partError) Error() string { return e.name + ": " + e.err.Error() }
func (e *partError) Unwrap() error { return e.err }

// run runs r in a goroutine of the group, whose context is group and which end
// ends; g.mu is held.
func (g *Group) run(group context.Context, end context.CancelCauseFunc, r *running) {
	ctx, cancel := context.WithCancel(group)
	r.cancel = cancel
	g.wg.Go(func() {
		defer close(r.done)
		defer cancel()
		if r.policy == Restart {
			g.again(ctx, r)
			return
		}
		err := safely(ctx, r.part)
		if ctx.Err() != nil { // it was asked to
			if err != nil && !errors.Is(err, ctx.Err()) {
				g.report("part ended with an error", r, err, 1)
			}
			return
		}
		if err == nil {
			err = ErrEnded
		}
		g.report("part failed", r, err, 1)
		end(&partError{r.name, err})
	})
}

// again runs a part again and again.
func (g *Group) again(ctx context.Context, r *running) {
	var (
		wait  Backoff
		last  string // the failure that was logged
		count int    // how often it came
	)
	for {
		watched := func() {}
		if count > 0 && g.Changed != nil {
			watched = g.watch(r.name)
		}
		began := time.Now()
		err := safely(ctx, r.part)
		watched()
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = ErrEnded
		}
		if time.Since(began) >= GoodWhile {
			if count > 0 {
				g.log().Info("part was well again", "part", r.name, "failures", count)
			}
			wait.Reset()
			last, count = "", 0
		}
		if s := err.Error(); s != last {
			last, count = s, 0
		}
		count++
		if rare(count) {
			g.report("part failed, runs again", r, err, count)
		}
		if g.Changed != nil {
			g.Changed(r.name, err)
		}
		if !wait.Wait(ctx) {
			return
		}
	}
}

// watch tells Changed when a part that failed has run for GoodWhile: it is well
// then, and not only when it ends. The returned function ends it.
func (g *Group) watch(name string) (end func()) {
	over, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		t := time.NewTimer(GoodWhile)
		defer t.Stop()
		select {
		case <-t.C:
			g.Changed(name, nil)
		case <-over:
		}
	}()
	return func() {
		close(over)
		<-done
	}
}

// rare is true for 1, 10, 100 …: a repeated failure is said ever more rarely.
func rare(n int) bool {
	for n >= 10 && n%10 == 0 {
		n /= 10
	}
	return n == 1
}

// report logs a failure, with the stack if it was a panic.
func (g *Group) report(msg string, r *running, err error, count int) {
	args := []any{"part", r.name, "error", err.Error(), "count", count}
	var p *PanicError
	if errors.As(err, &p) {
		args = append(args, "stack", p.Stack)
	}
	g.log().Error(msg, args...)
}

func (g *Group) log() *slog.Logger {
	if g.Log != nil {
		return g.Log
	}
	return slog.Default()
}

// safely runs p and makes an error of its panic.
func safely(ctx context.Context, p Part) (err error) {
	defer func() {
		if v := recover(); v != nil {
			stack := debug.Stack()
			err = &PanicError{Value: v, Stack: string(stack[:min(len(stack), MaxStack)])}
		}
	}()
	return p.Run(ctx)
}
