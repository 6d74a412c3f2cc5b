// Package record takes what the decider says and makes it durable: every
// event once, and readings by each tag's policy.
//
// It promises: Take never waits for the disk. An event is committed as soon as
// the commit before it is done, together with those that came meanwhile (in a
// flood a commit begins every 100 ms, and no sooner); a commit of events carries
// nothing else, so that it stays small. Readings go at most every Sync, in a
// transaction of their own. An event that comes again, after a keeper was
// killed, is known by its serial and dropped; serial and event are one
// transaction. Events given up by the decider are named by a gap record in the
// transaction of the event that follows them, so that each is counted once.
//
// When the journal does not take anything: events wait here (MaxEvents), then
// go; readings are thinned, then the oldest go; what went is counted and is a
// gap record as soon as one can be written. Nothing that was given a number is
// touched.
//
// The plan's tag table is recorded before the first reading that uses it. Once
// a minute a record of the keeper's own state goes to the stream health.
//
// Who owns what: Run is the only caller of the journal's Append; Take, Note and
// the questions may come from other goroutines.
//
// Imports: agent/config, agent/journal, agent/ring, agent/wire, rules, drivers/tag.
package record

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"davy/agent/config"
	"davy/agent/journal"
	"davy/agent/ring"
	"davy/agent/wire"
	"davy/drivers/tag"
	"davy/rules"
)

// Health is the kind of the records of the stream health: Note is a JSON
// object with the keeper's own figures.
const Health rules.Kind = 192

// Limits, each with what happens at it.
const (
	MaxEvents   = 16384                  // not yet durable; more: the oldest of the least priority goes, counted
	MaxReadings = 65536                  // not yet durable; more: the oldest go, counted
	MaxSamples  = 65536                  // of records in events not yet durable; more: those of the oldest records go, and their events say how many there were
	BatchEvents = 1024                   // of one transaction; more go in the next
	Gather      = 100 * time.Millisecond // least time between two transactions of events (each is two fsyncs and some 20 kB of flash); those that come meanwhile go together
	ThinEvery   = time.Minute            // while MaxReadings is half full, a reading without a change of quality is kept this often
	HealthEvery = time.Minute            // a record of the stream health
	SlowCommit  = 5 * time.Second        // a commit that takes longer counts as stopped
	FarewellMax = 5 * time.Second        // at the end, for what is still waiting
	tableNames  = 2 << 20                // bytes of names of codes in a tag table; more are left out
	retryFirst  = 100 * time.Millisecond
	retryLast   = 5 * time.Second
)

// The causes of gaps that are made here.
const (
	CauseRing   = "ring-full"   // the decider had no room while the keeper was slow or away
	CauseKeeper = "keeper-down" // readings that came while no journal was open
)

// Options of a Recorder.
type Options struct {
	Journal *journal.Journal
	Plan    *config.Plan
	Lineage [16]byte
	Now     func() tag.Stamp
	Report  func() map[string]any // figures for health records; nil: none
	Log     *slog.Logger
}

// Recorder decides what is kept.
type Recorder struct {
	o      Options
	wake   chan struct{} // events wait
	policy policy

	mu       sync.Mutex
	events   []wire.Event // waiting, in order
	samples  int          // of their records
	seen     uint64       // the last serial taken
	serial   uint64       // the last serial among the waiting or durable ones
	durable  uint64
	readings []tag.Reading
	lost     []loss
	beat     tag.Stamp
	watch    watch
	turns    uint64
	last     ring.Turn // its times and flags only
	started  int64     // mono of the commit under way; 0 none
	failing  error
	failedAt int64
	lossAt   int64
	changed  chan struct{}
}

// loss is what was given up and is not yet named.
type loss struct {
	stream   string
	cause    string
	count    uint64
	from, to int64 // wall
}

