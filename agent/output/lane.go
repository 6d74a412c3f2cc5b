package output

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"davy/agent/config"
	"davy/drivers"
)

// Lane is one link's share of the outputs.
type Lane struct {
	d      *Driver
	all    []int // never changed
	outs   []int // … in the order in which they are tried: of silent stations last
	shared bool  // several stations are asked on the link
	wake   chan struct{}
}

// Wake delivers a token when there may be something to write.
func (l *Lane) Wake() <-chan struct{} { return l.wake }

// Empty reports whether no output is driven over this link.
func (l *Lane) Empty() bool { return len(l.all) == 0 }

func (l *Lane) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Next returns the Mono at which the next try is due, 0 if nothing is pending.
func (l *Lane) Next() int64 {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	var next int64
	for _, i := range l.outs {
		s := &l.d.outs[i]
		if l.d.armed && s.pending {
			if t := max(s.notUntil, 1); next == 0 || t < next {
				next = t
			}
		}
	}
	return next
}

// Drive writes what is pending and due over the link, one output after the
// other. It is called by the link's goroutine. A station that answers nothing is
// tried once in a call; from then on its outputs come last, the one that was tried
// after the others.
func (l *Lane) Drive(ctx context.Context, link drivers.Link) {
	var kept, passed, tried []int
	for n, i := range l.outs {
		if ctx.Err() != nil {
			return
		}
		switch {
		case slices.ContainsFunc(tried, func(x int) bool { return together(l.point(x), l.point(i)) }):
			passed = append(passed, i)
			continue
		case l.drive(ctx, link, i):
			if tried == nil {
				kept = append(kept, l.outs[:n]...)
			}
			tried = append(tried, i)
			continue
		}
		if tried != nil {
			kept = append(kept, i)
		}
	}
	if tried != nil {
		l.outs = slices.Concat(kept, passed, tried)
	}
}

func (l *Lane) point(i int) *drivers.Point { return &l.d.outs[i].cfg.Point }

// drive tries one output if it is due; silent says that its station did not answer.
func (l *Lane) drive(ctx context.Context, link drivers.Link, i int) (silent bool) {
	d := l.d
	d.mu.Lock()
	s := &d.outs[i]
	now := d.now().Mono
	if !d.armed || !s.pending || now < s.notUntil {
		d.mu.Unlock()
		return false
	}
	w, cause := s.want, s.cause
	d.mu.Unlock()

	err := l.write(ctx, link, s.cfg, w)
	if later := (*drivers.Later)(nil); err != nil && errors.As(err, &later) {
		d.mu.Lock()
		s.notUntil = later.Until // nothing was sent
		s.waits = err.Error()
		if s.since == 0 {
			s.since = now
		}
		d.mu.Unlock()
		return false
	}

	at := d.now()
	done := at.Mono
	d.mu.Lock()
	s.waits = ""
	d.tell(s, w, at, err)
	failing, took := s.err != "", time.Duration(0)
	if s.want != w && s.want != leave {
		// A newer demand came meanwhile. Whatever was read back before this write
		// arrived says nothing of what it did.
		s.pending = true
	}
	s.unknown = err != nil
	if err != nil {
		s.err = err.Error()
		if s.want == w { // else a newer demand came meanwhile: it does not wait
			s.notUntil = done + int64(Repeat)
		}
		if silent = done-now >= int64(slowWrite); silent && l.shared {
			l.spare(s, done, done+writeShare*(done-now))
		}
		if s.since == 0 {
			s.since = now
		}
	} else {
		s.err = ""
		s.written = w
		d.heard(s, done)
		if s.want == w { // else a newer demand came meanwhile: it stays pending
			s.pending = false
			s.notUntil = done + int64(Repeat)
			if w == idle {
				s.since = 0
			}
			if s.restart { // what after_restart says is done once; no demand holds it
				s.want, s.restart, s.since = leave, false, 0
			}
		}
		if cause != 0 && s.cause == cause {
			took = time.Duration(done - cause)
			s.last, s.worst, s.cause = took, max(s.worst, took), 0
		}
	}
	d.mu.Unlock()
	// The control loop waits for the lock: nothing is logged under it.
	switch {
	case err != nil && !failing:
		d.log.Error("output not written", "output", s.cfg.Name, "state", w.String(), "unknown", errors.Is(err, drivers.ErrUnknown), "err", err)
	case err == nil && failing:
		d.log.Info("output writes again", "output", s.cfg.Name)
	}
	if took != 0 {
		d.log.Info("output driven", "output", s.cfg.Name, "state", w.String(), "took_ms", took.Milliseconds())
	}
	return silent
}

// spare leaves the outputs of a silent station alone until then, but for those
// that a new demand came for. mu is held.
func (l *Lane) spare(of *state, now, until int64) {
	for _, i := range l.all {
		s := &l.d.outs[i]
		if s.notUntil != 0 && until > now+int64(Repeat) && together(&s.cfg.Point, &of.cfg.Point) && s.err != "" {
			s.notUntil, s.spared = max(s.notUntil, until), true
		}
	}
}

func (l *Lane) write(ctx context.Context, link drivers.Link, o *config.Output, w want) error {
	v := o.Idle
	if w == protective {
		v = o.Protective
	}
	ctx, cancel := context.WithTimeout(ctx, WriteLimit)
	defer cancel()
	if err := link.Write(ctx, o.Point, v); err != nil {
		return fmt.Errorf("write output %s %s: %w", o.Name, o.Point.Address, err)
	}
	return nil
}

// Stop leaves the outputs of an orderly stop: where a demand holds them they
// stay; else as `davy_dead` declares. After Stay it moves nothing.
func (l *Lane) Stop(ctx context.Context, link drivers.Link) {
	ctx, cancel := context.WithTimeout(ctx, StopLimit)
	defer cancel()
	for _, i := range l.outs {
		l.d.mu.Lock()
		s := &l.d.outs[i]
		cfg, w, armed := s.cfg, leave, l.d.armed && !l.d.stay
		if s.want != protective {
			switch cfg.DavyDead {
			case config.Idle:
				w = idle
			case config.Protective:
				w = protective
			}
		}
		l.d.mu.Unlock()
		if w == leave || !armed {
			continue
		}
		err := l.write(ctx, link, cfg, w)
		l.d.mu.Lock()
		l.d.tell(s, w, l.d.now(), err)
		l.d.mu.Unlock()
		if err != nil {
			l.d.log.Error("output not left as declared", "output", cfg.Name, "err", err)
		}
	}
}

// heard lets the outputs of a station that answers be tried again soon, and
// reports whether one waits for that. mu is held.
func (d *Driver) heard(of *state, now int64) (waits bool) {
	for _, i := range d.lanes[of.cfg.Link].all {
		s := &d.outs[i]
		if s.spared && together(&s.cfg.Point, &of.cfg.Point) {
			s.spared, s.notUntil = false, min(s.notUntil, now)
			waits = waits || s.pending
		}
	}
	return waits
}

// shared reports whether several stations are asked on a link.
func shared(l *config.Link) bool {
	var first *drivers.Point
	for _, s := range l.Scans {
		points := s.Request.Points()
		for i := range points {
			if first == nil {
				first = &points[i]
			}
			if !together(first, &points[i]) {
				return true
			}
		}
	}
	return false
}

// together reports whether two points are of one station.
func together(a, b *drivers.Point) bool {
	return a.Station == b.Station && (a.Station != 0 || a.Device == b.Device)
}
