// Package output is the only writer of actuators.
//
// The control loop says what is demanded (Demand: newest wins, never waits);
// the goroutine that owns the link does the writing (Lane.Drive), so a silent
// output device delays its own link and nothing else. What an output does:
//
//   - demanded: it is driven to its protective state and held there. As long as
//     the demand stands and the read-back says otherwise, it is written again.
//     Where its station answers nothing, the tries cost the line at most a fifth,
//     so that nobody goes blind for an actuator that is away; as soon as the
//     station is heard of it is tried at once.
//   - released: it is written to its idle state once, and then left alone: a
//     fan that a person starts by hand is not fought.
//   - never demanded since the start: `after_restart` decides, written once and
//     then left alone; "as it was" writes nothing.
//
// A write that was not confirmed is unknown: the read-back decides, and since
// all outputs here are level-type, repeating it is safe. Disarmed, nothing is
// written at all; arming drives what is demanded, and releases what was driven
// before and released meanwhile: nothing else. A change of plan is no restart:
// TakeOver goes on where the driver before was, and moves nothing. Nothing here
// is durable: demands come back from the engine's restored state.
//
// Who owns what: Driver's table is guarded by one mutex that is never held
// during I/O; each Lane belongs to its link's goroutine.
//
// Imports: config, drivers, drivers/tag.
package output

import (
	"cmp"
	"errors"
	"log/slog"
	"sync"
	"time"

	"davy/agent/config"
	"davy/drivers"
	"davy/drivers/tag"
)

// Limits.
const (
	Repeat      = 500 * time.Millisecond // between two tries of one output
	WriteLimit  = time.Second            // longest one write may take
	Unconfirmed = 2 * time.Second        // demanded and not seen so for longer: condition output.<name>.unconfirmed
	StopLimit   = time.Second            // for all writes of an orderly stop, per link
	slowWrite   = 200 * time.Millisecond // a failed write that took longer was no refusal: the station is silent
	writeShare  = 4                      // between two of those a station is left alone for so many times as long, where others share its line
)

// want is what an output is to be driven to.
type want uint8

const (
	leave want = iota // as it is
	idle
	protective
)

func (w want) String() string { return [...]string{"leave", "idle", "protective"}[w] }

// Driver knows what every output is to be.
type Driver struct {
	log       *slog.Logger
	now       func() tag.Stamp
	condition func(code string, on bool)
	mu        sync.Mutex
	armed     bool
	stay      bool // Stop moves nothing: another plan takes over
	outs      []state
	lanes     []*Lane
	byTag     map[tag.ID]int // read-back tag → output
	writes    []Write        // that nobody took yet; at most MaxWrites, then the oldest go
}

// MaxWrites is how many writes wait to be taken by the control loop.
const MaxWrites = 256

// Write is one change of what is known of an output's writes, for the record:
// written and confirmed, or not.
type Write struct {
	Name    string
	Value   tag.Value
	At      tag.Stamp
	Err     string // "" confirmed
	Unknown bool   // not confirmed, and perhaps done
}

// TakeWrites appends the writes since the last call to dst.
func (d *Driver) TakeWrites(dst []Write) []Write {
	d.mu.Lock()
	defer d.mu.Unlock()
	dst = append(dst, d.writes...)
	d.writes = d.writes[:0]
	return dst
}

// tell notes a write unless the one before said the same. mu is held.
func (d *Driver) tell(s *state, w want, at tag.Stamp, err error) {
	note := noted{w, err == nil, errors.Is(err, drivers.ErrUnknown)}
	if s.noted == note {
		return
	}
	s.noted = note
	x := Write{Name: s.cfg.Name, Value: s.cfg.Idle, At: at, Unknown: note.unknown}
	if w == protective {
		x.Value = s.cfg.Protective
	}
	if err != nil {
		x.Err = err.Error()
	}
	if len(d.writes) == MaxWrites {
		d.writes = append(d.writes[:0], d.writes[1:]...)
	}
	d.writes = append(d.writes, x)
}

// noted is what was said last of an output's writes.
type noted struct {
	want    want
	done    bool
	unknown bool
}

