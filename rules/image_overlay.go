package rules

import "davy/drivers/tag"

// Overlay is what persons made of a tag's readings. The engine owns why and
// how long (Outcome.Overlays); the image shows it.
//
//	Removed  bad, out of service, the value kept. The flags Test and Forced
//	         are taken off, for a vote leaves out what is tested: a detector out of
//	         service counts as bad.
//	Forced   Value, uncertain, substituted, with the flag tag.Forced: shown and
//	         recorded, and not judged (tag.Quality.Usable). A vote counts it as bad,
//	         a limit does not look at it.
//	Test     the flag tag.Test, on whatever else is said
//
// Removed hides the other two.
type Overlay struct {
	Tag     tag.ID
	Removed bool
	Test    bool
	Forced  bool
	Value   tag.Value // of Forced
}

// nothing reports whether readings look as they came.
func (o *Overlay) nothing() bool { return !o.Removed && !o.Test && !o.Forced }

// look returns how a reading looks under the overlay. Its times stay: freshness
// is the source's.
func (o *Overlay) look(r tag.Reading) tag.Reading {
	switch flags := r.Quality.Flags(); {
	case o.Removed:
		r.Quality = tag.MakeQuality(tag.Bad, tag.OutOfService, flags&(tag.Constant|tag.Maintenance))
		return r
	case o.Forced:
		r.Value = o.Value
		r.Quality = tag.MakeQuality(tag.Uncertain, tag.Substituted, flags&(tag.Test|tag.Maintenance)|tag.Forced)
	}
	if o.Test {
		r.Quality |= tag.Test
	}
	return r
}

// take keeps a reading as it came and returns how it looks.
func (l *laid) take(r tag.Reading) tag.Reading {
	if !l.came {
		l.before, l.came = l.raw, true
	}
	l.raw = r
	return l.look(r)
}

// Overlay changes how the present reading of o.Tag and every later one look,
// and reports whether the present one changed. One of nothing ends it: the
// reading is again what came last from its source, aged as it would have been.
func (m *Image) Overlay(o Overlay) (changed bool) {
	m.check(o.Tag)
	m.release()
	l := m.lay(o)
	r := l.raw
	if l.nothing() {
		m.lift(o.Tag)
	}
	return m.show((&o).look(r))
}

// Overlaid reports whether anything lies over a tag.
func (m *Image) Overlaid(id tag.ID) bool { return m.place[id] > 0 }

// lay gives a tag its overlay.
func (m *Image) lay(o Overlay) *laid {
	k := m.place[o.Tag]
	if k == 0 {
		m.laid = append(m.laid, laid{raw: m.readings[o.Tag]})
		k = int32(len(m.laid))
		m.place[o.Tag] = k
	}
	l := &m.laid[k-1]
	l.Overlay = o
	return l
}

// lift forgets a tag's overlay.
func (m *Image) lift(id tag.ID) {
	k, last := m.place[id], len(m.laid)-1
	m.laid[k-1] = m.laid[last]
	m.place[m.laid[k-1].Tag] = k
	m.laid, m.place[id] = m.laid[:last], 0
}

// overlayBefore is Overlay for a moment between the last TakeChanged and now:
// it shows the reading as it was then and marks nothing. catchUp comes next.
func (m *Image) overlayBefore(o Overlay) {
	l := m.lay(o)
	r := l.raw
	if l.came {
		r = l.before
	}
	m.readings[o.Tag] = o.look(r)
}

// catchUp shows after overlayBefore what came since.
func (m *Image) catchUp() {
	m.release()
	for i := len(m.laid) - 1; i >= 0; i-- {
		l := &m.laid[i]
		m.show(l.look(l.raw))
		if l.nothing() {
			m.lift(l.Tag)
		}
	}
}
