package uplink

import (
	"slices"
	"time"
)

// lane is how the receipts for one stream come. A message can be lost alone (a
// broker whose queue for the receiver was full), and receipts for other streams
// must not hide that it was.
type lane struct {
	moved time.Time // by a receipt, or when its messages were sent again
	again int       // times in a row that they were
}

// lane returns that of a stream.
func (s *session) lane(stream string) *lane {
	l := s.lanes[stream]
	if l == nil {
		l = &lane{}
		s.lanes[stream] = l
	}
	return l
}

// due is when a message on the way is late, as its stream goes.
func (s *session) due(w *sent) time.Time {
	l := s.lane(w.stream)
	from := w.at
	if l.moved.After(from) {
		from = l.moved
	}
	wait := s.u.o.ReceiptWait
	for range l.again {
		wait = min(2*wait, MaxReceiptWait)
	}
	return from.Add(wait)
}

// earliest is when the first message of any stream is late; zero if none is on the way.
func (s *session) earliest() (at time.Time) {
	for i := range s.way {
		if d := s.due(&s.way[i]); at.IsZero() || d.Before(at) {
			at = d
		}
	}
	return at
}

// overdue goes back to the confirmed place of the streams of which a message is
// late while the connection answers for others.
func (s *session) overdue(now time.Time) {
	var streams []string
	for i := range s.way {
		w := &s.way[i]
		if !slices.Contains(streams, w.stream) && !now.Before(s.due(w)) {
			streams = append(streams, w.stream)
		}
	}
	for _, stream := range streams {
		l := s.lane(stream)
		l.moved, l.again = now, l.again+1
		s.u.now.Rewinds++
		if l.again == 1 {
			s.u.o.Log.Warn("no receipt for one stream in time, sending it again", "destination", s.u.o.Name, "stream", stream)
		}
		delete(s.next, stream)
		s.way = slices.DeleteFunc(s.way, func(w sent) bool { return w.stream == stream })
	}
}
