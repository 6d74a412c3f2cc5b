// Package crash kills what can be killed, and then asks the receiver's store
// and the plant's own log what is true.
//
// The kill run starts the real programs and mosquitto, trips the interlock, lets
// three values cross their limits at seeded moments, and kills decider, keeper,
// receiver and broker with SIGKILL ten times each. It judges only what others
// wrote down: the store and the plant's log. KILL_SEED repeats a run.
package crash

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"davy/agent/clock"
	"davy/agent/operate"
	"davy/agent/ring"
	"davy/agent/wire"
	"davy/cmd/davy-plant/logbook"
	"davy/cmd/davy-receiver/store"
	"davy/rules"
	"davy/test/rig"
)

// The kill run: its length, and when in it kills and plant steps happen.
const (
	runFor     = 180 * time.Second
	firstKill  = 14 * time.Second
	lastKill   = 170 * time.Second
	lastStep   = 172 * time.Second
	killsEach  = 10
	atCommits  = 5                     // of the keeper's kills, at least
	nearCommit = 50 * time.Millisecond // so soon after a commit
	syncEvery  = 5 * time.Second       // journal: sync of the bench plant's site
	stoodLong  = 2 * time.Second       // a step that stood longer must be an alarm
	probeEvery = time.Second
	quick      = 250 * time.Millisecond // a machine starts a process within this, or everything may take longer by as much
)

// step is an alarm that the run moves: the plant's tag, its rule and limits.
type step struct {
	tag, rule string
	limit     float64
	back      float64 // limit less deadband
	high, low float64 // what the tag is held at
}

var steps = []step{
	{"comp1.discharge-temp", "comp1-discharge.high", 130, 128, 138, 110},
	{"comp1.discharge-pressure", "comp1-pressure.high", 1.45, 1.42, 1.5, 1.2},
	{"receiver1.level", "receiver1.high", 80, 79, 83, 60},
}

type run struct {
	t      *testing.T
	b      *rig.Bench
	rng    *rand.Rand
	began  time.Time
	broker *rig.Proc
	port   int

	kills   map[string]int
	commits int // kills within nearCommit of a commit
	probes  []probe
}

// probe is how long this machine took, from when on, to start a process and let it end.
type probe struct{ mono, took int64 }

func TestKillRun(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("KILL_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seed = n
	}
	t.Logf("KILL_SEED=%d", seed)
	r := &run{t: t, rng: rand.New(rand.NewPCG(seed, 2)), kills: map[string]int{}}
	r.set()
	defer r.b.Close()
	r.began = time.Now()
	stepped, probed, end := make(chan error, 1), make(chan error, 1), make(chan struct{})
	go func() { stepped <- r.move(rand.New(rand.NewPCG(seed, 3))) }()
	go func() { probed <- r.probe(end) }()
	r.killAll()
	if err := <-stepped; err != nil {
		t.Fatal(err)
	}
	r.settle()
	close(end)
	if err := <-probed; err != nil {
		t.Fatal(err)
	}
	r.judge()
}

// probe times the start of a process until the end of the run.
func (r *run) probe(end <-chan struct{}) error {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		select {
		case <-end:
			return nil
		case <-tick.C:
		}
		began := clock.Now().Mono
		if _, err := r.b.Output("davy", "version"); err != nil {
			return err
		}
		r.probes = append(r.probes, probe{began, clock.Now().Mono - began})
	}
}

// slowness is how many times longer than it should this machine took for what it
// did between two instants; at least 1.
func (r *run) slowness(from, to int64) float64 {
	longest := int64(quick)
	for _, p := range r.probes {
		if p.mono+p.took >= from && p.mono <= to {
			longest = max(longest, p.took)
		}
	}
	return float64(longest) / float64(quick)
}

