package modbus

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"davy/drivers"
	"davy/drivers/tag"
)

// mbap is the channel of Modbus TCP: one connection, now and then replaced.
// The connection alone is shared: with watch, which interrupts it, and with idler, which closes it.
type mbap struct {
	target  string
	timeout time.Duration
	log     *slog.Logger
	now     func() tag.Stamp
	way     *way
	packets [][]byte // what the peer sends beside answers
	pipe    *pipe    // nil: pipelining is off
	unit    *unitOptions
	calm    [256]int64 // of each station that wants a pause, until when, Mono
	count   Counts
	answers [256]uint32 // of each station

	// The connection.
	conn   Port
	id     uint16 // last transaction id
	stride uint16 // odd: all 65,536 ids come before one returns
	used   int    // ids used since the connection was made or all were answered
	owes   bool   // a request on this connection went unanswered
	in     [2 * maxADU]byte
	r, w   int // in[r:w] was received and not looked at
	out    [maxADU]byte

	watch watch

	reopening

	// Closing an idle connection.
	idler *time.Timer
	mu    sync.Mutex
	held  Port      // the connection, as far as idler may close it
	busy  bool      // a transaction runs
	quiet time.Time // when the last one was over
}

// newMBAP makes the channel of a link; pipeline is how many requests may be
// under way at once, see tcpOptions.
func newMBAP(cfg drivers.LinkConfig, w *way, pipeline int) *mbap {
	m := &mbap{target: cfg.Target, timeout: cfg.Timeout, log: cfg.Log, now: cfg.Now, way: w, packets: w.packets()}
	if pipeline != 0 {
		m.pipe = newPipe(pipeline)
	}
	return m
}

// heed notes the device that is asked next.
func (m *mbap) heed(u *unitOptions) { m.unit = u }

func (m *mbap) counts() Counts            { return m.count }
func (m *mbap) heard(station byte) uint32 { return m.answers[station] }

func (m *mbap) close() error {
	m.watch.close()
	var err error
	if m.conn != nil {
		err = m.conn.Close()
		m.hungUp()
	}
	m.way.close()
	return err
}

// begin sets the transaction's deadline; from here ctx can interrupt it, and
// the connection is not idle.
func (m *mbap) begin(ctx context.Context, deadline time.Time) error {
	if m.idler != nil {
		m.mu.Lock()
		m.busy = true
		m.mu.Unlock()
	}
	m.watch.begin(ctx, m.conn)
	return m.watch.arm(ctx, deadline)
}

// end keeps a late interrupt from the connection, and begins a pause.
func (m *mbap) end() {
	m.watch.end()
	if m.idler != nil {
		m.mu.Lock()
		m.busy, m.quiet = false, time.Now()
		m.mu.Unlock()
	}
	if m.unit != nil && m.unit.pause > 0 {
		m.calm[m.out[6]] = m.now().Mono + int64(m.unit.pause)
	}
}

// exchange implements channel. Where the peer had closed an idle connection,
// a read (again) is asked once more on a new one.
func (m *mbap) exchange(ctx context.Context, adu []byte, again bool, deadline time.Time) ([]byte, error) {
	if data, err, ok := m.prepared(adu); ok {
		return data, err
	}
	limit := time.Until(deadline)
	if err := m.rest(ctx, adu[6], deadline); err != nil {
		return nil, err
	}
	m.released()
	if m.conn != nil && m.used >= m.ids() {
		if m.owes {
			m.drop(errors.New("transaction ids used up while an answer is owed"), false)
		}
		m.used = 0
	}
	old := m.conn != nil
	if err := m.connect(ctx, deadline); err != nil {
		return nil, unsent{err}
	}
	data, err := m.transact(ctx, adu, deadline, limit)
	if _, nothing := err.(unsent); err != nil && (again || nothing) && old && m.conn == nil && !errors.Is(err, errFraming) && ctx.Err() == nil && time.Now().Before(deadline) {
		if m.connect(ctx, deadline) == nil {
			return m.transact(ctx, adu, deadline, limit)
		}
	}
	return data, err
}

// transact is one request and its answer on the connection there is. When it
// returns an error that is neither an exception, silence nor nonsense, the
// connection is closed.
func (m *mbap) transact(ctx context.Context, adu []byte, deadline time.Time, limit time.Duration) ([]byte, error) {
	m.next()
	request := m.out[:copy(m.out[:], adu)]
	binary.BigEndian.PutUint16(request, m.id)
	if err := m.begin(ctx, deadline); err != nil {
		m.end()
		if ctx.Err() != nil {
			return nil, unsent{ctx.Err()}
		}
		return nil, unsent{m.drop(err, false)}
	}
	defer m.end()
	m.count.Asked++
	if _, err := m.conn.Write(request); err != nil {
		// Part of it may be out: the stream cannot be used again.
		return nil, m.drop(cause(ctx, err), ctx.Err() != nil)
	}
	for {
		frame, err := m.frame()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, m.unanswered(ctx, limit)
		}
		if err != nil {
			return nil, m.drop(err, false)
		}
		if frame[0] != request[0] || frame[1] != request[1] {
			m.count.Dropped++
			continue
		}
		data, err := m.unit.check(request, frame)
		if err == nil || !errors.Is(err, errNonsense) {
			err = m.followed(err)
		}
		m.answers[request[6]]++
		m.silent = 0
		if errors.Is(err, errNonsense) {
			m.count.Nonsense++
		} else if !errors.Is(err, errFraming) {
			m.answered()
		}
		if err != nil {
			return nil, err
		}
		return data, nil
	}
}

