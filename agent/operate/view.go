package operate

import (
	"time"

	"davy/agent/i18n"
	"davy/rules"
)

// View is the agent as people see it. Its JSON is stable: fields are added,
// never renamed; a time that is not known is absent; numbers are in the unit
// that the name ends in.
type View struct {
	Gateway  Gateway   `json:"gateway"`
	Version  string    `json:"version"`
	At       time.Time `json:"at"`    // when this was so
	Since    time.Time `json:"since"` // when the agent began to decide
	Plan     Plan      `json:"plan"`
	Armed    bool      `json:"armed"`
	Turns    uint64    `json:"turns"`
	Longest  float64   `json:"longest_turn_gap_ms"` // between two turns
	Reaction float64   `json:"longest_reaction_ms"` // answer readable to write issued; 0 none yet
	Clock    Clock     `json:"clock"`
	Latch    Latch     `json:"latch"`
	Tags     Tags      `json:"tags"`

	Links      []Link      `json:"links"`
	Alarms     []Alarm     `json:"alarms"` // those that are not normal
	Interlocks []Interlock `json:"interlocks"`
	Outputs    []Output    `json:"outputs"`
	Devices    []Device    `json:"devices,omitempty"`
	Forces     []Forced    `json:"forces,omitempty"`
	Keeper     Keeper      `json:"keeper"`
	Load       *Load       `json:"load,omitempty"`
	Log        []Event     `json:"log,omitempty"` // oldest first; at most MaxLog
}

// Text is a text in both languages.
type Text struct {
	Zh string `json:"zh"`
	En string `json:"en"`
}

// TextOf converts a text of the rules.
func TextOf(t rules.Text) Text { return Text(t) }

// In returns the text in l, or in the other language where it has none.
func (t Text) In(l i18n.Lang) string {
	if l == i18n.Zh && t.Zh != "" || t.En == "" {
		return t.Zh
	}
	return t.En
}

// Units gives every vote the unit of its channel; one that of does not hold
// has none.
func (v *View) Units(of map[string]string) {
	give := func(votes []Vote) {
		for i := range votes {
			votes[i].Unit = of[votes[i].Channel]
		}
	}
	for i := range v.Interlocks {
		give(v.Interlocks[i].Votes)
	}
	for i := range v.Log {
		give(v.Log[i].Votes)
	}
}

// Gateway says which one.
type Gateway struct {
	ID       string `json:"id"`
	Name     Text   `json:"name"`
	TimeZone string `json:"time_zone,omitempty"`
}

// Plan says what runs.
type Plan struct {
	Hash    string `json:"hash"`    // hex
	Differs bool   `json:"differs"` // the site directory holds something else, or cannot be read
	Failing bool   `json:"failing"` // a story of the running plan fails with this version
}

// Clock says how far the wall clock can be relied on.
type Clock struct {
	Trusted bool    `json:"trusted"`
	Error   float64 `json:"error_ms"` // the kernel's estimate
}

// Latch says whether what must survive a power cut is on the disk.
type Latch struct {
	Durable bool   `json:"durable"`
	Error   string `json:"error,omitempty"`
}

// Tags counts tags by quality.
type Tags struct {
	Total     int `json:"total"`
	Good      int `json:"good"`
	Uncertain int `json:"uncertain"`
	Bad       int `json:"bad"`
	NeverRead int `json:"never_read"` // of the bad ones
}

// LinkState is how a link is.
type LinkState string

// The states of a link.
const (
	LinkStarting  LinkState = "starting"  // nothing was asked yet
	LinkAnswering LinkState = "answering" // the last request was answered
	LinkSilent    LinkState = "silent"    // it was not
)

