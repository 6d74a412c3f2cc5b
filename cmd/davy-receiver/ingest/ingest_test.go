package ingest

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"davy/agent/evidence"
	"davy/agent/wire"
	"davy/cmd/davy-receiver/gate"
	"davy/cmd/davy-receiver/store"
	"davy/drivers/tag"
	"davy/rules"
	"davy/test/scale"
)

func TestInOrder(t *testing.T) {
	b, g := newBench(t, "GW-1"), newGW("GW-1", 1)
	for range 10 {
		got := b.take(g.message(g.events(3)), g.message(g.readings(50)))
		b.fits(g, wire.EventStream, got)
		b.fits(g, wire.ReadingStream, got)
	}
	b.expectMissing()
	b.same(g, g.all)
	if b.acks != 20 {
		t.Errorf("%d messages acknowledged to the broker", b.acks)
	}
}

// Blocks that come in any order, twice, and with a receiver that is opened
// anew in between, are stored once and receipted as far as they reach.
func TestAnyOrderTwice(t *testing.T) {
	b, g := newBench(t, "GW-1"), newGW("GW-1", 1)
	var all []Message
	for range 6 {
		all = append(all, g.message(g.events(2)), g.message(g.readings(20)))
	}
	got := b.take(all[2], all[4], all[3])
	for _, r := range got {
		if len(r.Upto) != 0 {
			t.Errorf("receipt %+v although number 1 has not come", r.Upto)
		}
	}
	b.reopen()
	b.expectMissing("event 1-2 unexplained", "reading 1-20 unexplained")
	b.take(g.message()) // only the heads
	b.expectMissing("event 1-2 unexplained", "event 7-12 waiting", "reading 1-20 unexplained", "reading 41-120 waiting")
	for i := len(all) - 1; i >= 0; i-- {
		got = b.take(all[i])
	}
	b.fits(g, wire.EventStream, got)
	b.fits(g, wire.ReadingStream, got)
	for _, m := range all {
		got = b.take(m)
		b.fits(g, wire.EventStream, got) // a duplicate is answered: its receipt was lost
	}
	b.expectMissing()
	if f := b.forks(); len(f) != 0 {
		t.Errorf("forks %+v", f)
	}
	b.same(g, g.all)
}