// New makes a Recorder whose first record is the plan's tag table.
func New(o Options) *Recorder {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	r := &Recorder{o: o, wake: make(chan struct{}, 1), changed: make(chan struct{})}
	r.seen = o.Journal.Serial(o.Lineage)
	r.serial, r.durable = r.seen, r.seen
	r.policy = newPolicy(o.Plan)
	r.watch = newWatch(o.Plan, o.Now())
	r.events = append(r.events, wire.Event{Kind: uint32(ring.TagTable), At: o.Now(), Table: r.table()})
	r.poke()
	return r
}

// Table returns the tag table that this run recorded.
func (r *Recorder) Table() *wire.Table { return r.table() }

// table is the plan's tag table. Of names of codes it takes wire.MaxNames of at
// most wire.MaxName bytes, tableNames bytes in all, so that the table fits a
// block; what goes beyond is left out, and its numbers stand without a name.
// Names of persons are in it only where an authority asked for them.
func (r *Recorder) table() *wire.Table {
	p, names, size, left := r.o.Plan, 0, 0, 0
	t := &wire.Table{Plan: append([]byte(nil), p.Hash[:]...)}
	for _, x := range p.Tags {
		if x.ID == 0 {
			continue
		}
		row := wire.TableTag{
			ID: x.ID, Name: string(x.Name), Unit: x.Unit, Kind: x.Kind, Ranged: x.Ranged, Low: x.Low, High: x.High,
			TextZh: x.Text.Zh, TextEn: x.Text.En,
		}
		for _, n := range x.Names {
			if names == wire.MaxNames || len(n.Name) > wire.MaxName || size+len(n.Name) > tableNames {
				left++
				continue
			}
			names, size = names+1, size+len(n.Name)
			row.Names = append(row.Names, wire.Name{Code: n.Code, Text: n.Name})
		}
		t.Tags = append(t.Tags, row)
	}
	if p.People.NamesToRegulator {
		for i := range p.People.Persons { // at most people.MaxPersons, each shorter than wire.MaxName
			t.People = append(t.People, wire.Person{ID: p.People.Persons[i].ID, Name: p.People.Persons[i].Name})
		}
	}
	if left > 0 {
		r.o.Log.Warn("names of codes left out of the tag table", "left_out", left, "limit", wire.MaxNames)
	}
	return t
}

func (r *Recorder) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Take takes a turn. Nothing of t is kept but what its events hold.
func (r *Recorder) Take(t *ring.Turn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turns++
	r.watch.turn(t)
	r.beat = t.Now
	r.last = ring.Turn{Now: t.Now, ClockTrusted: t.ClockTrusted, ClockError: t.ClockError, Armed: t.Armed}
	for i := range t.Events {
		e := &t.Events[i]
		if e.Serial <= r.seen {
			continue // recorded already, or waiting here
		}
		// Some of what the ring gave up may have come before it did: that is not lost.
		if from := max(e.LostFrom, r.seen+1); e.LostFrom > 0 && from < e.Serial {
			r.push(gapOf(r.o.Journal.Epoch(), t.Now, loss{wire.EventStream, CauseRing, e.Serial - from, e.LostAt.Wall, e.At.Wall}))
			r.lossAt = t.Now.Mono
		}
		r.seen = e.Serial
		r.push(event(e))
	}
	if n := t.Lost.Readings; n > 0 {
		r.lose(loss{wire.ReadingStream, CauseRing, n, t.Lost.From.Wall, t.Lost.To.Wall}, t.Now.Mono)
	}
	for i := range t.Readings {
		x := t.Readings[i]
		switch r.policy.judge(&x, len(r.readings) > MaxReadings/2) {
		case keep:
			if len(r.readings) == MaxReadings {
				r.shorten(MaxReadings/16, t.Now.Mono)
			}
			r.readings = append(r.readings, x)
		case thin:
			r.lose(loss{wire.ReadingStream, journal.CauseFull, 1, x.Received.Wall, x.Received.Wall}, t.Now.Mono)
		case skip:
		}
	}
	if len(r.events) > 0 {
		r.poke()
	}
}

// shorten gives up the n oldest readings.
func (r *Recorder) shorten(n int, mono int64) {
	r.lose(loss{wire.ReadingStream, journal.CauseFull, uint64(n), r.readings[0].Received.Wall, r.readings[n-1].Received.Wall}, mono)
	r.readings = append(r.readings[:0], r.readings[n:]...)
}

