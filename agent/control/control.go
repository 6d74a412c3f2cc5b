// Package control is the one goroutine that decides.
//
// A turn: gather (readings that were offered, commands, conditions), solve
// (image, ageing, rules.Step), drive (output.Driver takes the newest
// demands), remember (the latch file), record (ring). It wakes when a batch
// arrives or the earliest timer is due, and at least every Heartbeat. It never
// waits for a disk, a network or another process: outputs, latch and ring each
// take what they are handed and return at once.
//
// Who owns what: the Loop owns the image, the engine and the outbox; nobody
// else touches them. Others ask through Offer, Do, Set and View.
//
// What is durable when: a turn that changes a state hands the latch a new
// Memory; the events of that turn are released to the keeper once that Memory
// is on disk (or the latch has failed, or took longer than LatchPatience). So
// a kill between the two leaves either neither or both, and a restart resends
// what the keeper has not confirmed: each event is recorded exactly once.
//
// Imports: config, output, scan, latch, ring, rules, rules/load, drivers/tag.
package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"davy/agent/config"
	"davy/agent/latch"
	"davy/agent/output"
	"davy/agent/ring"
	"davy/agent/scan"
	"davy/drivers/tag"
	"davy/rules"
	"davy/rules/load"
)

// Limits.
const (
	Heartbeat     = 100 * time.Millisecond // longest time between two turns
	LatchPatience = time.Second            // events wait this long for the latch file
	slow          = 500 * time.Millisecond // a turn that starts this late: condition control.slow
	batches       = 64                     // offered and not yet taken; more: the links wait
	perTurn       = 32                     // batches taken in one turn
	logKept       = 2000                   // events kept for `davy log`
	latchProbe    = 10 * time.Second       // while the latch file is slow it is written at least so often: to know when it is well
)

// Options of a loop.
type Options struct {
	Plan   *config.Plan
	Engine *rules.Engine
	Output *output.Driver
	Latch  *latch.Store
	Keep   *ring.Writer
	Now    func() tag.Stamp
	Boot   string
	Clock  func() (trusted bool, largest time.Duration)
	Log    *slog.Logger // must not wait for anything: the loop writes to it
	Memory Memory       // as restored; Lineage and Serial go on from it
	Load   *load.Meter  // counts what alarms ask of people, from one loop to the next; the loop's while it runs; nil: nothing is counted
}

// Loop decides. Make it with New; Run it once.
type Loop struct {
	o     Options
	image *rules.Image

	offers  chan scan.Batch
	calls   chan func()
	updates chan update
	stopped chan struct{} // closed when Run has returned
	beat    atomic.Int64
	lineage atomic.Pointer[[16]byte]

	// owned by Run's goroutine
	mem         Memory
	out         rules.Outcome
	seen        []uint32 // tag → number of the step in which it was put
	step        uint32
	turn        ring.Turn
	payload     []byte
	waiting     []permit     // turns whose events wait for the latch
	told        []chan error // who waits for the next memory to be durable
	dirty       bool         // the latch must be written
	latchFailed bool
	latchSlow   uint64 // newest generation that was not on disk in time; 0: none
	slowAt      int64  // Mono at which that was seen
	probed      int64  // Mono of the last memory that was handed over
	next        int64  // Mono of the engine's earliest timer
	log         []ring.Event
	logAt       int
	turns       uint64
	latest      tag.Stamp // of the last turn
	longest     time.Duration
	written     []output.Write // of the present turn
	clock       clockState
	cause       int64
}

type update struct {
	id tag.ID
	on bool
}

// ErrStopped says that the loop has ended: what was asked was not done.
var ErrStopped = errors.New("the control loop has stopped")

// ErrNotSaved says that what was asked was done, and that a power cut now may
// undo it: the latch file was not written in time.
var ErrNotSaved = errors.New("done, but not on disk yet")

// New makes a loop. The engine must already be restored: what it demands is
// with the outputs when New returns, before any link runs.
func New(o Options) *Loop {
	l := &Loop{
		o:       o,
		image:   rules.NewImage(o.Plan.Rules),
		offers:  make(chan scan.Batch, batches),
		calls:   make(chan func(), 16),
		updates: make(chan update, 256),
		stopped: make(chan struct{}),
		mem:     o.Memory,
		seen:    make([]uint32, len(o.Plan.Tags)),
		log:     make([]ring.Event, 0, logKept),
	}
	id := l.mem.Lineage
	l.lineage.Store(&id)
	for i, d := range o.Engine.Demands(nil) {
		if d.Protective {
			o.Output.Demand(i, true, 0)
		}
	}
	o.Load.Keep(func(rule string) bool {
		_, has := o.Engine.Alarm(rule)
		return has
	})
	return l
}

