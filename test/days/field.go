package days

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"davy/agent/config"
	"davy/agent/output"
	"davy/drivers"
	"davy/drivers/sim"
	"davy/drivers/tag"
	"davy/rules"
	"davy/rules/ruletest"
	"davy/test/year"
)

// driver parses as the real one and reads from memory.
type driver struct {
	drivers.Driver
	f *field
}

// cell is the name of a point in its device in memory.
func cell(p *drivers.Point) string {
	return fmt.Sprintf("s%d.", p.Station) + strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, p.Address.String())
}

func named(p drivers.Point) drivers.Point {
	p.Address = sim.Address(cell(&p))
	return p
}

// Plan packs points as the device in memory has them.
func (d driver) Plan(s drivers.Settings, points []drivers.Point) ([]drivers.Request, error) {
	own := make([]drivers.Point, len(points))
	for i := range points {
		own[i] = named(points[i])
	}
	return sim.Driver{}.Plan(s, own)
}

// Open opens the link to the devices in memory.
func (d driver) Open(ctx context.Context, cfg drivers.LinkConfig) (drivers.Link, error) {
	cfg.Settings = drivers.Settings{Target: cfg.Name}
	l, err := sim.Driver{Plant: &d.f.plant}.Open(ctx, cfg)
	return link{l}, err
}

type link struct{ drivers.Link }

// Write writes to the point's cell.
func (l link) Write(ctx context.Context, p drivers.Point, v tag.Value) error {
	return l.Link.Write(ctx, named(p), v)
}

// held is a value that a cell had from an instant on.
type held struct {
	at int64
	v  tag.Value
}

// write is one that reached an output's cell.
type write struct {
	at         int64
	output     int
	protective bool
	alive      bool // the loop's beat was young
	gone       bool // the agent had been killed
}

// stretch is a time in which something was so; to is 0 while it is.
type stretch struct{ from, to int64 }

// field is everything outside the agent's walls: devices, cells, the process.
type field struct {
	plan  *config.Plan
	plant sim.Plant
	world *year.World
	r     *rand.Rand
	now   func() int64

	mu      sync.Mutex
	history [][]held // by tag, newest last
	writes  []write
	wrote   []bool // by output: what its cell holds: protective
	follow  []due  // proofs that will follow
	alive   func() bool
	gone    bool
	causes  [][]stretch // by interlock: M channels had their condition in the plant
	trouble []stretch   // anything was wrong with devices, lines, clocks or the agent
	state   []tag.Value // by tag: what its cell holds
	late    string      // the first response that was too late
	since   int64       // the agent is well since then; 0 it is not
	worst   []time.Duration
	exempt  []int64 // by interlock: not judged before, Mono
}

type due struct {
	at     int64
	output int
	on     bool
}

const (
	tickEvery = 500 * time.Millisecond // the process moves
	remember  = 3 * time.Hour          // of what cells held
)

func newField(r *rand.Rand) *field { return &field{r: r} }

// fit makes the cells of a plan.
func (f *field) fit(p *config.Plan) {
	tags := make([]year.Tag, len(p.Tags))
	for i, x := range p.Tags {
		tags[i] = year.Tag{Kind: x.Kind, Ranged: x.Ranged, Low: x.Low, High: x.High, Computed: x.Link < 0}
	}
	f.plan, f.world = p, year.NewWorld(f.r, &p.Rules, tags)
	f.history, f.state = make([][]held, len(p.Tags)), make([]tag.Value, len(p.Tags))
	f.wrote, f.causes = make([]bool, len(p.Outputs)), make([][]stretch, len(p.Rules.Interlocks))
	f.exempt = make([]int64, len(p.Rules.Interlocks))
	for _, x := range p.Report().Interlocks {
		worst := time.Duration(0)
		for _, y := range x.Responses {
			worst = max(worst, y.Worst())
		}
		f.worst = append(f.worst, worst)
	}
	for o := range p.Outputs {
		c := &p.Outputs[o]
		d := f.plant.Device(p.Links[c.Link].Name)
		name := cell(&c.Point)
		d.Set(name, c.Idle)
		d.OnWrite(name, func(v tag.Value) error { return f.written(o, v) })
		if c.ReadBack != 0 {
			f.hold(c.ReadBack, c.Idle)
		}
	}
	for i := range p.Links {
		for _, k := range p.Links[i].KeepAlive {
			f.plant.Device(p.Links[i].Name).Set(cell(&k.Point), k.Value)
		}
	}
}

// hold keeps what a tag's cell holds from now on.
func (f *field) hold(id tag.ID, v tag.Value) {
	f.history[id] = append(f.history[id], held{f.now(), v})
	f.state[id] = v
}

func (f *field) written(o int, v tag.Value) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.gone {
		return errors.New("nobody is there")
	}
	c := &f.plan.Outputs[o]
	on := v == c.Protective
	f.writes = append(f.writes, write{f.now(), o, on, f.alive(), false})
	f.wrote[o] = on
	if c.ReadBack != 0 {
		f.hold(c.ReadBack, v)
	}
	if f.r.IntN(20) > 0 { // else it is stuck
		f.follow = append(f.follow, due{f.now() + int64(time.Duration(f.r.IntN(3000))*time.Millisecond), o, on})
	}
	return nil
}

