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

// Warner is an address that is accepted with a word of advice; nil: none.
type Warner interface{ Warn() *Hint }

// Type is the parsed form of a point's `type:`; Kind is what readings will hold.
type Type struct {
	Kind  tag.Kind
	Sign  bool   // integers: signed
	BCD   bool   // each four bits are a decimal digit
	Bits  int    // 1, 16, 32, 64: how much of the device's memory it takes
	Order string // byte order of the protocol, "ABCD", "CDAB", "BADC", "DCBA"; "" where it has no meaning

	// Of a field within a register ("uint16 bits 4..7"): Shift is its lowest bit,
	// Width its bits; Width 0 is the whole.
	Shift, Width int
	Bytes        int // of a text
}

// Point is one value of one device. Points are made by the configuration and
// never change.
type Point struct {
	Tag     tag.ID
	Write   bool // may be written (`may_write`); everything else is refused
	Ranged  bool // the instrument has a range, Low to High
	Name    tag.Name
	Station int // Modbus unit id; 0 where the protocol has none
	Device  string
	Address Address
	Type    Type
	Gain    float64 // engineering = raw*Gain + Offset; 0 means 1
	Offset  float64
	// The instrument's range in engineering units; outside it a value is bad
	// (Outside).
	Low, High float64
	Period    time.Duration // scan period

	// Options is what the driver's ParseDevice made of the device's own fields, the
	// same value for all points of a device; nil: none.
	Options any
	// Decimals is the register that says how many decimals the raw number has:
	// engineering = raw × 10^-n × Gain + Offset. It is read in the same request.
	// nil: none. A number outside 0 to 9 there is BadDeviceFault.
	Decimals Address
	// Invalid are raw numbers that are no measurement ("0x8000 is a fault").
	Invalid []Invalid
	// State is the device's own word on its state, read in the same request:
	// what it says of the device caps the quality of the value. nil: none.
	State *State
	// Codes are the codes of an enumeration (Kind Enum) that have a name; any
	// other is BadConfig, with the code.
	Codes []int64
	// Texts are what a text point (Kind Text) may say, with each text's index in
	// the plan's table; any other is BadConfig, without a value.
	Texts []Text
}

// Outside returns what a value outside the instrument's range is: BadRange, with
// the limit that it is beyond; 0 of one within, and where there is no range.
func (p *Point) Outside(f float64) tag.Quality {
	switch {
	case p.Ranged && f > p.High:
		return tag.BadRange | tag.LimitHigh
	case p.Ranged && f < p.Low:
		return tag.BadRange | tag.LimitLow
	}
	return 0
}

// Invalid is a raw number, or a stretch of them, that is no measurement, and
// what it means. Low and High are inclusive, of the number as the type has it
// (with its sign, before decimals and scale).
type Invalid struct {
	Low, High int64
	Quality   tag.Quality
}

// State is a device's word on its state: where it stands and what its codes or
// bits mean. Of all that apply the worst counts; Otherwise holds where none does.
type State struct {
	Address   Address
	Type      Type
	Means     []Meaning
	Otherwise tag.Quality // of a word that Means does not name
}

// Meaning says of the words with word&Mask == Value what quality they mean.
type Meaning struct {
	Mask, Value uint64
	Quality     tag.Quality
}

// Text is one text that a point may say and its index in the plan's table.
type Text struct {
	Text  string
	Index uint32
}

// Scaled reports whether a reading is not the raw number itself.
func (p *Point) Scaled() bool { return p.Offset != 0 || p.Gain != 0 && p.Gain != 1 }

// Kind says what good readings of p hold: Type.Kind, or Float64 where a number
// is scaled or has its decimals in another register.
func (p *Point) Kind() tag.Kind {
	if (p.Scaled() || p.Decimals != nil) && p.Type.Kind != tag.Bool {
		return tag.Float64
	}
	return p.Type.Kind
}

// Field is a field of the site file that only this protocol has: of a link
// (`serial: 9600 8E1`), or of a device or its template (`gaps: no`).
type Field struct {
	Name string
	File bool     // its value names a file of the site directory, whose content is handed over
	Also []string // what people write for it
}