type state struct {
	cfg      *config.Output
	ttl      int64 // ns, of the read-back; 0 it does not age
	restart  bool  // want is what after_restart says, and no demand came since
	want     want
	pending  bool  // to be written at the next opportunity
	cause    int64 // Mono of what led to the demand
	notUntil int64 // Mono: no try before
	spared   bool  // notUntil is later than Repeat says, because its station was silent
	written  want  // last confirmed write
	unknown  bool  // a write after that was not confirmed: it may still arrive
	read     bool  // the last read-back was good
	seen     want  // what the read-back says; leave: unknown
	seenAt   int64
	since    int64 // Mono since when want and seen differ; 0 they agree
	told     bool  // condition is on
	said     bool  // told was said since the start
	noted    noted // the last write that was told
	worst    time.Duration
	last     time.Duration
	err      string // of the last write; "" it was confirmed
	waits    string // why it was put off since
}

// New makes a driver for a plan's outputs.
func New(p *config.Plan, armed bool, now func() tag.Stamp, condition func(string, bool), log *slog.Logger) *Driver {
	d := &Driver{log: log, now: now, condition: condition, armed: armed, byTag: map[tag.ID]int{}}
	d.outs = make([]state, len(p.Outputs))
	d.lanes = make([]*Lane, len(p.Links))
	for i := range d.lanes {
		d.lanes[i] = &Lane{d: d, wake: make(chan struct{}, 1), shared: shared(&p.Links[i])}
	}
	for i := range p.Outputs {
		o := &p.Outputs[i]
		s := state{cfg: o}
		switch o.AfterRestart {
		case config.Idle:
			s.want, s.pending, s.restart = idle, true, true
		case config.Protective:
			s.want, s.pending, s.restart = protective, true, true
		}
		if o.ReadBack != 0 {
			d.byTag[o.ReadBack] = i
			s.ttl = int64(p.Rules.Tags[o.ReadBack].TTL)
		}
		d.outs[i] = s
		l := d.lanes[o.Link]
		l.outs, l.all = append(l.outs, i), append(l.all, i)
	}
	return d
}

// Stay lets the outputs be where they are when the lanes stop, because another
// plan takes over.
func (d *Driver) Stay() {
	d.mu.Lock()
	d.stay = true
	d.mu.Unlock()
}

// TakeOver goes on where old was, the driver of the plan before, whose lanes
// have ended: after_restart does not count for outputs that were there, and a
// release that was not written yet still will be. Demands come from the engine.
// It is called before the first Demand and before any lane runs.
func (d *Driver) TakeOver(old *Driver) {
	old.mu.Lock()
	defer old.mu.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.outs {
		s := &d.outs[i]
		for k := range old.outs {
			if o := &old.outs[k]; same(o.cfg, s.cfg) {
				s.want, s.pending, s.restart, s.written = leave, false, false, o.written
				if o.want == idle || o.restart {
					s.want, s.pending, s.restart = o.want, o.pending, o.restart
				}
			}
		}
	}
}

// same reports whether two plans mean the same output, driven the same way.
func same(a, b *config.Output) bool {
	return a.Name == b.Name && a.Point.Device == b.Point.Device && a.Point.Station == b.Point.Station &&
		a.Point.Address.String() == b.Point.Address.String() && a.Idle == b.Idle && a.Protective == b.Protective
}

// Lane returns the lane of link i of the plan.
func (d *Driver) Lane(i int) *Lane { return d.lanes[i] }

// Demand says what output i is to be from now on; cause is the Mono of what
// led to it, for the response time. It never waits.
func (d *Driver) Demand(i int, on bool, cause int64) {
	w := idle
	if on {
		w = protective
	}
	d.mu.Lock()
	s := &d.outs[i]
	if s.want != w {
		s.want, s.pending, s.cause, s.notUntil, s.spared = w, true, cause, 0, false
		s.since = d.now().Mono
	}
	s.restart = false
	lane := d.lanes[s.cfg.Link]
	d.mu.Unlock()
	lane.poke()
}

