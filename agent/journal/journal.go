// Package journal is where what must not be lost is on disk: numbered records
// in three streams, and a cursor per destination.
//
// It promises: what Append returned nil for survives a kill and a power cut
// (as far as the disk keeps its own promise about fdatasync). Every Open
// begins an epoch, random 128 bits, whose first event is its Start record.
// Within an epoch the numbers of a stream run from 1 without a hole; a number
// that anyone was told of is never given to another record. Whatever has to go
// before its receipt is first named by a gap record, and a gap record that has
// to go itself is written again. A damaged file is set aside in quarantine/,
// named by a record, and the rest goes on; one that can be read but not written
// to is kept for reading. Nothing is kept of an Append that failed, also where
// a failing disk had taken half of it.
//
// Where it is kept: segments, one bbolt file each, of two families, because
// they are dropped by whole files and by class: "event" (the stream event) and
// "reading" (reading and health). A transaction covers one family: Append with
// events and readings is two transactions, events first. Files are made under
// another name, synced, renamed, and the directory synced. The dynamic state
// (last serial of the decider per lineage, last beat, cursors, whether the end
// was clean) rides in every transaction with a version; the newest counts.
//
// Each epoch has a log: a Merkle tree with a leaf per block, in the order of the
// commits, over all streams. Its hashes lie beside the segments in tree/<epoch>
// (see tree.go), written without a sync and made again from the blocks where a
// power cut took them; they cost a commit nothing and can fail none. Where
// hashes are gone for good the log of that epoch is broken, which is an event.
// tree/<epoch>.<destination> is the newest checkpoint that a receiver witnessed.
//
// Who owns what: one process holds the directory (file "lock"). Append, Retain
// and Close take turns; cursors may be used from other goroutines meanwhile.
// The mutex is never held over an operation of the disk.
//
// bbolt reads through a map: a slow disk stops the whole process in a page
// fault. That is why this package is the keeper's and never the decider's. All
// access runs under debug.SetPanicOnFault and recover, so that a damaged page
// or an unreadable sector is an error here and not the end of the process.
//
// Imports: agent/merkle, agent/wire, drivers/tag, agent/ring (numbers of event kinds).
package journal

import (
	"errors"
	"log/slog"
	"time"

	"davy/agent/merkle"
	"davy/agent/wire"
	"davy/drivers/tag"
)

// Limits, each with what happens at it.
const (
	MaxSegment   = 128 << 20             // bytes of a segment file; more is clamped
	minSegment   = 256 << 10             // fewer is raised
	maxOpen      = 6                     // sealed segments held open for cursors; the one used longest ago is closed
	maxAbandoned = 4                     // files that could not even be closed; more: every operation returns ErrBroken and the process should end
	blockRecords = 4096                  // records of a block; more make another block of the same transaction
	blockBytes   = 1 << 20               // bytes of a block's records before compression, about
	maxLineages  = 8                     // decider lineages whose serial is remembered; the oldest goes
	reserveBytes = 1 << 20               // kept free for gap records: within MaxBytes, and as a file against a full disk
	lockWait     = 2 * time.Second       // for the previous keeper to be gone
	lockPoll     = 50 * time.Millisecond // how often it is looked for
	fileTimeout  = 2 * time.Second       // for bbolt's own lock of a file
	defaultMax   = int64(1) << 30        // MaxBytes if none is given
	defaultSize  = int64(32) << 20       // SegmentBytes if none is given
)

// What can go wrong.
var (
	ErrLocked   = errors.New("journal is held by another process")
	ErrFull     = errors.New("no space for the journal")
	ErrReadings = errors.New("events are durable, readings are not") // of an Append with both
	ErrClosed   = errors.New("journal is closed")
	ErrBroken   = errors.New("too many damaged files")
	ErrDamaged  = errors.New("damaged")
)

// Options of a journal.
type Options struct {
	Dir          string
	Gateway      string
	MaxBytes     int64            // all files together; 0: 1 GiB
	SegmentBytes int64            // one file, a power of two; 0: 32 MiB, at most an eighth of MaxBytes
	Keep         time.Duration    // receipted records stay this long all the same, by time lived under a trusted clock
	Sync         time.Duration    // readings may wait this long: what an unclean end may cost
	MustConfirm  []string         // destinations without whose receipt a record is not given up silently
	From         map[string]Begin // of destinations that are new; absent: with the oldest record that is here
	Now          func() tag.Stamp
	Trusted      bool      // the wall clock can be believed at the time of opening
	Boot         string    // id of this boot
	Started      tag.Stamp // when the decider began; zero: now
	Version      string    // of the agent
	Plan         []byte    // hash of the plan in force
	// Sign returns the signed checkpoint of an epoch's log, for the Start record
	// of the epoch after it; nil: only what was witnessed stands there.
	Sign func(id wire.Epoch, size uint64, root merkle.Hash) ([]byte, error)
	Log  *slog.Logger
	// Disk, if not nil, is called before every operation of the disk with its
	// name ("open", "create", "read", "commit", "rename", "remove", "reserve", "tree");
	// it may wait or return an error, which is then the operation's. For tests.
	Disk func(op string) error
}

// Begin is where the cursor of a new destination begins.
type Begin struct {
	// Wall: with the first block that has a record of this wall time (ns) or
	// later; math.MaxInt64: with what comes from now on. 0: with the oldest.
	Wall int64
	// Whole: only whole epochs are passed over, and never the newest, for
	// a destination that must see an epoch's numbers from 1.
	Whole bool
}

// Batch is what one Append makes durable.
type Batch struct {
	Events   []wire.Event
	Readings []tag.Reading
	Health   []wire.Event
	Lineage  [16]byte  // with Serial: of the decider
	Serial   uint64    // every event of the decider up to this one is in this or an earlier batch; 0: says nothing
	Beat     tag.Stamp // the decider decided at this time; zero: says nothing
}

// Pos is a place in a stream: after record Number of Epoch. The zero Pos is
// before everything.
type Pos struct {
	Epoch  wire.Epoch
	Number uint64
}

// Item is one block with its epoch.
type Item struct {
	Epoch    wire.Epoch
	Block    wire.Block
	Sum      [32]byte // SHA-256 of the block's body
	WallFrom int64    // of its first and last record
	WallTo   int64
}

// After returns the place after the item.
func (i *Item) After() Pos { return Pos{i.Epoch, i.Block.Last()} }

// Epoch is what is known of one epoch.
type Epoch struct {
	ID      wire.Epoch
	Current bool
	Heads   []wire.Head // the last numbers that are still known
}

// Stat is how the journal is.
type Stat struct {
	Epoch       wire.Epoch
	Heads       []wire.Head
	Bytes       int64 // allocated on disk
	MaxBytes    int64
	Segments    int
	Epochs      int
	Quarantined int    // files set aside since Open
	Commits     uint64 // transactions since Open
	Records     uint64 // since Open
	Gaps        uint64 // gap records written since Open
	Broken      int    // epochs whose log can prove nothing
	LastCommit  time.Duration
}

// Backlog is what a destination has not confirmed of a stream.
type Backlog struct {
	Stream  string
	Records uint64
	Oldest  int64 // wall time of the oldest block's first record; 0 none
}

// ReceiptError says why a receipt does not fit. Code is stable: "version",
// "gateway", "destination", "epoch", "stream", "ahead", "boundary", "root".
type ReceiptError struct {
	Code   string
	Stream string
	Number uint64
}

func (e *ReceiptError) Error() string { return "receipt refused: " + e.Code }
