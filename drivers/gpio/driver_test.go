package gpio

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	periph "periph.io/x/conn/v3/gpio"

	"davy/drivers"
	"davy/drivers/tag"
)

// point makes a point as the configuration does.
func point(t *testing.T, d drivers.Driver, id tag.ID, at string, fields drivers.Fields) drivers.Point {
	t.Helper()
	a, err := d.ParseAddress(at)
	if err != nil {
		t.Fatal(err)
	}
	ty, err := d.ParseType(a, "")
	if err != nil {
		t.Fatal(err)
	}
	o, err := d.ParseDevice(fields)
	if err != nil {
		t.Fatal(err)
	}
	return drivers.Point{Tag: id, Name: tag.Name("io." + at), Address: a, Type: ty, Options: o, Period: time.Second}
}

func TestParseDevice(t *testing.T) {
	f := func(debounce, bias, want string) {
		t.Helper()
		o, err := Driver{}.ParseDevice(drivers.Fields{"debounce": debounce, "bias": bias})
		got := ""
		if err != nil {
			got = codes(err)
		} else {
			got = o.(lineOptions).debounce.String() + " " + o.(lineOptions).pull.String()
		}
		if got != want {
			t.Errorf("%q %q is %q, want %q", debounce, bias, got, want)
		}
	}
	f("", "", "0s PullNoChange")
	f("5ms", "pull-up", "5ms PullUp")
	f("5 ms", "pull-down", "5ms PullDown")
	f("1s", "off", "1s Float")
	f("1.5s", "", "debounce gpio.debounce")
	f("-1ms", "", "debounce gpio.debounce")
	f("5", "", "debounce gpio.debounce")
	f("1500ns", "", "debounce gpio.debounce")
	f("5x", "pull", "debounce gpio.debounce, bias gpio.bias")
}

func TestPlan(t *testing.T) {
	d := Driver{}
	f := func(want string, points ...drivers.Point) {
		t.Helper()
		reqs, err := d.Plan(drivers.Settings{}, points)
		got := ""
		if err != nil {
			got = codes(err)
		}
		n := 0
		for _, r := range reqs {
			n += len(r.Points())
		}
		if err == nil && n != len(points) || err != nil && reqs != nil {
			t.Errorf("%d of %d points planned, err %v", n, len(points), err)
		}
		if got != want {
			t.Errorf("problems %q, want %q", got, want)
		}
	}
	in, out := point(t, d, 1, "line DI1", nil), point(t, d, 2, "output R1", nil)
	fast := in
	fast.Period /= 10
	f("", in, out, fast)
	reqs, err := d.Plan(drivers.Settings{}, []drivers.Point{in, out, fast})
	if err != nil || len(reqs) != 2 || reqs[0].Points()[0].Period != fast.Period || reqs[1].String() != "line DI1 and 1 more" {
		t.Errorf("%v, %v", reqs, err)
	}
	out.Write = true
	f("", out)
	in.Write = true
	f("gpio.write", in)
	in.Write = false
	scaled := in
	scaled.Gain = 2
	f("gpio.scale", scaled)
	state := in
	state.State = &drivers.State{}
	f("gpio.plain", state)
	f("gpio.both", in, point(t, d, 3, "output DI1 inverted", nil))
	f("gpio.twice", in, point(t, d, 3, "line DI1 inverted", drivers.Fields{"debounce": "5ms"}))
	f("", in, point(t, d, 3, "line DI1 inverted", nil))
}

// logged is a link whose log can be read.
func logged(t *testing.T) (*link, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	mono := int64(0)
	l, err := New().Open(context.Background(), drivers.LinkConfig{
		Name: "io", Settings: drivers.Settings{Target: "/dev/no-such-chip"}, Timeout: time.Second, Log: slog.New(slog.NewTextHandler(&log, nil)),
		Now: func() tag.Stamp { mono++; return tag.Stamp{Wall: 1e18 + mono, Mono: mono} },
	})
	if err != nil {
		t.Fatal(err)
	}
	return l.(*link), &log
}

