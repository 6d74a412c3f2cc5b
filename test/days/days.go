package days

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"time"

	"davy/agent/config"
	"davy/agent/control"
	"davy/agent/uplink"
	"davy/drivers"
	"davy/drivers/sim"
	"davy/drivers/tag"
	"davy/rules"
)

// Options of a run.
type Options struct {
	Seed uint64
	Span time.Duration
	Dir  string // empty, and gone afterwards
	// Compile makes the n-th plan of the plant for a set of drivers in memory, and
	// a receiver's public key.
	Compile func(set drivers.Set, n int, key []byte) (*config.Plan, *config.Bundle, error)
	Drivers drivers.Set // the real ones; what they read is in memory
}

// Tally is what a run came to.
type Tally struct {
	Turns, Events, Trips, Raised, Writes, Epochs, Messages, Readings, Checked, Unchecked, Views int
	Faults, Kills, Ends, Applies, Stalls, Keepers, Disks, Cuts, Commands, Refused               int
	Heap, Files                                                                                 int64
}

// story is a run.
type story struct {
	o     Options
	r     *rand.Rand
	a     *agent
	f     *field
	c     *checker
	tally Tally
	until map[string]int64 // what is wrong until then
	plans int
	quiet bool // nothing new goes wrong any more
}

// Run runs the agent; only in a bubble. The error is the first thing that did not hold.
func Run(o Options) (tally Tally, err error) {
	r := rand.New(rand.NewPCG(o.Seed, 6))
	f := newField(rand.New(rand.NewPCG(o.Seed, 7)))
	a := &agent{dir: o.Dir, field: f, recv: newReceiver(rand.New(rand.NewPCG(o.Seed, 8))), start: time.Now(), log: slog.New(slog.DiscardHandler), trusted: true}
	f.now = a.mono
	a.set = drivers.Set{}
	for name, d := range o.Drivers {
		a.set[name] = driver{d, f}
	}
	s := &story{o: o, r: r, a: a, f: f, until: map[string]int64{}}
	if a.plan, a.bundle, err = s.compile(0); err != nil {
		return tally, err
	}
	a.recv.gateway = a.plan.Gateway.ID
	f.fit(a.plan)
	s.c = newChecker(a)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	if err := a.begin(false); err != nil {
		stop()
		return tally, err
	}
	go func() { defer close(ended); f.run(ctx) }()
	defer func() { stop(); <-ended }()
	err = s.play()
	s.tally.Trips, s.tally.Raised, s.tally.Events = s.c.kinds()
	s.tally.Heap, s.tally.Files = s.c.heap, s.c.files
	s.tally.Writes, s.tally.Epochs, s.tally.Messages, s.tally.Readings = len(f.writes), len(a.recv.epochs), a.recv.messages, a.recv.readings
	s.tally.Checked, s.tally.Unchecked, s.tally.Views = s.c.checked, s.c.unchecked, s.c.views
	if err != nil {
		err = fmt.Errorf("seed %d: %w", o.Seed, err)
	}
	return s.tally, err
}

func (s *story) compile(n int) (*config.Plan, *config.Bundle, error) {
	return s.o.Compile(s.a.set, n, s.a.recv.key[32:])
}

// span returns a time between two.
func (s *story) span(from, to time.Duration) time.Duration {
	return from + time.Duration(s.r.Int64N(int64(to-from)))
}

const moment = 5 * time.Second // between two looks

// play lets things happen until the span is over, then lets all be quiet.
func (s *story) play() error {
	s.f.well(false)
	for n := 0; time.Duration(s.a.mono())-time.Hour < s.o.Span; n++ {
		<-time.After(moment)
		if err := s.happen(); err != nil {
			return err
		}
		if n%4 == 0 {
			s.c.look()
			s.health()
		}
		if n%720 == 0 {
			if err := s.c.bounds(); err != nil {
				return err
			}
		}
		if n%37 == 0 {
			s.people()
		}
		if s.c.wrong != "" {
			break
		}
	}
	return s.calm()
}

// calm mends everything, lets what waits be sent, and compares the whole.
func (s *story) calm() error {
	s.quiet = true
	for what := range s.until {
		s.mend(what)
	}
	<-time.After(3 * time.Minute)
	s.c.look()
	if err := s.a.end(false); err != nil {
		return err
	}
	s.c.last = max(s.c.last, s.a.memory.Serial)
	if err := s.a.begin(false); err != nil { // what was said at the end goes with the next start
		return err
	}
	<-time.After(3 * time.Minute)
	s.c.look()
	s.c.mended()
	s.a.recv.demand()
	<-time.After(2 * uplink.DefaultReceiptWait) // what was lost a moment ago comes again within one
	s.c.finish()
	if s.a.foreign.Load() {
		s.c.fail("a new lineage was needed")
	}
	if err := s.a.end(false); err != nil {
		return err
	}
	if s.c.wrong != "" {
		return errors.New(s.c.wrong)
	}
	return nil
}

