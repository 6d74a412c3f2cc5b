package ingest

import (
	"bytes"
	"crypto/ed25519"
	"testing"

	"davy/agent/evidence"
	"davy/agent/merkle"
	"davy/agent/wire"
	"davy/cmd/davy-receiver/store"
)

// witnessed fails unless the one receipt has the cosigned checkpoint of a size
// (0: none) and this word on the newest.
func (b *bench) witnessed(got []*wire.Receipt, size uint64, log string) {
	b.t.Helper()
	if len(got) != 1 {
		b.t.Fatalf("%d receipts", len(got))
	}
	r := got[0]
	if r.Log != log {
		b.t.Errorf("the receipt says %q of the checkpoint, want %q", r.Log, log)
	}
	if size == 0 {
		if r.Witness != nil {
			b.t.Errorf("witnessed: %s", r.Witness)
		}
		return
	}
	c, wall, err := evidence.Witnessed(r.Witness, key(2).Public().(ed25519.PublicKey))
	if err != nil || c.Size != size || c.Gateway != r.Gateway || c.Epoch != r.Epoch || wall < 1e9 {
		b.t.Errorf("witnessed %+v at %d, %v; want %d leaves", c, wall, err, size)
	}
}

// A log that only grows is witnessed, and its receipts say how far.
func TestWitness(t *testing.T) {
	b, g := newBench(t, "GW-1"), newGW("GW-1", 1)
	m := g.envelope(g.events(3), g.readings(5))
	b.witnessed(b.take(g.seal(g.vouch(m, 0))), 2, "")
	b.witnessed(b.take(g.seal(g.vouch(g.envelope(), 0))), 2, "") // only a checkpoint, again
	b.witnessed(b.take(g.message(g.events(1))), 2, "")           // none is due
	next := g.vouch(g.envelope(g.events(1)), 2)
	b.witnessed(b.take(g.seal(next)), 4, "")
	b.reopen()
	b.witnessed(b.take(g.seal(next)), 4, "") // sent again
	b.witnessed(b.take(g.seal(m)), 4, "")    // an old one sent again: it was witnessed then
	var many []Message
	for range 2 * store.MaxWitness {
		many = append(many, g.seal(g.vouch(g.envelope(g.events(1)), g.size-1)))
	}
	b.witnessed(b.take(many...), 2*store.MaxWitness+4, "")
	b.witnessed(b.take(g.seal(m)), 2*store.MaxWitness+4, LogSmaller) // so old that its root is not kept
	var kept int
	if err := b.beside().QueryRow(`SELECT count(*) FROM witness`).Scan(&kept); err != nil || kept != store.MaxWitness {
		t.Errorf("%d checkpoints are kept, %v", kept, err)
	}
	// Another epoch begins its own log.
	h := newGW("GW-1", 2)
	b.witnessed(b.take(h.seal(h.vouch(h.envelope(), 0))), 0, LogMalformed) // of nothing
	b.witnessed(b.take(h.seal(h.vouch(h.envelope(h.events(1)), 0))), 1, "")
	b.expectFound()
}

