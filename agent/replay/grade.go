package replay

import (
	"cmp"
	"reflect"
	"slices"
	"strings"
	"time"

	"davy/agent/config"
	"davy/drivers/tag"
	"davy/rules"
)

// grade says of every rule how far its replay can be believed.
func (r *run) grade() {
	r.recorded = byName(r.o.Present)
	r.tell()
	all := map[string]bool{}
	for _, p := range []*config.Plan{r.o.Present, r.o.New} {
		for i := range p.Rules.Alarms {
			all[p.Rules.Alarms[i].Name] = true
		}
		for i := range p.Rules.Interlocks {
			all[p.Rules.Interlocks[i].Name] = true
			r.cmp.rule(p.Rules.Interlocks[i].Name).Trip = true
		}
	}
	for name := range all {
		r.cmp.rule(name)
	}
	slices.Sort(r.cmp.names)
	// What followed another decision is not in the record: feedbacks are those of then.
	tripped := false
	for _, name := range r.cmp.names {
		w := r.cmp.rules[name]
		tripped = tripped || w.Trip && w.Changed()
	}
	in := [plans]*inputs{newInputs(r.o.Present), newInputs(r.o.New)}
	delay := [plans]map[string]time.Duration{delays(r.o.Present), delays(r.o.New)}
	for _, name := range r.cmp.names {
		w := r.cmp.rules[name]
		w.InPresent, w.InNew = r.side[present].has(name), r.side[fresh].has(name)
		why := r.common()
		for k, s := range r.side {
			if k == present && w.InNew || !s.has(name) {
				continue // what the new rules read counts; of a rule that is gone, what it read
			}
			v, _ := s.engine.Alarm(name)
			w.Of, w.Agent = v.Of, v.Agent
			var watched tag.ID
			if v.NotWatched {
				watched = v.Tag
			}
			why = append(why, r.tagsOf(s, in[k].of(name), watched)...)
			if d := delayOf(delay[k], name); d > time.Duration(r.rep.From-r.rep.Began) && !r.whole {
				why = append(why, Why{Code: "look-back", Tag: name, For: d})
			}
			if v.Of == "proof" && tripped {
				why = append(why, Why{Code: "feedback"})
			}
			why = append(why, r.acted(s, name, in[k].of(name))...)
		}
		if n := w.Record.Recorded + w.Record.Replayed; n > 0 {
			why = append(why, Why{Code: "differs", N: n})
		}
		w.Why = why
		w.Grade = gradeOf(why)
		r.rep.Rules = append(r.rep.Rules, w.Rule)
		r.rep.Record.Agree += w.Record.Agree
		r.rep.Record.Recorded += w.Record.Recorded
		r.rep.Record.Replayed += w.Record.Replayed
	}
}

func gradeOf(why []Why) Grade {
	g := Exact
	for _, w := range why {
		switch w.Code {
		case "never", "not-recorded":
			return Unknown
		}
		g = Approximate
	}
	return g
}

// common is what keeps every rule from being exact.
func (r *run) common() (why []Why) {
	add := func(code string, n int) {
		if n > 0 {
			why = append(why, Why{Code: code, N: n})
		}
	}
	add("gap", r.marks.gaps)
	add("unclean", r.marks.unclean)
	add("hole", r.marks.holes)
	add("nameless", r.marks.nameless)
	add("clock", r.marks.clock)
	add("plan", len(r.rep.Plans))
	add("damaged", len(r.rep.Damaged))
	return why
}

// tell lists what does not fit of the tags that the new rules read.
func (r *run) tell() {
	in := newInputs(r.o.New)
	read := map[tag.ID]bool{}
	for i := range r.o.New.Rules.Alarms {
		for id := range in.of(r.o.New.Rules.Alarms[i].Name) {
			read[id] = true
		}
	}
	for i := range r.o.New.Rules.Interlocks {
		for id := range in.of(r.o.New.Rules.Interlocks[i].Name) {
			read[id] = true
		}
	}
	for _, w := range r.tagsOf(r.side[fresh], read, 0) {
		if w.Code != "deadband" && w.Code != "look-back" {
			r.rep.Tags = append(r.rep.Tags, w)
		}
	}
}

// tagsOf says what keeps a rule that reads these tags from being exact. Of the tag
// that is only asked for whether it is watched no deadband counts: every change
// of quality is recorded.
func (r *run) tagsOf(s *side, read map[tag.ID]bool, watched tag.ID) (why []Why) {
	for id := range read {
		t := &s.plan.Tags[id]
		name := string(t.Name)
		for w := range r.tags[name] {
			why = append(why, w)
		}
		if before := time.Duration(r.rep.From - r.rep.Began); s.own[id] {
			if t.LookBack > before && !r.whole {
				why = append(why, Why{Code: "look-back", Tag: name, For: t.LookBack})
			}
			continue // its inputs are read, too
		}
		was, ok := r.recorded[recordedAs(t.Name, r.o.Renamed)]
		agents := ok && was.Link < 0 && len(was.Of) == 0
		switch {
		case ok && was.Record.Never:
			why = append(why, Why{Code: "never", Tag: name})
		case !s.heard[id] && !agents && !(t.Link < 0 && len(t.Of) == 0):
			why = append(why, Why{Code: "not-recorded", Tag: name})
		case ok && id != watched && was.Record.Change > 0 && numeric(was.Kind):
			why = append(why, Why{Code: "deadband", Tag: name, Change: was.Record.Change, Unit: was.Unit, Every: was.Record.Every})
		}
	}
	slices.SortFunc(why, func(a, b Why) int {
		return cmp.Or(cmp.Compare(a.Tag, b.Tag), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Was, b.Was))
	})
	return why
}

