package keep

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"davy/agent/config"
	"davy/agent/journal"
	"davy/agent/ring"
	"davy/agent/uplink"
	"davy/agent/wire"
	"davy/drivers"
	"davy/drivers/modbus"
	"davy/drivers/tag"
	"davy/rules"
)

const wall0 = int64(1_800_000_000_000_000_000)

const site = `davy: 1
gateway:
  id: GW-1
  name: {zh: 冷库, en: Cold store}
links:
  plc:
    modbus-tcp: 192.0.2.20:502
devices:
  comp1:
    link: plc
    station: 1
    tags:
      temp:
        at: holding 10
        type: float32 CDAB
        range: -50 to 180 °C
        record: every 10s
uplinks:
  regulator:
    mqtt: tls://receiver.example:8883
    receipts: key ed25519:%s
    must_confirm: true
`

// receiver is the other end of an uplink: it keeps what comes and answers.
type receiver struct {
	key ed25519.PrivateKey

	mu     sync.Mutex
	serial map[uint64]int // how often each came
	upto   map[wire.Epoch]map[string]wire.Head
	silent bool
}

// line is one connection to it.
type line struct {
	r        *receiver
	receipts chan []byte
	done     chan struct{}
	once     sync.Once
}

func (l *line) Send(_ context.Context, _ string, payload []byte) error {
	s, err := wire.DecodeSigned(payload)
	if err != nil || !s.Verify(wire.EnvelopeKind) {
		return fmt.Errorf("message: %w", err)
	}
	e, err := wire.DecodeEnvelope(s.Body)
	if err != nil {
		return err
	}
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	if l.r.upto[e.Epoch] == nil {
		l.r.upto[e.Epoch] = map[string]wire.Head{}
	}
	up := l.r.upto[e.Epoch]
	for i := range e.Blocks {
		b := &e.Blocks[i]
		if b.First != up[b.Stream].Number+1 {
			continue
		}
		if b.Stream == wire.EventStream {
			events, err := wire.DecodeEvents(b.Body)
			if err != nil {
				return err
			}
			for _, x := range events {
				if x.Serial > 0 {
					l.r.serial[x.Serial]++
				}
			}
		}
		up[b.Stream] = wire.Head{Stream: b.Stream, Number: b.Last(), Root: b.RootAfter()}
	}
	if l.r.silent {
		return nil
	}
	answer := wire.Receipt{Version: wire.Version, Gateway: e.Gateway, Destination: "regulator", Store: "s", Epoch: e.Epoch}
	for _, h := range up {
		answer.Upto = append(answer.Upto, h)
	}
	signed := wire.Sign(wire.ReceiptKind, answer.Encode(nil), l.r.key)
	select {
	case l.receipts <- signed.Encode(nil):
	default:
	}
	return nil
}

func (l *line) Receipts() <-chan []byte { return l.receipts }
func (l *line) Done() <-chan struct{}   { return l.done }
func (l *line) Err() error              { return io.EOF }
func (l *line) Close() error            { l.once.Do(func() { close(l.done) }); return nil }

// plant is a decider, as far as the keeper sees it, and the keeper's surroundings.
type plant struct {
	t      *testing.T
	dir    string
	start  time.Time
	recv   *receiver
	hello  ring.Hello
	writer *ring.Writer
	serial uint64

	mu    sync.Mutex
	disk  func(op string) error
	dials int
	dial  func(n int) (uplink.Transport, error)
	tcp   func(address string) func(context.Context) (net.Conn, error)
}

func newPlant(t *testing.T) *plant {
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	p := &plant{
		t: t, dir: t.TempDir(), start: time.Now(),
		recv: &receiver{key: key, serial: map[uint64]int{}, upto: map[wire.Epoch]map[string]wire.Head{}},
	}
	b := &config.Bundle{}
	b.Put(config.SiteFile, fmt.Appendf(nil, site, base64.StdEncoding.EncodeToString(key.Public().(ed25519.PublicKey))))
	p.hello = ring.Hello{Version: "test", Lineage: [16]byte{1}, Boot: "b", Started: p.now(), Bundle: b.Encode(), StateDir: p.dir}
	p.writer = ring.NewWriter(ring.WriterOptions{})
	if _, problems := config.Compile(b, p.options().Drivers); len(problems) > 0 {
		for _, x := range problems {
			t.Log(x)
		}
	}
	return p
}

