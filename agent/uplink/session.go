package uplink

import (
	"context"
	"errors"
	"fmt"
	"time"

	"davy/agent/evidence"
	"davy/agent/journal"
	"davy/agent/wire"
)

// The streams in the order in which they go.
var order = []string{wire.EventStream, wire.HealthStream, wire.ReadingStream}

// sent is one message without receipt.
type sent struct {
	epoch  wire.Epoch
	stream string
	last   uint64
	bytes  int
	at     time.Time
}

// session is the use of one connection. It has one goroutine.
type session struct {
	u        *Uplink
	t        Transport
	next     map[string]journal.Pos // where the next message of a stream begins; what is confirmed is left out
	way      []sent                 // on the way, in order
	window   int                    // bytes of readings that may be
	wait     time.Duration          // for a receipt
	progress time.Time              // of the last receipt that fitted, or of the first message after nothing was on the way
	rewinds  int                    // in a row without a receipt
	lanes    map[string]*lane       // by stream
	readFrom time.Time              // readings wait until then (BytesPerSecond)
	answered bool
	// probing: no receipt came in time. One message from the confirmed place
	// is on the way, and nothing else but events that were never sent.
	probing bool
	fresh   journal.Pos
}

func newSession(u *Uplink, t Transport) *session {
	return &session{u: u, t: t, next: map[string]journal.Pos{}, lanes: map[string]*lane{}, window: ReadingStart, wait: u.o.ReceiptWait}
}

// run sends and takes receipts until the connection or ctx ends; after ctx it
// goes on for what is left as long as sending lasts, if receipts were coming.
func (s *session) run(ctx, sending context.Context) error {
	tick := time.NewTicker(statusEvery)
	defer tick.Stop()
	done := ctx.Done()
	s.status()
	for {
		changed := s.u.o.Journal.Changed() // before looking, so that nothing is missed
		if ctx.Err() != nil {
			done = nil
			if sending.Err() != nil || !s.answered || s.probing {
				return nil
			}
		}
		if err := s.receipts(); err != nil {
			return err
		}
		more, err := s.step(sending)
		if err != nil {
			return err
		}
		if more {
			continue
		}
		if ctx.Err() != nil && len(s.way) == 0 {
			return nil
		}
		deadline := time.NewTimer(s.untilDeadline())
		select {
		case <-done:
		case <-sending.Done():
		case <-s.t.Done():
			deadline.Stop()
			return s.t.Err()
		case b := <-s.t.Receipts():
			err = s.receipt(b)
		case <-changed:
		case <-tick.C:
			s.status()
			err = s.idle(sending)
		case <-deadline.C:
			err = s.late()
		}
		deadline.Stop()
		if err != nil {
			return err
		}
	}
}

func (s *session) status() {
	u := s.u
	u.now.Backlog = u.o.Cursor.Backlog()
	u.now.Answering = s.answered
	s.lag()
	u.flushRefused(time.Now())
	u.publish()
}

// untilDeadline is how long to wait when there is nothing to send.
func (s *session) untilDeadline() time.Duration {
	d := s.u.o.ReceiptWait
	if len(s.way) > 0 {
		d = min(d, time.Until(s.progress.Add(s.wait)))
		if !s.probing {
			d = min(d, time.Until(s.earliest()))
		}
	}
	if r := time.Until(s.readFrom); r > 0 {
		d = min(d, r)
	}
	return max(d, 0)
}

// late acts on a receipt that did not come in time; it is also called when
// only the pace of readings let go.
func (s *session) late() error {
	now := time.Now()
	if len(s.way) == 0 {
		return nil
	}
	if now.Before(s.progress.Add(s.wait)) {
		if !s.probing {
			s.overdue(now)
		}
		return nil
	}
	s.rewinds++
	s.u.now.Rewinds++
	s.u.now.Error = fmt.Sprintf("no receipt within %v", s.wait)
	if s.rewinds == 1 {
		s.u.o.Log.Warn("no receipt in time, sending again", "destination", s.u.o.Name, "wait", s.wait)
	}
	if s.rewinds > MaxRewinds {
		return errors.New("no receipt")
	}
	if !s.probing {
		s.fresh = s.next[wire.EventStream]
	}
	s.probing = true
	s.wait = min(2*s.wait, MaxReceiptWait)
	s.rewind()
	s.status()
	return nil
}

// rewind goes back to the confirmed place of every stream.
func (s *session) rewind() {
	clear(s.next)
	s.way = s.way[:0]
}

// step sends one message if there is one and room for it.
func (s *session) step(ctx context.Context) (sent bool, err error) {
	if s.probing && len(s.way) > 0 {
		if s.onWay(wire.EventStream)+s.onWay(wire.HealthStream) >= EventWindow {
			return false, nil
		}
		sent, s.fresh, err = s.send(ctx, wire.EventStream, s.fresh, EventEnvelope)
		return sent, err
	}
	for _, stream := range order {
		limit, room := EventEnvelope, EventWindow-s.onWay(stream)
		if stream == wire.ReadingStream {
			limit, room = min(ReadingEnvelope, s.window), s.window-s.onWay(stream)
			if rate := s.u.o.BytesPerSecond; rate > 0 { // a second's worth at a time
				limit = int(min(int64(limit), max(rate, ReadingMin)))
			}
			if time.Now().Before(s.readFrom) {
				room = 0
			}
		}
		if room <= 0 {
			continue
		}
		sent, next, err := s.send(ctx, stream, s.next[stream], limit)
		s.next[stream] = next
		if sent || err != nil {
			return sent, err
		}
	}
	return false, nil
}

