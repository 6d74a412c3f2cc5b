// Package drivertest is the contract of a driver as a suite.
//
// A Rig is a driver with a device that can be mistreated and that knows from
// outside what each point held, and when. Check holds the driver to its
// promise under every fault of the rig and returns what it broke; Run fails a
// test with that. The promise:
//
//   - a reading called good is what this point held at some instant of its request;
//   - every point gets a reading, in order, whatever happens, and in time;
//   - one point that the device lacks spoils no other;
//   - when a fault is over, everything is good again without help;
//   - a cancelled context ends a request at once;
//   - only what may be written is written, and a write without an answer is unknown;
//   - of two devices on one line the one that is well comes good while the other is not.
//
// What the world does is a list, Kinds. A rig makes every one of them or says
// why it cannot, so that nothing is silently missing.
//
// A link may answer a request with drivers.Later: nothing was asked, and the
// suite asks again at the time that it names.
//
// Nothing is expected of a single request by the clock, only of what comes in
// the end: the suite may run on a slow machine, or in a synctest bubble.
//
// Imports: drivers, drivers/tag.
package drivertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"davy/drivers"
	"davy/drivers/tag"
)

// Fault is one way in which the rig's device misbehaves.
type Fault struct {
	Kind  Kind // "" of what is beyond the list
	Name  string
	Begin func()
	Good  bool // an odd but right answer: every point must come good all the same
	// Spares are the points that the fault does not concern: they must come good
	// while it lasts. nil: none.
	Spares func(i int) bool
	// Pause is a time in which nothing is asked after each request.
	Pause time.Duration
}

// Rig is a driver under test with its device. Its functions may be called
// while a request runs.
type Rig struct {
	Driver drivers.Driver
	Config drivers.LinkConfig // Timeout is the one that late answers miss
	Points []drivers.Point    // no two hold the same value at any time
	Change func(i int)        // gives point i a value that no point held before
	Heal   func()             // ends every fault, and what is lacking
	Faults []Fault
	Cannot map[Kind]string   // what the rig cannot do to the device, and why
	Lack   []func(i int)     // ways in which point i is not there
	Chaos  func(seed uint64) // a fault for each answer as the seed has it; nil: none
	// Held reports whether point i held v at some instant of [from, to], by Config.Now.
	Held func(i int, v tag.Value, from, to tag.Stamp) bool
	// Silence makes the device answer nothing, and do what it is told if done is true.
	Silence func(done bool)
	// Write is a point that may be written; Written returns what the device has
	// there; nil: nothing can be written.
	Write   drivers.Point
	Written func() tag.Value
	// Recover is how long a recovery may take; 0 is 20 s. Settle is how long what
	// was under way may still come after one; 0 is two timeouts. A line needs more
	// of both: it stays in doubt for its late_max.
	Recover, Settle time.Duration
}

// Violation is a promise that was broken.
type Violation struct {
	Kind  string // one of the kinds below
	Fault string // while or after which fault
	Text  string
}

// The kinds of violations.
const (
	Wrong    = "wrong"    // a good reading that the point did not hold
	Missing  = "missing"  // a point without its reading
	Late     = "late"     // a request that went on after its time
	Stuck    = "stuck"    // no recovery
	Panic    = "panic"    // the driver panicked
	Spoilt   = "spoilt"   // a point that suffers from its neighbour
	Unsafe   = "unsafe"   // a write that should not be, or is called done and is not
	Planning = "planning" // a point in no request, or in two
	Untried  = "untried"  // a kind of fault that the rig does not make, without a reason
)

func (v Violation) String() string { return fmt.Sprintf("%s (%s): %s", v.Kind, v.Fault, v.Text) }

// rounds is how often everything is read under one fault; chaos rounds how often under a seed.
const (
	rounds      = 3
	chaosRounds = 40
	// grace is what a request may take beyond its time on a busy machine; what the
	// whole process did not run meanwhile, whoever kept it from that, comes on top.
	grace = 2 * time.Second
	// MostLater is the longest time that a link may put a request off.
	MostLater = 70 * time.Second
)

// Run fails t with every violation.
func Run(t *testing.T, r *Rig) {
	t.Helper()
	for _, v := range Check(t.Context(), r, 1) {
		t.Error(v)
	}
}

// Check runs the whole contract and returns what was broken. It ends early
// when the link does not recover: what comes after would only say so again.
func Check(ctx context.Context, r *Rig, seed uint64) []Violation {
	return Apart(ctx, 1, func() *Rig { return r }, seed)
}

