// Package uplink gets the journal's records to one destination and lets the
// journal know what has arrived there.
//
// It promises: a record counts as arrived only by a receipt that carries the
// pinned receiver's signature and that the journal's cursor finds to fit
// (destination, gateway, epoch, numbers, root); a broker's acknowledgement is
// flow control and nothing more. Anything that does not fit moves nothing, is
// counted, and is reported as an event at a bounded rate. Events never wait
// behind readings: before every message of readings it looks for events, after
// an outage all events of all epochs go first, and what readings may be under
// way at one time is bounded by how fast receipts come back. Without a receipt
// in time it goes back to the last confirmed place and sends again.
//
// Checkpoints of the journal's logs ride along (see checkpoint.go), each with the
// proof that it goes on from what the receiver witnessed last. What it says to
// have witnessed counts if its key cosigned it and our own log has that root;
// else nothing moves, and it is an event. A restored receiver is taken back to
// where it says, once for each time it says so (see resume.go).
//
// Run owns every goroutine and connection; nothing is durable here, the
// journal's cursor is. Status may be asked from anywhere.
//
// Imports: journal, evidence, wire, drivers/tag. A Transport is handed in (Dial).
package uplink

import (
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"davy/agent/evidence"
	"davy/agent/journal"
	"davy/agent/wire"
	"davy/drivers/tag"
)

// Limits, each with what happens at it.
const (
	DefaultReceiptWait = 10 * time.Second // without any progress by receipt: back to the confirmed place, and only one message until one comes
	MaxReceiptWait     = time.Minute      // the wait doubles up to this
	MaxRewinds         = 3                // in a row without a receipt; then the connection is made anew
	BackoffMin         = 500 * time.Millisecond
	BackoffMax         = 5 * time.Second // between two connections, with jitter; begins again after a receipt. Short: an alarm may be waiting
	Grace              = 5 * time.Second // at the end of Run, to get receipts for what is left; only if the destination was answering

	EventEnvelope   = 256 << 10 // bytes of blocks in one message of events or health; one block that is larger goes alone
	EventWindow     = 1 << 20   // bytes of events without receipt; more wait
	ReadingEnvelope = 256 << 10 // bytes of blocks in one message of readings; one block that is larger goes alone
	ReadingMin      = 4 << 10   // bytes of readings without receipt; more wait. Begins at ReadingStart,
	ReadingStart    = 64 << 10  // doubles with every receipt that comes within half of ReadingDelay,
	ReadingMax      = 4 << 20   // halves with every one that takes longer than ReadingDelay
	ReadingDelay    = 2 * time.Second
	MaxBlocks       = 1024                    // of one message
	MaxBlock        = wire.MaxMessage - 1<<16 // bytes of one block; a larger one cannot be sent: it is reported and passed over

	ResumeEvery       = time.Minute // a restored receiver is taken back to where it says at most this often; more are refused, it says it again
	RefusedEvery      = time.Minute // a receipt that does not fit is reported at most this often, with how many there were
	ReceiptsPerSecond = 100         // checked; more are dropped, the receiver sends newer ones
	statusEvery       = time.Second
)

// Transport is one open connection to a destination. It is used by one
// goroutine and thrown away when Done is closed.
type Transport interface {
	// Send puts a message of a stream on its way, in the order of the calls.
	// It may wait for room, not for the message to arrive.
	Send(ctx context.Context, stream string, payload []byte) error
	Receipts() <-chan []byte // signed receipts as they came, unchecked
	Done() <-chan struct{}
	Err() error // why Done is closed
	Close() error
}

// Dial makes a connection, ready to send and to receive receipts.
type Dial func(ctx context.Context) (Transport, error)

// State is what every envelope says of the agent.
type State struct {
	Plan         []byte
	Boot         string
	ClockTrusted bool
	ClockError   time.Duration
	Armed        bool
}

// Options of an uplink.
type Options struct {
	Name        string // the destination, as in the site file
	Gateway     string
	Key         ed25519.PrivateKey // of this device
	ReceiverKey ed25519.PublicKey  // whose receipts count; nil: of every key that AuthorityKey certifies
	// AuthorityKey certifies the receiver's keys. Moment is what is known of the
	// time then.
	AuthorityKey ed25519.PublicKey
	Moment       func() evidence.Moment
	// Known is what KeepKnown was given last, also in an earlier run. An error
	// says that it is not kept: then what it says can count once more.
	Known     Known
	KeepKnown func(Known) error
	Journal   *journal.Journal
	Cursor    *journal.Cursor
	Signer    *Signer // of checkpoints; nil: none are sent
	OneWay    bool    // nothing can come back (a diode): what the transport has delivered counts as arrived
	Dial      Dial
	Insecure  bool // shown in the status
	State     func() State
	Now       func() tag.Stamp
	// Refused is called for a receipt that does not fit (code as in
	// evidence.RefusedError and journal.ReceiptError) or a block that
	// is too large ("block"), with how many there were since the last call.
	// It must not block.
	Refused        func(code string, n uint64)
	ReceiptWait    time.Duration // DefaultReceiptWait
	BytesPerSecond int64         // of readings; 0: no limit. Events are never held back by it
	Log            *slog.Logger
}

// Known is what must not be forgotten of a destination's receiver, or what was
// withdrawn or done once counts again.
type Known struct {
	Least  uint64 // the number below which no certificate counts
	Store  string // the last resume that was acted on: whose,
	Number uint64 // its number,
	Wall   int64  // and when the receiver signed it
}

