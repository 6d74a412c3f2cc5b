package linebench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing/fstest"
	"time"

	"davy/agent/config"
	"davy/agent/output"
	"davy/agent/scan"
	"davy/drivers"
	"davy/drivers/modbus"
	"davy/drivers/tag"
	"davy/test/bench/figure"
)

// How the lines of dead stations are worked.
const (
	deadBaud = 9600
	timeout  = 500 * time.Millisecond // of the link, the usual one
	window   = 13 * time.Second       // one probe of a dead station, and a little
	busy     = 450 * time.Millisecond // period at which eight stations leave the line little rest
	settle   = 40 * time.Second       // until probes are as far apart as they get
)

// polled is a line under a scan worker, and what its stations brought.
type polled struct {
	*wired
	answers []atomic.Int64 // by station, from 1: requests with good readings
	good    []atomic.Int64 // when the last good reading was offered, ns of the line's clock
	bad     []atomic.Int64 // when the first bad one after the last good was, 0: none
	end     context.CancelFunc
	ended   chan error
}

// poll makes a line of so many stations, each with ten registers read every period.
func poll(count int, period time.Duration) (*polled, error) {
	l, err := wire(deadBaud)
	if err != nil {
		return nil, err
	}
	p := &polled{
		wired: l, ended: make(chan error, 1),
		answers: make([]atomic.Int64, count+1), good: make([]atomic.Int64, count+1), bad: make([]atomic.Int64, count+1),
	}
	plan, err := compile(site(l.Spec.Path, count, period))
	if err != nil {
		return nil, errors.Join(err, l.close())
	}
	station := make([]int, len(plan.Tags)+1)
	for _, s := range plan.Links[0].Scans {
		for _, point := range s.Request.Points() {
			station[point.Tag] = point.Station
		}
	}
	out := output.New(plan, false, l.now, func(string, bool) {}, slog.New(slog.DiscardHandler))
	w := &scan.Worker{
		Link: &plan.Links[0], Driver: modbus.RTU{}, Lane: out.Lane(0), Now: l.now, Log: slog.New(slog.DiscardHandler),
		Alive: func() bool { return true }, Condition: func(string, bool) {},
		Offer: func(_ context.Context, b scan.Batch) error {
			for i, r := range b.Readings {
				p.note(station[r.Tag], r, i == 0)
			}
			b.Free()
			return nil
		},
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.end = cancel
	go func() { p.ended <- w.Run(ctx) }()
	return p, nil
}

// note keeps what a reading says of its station; first is the first of its batch.
func (p *polled) note(station int, r tag.Reading, first bool) {
	now := p.now().Mono
	if r.Quality.Good() {
		if first {
			p.answers[station].Add(1)
		}
		p.good[station].Store(now)
		p.bad[station].Store(0)
		return
	}
	p.bad[station].CompareAndSwap(0, now)
}

func (p *polled) close() error {
	p.end()
	err := <-p.ended
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return errors.Join(err, p.wired.close())
}

// rounds is how many answers the first count stations gave.
func (p *polled) rounds(count int) (n int64) {
	for s := 1; s <= count; s++ {
		n += p.answers[s].Load()
	}
	return n
}

// site is a site file with one line of stations.
func site(path string, count int, period time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, `davy: 1
gateway: {id: BENCH-1, name: {zh: RS-485, en: RS-485}, time_zone: UTC}
links:
  line: {modbus-rtu: %s, serial: %d 8E1, other_master: allow, timeout: %v}
devices:
`, path, deadBaud, timeout)
	for s := range count {
		fmt.Fprintf(&b, "  s%d:\n    link: line\n    station: %d\n    tags:\n", s+1, s+1)
		for r := range 10 {
			fmt.Fprintf(&b, "      r%d: {at: holding %d, type: uint16, scan: %v, record: never}\n", r, r, period)
		}
	}
	b.WriteString("journal: {keep: 30d, sync: 5s, size: 1 GB}\n")
	return b.String()
}

func compile(site string) (*config.Plan, error) {
	bundle, problems := config.ReadSite(fstest.MapFS{"site.yaml": {Data: []byte(site)}}, ".", fstest.MapFS{})
	plan, more := config.Compile(bundle, drivers.Set{"modbus-rtu": modbus.RTU{}})
	if plan == nil {
		return nil, fmt.Errorf("the bench's site: %v %v", problems, more)
	}
	return plan, nil
}

