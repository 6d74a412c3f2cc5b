// Package ingest takes in what gateways send: checks a message, stores it
// once, and answers with a signed receipt.
//
// It promises: a receipt goes out only after the COMMIT of everything that it
// covers. Nothing that a message holds can stop the next one: what cannot be
// placed is kept as signed bytes and refused, what is not a valid message of
// an enrolled gateway is counted (and kept, up to a limit) and gets no receipt.
// A message that comes again stores nothing and is answered again, because its
// receipt may have been lost.
//
// It is the witness of every gateway's log: a checkpoint is cosigned if it is
// the gateway's, and proves that the log went on from the one that was cosigned
// before; the receipt has the largest, or says why the newest is none. Between
// messages it names gateways that are silent and records that do not come, and
// after the database was restored tells every gateway what is here.
//
// Run owns the store's only batch and is its only writer. Messages wait in a
// bounded queue; those that find it full are dropped and counted, and are sent
// again by their gateway, which has no receipt for them. A batch is what is
// waiting when the one before is done, within the limits below: one message
// when there is little to do, many per COMMIT when there is much.
//
// Imports: gate, store, agent/wire, agent/evidence, agent/merkle, rules (numbers
// of events).
package ingest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"davy/agent/evidence"
	"davy/agent/wire"
	"davy/cmd/davy-receiver/gate"
	"davy/cmd/davy-receiver/store"
	"davy/rules"
)

// Limits, each with what happens at it.
const (
	MaxQueue      = 256             // messages waiting; more are dropped, counted and sent again by their gateway
	BatchMessages = 128             // messages per COMMIT; more wait for the next
	BatchBytes    = 8 << 20         // bytes of messages per COMMIT, likewise
	SendTimeout   = 5 * time.Second // for a batch's receipts to be handed to the broker; then the rest is left out (a duplicate asks for it)
	RetryPause    = time.Second     // after a batch that the database refused
)

// The verdicts on a message that gate lets through and that is not stored.
const (
	Unknown  = "not-enrolled" // valid, of a gateway that nobody enrolled
	WrongKey = "wrong-key"    // valid, of another key than the enrolled one
	Poison   = "not-storable" // the database refused it alone
)

// Message is one that came.
type Message struct {
	Topic   string
	Payload []byte
	Ack     func() // called after the COMMIT; may be nil
}

// Options of an Ingest.
type Options struct {
	Store   *store.Store
	Key     ed25519.PrivateKey                                            // signs receipts, and checkpoints as their witness
	Name    string                                                        // of the receiver, in its cosignatures
	Publish func(ctx context.Context, topic string, payload []byte) error // returns when the message is on its way
	Now     func() time.Time
	Log     *slog.Logger
	// Certificate is the authority's word for Key, which every receipt brings
	// along; nil: gateways know the key itself.
	Certificate []byte
	// Silent is how long nothing may come of a gateway before that is on
	// record, Withheld how long a record that a gateway told of may not come.
	// Zero: DefaultSilent, DefaultWithheld.
	Silent, Withheld time.Duration
	// DropOne makes this a lying receiver, for tests of those who check it:
	// the first alarm of its life is receipted and not stored.
	DropOne bool
}

// Ingest is the receiving side.
type Ingest struct {
	o       Options
	queue   chan Message
	counts  Counts
	dropped bool  // DropOne has dropped
	since   int64 // this process listens without a break, wall, ns
	watched int64 // last, wall, ns
	deaf    atomic.Bool
}

// Counts are figures of this process, for the log; those that matter are computed from the store.
type Counts struct {
	Messages, Dropped, Commits, Receipts, Unsent, Failed atomic.Int64
}

// New returns an Ingest with an empty queue.
func New(o Options) *Ingest {
	if o.Silent == 0 {
		o.Silent = DefaultSilent
	}
	if o.Withheld == 0 {
		o.Withheld = DefaultWithheld
	}
	now := o.Now().UnixNano()
	return &Ingest{o: o, queue: make(chan Message, MaxQueue), since: now, watched: now}
}

// Counts returns the process's figures.
func (i *Ingest) Counts() *Counts { return &i.counts }

// Offer queues a message; false if there is no room. It never blocks.
func (i *Ingest) Offer(m Message) bool {
	select {
	case i.queue <- m:
		return true
	default:
		if i.counts.Dropped.Add(1) == 1 {
			i.o.Log.Warn("messages dropped, queue full", "max", MaxQueue)
		}
		return false
	}
}

// Run takes messages in until ctx ends.
func (i *Ingest) Run(ctx context.Context) error {
	var err error
	if i.dropped, err = i.o.Store.Flag(ctx, dropFlag); err != nil {
		return err
	}
	tick := time.NewTicker(WatchEvery)
	defer tick.Stop()
	for {
		var batch []Message
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			i.Watch(ctx)
			continue
		case m := <-i.queue:
			batch = append(batch, m)
		}
		size := len(batch[0].Payload)
	more:
		for len(batch) < BatchMessages && size < BatchBytes {
			select {
			case m := <-i.queue:
				batch = append(batch, m)
				size += len(m.Payload)
			default:
				break more
			}
		}
		i.Take(ctx, batch)
	}
}

