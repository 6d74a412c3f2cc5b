package rules

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"time"

	"davy/drivers/tag"
	"davy/rules/expr"
)

// Computed is a tag whose readings the engine makes of others: what compares
// more than one value, looks back in time, or is a value of its own. Alarms,
// interlocks and other computed tags look at it as at any tag.
//
// It is evaluated in the step in which an input of it changed, once, after all
// that it looks at and before the rules that look at it; where it looks back,
// also at the instants that its program names. What it says is handed out as
// Outcome.Computed. Where one counts what a shift brings a snapshot is asked for
// each KeepEvery: a sudden stop loses no more of it.
type Computed struct {
	Tag     tag.ID
	Program *expr.Program
}

// computed is one of them.
type computed struct {
	tag     tag.ID
	program *expr.Program
	state   *expr.State // nil: it does not look back
	saved   []byte      // of state, as last written
	broken  bool
	made    bool // its reading in the image
	told    bool // that was judged by all that looks at it
}

// computer evaluates them. What they see is an image of its own: the readings
// as of the last step, so that an instant before the present step sees what was
// there then, and their own. The caller's image may be ahead of both.
type computer struct {
	all   []computed // each after those that it looks at
	of    []int32    // by tag: 1 + its place in all; 0 it is not computed
	feeds [][]int32  // by tag: those that look at it, rising
	image []tag.Reading
	dirty []uint64 // bits of all
	from  int      // no bit below it is set
	made  []tag.Reading

	shifts bool // one of them counts what a shift brings: it is in a snapshot now and then
}

// takes reports whether readings of a tag come from here and not from the caller.
func (c *computer) takes(id tag.ID) bool { return len(c.all) > 0 && c.of[id] > 0 }

// see takes a reading of the caller's image.
func (c *computer) see(r *tag.Reading, id tag.ID) {
	if len(c.all) > 0 && len(c.feeds[id]) > 0 {
		c.image[id] = *r
		c.mark(id)
	}
}

// mark lets all that looks at a tag be evaluated.
func (c *computer) mark(id tag.ID) {
	for _, i := range c.feeds[id] {
		c.set(int(i))
	}
}

func (c *computer) set(i int) {
	c.dirty[i>>6] |= 1 << (i & 63)
	c.from = min(c.from, i)
}

// compute evaluates what is marked, and lets the rules judge what came of it.
// It goes up only: what looks at a computed tag has a higher place.
func (e *Engine) compute(t tag.Stamp) {
	c := &e.computer
	for c.from < len(c.all) {
		word := c.dirty[c.from>>6] >> (c.from & 63)
		if word == 0 {
			c.from = (c.from>>6 + 1) << 6
			continue
		}
		i := c.from + bits.TrailingZeros64(word)
		e.cur = refComputed | ref(i)
		e.evaluate(i, t)
		c.dirty[i>>6] &^= 1 << (i & 63) // not before: should it panic it is done again
		c.from = i + 1
	}
}

// evaluate makes the reading of one computed tag.
func (e *Engine) evaluate(i int, t tag.Stamp) {
	c := &e.computer
	p := &c.all[i]
	r := tag.Reading{Tag: p.tag, Quality: tag.BadConfig, Received: t}
	if !p.broken {
		r.Value, r.Quality = p.program.Eval(p.state, c.image, t)
	}
	if p.state != nil {
		slot := e.slots.of(refComputed, i, lookTimer)
		if next := p.state.Next(); next > 0 && !p.broken {
			e.timers.set(slot, max(next, t.Mono+1))
		} else {
			e.timers.stop(slot)
		}
	}
	old := &c.image[p.tag]
	if !p.made || old.Quality != r.Quality || old.Value != r.Value {
		*old, p.made, p.told = r, true, false
		c.made = append(c.made, r)
		c.mark(p.tag)
	}
	if p.told {
		return
	}
	for _, f := range e.refs[e.index[p.tag]:e.index[p.tag+1]] {
		e.cur = f
		e.judge(f, old, t)
	}
	p.told = true
}

// startComputed gives them the image of the first step and what was restored,
// and marks them all.
func (e *Engine) startComputed(in *Input) {
	c := &e.computer
	for id := range c.feeds {
		if len(c.feeds[id]) > 0 && c.of[id] == 0 {
			c.image[id] = *reading(in, tag.ID(id))
		}
	}
	for i := range c.all {
		c.set(i)
	}
}

