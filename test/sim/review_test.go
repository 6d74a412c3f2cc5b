package sim

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"davy/agent"
	"davy/agent/accept"
	"davy/agent/config"
	"davy/agent/control"
	"davy/agent/latch"
	"davy/agent/operate"
	"davy/agent/output"
	"davy/agent/ring"
	"davy/agent/scan"
	"davy/drivers"
	"davy/drivers/child"
	"davy/drivers/sim"
	"davy/drivers/tag"
	"davy/rules"
)

// alone is a loop with a latch file and nothing else.
type alone struct {
	store *latch.Store
	out   *output.Driver
	loop  *control.Loop
	path  string
}

func newAlone(t *testing.T, plan *config.Plan, e *rules.Engine, armed bool) *alone {
	a := &alone{path: filepath.Join(t.TempDir(), "latch")}
	memory := control.Memory{Lineage: [16]byte{1}, Armed: armed}
	if err := latch.Create(a.path, memory.Append(nil)); err != nil {
		t.Fatal(err)
	}
	var err error
	if a.store, _, err = latch.Open(a.path); err != nil {
		t.Fatal(err)
	}
	if e == nil {
		if e, err = rules.New(plan.Rules); err != nil {
			t.Fatal(err)
		}
	}
	log := slog.New(slog.DiscardHandler)
	a.out = output.New(plan, armed, now, func(code string, on bool) { a.loop.PutCondition(code, on) }, log)
	a.loop = control.New(control.Options{
		Plan: plan, Engine: e, Output: a.out, Latch: a.store, Keep: ring.NewWriter(ring.WriterOptions{}), Now: now, Log: log,
		Clock: func() (bool, time.Duration) { return true, 0 }, Memory: memory,
	})
	return a
}

