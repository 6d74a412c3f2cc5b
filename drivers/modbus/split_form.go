package modbus

import (
	"context"
	"fmt"
	"time"

	"davy/drivers/tag"
)

// lengths is a channel whose answers bear no mark of their request: a serial
// line, or one behind a bridge. What an answer may be taken for is told by its
// length alone, so that requests in a row should differ in it. Lengths are of
// the PDU, as answerSize gives them.
type lengths interface {
	// last returns how long the answer was to be that a station was last asked
	// for with a function, whether it came or not; 0: it was not asked yet.
	last(station, function byte) int
	// avoid reports whether an answer of this length, should it come now, may be
	// one to an earlier request. While the station is not in doubt nothing is.
	avoid(station, function byte, answerBytes int) bool
}

// place is a stretch of a station's table.
type place struct {
	station byte
	table   Table
	first   uint16
	count   int
}

// longer is what is known of a part's longer form.
type longer uint8

const (
	longerNew     longer = iota
	longerProven         // was answered
	longerRefused        // was refused, or met with silence when the part itself was not: see LongerTries
)

// A longer form is believed not to exist when it was refused LongerTries times,
// and is then asked for once in LongerRetry. One refusal proves nothing: without
// another length a doubled answer is taken for the next one's, and a device that
// is busy, or a bridge, refuses what it has, too. What was answered once is asked
// for whatever a device says now and then: there are such registers, and what it
// refuses it refuses for another reason.
const (
	LongerTries = 3
	LongerRetry = 10 * time.Minute
)

// choice is a form of a part and why it was taken.
type choice struct {
	*form
	place  place
	other  bool // a longer form
	forced bool // because an earlier answer may come for the part's own
	probe  bool // the part's own, but something has to be asked before
}

// pick says how a part is asked for: as short as can be, or a little longer
// where the last request to the station was of the same length, or where an
// answer to an unanswered one would have it.
func (l *link) pick(r *request, p *part) choice {
	c := choice{form: &p.form}
	ls, ok := l.channel.(lengths)
	if !ok {
		return c
	}
	function := p.adu[7]
	doubt := ls.avoid(r.station, function, p.size)
	if !doubt && ls.last(r.station, function) != p.size {
		return c
	}
	least := uint8(LongerTries)
	for i := range p.longer {
		f := &p.longer[i]
		at := place{r.station, r.table, f.first, f.count}
		if k := l.longer[at]; k.tries < least && k.asks(l.now().Mono) && !ls.avoid(r.station, function, f.size) {
			c, least = choice{form: f, place: at, other: true, forced: doubt}, k.tries
		}
	}
	c.probe = doubt && !c.other
	return c
}

// learnt is what is known of a longer form, and since when.
type learnt struct {
	longer
	tries uint8 // that were refused, the last of LongerTries aside
	at    int64 // Mono
}

func (k learnt) asks(now int64) bool {
	return k.longer != longerRefused || now-k.at > int64(LongerRetry)
}

// learnForm notes what became of a longer form.
func (l *link) learnForm(at place, what longer) {
	if l.longer == nil {
		l.longer = map[place]learnt{}
	}
	if len(l.longer) >= MaxSplits {
		clear(l.longer)
	}
	k := l.longer[at]
	if k.longer == longerProven {
		return
	}
	switch {
	case what == longerProven:
		k.tries = 0
	case k.tries < LongerTries-1:
		what, k.tries = longerNew, k.tries+1
	}
	l.longer[at] = learnt{what, k.tries, l.now().Mono}
}

// probe asks for some of a part, only to have an answer that cannot be an
// earlier one: of the shortest length that no unanswered request had. Where
// there is no such length (a single register of a device that forbids gaps) it
// is the shortest there is, and then nothing but the wait before it says that
// the answer is its own.
func (l *link) probe(ctx context.Context, r *request, p *part, ls lengths) error {
	var shortest, best *form
	first, end := r.extent(p.from, p.from+1)
	for i := p.from; ; {
		f := r.form(first, end)
		if shortest == nil {
			shortest = &f
		}
		if !ls.avoid(r.station, f.adu[7], f.size) {
			best = &f
			break
		}
		for i < p.to && r.cells[i].end <= end {
			i++
		}
		if i == p.to {
			break
		}
		_, end = r.extent(p.from, i+1)
	}
	if best == nil {
		best = shortest
	}
	_, err := l.transfer(ctx, best.adu, true)
	if _, refused := err.(exception); refused {
		return nil // an answer all the same
	}
	return err
}

// fetch asks for a part and returns its data and the form that they have.
func (l *link) fetch(ctx context.Context, r *request, p *part) (*form, []byte, error) {
	l.heed(r.unit)
	c := l.pick(r, p)
	if c.probe {
		if err := l.probe(ctx, r, p, l.channel.(lengths)); err != nil {
			return &p.form, nil, err
		}
	}
	data, err := l.transfer(ctx, c.adu, true)
	if !c.other {
		return c.form, data, err
	}
	switch {
	case err == nil:
		if l.longer[c.place].longer != longerProven {
			l.learnForm(c.place, longerProven)
		}
	case refuses(err):
		// Perhaps of the little more, perhaps of something in the part itself.
		data, err = l.transfer(ctx, p.adu, true)
		if err == nil {
			l.learnForm(c.place, longerRefused)
			l.log.Debug("longer request refused", "request", r.describe(p))
		}
		return &p.form, data, err
	case silent(err) && !c.forced && l.longer[c.place].longer == longerNew:
		l.learnForm(c.place, longerRefused)
	}
	return c.form, data, err
}

// proves returns an error where data hold the identity register of the device
// and it is not what it should be.
func (r *request) proves(f *form, data []byte) error {
	at := r.land.identity - int(f.first)
	if r.land.identity < 0 || at < 0 || at >= f.count {
		return nil
	}
	id := &r.unit.identity
	if got := whole(id.at, data[at*r.unit.registerBytes():], r.unit.registerBytes()); got != uint64(id.value) {
		return fmt.Errorf("%w: the identity %s is %#x and not %#x", errNonsense, id.at, got, id.value)
	}
	return nil
}

// decode reads the points of a part out of the data of its form.
func (r *request) decode(p *part, f *form, data []byte, out []tag.Reading) error {
	if err := r.proves(f, data); err != nil {
		mark(p, quality(err), out)
		return err
	}
	first := int(f.first)
	for i := p.from; i < p.to; i++ {
		if q := &r.quick[i]; q.plain != notPlain {
			out[i].Value, out[i].Quality = q.read(data, first)
		} else {
			out[i].Value, out[i].Quality = r.cells[i].read(&r.points[i], data, first)
		}
	}
	return nil
}
