// Package agent joins the parts of the decider (`davy run`) to one running
// whole: it loads the accepted plan, restores what was latched, starts the
// parts, and ends them in the order that loses nothing. It holds no policy of
// its own: what is decided stands in rules, how an output moves in output, what
// is kept in the keeper's process, which this package only starts and talks to.
//
// Process (one per state directory): lock, latch store, ring writer, local
// socket. Generation (one per plan): engine, control loop, outputs, links,
// keeper child. `davy apply` ends a generation and begins the next; outputs
// stay where they are meanwhile and states are taken over by rule name. Nobody
// waits for a disk or the keeper between the two: the old keeper writes what it
// has and ends while the new generation watches, and its own comes after that.
//
// An end in order: links (outputs left as declared), control (its last turn,
// remembered), events handed to the keeper, keeper (flushes), socket, latch.
// At any other end the next start goes on from the latch file.
//
// Imports: every package of the decider, config, supervise.
package agent

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"time"

	"davy/agent/clock"
	"davy/agent/control"
	"davy/agent/latch"
	"davy/agent/operate"
	"davy/agent/output"
	"davy/agent/people"
	"davy/agent/ring"
	"davy/agent/supervise"
	"davy/drivers"
	"davy/drivers/tag"
	"davy/rules"
	"davy/rules/load"
)

// Limits.
const (
	flushLimit = 2 * time.Second // an end in order waits so long for the latch and for the keeper to take the last events
	handOver   = time.Second     // two generations whose turns are no further apart hand over at one instant
	lookEvery  = time.Minute     // the site directory is compared with the accepted plan
)

// LatchName is the latch file in the state directory.
const LatchName = "latch"

// Options of `davy run`.
type Options struct {
	StateDir  string
	Site      string // directory to compare with the accepted plan; "": where it came from
	Drivers   drivers.Set
	Templates fs.FS
	Version   string
	KeepArgs  []string     // command line of the keeper, a child of our own binary
	Log       *slog.Logger // must not wait for a disk or a reader: the control loop writes to it
}

// errReload ends a generation because another plan was accepted.
var errReload = errors.New("another plan was accepted")

// process is what outlives a generation.
type process struct {
	o       Options
	boot    string
	started tag.Stamp
	latch   *latch.Store
	keep    *ring.Writer
	lost    bool   // the latch file was missing or damaged, or what it says of the rules was not understood
	why     string // … why, until it is recorded; "" nothing is to be recorded
	memory  control.Memory
	handed  bool // the generation that begins takes over from one that just ended
	current atomic.Pointer[generation]
	reload  chan *Accepted // the plan that is to live from now on
	load    *load.Meter    // of this process; a plan that is applied goes on with it
	gate    *people.Gate   // wrong PINs count on from plan to plan
	next    *Accepted      // … taken from reload

	// Of the generation before, for the one that takes over.
	out    *output.Driver
	keeper <-chan error // closed by the end of its keeper's process
}

// Run decides until ctx ends. It returns nil after an end in order.
func Run(ctx context.Context, o Options) error {
	lock, err := latch.Lock(o.StateDir)
	if err != nil {
		return err
	}
	defer lock.Close()
	p := &process{o: o, boot: clock.BootID(), started: clock.Now(), reload: make(chan *Accepted, 1), gate: newGate(), load: load.New()}
	first, err := LoadAccepted(o.StateDir, o.Drivers)
	if err != nil {
		return err
	}
	if first.Damaged {
		o.Log.Error("accepted site damaged, the one before it runs", "plan", first.Hash[:12])
	}
	p.recall()
	if p.memory.Plan != first.Plan.Hash {
		untag(p.memory.Outbox)
	}
	p.keep = ring.NewWriter(ring.WriterOptions{Pending: p.memory.Outbox, Changed: p.keeperChanged})

	latchCtx, stopLatch := context.WithCancel(context.Background())
	defer stopLatch()
	socketCtx, stopSocket := context.WithCancel(context.Background())
	defer stopSocket()
	latchDone := run(latchCtx, p.latch.Run)
	sockets := &supervise.Group{Log: o.Log}
	sockets.Add("socket", supervise.Restart, &operate.Server{Path: filepath.Join(o.StateDir, "davy.sock"), Handler: p, Log: o.Log})
	socketDone := run(socketCtx, sockets.Run)

	next := first
	for {
		err = p.generation(ctx, next)
		if !errors.Is(err, errReload) || ctx.Err() != nil {
			break
		}
		next, p.handed = p.next, true
	}
	stopSocket()
	<-socketDone
	stopLatch()
	<-latchDone
	if ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled) || errors.Is(err, errReload)) {
		return nil
	}
	return err
}

