package expr

import (
	"math"
	"time"

	"davy/drivers/tag"
	"davy/rules/shift"
)

// windowKind is one function over time. Numbers are in snapshots: append only.
type windowKind uint8

const (
	_ windowKind = iota
	winSince
	winStuck
	winDelta
	winRate
	winAvg
	winMax
	winMin
	winCount
	winTWA // from here on of the shift: ofShift
	winTop
	winSeen
	winTWALast
	winTopLast
)

// ring is how many slots are kept: the current one, Slots before it, and the
// end of the one before these.
const ring = Slots + 2

// windowPlan is what a window is. Immutable.
type windowPlan struct {
	text  string // as printed: by it a restored window is found
	kind  windowKind
	span  int64 // ns
	slot  int64 // ns; 0 of since and stuck
	miss  int64 // ns: a window of which more than this was not usable is bad
	need  float64
	band  float64
	turns int64 // of since: see node
	arg   run

	shifts *shift.Table // of windows of the shift
	clock  tag.ID       // of these: true while the wall clock is in doubt; 0 none
}

func planWindow(n *node, env *Env) windowPlan {
	p := windowPlan{text: write(n), kind: n.fn.window, span: n.span, need: Coverage, turns: n.turns, arg: build(n.args[0])}
	if n.need > 0 {
		p.need = n.need
	}
	switch {
	case p.kind.ofShift():
		p.shifts, p.clock = env.Shifts, env.ClockInDoubt
	case p.kind > winStuck:
		p.slot = p.span / Slots
		p.miss = p.most(Slots * p.slot)
	}
	if n.fn.form == formStel || n.fn.form == formShift {
		p.arg = exposure(p.arg, n.fn.concentration)
	}
	if len(n.args) > 2 {
		p.band = n.args[2].num
	}
	return p
}

// slot is a part of a window: of avg_over f is the mean of what was usable, of
// max_over and min_over the extreme, of count_over the count, of delta and rate
// the value at its end.
type slot struct {
	f    float64
	miss int64       // ns that were not usable
	q    tag.Quality // the worst that was usable; 0 where nothing was
}

// window is what a window has seen. Times are Mono.
type window struct {
	value   float64 // what it says
	quality tag.Quality

	held  float64 // the argument, since at
	heldQ tag.Quality
	at    int64 // up to when it is counted

	// since: since is when it became true. stuck: when it last moved, from ref.
	// count_over: known and on are the last usable argument. Of the others
	// since is when the argument last changed.
	since     int64
	ref       float64
	known, on bool

	start int64 // of the current slot
	cur   int   // its place in ring
	ring  []slot

	loaded bool // restored: its times count from the snapshot until the first step

	shift *shifted // of windows of the shift; start is the last beat there
}

// State is what a program with windows remembers. It belongs to one goroutine.
type State struct {
	program *Program
	windows []window
	now     int64
	begun   bool
	gap     int64 // of a restored state: from its snapshot to the first step
	wall    int64 // of a restored state: wall time of its snapshot
}

// NewState returns an empty state, nil for a program without windows.
func (p *Program) NewState() *State {
	if p.windows == nil {
		return nil
	}
	st := &State{program: p, windows: make([]window, len(p.windows))}
	for i, plan := range p.windows {
		if plan.slot > 0 {
			st.windows[i].ring = make([]slot, ring)
		}
		if plan.kind.ofShift() {
			st.windows[i].shift = &shifted{}
		}
	}
	return st
}

// step brings every window to now, inner ones first.
func (st *State) step(image []tag.Reading, now tag.Stamp) {
	if !st.begun {
		st.begin(now, func(p *windowPlan) bool { return p.doubt(image) })
	}
	if now.Mono < st.now {
		now.Wall, now.Mono = now.Wall+(st.now-now.Mono), st.now
	}
	st.now = now.Mono
	for i := range st.windows {
		p, w := &st.program.windows[i], &st.windows[i]
		f, q := p.arg(image, st)
		if q.Bad() {
			f = 0 // so that it is equal to itself
		}
		if w.shift == nil {
			p.move(w, f, q, st.now)
			continue
		}
		p.moveShift(w, f, q, now, p.doubt(image))
	}
}

