package ingest

import (
	"context"
	"crypto/ed25519"
	"reflect"
	"testing"
	"time"

	"davy/agent/evidence"
	"davy/agent/wire"
	"davy/cmd/davy-receiver/gate"
	"davy/cmd/davy-receiver/store"
)

// A receiver that was restored from an old backup says so with a new store id,
// and tells every gateway what it has, until the gateway goes on from there.
func TestRestored(t *testing.T) {
	b, g := newBench(t, "GW-1", "GW-2"), newGW("GW-1", 1)
	b.take(g.seal(g.vouch(g.envelope(g.events(3)), 0)))
	here := g.heads[wire.EventStream]
	lost := g.message(g.events(2)) // receipted, and not in the backup
	next := g.message(g.events(1))
	id := b.st.ID()
	was, err := b.st.Restored(t.Context(), b.wall)
	if err != nil || was != id || b.st.ID() == id {
		t.Fatalf("%v: %s, then %s", err, was, b.st.ID())
	}
	b.reopen()
	if b.st.ID() == id {
		t.Error("the old id is back")
	}
	of := func(all []*wire.Resume) *wire.Resume {
		t.Helper()
		if len(all) == 0 || all[0].Gateway != "GW-1" {
			t.Fatalf("%d resumes", len(all))
		}
		return all[0]
	}
	all := b.watch(time.Second)
	r := of(all)
	if len(all) != 2 || all[1].Gateway != "GW-2" || len(all[1].Have) != 0 || r.Number != 1 ||
		len(r.Have) != 1 || r.Have[0].Epoch != g.epoch || !reflect.DeepEqual(r.Have[0].Upto, []wire.Head{here}) {
		t.Errorf("%+v", all)
	}
	if c, _, err := evidence.Witnessed(r.Have[0].Witness, key(2).Public().(ed25519.PublicKey)); err != nil || c.Size != 1 {
		t.Errorf("%+v, %v", c, err)
	}
	if all := b.watch(time.Minute); len(all) != 0 { // nobody is there to hear it
		t.Errorf("%+v", all)
	}
	b.take(next) // it did not hear of it: it believes that all before is here
	if got := of(b.watch(time.Minute)); got.Number != 1 || !reflect.DeepEqual(got.Have, r.Have) {
		t.Errorf("%+v", got)
	}
	b.fits(g, wire.EventStream, b.take(lost)) // it did
	if all := b.watch(time.Hour); len(all) != 0 {
		t.Errorf("%+v", all)
	}
	b.expectMissing()
	// Restored once more: another id, another number.
	if _, err := b.st.Restored(t.Context(), b.wall); err != nil {
		t.Fatal(err)
	}
	if got := of(b.watch(time.Second)); got.Number != 2 || got.Store != b.st.ID() {
		t.Errorf("%+v", got)
	}
	all2, err := b.st.Findings(t.Context(), "")
	if err != nil || len(all2) < 2 || all2[0].Kind != store.Restored || all2[0].Note != id {
		t.Errorf("%v: %+v", err, all2)
	}
}

// A gateway of which nothing was lost is told too, once it is there: after an
// earlier restore it believes nobody but the store of then.
func TestRestoredWithoutLoss(t *testing.T) {
	b, g := newBench(t, "GW-1"), newGW("GW-1", 1)
	b.take(g.message(g.events(3)))
	if _, err := b.st.Restored(t.Context(), b.wall); err != nil {
		t.Fatal(err)
	}
	b.watch(time.Second)           // it is not there to hear it
	b.take(g.message(g.events(2))) // and comes later
	if all := b.watch(time.Minute); len(all) != 1 || all[0].Store != b.st.ID() {
		t.Errorf("%+v", all)
	}
	b.take(g.message(g.events(1)))
	if all := b.watch(time.Hour); len(all) != 0 {
		t.Errorf("%+v", all)
	}
}

