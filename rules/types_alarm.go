package rules

import (
	"time"

	"davy/drivers/tag"
)

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

// Sort says what an alarm is about, for people; judging does not look at it.
type Sort uint8

// The sorts of alarms. What is compared with a limit and is no plain tag is a
// computed one: a rate, a deviation, a time without change.
const (
	OfLimit Sort = iota
	OfRate
	OfDeviation // from siblings or a setpoint
	OfState     // discrete
	OfFreeze    // flat line
	OfWatch     // not watched
	OfInstrument
)

// Alarm is one alarm with one condition; each limit of a tag is an alarm of
// its own ("comp1-discharge.high").
//
// Its life (ISA-18.2, IEC 62682): normal; unacknowledged; acknowledged;
// returned, unacknowledged; where it latches, latched until it was acknowledged
// and then reset. Over these lie three more, of which the last written wins:
// shelved by a person for a time, suppressed by design while a condition of the
// rule holds, out of service until a person returns it. Under them the
// condition is judged on, with its delays, and its raise and return are events
// with Event.Hidden; nobody is called to them. When the last of them is gone the
// alarm is judged anew: it is raised, unacknowledged and as a new occurrence, if
// its condition stands; latched, unacknowledged, if it latches and was raised
// before or stood meanwhile; else normal.
type Alarm struct {
	Name     string
	Text     Text
	Guide    Text // what to do; may be empty
	Cond     Condition
	Deadband float64       // engineering units, clearing direction only, from the limit that raised it
	OnDelay  time.Duration // the condition stands this long before the alarm is raised
	OffDelay time.Duration // and is gone this long before it returns to normal
	Realarm  time.Duration // acknowledged and standing this long it is unacknowledged again; 0 never
	Modes    []Mode        // operating modes with limits of their own; the first that holds counts
	// Group marks the first of it: one whose raise finds no other of the group
	// raised that people are called to. Those raised at one instant are all the
	// first. The mark ends when the alarm is normal, when something is laid over
	// it, and when the group has a later first. "" none.
	Group        string
	ShelveAtMost time.Duration // 0 means DefaultShelve
	// Suppress: while it holds the alarm is suppressed by design. A bad reading
	// suppresses nothing.
	Suppress Condition
	// Under names the alarm that says the same of many ("link.line1.silent"):
	// while that one is raised, be it shelved, suppressed or out of service, this
	// one is suppressed by design.
	Under string
	// Beyond names the alarm of the next limit in the same direction: while
	// that one is raised, and people are called to it, this one makes no sound.
	Beyond string
	// What is small stands together, for a plan has tens of thousands of alarms.

	Sort     Sort
	Priority Priority
	Latch    bool // after return to normal it stands until reset
	AutoAck  bool // a return to normal acknowledges it; not with Latch
	NoShelve bool // a person cannot shelve it (level 2 of a gas, a trip)
	// NotWatched makes it the alarm that says that its tag is not watched:
	// the condition is "the reading may not be judged" (tag.Quality.Usable is
	// false: bad, last usable, forced); Cond.Op and Limit are not used. A value
	// that may be judged again clears it. That a tag was never read counts at
	// the earliest when Set.Settle is over: a start is not an alarm.
	NotWatched bool
	// LatchOver: once a reading was above the range of its instrument
	// (Tag.OverRange) the alarm is raised, also where the number falls back within
	// the on-delay, and then it latches, whatever Latch says: a catalytic sensor
	// that has had too much reads low.
	LatchOver bool
	// Except and Only divide what NotWatched says among alarms of their own. The
	// states of Except do not raise it and stop its on-delay. With Only nothing
	// else raises it: what is bad for another reason neither starts nor stops its
	// on-delay, so that who goes from one state to another and back gains no time.
	//
	// An alarm of Only InTest says of its tag, at most one for each, that it is in
	// test too long. From a reading that is a function check until one that may be
	// judged, or until that alarm is raised, the alarms of the tag that judge a
	// value are suppressed by design.
	Except, Only DetectorState
	// Agent marks the agent's own conditions ("record.stopped").
	Agent bool
}

// OverRangeNote is Event.Note of the return of an alarm that latches because a
// reading was above the range of its instrument.
const OverRangeNote = "over-range"

// DetectorState is a set of the states in which a detector does not measure
// the plant and says so.
type DetectorState uint8

// The states.
const (
	WarmingUp DetectorState = 1 << iota // tag.Initial
	InTest                              // tag.FunctionCheck: calibration, bump test, inhibit
)

// Mode is a way in which the plant is run, with a limit of its own. Where the
// tag of When is bad the mode does not hold.
type Mode struct {
	Name  string
	When  Condition
	Limit float64
	Off   bool // in this mode the alarm is suppressed by design
}

// DefaultShelve is the longest time for which an alarm can be shelved where
// the rule does not say; one shift.
const DefaultShelve = 8 * time.Hour

// AlarmState of one alarm (ISA-18.2). Numbers are in snapshots and on the
// wire: append only.
type AlarmState uint8

// The states of an alarm, with the letters of the standard.
const (
	Normal          AlarmState = iota // A
	Unacked                           // B
	Acked                             // C
	ReturnedUnacked                   // D: back to normal, not acknowledged
	LatchedUnacked                    // E: back to normal, latched
	LatchedAcked                      // F
	Shelved                           // G
	Suppressed                        // H, by design
	OutOfService                      // I
)

// AlarmView is what is shown of an alarm.
type AlarmView struct {
	Name       string
	Text       Text
	Guide      Text
	Sort       Sort
	State      AlarmState
	Standing   bool // it is raised; under Shelved, Suppressed and OutOfService too
	Sounds     bool // unacknowledged and not silenced, and nothing louder stands beyond it
	First      bool // of its group
	Group      string
	Left       time.Duration // of Shelved: until it ends
	Who        string        // of Shelved and OutOfService
	Note       string        // what that person wrote
	Under      string        // of Suppressed: the alarm that stands for it; "" a condition of its rule
	InTest     bool          // of Suppressed: its detector is in test
	Mode       string        // whose limit counts; "" none
	Priority   Priority
	Occurrence uint64
	Raised     tag.Stamp
	Tag        tag.ID
	Value      tag.Value // at the raise
	Limit      float64
	Test       bool
	NotWatched bool
	Agent      bool
	// Of says what an automatic alarm is about: "degraded", "degraded-overdue",
	// "tripped", "not-armed", "bypass-overdue" or "discrepancy" (Text is the
	// interlock's), "not-permitted" (Text is the permissive's, else the interlock's), "proof"
	// (Text is the output's), "test-due" (Text is the device's or the
	// interlock's) or "broken" (no Text). "" for an alarm of the set.
	Of string
}
