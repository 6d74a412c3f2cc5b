// Package drivers says what a driver is.
//
// A Driver knows one protocol and holds no state. Before anything runs it
// parses addresses and types and plans requests, without I/O, so that
// `davy check` finds every mistake. Open makes a Link: one connection or
// line, which belongs to the goroutine that opened it and is never shared.
//
// The promise of every driver: a reading it calls good is the value that this
// point's register held at some instant between the request and its answer.
// Everything else is bad, with the reason. A driver never drops a point
// because its neighbour failed.
//
//	cmd → agent → rules → drivers → drivers/tag
package drivers

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"davy/drivers/tag"
)

// Address is a parsed address of a protocol. String prints it as people
// write it, both ways where there are two ("holding 10 (ref 40011)").
type Address interface{ String() string }

// Type is the parsed form of a point's `type:`; Kind is what readings will hold.
type Type struct {
	Kind  tag.Kind
	Bits  int    // 1, 16, 32, 64: how much of the device's memory it takes
	Sign  bool   // integers: signed
	Order string // byte order of the protocol, "ABCD", "CDAB", "BADC", "DCBA"; "" where it has no meaning
}

// Point is one value of one device. Points are made by the configuration and
// never change.
type Point struct {
	Tag     tag.ID
	Name    tag.Name
	Station int // Modbus unit id; 0 where the protocol has none
	Device  string
	Address Address
	Type    Type
	Gain    float64 // engineering = raw*Gain + Offset; 0 means 1
	Offset  float64
	// The instrument's range in engineering units; outside it a value is bad
	// (BadRange). Ranged false: not checked.
	Ranged    bool
	Low, High float64
	Period    time.Duration // scan period
	Write     bool          // may be written (`may_write`); everything else is refused
}

// Scaled reports whether a reading is not the raw number itself.
func (p *Point) Scaled() bool { return p.Offset != 0 || p.Gain != 0 && p.Gain != 1 }

// Kind says what good readings of p hold: Type.Kind, or Float64 where a number is scaled.
func (p *Point) Kind() tag.Kind {
	if p.Scaled() && p.Type.Kind != tag.Bool {
		return tag.Float64
	}
	return p.Type.Kind
}

// LinkConfig is what Open needs. Options that only one protocol has are in
// Extra, already parsed by the driver's ParseLink.
type LinkConfig struct {
	Name    string
	Target  string        // as written: "192.168.1.20:502"
	Timeout time.Duration // of one Read or Write, connecting included
	Log     *slog.Logger
	Now     func() tag.Stamp
	Extra   any
}

// Driver is one protocol. Its methods may be called from any goroutine.
type Driver interface {
	// ParseTarget checks a link's target ("192.168.1.20:502").
	ParseTarget(s string) (canonical string, err error)
	// ParseAddress parses `at:`. The error is a *Hint where there is one.
	ParseAddress(s string) (Address, error)
	// ParseType parses `type:` for an address; "" is the address's natural type.
	ParseType(a Address, s string) (Type, error)
	// Plan packs points of one link into requests: every point in exactly one,
	// points of one period and station together where the protocol allows it.
	Plan(points []Point) ([]Request, error)
	// Open makes a link. It does no I/O that can fail for a reason of the
	// world: a device that is away is found by Read.
	Open(ctx context.Context, cfg LinkConfig) (Link, error)
}

// Link belongs to the goroutine that opened it.
type Link interface {
	// Read appends one reading for every point of req, in order, whatever
	// happens. The error reports the link itself, the readings say what it
	// means for the points. It returns within LinkConfig.Timeout, by ctx's
	// deadline if that is earlier, and at once when ctx is cancelled. An answer
	// that comes later is never taken for the answer to another request. Calls
	// that bring the same ctx are cheapest.
	Read(ctx context.Context, req Request, dst []tag.Reading) ([]tag.Reading, error)
	// Write writes one point; nil means that the device confirmed it. An error
	// that wraps ErrUnknown means that nobody knows whether it was done.
	Write(ctx context.Context, p Point, v tag.Value) error
	Close() error
}

// Subscriber is a link whose device speaks by itself. Subscribe blocks until
// ctx ends or the subscription is in doubt; emit is called with readings in
// the order they came, from the goroutine that called Subscribe.
type Subscriber interface {
	Link
	Subscribe(ctx context.Context, points []Point, emit func([]tag.Reading)) error
}

// Pusher is a driver some of whose links are Subscribers: their points are
// subscribed to, not polled.
type Pusher interface {
	Driver
	Subscribes(target string) bool
}

// Request is a packed request, made when the plan is compiled.
type Request interface {
	Points() []Point
	// Cost is the time that the request and its answer take on the wire when
	// all is well, without the device's own thinking time.
	Cost() time.Duration
	// String says what is asked, for errors: "station 3 holding 0..19 (ref 40001..40020)".
	String() string
}

// Set is the drivers of a binary by the key that names them in a site file
// ("modbus-tcp"). It is filled in cmd/davy; there are no init functions.
type Set map[string]Driver

// ErrUnknown says that a write was sent and not confirmed: read back first.
var ErrUnknown = errors.New("outcome unknown")

// ErrReadOnly says that a point may not be written.
var ErrReadOnly = errors.New("read-only: not in may_write")

// Hint is an error for a person: a code with arguments whose words are in
// agent/i18n under "problem.<code>" and, if HintCode is set, "hint.<hint>".
type Hint struct {
	Code string         // "address.ambiguous"
	Args map[string]any // named, for the words
	Hint string         // key of the remedy
}

func (h *Hint) Error() string { return h.Code }
