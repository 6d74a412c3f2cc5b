package uplink

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"sync"
	"time"

	"davy/agent/evidence"
	"davy/agent/journal"
	"davy/agent/merkle"
	"davy/agent/wire"
	"davy/drivers/tag"
)

// How checkpoints are made and sent, each with what happens at it.
const (
	CheckpointEvery  = 10 * time.Second // a log that grew has a new one this often, at most,
	CheckpointBlocks = 64               // or as soon as it has grown by so many leaves
	CheckpointAgain  = time.Minute      // without a word from the receiver on one that was sent: it is sent again
	CheckpointHeard  = 10 * time.Minute // where receipts came that say nothing of it: it may have been lost alone
	DoubtEvery       = time.Minute      // a witness that does not fit has our own log read from end to end this often, at most
)

// Signer makes the checkpoints of a journal's logs, once for all destinations.
// Its methods may be called from any goroutine.
type Signer struct {
	Journal *journal.Journal
	Gateway string
	Key     ed25519.PrivateKey
	Now     func() tag.Stamp
	Trusted func() bool // the wall clock can be believed; nil: it cannot

	mu   sync.Mutex
	last map[wire.Epoch]*noted
}

// noted is a checkpoint that was signed.
type noted struct {
	size uint64
	root merkle.Hash
	at   int64 // mono
	note []byte
}

// Sign returns the signed checkpoint of an epoch's log.
func (g *Signer) Sign(id wire.Epoch, size uint64, root merkle.Hash) ([]byte, error) {
	c := evidence.Checkpoint{Gateway: g.Gateway, Epoch: id, Size: size, Root: root, At: g.Now(), Trusted: g.Trusted != nil && g.Trusted()}
	return c.Sign(g.Key)
}

// newest returns the newest checkpoint of an epoch, made now if one is due; nil
// if the log has no leaf.
func (g *Signer) newest(id wire.Epoch, current bool) (*noted, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	size, root, err := g.Journal.LogHead(id)
	if err != nil {
		return g.last[id], err
	}
	last, now := g.last[id], g.Now().Mono
	switch {
	case size == 0:
		return nil, nil
	case last == nil:
	case size <= last.size:
		return last, nil
	case current && size-last.size < CheckpointBlocks && now-last.at < int64(CheckpointEvery) && now >= last.at:
		return last, nil
	}
	note, err := g.Sign(id, size, root)
	if err != nil {
		return last, err
	}
	if g.last == nil {
		g.last = map[wire.Epoch]*noted{}
	}
	for old := range g.last {
		if g.Journal.HeadsOf(old) == nil {
			delete(g.last, old)
		}
	}
	g.last[id] = &noted{size, root, now, note}
	return g.last[id], nil
}

// logState is how far a destination has witnessed the log of an epoch.
type logState struct {
	size    uint64 // that its receiver has witnessed, as it said itself; 0: nothing
	root    merkle.Hash
	note    []byte    // that said so
	offered uint64    // the largest checkpoint that was sent and not refused since
	from    uint64    // the size that its proof began with
	at      time.Time // then
	heard   bool      // a receipt for this epoch came since
	refused bool      // and said that this one was not witnessed
}

// log returns the state of an epoch's log, at first as the journal has it.
func (u *Uplink) log(id wire.Epoch) *logState {
	if l := u.logs[id]; l != nil {
		return l
	}
	for old := range u.logs {
		if u.o.Journal.HeadsOf(old) == nil {
			delete(u.logs, old)
		}
	}
	l := &logState{}
	u.logs[id] = l
	if w, ok := u.o.Journal.Witness(id, u.o.Name); ok {
		c, err := evidence.ReadCheckpoint(w.Note)
		if key := u.from.Key(); err == nil && key != nil { // a certified one is not known before its first receipt
			_, _, err = evidence.Witnessed(w.Note, key)
		}
		if err != nil || c.Size != w.Size || c.Root != w.Root || !u.ours(c, id) { // or of a receiver's key that is no longer the one
			u.o.Journal.DropWitness(id, u.o.Name)
			return l
		}
		if code, err := u.fits(c); err == nil && code != "" {
			u.refuse(code)
			u.o.Journal.DropWitness(id, u.o.Name)
			return l
		}
		l.size, l.root, l.note = w.Size, w.Root, w.Note
	}
	return l
}

// ours reports whether a checkpoint is one that this device can have signed.
func (u *Uplink) ours(c *evidence.Checkpoint, id wire.Epoch) bool {
	return c.Gateway == u.o.Gateway && c.Epoch == id && bytes.Equal(c.Key, u.o.Key.Public().(ed25519.PublicKey))
}

// fits holds a checkpoint against our own log. The code says what is wrong; an
// error that nothing can be said now.
func (u *Uplink) fits(c *evidence.Checkpoint) (code string, err error) {
	size, _, err := u.o.Journal.LogHead(c.Epoch)
	if err != nil {
		return "", err
	}
	if c.Size > size {
		return "witness-ahead", nil
	}
	root, err := u.o.Journal.LogRoot(c.Epoch, c.Size)
	if err != nil || root == c.Root {
		return "", err
	}
	if now := time.Now(); now.Sub(u.doubted) >= DoubtEvery || now.Before(u.doubted) {
		u.doubted = now
		if err := u.o.Journal.CheckLog(c.Epoch); err != nil { // or the damage is ours
			return "", err
		}
		if root, err = u.o.Journal.LogRoot(c.Epoch, c.Size); err != nil || root == c.Root {
			return "", err
		}
	}
	return "witness-root", nil
}