// Take stores a batch and answers it. If the database refuses it, every
// message is tried alone, so that one does not hold up the others; one that is
// refused alone gets no receipt and comes again.
func (i *Ingest) Take(ctx context.Context, batch []Message) {
	err := i.take(ctx, batch)
	if err == nil || ctx.Err() != nil {
		return
	}
	i.counts.Failed.Add(1)
	i.o.Log.Error("batch not stored", "messages", len(batch), "err", err)
	for n := range batch {
		if len(batch) > 1 {
			if err = i.take(ctx, batch[n:n+1]); err == nil {
				continue
			}
		}
		if err = i.poison(ctx, batch[n], err); err != nil {
			i.o.Log.Error("message not stored, its gateway will send it again", "topic", batch[n].Topic, "err", err)
			i.since = i.o.Now().UnixNano() // the database takes nothing: of this time nothing is known
			wait(ctx, RetryPause)
		}
	}
}

// poison counts a message that the database takes in no form. It fails like
// everything else while the disk is full.
func (i *Ingest) poison(ctx context.Context, m Message, cause error) error {
	b, err := i.o.Store.Begin(ctx, i.o.Now().UnixNano())
	if err != nil {
		return errors.Join(cause, err)
	}
	if err := b.Stranger(gate.Check(m.Topic, m.Payload).Gateway, m.Topic, Poison, m.Payload); err != nil {
		b.Rollback()
		return errors.Join(cause, err)
	}
	return b.Commit()
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func (i *Ingest) take(ctx context.Context, batch []Message) error {
	b, err := i.begin(ctx)
	if err != nil {
		return err
	}
	wasDropped := i.dropped
	if i.o.DropOne {
		b.Drop = i.drop(b)
	}
	fail := func(err error) error {
		b.Rollback()
		i.dropped = wasDropped
		return err
	}
	for _, m := range batch {
		if err := i.message(b, m); err != nil {
			return fail(fmt.Errorf("store message: %w", err))
		}
	}
	receipts, err := b.Receipts(i.sign)
	if err != nil {
		return fail(err)
	}
	if err := b.Commit(); err != nil {
		i.dropped = wasDropped
		return err
	}
	i.counts.Messages.Add(int64(len(batch)))
	i.counts.Commits.Add(1)
	for _, m := range batch {
		if m.Ack != nil {
			m.Ack()
		}
	}
	i.sendAll(ctx, receipts)
	return nil
}

func (i *Ingest) sendAll(ctx context.Context, receipts []store.Receipt) {
	sending, stop := context.WithTimeout(ctx, SendTimeout)
	defer stop()
	for _, r := range receipts {
		i.send(sending, r)
	}
}

func (i *Ingest) send(ctx context.Context, r store.Receipt) {
	if err := i.o.Publish(ctx, "davy/1/"+r.Gateway+"/receipt", r.Signed); err != nil {
		if i.counts.Unsent.Add(1) == 1 {
			i.o.Log.Warn("receipt not sent, a duplicate will ask for it", "gateway", r.Gateway, "err", err)
		}
		return
	}
	i.counts.Receipts.Add(1)
}

func (i *Ingest) sign(r *wire.Receipt) []byte {
	r.Certificate = i.o.Certificate
	s := wire.Sign(wire.ReceiptKind, r.Encode(nil), i.o.Key)
	return s.Encode(nil)
}

// message checks one message and stores it. An error is one of the database.
func (i *Ingest) message(b *store.Batch, m Message) error {
	c := gate.Check(m.Topic, m.Payload)
	if c.Verdict != "" {
		return b.Stranger(c.Gateway, m.Topic, c.Verdict, m.Payload)
	}
	g, err := b.Gateway(c.Gateway)
	if errors.Is(err, store.ErrNotEnrolled) {
		return b.Stranger(c.Gateway, m.Topic, Unknown, m.Payload)
	}
	if err != nil {
		return err
	}
	if !evidence.SameFingerprint(g.Fingerprint, c.Key) || g.Key != nil && !bytes.Equal(g.Key, c.Key) {
		return b.Stranger(c.Gateway, m.Topic, WrongKey, m.Payload)
	}
	if g.Key == nil {
		if err := b.Pin(g.ID, c.Key); err != nil {
			return err
		}
	}
	if err := b.Envelope(m.Topic, m.Payload, c.Envelope); err != nil {
		return err
	}
	return i.witness(b, c.Envelope, c.Key)
}

const dropFlag = "fault-dropped-one"

// drop is the test fault DropOne: the first alarm raised is not stored.
func (i *Ingest) drop(b *store.Batch) func(uint64, *wire.Event) bool {
	return func(number uint64, e *wire.Event) bool {
		if i.dropped || e.Kind != uint32(rules.AlarmRaised) || b.SetFlag(dropFlag) != nil {
			return false
		}
		i.dropped = true
		i.o.Log.Warn("test fault: an event is dropped and receipted all the same", "number", number)
		return true
	}
}