// Arm lets writes through or holds them all back.
func (d *Driver) Arm(on bool) {
	d.mu.Lock()
	d.armed = on
	for i := range d.outs {
		s := &d.outs[i]
		s.since = 0
		s.noted = noted{} // what is written from now on is news again
		switch {
		case on && s.want == protective:
			s.pending, s.notUntil, s.since, s.spared = true, 0, d.now().Mono, false
		case on: // only what we drove ourselves is released now
			s.pending = s.pending && s.want == idle && s.written == protective
		}
	}
	d.mu.Unlock()
	for _, l := range d.lanes {
		l.poke()
	}
}

// Observe takes a batch of readings and looks at read-backs in it: a demanded
// output that is seen not to be protective is written again.
func (d *Driver) Observe(rs []tag.Reading) {
	if len(d.byTag) == 0 {
		return
	}
	for i := range rs {
		if o, ok := d.byTag[rs[i].Tag]; ok {
			d.observe(o, &rs[i])
		}
	}
}

func (d *Driver) observe(o int, r *tag.Reading) {
	d.mu.Lock()
	s := &d.outs[o]
	s.seen = leave
	if r.Quality.Good() {
		switch r.Value.Float() {
		case s.cfg.Protective.Float():
			s.seen = protective
		case s.cfg.Idle.Float():
			s.seen = idle
		}
	}
	s.seenAt = r.Received.Mono
	poke := r.Quality.Good() && !s.read && d.heard(s, r.Received.Mono) // its station is back
	s.read = r.Quality.Good()
	switch {
	case s.want == protective && s.seen != protective && d.armed:
		if !s.pending && r.Quality.Good() { // idle, or a state that is neither
			s.pending, poke = true, true // somebody or something moved it
			s.noted = noted{}
		}
		if s.since == 0 {
			s.since = r.Received.Mono
		}
	case s.want == protective && s.seen == protective:
		s.since = 0
		s.pending = s.pending && (s.written != protective || s.unknown)
	case s.want == idle && s.seen == idle:
		s.since = 0
	}
	lane := d.lanes[s.cfg.Link]
	d.mu.Unlock()
	if poke {
		lane.poke()
	}
}

// Check sets and clears the conditions of outputs that are not where they
// were driven to. Called by the control loop at each heartbeat.
func (d *Driver) Check(now tag.Stamp) {
	type change struct {
		name string
		on   bool
	}
	var changes []change
	d.mu.Lock()
	for i := range d.outs {
		s := &d.outs[i]
		if s.ttl > 0 && s.seenAt != 0 && now.Mono-s.seenAt > s.ttl { // nobody reads it any more
			s.seen = leave
			if s.want == protective && s.since == 0 {
				s.since = now.Mono
			}
		}
		on := d.armed && s.want != leave && (s.pending || s.want == protective) && s.since != 0 &&
			now.Mono-s.since > int64(Unconfirmed)
		// At first nothing is known: an alarm that stood before the restart stands until this is.
		known := s.said || on || !d.armed || s.want == leave || s.since == 0 && s.seenAt != 0
		if on != s.told || known && !s.said {
			s.told, s.said = on, true
			changes = append(changes, change{s.cfg.Name, on})
		}
	}
	d.mu.Unlock()
	for _, c := range changes {
		d.condition("output."+c.name+".unconfirmed", c.on)
	}
}

// View of one output.
type View struct {
	Name      string
	Demanded  bool
	Driven    string // "leave", "idle", "protective"
	Seen      string // "unknown", "idle", "protective"
	Pending   bool
	Error     string
	Last      time.Duration // reading received → write confirmed, last demand
	Worst     time.Duration // the longest since the start
	SeenState string        // the site's word: "run"
}

// View returns a copy of all outputs.
func (d *Driver) View() []View {
	d.mu.Lock()
	defer d.mu.Unlock()
	vs := make([]View, len(d.outs))
	for i := range d.outs {
		s := &d.outs[i]
		v := View{
			Name: s.cfg.Name, Demanded: s.want == protective, Driven: s.want.String(), Seen: s.seen.String(),
			Pending: s.pending, Error: cmp.Or(s.waits, s.err), Last: s.last, Worst: s.worst,
		}
		switch s.seen {
		case leave:
			v.Seen = "unknown"
		case idle:
			v.SeenState = s.cfg.IdleName
		case protective:
			v.SeenState = s.cfg.ProtectiveName
		}
		vs[i] = v
	}
	return vs
}
