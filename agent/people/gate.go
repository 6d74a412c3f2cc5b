package people

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Errors of the gate.
var (
	ErrUnknown = errors.New("no such person")
	ErrNoPIN   = errors.New("the person has no PIN")
	ErrWrong   = errors.New("wrong PIN")
	ErrBusy    = errors.New("too many wait for their proof")
)

// WaitError says that wrong PINs came before, and how long nothing is looked at yet.
type WaitError struct{ For time.Duration }

func (e *WaitError) Error() string { return fmt.Sprintf("wait %v after wrong PINs", e.For) }

// Gate proves persons. Make it with NewGate; it may be used from several
// goroutines and computes in that of the caller, never in control's.
type Gate struct {
	now  func() int64
	turn chan struct{} // who holds the token computes

	mu      sync.Mutex
	waiting int
	of      map[string]int // … by origin
	free    int64          // Mono before which nothing is computed
	persons map[string]tries
	origins map[string]tries
}

// tries are the wrong ones.
type tries struct {
	n     int
	last  int64 // Mono of the last
	until int64 // Mono before which the next is not looked at
}

// NewGate makes a gate; now is a monotonic clock in ns.
func NewGate(now func() int64) *Gate {
	return &Gate{now: now, turn: make(chan struct{}, 1), of: map[string]int{}, persons: map[string]tries{}, origins: map[string]tries{}}
}

// Prove returns the person of roll with this id if pin is theirs. origin is
// where the try comes from, as far as is known for sure (the user of the
// operating system, not a name that was given). The errors are those above, a
// WaitError, or that of ctx, which ends the waiting and not the computing.
func (g *Gate) Prove(ctx context.Context, roll *Roll, origin, id, pin string) (*Person, error) {
	if err := g.early(origin, id); err != nil {
		return nil, err
	}
	p := roll.Find(id)
	switch {
	case p == nil:
		g.wrong(origin, "")
		return nil, ErrUnknown
	case !p.PIN.Set():
		return nil, ErrNoPIN
	}
	leave, err := g.enter(ctx, origin)
	if err != nil {
		return nil, err
	}
	defer leave()
	if err := g.early(origin, id); err != nil { // tried at the same time, and wrong
		return nil, err
	}
	if len(pin) > MaxPIN || !p.PIN.fits(pin) {
		g.wrong(origin, id)
		return nil, ErrWrong
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.persons, id)
	delete(g.origins, origin)
	return p, nil
}

// enter waits for the turn and the pause after the one before. One place is
// kept for another origin than the one that has all the others.
func (g *Gate) enter(ctx context.Context, origin string) (leave func(), err error) {
	g.mu.Lock()
	if g.waiting >= MaxWaiting || g.of[origin] >= MaxWaitingOf {
		g.mu.Unlock()
		return nil, ErrBusy
	}
	g.waiting++
	g.of[origin]++
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		g.waiting--
		if g.of[origin]--; g.of[origin] == 0 {
			delete(g.of, origin)
		}
		g.mu.Unlock()
	}()
	select {
	case g.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	g.mu.Lock()
	pause := g.free - g.now()
	g.mu.Unlock()
	if pause > 0 {
		t := time.NewTimer(time.Duration(pause))
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			<-g.turn
			return nil, ctx.Err()
		}
	}
	began := g.now()
	return func() {
		g.mu.Lock()
		end := g.now()
		g.free = end + min(end-began, int64(LongestRest))
		g.mu.Unlock()
		<-g.turn
	}, nil
}

// early refuses what comes before its time.
func (g *Gate) early(origin, id string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if wait := max(g.persons[id].until, g.origins[origin].until) - g.now(); wait > 0 {
		return &WaitError{For: time.Duration(wait)}
	}
	return nil
}

// wrong counts a wrong try of a person ("" none) from an origin.
func (g *Gate) wrong(origin, id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	if id != "" {
		count(g.persons, id, 0, 2*MaxPersons, now) // of this plan and of the one before
	}
	count(g.origins, origin, FreeTries, MaxOrigins, now)
}

func count(all map[string]tries, who string, free, limit int, now int64) {
	t, have := all[who]
	if !have && len(all) >= limit {
		makeRoom(all, now)
	}
	if now-t.last > int64(Forget) {
		t.n = 0
	}
	t.n, t.last = t.n+1, now
	if over := t.n - free; over > 0 {
		t.until = now + int64(min(FirstWait<<min(over-1, 10), LongestWait))
	}
	all[who] = t
}

// makeRoom forgets those that count no more, or else the one that is free first.
func makeRoom(all map[string]tries, now int64) {
	least, room := "", false
	for who, t := range all {
		if now-t.last > int64(Forget) {
			delete(all, who)
			room = true
		} else if least == "" || t.until < all[least].until {
			least = who
		}
	}
	if !room {
		delete(all, least)
	}
}
