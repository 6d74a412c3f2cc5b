// Package scan asks the devices on time: one goroutine per link.
//
// A Worker owns its link. It sends each request when its slot is due, the most
// overdue first, and before every request it lets the link's outputs be
// written, so that a write waits for one transaction at most. A slot that was
// missed is skipped and counted, never caught up. Every answer, good or bad,
// goes to the control loop through Offer, which may make the worker wait: the
// scan slows down then, and that is counted as an over-run too.
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
	probeEvery = 5 * time.Second        // a request that keeps failing is asked this seldom at the worst
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

	began                       int64 // Mono of Run
	failed                      []int // per request: failures in a row
	answers, failures, overruns atomic.Uint64
	lastAnswer                  atomic.Int64
	longest                     atomic.Int64
	silent                      atomic.Bool
	said                        bool   // whether the link is silent was said since the start
	unfed                       []bool // per keep-alive: the last write failed
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
	link, err := w.Driver.Open(ctx, drivers.LinkConfig{Name: w.Link.Name, Settings: w.Link.Settings, Timeout: w.Link.Timeout, ReadOnly: w.Link.ReadOnly, Log: w.Log, Now: w.Now})
	if err != nil {
		return nil, fmt.Errorf("open link %s: %w", w.Link.Name, err)
	}
	return link, nil
}

// subscribe runs a link whose device speaks by itself. What is to be written
// goes over a second link of its own, so that neither waits for the other.
func (w *Worker) subscribe(ctx context.Context, link drivers.Link, free chan []tag.Reading) error {
	s, ok := link.(drivers.Subscriber)
	if !ok {
		return fmt.Errorf("subscribe link %s: this driver cannot", w.Link.Name)
	}
	worker := ctx
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var writing sync.WaitGroup
	defer writing.Wait()
	defer stop()
	writing.Go(func() {
		if err := w.write(worker, ctx, free); err != nil && ctx.Err() == nil {
			w.Log.Error("link for writing ended", "link", w.Link.Name, "err", err)
			stop() // the whole link is begun again
		}
	})
	err := s.Subscribe(ctx, w.Link.Subscribe, func(rs []tag.Reading) {
		var buf []tag.Reading
		select {
		case buf = <-free:
		case <-ctx.Done():
			return
		}
		w.answered(0, nil, 0)
		_ = w.hand(ctx, append(buf[:0], rs...), free) // ends with ctx, as Subscribe does
	})
	if err == nil {
		err = errors.New("ended")
	}
	w.answered(0, err, 0)
	// Until there is a subscription again nobody watches these points.
	lost := make([]tag.Reading, len(w.Link.Subscribe))
	for i := range lost {
		lost[i] = tag.Reading{Tag: w.Link.Subscribe[i].Tag, Quality: tag.BadNoComm, Received: w.Now()}
	}
	if ctx.Err() == nil {
		_ = w.Offer(ctx, Batch{Link: w.Index, Readings: lost}) // fails only with ctx
	}
	return fmt.Errorf("subscribe link %s: %w", w.Link.Name, err)
}

// write opens the link on which outputs and keep-alives of a subscribing link
// are written, and serves it until ctx ends. Where the worker goes on then, the
// outputs stay as they are: a subscription in doubt is no stop.
func (w *Worker) write(worker, ctx context.Context, free chan []tag.Reading) error {
	if w.Lane.Empty() && len(w.Link.KeepAlive) == 0 {
		return nil
	}
	link, err := w.open(ctx)
	if err != nil {
		return err
	}
	defer link.Close()
	err = w.poll(ctx, link, free)
	if worker.Err() != nil {
		w.Lane.Stop(context.WithoutCancel(ctx), link)
	}
	return err
}