// A database that was restored and that nobody said it of is found by the hole.
func TestRestoredUnsaid(t *testing.T) {
	b, g := newBench(t, "GW-1"), newGW("GW-1", 1)
	b.take(g.message(g.events(3)))
	g.events(2) // receipted before, and not in the backup
	b.take(g.message(g.events(1)))
	b.hears(g, DefaultWithheld)
	b.take(g.message(g.events(1)))
	b.watch(time.Minute)
	found := b.expectFound(store.Hole)
	if f := found[0]; f.First != 4 || f.Last != 5 {
		t.Errorf("%+v", f)
	}
}

// What this receiver signed is no message of a gateway, whoever sends it back.
func TestReceiptsReplayed(t *testing.T) {
	b, g := newBench(t, "GW-1"), newGW("GW-1", 1)
	var sent [][]byte
	b.in.o.Publish = func(_ context.Context, _ string, payload []byte) error { sent = append(sent, payload); return nil }
	b.take(g.message(g.events(1)))
	if _, err := b.st.Restored(t.Context(), b.wall); err != nil {
		t.Fatal(err)
	}
	b.watch(time.Second)
	if len(sent) != 2 {
		t.Fatalf("%d messages", len(sent))
	}
	for _, p := range sent {
		b.take(Message{Topic: "davy/1/GW-1/up/event", Payload: p})
	}
	if v := b.verdicts(); v[gate.BadSignature] != 2 {
		t.Errorf("%v", v)
	}
}

// A receiver's key that was stolen is withdrawn by the certificate of its
// successor, which every receipt brings along.
func TestReceiverKeyReplaced(t *testing.T) {
	b, g := newBench(t, "GW-1"), newGW("GW-1", 1)
	authority := key(8)
	public := authority.Public().(ed25519.PublicKey)
	certify := func(of ed25519.PrivateKey, number, least uint64) []byte {
		return evidence.SignCertificate(&wire.Certificate{Key: of.Public().(ed25519.PublicKey), Name: "p", NotAfter: 5e18, Number: number, Least: least}, authority)
	}
	at := evidence.Moment{Wall: 1e18, Trusted: true}
	b.in.o.Certificate = certify(key(2), 1, 0)
	r := b.take(g.seal(g.vouch(g.envelope(g.events(1)), 0)))
	b.witnessed(r, 1, "")
	old, err := evidence.CheckCertificate(r[0].Certificate, public, key(2).Public().(ed25519.PublicKey), at, 0)
	if err != nil || old.Number != 1 {
		t.Fatalf("%+v, %v", old, err)
	}
	stolen := r[0].Certificate
	b.in.o.Key, b.in.o.Certificate = key(3), certify(key(3), 2, 2)
	r = b.take(g.message(g.events(1)))
	// What was witnessed stays so, by the key of today.
	w, _, err := evidence.Witnessed(r[0].Witness, key(3).Public().(ed25519.PublicKey))
	if err != nil || w.Size != 1 {
		t.Errorf("%+v, %v", w, err)
	}
	c, err := evidence.CheckCertificate(r[0].Certificate, public, key(3).Public().(ed25519.PublicKey), at, old.Least)
	if err != nil || c.Number != 2 {
		t.Fatalf("%+v, %v", c, err)
	}
	if c, err := evidence.CheckCertificate(stolen, public, key(2).Public().(ed25519.PublicKey), at, c.Least); err == nil {
		t.Errorf("the stolen key is believed: %+v", c)
	}
}

// An id that would be more than one level of a topic is nobody's.
func TestIDs(t *testing.T) {
	b := newBench(t, "GW-1")
	for _, id := range []string{"GW/1", "GW+1", "+", "#", "GW-1/#", "", "GW 1", "网关", "GW-1\x00"} {
		g := newGW(id, 1)
		m := g.message(g.events(1))
		if got := b.take(m); len(got) != 0 {
			t.Errorf("%q: %+v", id, got)
		}
		if gate.ValidID(id) {
			t.Errorf("%q can be enrolled", id)
		}
	}
	if v := b.verdicts(); v[gate.WrongTopic] != 9 || len(v) != 1 {
		t.Errorf("%v", v)
	}
}
