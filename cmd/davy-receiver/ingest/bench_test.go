package ingest

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"davy/agent/evidence"
	"davy/agent/merkle"
	"davy/agent/wire"
	"davy/cmd/davy-receiver/store"
	"davy/drivers/tag"
	"davy/rules"
)

func key(n byte) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = n
	return ed25519.NewKeyFromSeed(seed)
}

// gw makes what a gateway sends.
type gw struct {
	id    string
	key   ed25519.PrivateKey
	epoch wire.Epoch
	heads map[string]wire.Head
	n     int
	all   []record
	log   []merkle.Hash // in the stored form
	size  int64         // leaves of it
	mono  int64         // of what was sent last
}

type record struct {
	epoch     wire.Epoch
	stream    string
	number    uint64
	canonical []byte
}

func newGW(id string, epoch byte) *gw {
	return &gw{id: id, key: key(1), epoch: wire.Epoch{epoch}, heads: map[string]wire.Head{}}
}

func (g *gw) event(kind rules.Kind) wire.Event {
	g.n++
	return wire.Event{Kind: uint32(kind), At: tag.Stamp{Wall: int64(g.n) * 1e9, Mono: int64(g.n)}, Rule: fmt.Sprintf("rule-%d", g.n), Occurrence: uint64(g.n), Serial: uint64(g.n)}
}

func (g *gw) events(n int) wire.Block {
	var all []wire.Event
	for range n {
		all = append(all, g.event(rules.AlarmAcked))
	}
	return g.block(wire.EventStream, wire.EncodeEvents(all), all, nil)
}

func (g *gw) say(all ...wire.Event) wire.Block {
	return g.block(wire.EventStream, wire.EncodeEvents(all), all, nil)
}

func (g *gw) readings(n int) wire.Block {
	var all []tag.Reading
	for range n {
		g.n++
		v, _ := tag.Float64Value(float64(g.n) / 3)
		all = append(all, tag.Reading{Tag: tag.ID(g.n%7 + 1), Quality: tag.GoodQuality, Value: v, Received: tag.Stamp{Wall: int64(g.n), Mono: int64(g.n)}})
	}
	return g.block(wire.ReadingStream, wire.EncodeReadings(all), nil, all)
}

func (g *gw) block(stream string, body []byte, events []wire.Event, readings []tag.Reading) wire.Block {
	h := g.heads[stream]
	b := wire.Block{Stream: stream, First: h.Number + 1, Count: uint32(max(len(events)+len(readings), 1)), Body: body, RootBefore: h.Root}
	b.Leaf = g.grow(wire.LeafData(b.RootBefore, b.Stream, b.First, b.Count, sha256.Sum256(body)))
	g.heads[stream] = wire.Head{Stream: stream, Number: b.Last(), Root: b.RootAfter()}
	for i := range events {
		g.all = append(g.all, record{g.epoch, stream, b.First + uint64(i), events[i].Append(nil)})
	}
	for i := range readings {
		g.all = append(g.all, record{g.epoch, stream, b.First + uint64(i), wire.AppendReading(nil, readings[i])})
	}
	return b
}

// grow adds a leaf to the epoch's log.
func (g *gw) grow(data []byte) uint64 {
	tree := merkle.Tree{}
	more, err := tree.Add(g.size, tree.Leaf(data), g.at)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	g.log = append(g.log, more...)
	g.size++
	return uint64(g.size - 1)
}

func (g *gw) at(place int64) (merkle.Hash, error) { return g.log[place], nil }

func (g *gw) checkpoint(size int64) *evidence.Checkpoint {
	root, _ := merkle.Tree{}.Root(size, g.at)
	return &evidence.Checkpoint{Gateway: g.id, Epoch: g.epoch, Size: uint64(size), Root: root, At: tag.Stamp{Wall: 7, Mono: 8}, Trusted: true}
}

func (g *gw) note(size int64) []byte {
	b, err := g.checkpoint(size).Sign(g.key)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return b
}

