package uplink

import (
	"testing"
	"testing/synctest"
	"time"

	"davy/agent/evidence"
	"davy/agent/merkle"
	"davy/agent/wire"
)

// witness is what the far end of a line knows of the gateway's logs.
type witness struct {
	t     *testing.T
	notes map[wire.Epoch][]byte
	seen  []wire.Envelope // with a checkpoint
	codes []string        // what was answered to them
	say   func(r *wire.Receipt)
}

func newWitness(t *testing.T) *witness { return &witness{t: t, notes: map[wire.Epoch][]byte{}} }

// answer is that of a receiver as the wire contract has it.
func (w *witness) answer(l *line, e *wire.Envelope) {
	r := l.take(e)
	if len(e.Checkpoint) > 0 {
		r.Log = w.judge(e)
		w.seen, w.codes = append(w.seen, *e), append(w.codes, r.Log)
	}
	r.Witness = w.notes[e.Epoch]
	if w.say != nil {
		w.say(r)
	}
	l.receipts <- signed(r, key(2))
}

func (w *witness) judge(e *wire.Envelope) string {
	c, err := evidence.ReadCheckpoint(e.Checkpoint)
	if err != nil || c.Gateway != e.Gateway || c.Epoch != e.Epoch || string(c.Key) != string(pub(key(1))) {
		w.t.Errorf("checkpoint %q: %v", e.Checkpoint, err)
		return "malformed"
	}
	if old := w.notes[e.Epoch]; old != nil {
		was, _, err := evidence.Witnessed(old, pub(key(2)))
		if err != nil {
			w.t.Fatal(err)
		}
		switch {
		case c.Size < was.Size:
			return "smaller"
		case e.Proof == nil || e.Proof.Size != was.Size:
			return "proof"
		}
		var proof []merkle.Hash
		for _, h := range e.Proof.Hashes {
			proof = append(proof, merkle.Hash(h))
		}
		if (merkle.Tree{}).CheckGrowth(proof, int64(c.Size), c.Root, int64(was.Size), was.Root) != nil {
			return "fork"
		}
	}
	note, err := evidence.Cosign(e.Checkpoint, "receiver", key(2), 5e18)
	if err != nil {
		w.t.Fatal(err)
	}
	w.notes[e.Epoch] = note
	return ""
}

func (p *plant) signer() *Signer {
	return &Signer{Journal: p.j, Gateway: gateway, Key: key(1), Now: now}
}

// size is what is witnessed of the current epoch.
func (w *witness) size(p *plant) uint64 {
	if w.notes[p.j.Epoch()] == nil {
		return 0
	}
	c, _, err := evidence.Witnessed(w.notes[p.j.Epoch()], pub(key(2)))
	if err != nil {
		w.t.Fatal(err)
	}
	return c.Size
}

func (p *plant) leaves() uint64 {
	n, err := p.j.LogSize(p.j.Epoch())
	if err != nil {
		p.t.Fatal(err)
	}
	return n
}

// Checkpoints ride along, each with the proof from the one before; what was
// recorded last gets one of its own; none is sent for nothing.
func TestCheckpoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, w := newPlant(t), newWitness(t)
		p.sign = true
		l := newLine(w.answer)
		p.start(func(int) *line { return l })
		for range 100 {
			p.add(1, 20)
			time.Sleep(time.Second)
		}
		wait(t, CheckpointEvery+5*time.Second, "everything witnessed", func() bool { return w.size(p) == p.leaves() })
		// 200 leaves in 100 s: one every 10 s.
		if n := len(w.seen); n < 9 || n > 13 {
			t.Errorf("%d checkpoints", n)
		}
		for i, e := range w.seen {
			if w.codes[i] != "" || (e.Proof == nil) != (i == 0) {
				t.Errorf("checkpoint %d: %q, proof %v", i, w.codes[i], e.Proof)
			}
		}
		wait(t, 3*time.Second, "the status to say so", func() bool { return p.u.Status().Witness.Blocks == 0 && p.u.Status().Witness.Wall == 5e18 })
		sent := p.u.Status().Messages
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if s := p.u.Status(); s.Messages != sent || s.Refused != 0 || s.Log != "" {
			t.Errorf("with nothing new: %+v", s)
		}
		p.add(3, 0) // one block
		wait(t, 12*time.Second, "the last one", func() bool { return w.size(p) == p.leaves() })
		for range 4 * CheckpointBlocks {
			p.add(1, 0)
			time.Sleep(20 * time.Millisecond)
		}
		wait(t, CheckpointEvery/4, "many blocks at once witnessed before the time", func() bool { return w.size(p)+CheckpointBlocks > p.leaves() })
		if _, ok := p.j.Witness(p.j.Epoch(), "regulator"); !ok {
			t.Error("the journal does not have it")
		}
	})
}

