// Package modbus speaks Modbus TCP to devices.
//
// It promises that a good reading is what this point's register held at some
// instant between the request and its answer. The request's bytes are made by
// goburrow's builders when the plan is compiled; everything on the wire is
// ours: one transaction at a time, one absolute deadline for each, and an
// answer counts only if its transaction id, protocol, unit, function and
// length are those of the request. A late or doubled answer carries another
// id and is dropped. Where the stream itself is in doubt (a frame that cannot
// be one, or cut short at the deadline) the connection is closed.
//
// Transaction ids of one connection are a walk of odd stride from a random
// start, so that a device that counts by itself, or a guess, never meets the
// next one; none comes twice on a connection that still owes an answer: when
// all 65,536 were used, a connection on which any request went unanswered is
// replaced.
//
// A block that the device refuses is asked again in smaller parts, so that one
// bad register never spoils its neighbours. The parts are remembered by the
// link; see split.go. However many requests a Read becomes, it takes no longer
// than the link's timeout; where that is too short for all parts they take turns.
//
// A Link belongs to the goroutine that opened it. Nothing here is durable.
// Deadlines on the connection are taken from the process's monotonic clock,
// because the kernel's are; stamps, pauses and retries use LinkConfig.Now.
//
// Imports: drivers, drivers/tag, goburrow's modbus.
package modbus

import "time"

// What bounds a link. Registers and bits per request are the protocol's.
const (
	MaxRegisters = 125  // of one read request
	MaxBits      = 2000 // of one read request

	// A block bridges a gap of this many unasked registers or bits rather than
	// ask twice: 32 bytes cost less than another request and its answer.
	MaxGapRegisters = 16
	MaxGapBits      = 256

	// DefaultPort is Modbus TCP's.
	DefaultPort = "502"
	// DefaultTimeout holds where LinkConfig.Timeout is 0.
	DefaultTimeout = time.Second

	// Pause before a new connection after one or more fruitless ones: from
	// RedialFirst doubling to RedialLast, each between half and all of that.
	RedialFirst = 100 * time.Millisecond
	RedialLast  = 10 * time.Second

	// SilentLimit is after how many unanswered requests in a row a connection
	// is taken for dead and replaced; where the next one is as silent, so that
	// it may be the station behind it, twice as many, up to SilentDoublings times.
	SilentLimit     = 3
	SilentDoublings = 4

	// RefusedRetry is how long a point whose address the device refused is
	// left alone before it is asked again.
	RefusedRetry = 10 * time.Second
	// RemergeAfter is how long a split block stays split before it is tried whole.
	RemergeAfter = time.Minute
	// MaxRefused is how many refusals in a row end a Read's splitting: more
	// than one bad register in the largest block takes.
	MaxRefused = 12
	// SilentSplit is how often in a row a block is silent before the silence
	// is taken for a refusal of one of its registers.
	SilentSplit = 3
	// MaxSplits is how many requests' splits a link remembers before it forgets them all.
	MaxSplits = 4096
)
