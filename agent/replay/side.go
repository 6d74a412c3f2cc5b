package replay

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"davy/agent/config"
	"davy/agent/wire"
	"davy/drivers/tag"
	"davy/rules"
	"davy/rules/unit"
)

// side is one plan that runs over the history. It does what agent/control does
// with readings, commands and starts, as far as it can be known afterwards.
type side struct {
	plan   *config.Plan
	set    rules.Set // the plan's, with times to live as the record can bear them
	engine *rules.Engine
	image  *rules.Image
	out    rules.Outcome
	events []rules.Event // since the last take

	own   []bool // by tag: the engine computes it
	ids   []into // by the tag of the record
	heard []bool // by tag: something of it was recorded

	seen  []uint32 // tag → number of the step in which it was put
	step  uint32
	moved bool  // since the last step
	next  int64 // Mono of the engine's earliest timer; 0 none
	aged  int64 // Mono before which nothing can be stale; 0: nothing can be
	now   tag.Stamp
	open  bool // readings of the instant now are in the image and not yet judged

	device []int32 // by tag: 1 + its device; made by devicesOf

	saved   []byte // the engine's state as the latch file has it
	started bool
}

// into says what a tag of the record is here.
type into struct {
	id    tag.ID // 0: nothing
	scale bool
	unit  unit.Conversion
	texts map[uint32]uint32
}

func newSide(plan, present *config.Plan, renamed map[tag.Name]tag.Name) (*side, error) {
	s := &side{plan: plan, set: plan.Rules, own: make([]bool, len(plan.Tags)), heard: make([]bool, len(plan.Tags)), seen: make([]uint32, len(plan.Tags))}
	for i := range plan.Rules.Computed {
		s.own[plan.Rules.Computed[i].Tag] = true
	}
	s.set.Tags = bearable(plan, present, renamed)
	engine, err := rules.New(s.set)
	if err != nil {
		return nil, fmt.Errorf("replay: %w", err)
	}
	s.engine, s.image = engine, rules.NewImage(s.set)
	return s, nil
}

// bearable gives each tag the time after which silence in the record means that
// nothing was read: a reading that says the same again is recorded only every
// Record.Every, and what did become stale is recorded as stale.
func bearable(plan, present *config.Plan, renamed map[tag.Name]tag.Name) []rules.Tag {
	tags := slices.Clone(plan.Rules.Tags)
	recorded := byName(present)
	for i := range tags {
		t, ok := recorded[recordedAs(tags[i].Name, renamed)]
		switch {
		case tags[i].TTL == 0:
		case !ok || t.Record.Never || t.Record.Every == 0:
			tags[i].TTL = 0
		default:
			tags[i].TTL += t.Record.Every + t.Period
		}
	}
	return tags
}

func byName(p *config.Plan) map[tag.Name]*config.Tag {
	m := make(map[tag.Name]*config.Tag, len(p.Tags))
	for i := range p.Tags {
		if p.Tags[i].ID != 0 {
			m[p.Tags[i].Name] = &p.Tags[i]
		}
	}
	return m
}

// recordedAs is the name under which a tag was recorded.
func recordedAs(name tag.Name, renamed map[tag.Name]tag.Name) tag.Name {
	if was, ok := renamed[name]; ok {
		return was
	}
	return name
}

// read learns from a tag table what the numbers of the record are here, and
// tells what does not fit.
func (s *side) read(t *wire.Table, renamed map[tag.Name]tag.Name, tell func(Why)) {
	here := map[tag.Name]tag.ID{}
	for i := range s.plan.Tags {
		if id := s.plan.Tags[i].ID; id != 0 {
			here[recordedAs(s.plan.Tags[i].Name, renamed)] = id
		}
	}
	s.ids = s.ids[:0]
	for i := range t.Tags {
		row := &t.Tags[i]
		id, ok := here[tag.Name(row.Name)]
		if !ok || row.ID >= maxTag {
			continue
		}
		for int(row.ID) >= len(s.ids) {
			s.ids = append(s.ids, into{})
		}
		s.ids[row.ID] = s.fit(row, &s.plan.Tags[id], tell)
	}
}

// maxTag bounds the numbers that a table of a record may give to tags.
const maxTag = 1 << 20