// Fields are the values of such fields as written, by name; of a File, its content.
type Fields map[string]string

// FieldError is an error of one field; Field "" is the target itself. The
// errors of ParseLink and ParseDevice are FieldErrors, joined where there are several.
type FieldError struct {
	Field string
	Err   error // a *Hint where there is one
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Err.Error() }
func (e *FieldError) Unwrap() error { return e.Err }

// Settings is a link as its driver understood it: made when the plan is
// compiled, never changed.
type Settings struct {
	Target  string // canonical
	Options any    // the driver's own; nil: none were written, all defaults hold
	// Notes are what every screen shows of this link, as keys of agent/i18n:
	// "link.note.no-security".
	Notes []string
	// Conditions are what links with these settings may report by Say beside
	// what every link has: "other-master", "untrusted".
	Conditions []string
	// Exclusive says that no second link of a site may have this target: a serial
	// line has one master.
	Exclusive bool
	// Connections is how many links of a site may have this target together,
	// because its device takes no more connections; 0: any number.
	Connections int
}

// LinkConfig is what Open needs.
type LinkConfig struct {
	Name string
	Settings
	Timeout  time.Duration // of one Read or Write, connecting included
	ReadOnly bool          // nothing is written on this link, whatever a point says
	Log      *slog.Logger
	Now      func() tag.Stamp
	Say      func(condition string, on bool) // one of Settings.Conditions began or ended; nil: nobody listens
	// Dir is a directory for what the driver keeps over restarts (a certificate
	// of its own); "" where it may keep nothing. Secret returns what
	// `davy secret set NAME` stored; nil: there are none.
	Dir    string
	Secret func(name string) (string, error)
}

// Driver is one protocol. Its methods may be called from any goroutine.
type Driver interface {
	// LinkFields and DeviceFields are the fields of the site file that are this
	// driver's own.
	LinkFields() []Field
	DeviceFields() []Field
	// ParseLink checks a link's target ("192.168.1.20:502") and its own fields.
	ParseLink(target string, fields Fields) (Settings, error)
	// ParseDevice checks a device's own fields; nil where there are none.
	ParseDevice(fields Fields) (options any, err error)
	// ParseAddress parses `at:`. The error is a *Hint where there is one.
	ParseAddress(s string) (Address, error)
	// ParseType parses `type:` for an address; "" is the address's natural type.
	ParseType(a Address, s string) (Type, error)
	// Plan packs points of one link into requests: every point in exactly one,
	// points of one period and station together where the protocol allows it,
	// such that the link is busy for as short as can be.
	Plan(link Settings, points []Point) ([]Request, error)
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

// Batcher is a link that can have several requests under way at once. Window
// is how many it takes now: 1 where it may not, 2 while it finds out whether its
// device can.
// ReadAll is Read for each of reqs; each is called for every one once, in any
// order, from within ReadAll, with readings that live until each returns.
type Batcher interface {
	Link
	Window() int
	ReadAll(ctx context.Context, reqs []Request, each func(i int, readings []tag.Reading, err error))
}

// Later is the error of a request that was not sent, because the link must not
// ask this station now (it may still answer an earlier request) or not yet
// (it listens for another master). Ask again at Until, Mono; meanwhile other
// stations may be asked.
type Later struct {
	Until int64
	Line  bool // nobody on this link may be asked, not only this station
	Why   error
}

func (l *Later) Error() string { return l.Why.Error() }
func (l *Later) Unwrap() error { return l.Why }

// Subscriber is a link whose device speaks by itself. Subscribe blocks until
// ctx ends or the subscription is in doubt; emit is called with readings in
// the order they came, from the goroutine that called Subscribe.
type Subscriber interface {
	Link
	Subscribe(ctx context.Context, points []Point, emit func([]tag.Reading)) error
}

// Duplex is a Subscriber whose Write may be called from another goroutine while
// Subscribe runs: one connection serves both.
type Duplex interface {
	Subscriber
	Duplex()
}

// Pusher is a driver some of whose links are Subscribers: their points are
// subscribed to, not polled.
type Pusher interface {
	Driver
	Subscribes(link Settings) bool
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