// Link is one connection or line.
type Link struct {
	Name       string    `json:"name"`
	Target     string    `json:"target,omitempty"`
	State      LinkState `json:"state"`
	LastAnswer time.Time `json:"last_answer,omitzero"`
	Requests   uint64    `json:"requests"`
	Timeouts   uint64    `json:"timeouts"`
	Errors     uint64    `json:"errors"` // other than timeouts
	Overruns   uint64    `json:"overruns"`
	Longest    float64   `json:"longest_answer_ms"`
	Problem    string    `json:"problem,omitempty"` // the last error, as the log says it
	ReadOnly   bool      `json:"read_only,omitempty"`
	Notes      []string  `json:"notes,omitempty"` // what every screen shows of it: keys of agent/i18n, "link.note.no-security"
}

// AlarmState is the state of an alarm.
type AlarmState string

// The states of an alarm (ISA-18.2).
const (
	Normal          AlarmState = "normal"
	Unacked         AlarmState = "unacked"
	Acked           AlarmState = "acked"
	ReturnedUnacked AlarmState = "returned-unacked"
	LatchedUnacked  AlarmState = "latched-unacked"
	LatchedAcked    AlarmState = "latched-acked"
	Shelved         AlarmState = "shelved"
	Suppressed      AlarmState = "suppressed" // by design
	OutOfService    AlarmState = "out-of-service"
)

// Hidden reports whether the state is one in which nobody is called.
func (s AlarmState) Hidden() bool {
	return s == Shelved || s == Suppressed || s == OutOfService
}

// Wanted reports whether the state waits for an acknowledgement.
func (s AlarmState) Wanted() bool {
	return s == Unacked || s == ReturnedUnacked || s == LatchedUnacked
}

// Priority of an alarm.
type Priority string

// The priorities.
const (
	Low      Priority = "low"
	Medium   Priority = "medium"
	High     Priority = "high"
	Critical Priority = "critical"
)

// rank orders priorities.
func (p Priority) rank() int {
	switch p {
	case Critical:
		return 4
	case High:
		return 3
	case Medium:
		return 2
	case Low:
		return 1
	}
	return 0
}

// Alarm is one alarm that stands or waits.
type Alarm struct {
	Name       string     `json:"name"`
	Text       Text       `json:"text"`
	State      AlarmState `json:"state"`
	Priority   Priority   `json:"priority"`
	Occurrence uint64     `json:"occurrence"` // what `davy ack` names
	Raised     time.Time  `json:"raised,omitzero"`
	Tag        string     `json:"tag,omitempty"`
	Unit       string     `json:"unit,omitempty"`
	Value      *float64   `json:"value,omitempty"`      // at the raise; booleans are 0 and 1
	ValueName  string     `json:"value_name,omitempty"` // of a state, or the text itself
	Limit      *float64   `json:"limit,omitempty"`
	NotWatched bool       `json:"not_watched,omitempty"` // it says that its tag is not watched
	Agent      bool       `json:"agent,omitempty"`       // of the agent itself

	Guide    *Text   `json:"guide,omitempty"` // what to do
	Sort     string  `json:"sort"`            // limit, rate, deviation, state, freeze, watch, instrument
	Of       string  `json:"of,omitempty"`    // of an alarm that the rules make themselves: degraded, tripped, proof …
	Standing bool    `json:"standing"`        // it is raised; shelved, suppressed or out of service too
	Sounds   bool    `json:"sounds"`          // unacknowledged, not silenced, and nothing louder stands beyond it
	First    bool    `json:"first,omitempty"` // of its group
	Group    string  `json:"group,omitempty"`
	Left     float64 `json:"left_s,omitempty"`  // of shelved: until it ends
	Who      string  `json:"who,omitempty"`     // of shelved and out-of-service
	Note     string  `json:"note,omitempty"`    // what that person wrote
	InTest   bool    `json:"in_test,omitempty"` // of suppressed: its detector is in test
	Under    string  `json:"under,omitempty"`   // of suppressed: the alarm that stands for it; absent: a condition of its rule
	Mode     string  `json:"mode,omitempty"`    // whose limit counts
	Test     bool    `json:"test,omitempty"`    // no true alarm: forced, tested or drilled
}

