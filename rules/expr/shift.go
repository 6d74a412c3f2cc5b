package expr

import (
	"math"
	"time"

	"davy/drivers/tag"
	"davy/rules/shift"
)

// The bounds of exposure.
const (
	// ShortTerm is the time that stel is the mean of (PC-STEL); WorkDay is what
	// twa is shared over, however long the shift is (PC-TWA).
	ShortTerm = 15 * time.Minute
	WorkDay   = 8 * time.Hour

	// Beat is how often a value of the running shift is reckoned where nothing
	// else asks for it. It is a slot of stel.
	Beat = ShortTerm / Slots

	// Slip is how far the wall clock may go from where the monotonic one says
	// before it has stepped. A shift begins and ends within this of its time.
	Slip = time.Second

	// StepBack is how far the wall clock may step back to before the running
	// shift's beginning without another one being begun.
	StepBack = time.Hour

	// Coverage is the part of a window or a shift that must have been seen for a
	// value of the whole of it, where nothing else is written.
	Coverage = 0.75
)

// What a clock can say: it is held to this.
const (
	firstWall = 0
	lastWall  = int64(8e18)
	unwatched = 48 * time.Hour // nobody asked for so long: what was held then is not known to have lasted
)

// shifted is what a function of the shift has seen of the running one, and
// what it made of the one before. Start and end are wall times in ns; all else
// is counted by Mono.
type shifted struct {
	start, end int64 // both 0: none
	offset     int64 // wall less Mono, as believed
	seen, lost int64 // ns
	sum        float64
	top        float64
	has        bool // something was seen in this shift
	unsure     bool // a reading was uncertain or at its upper limit, or the clock was put back
	doubt      bool // the clock is not to be relied on
	alone      bool // it is not followed
	over       bool // a shift is over
	last       float64
	lastQ      tag.Quality
}

// exposure is the argument of a function of exposure: what a detector says while
// it is tested is not the air, and less than nothing is nothing.
func exposure(arg run, concentration bool) run {
	return func(image []tag.Reading, st *State) (float64, tag.Quality) {
		f, q := arg(image, st)
		switch {
		case q&tag.Test != 0 && !q.Bad():
			return 0, tag.MakeQuality(tag.Bad, tag.FunctionCheck, 0)
		case concentration && f < 0:
			f = 0
		}
		return f, q
	}
}

// ofShift reports whether a window is the running shift or the one before.
func (k windowKind) ofShift() bool { return k >= winTWA }

// moveShift takes the argument of an instant. Nothing changes, not a bit, where
// the argument is what it was, no beat and no shift ends, and no clock steps.
func (p *windowPlan) moveShift(w *window, f float64, q tag.Quality, now tag.Stamp, doubt bool) {
	s := w.shift
	now.Wall = min(max(now.Wall, firstWall), lastWall)
	judge := s.end == 0
	if judge {
		w.at, w.since, w.start = now.Mono, now.Mono, beat(now.Mono)
		s.offset, s.doubt = now.Wall-now.Mono, doubt
		p.openShift(w, now.Wall)
	}
	if doubt != s.doubt {
		s.doubt, judge = doubt, true
	}
	judge = p.pass(w, now) || judge
	if now.Mono-w.start >= int64(Beat) {
		p.countShift(w, now.Mono)
		w.start, judge = beat(now.Mono), true
	}
	if f != w.held || q != w.heldQ {
		p.countShift(w, now.Mono)
		judge = judge || q.Usable() != w.heldQ.Usable()
		w.held, w.heldQ = f, q
		judge = p.touchShift(w) || judge
	}
	if judge {
		w.value, w.quality = p.judgeShift(w)
	}
}

// beat returns the beat that an instant lies in.
func beat(mono int64) int64 { return mono - (mono%int64(Beat)+int64(Beat))%int64(Beat) }

// pass brings the shift to an instant, and reports whether another one began or
// the clock stepped.
func (p *windowPlan) pass(w *window, now tag.Stamp) (moved bool) {
	s := w.shift
	for n := 0; s.end <= now.Mono+s.offset; n++ {
		moved = true
		p.countShift(w, s.end-s.offset)
		if wall := now.Mono + s.offset; wall-s.end > int64(unwatched) || n > 2*shift.Most {
			w.at = now.Mono
			p.jump(w, s.end, min(wall, lastWall))
			break
		}
		p.finishShift(w)
		p.openShift(w, s.end)
	}
	if from := now.Mono + s.offset; now.Wall-from >= int64(Slip) || from-now.Wall >= int64(Slip) {
		moved = p.follow(w, now, from, moved) || moved
	} else {
		s.alone = false
	}
	return moved
}

// follow takes what the wall clock says where it does not say what was believed. A
// clock in doubt that says it is long ago is not followed while a shift lasts, until
// it is put forward to what was believed: it has lost its time, as at a start
// without a battery.
func (p *windowPlan) follow(w *window, now tag.Stamp, from int64, ended bool) bool {
	s := w.shift
	lone := now.Wall < s.start-int64(StepBack)
	if s.alone {
		lone = !ended
	}
	if s.doubt && lone && now.Wall < from {
		s.alone, s.unsure = true, true
		return false
	}
	p.countShift(w, now.Mono)
	s.alone = false
	s.offset = now.Wall - now.Mono
	p.jump(w, from, now.Wall)
	return true
}

