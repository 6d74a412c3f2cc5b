package feed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"davy/agent/journal"
	"davy/agent/wire"
	"davy/drivers/tag"
)

// The compressor's channels must not belong to the bubble of the first test.
func TestMain(m *testing.M) {
	if _, err := wire.DecodeReadings(wire.EncodeReadings(nil)); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// far is a destination that keeps what it confirmed.
type far struct {
	mu       sync.Mutex
	got      []Record
	sends    []int // how many records each had
	sessions int
	refuse   func(records []Record) error // may be nil
	takes    time.Duration                // of one record
}

type session struct {
	f    *far
	done chan struct{}
	once sync.Once
}

func (s *session) Send(ctx context.Context, records []Record) error {
	t := time.NewTimer(s.f.takes * time.Duration(len(records)))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	if s.f.refuse != nil {
		if err := s.f.refuse(records); err != nil {
			return err
		}
	}
	s.f.got = append(s.f.got, records...)
	s.f.sends = append(s.f.sends, len(records))
	return nil
}
func (s *session) Done() <-chan struct{} { return s.done }
func (s *session) Err() error            { return errors.New("session is over") }
func (s *session) Close() error          { s.once.Do(func() { close(s.done) }); return nil }

func (f *far) records() []Record {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Record(nil), f.got...)
}

// plant is a journal with a feed on it.
type plant struct {
	t      *testing.T
	dir    string
	j      *journal.Journal
	c      *journal.Cursor
	f      *Feed
	far    *far
	o      Options
	from   map[string]journal.Begin
	must   []string
	name   string
	stop   func()
	n      int
	random *rand.Rand
}

func now() tag.Stamp { t := time.Now(); return tag.Stamp{Wall: t.UnixNano(), Mono: t.UnixNano()} }

func newPlant(t *testing.T) *plant {
	p := &plant{t: t, dir: filepath.Join(t.TempDir(), "journal"), far: &far{}, name: "scada", stop: func() {}, random: rand.New(rand.NewPCG(1, 2))}
	t.Cleanup(func() { p.stop(); p.close() })
	return p
}

// open begins an epoch with a table in which tag n is called prefix-n.
func (p *plant) open(prefix string) {
	p.t.Helper()
	j, err := journal.Open(journal.Options{
		Dir: p.dir, Gateway: "GW-1", Keep: time.Hour, Sync: time.Second, MustConfirm: p.must, From: p.from,
		Now: now, Started: now(), Version: "test", Plan: make([]byte, 32), Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		p.t.Fatal(err)
	}
	p.j = j
	if prefix == "" {
		return
	}
	table := &wire.Table{}
	for i := range 10 {
		table.Tags = append(table.Tags, wire.TableTag{ID: tag.ID(i + 1), Name: fmt.Sprintf("%s-%d", prefix, i+1), Kind: tag.Float64})
	}
	if err := j.Append(journal.Batch{Events: []wire.Event{{Kind: 129, At: now(), Table: table}}}); err != nil {
		p.t.Fatal(err)
	}
}

func (p *plant) close() {
	if p.j != nil {
		if err := p.j.Close(); err != nil && !errors.Is(err, journal.ErrClosed) {
			p.t.Error(err)
		}
	}
}

func (p *plant) cursor() *journal.Cursor {
	p.t.Helper()
	c, err := p.j.Cursor(p.name)
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

func (p *plant) start() {
	p.t.Helper()
	p.c = p.cursor()
	o := p.o
	o.Name, o.Journal, o.Cursor, o.Now, o.Log = p.name, p.j, p.c, now, slog.New(slog.DiscardHandler)
	if o.Connect == nil {
		o.Connect = func(context.Context) (Session, error) {
			p.far.mu.Lock()
			defer p.far.mu.Unlock()
			p.far.sessions++
			return &session{f: p.far, done: make(chan struct{})}, nil
		}
	}
	p.f = New(o)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.f.Run(ctx) }()
	p.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			p.t.Errorf("Run: %v", err)
		}
	})
}

// add records events and readings in one batch.
func (p *plant) add(events, readings int) {
	p.t.Helper()
	b := journal.Batch{}
	for range events {
		p.n++
		b.Events = append(b.Events, wire.Event{Kind: 1, At: now(), Tag: 1, Rule: fmt.Sprintf("rule-%d", p.n)})
	}
	for range readings {
		p.n++
		v, _ := tag.Float64Value(p.random.NormFloat64())
		b.Readings = append(b.Readings, tag.Reading{Tag: tag.ID(p.n%10 + 1), Quality: tag.GoodQuality, Value: v, Received: now()})
	}
	if err := p.j.Append(b); err != nil {
		p.t.Fatal(err)
	}
}

func (p *plant) backlog() (n uint64) {
	for _, b := range p.c.Backlog() {
		n += b.Records
	}
	return n
}

// wait lets the bubble's time run until ok or d has gone.
func wait(t *testing.T, d time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(d); ; time.Sleep(20 * time.Millisecond) {
		synctest.Wait()
		if ok() {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", d, what)
		}
	}
}

// whole holds what came against what the journal holds: everything at least
// once, each stream of an epoch in its order but for what came before as live.
func (p *plant) whole(got []Record) (twice int) {
	p.t.Helper()
	type name struct {
		epoch  wire.Epoch
		stream string
		number uint64
	}
	seen := map[name]int{}
	last := map[name]uint64{}
	for _, r := range got {
		n := name{r.Epoch, r.Stream, r.Number}
		if seen[n]++; seen[n] > 1 {
			twice++
		}
		if lane := (name{r.Epoch, r.Stream, 0}); r.Stream == wire.EventStream {
			if r.Number <= last[lane] && seen[n] == 1 {
				p.t.Errorf("event %d after %d", r.Number, last[lane])
			}
			last[lane] = r.Number
		}
	}
	for _, e := range p.j.Epochs() {
		for _, h := range e.Heads {
			for n := uint64(1); n <= h.Number; n++ {
				if seen[name{e.ID, h.Stream, n}] == 0 {
					p.t.Fatalf("%s %d of %x did not come", h.Stream, n, e.ID[:2])
				}
			}
		}
	}
	return twice
}