// doubt reports whether the wall clock is in doubt.
func (p *windowPlan) doubt(image []tag.Reading) bool {
	return p.clock > 0 && int(p.clock) < len(image) && image[p.clock].Quality.Usable() && image[p.clock].Value.True()
}

// begin starts the windows, or anchors restored ones: what lies between the
// snapshot and now was not seen.
func (st *State) begin(at tag.Stamp, doubt func(*windowPlan) bool) {
	now := at.Mono
	st.begun, st.now = true, now
	for i := range st.windows {
		p, w := &st.program.windows[i], &st.windows[i]
		switch {
		case w.shift != nil:
			if w.loaded {
				p.beginShift(w, at, st.gap > 0, doubt(p))
			}
			continue
		case !w.loaded:
			p.open(w, now)
			continue
		}
		w.at, w.since, w.start = w.at+now-st.gap, w.since+now-st.gap, w.start+now-st.gap
		if st.gap > 0 {
			p.move(w, 0, tag.BadNeverRead, now-st.gap)
		}
	}
}

// open starts a window that has seen nothing. Its slots lie on multiples of
// their length, whenever the first step comes.
func (p *windowPlan) open(w *window, now int64) {
	*w = window{ring: w.ring, at: now, since: now, start: now}
	if p.slot == 0 {
		return
	}
	w.start = now - (now%p.slot+p.slot)%p.slot
	for i := range w.ring {
		w.ring[i] = slot{miss: p.slot}
	}
	w.ring[0] = slot{miss: now - w.start}
}

// move takes the argument of an instant. Where it is what it was and no slot
// ends nothing changes, not a bit.
func (p *windowPlan) move(w *window, f float64, q tag.Quality, now int64) {
	if p.slot == 0 {
		p.moveTimer(w, f, q, now)
		return
	}
	ended := now-w.start >= p.slot
	if ended {
		p.turn(w, now)
	}
	changed := f != w.held || q != w.heldQ
	if changed {
		p.count(w, now)
		if q.Usable() && p.kind == winCount {
			if f != 0 && w.known && !w.on {
				w.ring[w.cur].f++
			}
			w.known, w.on = true, f != 0
		}
		w.held, w.heldQ, w.since = f, q, now
		p.touch(w)
	}
	if changed || ended {
		w.value, w.quality = p.judge(w)
	}
}

// turn ends slots until now lies in the current one. Of a long time only the
// slots that are still in the window are made.
func (p *windowPlan) turn(w *window, now int64) {
	n := (now - w.start) / p.slot
	if skip := n - ring; skip > 0 {
		w.start += skip * p.slot
		w.at = w.start
		w.ring[w.cur] = slot{}
		p.touch(w)
	}
	for now-w.start >= p.slot {
		end := w.start + p.slot
		p.count(w, end)
		if p.kind == winDelta || p.kind == winRate {
			w.ring[w.cur].f, w.ring[w.cur].q = w.held, 0
			if w.heldQ.Usable() {
				w.ring[w.cur].q = w.heldQ
			}
		}
		w.start = end
		if w.cur++; w.cur == ring {
			w.cur = 0
		}
		w.ring[w.cur] = slot{}
		p.touch(w)
	}
}

// count counts what is held, up to an instant, in the current slot.
func (p *windowPlan) count(w *window, to int64) {
	s, d := &w.ring[w.cur], to-w.at
	if d <= 0 {
		return
	}
	if !w.heldQ.Usable() {
		s.miss += d
	} else if p.kind == winAvg {
		before := w.at - w.start - s.miss
		s.f = mix(s.f, before, w.held, d)
	}
	w.at = to
}

// mix is the mean of two means by their times; of equal ones it is exactly that.
func mix(a float64, at int64, b float64, bt int64) float64 {
	if at <= 0 {
		return b
	}
	// The product is rounded by itself, so that every machine has the same mean.
	return a + float64((b-a)*(float64(bt)/float64(at+bt)))
}