// hand lets somebody stop an output at its device that Davy has driven: it is
// driven again within its printed response.
func (f *field) hand() {
	f.mu.Lock()
	o := slices.Index(f.wrote, true)
	if o < 0 {
		f.mu.Unlock()
		return
	}
	c := &f.plan.Outputs[o]
	f.wrote[o] = false
	for i := range f.exempt {
		f.exempt[i] = f.now() + int64(output.Repeat)
	}
	if c.ReadBack != 0 {
		f.hold(c.ReadBack, c.Idle)
	}
	f.mu.Unlock()
	f.plant.Device(f.plan.Links[c.Link].Name).Set(cell(&c.Point), c.Idle)
}

// run moves the process until ctx ends.
func (f *field) run(ctx context.Context) {
	points := map[tag.ID]string{} // their cells
	for i := range f.plan.Links {
		for _, s := range f.plan.Links[i].Scans {
			for _, p := range s.Request.Points() {
				points[p.Tag] = p.Address.String()
			}
		}
	}
	back := map[tag.ID]bool{}
	for o := range f.plan.Outputs {
		back[f.plan.Outputs[o].ReadBack] = true
	}
	var all []tag.ID
	for id := range points {
		if !back[id] {
			all = append(all, id)
		}
	}
	slices.Sort(all)
	noise := make([]float64, len(f.plan.Tags))
	t := time.NewTicker(tickEvery)
	defer t.Stop()
	for n := 0; ; n++ {
		now := f.now()
		f.mu.Lock()
		f.follow = slices.DeleteFunc(f.follow, func(d due) bool {
			if d.at <= now {
				f.world.Follow[d.output] = 0
				if d.on {
					f.world.Follow[d.output] = 1
				}
			}
			return d.at <= now
		})
		f.world.Tidy(now)
		for _, id := range all {
			x := &f.plan.Tags[id]
			v := f.world.Truth(id, now)
			if x.Ranged && x.Kind != tag.Bool && x.Kind != tag.Enum {
				if (n+int(id))%4 == 0 {
					noise[id] = (x.High - x.Low) / 2000 * (2*f.r.Float64() - 1)
				}
				v = min(max(v+noise[id], x.Low), x.High)
			}
			if y := ruletest.ValueOf(x.Kind, v); y != f.state[id] || n == 0 {
				f.hold(id, y)
				f.plant.Device(f.plan.Links[x.Link].Name).Set(points[id], y)
			}
			if h := f.history[id]; len(h) > 1 && n%600 == 0 {
				for len(h) > 1 && h[1].at < now-int64(remember) {
					h = h[1:]
				}
				f.history[id] = slices.Clone(h)
			}
		}
		f.judge(now)
		f.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// judge is the naive oracle of the process: whether each interlock has its
// causes in the plant, and whether its outputs were driven in time.
func (f *field) judge(now int64) {
	for i := range f.plan.Rules.Interlocks {
		x := &f.plan.Rules.Interlocks[i]
		n := 0
		for k := range x.Channels {
			c := &x.Channels[k].Cond
			if v := f.state[c.Tag]; v.Kind() != tag.None && year.Holds(c, v.Float()) {
				n++
			}
		}
		s := &f.causes[i]
		open := len(*s) > 0 && (*s)[len(*s)-1].to == 0
		switch {
		case n >= x.M && !open:
			*s = append(*s, stretch{from: now})
		case n < x.M && open:
			(*s)[len(*s)-1].to = now
		}
		if n < x.M || !open || f.since == 0 || f.late != "" || f.worst[i] == 0 {
			continue
		}
		armed := x.Arm.Tag == 0 || f.state[x.Arm.Tag].Kind() != tag.None && year.Holds(&x.Arm, f.state[x.Arm.Tag].Float())
		if !armed {
			f.exempt[i] = now
		}
		since := max((*s)[len(*s)-1].from, f.since, f.exempt[i])
		if now-since <= int64(f.worst[i]) {
			continue
		}
		for _, d := range x.Demands {
			o := slices.IndexFunc(f.plan.Outputs, func(o config.Output) bool { return o.Name == d.Output })
			if !f.wrote[o] {
				f.late = fmt.Sprintf("%v: %s has its causes since %v, its worst-case response is %v, and %s is not driven",
					time.Duration(now), x.Name, time.Duration(since), f.worst[i], d.Output)
			}
		}
	}
}

// well says that everything works from now on, or does not.
func (f *field) well(is bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	if !is && (len(f.trouble) == 0 || f.trouble[len(f.trouble)-1].to != 0) {
		f.trouble = append(f.trouble, stretch{from: now})
		f.since = 0
	}
	if is && f.since == 0 {
		f.trouble[len(f.trouble)-1].to, f.since = now, now
	}
}

// heldBy reports whether a tag's cell held a value at some time within from and to.
// known is false where that is too long ago.
func (f *field) heldBy(id tag.ID, v tag.Value, from, to int64) (is, known bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	h := f.history[id]
	if len(h) == 0 || h[0].at > from {
		return false, false
	}
	for i := len(h) - 1; i >= 0; i-- {
		if h[i].at <= to && h[i].v == v && (i+1 == len(h) || h[i+1].at >= from) {
			return true, true
		}
		if h[i].at < from {
			break
		}
	}
	return false, true
}

// computed reports whether a rule's tag is made by the engine.
func computed(p *config.Plan, c *rules.Condition) bool {
	return c.Tag != 0 && p.Tags[c.Tag].Link < 0
}
