package days

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"davy/agent/config"
	"davy/agent/control"
	"davy/agent/keep"
	"davy/agent/latch"
	"davy/agent/output"
	"davy/agent/ring"
	"davy/agent/scan"
	"davy/agent/uplink"
	"davy/drivers"
	"davy/drivers/tag"
	"davy/rules"
)

// agent is one agent, joined as davy/agent joins it, and what outlives it.
type agent struct {
	dir    string
	set    drivers.Set
	field  *field
	recv   *receiver
	plan   *config.Plan
	bundle *config.Bundle
	start  time.Time
	log    *slog.Logger

	mu      sync.Mutex
	shifted int64         // of the wall clock
	trusted bool          // the clock
	stalled chan struct{} // not nil: the loop waits for it at its next look at the clock
	disk    string        // how the journal's disk is: "", "full", "readonly", "slow", "dead"

	latch   *latch.Store
	writer  *ring.Writer
	out     *output.Driver
	loop    *control.Loop
	memory  control.Memory
	workers []*scan.Worker
	cancel  context.CancelFunc // of loop, links and latch
	stopRun context.CancelFunc // of the links alone
	wg, ls  sync.WaitGroup
	keepers context.CancelFunc
	kg      sync.WaitGroup
	conn    atomic.Pointer[net.Conn] // to the keeper
	up      atomic.Bool
	foreign atomic.Bool // a new lineage was needed

	stopLatch context.CancelFunc
	loopDone  chan struct{}
}

func (a *agent) mono() int64 { return int64(time.Since(a.start)) + int64(time.Hour) }

func (a *agent) now() tag.Stamp {
	m := a.mono()
	a.mu.Lock()
	defer a.mu.Unlock()
	return tag.Stamp{Wall: 1_790_000_000e9 + m + a.shifted, Mono: m}
}

// clock is asked by the loop once a second; it may stand still there.
func (a *agent) clock() (bool, time.Duration) {
	a.mu.Lock()
	wait, trusted := a.stalled, a.trusted
	a.mu.Unlock()
	if wait != nil {
		<-wait
	}
	return trusted, 0
}

func (a *agent) stall(d time.Duration) {
	wait := make(chan struct{})
	a.mu.Lock()
	a.stalled = wait
	a.mu.Unlock()
	<-time.After(d)
	a.mu.Lock()
	a.stalled = nil
	a.mu.Unlock()
	close(wait)
}

func (a *agent) setDisk(how string) {
	a.mu.Lock()
	a.disk = how
	a.mu.Unlock()
}

func (a *agent) faulty(op string) error {
	a.mu.Lock()
	how := a.disk
	a.mu.Unlock()
	switch {
	case how == "full" && (op == "commit" || op == "create" || op == "reserve"):
		return syscall.ENOSPC
	case how == "readonly" && op != "read":
		return syscall.EROFS
	case how == "dead":
		return syscall.EIO
	case how == "slow":
		<-time.After(time.Second)
	}
	return nil
}

// recall reads the latch file, as a start does.
func (a *agent) recall() error {
	store, payload, err := latch.Open(filepath.Join(a.dir, "latch"))
	a.latch = store
	switch {
	case errors.Is(err, latch.ErrMissing) && a.memory.Lineage == [16]byte{}:
		a.memory = control.Memory{Lineage: [16]byte{1}, Armed: true}
		return nil
	case err != nil:
		return err
	}
	a.memory, err = control.DecodeMemory(payload)
	return err
}

// begin starts an agent; down is how long nobody decided: 0 of a hand-over,
// when the driver before is taken over too.
func (a *agent) begin(handover bool) error {
	if !handover {
		if err := a.recall(); err != nil {
			return err
		}
		a.writer = ring.NewWriter(ring.WriterOptions{Pending: a.memory.Outbox})
	}
	engine, err := rules.New(a.plan.Rules)
	if err != nil {
		return err
	}
	if len(a.memory.Engine) > 0 {
		down := time.Duration(0)
		if !handover {
			down = time.Duration(max(a.mono()-a.memory.Saved.Mono, 1))
		}
		if err := engine.Restore(a.memory.Engine, down); err != nil {
			return err
		}
	}
	old := a.out
	a.out = output.New(a.plan, a.memory.Armed, a.now, func(code string, on bool) { a.loop.PutCondition(code, on) }, a.log)
	if handover {
		a.out.TakeOver(old)
	}
	a.loop = control.New(control.Options{
		Plan: a.plan, Engine: engine, Output: a.out, Latch: a.latch, Keep: a.writer, Now: a.now, Boot: "b", Clock: a.clock, Log: a.log, Memory: a.memory,
	})
	a.loop.Note(rules.Event{Kind: ring.AgentStarted, At: a.now(), Note: "days"})
	loop := a.loop
	a.field.mu.Lock()
	a.field.alive, a.field.gone = loop.Alive, false
	a.field.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	links, stop := context.WithCancel(ctx)
	a.cancel, a.stopRun = cancel, stop
	if !handover {
		lctx, lstop := context.WithCancel(context.Background())
		store := a.latch
		a.ls.Go(func() { _ = store.Run(lctx) })
		a.stopLatch = lstop
	}
	a.loopDone = make(chan struct{})
	done := a.loopDone
	go func() { defer close(done); _ = loop.Run(ctx) }()
	a.workers = nil
	for i := range a.plan.Links {
		w := &scan.Worker{
			Index: i, Link: &a.plan.Links[i], Driver: a.set[a.plan.Links[i].Driver], Lane: a.out.Lane(i), Offer: loop.Offer,
			Alive: loop.Alive, Condition: func(code string, on bool) { loop.Set(links, code, on) }, Now: a.now, Log: a.log,
		}
		a.workers = append(a.workers, w)
		a.wg.Go(func() { // as supervise.Restart does
			for links.Err() == nil {
				_ = w.Run(links)
				select {
				case <-links.Done():
				case <-time.After(time.Second):
				}
			}
		})
	}
	kctx, kstop := context.WithCancel(context.Background())
	a.keepers = kstop
	a.kg.Go(func() { a.keep(kctx, loop) })
	a.up.Store(true)
	return nil
}

