// Package operate is the local socket: how people see a running agent and say
// what it is to do.
//
// It promises: requests are answered from a View that is at most ViewAge old,
// so that no number of clients asks more of control than one View per ViewAge;
// commands go one at a time through a queue of MaxQueue; a client that sends
// garbage, reads nothing, opens many connections or leaves in the middle costs
// a bounded amount of memory and time and nothing else. Who asks is what the
// kernel says of the peer (SO_PEERCRED), never what the request says: the
// person is *claimed* by the operating system's user. A command may carry a Proof,
// a person's id and PIN: where the agent finds it good, the command is that
// person's, *proved*. Each connection is a session of its own, in which one person
// at most is proved: two sessions are two entries of a PIN. Whether two people
// made them nobody here can know.
//
// One JSON object per line each way. Request: {"do":"status"}; answer:
// {"ok":true,"view":{…}}, {"ok":true,"result":{…}}, {"ok":true,"fresh":{…}} or
// {"ok":false,"error":{"code":"refused.wrong-occurrence","args":{…}}}, where
// the words of the code are in agent/i18n. The JSON of View is the same that
// `davy status --json` prints: names and enumerations are stable.
//
// Who owns what: the Server owns the socket's file and its connections; the
// Handler owns the truth. Nothing is durable.
//
// Imports: rules, rules/load, drivers/tag, agent/config, agent/ring (kinds of events), agent/i18n.
package operate

import (
	"context"
	"errors"
	"time"

	"davy/agent/i18n"
)

// Limits, each with what happens at it.
const (
	MaxRequest  = 16 << 10               // bytes of a request's line; longer is refused and the connection closed
	MaxAnswer   = 8 << 20                // bytes of an answer's line; a client takes no more
	MaxConns    = 16                     // connections; more are told "busy" and closed
	MaxPerUser  = 6                      // … of one user
	MaxQueue    = 16                     // commands that wait; more are told "busy"
	MaxNote     = 500                    // bytes of a person's note; longer is refused
	MaxName     = 200                    // bytes of a name in a command; longer is refused
	MaxNames    = 200                    // names in a command; more are refused
	MaxLog      = 2000                   // events in a View; older ones are cut by whoever makes it
	MaxPath     = 100                    // bytes of the socket's path; a longer one cannot be listened on
	ViewAge     = 100 * time.Millisecond // a View is shown again for so long
	ViewWait    = 2 * time.Second        // the handler has so long for a View
	CommandWait = 10 * time.Second       // … for a command; then nobody knows whether it was carried out
	ReloadWait  = time.Minute            // … for reload
	ReadWait    = 15 * time.Second       // … for a reading; then it is not known
	MaxWrong    = 3                      // wrong proofs on one connection; then it is closed
	ProofWait   = 15 * time.Second       // a proof has so long, the others before it included
	MaxReads    = 4                      // readings asked for at once; more are told "busy"
	Pace        = 20 * time.Millisecond  // between two requests of a connection
	Hold        = 100 * time.Millisecond // a connection keeps its place at least so long, however fast it goes
	AcceptPace  = time.Millisecond       // between two connections accepted
	Backlog     = 16                     // connections not yet accepted; more are turned away by the kernel
	TellEvery   = time.Minute            // between two lines in the log about connections that were refused
	BusyWait    = 2 * time.Second        // a client that is told "busy" tries again so long
	Idle        = 10 * time.Second       // a connection without a whole request is closed
	WriteWait   = 5 * time.Second        // a client that does not read is closed
)

// Requests that show.
const (
	Status = "status"
	Alarms = "alarms"
	Log    = "log"
)

// Read asks for one tag from its device now, before what is polled.
const Read = "read"

// Prove asks only whether a Proof is good, before more is done on the strength of it.
const Prove = "prove"

// Requests that command the agent itself; those to its rules are in acts.go.
const (
	Arm    = "arm"
	Disarm = "disarm"
	Reload = "reload"
)

