package opcua

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"unicode/utf8"

	"davy/drivers"
	"davy/drivers/child"
	"davy/drivers/tag"
)

// feeds is how many notifications wait for Subscribe's goroutine; with more the
// child is not read on, and bounds its own queue.
const feeds = 16

// talk is the conversation with one child.
type talk struct {
	l          *link
	conn       *child.Conn
	generation uint32
	began      int64 // Mono: nothing was received before

	mu      sync.Mutex
	late    int64         // ns by which the child's clock is behind ours, at most
	session uint32        // the one that is up; 0: none
	last    uint32        // the newest there was
	down    error         // why there is none; nil: none was tried yet
	giving  chan struct{} // holds one while somebody gives handles: the child takes them in their order
	known   map[*request]uint32
	handles uint32
	calls   map[uint32]*call
	number  uint32 // of the last request
	feed    chan notice
	free    chan *Batch
	left    chan struct{} // closed when Subscribe has returned: the child's end too
	ordered bool          // because its ctx ended
	ended   chan struct{}
	why     error // set before ended is closed

	batch *Batch // what the reader decodes into
}

// notice is one thing that Subscribe is told, in the order it came.
type notice struct {
	batch     *Batch
	state     *State
	condition *Condition
}

// call is a Read or a Write that waits.
type call struct {
	first   uint32
	samples []Sample // of a Read, by handle-first; Received 0: none came
	done    chan Done
}

func newTalk(l *link, conn *child.Conn, began int64) *talk {
	t := &talk{
		l: l, conn: conn, generation: l.generation, began: began,
		giving: make(chan struct{}, 1), known: map[*request]uint32{}, calls: map[uint32]*call{}, left: make(chan struct{}), ended: make(chan struct{}), batch: &Batch{},
	}
	return t
}

// answered takes the time of the child's first frame after Hello, which was
// written at greeted: its clock was set between the two.
func (t *talk) answered(greeted int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.late = t.l.Now().Mono - greeted
}

// behind is how far the child's clock is behind ours, at most.
func (t *talk) behind() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.late
}

// end tells everybody who waits that the child is gone.
func (t *talk) end(err error) {
	t.why = err
	close(t.ended)
}

// decode reads a JSON message of a child.
func decode(body []byte, v any) error {
	if len(body) > MaxMessage {
		return fmt.Errorf("decode message of %d bytes: %w", len(body), ErrMessage)
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("decode message: %w: %w", ErrMessage, err)
	}
	return nil
}

// send writes a JSON message.
func send(conn *child.Conn, kind byte, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode message: %w", err)
	}
	return conn.Write(kind, body)
}

// take takes one frame. An error says that the child is broken.
func (t *talk) take(kind byte, body []byte) error {
	switch kind {
	case KindReadings:
		return t.readings(body)
	case KindDone:
		var d Done
		if err := decode(body, &d); err != nil {
			return err
		}
		return t.done(d)
	case KindState:
		s := &State{}
		if err := decode(body, s); err != nil {
			return err
		}
		return t.state(s)
	case KindCondition:
		c := &Condition{}
		if err := decode(body, c); err != nil {
			return err
		}
		return t.condition(c)
	}
	return fmt.Errorf("frame of kind %d: %w", kind, ErrMessage)
}

// current says of a message whether it is of this child and of the session
// that is up. A message of a session that has ended is dropped; one of a
// session or generation that never was says that the child is broken.
func (t *talk) current(generation, session uint32) (bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if generation != t.generation || session == 0 || session > t.last {
		return false, fmt.Errorf("message of generation %d, session %d: %w", generation, session, ErrMessage)
	}
	return session == t.session, nil
}

