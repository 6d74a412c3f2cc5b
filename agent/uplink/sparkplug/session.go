package sparkplug

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"davy/agent/uplink/feed"
	"davy/agent/uplink/jsonl"
	"davy/agent/uplink/mqtt"
	"davy/agent/wire"
	"davy/drivers/tag"
)

// ErrHost says that the primary host is not online.
var ErrHost = errors.New("the primary host is not online")

// session is one connection of the node.
type session struct {
	n    *node
	c    *mqtt.Conn
	will []byte

	mu     sync.Mutex // held while messages are published: by Send or by a rebirth
	seq    int        // of the next message
	left   atomic.Uint64
	others atomic.Uint64   // metrics of commands that nobody obeys
	ncmd   chan struct{}   // a rebirth was asked for
	state  chan bool       // of the primary host
	ctx    context.Context // ends with the session
	stop   context.CancelFunc
	done   chan struct{}
	once   sync.Once
	cause  error
	wait   sync.WaitGroup
}

// dial connects, waits for the primary host and publishes the births.
func (n *node) dial(ctx context.Context, b mqtt.Options) (feed.Session, error) {
	n.bdSeq = (n.bdSeq + 1) % 256
	s := &session{n: n, ncmd: make(chan struct{}, 1), state: make(chan bool, 16), done: make(chan struct{})}
	s.ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.will = appendPayload(nil, ms(n.o.Now().Wall), -1, []metric{s.bd()})
	b.Will = &mqtt.Message{Topic: n.topic("NDEATH", ""), Payload: s.will}
	commands := n.topic("NCMD", "")
	b.Filters, b.Received = []string{commands}, s.received
	b.Ordered = true
	if n.o.Host != "" {
		b.Filters = append(b.Filters, n.stateTopic())
	}
	c, err := mqtt.Dial(ctx, b)
	if err != nil {
		s.stop()
		return nil, err
	}
	s.c = c
	if err = s.hosted(ctx); err == nil {
		s.mu.Lock()
		n.doubt()
		err = s.births(ctx)
		s.mu.Unlock()
	}
	if err != nil {
		s.stop()
		_ = c.Close()
		return nil, err
	}
	s.wait.Go(s.listen)
	return s, nil
}

func (n *node) stateTopic() string { return namespace + "/STATE/" + n.o.Host }

func (s *session) bd() metric {
	return metric{name: bdSeqName, at: ms(s.n.o.Now().Wall), kind: typeInt64, bits: uint64(s.n.bdSeq)}
}

// received takes a command or a state. It does not block.
func (s *session) received(m mqtt.Message) {
	if s.n.o.Host != "" && m.Topic == s.n.stateTopic() {
		var st struct{ Online bool }
		if len(m.Payload) <= maxState && json.Unmarshal(m.Payload, &st) == nil {
			select {
			case s.state <- st.Online:
			default: // so many that the connection is not worth keeping
				s.fail(ErrHost)
			}
		}
		return
	}
	rebirth, others, err := asksRebirth(m.Payload)
	if others > 0 || err != nil {
		if s.others.Add(1) == 1 {
			s.n.o.Log.Warn("command from outside not obeyed", "topic", m.Topic, "err", err)
		}
	}
	if rebirth && err == nil {
		select {
		case s.ncmd <- struct{}{}:
		default:
		}
	}
}