// Offer hands a batch over; it waits while the loop is behind.
func (l *Loop) Offer(ctx context.Context, b scan.Batch) error {
	select {
	case l.offers <- b:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Set sets one of the agent's own conditions ("record.stopped"). It is safe
// from any goroutine but the loop's own; a code that the plan does not know is ignored.
func (l *Loop) Set(ctx context.Context, code string, on bool) {
	id, ok := l.o.Plan.Conditions[code]
	if !ok {
		return
	}
	select {
	case l.updates <- update{id, on}:
	case <-ctx.Done():
	}
}

// Beat is the Mono of the last finished turn; it feeds the watchdog.
func (l *Loop) Beat() int64 { return l.beat.Load() }

// Alive reports whether the beat is younger than three heartbeats.
func (l *Loop) Alive() bool { return l.o.Now().Mono-l.Beat() < int64(3*Heartbeat) }

// call runs f in the loop's goroutine, between two turns, and waits for it.
func (l *Loop) call(ctx context.Context, f func()) error {
	done := make(chan struct{})
	select {
	case l.calls <- func() { f(); close(done) }:
	case <-l.stopped:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-done:
		return nil
	case <-l.stopped:
		select {
		case <-done: // in its last turn
			return nil
		default:
			return ErrStopped
		}
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Do carries out a person's word to a rule.
func (l *Loop) Do(ctx context.Context, c rules.Command) error {
	var err error // the loop's until call has returned nil
	if cerr := l.call(ctx, func() {
		now := l.o.Now()
		l.age(now) // a reset or an acknowledgement judges by nothing that is too old
		if err = rules.Do(l.o.Engine, l.image, now, c, &l.out); err != nil {
			var refused *rules.RefusedError
			note := err.Error()
			if errors.As(err, &refused) {
				note = refused.Code
			}
			l.Note(rules.Event{Kind: ring.CommandRefused, At: now, Rule: c.Rule, Occurrence: c.Occurrence, Who: c.Who, Proved: c.Proved, Note: note})
			return
		}
		l.settle(now)
	}); cerr != nil {
		return cerr
	}
	return err
}

// Arm lets the outputs be driven, or holds them all back. It returns nil when
// that is on disk: who is told that the outputs are disarmed may put a hand in
// the machine, and a restart must not arm them again. ErrNotSaved says that it
// holds and is not on disk after LatchPatience.
func (l *Loop) Arm(ctx context.Context, on bool, who string, proved bool, note string) error {
	told := make(chan error, 1)
	if err := l.call(ctx, func() {
		l.told = append(l.told, told)
		l.dirty = true
		if l.mem.Armed == on {
			return
		}
		l.mem.Armed = on
		kind := ring.OutputsDisarmed
		if on {
			kind = ring.OutputsArmed
		}
		l.Note(rules.Event{Kind: kind, At: l.o.Now(), Who: who, Proved: proved, Note: note})
		l.o.Output.Arm(on)
		l.put("outputs.disarmed", !on)
	}); err != nil {
		return err
	}
	select {
	case err := <-told:
		return err
	case <-l.stopped:
		return ErrNotSaved
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Lineage returns the lineage of the loop's serials, from any goroutine.
func (l *Loop) Lineage() [16]byte { return *l.lineage.Load() }

// NewLineage begins another lineage: the journal knows serials of this one
// that the latch file does not. It returns when that is on disk, or was waited
// for long enough: events that are told in a lineage which is then forgotten
// would be told again.
func (l *Loop) NewLineage(ctx context.Context, id [16]byte) {
	told := make(chan error, 1)
	if l.call(ctx, func() {
		l.mem.Lineage = id
		l.lineage.Store(&id)
		l.told = append(l.told, told)
		l.dirty = true
	}) != nil {
		return // it ends, with the lineage that it had
	}
	select {
	case <-told:
	case <-l.stopped:
	case <-ctx.Done():
	}
}

// PutCondition sets one of the agent's own conditions from the loop's own
// goroutine (output.Driver.Check).
func (l *Loop) PutCondition(code string, on bool) { l.put(code, on) }

// Record adds an event of the agent itself (start, apply) from another goroutine.
func (l *Loop) Record(ctx context.Context, e rules.Event) error {
	return l.call(ctx, func() { l.Note(e) })
}

// Note adds an event of the agent itself; only for the loop's own goroutine
// and for the time before Run.
func (l *Loop) Note(e rules.Event) {
	l.record(&e)
	l.dirty = true
}

// load lets an event count, with its own flag: outputs that are disarmed do not
// quiet an alarm. One that returned and acknowledges itself waits for nobody.
func (l *Loop) load(e *rules.Event) {
	if l.o.Load == nil {
		return
	}
	l.o.Load.Take(e)
	if e.Kind == rules.AlarmReturned {
		if a, _ := l.o.Engine.Alarm(e.Rule); a.State == rules.Normal {
			l.o.Load.Answered(e.Rule)
		}
	}
}

func (l *Loop) record(e *rules.Event) {
	l.mem.Serial++
	l.load(e)
	ev := ring.Event{Serial: l.mem.Serial, Event: *e, Samples: uint32(len(e.Record))}
	ev.Votes = slices.Clone(e.Votes) // the engine's own live until its next step
	ev.Record = slices.Clone(ring.Thin(e.Record))
	ev.Test = e.Test || !l.mem.Armed && ofPlant(e.Kind)
	l.turn.Events = append(l.turn.Events, ev)
	ev.Record = nil // the log has no room for samples; their number is shown
	if len(l.log) < logKept {
		l.log = append(l.log, ev)
	} else {
		l.log[l.logAt] = ev
		l.logAt = (l.logAt + 1) % logKept
	}
}

// put sets a condition's tag from the loop's own goroutine.
func (l *Loop) put(code string, on bool) {
	if id, ok := l.o.Plan.Conditions[code]; ok {
		l.putTag(id, on)
	}
}

func (l *Loop) putTag(id tag.ID, on bool) {
	r := tag.Reading{Tag: id, Quality: tag.GoodQuality, Value: tag.BoolValue(on), Received: l.o.Now()}
	if old := l.image.Readings()[id]; old.Quality == r.Quality && old.Value == r.Value {
		return
	}
	l.take(&r)
}

// Run decides until ctx ends; the last turn is finished, and remembered.
func (l *Loop) Run(ctx context.Context) error {
	defer close(l.stopped)
	l.begin()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := l.o.Now()
		wait := Heartbeat - time.Duration(now.Mono-l.latest.Mono)
		if l.next != 0 {
			wait = min(wait, time.Duration(l.next-now.Mono))
		}
		timer.Reset(max(wait, 0))
		select {
		case <-ctx.Done():
			l.finish()
			return ctx.Err()
		case b := <-l.offers:
			l.batch(&b)
		case u := <-l.updates:
			l.putTag(u.id, u.on)
		case f := <-l.calls:
			f()
		case <-l.o.Latch.Changed():
			l.saved()
		case <-timer.C:
		}
		l.gather()
		l.solve()
	}
}

// begin says what is known of the agent's own conditions before the first step.
func (l *Loop) begin() {
	// A condition that stood before stands until its owner says otherwise: a
	// restart is no news of it.
	stands := map[string]bool{"outputs.disarmed": true, "clock.unsynchronised": true} // these two are said below, once
	for _, a := range l.o.Engine.Alarms(nil, l.o.Now()) {
		stands[a.Name] = stands[a.Name] || a.State == rules.Unacked || a.State == rules.Acked
	}
	for code, id := range l.o.Plan.Conditions {
		if !stands[code] {
			l.putTag(id, false)
		}
	}
	l.put("outputs.disarmed", !l.mem.Armed)
	l.latest = l.o.Now()
	l.checkClock(l.latest) // readings may step the rules before the first turn ends: a shift must know how far to trust the clock
}

// gather takes what else is there, without waiting.
func (l *Loop) gather() {
	for range perTurn {
		select {
		case b := <-l.offers:
			l.batch(&b)
		case u := <-l.updates:
			l.putTag(u.id, u.on)
		case f := <-l.calls:
			f()
		case <-l.o.Latch.Changed():
			l.saved()
		default:
			return
		}
	}
}

func (l *Loop) batch(b *scan.Batch) {
	l.o.Output.Observe(b.Readings)
	for i := range b.Readings {
		l.take(&b.Readings[i])
	}
	b.Free()
}

// take puts one reading into the image; a second reading of the same tag
// since the last step makes a step first, so that none is skipped.
func (l *Loop) take(r *tag.Reading) {
	over := l.next != 0 && l.next <= r.Received.Mono && l.image.Overlaid(r.Tag) // perhaps what lies over it
	if l.seen[r.Tag] == l.step+1 || over {
		l.stepOnce(r.Received)
	}
	l.seen[r.Tag] = l.step + 1
	l.image.Put(*r)
	l.turn.Readings = append(l.turn.Readings, l.image.Readings()[r.Tag]) // as it counts, with what lies over it
	l.cause = r.Received.Mono
}

// stepOnce lets the rules see the image.
func (l *Loop) stepOnce(now tag.Stamp) {
	l.step++
	rules.Step(l.o.Engine, l.image, now, &l.out)
	l.settle(now)
}

// settle carries out what a step or a command led to: outputs first.
func (l *Loop) settle(now tag.Stamp) {
	for _, d := range l.out.Demands {
		l.o.Output.Demand(d.Output, d.Protective, l.cause)
	}
	l.turn.Readings = append(l.turn.Readings, l.out.Computed...)
	for _, o := range l.out.Overlays { // these look otherwise from now on
		r := l.image.Readings()[o.Tag]
		r.Received = now
		l.turn.Readings = append(l.turn.Readings, r)
	}
	for i := range l.out.Events {
		l.record(&l.out.Events[i])
	}
	l.dirty = l.dirty || l.out.Durable || len(l.out.Events) > 0
	l.next = l.out.Next
}

// age makes readings that are too old by now stale, and returns when to look
// again. Nothing came of these, and that is to be known afterwards.
func (l *Loop) age(now tag.Stamp) (next int64) {
	next = l.image.Age(now)
	for _, id := range l.image.Aged() {
		r := l.image.Readings()[id]
		r.Received = now
		l.turn.Readings = append(l.turn.Readings, r)
	}
	return next
}

// solve is the end of a turn.
func (l *Loop) solve() {
	now := l.o.Now()
	late := time.Duration(now.Mono - l.latest.Mono)
	l.longest = max(l.longest, late)
	if l.turns > 0 {
		l.put("control.slow", late > slow)
	}
	l.checkClock(now)
	aged := l.age(now)
	l.stepOnce(now)
	if aged != 0 && (l.next == 0 || aged < l.next) {
		l.next = aged
	}
	l.o.Output.Check(now)
	l.written = l.o.Output.TakeWrites(l.written[:0])
	for i := range l.written {
		w := &l.written[i]
		kind := ring.OutputWritten
		switch {
		case w.Unknown:
			kind = ring.OutputUnknown
		case w.Err != "":
			kind = ring.OutputFailed
		}
		l.Note(rules.Event{Kind: kind, At: w.At, Output: w.Name, Value: w.Value, Note: w.Err})
	}
	l.turn.Now, l.turn.Armed = now, l.mem.Armed
	l.turn.ClockTrusted, l.turn.ClockError = l.clock.trusted, l.clock.largest
	if len(l.turn.Events) > 0 || len(l.turn.Readings) > 0 {
		l.o.Keep.Offer(&l.turn) // its events wait there for their permit
	}
	l.turn.Events, l.turn.Readings = l.turn.Events[:0], l.turn.Readings[:0]
	l.remember(now)
	l.latest = now
	l.turns++
	l.beat.Store(now.Mono)
}

// finish ends the last turn.
func (l *Loop) finish() {
	l.gather()
	l.Note(rules.Event{Kind: ring.AgentStopped, At: l.o.Now()})
	l.solve()
}

// Memory returns what the next loop goes on from; only after Run has returned.
func (l *Loop) Memory() Memory { return l.mem }

// Image returns the readings by tag; only after Run has returned.
func (l *Loop) Image() []tag.Reading { return l.image.Readings() }

// String names the loop in errors.
func (l *Loop) String() string { return fmt.Sprintf("control loop of %s", l.o.Plan.Gateway.ID) }

type clockState struct {
	trusted bool
	largest time.Duration
	asked   int64
	offset  int64 // wall minus mono at the last look; 0 none
}

const (
	clockEvery = time.Second
	clockStep  = 2 * time.Second // wall moved against mono by more than this: an event
)

// checkClock looks at the clock's trust and for steps.
func (l *Loop) checkClock(now tag.Stamp) {
	c := &l.clock
	if c.asked != 0 && now.Mono-c.asked < int64(clockEvery) {
		return
	}
	c.asked = now.Mono
	if l.o.Clock != nil {
		c.trusted, c.largest = l.o.Clock()
	}
	l.put("clock.unsynchronised", !c.trusted)
	offset := now.Wall - now.Mono
	if moved := offset - c.offset; c.offset != 0 && (moved > int64(clockStep) || moved < -int64(clockStep)) {
		v, _ := tag.Float64Value(time.Duration(moved).Seconds())
		l.Note(rules.Event{Kind: ring.ClockStepped, At: now, Value: v})
	}
	c.offset = offset
}
