// Package plants holds every plant of firmware-configs to what it promises: it
// compiles, its stories go as they say, no rule is without a story that trips
// it and one that keeps it quiet, and the bench plant's site is the plant that
// davy-plant plays.
//
// Imports: everything of ours that it needs; imported by nobody.
package plants

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"math"
	"net"
	"slices"
	"testing"
	"time"

	"davy/agent/clock"
	"davy/agent/config"
	"davy/cmd/davy-plant/bench"
	"davy/cmd/davy-plant/logbook"
	modbusserver "davy/cmd/davy-plant/modbus"
	opcuaserver "davy/cmd/davy-plant/opcua"
	"davy/drivers"
	"davy/drivers/modbus"
	"davy/drivers/opcua"
	"davy/drivers/opcua/worker"
	"davy/drivers/tag"
	firmware "davy/firmware-configs"
	"davy/rules"
	"davy/rules/ruletest"
	"davy/test/rig"
	"davy/test/scale"
)

var set = drivers.Set{"modbus-tcp": modbus.TCP{}, "modbus-rtu": modbus.RTU{}, "opcua": opcua.Driver{Child: child}}

// child runs an OPC UA worker in this process.
func child(ctx context.Context, _ *slog.Logger, serve func(context.Context, net.Conn) error) error {
	ours, theirs := net.Pipe()
	done := make(chan error, 1)
	go func() { done <- worker.Serve(ctx, theirs, worker.Options{Log: slog.New(slog.DiscardHandler)}) }()
	err := serve(ctx, ours)
	return errors.Join(err, ours.Close(), <-done)
}