func (s *side) fit(row *wire.TableTag, t *config.Tag, tell func(Why)) into {
	to := into{id: t.ID}
	if row.Name != string(t.Name) {
		tell(Why{Code: "renamed", Tag: string(t.Name), Was: row.Name})
	}
	switch {
	case numeric(row.Kind) != numeric(t.Kind) || !numeric(t.Kind) && row.Kind != t.Kind:
		tell(Why{Code: "kind", Tag: string(t.Name)})
		return into{}
	case numeric(t.Kind) && row.Unit != t.Unit:
		tell(Why{Code: "unit", Tag: string(t.Name), Was: row.Unit, Unit: t.Unit})
		from, err := unit.Parse(row.Unit)
		want, err2 := unit.Parse(t.Unit)
		c, err3 := unit.Between(from, want, unit.Gas{}, unit.Air{})
		if errors.Join(err, err2, err3) != nil {
			return into{}
		}
		to.unit = c
		to.scale = true
	case t.Kind == tag.Text:
		to.texts = map[uint32]uint32{}
		for _, was := range row.Names {
			for _, n := range t.Names {
				if n.Name == was.Text {
					to.texts[uint32(was.Code)] = uint32(n.Code)
				}
			}
		}
	case t.Kind == tag.Enum && !sameNames(row.Names, t.Names):
		tell(Why{Code: "codes", Tag: string(t.Name)})
	}
	return to
}

func numeric(k tag.Kind) bool { return k == tag.Int || k == tag.Float32 || k == tag.Float64 }

func sameNames(a []wire.Name, b []config.Name) bool {
	return slices.EqualFunc(a, b, func(x wire.Name, y config.Name) bool { return x.Code == y.Code && x.Text == y.Name })
}

// turned returns a value of the record as it is here; ok is false for a text
// that this plan does not have.
func (t *into) turned(v tag.Value) (tag.Value, bool) {
	switch {
	case t.scale && numeric(v.Kind()):
		return tag.Float64Value(t.unit.Of(v.Float()))
	case t.texts != nil && v.Kind() == tag.Text:
		k, ok := t.texts[uint32(v.Bits())]
		return tag.TextValue(k), ok
	}
	return v, true
}

// begin starts the rules at an instant: from what the latch file had then, as
// a start does it, or with nothing known.
func (s *side) begin(at tag.Stamp, restore, lost bool, down time.Duration) error {
	engine, err := rules.New(s.set)
	if err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	if restore && !lost && len(s.saved) > 0 {
		if err := engine.Restore(s.saved, down); err != nil {
			return fmt.Errorf("replay: %w", err)
		}
	}
	if lost {
		engine.StartTripped()
	}
	s.engine, s.image, s.next, s.aged, s.now, s.open, s.moved = engine, rules.NewImage(s.set), 0, 0, at, false, true
	clear(s.seen)
	s.step, s.started = 0, true
	s.stepOnce(at)
	s.save()
	return nil
}

// stepOnce lets the rules see the image.
func (s *side) stepOnce(at tag.Stamp) {
	s.step++
	s.moved = false
	rules.Step(s.engine, s.image, at, &s.out)
	s.settle()
}

func (s *side) settle() {
	for i := range s.out.Events {
		e := s.out.Events[i]
		e.Votes, e.Record = nil, nil // they live until the next step only
		s.events = append(s.events, e)
	}
	s.next = s.out.Next
	if s.out.Durable || len(s.out.Events) > 0 {
		s.save()
	}
}

// save keeps what the latch file holds after this turn.
func (s *side) save() { s.saved = s.engine.Snapshot(s.saved[:0], s.now) }

// take puts one reading of the record into the image, at its instant.
func (s *side) take(r *tag.Reading) {
	if int(r.Tag) >= len(s.ids) {
		return
	}
	to := &s.ids[r.Tag]
	id := to.id
	if id == 0 || s.own[id] {
		return
	}
	s.to(r.Received)
	s.heard[id] = true
	x := *r
	x.Tag = id
	v, ok := to.turned(r.Value)
	if x.Value = v; !ok {
		x.Quality = tag.BadConfig
	}
	over := s.next != 0 && s.next <= x.Received.Mono && s.image.Overlaid(id) // perhaps what lies over it
	if s.seen[id] == s.step+1 || over {
		s.stepOnce(s.now)
	}
	s.seen[id] = s.step + 1
	if s.image.Put(x) {
		s.moved = true
	}
	if ttl := int64(s.set.Tags[id].TTL); ttl > 0 && (s.aged == 0 || x.Received.Mono+ttl < s.aged) {
		s.aged = x.Received.Mono + ttl
	}
	s.open = true
}

