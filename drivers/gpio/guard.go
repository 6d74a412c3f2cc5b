package gpio

import (
	"context"
	"errors"
	"sync"
	"time"
)

// errStuck says that the kernel has not come back from an earlier call.
var errStuck = errors.New("the kernel has not come back from an earlier call")

// guard runs calls into the kernel that may hang (a chip behind a stuck bus),
// one at a time, and lets its owner go on when the time is over. A call that
// was left behind cannot be interrupted: nothing else is called until it comes
// back, and what it brings is thrown away. So at most one goroutine of a link
// is ever left behind, for as long as the kernel keeps it; a link's Close waits
// for it, but no longer than the link's timeout. This is the one goroutine here
// that may outlive its link.
type guard struct {
	left chan struct{} // closed when the call that was left behind comes back; nil: none
}

// do runs f and returns its error, errStuck at until, or ctx's error. After
// either of these f may still run: what it writes to must be its own.
func (g *guard) do(ctx context.Context, until time.Time, f func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	if err := g.wait(ctx, timer.C); err != nil {
		return err
	}
	var err error
	var panicked any
	done := make(chan struct{})
	g.left = done
	go func() {
		defer close(done)
		defer func() { panicked = recover() }()
		err = f()
	}()
	if w := g.wait(ctx, timer.C); w != nil {
		return w
	}
	if panicked != nil {
		panic(panicked) // to whoever called, who has somebody to restart him
	}
	return err
}

// wait waits for the call that was left behind.
func (g *guard) wait(ctx context.Context, over <-chan time.Time) error {
	if g.left == nil {
		return nil
	}
	select {
	case <-g.left:
		g.left = nil
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-over:
		return errStuck
	}
}

// stuck is the calls that links left behind when they were closed, by target:
// the next link to the same target waits for them instead of leaving its own,
// so that they do not pile up.
type stuck struct {
	mu   sync.Mutex
	left map[string]chan struct{}
}

// guard makes the guard of a new link.
func (s *stuck) guard(target string) guard {
	s.mu.Lock()
	defer s.mu.Unlock()
	return guard{left: s.left[target]}
}

// leave keeps what a link leaves behind.
func (s *stuck) leave(target string, g *guard) {
	if g.left == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left == nil {
		s.left = map[string]chan struct{}{}
	}
	s.left[target] = g.left
}