func (w *Worker) poll(ctx context.Context, link drivers.Link, free chan []tag.Reading) error {
	now := w.Now().Mono
	due := make([]int64, len(w.Link.Scans))
	for i := range due { // spread the first slots over 50 ms so that they do not fall together
		due[i] = now + int64(i)*int64(50*time.Millisecond)/int64(len(due))
	}
	w.failed = make([]int, len(due))
	alive := make([]int64, len(w.Link.KeepAlive))
	w.unfed = make([]bool, len(w.Link.KeepAlive))
	window := now
	var inWindow int
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		w.Lane.Drive(ctx, link)
		w.keepAlive(ctx, link, alive)
		now = w.Now().Mono
		next := -1
		for i := range due {
			if next < 0 || due[i] < due[next] {
				next = i
			}
		}
		wait := int64(idleWait)
		if next >= 0 {
			wait = min(wait, due[next]-now)
		}
		if t := w.Lane.Next(); t > now {
			wait = min(wait, t-now)
		}
		if wait > 0 {
			timer.Reset(time.Duration(wait))
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-w.Lane.Wake():
			case <-timer.C:
			}
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s := &w.Link.Scans[next]
		wasSilent := w.silent.Load()
		if err := w.ask(ctx, link, next, free); err != nil {
			return err
		}
		if wasSilent && !w.silent.Load() { // the link is back: ask everything now
			clear(w.failed)
			w.problem.Store(new(string))
			for i := range due {
				due[i] = w.Now().Mono
			}
		}
		due[next] += int64(s.Period)
		if n := w.failed[next]; n > 1 { // a dead station costs its line a bounded share
			due[next] = w.Now().Mono + min(int64(s.Period)<<min(n-1, 10), max(int64(probeEvery), int64(s.Period)))
		}
		if now = w.Now().Mono; due[next] <= now {
			missed := (now-due[next])/int64(s.Period) + 1
			due[next] += missed * int64(s.Period)
			w.overruns.Add(uint64(missed))
			if !w.silent.Load() {
				inWindow += int(min(missed, 1000))
			}
		}
		if now-window > int64(time.Minute) {
			w.Condition("link."+w.Link.Name+".overrun", inWindow >= overrunFor)
			window, inWindow = now, 0
		}
	}
}

func (w *Worker) ask(ctx context.Context, link drivers.Link, i int, free chan []tag.Reading) error {
	var buf []tag.Reading
	select {
	case buf = <-free:
	case <-ctx.Done():
		return ctx.Err()
	}
	s := &w.Link.Scans[i]
	began := w.Now().Mono
	rs, err := link.Read(ctx, s.Request, buf[:0]) // the link bounds itself by its timeout
	if ctx.Err() != nil {
		return ctx.Err() // what a stop cut off says nothing about the device
	}
	w.answered(i, err, w.Now().Mono-began)
	return w.hand(ctx, rs, free)
}

// answered keeps the state of request i and of the link, and tells of
// transitions only.
func (w *Worker) answered(i int, err error, took int64) {
	now := w.Now().Mono
	w.longest.Store(max(w.longest.Load(), took))
	if err == nil {
		w.answers.Add(1)
		w.lastAnswer.Store(now)
	} else {
		w.failures.Add(1)
	}
	if i < len(w.failed) {
		switch {
		case err != nil:
			if w.failed[i]++; w.failed[i] == 2 {
				text := err.Error()
				w.problem.Store(&text)
				w.Log.Warn("request not answered", "link", w.Link.Name, "request", w.Link.Scans[i].Request.String(), "err", err)
			}
		case w.failed[i] > 1:
			w.Log.Info("request answered again", "link", w.Link.Name, "request", w.Link.Scans[i].Request.String(), "failures", w.failed[i])
			w.failed[i] = 0
			if slices.Max(w.failed) < 2 {
				w.problem.Store(new(string))
			}
		default:
			w.failed[i] = 0
		}
	}
	silent := err != nil && now-max(w.lastAnswer.Load(), w.began) > int64(silentFor)
	if err != nil && w.silent.Load() {
		silent = true
	}
	was := w.silent.Swap(silent)
	if first := err == nil && !w.said; was != silent || first { // the alarm of the run before may stand
		w.said = true
		w.Condition("link."+w.Link.Name+".silent", silent)
		switch {
		case silent:
			w.Log.Warn("link silent", "link", w.Link.Name, "err", err)
		case was:
			w.Log.Info("link answering", "link", w.Link.Name)
		}
	}
}

func (w *Worker) hand(ctx context.Context, rs []tag.Reading, free chan []tag.Reading) error {
	return w.Offer(ctx, Batch{Link: w.Index, Readings: rs, free: free})
}

// keepAlive writes the devices' own watchdog registers while the loop decides.
func (w *Worker) keepAlive(ctx context.Context, link drivers.Link, next []int64) {
	for i := range w.Link.KeepAlive {
		k := &w.Link.KeepAlive[i]
		now := w.Now().Mono
		if now < next[i] || !w.Alive() {
			continue
		}
		wctx, cancel := context.WithTimeout(ctx, w.Link.Timeout)
		err := link.Write(wctx, k.Point, k.Value)
		cancel()
		if err != nil && ctx.Err() != nil {
			return // cut off by a stop
		}
		if failed := err != nil; failed != w.unfed[i] {
			w.unfed[i] = failed
			if failed { // its device will do as davy_dead and link_lost say, or has no watchdog after all
				w.Log.Warn("keep-alive not written", "link", w.Link.Name, "device", k.Device, "err", err)
			} else {
				w.Log.Info("keep-alive written again", "link", w.Link.Name, "device", k.Device)
			}
		}
		next[i] = now + int64(k.Every)
	}
}
