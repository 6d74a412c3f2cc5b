package rules

import (
	"time"

	"davy/drivers/tag"
)

// BadPolicy says what a channel that is bad does to its vote. One of a detector
// that warms up is bad: its number says nothing of the plant.
type BadPolicy uint8

// The policies. The zero value trips. Until After has passed a bad channel is
// still in the group but votes neither way, except with LastGood.
const (
	CountsAsTrip BadPolicy = iota // votes to trip, after After
	LeftOut                       // leaves the vote, after After: of the rest, min(M, rest) trip
	LastGood                      // its last usable value votes for After, then it counts as trip
)

// Channel is one cause of an interlock.
type Channel struct {
	Name   string // "nh3-1.gas"
	Cond   Condition
	Manual bool // a person's hand (a push button): it cannot be bypassed
}

// Demand is what a tripped interlock demands of an output, Delay after the trip.
type Demand struct {
	Output string
	Delay  time.Duration
	RunOn  time.Duration // it is held this long after the reset (a fan)
}

// Permit says who may do something for a time. AtMost 0: nobody.
type Permit struct {
	Roles     []string      // any of them; empty: every proved person
	Second    []string      // a second proved person with any of them, from another session, within ConfirmWithin; empty: none is asked for
	AtMost    time.Duration // longest
	AlarmOnly bool          // at its end it stays and is an alarm; else it ends by itself
}

// ConfirmWithin is how long a bypass that one person asked for waits for the second.
const ConfirmWithin = 10 * time.Minute

// Permissive is a condition that must hold before what an interlock stopped may
// start again: the exhaust fan is ready, the caustic is above its minimum. It
// never keeps a trip from tripping, nor does a missing one trip. While it does
// not hold, or it is not known whether it does, a reset is not accepted. While
// the interlock is armed and it does not hold for After, the alarm
// "<interlock>.<name>.not-permitted" is raised; one that is not known is no
// alarm of its own, for that its tag is not watched is one. What must not
// even begin is an interlock of its own, armed while it has not begun.
type Permissive struct {
	Name     string // "caustic.level"; within the interlock
	Cond     Condition
	Text     Text // of the alarm; the interlock's where it is empty
	Priority Priority
	After    time.Duration
}

// Discrepancy says how far the channels of one vote may differ: more than
// Spread for longer than After is the alarm "<interlock>.discrepancy". It
// returns when all channels can be judged and agreed as long. It casts no vote.
// Manual channels are not compared.
type Discrepancy struct {
	Priority Priority      // 0: none is looked for
	Spread   float64       // greatest less smallest value, in the unit of the channels; 0: some channels want the trip and others do not
	After    time.Duration // from 0
}

// Interlock trips when M of its channels vote to trip.
type Interlock struct {
	Name     string
	Text     Text
	Priority Priority
	M        int
	Channels []Channel
	OnDelay  time.Duration // the vote stands this long before the trip

	Bad      BadPolicy
	BadAfter time.Duration
	// InTestCounts: a channel whose quality has the Test flag or the reason
	// function check votes all the same. The default leaves it out, one
	// channel of the group at a time: a second one counts as bad.
	InTestCounts bool
	// AllBadHolds: all channels bad do not trip (the default is to trip,
	// whatever Bad says). All means: none is usable, and those that are not left
	// out for a test or a bypass are bad. 1oo1 must write its policy.
	AllBadHolds bool

	DegradedPriority Priority      // alarm "<name>.degraded" while a channel is out; 0 none
	DegradedAtMost   time.Duration // longer: alarm "<name>.degraded-overdue" of one priority more; 0 no limit

	// Arm: the interlock trips only while it holds, and while it is not known
	// whether it does. A trip that stands is not ended by it. ArmDue says when
	// it is expected to: where ArmDue holds, and Arm does not, for ArmWithin,
	// the alarm "<name>.not-armed", with the interlock's priority, is raised.
	Arm       Condition
	ArmDue    Condition
	ArmWithin time.Duration

	Permissives []Permissive
	Discrepancy Discrepancy

	Demands []Demand

	// ManualReset: stays tripped until a person resets it (and the reset
	// condition holds). Otherwise it resets itself when the condition holds.
	ManualReset bool
	// ResetConds: all usable channels must satisfy their ResetCond for ResetFor
	// and none may be bad without policy LeftOut, before a reset is accepted.
	// Where no condition was written it is the negation of Channel.Cond. By itself
	// an interlock is not reset while a channel that is left out, be it bad, in
	// test or bypassed, did not satisfy it when it was last known: then a person must.
	ResetConds []Condition // one per channel
	ResetWhen  Condition   // must hold as well, for ResetFor; not while it is not known
	ResetFor   time.Duration

	// Test permits drills and proof tests: everything happens, and its events
	// carry Event.Test. A test that nobody ends is ended by its time, as Aborted.
	// TestEvery is as of a Device.
	Test      Permit
	TestEvery time.Duration

	// Bypass takes one channel at a time out of the vote. Of the rest fewer trip,
	// as if the bypassed one had voted: max(M-1, 1), so that 2 of 3 becomes 1 of
	// 2 and 1 of 2 becomes 1 of 1. Of a single channel none is left: the function
	// is out of service, and "all bad" does not mean it. While one is bypassed
	// none is left out for a test. A trip that stands is not reset by a bypass: a
	// person may reset it once the other channels allow it. Overdue with
	// AlarmOnly it is the alarm "<name>.bypass-overdue", with the interlock's
	// priority. Anybody may end a bypass: that is towards safety.
	Bypass Permit
}