func (r *run) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// set brings everything up and trips the interlock.
func (r *run) set() {
	bin := r.t.TempDir()
	r.must(rig.Build(bin, "davy", "davy-plant", "davy-receiver"))
	g, err := rig.New(bin)
	r.must(err)
	r.b = &rig.Bench{Rig: g}
	r.port, err = rig.FreePort()
	r.must(err)
	r.startBroker()
	var watch []string
	for _, s := range steps {
		watch = append(watch, fmt.Sprintf("%s=%g,%g", s.tag, s.limit, s.back))
	}
	for i := 1; i <= 3; i++ {
		watch = append(watch, fmt.Sprintf("nh3-%d.gas=150", i))
	}
	r.must(r.b.StartPlant("--watch", strings.Join(watch, ";")))
	r.must(r.b.StartReceiver(r.address()))
	r.must(r.b.WriteSite(func(name, text string) string {
		text = strings.ReplaceAll(text, "raise_after: 2s ", "raise_after: 200ms ")
		text = strings.ReplaceAll(text, "raise_after: 2s\n", "raise_after: 200ms\n")
		text = strings.ReplaceAll(text, "- at: 11500ms", "- at: 10100ms") // the story of the short peak
		for _, at := range []string{"at: holding 2\n", "at: holding 4\n", "at: input 0\n"} {
			text = strings.ReplaceAll(text, at, at+"        scan: 250ms\n")
		}
		return text
	}))
	for _, s := range steps {
		r.must(r.b.Send(fmt.Sprintf("hold %s %g", s.tag, s.low)))
	}
	r.must(r.b.Enroll())
	r.must(r.b.Apply("kill run"))
	r.must(r.b.StartDavy())
	r.must(r.b.See(30*time.Second, "watching", rig.Watching))
	r.must(r.b.Send("hold nh3-1.gas 180"))
	r.must(r.b.Send("hold nh3-2.gas 180"))
	r.must(r.b.See(10*time.Second, "tripped and driven", func(v *operate.View) bool {
		return rig.Interlock(v, "NH3-150").State == operate.Tripped && rig.Output(v, "fan1").Confirmed && rig.Output(v, "siren1").Confirmed
	}))
	r.must(r.b.Send("mark tripped"))
}

func (r *run) address() string { return fmt.Sprintf("127.0.0.1:%d", r.port) }

func (r *run) startBroker() {
	var err error
	r.broker, err = r.b.Mosquitto(r.port)
	r.must(err)
}

// until waits for an instant of the run.
func (r *run) until(at time.Duration) {
	<-time.After(time.Until(r.began.Add(at)))
}

// move lets the plant's values cross their limits, for half a second to seven.
func (r *run) move(rng *rand.Rand) error {
	next := make([]time.Duration, len(steps))
	up := make([]bool, len(steps))
	for i := range next {
		next[i] = time.Duration(5+3*i) * time.Second
	}
	for {
		i := 0
		for k := range next {
			if next[k] < next[i] {
				i = k
			}
		}
		if next[i] > lastStep {
			for k, s := range steps {
				if err := r.b.Send(fmt.Sprintf("hold %s %g", s.tag, s.low)); err != nil {
					return fmt.Errorf("step %d: %w", k, err)
				}
			}
			return nil
		}
		<-time.After(time.Until(r.began.Add(next[i])))
		up[i] = !up[i]
		value := steps[i].low
		if up[i] {
			value = steps[i].high
		}
		if err := r.b.Send(fmt.Sprintf("hold %s %g", steps[i].tag, value)); err != nil {
			return err
		}
		next[i] += 500*time.Millisecond + time.Duration(rng.Int64N(int64(6500*time.Millisecond)))
		if !up[i] { // long enough apart to be told apart, whatever is killed in between
			next[i] += 3 * time.Second
		}
	}
}

// killAll kills forty times, ten of each, at seeded moments.
func (r *run) killAll() {
	var order []string
	for _, what := range []string{"decider", "keeper", "receiver", "broker"} {
		for range killsEach {
			order = append(order, what)
		}
	}
	r.rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	slot := (lastKill - firstKill) / time.Duration(len(order))
	for i, what := range order {
		r.until(firstKill + time.Duration(i)*slot + time.Duration(r.rng.Int64N(int64(slot/2))))
		switch what {
		case "decider":
			r.b.Davy.Kill()
			r.must(r.b.StartDavy())
		case "keeper":
			r.killKeeper(r.kills["keeper"] < atCommits+2)
		case "receiver":
			r.b.Receiver.Kill()
			<-time.After(time.Duration(r.rng.Int64N(int64(time.Second))))
			r.must(r.b.StartReceiver(r.address()))
		case "broker":
			r.broker.Kill()
			<-time.After(time.Duration(r.rng.Int64N(int64(time.Second))))
			r.startBroker()
		}
		r.kills[what]++
	}
}

// killKeeper kills the keeper; near a commit if asked: right after a segment
// of the journal was written.
func (r *run) killKeeper(near bool) {
	var pid int
	r.must(rig.WaitFor(15*time.Second, "a keeper to kill", func() bool {
		pid = rig.Keeper(r.b.Davy.Pid())
		return pid != 0
	}))
	var written time.Time
	if near {
		first := r.lastWrite()
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for end := time.Now().Add(8 * time.Second); time.Now().Before(end); <-tick.C {
			if written = r.lastWrite(); written.After(first) {
				break
			}
		}
	} else {
		written = r.lastWrite()
	}
	p, err := os.FindProcess(pid)
	r.must(err)
	if time.Since(written) < nearCommit {
		r.commits++
	}
	r.must(p.Kill())
}

