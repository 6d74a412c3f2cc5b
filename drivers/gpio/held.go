package gpio

import (
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// held is the outputs that a process has taken, by chip and number. They stay
// taken: a link that ends, a plan that is replaced, moves no relay. Nor does
// the garbage collector, which closes a file that nobody can reach: beside each
// file stands a second descriptor of the line that nothing but drop closes.
type held struct {
	mu    sync.Mutex
	lines map[heldKey]anchored
	stuck stuck
}

type anchored struct {
	*Line
	anchor int
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
	if l := h.lines[key].Line; l != nil {
		return l, nil
	}
	l, err := c.Take(offset)
	if err != nil {
		return nil, err
	}
	anchor := -1
	err = control(l.f, func(fd int) (err error) {
		anchor, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		return err
	})
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("hold %s: %w", l.name, err)
	}
	if h.lines == nil {
		h.lines = map[heldKey]anchored{}
	}
	h.lines[key] = anchored{l, anchor}
	return l, nil
}

// has reports whether the process has taken a line as an output.
func (h *held) has(c *Chip, offset int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, ok := h.lines[heldKey{c.device, offset}]
	return ok
}

// drop lets a line go whose chip has gone.
func (h *held) drop(l *Line) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for key, have := range h.lines {
		if have.Line == l {
			delete(h.lines, key)
			l.Close()
			unix.Close(have.anchor)
		}
	}
}

// gone reports whether an error says that the whole chip is no longer there.
func gone(err error) bool {
	return errors.Is(err, unix.ENODEV) || errors.Is(err, ErrNoChip)
}
