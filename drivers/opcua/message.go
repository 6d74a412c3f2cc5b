package opcua

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"davy/drivers"
	"davy/drivers/tag"
)

// Version of the conversation between a link and its child. They are one
// binary, but the file may have been replaced since the parent started.
const Version = 1

// The kinds of frames (drivers/child). The child speaks first (Ready), the
// parent answers with Hello; then, in this direction:
//
//	parent → child   Items*, then Subscribe once or Read again and again; Write at any time
//	child → parent   State whenever the session comes or goes; Readings, Done, Condition
//
// The child serves a Write before a Read that waits. It answers every Read with
// the Readings of its items and then one Done, every Write with one Done, even
// where there is no session.
const (
	KindHello     byte = 1 // Hello, JSON
	KindItems     byte = 2 // Items, JSON
	KindSubscribe byte = 3 // Ask, binary; Request and Wait are 0
	KindRead      byte = 4 // Ask, binary
	KindWrite     byte = 5 // Write, JSON

	KindReady     byte = 16 // Ready, JSON
	KindState     byte = 17 // State, JSON
	KindReadings  byte = 18 // Batch, binary
	KindDone      byte = 19 // Done, JSON
	KindCondition byte = 20 // Condition, JSON
)

// Limits of messages; what exceeds one is an error, and the child is replaced.
const (
	MaxSamples  = 4096    // of one Batch
	MaxItems    = 500     // of one Items, and of one request that is read
	MaxText     = 1024    // bytes of any text that a child sends; it cuts longer ones itself
	MaxMessage  = 1 << 16 // bytes of a JSON message of a child
	MaxHandle   = 1 << 20 // items of one child
	sampleBytes = 48
	batchBytes  = 16
	askBytes    = 20
)

// Ready is what a child says first.
type Ready struct{ Version uint32 }

// Hello tells the child everything about its link. Its secrets are nowhere else.
type Hello struct {
	Version    uint32
	Generation uint32    // of this child; every message of it carries it
	Now        tag.Stamp // the parent's clock when this was written: see Clock
	Name       string    // of the link, for logs
	Target     string    // "opc.tcp://host:port/path"
	Options    Options
	Dir        string        // for our own certificate, Dir/opcua/own.der and own.key; "" where nothing may be kept
	Timeout    time.Duration // of one service call, connecting included
	User       string        // of a password login
	Password   string
	Key        string // of a certificate login: PEM
}

// Item is a node that will be asked for.
type Item struct {
	Address  Address
	Kind     tag.Kind       // what Value its samples hold: see Convert
	Sampling time.Duration  // the point's period
	Texts    []drivers.Text // of a Text
}

// Items gives handles to items: Items[i] is First+i. Handles are given once
// per child, ascending.
type Items struct {
	First uint32
	Items []Item
}

// Ask asks for the items First to First+Count-1: all values now, or for a
// subscription to them.
type Ask struct {
	Request uint32        // 0 of a subscription
	Wait    time.Duration // the answer is of no use later
	First   uint32
	Count   uint32
}

// Write asks to write one value. Text holds the text of a Text value.
type Write struct {
	Request uint32
	Wait    time.Duration
	Address Address
	Kind    tag.Kind
	Bits    uint64
	Text    string `json:",omitempty"`
}

// State says that a session came or went. Samples of a session come after the
// State that says it is up, and never after one that says it is down; each
// session has a number greater than the one before, from 1. A State that is
// down with Session 0 says that no session could be made, and why.
type State struct {
	Generation uint32
	Session    uint32
	Up         bool
	Code       string `json:",omitempty"` // why it is down: one of the codes below
	Text       string `json:",omitempty"` // for the log, in English
	// Fingerprint is the SHA-256 of the certificate that the server showed, as lower case hex.
	Fingerprint string `json:",omitempty"`
}

