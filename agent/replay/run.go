package replay

import (
	"errors"
	"math"
	"slices"

	"davy/agent/config"
	"davy/agent/ring"
	"davy/agent/wire"
	"davy/drivers/tag"
	"davy/rules"
)

// firstOfAgent and firstOfKeeper bound the kinds that the agent itself notes.
const (
	firstOfAgent  = ring.AgentStarted
	firstOfKeeper = ring.EpochStarted
)

// run is one replay.
type run struct {
	o        Options
	rep      *Report
	side     [plans]*side
	cmp      *compare
	acts     *acts
	tags     map[string]map[Why]bool // what does not fit, once each
	ours     bool                    // the plan of the present epoch is Options.Present
	boot     string                  // of the last epoch
	root     bool                    // the present epoch has no parent: nothing was recorded before
	whole    bool                    // the engines began with the first start of all
	upTo     uint64                  // where the window ended among the events of an epoch
	other    int64                   // since when another plan is live; 0: it is not
	start    *wire.Event
	lost     bool // the latch was, at that start
	last     int64
	marks    marks
	watch    func(plan int, e *rules.Event) // of tests
	refused  map[string]int                 // acts, by what they were done to
	recorded map[tag.Name]*config.Tag       // of Present; for grade
	prior    prior
}

// Run replays. Its error is one of reading, or that there is no record (ErrNone).
func Run(o Options) (*Report, error) { return begin(o, nil) }

// ErrNone says that nothing was recorded in the window.
var ErrNone = errors.New("nothing was recorded in this time")

func begin(o Options, watch func(int, *rules.Event)) (*Report, error) {
	r := &run{o: o, rep: &Report{Asked: o.From}, tags: map[string]map[Why]bool{}, refused: map[string]int{}, watch: watch}
	r.prior = prior{held: map[holding]bool{}, stood: map[string]bool{}, differs: map[string]bool{}}
	epochs := o.Source.Epochs()
	if err := r.window(epochs); err != nil {
		return nil, err
	}
	var err error
	if r.side[present], err = newSide(o.Present, o.Present, o.Renamed); err != nil {
		return nil, err
	}
	if r.side[fresh], err = newSide(o.New, o.Present, o.Renamed); err != nil {
		return nil, err
	}
	r.cmp = newCompare(r.rep.From, r.rep.To)
	r.acts = newActs(&o.Present.People.Roll, &o.New.People.Roll)
	if err := r.lookBefore(epochs); err != nil {
		return nil, err
	}
	for i := range epochs {
		if epochs[i].To < r.rep.Began {
			continue
		}
		if done, err := r.epoch(i, epochs); err != nil {
			return nil, err
		} else if done {
			r.afterwards(i, epochs)
			break
		}
	}
	r.finish()
	return r.rep, nil
}

// window finds what is replayed, and from where.
func (r *run) window(epochs []Epoch) error {
	first, last, reading := int64(math.MaxInt64), int64(0), int64(0)
	for _, e := range epochs {
		if e.From > 0 && e.To < math.MaxInt64 {
			first, last, reading = min(first, e.From), max(last, e.To), max(reading, e.Reading)
		}
	}
	if reading > 0 {
		last = reading
	}
	p := r.rep
	p.From, p.To = max(r.o.From, first), last
	if r.o.To > 0 {
		p.To = min(p.To, r.o.To)
	}
	if p.From > p.To || last == 0 {
		return ErrNone
	}
	lead := min(max(LeastLead, longest(r.o.Present), longest(r.o.New)), MostLead)
	p.Began = max(first, p.From-int64(lead))
	r.last = p.Began
	return nil
}

