package uplink

import (
	"context"
	"fmt"
	"time"

	"davy/agent/journal"
	"davy/agent/wire"
)

// Flusher is a transport that can tell when the other end of the connection,
// which is not the receiver, has everything that was sent.
type Flusher interface {
	Flush(ctx context.Context) error
}

// gone counts a message of a one-way destination as arrived: nobody there can
// say that it did, so nothing of it is ever sent again. Which promises fall away
// with that the site's check says.
func (s *session) gone(ctx context.Context, stream string, to journal.Pos, length int) (bool, journal.Pos, error) {
	if f, ok := s.t.(Flusher); ok {
		if err := f.Flush(ctx); err != nil {
			return false, journal.Pos{}, fmt.Errorf("send %s: %w", stream, err)
		}
	}
	if err := s.u.o.Cursor.Advance(stream, to); err != nil {
		return false, journal.Pos{}, fmt.Errorf("move cursor: %w", err)
	}
	s.u.now.LastReceipt, s.u.now.Error = s.u.o.Now(), ""
	if !s.answered {
		s.answered, s.u.now.Answering = true, true
	}
	if rate := s.u.o.BytesPerSecond; rate > 0 && stream == wire.ReadingStream {
		s.readFrom = time.Now().Add(time.Duration(float64(length) / float64(rate) * float64(time.Second)))
	}
	s.u.publish()
	return true, to, nil
}