// health says whether everything is well, as far as the oracle of the process
// may demand the printed response.
func (s *story) health() {
	v := s.c.look()
	is := len(s.until) == 0 && v != nil && v.Armed && len(v.Forces) == 0
	if v != nil {
		s.tally.Turns = max(s.tally.Turns, int(v.Turns))
		for i := range v.Interlocks {
			is = is && v.Interlocks[i].Bypass == nil && v.Interlocks[i].State != rules.Starting
		}
		for i := range v.Devices {
			is = is && v.Devices[i].Removed == nil && v.Devices[i].Test == nil
		}
		for id := 1; id < len(v.Image); id++ {
			is = is && (s.a.plan.Tags[id].Link < 0 || v.Image[id].Quality.Good())
		}
	}
	s.f.well(is)
}

// happen begins and ends what goes wrong, and moves the plant.
func (s *story) happen() error {
	now := s.a.mono()
	for what, at := range s.until {
		if at <= now {
			s.mend(what)
		}
	}
	set := &s.a.plan.Rules
	if s.r.IntN(100) == 0 && len(set.Interlocks) > 0 {
		s.f.mu.Lock()
		s.f.world.Leak(&set.Interlocks[s.r.IntN(len(set.Interlocks))], now)
		s.f.mu.Unlock()
	}
	if s.r.IntN(300) == 0 && len(set.Alarms) > 0 {
		if x := &set.Alarms[s.r.IntN(len(set.Alarms))]; !x.NotWatched && !x.Agent && s.a.plan.Tags[x.Cond.Tag].Link >= 0 {
			s.f.mu.Lock()
			s.f.world.Push(x.Cond.Tag, s.f.world.Beyond(&x.Cond, true), now)
			s.f.mu.Unlock()
		}
	}
	if s.r.IntN(60) == 0 {
		s.f.hand()
	}
	if s.r.IntN(200) > 0 {
		return nil
	}
	s.f.well(false)
	s.tally.Faults++
	return s.wrong(s.r.IntN(12))
}

// for a while something is wrong.
func (s *story) lasts(what string, from, to time.Duration) {
	s.until[what] = s.a.mono() + int64(s.span(from, to))
}

func (s *story) wrong(n int) error {
	a := s.a
	switch n {
	case 0, 1, 2: // a device, or its line
		names := a.links()
		name := names[s.r.IntN(len(names))]
		how := []sim.Behaviour{
			{Silent: true}, {Mute: true}, {Refuse: true}, {Garbled: true}, {Away: true}, {Delay: 100 * time.Millisecond}, {Delay: 2 * time.Second},
		}[s.r.IntN(7)]
		s.f.plant.Device(name).Behave(how)
		s.lasts("link "+name, time.Second, []time.Duration{20 * time.Second, 20 * time.Minute}[s.r.IntN(2)])
	case 3:
		s.tally.Kills++
		if err := a.end(true); err != nil {
			return err
		}
		if err := s.c.killed(); err != nil {
			return err
		}
		<-time.After(s.span(100*time.Millisecond, 30*time.Second))
		return a.begin(false)
	case 4:
		s.tally.Ends++
		s.c.look()
		if err := a.end(false); err != nil {
			return err
		}
		s.c.last = max(s.c.last, a.memory.Serial)
		<-time.After(s.span(100*time.Millisecond, 5*time.Minute))
		return a.begin(false)
	case 5:
		s.tally.Applies++
		s.plans++
		p, b, err := s.compile(s.plans)
		if err != nil {
			return err
		}
		s.c.look()
		return a.apply(p, b)
	case 6:
		s.tally.Stalls++
		a.stall(s.span(time.Second, 40*time.Second))
		s.c.look() // nobody has read anything yet
	case 7:
		s.tally.Keepers++
		if s.r.IntN(2) == 0 { // as one that is killed: nothing more gets to the disk
			a.setDisk("dead")
		}
		a.cutKeeper()
		<-time.After(2 * time.Second)
		a.setDisk("")
	case 8:
		s.tally.Disks++
		a.setDisk([]string{"full", "readonly", "slow"}[s.r.IntN(3)])
		s.lasts("disk", time.Second, 10*time.Minute)
	case 9:
		s.tally.Cuts++
		a.recv.cut(true)
		s.lasts("uplink", time.Second, time.Hour)
	case 10:
		a.recv.mu.Lock()
		a.recv.mute = true
		a.recv.mu.Unlock()
		s.lasts("receipts", time.Second, 20*time.Minute)
	case 11:
		a.mu.Lock()
		a.shifted += int64(s.span(-24*time.Hour, 24*time.Hour))
		a.trusted = s.r.IntN(2) == 0
		a.mu.Unlock()
		s.lasts("clock", time.Second, time.Hour)
	}
	return nil
}

