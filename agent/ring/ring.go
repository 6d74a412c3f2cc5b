// Package ring is what the decider and the keeper say to each other: frames
// over one stream (a socketpair on fd 3 of the keeper; a net.Pipe in tests).
//
// The decider's side is a bounded buffer that never blocks: readings that find
// it full are dropped and counted (the count travels as Lost, and the keeper
// makes a gap record of it); events are kept until the keeper says that they
// are durable, at most MaxEvents of them, and are sent again to the next
// keeper. Every event has a serial number that only grows within a lineage
// (a random id kept in the latch file); the keeper stores the last serial in
// the same transaction as the event, so that each event is recorded exactly
// once whatever is killed in between.
//
// Frame: 4 bytes length (little endian, of what follows), 1 byte kind, body.
// Readings are fixed-size (ReadingSize bytes); events and hello are
// self-describing. A frame longer than MaxFrame ends the conversation.
//
// Imports: drivers/tag, rules.
package ring

import (
	"time"

	"davy/drivers/tag"
	"davy/rules"
)

// Limits, each with what happens at it.
const (
	MaxFrame    = 4 << 20 // a longer frame is a broken peer: the conversation ends
	MaxEvents   = 4096    // not yet durable; more: the oldest of the least priority goes, counted as Lost
	MaxReadings = 65536   // not yet sent; more: the oldest go, counted as Lost
	ReadingSize = 56
	Silence     = 3 * time.Second // without any frame: the peer is taken for dead
	Beat        = time.Second     // a Turn frame is sent at least this often, empty if need be
)

// Event numbers of the agent and of the keeper share rules.Kind: append only.
const (
	AgentStarted    rules.Kind = 64 + iota // Note: version, how the last run ended, how long nobody watched
	AgentStopped                           // in order
	PlanApplied                            // Who, Note: reason; Rule: old and new hash
	OutputsArmed                           // Who
	OutputsDisarmed                        // Who
	CommandRefused                         // Who, Rule, Note: code
	LatchLost                              // the latch file was missing or damaged
	OutputUnknown                          // a write was not confirmed; read back
	ClockStepped                           // wall clock moved against monotonic: Value in seconds
)

// Kinds that the keeper makes.
const (
	EpochStarted   rules.Kind = 128 + iota // carries wire.Start
	TagTable                               // carries wire.Table
	GapRecorded                            // carries wire.Gap
	ReceiptRefused                         // a receipt that does not fit: Note says why
	JournalDamaged                         // a segment was set aside: Note
)

// Event is an event with its serial.
type Event struct {
	Serial uint64
	rules.Event
}

// Hello opens the conversation, decider to keeper.
type Hello struct {
	Version  string   // of the agent
	Lineage  [16]byte // of the serials
	Boot     string
	Started  tag.Stamp
	Bundle   []byte // the accepted site, as config.Bundle encodes it
	StateDir string
}

// Turn is what one or several turns of the control loop leave behind.
type Turn struct {
	Now          tag.Stamp
	ClockTrusted bool
	ClockError   time.Duration
	Armed        bool
	Events       []Event
	Readings     []tag.Reading
	Lost         Lost
}

// Lost counts what the decider had to give up since the last Turn that said so.
type Lost struct {
	Readings uint64
	Events   uint64
	From, To tag.Stamp
}

// Status is what the keeper says of itself, keeper to decider, each second and
// whenever Durable moves.
type Status struct {
	Durable  uint64 // every event up to this serial is on disk
	Epoch    [16]byte
	Heads    []Head
	Bytes    int64 // of the journal on disk
	MaxBytes int64
	Uplinks  []UplinkStatus
	// Conditions that stand, by code ("uplink.regulator.offline", "journal.slow").
	Conditions []string
}

// Head is how far a stream is.
type Head struct {
	Stream    string
	Number    uint64 // last recorded of this epoch
	Receipted uint64 // last receipted of this epoch
	Backlog   uint64 // records of all epochs without receipt
}

// UplinkStatus is how a destination is.
type UplinkStatus struct {
	Name        string
	Connected   bool
	LastReceipt tag.Stamp
	Backlog     uint64
	Error       string
}