// vouch puts the checkpoint of the whole log into an envelope, with the proof
// from a size that was witnessed; 0: without.
func (g *gw) vouch(e *wire.Envelope, from int64) *wire.Envelope {
	e.Checkpoint = g.note(g.size)
	if from > 0 {
		hashes, err := merkle.Tree{}.ProveGrowth(g.size, from, g.at)
		if err != nil {
			panic("BUG: " + err.Error())
		}
		e.Proof = &wire.Proof{Size: uint64(from)}
		for _, h := range hashes {
			e.Proof.Hashes = append(e.Proof.Hashes, wire.Root(h))
		}
	}
	return e
}

// sent says when an envelope is sent, by its gateway's clock.
func (g *gw) sent(e *wire.Envelope, boot string, wall int64) *wire.Envelope {
	g.mono++
	e.Boot, e.Sent, e.ClockTrusted = boot, tag.Stamp{Wall: wall, Mono: g.mono}, true
	return e
}

func (g *gw) envelope(blocks ...wire.Block) *wire.Envelope {
	e := &wire.Envelope{Version: wire.Version, Gateway: g.id, Epoch: g.epoch, Blocks: blocks, Plan: make([]byte, 32), Boot: "b"}
	for _, s := range []string{wire.EventStream, wire.ReadingStream} {
		if h := g.heads[s]; h.Number > 0 {
			e.Heads = append(e.Heads, h)
		}
	}
	return e
}

func (g *gw) message(blocks ...wire.Block) Message { return g.seal(g.envelope(blocks...)) }

func (g *gw) seal(e *wire.Envelope) Message {
	s := wire.Sign(wire.EnvelopeKind, e.Encode(nil), g.key)
	return Message{Topic: "davy/1/" + g.id + "/up/event", Payload: s.Encode(nil)}
}

// bench is a receiver without a broker.
type bench struct {
	t        *testing.T
	dir      string
	st       *store.Store
	in       *Ingest
	receipts []*wire.Receipt
	resumes  []*wire.Resume
	acks     int
	wall     int64
	down     bool // receipts cannot be sent
}

func newBench(t *testing.T, gateways ...string) *bench {
	b := &bench{t: t, dir: t.TempDir(), wall: 1e18}
	b.open(false)
	for _, id := range gateways {
		g := store.Gateway{ID: id, Fingerprint: evidence.Fingerprint(key(1).Public().(ed25519.PublicKey)), Destination: "regulator", Enrolled: 1}
		if err := b.st.Enroll(t.Context(), g); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = b.st.Close() })
	return b
}

func (b *bench) open(drop bool) {
	st, err := store.Open(b.dir)
	if err != nil {
		b.t.Fatal(err)
	}
	b.st = st
	b.in = New(Options{
		Store: st, Key: key(2), Name: "province +1", Log: slog.New(slog.DiscardHandler), DropOne: drop,
		Now: func() time.Time { b.wall += 1e6; return time.Unix(0, b.wall) },
		Publish: func(_ context.Context, topic string, payload []byte) error {
			if b.down {
				return errors.New("down")
			}
			s, err := wire.DecodeSigned(payload)
			if err == nil && s.Verify(wire.ResumeKind) {
				r, err := wire.DecodeResume(s.Body)
				if err != nil || topic != "davy/1/"+r.Gateway+"/receipt" || r.Store != b.st.ID() || r.Version != wire.Version || r.Destination != "regulator" {
					b.t.Errorf("%v: resume on %s: %+v", err, topic, r)
				}
				b.resumes = append(b.resumes, r)
				return nil
			}
			if err != nil || !s.Verify(wire.ReceiptKind) {
				b.t.Errorf("a receipt that is not signed: %v", err)
				return nil
			}
			r, err := wire.DecodeReceipt(s.Body)
			if err != nil {
				b.t.Error(err)
				return nil
			}
			if topic != "davy/1/"+r.Gateway+"/receipt" || r.Destination != "regulator" || r.Store != b.st.ID() || r.Version != wire.Version {
				b.t.Errorf("receipt on %s: %+v", topic, r)
			}
			b.receipts = append(b.receipts, r)
			return nil
		},
	})
}

func (b *bench) reopen() {
	if err := b.st.Close(); err != nil {
		b.t.Fatal(err)
	}
	b.open(false)
}