// cost takes rtu.dead_unit_cost.
func cost(w io.Writer) bool {
	const name = "rtu.dead_unit_cost"
	c, err := compareCost()
	if err != nil {
		return figure.Failed(w, name, err)
	}
	value := c.Median - 1
	holds := true
	if c.Noisy {
		fmt.Fprintf(w, "BENCH %s noisy share %v\n", name, mostCost)
	} else {
		holds = figure.Print(w, name, value, "share", mostCost)
	}
	fmt.Fprintf(w, "  %s: spread %.4g to %.4g, control %.4g, %d windows of %v\n", name, c.Low-1, c.High-1, c.Control, c.Pairs, window)
	return holds
}

// compareCost takes the quotients of the time that a round of seven takes.
func compareCost() (c figure.Comparison, err error) {
	var lines [3]*polled // seven, seven and a dead one, seven
	for i, count := range []int{7, 8, 7} {
		p, err := poll(count, busy)
		if err != nil {
			return c, err
		}
		defer func() { err = errors.Join(err, p.close()) }()
		lines[i] = p
	}
	lines[1].dead[8].Store(true)
	time.Sleep(settle)
	var quotients, controls []float64
	for range figure.Pairs {
		var n [3]int64
		for i, p := range lines {
			n[i] = -p.rounds(7)
		}
		time.Sleep(window)
		for i, p := range lines {
			if n[i] += p.rounds(7); n[i] == 0 {
				return c, fmt.Errorf("line %d brought nothing in %v", i, window)
			}
		}
		quotients = append(quotients, (float64(n[0])+float64(n[2]))/2/float64(n[1]))
		controls = append(controls, float64(n[0])/float64(n[2]))
	}
	c.Pairs, c.Tried = len(quotients), 1
	c.Median, c.Low, c.High = figure.Median(quotients), slices.Min(quotients), slices.Max(quotients)
	c.Control = figure.Median(controls)
	c.Noisy = c.Control > 1+figure.Drift || c.Control < 1-figure.Drift
	return c, nil
}

// How back takes its samples.
const (
	backLines  = 6
	backPeriod = time.Second
	backWait   = 40 * time.Second // longest that a sample is waited for
)

// back takes rtu.blind_s and rtu.dead_unit_back_s.
func back(w io.Writer) bool {
	blind, returned, err := die()
	if err != nil {
		return figure.Failed(w, "rtu.blind_s", err)
	}
	limit := (3*backPeriod + timeout).Seconds()
	ok := figure.Print(w, "rtu.blind_s", slices.Max(blind), "s", limit)
	fmt.Fprintf(w, "  rtu.blind_s: the longest of %d, median %.3g; three scans of %v and one timeout of %v\n", len(blind), figure.Median(blind), backPeriod, timeout)
	ok = figure.Print(w, "rtu.dead_unit_back_s", slices.Max(returned), "s", mostBack) && ok
	fmt.Fprintf(w, "  rtu.dead_unit_back_s: the longest of %d, median %.3g\n", len(returned), figure.Median(returned))
	return ok
}

// die has one station of each line die and come back, and returns how long it
// took until that was seen, in seconds.
func die() (blind, returned []float64, err error) {
	lines := make([]*polled, backLines)
	for i := range lines {
		if lines[i], err = poll(8, backPeriod); err != nil {
			return nil, nil, err
		}
		defer func() { err = errors.Join(err, lines[i].close()) }()
	}
	time.Sleep(5 * time.Second)
	blind, returned = make([]float64, backLines), make([]float64, backLines)
	errs := make([]error, backLines)
	var wg sync.WaitGroup
	for i, p := range lines {
		wg.Go(func() {
			station := i + 2
			time.Sleep(time.Duration(i) * backPeriod / backLines)
			blind[i], errs[i] = p.until(station, true)
			time.Sleep(settle + time.Duration(i)*2*time.Second) // over one pause between two probes
			if errs[i] == nil {
				returned[i], errs[i] = p.until(station, false)
			}
		})
	}
	wg.Wait()
	return blind, returned, errors.Join(errs...)
}

// until kills or revives a station and returns the seconds until its points are bad or good.
func (p *polled) until(station int, dead bool) (float64, error) {
	p.dead[station].Store(dead)
	began := p.now().Mono
	seen := &p.bad[station]
	if !dead {
		seen = &p.good[station]
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		if at := seen.Load(); at > began {
			return float64(at-began) / 1e9, nil
		}
		if time.Duration(p.now().Mono-began) > backWait {
			break
		}
	}
	return 0, fmt.Errorf("station %d dead %v: not seen within %v", station, dead, backWait)
}
