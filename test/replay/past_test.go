// Package replay holds `davy replay` against a past that is known: a small agent
// decides over a simulated plant, agent/record and agent/journal keep what it did,
// and what is replayed from that journal is compared with what really happened.
//
// The agent here does with readings, commands, the snapshot and starts what
// agent/control does, with one difference: a turn takes no time. So the instants
// of the replay must be those of the past, to the nanosecond.
package replay

import (
	"context"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	"davy/agent/config"
	"davy/agent/i18n"
	"davy/agent/journal"
	"davy/agent/record"
	"davy/agent/replay"
	"davy/agent/replay/history"
	"davy/agent/ring"
	"davy/drivers"
	"davy/drivers/sim"
	"davy/drivers/tag"
	"davy/rules"
)

const boot0 = int64(time.Hour)

// compile makes a plan of two files.
func compile(t testing.TB, site, rulesFile string) *config.Plan {
	t.Helper()
	b, problems := config.ReadSite(fstest.MapFS{"site.yaml": {Data: []byte(site)}, "rules.yaml": {Data: []byte(rulesFile)}}, ".", fstest.MapFS{})
	plan, more := config.Compile(b, drivers.Set{"sim": &sim.Driver{}})
	if plan == nil {
		for _, p := range problems.Join(more) {
			t.Errorf("%s: %s", p.Place, p.Text(i18n.En))
		}
		t.FailNow()
	}
	return plan
}

// said is an event of the rules as it is compared.
type said struct {
	Kind rules.Kind
	Rule string
	At   tag.Stamp
}

func (s said) String() string {
	return fmt.Sprintf("%v %s kind %d", time.Duration(s.At.Mono-boot0), s.Rule, s.Kind)
}

// past is the agent and its plant, in a bubble's time.
type past struct {
	t     testing.TB
	dir   string
	plan  *config.Plan
	began time.Time
	boot  string
	shift int64 // of Mono: a boot begins anew

	engine *rules.Engine
	image  *rules.Image
	out    rules.Outcome
	saved  []byte
	at     tag.Stamp // of saved
	serial uint64
	line   [16]byte
	events []ring.Event
	said   []said
	next   int64

	j    *journal.Journal
	stop func()
	rec  *record.Recorder
}

func newPast(t testing.TB, plan *config.Plan) *past {
	p := &past{t: t, dir: filepath.Join(t.TempDir(), "journal"), plan: plan, began: time.Now(), boot: "b1"}
	binary.LittleEndian.PutUint64(p.line[:], 1)
	return p
}

func (p *past) now() tag.Stamp {
	d := int64(time.Since(p.began))
	return tag.Stamp{Wall: 1_800_000_000e9 + d, Mono: boot0 + d - p.shift}
}

// start starts the agent; down is what it believes to have been away.
func (p *past) start(down time.Duration) {
	p.t.Helper()
	e, err := rules.New(p.plan.Rules)
	if err == nil && len(p.saved) > 0 {
		err = e.Restore(p.saved, down)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	p.engine, p.image, p.next = e, rules.NewImage(p.plan.Rules), 0
	now := p.now()
	var v tag.Value
	if down >= 0 {
		v, _ = tag.Float64Value(down.Seconds())
	}
	p.note(rules.Event{Kind: ring.AgentStarted, At: now, Value: v})
	p.keep(now)
	p.turn(now, nil)
}

// keep starts the keeper.
func (p *past) keep(now tag.Stamp) {
	p.t.Helper()
	j, err := journal.Open(journal.Options{
		Dir: p.dir, Gateway: p.plan.Gateway.ID, MaxBytes: 64 << 20, SegmentBytes: 1 << 20, Sync: 10 * time.Second, Now: p.now, Boot: p.boot,
		Started: now, Plan: p.plan.Hash[:], Keep: 1000 * time.Hour,
	})
	if err != nil {
		p.t.Fatal(err)
	}
	p.j = j
	p.rec = record.New(record.Options{Journal: j, Plan: p.plan, Lineage: p.line, Now: p.now})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.rec.Run(ctx) }()
	p.stop = func() {
		cancel()
		<-done
		if err := j.Close(); err != nil {
			p.t.Fatal(err)
		}
	}
}

