// Package scan asks the devices on time: one goroutine per link.
//
// A Worker owns its link. It sends each request when its slot is due, the most
// overdue first, and before every request it lets the link's outputs be
// written and answers what a person asked to be read now, so that a write or a
// person waits for one transaction at most. A slot that was missed is skipped
// and counted, never caught up. Every answer, good or bad, goes to the control
// loop through Offer, which may make the worker wait: the scan slows down then,
// and that is counted as an over-run too. A link that can have several requests
// under way (drivers.Batcher) is given those that are due together; writes and
// persons then wait for all of them, a timeout at most.
//
// Stations share their link. One that answers nothing, whatever it is asked, is
// quiet (station.go): all its points are bad at once, and of all its requests
// one is sent now and then as a probe, so seldom and so short that its
// neighbours lose at most a twentieth of the line; when it answers everything
// of it is due. A request that fails alone is asked more seldom, and the others
// of its station as ever. Keep-alives that are not taken are as seldom as probes,
// and what persons read in vain leaves polling three quarters of the line. What
// the driver puts off (drivers.Later) is asked
// when it says.
//
// A link that subscribes (drivers.Subscriber) is run by its subscription.
// Nothing here is durable.
//
// Imports: config, output, drivers, drivers/tag.
package scan

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"davy/agent/config"
	"davy/agent/output"
	"davy/drivers"
	"davy/drivers/tag"
)

// Limits.
const (
	buffers    = 8                      // batches in flight between a worker and the loop; more: the worker waits
	overrunFor = 10                     // over-runs within a minute that make the condition link.<name>.overrun
	idleWait   = 100 * time.Millisecond // longest sleep, so that keep-alives and outputs are looked at
	silentFor  = 3 * time.Second        // no answer to anything on the link for this long: link.<name>.silent
	probeEvery = 5 * time.Second        // a request that keeps failing alone is asked this seldom at the worst
	feedAgain  = 20 * time.Millisecond  // a keep-alive that the driver put off is not tried sooner
)

// Batch is what one request or one notification brought. Free gives the
// buffer back; the readings must not be used after that.
type Batch struct {
	Link     int
	Readings []tag.Reading
	free     chan []tag.Reading
}

// Free returns the batch's buffer to its worker.
func (b *Batch) Free() {
	if b.free != nil {
		b.free <- b.Readings[:0]
		b.free = nil
	}
}

// Worker runs one link.
type Worker struct {
	Index     int
	Link      *config.Link
	Driver    drivers.Driver
	Lane      *output.Lane
	Offer     func(ctx context.Context, b Batch) error
	Alive     func() bool                // the control loop's beat is young: keep-alives may be written
	Condition func(code string, on bool) // link.<name>.silent, link.<name>.overrun
	Now       func() tag.Stamp
	Log       *slog.Logger
	Dir       string                            // where the driver may keep what outlasts a start
	Secret    func(name string) (string, error) // what `davy secret set` stored
	Tell      func(e drivers.Event)             // what a device says happened; nil: nobody listens

	began                       int64 // Mono of Run
	once                        sync.Once
	asks                        chan ask // through queue
	askable                     int64    // no person's wish is answered before, Mono
	due                         []int64  // per request: its next slot, Mono
	failed                      []int    // per request: failures in a row
	quietly                     stations
	last                        *station // asked last
	teller                      teller
	requests                    []drivers.Request // of the present batch
	answers, failures, overruns atomic.Uint64
	lastAnswer                  atomic.Int64
	longest                     atomic.Int64
	silent                      atomic.Bool
	heard                       bool            // something was answered since Run began
	saying                      sync.Mutex      // also held while Condition is called: the newest word is the last
	spoken                      map[string]bool // conditions that the driver said something of since Run began
	said                        bool            // whether the link is silent was said since the start
	fed                         []int64         // per keep-alive: when it is due, Mono
	unfed                       []bool          // per keep-alive: the last write failed
	problem                     atomic.Pointer[string]
}

// Stats of a link since the start of its worker.
type Stats struct {
	Answers, Failures, Overruns uint64
	LastAnswer                  int64         // Mono, 0 never
	Longest                     time.Duration // longest transaction
	Silent                      bool
	Problem                     string // the last error, "" while all is well
}

