package rules

import (
	"time"

	"davy/drivers/tag"
)

// Text is what a person reads, in both languages.
type Text struct{ Zh, En string }

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

// String is the sign of a comparison.
func (o Op) String() string {
	if int(o) < len(signs) {
		return signs[o]
	}
	return "?"
}

var signs = [...]string{GE: "≥", GT: ">", LE: "≤", LT: "<", EQ: "=", NE: "≠"}

// Condition is one comparison of one tag. Booleans and enumerations compare
// as their numbers. It is three-valued: a value that is not usable makes it
// bad. What takes more than one comparison is a computed tag of its own, and
// the condition looks at that. A zero Tag is no condition where one is optional.
type Condition struct {
	Tag   tag.ID
	Op    Op
	Limit float64 // engineering units of the tag
}

// Tag is what the rules know of a tag.
type Tag struct {
	Name tag.Name
	TTL  time.Duration // age at which a reading is stale; 0 never
	// OverRange: of a detector. A reading that says that it lies above the
	// instrument's range (tag.Quality.OverRange) is beyond every limit that a
	// condition with >= or > has, and never below one, whatever the number.
	OverRange bool
}

// Set is everything the engine is made of. Tags is indexed by tag.ID; entry 0
// is not a tag.
type Set struct {
	Tags       []Tag
	Alarms     []Alarm
	Interlocks []Interlock
	Outputs    []Output
	Devices    []Device
	Computed   []Computed
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
	// Overlays of tags that look otherwise now. The functions Step and Do of this
	// package have laid them over the image already; who calls the engine alone
	// gives them to Image.Overlay at once and steps again at the same instant.
	Overlays []Overlay
	// Computed are the readings that computed tags have now, in the order in
	// which they came. The functions Step and Do of this package have put them into
	// the image; who calls the engine alone puts them there. They are not Changed.
	Computed []tag.Reading
	Next     int64 // Mono of the earliest timer; 0 none
	// Durable: something that Snapshot holds changed; also that KeepEvery of a
	// time that runs (a shelving, a bypass, a test) is over.
	Durable bool
}

// KeepEvery bounds what a sudden stop loses of a shift's exposure, and what a
// restart of unknown length adds to a time that a person was given: it begins again where the last snapshot had it, so one is
// asked for that often.
const KeepEvery = 5 * time.Minute

// Kind of an event.
type Kind uint8

// The kinds of events. Numbers are on the wire: append only.
const (
	_ Kind = iota
	AlarmRaised
	AlarmReturned // return to normal
	AlarmAcked
	AlarmReset       // a latched alarm was reset
	InterlockArmed   // starting is over, or the arming condition holds
	InterlockTripped // carries first-out and votes
	InterlockReset
	InterlockDegraded // a channel left the vote or counts by policy; it is the one of Votes
	InterlockRestored // all channels are back
	OutputDemanded
	OutputReleased
	InterlockTrippedAtStart // the latch file was missing or damaged

	AlarmShelved    // For says how long
	AlarmUnshelved  // by Who, or without one: its time was over
	AlarmSuppressed // by design: the condition of the rule, or the alarm that it stands under (Note names it)
	AlarmUnsuppressed
	AlarmRemoved // out of service
	AlarmRestored
	AlarmRealarmed // acknowledged, and it still stood at the end of its re-alarm time
	SoundSilenced

	InterlockUnarmed // the arming condition is gone
	BypassAsked      // by the first of two persons; For says how long
	BypassBegan      // Channel; Who and Second; For
	BypassReminded   // four fifths of its time are over; For is what is left
	BypassEnded      // by Who, or without one: its time was over; also of one that was only asked for
	BypassOverdue    // its time was over and it stays, for its rule says "alarm only"
	InterlockRecorded
	OutputProved    // the proof of a demanded output came, once per demand; For is the time since the trip, 0 not known
	OutputEscalated // the proof did not come: what was written for that case is demanded

	PointRemoved // a device was declared out of service
	PointRestored
	ForceBegan // Value; For
	ForceEnded
	TestBegan // Note says which test; For
	TestEnded // Result
)

