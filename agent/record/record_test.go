package record

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"davy/agent/config"
	"davy/agent/journal"
	"davy/agent/ring"
	"davy/agent/wire"
	"davy/drivers/tag"
	"davy/rules"
)

const wall0 = int64(1_800_000_000_000_000_000)

// rig is a recorder over a real journal in a bubble's time.
type rig struct {
	t     *testing.T
	dir   string
	plan  *config.Plan
	line  [16]byte
	start time.Time
	disk  atomic.Pointer[func(op string) error]
	j     *journal.Journal
	r     *Recorder
	stop  func() error
	early func() // between the opening of the journal and the recorder
}

func (g *rig) now() tag.Stamp {
	d := int64(time.Since(g.start)) + int64(time.Hour)
	return tag.Stamp{Wall: wall0 + d, Mono: d}
}

func newRig(t *testing.T) *rig {
	every := func(r config.Record, link int, id tag.ID, name tag.Name) config.Tag {
		return config.Tag{ID: id, Name: name, Unit: "ppm", Kind: tag.Float64, Record: r, Link: link}
	}
	return &rig{
		t: t, dir: filepath.Join(t.TempDir(), "journal"), line: [16]byte{1}, start: time.Now(),
		plan: &config.Plan{
			Hash: [32]byte{7}, Journal: config.Journal{Sync: 5 * time.Second, Keep: time.Hour, MaxBytes: 64 << 20},
			Tags: []config.Tag{
				{},
				every(config.Record{Every: time.Minute, Change: 1}, 0, 1, "nh3-1.gas"),
				every(config.Record{Every: 10 * time.Second}, 0, 2, "comp1.run"),
				every(config.Record{Never: true}, 0, 3, "x.never"),
				every(config.Record{Every: time.Second}, -1, 4, "record.stopped"),
				{ID: 5, Name: "room.mean", Kind: tag.Float64, Link: -1, Of: []tag.ID{1}, Record: config.Record{Every: 5 * time.Second, Change: 10}},
			},
		},
	}
}

func (g *rig) begin() {
	g.t.Helper()
	j, err := journal.Open(journal.Options{
		Dir: g.dir, Gateway: "GW", MaxBytes: g.plan.Journal.MaxBytes, SegmentBytes: 1 << 20, Sync: g.plan.Journal.Sync, Now: g.now, Boot: "b",
		Disk: func(op string) error {
			if f := g.disk.Load(); f != nil {
				return (*f)(op)
			}
			return nil
		},
	})
	if err != nil {
		g.t.Fatal(err)
	}
	g.j = j
	if g.early != nil {
		g.early()
	}
	g.r = New(Options{Journal: j, Plan: g.plan, Lineage: g.line, Now: g.now})
	ctx, cancel := context.WithCancel(g.t.Context())
	done := make(chan error, 1)
	go func() { done <- g.r.Run(ctx) }()
	g.stop = func() error {
		cancel()
		err := <-done
		return errors.Join(err, j.Close())
	}
}

func (g *rig) onDisk(f func(op string) error) { g.disk.Store(&f) }

// refuses has the disk take nothing.
func (g *rig) refuses(err error) {
	g.onDisk(func(op string) error {
		if op == "commit" || op == "create" {
			return err
		}
		return nil
	})
}

func (g *rig) event(serial uint64, rule string) ring.Event {
	return ring.Event{Serial: serial, Event: rules.Event{Kind: rules.AlarmRaised, At: g.now(), Rule: rule, Priority: rules.High}}
}

func (g *rig) reading(id tag.ID, v float64, q tag.Quality) tag.Reading {
	x, _ := tag.Float64Value(v)
	return tag.Reading{Tag: id, Quality: q, Value: x, Received: g.now()}
}

func (g *rig) take(events []ring.Event, readings ...tag.Reading) {
	g.r.Take(&ring.Turn{Now: g.now(), Events: events, Readings: readings})
}

// recorded reads everything back.
func (g *rig) recorded() (events []wire.Event, readings []tag.Reading) {
	g.t.Helper()
	r, err := journal.OpenReadOnly(g.dir)
	if err != nil {
		g.t.Fatal(err)
	}
	defer r.Close()
	err = r.Walk(func(rec journal.Record) error {
		if rec.Reading != nil {
			readings = append(readings, *rec.Reading)
		} else if rec.Stream == wire.EventStream {
			events = append(events, *rec.Event)
		}
		return nil
	})
	if err != nil || len(r.Damaged) > 0 {
		g.t.Fatal(err, r.Damaged)
	}
	return events, readings
}