// Output is what the rules know of an output: its name, and how it is proved.
type Output struct {
	Name string
	Text Text
	// Proof: within Within of a change of the demand, the tag must satisfy
	// Proof (when demanded protective) — else alarm "<name>.proof". A proof that
	// is lost while demanded is given Within again. A reading that may not be
	// judged proves nothing.
	Proved bool
	Proof  Condition
	Within time.Duration
	// Escalate names outputs that are demanded when the proof did not come, as
	// long as this one is.
	Escalate []string
}

// OutputState is what the rules want of an output.
type OutputState struct {
	Output     int // index into Set.Outputs
	Protective bool
	By         string // the interlock that demanded it first
}

// VoteReason says why a channel votes to trip.
type VoteReason uint8

// The reasons of a vote.
const (
	VoteProcess VoteReason = iota + 1
	VoteBad
	VoteTest
	VoteBypassed // of InterlockDegraded: out of the vote by a bypass
)

// Vote is one channel's vote at the time of a trip.
type Vote struct {
	Channel string
	Reason  VoteReason
	Since   tag.Stamp // when its condition became true (or it became bad)
	Quality tag.Quality
	Value   tag.Value
	Last    bool // this vote completed the trip
}

// InterlockState of one interlock.
type InterlockState uint8

// The states of an interlock. The zero value is not armed: it has not looked yet.
const (
	Starting InterlockState = iota
	Armed
	Tripped
	Unarmed // its arming condition does not hold
)

// InterlockView is what is shown of an interlock.
type InterlockView struct {
	Name       string
	Text       Text
	State      InterlockState
	Degraded   bool
	Occurrence uint64
	FirstOut   string
	Votes      []Vote // now, or at the trip while tripped
	TrippedAt  tag.Stamp
	ResetReady bool          // the reset condition holds
	ResetIn    time.Duration // how long until it will, if values stay; 0 unknown or ready
	Missing    []string      // of Tripped: channels and the tag of ResetWhen whose reset conditions do not hold, and permissives
	// NotPermitted are the permissives that do not hold, or of which it is not known.
	NotPermitted []PermissiveView
	Bypass       *BypassView // nil: none
	// OutOfService: as things are it cannot trip, for no channel is left in the
	// vote (bypassed, in test, or bad where all bad holds).
	OutOfService bool
	Test         bool // it is drilled
}

// PermissiveView is what is shown of a permissive that does not hold.
type PermissiveView struct {
	Name    string
	Unknown bool // it is not known whether it holds
}

// BypassView is what is shown of a bypass.
type BypassView struct {
	Channel string
	Who     string
	Second  string
	Note    string
	Waiting bool          // for the second person
	Overdue bool          // its time is over and it stays
	Left    time.Duration // until it ends, or until the second person is too late
}