// remembered is what the latch file says.
func (a *alone) remembered(t *testing.T) control.Memory {
	t.Helper()
	_, payload, err := latch.Open(a.path)
	if err != nil {
		t.Fatal(err)
	}
	m, err := control.DecodeMemory(payload)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (a *alone) view(t *testing.T) *control.View {
	t.Helper()
	v, err := a.loop.View(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// A link may run the moment it is made: what is demanded is known by then, or
// after_restart would take a restored trip's fan away for a moment.
func TestARestoredDemandIsThereBeforeAnyLink(t *testing.T) {
	b := newBench(t)
	b.plan.Outputs[0].AfterRestart = config.Idle
	e, err := rules.New(b.plan.Rules)
	if err != nil {
		t.Fatal(err)
	}
	e.StartTripped()
	if v := newAlone(t, b.plan, e, true).out.View()[0]; v.Driven != "protective" {
		t.Errorf("before any link runs, a tripped interlock's output is to be driven to %q", v.Driven)
	}
}

func TestArmingMovesNothingThatIsNotDemanded(t *testing.T) {
	b := newBench(t)
	b.armed = false
	synctest.Test(t, func(t *testing.T) {
		b.t = t
		b.start()
		defer b.stop()
		b.after(2 * time.Second)
		b.set(160, 170, 5)
		b.after(2 * time.Second)
		b.set(5, 5, 5)
		b.after(7 * time.Second)
		if err := b.loop.Do(t.Context(), rules.Command{Verb: rules.Reset, Rule: "NH3-150", Occurrence: b.interlock().Occurrence, Who: "op"}); err != nil {
			t.Fatal(err)
		}
		b.io.Set("fan", tag.BoolValue(true)) // by hand, while Davy is disarmed
		b.after(2 * time.Second)
		if err := b.loop.Arm(t.Context(), true, "op", false, "commissioned"); err != nil {
			t.Fatal(err)
		}
		b.after(5 * time.Second)
		if w := b.written(); len(w) != 0 {
			t.Errorf("arming wrote %v to an output that nothing demands and Davy never drove", w)
		}
	})
}

// What Davy drove and was released while disarmed is released at last.
func TestArmingReleasesWhatWasDriven(t *testing.T) {
	b := newBench(t)
	synctest.Test(t, func(t *testing.T) {
		b.t = t
		b.start()
		defer b.stop()
		b.after(2 * time.Second)
		b.set(160, 170, 5)
		b.after(2 * time.Second)
		if err := b.loop.Arm(t.Context(), false, "op", false, "work"); err != nil {
			t.Fatal(err)
		}
		b.set(5, 5, 5)
		b.after(7 * time.Second)
		if err := b.loop.Do(t.Context(), rules.Command{Verb: rules.Reset, Rule: "NH3-150", Occurrence: b.interlock().Occurrence, Who: "op"}); err != nil {
			t.Fatal(err)
		}
		b.after(2 * time.Second)
		if w := b.written(); len(w) != 1 {
			t.Fatalf("writes up to here: %v", w)
		}
		if err := b.loop.Arm(t.Context(), true, "op", false, "done"); err != nil {
			t.Fatal(err)
		}
		b.after(2 * time.Second)
		if w := b.written(); len(w) != 2 || w[1].on {
			t.Errorf("after arming: %v", w)
		}
	})
}

func TestARestartIsNoNewsOfTheAgentsOwnConditions(t *testing.T) {
	b := newBench(t)
	b.armed = false
	synctest.Test(t, func(t *testing.T) {
		b.t = t
		b.start()
		b.io.Behave(sim.Behaviour{Away: true})
		b.after(20 * time.Second)
		for _, name := range []string{"outputs.disarmed", "link.io.silent"} {
			if err := b.loop.Do(t.Context(), rules.Command{Verb: rules.Ack, Rule: name, Occurrence: b.alarm(name).Occurrence, Who: "op"}); err != nil {
				t.Fatal(name, err)
			}
		}
		b.after(time.Second)
		b.stop()
		b.after(time.Second)
		b.start()
		defer b.stop()
		b.after(20 * time.Second)
		for _, name := range []string{"outputs.disarmed", "link.io.silent"} {
			if a := b.alarm(name); a.State != rules.Acked || a.Occurrence != 1 {
				t.Errorf("%s stood and was acknowledged; after a restart it is %v, occurrence %d", name, a.State, a.Occurrence)
			}
		}
		b.io.Behave(sim.Behaviour{})
		b.after(20 * time.Second)
		if n := b.count(rules.AlarmReturned, "link.io.silent"); n != 1 || b.alarm("link.io.silent").State != rules.Normal {
			t.Errorf("the link is back: returned %d times, %v", n, b.alarm("link.io.silent").State)
		}
	})
}

func TestDisarmedIsOnDiskBeforeItIsSaid(t *testing.T) {
	b := newBench(t)
	synctest.Test(t, func(t *testing.T) {
		a := newAlone(t, b.plan, nil, true)
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		wg.Go(func() { _ = a.loop.Run(ctx) })
		began := time.Now()
		err := a.loop.Arm(ctx, false, "op", false, "hands in the machine") // the disk hangs: nobody runs the store
		if took := time.Since(began); !errors.Is(err, control.ErrNotSaved) || took > 2*control.LatchPatience {
			t.Errorf("disarmed on a disk that hangs: %v after %v", err, took)
		}
		if a.view(t).Armed {
			t.Error("and it holds nevertheless")
		}
		wg.Go(func() { _ = a.store.Run(ctx) })
		if err := a.loop.Arm(ctx, false, "op", false, "again"); err != nil {
			t.Errorf("disarmed again: %v", err)
		}
		if a.remembered(t).Armed {
			t.Error("a power cut now would arm the outputs that somebody was told are disarmed")
		}
		cancel()
		wg.Wait()
	})
}

func TestAfterTheLoopNothingIsDone(t *testing.T) {
	b := newBench(t)
	synctest.Test(t, func(t *testing.T) {
		a := newAlone(t, b.plan, nil, true)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = a.loop.Run(ctx)
		within, end := context.WithTimeout(context.Background(), 10*time.Second)
		defer end()
		if err := a.loop.Do(within, rules.Command{Verb: rules.Ack, Rule: "d1.high", Occurrence: 1}); !errors.Is(err, control.ErrStopped) {
			t.Errorf("a command to a loop that has ended: %v", err)
		}
		if _, err := a.loop.View(within); !errors.Is(err, control.ErrStopped) {
			t.Errorf("a view of a loop that has ended: %v", err)
		}
	})
}

// A latch file that hangs again and again is one alarm, not one each time;
// and the alarm goes when the disk is well, though nothing else happens.
func TestASlowLatchIsOneAlarm(t *testing.T) {
	b := newBench(t)
	synctest.Test(t, func(t *testing.T) {
		a := newAlone(t, b.plan, nil, true)
		ctx, cancel := context.WithCancel(context.Background())
		gone, stop := context.WithCancel(context.Background())
		stop() // Run writes once and returns
		var wg sync.WaitGroup
		wg.Go(func() { _ = a.loop.Run(ctx) })
		for range 6 {
			<-time.After(25 * time.Second)
			_ = a.store.Run(gone)
		}
		count := func(k rules.Kind) (n int) {
			for _, e := range a.view(t).Log {
				if e.Kind == k && e.Rule == "latch.failed" {
					n++
				}
			}
			return n
		}
		if r, n := count(rules.AlarmRaised), count(rules.AlarmReturned); r > 1 || n > 0 {
			t.Errorf("minutes of a disk that hangs: raised %d times, returned %d times", r, n)
		}
		wg.Go(func() { _ = a.store.Run(ctx) })
		<-time.After(30 * time.Second)
		if r, n := count(rules.AlarmRaised), count(rules.AlarmReturned); r != n {
			t.Errorf("half a minute after the disk is well: raised %d, returned %d", r, n)
		}
		cancel()
		wg.Wait()
	})
}

// An output of more than two states is held like any other.
func TestADemandIsHeldAgainstAThirdState(t *testing.T) {
	b := newBench(t)
	plan := *b.plan
	plan.Outputs = append([]config.Output(nil), b.plan.Outputs...)
	plan.Outputs[0].Idle, plan.Outputs[0].Protective = tag.IntValue(0), tag.IntValue(1)
	d := output.New(&plan, true, now, func(string, bool) {}, slog.New(slog.DiscardHandler))
	lane, link := d.Lane(plan.Outputs[0].Link), &deaf{}
	d.Demand(0, true, 0)
	lane.Drive(t.Context(), link)
	see := func(v tag.Value, q tag.Quality) {
		d.Observe([]tag.Reading{{Tag: plan.Outputs[0].ReadBack, Value: v, Quality: q, Received: now()}})
	}
	see(tag.IntValue(1), tag.GoodQuality)
	see(tag.Value{}, tag.BadNoComm)
	if d.View()[0].Pending {
		t.Error("a bad read-back says nothing of the output")
	}
	see(tag.IntValue(2), tag.GoodQuality)
	if !d.View()[0].Pending {
		t.Error("the output is in a third state, and its demand is not written again")
	}
}

// A read-back that nobody brings any more (its link's goroutine is gone) proves nothing.
func TestAnOldReadBackConfirmsNothing(t *testing.T) {
	b := newBench(t)
	on := map[string]bool{}
	d := output.New(b.plan, true, now, func(code string, v bool) { on[code] = v }, slog.New(slog.DiscardHandler))
	at := now()
	d.Demand(0, true, 0)
	d.Lane(b.plan.Outputs[0].Link).Drive(t.Context(), &deaf{})
	d.Observe([]tag.Reading{{Tag: b.plan.Outputs[0].ReadBack, Value: tag.BoolValue(true), Quality: tag.GoodQuality, Received: at}})
	for range 600 {
		at.Mono += int64(100 * time.Millisecond)
		d.Check(at)
	}
	if v := d.View()[0]; v.Seen != "unknown" || !on["output.fan1.unconfirmed"] {
		t.Errorf("a minute without a read-back: seen %q, unconfirmed %v", v.Seen, on["output.fan1.unconfirmed"])
	}
}

// deaf is a link that takes every write; its subscription is in doubt at once.
type deaf struct {
	mu     sync.Mutex
	writes []tag.Value
}

func (l *deaf) Read(_ context.Context, r drivers.Request, dst []tag.Reading) ([]tag.Reading, error) {
	for _, p := range r.Points() {
		dst = append(dst, tag.Reading{Tag: p.Tag, Quality: tag.BadNoComm})
	}
	return dst, errors.New("no answer")
}

func (l *deaf) Write(_ context.Context, _ drivers.Point, v tag.Value) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writes = append(l.writes, v)
	return nil
}

func (l *deaf) Close() error { return nil }

func (l *deaf) Subscribe(ctx context.Context, _ []drivers.Point, _ func([]tag.Reading)) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(500 * time.Millisecond):
		return errors.New("in doubt")
	}
}