// InterlockState is the state of an interlock.
type InterlockState string

// The states of an interlock.
const (
	Starting InterlockState = "starting"
	Armed    InterlockState = "armed"
	Tripped  InterlockState = "tripped"
	Unarmed  InterlockState = "unarmed" // its arming condition does not hold
)

// Interlock is one interlock.
type Interlock struct {
	Name       string         `json:"name"`
	Text       Text           `json:"text"`
	State      InterlockState `json:"state"`
	Degraded   bool           `json:"degraded,omitempty"`
	Occurrence uint64         `json:"occurrence,omitempty"` // what `davy reset` names
	TrippedAt  time.Time      `json:"tripped_at,omitzero"`
	FirstOut   string         `json:"first_out,omitempty"`
	Votes      []Vote         `json:"votes,omitempty"` // now, or at the trip while tripped
	ResetReady bool           `json:"reset_ready,omitempty"`
	ResetIn    float64        `json:"reset_in_s,omitempty"` // if values stay; 0 not known
	Bypass     *Bypassed      `json:"bypass,omitempty"`
	Test       bool           `json:"test,omitempty"` // it is drilled
	// Missing is what keeps a tripped one from being reset: channels and tags
	// whose reset conditions do not hold.
	Missing []string `json:"missing,omitempty"`
	// NotPermitted are the permissives that do not hold, or of which it is not known.
	NotPermitted []Permissive `json:"not_permitted,omitempty"`
	// OutOfService: as things are it cannot trip.
	OutOfService bool `json:"out_of_service,omitempty"`
}

// Permissive is one that does not hold.
type Permissive struct {
	Name    string `json:"name"`
	Unknown bool   `json:"unknown,omitempty"` // it is not known whether it does
}

// VoteReason says why a channel votes to trip.
type VoteReason string

// The reasons of a vote.
const (
	VoteProcess VoteReason = "process"
	VoteBad     VoteReason = "bad"
	VoteTest    VoteReason = "test"
	// VoteBypassed is of no vote: the channel that InterlockDegraded speaks of was
	// taken out by a bypass.
	VoteBypassed VoteReason = "bypassed"
)

// Vote is one channel's vote.
type Vote struct {
	Channel string     `json:"channel"`
	Reason  VoteReason `json:"reason"`
	Since   time.Time  `json:"since,omitzero"`
	Quality string     `json:"quality"` // good, uncertain, bad
	Value   *float64   `json:"value,omitempty"`
	Unit    string     `json:"unit,omitempty"` // see View.Units
	Last    bool       `json:"last,omitempty"` // it completed the trip
}

// Demand is what is wanted of an output.
type Demand string

// The demands.
const (
	Idling     Demand = "idle"
	Protective Demand = "protective"
)

// Output is one final element.
type Output struct {
	Name      string `json:"name"`
	Text      Text   `json:"text"`
	Demand    Demand `json:"demand"`
	By        string `json:"by,omitempty"`     // the interlock that demands it
	Wanted    string `json:"wanted,omitempty"` // in the site's words: "run"
	State     string `json:"state,omitempty"`  // as read back or written last, in the site's words; "" not known
	Confirmed bool   `json:"confirmed"`        // the device confirmed what was wanted
	Problem   string `json:"problem,omitempty"`
}

// KeeperState is how the recording process is.
type KeeperState string

// The states of the keeper.
const (
	KeeperAbsent  KeeperState = "absent"  // it does not run, or does not speak
	KeeperOpening KeeperState = "opening" // its journal is not open yet
	KeeperRunning KeeperState = "running"
)

