package journal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"davy/agent/wire"
	"davy/drivers/tag"
)

// state is what rides in every transaction beside the records. The one with
// the greatest version counts. It is small on purpose: below a kilobyte it
// lies inline in the root page, which every transaction writes anyway.
type state struct {
	version  uint64
	epoch    wire.Epoch
	heads    [streams]head // of epoch, so that a lost tail is known to be lost
	leaves   uint64        // of epoch, likewise
	clean    bool          // epoch was closed in order
	beat     tag.Stamp     // the decider decided then
	boot     string        // of beat
	lineages []lineage     // the youngest last
	past     []past        // older epochs that not all who must have confirmed, at most maxPast, the newest
	lived    int64         // ns that passed under a trusted clock since the journal began; age counts this
	cursors  []cursorState
}

// past is where an older epoch ended, so that its tail is known to be lost when
// the file with it is.
type past struct {
	id      wire.Epoch
	ordinal uint32
	heads   [streams]uint64
}

// maxPast bounds the size of a state. Of more epochs only the newest are kept:
// of the others a lost tail is told by the start of their child alone.
const maxPast = 16

type lineage struct {
	id     [16]byte
	serial uint64
}

// cursorState: of each stream, every epoch below low is confirmed to its end,
// and of the others those listed up to a number.
type cursorState struct {
	name string
	at   [streams]struct {
		low  uint32
		upto []upto
	}
}

type upto struct {
	epoch  wire.Epoch
	number uint64
}

// stateForm is the form of what encode makes.
const stateForm = 2

func (s *state) encode() []byte {
	b := []byte{stateForm}
	u := func(v uint64) { b = binary.AppendUvarint(b, v) }
	text := func(s string) { u(uint64(len(s))); b = append(b, s...) }
	u(s.version)
	b = append(b, s.epoch[:]...)
	for _, h := range s.heads {
		u(h.number)
		b = append(b, h.root[:]...)
	}
	u(s.leaves)
	if s.clean {
		u(1)
	} else {
		u(0)
	}
	b = binary.AppendVarint(b, s.beat.Wall)
	b = binary.AppendVarint(b, s.beat.Mono)
	text(s.boot)
	u(uint64(len(s.lineages)))
	for _, l := range s.lineages {
		b = append(b, l.id[:]...)
		u(l.serial)
	}
	u(uint64(len(s.cursors)))
	for _, c := range s.cursors {
		text(c.name)
		for _, a := range c.at {
			u(uint64(a.low))
			u(uint64(len(a.upto)))
			for _, p := range a.upto {
				b = append(b, p.epoch[:]...)
				u(p.number)
			}
		}
	}
	b = binary.AppendVarint(b, s.lived)
	u(uint64(len(s.past)))
	for _, p := range s.past {
		b = append(b, p.id[:]...)
		u(uint64(p.ordinal))
		for _, n := range p.heads {
			u(n)
		}
	}
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func decodeState(b []byte) (s state, err error) {
	if len(b) < 5 || crc32.Checksum(b[:len(b)-4], castagnoli) != binary.BigEndian.Uint32(b[len(b)-4:]) || b[0] != stateForm {
		return s, fmt.Errorf("state: checksum: %w", ErrDamaged)
	}
	b = b[1 : len(b)-4]
	bad := false
	u := func() uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			bad, b = true, nil
			return 0
		}
		b = b[n:]
		return v
	}
	i := func() int64 {
		v, n := binary.Varint(b)
		if n <= 0 {
			bad, b = true, nil
			return 0
		}
		b = b[n:]
		return v
	}
	raw := func(n uint64) []byte {
		if n > uint64(len(b)) {
			bad, b = true, nil
			return make([]byte, min(n, 32))
		}
		p := b[:n]
		b = b[n:]
		return p
	}
	s.version = u()
	copy(s.epoch[:], raw(16))
	for k := range s.heads {
		s.heads[k].number = u()
		copy(s.heads[k].root[:], raw(32))
	}
	s.leaves = u()
	s.clean = u() == 1
	s.beat.Wall, s.beat.Mono = i(), i()
	s.boot = string(raw(u()))
	for n := u(); n > 0 && !bad; n-- {
		var l lineage
		copy(l.id[:], raw(16))
		l.serial = u()
		s.lineages = append(s.lineages, l)
	}
	for n := u(); n > 0 && !bad; n-- {
		c := cursorState{name: string(raw(u()))}
		for k := range c.at {
			c.at[k].low = uint32(u())
			for m := u(); m > 0 && !bad; m-- {
				var p upto
				copy(p.epoch[:], raw(16))
				p.number = u()
				c.at[k].upto = append(c.at[k].upto, p)
			}
		}
		s.cursors = append(s.cursors, c)
	}
	s.lived = i()
	for n := u(); n > 0 && !bad; n-- {
		p := past{id: wire.Epoch(raw(16)), ordinal: uint32(u())}
		for k := range p.heads {
			p.heads[k] = u()
		}
		s.past = append(s.past, p)
	}
	if bad {
		return state{}, fmt.Errorf("state: %w", ErrDamaged)
	}
	return s, nil
}

// serial puts a lineage's serial in, the lineage becoming the youngest.
func (s *state) serial(id [16]byte, serial uint64) {
	kept := make([]lineage, 0, maxLineages)
	for _, l := range s.lineages {
		if l.id == id {
			serial = max(serial, l.serial)
		} else {
			kept = append(kept, l)
		}
	}
	if len(kept) == maxLineages {
		kept = kept[1:]
	}
	s.lineages = append(kept, lineage{id, serial})
}
