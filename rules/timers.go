package rules

// timers is a heap of deadlines over a fixed number of slots. Setting,
// stopping and taking the earliest cost O(log running) and allocate nothing.
// Equal deadlines come out in the order of their slots.
type timers struct {
	heap     []int32 // slots that run
	pos      []int32 // by slot: place in heap, -1 while it does not run
	deadline []int64 // by slot: Mono
}

func newTimers(slots int) timers {
	t := timers{make([]int32, 0, slots), make([]int32, slots), make([]int64, slots)}
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
	s := t.heap[0]
	return int(s), t.deadline[s]
}

func (t *timers) runs(slot int) bool { return t.pos[slot] >= 0 }

// set lets slot end at the given instant, whether it ran or not.
func (t *timers) set(slot int, at int64) {
	p := int(t.pos[slot])
	switch {
	case p < 0:
		t.deadline[slot] = at
		t.heap = append(t.heap, int32(slot))
		t.pos[slot] = int32(len(t.heap) - 1)
		t.up(len(t.heap) - 1)
	case t.deadline[slot] != at:
		t.deadline[slot] = at
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
	a, b := t.heap[i], t.heap[j]
	if t.deadline[a] != t.deadline[b] {
		return t.deadline[a] < t.deadline[b]
	}
	return a < b
}

func (t *timers) swap(i, j int) {
	t.heap[i], t.heap[j] = t.heap[j], t.heap[i]
	t.pos[t.heap[i]], t.pos[t.heap[j]] = int32(i), int32(j)
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
