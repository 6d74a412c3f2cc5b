package modbus

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"
)

// Pipelining: several requests under way at once on one connection.
const (
	// MaxWindow is how many requests may be under way at once.
	MaxWindow = 16
	// MaxTrouble is how many connections may have trouble with pipelining in a
	// row before the link gives it up for good.
	MaxTrouble = 3
	// troubleOver is how many batches that went well let a trouble be forgotten.
	troubleOver = 100

	pipelineAuto = -1
)

// pipe is what a link knows of its device's pipelining.
//
// With `pipeline: N` the site vouches for the device. With `auto` it is found
// out, by requests that are due anyway: two are sent back to back, whose answers
// differ in length, so that a device which mixes up what it is asked (the right
// id with the other's data) shows it. Only where both answers are right twice as
// many are tried, again of different lengths, up to MaxWindow. A window that
// makes the device take more than half the timeout is halved.
//
// Whatever is odd (an answer missing that comes when asked for alone, an id that
// is not under way, an answer that does not fit, "busy", the connection closed)
// ends pipelining on this connection, what was under way is asked again alone,
// and after MaxTrouble connections like that for good.
//
// Beyond all this lies a device that mixes up only answers of equal length and
// no others. Requests of equal length are kept from being under way together
// where others are due; where a site's requests are all of one length, auto
// never begins, and N relies on the site's word.
type pipe struct {
	auto    bool
	most    int
	window  int // how many may be under way now; 1: none beside another
	proved  int // how many were under way at once on this connection and came out right
	trouble int
	well    int // batches that went well since a trouble
	slots   [MaxWindow]slot
	flying  int
	mixed   bool // two of this batch that were under way together differ in length
	peak    int
	slowest time.Duration
	out     []byte

	// The answer that the next exchange is to return, because it is there already.
	ready     bool
	readyADU  []byte
	readyData []byte
	readyErr  error
}

// slot is a request under way.
type slot struct {
	busy     bool
	k        int // in the batch
	size     int
	sent     time.Time
	deadline time.Time
	request  [maxADU]byte
	n        int
	unit     *unitOptions
}

func newPipe(pipeline int) *pipe {
	p := &pipe{most: pipeline}
	if pipeline == pipelineAuto {
		p.auto, p.most = true, MaxWindow
	}
	p.connected()
	return p
}

// connected begins anew with a connection.
func (p *pipe) connected() {
	p.proved, p.window = 1, p.most
	if p.auto {
		p.window = 2
	}
	if p.trouble >= MaxTrouble {
		p.window = 1
	}
}

// window is how many requests the link takes at once.
func (m *mbap) window() int {
	if m.pipe == nil {
		return 1
	}
	return m.pipe.window
}

// troubled ends pipelining on this connection.
func (m *mbap) troubled(why string) {
	p := m.pipe
	if p.window == 1 {
		return
	}
	p.window, p.well = 1, 0
	p.trouble++
	if p.trouble == 1 {
		m.log.Info("pipelining stopped on this connection", "target", m.target, "cause", why)
	}
	if p.trouble == MaxTrouble {
		m.log.Warn("pipelining given up", "target", m.target, "cause", why)
	}
}

// prepared returns the answer that pipelining has brought already. While
// requests are under way nothing else is sent.
func (m *mbap) prepared(adu []byte) (data []byte, err error, ok bool) {
	p := m.pipe
	if p == nil || !p.ready && p.flying == 0 {
		return nil, nil, false
	}
	if p.ready && &adu[0] == &p.readyADU[0] {
		p.ready = false
		return p.readyData, p.readyErr, true
	}
	return nil, unsent{errors.New("other requests are under way")}, true
}

// proven reports whether requests have been under way together and come out right.
func (m *mbap) proven() bool { return m.pipe != nil && m.pipe.proved > 1 }

// unread reports whether an answer is there that nobody took.
func (m *mbap) unread() bool { return m.pipe != nil && m.pipe.ready }

// pipeline implements piper. The first request on a connection goes alone.
// Where the peer had closed an idle connection, all goes once more on a new one.
func (m *mbap) pipeline(ctx context.Context, b *batch) {
	for try := 0; m.window() > 1; try++ {
		m.released()
		if m.conn == nil || !m.fruitful {
			if k := b.next(); k < 0 || b.read(k) != nil || m.conn == nil || !m.fruitful {
				return
			}
		}
		err := m.together(ctx, b)
		if err == nil {
			return
		}
		if try > 0 {
			m.troubled("the connection ended: " + err.Error())
		}
		b.again()
	}
}