// epoch replays one epoch; done says that the window is over.
func (r *run) epoch(i int, epochs []Epoch) (done bool, err error) {
	hole := func(stream string) func(uint64, int64) {
		return func(missing uint64, wall int64) {
			r.marks.holes++
			r.gap(Gap{From: wall, Stream: stream, Cause: "hole", Count: missing})
		}
	}
	events := cursor[wire.Event]{from: r.o.Source.Events(i), hole: hole(wire.EventStream), after: math.MinInt64}
	readings := cursor[tag.Reading]{from: r.o.Source.Readings(i), hole: hole(wire.ReadingStream), after: r.rep.Began}
	if i > 0 && epochs[i].From >= r.rep.Began {
		events.next, readings.next = 1, 1
	}
	for s := range r.side {
		r.side[s].ids = r.side[s].ids[:0]
	}
	tabled, clock := false, clock{}
	cold, err := r.coldStart(&events)
	if err != nil {
		return false, err
	}
	for {
		e, err := events.peek()
		if err != nil {
			return false, err
		}
		x, err := readings.peek()
		if err != nil {
			return false, err
		}
		switch {
		case e == nil && x == nil:
			return false, nil
		case e != nil && (cold || x == nil || !tabled || before(e, x)):
			if e.At.Wall > r.rep.To && e.Serial > 0 {
				r.upTo = events.number()
				return true, nil
			}
			if e.Table != nil {
				tabled, events.after = true, r.rep.Began
			}
			if rules.Kind(e.Kind) == ring.AgentStarted {
				cold = false
			}
			if err := r.event(e); err != nil {
				return false, err
			}
			events.at++
		default:
			clock.look(x.Received, &r.marks)
			if x.Received.Wall > r.rep.To {
				if e != nil {
					r.upTo = events.number()
				}
				return true, nil
			}
			if !tabled {
				r.nameless(x, epochs[i].To)
				tabled = true
			}
			if err := r.reading(x); err != nil {
				return false, err
			}
			readings.at++
		}
	}
}

// coldStart reports whether an epoch is the first of a boot: then what comes
// before the agent's start in it is of the run before, whose clock was another.
func (r *run) coldStart(events *cursor[wire.Event]) (bool, error) {
	e, err := events.peek()
	if err != nil || e == nil || e.Start == nil || e.Start.Boot == r.boot {
		return false, err
	}
	r.boot = e.Start.Boot
	return events.ahead(func(x *wire.Event) bool { return rules.Kind(x.Kind) == ring.AgentStarted })
}

// reading steps through one reading.
func (r *run) reading(x *tag.Reading) error {
	if x.Received.Wall < r.rep.Began && !r.side[present].started {
		return nil
	}
	if err := r.restart(x.Received); err != nil {
		return err
	}
	r.windowBegins(x.Received.Wall)
	known := false
	for _, s := range r.side {
		known = known || int(x.Tag) < len(s.ids) && s.ids[x.Tag].id != 0
		s.take(x)
	}
	r.last = max(r.last, x.Received.Wall)
	r.rep.Readings++
	if !known {
		r.rep.Skipped++
	}
	if r.o.Progress != nil && r.rep.Readings%progressAt == 0 {
		r.o.Progress(Progress{x.Received.Wall, r.rep.Began, r.rep.To, r.rep.Readings})
	}
	r.flush()
	return nil
}

// event steps through one event of the record.
func (r *run) event(e *wire.Event) error {
	r.rep.Events++
	k := rules.Kind(e.Kind)
	switch {
	case e.Start != nil:
		r.began(e)
		return nil
	case e.Table != nil:
		r.table(e)
		return nil
	case e.Gap != nil:
		r.named(e.Gap)
		return nil
	case k == ring.AgentStarted:
		return r.agentStarted(e)
	case k == ring.LatchLost && r.start != nil:
		r.lost = true
		r.prior.take(e, false)
		return nil
	case e.Serial == 0 || k >= firstOfKeeper || e.At.Wall < r.rep.Began && !r.side[present].started:
		return nil
	}
	if err := r.restart(e.At); err != nil {
		return err
	}
	r.last = max(r.last, e.At.Wall)
	for _, s := range r.side {
		s.to(e.At)
	}
	r.flush()
	r.windowBegins(e.At.Wall)
	r.prior.take(e, false)
	switch {
	case k == ring.AgentStopped:
		for _, s := range r.side {
			s.upTo(e.At)
			s.save()
		}
	case k >= firstOfAgent:
		for _, s := range r.side { // it was noted in a turn, and that turn was remembered
			s.judge()
			s.save()
		}
	default:
		if r.ours {
			r.cmp.recorded(e.Rule, k, e.At.Wall)
		}
		if x, ok := r.acts.of(e); ok {
			r.act(e, &x)
		}
	}
	r.flush()
	return nil
}

