package opcua

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"davy/drivers"
	"davy/drivers/child"
	"davy/drivers/tag"
)

// puppet is a child whose side of the conversation the test speaks.
type puppet struct {
	t     *testing.T
	wire  net.Conn
	conn  *child.Conn
	hello Hello
	clock Clock
	items map[uint32]Item
	slow  time.Duration // from Hello to its clock
	stop  context.CancelFunc
	beat  sync.WaitGroup
}

// puppets are the children of a link: each start runs the next part, and the
// last again and again.
func puppets(t *testing.T, parts ...func(p *puppet)) (Driver, *atomic.Int64) {
	n := new(atomic.Int64)
	return Driver{Child: func(ctx context.Context, _ *slog.Logger, serve func(context.Context, net.Conn) error) error {
		ours, theirs := net.Pipe()
		part := parts[min(int(n.Add(1))-1, len(parts)-1)]
		var playing sync.WaitGroup
		playing.Go(func() {
			defer theirs.Close()
			p := &puppet{t: t, wire: theirs, conn: child.NewConn(theirs), items: map[uint32]Item{}}
			part(p)
			if p.stop != nil {
				p.stop()
			}
			_ = theirs.Close()
			p.beat.Wait()
		})
		unhook := context.AfterFunc(ctx, func() { _ = ours.Close() })
		defer unhook()
		err := serve(ctx, ours)
		_ = ours.Close()
		playing.Wait()
		if err == nil {
			return child.ErrEnded
		}
		return err
	}}, n
}

// greet plays the beginning: Ready, Hello, a pulse.
func (p *puppet) greet() bool {
	if send(p.conn, KindReady, Ready{Version}) != nil {
		return false
	}
	kind, body, err := p.conn.Read()
	if err != nil || kind != KindHello || json.Unmarshal(body, &p.hello) != nil {
		return false
	}
	<-time.After(p.slow)
	p.clock = NewClock(p.hello.Now)
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	p.beat.Go(func() { _ = p.conn.Pulse(ctx) })
	return true
}

// up says that a session is up.
func (p *puppet) up(session uint32) {
	_ = send(p.conn, KindState, State{Generation: p.hello.Generation, Session: session, Up: true})
}

func (p *puppet) down(code string) {
	_ = send(p.conn, KindState, State{Generation: p.hello.Generation, Code: code, Text: "said the child", Fingerprint: "abcd"})
}

// next returns the next request, having taken items.
func (p *puppet) next() (kind byte, a Ask, w Write, ok bool) {
	for {
		kind, body, err := p.conn.Read()
		if err != nil {
			return 0, a, w, false
		}
		switch kind {
		case KindItems:
			var m Items
			if err := json.Unmarshal(body, &m); err != nil {
				p.t.Error(err)
			}
			for i, x := range m.Items {
				p.items[m.First+uint32(i)] = x
			}
			continue
		case KindWrite:
			if err := json.Unmarshal(body, &w); err != nil {
				p.t.Error(err)
			}
		default:
			if a, err = DecodeAsk(body); err != nil {
				p.t.Error(err)
			}
		}
		return kind, a, w, true
	}
}

// sample is a good sample of now.
func (p *puppet) sample(handle uint32, f float64) Sample {
	return Sample{Handle: handle, Quality: tag.GoodQuality, Value: float(p.t, f), Received: p.clock.Now(), Source: 77}
}

func (p *puppet) readings(session, request uint32, samples ...Sample) {
	b := Batch{Generation: p.hello.Generation, Session: session, Request: request, Samples: samples}
	_ = p.conn.Write(KindReadings, b.Append(nil))
}

func (p *puppet) done(request uint32, code string, status uint32) {
	_ = send(p.conn, KindDone, Done{Generation: p.hello.Generation, Request: request, Code: code, Status: status})
}

// answer answers a Read with the handles as values.
func (p *puppet) answer(a Ask) {
	var samples []Sample
	for h := a.First; h < a.First+a.Count; h++ {
		samples = append(samples, p.sample(h, float64(h)))
	}
	p.readings(1, a.Request, samples...)
	p.done(a.Request, "", 0)
}

// idle reads until the stream ends.
func (p *puppet) idle() {
	for {
		if _, _, _, ok := p.next(); !ok {
			return
		}
	}
}

// honest is a child that does everything right.
func honest(p *puppet) {
	if !p.greet() {
		return
	}
	p.up(1)
	for {
		kind, a, w, ok := p.next()
		if !ok {
			return
		}
		switch kind {
		case KindRead:
			p.answer(a)
		case KindWrite:
			p.done(w.Request, "", 0)
		case KindSubscribe:
			for h := a.First; h < a.First+a.Count; h++ {
				p.readings(1, 0, p.sample(h, float64(h)))
			}
		}
	}
}

// config is a link's, with the bubble's time.
func config(log io.Writer) drivers.LinkConfig {
	began := time.Now()
	if log == nil {
		log = io.Discard
	}
	return drivers.LinkConfig{
		Name: "dcs", Timeout: time.Second, Log: slog.New(slog.NewTextHandler(log, nil)),
		Settings: drivers.Settings{Target: "opc.tcp://h:4840", Options: &Options{Policy: PolicyNone, Mode: ModeNone}},
		Now: func() tag.Stamp {
			t := time.Now()
			return tag.Stamp{Wall: t.UnixNano(), Mono: 1e9 + int64(t.Sub(began))}
		},
	}
}

func points(t testing.TB, n int) (out []drivers.Point) {
	for i := range n {
		out = append(out, point(t, tag.ID(i+1), fmt.Sprintf("nsu=u;i=%d", i), "float64"))
	}
	return out
}

func plan(t testing.TB, cfg drivers.LinkConfig, n int) drivers.Request {
	t.Helper()
	reqs, err := Driver{}.Plan(cfg.Settings, points(t, n))
	if err != nil || len(reqs) != 1 {
		t.Fatal(reqs, err)
	}
	return reqs[0]
}

// open opens a link in a bubble.
func open(t *testing.T, d Driver, cfg drivers.LinkConfig) *link {
	t.Helper()
	l, err := d.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l.(*link)
}
