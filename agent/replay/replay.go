// Package replay runs rules over recorded history: the present ones, which
// shows how far the record carries, and new ones, which shows what they would
// have done.
//
// It is pure: a Source gives the history, Run gives the Report. The engine is
// that of the plant (rules.Step), stepped once per instant at which readings
// were recorded, with the same qualities. What the record does not hold is not
// made up:
//
//   - a tag of which nothing was recorded for longer than its record policy
//     allows is stale from there on (the rules say what they do with bad)
//   - where the agent stopped, the engine is restored as a start does it, from the
//     snapshot of the same moment, with an image in which nothing was read yet
//   - computed tags are computed anew and not taken from the record
//   - what persons did (ack, reset, shelve, bypass, force, test, out of service) is
//     done again at the same instant, to the occurrence that stands then; what the
//     rules refuse then is an Act of the report
//
// A rule is Exact where all that it reads, directly or through computed tags,
// was recorded at every change, nothing of the window is missing, nothing that
// was declared or stood before the engines began counts for it, and the present
// rules give over the record what they gave then. Else it is
// Approximate, with reasons; Unknown where it reads what was never recorded.
// Exact says that the same values lead to the same decisions. It does not say
// what the plant would have done after another decision.
//
// When a turn was is not recorded: its readings count as judged when they came,
// so a time of the replay is at most Near before that of the record.
//
// Memory is bounded: of the history one block of each stream is held, of each
// rule MaxListed differences, MaxPending events that wait for their counterpart.
//
// Imports: agent/config, agent/ring (kinds), agent/wire, rules, rules/load,
// rules/unit, drivers/tag.
package replay

import (
	"time"

	"davy/agent/config"
	"davy/agent/wire"
	"davy/drivers/tag"
	"davy/rules"
)

// Limits, each with what happens at it.
const (
	MaxListed  = 20                     // differences listed of one rule; more are counted
	MaxGaps    = 200                    // gaps listed; more are counted
	MaxActs    = 200                    // acts listed that could not be done; more are counted
	MaxPending = 64                     // of one rule, events that wait for their counterpart; the oldest counts as one without
	Near       = 500 * time.Millisecond // an event of the record and of the replay at most so far apart are one: a turn is no later (agent/control)
	LeastLead  = 10 * time.Minute       // before the window the engine runs at least so long, if the record reaches back
	MostLead   = 24 * time.Hour         // … and at most; rules that look back longer are approximate
	MaxStep    = time.Minute            // the wall clock set by more within an epoch: nothing is exact
	progressAt = 1 << 16                // readings between two calls of Options.Progress
)

// Block is a run of records with consecutive numbers. From and To are the wall
// times of its first and last record.
type Block[T any] struct {
	First    uint64
	From, To int64
	Records  []T
}

// Blocks gives blocks in the order of their numbers. Next passes over those
// that end before the wall time after, and returns io.EOF at the end.
type Blocks[T any] interface {
	Next(after int64) (Block[T], error)
}

// Epoch is an epoch of a Source; From and To are the wall times of its first
// and last record that is there, Reading that of its last reading, 0 where there
// is none.
type Epoch struct {
	ID       wire.Epoch
	From, To int64
	Reading  int64
}

// Source is a recorded history. Epochs stand in the order in which they began.
type Source interface {
	Epochs() []Epoch
	Events(epoch int) Blocks[wire.Event]
	Readings(epoch int) Blocks[tag.Reading]
	Damaged() []string // what could not be read so far
}

// Options of a replay.
type Options struct {
	Present *config.Plan
	New     *config.Plan
	Source  Source
	From    int64 // wall, ns; 0: as far back as the record goes
	To      int64 // wall, ns; 0: to the last reading: an agent that runs records events at once, and readings later
	// Renamed says under which name tags of the new rules, or of the present
	// ones, were recorded.
	Renamed  map[tag.Name]tag.Name
	Progress func(Progress) // nil: nobody asks
}

// Progress says how far a replay is.
type Progress struct {
	Wall     int64 // the instant that is being replayed
	From, To int64
	Readings uint64
}

// Grade of what is said of a rule.
type Grade uint8

// The grades. The zero value claims nothing.
const (
	Unknown Grade = iota
	Approximate
	Exact
)

// String returns the word of a grade, a key of agent/i18n under "replay.grade.".
func (g Grade) String() string { return [...]string{"unknown", "approximate", "exact"}[g] }

