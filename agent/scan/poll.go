package scan

import (
	"context"
	"errors"
	"slices"
	"time"

	"davy/drivers"
	"davy/drivers/tag"
)

// poll works through the slots of a link until ctx ends.
func (w *Worker) poll(ctx context.Context, link drivers.Link, free chan []tag.Reading) error {
	now := w.Now().Mono
	w.due = make([]int64, len(w.Link.Scans))
	w.failed = make([]int, len(w.due))
	w.quietly = group(w.Link.Scans)
	for i, after := range w.quietly.phases(w.Link.Scans) {
		w.due[i] = now + after
	}
	w.fed = make([]int64, len(w.Link.KeepAlive))
	w.unfed = make([]bool, len(w.Link.KeepAlive))
	batcher, _ := link.(drivers.Batcher)
	var batch []int
	window := now
	var inWindow int
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		w.Lane.Drive(ctx, link)
		w.keepAlive(ctx, link)
		w.answerAsks(ctx, link)
		now = w.Now().Mono
		next := w.overdue(now)
		wait := int64(idleWait)
		if next >= 0 {
			wait = min(wait, w.due[next]-now)
		}
		if t := w.Lane.Next(); t > now {
			wait = min(wait, t-now)
		}
		if w.askable > now {
			wait = min(wait, w.askable-now)
		}
		if wait > 0 {
			timer.Reset(time.Duration(wait))
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-w.Lane.Wake():
			case a := <-w.door(now):
				w.answerAsk(ctx, link, a)
			case <-timer.C:
			}
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		wasSilent := w.silent.Load()
		batch = append(batch[:0], next)
		w.last = w.quietly.of(next)
		if batcher != nil {
			batch = w.together(batch, batcher.Window(), now)
		}
		if err := w.askAll(ctx, link, batcher, batch, free); err != nil {
			return err
		}
		if wasSilent && !w.silent.Load() { // the link is back: ask everything now
			clear(w.failed)
			w.feed()
			w.quietly.wake(w.due, w.Now().Mono)
			w.problem.Store(new(string))
			continue
		}
		now = w.Now().Mono
		for _, i := range batch {
			inWindow += w.advance(i, now)
		}
		if now-window > int64(time.Minute) {
			w.Condition("link."+w.Link.Name+".overrun", inWindow >= overrunFor)
			window, inWindow = now, 0
		}
	}
}

// overdue returns the request whose slot is due first, -1 where there is none.
// Of those that are due now one of another station than the last goes first:
// stations get their turns, and a doubled answer comes while another is asked.
func (w *Worker) overdue(now int64) int {
	next, other := -1, -1
	for i, due := range w.due {
		if next < 0 || due < w.due[next] {
			next = i
		}
		if due <= now && w.quietly.of(i) != w.last && (other < 0 || due < w.due[other]) {
			other = i
		}
	}
	if other >= 0 {
		return other
	}
	return next
}

// together adds to batch what else is due, up to window; a quiet station is
// asked alone, so that its silence holds nobody up.
func (w *Worker) together(batch []int, window int, now int64) []int {
	if window <= 1 || w.quietly.of(batch[0]).quiet {
		return batch
	}
	for i, due := range w.due {
		if len(batch) >= window {
			break
		}
		if due <= now && i != batch[0] && !w.quietly.of(i).quiet {
			batch = append(batch, i)
		}
	}
	return batch
}

// askAll sends the requests of batch and hands on what they bring.
func (w *Worker) askAll(ctx context.Context, link drivers.Link, batcher drivers.Batcher, batch []int, free chan []tag.Reading) error {
	began := w.Now().Mono
	if len(batch) == 1 {
		buf, err := w.buffer(ctx, free)
		if err != nil {
			return err
		}
		asking, cancel := ctx, context.CancelFunc(nil)
		if limit := w.quietly.limit(batch[0], w.Link.Timeout); limit > 0 {
			asking, cancel = context.WithTimeout(ctx, limit)
		}
		rs, err := link.Read(asking, w.Link.Scans[batch[0]].Request, buf) // the link bounds itself by its timeout
		if cancel != nil {
			cancel()
		}
		return w.brought(ctx, batch[0], rs, err, began, free)
	}
	w.requests = w.requests[:0]
	for _, i := range batch {
		w.requests = append(w.requests, w.Link.Scans[i].Request)
	}
	var failed error
	batcher.ReadAll(ctx, w.requests, func(n int, rs []tag.Reading, err error) {
		if failed != nil {
			return
		}
		var buf []tag.Reading
		if buf, failed = w.buffer(ctx, free); failed == nil {
			failed = w.brought(ctx, batch[n], append(buf, rs...), err, began, free)
		}
	})
	return failed
}

