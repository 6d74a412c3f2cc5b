// Package sim runs the deciding half of the agent (links, control loop,
// outputs, latch file) in a synctest bubble over in-memory devices: the real
// code, days of plant time in moments, and checkers that stand outside it.
//
// A bench owns the plant and, between start and stop, one agent on the latch
// file of its directory; a stop and a start are a restart. Time is the bubble's.
package sim

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"davy/agent/config"
	"davy/agent/control"
	"davy/agent/i18n"
	"davy/agent/latch"
	"davy/agent/output"
	"davy/agent/ring"
	"davy/agent/scan"
	"davy/drivers"
	"davy/drivers/sim"
	"davy/drivers/tag"
	"davy/rules"
)

const site = `davy: 1
gateway:
  id: SIM-1
  name: {zh: 模拟, en: Simulation}
  time_zone: Asia/Shanghai
  outputs: armed
links:
  gas: {sim: gas, timeout: 300ms}
  io: {sim: io, timeout: 300ms}
devices:
  d1: {link: gas, tags: {gas: {at: g1, type: float32, unit: ppm, range: 0 to 1000 ppm, scan: 200ms}}}
  d2: {link: gas, tags: {gas: {at: g2, type: float32, unit: ppm, range: 0 to 1000 ppm, scan: 200ms}}}
  d3: {link: gas, tags: {gas: {at: g3, type: float32, unit: ppm, range: 0 to 1000 ppm, scan: 200ms}}}
  io1:
    link: io
    may_write: [fan]
    tags:
      fan-run: {at: fan-run, type: bool, scan: 500ms}
outputs:
  fan1:
    drives: io1 fan
    idle: stop
    protective: run
    proof: io1.fan-run = run within 10s
    davy_dead: stays
    link_lost: stays
    after_restart: as it was
journal: {keep: 30d, sync: 5s, size: 100 MB}
`

const ruleFile = `alarms:
  d1:
    watch: d1.gas
    high: {at: 28 ppm, priority: medium, text: {zh: 一级, en: Level 1}}
    deadband: 3 ppm
interlocks:
  NH3-150:
    text: {zh: 氨, en: Ammonia}
    trip_when: 2 of 3
    channels:
      - d1.gas >= 150 ppm
      - d2.gas >= 150 ppm
      - d3.gas >= 150 ppm
    channel_bad: counts as trip after 10s
    channel_in_test: left out, one at a time
    all_channels_bad: trip
    degraded: alarm medium, at most 72h
    then:
      - demand: fan1
    reset: by operator, when all channels < 25 ppm for 5s
`

// bench is one plant in memory and, between start and stop, one agent.
type bench struct {
	t      *testing.T
	dir    string
	plan   *config.Plan
	plant  *sim.Plant
	driver sim.Driver
	gas    *sim.Device
	io     *sim.Device
	writes []write // as the device received them
	mu     sync.Mutex

	latch  *latch.Store
	writer *ring.Writer
	out    *output.Driver
	loop   *control.Loop
	log    bytes.Buffer
	cancel context.CancelFunc
	wg     sync.WaitGroup
	armed  bool

	workers []*scan.Worker
	stalled chan struct{} // not nil: the loop waits for it at its next look at the clock
	shifted atomic.Int64  // by how much somebody set the wall clock
}

type write struct {
	at time.Time
	on bool
}

func now() tag.Stamp {
	t := time.Now()
	return tag.Stamp{Wall: t.UnixNano(), Mono: t.UnixNano() - 946_000_000e9}
}

func (b *bench) now() tag.Stamp {
	s := now()
	s.Wall += b.shifted.Load()
	return s
}

// clock is asked by the loop once a second; a test stalls the loop in it.
func (b *bench) clock() (bool, time.Duration) {
	b.mu.Lock()
	wait := b.stalled
	b.mu.Unlock()
	if wait != nil {
		<-wait
	}
	return true, 0
}

// stall holds the loop from its next look at the clock on, until the function
// that it returns is called.
func (b *bench) stall() (goOn func()) {
	wait := make(chan struct{})
	b.mu.Lock()
	b.stalled = wait
	b.mu.Unlock()
	return func() {
		b.mu.Lock()
		b.stalled = nil
		b.mu.Unlock()
		close(wait)
	}
}

func compile(t *testing.T, set drivers.Set, site string) *config.Plan {
	t.Helper()
	fsys := fstest.MapFS{"site.yaml": {Data: []byte(site)}, "rules.yaml": {Data: []byte(ruleFile)}}
	b, problems := config.ReadSite(fsys, ".", fstest.MapFS{})
	plan, more := config.Compile(b, set)
	problems = problems.Join(more)
	if plan == nil {
		var text bytes.Buffer
		if err := problems.Write(&text, i18n.En, b); err != nil {
			t.Fatal(err)
		}
		t.Fatalf("the site does not compile:\n%s", text.String())
	}
	return plan
}