// Handler is the agent behind the socket. Its methods are called from several
// goroutines, Do from one at a time.
type Handler interface {
	// View returns a consistent copy of what is; nobody changes it afterwards.
	View(ctx context.Context) (*View, error)
	// Do carries out a command. A refusal is a *rules.RefusedError or an *Error.
	Do(ctx context.Context, c Command) (*Result, error)
}

// Reader is a Handler that can read one tag now. An unknown tag is an *Error
// with UnknownTag, one that no device has (the agent's own conditions) one with
// NoDevice. A device that does not answer is no error but a bad reading.
type Reader interface {
	ReadNow(ctx context.Context, name string) (*Fresh, error)
}

// Codes of what a Reader refuses; both take the argument "tag".
const (
	UnknownTag = "operate.unknown-tag"
	NoDevice   = "operate.no-device"
)

// Who says whose word it is.
type Who struct {
	Name   string `json:"name"`   // proved: the person's id; else of the operating system's user, or "uid:N"
	Proved bool   `json:"proved"` // person and PIN; else claimed
}

// Command is a person's word to the agent.
type Command struct {
	Do         string   `json:"do"`
	Rule       string   `json:"rule,omitempty"`       // of those to the rules: a rule; of some a device or a tag
	Occurrence uint64   `json:"occurrence,omitempty"` // as shown to the person
	Note       string   `json:"note,omitempty"`
	Channel    string   `json:"channel,omitempty"` // bypass, confirm, end-bypass
	Value      string   `json:"value,omitempty"`   // force: as a person writes it, see ValueOf
	For        float64  `json:"for_s,omitempty"`   // shelve, bypass, force, begin-test
	Result     string   `json:"result,omitempty"`  // end-test: passed, failed, aborted
	Tag        string   `json:"tag,omitempty"`     // read
	Plan       string   `json:"plan,omitempty"`    // reload: hash of what was applied, hex
	Names      []string `json:"names,omitempty"`   // reload: rules that may be dropped though they stand
	Who        Who      `json:"-"`                 // the server's finding, like what follows
	Roles      []string `json:"-"`                 // of Who, where proved
	Session    string   `json:"-"`                 // of the connection, random
}

// Result says what a command did.
type Result struct {
	// Code, if set, names words that say more than that it was done.
	Code string         `json:"code,omitempty"`
	Args map[string]any `json:"args,omitempty"`
}

// Error is a refusal or a failure for a person: words under Code.
type Error struct {
	Code string         `json:"code"`
	Args map[string]any `json:"args,omitempty"`
	Text string         `json:"text,omitempty"` // in English, where Code has no words of its own
}

func (e *Error) Error() string {
	if e.Text != "" {
		return e.Code + ": " + e.Text
	}
	return e.Code
}

// In returns e for a person.
func (e *Error) In(l i18n.Lang) string {
	if !i18n.Has(e.Code) {
		return e.Error()
	}
	args := i18n.Args{"text": e.Text}
	for k, v := range e.Args {
		args[k] = v
	}
	key := e.Code
	if _, ok := args["conditions"]; ok && key == "refused.reset-not-met" {
		key = "refused.reset-not-met.conditions"
	}
	if channels, ok := args["channels"]; ok && key == "refused.still-standing" { // of an interlock
		key = "refused.still-standing.interlock"
		if channels != "" {
			key = "refused.still-standing.interlock-channels"
		}
	}
	return l.Text(key, args)
}

// Errors of a Client.
var (
	ErrNotRunning = errors.New("agent not running") // nobody listens on the socket
	ErrForbidden  = errors.New("not allowed to talk to the agent")
	ErrAnswer     = errors.New("answer does not hold")
	ErrBusy       = errors.New("another agent listens on this socket")
)

// request and answer are the lines.
type request struct {
	Command
	Proof *Proof `json:"proof,omitempty"`
}

type answer struct {
	OK     bool    `json:"ok"`
	View   *View   `json:"view,omitempty"`
	Result *Result `json:"result,omitempty"`
	Fresh  *Fresh  `json:"fresh,omitempty"`
	Error  *Error  `json:"error,omitempty"`
}
