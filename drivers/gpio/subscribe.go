package gpio

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"golang.org/x/sys/unix"
	periph "periph.io/x/conn/v3/gpio"

	"davy/drivers"
	"davy/drivers/tag"
)

// Limits of a subscription.
const (
	// DefaultPeriod is how often a line is read again whose point has no period.
	DefaultPeriod = time.Second
	// atOnce is how many edges of one line are taken before the others have their
	// turn; what is left waits in the kernel's queue.
	atOnce = 2 * eventQueue
)

// watch is a subscription.
type watch struct {
	*link
	points []drivers.Point
	due    []time.Time // per point: when it is read again
	inputs []*watched  // in the order in which they were taken
	polls  []unix.PollFd
	buf    [eventQueue]lineEvent
	found  []edge
	batch  []tag.Reading
	turns  int
}

// watched is an input with edges.
type watched struct {
	in     *input
	fd     int
	points []int
	seqno  uint32 // of the last edge
	level  periph.Level
	known  bool // level is that of an edge or a re-reading
	doubt  int  // the turn whose re-reading found a level that no edge has brought; 0: none
	fresh  bool // this turn brought an edge
	edged  bool // the last thing known is an edge
	said   bool // that edges were lost was logged
	lost   uint64
}

// edge is a level that a line took, and when, CLOCK_MONOTONIC.
type edge struct {
	line  *watched
	level periph.Level
	at    int64
}

// Subscribe emits every point once, then each edge of an input with the
// kernel's time of it (Source), and every point again at its period: a line
// that says nothing is asked, so silence is never taken for an unchanged
// level. Outputs, which have no edges, are read at their period. Edges of
// different lines that come together are emitted in the order of their time.
//
// A gap in the kernel's sequence numbers, or a level that no edge has brought,
// is a lost edge: the line is read again at once; it is counted, and logged
// once per line. The kernel keeps the last 64 edges of a line, so that what is
// lost are the oldest, and the level is right again after what is left.
//
// Subscribe ends with ctx, or when the chip is gone or none of its lines
// answers within the link's timeout.
func (l *link) Subscribe(ctx context.Context, points []drivers.Point, emit func([]tag.Reading)) error {
	if len(points) == 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	w := &watch{link: l, points: points, due: make([]time.Time, len(points))}
	err := w.run(ctx, emit)
	for _, in := range w.inputs {
		if in.lost > 0 {
			l.Log.Warn("edges lost during the subscription", "link", l.Name, "line", in.in.name, "lost", in.lost)
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("subscribe %s: %w", l.Name, err)
}

func (w *watch) run(ctx context.Context, emit func([]tag.Reading)) error {
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("eventfd: %w", err)
	}
	defer unix.Close(wake)
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(woken)
		var one [8]byte
		binary.NativeEndian.PutUint64(one[:], 1)
		_, _ = unix.Write(wake, one[:]) // fails only where it is woken already
	})
	defer func() {
		if !stop() {
			<-woken
		}
	}()
	w.polls = []unix.PollFd{{Fd: int32(wake), Events: unix.POLLIN}}
	if err := w.do(ctx, time.Now().Add(w.Timeout), func() error { w.reset(true); return nil }); err != nil {
		return err
	}
	for {
		w.batch = w.batch[:0]
		if err := w.turn(ctx); err != nil {
			return err
		}
		if len(w.batch) > 0 {
			emit(w.batch)
		}
		if err := w.wait(ctx); err != nil {
			return err
		}
	}
}

// turn reads again what is due and takes the edges that came. The level is
// asked first and the edges after, so that an edge older than the level is
// never told after it.
func (w *watch) turn(ctx context.Context) error {
	w.turns++
	now := time.Now()
	var asked []int
	var due []drivers.Point
	for i := range w.points {
		if now.Before(w.due[i]) {
			continue
		}
		asked, due = append(asked, i), append(due, w.points[i])
		w.due[i] = now.Add(cmp.Or(max(w.points[i].Period, 0), DefaultPeriod))
	}
	var got []level
	if len(due) > 0 {
		var err error
		if got, err = w.all(ctx, due); err != nil {
			return err
		}
		for k, i := range asked {
			if err := w.follow(i, got[k].in); err != nil {
				return err
			}
		}
	}
	if err := w.drain(); err != nil {
		return err
	}
	stamp := w.Now()
	for k, i := range asked {
		w.again(i, got[k], stamp)
	}
	return nil
}

