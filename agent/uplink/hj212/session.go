package hj212

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"davy/agent/uplink/feed"
	"davy/agent/wire"
)

// upload is one command of ours, in as many packets as it needs.
type upload struct {
	cn     int
	groups [][]Group  // by packet
	plain  bool       // no answer is asked for, whatever Options.Answers says
	done   chan error // has room for one
}

// session is one connection.
type session struct {
	d      *Destination
	conn   net.Conn
	cancel context.CancelFunc
	ctx    context.Context // of the goroutines; ends with the session

	urgent chan *upload // events
	normal chan *upload // periods
	wake   chan struct{}
	asked  chan asked
	result chan Packet // of what was asked

	done chan struct{}
	err  error // before done is closed
	wait sync.WaitGroup
	left uint64 // LeftOut when it began

	heard atomic.Uint64    // packets that the host answered; where it answers none, those sent
	taken map[place]uint64 // by the first of records that were taken and are not confirmed: the last of them
}

// place is a record's name.
type place struct {
	epoch  wire.Epoch
	number uint64
}

// What a session ends with.
var (
	ErrSilent  = errors.New("no answer")           // to a packet, after all repetitions
	ErrRefused = errors.New("refused by the host") // with the code of 9011
	errClosed  = errors.New("closed")
)

// Connect makes a session; it is a feed.Connect.
func (d *Destination) Connect(ctx context.Context) (feed.Session, error) {
	pw, err := d.o.PW()
	if err == nil && !words(pw, 6, 6) {
		err = errPW
	}
	var conn net.Conn
	if err == nil {
		conn, err = d.o.Dial(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("hj212 %s: %w", d.o.Name, err)
	}
	d.mu.Lock()
	d.pw = pw
	d.mu.Unlock()
	s := &session{
		d: d, conn: conn, done: make(chan struct{}),
		urgent: make(chan *upload), normal: make(chan *upload), wake: make(chan struct{}, 1),
		asked: make(chan asked, 1), result: make(chan Packet), taken: map[place]uint64{},
	}
	s.left = d.leftOut()
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	came := make(chan Packet)
	var once sync.Once
	end := func(err error) {
		once.Do(func() { s.err = fmt.Errorf("hj212 %s: %w", d.o.Name, err) })
		s.cancel()
		_ = conn.Close()
	}
	s.wait.Go(func() { end(s.read(came)) })
	s.wait.Go(func() { end(s.talk(came)) })
	s.wait.Go(func() { end(s.work()) })
	go func() {
		s.wait.Wait()
		close(s.done)
	}()
	return s, nil
}

func (s *session) Done() <-chan struct{} { return s.done }

func (s *session) Err() error {
	select {
	case <-s.done:
		return s.err
	default:
		return nil
	}
}

// Close ends the session and waits for its goroutines.
func (s *session) Close() error {
	s.cancel()
	_ = s.conn.Close()
	<-s.done
	return nil
}

// Send takes records. Of events it returns when the host has them in its log;
// of readings, when it has every period that is over, theirs and those of the
// readings before: so no more than Settle is open of what counts as given. It
// returns feed.ErrLater when that takes longer than feed.SendTime.
func (s *session) Send(ctx context.Context, records []feed.Record) error {
	if len(records) == 0 {
		return nil
	}
	switch records[0].Stream {
	case wire.EventStream:
		return s.events(ctx, records)
	case wire.ReadingStream:
		return s.readings(ctx, records)
	}
	s.d.leaveOut(records[0].Stream, len(records))
	return nil
}

// LeftOut is how many records of this session the standard has no place for.
func (s *session) LeftOut() uint64 { return s.d.leftOut() - s.left }

// Answers is how much the host said of what was sent.
func (s *session) Answers() uint64 { return s.heard.Load() }

func (d *Destination) leftOut() (n uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, k := range d.counts.LeftOut {
		n += k
	}
	return n
}

func (d *Destination) leaveOut(what string, n int) {
	d.count(func(c *Counts) { c.LeftOut[what] += uint64(n) })
}

func (s *session) events(ctx context.Context, records []feed.Record) error {
	for i := range records {
		r := &records[i]
		if r.Event == nil {
			continue
		}
		u := s.d.logOf(r)
		if u == nil {
			continue
		}
		if err := s.put(ctx, s.urgent, u); err == errClosed {
			return s.ended()
		} else if err != nil {
			return err
		}
	}
	return nil
}

// put sends an upload and waits until the host has it.
func (s *session) put(ctx context.Context, to chan<- *upload, u *upload) error {
	select {
	case to <- u:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.ctx.Done():
		return errClosed
	}
	select {
	case err := <-u.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-s.ctx.Done():
		return errClosed
	}
}

func (s *session) ended() error {
	<-s.done
	return s.err
}

func (s *session) readings(ctx context.Context, records []feed.Record) error {
	d := s.d
	now := d.o.Now().Wall
	if err := d.begin(ctx, records); err != nil {
		return err
	}
	first := place{records[0].Epoch, records[0].Number}
	upto := s.taken[first] // they come again
	d.mu.Lock()
	for i := range records {
		r := &records[i]
		if r.Reading == nil || r.Number <= upto {
			continue
		}
		s.taken[first] = r.Number
		k, ok := d.factorOf(r)
		if !ok {
			d.counts.LeftOut["reading"]++
			continue
		}
		if at := r.Reading.Received.Wall; at < earliest || at > now+ahead {
			d.counts.LeftOut["clock"]++
			continue
		}
		d.take(k, r, now)
		d.note(r)
	}
	need := d.unsent(now)
	d.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
	budget := time.NewTimer(feed.SendTime)
	defer budget.Stop()
	for {
		changed, some := d.waiting(need)
		if !some {
			delete(s.taken, first)
			return nil
		}
		select {
		case <-changed:
		case <-budget.C:
			return feed.ErrLater
		case <-ctx.Done():
			return ctx.Err()
		case <-s.ctx.Done():
			return s.ended()
		}
	}
}

// What a reading's wall time may be: a clock that was never set says 1970, and
// the host would have it for ever. What is outside is left out and counted.
const (
	earliest = 1493596800 * second // 2017-05-01, when the standard came into force
	ahead    = 24 * 3600 * second
)

// begin marks once what the process before this one may have left open: the
// periods that the reading before the first record stands in.
func (d *Destination) begin(ctx context.Context, records []feed.Record) error {
	d.mu.Lock()
	began := d.began
	d.mu.Unlock()
	if began || d.o.Before == nil || records[0].Reading == nil {
		return nil
	}
	wall, err := d.o.Before(ctx, records[0].Reading.Received.Wall)
	if err != nil {
		return fmt.Errorf("look for the last reading: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.began = true
	if wall >= earliest {
		d.open(wall)
	}
	return nil
}

// read takes frames off the connection until it ends.
func (s *session) read(came chan<- Packet) error {
	var split Splitter
	var told Noise
	var join Joiner
	var pieces uint64
	buf := make([]byte, 4<<10)
	for {
		n, err := s.conn.Read(buf)
		var packets []Packet
		split.Feed(buf[:n], func(segment []byte) {
			p, err := ParsePacket(segment)
			if err != nil {
				s.d.count(func(c *Counts) { c.Broken++ })
				return
			}
			if whole, ok := join.Add(p); ok {
				packets = append(packets, whole)
			}
		})
		s.d.count(func(c *Counts) {
			c.Garbage += split.Noise.Garbage - told.Garbage
			c.Lengths += split.Noise.Lengths - told.Lengths
			c.TooLong += split.Noise.TooLong - told.TooLong
			c.CRCs += split.Noise.CRCs - told.CRCs
			c.Pieces += join.Dropped - pieces
		})
		told, pieces = split.Noise, join.Dropped
		for _, p := range packets {
			select {
			case came <- p:
			case <-s.ctx.Done():
				return errClosed
			}
		}
		if err != nil {
			if s.ctx.Err() != nil {
				return errClosed
			}
			return fmt.Errorf("read: %w", err)
		}
	}
}

// write sends one frame.
func (s *session) write(p *Packet) error {
	if err := s.conn.SetWriteDeadline(time.Now().Add(writeWait)); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if _, err := s.conn.Write(AppendFrame(nil, p.Append(nil))); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	s.d.count(func(c *Counts) { c.Frames++ })
	return nil
}

// packet returns a packet of ours with a new QN.
func (d *Destination) packet(cn int, cp []Group) Packet {
	wall := d.o.Now().Wall
	d.mu.Lock()
	defer d.mu.Unlock()
	return Packet{
		QN: d.clock.next(wall, d.offset(wall)), ST: d.o.ST, CN: cn, PW: d.pw, MN: d.o.MN,
		Edition: d.o.Edition, Answer: d.o.Answers, CP: cp,
	}
}

// uploadOf spreads groups over packets.
func (d *Destination) uploadOf(cn int, first Group, rest []Group) *upload {
	groups, n := pack(first, rest)
	if n > 0 {
		d.count(func(c *Counts) { c.TooLarge += uint64(n) })
	}
	return &upload{cn: cn, groups: groups, done: make(chan error, 1)}
}
