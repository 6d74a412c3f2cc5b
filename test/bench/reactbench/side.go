package reactbench

import (
	"context"
	_ "embed" // the site
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"davy/agent/clock"
	"davy/agent/journal"
	"davy/agent/operate"
	"davy/agent/ring"
	"davy/agent/wire"
	"davy/drivers/tag"
	"davy/test/bench/figure"
	"davy/test/bench/stand"
	"davy/test/rig"
)

const (
	gateway    = "BENCH-1"
	eventLimit = 2 * time.Second       // for one write; then the figure is given up
	pause      = 8 * time.Millisecond  // at most, between a write and the next step: random
	settled    = 30 * time.Second      // for a start until the load is on
	stations   = 8                     // of the load
	each       = 125                   // tags of each, read once a second
	Load       = stations * each       // tags
	backlog    = 1_000_000             // readings that lie ready before a loaded run, at least
	chunk      = 20_000                // readings of one transaction that makes them
	frequentGC = "GOGC=10"             // of the loaded side's processes; Go lets a heap grow by 1 MB all the same
	askEvery   = time.Second           // somebody looks at the loaded agent's status
	gcTrace    = "GODEBUG=gctrace=1"   // counted afterwards
	oldestAge  = 24 * time.Hour        // of the backlog
	oldestStep = 20 * time.Millisecond // between its readings
)

//go:embed site.yaml
var site string

// side is one of the two agents that are compared: they run one after the
// other, and while one runs nothing of the other does.
type side struct {
	*rig.Bench
	plant  *plant
	loaded bool
	events int

	drained     uint64          // readings confirmed while events were taken
	collections int             // of both processes, each at least
	took        []time.Duration // of all runs that count
}