// Stats returns a copy, from any goroutine.
func (w *Worker) Stats() Stats {
	w.problem.CompareAndSwap(nil, new(string))
	return Stats{w.answers.Load(), w.failures.Load(), w.overruns.Load(), w.lastAnswer.Load(), time.Duration(w.longest.Load()), w.silent.Load(), *w.problem.Load()}
}

// Run opens the link and works until ctx ends; then it leaves the outputs as
// declared and closes the link.
func (w *Worker) Run(ctx context.Context) error {
	w.saying.Lock()
	w.spoken = nil
	w.saying.Unlock()
	w.heard = false
	link, err := w.open(ctx)
	if err != nil {
		return err
	}
	defer link.Close()
	defer func() { // also in a panic: until it runs again nobody speaks to the link
		if ctx.Err() == nil && !w.silent.Swap(true) {
			w.Condition("link."+w.Link.Name+".silent", true)
		}
	}()
	w.began = w.Now().Mono
	defer w.refuse() // who waits for an answer gets none
	free := make(chan []tag.Reading, buffers)
	for range buffers {
		free <- nil
	}
	if len(w.Link.Subscribe) > 0 {
		return w.subscribe(ctx, link, free)
	}
	err = w.poll(ctx, link, free)
	w.Lane.Stop(context.WithoutCancel(ctx), link)
	return err
}

func (w *Worker) open(ctx context.Context) (drivers.Link, error) {
	link, err := w.Driver.Open(ctx, drivers.LinkConfig{
		Name: w.Link.Name, Settings: w.Link.Settings, Timeout: w.Link.Timeout, ReadOnly: w.Link.ReadOnly, Log: w.Log, Now: w.Now,
		Say: w.say, Dir: w.Dir, Secret: w.Secret,
	})
	if err != nil {
		return nil, fmt.Errorf("open link %s: %w", w.Link.Name, err)
	}
	return link, nil
}

// say passes on what a driver says of one of its own conditions.
func (w *Worker) say(condition string, on bool) {
	w.saying.Lock()
	defer w.saying.Unlock()
	if w.spoken == nil {
		w.spoken = map[string]bool{}
	}
	w.spoken[condition] = true
	w.Condition("link."+w.Link.Name+"."+condition, on)
}

// unsaid ends the driver's conditions of which it has said nothing since it was
// opened: an alarm of the run before stands until its owner says otherwise, and
// a driver that finds all well has nothing to say.
func (w *Worker) unsaid() {
	w.saying.Lock()
	defer w.saying.Unlock()
	for _, condition := range w.Link.Conditions {
		if !w.spoken[condition] {
			w.Condition("link."+w.Link.Name+"."+condition, false)
		}
	}
}

// subscribe runs a link whose device speaks by itself. What is to be written
// goes over the same link where it serves both (drivers.Duplex), else over a second
// one of its own, so that neither waits for the other.
func (w *Worker) subscribe(ctx context.Context, link drivers.Link, free chan []tag.Reading) error {
	s, ok := link.(drivers.Subscriber)
	if !ok {
		return fmt.Errorf("subscribe link %s: this driver cannot", w.Link.Name)
	}
	worker := ctx
	defer w.unwatched(worker)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var writing sync.WaitGroup
	defer writing.Wait()
	defer stop()
	beside, _ := link.(drivers.Duplex)
	writing.Go(func() {
		defer func() { // here nobody else takes a panic, and the agent decides on
			if p := recover(); p != nil {
				stack := make([]byte, 16<<10)
				w.Log.Error("link for writing ended", "link", w.Link.Name, "panic", p, "stack", string(stack[:runtime.Stack(stack, false)]))
				stop()
			}
		}()
		if err := w.write(worker, ctx, beside, free); err != nil && ctx.Err() == nil {
			w.Log.Error("link for writing ended", "link", w.Link.Name, "err", err)
			stop() // the whole link is begun again
		}
	})
	if a, ok := link.(drivers.Announcer); ok && w.Tell != nil {
		a.Announce(w.announce)
	}
	err := s.Subscribe(ctx, w.Link.Subscribe, func(rs []tag.Reading) {
		var buf []tag.Reading
		select {
		case buf = <-free:
		case <-ctx.Done():
			return
		}
		if slices.ContainsFunc(rs, func(r tag.Reading) bool { return r.Quality != tag.BadNoComm }) {
			w.answered(-1, nil, 0) // that nobody answers is no answer
		}
		_ = w.hand(ctx, append(buf[:0], rs...), free) // ends with ctx, as Subscribe does
	})
	if err == nil {
		err = errors.New("ended")
	}
	w.answered(-1, err, 0)
	return fmt.Errorf("subscribe link %s: %w", w.Link.Name, err)
}

