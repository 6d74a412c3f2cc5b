package rules

import (
	"cmp"
	"slices"
	"time"

	"davy/drivers/tag"
)

// The record of a trip: what every input of the interlock said from
// RecordAround before the trip to RecordAround after it. Inputs are the tags of
// its channels, of its arming and reset conditions, of the proofs of its
// outputs, and of what computed ones of these are made of.
//
// A sample is a change: a reading stands until the next of its tag. The first of
// a tag may be older than the record begins, for it stood then. Where no reading
// of a tag is old enough the time before its first is not known: after a restart
// the record begins with "never read", and what was before it is not there.
//
// Each tag keeps what it needs in a bounded buffer, all made by New: 160
// samples of 40 bytes, 6.4 kB. A hundred interlocks of three channels of their
// own take 1.9 MB.
const (
	RecordAround = time.Minute
	// MaxRecord bounds the samples of one record. Of more inputs than fit with
	// five samples each those named last in the interlock are left out; where
	// there are more samples they are thinned as perSlot says, over slots of
	// twice the length, and twice that, until they fit.
	MaxRecord = 600
	// Of what changes more often than perSlot times in a recordSlot these are
	// kept: the first, the last, the least and the greatest value that may be
	// judged, and the worst quality.
	recordSlot = 4 * time.Second
	perSlot    = 5
	maxInputs  = MaxRecord / perSlot
	traceSlots = int(2*RecordAround/recordSlot) + 2 // one begun, and what stood before
)

// trace is what a tag said lately: a circular buffer of the changes.
type trace struct {
	samples []Sample
	first   int // the oldest
	n       int
	in      int // of them in the slot of the newest
}

func newTrace(size int) trace { return trace{samples: make([]Sample, size)} }

func (r *trace) at(i int) *Sample { return &r.samples[(r.first+i)%len(r.samples)] }

// see adds a reading that changed. It is of when it was received, if that is
// later than the last: what only aged, or looks otherwise, is of now.
func (r *trace) see(x *tag.Reading, now tag.Stamp) {
	s := Sample{Tag: x.Tag, At: x.Received, Value: x.Value, Quality: x.Quality}
	if r.n > 0 {
		last := r.at(r.n - 1)
		if last.Quality == s.Quality && last.Value == s.Value {
			return
		}
		if s.At.Mono <= last.At.Mono {
			s.At = now
		}
	}
	if s.At.Mono > now.Mono || s.At == (tag.Stamp{}) {
		s.At = now
	}
	r.add(&s, int64(recordSlot))
}

// add puts a sample behind the others and thins the slot of that length that it is in.
func (r *trace) add(s *Sample, slot int64) {
	if r.n > 0 && r.at(r.n-1).At.Mono/slot != s.At.Mono/slot {
		r.in = 0
	}
	if r.in == perSlot {
		r.drop()
	}
	if r.n == len(r.samples) {
		r.first = (r.first + 1) % len(r.samples)
		r.n--
	}
	*r.at(r.n) = *s
	r.n++
	r.in++
}

// drop takes one sample out of a full slot: the oldest behind the first that
// is neither the least, nor the greatest, nor of the worst quality. Those count
// the first one too, and the one that comes is kept in any case.
func (r *trace) drop() {
	from := r.n - perSlot
	least, greatest, worst := -1, -1, 0
	for i := range perSlot {
		s := r.at(from + i)
		if s.Quality.Status() < r.at(from+worst).Quality.Status() {
			worst = i
		}
		if !s.Quality.Usable() || s.Value.Kind() == tag.None {
			continue
		}
		if v := s.Value.Float(); least < 0 || v < r.at(from+least).Value.Float() {
			least = i
		}
		if v := s.Value.Float(); greatest < 0 || v > r.at(from+greatest).Value.Float() {
			greatest = i
		}
	}
	out := 1
	for out == least || out == greatest || out == worst {
		out++
	}
	for i := out; i < perSlot-1; i++ {
		*r.at(from + i) = *r.at(from + i + 1)
	}
	r.n--
	r.in--
}

// between appends what was said from from to to, with what stood at from.
func (r *trace) between(dst []Sample, from, to int64) []Sample {
	begin := 0
	for i := range r.n {
		if r.at(i).At.Mono <= from {
			begin = i
		}
	}
	for i := begin; i < r.n && r.at(i).At.Mono <= to; i++ {
		dst = append(dst, *r.at(i))
	}
	return dst
}

// thin makes at most most samples of those of one tag, if slots of that length do.
func thin(samples []Sample, slot int64) []Sample {
	r := newTrace(len(samples))
	for i := range samples {
		r.add(&samples[i], slot)
	}
	return r.samples[:r.n] // never full: the oldest is the first
}

