package journal

import "slices"

// Read returns blocks of a stream after a place as Cursor.Next does, whoever
// has confirmed them.
func (j *Journal) Read(stream string, after Pos, max int) ([]Item, error) {
	return (&Cursor{j: j}).Next(stream, after, max)
}

// Head returns the place after the last durable record of a stream in the
// current epoch.
func (j *Journal) Head(stream string) Pos {
	k, ok := streamIndex(stream)
	if !ok {
		return Pos{}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return Pos{j.state.epoch, j.epochs[len(j.epochs)-1].heads[k].number}
}

// passStep is how many bytes of bodies pass looks at in one read.
const passStep = 256 << 10

// pass moves a new cursor over the blocks that end before a wall time. The run
// that it begins with was found without the disk; this is the rest.
func (c *Cursor) pass(from int64) error {
	for _, stream := range streamNames {
		var at Pos
	stream:
		for {
			items, err := c.Next(stream, at, passStep)
			if err != nil {
				return err
			}
			before := at
			for i := range items {
				if items[i].WallTo >= from {
					break
				}
				at = items[i].After()
			}
			if at == before {
				break stream
			}
			if err := c.Advance(stream, at); err != nil {
				return err
			}
			if at != items[len(items)-1].After() {
				break stream
			}
		}
	}
	return nil
}

// Placed returns a destination's cursor without looking at the disk: nil where
// there is none yet, or where it has not come to its beginning.
func (j *Journal) Placed(name string) *Cursor {
	j.mu.Lock()
	defer j.mu.Unlock()
	if c := j.cursors[name]; c != nil && c.from == 0 && !j.closed {
		return c
	}
	return nil
}

// Strangers returns the names of the cursors that are none of names: those of
// destinations that were withdrawn. They hold nothing back.
func (j *Journal) Strangers(names []string) []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []string
	for name := range j.cursors {
		if !slices.Contains(names, name) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// Forget drops a cursor; a destination that comes back under its name is new.
// One that must confirm stays.
func (j *Journal) Forget(name string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.cursors[name] != nil && !slices.Contains(j.o.MustConfirm, name) {
		delete(j.cursors, name)
		j.moves++
	}
}

// endsBefore reports whether every record of an epoch that is here is older.
func (j *Journal) endsBefore(e *epoch, wall int64) bool {
	for k := range streams {
		for _, r := range j.runs(e, k) {
			if r.wallTo >= wall {
				return false
			}
		}
	}
	return true
}