func newSide(bin string, loaded bool, events int) (*side, error) {
	r, err := rig.New(bin)
	if err != nil {
		return nil, err
	}
	s := &side{Bench: &rig.Bench{Rig: r}, loaded: loaded, events: events}
	if s.plant, err = newPlant(); err == nil {
		err = s.prepare()
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *side) close() {
	s.Close()
	if s.plant != nil {
		s.plant.close()
	}
}

// prepare writes the site and makes it live; the loaded side gets a broker and
// a receiver, which stay.
func (s *side) prepare() error {
	links, devices, uplinks := "", "", ""
	if s.loaded {
		s.Env = append(s.Env, gcTrace, frequentGC)
		broker, err := stand.Mosquitto(s.Rig)
		if err != nil {
			return err
		}
		if err := s.StartReceiver(broker); err != nil {
			return err
		}
		if err := stand.Elsewhere(s.Receiver.Pid()); err != nil {
			return err
		}
		links, devices, uplinks = s.load()
	}
	text := strings.NewReplacer("SENSE", s.plant.sense.Addr().String(), "IO,", s.plant.io.Addr().String()+",",
		"LINKS\n", links, "DEVICES\n", devices, "UPLINKS\n", uplinks).Replace(site[strings.Index(site, "davy:"):])
	if err := os.MkdirAll(s.Site(), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(s.Site(), "site.yaml"), []byte(text), 0o644); err != nil {
		return err
	}
	if s.loaded {
		if err := s.enroll(); err != nil {
			return err
		}
	}
	return s.Apply("bench")
}

// load is what the site of the loaded side has more.
func (s *side) load() (links, devices, uplinks string) {
	var b strings.Builder
	for i := range stations {
		fmt.Fprintf(&b, "  load%d:\n    link: load\n    station: %d\n    tags:\n", i+1, i+1)
		for k := range each {
			fmt.Fprintf(&b, "      t%d: {at: holding %d, type: uint16, scan: 1s, record: every 1s}\n", k, k)
		}
	}
	return fmt.Sprintf("  load: {modbus-tcp: %q, timeout: 500ms}\n", s.plant.load.Addr()), b.String(),
		fmt.Sprintf("uplinks:\n  regulator: {mqtt: %q, receipts: key %s, must_confirm: true}\n", "tcp://"+s.Broker, s.Key)
}

func (s *side) enroll() error {
	if err := os.MkdirAll(s.State(), 0o750); err != nil {
		return err
	}
	var key struct{ Fingerprint string }
	if err := s.JSON(&key, "davy", "keys", "show", "--json", "--state", s.State()); err != nil {
		return err
	}
	_, err := s.Output("davy-receiver", "enroll", gateway, key.Fingerprint, "--db", s.DB())
	return err
}

// run starts the agent, takes the events and returns their p99 in seconds.
func (s *side) run() (p99 float64, err error) {
	if s.loaded {
		if err := s.fill(); err != nil {
			return 0, err
		}
	}
	if err := s.StartDavy(); err != nil {
		return 0, err
	}
	defer func() {
		family := stand.Family(s.Davy.Pid())
		s.Davy.Kill()
		for _, pid := range family[1:] { // the keeper: its farewell would take seconds
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
		}
	}()
	before, err := s.settle()
	if err != nil {
		return 0, err
	}
	from := logSize(s.Davy.Log)
	watching := s.look()
	defer watching()
	all := make([]float64, 0, s.events)
	for i := range s.events + 1 {
		d, err := s.plant.event(context.Background())
		if err != nil {
			return 0, fmt.Errorf("event %d: %w\n%s", i, err, unusual(s.Davy.Tail()))
		}
		if i > 0 { // the first is a start-up artefact
			all = append(all, d.Seconds())
			s.took = append(s.took, d)
		}
		<-time.After(rand.N(pause))
	}
	if s.loaded {
		s.collections += collections(s.Davy.Log, from)
		v, err := s.View(operate.Status)
		if err != nil {
			return 0, err
		}
		left := v.Keeper.Uplinks[0].Backlog
		if left == 0 {
			return 0, fmt.Errorf("the backlog of %d records had drained before the last event", before)
		}
		s.drained += before - min(left, before)
	}
	return figure.Quantile(all, 0.99), nil
}

// look asks the loaded agent for its status again and again, as a person in
// front of it does, until the returned function is called.
func (s *side) look() (stop func()) {
	over := make(chan struct{})
	var wait sync.WaitGroup
	if s.loaded {
		wait.Go(func() {
			t := time.NewTicker(askEvery)
			defer t.Stop()
			for {
				select {
				case <-over:
					return
				case <-t.C:
					_, _ = s.View(operate.Status) // what it says is of no interest here
				}
			}
		})
	}
	return func() {
		close(over)
		wait.Wait()
	}
}

// settle waits until the agent watches and its load is on, and returns the backlog.
func (s *side) settle() (backlog uint64, err error) {
	s.plant.mu.Lock()
	reads := s.plant.reads
	s.plant.mu.Unlock()
	err = s.See(settled, "the agent watches, and its load is on", func(v *operate.View) bool {
		if !rig.Watching(v) || v.Keeper.State != operate.KeeperRunning {
			return false
		}
		if !s.loaded {
			return true
		}
		s.plant.mu.Lock()
		more := s.plant.reads - reads
		s.plant.mu.Unlock()
		if len(v.Keeper.Uplinks) == 0 || !v.Keeper.Uplinks[0].Connected || v.Keeper.Uplinks[0].LastReceipt.IsZero() {
			return false
		}
		backlog = v.Keeper.Uplinks[0].Backlog
		return more >= Load
	})
	return backlog, err
}

// fill lays a backlog ready, as an outage would have left it.
func (s *side) fill() error {
	j, err := journal.Open(journal.Options{
		Dir: filepath.Join(s.State(), "journal"), Gateway: gateway, MaxBytes: 4e9, MustConfirm: []string{"regulator"},
		Now: clock.Now, Boot: clock.BootID(), Version: "bench",
	})
	if err != nil {
		return err
	}
	cursor, err := j.Cursor("regulator")
	if err != nil {
		return err
	}
	var have uint64
	for _, b := range cursor.Backlog() {
		have += b.Records
	}
	table := &wire.Table{}
	for id := range tag.ID(Load) {
		table.Tags = append(table.Tags, wire.TableTag{ID: id + 1, Name: fmt.Sprintf("load.t%d", id), Kind: tag.Int})
	}
	now := clock.Now()
	if err := j.Append(journal.Batch{Events: []wire.Event{{Kind: uint32(ring.TagTable), At: now, Table: table}}}); err != nil {
		return err
	}
	at := tag.Stamp{Wall: now.Wall - int64(oldestAge), Mono: 1}
	batch := make([]tag.Reading, 0, chunk)
	for have < backlog {
		batch = batch[:0]
		for i := range chunk {
			at.Wall += int64(oldestStep) / Load
			at.Mono += int64(oldestStep) / Load
			v := tag.IntValue(int64(math.Abs(1000 + 50*rand.NormFloat64())))
			batch = append(batch, tag.Reading{Tag: tag.ID(i%Load + 1), Quality: tag.GoodQuality, Value: v, Received: at})
		}
		if err := j.Append(journal.Batch{Readings: batch}); err != nil {
			return err
		}
		have += chunk
	}
	return j.Close()
}

// unusual leaves out of a log what every event writes there.
func unusual(log string) string {
	var b strings.Builder
	for line := range strings.Lines(log) {
		if !strings.Contains(line, "output driven") && !strings.HasPrefix(line, "gc ") {
			b.WriteString(line)
		}
	}
	return b.String()
}

func logSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

var gcLine = regexp.MustCompile(`(?m)^gc (\d+) @`)

// collections returns how many garbage collections each of the two processes
// that write to a log made at least: every collection has its number, and a
// number that stands there twice was reached by both.
func collections(path string, from int64) int {
	raw, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	seen := map[string]int{}
	for _, m := range gcLine.FindAllSubmatch(raw[min(from, int64(len(raw))):], -1) {
		seen[string(m[1])]++
	}
	n := 0
	for _, times := range seen {
		if times > 1 {
			n++
		}
	}
	return n
}
