package modbus

import (
	"bytes"
	"math/rand/v2"
)

// nearby is how far apart the transaction ids of requests under way are at least.
const nearby = 256

// stride returns an odd number at random, such that ids that are under way
// together, and those that follow, are nowhere near each other: a device that
// counts by itself, or whose ids are off by a few, never meets one.
func stride() uint16 {
next:
	for {
		s := uint16(rand.Uint32()) | 1
		for k := range uint16(MaxWindow) {
			if d := int16((k + 1) * s); d > -nearby && d < nearby {
				continue next
			}
		}
		return s
	}
}

// ids is how many ids may be used before all answers must have come. Some are
// left out where the peer sends packets beside answers, see next.
func (m *mbap) ids() int {
	if len(m.packets) > 0 {
		return 1<<16 - 256*(len(m.packets)+1)
	}
	return 1 << 16
}

// next goes on to the next transaction id. None has the first byte of a packet
// that the peer may send between answers, so that no frame begins like one.
func (m *mbap) next() {
	for {
		m.id += m.stride
		m.used++
		taken := false
		for _, p := range m.packets {
			taken = taken || p[0] == byte(m.id>>8)
		}
		if !taken {
			return
		}
	}
}

// packet returns the length of the packet beside answers that b begins with:
// negative where b is only the beginning of one, 0 where it is none.
func (m *mbap) packet(b []byte) (n int) {
	for _, p := range m.packets {
		switch {
		case len(b) == 0:
		case bytes.HasPrefix(b, p):
			return len(p)
		case bytes.HasPrefix(p, b):
			n = -len(b)
		}
	}
	return n
}
