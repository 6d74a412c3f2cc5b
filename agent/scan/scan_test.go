package scan

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"davy/agent/config"
	"davy/agent/output"
	"davy/drivers"
	"davy/drivers/tag"
)

// line is a link with stations that each take a while, or do not answer.
type line struct {
	mu     sync.Mutex // held where the worker changes what the test looks at
	passed time.Duration
	now    func() tag.Stamp
	wire   time.Duration // a transaction
	limit  time.Duration // the link's timeout
	dead   map[int]bool
	mute   tag.ID        // a point whose request alone is not answered
	later  map[int]int64 // station → not before
	other  int64         // until then the line is another master's
	alive  []config.KeepAlive
	words  []string // conditions that the driver may say
	says   string   // … and says when it is opened
	told   map[string]bool
	fed    int // writes that were taken
	window int
	asked  map[int]int
	busy   time.Duration // spent on dead stations
	order  []int
}

type request struct{ points []drivers.Point }

func (r *request) Points() []drivers.Point { return r.points }
func (r *request) Cost() time.Duration     { return 0 }
func (r *request) String() string          { return fmt.Sprintf("station %d", r.points[0].Station) }

func (l *line) Read(ctx context.Context, q drivers.Request, dst []tag.Reading) ([]tag.Reading, error) {
	p := q.Points()[0]
	quality, err := tag.GoodQuality, error(nil)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.other > l.now().Mono {
		quality, err = tag.BadNoComm, &drivers.Later{Until: min(l.other, l.now().Mono+int64(5*time.Second)), Line: true, Why: errors.New("another master")}
	} else if until := l.later[p.Station]; until > l.now().Mono {
		quality, err = tag.BadNoComm, &drivers.Later{Until: until, Why: errors.New("in doubt")}
	} else {
		l.asked[p.Station]++
		l.order = append(l.order, p.Station)
		wait := l.wire
		if l.dead[p.Station] || p.Tag == l.mute && l.mute != 0 {
			wait, quality, err = l.limit, tag.BadNoComm, errors.New("no answer")
			if d, ok := ctx.Deadline(); ok {
				wait = min(wait, time.Until(d))
			}
			l.busy += wait
		}
		l.mu.Unlock()
		<-time.After(wait)
		l.mu.Lock()
	}
	for _, p := range q.Points() {
		dst = append(dst, tag.Reading{Tag: p.Tag, Quality: quality, Received: l.now()})
	}
	return dst, err
}

func (l *line) Write(_ context.Context, p drivers.Point, _ tag.Value) error {
	l.mu.Lock()
	dead := l.dead[p.Station]
	l.mu.Unlock()
	if dead {
		<-time.After(l.limit)
		return drivers.ErrUnknown
	}
	<-time.After(l.wire)
	l.mu.Lock()
	l.fed++
	l.mu.Unlock()
	return nil
}

func (l *line) Close() error { return nil }
func (l *line) Window() int  { return max(l.window, 1) }

func (l *line) ReadAll(ctx context.Context, reqs []drivers.Request, each func(int, []tag.Reading, error)) {
	<-time.After(l.wire)
	for i, q := range reqs {
		l.mu.Lock()
		l.asked[q.Points()[0].Station]++
		l.mu.Unlock()
		each(i, []tag.Reading{{Tag: q.Points()[0].Tag, Quality: tag.GoodQuality, Received: l.now()}}, nil)
	}
}

type driver struct {
	drivers.Driver
	l *line
}

func (d driver) Open(_ context.Context, cfg drivers.LinkConfig) (drivers.Link, error) {
	if d.l.says != "" {
		cfg.Say(d.l.says, true)
	}
	return d.l, nil
}

// world runs a worker over a line of stations with so many requests each.
type world struct {
	*Worker
	l    *line
	last map[tag.ID]tag.Reading
	got  map[tag.ID]int
}