// Apart is Check in parts, side by side: a contract waits for most of its time.
// Each part has a rig of its own from next, all alike, and goes through its share
// of what is tried: what one fault leaves behind for the next is seen by whole
// contracts only, and by the chaos. It begins as soon as its rig is there.
func Apart(ctx context.Context, parts int, next func() *Rig, seed uint64) []Violation {
	found := make([][]Violation, parts)
	watched, stop := context.WithCancel(ctx)
	var s stalls
	var watch, group sync.WaitGroup
	watch.Go(func() { s.watch(watched) })
	defer watch.Wait()
	defer stop()
	defer group.Wait() // where next ends the test
	for i := range parts {
		r := next()
		group.Go(func() { found[i] = one(ctx, r, &s, seed, i, parts) })
	}
	group.Wait()
	return slices.Concat(found...)
}

// one is one part of the contract.
func one(ctx context.Context, r *Rig, s *stalls, seed uint64, part, parts int) []Violation {
	c := &check{Rig: r, ctx: ctx, stalls: s, seed: seed, fault: "none", index: map[tag.ID]int{}}
	c.Heal()
	c.kinds()
	c.plan()
	if len(c.found) > 0 {
		return c.found
	}
	c.open(c.Config)
	defer func() { c.close() }()
	c.recovers()
	for i, step := range c.steps() {
		if i%parts == part && !c.stuck {
			step()
		}
	}
	return c.found
}

// steps are all that the contract tries, one after another. Each of them ends
// with a device that is well and a link that has recovered.
func (c *check) steps() (out []func()) {
	for _, f := range c.Faults {
		out = append(out, func() { c.try(f) })
	}
	for way := range c.Lack {
		for _, i := range []int{0, len(c.Points) / 2, len(c.Points) - 1} {
			out = append(out, func() { c.lacks(way, i) })
		}
	}
	return append(out, c.chaos, c.cancels, c.writes)
}

// try has the device commit one fault, and recover from it.
func (c *check) try(f Fault) {
	c.fault = f.Name
	f.Begin()
	c.between = f.Pause
	switch {
	case f.Good:
		c.recovers()
	case f.Spares != nil:
		c.sparesThose(f.Spares)
	default:
		for range rounds {
			c.readAll()
		}
	}
	c.between = 0
	c.Heal()
	c.recovers()
}

// lacks takes a single point away in one of the ways that the rig knows.
func (c *check) lacks(way, i int) {
	c.fault = fmt.Sprintf("lack %d of point %d", way, i)
	c.Lack[way](i)
	c.spares(i)
	c.Heal()
	c.close()
	c.open(c.Config) // a link may leave a refused point alone for a while
	c.recovers()
}

// chaos reads while a seed chooses the fault of each answer.
func (c *check) chaos() {
	if c.Chaos == nil {
		return
	}
	c.fault = fmt.Sprintf("chaos, seed %d", c.seed)
	c.Chaos(c.seed)
	for range chaosRounds {
		c.readAll()
	}
	c.Heal()
	c.close()
	c.open(c.Config)
	c.recovers()
}

// check is one run of the suite.
type check struct {
	*Rig
	ctx      context.Context
	stalls   *stalls
	seed     uint64
	stuck    bool
	link     drivers.Link
	timeout  time.Duration // of link
	requests []drivers.Request
	index    map[tag.ID]int
	fault    string
	found    []Violation
	turn     int
	between  time.Duration // pause after each request
	later    int64         // the earliest time for which a request of this round was put off, 0 none
}

func (c *check) violation(kind, format string, args ...any) {
	if v := (Violation{kind, c.fault, fmt.Sprintf(format, args...)}); !slices.Contains(c.found, v) {
		c.found = append(c.found, v)
	}
}

func (c *check) open(cfg drivers.LinkConfig) {
	link, err := c.Driver.Open(c.ctx, cfg)
	if err != nil {
		c.violation(Stuck, "open: %v", err)
		return
	}
	c.link, c.timeout = link, cfg.Timeout
}

func (c *check) close() {
	if c.link != nil {
		if err := c.link.Close(); err != nil {
			c.violation(Stuck, "close: %v", err)
		}
	}
}

// plan sees to it that every point lies in exactly one request.
func (c *check) plan() {
	for i, p := range c.Points {
		c.index[p.Tag] = i
	}
	var err error
	if c.requests, err = c.Driver.Plan(c.Config.Settings, c.Points); err != nil {
		c.violation(Planning, "%v", err)
		return
	}
	seen := map[tag.ID]int{}
	for _, q := range c.requests {
		if len(q.Points()) == 0 || q.String() == "" || q.Cost() < 0 {
			c.violation(Planning, "request %q has %d points and costs %v", q, len(q.Points()), q.Cost())
		}
		for _, p := range q.Points() {
			seen[p.Tag]++
		}
	}
	for _, p := range c.Points {
		if seen[p.Tag] != 1 {
			c.violation(Planning, "%s lies in %d requests", p.Name, seen[p.Tag])
		}
	}
}