type deafDriver struct {
	sim.Driver
	link *deaf
}

func (d deafDriver) Open(context.Context, drivers.LinkConfig) (drivers.Link, error) {
	return d.link, nil
}

// A subscription in doubt is begun again; it is no stop, and moves no output.
func TestASubscriptionInDoubtMovesNoOutput(t *testing.T) {
	b := newBenchWith(t, nil, "io")
	b.plan.Outputs[0].DavyDead = config.Protective
	synctest.Test(t, func(t *testing.T) {
		link := &deaf{}
		d := output.New(b.plan, true, now, func(string, bool) {}, slog.New(slog.DiscardHandler))
		i := b.plan.Outputs[0].Link
		w := &scan.Worker{
			Index: i, Link: &b.plan.Links[i], Driver: deafDriver{b.driver, link}, Lane: d.Lane(i), Now: now, Log: slog.New(slog.DiscardHandler),
			Offer: func(context.Context, scan.Batch) error { return nil }, Alive: func() bool { return true }, Condition: func(string, bool) {},
		}
		if err := w.Run(t.Context()); err == nil {
			t.Fatal("a subscription in doubt is an error")
		}
		if len(link.writes) != 0 {
			t.Errorf("it wrote %v", link.writes)
		}
	})
}

// The rest is the whole decider, in real time, with a keeper that takes its time.