func run(t *testing.T, stations, each int, period time.Duration, l *line, f func(w *world)) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		l.now = func() tag.Stamp { return tag.Stamp{Mono: int64(time.Since(start)) + 1} }
		l.asked, l.told = map[int]int{}, map[string]bool{}
		link := &config.Link{Name: "line", Timeout: l.limit, KeepAlive: l.alive, Settings: drivers.Settings{Conditions: l.words}}
		id := tag.ID(0)
		for s := range stations {
			for range each {
				id++
				link.Scans = append(link.Scans, config.Scan{Period: period, Request: &request{[]drivers.Point{{Tag: id, Station: s + 1}}}})
			}
		}
		plan := &config.Plan{Links: []config.Link{*link}}
		out := output.New(plan, false, l.now, func(string, bool) {}, slog.New(slog.DiscardHandler))
		w := &world{l: l, last: map[tag.ID]tag.Reading{}, got: map[tag.ID]int{}}
		w.Worker = &Worker{
			Link: link, Driver: driver{l: l}, Lane: out.Lane(0), Alive: func() bool { return true }, Now: l.now,
			Condition: func(code string, on bool) {
				l.mu.Lock()
				defer l.mu.Unlock()
				l.told[code] = on
			},
			Log: slog.New(slog.DiscardHandler),
			Offer: func(_ context.Context, b Batch) error {
				l.mu.Lock()
				defer l.mu.Unlock()
				for _, r := range b.Readings {
					w.last[r.Tag] = r
					w.got[r.Tag]++
				}
				b.Free()
				return nil
			},
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx) }()
		f(w)
		cancel()
		<-done
	})
}

// pass lets time go by in the bubble; afterwards nobody else runs. What the test
// looked at before it is the worker's again.
func (l *line) pass(d time.Duration) {
	l.mu.Lock()
	l.passed += d
	l.mu.Unlock()
	<-time.After(d)
	synctest.Wait()
}

func TestADeadStationCostsItsNeighboursLittle(t *testing.T) {
	// Eight stations share a line that is always busy.
	l := &line{wire: 20 * time.Millisecond, limit: 300 * time.Millisecond, dead: map[int]bool{}}
	run(t, 8, 1, 100*time.Millisecond, l, func(w *world) {
		l.pass(time.Minute)
		count := func(span time.Duration) (n int) {
			before := map[int]int{}
			for s := range 7 {
				before[s+1] = l.asked[s+1]
			}
			l.pass(span)
			for s := range 7 {
				n += l.asked[s+1] - before[s+1]
			}
			return n
		}
		whole := count(10 * time.Minute)
		l.dead[8] = true
		l.pass(time.Second)
		if q := w.last[8].Quality; q != tag.BadNoComm {
			t.Errorf("a second after its station died the point is %v", q)
		}
		l.pass(time.Minute)
		l.busy = 0
		with := count(10 * time.Minute)
		// Seven eighths of the line were theirs before.
		if share := float64(with) / float64(whole); share < 0.95 {
			t.Errorf("with a dead station the seven others were asked %d times, before %d", with, whole)
		}
		if l.busy > 30*time.Second {
			t.Errorf("of ten minutes the dead station took %v", l.busy)
		}
		l.dead[8] = false
		l.pass(15 * time.Second)
		if q := w.last[8].Quality; !q.Good() {
			t.Errorf("15 s after its return it is %v", q)
		}
		n := l.asked[8]
		l.pass(10 * time.Second)
		if more := l.asked[8] - n; more < 50 {
			t.Errorf("a station that is back was asked %d times in 10 s", more)
		}
	})
}

func TestAPatientLinkProbesShortly(t *testing.T) {
	l := &line{wire: 5 * time.Millisecond, limit: 3 * time.Second, dead: map[int]bool{2: true}}
	run(t, 2, 3, 200*time.Millisecond, l, func(w *world) {
		l.pass(time.Minute)
		l.busy = 0
		l.pass(10 * time.Minute)
		if l.busy > 55*time.Second { // short probes 4 %, every fifth with all its time
			t.Errorf("of ten minutes the dead station took %v", l.busy)
		}
		for id := tag.ID(4); id <= 6; id++ {
			if w.last[id].Quality != tag.BadNoComm || w.got[id] == 0 {
				t.Errorf("tag %d is %v", id, w.last[id].Quality)
			}
		}
		l.dead[2] = false
		l.pass(15 * time.Second)
		for id := tag.ID(1); id <= 6; id++ {
			if !w.last[id].Quality.Good() {
				t.Errorf("tag %d is %v after the return", id, w.last[id].Quality)
			}
		}
	})
}