// hosted waits until the primary host, if there is one, says that it is online.
func (s *session) hosted(ctx context.Context) error {
	if s.n.o.Host == "" {
		return nil
	}
	t := time.NewTimer(HostWait)
	defer t.Stop()
	for {
		select {
		case online := <-s.state:
			if online {
				return nil
			}
		case <-s.c.Done():
			return s.c.Err()
		case <-t.C:
			return &mqtt.Error{Code: mqtt.CodeHost, Err: fmt.Errorf("%s: %w", s.n.o.Host, ErrHost)}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// listen obeys a rebirth, and ends the session when the primary host goes.
func (s *session) listen() {
	for {
		select {
		case <-s.done:
			return
		case <-s.c.Done():
			s.fail(s.c.Err())
			return
		case online := <-s.state:
			if !online {
				s.fail(&mqtt.Error{Code: mqtt.CodeHost, Err: fmt.Errorf("%s: %w", s.n.o.Host, ErrHost)})
				return
			}
		case <-s.ncmd:
			s.mu.Lock()
			err := s.births(s.ctx)
			s.mu.Unlock()
			if err != nil {
				s.fail(err)
				return
			}
			s.n.o.Log.Info("sparkplug rebirth", "group", s.n.o.Group, "node", s.n.o.Node)
			t := time.NewTimer(RebirthEvery)
			select {
			case <-t.C:
			case <-s.done:
			case <-s.c.Done():
			}
			t.Stop()
		}
	}
}

// births publishes the birth of the node and of each device that is not dead.
func (s *session) births(ctx context.Context) error {
	s.seq = 0
	now := ms(s.n.o.Now().Wall)
	for i, d := range s.n.order {
		var list []metric
		if d.born = false; d.silent() {
			continue
		}
		if i == 0 {
			list = append(list, s.bd(), metric{name: rebirthName, at: now, kind: typeBoolean})
		}
		if err := s.birth(ctx, d, list, now); err != nil {
			return err
		}
	}
	return s.c.Barrier(ctx)
}

// birth publishes the birth of a device, or of the node with list before its metrics.
func (s *session) birth(ctx context.Context, d *device, list []metric, now uint64) error {
	for _, p := range d.points {
		list = append(list, p.birth(now))
	}
	kind := "DBIRTH"
	if d.name == "" {
		kind = "NBIRTH"
	}
	if err := s.publish(ctx, kind, d, now, list); err != nil {
		return err
	}
	d.born, d.dirty = true, false
	return nil
}

// publish sends one message with the next sequence number.
func (s *session) publish(ctx context.Context, kind string, d *device, now uint64, list []metric) error {
	b := appendPayload(nil, now, s.seq, list)
	s.seq = (s.seq + 1) % 256
	return s.c.Put(ctx, s.n.topic(kind, d.name), b)
}

// Send publishes records and returns when the broker has them.
func (s *session) Send(ctx context.Context, records []feed.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var d *device
	var list []metric
	put := func() error {
		if len(list) == 0 {
			return nil
		}
		kind := "DDATA"
		if d.name == "" {
			kind = "NDATA"
		}
		err := s.publish(ctx, kind, d, ms(s.n.o.Now().Wall), list)
		list = list[:0]
		return err
	}
	for i := range records {
		p, m := s.metric(&records[i])
		if p == nil {
			s.left.Add(1)
			continue
		}
		if d != p.d || len(list) == MaxMetrics {
			if err := put(); err != nil {
				return err
			}
			d = p.d
		}
		if died, err := s.alive(ctx, p, &m, put); died || err != nil {
			if err != nil {
				return err
			}
			continue
		}
		m.alias = p.alias
		list = append(list, m)
	}
	if err := put(); err != nil {
		return err
	}
	return s.c.Barrier(ctx)
}

// alive brings a device to life that was not born with a metric, and lets one
// die of which nothing can be read any more; died: there is nothing to send.
// History of a device that is dead brings it to life with what it last said.
func (s *session) alive(ctx context.Context, p *point, m *metric, put func() error) (died bool, err error) {
	d := p.d
	live := !m.history
	if live && !m.transient {
		p.last, p.seen = *m, true
	}
	dies := live && d.silent()
	if dies && !d.born {
		return true, nil
	}
	if dies || !d.born || d.dirty {
		if err := put(); err != nil {
			return false, err
		}
	}
	switch {
	case dies:
		d.born = false
		return true, s.publish(ctx, "DDEATH", d, ms(s.n.o.Now().Wall), nil)
	case d.born && !d.dirty:
		return false, nil
	case d.name == "":
		return false, s.births(ctx)
	}
	return false, s.birth(ctx, d, nil, ms(s.n.o.Now().Wall))
}

// silent reports whether no tag of a device can be read; of the node itself
// there is always something to say.
func (d *device) silent() bool {
	if d.name == "" {
		return false
	}
	for _, p := range d.points {
		if !p.seen || !p.lost {
			return false
		}
	}
	return true
}

// metric is a record as one; nil: it cannot be expressed.
func (s *session) metric(r *feed.Record) (*point, metric) {
	if r.Event != nil {
		e := r.Event
		if r.Stream != wire.EventStream || e.Start != nil || e.Table != nil || e.Gap != nil || e.Clock != nil {
			return nil, metric{}
		}
		return s.n.order[0].points[0], metric{
			at: ms(e.At.Wall), kind: typeString, history: r.History, transient: true, text: string(jsonl.AppendRecord(nil, r)),
		}
	}
	if r.Tag == nil {
		return nil, metric{}
	}
	p := s.n.point(r.Tag)
	if p == nil {
		return nil, metric{}
	}
	x := r.Reading
	m := metric{at: ms(x.Received.Wall), kind: p.kind, history: r.History, bits: x.Value.Bits()}
	switch x.Value.Kind() {
	case r.Tag.Kind:
	case tag.None:
		m.null = true
	default:
		return nil, metric{}
	}
	if p.kind == typeString {
		m.text = r.Tag.NameOf(x.Value)
		m.null = m.null || m.text == ""
	}
	q := uint64(qualityGood)
	switch {
	case x.Quality.Bad() || !x.Quality.Valid():
		m.null = true
		q = qualityBad
		if x.Quality.Reason() == tag.Stale {
			q = qualityStale
		}
	case !x.Quality.Good():
		q = qualityStale
	}
	m.props = []property{{key: qualityName, kind: typeInt32, bits: q}}
	if x.Quality != tag.GoodQuality {
		status, reason := jsonl.Words(x.Quality)
		if reason != "" {
			status += " " + reason
		}
		if f := jsonl.Flags(x.Quality); f != "" {
			status += " " + f
		}
		m.props = append(m.props, property{key: wordsName, kind: typeString, text: status})
	}
	if !r.History {
		p.lost = x.Quality.Bad() && x.Quality.Reason() == tag.NoCommunication
	}
	return p, m
}

// LeftOut counts the records that Sparkplug could not express.
func (s *session) LeftOut() uint64 { return s.left.Load() }

func (s *session) fail(err error) {
	s.once.Do(func() {
		s.cause = err
		close(s.done)
		s.stop()
	})
}

// Done is closed when the session has ended; Err says why.
func (s *session) Done() <-chan struct{} { return s.done }

// Err returns why the session ended, nil while it has not.
func (s *session) Err() error {
	select {
	case <-s.done:
		return s.cause
	default:
		return nil
	}
}

// Close publishes the node's death, if anybody can hear it, and ends the
// connection: the broker does not publish the will of who leaves in order.
func (s *session) Close() error {
	s.fail(mqtt.ErrClosed)
	s.mu.Lock()
	if s.c.Err() == nil {
		ctx, stop := context.WithTimeout(context.Background(), mqtt.Quiesce)
		if err := s.c.Put(ctx, s.n.topic("NDEATH", ""), s.will); err == nil {
			_ = s.c.Barrier(ctx)
		}
		stop()
	}
	s.mu.Unlock()
	err := s.c.Close()
	s.wait.Wait()
	for _, d := range s.n.order {
		d.born = false
	}
	return err
}