// compile compiles a plant's site; anything worse than a warning ends the test.
func compile(t *testing.T, name string) *config.Plan {
	t.Helper()
	plan, err := rig.Plan(name, set)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// Every plant compiles, its stories go as they say and cover every rule both
// ways and every vote that loses channels, and for each rule there are the three
// kinds of story (missing).
func TestStories(t *testing.T) {
	plants, err := fs.ReadDir(firmware.Plants(), ".")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, p := range plants {
		if !p.IsDir() {
			continue
		}
		n++
		t.Run(p.Name(), func(t *testing.T) {
			plan := compile(t, p.Name())
			report := ruletest.RunAll(plan.Rules, plan.Stories, func(output int, protective bool) string {
				if protective {
					return plan.Outputs[output].ProtectiveName
				}
				return plan.Outputs[output].IdleName
			})
			for _, r := range report.Results {
				for _, f := range r.Failures {
					t.Errorf("%s: %s: %s %v", f.Where, r.Name.En, f.Code, f.Args)
				}
			}
			for _, r := range report.NeverTripped {
				t.Errorf("no story trips %s", r.Name)
			}
			for _, r := range report.NeverQuiet {
				t.Errorf("no story keeps %s quiet", r.Name)
			}
			for _, u := range report.NeverSeen {
				t.Errorf("no story shows %s: %s %s", u.Rule, u.What, u.Channel)
			}
			if n > scale.Of(len(plants)) {
				return // the kinds are of the files, whatever runs them: a share of the plants under qemu
			}
			for _, m := range missing(plan) {
				t.Error(m)
			}
		})
	}
	if n == 0 {
		t.Error("there is no plant")
	}
}

// davy-plant logs the crossing of every level that the bench plant's site
// judges by: the limits, where alarms return, and where resets open.
func TestWatched(t *testing.T) {
	plan := compile(t, "bench")
	watched := bench.DefaultWatch()
	want := func(rule string, id tag.ID, level float64) {
		t.Helper()
		name := string(plan.Tags[id].Name)
		if plan.Tags[id].Kind != tag.Float32 {
			return // every change of a bit or a word is logged
		}
		if !slices.ContainsFunc(watched[name], func(w float64) bool { return math.Abs(w-level) < 1e-9 }) {
			t.Errorf("%s: %s %v is not watched", rule, name, level)
		}
	}
	for _, a := range plan.Rules.Alarms {
		if a.Agent || a.NotWatched {
			continue
		}
		back := a.Cond.Limit - a.Deadband
		if a.Cond.Op == rules.LE {
			back = a.Cond.Limit + a.Deadband
		}
		want(a.Name, a.Cond.Tag, a.Cond.Limit)
		want(a.Name, a.Cond.Tag, back)
	}
	for _, x := range plan.Rules.Interlocks {
		for i, c := range x.Channels {
			want(x.Name, c.Cond.Tag, c.Cond.Limit)
			want(x.Name, c.Cond.Tag, x.ResetConds[i].Limit)
		}
	}
}

// The addresses in the bench plant's site are those that davy-plant serves:
// every tag of it is read, good, from the real server by the real driver, and
// each output moves what its proof says.
func TestBenchPlant(t *testing.T) {
	plan := compile(t, "bench")
	plant := bench.New(bench.Options{Seed: 1, Speed: 1, Book: &logbook.Book{}, Now: clock.Now})
	srv, err := modbusserver.Listen("127.0.0.1:0", plant, clock.Now)
	if err != nil {
		t.Fatal(err)
	}
	plant.Wire(srv)
	ua, err := opcuaserver.Listen("127.0.0.1:0", plant)
	if err != nil {
		t.Fatal(err)
	}
	plant.WireOPCUA(ua)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	done := make(chan error, 3)
	go func() { done <- srv.Run(ctx) }()
	go func() { done <- ua.Run(ctx) }()
	go func() { done <- plant.Run(ctx) }()
	defer func() {
		cancel()
		for range 3 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}()
	seen := map[tag.Name]tag.Reading{}
	dir := t.TempDir()
	read := func() {
		for _, l := range plan.Links {
			settings := drivers.Settings{Target: srv.Addr()}
			if l.Driver == "opcua" {
				if settings, err = set[l.Driver].ParseLink(ua.URL(), drivers.Fields{"security": "none"}); err != nil {
					t.Fatal(err)
				}
			}
			link, err := set[l.Driver].Open(ctx, drivers.LinkConfig{Name: l.Name, Settings: settings, Timeout: 5 * time.Second, Log: slog.New(slog.DiscardHandler), Now: clock.Now, Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			if len(l.Subscribe) > 0 {
				subscribe(t, ctx, link, l.Subscribe, seen)
			}
			for _, s := range l.Scans {
				got, err := link.Read(ctx, s.Request, nil)
				if err != nil {
					t.Errorf("read %s: %v", s.Request, err)
				}
				for i, r := range got {
					seen[s.Request.Points()[i].Name] = r
				}
			}
			for _, o := range plan.Outputs {
				if o.Link == slices.IndexFunc(plan.Links, func(x config.Link) bool { return x.Name == l.Name }) {
					if err := link.Write(ctx, o.Point, o.Protective); err != nil {
						t.Errorf("write %s: %v", o.Name, err)
					}
				}
			}
			if err := link.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	read()
	for _, x := range plan.Tags[1:] {
		if x.Link < 0 {
			continue
		}
		if r, ok := seen[x.Name]; !ok || r.Quality.Status() != tag.Good {
			t.Errorf("%s: read %v, quality %v", x.Name, ok, r.Quality)
		}
	}
	near := func(name tag.Name, want, by float64) {
		t.Helper()
		if v := seen[name].Value.Float(); v < want-by || v > want+by {
			t.Errorf("%s reads %v, want about %v", name, v, want)
		}
	}
	near("nh3-1.gas", 4.6, 2)
	near("comp1.suction-pressure", 0.19, 0.03)
	near("comp1.discharge-pressure", 1.2, 0.1)
	near("comp1.discharge-temp", 108, 8)
	near("comp1.oil-pressure", 0.47, 0.03)
	near("comp1.run", 1, 0)
	near("comp1.trip", 0, 0)
	near("receiver1.level", 62, 1)
	near("io1.receiver-high", 0, 0)
	for end := time.Now().Add(20 * time.Second); ; {
		<-time.After(100 * time.Millisecond)
		read()
		if seen["io1.fan-run"].Value.True() && seen["io1.siren-sounds"].Value.True() {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the outputs do not move: fan %v, siren %v", seen["io1.fan-run"], seen["io1.siren-sounds"])
		}
	}
	near("fan1.state", 1, 0)
	near("siren1.state", 1, 0)
}

// subscribe waits until every point was told, good.
func subscribe(t *testing.T, ctx context.Context, link drivers.Link, points []drivers.Point, seen map[tag.Name]tag.Reading) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	names := map[tag.ID]tag.Name{}
	for _, p := range points {
		names[p.Tag] = p.Name
	}
	err := link.(drivers.Subscriber).Subscribe(ctx, points, func(rs []tag.Reading) {
		for _, r := range rs {
			if name, waits := names[r.Tag]; waits && r.Quality.Good() {
				seen[name] = r
				delete(names, r.Tag)
			}
		}
		if len(names) == 0 {
			cancel()
		}
	})
	if len(names) > 0 {
		t.Fatalf("not told of %v: %v", names, err)
	}
}