// take gives messages in one batch and returns the receipts for them.
func (b *bench) take(all ...Message) []*wire.Receipt {
	b.receipts = nil
	for i := range all {
		all[i].Ack = func() { b.acks++ }
	}
	b.in.Take(b.t.Context(), all)
	return b.receipts
}

// watch lets the receiver look after its gateways until a later time.
func (b *bench) watch(later time.Duration) []*wire.Resume {
	b.resumes = nil
	for later > 0 {
		step := min(later, MaxUnwatched/2)
		b.wall += int64(step)
		b.in.Watch(b.t.Context())
		later -= step
	}
	return b.resumes
}

// hears is watch while a gateway that has nothing new is heard all the time.
func (b *bench) hears(g *gw, later time.Duration) {
	for later > 0 {
		step := min(later, store.Away/2)
		b.watch(step)
		b.take(g.seal(g.sent(g.envelope(), "b", b.wall)))
		later -= step
	}
}

// fits fails unless the receipts' last word on a stream is what the gateway has.
func (b *bench) fits(g *gw, stream string, got []*wire.Receipt) {
	b.t.Helper()
	b.upto(g, g.heads[stream], got)
}

func (b *bench) upto(g *gw, want wire.Head, got []*wire.Receipt) {
	b.t.Helper()
	var last wire.Head
	for _, r := range got {
		for _, h := range r.Upto {
			if r.Gateway == g.id && r.Epoch == g.epoch && h.Stream == want.Stream {
				last = h
			}
		}
	}
	if last != want {
		b.t.Errorf("receipt for %s of %s up to %d (root %x), want %d (root %x)", want.Stream, g.id, last.Number, last.Root[:4], want.Number, want.Root[:4])
	}
}

func (b *bench) missing() (all []store.Stretch) {
	b.t.Helper()
	chains, err := b.st.Chains(b.t.Context(), "")
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range chains {
		m, err := b.st.Missing(b.t.Context(), c)
		if err != nil {
			b.t.Fatal(err)
		}
		all = append(all, m...)
	}
	return all
}

func (b *bench) expectMissing(want ...string) {
	b.t.Helper()
	var got []string
	for _, m := range b.missing() {
		s := fmt.Sprintf("%s %d-%d %s", m.Stream, m.From, m.To, m.State)
		if m.Cause != "" {
			s += " " + m.Cause
		}
		got = append(got, s)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		b.t.Errorf("missing %q, want %q", got, want)
	}
}

func (b *bench) forks() []store.Fork {
	b.t.Helper()
	f, err := b.st.Forks(b.t.Context(), "")
	if err != nil {
		b.t.Fatal(err)
	}
	return f
}

func (b *bench) losses() []store.Loss {
	b.t.Helper()
	l, err := b.st.Losses(b.t.Context(), "")
	if err != nil {
		b.t.Fatal(err)
	}
	return l
}

// expectFound fails unless these kinds of findings are on record, "-" before one that is over.
func (b *bench) expectFound(want ...string) []store.Finding {
	b.t.Helper()
	all, err := b.st.Findings(b.t.Context(), "")
	if err != nil {
		b.t.Fatal(err)
	}
	got := []string{}
	for _, f := range all {
		kind := f.Kind
		if f.Ended != 0 {
			kind = "-" + kind
		}
		got = append(got, kind)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		b.t.Errorf("found %v, want %v: %+v", got, want, all)
	}
	return all
}

func (b *bench) verdicts() map[string]int64 {
	b.t.Helper()
	all, err := b.st.Verdicts(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	m := map[string]int64{}
	for _, v := range all {
		m[v.Verdict] += v.N
	}
	return m
}

// same fails unless the store's export is that of the records.
func (b *bench) same(g *gw, records []record) {
	b.t.Helper()
	var want wire.Digest
	for _, s := range []string{wire.EventStream, wire.ReadingStream} {
		for _, r := range records {
			if r.stream == s {
				if err := want.Add(r.epoch, r.stream, r.number, r.canonical); err != nil {
					b.t.Fatal(err)
				}
			}
		}
	}
	got, err := b.st.Digest(b.t.Context(), g.id)
	if err != nil {
		b.t.Fatal(err)
	}
	if got.Sum() != want.Sum() {
		b.t.Errorf("the store holds other records than were sent: %d, want %d", got.Count, want.Count)
	}
}