// What does not prove that the log only grew is not witnessed, and the receipt
// says why; two logs of one epoch are on record.
func TestNotWitnessed(t *testing.T) {
	fresh := func() (*bench, *gw) {
		b, g := newBench(t, "GW-1"), newGW("GW-1", 1)
		g.events(1)
		g.events(1)
		b.witnessed(b.take(g.seal(g.vouch(g.envelope(), 0))), 2, "")
		g.events(1)
		return b, g
	}
	f := func(name, want string, found []string, change func(g *gw, e *wire.Envelope)) {
		t.Helper()
		b, g := fresh()
		e := g.vouch(g.envelope(), 2)
		change(g, e)
		b.witnessed(b.take(g.seal(e)), 2, want)
		b.expectFound(found...)
		// Nothing of it holds up the next.
		b.witnessed(b.take(g.seal(g.vouch(g.envelope(), 2))), 3, "")
	}
	fork := []string{store.LogFork}
	f("noise", LogMalformed, nil, func(_ *gw, e *wire.Envelope) { e.Checkpoint = []byte("x") })
	f("another gateway", LogMalformed, nil, func(g *gw, e *wire.Envelope) {
		o := *g
		o.id = "GW-2"
		e.Checkpoint = o.note(3)
	})
	f("another epoch", LogMalformed, nil, func(g *gw, e *wire.Envelope) {
		o := *g
		o.epoch = wire.Epoch{9}
		e.Checkpoint = o.note(3)
	})
	f("another key", LogSignature, nil, func(g *gw, e *wire.Envelope) {
		o := *g
		o.key = key(7)
		e.Checkpoint = o.note(3)
	})
	f("a signature that is changed", LogSignature, nil, func(_ *gw, e *wire.Envelope) {
		i := bytes.LastIndex(e.Checkpoint, []byte(" ")) + 12
		e.Checkpoint[i] ^= 2
	})
	f("smaller", LogSmaller, nil, func(g *gw, e *wire.Envelope) { e.Checkpoint = g.note(1) })
	f("no proof", LogProof, nil, func(_ *gw, e *wire.Envelope) { e.Proof = nil })
	f("a proof from another size", LogProof, nil, func(g *gw, e *wire.Envelope) { g.vouch(e, 1) })
	f("a proof that is cut", LogFork, fork, func(_ *gw, e *wire.Envelope) { e.Proof.Hashes = nil })
	f("another log that goes on", LogFork, fork, func(g *gw, e *wire.Envelope) {
		o := newGW("GW-1", 1)
		o.n = 50
		o.events(1)
		o.events(1)
		o.events(1)
		o.vouch(e, 2)
	})
	f("another log of the same size", LogFork, fork, func(g *gw, e *wire.Envelope) {
		c := g.checkpoint(2)
		c.Root = merkle.Hash{1}
		e.Checkpoint, _ = c.Sign(g.key)
	})
}

// What is said of a fork is what the note that was kept with it says, however
// many follow.
func TestForkAgain(t *testing.T) {
	b, g := newBench(t, "GW-1"), newGW("GW-1", 1)
	g.events(1)
	b.take(g.seal(g.vouch(g.envelope(), 0)))
	o := newGW("GW-1", 1)
	o.n = 50
	o.events(1)
	for range 3 {
		o.events(1)
		b.witnessed(b.take(o.seal(o.vouch(o.envelope(), 1))), 1, LogFork)
	}
	f := b.expectFound(store.LogFork)[0]
	if c, err := evidence.ReadCheckpoint(f.Bytes); err != nil || c.Size != uint64(f.Last) || c.Size != 2 {
		t.Errorf("%v: a note of %+v is kept with %+v", err, c, f)
	}
}

// The next epoch declares the log of its parent: shorter than it was witnessed
// is a loss, other than it was is a fork, and none at all is no better.
func TestParentLog(t *testing.T) {
	f := func(name string, found []string, declare func(g *gw) []byte) {
		t.Helper()
		b, g := newBench(t, "GW-1"), newGW("GW-1", 1)
		blocks := []wire.Block{g.events(1), g.events(1), g.events(1)}
		b.witnessed(b.take(g.seal(g.vouch(g.envelope(blocks...), 0))), 3, "")
		head := g.heads[wire.EventStream]
		g.events(1) // recorded, and not sent yet
		h := newGW("GW-1", 2)
		start := h.event(0)
		start.Start = &wire.Start{Parent: g.epoch[:], ParentHeads: []wire.Head{head}, ParentCheckpoint: declare(g)}
		b.take(h.message(h.say(start)))
		all := b.expectFound(found...)
		if len(all) == 1 && all[0].Kind == store.LogShort && (all[0].Epoch != h.epoch || all[0].Other != g.epoch || all[0].Last != 3) {
			t.Errorf("%s: %+v", name, all[0])
		}
	}
	f("the same", nil, func(g *gw) []byte { return g.note(3) })
	f("longer", nil, func(g *gw) []byte { return g.note(4) })
	f("shorter", []string{store.LogShort}, func(g *gw) []byte { return g.note(2) })
	f("none", []string{store.LogShort}, func(*gw) []byte { return nil })
	f("of another epoch", []string{store.LogShort}, func(*gw) []byte {
		o := newGW("GW-1", 3)
		for range 5 {
			o.events(1)
		}
		return o.note(5)
	})
	f("another", []string{store.LogFork}, func(*gw) []byte {
		o := newGW("GW-1", 1)
		for range 3 {
			o.n += 50
			o.events(1)
		}
		return o.note(3)
	})
}
