package days

import (
	"cmp"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"davy/agent/config"
	"davy/agent/control"
	"davy/agent/latch"
	"davy/agent/ring"
	"davy/agent/wire"
	"davy/drivers/tag"
	"davy/rules"
)

// Bounds that the checker holds the agent to.
const (
	maxHeap    = 512 << 20 // bytes, of agent, receiver and world together
	maxTasks   = 200       // goroutines
	answerSlow = 2 * time.Second
)

// told is an event as the agent said it.
type told struct {
	kind  rules.Kind
	rule  string
	at    int64
	test  bool
	who   string
	first string
}

// checker knows what must hold, from outside.
type checker struct {
	a      *agent
	told   map[uint64]told
	last   uint64 // the newest serial that is known
	resets map[string][]int64
	laid   []int64 // times at which a person must have laid something over a tag, or taken it off
	wrong  string

	unchecked, checked, views int
	heap, files               int64
}

func newChecker(a *agent) *checker {
	c := &checker{a: a, told: map[uint64]told{}, resets: map[string][]int64{}}
	a.recv.check = c.reading
	return c
}

func (c *checker) fail(format string, args ...any) {
	if c.wrong == "" {
		c.wrong = fmt.Sprintf("%v: ", time.Duration(c.a.mono())) + fmt.Sprintf(format, args...)
	}
}

// look takes what the agent shows now.
func (c *checker) look() *control.View {
	v := c.a.view()
	if v == nil {
		return nil
	}
	c.views++
	for _, e := range v.Log {
		c.told[e.Serial] = told{e.Kind, e.Rule, e.At.Mono, e.Test, e.Who, e.FirstOut}
		c.last = max(c.last, e.Serial)
	}
	for id := 1; id < len(v.Image); id++ { // 6: nothing older than its time to live is good
		r, ttl := &v.Image[id], c.a.plan.Rules.Tags[id].TTL
		if old := v.At.Mono - r.Received.Mono; ttl > 0 && r.Quality.Good() && old > int64(ttl+2*control.Heartbeat) {
			c.fail("%s is good and %v old; its time to live is %v", c.a.plan.Tags[id].Name, time.Duration(old), ttl)
		}
	}
	shown := map[string]bool{}
	for i := range v.Alarms {
		if shown[v.Alarms[i].Name] {
			c.fail("%s is in two states", v.Alarms[i].Name)
		}
		shown[v.Alarms[i].Name] = true
	}
	if n, events := c.a.writer.Waiting(); n > ring.MaxReadings || events > ring.MaxEvents {
		c.fail("%d readings and %d events wait", n, events)
	}
	return v
}

// bounds looks at memory and files, now and then.
func (c *checker) bounds() error {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	c.heap = max(c.heap, int64(m.HeapAlloc))
	if m.HeapAlloc > maxHeap || runtime.NumGoroutine() > maxTasks {
		c.fail("%d bytes of heap, %d goroutines", m.HeapAlloc, runtime.NumGoroutine())
	}
	size := int64(0)
	err := filepath.WalkDir(filepath.Join(c.a.dir, "journal"), func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // one that is being deleted
		}
		if info, err := d.Info(); err == nil {
			size += info.Size()
		}
		return nil
	})
	c.files = max(c.files, size)
	if most := c.a.plan.Journal.MaxBytes; size > most {
		c.fail("the journal has %d bytes of %d", size, most)
	}
	return err
}

// killed forgets what was said after the memory that survived.
func (c *checker) killed() error {
	_, payload, err := latch.Open(filepath.Join(c.a.dir, "latch"))
	if err != nil {
		return err
	}
	m, err := control.DecodeMemory(payload)
	if err != nil {
		return err
	}
	maps.DeleteFunc(c.told, func(s uint64, _ told) bool { return s > m.Serial })
	c.last = m.Serial
	return nil
}

// reading is one that came to the receiver: what is good was in that tag's
// cell when it was read. 5.
func (c *checker) reading(r *tag.Reading) {
	p := c.a.plan
	if int(r.Tag) >= len(p.Tags) || p.Tags[r.Tag].Link < 0 || !r.Quality.Good() {
		return
	}
	timeout := p.Links[p.Tags[r.Tag].Link].Timeout
	switch is, known := c.a.field.heldBy(r.Tag, r.Value, r.Received.Mono-int64(timeout), r.Received.Mono); {
	case !known:
		c.unchecked++
	case !is:
		// What a person lays over a tag, or takes off it, is recorded at that time, with the last value.
		if is, _ := c.a.field.heldBy(r.Tag, r.Value, r.Received.Mono-int64(timeout)-int64(p.Rules.Tags[r.Tag].TTL), r.Received.Mono); is {
			c.laid = append(c.laid, r.Received.Mono)
			return
		}
		c.fail("%s was %v, good, at %v: its cell never held that then", p.Tags[r.Tag].Name, r.Value, time.Duration(r.Received.Mono))
	default:
		c.checked++
	}
}

// reset notes that a person's reset was accepted.
func (c *checker) reset(rule string) { c.resets[rule] = append(c.resets[rule], c.a.mono()) }

