package line

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"davy/agent/config"
	"davy/agent/output"
	"davy/agent/scan"
	"davy/drivers"
	"davy/drivers/modbus"
	"davy/drivers/modbus/serial"
	"davy/drivers/tag"
	"davy/test/scale"
)

const (
	stations = 8
	wait     = 150 * time.Millisecond
	// An answer may come as late as late_max allows: a second after the wait.
	latest = modbus.LateLeast - 50*time.Millisecond
)

// blocks are the stretches that every station is asked for: first register and
// cells. Many are of one length, so that one answer fits another's request.
var blocks = []struct{ first, cells uint16 }{{0, 5}, {200, 5}, {400, 5}, {600, 5}, {800, 1}, {900, 2}}

// points are the cells of one line.
func points(t *testing.T, d drivers.Driver) (out []drivers.Point) {
	t.Helper()
	none, err := d.ParseDevice(drivers.Fields{"gaps": "no"})
	if err != nil {
		t.Fatal(err)
	}
	for s := 1; s <= stations; s++ {
		for n, b := range blocks {
			if s == 7 && n > 0 { // a station with a single cell, where no other length is to be had
				break
			}
			for c := range b.cells {
				if s == 7 && c > 0 {
					break
				}
				a, err := d.ParseAddress(fmt.Sprintf("holding %d", b.first+2*c))
				if err != nil {
					t.Fatal(err)
				}
				typ, err := d.ParseType(a, "uint32")
				if err != nil {
					t.Fatal(err)
				}
				p := drivers.Point{Tag: tag.ID(len(out) + 1), Station: s, Device: fmt.Sprint(s), Address: a, Type: typ, Period: time.Second}
				if s >= 6 {
					p.Options = none
				}
				out = append(out, p)
			}
		}
	}
	return out
}

// judged is a driver whose readings are judged from outside.
type judged struct {
	drivers.Driver
	line         *Line
	good, wrong  *atomic.Int64
	first        *atomic.Pointer[string]
	stationsGood []atomic.Int64
}

func (j *judged) Open(ctx context.Context, cfg drivers.LinkConfig) (drivers.Link, error) {
	l, err := j.Driver.Open(ctx, cfg)
	return &judgedLink{l, j}, err
}

type judgedLink struct {
	drivers.Link
	j *judged
}

func (l *judgedLink) Read(ctx context.Context, req drivers.Request, dst []tag.Reading) ([]tag.Reading, error) {
	from, base := time.Now(), len(dst)
	dst, err := l.Link.Read(ctx, req, dst)
	to := time.Now()
	ps := req.Points()
	if len(dst)-base != len(ps) {
		l.j.blame("%s: %d readings for %d points", req, len(dst)-base, len(ps))
		return dst, err
	}
	for i, r := range dst[base:] {
		if r.Quality.Bad() {
			continue
		}
		l.j.good.Add(1)
		l.j.stationsGood[ps[i].Station].Add(1)
		if !l.j.line.Held(byte(ps[i].Station), ps[i].Address.(modbus.Address).Number, uint32(r.Value.Int()), from, to) {
			l.j.blame("%v after the start %s was read as %#x; on the wire:\n%s", from.Sub(l.j.line.start), req, r.Value.Int(), strings.Join(l.j.line.Log(), "\n"))
		}
	}
	return dst, err
}

func (j *judged) blame(format string, args ...any) {
	if j.wrong.Add(1) == 1 {
		text := fmt.Sprintf(format, args...)
		j.first.Store(&text)
	}
}

// tally is what a campaign came to.
type tally struct {
	good, wrong int64
	first       string
	counts      Counts
	stations    []int64
}

// campaign polls two lines for a span of simulated time, through the scanner
// that the agent uses.
func campaign(t *testing.T, seed uint64, span time.Duration, driver func(l *Line) drivers.Driver) (sum tally) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		now := func() tag.Stamp {
			return tag.Stamp{Wall: time.Now().UnixNano(), Mono: int64(time.Since(start)) + 1}
		}
		ctx, cancel := context.WithTimeout(context.Background(), span)
		defer cancel()
		var good, wrong atomic.Int64
		var first atomic.Pointer[string]
		var lines []*Line
		var all []*judged
		done := make(chan error)
		for n, baud := range []int{9600, 19200} {
			l := New(seed+uint64(n), baud, wait, latest)
			lines = append(lines, l)
			j := &judged{Driver: driver(l), line: l, good: &good, wrong: &wrong, first: &first, stationsGood: make([]atomic.Int64, stations+1)}
			all = append(all, j)
			link := &config.Link{Name: fmt.Sprintf("line%d", n), Timeout: wait}
			var err error
			if link.Settings, err = j.ParseLink(l.target(), drivers.Fields{"serial": fmt.Sprintf("%d 8E1", baud)}); err != nil {
				t.Fatal(err)
			}
			requests, err := j.Plan(link.Settings, points(t, j.Driver))
			if err != nil {
				t.Fatal(err)
			}
			for _, q := range requests {
				link.Scans = append(link.Scans, config.Scan{Period: time.Second, Request: q})
			}
			out := output.New(&config.Plan{Links: []config.Link{*link}}, false, now, func(string, bool) {}, slog.New(slog.DiscardHandler))
			w := &scan.Worker{
				Link: link, Driver: j, Lane: out.Lane(0), Alive: func() bool { return true }, Condition: func(string, bool) {}, Now: now,
				Log: slog.New(slog.DiscardHandler), Offer: func(_ context.Context, b scan.Batch) error { b.Free(); return nil },
			}
			go func() { done <- w.Run(ctx) }()
		}
		for range lines {
			<-done
		}
		sum = tally{good: good.Load(), wrong: wrong.Load(), stations: make([]int64, stations+1)}
		if p := first.Load(); p != nil {
			sum.first = *p
		}
		for n, l := range lines {
			c := l.Counts()
			sum.counts.Asked += c.Asked
			sum.counts.Answered += c.Answered
			sum.counts.Late += c.Late
			sum.counts.Doubled += c.Doubled
			sum.counts.Spoilt += c.Spoilt
			sum.counts.Silent += c.Silent
			sum.counts.Unplugged += c.Unplugged
			for s := range sum.stations {
				sum.stations[s] += all[n].stationsGood[s].Load()
			}
		}
		time.Sleep(5 * time.Second) // what is still on its way
	})
	return sum
}