// Keeper is the process that records and sends.
type Keeper struct {
	State      KeeperState `json:"state"`
	Epoch      string      `json:"epoch,omitempty"` // hex
	Heads      []Head      `json:"heads,omitempty"`
	Backlog    uint64      `json:"backlog"` // records without receipt, all streams
	Bytes      int64       `json:"bytes"`
	MaxBytes   int64       `json:"max_bytes"`
	Events     int         `json:"events_waiting"`       // in the decider, not yet durable
	Readings   int         `json:"readings_waiting"`     // in the decider, not yet sent
	Conditions []string    `json:"conditions,omitempty"` // that stand, by code
	Texts      []Condition `json:"condition_texts,omitempty"`
	Uplinks    []Uplink    `json:"uplinks,omitempty"`
}

// Condition is one of the agent's own conditions in words.
type Condition struct {
	Code string `json:"code"` // as in Keeper.Conditions
	Text Text   `json:"text"`
}

// Head is how far a stream is.
type Head struct {
	Stream    string `json:"stream"`
	Number    uint64 `json:"number"`
	Receipted uint64 `json:"receipted"`
	Backlog   uint64 `json:"backlog"`
}

// Uplink is one destination.
type Uplink struct {
	Name        string    `json:"name"`
	Connected   bool      `json:"connected"`
	LastReceipt time.Time `json:"last_receipt,omitzero"`
	Backlog     uint64    `json:"backlog"`
	Error       string    `json:"error,omitempty"`
	Cause       string    `json:"cause,omitempty"`    // the likely one, as a code: words under "operate.cause.<cause>"
	Unproved    bool      `json:"unproved,omitempty"` // no receipts: last_receipt is when its protocol last confirmed something
	Witness     *Witness  `json:"witness,omitempty"`  // absent: the destination is none that witnesses
}

// Witness is what a destination's receiver has witnessed of the record: from
// then on nothing before it can change without being found.
type Witness struct {
	At      time.Time `json:"at,omitzero"`   // when it last did; absent: never
	Upto    time.Time `json:"upto,omitzero"` // everything before this is witnessed; absent: nothing is, or everything
	Records uint64    `json:"records"`       // that are not
	Blocks  uint64    `json:"blocks"`        // in so many blocks
	Refused string    `json:"refused,omitempty"`
}

// Event is one line of the log.
type Event struct {
	Serial     uint64    `json:"serial"`
	Kind       string    `json:"kind"` // "alarm-raised"; see KindName
	At         time.Time `json:"at"`
	Rule       string    `json:"rule,omitempty"`
	Occurrence uint64    `json:"occurrence,omitempty"`
	Priority   Priority  `json:"priority,omitempty"`
	Tag        string    `json:"tag,omitempty"`
	Unit       string    `json:"unit,omitempty"`
	Value      *float64  `json:"value,omitempty"`      // of a device-event its severity
	ValueName  string    `json:"value_name,omitempty"` // of a state, or the text itself
	Limit      *float64  `json:"limit,omitempty"`
	FirstOut   string    `json:"first_out,omitempty"`
	Votes      []Vote    `json:"votes,omitempty"`
	Output     string    `json:"output,omitempty"`
	Who        *Who      `json:"who,omitempty"`
	Note       string    `json:"note,omitempty"`

	Hidden  AlarmState `json:"hidden,omitempty"` // shelved, suppressed, out-of-service: nobody was called to it
	Test    bool       `json:"test,omitempty"`   // of a point that is forced, tested, drilled or disarmed: no true alarm
	First   bool       `json:"first,omitempty"`  // of its group
	Channel string     `json:"channel,omitempty"`
	Second  string     `json:"second,omitempty"`  // who confirmed it
	For     float64    `json:"for_s,omitempty"`   // how long it may last, is left, or took
	Result  string     `json:"result,omitempty"`  // of a test: passed, failed, aborted
	Samples uint32     `json:"samples,omitempty"` // of the frozen record, which stands in the journal
	Old     string     `json:"old,omitempty"`     // of a rule that was changed
	New     string     `json:"new,omitempty"`
}
