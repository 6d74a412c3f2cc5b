// Package keep is the keeper's process: it takes what the decider says, keeps
// it in the journal and gets it to the destinations.
//
// It promises: the decider hears a Status at once and then each second (and
// when more became durable), also while the disk hangs, is full or is gone; the
// journal is opened again and again until it can be; when the decider goes,
// what came is committed, uplinks get their grace, and the journal is closed as
// clean. An uplink or the retention that fails or panics is run again with
// backoff while everything else goes on. When recording itself fails, Serve
// returns: the decider starts a new keeper and sends it again what was not
// durable, so that each event is recorded once all the same.
//
// Who owns what: Serve owns the connection, the journal and every goroutine it
// starts, and returns when they have. Durable is what the journal says.
//
// Imports: agent/clock, config, evidence, journal, record, ring, secret,
// supervise, uplink and its parts, wire, rules, drivers, drivers/tag.
package keep

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"davy/agent/clock"
	"davy/agent/config"
	"davy/agent/journal"
	"davy/agent/record"
	"davy/agent/ring"
	"davy/agent/supervise"
	"davy/agent/uplink"
	"davy/agent/uplink/feed"
	"davy/drivers"
	"davy/drivers/tag"
	"davy/rules"
)

// Limits, each with what happens at it.
const (
	StatusEvery = time.Second
	StatusLeast = 20 * time.Millisecond // between two of them, however often more becomes durable
	RetainEvery = 10 * time.Second
	OpenFirst   = 500 * time.Millisecond // before the journal is tried again
	OpenLast    = 10 * time.Second
	OpenStopped = 3 * time.Second // without an open journal: record.stopped
	NearlyFull  = 90              // percent of MaxBytes that are not yet confirmed: journal.nearly-full
	NoReceipt   = time.Minute     // connected, something to confirm and no receipt: uplink.*.no-receipt
)

// Where things are in the state directory.
const (
	JournalDir = "journal"
	KeyDir     = "keys"
)

// Options of a keeper. Zero values are the real world.
type Options struct {
	Drivers drivers.Set
	Now     func() tag.Stamp
	Boot    string                       // id of this boot
	Trusted func() (bool, time.Duration) // the wall clock, as the system sees it
	// Dial makes the connection of a destination that speaks our own form; nil: MQTT.
	Dial func(gateway string, u config.Uplink) uplink.Dial
	// DialTCP makes the connection of a host that speaks HJ 212; nil: TCP.
	DialTCP func(address string) func(ctx context.Context) (net.Conn, error)
	// Disk is journal.Options.Disk, for tests.
	Disk func(op string) error
	Log  *slog.Logger
}

// keeper is one conversation.
type keeper struct {
	o     Options
	r     *ring.Reader
	hello ring.Hello
	plan  *config.Plan
	began int64

	open    atomic.Pointer[opened] // nil until the journal is open
	openErr atomic.Pointer[string]
	early   atomic.Uint64 // readings that came before
	news    chan struct{}

	uplinks []*destination
	floor   *floor         // the lower bound of now
	signer  *uplink.Signer // of checkpoints; nil: there is no key
}

// opened is what there is once the journal is open.
type opened struct {
	j   *journal.Journal
	rec *record.Recorder
}

// destination is one uplink while it runs.
type destination struct {
	name string
	must bool
	// oneWay: nothing can come back from it.
	oneWay bool
	up     atomic.Pointer[uplink.Uplink]
	fed    atomic.Pointer[feed.Feed] // of one that speaks another protocol than ours
	// What the last attempt to connect, and the last receipt that did not fit,
	// were refused for, as codes; "": they were not.
	dialed, unfit atomic.Pointer[string]
	err           atomic.Pointer[string] // why there is none
	// since when something waited for a receipt without one; of the status's goroutine
	waiting int64
	receipt tag.Stamp
}

// Serve is the keeper's process. It returns nil when the decider has gone or
// ctx ended, after what came is durable.
func Serve(ctx context.Context, conn io.ReadWriteCloser, o Options) error {
	o = o.withDefaults()
	// The conversation outlives ctx a little: the last status tells what became durable.
	r, hello, err := ring.Accept(context.WithoutCancel(ctx), conn)
	if err != nil {
		return fmt.Errorf("keep: %w", err)
	}
	defer r.Close()
	k := &keeper{o: o, r: r, hello: hello, began: o.Now().Mono, news: make(chan struct{}, 1)}
	k.floor = newFloor(hello.StateDir, o.Now, o.Trusted)
	bundle, err := config.DecodeBundle(hello.Bundle)
	if err != nil {
		return fmt.Errorf("keep: read plan: %w", err)
	}
	plan, problems := config.Compile(bundle, o.Drivers)
	if plan == nil {
		return fmt.Errorf("keep: compile plan: %d problems", len(problems))
	}
	for i := range plan.Links { // what only the decider asks and drives
		plan.Links[i].Scans, plan.Links[i].Subscribe = nil, nil
	}
	plan.Rules, plan.Stories, k.hello.Bundle, bundle = rules.Set{}, nil, nil, nil
	debug.FreeOSMemory() // compiling took many times what the plan keeps
	k.plan = plan
	for _, u := range plan.Uplinks {
		k.uplinks = append(k.uplinks, &destination{name: u.Name, must: u.MustConfirm, oneWay: u.Unconfirmed})
	}
	return k.run(ctx)
}