// record is the trip of an interlock whose record is not complete.
type record struct {
	inputs     []int32 // → traces
	open       bool
	test       bool // the trip was one
	occurrence uint64
	trip       tag.Stamp
}

// record begins the record of a trip. That of an earlier one is closed with
// what there is.
func (e *Engine) record(v *Event) {
	f, _ := e.named(v.Rule)
	i := f.index()
	r := &e.records[i]
	if r.open {
		e.recorded(i, v.At)
	}
	r.open, r.test, r.occurrence, r.trip = true, v.Test, v.Occurrence, v.At
	e.timers.set(e.recordSlot(i), v.At.Mono+int64(RecordAround))
}

func (e *Engine) recordSlot(i int) int { return e.slots.of(refRecord, i, recordTimer) }

// recorded ends the record of a trip at t and says it.
func (e *Engine) recorded(i int, t tag.Stamp) {
	r, l := &e.records[i], &e.interlocks[i]
	r.open = false
	e.timers.stop(e.recordSlot(i))
	e.durable = true
	e.emit(Event{
		Kind: InterlockRecorded, At: t, Rule: l.name, Occurrence: r.occurrence, Priority: l.priority, Test: r.test,
		Record: e.samples(r, t),
	})
}

// samples collects a record, in the order of time.
func (e *Engine) samples(r *record, t tag.Stamp) []Sample {
	parts := make([][]Sample, len(r.inputs))
	n := 0
	for k, i := range r.inputs {
		parts[k] = e.traces[i].between(nil, r.trip.Mono-int64(RecordAround), min(t.Mono, r.trip.Mono+int64(RecordAround)))
		n += len(parts[k])
	}
	for slot := 2 * int64(recordSlot); n > MaxRecord; slot *= 2 {
		n = 0
		for k := range parts {
			parts[k] = thin(parts[k], slot)
			n += len(parts[k])
		}
	}
	all := slices.Concat(parts...)
	slices.SortStableFunc(all, func(a, b Sample) int { return cmp.Compare(a.At.Mono, b.At.Mono) })
	return all
}

// startRecords anchors what Restore brought to the clock of this run.
func (e *Engine) startRecords(anchor func(*tag.Stamp)) {
	for i := range e.records {
		anchor(&e.records[i].trip)
	}
}

// firstRecords goes on with the records that Restore brought.
func (e *Engine) firstRecords(now tag.Stamp) {
	for i := range e.records {
		r := &e.records[i]
		switch at := r.trip.Mono + int64(RecordAround); {
		case !r.open:
		case at <= now.Mono:
			e.recorded(i, now)
		default:
			e.timers.set(e.recordSlot(i), at)
		}
	}
}

// records finds the inputs of every interlock.
func (b *builder) records(add func(tag.ID, ref)) {
	e := b.e
	traces := map[tag.ID]int32{}
	e.records = make([]record, len(e.set.Interlocks))
	for i := range e.set.Interlocks {
		r := &e.records[i]
		for _, id := range inputs(&e.set, &e.set.Interlocks[i]) {
			if len(r.inputs) == maxInputs {
				break
			}
			at, known := traces[id]
			if !known {
				at = int32(len(e.traces))
				traces[id] = at
				e.traces = append(e.traces, newTrace(traceSlots*perSlot))
				add(id, refTrace|ref(at))
			}
			r.inputs = append(r.inputs, at)
		}
	}
}

// inputs returns the tags that an interlock looks at, each once.
func inputs(set *Set, l *Interlock) (ids []tag.ID) {
	var put func(id tag.ID)
	put = func(id tag.ID) {
		if id == 0 || slices.Contains(ids, id) {
			return
		}
		ids = append(ids, id)
		for k := range set.Computed {
			if c := &set.Computed[k]; c.Tag == id && c.Program != nil {
				for _, of := range c.Program.Inputs() {
					put(of)
				}
			}
		}
	}
	for k := range l.Channels {
		put(l.Channels[k].Cond.Tag)
	}
	put(l.Arm.Tag)
	put(l.ArmDue.Tag)
	put(l.ResetWhen.Tag)
	for k := range l.Permissives {
		put(l.Permissives[k].Cond.Tag)
	}
	proof := func(name string) *Output {
		o := slices.IndexFunc(set.Outputs, func(o Output) bool { return o.Name == name })
		if o < 0 {
			return nil
		}
		if set.Outputs[o].Proved {
			put(set.Outputs[o].Proof.Tag)
		}
		return &set.Outputs[o]
	}
	for _, d := range l.Demands {
		if o := proof(d.Output); o != nil {
			for _, name := range o.Escalate {
				proof(name)
			}
		}
	}
	return ids
}