// acted counts the acts on a rule, its tags or their devices that were refused,
// and says whether something of before the replay began counts for it.
func (r *run) acted(s *side, name string, read map[tag.ID]bool) (why []Why) {
	names := []string{name}
	if base, ok := strings.CutSuffix(name, ".tripped"); ok {
		names = append(names, base)
	}
	n, held := 0, r.prior.differs[name]
	for id := range read {
		names = append(names, string(recordedAs(s.plan.Tags[id].Name, r.o.Renamed)))
	}
	for device := range s.devicesOf(read) {
		names = append(names, device)
	}
	for _, x := range names {
		n += r.refused[x]
		held = held || r.prior.heldOn(x) > 0
	}
	if n > 0 {
		why = append(why, Why{Code: "refused", N: n})
	}
	if held {
		why = append(why, Why{Code: "before"})
	}
	return why
}

// inputs knows which tags a rule of a plan reads, directly or not.
type inputs struct {
	set      *rules.Set
	computed map[tag.ID][]tag.ID
	rules    map[string][]any // what a name stands for: alarm, interlock, output
}

func newInputs(p *config.Plan) *inputs {
	in := &inputs{set: &p.Rules, computed: map[tag.ID][]tag.ID{}, rules: map[string][]any{}}
	for i := range p.Rules.Computed {
		c := &p.Rules.Computed[i]
		in.computed[c.Tag] = c.Program.Inputs()
	}
	for i := range p.Rules.Alarms {
		a := &p.Rules.Alarms[i]
		in.rules[a.Name] = append(in.rules[a.Name], a)
	}
	for i := range p.Rules.Interlocks {
		l := &p.Rules.Interlocks[i]
		in.rules[l.Name] = append(in.rules[l.Name], l)
		for _, d := range l.Demands { // its proof is asked for when this one trips
			in.rules[d.Output] = append(in.rules[d.Output], l)
		}
	}
	for i := range p.Rules.Outputs {
		o := &p.Rules.Outputs[i]
		in.rules[o.Name] = append(in.rules[o.Name], o)
	}
	return in
}

// of returns the tags of a rule. One that an interlock or an output brings with
// it reads what that reads: "NH3-150.degraded".
func (in *inputs) of(name string) map[tag.ID]bool {
	read := map[tag.ID]bool{}
	in.add(name, read, 0)
	return read
}

// maxUnder bounds how far an alarm stands under another.
const maxUnder = 16

func (in *inputs) add(name string, read map[tag.ID]bool, depth int) {
	if depth > maxUnder {
		return
	}
	whole := name
	for len(in.rules[name]) == 0 {
		i := strings.LastIndexByte(name, '.')
		if i < 0 {
			return
		}
		name = name[:i]
	}
	for _, x := range in.rules[name] {
		if _, output := x.(*rules.Output); output && whole == name {
			continue // no rule of that name
		}
		tagsIn(reflect.ValueOf(x), func(id tag.ID) { in.read(id, read) })
		if a, ok := x.(*rules.Alarm); ok && a.Under != "" {
			in.add(a.Under, read, depth+1)
		}
	}
}

func (in *inputs) read(id tag.ID, read map[tag.ID]bool) {
	if id == 0 || read[id] {
		return
	}
	read[id] = true
	for _, of := range in.computed[id] {
		in.read(of, read)
	}
}

// tagsIn finds every tag that a part of a set names, also those of fields that
// came later than this.
func tagsIn(v reflect.Value, f func(tag.ID)) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			tagsIn(v.Elem(), f)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			tagsIn(v.Field(i), f)
		}
	case reflect.Slice:
		for i := range v.Len() {
			tagsIn(v.Index(i), f)
		}
	case reflect.Uint32:
		if v.Type() == reflect.TypeFor[tag.ID]() {
			f(tag.ID(v.Uint()))
		}
	}
}

// longest is how far back what a plan's rules decide can reach: windows and delays.
func longest(p *config.Plan) (d time.Duration) {
	for i := range p.Tags {
		d = max(d, p.Tags[i].LookBack)
		if !p.Tags[i].Record.Never {
			d = max(d, 2*p.Tags[i].Record.Every)
		}
	}
	for _, x := range delays(p) {
		d = max(d, x)
	}
	return d
}