// jump is time on the wall that nobody saw: the clock was put forward or back,
// or Davy was down.
func (p *windowPlan) jump(w *window, from, to int64) {
	s, end := w.shift, w.shift.end
	switch {
	case to >= end:
		s.lost += end - from
		p.finishShift(w)
		p.openShift(w, to)
		if s.start > end { // the shift before this one was another, and nothing was seen of it
			s.last, s.lastQ = 0, tag.BadNeverRead
		}
	case to >= from:
		s.lost += to - from
	case to >= s.start-int64(StepBack):
		s.unsure = true
	default: // what was counted belongs to a shift that has not been
		p.openShift(w, to)
		if s.unsure = true; !s.doubt {
			s.over, s.last, s.lastQ = true, 0, tag.BadNeverRead
		}
	}
}

// openShift begins the shift that an instant lies in. What it had before that was not seen.
func (p *windowPlan) openShift(w *window, wall int64) {
	s := w.shift
	s.start, s.end = p.shifts.Around(wall)
	s.seen, s.lost, s.sum, s.top, s.has, s.unsure = 0, wall-s.start, 0, 0, false, false
	p.touchShift(w)
}

// countShift counts what is held, up to an instant.
func (p *windowPlan) countShift(w *window, to int64) {
	s, d := w.shift, to-w.at
	if d <= 0 {
		return
	}
	w.at = to
	if !w.heldQ.Usable() {
		s.lost += d
		return
	}
	s.seen += d
	if p.kind == winTWA || p.kind == winTWALast {
		// The product is rounded by itself, so that every machine has the same sum.
		s.sum = min(s.sum+float64(w.held*(float64(d)/float64(time.Second))), math.MaxFloat64)
	}
}

// touchShift lets what is held into the shift, and reports whether that is the highest
// or the first that is not sure.
func (p *windowPlan) touchShift(w *window) bool {
	s := w.shift
	if !w.heldQ.Usable() {
		return false
	}
	was := s.unsure
	s.unsure = was || !w.heldQ.Good() || w.heldQ&tag.LimitHigh != 0
	higher := !s.has || w.held > s.top
	if higher {
		s.has, s.top = true, w.held
	}
	return higher || s.unsure != was
}

// finishShift makes the value of a whole shift. What was not seen of it counts as
// the mean of what was.
func (p *windowPlan) finishShift(w *window) {
	s := w.shift
	length := s.end - s.start
	missed := max(s.lost, length-s.seen)
	s.over, s.last, s.lastQ = true, 0, bad(w.heldQ)
	if missed > p.most(length) || !s.has {
		return
	}
	f, q := s.top, tag.GoodQuality
	if p.kind == winTWALast {
		f = s.sum
		if missed > int64(Slip) && s.seen < length { // more where the clock was put back
			f = f / float64(s.seen) * float64(length)
		}
		f /= WorkDay.Seconds()
	}
	if missed > int64(Slip) || s.unsure || s.doubt {
		q = subNormal
	}
	s.last, s.lastQ = finite(f, q)
}

// most is how much of a length may not have been seen.
func (p *windowPlan) most(length int64) int64 {
	return length - int64(float64(length)*p.need)
}

// judgeShift says what a shift holds, at w.at. What was not seen of the running one
// counts as nothing: its value is at least that.
func (p *windowPlan) judgeShift(w *window) (float64, tag.Quality) {
	s := w.shift
	switch p.kind {
	case winTWALast, winTopLast:
		if !s.over {
			return 0, tag.BadNeverRead
		}
		return s.last, s.lastQ
	case winSeen:
		part := 1 - float64(s.lost)/float64(s.end-s.start)
		return 100 * max(part, 0), tag.GoodQuality
	}
	if !s.has {
		return 0, bad(w.heldQ)
	}
	q := tag.GoodQuality
	if s.lost > int64(Slip) || s.unsure || s.doubt {
		q = subNormal
	}
	if p.kind == winTWA {
		return finite(s.sum/WorkDay.Seconds(), q)
	}
	return s.top, q
}

// beginShift anchors a restored shift to the clocks of this run. Where there was a
// gap, what was held up to the snapshot counts, and then nothing was seen.
func (p *windowPlan) beginShift(w *window, now tag.Stamp, gap, doubt bool) {
	s := w.shift
	now.Wall = min(max(now.Wall, firstWall), lastWall)
	w.at, w.start, w.since = w.at+now.Mono, w.start+now.Mono, w.since+now.Mono
	from := s.offset // as a snapshot has it: the wall time
	s.offset -= now.Mono
	if !gap {
		return
	}
	alone := s.alone // a clock that had lost its time has not found it by a start
	ended := p.pass(w, tag.Stamp{Wall: from, Mono: now.Mono})
	p.countShift(w, now.Mono)
	s.alone = alone
	w.held, w.heldQ, w.start, s.doubt = 0, tag.BadNeverRead, beat(now.Mono), doubt
	p.follow(w, now, from, ended)
	w.value, w.quality = p.judgeShift(w)
}

// nextShift returns when a value of the shift may change without a reading.
func (p *windowPlan) nextShift(w *window) int64 {
	return min(w.start+int64(Beat), w.shift.end-w.shift.offset)
}