func newBench(t *testing.T) *bench {
	return newBenchWith(t, nil)
}

// edited is the usual site, in which the first text of each pair became the second.
func edited(t *testing.T, edits []string) string {
	t.Helper()
	text := site
	for i := 0; i < len(edits); i += 2 {
		if strings.Count(text, edits[i]) != 1 {
			t.Fatalf("%q does not stand once in the site", edits[i])
		}
		text = strings.Replace(text, edits[i], edits[i+1], 1)
	}
	return text
}

// newBenchWith makes a bench with an edited site, on which the devices of some
// links speak by themselves.
func newBenchWith(t *testing.T, edits []string, push ...string) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir(), plant: &sim.Plant{}, armed: true}
	b.driver = sim.Driver{Plant: b.plant, Push: push}
	b.plan = compile(t, drivers.Set{"sim": b.driver}, edited(t, edits))
	b.gas, b.io = b.plant.Device("gas"), b.plant.Device("io")
	b.set(5, 5, 5)
	b.io.Set("fan", tag.BoolValue(false))
	b.io.Set("fan-run", tag.BoolValue(false))
	b.io.OnWrite("fan", func(v tag.Value) error {
		b.mu.Lock()
		b.writes = append(b.writes, write{time.Now(), v.True()})
		b.mu.Unlock()
		b.io.Set("fan-run", v)
		return nil
	})
	return b
}

func ppm(f float32) tag.Value { v, _ := tag.Float32Value(f); return v }

func (b *bench) set(v ...float32) {
	for i, name := range []string{"g1", "g2", "g3"} {
		b.gas.Set(name, ppm(v[i]))
	}
}

// start starts an agent on what its latch file remembers.
func (b *bench) start() {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	b.cancel = cancel
	log := slog.New(slog.NewTextHandler(&b.log, nil))
	store, payload, err := latch.Open(filepath.Join(b.dir, "latch"))
	b.latch = store
	memory := control.Memory{Lineage: [16]byte{1}, Armed: b.armed}
	if err == nil {
		if memory, err = control.DecodeMemory(payload); err != nil {
			b.t.Fatal(err)
		}
	} else if !errors.Is(err, latch.ErrMissing) {
		b.t.Fatal(err)
	}
	engine, err := rules.New(b.plan.Rules)
	if err != nil {
		b.t.Fatal(err)
	}
	if len(memory.Engine) > 0 {
		if err := engine.Restore(memory.Engine, time.Duration(now().Mono-memory.Saved.Mono)); err != nil {
			b.t.Fatal(err)
		}
	}
	b.writer = ring.NewWriter(ring.WriterOptions{Pending: memory.Outbox})
	b.out = output.New(b.plan, memory.Armed, b.now, func(code string, on bool) { b.loop.PutCondition(code, on) }, log)
	b.loop = control.New(control.Options{
		Plan: b.plan, Engine: engine, Output: b.out, Latch: store, Keep: b.writer, Now: b.now,
		Clock: b.clock, Log: log, Memory: memory,
	})
	b.workers = nil
	b.run(func() { _ = store.Run(ctx) })
	b.run(func() { _ = b.loop.Run(ctx) })
	for i := range b.plan.Links {
		w := &scan.Worker{
			Index: i, Link: &b.plan.Links[i], Driver: b.driver, Lane: b.out.Lane(i), Offer: b.loop.Offer,
			Alive: b.loop.Alive, Condition: func(code string, on bool) { b.loop.Set(ctx, code, on) }, Now: b.now, Log: log,
		}
		b.workers = append(b.workers, w)
		b.run(func() { // as supervise.Restart does
			for ctx.Err() == nil {
				_ = w.Run(ctx)
				select {
				case <-ctx.Done():
				case <-time.After(time.Second):
				}
			}
		})
	}
}

func (b *bench) run(f func()) {
	b.wg.Add(1)
	go func() { defer b.wg.Done(); f() }()
}

func (b *bench) stop() { b.cancel(); b.wg.Wait() }

// after lets time pass.
func (b *bench) after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func (b *bench) view() *control.View {
	b.t.Helper()
	v, err := b.loop.View(context.Background())
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

func (b *bench) interlock() rules.InterlockView {
	b.t.Helper()
	for _, i := range b.view().Interlocks {
		if i.Name == "NH3-150" {
			return i
		}
	}
	b.t.Fatal("no interlock NH3-150")
	return rules.InterlockView{}
}

func (b *bench) alarm(name string) rules.AlarmView {
	b.t.Helper()
	for _, a := range b.view().Alarms {
		if a.Name == name {
			return a
		}
	}
	return rules.AlarmView{}
}

func (b *bench) written() []write {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]write(nil), b.writes...)
}

func (b *bench) count(kind rules.Kind, rule string) (n int) {
	for _, e := range b.view().Log {
		if e.Kind == kind && e.Rule == rule {
			n++
		}
	}
	return n
}
