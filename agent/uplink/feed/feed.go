// Package feed gets the journal's records to destinations that speak another
// protocol than ours: plain JSON, Sparkplug B, HJ 212.
//
// It promises: each record goes at least once; those of a stream in their
// order, but that live readings may overtake older ones; events before
// readings, however many of those wait. The cursor moves when the protocol has
// confirmed as far as it can (an MQTT PUBACK, a data answer of HJ 212), and no
// further; a destination is called answering when a word of it came. Such a destination gives no receipt that proves anything: what it
// is given may be lost there, and only a Davy receiver tells. Whether it holds
// back deletion is must_confirm's to say.
//
// A record older than Live when it is sent is marked as history. While a
// backlog of readings waits, what comes now goes first, and history follows at
// HistoryRate. Events keep their order and have no rate: that an alarm came and
// went must not arrive the other way round.
//
// What a reading's tag is called is read from the tag table that stands in its
// epoch of the journal, so that a backlog of an older plan keeps its names, and
// one that begins in the middle of an epoch has them too. A keeper records one
// table per epoch; of several, the last one before the record counts as far as
// it was met. Where the journal no longer has it, Options.Table says it for the
// current epoch, and else the record goes without its tag.
//
// After a restart of the keeper live readings that had overtaken come a second
// time: what overtook is known in memory only.
//
// Who owns what: Run owns the session and every goroutine it starts. Status may
// be asked from anywhere.
//
// Imports: journal, wire, drivers/tag.
package feed

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"davy/agent/journal"
	"davy/agent/wire"
	"davy/drivers/tag"
)

// Limits, each with what happens at it.
const (
	DefaultLive  = 30 * time.Second // older than that when sent is history
	BackoffMin   = 500 * time.Millisecond
	BackoffMax   = 5 * time.Second // between two sessions, with jitter; begins again after a Send that was confirmed
	Grace        = 5 * time.Second // at the end of Run, for what is left; only if the destination was confirming
	ReadBytes    = 64 << 10        // bytes of blocks read from the journal at a time, at least one block
	FirstRecords = 64              // of one Send; halves when it takes longer than SendTime, down to one,
	MaxRecords   = 1024            // doubles when it takes less than half of it, up to this: an event waits for one Send
	SendTime     = 500 * time.Millisecond
	MaxAhead     = 64 // stretches of live readings that have overtaken; at it live readings wait for history
	maxTables    = 4  // epochs whose tag table is held; the one met longest ago is read again
	statusEvery  = time.Second
)

// Record is one record with what its tag means. Exactly one of Event and
// Reading is set.
type Record struct {
	Epoch   wire.Epoch
	Stream  string
	Number  uint64
	Event   *wire.Event
	Reading *tag.Reading
	Tag     *wire.TableTag // of the event or the reading; nil: none, or not known
	Table   *wire.Table    // that was in force; nil: not known
	History bool
}

// Session is one connection, made by an encoding. It is used by one goroutine
// and thrown away when Done is closed.
type Session interface {
	// Send sends records of one stream in their order, and returns when the
	// destination has confirmed them as far as its protocol can. What it cannot
	// express it leaves out, and counts. On ErrLater all of them come again, with
	// more behind them perhaps; on another error in another session.
	Send(ctx context.Context, records []Record) error
	Done() <-chan struct{}
	Err() error // why Done is closed
	Close() error
}

// Leaver is a session that says how many records its protocol could not express.
type Leaver interface{ LeftOut() uint64 }

// ErrLater is what Send returns where a destination is at work on records that
// it has taken and has not confirmed them within SendTime: the same ones come
// again, and what is more urgent goes in between.
var ErrLater = errors.New("not confirmed yet")

// Answerer is a session whose Send may return without a word of the
// destination. Answers counts what it said; without more of it a Send that
// returned is no sign that anybody is there.
type Answerer interface{ Answers() uint64 }

// Connect makes a session, ready to send.
type Connect func(ctx context.Context) (Session, error)

// Options of a feed.
type Options struct {
	Name        string // the destination, as in the site file
	Journal     *journal.Journal
	Cursor      *journal.Cursor
	Connect     Connect
	Now         func() tag.Stamp
	Insecure    bool               // shown in the status
	Live        time.Duration      // DefaultLive; more than readings wait to be recorded
	HistoryRate int64              // records of history per second; 0: no limit
	Table       func() *wire.Table // of the current epoch, if the journal no longer has it; may be nil
	Log         *slog.Logger
}

// Status is how a destination is.
type Status struct {
	Name        string
	Connected   bool
	Answering   bool      // it confirmed something in this session
	Insecure    bool      // the connection is not encrypted
	LastConfirm tag.Stamp // when it last confirmed something
	Backlog     []journal.Backlog
	Ahead       int    // stretches of live readings that have overtaken history
	Error       string // why it is not as it should be, "" when it is

	Records  uint64 // confirmed, with repetitions
	History  uint64 // of these
	LeftOut  uint64 // of these: the protocol could not express them
	Unnamed  uint64 // of these: their tag is not known any more
	Sessions uint64

	Unreadable uint64 // passed over: their block cannot be read by this version
}

// Feed is one destination.
type Feed struct {
	o      Options
	status atomic.Pointer[Status]
	now    Status // owned by Run
	ahead  []span // owned by Run, in order, of the stream of readings of one epoch
	tables tables
}

// span is a stretch of live readings that have gone before older ones: the
// records after from up to to.
type span struct {
	epoch    wire.Epoch
	from, to uint64
}

// New returns a feed that does nothing until Run.
func New(o Options) *Feed {
	if o.Live <= 0 {
		o.Live = DefaultLive
	}
	f := &Feed{o: o, tables: tables{journal: o.Journal, current: o.Table}}
	f.now = Status{Name: o.Name, Insecure: o.Insecure}
	f.publish()
	return f
}

// Status returns how it is, at most about a second old while the disk answers.
func (f *Feed) Status() Status { return *f.status.Load() }

func (f *Feed) publish() {
	s := f.now
	s.Ahead = len(f.ahead)
	f.status.Store(&s)
}

// Run connects and sends until ctx ends.
func (f *Feed) Run(ctx context.Context) error {
	pause := BackoffMin
	told := ""
	for {
		answered, err := f.connect(ctx)
		f.now.Connected, f.now.Answering = false, false
		if ctx.Err() != nil {
			f.publish()
			return nil
		}
		if err == nil {
			err = errors.New("connection closed")
		}
		f.now.Error = err.Error()
		f.now.Backlog = f.o.Cursor.Backlog()
		f.publish()
		if answered {
			pause, told = BackoffMin, ""
		}
		if told != f.now.Error {
			told = f.now.Error
			f.o.Log.Warn("uplink not connected", "destination", f.o.Name, "err", err)
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

// connect makes one session and uses it to its end. answered: something was confirmed.
func (f *Feed) connect(ctx context.Context) (answered bool, err error) {
	s, err := f.o.Connect(ctx)
	if err != nil {
		return false, err
	}
	f.now.Connected, f.now.Error = true, ""
	f.now.Sessions++
	f.publish()
	f.o.Log.Info("uplink connected", "destination", f.o.Name)
	// A Send that waits must not keep Run from ending: its own context ends
	// Grace after ctx.
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
	r := newRun(f, s)
	err = r.run(ctx, sending)
	stop()
	wait.Wait()
	_ = s.Close()
	return f.now.Answering, err
}