// computed checks the computed tags and puts each behind those that it looks at.
func (b *builder) computed() {
	set, c := &b.e.set, &b.e.computer
	if len(set.Computed) == 0 {
		return
	}
	n := len(set.Tags)
	c.of, c.feeds, c.image = make([]int32, n), make([][]int32, n), make([]tag.Reading, n)
	which := make([]int, n) // 1 + index in the set
	good := true
	for i, p := range set.Computed {
		what := fmt.Sprintf("computed tag %d", p.Tag)
		switch {
		case p.Tag == 0 || int(p.Tag) >= n:
			b.wrong(what, "", "is not in the set")
		case which[p.Tag] > 0:
			b.wrong(what, "", "is computed twice")
		case p.Program == nil:
			b.wrong(what, "", "has no program")
		case slices.ContainsFunc(p.Program.Inputs(), func(id tag.ID) bool { return int(id) >= n }):
			b.wrong(what, "", "looks at a tag that is not in the set")
		default:
			which[p.Tag] = 1 + i
			continue
		}
		good = false
	}
	if !good {
		return
	}
	state := make([]uint8, n) // 1 on the way, 2 done
	var path []string
	var visit func(id tag.ID) bool
	visit = func(id tag.ID) bool {
		if which[id] == 0 || state[id] == 2 {
			return true
		}
		path = append(path, string(set.Tags[id].Name))
		if state[id] == 1 {
			return false
		}
		state[id] = 1
		p := set.Computed[which[id]-1]
		for _, in := range p.Program.Inputs() {
			if !visit(in) {
				return false
			}
		}
		state[id], path = 2, path[:len(path)-1]
		c.add(p)
		return true
	}
	for id := range set.Tags { // by tag, and not as the set lists them
		if !visit(tag.ID(id)) {
			b.wrong("computed tags", "", "go in a circle: %s", strings.Join(path[slices.Index(path, path[len(path)-1]):], " looks at "))
			return
		}
	}
	c.dirty, c.from = make([]uint64, (len(c.all)+63)/64), len(c.all)
	c.made = make([]tag.Reading, 0, len(c.all))
}

func (c *computer) add(p Computed) {
	k := computed{tag: p.Tag, program: p.Program}
	if p.Program.Timed() {
		k.state = p.Program.NewState()
		c.shifts = c.shifts || p.Program.Shifts() > 0
	}
	for _, id := range p.Program.Inputs() {
		c.feeds[id] = append(c.feeds[id], int32(len(c.all)))
	}
	c.all = append(c.all, k)
	c.of[p.Tag] = int32(len(c.all))
}

// writeComputed writes what those that look back have seen. Before the first
// step that is what a hand-over brought.
func (e *Engine) writeComputed(w *writer) {
	c := &e.computer
	n := 0
	for i := range c.all {
		n += count(c.all[i].state != nil)
	}
	w.num(uint64(n))
	for i := range c.all {
		p := &c.all[i]
		if p.state == nil {
			continue
		}
		if e.started {
			p.saved = p.state.Append(p.saved[:0], w.now)
		}
		w.text(string(e.set.Tags[p.tag].Name))
		w.num(uint64(len(p.saved)))
		w.b = append(w.b, p.saved...)
	}
}

// savedComputed is what a snapshot says of a computed tag.
type savedComputed struct {
	name  string
	state []byte
}

func (r *reader) computed() (list []savedComputed) {
	seen := map[string]bool{}
	for n := r.num(maxRules); n > 0 && r.err == nil; n-- {
		s := savedComputed{name: r.text()}
		s.state = []byte(r.string(maxLook))
		if seen[s.name] {
			r.wrong("computed tag %q stands twice", s.name)
		}
		seen[s.name] = true
		list = append(list, s)
	}
	return list
}

// maxLook is the longest of what a computed tag has seen, in bytes.
const maxLook = 64 << 10

// restoreComputed takes over what those of the same name have seen. What their
// program does not take is as if there were none: they start empty.
func (e *Engine) restoreComputed(list []savedComputed, down time.Duration) {
	c := &e.computer
	for _, s := range list {
		for i := range c.all {
			p := &c.all[i]
			if p.state == nil || string(e.set.Tags[p.tag].Name) != s.name {
				continue
			}
			switch err := p.state.Restore(s.state, down); {
			case err != nil:
				p.state = p.program.NewState()
			case down == 0:
				p.saved = s.state
			}
		}
	}
}