// Why there is no session. CodeUntrusted makes the link's condition "untrusted".
const (
	CodeConnect   = "connect"   // no connection, or it broke
	CodeUntrusted = "untrusted" // the server's certificate is not the one that the site trusts, or has run out
	CodePolicy    = "policy"    // the server does not offer the security that the site asks for
	CodeLogin     = "login"     // the server refused the user, or a secret is missing
	CodeSilent    = "silent"    // keep-alive, canary or data clock missed
	CodeSession   = "session"   // the server ended it, or an answer made no sense
	CodeInternal  = "internal"  // a panic, an overflow of our own
)

// Done answers a Read or a Write.
type Done struct {
	Generation uint32
	Request    uint32
	Code       string `json:",omitempty"` // "": done; else one below
	Status     uint32 `json:",omitempty"` // the server's status code, where there is one
	Text       string `json:",omitempty"`
}

// What became of a request that was not done.
const (
	DoneNoSession = "no-session" // nothing was sent
	DoneRefused   = "refused"    // the server said no: Status; of a read: the whole request
	DoneType      = "type"       // a value that the node cannot hold exactly; nothing was sent
	DoneUnknown   = "unknown"    // sent and not answered; of a read: no answer
)

// Condition is a change of an alarm or condition of the server (OPC UA part 9),
// or its state after a refresh.
type Condition struct {
	Generation uint32
	Session    uint32
	Handle     uint32 // the item: an address "conditions of …"
	Received   tag.Stamp
	Time       int64  // the server's, ns since 1970; 0 if absent
	ID         string // of the condition and its branch: the same condition is the same ID
	Source     string // SourceName
	Name       string // ConditionName
	Message    string
	Severity   uint16 // 1 to 1000; 0 if absent
	Active     bool
	Acked      bool
	Confirmed  bool
	Enabled    bool
	Retain     bool
	Suppressed bool // SuppressedOrShelved
	Refreshed  bool // not a change: part of a refresh
}

// Reason says why a child calls a sample bad (or good) beside its status code.
type Reason uint8

// The reasons of the child.
const (
	NoReason  Reason = iota
	WrongType        // the server's value is of a type that the point's type does not hold
	TooLarge         // a number that the point's type cannot hold exactly
	NotNumber        // NaN or infinite
	WrongForm        // an array where a single value is expected, or none where an element is
	NoValue          // null
	OtherText        // a text that the point does not know
	NotFound         // the namespace is not there
	reasons
)

var reasonText = [...]string{"", "wrong type", "number too large for the point's type", "not a number", "array or single value expected", "no value", "unknown text", "no such namespace"}