func (s *session) onWay(stream string) int {
	n := 0
	for i := range s.way {
		if s.way[i].stream == stream {
			n += s.way[i].bytes
		}
	}
	return n
}

// send sends what follows after a place, at most limit bytes of blocks.
func (s *session) send(ctx context.Context, stream string, after journal.Pos, limit int) (bool, journal.Pos, error) {
	items, err := s.u.o.Cursor.Next(stream, after, limit)
	if err != nil {
		return false, after, fmt.Errorf("read journal %s: %w", stream, err)
	}
	if len(items) > MaxBlocks {
		items = items[:MaxBlocks]
	}
	if len(items) == 0 {
		return false, after, nil
	}
	if len(items[0].Block.Body) > MaxBlock {
		s.u.refuse("block")
		return true, items[0].After(), nil
	}
	e := s.envelope(items[0].Epoch)
	size := 0
	for i := range items {
		if items[i].Epoch != e.Epoch || i > 0 && len(items[i].Block.Body) > MaxBlock-size {
			items = items[:i]
			break
		}
		size += len(items[i].Block.Body)
		e.Blocks = append(e.Blocks, items[i].Block)
	}
	s.checkpoint(&e)
	length, err := s.post(ctx, stream, &e)
	if err != nil {
		return false, after, err
	}
	now := time.Now()
	last := &items[len(items)-1]
	if s.u.o.OneWay {
		return s.gone(ctx, stream, last.After(), length)
	}
	if len(s.way) == 0 {
		s.progress = now
	}
	s.way = append(s.way, sent{epoch: e.Epoch, stream: stream, last: last.Block.Last(), bytes: size, at: now})
	if rate := s.u.o.BytesPerSecond; rate > 0 && stream == wire.ReadingStream {
		s.readFrom = now.Add(time.Duration(float64(length) / float64(rate) * float64(time.Second)))
	}
	return true, last.After(), nil
}

// envelope returns an envelope of an epoch without blocks.
func (s *session) envelope(id wire.Epoch) wire.Envelope {
	st := s.u.o.State()
	return wire.Envelope{
		Version: wire.Version, Gateway: s.u.o.Gateway, Epoch: id, Heads: s.u.o.Journal.HeadsOf(id),
		Plan: st.Plan, Sent: s.u.o.Now(), Boot: st.Boot, ClockTrusted: st.ClockTrusted, ClockError: uint64(max(st.ClockError, 0)), OutputsArmed: st.Armed,
	}
}

// post signs an envelope and sends it; it returns the message's length.
func (s *session) post(ctx context.Context, stream string, e *wire.Envelope) (int, error) {
	signed := wire.Sign(wire.EnvelopeKind, e.Encode(nil), s.u.o.Key)
	payload := signed.Encode(nil)
	if err := s.t.Send(ctx, stream, payload); err != nil {
		return 0, fmt.Errorf("send %s: %w", stream, err)
	}
	s.u.now.Messages++
	s.u.now.Bytes += uint64(len(payload))
	return len(payload), nil
}

// receipts takes what has come, and notices the end of the connection.
func (s *session) receipts() error {
	for {
		select {
		case <-s.t.Done():
			return s.t.Err()
		default:
		}
		select {
		case b := <-s.t.Receipts():
			if err := s.receipt(b); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}

// receipt checks one receipt and lets the journal's cursor move by it.
func (s *session) receipt(b []byte) error {
	now := time.Now()
	if s.u.tooMany(now) {
		s.u.now.Dropped++
		return nil
	}
	var r *wire.Receipt
	m, err := s.u.resume(b)
	if m == nil && err == nil {
		r, err = s.u.receipt(b)
	}
	if r != nil && err == nil {
		err = s.u.o.Cursor.Confirm(r)
	}
	var forged *evidence.RefusedError
	var unfit *journal.ReceiptError
	switch {
	case errors.As(err, &forged):
		s.u.refuse(forged.Code)
	case errors.As(err, &unfit):
		s.u.refuse(unfit.Code)
	case err != nil:
		return fmt.Errorf("confirm receipt: %w", err)
	case m != nil:
		return s.resumed(m)
	default:
		s.witnessed(r)
		s.confirmed(r, now)
	}
	return nil
}

// confirmed takes off the way what a receipt covers.
func (s *session) confirmed(r *wire.Receipt, now time.Time) {
	upto := map[string]uint64{}
	for _, h := range r.Upto {
		upto[h.Stream] = h.Number
	}
	rest := s.way[:0]
	moved := false
	for _, w := range s.way {
		if w.epoch != r.Epoch || w.last > upto[w.stream] {
			rest = append(rest, w)
			continue
		}
		moved = true
		*s.lane(w.stream) = lane{moved: now}
		if w.stream == wire.ReadingStream {
			s.pace(now.Sub(w.at))
		}
	}
	s.way = rest
	s.u.now.Receipts++
	if !s.answered {
		s.answered, s.u.now.Answering = true, true
		s.u.o.Log.Info("uplink answering", "destination", s.u.o.Name)
	}
	if !moved {
		return // of an older connection, or again: it hides no uplink that is stuck
	}
	s.u.now.LastReceipt = s.u.o.Now()
	s.progress, s.rewinds, s.wait = now, 0, s.u.o.ReceiptWait
	s.u.now.Error = ""
	if s.probing {
		s.probing = false
		s.rewind()
	}
	s.u.publish()
}

// pace fits the bytes of readings on the way to how long their receipt took.
func (s *session) pace(took time.Duration) {
	switch {
	case took > ReadingDelay:
		s.window = max(s.window/2, ReadingMin)
	case took < ReadingDelay/2:
		s.window = min(s.window*2, ReadingMax)
	}
}