func (t *talk) readings(body []byte) error {
	b := t.batch
	if err := b.Decode(body); err != nil {
		return err
	}
	now, ok := t.l.Now().Mono, false
	var err error
	if ok, err = t.current(b.Generation, b.Session); err != nil {
		return err
	}
	if !ok {
		t.l.refused.Add(uint64(len(b.Samples)))
		return nil
	}
	for i := range b.Samples {
		s := &b.Samples[i]
		if at := s.Received.Mono; at < t.began || at > now { // from before it was born, or from the future
			return fmt.Errorf("reading received at %d, between %d and %d: %w", at, t.began, now, ErrMessage)
		}
		if s.Overflow {
			t.l.overflows.Add(1)
		}
	}
	t.l.samples.Add(uint64(len(b.Samples)))
	if b.Request != 0 {
		return t.answer(b)
	}
	t.mu.Lock()
	feed, free := t.feed, t.free
	t.mu.Unlock()
	if feed == nil {
		return fmt.Errorf("readings without a subscription: %w", ErrMessage)
	}
	return t.tell(feed, free, notice{batch: b})
}

// tell hands a notice to Subscribe's goroutine, and takes an empty batch for
// the one that went.
func (t *talk) tell(feed chan notice, free chan *Batch, n notice) error {
	select {
	case feed <- n:
	case <-t.left:
		return errLeft
	case <-t.l.ctx.Done():
		return errClosed
	}
	if n.batch == nil {
		return nil
	}
	select {
	case t.batch = <-free:
	case <-t.left:
		return errLeft
	case <-t.l.ctx.Done():
		return errClosed
	}
	return nil
}

// answer puts samples where the call waits for them. An answer that nobody
// waits for any more is dropped.
func (t *talk) answer(b *Batch) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.calls[b.Request]
	if c == nil {
		if b.Request > t.number {
			return fmt.Errorf("answer to request %d of %d: %w", b.Request, t.number, ErrMessage)
		}
		t.l.refused.Add(uint64(len(b.Samples)))
		return nil
	}
	for i := range b.Samples {
		s := &b.Samples[i]
		n := s.Handle - c.first
		if s.Handle < c.first || uint64(n) >= uint64(len(c.samples)) || c.samples[n].Received != (tag.Stamp{}) {
			return fmt.Errorf("answer to request %d: item %d was not asked for, or twice: %w", b.Request, s.Handle, ErrMessage)
		}
		c.samples[n] = *s
	}
	return nil
}