// to brings the rules to an instant: what is in the image is judged at its own,
// and every timer and everything that gets stale before fires at its own. What
// is due at that instant itself comes with its readings.
func (s *side) to(at tag.Stamp) {
	if at.Mono <= s.now.Mono {
		return // as Step counts it
	}
	s.judge()
	for {
		due := s.next
		if s.aged != 0 && (due == 0 || s.aged < due) {
			due = s.aged
		}
		if due == 0 || due >= at.Mono {
			break
		}
		due = max(due, s.now.Mono)
		s.now = tag.Stamp{Wall: s.now.Wall + due - s.now.Mono, Mono: due}
		s.open = true
		s.judge()
	}
	s.now = at
}

// judge ends the turn of the instant now.
func (s *side) judge() {
	if !s.open {
		return
	}
	s.open = false
	if s.aged != 0 && s.aged <= s.now.Mono {
		s.aged = s.image.Age(s.now)
		s.moved = true
	}
	if s.moved || s.next != 0 && s.next <= s.now.Mono {
		s.stepOnce(s.now)
	} else {
		s.step++ // a step in which nothing moves changes nothing
	}
}

// upTo is to, and what is due at that instant as well.
func (s *side) upTo(at tag.Stamp) {
	s.to(at)
	s.open = true
	s.judge()
}

// do gives the rules a person's word again. The occurrence is the one that
// stands now.
func (s *side) do(at tag.Stamp, c rules.Command) *rules.RefusedError {
	s.to(at)
	s.judge()
	c.Occurrence = s.occurrence(c.Rule)
	if c.Verb == rules.Force {
		c.Value = s.asKind(c.Rule, c.Value)
	}
	err := rules.Do(s.engine, s.image, s.now, c, &s.out)
	var refused *rules.RefusedError
	if errors.As(err, &refused) {
		s.moved = true // what the step brought comes with the next
		return refused
	}
	s.step++
	s.moved = false
	s.settle()
	s.save()
	return nil
}

func (s *side) occurrence(rule string) uint64 {
	if a, ok := s.engine.Alarm(rule); ok {
		return a.Occurrence
	}
	l, _ := s.engine.Interlock(rule, s.now)
	return l.Occurrence
}

// asKind gives a forced number the kind of the tag.
func (s *side) asKind(name string, v tag.Value) tag.Value {
	for i := range s.plan.Tags {
		if t := &s.plan.Tags[i]; string(t.Name) == name && numeric(t.Kind) && numeric(v.Kind()) {
			switch t.Kind {
			case tag.Int:
				return tag.IntValue(v.Int())
			case tag.Float32:
				v, _ = tag.Float32Value(float32(v.Float()))
			default:
				v, _ = tag.Float64Value(v.Float())
			}
		}
	}
	return v
}

// has reports whether the plan has a rule.
func (s *side) has(name string) bool {
	if _, ok := s.engine.Alarm(name); ok {
		return true
	}
	_, ok := s.engine.Interlock(name, s.now)
	return ok
}

// devicesOf names the devices of tags.
func (s *side) devicesOf(read map[tag.ID]bool) map[string]bool {
	if s.device == nil {
		s.device = make([]int32, len(s.plan.Tags))
		for i := range s.set.Devices {
			for _, id := range s.set.Devices[i].Tags {
				s.device[id] = int32(i + 1)
			}
		}
	}
	names := map[string]bool{}
	for id := range read {
		if d := s.device[id]; d > 0 {
			names[s.set.Devices[d-1].Name] = true
		}
	}
	return names
}

// downOf reads how long the agent was away, as its start recorded it.
func downOf(e *wire.Event) time.Duration {
	if e.Value.Kind() == tag.None {
		return -1
	}
	return time.Duration(math.Round(e.Value.Float() * 1e9))
}