// followed looks at what came with the answer: nothing, or whole frames with
// other ids. Anything else means that the answer's own length may have lied;
// then the answer is not believed and the connection closed.
func (m *mbap) followed(err error) error {
	for at := m.r; at < m.w; {
		rest := m.in[at:m.w]
		if n := m.packet(rest); n != 0 {
			at += max(n, -n)
			continue
		}
		n, ok := frameLength(rest)
		if !ok || n > len(rest) {
			return m.drop(fmt.Errorf("%w: %d bytes after the answer are no frame", errFraming, len(rest)), false)
		}
		at += n
	}
	return err
}

// frame returns the next whole frame of the stream, reading as needed.
func (m *mbap) frame() ([]byte, error) {
	for {
		if m.r == m.w {
			m.r, m.w = 0, 0
		}
		b := m.in[m.r:m.w]
		n := m.packet(b)
		if n > 0 {
			m.r += n
			continue
		}
		if n == 0 && len(b) >= header {
			n, ok := frameLength(b)
			if !ok {
				return nil, fmt.Errorf("%w: % x is no header", errFraming, b[:header])
			}
			if n <= len(b) {
				m.r += n
				return b[:n], nil
			}
		}
		if m.r > 0 && m.r+maxADU > len(m.in) {
			m.w = copy(m.in[:], m.in[m.r:m.w])
			m.r = 0
		}
		n, err := m.conn.Read(m.in[m.w:])
		m.w += n
		if n == 0 && err != nil {
			return nil, err
		}
	}
}

// frameLength returns the length of the frame that b begins with, as far as
// its header tells; ok is false when no frame begins like this.
func frameLength(b []byte) (n int, ok bool) {
	if len(b) >= 4 && (b[2] != 0 || b[3] != 0) {
		return 0, false
	}
	if len(b) < 6 {
		return header, true
	}
	n = 6 + int(binary.BigEndian.Uint16(b[4:]))
	return n, n > header && n <= maxADU
}

// unanswered notes a request whose answer did not come by its deadline.
func (m *mbap) unanswered(ctx context.Context, limit time.Duration) error {
	m.owes = true
	if errors.Is(ctx.Err(), context.Canceled) {
		if m.r < m.w {
			m.drop(errCut, true)
		}
		return ctx.Err()
	}
	m.count.Silent++
	if m.r < m.w {
		if inFull(silence(limit), m.timeout) {
			m.silent++
		}
		m.drop(errCut, false)
	} else if inFull(silence(limit), m.timeout) {
		m.muted(limit)
	}
	return silence(limit)
}

// muted notes that a whole timeout went by without a sign from the peer, and
// replaces a connection that may be dead.
func (m *mbap) muted(limit time.Duration) {
	m.silent++
	switch waits, _ := m.way.fresher(); {
	case m.conn == nil:
	case waits:
		m.drop(silence(limit), true) // the unit may have dialed in again
	case m.halfOpen():
		m.mute++
		m.drop(silence(limit), true) // the silence was pause enough
	}
}

// answered notes an answer that fits its request.
func (m *mbap) answered() {
	m.count.Answered++
	if !m.fruitful {
		m.way.good()
	}
	m.failed, m.mute, m.fruitful = 0, 0, true
	if !m.up {
		m.up = true
		m.log.Info("device answering", "target", m.target)
	}
}

// drop closes the connection and returns why. A fruitless connection delays
// the next, unless this end gave it up.
func (m *mbap) drop(why error, ours bool) error {
	m.conn.Close() // the reason is known, and a second error would say nothing more
	m.hungUp()
	m.count.Lost++
	if m.up {
		m.up = false
		m.log.Warn("connection lost", "target", m.target, "error", why)
	}
	if !m.fruitful && !ours {
		m.putOff(m.now().Mono, why)
	}
	return why
}

// connect makes a connection unless there is one, or it is too early.
func (m *mbap) connect(ctx context.Context, deadline time.Time) error {
	if m.conn != nil {
		return nil
	}
	if err := m.early(m.now().Mono, "connecting"); err != nil {
		return err
	}
	m.count.Dialed++
	dialing, cancel := context.WithDeadline(ctx, deadline)
	conn, err := m.way.open(dialing)
	cancel()
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !errors.Is(err, errNobody) { // a unit that dials in now is asked at once
			m.putOff(m.now().Mono, err)
		}
		return err
	}
	m.conn, m.last = conn, nil
	if m.way.idle > 0 {
		m.hold(conn)
	}
	if m.pipe != nil {
		m.pipe.connected()
	}
	m.id, m.stride = uint16(rand.Uint32()), stride()
	m.used, m.owes, m.silent, m.fruitful = 0, false, 0, false
	m.r, m.w = 0, 0
	return nil
}

// cause prefers the reason of ctx over the deadline it was carried out with.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