func (t *talk) done(d Done) error {
	if d.Generation != t.generation {
		return fmt.Errorf("answer of generation %d: %w", d.Generation, ErrMessage)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.calls[d.Request]
	if c == nil && d.Request > t.number {
		return fmt.Errorf("answer to request %d of %d: %w", d.Request, t.number, ErrMessage)
	}
	if c != nil {
		delete(t.calls, d.Request)
		c.done <- d // has room for the one
	}
	return nil
}

// state takes what the child says of its session.
func (t *talk) state(s *State) error {
	if s.Generation != t.generation {
		return fmt.Errorf("state of generation %d: %w", s.Generation, ErrMessage)
	}
	t.mu.Lock()
	wrong := s.Up && s.Session <= t.last || !s.Up && s.Session > t.last
	had := t.session
	switch {
	case wrong:
	case s.Up:
		t.session, t.last, t.down = s.Session, s.Session, nil
	default:
		t.session, t.down = 0, &SessionError{Code: s.Code, Text: clip(s.Text), Fingerprint: clip(s.Fingerprint)}
	}
	first := t.down
	feed := t.feed
	t.mu.Unlock()
	if wrong {
		return fmt.Errorf("session %d, up %v, after %d: %w", s.Session, s.Up, t.last, ErrMessage)
	}
	if s.Up {
		t.l.sessions.Add(1)
		t.l.untrusted(false)
		t.l.Log.Info("opc ua session up", "link", t.l.Name, "session", s.Session, "fingerprint", clip(s.Fingerprint))
	} else {
		if s.Code == CodeUntrusted {
			t.l.untrusted(true)
		}
		if had != 0 {
			t.l.Log.Warn("opc ua session down", "link", t.l.Name, "session", had, "err", first)
		}
	}
	t.l.mu.Lock()
	t.l.change()
	t.l.mu.Unlock()
	if feed != nil {
		return t.tell(feed, nil, notice{state: s})
	}
	return nil
}

// condition takes a change of an alarm.
func (t *talk) condition(c *Condition) error {
	ok, err := t.current(c.Generation, c.Session)
	if err != nil || !ok {
		return err
	}
	if at := c.Received.Mono; at < t.began || at > t.l.Now().Mono {
		return fmt.Errorf("condition received at %d: %w", at, ErrMessage)
	}
	t.mu.Lock()
	feed := t.feed
	t.mu.Unlock()
	if feed == nil {
		return fmt.Errorf("condition without a subscription: %w", ErrMessage)
	}
	return t.tell(feed, nil, notice{condition: c})
}

// SessionError says why a child has no session.
type SessionError struct {
	Code        string // one of the codes of State
	Text        string
	Fingerprint string // SHA-256 of the certificate that the server showed; "": none
}

func (e *SessionError) Error() string {
	s := "no session (" + e.Code + ")"
	if e.Text != "" {
		s += ": " + e.Text
	}
	if e.Code == CodeUntrusted && e.Fingerprint != "" {
		s += ": the server shows sha256:" + e.Fingerprint
	}
	return s
}

var (
	errNoSessionYet = errors.New("no session yet")
	errLeft         = errors.New("subscription ended")
)

// clip bounds a child's text, between two characters.
func clip(s string) string {
	if len(s) <= MaxText {
		return s
	}
	n := MaxText
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// up returns the session that is up, or why there is none.
func (t *talk) up() (uint32, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.session != 0:
		return t.session, nil
	case t.down != nil:
		return 0, t.down
	}
	return 0, errNoSessionYet
}

// give gives handles to points, once for each request (nil: of a subscription).
func (t *talk) give(r *request, points []drivers.Point) (uint32, error) {
	t.giving <- struct{}{}
	defer func() { <-t.giving }()
	t.mu.Lock()
	first, have := t.known[r]
	if !have || r == nil {
		first = t.handles
		t.handles += uint32(len(points))
	}
	t.mu.Unlock()
	if have && r != nil {
		return first, nil
	}
	if uint64(first)+uint64(len(points)) > MaxHandle {
		return 0, fmt.Errorf("more than %d items", MaxHandle)
	}
	for from, most := 0, MaxItems; from < len(points); {
		part := points[from:min(from+most, len(points))]
		m := Items{First: first + uint32(from), Items: make([]Item, len(part))}
		for i := range part {
			m.Items[i] = Item{part[i].Address.(Address), part[i].Type.Kind, part[i].Period, part[i].Texts}
		}
		switch err := send(t.conn, KindItems, m); {
		case errors.Is(err, child.ErrLong) && len(part) > 1: // long names, many texts
			most = len(part) / 2
		case err != nil:
			return 0, err
		default:
			from += len(part)
		}
	}
	t.mu.Lock()
	t.known[r] = first
	t.mu.Unlock()
	return first, nil
}

// call opens a call with room for n samples from first.
func (t *talk) call(first uint32, n int) (uint32, *call) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := &call{first: first, samples: make([]Sample, n), done: make(chan Done, 1)}
	t.number++
	t.calls[t.number] = c
	return t.number, c
}

// forget drops a call: what comes later is nobody's.
func (t *talk) forget(number uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.calls, number)
}

// subscribe opens the feed, once per child. It returns what is known of the
// session then: what changes later comes through the feed.
func (t *talk) subscribe() (feed chan notice, free chan *Batch, session uint32, down error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.feed != nil {
		return nil, nil, 0, nil
	}
	t.feed, t.free = make(chan notice, feeds), make(chan *Batch, feeds+1)
	for range feeds + 1 {
		t.free <- &Batch{}
	}
	return t.feed, t.free, t.session, t.down
}

// leave ends a child whose subscription has ended, in order or because of a doubt.
func (t *talk) leave(ordered bool) {
	t.mu.Lock()
	t.ordered = ordered
	t.mu.Unlock()
	close(t.left)
	_ = t.conn.Close()
}

// over reports whether the child's subscription was ended in order.
func (t *talk) over() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ordered
}