// until reads until ok holds of one round, and reports whether it came to that.
func (c *check) until(ok func(map[int]tag.Reading) bool) (map[int]tag.Reading, bool) {
	most := c.Recover
	if most == 0 {
		most = 20 * time.Second
	}
	for end := time.Now().Add(most); ; {
		got := c.readAll()
		if ok(got) {
			return got, true
		}
		if time.Now().After(end) || c.ctx.Err() != nil {
			return got, false
		}
		pause(c.ctx, 10*time.Millisecond)
	}
}

// recovers reads until every point is good in one round, and again when what
// was still under way has come.
func (c *check) recovers() {
	all := func(got map[int]tag.Reading) bool { return len(goods(got)) == len(c.Points) }
	got, ok := c.until(all)
	if ok {
		pause(c.ctx, max(2*c.Config.Timeout, c.Settle))
		got, ok = c.until(all)
	}
	if !ok {
		c.stuck = true
		for i, p := range c.Points {
			if !got[i].Quality.Good() {
				c.violation(Stuck, "%s does not come good", p.Name)
				return
			}
		}
	}
}

// sparesThose reads until every point that a fault does not concern is good.
func (c *check) sparesThose(spared func(i int) bool) {
	_, ok := c.until(func(got map[int]tag.Reading) bool {
		for i := range c.Points {
			if spared(i) && !got[i].Quality.Good() {
				return false
			}
		}
		return true
	})
	if !ok {
		c.violation(Spoilt, "points of a device that is well do not come good beside another")
	}
}

// spares reads until every point but the one that lacks is good, and stays so.
func (c *check) spares(lacking int) {
	ok := func(got map[int]tag.Reading) bool {
		for i := range c.Points {
			if got[i].Quality.Good() == (i == lacking) {
				return false
			}
		}
		return true
	}
	if got, came := c.until(ok); !came {
		c.violation(Spoilt, "of %d points %v are good", len(c.Points), goods(got))
		return
	}
	if got := c.readAll(); got[lacking].Quality.Good() {
		c.violation(Wrong, "%s is good and not there", c.Points[lacking].Name)
	}
}

func goods(got map[int]tag.Reading) (out []int) {
	for i, r := range got {
		if r.Quality.Good() {
			out = append(out, i)
		}
	}
	slices.Sort(out)
	return out
}

// cancels sees to it that a cancelled context ends a request, with bad readings.
func (c *check) cancels() {
	if c.Silence == nil {
		return
	}
	c.fault = "cancelled"
	c.close()
	patient := c.Config
	patient.Timeout = 4 * time.Second
	c.open(patient)
	c.recovers()
	c.Silence(false)
	ctx, cancel := context.WithCancel(c.ctx)
	time.AfterFunc(c.Config.Timeout, cancel)
	from, lost := time.Now(), c.stalls.lost.Load()
	got := map[int]tag.Reading{}
	c.read(ctx, c.requests[0], got)
	if took := time.Since(from); !c.stalls.in(c.ctx, lost, took, patient.Timeout/2) {
		c.violation(Late, "a cancelled request went on for %v", took)
	}
	if len(got) != len(c.requests[0].Points()) || len(goods(got)) > 0 {
		c.violation(Missing, "a cancelled request gave %d readings, good %v", len(got), goods(got))
	}
	c.read(ctx, c.requests[0], got) // with a context that has ended before
	if len(goods(got)) > 0 {
		c.violation(Wrong, "a request that was never sent gave good readings")
	}
	cancel()
	c.Heal()
	c.recovers()
}

// writes sees what is written, what is refused and what is unknown.
func (c *check) writes() {
	if c.Written == nil || c.Silence == nil {
		return
	}
	c.fault = "write"
	c.close()
	c.open(c.Config)
	c.recovers()
	before := c.Written()
	other := tag.BoolValue(!before.True())
	locked := c.Write
	locked.Write = false
	if err := c.write(locked, other); !errors.Is(err, drivers.ErrReadOnly) {
		c.violation(Unsafe, "a point that may not be written: %v", err)
	}
	if c.Written() != before {
		c.violation(Unsafe, "a point that may not be written was written")
	}
	var err error
	for range 5 { // a busy machine may make an answer late
		if err = c.write(c.Write, other); err == nil {
			break
		}
	}
	if err != nil || c.Written() != other {
		c.violation(Unsafe, "written %v: %v, the device has %v", other, err, c.Written())
	}
	c.Silence(true)
	if err := c.write(c.Write, before); !errors.Is(err, drivers.ErrUnknown) {
		c.violation(Unsafe, "a write that was done and not answered: %v", err)
	}
	c.Silence(false)
	if err := c.write(c.Write, other); err == nil {
		c.violation(Unsafe, "a write that was not done is called done")
	}
	c.Heal()
	c.recovers()
}

// pause lets time pass.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