// Event is something that happened to a rule. Rule and Occurrence together
// name one alarm or trip from its raise to its end.
type Event struct {
	Kind       Kind
	At         tag.Stamp // when it became true; the deadline for a timer
	Rule       string    // or the device or tag of a point's event
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

	Hidden  AlarmState    // of a raise or return that nobody is called to: Shelved, Suppressed or OutOfService; else Normal
	Test    bool          // of a point that was forced or tested, or of a rule that was drilled; agent/control sets it too while outputs are disarmed
	First   bool          // of a raise: the first of its group
	Channel string        // of a bypass; of a trip: the one that was bypassed
	Second  string        // of a bypass: who confirmed it
	For     time.Duration // see the kinds
	Result  Result        // of TestEnded
	Record  []Sample      // of InterlockRecorded, in the order of time
	// Old and New are what stood and what stands, with its unit, of an event
	// that says that a rule was changed; Channel names what of the rule.
	Old, New string
}

// Result of a test.
type Result uint8

// The results of a test. The zero value is none.
const (
	_ Result = iota
	Passed
	Failed
	Aborted // ended by a person without one, or by its time
)

// Sample is one reading of a frozen record.
type Sample struct {
	Tag     tag.ID
	Quality tag.Quality
	At      tag.Stamp
	Value   tag.Value
}

// Verb of a command.
type Verb uint8

// The commands.
const (
	Ack Verb = iota + 1 // Note is how it was handled
	Reset
	Shelve // an alarm, For so long
	Unshelve
	Silence // every alarm that sounds; Rule and Occurrence are empty
	Remove  // an alarm, or a device, out of service
	Restore // it to service
	Bypass  // Channel of an interlock, For so long
	Confirm // a Bypass that another person asked for
	EndBypass
	Force // a tag to Value, For so long
	EndForce
	BeginTest // of a device or an interlock, For so long
	EndTest   // Result
)

// Command is a person's word to a rule.
type Command struct {
	Verb       Verb
	Rule       string // an alarm or interlock; of some verbs a device or a tag
	Occurrence uint64 // as shown to the person; 0 is refused where the verb speaks of one, but by Shelve of an alarm that never was raised
	Who        string
	Proved     bool
	Note       string

	Roles   []string // of Who, as far as proved
	Session string   // two persons must have two
	Channel string
	Value   tag.Value
	For     time.Duration
	Result  Result
}

// RefusedError says why a command was not carried out. Code is a key of
// agent/i18n ("refused.<code>"): unknown-rule, wrong-occurrence, not-alarm,
// already-acked, not-acked, not-tripped, still-standing, reset-not-met,
// reset-not-yet, not-interlock, unknown-channel, bypass-not-allowed, broken,
// bypass-manual, needs-time, bypass-too-long, bypass-other-channel,
// bypass-none-waiting, bypass-too-late, bypass-same-person,
// bypass-same-session, already-asked, already-bypassed, not-bypassed,
// needs-proved, needs-role, needs-reason; of an alarm also needs-time,
// no-shelve, shelve-too-long, already-shelved, not-shelved, already-removed,
// not-removed, hidden (something lies over it), nothing-sounds; note-too-long.
// Of points: unknown-device, unknown-tag, not-permitted, out-of-service,
// force-too-long, force-needs-value, not-forced, test-too-long, test-no-result,
// already-tested, not-tested.
type RefusedError struct {
	Code string
	Rule string
	// Args: rule; of still-standing of an interlock also channels, those whose
	// votes stand; of reset-not-met also conditions, what is not met; of
	// reset-not-yet also left; of others channel, roles or most. All are texts.
	Args map[string]any
}

func (e *RefusedError) Error() string { return "refused " + e.Rule + ": " + e.Code }
