package control

import (
	"encoding/binary"
	"errors"
	"fmt"

	"davy/agent/ring"
	"davy/drivers/tag"
)

// Memory is what must survive a restart of the decider: the engine's state by
// rule name, whether outputs are armed, and the events that the keeper has not
// confirmed, with the lineage of their serials; of the samples of these at most
// OutboxSamples. agent/latch keeps its bytes.
type Memory struct {
	Lineage [16]byte // random, made with the file; a lost file begins a new one
	Serial  uint64   // of the last event
	Armed   bool
	Saved   tag.Stamp
	Boot    string // in which Saved.Mono counts
	Plan    [32]byte
	Engine  []byte // rules.Engine.Snapshot; empty: nothing to restore
	Outbox  []ring.Event
}

const memoryVersion = 1

// OutboxSamples is how many samples of frozen records the outbox holds, of the
// newest (about 66 kB of a slot); the others are left out there and travel from
// memory only: they come with a restart of the keeper, not with one of the
// decider, after which their event says how many are missing.
const OutboxSamples = 2048

var errMemory = errors.New("not a memory of this agent")

// Append appends m's bytes to dst.
func (m *Memory) Append(dst []byte) []byte {
	dst = append(dst, memoryVersion)
	dst = append(dst, m.Lineage[:]...)
	dst = binary.LittleEndian.AppendUint64(dst, m.Serial)
	if m.Armed {
		dst = append(dst, 1)
	} else {
		dst = append(dst, 0)
	}
	dst = binary.LittleEndian.AppendUint64(dst, uint64(m.Saved.Wall))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(m.Saved.Mono))
	dst = append(dst, m.Plan[:]...)
	dst = appendBytes(dst, []byte(m.Boot))
	dst = appendBytes(dst, m.Engine)
	return ring.AppendEvents(dst, m.Outbox)
}

func appendBytes(dst, b []byte) []byte {
	return append(binary.LittleEndian.AppendUint32(dst, uint32(len(b))), b...)
}

// DecodeMemory reads what Append wrote; hostile bytes are an error.
func DecodeMemory(b []byte) (m Memory, err error) {
	const fixed = 1 + 16 + 8 + 1 + 16 + 32
	if len(b) < fixed || b[0] != memoryVersion || b[25] > 1 {
		return m, errMemory
	}
	copy(m.Lineage[:], b[1:])
	m.Serial = binary.LittleEndian.Uint64(b[17:])
	m.Armed = b[25] == 1
	m.Saved.Wall = int64(binary.LittleEndian.Uint64(b[26:]))
	m.Saved.Mono = int64(binary.LittleEndian.Uint64(b[34:]))
	copy(m.Plan[:], b[42:])
	b = b[fixed:]
	var boot []byte
	if boot, b, err = takeBytes(b); err != nil {
		return m, err
	}
	m.Boot = string(boot)
	if m.Engine, b, err = takeBytes(b); err != nil {
		return m, err
	}
	if m.Outbox, err = ring.DecodeEvents(b); err != nil {
		return m, fmt.Errorf("%w: %w", errMemory, err)
	}
	return m, nil
}

func takeBytes(b []byte) (field, rest []byte, err error) {
	if len(b) < 4 {
		return nil, nil, errMemory
	}
	n := binary.LittleEndian.Uint32(b)
	if uint64(n) > uint64(len(b)-4) {
		return nil, nil, errMemory
	}
	return b[4 : 4+n : 4+n], b[4+n:], nil
}