// Why is one reason why a rule is not exact. Codes are keys of agent/i18n
// under "replay.why.": deadband (Tag, Change, Unit, Every), never (Tag),
// not-recorded (Tag), renamed (Tag, Was), unit (Tag, Was, Unit), kind (Tag),
// codes (Tag), gap (N), unclean (N), hole (N), clock (N: steps), nameless (N: epochs), damaged (N), plan (N: stretches in which another plan was
// live), differs (N: events of the record and the replay of the present rules
// that have no counterpart), refused (N: acts), look-back (Tag, For), feedback, before (how it stood, or what
// a person had declared, is of before the engines began).
type Why struct {
	Code   string        `json:"code"`
	Tag    string        `json:"tag,omitempty"`
	Was    string        `json:"was,omitempty"`
	Unit   string        `json:"unit,omitempty"`
	Change float64       `json:"change,omitempty"`
	Every  time.Duration `json:"every_ns,omitempty"`
	For    time.Duration `json:"for_ns,omitempty"`
	N      int           `json:"n,omitempty"`
}

// Report is what a replay found.
type Report struct {
	From, To int64 // wall: what was replayed and compared
	Began    int64 // wall: from where the engines ran
	Asked    int64 // Options.From: earlier than From where the record begins later

	Readings uint64 // stepped through, the lead included
	Skipped  uint64 // of tags that neither plan knows
	Events   uint64 // read from the record
	Stops    int    // of the agent, within the window
	Gaps     []Gap
	MoreGaps int
	Plans    []Stretch // within the window, in which another plan than Present was live
	Tags     []Why     // of tags that the new rules read: not-recorded, never, renamed, unit, kind
	Damaged  []string

	Record  Agreement // of the present rules with the record
	Rules   []Rule    // of both plans, by name
	Acts    []Act
	More    int // further acts
	Done    int // acts that were done again under the new rules
	Present Load
	New     Load
}

// Gap is a stretch of which the record does not hold everything. Cause is a key
// of agent/i18n under "replay.gap.": stopped, unclean, hole, epoch (nothing names
// its tags); or what the gap record says.
type Gap struct {
	From, To int64 // wall; 0 not known
	Stream   string
	Cause    string
	Count    uint64 // records; 0 not known
}

// Stretch is a stretch of time, in wall ns.
type Stretch struct{ From, To int64 }

// Agreement counts events of rules: raises, returns, trips and resets.
type Agreement struct {
	Agree    int
	Recorded int // only in the record
	Replayed int // only in the replay
}

// Rule is what is said of one rule. Trip: it is an interlock, and what is
// counted are its trips.
type Rule struct {
	Name      string
	Trip      bool
	Of        string // as rules.AlarmView.Of: an alarm that an interlock, output or device brings with it
	Agent     bool   // one of the agent's own conditions
	InPresent bool
	InNew     bool
	Grade     Grade
	Why       []Why
	Present   Figures
	New       Figures
	Record    Agreement

	Came, Gone, Moved int
	Differences       []Difference // the first MaxListed
}

// Changed reports whether the two plans differ in what the rule did.
func (r *Rule) Changed() bool { return r.Came+r.Gone+r.Moved > 0 }

// Figures of one rule under one plan, within the window.
type Figures struct {
	Count    int // raises or trips
	Hidden   int // of these, nobody was called to: shelved, suppressed, out of service
	Test     int // of these, of a test
	First    int64
	Standing time.Duration
	Longest  time.Duration
	Chatters bool
}

// Difference is one stretch in which a rule stood under one plan or both, and
// not alike. Present and New say how; Times 0: not at all.
type Difference struct {
	Present, New Stood
}

// Stood is how a rule stood in a stretch. Ended is false where it stood on at
// the end of the window; Before where it stood when that began.
type Stood struct {
	Times    int
	From, To int64 // wall
	For      time.Duration
	Ended    bool
	Before   bool
}

// Act is what a person did that the rules refused in the replay.
type Act struct {
	At      int64 // wall
	Who     string
	Verb    string // key of agent/i18n under "replay.act."
	Rule    string
	Channel string
	Code    string // of rules.RefusedError
	Args    map[string]any
	Present bool // refused by the present rules, which once took it
	New     bool // refused by the new ones
}

// Load is what alarms asked of an operator (rules/load), over the window.
type Load struct {
	Calls      int
	Days       int     // of 24 hours from the window's beginning, a begun one included
	PerDay     float64 // calls per day; of a window shorter than one, all
	MostInDay  int
	MostInTen  int // within ten minutes
	Floods     int
	InFlood    time.Duration
	Chattering []string // sorted
}

// kindOf returns what an event is to a rule: whether it is one that counts,
// whether it begins a stand, and whether it is of a trip.
func kindOf(k rules.Kind) (begins, trip, ok bool) {
	switch k {
	case rules.AlarmRaised:
		return true, false, true
	case rules.AlarmReturned:
		return false, false, true
	case rules.InterlockTripped, rules.InterlockTrippedAtStart:
		return true, true, true
	case rules.InterlockReset:
		return false, true, true
	}
	return false, false, false
}