// keep runs keepers, one after another, each behind a pipe.
func (a *agent) keep(ctx context.Context, loop *control.Loop) {
	hello := ring.Hello{Version: "days", Boot: "b", Started: a.now(), Bundle: a.bundle.Encode(), StateDir: a.dir}
	o := keep.Options{
		Drivers: a.set, Now: a.now, Boot: "b", Log: a.log, Disk: a.faulty,
		Trusted: func() (bool, time.Duration) { a.mu.Lock(); defer a.mu.Unlock(); return a.trusted, 0 },
		Dial: func(string, config.Uplink) uplink.Dial {
			return func(context.Context) (uplink.Transport, error) {
				l, err := a.recv.dial()
				if err != nil {
					return nil, err
				}
				return l, nil
			}
		},
	}
	for ctx.Err() == nil {
		ours, theirs := net.Pipe()
		var end net.Conn = ours
		a.conn.Store(&end)
		kept := make(chan struct{})
		go func() {
			defer close(kept)
			_ = keep.Serve(context.Background(), theirs, o)
			_ = theirs.Close()
		}()
		hello.Lineage = loop.Lineage()
		err := a.writer.Serve(ctx, ours, hello)
		_ = ours.Close()
		<-kept
		if errors.Is(err, ring.ErrLineage) {
			a.foreign.Store(true)
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// cutKeeper hangs up on the keeper.
func (a *agent) cutKeeper() {
	if c := a.conn.Load(); c != nil {
		_ = (*c).Close()
	}
}

// end stops the agent in order, or as a kill does: then nothing that happens
// after counts, neither on the outputs, nor in the latch file, nor at the keeper.
func (a *agent) end(kill bool) error {
	a.up.Store(false)
	var file []byte
	if kill {
		a.field.mu.Lock()
		a.field.gone = true
		a.field.mu.Unlock()
		a.keepers()
		a.cutKeeper()
		a.kg.Wait()
		var err error
		if file, err = os.ReadFile(filepath.Join(a.dir, "latch")); err != nil {
			return err
		}
	}
	a.stopRun()
	a.wg.Wait()
	a.cancel()
	<-a.loopDone
	if !kill {
		a.memory = a.loop.Memory()
		for range 200 { // as agent.flushLimit
			if s := a.latch.State(); s.Durable == s.Asked {
				break
			}
			<-time.After(10 * time.Millisecond)
		}
		a.writer.Permit(a.memory.Serial)
		for range 200 {
			if _, events := a.writer.Waiting(); events == 0 {
				break
			}
			<-time.After(10 * time.Millisecond)
		}
		a.keepers()
		a.kg.Wait()
	}
	a.stopLatch()
	a.ls.Wait()
	if kill {
		return os.WriteFile(filepath.Join(a.dir, "latch"), file, 0o600)
	}
	return nil
}

// apply makes another plan live, as `davy apply` does.
func (a *agent) apply(p *config.Plan, b *config.Bundle) error {
	a.keepers()
	a.kg.Wait()
	a.out.Stay()
	a.stopRun()
	a.wg.Wait()
	a.cancel()
	<-a.loopDone
	a.memory = a.loop.Memory()
	a.plan, a.bundle = p, b
	return a.begin(true)
}

// view returns what the loop knows; nil while it does not answer.
func (a *agent) view() *control.View {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	v, err := a.loop.View(ctx)
	if err != nil {
		return nil
	}
	return v
}

// device is the name of the device that a link reaches in memory.
func (a *agent) links() (names []string) {
	for i := range a.plan.Links {
		names = append(names, a.plan.Links[i].Name)
	}
	return slices.Clip(names)
}