// A receiver that lost what it had witnessed, or says that it has another
// size, is sent what goes on from there, without an alarm.
func TestCheckpointAdapts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, w := newPlant(t), newWitness(t)
		p.sign = true
		p.start(func(int) *line { return newLine(w.answer) })
		p.add(5, 50)
		all := func() bool { return w.size(p) == p.leaves() }
		wait(t, 15*time.Second, "witnessed", all)
		first, size := w.notes[p.j.Epoch()], w.size(p)
		p.add(5, 50)
		time.Sleep(CheckpointEvery)
		p.add(5, 50)
		wait(t, 15*time.Second, "witnessed", all)
		w.notes[p.j.Epoch()] = first // as after a restore
		p.add(5, 50)
		wait(t, 30*time.Second, "witnessed again", all)
		delete(w.notes, p.j.Epoch())
		p.add(5, 50)
		wait(t, 30*time.Second, "witnessed again", all)
		if s := p.u.Status(); s.Refused != 0 || s.Log != "" {
			t.Errorf("%+v", s)
		}
		again := 0
		for _, e := range w.seen {
			if e.Proof != nil && e.Proof.Size == size {
				again++
			}
		}
		if again != 2 {
			t.Errorf("%d proofs from %d leaves on, answered with %q", again, size, w.codes)
		}
	})
}

// What a receiver says of our log that is not so moves nothing and is an event.
func TestWitnessThatDoesNotFit(t *testing.T) {
	sign := func(t *testing.T, c *evidence.Checkpoint, device, receiver byte) []byte {
		note, err := c.Sign(key(device))
		if err == nil {
			note, err = evidence.Cosign(note, "receiver", key(receiver), 5e18)
		}
		if err != nil {
			t.Fatal(err)
		}
		return note
	}
	for code, note := range map[string]func(t *testing.T, p *plant) []byte{
		"witness": func(t *testing.T, p *plant) []byte {
			return sign(t, &evidence.Checkpoint{Gateway: gateway, Epoch: p.j.Epoch(), Size: 1}, 1, 3)
		},
		"witness-other": func(t *testing.T, p *plant) []byte {
			return sign(t, &evidence.Checkpoint{Gateway: gateway, Epoch: p.j.Epoch(), Size: 1}, 7, 2)
		},
		"witness-ahead": func(t *testing.T, p *plant) []byte {
			return sign(t, &evidence.Checkpoint{Gateway: gateway, Epoch: p.j.Epoch(), Size: 1000}, 1, 2)
		},
		"witness-root": func(t *testing.T, p *plant) []byte {
			return sign(t, &evidence.Checkpoint{Gateway: gateway, Epoch: p.j.Epoch(), Size: 1}, 1, 2)
		},
	} {
		t.Run(code, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, w := newPlant(t), newWitness(t)
				p.sign = true
				p.add(2, 10)
				bad := note(t, p)
				w.say = func(r *wire.Receipt) { r.Witness = bad }
				p.start(func(int) *line { return newLine(w.answer) })
				wait(t, 5*time.Second, "a refusal", func() bool { return p.u.Status().Refused > 0 })
				wait(t, 5*time.Second, "everything confirmed all the same", func() bool { return p.backlog() == 0 })
				if _, ok := p.j.Witness(p.j.Epoch(), "regulator"); ok {
					t.Error("it counts")
				}
				p.cancel()
				<-p.ended
				if p.refused[code] == 0 || len(p.refused) != 1 {
					t.Errorf("refused %v", p.refused)
				}
			})
		})
	}
}

// A receiver that finds a fork is an event and is shown; it is asked again, but
// not for ever faster.
func TestForkIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, w := newPlant(t), newWitness(t)
		p.sign = true
		p.add(2, 10)
		fork := true
		w.say = func(r *wire.Receipt) {
			if fork {
				r.Log, r.Witness = "fork", nil
			}
		}
		p.start(func(int) *line { return newLine(w.answer) })
		wait(t, 5*time.Second, "the fork shown", func() bool { return p.u.Status().Log == "fork" })
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if n := len(w.seen); n > 12 {
			t.Errorf("%d checkpoints in ten minutes", n)
		}
		p.mu.Lock()
		n := p.refused["log-fork"]
		p.mu.Unlock()
		if n == 0 {
			t.Errorf("refused %v", p.refused)
		}
		fork = false
		w.notes = map[wire.Epoch][]byte{}
		p.add(1, 0)
		wait(t, 2*CheckpointAgain, "it to be over", func() bool { return p.u.Status().Log == "" && w.size(p) == p.leaves() })
	})
}

// A checkpoint that was lost alone is sent again, also where receipts for what
// went with it the second time say nothing of it and nothing new is recorded.
func TestCheckpointLostAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, w := newPlant(t), newWitness(t)
		p.sign = true
		p.add(2, 10)
		lost := 0
		p.start(func(int) *line {
			return newLine(func(l *line, e *wire.Envelope) {
				if e.Checkpoint != nil && lost == 0 {
					lost++
					return
				}
				w.answer(l, e)
			})
		})
		wait(t, time.Minute, "everything confirmed", func() bool { return p.backlog() == 0 })
		if lost != 1 {
			t.Fatal("no checkpoint was lost: the test proves nothing")
		}
		wait(t, CheckpointHeard+CheckpointAgain, "everything witnessed", func() bool { return w.size(p) == p.leaves() })
	})
}