// mended: when nothing is wrong any more, everything is good again, recorded and sent.
func (c *checker) mended() {
	v := c.look()
	if v == nil {
		c.fail("the loop does not answer")
		return
	}
	for id := 1; id < len(v.Image); id++ {
		if q := v.Image[id].Quality; c.a.plan.Tags[id].Link >= 0 && !q.Good() && q.Reason() != tag.OutOfService && q&tag.Forced == 0 {
			c.fail("%s is %v, reason %v, and nothing is wrong", c.a.plan.Tags[id].Name, q.Status(), q.Reason())
		}
	}
	if readings, events := c.a.writer.Waiting(); readings > 100 || events > 0 {
		c.fail("%d readings and %d events wait for the keeper, and nothing is wrong", readings, events)
	}
	if c.checked == 0 || c.unchecked > c.checked/10 {
		c.fail("%d readings came that could be looked at, %d were too late for it", c.checked, c.unchecked)
	}
}

// finish compares the whole, when all is quiet and sent.
func (c *checker) finish() {
	v := c.a.recv
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.wrong != "" {
		c.fail("the receiver: %s", v.wrong)
	}
	var got []wire.Event
	for _, e := range v.epochs {
		for n := uint64(1); n <= e.last; n++ {
			if x, ok := e.events[n]; ok && x.Serial > 0 {
				got = append(got, x)
			}
		}
		for stream, ch := range e.chains { // 2
			if n := ch.missing(); n > 0 {
				c.fail("epoch %x: %s %d is missing, and no gap names it (%d told of, got %v, named %v)", e.id[:4], stream, n, ch.due, ch.got, ch.named)
			}
		}
	}
	for i, x := range got { // 1
		want, known := c.told[x.Serial]
		switch {
		case x.Serial != uint64(i+1):
			c.fail("event %d came as number %d", x.Serial, i+1)
			return
		case !known: // nobody looked in time
		case x.Kind != uint32(want.kind) || x.Rule != want.rule || x.At.Mono != want.at || x.Test != want.test || x.Who != want.who || x.FirstOut != want.first:
			c.fail("event %d came as %+v and was %+v", x.Serial, x, want)
		}
	}
	if uint64(len(got)) < c.last {
		c.fail("%d events of %d came", len(got), c.last)
	}
	for _, at := range c.laid {
		if !slices.ContainsFunc(got, func(e wire.Event) bool {
			k := rules.Kind(e.Kind)
			return e.At.Mono == at && (k >= rules.PointRemoved && k <= rules.TestEnded)
		}) {
			c.fail("a reading at %v had a value of before, and nobody had done anything to it", time.Duration(at))
		}
	}
	c.outputs(got)
	c.trips(got)
}

// outputs looks at every write to an output's cell. 3.
func (c *checker) outputs(events []wire.Event) {
	f := c.a.field
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range f.writes {
		if w.protective {
			continue
		}
		o := &f.plan.Outputs[w.output]
		if !w.alive && o.DavyDead != config.Idle {
			c.fail("%v: %s was stopped while nobody decided", time.Duration(w.at), o.Name)
		}
		for i := range f.plan.Rules.Interlocks {
			x := &f.plan.Rules.Interlocks[i]
			d := slices.IndexFunc(x.Demands, func(d rules.Demand) bool { return d.Output == o.Name })
			if d < 0 {
				continue
			}
			tripped, since := false, int64(0)
			for k := range events {
				e := &events[k]
				if e.Rule != x.Name || e.At.Mono > w.at {
					continue
				}
				switch rules.Kind(e.Kind) {
				case rules.InterlockTripped, rules.InterlockTrippedAtStart:
					tripped = true
				case rules.InterlockReset:
					tripped, since = false, e.At.Mono
					if x.ManualReset && !slices.ContainsFunc(c.resets[x.Name], func(at int64) bool { return at >= e.At.Mono && at < e.At.Mono+int64(time.Second) }) {
						c.fail("%s was reset at %v, and nobody did", x.Name, time.Duration(e.At.Mono))
					}
				}
			}
			if held := x.Demands[d].RunOn; tripped || since > 0 && w.at-since < int64(held) {
				c.fail("%v: %s was stopped: %s tripped %v, reset at %v, run-on %v", time.Duration(w.at), o.Name, x.Name, tripped, time.Duration(since), held)
			}
		}
	}
}

// trips looks at every trip: without a cause in the plant, and with nothing
// wrong anywhere, there must be none. 4, the other way round.
func (c *checker) trips(events []wire.Event) {
	f := c.a.field
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.late != "" {
		c.fail("%s", f.late)
	}
	for k := range events {
		e := &events[k]
		i := slices.IndexFunc(f.plan.Rules.Interlocks, func(x rules.Interlock) bool { return x.Name == e.Rule })
		if e.Kind != uint32(rules.InterlockTripped) || i < 0 {
			continue
		}
		x := &f.plan.Rules.Interlocks[i]
		if slices.ContainsFunc(x.Channels, func(ch rules.Channel) bool { return computed(f.plan, &ch.Cond) }) {
			continue
		}
		window := int64(x.BadAfter + x.OnDelay + time.Minute)
		near := func(s stretch) bool { return s.from <= e.At.Mono && (s.to == 0 || s.to >= e.At.Mono-window) }
		if !slices.ContainsFunc(f.causes[i], near) && !slices.ContainsFunc(f.trouble, near) {
			c.fail("%s tripped at %v (first %s), with all well and no cause in the plant", x.Name, time.Duration(e.At.Mono), e.FirstOut)
		}
	}
}

// sorted returns the rules' kinds by how often they came, for the tally.
func (c *checker) kinds() (trips, raised, events int) {
	for _, s := range slices.SortedFunc(maps.Values(c.told), func(a, b told) int { return cmp.Compare(a.at, b.at) }) {
		switch s.kind {
		case rules.InterlockTripped:
			trips++
		case rules.AlarmRaised:
			raised++
		}
	}
	return trips, raised, len(c.told)
}