// follow begins to follow the input of point i.
func (w *watch) follow(i int, in *input) error {
	if in == nil {
		return nil
	}
	for _, x := range w.inputs {
		if x.in == in {
			if !slices.Contains(x.points, i) {
				x.points = append(x.points, i)
			}
			return nil
		}
	}
	x := &watched{in: in, points: []int{i}}
	// The descriptor lives as long as the input, which only this goroutine gives back.
	if err := control(in.f, func(fd int) error { x.fd = fd; return nil }); err != nil {
		return err
	}
	w.inputs = append(w.inputs, x)
	w.polls = append(w.polls, unix.PollFd{Fd: int32(x.fd), Events: unix.POLLIN})
	return nil
}

// drain takes the edges that wait, of all lines, and puts them into the batch
// in the order of their time.
func (w *watch) drain() error {
	w.found = w.found[:0]
	for _, x := range w.inputs {
		x.fresh = false
		for taken := 0; taken < atOnce; {
			n, err := events(x.fd, w.buf[:])
			if err != nil {
				return fmt.Errorf("read edges of %s: %w", x.in.name, err)
			}
			for _, e := range w.buf[:n] {
				w.edge(x, e)
			}
			if taken += n; n < len(w.buf) {
				break
			}
		}
	}
	if len(w.found) == 0 {
		return nil
	}
	slices.SortStableFunc(w.found, func(a, b edge) int { return cmp.Compare(a.at, b.at) })
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return fmt.Errorf("clock: %w", err)
	}
	now := w.Now()
	for _, e := range w.found {
		for _, i := range e.line.points {
			r := tag.Reading{Tag: w.points[i].Tag, Received: now, Source: now.Wall - max(ts.Nano()-e.at, 0)}
			r.Quality, r.Value = w.judge(&w.points[i], level{level: e.level})
			w.batch = append(w.batch, r)
		}
	}
	return nil
}

// edge takes one edge of a line and looks for those before it that are lacking.
func (w *watch) edge(x *watched, e lineEvent) {
	if missing := e.lineSeqno - x.seqno - 1; missing > 0 {
		w.miss(x, uint64(missing))
	}
	now := periph.Level(e.id == eventRising)
	if x.edged && x.level == now {
		w.miss(x, 1) // the kernel saw the line only after it had changed twice
	}
	x.seqno, x.level, x.known, x.edged, x.doubt, x.fresh = e.lineSeqno, now, true, true, 0, true
	w.found = append(w.found, edge{x, now, int64(e.timestamp)})
}

func (w *watch) miss(x *watched, n uint64) {
	x.lost += n
	for _, i := range x.points {
		w.due[i] = time.Time{}
	}
	if !x.said {
		x.said = true
		w.Log.Warn("edges lost", "link", w.Name, "line", x.in.name, "lost", n)
	}
}

// again tells what a re-reading of point i found, unless an edge that came
// after says it better.
func (w *watch) again(i int, got level, stamp tag.Stamp) {
	for _, x := range w.inputs {
		if got.err != nil || x.in != got.in {
			continue
		}
		if x.fresh {
			return
		}
		if x.known && x.level != got.level {
			x.doubt = w.turns // its edge may be on the way
		} else if x.doubt != 0 && x.doubt != w.turns {
			w.miss(x, 1)
			x.doubt = 0
		}
		x.level, x.known, x.edged = got.level, true, false
	}
	r := tag.Reading{Tag: w.points[i].Tag, Received: stamp}
	r.Quality, r.Value = w.judge(&w.points[i], got)
	w.batch = append(w.batch, r)
}

// wait waits for an edge, the next re-reading, or the end.
func (w *watch) wait(ctx context.Context) error {
	next := slices.MinFunc(w.due, time.Time.Compare)
	ms := int(min(max(0, (time.Until(next)+time.Millisecond-1)/time.Millisecond), math.MaxInt32))
	for i := range w.polls {
		w.polls[i].Revents = 0
	}
	_, err := unix.Poll(w.polls, ms)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil && !errors.Is(err, unix.EINTR):
		return fmt.Errorf("poll: %w", err)
	}
	for i, p := range w.polls[1:] {
		if p.Revents&(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) != 0 {
			return fmt.Errorf("poll %s: %w", w.inputs[i].in.name, unix.ENODEV)
		}
	}
	return nil
}
