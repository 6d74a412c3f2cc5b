package uplink

import (
	"crypto/ed25519"
	"testing"
	"testing/synctest"
	"time"

	"davy/agent/wire"
)

func resume(m wire.Resume, k ed25519.PrivateKey) []byte {
	s := wire.Sign(wire.ResumeKind, m.Encode(nil), k)
	return s.Encode(nil)
}

// A restored receiver gets again what it lacks, once; a resume that is old,
// foreign, too soon or does not fit moves nothing; receipts of the database
// that it had before count no more.
func TestResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t)
		p.add(5, 50)
		store := "s"
		l := newLine(nil)
		l.answer = func(l *line, e *wire.Envelope) {
			r := l.take(e)
			r.Store = store
			l.receipts <- signed(r, key(2))
		}
		p.start(func(int) *line { return l })
		var kept []Known
		p.u.o.KeepKnown = func(k Known) error {
			if len(kept) == 0 && p.backlog() == 0 {
				t.Error("kept before the cursor went back: a kill here would leave the receiver without what it lacks")
			}
			kept = append(kept, k)
			return nil
		}
		wait(t, 5*time.Second, "everything confirmed", func() bool { return p.backlog() == 0 })
		before := len(l.messages())
		old := signed(&wire.Receipt{Version: wire.Version, Gateway: gateway, Store: "s", Epoch: p.j.Epoch(), Upto: p.j.Heads()[:2]}, key(2))
		m := wire.Resume{Version: wire.Version, Gateway: gateway, Store: "restored", Number: 1, Wall: 7}
		say := func(b []byte) {
			l.receipts <- b
			time.Sleep(1100 * time.Millisecond) // the status, too
			synctest.Wait()
		}
		other := m
		other.Gateway = "GW-2"
		say(resume(m, key(3)))
		say(resume(other, key(2)))
		if s := p.u.Status(); s.Refused != 2 || p.backlog() != 0 {
			t.Fatalf("%+v", s)
		}
		store = "restored"
		l.mu.Lock()
		clear(l.upto)
		clear(l.held)
		l.mu.Unlock()
		say(resume(m, key(2)))
		wait(t, 5*time.Second, "everything confirmed again", func() bool { return p.backlog() == 0 })
		if n := len(l.messages()); n < 2*before || p.u.Status().Resumes != 1 || len(kept) != 1 || kept[0].Store != "restored" || kept[0].Number != 1 {
			t.Errorf("%d messages, %d before; %+v; kept %+v", n, before, p.u.Status(), kept)
		}
		refused := p.u.Status().Refused
		say(resume(m, key(2)))                                                                                    // replayed
		say(resume(wire.Resume{Version: wire.Version, Gateway: gateway, Store: "s", Number: 9, Wall: 6}, key(2))) // of before
		m.Number, m.Wall = 2, 8
		say(resume(m, key(2))) // too soon
		say(old)
		if s := p.u.Status(); s.Refused != refused+4 || s.Resumes != 1 {
			t.Errorf("%+v", s)
		}
		time.Sleep(ResumeEvery)
		m.Have = []wire.Have{{Epoch: p.j.Epoch(), Upto: []wire.Head{{Stream: wire.EventStream, Number: 1e6}}}}
		say(resume(m, key(2))) // it has more than there is
		if s := p.u.Status(); s.Refused != refused+5 || s.Resumes != 1 || p.backlog() != 0 {
			t.Errorf("%+v", s)
		}
		p.cancel()
		<-p.ended
		for _, code := range []string{"key", "gateway", "resume-old", "resume-often", "store", "resume-ahead"} {
			if want := map[string]uint64{"resume-old": 2}[code]; p.refused[code] != max(want, 1) {
				t.Errorf("refused %v, want %s", p.refused, code)
			}
		}
	})
}
