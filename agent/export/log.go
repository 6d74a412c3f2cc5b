package export

import (
	"davy/agent/merkle"
)

// log computes the log of one epoch from the frames of its section, twice: as
// the blocks make it, and as the hashes in the file say it is.
type log struct {
	pos   int64 // leaves so far, holes among them
	start int64 // of the group that is under way
	peaks []peak
	leaf  [group]entry
	subs  [2 * group]said // S frames within the group, at slot
	holes []hole          // leaves without a block and without a hash, of closed groups
	off   []hole          // stretches whose hashes do not fit what is said of them
	// gone counts leaves of which only the hash is here, lastGone is the last of them.
	gone     int64
	lastGone int64
}

type entry struct {
	body       bool // a block is here; made and said are set
	gone       bool // an S frame covers it instead
	made, said merkle.Hash
}

type said struct {
	hash merkle.Hash
	here bool
	told bool // that it does not fit
}

// slot is where a subtree within the group stands in subs.
func (l *log) slot(level int, index int64) *said {
	return &l.subs[int64(1)<<(groupLevel-level)+index-l.start>>level]
}

// hole is a stretch of leaves, both inclusive.
type hole struct{ from, to int64 }

// value is a node both ways.
type value struct {
	made, said     merkle.Hash
	okMade, okSaid bool
}

type peak struct {
	level int
	value
}

// maxHoles is how many stretches an epoch may lack; further ones are counted
// with the last.
const maxHoles = 1024

func join(l, r value) (v value) {
	v.okMade, v.okSaid = l.okMade && r.okMade, l.okSaid && r.okSaid
	if v.okMade {
		v.made = merkle.Tree{}.Node(l.made, r.made)
	}
	if v.okSaid {
		v.said = merkle.Tree{}.Node(l.said, r.said)
	}
	return v
}

// block adds the leaf of a block. why is "" if it is the one that is due, or
// "missing" some before it, "order" or "twice" for one that came late.
func (l *log) block(i int64, made, said merkle.Hash) (why string) {
	switch {
	case i < l.start:
		return "order"
	case i < l.pos:
		e := &l.leaf[i-l.start]
		if e.body {
			return "twice"
		}
		if !e.gone {
			*e = entry{body: true, made: made, said: said}
		}
		return "order"
	case i > l.pos:
		l.lack(i)
		why = "missing"
	}
	l.roll()
	l.leaf[i-l.start] = entry{body: true, made: made, said: said}
	l.pos = i + 1
	return why
}

// roll closes the group if it is full.
func (l *log) roll() {
	if l.pos == l.start+group {
		l.close()
	}
}

// lack goes on at a leaf; what is between is a hole.
func (l *log) lack(to int64) {
	for l.pos < to {
		l.roll()
		s := widest(l.pos, to)
		if s.level >= groupLevel && l.pos == l.start {
			l.hole(hole{l.pos, s.to() - 1})
			l.push(peak{level: s.level})
			l.pos, l.start = s.to(), s.to()
			continue
		}
		l.pos++ // its entry stays empty
	}
	l.roll()
}

func (l *log) hole(h hole) { l.holes = addHole(l.holes, h) }

func addHole(hs []hole, h hole) []hole {
	if n := len(hs); n > 0 && (hs[n-1].to == h.from-1 || n == maxHoles) {
		hs[n-1].to = h.to
		return hs
	}
	return append(hs, h)
}

// sub takes an S frame; ok is false where it does not belong.
func (l *log) sub(s subtree) (ok bool) {
	from, to := s.from(), s.to()
	if from >= l.pos { // not one of the group that is full
		l.roll()
	}
	switch {
	case from < l.start || from > l.pos:
		return false
	case s.level > groupLevel || s.level == groupLevel && from == l.pos:
		if from != l.pos || l.pos != l.start {
			return false
		}
		l.push(peak{s.level, value{s.hash, s.hash, true, true}})
		l.gone, l.lastGone = l.gone+to-from, to-1
		l.pos, l.start = to, to
		return true
	}
	if from == l.pos {
		l.gone, l.lastGone = l.gone+to-from, to-1
		for i := from; i < to; i++ {
			l.leaf[i-l.start].gone = true
		}
	}
	if at := l.slot(s.level, s.index); !at.here {
		*at = said{hash: s.hash, here: true}
	} else if at.hash != s.hash {
		l.off = addHole(l.off, hole{from, to - 1})
	}
	l.pos = max(l.pos, to)
	return true
}

// over returns the node over a subtree within the group.
func (l *log) over(level int, index int64) (v value) {
	if level == 0 {
		if e := &l.leaf[index-l.start]; e.body {
			v = value{e.made, e.said, true, true}
		}
	} else {
		v = join(l.over(level-1, 2*index), l.over(level-1, 2*index+1))
	}
	if s := l.slot(level, index); s.here {
		if v.okSaid && v.said != s.hash && !s.told {
			l.off = addHole(l.off, hole{index << level, (index+1)<<level - 1})
			s.told = true
		}
		v.said, v.okSaid = s.hash, true
		if !v.okMade {
			v.made, v.okMade = s.hash, true
		}
	}
	return v
}

// close ends the group: what it lacks is known now.
func (l *log) close() {
	for i := range l.leaf {
		at := l.start + int64(i)
		if at >= l.pos {
			break
		}
		if e := &l.leaf[i]; !e.body && !e.gone {
			l.hole(hole{at, at})
		}
	}
	if l.pos == l.start+group {
		l.push(peak{groupLevel, l.over(groupLevel, l.start>>groupLevel)})
		l.start = l.pos
		l.leaf, l.subs = [group]entry{}, [2 * group]said{}
	}
}

func (l *log) push(p peak) {
	for n := len(l.peaks); n > 0 && l.peaks[n-1].level == p.level; n = len(l.peaks) {
		p = peak{p.level + 1, join(l.peaks[n-1].value, p.value)}
		l.peaks = l.peaks[:n-1]
	}
	l.peaks = append(l.peaks, p)
}

// root returns the root of the first n leaves; ok is false where they are not
// here any more, or not yet.
func (l *log) root(n int64) (v value, ok bool) {
	if n < 1 || n < l.start || n > l.pos {
		return v, false
	}
	parts := make([]value, 0, 64)
	for i := range l.peaks {
		parts = append(parts, l.peaks[i].value)
	}
	for from := l.start; from < n; {
		s := widest(from, n)
		parts = append(parts, l.over(s.level, s.index))
		from = s.to()
	}
	v = parts[len(parts)-1]
	for i := len(parts) - 2; i >= 0; i-- {
		v = join(parts[i], v)
	}
	return v, true
}
