package agent

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"davy/agent/clock"
	"davy/agent/config"
	"davy/agent/control"
	"davy/agent/output"
	"davy/agent/ring"
	"davy/agent/scan"
	"davy/agent/secret"
	"davy/agent/supervise"
	"davy/drivers"
	"davy/drivers/tag"
	"davy/rules"
)

// DriverDir is where in the state directory drivers keep what outlasts a start.
const DriverDir = "drivers"

// Keeper restarts: it is a process of its own, and the decider goes on without it.
const (
	keeperFirst = 100 * time.Millisecond
	keeperLast  = 10 * time.Second
	keeperGood  = 5 * time.Second // a keeper that ran so long begins with keeperFirst again
	keeperLimit = 96 << 20        // bytes, GOMEMLIMIT of the keeper
	absentFor   = 3 * time.Second // without a keeper for so long: condition record.stopped
)

// keeperTopics begin the codes of the conditions that the keeper says.
var keeperTopics = []string{"record", "journal", "uplink"}

// generation is one plan at work.
type generation struct {
	p       *process
	a       *Accepted
	log     *slog.Logger
	loop    *control.Loop
	out     *output.Driver
	workers []*scan.Worker
	started tag.Stamp
	differs atomic.Bool
	red     atomic.Bool

	keeper     atomic.Pointer[keeperState]
	keeperNews chan struct{}
	keeperPid  atomic.Int64
	talk       sync.Mutex   // held while a conversation with the keeper goes on
	before     <-chan error // the end of the keeper of the generation before; nil: there was none
}

type keeperState struct {
	alive      bool
	conditions []string
}

// generation runs one accepted plan until ctx ends, another plan is accepted
// (errReload) or a vital part fails.
func (p *process) generation(ctx context.Context, a *Accepted) error {
	g := &generation{p: p, a: a, log: p.o.Log, started: clock.Now(), keeperNews: make(chan struct{}, 1)}
	lost := p.lost && p.memory.Saved == (tag.Stamp{})
	engine, err := p.engine(a.Plan.Rules, lost)
	if err != nil {
		return err
	}
	if p.memory.Plan == ([32]byte{}) { // the first start of this state directory, or a lost latch
		p.memory.Armed = a.Plan.Gateway.Armed
	}
	// The loop does not run yet: conditions that parts report before it does wait in its channel.
	set := func(code string, on bool) { g.loop.Set(context.Background(), code, on) }
	g.out = output.New(a.Plan, p.memory.Armed, clock.Now, func(code string, on bool) { g.loop.PutCondition(code, on) }, p.o.Log)
	if p.out != nil {
		g.out.TakeOver(p.out)
	}
	g.before = p.keeper
	g.loop = control.New(control.Options{
		Plan: a.Plan, Engine: engine, Output: g.out, Latch: p.latch, Keep: p.keep,
		Now: clock.Now, Boot: p.boot, Clock: clock.Trusted, Log: p.o.Log, Memory: p.memory, Load: p.load,
	})
	g.announce(engine)

	loopCtx, stopLoop := context.WithCancel(context.WithoutCancel(ctx))
	defer stopLoop()
	linkCtx, stopLinks := context.WithCancel(context.WithoutCancel(ctx))
	defer stopLinks()
	keepCtx, stopKeep := context.WithCancel(context.WithoutCancel(ctx))
	defer stopKeep()

	links := &supervise.Group{Log: p.o.Log}
	for i := range a.Plan.Links {
		w := &scan.Worker{
			Index: i, Link: &a.Plan.Links[i], Driver: p.o.Drivers[a.Plan.Links[i].Driver], Lane: g.out.Lane(i),
			Offer: g.loop.Offer, Alive: g.loop.Alive, Condition: set, Now: clock.Now, Log: p.o.Log.With("part", "scan"),
			Tell: func(e drivers.Event) { g.tell(linkCtx, e) },
			Dir:  filepath.Join(p.o.StateDir, DriverDir), Secret: func(name string) (string, error) { return secret.Get(p.o.StateDir, name) },
		}
		g.workers = append(g.workers, w)
		links.Add("link "+a.Plan.Links[i].Name, supervise.Restart, w)
	}
	links.Add("look", supervise.Restart, supervise.Func(g.look))
	links.Add("keeper-news", supervise.Restart, supervise.Func(g.tellKeeper))
	links.Add("watchdog", supervise.Restart, supervise.Func(func(ctx context.Context) error { return watchdog(ctx, g.loop.Alive, p.o.Log) }))
	p.current.Store(g)

	loopDone := run(loopCtx, g.loop.Run)
	linksDone := run(linkCtx, links.Run)
	keepDone := run(keepCtx, g.keep)
	if wait(10*time.Second, func() bool { return g.loop.Beat() != 0 }) {
		if err := notify("READY=1"); err != nil {
			p.o.Log.Warn("systemd not told", "err", err)
		}
	}
	p.o.Log.Info("watching", "gateway", a.Plan.Gateway.ID, "plan", a.Hash[:12], "tags", len(a.Plan.Tags)-1, "links", len(a.Plan.Links),
		"armed", p.memory.Armed, "took_ms", time.Duration(clock.Now().Mono-g.started.Mono).Milliseconds())

	var end error
	loopEnded := false
	select {
	case <-ctx.Done():
		end = ctx.Err()
	case p.next = <-p.reload:
		end = errReload
	case end = <-loopDone:
		loopEnded = true
	case end = <-linksDone:
		linksDone = run(linkCtx, func(context.Context) error { return nil })
	}
	if errors.Is(end, context.Canceled) && ctx.Err() != nil {
		_ = notify("STOPPING=1") // nothing depends on it
	}
	reload := errors.Is(end, errReload)
	if reload {
		// The keeper knows the tags of this plan only: its conversation ends
		// (within ring.Farewell) while we still decide.
		stopKeep()
		g.talk.Lock() // who comes after this one finds its context ended
		g.out.Stay()
		g.talk.Unlock()
	}
	stopLinks()
	<-linksDone
	stopLoop()
	if !loopEnded {
		<-loopDone
	}
	p.memory = g.loop.Memory()
	p.started = clock.Now()
	if reload {
		p.out, p.keeper = g.out, keepDone
		p.keep.Retag(sameTags(a.Plan, p.next.Plan))
		return end
	}
	if !wait(flushLimit, func() bool { s := p.latch.State(); return s.Durable == s.Asked || s.Err != nil }) {
		p.o.Log.Warn("latch file not written at the end; the disk is slow")
	}
	p.keep.Permit(p.memory.Serial)
	if !wait(flushLimit, func() bool { _, events := p.keep.Waiting(); return events == 0 }) {
		p.o.Log.Warn("keeper did not take the last events; they are kept in the latch file")
	}
	stopKeep()
	<-keepDone
	p.memory.Outbox = p.keep.Outbox(p.memory.Outbox[:0])
	return end
}