// slowKeeper is how long the keeper's disk takes at its end.
const slowKeeper = "DAVY_SIM_KEEPER"

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "keep" { // whatever else: never the tests again, which would start keepers
		disk, err := time.ParseDuration(os.Getenv(slowKeeper))
		if err != nil {
			os.Exit(1)
		}
		conn, err := child.Parent()
		if err == nil {
			_, err = io.Copy(io.Discard, conn) // until the decider hangs up
		}
		if err != nil {
			os.Exit(1)
		}
		<-time.After(disk)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// decider is one `davy run` in this process.
type decider struct {
	t      *testing.T
	dir    string
	plant  *sim.Plant
	set    drivers.Set
	cancel context.CancelFunc
	done   chan error

	mu  sync.Mutex
	fan []bool
	fed []time.Time
}

// fed is the site whose fan's device has a watchdog.
func fedSite(outputs, dead, restart string) string {
	s := strings.NewReplacer("outputs: armed", "outputs: "+outputs, "davy_dead: stays", "davy_dead: "+dead,
		"after_restart: as it was", "after_restart: "+restart, "    may_write: [fan]\n", "    may_write: [fan, wd]\n    watchdog: wd = 1 every 100ms\n").Replace(site)
	return s
}

func newDecider(t *testing.T, disk time.Duration) *decider {
	t.Setenv(slowKeeper, disk.String())
	d := &decider{t: t, dir: t.TempDir(), plant: &sim.Plant{}}
	d.set = drivers.Set{"sim": sim.Driver{Plant: d.plant}}
	m := control.Memory{Lineage: [16]byte{1}, Armed: true} // as `davy apply` of an armed site leaves it
	if err := latch.Create(filepath.Join(d.dir, agent.LatchName), m.Append(nil)); err != nil {
		t.Fatal(err)
	}
	for _, g := range []string{"g1", "g2", "g3"} {
		d.plant.Device("gas").Set(g, ppm(5))
	}
	io := d.plant.Device("io")
	io.Set("fan", tag.BoolValue(false))
	io.Set("fan-run", tag.BoolValue(false))
	io.Set("wd", ppm(0))
	io.OnWrite("fan", func(v tag.Value) error {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.fan = append(d.fan, v.True())
		io.Set("fan-run", v)
		return nil
	})
	io.OnWrite("wd", func(tag.Value) error {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.fed = append(d.fed, time.Now())
		return nil
	})
	return d
}

func (d *decider) accept(site, rules string) *accept.Acceptance {
	d.t.Helper()
	b, problems := config.ReadSite(fstest.MapFS{"site.yaml": {Data: []byte(site)}, "rules.yaml": {Data: []byte(rules)}}, ".", fstest.MapFS{})
	if plan, more := config.Compile(b, d.set); plan == nil {
		d.t.Fatal(problems, more)
	}
	a := &accept.Acceptance{Bundle: b.Encode(), Dir: d.dir, Who: "test", Reason: "test"}
	if err := accept.Save(d.dir, a); err != nil {
		d.t.Fatal(err)
	}
	return a
}

func (d *decider) start() {
	ctx, cancel := context.WithCancel(context.Background())
	d.cancel, d.done = cancel, make(chan error, 1)
	go func() {
		d.done <- agent.Run(ctx, agent.Options{
			StateDir: d.dir, Drivers: d.set, Templates: fstest.MapFS{}, Version: "test", KeepArgs: []string{"keep"},
			Log: slog.New(slog.DiscardHandler),
		})
	}()
	d.until(func(v *operate.View) bool { return v.Turns > 5 && v.Tags.Good == v.Tags.Total })
}

func (d *decider) stop() {
	d.cancel()
	if err := <-d.done; err != nil {
		d.t.Error(err)
	}
}

// until asks for the status until it is as it should be.
func (d *decider) until(ok func(*operate.View) bool) *operate.View {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c := &operate.Client{Path: filepath.Join(d.dir, "davy.sock")}
	for {
		v, err := c.View(ctx, operate.Status)
		if err == nil && ok(v) {
			return v
		}
		if ctx.Err() != nil {
			d.t.Fatalf("not within 20 s: %v %+v", err, v)
		}
	}
}

func (d *decider) reload(a *accept.Acceptance) error {
	_, err := (&operate.Client{Path: filepath.Join(d.dir, "davy.sock")}).Do(d.t.Context(), operate.Command{Do: operate.Reload, Plan: a.Hash})
	return err
}

// A change of plan is no stop and no restart: no output moves, the devices'
// watchdogs are fed on, and a keeper with a slow disk blinds nobody.
func TestAChangeOfPlanMovesNothingAndWaitsForNobody(t *testing.T) {
	d := newDecider(t, 3*time.Second)
	d.accept(fedSite("armed", "protective", "idle"), ruleFile)
	d.start()
	defer d.stop()
	d.until(func(v *operate.View) bool { d.mu.Lock(); defer d.mu.Unlock(); return len(d.fan) == 1 }) // after_restart: idle
	before := len(d.fan)
	next := d.accept(fedSite("armed", "protective", "idle"), strings.Replace(ruleFile, "28 ppm", "29 ppm", 1))
	if err := d.reload(next); err != nil {
		t.Fatal(err)
	}
	v := d.until(func(v *operate.View) bool { return v.Turns > 5 && v.Tags.Good == v.Tags.Total })
	if v.Plan.Hash != next.Hash {
		t.Errorf("what runs is %s, not %s", v.Plan.Hash, next.Hash)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if w := d.fan[before:]; len(w) != 0 {
		t.Errorf("the change of plan wrote %v to an output that nothing demands", w)
	}
	var gap time.Duration
	for i := range d.fed[1:] {
		gap = max(gap, d.fed[i+1].Sub(d.fed[i]))
	}
	if gap > 1500*time.Millisecond {
		t.Errorf("the device's watchdog was not fed for %v", gap)
	}
}

// A plan that is refused is not the accepted one: no restart takes it.
func TestARefusedPlanIsNotTakenByTheNextStart(t *testing.T) {
	d := newDecider(t, 0)
	first := d.accept(fedSite("armed", "stays", "as it was"), ruleFile)
	d.start()
	defer d.stop()
	d.plant.Device("gas").Set("g1", ppm(160))
	d.plant.Device("gas").Set("g2", ppm(160))
	d.until(func(v *operate.View) bool { return v.Interlocks[0].State == operate.Tripped })
	without, _, _ := strings.Cut(ruleFile, "interlocks:")
	var said *operate.Error
	if err := d.reload(d.accept(fedSite("armed", "stays", "as it was"), without)); !errors.As(err, &said) || said.Code != "davy.apply.standing" {
		t.Fatalf("a plan without the tripped interlock: %v", err)
	}
	if a, _, err := accept.Load(d.dir); err != nil || a.Hash != first.Hash {
		t.Errorf("after the refusal the accepted site is %v, %v", a, err)
	}
}

// The site that was accepted last says whether a first start is armed, not the
// one before it.
func TestAFirstStartIsArmedAsTheAcceptedSiteSays(t *testing.T) {
	d := newDecider(t, 0)
	d.accept(fedSite("disarmed", "stays", "as it was"), ruleFile)
	d.start()
	defer d.stop()
	if d.until(func(*operate.View) bool { return true }).Armed {
		t.Error("armed, though the accepted site says disarmed")
	}
}