// untag takes out of events what tags are numbered by a plan that is gone: the
// rule's name stands, and how many samples a record had.
func untag(events []ring.Event) {
	for i := range events {
		events[i].Tag = 0
		events[i].LeaveOut()
	}
}

// run starts f and returns a channel with its end.
func run(ctx context.Context, f func(context.Context) error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	return done
}

// recall reads the latch file; what cannot be read begins a new lineage.
func (p *process) recall() {
	store, payload, err := latch.Open(filepath.Join(p.o.StateDir, LatchName))
	p.latch = store
	if err == nil {
		if store.Torn() {
			p.o.Log.Info("latch file: the last write was cut short, the one before it holds")
		}
		if p.memory, err = control.DecodeMemory(payload); err == nil {
			return
		}
	}
	p.o.Log.Error("latch file lost: interlocks with manual reset start tripped", "err", err)
	p.lost, p.why = true, err.Error()
	p.memory = control.Memory{Lineage: NewLineage()}
}

// NewLineage makes the random id of a new latch file's serials.
func NewLineage() (id [16]byte) {
	rand.Read(id[:]) // crypto/rand.Read never fails: it ends the process instead
	return id
}

// notKnown is a time without anybody deciding of which nothing is known.
const notKnown = -time.Nanosecond

// down is how long nobody decided: 0 only where one generation hands over to
// the next, notKnown after a reboot with a clock that cannot be trusted. It is
// what rules.Engine.Restore takes.
func (p *process) down() time.Duration {
	m := &p.memory
	if p.handed {
		if d := time.Duration(clock.Now().Mono - m.Saved.Mono); d > handOver {
			return d
		}
		return 0
	}
	if m.Saved == (tag.Stamp{}) {
		return notKnown
	}
	if m.Boot == p.boot && p.boot != "" {
		return max(1, time.Duration(p.started.Mono-m.Saved.Mono))
	}
	if trusted, _ := clock.Trusted(); trusted {
		if d := time.Duration(p.started.Wall - m.Saved.Wall); d > 0 {
			return d
		}
	}
	return notKnown
}

// engine makes the rules of a plan and gives them what was remembered.
func (p *process) engine(set rules.Set, lost bool) (*rules.Engine, error) {
	e, err := rules.New(set)
	if err != nil {
		return nil, fmt.Errorf("make rules: %w", err)
	}
	if !lost && len(p.memory.Engine) > 0 {
		if err = e.Restore(p.memory.Engine, p.down()); err != nil {
			p.o.Log.Error("rules not restored: interlocks with manual reset start tripped", "err", err)
			lost, p.lost, p.why = true, true, err.Error()
		}
	}
	if lost {
		e.StartTripped()
	}
	return e, nil
}

// keeperChanged carries the keeper's conditions to the control loop. It must
// not block: the generation's own goroutine does the telling.
func (p *process) keeperChanged(s ring.Status, alive bool) {
	if g := p.current.Load(); g != nil {
		g.keeper.Store(&keeperState{alive: alive, conditions: s.Conditions})
		select {
		case g.keeperNews <- struct{}{}:
		default:
		}
	}
}

// wait blocks until done says yes, at most limit, looking every 10 ms.
func wait(limit time.Duration, done func() bool) bool {
	for end := time.Now().Add(limit); !done(); {
		if time.Now().After(end) {
			return false
		}
		t := time.NewTimer(10 * time.Millisecond)
		<-t.C
	}
	return true
}
