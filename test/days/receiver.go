package days

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"

	"davy/agent/wire"
	"davy/drivers/tag"
)

// receiver is the regulator's side: it keeps what comes, once, and answers.
type receiver struct {
	key     ed25519.PrivateKey
	gateway string
	check   func(r *tag.Reading) // of a reading that came

	mu       sync.Mutex
	r        *rand.Rand
	down     bool // nobody can connect
	mute     bool // no receipts
	lossless bool // every message arrives
	lines    []*line
	epochs   []*epoch
	byEpoch  map[wire.Epoch]*epoch
	wrong    string // the first thing that cannot be
	messages int
	readings int
}

// epoch is what came of one.
type epoch struct {
	id     wire.Epoch
	chains map[string]*chain
	events map[uint64]wire.Event
	last   uint64 // of events
}

// chain is a stream of an epoch.
type chain struct {
	upto  uint64
	root  wire.Root
	got   []numbers // numbers that came
	named []numbers // numbers that a gap names
	wait  map[uint64]wire.Block
	head  uint64 // as the gateway says
	due   uint64 // of that, what must have come by now
}

type numbers struct{ from, to uint64 }

func newReceiver(r *rand.Rand) *receiver {
	return &receiver{key: ed25519.NewKeyFromSeed(make([]byte, 32)), r: r, byEpoch: map[wire.Epoch]*epoch{}}
}

// line is one connection.
type line struct {
	to       *receiver
	receipts chan []byte
	done     chan struct{}
	once     sync.Once
}

func (v *receiver) dial() (*line, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.down {
		return nil, errors.New("refused")
	}
	l := &line{to: v, receipts: make(chan []byte, 256), done: make(chan struct{})}
	v.lines = append(v.lines, l)
	return l, nil
}

// cut ends every connection.
func (v *receiver) cut(down bool) {
	v.mu.Lock()
	lines := v.lines
	v.lines, v.down = nil, down
	v.mu.Unlock()
	for _, l := range lines {
		_ = l.Close() // it never fails
	}
}

func (l *line) Receipts() <-chan []byte { return l.receipts }
func (l *line) Done() <-chan struct{}   { return l.done }
func (l *line) Err() error              { return errors.New("line is down") }
func (l *line) Close() error            { l.once.Do(func() { close(l.done) }); return nil }

// Send takes a message in. Some never arrive, some arrive twice.
func (l *line) Send(_ context.Context, _ string, payload []byte) error {
	select {
	case <-l.done:
		return errors.New("line is down")
	default:
	}
	v := l.to
	v.mu.Lock()
	defer v.mu.Unlock()
	v.messages++
	times := 1
	switch n := v.r.IntN(50); {
	case n == 0 && !v.lossless:
		times = 0
	case n == 1:
		times = 2
	}
	for range times {
		e, err := v.take(payload)
		if err != nil {
			if v.wrong == "" {
				v.wrong = err.Error()
			}
			return err
		}
		if v.mute || v.r.IntN(50) == 0 {
			continue
		}
		select {
		case l.receipts <- v.receipt(e):
		default:
		}
	}
	return nil
}

func (v *receiver) receipt(e *epoch) []byte {
	x := wire.Receipt{Version: wire.Version, Gateway: v.gateway, Destination: "regulator", Store: "s", Epoch: e.id}
	for _, s := range []string{wire.EventStream, wire.HealthStream, wire.ReadingStream} {
		if c := e.chains[s]; c != nil && c.upto > 0 {
			x.Upto = append(x.Upto, wire.Head{Stream: s, Number: c.upto, Root: c.root})
		}
	}
	signed := wire.Sign(wire.ReceiptKind, x.Encode(nil), v.key)
	return signed.Encode(nil)
}