func (p *past) note(e rules.Event) {
	p.serial++
	p.events = append(p.events, ring.Event{Serial: p.serial, Event: e})
}

// turn is one of the control loop.
func (p *past) turn(now tag.Stamp, readings []tag.Reading) {
	t := ring.Turn{Now: now, ClockTrusted: true, Armed: true}
	for _, r := range readings {
		if p.next != 0 && p.next <= now.Mono && p.image.Overlaid(r.Tag) { // as control: perhaps what lies over it
			rules.Step(p.engine, p.image, now, &p.out)
			p.settle(&t)
			t.Events, t.Readings = nil, nil
		}
		p.image.Put(r)
		t.Readings = append(t.Readings, p.image.Readings()[r.Tag])
	}
	p.image.Age(now)
	for _, id := range p.image.Aged() {
		r := p.image.Readings()[id]
		r.Received = now
		t.Readings = append(t.Readings, r)
	}
	rules.Step(p.engine, p.image, now, &p.out)
	p.settle(&t)
}

func (p *past) settle(t *ring.Turn) {
	t.Readings = append(t.Readings, p.out.Computed...)
	for _, o := range p.out.Overlays {
		r := p.image.Readings()[o.Tag]
		r.Received = t.Now
		t.Readings = append(t.Readings, r)
	}
	dirty := p.out.Durable || len(p.out.Events) > 0 || len(p.events) > 0
	for i := range p.out.Events {
		e := p.out.Events[i]
		p.said = append(p.said, said{e.Kind, e.Rule, e.At})
		p.note(e)
	}
	if dirty {
		p.saved, p.at = p.engine.Snapshot(p.saved[:0], t.Now), t.Now
	}
	t.Events, p.events = p.events, nil
	p.next = p.out.Next
	p.rec.Take(t)
}

// sleep lets the bubble's time pass; the loop wakes when a timer is due.
func (p *past) sleep(d time.Duration) {
	for end := p.now().Mono + int64(d); ; {
		now := p.now().Mono
		if p.next == 0 || p.next >= end {
			time.Sleep(time.Duration(end - now))
			return
		}
		time.Sleep(time.Duration(max(p.next-now, 0)))
		p.turn(p.now(), nil)
	}
}

// do gives a person's word; a refusal is none of ours.
func (p *past) do(c rules.Command) error {
	now := p.now()
	if a, ok := p.engine.Alarm(c.Rule); ok {
		c.Occurrence = a.Occurrence
	} else if l, ok := p.engine.Interlock(c.Rule, now); ok {
		c.Occurrence = l.Occurrence
	}
	err := rules.Do(p.engine, p.image, now, c, &p.out)
	if err == nil {
		p.settle(&ring.Turn{Now: now, ClockTrusted: true, Armed: true})
	}
	return err
}

// end stops the agent in order.
func (p *past) end() {
	now := p.now()
	p.note(rules.Event{Kind: ring.AgentStopped, At: now})
	p.turn(now, nil)
	p.stop()
}

// open returns what was recorded.
func (p *past) open() *history.Journal {
	p.t.Helper()
	r, err := journal.OpenReadOnly(p.dir)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { r.Close() })
	return history.OfJournal(r)
}

// replayed runs two plans over what was recorded.
func (p *past) replayed(o replay.Options) *replay.Report {
	p.t.Helper()
	if o.Present == nil {
		o.Present = p.plan
	}
	if o.New == nil {
		o.New = p.plan
	}
	if o.Source == nil {
		o.Source = p.open()
	}
	rep, err := replay.Run(o)
	if err != nil {
		p.t.Fatal(err)
	}
	return rep
}

func ruleOf(t testing.TB, rep *replay.Report, name string) *replay.Rule {
	t.Helper()
	for i := range rep.Rules {
		if rep.Rules[i].Name == name {
			return &rep.Rules[i]
		}
	}
	t.Fatalf("no rule %s in the report", name)
	return nil
}