// A message that comes again, from a gateway that lost its receipt or from
// somebody who kept it, says nothing of how the gateway is now.
func TestReplaySaysNothingOfNow(t *testing.T) {
	b, g := newBench(t, "GW-1"), newGW("GW-1", 1)
	then := g.envelope(g.events(1))
	then.OutputsArmed, then.ClockTrusted = true, true
	old := g.seal(then)
	now := g.envelope(g.events(1))
	now.OutputsArmed, now.ClockTrusted = false, false
	b.take(old)
	b.take(g.seal(now))
	before, err := b.st.Gateways(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b.wall += 1e12
	b.take(old)
	after, err := b.st.Gateways(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if x := after[0]; x.Armed || x.ClockTrusted || x.Heard != before[0].Heard {
		t.Errorf("after a replay %+v, before %+v", x, before[0])
	}
}

func TestGapRecord(t *testing.T) {
	b, g := newBench(t, "GW-1"), newGW("GW-1", 1)
	m := g.message(g.readings(10))
	b.take(m)
	g.readings(30) // given up
	after := g.heads[wire.ReadingStream]
	tail := g.readings(5)
	got := b.take(g.message(tail))
	b.expectMissing("reading 11-40 unexplained")
	b.upto(g, wire.Head{Stream: wire.ReadingStream, Number: 10, Root: tail10(m)}, got)
	e := g.event(0)
	e.Gap = &wire.Gap{Stream: wire.ReadingStream, From: 11, To: 40, Count: 30, Cause: "size-limit", RootAfter: after.Root[:]}
	got = b.take(g.message(g.say(e)))
	b.fits(g, wire.ReadingStream, got)
	b.expectMissing("reading 11-40 explained size-limit")
	if f := b.forks(); len(f) != 0 {
		t.Errorf("forks %+v", f)
	}
}

func tail10(m Message) wire.Root {
	s, _ := wire.DecodeSigned(m.Payload)
	e, _ := wire.DecodeEnvelope(s.Body)
	return e.Blocks[len(e.Blocks)-1].RootAfter()
}

// A gap record of a later epoch explains numbers of an earlier one, and the
// earlier one gets its receipt.
func TestGapOfAnotherEpoch(t *testing.T) {
	b, g := newBench(t, "GW-1"), newGW("GW-1", 1)
	b.take(g.message(g.events(4)))
	g.events(6)
	head := g.heads[wire.EventStream]
	h := newGW("GW-1", 2)
	start := h.event(0)
	start.Start = &wire.Start{Parent: g.epoch[:], ParentHeads: []wire.Head{head}, Version: "1"}
	gap := h.event(0)
	gap.Gap = &wire.Gap{Stream: wire.EventStream, Epoch: g.epoch[:], From: 5, To: 10, Count: 6, Cause: "damaged", RootAfter: head.Root[:]}
	got := b.take(h.message(h.say(start)))
	b.expectMissing("event 5-10 waiting")
	got = append(got, b.take(h.message(h.say(gap)))...)
	b.upto(g, head, got)
	b.expectMissing("event 5-10 explained damaged")
	if l := b.losses(); len(l) != 0 {
		t.Errorf("losses %+v", l)
	}
}

func TestFork(t *testing.T) {
	b, g := newBench(t, "GW-1"), newGW("GW-1", 1)
	b.take(g.message(g.events(3)))
	other := newGW("GW-1", 1) // the same epoch from the same beginning: a restored image
	other.n = 500
	got := b.take(other.message(other.events(3)))
	b.fits(g, wire.EventStream, got) // what stands is what came first
	f := b.forks()
	if len(f) == 0 || f[0].Kind != "content" || f[0].From != 1 || f[0].To != 3 || f[0].Raw == f[0].Other || f[0].Other == 0 {
		t.Fatalf("forks %+v", f)
	}
	b.same(g, g.all)
	// The other goes on: it is not held up, and the break in the chain is on record.
	got = b.take(other.message(other.events(2)))
	b.fits(other, wire.EventStream, got)
	kinds := map[string]bool{}
	for _, f := range b.forks() {
		kinds[f.Kind] = true
	}
	if !kinds["content"] || !kinds["chain"] {
		t.Errorf("forks %v", kinds)
	}
	n := len(b.forks())
	b.take(other.message())
	if len(b.forks()) != n {
		t.Error("the same fork is on record twice")
	}
}

func TestLoss(t *testing.T) {
	b, g := newBench(t, "GW-1"), newGW("GW-1", 1)
	b.take(g.message(g.events(3)))
	short := g.heads[wire.EventStream]
	b.take(g.message(g.events(3)), g.message(g.readings(9)))
	h := newGW("GW-1", 2)
	start := h.event(0)
	start.Start = &wire.Start{Parent: g.epoch[:], ParentHeads: []wire.Head{short}}
	got := b.take(h.message(h.say(start)))
	b.fits(h, wire.EventStream, got)
	l := b.losses()
	if len(l) != 2 || l[0].Stream+l[1].Stream != "eventreading" || l[0].Receipted != 6 || l[0].Declared != 3 || l[1].Declared != 0 {
		t.Errorf("losses %+v", l)
	}
	// A second child of the same parent: a cloned card.
	c := newGW("GW-1", 3)
	start.Start = &wire.Start{Parent: g.epoch[:]}
	b.take(c.message(c.say(start)))
	if f := b.forks(); len(f) != 1 || f[0].Kind != "parent" {
		t.Errorf("forks %+v", f)
	}
	// A third that knows of none: a new disk.
	o := newGW("GW-1", 4)
	start.Start = &wire.Start{}
	b.fits(o, wire.EventStream, b.take(o.message(o.say(start))))
	if f := b.forks(); len(f) != 2 || f[1].Kind != "orphan" {
		t.Errorf("forks %+v", f)
	}
}

// What cannot be placed is kept and refused, and what follows goes on.
func TestRefused(t *testing.T) {
	cases := []struct {
		name, code string
		block      func(g *gw) wire.Block
	}{
		{"body", store.RefusedBody, func(g *gw) wire.Block { return g.block(wire.ReadingStream, []byte("no zstd"), nil, nil) }},
		{"count", store.RefusedCount, func(g *gw) wire.Block {
			return g.block(wire.ReadingStream, wire.EncodeReadings(make([]tag.Reading, 3)), nil, nil)
		}},
		{"bomb", store.RefusedBody, func(g *gw) wire.Block {
			return g.block(wire.EventStream, wire.EncodeEvents([]wire.Event{{Note: string(make([]byte, 9<<20))}}), nil, nil)
		}},
		{"stream", store.RefusedStream, func(g *gw) wire.Block { return g.block("gossip", []byte("x"), nil, nil) }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b, g := newBench(t, "GW-1"), newGW("GW-1", 1)
			bad := c.block(g)
			got := b.take(g.message(bad))
			b.fits(g, bad.Stream, got)
			if len(got) != 1 || len(got[0].Refused) != 1 || got[0].Refused[0] != (wire.Refused{Stream: bad.Stream, From: 1, To: 1, Code: c.code}) {
				t.Errorf("receipts %+v", got)
			}
			b.expectMissing(bad.Stream + " 1-1 refused " + c.code)
			good := g.message(g.events(2), g.readings(4))
			got = b.take(good)
			b.fits(g, wire.EventStream, got)
			b.fits(g, wire.ReadingStream, got)
		})
	}
}

func TestStrangers(t *testing.T) {
	b := newBench(t, "GW-1")
	good := newGW("GW-1", 1)
	cases := []struct {
		verdict string
		m       func() Message
	}{
		{gate.NotSigned, func() Message { return Message{Topic: "davy/1/GW-1/up/event", Payload: []byte("\xff\xfe")} }},
		{gate.BadSignature, func() Message { return Message{Topic: "davy/1/GW-1/up/event", Payload: nil} }},
		{gate.BadSignature, func() Message { m := good.message(); m.Payload[len(m.Payload)-1] ^= 1; return m }},
		{gate.NotAnEnvelope, func() Message {
			s := wire.Sign(wire.EnvelopeKind, []byte("\xff\xff"), key(1))
			return Message{Topic: "davy/1/GW-1/up/event", Payload: s.Encode(nil)}
		}},
		{gate.WrongTopic, func() Message { m := good.message(); m.Topic = "davy/1/GW-9/up/event"; return m }},
		{gate.WrongTopic, func() Message { m := good.message(); m.Topic = "other/topic"; return m }},
		{gate.WrongVersion, func() Message { e := good.envelope(); e.Version = 7; return good.seal(e) }},
		{Unknown, func() Message { g := newGW("GW-2", 1); return g.message(g.events(1)) }},
		{WrongKey, func() Message { g := newGW("GW-1", 1); g.key = key(9); return g.message(g.events(1)) }},
	}
	for _, c := range cases {
		before := b.verdicts()
		m := c.m()
		if got := b.take(m); len(got) != 0 {
			t.Errorf("%s: answered with %+v", c.verdict, got)
		}
		after := b.verdicts()
		if after[c.verdict] != before[c.verdict]+1 {
			t.Errorf("%s: counted as %v, before %v", c.verdict, after, before)
		}
	}
	if chains, _ := b.st.Chains(t.Context(), ""); len(chains) != 0 {
		t.Errorf("rows were made: %+v", chains)
	}
	// Enrolled later, its next message is taken.
	g := newGW("GW-2", 1)
	if err := b.st.Enroll(t.Context(), store.Gateway{ID: "GW-2", Fingerprint: evidence.Fingerprint(g.key.Public().(ed25519.PublicKey)), Destination: "regulator"}); err != nil {
		t.Fatal(err)
	}
	b.fits(g, wire.EventStream, b.take(g.message(g.events(1))))
}

// A batch with bad messages in it stores and answers the good ones.
func TestMixedBatch(t *testing.T) {
	b, g := newBench(t, "GW-1"), newGW("GW-1", 1)
	m1 := g.message(g.events(2))
	m2 := g.message(g.readings(2))
	got := b.take(Message{Topic: "x", Payload: []byte("y")}, m1, Message{}, m2, m1)
	b.fits(g, wire.EventStream, got)
	b.fits(g, wire.ReadingStream, got)
	if len(got) != 1 {
		t.Errorf("%d receipts for one epoch in one batch", len(got))
	}
}

// A receipt that could not be sent is made again when the gateway repeats itself.
func TestReceiptLost(t *testing.T) {
	b, g := newBench(t, "GW-1"), newGW("GW-1", 1)
	m := g.message(g.events(2))
	b.down = true
	if got := b.take(m); len(got) != 0 {
		t.Fatal("sent")
	}
	b.down = false
	b.fits(g, wire.EventStream, b.take(m))
	b.same(g, g.all)
}

// A lying receiver receipts an alarm that it does not store: its own store shows it.
func TestDropOne(t *testing.T) {
	b, g := newBench(t, "GW-1"), newGW("GW-1", 1)
	_ = b.st.Close()
	b.open(true)
	g.events(1)
	g2 := newGW("GW-1", 1)
	got := b.take(g2.message(g2.events(2), g2.say(g2.event(rules.AlarmRaised), g2.event(rules.AlarmRaised))))
	b.fits(g2, wire.EventStream, got)
	b.expectMissing("event 3-3 unexplained")
	_ = b.st.Close()
	b.open(true)
	if b.in.dropped, _ = b.st.Flag(t.Context(), dropFlag); !b.in.dropped {
		t.Error("the fault is forgotten")
	}
	b.take(g2.message(g2.say(g2.event(rules.AlarmRaised))))
	b.expectMissing("event 3-3 unexplained")
}

func TestTagTable(t *testing.T) {
	b, g := newBench(t, "GW-1"), newGW("GW-1", 1)
	table := g.event(0)
	table.Table = &wire.Table{Plan: make([]byte, 32), Tags: []wire.TableTag{{ID: 5, Name: "nh3-1.gas", Unit: "ppm", TextZh: "氨", TextEn: "ammonia"}}}
	raised := g.event(rules.AlarmRaised)
	raised.Tag = 5
	table2 := g.event(0)
	table2.Table = &wire.Table{Plan: make([]byte, 32), Tags: []wire.TableTag{{ID: 5, Name: "other", Unit: "bar"}}}
	later := g.event(rules.AlarmRaised)
	later.Tag = 5
	b.take(g.message(g.say(table, raised, table2, later)))
	var names []string
	err := b.st.Events(t.Context(), "GW-1", []uint32{uint32(rules.AlarmRaised)}, func(e *store.Event) error {
		if e.Tag == nil {
			t.Error("no tag")
			return nil
		}
		names = append(names, e.Tag.Name+" "+e.Tag.Unit)
		return nil
	})
	if err != nil || fmt.Sprint(names) != "[nh3-1.gas ppm other bar]" {
		t.Errorf("%v %v", names, err)
	}
}

// The order of arrival is in the store: the first record after a pause.
func TestArrival(t *testing.T) {
	b, g := newBench(t, "GW-1"), newGW("GW-1", 1)
	b.take(g.message(g.readings(10)))
	b.wall += 7e9
	r := g.readings(10)
	e := g.events(2)
	b.take(g.message(e), g.message(r))
	p, err := b.st.Pauses(t.Context(), "GW-1", 3*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if len(p) != 1 || p[0].First.Stream != wire.EventStream || p[0].First.Number != 1 || p[0].First.Seq != 11 || p[0].Seconds < 7 || p[0].Backlog[wire.ReadingStream] != 10 || p[0].Backlog[wire.EventStream] != 2 {
		t.Errorf("pauses %+v", p)
	}
	a, err := b.st.FirstAfter(t.Context(), "GW-1", p[0].From)
	if err != nil || a == nil || a.Stream != wire.EventStream {
		t.Errorf("first after: %+v %v", a, err)
	}
}

// TestKill takes a receiver's files as they are between COMMIT and receipt,
// where a kill would leave them, and goes on from these: what was committed is
// there once, and the gateway's repetition is answered. (test/e2e kills a real one.)
func TestKill(t *testing.T) {
	b, g := newBench(t, "GW-1"), newGW("GW-1", 1)
	for round := range 4 {
		m1, m2 := g.message(g.events(5)), g.message(g.readings(40))
		left := t.TempDir()
		publish := b.in.o.Publish
		b.in.o.Publish = func(context.Context, string, []byte) error {
			for _, name := range []string{"receiver.db", "receiver.db-wal"} {
				raw, err := os.ReadFile(filepath.Join(b.dir, name))
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(left, name), raw, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			return errors.New("killed")
		}
		if got := b.take(m1, m2); len(got) != 0 {
			t.Fatalf("round %d: a receipt went out", round)
		}
		b.in.o.Publish = publish
		if err := b.st.Close(); err != nil {
			t.Fatal(err)
		}
		b.dir = left
		b.open(false)
		b.expectMissing()
		b.same(g, g.all)
		got := b.take(m1, m2)
		b.fits(g, wire.EventStream, got)
		b.fits(g, wire.ReadingStream, got)
		b.same(g, g.all)
	}
}

// TestHostile: an enrolled gateway that signs mutilated envelopes, and
// strangers who send noise, stop nothing of what comes after.
func TestHostile(t *testing.T) {
	b := newBench(t, "GW-1", "GW-2")
	rnd := rand.New(rand.NewPCG(7, 11))
	evil, good := newGW("GW-1", 1), newGW("GW-2", 2)
	table := evil.event(0)
	table.Table = &wire.Table{Tags: []wire.TableTag{{ID: 1, Name: "x", Low: math.NaN(), High: math.Inf(1)}, {ID: 1}}}
	start := evil.event(0)
	start.Start = &wire.Start{Parent: make([]byte, 16), ParentHeads: []wire.Head{{Stream: "event", Number: 1 << 60}, {Stream: "\x00"}, {Stream: "reading", Number: 1 << 52}}}
	gap := evil.event(0)
	gap.Gap = &wire.Gap{Stream: "reading", From: 1, To: 1 << 62, Count: 1 << 63, RootAfter: []byte{1}}
	gap2 := evil.event(0)
	gap2.Gap = &wire.Gap{Stream: "gossip", Epoch: make([]byte, 16), From: 3, To: 2}
	gap3 := evil.event(0)
	gap3.Gap = &wire.Gap{Stream: "event", From: 1, To: 1 << 40}
	odd := evil.event(rules.AlarmRaised)
	odd.Limit, odd.Rule, odd.Occurrence, odd.Serial, odd.Tag = math.NaN(), "a\x00b'--", 1<<63, 1<<63, 1<<31
	var seeds [][]byte
	for _, e := range []*wire.Envelope{
		evil.envelope(evil.say(start, table)), evil.envelope(evil.say(gap, gap2, odd)), evil.envelope(evil.readings(9), evil.say(gap3)),
		evil.envelope(evil.block(string(make([]byte, 100)), nil, nil, nil), evil.block("", nil, nil, nil)),
		evil.envelope(wire.Block{Stream: "event", First: 1 << 63, Count: 9}, wire.Block{Stream: "reading", First: 1<<53 - 2, Count: 9, Body: wire.EncodeReadings(make([]tag.Reading, 9))}),
	} {
		seeds = append(seeds, e.Encode(nil))
	}
	rounds := scale.Of(300)
	for n := range rounds {
		var batch []Message
		for range 4 {
			p := append([]byte(nil), seeds[rnd.IntN(len(seeds))]...)
			for range rnd.IntN(4) {
				p[rnd.IntN(len(p))] = byte(rnd.Uint32())
			}
			if rnd.IntN(8) == 0 {
				p = p[:rnd.IntN(len(p))]
			}
			s := wire.Sign(wire.EnvelopeKind, p, key(1))
			m := Message{Topic: "davy/1/GW-1/up/event", Payload: s.Encode(nil)}
			if rnd.IntN(8) == 0 {
				m.Payload = p
			}
			batch = append(batch, m)
		}
		if n%10 == 0 {
			batch = append(batch, good.message(good.events(1), good.readings(3)))
		}
		got := b.take(batch...)
		if n%10 == 0 {
			b.fits(good, wire.EventStream, got)
			b.fits(good, wire.ReadingStream, got)
		}
	}
	if n := b.in.Counts().Failed.Load(); n != 0 {
		t.Errorf("the database refused %d batches", n)
	}
	b.same(good, good.all)
	if _, err := b.st.Digest(t.Context(), "GW-1"); err != nil {
		t.Error(err)
	}
	for range b.missing() {
		break
	}
}