func (v *receiver) take(payload []byte) (*epoch, error) {
	s, err := wire.DecodeSigned(payload)
	if err != nil {
		return nil, err
	}
	if !s.Verify(wire.EnvelopeKind) {
		return nil, errors.New("a message with a wrong signature")
	}
	x, err := wire.DecodeEnvelope(s.Body)
	if err != nil {
		return nil, err
	}
	e := v.byEpoch[x.Epoch]
	if e == nil {
		e = &epoch{id: x.Epoch, chains: map[string]*chain{}, events: map[uint64]wire.Event{}}
		v.byEpoch[x.Epoch] = e
		v.epochs = append(v.epochs, e)
	}
	for _, h := range x.Heads {
		c := e.chain(h.Stream)
		c.head = max(c.head, h.Number)
	}
	for i := range x.Blocks {
		if err := v.block(e, &x.Blocks[i]); err != nil {
			return nil, err
		}
	}
	return e, nil
}

func (e *epoch) chain(stream string) *chain {
	c := e.chains[stream]
	if c == nil {
		c = &chain{wait: map[uint64]wire.Block{}}
		e.chains[stream] = c
	}
	return c
}

// block keeps a block, once, and follows the chain.
func (v *receiver) block(e *epoch, b *wire.Block) error {
	c := e.chain(b.Stream)
	c.head = max(c.head, b.Last())
	if b.First <= c.upto {
		return nil // it came before
	}
	c.wait[b.First] = *b
	for {
		next, ok := c.wait[c.upto+1]
		if !ok {
			return nil
		}
		delete(c.wait, next.First)
		if next.RootBefore != c.root {
			return fmt.Errorf("%s %d: the chain is broken", next.Stream, next.First)
		}
		if err := v.keep(e, &next); err != nil {
			return err
		}
		c.got = join(c.got, numbers{next.First, next.Last()})
		c.upto, c.root = next.Last(), next.RootAfter()
	}
}

func join(all []numbers, r numbers) []numbers {
	if n := len(all); n > 0 && all[n-1].to+1 == r.from {
		all[n-1].to = r.to
		return all
	}
	return append(all, r)
}

func (v *receiver) keep(e *epoch, b *wire.Block) error {
	switch b.Stream {
	case wire.EventStream:
		events, err := wire.DecodeEvents(b.Body)
		if err != nil || len(events) != int(b.Count) {
			return fmt.Errorf("events %d: %d of %d: %w", b.First, len(events), b.Count, err)
		}
		for i, x := range events {
			n := b.First + uint64(i)
			if _, twice := e.events[n]; twice {
				return fmt.Errorf("event %d came twice", n)
			}
			e.events[n] = x
			e.last = max(e.last, n)
			if g := x.Gap; g != nil {
				v.gap(e, g)
			}
		}
	case wire.ReadingStream:
		readings, err := wire.DecodeReadings(b.Body)
		if err != nil || len(readings) != int(b.Count) {
			return fmt.Errorf("readings %d: %d of %d: %w", b.First, len(readings), b.Count, err)
		}
		v.readings += len(readings)
		for i := range readings {
			v.check(&readings[i])
		}
	}
	return nil
}

// gap takes what the gateway says that it gave up.
func (v *receiver) gap(e *epoch, g *wire.Gap) {
	of := e
	if len(g.Epoch) == len(of.id) {
		if x := v.byEpoch[wire.Epoch(g.Epoch)]; x != nil {
			of = x
		}
	}
	if g.To < g.From || g.From == 0 {
		return // of what never had numbers
	}
	c := of.chain(g.Stream)
	c.named = append(c.named, numbers{g.From, g.To})
	if g.From <= c.upto+1 && g.To > c.upto && len(g.RootAfter) == len(c.root) {
		c.upto, c.root = g.To, wire.Root(g.RootAfter)
	}
}

// demand says that everything that was told of by now must come, and that no
// more messages are lost.
func (v *receiver) demand() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.lossless = true
	for _, e := range v.epochs {
		for _, c := range e.chains {
			c.due = c.head
		}
	}
}

// missing says which number of a chain, of those that are due, neither came
// nor is named by a gap.
func (c *chain) missing() (number uint64) {
	for n := uint64(1); n <= c.due; {
		on := n
		for _, all := range [][]numbers{c.got, c.named} {
			for _, r := range all {
				if r.from <= n && n <= r.to {
					n = r.to + 1
				}
			}
		}
		if n == on {
			return n
		}
	}
	return 0
}
