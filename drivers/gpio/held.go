package gpio

import (
	"errors"
	"sync"

	"golang.org/x/sys/unix"
)

// held is the outputs that a process has taken, by chip and number. They stay
// taken: a link that ends, a plan that is replaced, moves no relay.
type held struct {
	mu    sync.Mutex
	lines map[heldKey]*Line
	stuck stuck
}

type heldKey struct {
	device uint64
	offset int
}

// take returns the line, which it takes as it is if nobody has yet. The mutex
// is held through the kernel's call, so that two links that want one line at
// the same time do not find each other in the way.
func (h *held) take(c *Chip, offset int) (*Line, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := heldKey{c.device, offset}
	if l := h.lines[key]; l != nil {
		return l, nil
	}
	l, err := c.Take(offset)
	if err != nil {
		return nil, err
	}
	if h.lines == nil {
		h.lines = map[heldKey]*Line{}
	}
	h.lines[key] = l
	return l, nil
}

// drop lets a line go whose chip has gone.
func (h *held) drop(l *Line) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for key, have := range h.lines {
		if have == l {
			delete(h.lines, key)
			l.Close()
		}
	}
}

// gone reports whether an error says that the whole chip is no longer there.
func gone(err error) bool {
	return errors.Is(err, unix.ENODEV) || errors.Is(err, ErrNoChip)
}