func TestErrorsAreNoLevels(t *testing.T) {
	l, log := logged(t)
	p := point(t, Driver{}, 1, "line DI1", nil)
	f := func(err error, want tag.Quality) {
		t.Helper()
		q, v := l.judge(&p, level{level: periph.High, err: err})
		if q != want || err != nil && v != (tag.Value{}) {
			t.Errorf("%v: %#x %v, want %#x", err, uint32(q), v, uint32(want))
		}
	}
	f(nil, tag.GoodQuality)
	f(ErrNoLine, tag.BadConfig)
	f(ErrNoLine, tag.BadConfig)
	f(ErrAmbiguous, tag.BadConfig)
	f(errIsOutput, tag.BadConfig)
	f(unix.ENXIO, tag.BadConfig)
	f(unix.EBUSY, tag.BadDeviceFault)
	f(unix.EACCES, tag.BadDeviceFault)
	f(unix.EIO, tag.BadNoComm)
	f(unix.ETIMEDOUT, tag.BadNoComm)
	f(nil, tag.GoodQuality)
	// Nine errors, of which one came twice, and one return.
	if said := strings.Count(log.String(), "\n"); said != 9 {
		t.Errorf("%d lines logged, want 9\n%s", said, log)
	}
}

// A chip that is not there: an error of the link, a reading for every point.
func TestNoChip(t *testing.T) {
	l, _ := logged(t)
	points := []drivers.Point{point(t, Driver{}, 1, "line DI1", nil), point(t, Driver{}, 2, "output R1", nil)}
	points[1].Write = true
	reqs, err := Driver{}.Plan(l.Settings, points)
	if err != nil {
		t.Fatal(err)
	}
	rs, err := l.Read(t.Context(), reqs[0], nil)
	if !errors.Is(err, ErrNoChip) || len(rs) != 2 || rs[0].Quality != tag.BadNoComm || rs[1].Quality != tag.BadNoComm {
		t.Errorf("%v, %v", rs, err)
	}
	if err := l.Subscribe(t.Context(), points, func([]tag.Reading) { t.Error("told something") }); !errors.Is(err, ErrNoChip) {
		t.Errorf("subscribe: %v", err)
	}
	if err := l.Write(t.Context(), points[1], tag.BoolValue(true)); !errors.Is(err, ErrNoChip) {
		t.Errorf("write: %v", err)
	}
	for _, w := range []struct {
		p    drivers.Point
		v    tag.Value
		only bool
	}{{points[0], tag.BoolValue(true), true}, {points[1], tag.IntValue(1), false}} {
		if err := l.Write(t.Context(), w.p, w.v); err == nil || errors.Is(err, drivers.ErrReadOnly) != w.only || errors.Is(err, ErrNoChip) {
			t.Errorf("write %v: %v", w.v, err)
		}
	}
	l.ReadOnly = true
	if err := l.Write(t.Context(), points[1], tag.BoolValue(true)); !errors.Is(err, drivers.ErrReadOnly) {
		t.Errorf("write on a read-only link: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if c, err := OpenChip("/dev/null"); err == nil || errors.Is(err, ErrNoChip) {
		t.Errorf("/dev/null is a chip: %v, %v", c, err)
	}
	// The one that has the label may be the one that cannot be read.
	if c, err := labelled("di", []string{"/dev/null", "/dev/gpiochip-none"}); !errors.Is(err, ErrNoChip) || !strings.Contains(err.Error(), "/dev/null") {
		t.Errorf("no chip has the label: %v, %v", c, err)
	}
}

// The sequence numbers of the kernel tell what is lacking, once in the log,
// and the line is read again.
func TestLostEdges(t *testing.T) {
	l, log := logged(t)
	w := &watch{link: l, points: []drivers.Point{point(t, Driver{}, 1, "line DI1", nil)}, due: []time.Time{time.Now().Add(time.Hour)}}
	in := &input{Line: &Line{name: "gpiochip0 line 0"}}
	x := &watched{in: in, points: []int{0}}
	w.inputs = []*watched{x}
	f := func(id, seqno uint32, lost uint64, again bool) {
		t.Helper()
		w.due[0] = time.Now().Add(time.Hour)
		w.edge(x, lineEvent{id: id, lineSeqno: seqno, timestamp: 1})
		if x.lost != lost || w.due[0].IsZero() != again {
			t.Errorf("edge %d: lost %d, want %d; read again %v, want %v", seqno, x.lost, lost, w.due[0].IsZero(), again)
		}
	}
	f(eventRising, 1, 0, false)
	f(eventFalling, 2, 0, false)
	f(eventRising, 5, 2, true) // 3 and 4 are lacking
	f(eventRising, 6, 3, true) // it fell in between, too shortly to be seen
	f(eventFalling, 7, 3, false)
	x.seqno = 1<<32 - 1
	f(eventRising, 0, 3, false) // the number goes round
	if n := strings.Count(log.String(), "edges lost"); n != 1 {
		t.Errorf("logged %d times\n%s", n, log)
	}

	// A level that no edge has brought: told at once, lost if the edge never comes.
	read := func(turn int, level periph.Level, lost uint64) {
		t.Helper()
		w.turns, x.fresh, w.batch = turn, false, nil
		w.again(0, answer(level, in), l.Now())
		if len(w.batch) != 1 || w.batch[0].Value != tag.BoolValue(bool(level)) || x.lost != lost {
			t.Errorf("turn %d: %v, lost %d, want %d", turn, w.batch, x.lost, lost)
		}
	}
	read(1, periph.High, 3)
	read(2, periph.Low, 3)
	read(2, periph.Low, 3) // another point of the same line
	read(3, periph.Low, 4)
	read(4, periph.Low, 4)
	read(5, periph.High, 4)
	f(eventRising, 1, 4, false) // it was on the way
	read(6, periph.High, 4)

	// An edge that came after the line was asked says it better.
	x.fresh, w.batch = true, nil
	if w.again(0, answer(periph.Low, in), l.Now()); len(w.batch) != 0 {
		t.Errorf("told an older level: %v", w.batch)
	}
}

func answer(l periph.Level, in *input) level { return level{level: l, in: in} }

// A call that hangs costs its caller the timeout; the next waits for it, and
// nothing is called twice at a time.
func TestGuard(t *testing.T) {
	var s stuck
	g := s.guard("x")
	release := make(chan struct{})
	var calls []string
	hang := func() error { <-release; calls = append(calls, "hung"); return nil }
	soon := func() time.Time { return time.Now().Add(50 * time.Millisecond) }
	if err := g.do(t.Context(), soon(), hang); !errors.Is(err, errStuck) {
		t.Fatalf("hung: %v", err)
	}
	if err := g.do(t.Context(), soon(), func() error { t.Error("called beside another"); return nil }); !errors.Is(err, errStuck) {
		t.Errorf("while it hangs: %v", err)
	}
	s.leave("x", &g)
	next := s.guard("x")
	if err := next.do(t.Context(), soon(), func() error { t.Error("called by the next link"); return nil }); !errors.Is(err, errStuck) {
		t.Errorf("the next link: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := next.do(ctx, soon(), hang); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	close(release)
	if err := next.do(t.Context(), time.Now().Add(10*time.Second), func() error { calls = append(calls, "next"); return unix.EIO }); !errors.Is(err, unix.EIO) {
		t.Errorf("afterwards: %v", err)
	}
	if !slices.Equal(calls, []string{"hung", "next"}) {
		t.Errorf("called %v", calls)
	}
	defer func() {
		if recover() != "BUG: here" {
			t.Error("a panic was lost")
		}
	}()
	_ = next.do(t.Context(), time.Now().Add(10*time.Second), func() error { panic("BUG: here") })
}
