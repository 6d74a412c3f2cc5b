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
// A conversation: Accept reads the Hello. The keeper sends a Status at once and
// then each second, with a zero Epoch until its journal is open. From the first
// Status with an Epoch on, whose Durable tells what it has of this lineage, the
// decider sends its events that are not yet durable, in order, and then turns as
// they come. An event is sent only after Permit, which is to say after the
// latch snapshot that holds it is durable: so no keeper ever knows a serial that
// the decider could forget. (If it does, because the latch could not be
// written, Serve says ErrLineage and nothing is taken for recorded that is not.)
//
// Loss is counted. Serials grow by one, so an event that had to be given up is
// a hole; the event after the hole knows where it begins (LostFrom, which the
// latch keeps with it), and the Turn that carries that event tells how many are
// missing. A keeper that records the gap in one transaction with the events of
// the Turn therefore counts each lost event exactly once, whatever is killed.
// Lost readings are told again if the conversation ends within LostAgain of
// telling them: rather twice than not at all. Readings that were sent and not
// yet durable when a keeper is killed are not counted here: the start record of
// its next epoch says what that may have cost.
//
// Frame: 4 bytes length (little endian, of what follows), 1 byte kind, body.
// Readings are fixed-size (ReadingSize bytes); events, hello and status are
// self-describing. A frame longer than MaxFrame, or one that does not hold to
// the last byte, ends the conversation.
//
// Who owns what: Offer belongs to control's goroutine and never blocks; Serve
// owns the connection and one goroutine beside its own. Nothing here is durable.
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
	MaxFrame      = 4 << 20   // a longer frame is a broken peer: the conversation ends
	MaxEvents     = 4096      // not yet durable; more: the oldest of the least priority goes, counted as Lost
	MaxReadings   = 65536     // not yet sent; more: the oldest go, counted as Lost
	MaxEventBytes = 384 << 10 // of events not yet durable, encoded, so that they fit a latch slot; more: the samples of the oldest records go, and then as MaxEvents
	ReadingSize   = 48
	Silence       = 3 * time.Second       // without any frame: the peer is taken for dead
	Beat          = time.Second           // a Turn frame is sent at least this often, empty if need be
	Patience      = 15 * time.Second      // without the first Status: a process may take its time to start
	Gather        = 50 * time.Millisecond // readings alone wait this long for others; events never do
	Farewell      = time.Second           // at its end Serve has so long to send what is left
	LostAgain     = 10 * time.Second      // lost readings told within this time of a conversation's end are told again
	FrameEvents   = 256                   // in one Turn frame; more go in the next
	FrameReadings = 2048                  // in one Turn frame; more go in the next
	MaxText       = 4096                  // bytes of a text in an event or a status; longer is cut and ends in …
	MaxName       = 256                   // bytes of a channel's name; longer is cut and ends in …
	MaxVotes      = 256                   // of one event; more are cut
	MaxSamples    = 1024                  // of the record of one event; more are thinned, and Event.Samples says how many there were
	MaxList       = 256                   // heads, uplinks, conditions of a Status, each; more are cut
)

// Event numbers of the agent and of the keeper share rules.Kind: append only.
const (
	AgentStarted    rules.Kind = 64 + iota // Note: version, how the last run ended, how long nobody watched
	AgentStopped                           // in order
	PlanApplied                            // Who, Note: reason; Rule: old and new hash
	OutputsArmed                           // Who
	OutputsDisarmed                        // Who
	CommandRefused                         // Who, Rule, Note: code
	LatchLost                              // the latch file was missing or damaged, or not understood: Note says which
	OutputUnknown                          // a write was not confirmed; read back
	ClockStepped                           // wall clock moved against monotonic: Value in seconds
	OutputWritten                          // a write was confirmed by its device: Output, Value
	OutputFailed                           // a write was refused or not sent: Output, Value, Note
	DeviceEvent                            // a device's own word: Tag, Value its severity, Note
	PersonRefused                          // a proof that failed: Who asked, as claimed; Rule: the person; Note: code
	RuleChanged                            // by a plan that was applied, one for each: Rule, Channel: what of it, Old, New, Who, Note: reason
)

// Kinds that the keeper makes.
const (
	EpochStarted   rules.Kind = 128 + iota // carries wire.Start
	TagTable                               // carries wire.Table
	GapRecorded                            // carries wire.Gap
	ReceiptRefused                         // a receipt that does not fit: Note says why
	JournalDamaged                         // a segment was set aside: Note
	ClockNoted                             // carries wire.Clock
	// UplinkWithdrawn: the site no longer names the destination Rule. Value is how
	// many records it had not confirmed; they hold nothing back any more.
	UplinkWithdrawn
)

// Event is an event with its serial.
type Event struct {
	Serial uint64 // from 1, by one
	rules.Event
	// LostFrom is the serial of the first event that was given up directly
	// before this one, and LostAt its time; 0: none was.
	LostFrom uint64
	LostAt   tag.Stamp
	// Samples is how many samples Record had when it was made. Where fewer are
	// here the rest was thinned or left out for lack of room.
	Samples uint32
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

// Lost counts what the decider had to give up: readings since the last Turn
// that said so, events in the holes before the events of this Turn.
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
	Cause       string // the likely cause of Error, or of no receipt, as a code; "": none is known
	Unproved    bool   // no receipts: LastReceipt is when its protocol last confirmed something
	Witness     Witness
}

// Witness is what a destination's receiver has witnessed of the record, see
// agent/evidence.
type Witness struct {
	Asked   bool   // the destination is one that witnesses
	Wall    int64  // when it last did, ns; 0: never
	Blocks  uint64 // that it has not,
	Records uint64 // and what is here of the records in them,
	Oldest  int64  // of which the oldest is of this wall time; 0: none
	Refused string // why it does not, as it says or as we found; "": nothing stands against it
}