// announce records how this generation began, before its first turn.
func (g *generation) announce(engine *rules.Engine) {
	now, p := clock.Now(), g.p
	var down tag.Value // none: not known
	if d := p.down(); d >= 0 {
		down, _ = tag.Float64Value(d.Seconds())
	}
	g.loop.Note(rules.Event{Kind: ring.AgentStarted, At: now, Value: down, Note: p.o.Version})
	if e := p.tellLost(now); e != nil {
		g.loop.Note(*e)
	}
	if p.memory.Plan != g.a.Plan.Hash {
		g.loop.Note(rules.Event{Kind: ring.PlanApplied, At: now, Rule: g.a.Hash, Who: g.a.Who, Proved: g.a.Proved, Note: g.a.Reason})
		if p.memory.Plan != ([32]byte{}) {
			g.tellChanges(now)
		}
	}
	for _, name := range engine.Dropped() {
		p.o.Log.Warn("rule is gone from the plan, its state is dropped", "rule", name)
	}
}

// MaxChanges is how many changes of rules one plan records one by one; of more
// the last event says how many there were, and the hashes of both plans stand.
const MaxChanges = 1000

// Codes in the Channel of a RuleChanged that names no rule.
const (
	changesUnknown = "unknown" // the plan before is not there any more: New is its hash
	changesMore    = "more"    // New is how many are left out
)

// tellChanges records what the plan decides otherwise than the one that ran
// before, each limit with what it was and what it is.
func (g *generation) tellChanges(now tag.Stamp) {
	note := func(rule, part, old, new string) {
		g.loop.Note(rules.Event{
			Kind: ring.RuleChanged, At: now, Rule: rule, Channel: part, Old: old, New: new,
			Who: g.a.Who, Proved: g.a.Proved, Note: g.a.Reason,
		})
	}
	old := ranBefore(g.p.o.StateDir, g.p.memory.Plan, g.p.o.Drivers)
	if old == nil {
		note("", changesUnknown, "", hex.EncodeToString(g.p.memory.Plan[:]))
		return
	}
	changes := config.Changes(old.Plan, g.a.Plan)
	for i := range changes[:min(len(changes), MaxChanges)] {
		c := &changes[i]
		note(c.Rule, c.Part, c.Old, c.New)
	}
	if more := len(changes) - MaxChanges; more > 0 {
		note("", changesMore, "", strconv.Itoa(more))
	}
}

