package rules

import (
	"time"

	"davy/drivers/tag"
)

// Text is what a person reads, in both languages.
type Text struct{ Zh, En string }

// Priority of an alarm, the higher the more urgent.
type Priority uint8

// Priorities. The zero value is not a priority: a rule must say.
const (
	_ Priority = iota
	Low
	Medium
	High
	Critical
)

// Op compares a value with a limit.
type Op uint8

// The comparisons.
const (
	GE Op = iota // >=
	GT           // >
	LE           // <=
	LT           // <
	EQ           // =
	NE           // !=
)

// Condition is one comparison of one tag. Booleans and enumerations compare
// as their numbers. It is three-valued: a value that is not usable makes it bad.
type Condition struct {
	Tag   tag.ID
	Op    Op
	Limit float64 // engineering units of the tag
}

// Alarm is one alarm with one condition; each limit of a tag is an alarm of
// its own ("comp1-discharge.high").
type Alarm struct {
	Name     string
	Text     Text
	Cond     Condition
	Priority Priority
	Deadband float64       // engineering units, clearing direction only
	OnDelay  time.Duration // the condition stands this long before the alarm is raised
	OffDelay time.Duration // and is gone this long before it returns to normal
	Latch    bool          // after return to normal it stands until reset
	// NotWatched makes it the alarm that says that its tag is not watched:
	// the condition is "the reading may not be judged" (tag.Quality.Usable is
	// false: bad, last usable, forced); Cond.Op and Limit are not used. A value
	// that may be judged again clears it. That a tag was never read counts at
	// the earliest when Set.Settle is over: a start is not an alarm.
	NotWatched bool
	// Agent marks the agent's own conditions ("record.stopped").
	Agent bool
}

// BadPolicy says what a channel that is bad does to its vote.
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
	Name string // "nh3-1.gas"
	Cond Condition
}

// Demand is what a tripped interlock demands of an output, Delay after the trip.
type Demand struct {
	Output string
	Delay  time.Duration
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
	// out for a test are bad. 1oo1 must write its policy.
	AllBadHolds bool

	DegradedPriority Priority      // alarm "<name>.degraded" while a channel is out; 0 none
	DegradedAtMost   time.Duration // longer: alarm "<name>.degraded-overdue" of one priority more; 0 no limit

	Demands []Demand

	// ManualReset: stays tripped until a person resets it (and the reset
	// condition holds). Otherwise it resets itself when the condition holds.
	ManualReset bool
	// ResetConds: all usable channels must satisfy their ResetCond for ResetFor
	// and none may be bad without policy LeftOut, before a reset is accepted.
	// Where no condition was written it is the negation of Channel.Cond.
	ResetConds []Condition // one per channel
	ResetFor   time.Duration
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
}

// Tag is what the rules know of a tag.
type Tag struct {
	Name tag.Name
	TTL  time.Duration // age at which a reading is stale; 0 never
}

// Set is everything the engine is made of. Tags is indexed by tag.ID; entry 0
// is not a tag.
type Set struct {
	Tags       []Tag
	Alarms     []Alarm
	Interlocks []Interlock
	Outputs    []Output
	Settle     time.Duration // longest time an interlock is "starting"; 0 means 30 s
}

// Input of a step. Image is indexed by tag.ID and owned by the caller.
type Input struct {
	Now     tag.Stamp
	Image   []tag.Reading
	Changed []tag.ID // tags whose reading was replaced since the last step (also by ageing)
}

// Outcome of a step. Its slices live until the next Step or Do on the same engine.
type Outcome struct {
	Events  []Event
	Demands []OutputState // outputs whose demanded state changed
	Next    int64         // Mono of the earliest timer; 0 none
	Durable bool          // something that Snapshot holds changed
}

// OutputState is what the rules want of an output.
type OutputState struct {
	Output     int // index into Set.Outputs
	Protective bool
	By         string // the interlock that demanded it first
}

// Kind of an event.
type Kind uint8

// The kinds of events. Numbers are on the wire: append only.
const (
	_ Kind = iota
	AlarmRaised
	AlarmReturned // return to normal
	AlarmAcked
	AlarmReset       // a latched alarm was reset
	InterlockArmed   // starting is over
	InterlockTripped // carries first-out and votes
	InterlockReset
	InterlockDegraded // a channel left the vote or counts by policy; it is the one of Votes
	InterlockRestored // all channels are back
	OutputDemanded
	OutputReleased
	InterlockTrippedAtStart // the latch file was missing or damaged
)

// VoteReason says why a channel votes to trip.
type VoteReason uint8

// The reasons of a vote.
const (
	VoteProcess VoteReason = iota + 1
	VoteBad
	VoteTest
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

// Event is something that happened to a rule. Rule and Occurrence together
// name one alarm or trip from its raise to its end.
type Event struct {
	Kind       Kind
	At         tag.Stamp // when it became true; the deadline for a timer
	Rule       string
	Occurrence uint64
	Priority   Priority
	Tag        tag.ID
	Value      tag.Value
	Quality    tag.Quality
	Limit      float64
	FirstOut   string // of a trip: the channel
	Votes      []Vote // of a trip
	Output     string // of a demand
	Who        string // of a command
	Proved     bool   // Who is proved (person and PIN), else claimed (the OS user)
	Note       string // what the person wrote
}

// Verb of a command.
type Verb uint8

// The commands.
const (
	Ack Verb = iota + 1
	Reset
)

// Command is a person's word to a rule.
type Command struct {
	Verb       Verb
	Rule       string
	Occurrence uint64 // as shown to the person; 0 is refused
	Who        string
	Proved     bool
	Note       string
}

// RefusedError says why a command was not carried out. Code is a key of
// agent/i18n ("refused.<code>"): unknown-rule, wrong-occurrence, not-alarm,
// already-acked, not-acked, not-tripped, still-standing, reset-not-met.
type RefusedError struct {
	Code string
	Rule string
	Args map[string]any // rule; of still-standing of an interlock also channels, the names of those whose votes stand
}

func (e *RefusedError) Error() string { return "refused " + e.Rule + ": " + e.Code }

// AlarmState of one alarm (ISA-18.2).
type AlarmState uint8

// The states of an alarm.
const (
	Normal AlarmState = iota
	Unacked
	Acked
	ReturnedUnacked // back to normal, not acknowledged
	LatchedUnacked  // back to normal, latched
	LatchedAcked
)

// InterlockState of one interlock.
type InterlockState uint8

// The states of an interlock. The zero value is not armed: it has not looked yet.
const (
	Starting InterlockState = iota
	Armed
	Tripped
)

// AlarmView is what is shown of an alarm.
type AlarmView struct {
	Name       string
	Text       Text
	State      AlarmState
	Priority   Priority
	Occurrence uint64
	Raised     tag.Stamp
	Tag        tag.ID
	Value      tag.Value // at the raise
	Limit      float64
	NotWatched bool
	Agent      bool
	// Of says what an automatic alarm is about: "degraded" or
	// "degraded-overdue" (Text is the interlock's), "proof" (Text is the
	// output's) or "broken" (no Text). "" for an alarm of the set.
	Of string
}

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
}