func count(events []wire.Event, f func(wire.Event) bool) (n int) {
	for _, e := range events {
		if f(e) {
			n++
		}
	}
	return n
}

// gapsOf returns the gap records of a stream ("": of all) and how much they name.
func gapsOf(events []wire.Event, stream string) (gaps []*wire.Gap, named uint64) {
	for _, e := range events {
		if e.Gap != nil && (stream == "" || e.Gap.Stream == stream) {
			gaps = append(gaps, e.Gap)
			named += e.Gap.Count
		}
	}
	return gaps, named
}

func TestEventsAtOnceReadingsEverySync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.begin()
		synctest.Wait()
		began := time.Now()
		changed := g.r.Changed()
		g.take([]ring.Event{g.event(1, "a")}, g.reading(1, 10, tag.GoodQuality))
		<-changed
		if took := time.Since(began); took > 100*time.Millisecond || g.r.State().Durable != 1 {
			t.Errorf("event durable after %v", took)
		}
		if n := g.j.Heads()[1].Number; n != 0 {
			t.Errorf("%d readings before sync", n)
		}
		time.Sleep(5*time.Second + 100*time.Millisecond)
		if n := g.j.Heads()[1].Number; n != 1 {
			t.Errorf("%d readings after sync", n)
		}
		// A storm of single events is a few transactions.
		before := g.j.Stat().Commits
		for i := range 200 {
			g.take([]ring.Event{g.event(uint64(i+2), "storm")})
			time.Sleep(time.Millisecond)
		}
		time.Sleep(100 * time.Millisecond)
		if n := g.j.Stat().Commits - before; n > 8 || g.r.State().Durable != 201 {
			t.Errorf("%d transactions, durable %d", n, g.r.State().Durable)
		}
		if err := g.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.begin()
		step := func(r ...tag.Reading) { g.take(nil, r...); time.Sleep(time.Second) }
		step(g.reading(1, 10, tag.GoodQuality))         // kept: first
		step(g.reading(1, 10.9, tag.GoodQuality))       // within the deadband
		step(g.reading(1, 11.1, tag.GoodQuality))       // kept: beyond it
		step(g.reading(1, 11.1, tag.BadNoComm))         // kept: quality
		step(g.reading(3, 1, tag.GoodQuality))          // never
		step(g.reading(4, 0, tag.GoodQuality))          // kept: first of an own condition
		step(g.reading(4, 0, tag.GoodQuality))          // own conditions on change only
		step(g.reading(9, 1, tag.GoodQuality))          // no such tag
		step(g.reading(5, 100, tag.GoodQuality))        // kept: first of a computed tag
		step(g.reading(5, 109, tag.GoodQuality))        // within the deadband
		step(g.reading(2, 1, tag.GoodQuality))          // kept: first
		step(g.reading(2, 1, tag.GoodQuality))          // same
		time.Sleep(10 * time.Second)                    //
		step(g.reading(2, 1, tag.GoodQuality))          // kept: every
		step(g.reading(2, 1, tag.GoodQuality|tag.Test)) // kept: a flag is quality
		step(g.reading(5, 108, tag.GoodQuality))        // kept: every, also of a computed tag
		if err := g.stop(); err != nil {
			t.Fatal(err)
		}
		_, readings := g.recorded()
		var got []float64
		for _, r := range readings {
			got = append(got, float64(r.Tag)+r.Value.Float()/1000)
		}
		want := []float64{1.01, 1.0111, 1.0111, 4, 5.1, 2.001, 2.001, 2.001, 5.108}
		if len(got) != len(want) {
			t.Fatalf("got %v, want %v", got, want)
		}
		for i := range want {
			if d := got[i] - want[i]; d > 1e-9 || d < -1e-9 {
				t.Fatalf("got %v, want %v", got, want)
			}
		}
	})
}