// lastWrite is when a segment of the journal was last written.
func (r *run) lastWrite() (last time.Time) {
	names, _ := filepath.Glob(filepath.Join(r.b.State(), "journal", "*"))
	for _, n := range names {
		if info, err := os.Stat(n); err == nil && !info.IsDir() && info.ModTime().After(last) {
			last = info.ModTime()
		}
	}
	return last
}

// settle lets everything arrive and ends the agent in order.
func (r *run) settle() {
	r.until(runFor)
	r.must(r.b.See(60*time.Second, "nothing waits for a receipt", func(v *operate.View) bool {
		return v.Keeper.State == operate.KeeperRunning && v.Keeper.Backlog < 30 && rig.Watching(v)
	}))
	v, err := r.b.View(operate.Status)
	r.must(err)
	if i := rig.Interlock(v, "NH3-150"); i.State != operate.Tripped {
		r.t.Errorf("the trip is not latched any more: %s", i.State)
	}
	r.must(r.b.Send("mark end"))
	r.must(r.b.Davy.Stop(30 * time.Second))
}

// judge asks the receiver's store and the plant's log.
func (r *run) judge() {
	totals, err := r.b.Totals()
	r.must(err)
	holes := uint64(0)
	for name, s := range totals.Streams {
		holes += s.Unexplained + s.Waiting + s.Refused
		r.t.Logf("%s: received %d, named by gap records %d, unexplained %d, waiting %d", name, s.Received, s.Explained, s.Unexplained, s.Waiting)
	}
	if totals.Forks != 0 || totals.Losses != 0 {
		r.t.Errorf("forks %d, losses %d", totals.Forks, totals.Losses)
	}
	events := r.events()
	book, err := r.b.PlantBook()
	r.must(err)
	doubles, missed := r.alarms(events, book)
	trips := 0
	for _, e := range events {
		switch rules.Kind(e.Kind) {
		case rules.InterlockTripped, rules.InterlockTrippedAtStart:
			trips++
		case ring.EpochStarted:
			if e.Start == nil {
				r.t.Errorf("epoch %s has no start record", e.Epoch)
			} else if lost := time.Duration(e.Start.MayHaveLost); lost > syncEvery {
				r.t.Errorf("the start record of epoch %s says that %v may be lost, more than sync", e.Epoch, lost)
			}
		}
	}
	r.unclean(events)
	doubles += max(0, trips-1)
	if trips == 0 {
		missed++
	}
	stops := r.fromThePlant(book)
	var export struct {
		Records uint64
		Sha256  string
	}
	r.must(r.b.JSON(&export, "davy-receiver", "export", rig.Gateway, "--json", "--db", r.b.DB()))
	journal, err := r.b.Journal()
	r.must(err)
	if journal.Hash != export.Sha256 {
		r.t.Errorf("hash of the journal's export %s (%d records), of the store's %s (%d records)", journal.Hash, journal.Records, export.Sha256, export.Records)
	}
	kills := 0
	for _, n := range r.kills {
		kills += n
	}
	if r.commits < atCommits {
		r.t.Errorf("%d kills within %v of a commit, at least %d were meant", r.commits, nearCommit, atCommits)
	}
	fmt.Printf("kills=%d holes=%d doubles=%d unexplained=%d fan_stops=%d\n", kills, holes, doubles, missed, stops)
	if kills != 4*killsEach || holes != 0 || doubles != 0 || missed != 0 || stops != 0 {
		r.t.Fail()
	}
}

func (r *run) events() (all []*store.Event) {
	st, err := store.Beside(r.b.DB(), false)
	r.must(err)
	defer func() { _ = st.Close() }()
	r.must(st.Events(context.Background(), rig.Gateway, nil, func(e *store.Event) error {
		all = append(all, e)
		return nil
	}))
	return all
}