func TestAllStationsDeadAreProbedOften(t *testing.T) {
	l := &line{wire: 5 * time.Millisecond, limit: 300 * time.Millisecond, dead: map[int]bool{1: true, 2: true}}
	run(t, 2, 2, time.Second, l, func(w *world) {
		l.pass(2 * time.Minute)
		l.dead = map[int]bool{}
		l.pass(6 * time.Second)
		for id := tag.ID(1); id <= 4; id++ {
			if !w.last[id].Quality.Good() {
				t.Errorf("tag %d is %v", id, w.last[id].Quality)
			}
		}
	})
}

func TestWhatTheDriverPutsOffIsNoSilence(t *testing.T) {
	l := &line{wire: 5 * time.Millisecond, limit: 300 * time.Millisecond, later: map[int]int64{1: int64(2 * time.Second)}}
	run(t, 2, 2, 100*time.Millisecond, l, func(w *world) {
		l.pass(1900 * time.Millisecond)
		if l.asked[1] != 0 || w.last[1].Quality != tag.BadNoComm {
			t.Errorf("a station in doubt was asked %d times, %v", l.asked[1], w.last[1].Quality)
		}
		if n := l.asked[2]; n < 34 {
			t.Errorf("its neighbour was asked %d times", n)
		}
		if s := w.Stats(); s.Failures != 0 || s.Overruns != 0 {
			t.Errorf("%+v", s)
		}
		l.pass(200 * time.Millisecond)
		if !w.last[1].Quality.Good() || !w.last[2].Quality.Good() {
			t.Errorf("after the doubt: %v, %v", w.last[1].Quality, w.last[2].Quality)
		}
	})
}

func TestAPersonsReadOvertakesPolling(t *testing.T) {
	l := &line{wire: 50 * time.Millisecond, limit: 300 * time.Millisecond}
	run(t, 8, 1, 50*time.Millisecond, l, func(w *world) { // eight times as much as the line carries
		l.pass(time.Second)
		began := l.now().Mono
		r, took, err := w.ReadNow(context.Background(), 5)
		if err != nil || r.Tag != 5 || !r.Quality.Good() || took != 50*time.Millisecond {
			t.Errorf("%+v, %v, %v", r, took, err)
		}
		if waited := time.Duration(l.now().Mono - began); waited > 100*time.Millisecond {
			t.Errorf("it came after %v: one transaction may be ahead", waited)
		}
		if _, _, err := w.ReadNow(context.Background(), 99); err == nil {
			t.Error("a tag of nobody was read")
		}
	})
}

func TestWhatIsDueTogetherGoesTogether(t *testing.T) {
	one := &line{wire: 10 * time.Millisecond, limit: time.Second}
	run(t, 16, 1, 100*time.Millisecond, one, func(*world) { one.pass(10 * time.Second) })
	all := &line{wire: 10 * time.Millisecond, limit: time.Second, window: 16}
	run(t, 16, 1, 100*time.Millisecond, all, func(w *world) {
		all.pass(10 * time.Second)
		if s := w.Stats(); s.Overruns != 0 {
			t.Errorf("%+v", s)
		}
	})
	sum := func(l *line) (n int) {
		for _, k := range l.asked {
			n += k
		}
		return n
	}
	if a, b := sum(one), sum(all); a > 1001 || b < 1590 || b > 1616 {
		t.Errorf("alone %d, together %d of 1,600", a, b)
	}
}

func TestALinkThatEndsAnswersWhoWaits(t *testing.T) {
	l := &line{wire: 5 * time.Millisecond, limit: time.Second}
	run(t, 1, 1, time.Hour, l, func(w *world) {
		if _, _, err := w.ReadNow(context.Background(), 2); err == nil {
			t.Error("read without a request")
		}
		a := ask{id: 2, reply: make(chan reply, 1)}
		w.queue() <- a
		w.refuse()
		if r := <-a.reply; r.err == nil {
			t.Error("answered with nothing")
		}
	})
}