func TestTableComesBeforeReadings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.early = func() {
			g.onDisk(func(op string) error {
				if op == "commit" { // of the events' segment; the readings' is not made yet
					return syscall.ENOSPC
				}
				return nil
			})
		}
		g.begin()
		g.take(nil, g.reading(1, 10, tag.GoodQuality))
		time.Sleep(20 * time.Second)
		if h := g.j.Heads(); h[0].Number != 1 || h[1].Number != 0 {
			t.Fatalf("heads %v", h)
		}
		g.onDisk(func(string) error { return nil })
		time.Sleep(20 * time.Second)
		if err := g.stop(); err != nil {
			t.Fatal(err)
		}
		events, readings := g.recorded()
		if len(readings) != 1 || events[1].Kind != uint32(ring.TagTable) || len(events[1].Table.Tags) != 5 || events[1].Table.Tags[0].Name != "nh3-1.gas" {
			t.Fatalf("%d readings, second event %+v", len(readings), events[1])
		}
	})
}

func TestExactlyOnceOverKeepers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.begin()
		g.take([]ring.Event{g.event(1, "a"), g.event(2, "b")})
		g.take([]ring.Event{g.event(2, "b"), g.event(3, "c")}) // again, within one conversation
		time.Sleep(time.Second)
		if err := g.stop(); err != nil {
			t.Fatal(err)
		}
		g.begin()
		if d := g.r.State().Durable; d != 3 {
			t.Fatalf("the next keeper begins at %d", d)
		}
		lost := g.event(9, "d")
		lost.LostFrom, lost.LostAt = 5, g.now()
		g.take([]ring.Event{g.event(2, "b"), g.event(3, "c"), g.event(4, "c2"), lost})
		g.take([]ring.Event{lost})
		time.Sleep(time.Second)
		if err := g.stop(); err != nil {
			t.Fatal(err)
		}
		g.line = [16]byte{2} // another lineage counts from 1 again
		g.begin()
		g.take([]ring.Event{g.event(1, "e")})
		if err := g.stop(); err != nil {
			t.Fatal(err)
		}
		events, _ := g.recorded()
		for _, rule := range []string{"a", "b", "c", "c2", "d", "e"} {
			if n := count(events, func(e wire.Event) bool { return e.Rule == rule }); n != 1 {
				t.Errorf("%s is there %d times", rule, n)
			}
		}
		gaps, given := gapsOf(events, "")
		for _, g := range gaps {
			if g.Stream != wire.EventStream || g.Cause != CauseRing {
				t.Errorf("gap %+v", g)
			}
		}
		if given != 4 { // 5, 6, 7, 8
			t.Errorf("%d events named as lost, want 4", given)
		}
	})
}

// While the disk takes nothing, events wait, readings are thinned and dropped,
// and afterwards what went is named: what was offered is there or counted.
func TestFullDiskIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.begin()
		time.Sleep(time.Second)
		g.refuses(syscall.ENOSPC)
		const n = 3 * MaxReadings
		for i := range n {
			g.take(nil, g.reading(1, float64(10*i), tag.GoodQuality))
			if i%256 == 0 {
				time.Sleep(100 * time.Millisecond)
			}
		}
		g.take([]ring.Event{g.event(1, "while-full")})
		time.Sleep(6 * time.Second)
		s := g.r.State()
		if !s.Stopped || !s.Full || !s.Lost || s.Durable != 0 || s.Readings > MaxReadings {
			t.Errorf("state %+v", s)
		}
		g.onDisk(func(string) error { return nil })
		time.Sleep(30 * time.Second)
		if s := g.r.State(); s.Stopped || s.Durable != 1 {
			t.Errorf("state %+v", s)
		}
		if err := g.stop(); err != nil {
			t.Fatal(err)
		}
		events, readings := g.recorded()
		gaps, given := gapsOf(events, wire.ReadingStream)
		for _, g := range gaps {
			if g.Cause != journal.CauseFull || g.WallTo < g.WallFrom {
				t.Errorf("gap %+v", g)
			}
		}
		if len(readings)+int(given) != n || given == 0 {
			t.Errorf("%d there, %d named, of %d", len(readings), given, n)
		}
		if c := count(events, func(e wire.Event) bool { return e.Rule == "while-full" }); c != 1 {
			t.Errorf("the event is there %d times", c)
		}
	})
}