// checkpoint gives an envelope the checkpoint that its destination has not
// seen, with the proof that it goes on from what was witnessed there.
func (s *session) checkpoint(e *wire.Envelope) bool {
	u := s.u
	if u.o.Signer == nil {
		return false
	}
	c, err := u.o.Signer.newest(e.Epoch, e.Epoch == u.o.Journal.Epoch())
	if err != nil {
		u.logTrouble(err)
	}
	l := u.log(e.Epoch)
	if c == nil || err != nil || c.size <= l.size || !l.due(c.size, time.Now()) {
		return false
	}
	var proof *wire.Proof
	if l.size > 0 {
		hashes, err := u.o.Journal.ProveGrowth(e.Epoch, c.size, c.root, l.size, l.root)
		if err != nil {
			u.logTrouble(err)
			return false
		}
		proof = &wire.Proof{Size: l.size, Hashes: make([]wire.Root, len(hashes))}
		for i := range hashes {
			proof.Hashes[i] = wire.Root(hashes[i])
		}
	}
	u.logTrouble(nil)
	e.Checkpoint, e.Proof = c.note, proof
	l.offered, l.from, l.at, l.heard, l.refused = c.size, l.size, time.Now(), false, false
	return true
}

// due reports whether a checkpoint of a size is to be sent.
func (l *logState) due(size uint64, now time.Time) bool {
	switch since := now.Sub(l.at); {
	case l.offered == 0:
		return true
	case l.refused: // what it said was not enough to do better at once
		return since >= CheckpointEvery && (size > l.offered || since >= CheckpointAgain)
	case size > l.offered:
		return true
	}
	again := CheckpointAgain
	if l.heard {
		again = CheckpointHeard
	}
	return now.Sub(l.at) >= again
}

// logTrouble logs why checkpoints wait, once.
func (u *Uplink) logTrouble(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != "" && text != u.trouble {
		u.o.Log.Warn("checkpoint waits", "destination", u.o.Name, "error", err)
	}
	u.trouble = text
}

// witnessed takes in what a receipt says of the log. The receipt itself has
// been checked.
func (s *session) witnessed(r *wire.Receipt) {
	u := s.u
	if u.o.Signer == nil || u.o.Journal.HeadsOf(r.Epoch) == nil {
		return
	}
	l := u.log(r.Epoch)
	l.heard = true
	if len(r.Witness) > 0 && !bytes.Equal(r.Witness, l.note) {
		s.newWitness(r, l)
	}
	switch {
	case r.Log == "":
		if l.offered <= l.size {
			u.now.Log = ""
		}
		return
	case len(r.Witness) == 0:
		l.size, l.note = 0, nil // it has none of this epoch
	}
	adapted := l.from != l.size && (r.Log == "proof" || r.Log == "smaller")
	if adapted { // now that it has said where it is
		l.offered = 0
		return
	}
	if !l.refused && l.offered > 0 {
		u.refuse("log-" + r.Log)
		u.now.Log = r.Log
	}
	l.refused = true
}

// newWitness takes in a cosigned checkpoint, if it is one of our own log.
func (s *session) newWitness(r *wire.Receipt, l *logState) {
	u := s.u
	c, wall, err := evidence.Witnessed(r.Witness, u.from.Key())
	switch {
	case errors.Is(err, evidence.ErrNotWitnessed): // by a key that the receiver no longer has, perhaps
		u.refuse("witness")
		if c, err = evidence.ReadCheckpoint(r.Witness); err == nil && u.ours(c, r.Epoch) {
			if code, err := u.fits(c); err == nil && code == "" { // it counts for nothing, but says where to go on
				l.size, l.root, l.note = c.Size, c.Root, bytes.Clone(r.Witness)
			}
		}
		return
	case err != nil:
		u.refuse("witness")
		return
	case !u.ours(c, r.Epoch):
		u.refuse("witness-other")
		return
	}
	code, err := u.fits(c)
	if err != nil {
		u.logTrouble(err)
		return
	}
	if code != "" {
		u.refuse(code)
		u.now.Log = code
		return
	}
	l.size, l.root, l.note = c.Size, c.Root, bytes.Clone(r.Witness)
	if err := u.o.Journal.SetWitness(r.Epoch, u.o.Name, journal.Witness{Size: c.Size, Root: c.Root, Wall: wall * 1e9, Note: l.note}); err != nil && !errors.Is(err, journal.ErrNoLog) {
		u.logTrouble(err)
	}
}

// idle sends a checkpoint alone where nothing else is on its way: what was
// recorded last is witnessed, too.
func (s *session) idle(ctx context.Context) error {
	u := s.u
	if u.o.Signer == nil || s.probing || len(s.way) > 0 {
		return nil
	}
	for _, x := range u.o.Journal.Epochs() {
		if u.o.Cursor.Confirmed(x.ID, wire.EventStream) == 0 {
			continue // of this epoch nothing is there yet
		}
		if n, err := u.o.Journal.LogSize(x.ID); err != nil || n <= u.log(x.ID).size {
			continue
		}
		e := s.envelope(x.ID)
		if !s.checkpoint(&e) {
			continue
		}
		_, err := s.post(ctx, wire.EventStream, &e)
		return err
	}
	return nil
}

// lag brings the status up to date on what is not witnessed.
func (s *session) lag() {
	u := s.u
	if u.o.Signer == nil {
		return
	}
	lag, err := u.o.Journal.WitnessLag(u.o.Name)
	if err != nil {
		u.logTrouble(fmt.Errorf("what is witnessed: %w", err))
		return
	}
	u.now.Witness = lag
}