// unclean holds the start records to what really happened: between the last
// reading before an unclean end and the first after it there is no more than
// what the record says may be lost, the time nobody watched, and a little.
func (r *run) unclean(events []*store.Event) {
	st, err := store.Beside(r.b.DB(), false)
	r.must(err)
	defer func() { _ = st.Close() }()
	var at []int64
	r.must(st.Export(context.Background(), rig.Gateway, func(_ wire.Epoch, stream string, _ uint64, canonical []byte) error {
		if stream != wire.ReadingStream {
			return nil
		}
		reading, err := wire.DecodeReading(canonical)
		at = append(at, reading.Received.Mono)
		return err
	}))
	slices.Sort(at)
	ends := 0
	const usual = 5 * time.Second      // a keeper starts, values that did not change are not recorded; longer on a slow machine
	allowed := map[int]time.Duration{} // by the pause between readings that the epochs began in
	for _, e := range events {
		if e.Start == nil || e.Start.Clean || len(e.Start.Parent) == 0 {
			continue
		}
		ends++
		i, _ := slices.BinarySearch(at, e.At.Mono)
		allowed[i] += time.Duration(e.Start.MayHaveLost) + time.Duration(max(0, e.Start.Unwatched))
	}
	for i, bound := range allowed {
		if i == 0 || i == len(at) {
			continue
		}
		little := time.Duration(float64(usual) * r.slowness(at[i-1], at[i]))
		if cost := time.Duration(at[i] - at[i-1]); cost > bound+little {
			r.t.Errorf("no reading for %v, the start records in it and %v allow %v", cost, little, bound+little)
			for _, e := range events {
				if e.At.Mono >= at[i-1] && e.At.Mono <= at[i] {
					r.t.Logf("  %v after the last reading: %v %s, start %+v", time.Duration(e.At.Mono-at[i-1]), rules.Kind(e.Kind), e.Event.Rule, e.Start)
				}
			}
		}
	}
	r.t.Logf("%d unclean ends, %d readings; a process took up to %v to start and end", ends, len(at), time.Duration(r.slowness(math.MinInt64, math.MaxInt64)*float64(quick)))
	if ends < killsEach/2 { // a keeper that had not begun an epoch yet ends none
		r.t.Errorf("only %d unclean ends were found by the journal, %d keepers were killed", ends, killsEach)
	}
}

// alarms counts by rule and plant step: how many raises are one too many, and
// how many steps that stood long enough have none.
func (r *run) alarms(events []*store.Event, book []logbook.Entry) (doubles, missed int) {
	end := book[len(book)-1].Mono
	for _, s := range steps {
		spans := logbook.Above(book, s.tag, s.limit, s.back)
		raised := make([]int, len(spans))
		for _, e := range events {
			if rules.Kind(e.Kind) != rules.AlarmRaised || e.Rule != s.rule {
				continue
			}
			i := slices.IndexFunc(spans, func(p logbook.Span) bool {
				return e.At.Mono >= p.From && e.At.Mono <= p.To+int64(stoodLong) // seen a little later than it was
			})
			if i < 0 {
				r.t.Errorf("%s was raised at %d, when the plant's register was not above its limit", s.rule, e.At.Mono)
				doubles++
				continue
			}
			raised[i]++
		}
		long := 0
		for i, p := range spans {
			if raised[i] > 1 {
				r.t.Errorf("%s: step %d was raised %d times", s.rule, i, raised[i])
				doubles += raised[i] - 1
			}
			if p.Length(end) > stoodLong {
				if long++; raised[i] == 0 {
					r.t.Errorf("%s: step %d stood %v and was never raised", s.rule, i, p.Length(end))
					missed++
				}
			}
		}
		r.t.Logf("%s: %d steps, %d of them longer than %v", s.rule, len(spans), long, stoodLong)
		if long < 5 {
			r.t.Errorf("%s: only %d long steps: the run proves little", s.rule, long)
		}
	}
	return doubles, missed
}

// fromThePlant counts how often the fan was commanded off or stopped between
// the trip and the end, and holds that nothing else was written.
func (r *run) fromThePlant(book []logbook.Entry) (stops int) {
	from, to := logbook.MarkAt(book, "tripped"), logbook.MarkAt(book, "end")
	const unit, fanCoil, sirenCoil = 20, 0, 1
	stops += len(logbook.Written(book, unit, fanCoil, false, from))
	stops += len(logbook.Written(book, unit, sirenCoil, false, from))
	for _, s := range logbook.On(book, "io1.fan-run") {
		if s.To > from && s.To < to {
			stops++
		}
	}
	for _, e := range book {
		if e.Event == logbook.Write && (e.Unit != unit || e.Address == nil || *e.Address != fanCoil && *e.Address != sirenCoil) {
			r.t.Errorf("a write that nothing demanded: unit %d function %d", e.Unit, e.Function)
		}
	}
	return stops
}
