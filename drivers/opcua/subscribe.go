package opcua

import (
	"context"
	"errors"
	"fmt"
	"time"

	"davy/drivers"
	"davy/drivers/tag"
)

// Limits of a subscription, each with what happens at it.
const (
	Establish = 30 * time.Second // a child that has no session by then: the subscription ends
	Rebuild   = 10 * time.Second // a session that was lost is not back by then: the same
	tellMost  = 20               // points of which a minute's log says what became of them; of more it says nothing
)

// Subscribe emits every sample of the points in the order the server sent them.
// When a session is lost every point is bad at once; when it is not back within
// Rebuild, when the child died, was silent or spoke nonsense, the subscription
// is in doubt and ends, and its child with it. A point for which no sample came
// over the session that stands is bad.
func (l *link) Subscribe(ctx context.Context, points []drivers.Point, emit func([]tag.Reading)) error {
	if err := l.subscribe(ctx, points, emit); ctx.Err() == nil {
		return fmt.Errorf("subscribe %s: %w", l.Target, err)
	}
	return ctx.Err()
}

func (l *link) subscribe(ctx context.Context, points []drivers.Point, emit func([]tag.Reading)) error {
	var errs []error
	for i := range points {
		errs = append(errs, checkPoint(l.o, &points[i]))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	establish := time.NewTimer(Establish)
	defer establish.Stop()
	bounded, cancel := context.WithTimeout(ctx, Establish)
	defer cancel()
	forgiven := l.latest()
	for {
		t, err := l.conversation(bounded, forgiven)
		if err != nil {
			return err
		}
		feed, free, session, down := t.subscribe()
		if feed == nil { // of a subscription that has just ended: its child is ending too
			select {
			case <-t.ended:
				forgiven = t.generation
				continue
			case <-bounded.Done():
				return bounded.Err()
			}
		}
		defer func() {
			l.expect(t.generation)
			t.leave(ctx.Err() != nil)
		}()
		if down != nil {
			return down
		}
		first, err := t.give(nil, points)
		if err == nil {
			err = t.conn.Write(KindSubscribe, Ask{First: first, Count: uint32(len(points))}.Append(nil))
		}
		if err != nil {
			return err
		}
		s := &subscription{l: l, points: points, emit: emit, first: first, report: report{l: l}, up: session != 0}
		if s.up {
			establish.Stop()
		}
		return s.follow(ctx, t, feed, free, establish)
	}
}

// subscription is what Subscribe's goroutine knows.
type subscription struct {
	l      *link
	points []drivers.Point
	emit   func([]tag.Reading)
	first  uint32
	up     bool
	ever   bool // a session was up
	out    []tag.Reading
	report
}

// follow takes notices until there is a reason to doubt.
func (s *subscription) follow(ctx context.Context, t *talk, feed chan notice, free chan *Batch, patience *time.Timer) error {
	s.ever = s.up
	why := error(errNoSessionYet)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.ended:
			return t.why
		case <-patience.C:
			return why
		case n := <-feed:
			switch {
			case n.batch != nil:
				if err := s.batch(n.batch); err != nil {
					return err
				}
				free <- n.batch // has room for every batch there is
			case n.condition != nil:
				if err := s.condition(n.condition); err != nil {
					return err
				}
			case n.state.Up:
				s.up, s.ever = true, true
				patience.Stop()
			default:
				why = &SessionError{Code: n.state.Code, Text: clip(n.state.Text), Fingerprint: clip(n.state.Fingerprint)}
				if !s.ever {
					return why
				}
				if s.up {
					s.up = false
					patience.Reset(Rebuild)
					s.bad()
				}
			}
		}
	}
}

// bad says that nothing is known of any point.
func (s *subscription) bad() {
	s.out = s.out[:0]
	now := s.l.Now()
	for i := range s.points {
		s.out = append(s.out, tag.Reading{Tag: s.points[i].Tag, Quality: tag.BadNoComm, Received: now})
	}
	s.emit(s.out)
}

// batch emits the readings of a batch. One of an item that this subscription
// does not have says that the child is broken, and none of the batch is taken.
func (s *subscription) batch(b *Batch) error {
	for i := range b.Samples {
		if h := b.Samples[i].Handle; h < s.first || uint64(h-s.first) >= uint64(len(s.points)) {
			return fmt.Errorf("reading of item %d, not subscribed to: %w", h, ErrMessage)
		}
	}
	s.out = s.out[:0]
	for i := range b.Samples {
		x := &b.Samples[i]
		p := &s.points[x.Handle-s.first]
		v, q := finish(p, x)
		s.out = append(s.out, tag.Reading{Tag: p.Tag, Quality: q, Value: v, Source: x.Source, Received: x.Received})
		s.tell(p, x)
	}
	if len(s.out) > 0 {
		s.emit(s.out)
	}
	return nil
}

// condition hands an event over.
func (s *subscription) condition(c *Condition) error {
	n := c.Handle - s.first
	if c.Handle < s.first || uint64(n) >= uint64(len(s.points)) || s.points[n].Address.(Address).What != Conditions {
		return fmt.Errorf("condition of item %d, not subscribed to: %w", c.Handle, ErrMessage)
	}
	if s.l.announce == nil {
		return nil
	}
	s.l.announce(drivers.Event{
		Tag: s.points[n].Tag, Received: c.Received, Time: c.Time,
		ID: clip(c.ID), Source: clip(c.Source), Name: clip(c.Name), Message: clip(c.Message), Severity: min(c.Severity, 1000),
		Active: c.Active, Acked: c.Acked, Confirmed: c.Confirmed, Enabled: c.Enabled, Retain: c.Retain, Suppressed: c.Suppressed,
		Refreshed: c.Refreshed,
	})
	return nil
}