// While the disk takes nothing for a long time and more events come than there
// is room for, each is recorded afterwards or counted in a gap record, and the
// gap records do not take the room of alarms.
func TestAFullQueueOfEventsIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.begin()
		time.Sleep(time.Second)
		g.refuses(syscall.EIO)
		serial := uint64(0)
		offer := func(n int) {
			var all []ring.Event
			for range n {
				serial++
				all = append(all, g.event(serial, "flood"))
			}
			g.take(all)
		}
		for range 17 {
			offer(1000)
		}
		for range 100 { // retries and new alarms in turn
			offer(1)
			time.Sleep(6 * time.Second)
		}
		g.onDisk(func(string) error { return nil })
		time.Sleep(time.Minute)
		if s := g.r.State(); s.Durable != serial {
			t.Errorf("durable %d of %d", s.Durable, serial)
		}
		if err := g.stop(); err != nil {
			t.Fatal(err)
		}
		events, _ := g.recorded()
		there := count(events, func(e wire.Event) bool { return e.Rule == "flood" })
		gaps, named := gapsOf(events, wire.EventStream)
		if there+int(named) != int(serial) || named == 0 {
			t.Errorf("%d there, %d named, of %d", there, named, serial)
		}
		if len(gaps) > 2 {
			t.Errorf("%d gap records of one loss", len(gaps))
		}
	})
}

// Take never waits for a disk on which every operation takes two seconds.
func TestSlowDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.begin()
		g.onDisk(func(string) error { time.Sleep(2 * time.Second); return nil })
		for i := range 300 {
			began := time.Now()
			g.take([]ring.Event{g.event(uint64(i+1), "x")}, g.reading(1, float64(i*10), tag.GoodQuality))
			if took := time.Since(began); took > 0 {
				t.Fatalf("a turn took %v", took)
			}
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(30 * time.Second)
		if err := g.stop(); err != nil {
			t.Fatal(err)
		}
		events, readings := g.recorded()
		if n := count(events, func(e wire.Event) bool { return e.Rule == "x" }); n != 300 || len(readings) != 300 {
			t.Errorf("%d events, %d readings", n, len(readings))
		}
	})
}

func TestHealthRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.begin()
		time.Sleep(3*time.Minute + time.Second)
		if n := g.j.Heads()[2].Number; n != 3 {
			t.Errorf("%d health records in three minutes", n)
		}
		if err := g.stop(); err != nil {
			t.Fatal(err)
		}
		r, err := journal.OpenReadOnly(g.dir)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		var until tag.Stamp
		err = r.Walk(func(rec journal.Record) error {
			if rec.Stream != wire.HealthStream {
				return nil
			}
			b := rec.Event.Beacon
			if b == nil || b.To != rec.Event.At || until != (tag.Stamp{}) && b.From != until || b.Longest < int64(time.Minute) {
				t.Errorf("record %d: beacon %+v after %v", rec.Number, b, until)
			} else {
				until = b.To
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// The table carries what codes are called, as much of it as a block may hold.
func TestTableNames(t *testing.T) {
	long := strings.Repeat("x", wire.MaxName)
	many := config.Tag{ID: 3, Name: "many"}
	for i := range wire.MaxNames {
		many.Names = append(many.Names, config.Name{Code: int64(i), Name: long})
	}
	r := &Recorder{o: Options{Log: slog.New(slog.DiscardHandler), Plan: &config.Plan{Tags: []config.Tag{
		{},
		{ID: 1, Name: "fan.state", Kind: tag.Bool, Names: []config.Name{{Code: 0, Name: "stop"}, {Code: 1, Name: "run"}}},
		{ID: 2, Name: "odd", Names: []config.Name{{Code: 1, Name: long + "x"}, {Code: 2, Name: "known"}}},
		many,
	}}}}
	table := r.table()
	if got := table.Tags[0].Names; len(got) != 2 || got[1] != (wire.Name{Code: 1, Text: "run"}) {
		t.Errorf("%+v", got)
	}
	if got := table.Tags[1].Names; len(got) != 1 || got[0].Text != "known" {
		t.Errorf("one that is too long: %+v", got)
	}
	if n := len(table.Tags[2].Names); n == 0 || n*wire.MaxName > tableNames {
		t.Errorf("%d names of %d bytes", n, wire.MaxName)
	}
	if _, err := wire.DecodeEvents(wire.EncodeEvents([]wire.Event{{Table: table}})); err != nil {
		t.Errorf("no receiver takes it: %v", err)
	}
}