// Status is how a destination is.
type Status struct {
	Name        string
	Connected   bool
	Answering   bool // a receipt came on this connection
	Insecure    bool // the connection is not encrypted
	LastReceipt tag.Stamp
	Backlog     []journal.Backlog
	Error       string // why it is not as it should be, "" when it is
	Witnesses   bool   // its receiver is asked to witness the record
	Witness     journal.WitnessLag
	Log         string // why what was recorded last is not witnessed, as the receiver says it or as we found; "": it is, or will be

	Messages  uint64 // sent, with repetitions
	Bytes     uint64
	Receipts  uint64 // that fitted
	Refused   uint64 // that did not
	Dropped   uint64 // that came too fast to be checked
	Rewinds   uint64
	Resumes   uint64 // that were acted on
	Oversized uint64
}

// Uplink is one destination.
type Uplink struct {
	o      Options
	status atomic.Pointer[Status]
	now    Status // owned by Run

	refused     map[string]uint64 // not yet reported, by code
	refusedNext time.Time
	checked     int // receipts in the second that began at checkedFrom
	checkedFrom time.Time

	from    evidence.Receivers
	logs    map[wire.Epoch]*logState
	doubted time.Time // when our own log was last read from end to end for a witness that did not fit
	trouble string    // why checkpoints wait, as it was logged
	resumed time.Time // the last resume was acted on
}

// New returns an uplink that does nothing until Run.
func New(o Options) *Uplink {
	if o.ReceiptWait <= 0 {
		o.ReceiptWait = DefaultReceiptWait
	}
	if o.Moment == nil {
		o.Moment = func() evidence.Moment { return evidence.Moment{} } // nothing is known
	}
	u := &Uplink{o: o, refused: map[string]uint64{}, logs: map[wire.Epoch]*logState{}}
	u.from = evidence.Receivers{Pinned: o.ReceiverKey, Authority: o.AuthorityKey, Least: o.Known.Least}
	u.now = Status{Name: o.Name, Insecure: o.Insecure, Witnesses: o.Signer != nil}
	u.publish()
	return u
}

// Status returns how it is, at most about a second old while the disk answers.
func (u *Uplink) Status() Status { return *u.status.Load() }

func (u *Uplink) publish() {
	s := u.now
	u.status.Store(&s)
}

// Run connects and sends until ctx ends.
func (u *Uplink) Run(ctx context.Context) error {
	pause := BackoffMin
	told := ""
	for {
		answered, err := u.connect(ctx)
		u.now.Connected, u.now.Answering = false, false
		if ctx.Err() != nil {
			u.flushRefused(time.Time{})
			u.publish()
			return nil
		}
		if err == nil {
			err = errors.New("connection closed")
		}
		u.now.Error = err.Error()
		u.now.Backlog = u.o.Cursor.Backlog()
		u.publish()
		if answered {
			pause, told = BackoffMin, ""
		}
		if told != u.now.Error {
			told = u.now.Error
			u.o.Log.Warn("uplink not connected", "destination", u.o.Name, "err", err)
		}
		t := time.NewTimer(pause/2 + rand.N(pause/2))
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
		pause = min(2*pause, BackoffMax)
	}
}

// connect makes one connection and uses it to its end. answered: a receipt that fitted came.
func (u *Uplink) connect(ctx context.Context) (answered bool, err error) {
	t, err := u.o.Dial(ctx)
	if err != nil {
		return false, err
	}
	u.now.Connected, u.now.Error = true, ""
	u.publish()
	u.o.Log.Info("uplink connected", "destination", u.o.Name)
	s := newSession(u, t)
	// A message that waits for room must not keep Run from ending: its own
	// context ends Grace after ctx.
	sending, stop := context.WithCancel(context.WithoutCancel(ctx))
	var wait sync.WaitGroup
	wait.Go(func() {
		select {
		case <-sending.Done():
			return
		case <-ctx.Done():
		}
		end := time.NewTimer(Grace)
		defer end.Stop()
		select {
		case <-sending.Done():
		case <-end.C:
			stop()
		}
	})
	err = s.run(ctx, sending)
	stop()
	wait.Wait()
	_ = t.Close()
	return s.answered, err
}

// refuse counts something that does not fit, and reports it at a bounded rate.
func (u *Uplink) refuse(code string) {
	if code == "block" {
		u.now.Oversized++
	} else {
		u.now.Refused++
	}
	u.refused[code]++
	u.flushRefused(time.Now())
}

// flushRefused reports what was counted if it is time to; the zero time is always in time.
func (u *Uplink) flushRefused(now time.Time) {
	if len(u.refused) == 0 || !now.IsZero() && now.Before(u.refusedNext) {
		return
	}
	for code, n := range u.refused {
		u.o.Log.Warn("receipt or block refused", "destination", u.o.Name, "code", code, "count", n)
		if u.o.Refused != nil {
			u.o.Refused(code, n)
		}
	}
	clear(u.refused)
	u.refusedNext = now.Add(RefusedEvery)
}

// tooMany bounds how many receipts are checked in a second.
func (u *Uplink) tooMany(now time.Time) bool {
	if now.Sub(u.checkedFrom) >= time.Second || now.Before(u.checkedFrom) {
		u.checkedFrom, u.checked = now, 0
	}
	u.checked++
	return u.checked > ReceiptsPerSecond
}
