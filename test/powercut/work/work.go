// Package work is what the two sides of test/powercut have in common: what the
// records are, so that each side can tell a true one, and what the guest writes
// down about a journal that it has just opened.
//
// Imports: agent/wire, drivers/tag.
package work

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"time"

	"davy/agent/wire"
	"davy/drivers/tag"
)

// Gateway and Destination of the journal under test; Sync is what it may say to
// have lost: longer than a machine lives here, so that it is never too little.
const (
	Gateway     = "GW-CUT"
	Destination = "regulator"
	Sync        = 10 * time.Minute
)

// Report is the file, in the guest's root, of what it found.
const Report = "found.json"

// Lineage is the decider's, whose events are numbered without end.
var lineage = [16]byte{0xc7}

// Lineage of all events.
func Lineage() [16]byte { return lineage }

// when the records are said to be of: long ago, so that age keeps nothing.
const when = int64(1_700_000_000_000_000_000)

// Event returns the event of a serial: always the same one.
func Event(serial uint64) wire.Event {
	rnd := rand.New(rand.NewPCG(serial, 1))
	note := make([]byte, 20+rnd.IntN(600))
	for i := range note {
		note[i] = byte(' ' + rnd.IntN(95))
	}
	return wire.Event{
		Kind: 1, Serial: serial, At: tag.Stamp{Wall: when + int64(serial), Mono: int64(serial)},
		Rule: "rule", Occurrence: rnd.Uint64(), Note: string(note),
	}
}

// Reading returns the reading of a number of an epoch: always the same one.
func Reading(epoch wire.Epoch, number uint64) tag.Reading {
	rnd := rand.New(rand.NewPCG(number, binary.BigEndian.Uint64(epoch[:])))
	return tag.Reading{
		Tag: tag.ID(1 + rnd.Uint32N(500)), Quality: tag.GoodQuality, Value: tag.IntValue(int64(rnd.Uint64())),
		Received: tag.Stamp{Wall: when + int64(number), Mono: int64(number)},
	}
}

// Sum is the short hash of an event by which the two sides compare.
func Sum(e *wire.Event) string {
	h := sha256.Sum256(e.Append(nil))
	return hex.EncodeToString(h[:8])
}

// Found is what a journal held when it had been opened.
type Found struct {
	Epoch       wire.Epoch // that this opening began
	Serial      uint64     // of the decider, as the journal has it
	Quarantined []string
	Blocks      []Block
	Events      []Entry
}

// Block is one of them. Bad says what is wrong with its content.
type Block struct {
	Epoch       wire.Epoch
	Stream      string
	First, Last uint64
	Before      wire.Root
	After       wire.Root
	Bad         string `json:",omitempty"`
}

// Entry is an event as the journal had it.
type Entry struct {
	Epoch  wire.Epoch
	Number uint64
	Serial uint64      `json:",omitempty"`
	Sum    string      `json:",omitempty"`
	Start  *wire.Start `json:",omitempty"`
	Gap    *wire.Gap   `json:",omitempty"`
	Note   string      `json:",omitempty"` // of a damaged segment
}