// unwatched makes every point that is subscribed to bad, whatever ended the
// subscription (a panic, the link for writing): until there is one again nobody
// watches them, and they have no time to live. Only where the worker itself is to
// stop it says nothing.
func (w *Worker) unwatched(ctx context.Context) {
	if ctx.Err() != nil {
		return
	}
	lost := make([]tag.Reading, len(w.Link.Subscribe))
	for i := range lost {
		lost[i] = tag.Reading{Tag: w.Link.Subscribe[i].Tag, Quality: tag.BadNoComm, Received: w.Now()}
	}
	_ = w.Offer(ctx, Batch{Link: w.Index, Readings: lost}) // fails only with ctx
}

// write opens the link on which outputs and keep-alives of a subscribing link
// are written, and serves it until ctx ends. Where the worker goes on then, the
// outputs stay as they are: a subscription in doubt is no stop.
func (w *Worker) write(worker, ctx context.Context, beside drivers.Duplex, free chan []tag.Reading) error {
	if w.Lane.Empty() && len(w.Link.KeepAlive) == 0 {
		return nil
	}
	var link drivers.Link = beside
	if beside == nil {
		own, err := w.open(ctx)
		if err != nil {
			return err
		}
		defer own.Close()
		link = own
	}
	err := w.poll(ctx, link, free)
	if worker.Err() != nil {
		w.Lane.Stop(context.WithoutCancel(ctx), link)
	}
	return err
}

func (w *Worker) hand(ctx context.Context, rs []tag.Reading, free chan []tag.Reading) error {
	return w.Offer(ctx, Batch{Link: w.Index, Readings: rs, free: free})
}

// keepAlive writes the devices' own watchdog registers while the loop decides.
// One that its device does not take costs its neighbours no more than a probe
// does: it is tried again when the station answers, or after a pause.
func (w *Worker) keepAlive(ctx context.Context, link drivers.Link) {
	for i := range w.Link.KeepAlive {
		k := &w.Link.KeepAlive[i]
		now := w.Now().Mono
		if now < w.fed[i] || !w.Alive() {
			continue
		}
		wctx, cancel := context.WithTimeout(ctx, w.Link.Timeout)
		err := link.Write(wctx, k.Point, k.Value)
		cancel()
		if err != nil && ctx.Err() != nil {
			return // cut off by a stop
		}
		w.fed[i] = now + int64(k.Every)
		if later := putOff(err); later != nil { // nothing was sent: when the driver says, at the latest when it is due
			w.fed[i] = max(min(later.Until, w.fed[i]), w.Now().Mono+int64(feedAgain))
			continue
		}
		if failed := err != nil; failed != w.unfed[i] {
			w.unfed[i] = failed
			if failed { // its device will do as davy_dead and link_lost say, or has no watchdog after all
				w.Log.Warn("keep-alive not written", "link", w.Link.Name, "device", k.Device, "err", err)
			} else {
				w.Log.Info("keep-alive written again", "link", w.Link.Name, "device", k.Device)
			}
		}
		if err != nil && len(w.quietly.all) > 1 {
			done := w.Now().Mono
			w.fed[i] = max(w.fed[i], done+min(quietShare*(done-now), int64(quietLast)))
		}
	}
}

// feed makes the keep-alives that were not taken due: a station answers again.
func (w *Worker) feed() {
	for i, failed := range w.unfed {
		if failed {
			w.fed[i] = 0
		}
	}
}
