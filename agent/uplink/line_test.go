package uplink

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"davy/agent/journal"
	"davy/agent/wire"
	"davy/drivers/tag"
)

// The compressor's channels must not belong to the bubble of the first test.
func TestMain(m *testing.M) {
	if _, err := wire.DecodeReadings(wire.EncodeReadings(nil)); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// key makes a key that is the same in every run.
func key(n byte) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = n
	return ed25519.NewKeyFromSeed(seed)
}

func pub(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

const gateway = "GW-1"

// line is a fake transport with a receiver at its end: what it answers is up to answer.
type line struct {
	mu       sync.Mutex
	got      []message
	answer   func(*line, *wire.Envelope) // nil: no receipt
	receipts chan []byte
	done     chan struct{}
	once     sync.Once
	upto     map[string]wire.Head // chain as a receiver would follow it, of the epoch seen last
	held     map[string]map[uint64]wire.Block
	epoch    wire.Epoch
}

type message struct {
	stream string
	e      *wire.Envelope
	at     time.Time
}

func newLine(answer func(*line, *wire.Envelope)) *line {
	return &line{answer: answer, receipts: make(chan []byte, 1000), done: make(chan struct{}), upto: map[string]wire.Head{}, held: map[string]map[uint64]wire.Block{}}
}

func (l *line) Send(_ context.Context, stream string, payload []byte) error {
	select {
	case <-l.done:
		return errors.New("line is down")
	default:
	}
	s, err := wire.DecodeSigned(payload)
	if err != nil {
		return err
	}
	if !s.Verify(wire.EnvelopeKind) || string(s.Key) != string(pub(key(1))) {
		return errors.New("not signed by the device")
	}
	e, err := wire.DecodeEnvelope(s.Body)
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.got = append(l.got, message{stream, e, time.Now()})
	l.mu.Unlock()
	if l.answer != nil {
		l.answer(l, e)
	}
	return nil
}

func (l *line) Receipts() <-chan []byte { return l.receipts }
func (l *line) Done() <-chan struct{}   { return l.done }
func (l *line) Err() error              { return errors.New("line is down") }
func (l *line) Close() error            { l.once.Do(func() { close(l.done) }); return nil }

func (l *line) messages() []message {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]message(nil), l.got...)
}

// take follows the chains and returns the receipt for what came.
func (l *line) take(e *wire.Envelope) *wire.Receipt {
	if e.Epoch != l.epoch {
		l.epoch = e.Epoch
		clear(l.upto)
		clear(l.held)
	}
	for _, b := range e.Blocks {
		if l.held[b.Stream] == nil {
			l.held[b.Stream] = map[uint64]wire.Block{}
		}
		l.held[b.Stream][b.First] = b
		for {
			h := l.upto[b.Stream]
			next, ok := l.held[b.Stream][h.Number+1]
			if !ok {
				break
			}
			if next.RootBefore != h.Root {
				panic("chain broken in the test's receiver")
			}
			l.upto[b.Stream] = wire.Head{Stream: b.Stream, Number: next.Last(), Root: next.RootAfter()}
		}
	}
	r := &wire.Receipt{Version: wire.Version, Gateway: e.Gateway, Destination: "regulator", Store: "s", Epoch: e.Epoch}
	for _, s := range order {
		if h := l.upto[s]; h.Number > 0 {
			r.Upto = append(r.Upto, h)
		}
	}
	return r
}

func signed(r *wire.Receipt, k ed25519.PrivateKey) []byte {
	s := wire.Sign(wire.ReceiptKind, r.Encode(nil), k)
	return s.Encode(nil)
}

// honest answers every message at once.
func honest(l *line, e *wire.Envelope) { l.receipts <- signed(l.take(e), key(2)) }

// plant is a journal with an uplink on it.
type plant struct {
	t       *testing.T
	j       *journal.Journal
	c       *journal.Cursor
	u       *Uplink
	mu      sync.Mutex
	lines   []*line
	dials   int
	refused map[string]uint64
	reports int
	cancel  context.CancelFunc
	ended   chan struct{}
	err     error
	n       int
	noise   *rand.Rand
	rate    int64
	oneWay  bool
	sign    bool
}

func now() tag.Stamp { t := time.Now(); return tag.Stamp{Wall: t.UnixNano(), Mono: t.UnixNano()} }

func newPlant(t *testing.T) *plant {
	p := &plant{t: t, refused: map[string]uint64{}, noise: rand.New(rand.NewPCG(1, 2))}
	j, err := journal.Open(journal.Options{
		Dir: filepath.Join(t.TempDir(), "journal"), Gateway: gateway, Keep: time.Hour, Sync: time.Second,
		MustConfirm: []string{"regulator"}, Now: now, Started: now(), Version: "test", Plan: make([]byte, 32), Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	p.j = j
	if p.c, err = j.Cursor("regulator"); err != nil {
		t.Fatal(err)
	}
	return p
}

// start runs the uplink over lines made by dial; a nil line is a refused connection.
func (p *plant) start(dial func(n int) *line) {
	p.u = New(Options{
		Name: "regulator", Gateway: gateway, Key: key(1), ReceiverKey: pub(key(2)), Journal: p.j, Cursor: p.c,
		Dial: func(context.Context) (Transport, error) {
			p.mu.Lock()
			p.dials++
			n := p.dials
			p.mu.Unlock()
			l := dial(n)
			if l == nil {
				return nil, errors.New("refused")
			}
			p.mu.Lock()
			p.lines = append(p.lines, l)
			p.mu.Unlock()
			return l, nil
		},
		State: func() State { return State{Plan: make([]byte, 32), Boot: "b", ClockTrusted: true, Armed: true} },
		Now:   now, BytesPerSecond: p.rate, OneWay: p.oneWay,
		Refused: func(code string, n uint64) { p.mu.Lock(); p.refused[code] += n; p.reports++; p.mu.Unlock() },
		Log:     slog.New(slog.DiscardHandler),
	})
	if p.sign {
		p.u.o.Signer = p.signer()
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel, p.ended = cancel, make(chan struct{})
	go func() { defer close(p.ended); p.err = p.u.Run(ctx) }()
	p.t.Cleanup(p.stop)
}

func (p *plant) stop() {
	p.cancel()
	<-p.ended
	if p.err != nil {
		p.t.Errorf("Run: %v", p.err)
	}
	if err := p.j.Close(); err != nil && !errors.Is(err, journal.ErrClosed) {
		p.t.Errorf("close journal: %v", err)
	}
}

// add records events and readings in one batch.
func (p *plant) add(events, readings int) {
	p.t.Helper()
	b := journal.Batch{}
	for range events {
		p.n++
		b.Events = append(b.Events, wire.Event{Kind: 1, At: now(), Rule: fmt.Sprintf("rule-%d", p.n)})
	}
	for range readings {
		p.n++
		v, _ := tag.Float64Value(p.noise.NormFloat64())
		b.Readings = append(b.Readings, tag.Reading{Tag: tag.ID(p.n%50 + 1), Quality: tag.GoodQuality, Value: v, Received: now()})
	}
	if err := p.j.Append(b); err != nil {
		p.t.Fatal(err)
	}
}

func (p *plant) backlog() (n uint64) {
	for _, b := range p.c.Backlog() {
		n += b.Records
	}
	return n
}

// wait lets the bubble's time run until ok or d has gone.
func wait(t *testing.T, d time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(d); ; time.Sleep(20 * time.Millisecond) {
		synctest.Wait()
		if ok() {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", d, what)
		}
	}
}
