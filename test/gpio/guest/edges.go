package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"davy/drivers"
	"davy/drivers/tag"
)

// box keeps what a subscription brought.
type box struct {
	mu  sync.Mutex
	got []tag.Reading
	ch  chan struct{}
}

func (b *box) put(rs []tag.Reading) {
	b.mu.Lock()
	b.got = append(b.got, rs...)
	b.mu.Unlock()
	select {
	case b.ch <- struct{}{}:
	default:
	}
}

// wait waits until f is true of what came.
func (b *box) wait(d time.Duration, f func(rs []tag.Reading) bool) ([]tag.Reading, bool) {
	over := time.After(d)
	for {
		b.mu.Lock()
		rs := append([]tag.Reading(nil), b.got...)
		b.mu.Unlock()
		if f(rs) {
			return rs, true
		}
		select {
		case <-b.ch:
		case <-over:
			return rs, false
		}
	}
}

// subscribe runs a subscription until the returned function is called, which
// says how it ended and after how long.
func (p *proof) subscribe(l drivers.Link, pts []drivers.Point) (*box, func() (time.Duration, error), <-chan error) {
	b := &box{ch: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.(drivers.Subscriber).Subscribe(ctx, pts, b.put) }()
	return b, func() (time.Duration, error) {
		from := time.Now()
		cancel()
		err := <-ended
		return time.Since(from), err
	}, ended
}

// edgesOf are the readings of a tag that an edge brought.
func edgesOf(rs []tag.Reading, id tag.ID) (out []tag.Reading) {
	for _, r := range rs {
		if r.Tag == id && r.Source != 0 {
			out = append(out, r)
		}
	}
	return out
}

func (p *proof) edges() {
	l := p.open("gpiochip0", "edges")
	defer l.Close()
	pts := p.points(nil, "line BUTTON", "line DI1", "output RELAY1", "line NOBODY")
	b, stop, _ := p.subscribe(l, pts)
	rs, ok := b.wait(5*time.Second, func(rs []tag.Reading) bool { return len(rs) >= 4 })
	p.hold(ok && rs[0].Quality.Good() && rs[1].Quality.Good() && rs[2].Quality.Good() && rs[3].Quality == tag.BadConfig, "first: %s", texts(rs[:min(4, len(rs))]))
	began := now()
	for press := 1; press <= 3; press++ {
		say("want press")
		rs, ok = b.wait(10*time.Second, func(rs []tag.Reading) bool { return len(edgesOf(rs, 1)) >= 2*press })
	}
	edges := edgesOf(rs, 1)
	p.hold(ok && len(edges) == 6, "three presses: %d edges", len(edges))
	for i, e := range edges {
		good := e.Quality.Good() && e.Value == tag.BoolValue(i%2 == 0) && e.Source > began.Wall && e.Source <= e.Received.Wall
		if i > 0 {
			good = good && e.Source > edges[i-1].Source
		}
		if !good {
			p.hold(false, "edge %d: %v, %v before it was received", i, e.Value, time.Duration(e.Received.Wall-e.Source))
		}
	}
	if len(edges) == 6 {
		long := time.Duration(edges[1].Source - edges[0].Source)
		p.hold(long > 50*time.Millisecond && long < 500*time.Millisecond, "the button (100 ms) was down for %v by the kernel's times; told %v after the edge", long.Round(time.Millisecond), time.Duration(edges[0].Received.Wall-edges[0].Source).Round(10*time.Microsecond))
	}
	// A link of the same driver writes the output that this one reads.
	w := p.open("gpiochip0", "edges")
	for _, v := range []bool{true, false} {
		err := w.Write(context.Background(), pts[2], tag.BoolValue(v))
		_, ok = b.wait(2*time.Second, func(rs []tag.Reading) bool {
			for i := len(rs) - 1; i >= 0; i-- {
				if rs[i].Tag == 3 {
					return rs[i].Value == tag.BoolValue(v)
				}
			}
			return false
		})
		p.hold(err == nil && ok, "RELAY1 written %v over a second link is read here: %v, err %v", v, ok, err)
	}
	w.Close()
	// Nothing happens, and every point is told all the same.
	b.mu.Lock()
	b.got = nil
	b.mu.Unlock()
	rs, ok = b.wait(3*time.Second, func(rs []tag.Reading) bool { return len(rs) >= 12 })
	p.hold(ok, "with nothing happening, %d readings of 4 points came", len(rs))
	took, err := stop()
	p.hold(errors.Is(err, context.Canceled) && took < time.Second, "cancelled: %v after %v", err, took.Round(time.Millisecond))
}

func (p *proof) debounce() {
	for _, d := range []struct {
		time  string
		edges int
	}{{"20ms", 2}, {"400ms", 0}} {
		l := p.open("gpiochip0", "edges")
		pts := p.points(drivers.Fields{"debounce": d.time}, "line BUTTON")
		b, stop, _ := p.subscribe(l, pts)
		first, ok := b.wait(5*time.Second, func(rs []tag.Reading) bool { return len(rs) >= 1 })
		p.hold(ok && first[0].Quality.Good(), "debounce %s: %s", d.time, texts(first))
		say("want press")
		wait := 5 * time.Second
		if d.edges == 0 {
			wait = 1500 * time.Millisecond
		}
		rs, _ := b.wait(wait, func(rs []tag.Reading) bool { return d.edges > 0 && len(edgesOf(rs, 1)) >= d.edges })
		p.hold(len(edgesOf(rs, 1)) == d.edges, "a press of 100 ms: %d edges", len(edgesOf(rs, 1)))
		stop()
		l.Close()
	}
	l := p.open("gpiochip0", "poll")
	defer l.Close()
	rs, err := p.read(l, p.points(drivers.Fields{"bias": "pull-up"}, "line DI2"))
	p.saw("PL061 has no bias; asked for pull-up: %s, err %v", texts(rs), err)
}

// lost stops listening while the button is pressed more often than the kernel's
// queue holds.
func (p *proof) lost() {
	var log bytes.Buffer
	p.log = slog.New(slog.NewTextHandler(&log, nil))
	defer func() { p.log = logger() }()
	l := p.open("gpiochip0", "edges")
	defer l.Close()
	const presses, queue = 38, 64 // two edges each, a few of which may fall together on a busy host
	var got []tag.Reading
	ctx, cancel := context.WithCancel(context.Background())
	busy := false
	err := l.(drivers.Subscriber).Subscribe(ctx, p.points(nil, "line BUTTON"), func(rs []tag.Reading) {
		if !busy {
			busy = true
			for range presses {
				say("want press")
				time.Sleep(160 * time.Millisecond)
			}
			time.Sleep(200 * time.Millisecond)
			return
		}
		if got = append(got, rs...); len(got) > queue { // and the re-reading after
			cancel()
		}
	})
	edges := edgesOf(got, 1)
	p.hold(errors.Is(err, context.Canceled) && len(edges) == queue && edges[queue-1].Value == tag.BoolValue(false) && got[len(got)-1].Value == tag.BoolValue(false),
		"%d presses that nobody listened to: the last %d edges came, then the line was read again: %v", presses, len(edges), got[len(got)-1].Value)
	said := ""
	for line := range strings.Lines(log.String()) {
		if said == "" && strings.Contains(line, "edges lost") {
			said = strings.TrimSpace(line)
		}
	}
	p.hold(strings.Contains(said, "lost="), "said: %s", said)
}