// act does again what a person did.
func (r *run) act(e *wire.Event, x *act) {
	var refused [plans]*rules.RefusedError
	for i, s := range r.side {
		c := x.turn(s, e.Tag)
		no := s.do(e.At, c)
		if no != nil && no.Code == "bypass-none-waiting" && x.cmd.Verb == rules.Confirm && !x.already(s, no.Code) {
			// Asked for before the engines began: both persons, now.
			ask := c
			ask.Verb, ask.Who, ask.Session, ask.Roles = rules.Bypass, e.Who, "replay "+e.Who, r.acts.rolesOf(e.Who, e.Proved)
			if no = s.do(e.At, ask); no == nil {
				no = s.do(e.At, c)
			}
		}
		if no != nil && !x.already(s, no.Code) {
			refused[i] = no
		}
	}
	no := refused[fresh]
	if no == nil && refused[present] == nil {
		if e.At.Wall >= r.rep.From {
			r.rep.Done++
		}
		return
	}
	r.refused[e.Rule]++
	if e.At.Wall < r.rep.From {
		return
	}
	a := Act{At: e.At.Wall, Who: x.cmd.Who, Verb: x.verb, Rule: e.Rule, Channel: e.Channel, Present: refused[present] != nil, New: no != nil}
	if no == nil {
		no = refused[present]
	}
	a.Code, a.Args = no.Code, no.Args
	if len(r.rep.Acts) == MaxActs {
		r.rep.More++
		return
	}
	r.rep.Acts = append(r.rep.Acts, a)
}

// agentStarted notes a start; it is carried out when it is known whether the
// latch was lost.
func (r *run) agentStarted(e *wire.Event) error {
	if r.start != nil { // two starts, and nothing between them
		if err := r.restart(e.At); err != nil {
			return err
		}
	}
	x := *e
	r.start, r.lost = &x, false
	return nil
}

// restart carries out a start that was noted, or the beginning of the replay.
func (r *run) restart(at tag.Stamp) error {
	first := !r.side[present].started
	e := r.start
	switch {
	case e == nil && first:
		e = &wire.Event{At: at}
	case e == nil:
		return nil
	case e.At.Wall < r.rep.Began && first:
		e = &wire.Event{At: at}
	}
	r.whole = r.whole || first && r.root && e == r.start
	down := downOf(e)
	if !first && down != 0 && e.At.Wall >= r.rep.Began {
		r.rep.Stops++
		r.gap(Gap{From: r.last, To: e.At.Wall, Cause: "stopped"})
	}
	for i, s := range r.side {
		if err := s.begin(e.At, !first, r.lost, down); err != nil {
			return err
		}
		if r.lost && !first {
			r.cmp.forgotten(i, e.At.Wall)
		}
	}
	r.start, r.lost = nil, false
	r.flush()
	return nil
}

// flush lets what the rules said be followed, in the order of its times.
func (r *run) flush() {
	a, b := r.side[present], r.side[fresh]
	for i, k := 0, 0; i < len(a.events) || k < len(b.events); {
		if k == len(b.events) || i < len(a.events) && a.events[i].At.Mono <= b.events[k].At.Mono {
			r.say(present, &a.events[i])
			i++
		} else {
			r.say(fresh, &b.events[k])
			k++
		}
	}
	a.events, b.events = a.events[:0], b.events[:0]
}

func (r *run) say(plan int, e *rules.Event) {
	if r.watch != nil {
		r.watch(plan, e)
	}
	r.cmp.take(plan, e, r.ours)
}

// finish ends the replay at the end of the window.
func (r *run) finish() {
	for _, s := range r.side {
		if s.started {
			s.upTo(tag.Stamp{Wall: r.rep.To, Mono: s.now.Mono + max(r.rep.To-s.now.Wall, 0)})
		}
	}
	r.flush()
	if r.other != 0 {
		r.stretch(r.rep.To)
	}
	r.cmp.end()
	r.rep.Present, r.rep.New = r.cmp.loads[present].out, r.cmp.loads[fresh].out
	for _, d := range r.o.Source.Damaged() { // some parts are read twice
		if !slices.Contains(r.rep.Damaged, d) {
			r.rep.Damaged = append(r.rep.Damaged, d)
		}
	}
	r.grade()
}

// Watch is Run, and tells every event of the present rules as it is said again.
func Watch(o Options, told func(*rules.Event)) (*Report, error) {
	return begin(o, func(plan int, e *rules.Event) {
		if plan == present {
			told(e)
		}
	})
}