// touch lets what is held into the current slot.
func (p *windowPlan) touch(w *window) {
	if !w.heldQ.Usable() {
		return
	}
	s := &w.ring[w.cur]
	switch first := s.q == 0; p.kind {
	case winMax:
		if first || w.held > s.f {
			s.f = w.held
		}
	case winMin:
		if first || w.held < s.f {
			s.f = w.held
		}
	}
	if s.q == 0 {
		s.q = w.heldQ
	}
	s.q = worst(s.q, w.heldQ)
}

// past returns the slot i before the current one.
func (w *window) past(i int) *slot { return &w.ring[(w.cur-i+ring)%ring] }

// judge says what a window holds, at w.at.
func (p *windowPlan) judge(w *window) (float64, tag.Quality) {
	into := w.at - w.start // of the current slot
	old := w.past(Slots)
	left := p.slot - into // of the oldest
	missed := w.ring[w.cur].miss + int64(float64(old.miss)*(float64(left)/float64(p.slot)))
	q := tag.GoodQuality
	f, weight := 0.0, int64(0)
	for i := Slots; i >= 0; i-- {
		s := w.past(i)
		if i > 0 && i < Slots {
			missed += s.miss
		}
		if s.q != 0 {
			q = worst(q, s.q)
		}
		switch p.kind {
		case winCount:
			f += s.f
		case winMax, winMin:
			if s.q != 0 && (weight == 0 || s.f > f == (p.kind == winMax)) {
				f, weight = s.f, 1
			}
		case winAvg:
			t := p.slot
			if i == 0 {
				t = into
			}
			t -= s.miss
			if i == Slots {
				t = int64(float64(t) * (float64(left) / float64(p.slot)))
			}
			if t > 0 {
				f = mix(f, weight, s.f, t)
				weight += t
			}
		}
	}
	if missed > p.miss {
		return 0, bad(w.heldQ)
	}
	if missed > 0 {
		q = worst(q, subNormal)
	}
	if p.kind == winDelta || p.kind == winRate {
		ref := w.past(Slots + 1)
		if ref.q == 0 || !w.heldQ.Usable() {
			return 0, bad(w.heldQ)
		}
		f, q = w.held-ref.f, worst(q, ref.q)
		if p.kind == winRate {
			f /= float64(Slots*p.slot+into) / float64(time.Second)
		}
	}
	return finite(f, q)
}

// moveTimer is move for since and stuck.
func (p *windowPlan) moveTimer(w *window, f float64, q tag.Quality, now int64) {
	w.at, w.held, w.heldQ, w.quality = now, f, q, q
	if p.kind == winSince {
		if q.Usable() {
			if f != 0 && !w.on {
				w.since = now
			}
			w.on = f != 0
		}
		w.value = 0
		if w.on {
			d := now - w.since
			if p.turns == 0 {
				d -= d % int64(time.Second)
			}
			w.value = float64(d) / float64(time.Second)
		}
		return
	}
	if q.Usable() && (!w.known || math.Abs(f-w.ref) > p.band) {
		w.known, w.ref, w.since = true, f, now
	}
	w.value = one(w.known && now-w.since >= p.span)
}

// Next returns the Mono of the next instant at which the value may change
// without a reading; 0 none. At an instant that is over it was due already.
func (st *State) Next() int64 {
	if st == nil || !st.begun {
		return 0
	}
	next := int64(0)
	for i := range st.windows {
		if at := st.program.windows[i].next(&st.windows[i], st.now); at > st.now && (next == 0 || at < next) {
			next = at
		}
	}
	return next
}

func (p *windowPlan) next(w *window, now int64) int64 {
	switch {
	case p.kind.ofShift():
		return p.nextShift(w)
	case p.kind == winStuck:
		if !w.known {
			return 0
		}
		return w.since + p.span
	case p.kind == winSince:
		if !w.on || p.turns < 0 {
			return 0
		}
		if p.turns > 0 {
			return w.since + p.turns
		}
		d := now - w.since
		return now + int64(time.Second) - d%int64(time.Second)
	case w.start-w.since > (ring+1)*p.slot:
		return 0 // it holds nothing but what is held
	}
	return w.start + p.slot
}
