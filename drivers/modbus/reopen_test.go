package modbus

import (
	"context"
	"errors"
	"testing"
	"time"
)

// interruptible remembers the deadline that it got last.
type interruptible struct {
	Port
	deadline time.Time
}

func (p *interruptible) SetDeadline(t time.Time) error { p.deadline = t; return nil }

// A context that is over, and one that somebody else asked with, do not cut off
// what runs now; the one that it runs with does.
func TestWatch(t *testing.T) {
	var w watch
	first, second := &interruptible{}, &interruptible{}
	soon := time.Now().Add(time.Hour)
	before, cancelBefore := context.WithCancel(t.Context())
	defer cancelBefore()
	w.begin(before, first)
	w.end()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w.begin(ctx, second)
	if err := w.arm(ctx, soon); err != nil || !second.deadline.Equal(soon) {
		t.Fatalf("armed until %v: %v", second.deadline, err)
	}
	w.interrupt(1) // of the first, which came late
	if !first.deadline.IsZero() || !second.deadline.Equal(soon) {
		t.Errorf("a late interrupt: %v, %v", first.deadline, second.deadline)
	}
	w.interrupt(2)
	if !second.deadline.Before(time.Now()) {
		t.Errorf("not interrupted: %v", second.deadline)
	}
	w.end()
	second.deadline = soon
	w.interrupt(2)
	if !second.deadline.Equal(soon) {
		t.Error("interrupted after its end")
	}
	w.close()

	// It ended before there was a deadline to cut short.
	ended, end := context.WithCancel(t.Context())
	end()
	w.begin(ended, first)
	if err := w.arm(ended, soon); !errors.Is(err, context.Canceled) {
		t.Errorf("armed for a context that is over: %v", err)
	}
	w.end()
	w.close()
}