func (p *plant) now() tag.Stamp {
	d := int64(time.Since(p.start)) + int64(time.Hour)
	return tag.Stamp{Wall: wall0 + d, Mono: d}
}

func (p *plant) options() Options {
	return Options{
		Drivers: drivers.Set{"modbus-tcp": modbus.TCP{}}, Now: p.now, Boot: "b", Trusted: func() (bool, time.Duration) { return true, 0 },
		Log: slog.New(slog.DiscardHandler), DialTCP: p.tcp,
		Dial: func(string, config.Uplink) uplink.Dial {
			return func(context.Context) (uplink.Transport, error) {
				p.mu.Lock()
				p.dials++
				n, dial := p.dials, p.dial
				p.mu.Unlock()
				if dial != nil {
					return dial(n)
				}
				return p.line(), nil
			}
		},
		Disk: func(op string) error {
			p.mu.Lock()
			f := p.disk
			p.mu.Unlock()
			if f != nil {
				return f(op)
			}
			return nil
		},
	}
}

func (p *plant) line() *line {
	return &line{r: p.recv, receipts: make(chan []byte, 64), done: make(chan struct{})}
}

func (p *plant) onDisk(f func(op string) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.disk = f
}

// keeper starts a keeper and a conversation with it; stop ends the
// conversation as a decider that is gone does, cut as a keeper that is killed.
func (p *plant) keeper() (stop func() error, cut func()) {
	p.t.Helper()
	ours, theirs := net.Pipe()
	ctx, cancel := context.WithCancel(p.t.Context())
	kept, said := make(chan error, 1), make(chan error, 1)
	go func() { kept <- Serve(p.t.Context(), theirs, p.options()) }()
	go func() { said <- p.writer.Serve(ctx, ours, p.hello) }()
	stop = func() error {
		cancel()
		<-said
		return <-kept
	}
	cut = func() {
		ours.Close()
		<-said
		<-kept
		cancel()
	}
	return stop, cut
}

func (p *plant) event() {
	p.serial++
	p.writer.Offer(&ring.Turn{Now: p.now(), ClockTrusted: true, Events: []ring.Event{{
		Serial: p.serial, Event: rules.Event{Kind: rules.AlarmRaised, At: p.now(), Rule: "x", Priority: rules.High},
	}}})
	p.writer.Permit(p.serial)
}

func (p *plant) reading(v float32) {
	x, _ := tag.Float32Value(v)
	p.writer.Offer(&ring.Turn{Now: p.now(), ClockTrusted: true, Readings: []tag.Reading{{Tag: 1, Quality: tag.GoodQuality, Value: x, Received: p.now()}}})
}

func (p *plant) status() ring.Status {
	p.t.Helper()
	s, _, ok := p.writer.Status()
	if !ok {
		p.t.Fatal("no status came")
	}
	return s
}

// everything checks that each serial is in the journal and at the receiver once.
func (p *plant) everything() {
	p.t.Helper()
	r, err := journal.OpenReadOnly(filepath.Join(p.dir, JournalDir))
	if err != nil {
		p.t.Fatal(err)
	}
	defer r.Close()
	once := map[uint64]int{}
	err = r.Walk(func(rec journal.Record) error {
		if rec.Event != nil && rec.Event.Serial > 0 {
			once[rec.Event.Serial]++
		}
		return nil
	})
	if err != nil || len(r.Damaged) > 0 {
		p.t.Fatal(err, r.Damaged)
	}
	for s := uint64(1); s <= p.serial; s++ {
		if once[s] != 1 || p.recv.serial[s] != 1 {
			p.t.Errorf("event %d: %d times in the journal, %d at the receiver", s, once[s], p.recv.serial[s])
		}
	}
}