func (o Options) withDefaults() Options {
	if o.Now == nil {
		o.Now = clock.Now
	}
	if o.Boot == "" {
		o.Boot = clock.BootID()
	}
	if o.Trusted == nil {
		o.Trusted = clock.Trusted
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Disk == nil {
		o.Disk = faultyDisk()
	}
	return o
}

// run joins the parts. Order of the end: the decider's words stop, recording
// commits what came, uplinks get their grace, the journal is closed, the last
// status is sent.
func (k *keeper) run(ctx context.Context) error {
	talk, stopTalk := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stopTalk(nil)
	work, stopWork := context.WithCancelCause(ctx)
	defer stopWork(nil)

	var talking, listening sync.WaitGroup
	talking.Go(func() {
		if err := part(talk, k.tell); err != nil {
			stopWork(err)
		}
	})
	listening.Go(func() { stopWork(part(work, func(context.Context) error { return k.listen() })) })

	err := part(work, k.keep)
	stopTalk(nil)
	talking.Wait()
	_ = k.r.Close() // ends listen
	listening.Wait()
	if cause := context.Cause(work); err == nil && ctx.Err() == nil && !errors.Is(cause, io.EOF) && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	if err != nil {
		return fmt.Errorf("keep: %w", err)
	}
	return nil
}

// part runs f and makes an error of its panic.
func part(ctx context.Context, f func(context.Context) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			stack := make([]byte, 16<<10)
			err = fmt.Errorf("panic: %v\n%s", p, stack[:runtime.Stack(stack, false)])
		}
	}()
	return f(ctx)
}

// listen takes turns until the decider is gone.
func (k *keeper) listen() error {
	var t ring.Turn
	for {
		if err := k.r.Next(&t); err != nil {
			_ = k.r.Close() // so that no status waits for someone who does not read
			return err
		}
		if o := k.open.Load(); o != nil {
			o.rec.Take(&t)
		} else {
			k.early.Add(uint64(len(t.Readings)) + t.Lost.Readings)
		}
	}
}

// keep opens the journal and runs what works on it.
func (k *keeper) keep(ctx context.Context) error {
	j := k.openJournal(ctx)
	if j == nil {
		return nil
	}
	rec := record.New(record.Options{
		Journal: j, Plan: k.plan, Lineage: k.hello.Lineage, Now: k.o.Now, Log: k.o.Log, Report: func() map[string]any { return k.report(j) },
	})
	if n := k.early.Load(); n > 0 {
		rec.Lose(record.CauseKeeper, n, k.hello.Started.Wall, k.o.Now().Wall)
	}
	k.open.Store(&opened{j, rec})
	k.poke()

	// Recording ends first, so that the uplinks' grace is for what it wrote last.
	recording, stopRecording := context.WithCancel(ctx)
	defer stopRecording()
	after, stopAfter := context.WithCancel(context.WithoutCancel(ctx))
	defer stopAfter()
	g := &supervise.Group{Log: k.o.Log}
	g.Add("withdrawn", supervise.Restart, supervise.Func(func(ctx context.Context) error { return k.withdrawn(ctx, j, rec) }))
	g.Add("floor", supervise.Restart, supervise.Func(k.floor.run))
	g.Add("retain", supervise.Restart, supervise.Func(func(ctx context.Context) error { return k.retain(ctx, j) }))
	g.Add("clock", supervise.Restart, supervise.Func(func(ctx context.Context) error { return k.clock(ctx, rec.Note) }))
	for i, u := range k.plan.Uplinks {
		g.Add("uplink "+u.Name, supervise.Restart, supervise.Func(func(ctx context.Context) error { return k.uplink(ctx, j, rec, u, k.uplinks[i]) }))
	}
	var others sync.WaitGroup
	others.Go(func() { _ = g.Run(after) }) // none of its parts is vital
	err := part(recording, rec.Run)
	if err != nil {
		k.o.Log.Error("recording ended", "error", err)
	}
	k.poke()
	stopAfter()
	others.Wait()
	return errors.Join(err, j.Close())
}

// openJournal tries until the journal is open or ctx ends.
func (k *keeper) openJournal(ctx context.Context) *journal.Journal {
	backoff := supervise.Backoff{Min: OpenFirst, Max: OpenLast}
	told := ""
	for ctx.Err() == nil {
		trusted, _ := k.o.Trusted()
		var must []string
		for _, u := range k.plan.Uplinks {
			if u.MustConfirm {
				must = append(must, u.Name)
			}
		}
		j, err := journal.Open(journal.Options{
			Dir: filepath.Join(k.hello.StateDir, JournalDir), Gateway: k.plan.Gateway.ID, MaxBytes: k.plan.Journal.MaxBytes,
			Keep: k.plan.Journal.Keep, Sync: k.plan.Journal.Sync, MustConfirm: must, From: k.from(), Now: k.o.Now, Trusted: trusted, Boot: k.o.Boot,
			Started: k.hello.Started, Version: k.hello.Version, Plan: k.plan.Hash[:], Log: k.o.Log, Disk: k.o.Disk,
			Sign: k.sign(),
		})
		if err == nil {
			if k.signer != nil {
				k.signer.Journal = j
			}
			if told != "" {
				k.o.Log.Info("journal is open")
			}
			return j
		}
		if err.Error() != told {
			told = err.Error()
			k.o.Log.Error("journal cannot be opened", "error", err)
		}
		k.openErr.Store(&told)
		backoff.Wait(ctx)
	}
	return nil
}

func (k *keeper) retain(ctx context.Context, j *journal.Journal) error {
	t := time.NewTicker(RetainEvery)
	defer t.Stop()
	for {
		trusted, _ := k.o.Trusted()
		if err := j.Retain(trusted); err != nil && !errors.Is(err, journal.ErrClosed) {
			k.o.Log.Debug("journal cannot be tidied", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}
