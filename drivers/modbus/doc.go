// Package modbus speaks Modbus to devices: Modbus TCP on a connection, RTU and
// ASCII on a serial line, and RTU or ASCII framing over a connection to a serial
// bridge; as a server too, for 4G units that dial in.
//
// It promises that a good reading is what this point's register held at some
// instant between the request and its answer. The request's bytes are made by
// goburrow's builders when the plan is compiled; everything on the wire is ours.
// The layers, each in its files, and what each knows:
//
//	value, address   registers to engineering units, and back
//	device           what the fields of a device say of it
//	plan, land       points to requests, by the time they take on the wire
//	link, split      a block and its parts: what a device refused, what was learnt
//	channel          one transaction: mbap (TCP) or line (RTU, ASCII)
//	Port             a byte stream with time: a connection, a serial port
//
// On a connection an answer counts only if its transaction id, protocol, unit,
// function and length are those of the request. A late or doubled answer carries
// another id and is dropped. Where the stream itself is in doubt (a frame that
// cannot be one, or cut short at the deadline) the connection is closed.
// Transaction ids of one connection are a walk of odd stride from a random
// start, so that a device that counts by itself, or a guess, never meets the
// next one; none comes twice on a connection that still owes an answer.
//
// A line has no such ids: an answer to an earlier request looks like the answer
// to this one. There the station is in doubt after a request without an answer;
// see line.go for what is done about it and what lies beyond.
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
// Imports: drivers, drivers/modbus/serial, drivers/tag, goburrow's modbus.
package modbus

import "time"

// What bounds a link. Registers and bits per request are the protocol's.
const (
	MaxRegisters     = 125  // of one read request
	MaxWideRegisters = 62   // of one, where a register has 32 bits: an answer has at most 250 bytes of data
	MaxBits          = 2000 // of one read request

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