func (w *Worker) buffer(ctx context.Context, free chan []tag.Reading) ([]tag.Reading, error) {
	select {
	case buf := <-free:
		return buf[:0], nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// brought notes what became of request i and hands its readings on.
func (w *Worker) brought(ctx context.Context, i int, rs []tag.Reading, err error, began int64, free chan []tag.Reading) error {
	if ctx.Err() != nil {
		return ctx.Err() // what a stop cut off says nothing about the device
	}
	now, wasSilent := w.Now().Mono, w.silent.Load()
	w.answered(i, err, now-began)
	if err := w.hand(ctx, rs, free); err != nil {
		return err
	}
	switch station := w.quietly.of(i); {
	case putOff(err) != nil:
		if putOff(err).Line && !wasSilent && w.silent.Load() { // another master: nobody is asked
			for _, st := range w.quietly.all {
				if err := w.dark(ctx, st, i, free); err != nil {
					return err
				}
			}
		}
	case err != nil:
		if station.missed(time.Duration(now - began)) {
			return w.darken(ctx, i, free)
		}
	case station.answered(time.Duration(now - began)):
		w.Log.Info("station answering", "link", w.Link.Name, "request", w.Link.Scans[i].Request.String())
		for _, n := range station.requests {
			w.due[n], w.failed[n] = now, 0
		}
		w.feed()
	}
	return nil
}

// putOff returns why and until when a driver did not ask, nil where it did.
func putOff(err error) *drivers.Later {
	if err == nil {
		return nil
	}
	var later *drivers.Later
	errors.As(err, &later)
	return later
}

// darken makes all points of a station that fell quiet bad: nobody asks for
// them any more but by a probe.
func (w *Worker) darken(ctx context.Context, i int, free chan []tag.Reading) error {
	w.Log.Warn("station quiet", "link", w.Link.Name, "request", w.Link.Scans[i].Request.String())
	return w.dark(ctx, w.quietly.of(i), i, free)
}

// dark hands on that all points of a station are not read, but for those of
// request i, which were said.
func (w *Worker) dark(ctx context.Context, st *station, i int, free chan []tag.Reading) error {
	now := w.Now()
	for _, n := range st.requests {
		if n == i {
			continue
		}
		buf, err := w.buffer(ctx, free)
		if err != nil {
			return err
		}
		for _, p := range w.Link.Scans[n].Request.Points() {
			buf = append(buf, tag.Reading{Tag: p.Tag, Quality: tag.BadNoComm, Received: now})
		}
		if err := w.hand(ctx, buf, free); err != nil {
			return err
		}
	}
	return nil
}

// advance sets the next slot of request i after it was asked, and returns how
// many were missed by a link that is not silent.
func (w *Worker) advance(i int, now int64) int {
	period := int64(w.Link.Scans[i].Period)
	station := w.quietly.of(i)
	if station.put { // the driver put it off: its slot is set, and nobody missed anything
		station.put = false
		return 0
	}
	if station.quiet {
		next := now + int64(w.quietly.pause(station, w.Link.Timeout))
		for _, n := range station.requests { // they take turns as probes
			w.due[n] = next + int64(time.Hour)
		}
		station.probe = (station.probe + 1) % len(station.requests)
		w.due[station.requests[station.probe]] = next
		return 0
	}
	if w.due[i] += period; w.due[i] > now+period { // a station that came back has its own time
		w.due[i] = now + period
	}
	if n := w.failed[i]; n > 1 {
		w.due[i] = now + min(period<<min(n-1, 10), max(int64(probeEvery), period))
	}
	if w.due[i] > now {
		return 0
	}
	missed := (now-w.due[i])/period + 1
	w.due[i] += missed * period
	w.overruns.Add(uint64(missed))
	if w.silent.Load() {
		return 0
	}
	return int(min(missed, 1000))
}

// answered keeps the state of request i and of the link, and tells of
// transitions only.
func (w *Worker) answered(i int, err error, took int64) {
	now := w.Now().Mono
	later := putOff(err)
	put := later != nil
	if put && i >= 0 {
		w.quietly.putOff(i, later, w.due, now)
	}
	if !put {
		w.longest.Store(max(w.longest.Load(), took))
	}
	switch {
	case err == nil:
		if !w.heard {
			w.heard = true
			w.unsaid()
		}
		w.answers.Add(1)
		w.lastAnswer.Store(now)
	case !put:
		w.failures.Add(1)
	}
	if i >= 0 && !put {
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
	if i >= 0 && !(put && later.Line) { // one patient wait for a dead station is not the link's silence
		silent = silent && w.quietly.none(i)
	}
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