// Note records an event of the keeper's own.
func (r *Recorder) Note(e wire.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.push(e)
	r.poke()
}

// Lose records that readings were given up before they came here.
func (r *Recorder) Lose(cause string, n uint64, from, to int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lose(loss{wire.ReadingStream, cause, n, from, to}, r.o.Now().Mono)
	r.poke()
}

// lose adds to what must be named; one entry per stream and cause.
func (r *Recorder) lose(l loss, mono int64) {
	r.lossAt = mono
	for i := range r.lost {
		if x := &r.lost[i]; x.stream == l.stream && x.cause == l.cause {
			x.count += l.count
			x.from, x.to = min(x.from, l.from), max(x.to, l.to)
			return
		}
	}
	r.lost = append(r.lost, l)
}

// push queues an event. Where there is no room the oldest of the least
// priority goes, gaps and the table never.
func (r *Recorder) push(e wire.Event) {
	if len(r.events) >= MaxEvents {
		least := -1
		for i := range r.events {
			x := &r.events[i]
			if x.Gap == nil && x.Table == nil && (least < 0 || x.Priority < r.events[least].Priority) {
				least = i
			}
		}
		if least >= 0 {
			w := r.events[least].At.Wall
			r.lose(loss{wire.EventStream, journal.CauseFull, 1, w, w}, e.At.Mono)
			r.samples -= len(r.events[least].Record)
			r.events = append(r.events[:least], r.events[least+1:]...)
		}
	}
	r.events = append(r.events, e)
	r.watch.events++
	r.serial = max(r.serial, e.Serial)
	if r.samples += len(e.Record); r.samples > MaxSamples {
		r.samples = leaveOut(r.events, r.samples, MaxSamples)
	}
}

// Run commits until ctx ends, and then, for at most FarewellMax, what waits.
func (r *Recorder) Run(ctx context.Context) error {
	pause := retryFirst
	// A fifth of Sync is left for the commit itself, so that no reading waits longer than Sync.
	every := int64(r.o.Plan.Journal.Sync) * 4 / 5
	dueReadings := r.o.Now().Mono + every
	dueHealth := r.o.Now().Mono + int64(HealthEvery)
	farewell, dueEvents := int64(0), int64(0)
	for {
		now := r.o.Now().Mono
		ending := ctx.Err() != nil
		if ending && farewell == 0 {
			farewell = now + int64(FarewellMax)
		}
		if now >= dueHealth && !ending {
			r.health()
			dueHealth = now + int64(HealthEvery)
		}
		var worked bool
		var err error
		if now >= dueEvents || ending {
			if worked, err = r.commitEvents(); worked {
				dueEvents = now + int64(Gather)
			}
		}
		if err == nil && (now >= dueReadings || ending) && r.tabled() {
			some, rerr := r.commitReadings()
			worked = worked || some
			switch {
			case rerr == nil:
				dueReadings = now + every
			case ending || errors.Is(rerr, journal.ErrClosed) || errors.Is(rerr, journal.ErrBroken):
				err = rerr
			default: // readings may find no room where events do: these do not wait for them
				dueReadings = now + int64(retryLast)
			}
		}
		if errors.Is(err, journal.ErrClosed) || errors.Is(err, journal.ErrBroken) {
			return fmt.Errorf("record: %w", err)
		}
		wait := min(time.Duration(dueReadings-now), time.Duration(dueHealth-now))
		if dueEvents > now {
			wait = min(wait, time.Duration(dueEvents-now))
		}
		if err != nil {
			wait, pause = pause, min(2*pause, retryLast)
		} else {
			pause = retryFirst
		}
		if ending && (!worked && err == nil || r.o.Now().Mono >= farewell) {
			if err != nil {
				return fmt.Errorf("record: %w", err)
			}
			return nil
		}
		if ending && worked && err == nil {
			continue
		}
		t := time.NewTimer(max(wait, time.Millisecond))
		select {
		case <-t.C:
		case <-r.wakeUnless(err != nil || dueEvents > now):
		case <-doneUnless(ctx, ending):
		}
		t.Stop()
	}
}