func (r Reason) String() string {
	if int(r) < len(reasonText) {
		return reasonText[r]
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

// Sample is one value of one item.
type Sample struct {
	Handle   uint32
	Quality  tag.Quality
	Status   uint32 // as the server sent it
	Reason   Reason
	Overflow bool      // the server dropped samples before this one
	Value    tag.Value // None where Quality is bad
	Source   int64     // SourceTimestamp, ns since 1970; 0 if absent
	Received tag.Stamp // when the child took it from the socket
}

// Batch is samples of one session, in the order the server sent them: the
// answer to a Read, or notifications (Request 0). Its samples are used again
// by Decode.
type Batch struct {
	Generation, Session, Request uint32
	Samples                      []Sample
}

// ErrMessage says that what came from the other side is no message.
var ErrMessage = errors.New("no message of the other side's")

// Append appends b as a frame's body; more than MaxSamples is a programmer's error.
func (b *Batch) Append(dst []byte) []byte {
	if len(b.Samples) > MaxSamples {
		panic("BUG: opcua: more samples than MaxSamples")
	}
	le := binary.LittleEndian
	dst = le.AppendUint32(dst, b.Generation)
	dst = le.AppendUint32(dst, b.Session)
	dst = le.AppendUint32(dst, b.Request)
	dst = le.AppendUint32(dst, uint32(len(b.Samples)))
	for i := range b.Samples {
		s := &b.Samples[i]
		dst = le.AppendUint32(dst, s.Handle)
		dst = le.AppendUint32(dst, uint32(s.Quality))
		dst = le.AppendUint32(dst, s.Status)
		flags := byte(0)
		if s.Overflow {
			flags = 1
		}
		dst = append(dst, byte(s.Value.Kind()), byte(s.Reason), flags, 0)
		dst = le.AppendUint64(dst, s.Value.Bits())
		dst = le.AppendUint64(dst, uint64(s.Source))
		dst = le.AppendUint64(dst, uint64(s.Received.Wall))
		dst = le.AppendUint64(dst, uint64(s.Received.Mono))
	}
	return dst
}

// Decode reads a frame's body. It accepts what Append makes and nothing else:
// no quality and no value that the vocabulary does not have, no good or
// uncertain sample without a value, no bad one with one. What it refuses says
// that the child is broken.
func (b *Batch) Decode(body []byte) error {
	b.Samples = b.Samples[:0]
	if len(body) < batchBytes {
		return fmt.Errorf("decode readings: %d bytes: %w", len(body), ErrMessage)
	}
	le := binary.LittleEndian
	b.Generation, b.Session, b.Request = le.Uint32(body), le.Uint32(body[4:]), le.Uint32(body[8:])
	n := le.Uint32(body[12:])
	body = body[batchBytes:]
	if n > MaxSamples || len(body) != int(n)*sampleBytes {
		return fmt.Errorf("decode readings: %d bytes for %d samples: %w", len(body), n, ErrMessage)
	}
	for ; len(body) > 0; body = body[sampleBytes:] {
		q := tag.Quality(le.Uint32(body[4:]))
		v, ok := tag.FromBits(tag.Kind(body[12]), le.Uint64(body[16:]))
		r, flags := Reason(body[13]), body[14]
		if !ok || !q.Valid() || q.Bad() != (v.Kind() == tag.None) || r >= reasons || r != NoReason && !q.Bad() || flags > 1 || body[15] != 0 {
			b.Samples = b.Samples[:0]
			return fmt.Errorf("decode readings: no reading: %w", ErrMessage)
		}
		b.Samples = append(b.Samples, Sample{
			Handle: le.Uint32(body), Quality: q, Status: le.Uint32(body[8:]), Reason: r, Overflow: flags == 1, Value: v,
			Source:   int64(le.Uint64(body[24:])),
			Received: tag.Stamp{Wall: int64(le.Uint64(body[32:])), Mono: int64(le.Uint64(body[40:]))},
		})
	}
	return nil
}

// Append appends a as a frame's body.
func (a Ask) Append(dst []byte) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint32(dst, a.Request)
	dst = le.AppendUint64(dst, uint64(a.Wait))
	dst = le.AppendUint32(dst, a.First)
	return le.AppendUint32(dst, a.Count)
}

// DecodeAsk reads a frame's body.
func DecodeAsk(body []byte) (a Ask, err error) {
	if len(body) != askBytes {
		return Ask{}, fmt.Errorf("decode request: %d bytes: %w", len(body), ErrMessage)
	}
	le := binary.LittleEndian
	a = Ask{le.Uint32(body), time.Duration(le.Uint64(body[4:])), le.Uint32(body[12:]), le.Uint32(body[16:])}
	if a.First > MaxHandle || a.Count > MaxHandle || a.Wait < 0 {
		return Ask{}, fmt.Errorf("decode request: %w", ErrMessage)
	}
	return a, nil
}

// Clock is the parent's clock in the child: what it showed when Hello was
// written, carried on from when Hello was read. It is late by the time the
// message took, so that no sample is stamped younger than it is. (A suspended
// machine makes two processes' own clocks differ.)
type Clock struct {
	at    tag.Stamp
	since time.Time
}

// NewClock starts a clock at a Hello's Now.
func NewClock(at tag.Stamp) Clock { return Clock{at, time.Now()} }

// Now returns the present instant: Mono is the parent's, Wall this process's own.
func (c Clock) Now() tag.Stamp {
	t := time.Now()
	return tag.Stamp{Wall: t.UnixNano(), Mono: c.at.Mono + int64(t.Sub(c.since))}
}