// together asks for requests of a batch, as many at once as may be, and gives
// it the answers as they come. The error is that of a connection that ended
// before any answer.
func (m *mbap) together(ctx context.Context, b *batch) error {
	p := m.pipe
	limit := p.window
	if p.auto && p.proved < p.window && !b.mixed() {
		limit = p.proved // nothing could be proved
	}
	if limit < 2 || ctx.Err() != nil {
		return nil
	}
	p.peak, p.slowest, p.mixed = 0, 0, false
	defer m.land()
	if err := m.fill(ctx, b, limit); err != nil {
		return err
	}
	answered, odd := 0, false
	for p.flying > 0 {
		frame, err := m.frame()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if !m.expire(ctx, b) {
				return nil
			}
			continue
		}
		if err != nil {
			m.drop(err, false)
			if answered == 0 && !errors.Is(err, errFraming) {
				return err
			}
			m.troubled("the connection ended: " + err.Error())
			return nil
		}
		if odd { // the device shall be at rest before it is asked again
			m.discard(frame)
			continue
		}
		var landed bool
		if landed, odd = m.landed(ctx, b, frame); landed {
			answered++
		}
		if m.conn == nil {
			return nil
		}
		if odd || m.whole() {
			continue
		}
		if err := m.fill(ctx, b, limit); err != nil {
			if ctx.Err() == nil && !errors.Is(err, errFraming) { // it closed after an answer
				m.troubled("the connection ended: " + err.Error())
			}
			return nil
		}
	}
	if !odd && answered > 0 && b.lost() == 0 {
		m.grow(limit)
	}
	return nil
}

// fill sends requests until limit are under way, all in one write. After an
// error the connection is over.
func (m *mbap) fill(ctx context.Context, b *batch, limit int) error {
	p := m.pipe
	p.out = p.out[:0]
	first, before := p.flying == 0, p.flying
	now := time.Now()
	for p.flying < limit && m.used < m.ids() {
		k := b.pick(p, p.auto && p.proved < 2)
		if k < 0 {
			break
		}
		m.launch(ctx, b, k, now)
	}
	if p.flying == before {
		return nil
	}
	if first && !m.rearm(ctx) {
		return errFraming // for the caller it is over, and nobody's fault
	}
	p.peak = max(p.peak, p.flying)
	m.count.Asked += uint64(p.flying - before)
	if _, err := m.conn.Write(p.out); err != nil {
		return m.drop(cause(ctx, err), ctx.Err() != nil)
	}
	return nil
}

// launch puts request k into a slot and into what is sent next.
func (m *mbap) launch(ctx context.Context, b *batch, k int, now time.Time) {
	p := m.pipe
	i := 0
	for p.slots[i].busy {
		p.mixed = p.mixed || p.slots[i].size != b.reqs[k].whole.size
		i++
	}
	for j := i + 1; j < len(p.slots); j++ {
		p.mixed = p.mixed || p.slots[j].busy && p.slots[j].size != b.reqs[k].whole.size
	}
	s := &p.slots[i]
	r := b.reqs[k]
	s.busy, s.k, s.size, s.unit, s.sent = true, k, r.whole.size, r.unit, now
	s.deadline = now.Add(m.timeout)
	if d, ok := ctx.Deadline(); ok && d.Before(s.deadline) {
		s.deadline = d
	}
	m.next()
	s.n = copy(s.request[:], r.whole.adu)
	binary.BigEndian.PutUint16(s.request[:], m.id)
	p.out = append(p.out, s.request[:s.n]...)
	p.flying++
	b.state[k] = underWay
}

// rearm sets the connection's deadline to that of the request that has waited longest.
func (m *mbap) rearm(ctx context.Context) bool {
	var earliest time.Time
	for i := range m.pipe.slots {
		if s := &m.pipe.slots[i]; s.busy && (earliest.IsZero() || s.deadline.Before(earliest)) {
			earliest = s.deadline
		}
	}
	if err := m.begin(ctx, earliest); err != nil {
		if ctx.Err() == nil {
			m.drop(err, false)
		}
		return false
	}
	return true
}

// slot returns the request that a frame answers; nil: none that is under way.
func (p *pipe) slot(frame []byte) *slot {
	for i := range p.slots {
		if s := &p.slots[i]; s.busy && s.request[0] == frame[0] && s.request[1] == frame[1] {
			return s
		}
	}
	return nil
}