// wakeUnless keeps new events from hurrying a disk that fails or was just used.
func (r *Recorder) wakeUnless(not bool) <-chan struct{} {
	if not {
		return nil
	}
	return r.wake
}

func doneUnless(ctx context.Context, ending bool) <-chan struct{} {
	if ending {
		return nil
	}
	return ctx.Done()
}

// tabled reports whether the tag table of this epoch is durable.
func (r *Recorder) tabled() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.events {
		if r.events[i].Table != nil {
			return false
		}
	}
	return true
}

func (r *Recorder) commitEvents() (worked bool, err error) {
	r.mu.Lock()
	// What was given up is named before anything that came after it, in the same
	// transaction, so that no serial counts as told of without its gap. While the
	// disk fails the losses wait here and merge; they take no room in the queue.
	lost := r.lost
	r.lost = nil
	var gaps []wire.Event
	for _, l := range lost {
		gaps = append(gaps, gapOf(r.o.Journal.Epoch(), r.o.Now(), l))
	}
	n := min(len(r.events), BatchEvents)
	if n+len(gaps) == 0 {
		r.mu.Unlock()
		return false, nil
	}
	if n > 1 && n < len(r.events) && r.events[n-1].Gap != nil {
		n-- // a gap goes with the event after it, see ring
	}
	batch := journal.Batch{Events: append(gaps, r.events[:n]...), Lineage: r.o.Lineage, Beat: r.beat}
	for i := range batch.Events {
		batch.Serial = max(batch.Serial, batch.Events[i].Serial)
	}
	if n == len(r.events) {
		batch.Serial = r.serial // what went for lack of room counts as told of
	}
	r.taken(n)
	r.mu.Unlock()
	err = r.append(batch)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		back := batch.Events[len(lost):]
		for i := range back {
			r.samples += len(back[i].Record)
		}
		r.events = append(back, r.events...)
		r.samples = leaveOut(r.events, r.samples, MaxSamples)
		for _, l := range lost {
			r.lose(l, r.lossAt)
		}
		return false, err
	}
	if batch.Serial > r.durable {
		r.durable = batch.Serial
		close(r.changed)
		r.changed = make(chan struct{})
	}
	return true, nil
}

// taken removes the first n events from the queue: they are in a transaction.
func (r *Recorder) taken(n int) {
	for i := range r.events[:n] {
		r.samples -= len(r.events[i].Record)
	}
	rest := copy(r.events, r.events[n:])
	clear(r.events[rest:])
	r.events = r.events[:rest]
}

func (r *Recorder) commitReadings() (worked bool, err error) {
	r.mu.Lock()
	batch := journal.Batch{Readings: r.readings, Beat: r.beat}
	r.readings = nil
	r.mu.Unlock()
	if len(batch.Readings) == 0 {
		return false, nil
	}
	err = r.append(batch)
	if err == nil {
		return true, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.readings = append(batch.Readings, r.readings...)
	if n := len(r.readings) - MaxReadings; n > 0 {
		r.shorten(n, r.o.Now().Mono)
	}
	return false, err
}

func (r *Recorder) append(b journal.Batch) error {
	r.mu.Lock()
	r.started = r.o.Now().Mono
	r.mu.Unlock()
	err := r.o.Journal.Append(b)
	r.mu.Lock()
	defer r.mu.Unlock()
	took := r.o.Now().Mono - r.started
	r.started = 0
	switch {
	case err != nil && r.failing == nil:
		r.failedAt = r.o.Now().Mono
		r.o.Log.Error("journal takes nothing", "error", err)
	case err == nil && r.failing != nil:
		r.o.Log.Info("journal takes records again", "after_s", (r.o.Now().Mono-r.failedAt)/1e9)
	case err == nil && took > int64(SlowCommit):
		r.o.Log.Warn("journal commit was slow", "took_ms", took/1e6)
	}
	r.failing = err
	return err
}
