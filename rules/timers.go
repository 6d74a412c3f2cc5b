package rules

// timers is a heap of deadlines over a fixed number of slots. Setting,
// stopping and taking the earliest cost O(log running). Room is made for as many
// as run at once and kept; so what only goes on allocates nothing. Equal
// deadlines come out in the order of their slots.
type timers struct {
	heap []deadline // of the slots that run
	pos  []int32    // by slot: place in heap, -1 while it does not run
}

type deadline struct {
	at   int64 // Mono
	slot int32
}

// newTimers returns timers of which none runs; room is how many may before the
// heap has to grow.
func newTimers(slots, room int) timers {
	t := timers{make([]deadline, 0, room), make([]int32, slots)}
	for i := range t.pos {
		t.pos[i] = -1
	}
	return t
}

// first returns the earliest slot and its deadline; -1 if none runs.
func (t *timers) first() (slot int, at int64) {
	if len(t.heap) == 0 {
		return -1, 0
	}
	return int(t.heap[0].slot), t.heap[0].at
}

func (t *timers) runs(slot int) bool { return t.pos[slot] >= 0 }

// at returns the deadline of a slot that runs.
func (t *timers) at(slot int) int64 { return t.heap[t.pos[slot]].at }

// set lets slot end at the given instant, whether it ran or not.
func (t *timers) set(slot int, at int64) {
	p := int(t.pos[slot])
	switch {
	case p < 0:
		t.heap = append(t.heap, deadline{at, int32(slot)})
		t.pos[slot] = int32(len(t.heap) - 1)
		t.up(len(t.heap) - 1)
	case t.heap[p].at != at:
		t.heap[p].at = at
		t.down(t.up(p))
	}
}

// stop ends slot without its being due.
func (t *timers) stop(slot int) {
	p := int(t.pos[slot])
	if p < 0 {
		return
	}
	last := len(t.heap) - 1
	t.swap(p, last)
	t.heap = t.heap[:last]
	t.pos[slot] = -1
	if p < last {
		t.down(t.up(p))
	}
}

func (t *timers) less(i, j int) bool {
	a, b := &t.heap[i], &t.heap[j]
	if a.at != b.at {
		return a.at < b.at
	}
	return a.slot < b.slot
}

func (t *timers) swap(i, j int) {
	t.heap[i], t.heap[j] = t.heap[j], t.heap[i]
	t.pos[t.heap[i].slot], t.pos[t.heap[j].slot] = int32(i), int32(j)
}

func (t *timers) up(i int) int {
	for i > 0 {
		p := (i - 1) / 2
		if !t.less(i, p) {
			break
		}
		t.swap(i, p)
		i = p
	}
	return i
}

func (t *timers) down(i int) {
	for {
		c := 2*i + 1
		if c >= len(t.heap) {
			return
		}
		if c+1 < len(t.heap) && t.less(c+1, c) {
			c++
		}
		if !t.less(c, i) {
			return
		}
		t.swap(i, c)
		i = c
	}
}