// mend ends what is wrong.
func (s *story) mend(what string) {
	delete(s.until, what)
	a := s.a
	switch what {
	case "disk":
		a.setDisk("")
	case "uplink":
		a.recv.cut(false)
	case "receipts":
		a.recv.mu.Lock()
		a.recv.mute = false
		a.recv.mu.Unlock()
	case "clock":
		a.mu.Lock()
		a.trusted = true
		a.mu.Unlock()
	default:
		s.f.plant.Device(what[len("link "):]).Behave(sim.Behaviour{})
	}
}

// people are what persons do when they come by.
func (s *story) people() {
	v := s.a.view()
	if v == nil {
		return
	}
	for i := range v.Alarms {
		x := &v.Alarms[i]
		c := rules.Command{Verb: rules.Ack, Rule: x.Name, Occurrence: x.Occurrence}
		switch n := s.r.IntN(20); {
		case n < 8:
		case n == 8:
			c.Verb, c.For = rules.Shelve, s.span(time.Minute, 10*time.Hour)
		case n == 9:
			c.Verb = rules.Reset
		case n == 10 && x.State == rules.OutOfService:
			c.Verb = rules.Restore
		default:
			continue
		}
		s.do(c)
	}
	set := &s.a.plan.Rules
	for i := range v.Interlocks {
		x, d := &v.Interlocks[i], &set.Interlocks[i]
		c := rules.Command{Rule: x.Name, Occurrence: x.Occurrence}
		switch n := s.r.IntN(60); {
		case x.State == rules.Tripped && n < 40:
			c.Verb = rules.Reset
		case x.Bypass != nil && x.Bypass.Waiting && n < 30:
			c.Verb, c.Who, c.Session, c.Channel, c.Roles = rules.Confirm, "wang", "s2", x.Bypass.Channel, d.Bypass.Second
		case n == 40 && d.Bypass.AtMost > 0:
			c.Verb, c.Channel, c.For, c.Roles = rules.Bypass, d.Channels[s.r.IntN(len(d.Channels))].Name, s.span(time.Second, min(d.Bypass.AtMost, time.Hour)), d.Bypass.Roles
		case n == 41:
			c.Verb, c.For, c.Roles = rules.BeginTest, time.Minute, d.Test.Roles
		default:
			continue
		}
		s.do(c)
	}
	if len(set.Devices) > 0 {
		d := &set.Devices[s.r.IntN(len(set.Devices))]
		id := d.Tags[s.r.IntN(len(d.Tags))]
		switch s.r.IntN(40) {
		case 0:
			s.do(rules.Command{Verb: rules.Remove, Rule: d.Name})
		case 1, 2, 3, 4, 5, 6, 7, 8, 9:
			s.do(rules.Command{Verb: rules.Restore, Rule: d.Name})
		case 10:
			x, _ := tag.Float64Value(s.a.plan.Tags[id].High)
			s.do(rules.Command{Verb: rules.Force, Rule: string(set.Tags[id].Name), Value: x, For: s.span(time.Second, 20*time.Minute), Roles: d.Force.Roles})
		case 11:
			s.do(rules.Command{Verb: rules.BeginTest, Rule: d.Name, For: s.span(time.Second, 20*time.Minute), Roles: d.Test.Roles})
		case 12:
			s.arm(false)
		}
	}
	if !v.Armed && s.r.IntN(3) == 0 {
		s.arm(true)
	}
}

func (s *story) arm(on bool) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := s.a.loop.Arm(ctx, on, "li", true, "work"); err != nil && !errors.Is(err, control.ErrNotSaved) && ctx.Err() == nil {
		s.c.fail("arm: %v", err)
	}
	if !on {
		s.f.well(false)
	}
}

func (s *story) do(c rules.Command) {
	if c.Who == "" {
		c.Who, c.Session = "li", "s1"
	}
	c.Proved, c.Note = true, "shift"
	switch c.Verb {
	case rules.Bypass, rules.Force, rules.BeginTest, rules.Remove:
		s.f.well(false)
	}
	s.tally.Commands++
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := s.a.loop.Do(ctx, c)
	var refused *rules.RefusedError
	switch {
	case errors.As(err, &refused):
		s.tally.Refused++
	case err != nil && ctx.Err() == nil:
		s.c.fail("%+v: %v", c, err)
	case err == nil && c.Verb == rules.Reset:
		s.c.reset(c.Rule)
	}
	runtime.Gosched()
}