// discard takes a frame of a batch that is not trusted any more.
func (m *mbap) discard(frame []byte) {
	m.count.Dropped++
	if s := m.pipe.slot(frame); s != nil {
		s.busy = false
		m.pipe.flying--
	}
}

// landed takes one frame, which may answer a request. Where something is odd,
// the batch is not trusted any more: what is still under way is asked again alone.
func (m *mbap) landed(ctx context.Context, b *batch, frame []byte) (answer, odd bool) {
	p := m.pipe
	s := p.slot(frame)
	if s == nil {
		m.count.Dropped++
		if !m.owes { // or it may be late
			m.troubled("an answer that nobody waits for")
		}
		return false, !m.owes
	}
	data, err := s.unit.check(s.request[:s.n], frame)
	m.answers[s.request[6]]++
	m.silent = 0
	s.busy = false
	p.flying--
	switch e, refused := err.(exception); {
	case errors.Is(err, errNonsense):
		m.count.Nonsense++
		m.troubled(err.Error())
		return true, true
	case !m.plausible(frame):
		m.drop(fmt.Errorf("%w: after an answer comes no other", errFraming), false)
		m.troubled("framing lost")
		return true, true
	case refused && (e == 5 || e == 6) && p.peak > 1:
		m.answered()
		m.troubled(err.Error())
		return true, true
	}
	m.answered()
	now := time.Now()
	p.slowest = max(p.slowest, now.Sub(s.sent))
	if err != nil {
		b.state[s.k], b.errs[s.k] = refusedTogether, err
		return true, false
	}
	b.state[s.k] = alone
	m.hand(b, s.k, data, nil)
	if took := time.Since(now); took > m.timeout/8 && p.flying > 0 { // nobody listened meanwhile
		for i := range p.slots {
			p.slots[i].deadline = p.slots[i].deadline.Add(took)
		}
		return true, !m.rearm(ctx)
	}
	return true, false
}

// hand lets the batch take an answer apart.
func (m *mbap) hand(b *batch, k int, data []byte, err error) {
	p := m.pipe
	p.ready, p.readyADU, p.readyData, p.readyErr = true, b.reqs[k].whole.adu, data, err
	b.read(k)
	p.ready, p.readyData, p.readyErr = false, nil, nil
}

// plausible reports whether what follows an answer can be the next
// one. Where it cannot, the answer's own length may have lied.
func (m *mbap) plausible(frame []byte) bool {
	rest := m.in[m.r:m.w]
	if len(rest) < 2 || m.packet(rest) != 0 {
		return true
	}
	if _, ok := frameLength(rest); !ok {
		return false
	}
	if m.owes {
		return true
	}
	return m.pipe.slot(rest) != nil || rest[0] == frame[0] && rest[1] == frame[1] // the same once more is whole, and odd
}

// whole reports whether a whole frame was received and not looked at.
func (m *mbap) whole() bool {
	rest := m.in[m.r:m.w]
	n, ok := frameLength(rest)
	return len(rest) >= header && (!ok || n <= len(rest))
}

// expire ends the requests whose time is over. False ends the batch.
func (m *mbap) expire(ctx context.Context, b *batch) bool {
	if errors.Is(ctx.Err(), context.Canceled) {
		return false
	}
	p := m.pipe
	now := time.Now()
	for i := range p.slots {
		if s := &p.slots[i]; s.busy && !now.Before(s.deadline) {
			m.owes = true
			m.count.Silent++
			s.busy = false
			p.flying--
			b.state[s.k] = silentTogether
		}
	}
	if m.owes && m.r < m.w {
		m.drop(errCut, false)
		return false
	}
	return p.flying == 0 || m.rearm(ctx)
}

// land ends a batch: what is still under way is owed now, and asked again alone.
func (m *mbap) land() {
	p := m.pipe
	for i := range p.slots {
		if p.slots[i].busy {
			p.slots[i].busy = false
			m.owes = true
		}
	}
	p.flying = 0
	m.end()
}

// grow notes a batch that went well.
func (m *mbap) grow(limit int) {
	p := m.pipe
	if p.well++; p.well >= troubleOver {
		p.trouble = 0
	}
	if !p.auto {
		p.proved = max(p.proved, p.peak)
		return
	}
	if p.peak == limit && limit == p.window && p.mixed {
		p.proved = p.window
		if p.slowest < m.timeout/4 {
			p.window = min(2*p.window, p.most)
		}
	}
	if p.slowest > m.timeout/2 && p.window > 2 {
		p.window /= 2
		p.proved = min(p.proved, p.window)
	}
}
