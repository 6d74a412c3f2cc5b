package wire

import (
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"davy/drivers/tag"
)

// body is a ReadingBody while it is read: its columns by field number.
type body struct {
	col        [columnsEnd][]byte
	wall, mono int64
	readings   []tag.Reading
}

// decodeColumns reads a ReadingBody of at most limit readings.
func decodeColumns(b []byte, limit int) ([]tag.Reading, error) {
	var d body
	err := visit(b, func(key, v uint64, p []byte) error {
		c := key >> 3
		switch {
		case key == colWall<<3|vt:
			d.wall = zag(v)
		case key == colMono<<3|vt:
			d.mono = zag(v)
		case c < colScans || c >= columnsEnd:
		case c == colWalls, c == colMonos, c == colForms, c == colWidths, c == colFirsts, c == colDeltas, c == colSources:
			if key&7 == bt {
				d.col[c] = p
			}
		case key&7 == bt: // a packed column may come in pieces
			d.col[c] = append(d.col[c][:len(d.col[c]):len(d.col[c])], p...)
		case key&7 == vt: // or not packed
			d.col[c] = protowire.AppendVarint(d.col[c], v)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := d.scans(limit); err != nil {
		return nil, err
	}
	at, tags, err := d.tags()
	if err != nil {
		return nil, err
	}
	order, counts := byTag(at, tags)
	if err := d.values(order, counts); err != nil {
		return nil, err
	}
	if err := d.sources(); err != nil {
		return nil, err
	}
	return d.readings, nil
}

// scans makes the readings, with their stamps.
func (d *body) scans(limit int) error {
	n, scans := uint64(0), 0
	for x := (varints{b: d.col[colScans]}); len(x.b) > 0; scans++ {
		size := x.next()
		if x.bad || size == 0 {
			return fmt.Errorf("%w: a scan without records", ErrMalformed)
		}
		if n += min(size, MaxItems); n > uint64(max(limit, 0)) {
			return ErrTooLarge
		}
	}
	walls, err := newNumbers(d.col[colWalls], max(scans-1, 0), colWalls)
	if err != nil {
		return err
	}
	monos, err := newNumbers(d.col[colMonos], max(scans-1, 0), colMonos)
	if err != nil {
		return err
	}
	d.readings = make([]tag.Reading, n)
	at, i := tag.Stamp{Wall: d.wall, Mono: d.mono}, 0
	for x := (varints{b: d.col[colScans]}); len(x.b) > 0; {
		if i > 0 {
			wall := zag(walls.next())
			at.Wall += wall
			at.Mono += wall + zag(monos.next())
		}
		for end := i + int(x.next()); i < end; i++ {
			d.readings[i].Received = at
		}
	}
	return nil
}

// tags sets the tags. It returns the index of each reading's tag, in the order
// in which they come first, and how many tags there are.
func (d *body) tags() (at []int, tags int, err error) {
	f := newFollow(len(d.readings))
	at = make([]int, len(d.readings))
	x := varints{b: d.col[colTags]}
	hits := uint64(0)
	if len(at) > 0 {
		hits = x.next()
	}
	for i := range at {
		id, known := f.foretold()
		if hits > 0 {
			hits--
		} else {
			next := int64(f.before()) + zag(x.next())
			if next < 0 || next > math.MaxUint32 {
				return nil, 0, fmt.Errorf("%w: there is no tag %d", ErrMalformed, next)
			}
			id, known = tag.ID(next), -1
			if hits = 0; len(x.b) > 0 {
				hits = x.next()
			}
		}
		d.readings[i].Tag = id
		at[i] = f.take(id, known)
	}
	if hits > 0 {
		x.bad = true
	}
	return at, len(f.ids), x.ended(colTags)
}

// values sets qualities and values of the readings in order, which are those
// of one tag after those of another, as many as counts says.
func (d *body) values(order, counts []int) error {
	qualities, kinds := runs{varints: varints{b: d.col[colQualities]}}, runs{varints: varints{b: d.col[colKinds]}}
	kind := make([]tag.Kind, len(order))
	for i, k := range order {
		q, v := qualities.next(), kinds.next()
		r := &d.readings[k]
		r.Quality = tag.Quality(q)
		if q > math.MaxUint32 || !r.Quality.Valid() {
			return fmt.Errorf("%w: tag %d has no quality %x", ErrMalformed, r.Tag, q)
		}
		if v > uint64(tag.Text) {
			return fmt.Errorf("%w: there is no kind %d", ErrMalformed, v)
		}
		kind[i] = tag.Kind(v)
	}
	if qualities.left > 0 || kinds.left > 0 {
		qualities.bad = true
	}
	if err := qualities.ended(colQualities); err != nil {
		return err
	}
	if err := kinds.ended(colKinds); err != nil {
		return err
	}
	// How many numbers of which width there are is known after all series.
	var first, delta [9]int
	series, err := 0, error(nil)
	widths := d.col[colWidths]
	d.series(kind, counts, func(_, n int) {
		if series < len(widths) {
			w, x := widths[series]>>4, widths[series]&15
			if w > 8 || x > 8 || n == 1 && x > 0 {
				err = fmt.Errorf("%w: a series of %d numbers of %d and %d bytes", ErrMalformed, n, w, x)
				w, x = 0, 0
			}
			first[w]++
			delta[x] += n - 1
		}
		series++
	})
	if err != nil {
		return err
	}
	if len(widths) != series || len(d.col[colForms]) != series {
		return fmt.Errorf("%w: %d series with %d forms and %d widths", ErrMalformed, series, len(d.col[colForms]), len(widths))
	}
	firsts, err := newClassed(d.col[colFirsts], first, colFirsts)
	if err != nil {
		return err
	}
	deltas, err := newClassed(d.col[colDeltas], delta, colDeltas)
	if err != nil {
		return err
	}
	series = 0
	d.series(kind, counts, func(from, n int) {
		form, last := int(d.col[colForms][series]), int64(0)
		w, x := int(widths[series]>>4), int(widths[series]&15)
		series++
		v := firsts.next(w)
		for i := from; n > 0; i++ {
			if kind[i] == tag.None {
				continue
			}
			if err == nil {
				err = value(form, kind[i], &last, v, &d.readings[order[i]].Value)
			}
			if n--; n > 0 {
				v = deltas.next(x)
			}
		}
	})
	return err
}

// series calls f for every series: where it begins, and how many values it has.
func (d *body) series(kind []tag.Kind, counts []int, f func(from, n int)) {
	at := 0
	for _, records := range counts {
		from, n := at, 0
		for end := at + records; at < end; at++ {
			if kind[at] == tag.None {
				continue
			}
			if n > 0 && kind[at] != kind[from] {
				f(from, n)
				n = 0
			}
			if n == 0 {
				from = at
			}
			n++
		}
		if n > 0 {
			f(from, n)
		}
	}
}

// sources sets the source times.
func (d *body) sources() error {
	if len(d.col[colSourced]) == 0 && len(d.col[colSources]) == 0 {
		return nil
	}
	all, with, n := uint64(0), false, 0
	for x := (varints{b: d.col[colSourced]}); len(x.b) > 0; with = !with {
		size := x.next()
		if all += min(size, MaxItems); x.bad || all > uint64(len(d.readings)) {
			return fmt.Errorf("%w: column %d has not one entry per record", ErrMalformed, colSourced)
		}
		if with {
			n += int(size)
		}
	}
	if all != uint64(len(d.readings)) {
		return fmt.Errorf("%w: column %d has not one entry per record", ErrMalformed, colSourced)
	}
	times, err := newNumbers(d.col[colSources], n, colSources)
	if err != nil {
		return err
	}
	at, i := d.wall, 0
	with = false
	for x := (varints{b: d.col[colSourced]}); len(x.b) > 0; with = !with {
		for end := i + int(x.next()); i < end; i++ {
			if with {
				at += zag(times.next())
				d.readings[i].Source = at
			}
		}
	}
	return nil
}
