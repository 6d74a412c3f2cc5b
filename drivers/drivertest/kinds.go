package drivertest

import (
	"slices"
	"strings"
	"time"
)

// Kind is one way in which the world misbehaves, of the list that every driver
// has to stand. A rig makes each of them or says in Cannot why it cannot.
type Kind string

// The kinds. Those from Lacking on are tried by the suite itself with what the rig gives it.
const (
	Silent        Kind = "silence"
	Refused       Kind = "refusal"          // every code that the protocol has, a fault each
	Garbled       Kind = "garbled"          // bytes that are no answer
	Short         Kind = "short data"       // less than was asked for, in a good frame
	Long          Kind = "long data"        // more
	WrongStation  Kind = "wrong station"    // somebody else's answer
	WrongFunction Kind = "wrong function"   // the answer to another kind of request
	LateBefore    Kind = "late before"      // after the timeout, while nothing is asked
	LateDuring    Kind = "late during"      // after the timeout, within the next request
	Duplicate     Kind = "duplicate"        // every answer twice
	Bytewise      Kind = "byte by byte"     // in time
	Reset         Kind = "reset"            // the connection is cut instead of an answer
	HalfOpen      Kind = "half-open"        // the connection is dead and nobody says so
	Speechless    Kind = "accepts, is mute" // new connections too
	Reconnected   Kind = "reconnect"        // the connection is cut while nothing is asked
	Lacking       Kind = "one bad point"    // Rig.Lack
	Cancelled     Kind = "cancellation"     // Rig.Silence
	TwoDevices    Kind = "two devices"      // points of two stations, a fault that spares one of them
	Writing       Kind = "writing"          // Rig.Write, Rig.Written, Rig.Silence
)

// Kinds are all of them.
var Kinds = [...]Kind{
	Silent, Refused, Garbled, Short, Long, WrongStation, WrongFunction, LateBefore, LateDuring, Duplicate,
	Bytewise, Reset, HalfOpen, Speechless, Reconnected, Lacking, Cancelled, TwoDevices, Writing,
}

// kinds sees to it that nothing of the list is silently missing.
func (c *check) kinds() {
	makes := map[Kind]bool{Lacking: len(c.Lack) > 0, Cancelled: c.Silence != nil, Writing: c.Written != nil && c.Silence != nil}
	for _, f := range c.Faults {
		if f.Kind != "" {
			makes[f.Kind] = true
		}
		if f.Spares != nil {
			makes[TwoDevices] = true
		}
	}
	for _, k := range Kinds {
		reason := strings.TrimSpace(c.Cannot[k])
		switch {
		case makes[k] && reason != "":
			c.violation(Untried, "the rig makes %q and says that it cannot: %s", k, reason)
		case !makes[k] && reason == "":
			c.violation(Untried, "the rig neither makes %q nor says why it cannot", k)
		}
	}
	for k := range makes {
		if !slices.Contains(Kinds[:], k) {
			c.violation(Untried, "%q is no kind of fault", k)
		}
	}
}

// wait lets the time pass that a link wants before it asks again, at most MostLater.
func (c *check) wait(until int64) {
	for {
		left := time.Duration(until - c.Config.Now().Mono)
		if left <= 0 || c.ctx.Err() != nil {
			return
		}
		pause(c.ctx, left)
	}
}