func TestSpine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t)
		stop, _ := p.keeper()
		time.Sleep(time.Second)
		for i := range 30 {
			p.event()
			p.reading(float32(i))
			time.Sleep(time.Second)
		}
		time.Sleep(10 * time.Second)
		s := p.status()
		if s.Durable != 30 || len(s.Conditions) != 0 || len(s.Uplinks) != 1 || !s.Uplinks[0].Connected || s.Uplinks[0].Backlog != 0 {
			t.Errorf("status %+v", s)
		}
		if h := s.Heads; h[0].Number != h[0].Receipted || h[1].Number != 30 || h[1].Receipted != 30 {
			t.Errorf("heads %+v", h)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		p.everything()
	})
}

// The keeper goes and comes, the decider goes on: each event once.
func TestKeepersComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t)
		for range 10 {
			_, cut := p.keeper()
			for range 7 {
				p.event()
				time.Sleep(137 * time.Millisecond)
			}
			cut()
			p.event()
		}
		stop, _ := p.keeper()
		time.Sleep(20 * time.Second)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		p.everything()
	})
}

func TestJournalThatCannotBeOpened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t)
		p.onDisk(func(string) error { return syscall.EROFS })
		stop, _ := p.keeper()
		p.event()
		time.Sleep(10 * time.Second)
		if s := p.status(); s.Durable != 0 || s.Epoch != [16]byte{} || !slices.Contains(s.Conditions, "record.stopped") {
			t.Errorf("status %+v", s)
		}
		p.onDisk(nil)
		time.Sleep(30 * time.Second)
		if s := p.status(); s.Durable != 1 || slices.Contains(s.Conditions, "record.stopped") {
			t.Errorf("status %+v", s)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		p.everything()
	})
}

// Full, then slow: the conditions say so, nothing is lost that had room.
func TestDiskFailsInTheMiddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t)
		stop, _ := p.keeper()
		p.event()
		time.Sleep(2 * time.Second)
		p.onDisk(func(op string) error {
			if op == "commit" || op == "create" {
				return syscall.ENOSPC
			}
			return nil
		})
		for i := range 20 {
			p.event()
			p.reading(float32(i))
			time.Sleep(time.Second)
		}
		if s := p.status(); s.Durable != 1 || !slices.Contains(s.Conditions, "record.stopped") || !slices.Contains(s.Conditions, "journal.nearly-full") {
			t.Errorf("status %+v", s)
		}
		p.onDisk(func(string) error { time.Sleep(2 * time.Second); return nil })
		for i := range 60 {
			p.event()
			p.reading(float32(i))
			time.Sleep(time.Second)
		}
		p.onDisk(nil)
		time.Sleep(30 * time.Second)
		if s := p.status(); s.Durable != p.serial || len(s.Conditions) > 0 {
			t.Errorf("status %+v", s)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		p.everything()
	})
}

// An uplink that panics is run again; recording does not notice.
func TestUplinkPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t)
		p.dial = func(n int) (uplink.Transport, error) {
			switch n {
			case 1:
				panic("a broker made us do it")
			case 2:
				return nil, errors.New("refused")
			}
			return p.line(), nil
		}
		stop, _ := p.keeper()
		time.Sleep(100 * time.Millisecond)
		p.event()
		time.Sleep(200 * time.Millisecond) // the second attempt comes half a second after the first, at the earliest
		if s := p.status(); s.Durable != 1 || !slices.Contains(s.Conditions, "uplink.regulator.offline") {
			t.Errorf("status %+v", s)
		}
		time.Sleep(80 * time.Second) // not a whole minute: then a health record is on its way
		if s := p.status(); !s.Uplinks[0].Connected || s.Uplinks[0].Backlog != 0 || len(s.Conditions) > 0 {
			t.Errorf("status %+v", s)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		p.everything()
	})
}

func TestNoReceipt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t)
		p.recv.silent = true
		stop, _ := p.keeper()
		p.event()
		time.Sleep(5 * time.Minute)
		if s := p.status(); !slices.Contains(s.Conditions, "uplink.regulator.no-receipt") && !slices.Contains(s.Conditions, "uplink.regulator.offline") || s.Uplinks[0].Backlog == 0 {
			t.Errorf("status %+v", s)
		}
		p.recv.mu.Lock()
		p.recv.silent = false
		p.recv.mu.Unlock()
		time.Sleep(3 * time.Minute)
		if s := p.status(); len(s.Conditions) > 0 || s.Uplinks[0].Backlog != 0 {
			t.Errorf("status %+v", s)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	})
}