func rtu(l *Line) drivers.Driver {
	return modbus.RTU{
		Line: func(context.Context, string, serial.Settings) (modbus.Port, error) { return l.Open() },
		Dial: func(context.Context, string) (modbus.Port, error) { return l.Open() },
	}
}

func ascii(l *Line) drivers.Driver {
	l.ASCII = true
	return modbus.ASCII{
		Line: func(context.Context, string, serial.Settings) (modbus.Port, error) { return l.Open() },
		Dial: func(context.Context, string) (modbus.Port, error) { return l.Open() },
	}
}

// Ten minutes (in a soak ten times that) of each other way that a line can be reached.
func TestNoLieOnAnyWay(t *testing.T) {
	behind := func(d func(l *Line) drivers.Driver) func(l *Line) drivers.Driver {
		return func(l *Line) drivers.Driver { l.Bridge = true; return d(l) }
	}
	edge := func(d func(l *Line) drivers.Driver) func(l *Line) drivers.Driver {
		return func(l *Line) drivers.Driver { l.Edge = true; return d(l) }
	}
	for name, d := range map[string]func(l *Line) drivers.Driver{
		"rtu at the edges": edge(rtu), "ascii": ascii, "rtu over tcp": behind(rtu), "ascii over tcp": behind(edge(ascii)),
	} {
		t.Run(name, func(t *testing.T) {
			minutes := min(scale.Of(10), 100)
			sum := campaign(t, 7, time.Duration(minutes)*time.Minute, d)
			fmt.Printf("campaign %s minutes=%d %+v good=%d wrong=%d by_station=%v\n", name, minutes, sum.counts, sum.good, sum.wrong, sum.stations[1:])
			if sum.wrong != 0 {
				t.Errorf("%d good readings that were not so, the first: %s", sum.wrong, sum.first)
			}
			if sum.counts.Late < 5*minutes {
				t.Errorf("%d late answers are too few to say anything", sum.counts.Late)
			}
			for s, n := range sum.stations[1:] {
				if n < int64(minutes)*5 {
					t.Errorf("station %d gave %d good readings in %d minutes", s+1, n, minutes)
				}
			}
		})
	}
}

// An hour of two lines with eight stations each (24 in a soak), and not one
// reading that its register did not hold.
func TestNoLieOnALine(t *testing.T) {
	minutes := scale.Of(60)
	sum := campaign(t, 1, time.Duration(minutes)*time.Minute, rtu)
	fmt.Printf("campaign minutes=%d %+v good=%d wrong=%d by_station=%v\n", minutes, sum.counts, sum.good, sum.wrong, sum.stations[1:])
	if sum.wrong != 0 {
		t.Errorf("%d good readings that were not so, the first: %s", sum.wrong, sum.first)
	}
	if late := sum.counts.Late; late < min(15*minutes, 1001) {
		t.Errorf("%d late answers are too few to say anything", late)
	}
	for s, n := range sum.stations[1:] {
		if n < int64(minutes)*20 {
			t.Errorf("station %d gave %d good readings in %d minutes", s+1, n, minutes)
		}
	}
}

// The checker sees what the bare library does on the same lines.
func TestTheLibraryIsCaught(t *testing.T) {
	minutes := min(scale.Of(5), 5)
	sum := campaign(t, 1, time.Duration(minutes)*time.Minute, func(l *Line) drivers.Driver { return Library{Line: l} })
	fmt.Printf("campaign library minutes=%d %+v good=%d wrong=%d\n", minutes, sum.counts, sum.good, sum.wrong)
	if sum.wrong < int64(minutes) {
		t.Errorf("only %d wrong of %d good readings were seen", sum.wrong, sum.good)
	}
}

// Without a fault every reading is good, so that the checker blames nobody wrongly.
func TestACalmLineIsGood(t *testing.T) {
	sum := campaign(t, 1, time.Minute, func(l *Line) drivers.Driver { l.Calm = true; return rtu(l) })
	if sum.wrong != 0 || sum.good < 10000 {
		t.Errorf("%+v", sum)
	}
}