// tellLost returns, once, the event that says that latches are not known, and
// why: interlocks with manual reset start tripped for it.
func (p *process) tellLost(now tag.Stamp) *rules.Event {
	if p.why == "" {
		return nil
	}
	e := &rules.Event{Kind: ring.LatchLost, At: now, Note: p.why}
	p.why = ""
	return e
}

// look compares the site directory with the accepted plan now and then, and
// runs the accepted plan's stories once.
func (g *generation) look(ctx context.Context) error {
	dir := g.a.Dir
	if g.p.o.Site != "" {
		dir = g.p.o.Site
	}
	set := func(code string, on bool) { g.loop.Set(ctx, code, on) }
	set("latch.lost", g.p.lost)
	report := RunStories(g.a.Plan)
	g.red.Store(!report.OK())
	set("plan.tests-red", !report.OK())
	set(config.NotApproved, len(g.a.Plan.Unapproved()) > 0)
	debug.FreeOSMemory() // compiling and the stories took many times what the plan keeps
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	for {
		d := g.a.Damaged || g.a.differs(dir, g.p.o.Templates)
		g.differs.Store(d)
		set("plan.differs", d)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
}

// tellKeeper carries the keeper's conditions to the loop: those that it names
// stand, all others of the keeper's do not.
func (g *generation) tellKeeper(ctx context.Context) error {
	// At first every condition of the keeper's may stand from the run before.
	var standing []string
	for code := range g.a.Plan.Conditions {
		if topic, _, _ := strings.Cut(code, "."); slices.Contains(keeperTopics, topic) {
			standing = append(standing, code)
		}
	}
	timer := time.NewTimer(absentFor)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			if s := g.keeper.Load(); s == nil || !s.alive {
				g.loop.Set(ctx, "record.stopped", true)
			}
			continue
		case <-g.keeperNews:
		}
		s := g.keeper.Load()
		if s == nil || !s.alive {
			timer.Reset(absentFor)
			continue
		}
		g.loop.Set(ctx, "record.stopped", slices.Contains(s.conditions, "record.stopped"))
		for _, code := range standing {
			if code != "record.stopped" && !slices.Contains(s.conditions, code) {
				g.loop.Set(ctx, code, false)
			}
		}
		for _, code := range s.conditions {
			g.loop.Set(ctx, code, true)
		}
		standing = slices.Clone(s.conditions)
	}
}

// sameTags says which tag of the next plan a tag of this one is, 0 for none:
// it has the same name and its values mean the same, codes and texts too (the
// value of a text is a number of the plan's table).
func sameTags(from, to *config.Plan) func(tag.ID) tag.ID {
	ids := map[tag.Name]tag.ID{}
	for i := range to.Tags {
		ids[to.Tags[i].Name] = to.Tags[i].ID
	}
	return func(id tag.ID) tag.ID {
		if int(id) >= len(from.Tags) {
			return 0
		}
		a := &from.Tags[id]
		if b := &to.Tags[ids[a.Name]]; b.Name == a.Name && b.Unit == a.Unit && b.Kind == a.Kind && slices.Equal(a.Names, b.Names) {
			return b.ID
		}
		return 0
	}
}

// keep runs the keeper's process, again and again. That of the generation
// before has ended then: there is one journal.
func (g *generation) keep(ctx context.Context) error {
	if g.before != nil {
		<-g.before // at most supervise.Grace; then it was killed
	}
	backoff := supervise.Backoff{Min: keeperFirst, Max: keeperLast}
	child := supervise.Child{
		Args: g.p.o.KeepArgs, MemLimit: keeperLimit, Started: func(pid int) { g.keeperPid.Store(int64(pid)) },
		Serve: func(ctx context.Context, conn io.ReadWriteCloser) error {
			g.talk.Lock()
			defer g.talk.Unlock()
			if ctx.Err() != nil {
				return ctx.Err()
			}
			err := g.p.keep.Serve(ctx, conn, ring.Hello{
				Version: g.p.o.Version, Lineage: g.loop.Lineage(), Boot: g.p.boot,
				Started: g.started, Bundle: g.a.Bundle.Encode(), StateDir: g.p.o.StateDir,
			})
			if errors.Is(err, ring.ErrLineage) {
				g.log.Warn("the journal is ahead of the latch file: a new lineage begins")
				g.loop.NewLineage(ctx, NewLineage())
			}
			return err
		},
	}
	for ctx.Err() == nil {
		began := time.Now()
		err := child.Run(ctx)
		g.keeperPid.Store(0)
		if ctx.Err() != nil {
			return nil
		}
		g.log.Warn("keeper ended, it is started again", "err", err, "ran_s", int(time.Since(began).Seconds()))
		if time.Since(began) > keeperGood {
			backoff.Reset()
		}
		if !backoff.Wait(ctx) {
			return nil
		}
	}
	return nil
}
