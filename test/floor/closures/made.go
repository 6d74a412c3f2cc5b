package closures

import (
	"math"
	"time"

	"davy/drivers/tag"
)

// How much of a window must have been seen, and what is kept of it: the current
// slot, Slots before it, and the value at the end of the one before these.
const (
	ring   = Slots + 2
	length = int64(RateOver) / Slots
	miss   = int64(RateOver) / 4
)

// rate returns the closure of "rate(temp, 1min)", per second: the value now less
// that at the beginning of the oldest slot, over the time between. Without three
// quarters of the window it is not known.
func (p *Plant) rate(u *unit, id int) func() {
	type slot struct {
		end    float64
		seen   bool // its end
		missed int64
	}
	var (
		slots  [ring]slot
		cur    int
		start  int64 // of the current slot
		at     int64 // up to when it is counted
		held   float64
		ok     bool
		said   tag.Quality
		begun  bool
		missed int64 // of all but the current slot and the two oldest
	)
	m := &u.made[0]
	past := func(i int) *slot {
		if i = cur - i; i < 0 {
			i += ring
		}
		return &slots[i]
	}
	count := func(to int64) {
		if !ok {
			slots[cur].missed += to - at
		}
		at = to
	}
	judge := func() {
		into := at - start
		lost := missed + slots[cur].missed + int64(float64(past(Slots).missed)*(float64(length-into)/float64(length)))
		from := past(Slots + 1)
		m.ok = ok && from.seen && lost <= miss
		if m.ok {
			m.value = (held - from.end) / (float64(Slots*length+into) / float64(time.Second))
		}
	}
	return func() {
		if !begun {
			begun, at, start = true, p.now, p.now-p.now%length
			for i := range slots {
				slots[i].missed = length
			}
			slots[cur].missed = at - start
			missed = (Slots - 1) * length
		}
		turned := false
		for p.now-start >= length {
			count(start + length)
			slots[cur].end, slots[cur].seen = held, ok
			missed += slots[cur].missed - past(Slots-1).missed
			start += length
			if cur++; cur == ring {
				cur = 0
			}
			slots[cur] = slot{}
			turned = true
		}
		if turned { // what time alone has changed is judged before what was read
			judge()
			m.then()
		}
		r := &p.image[id]
		v, is := 0.0, usable(r)
		if is {
			v = r.Value.Float()
		}
		if v != held || r.Quality != said {
			count(p.now)
			held, ok, said = v, is, r.Quality
			judge()
		}
	}
}

// deviation returns the closure of "abs(temp - sibling)".
func (p *Plant) deviation(u *unit, a, b int) func() {
	m := &u.made[1]
	return func() {
		x, y := &p.image[a], &p.image[b]
		m.ok = usable(x) && usable(y)
		m.value = math.Abs(x.Value.Float() - y.Value.Float())
	}
}

// logic returns the closure of "level > 25 and (pressure < 10 or contact) and
// abs(temp - sibling) > 3": what is known to decide decides.
func (p *Plant) logic(u *unit, base int) func() {
	m, deviation := &u.made[2], &u.made[1]
	level, pressure, contact := base+Level, base+Pressure, base+Contact
	return func() {
		l, r, c := &p.image[level], &p.image[pressure], &p.image[contact]
		lOK, rOK, cOK := usable(l), usable(r), usable(c)
		full, low, shut := l.Value.Float() > 25, r.Value.Float() < 10, c.Value.True()
		either, eitherOK := rOK && low || cOK && shut, rOK && cOK || rOK && low || cOK && shut
		apart := deviation.value > 3
		switch {
		case lOK && !full, eitherOK && !either, deviation.ok && !apart:
			m.value, m.ok = 0, true
		default:
			m.value, m.ok = 1, lOK && eitherOK && deviation.ok
		}
	}
}
