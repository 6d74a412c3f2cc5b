package config

import (
	"crypto/ed25519"
	"time"

	"davy/agent/i18n"
	"davy/drivers"
	"davy/drivers/tag"
	"davy/rules"
	"davy/rules/ruletest"
)

// Plan is a compiled site: immutable, checked, nothing in it is parsed again.
type Plan struct {
	Hash    [32]byte // of the bundle it was compiled from
	Gateway Gateway
	People  People
	Links   []Link
	Tags    []Tag // indexed by tag.ID; entry 0 is no tag
	Rules   rules.Set
	Outputs []Output // same order as Rules.Outputs
	Stories []ruletest.Story
	Uplinks []Uplink
	Journal Journal
	// Conditions are the agent's own boolean tags by code ("record.stopped",
	// "link.plc.silent"): control sets them, alarms of Rules watch them.
	Conditions map[string]tag.ID
	// Texts is what text tags may say: a text value is an index into it.
	Texts []string
	// Secrets are those that the site names (`login: secret dcs-user`).
	Secrets []Secret
	// Templates are the device templates that the site uses.
	Templates []Template
	// Profiles are what profiles proposed for the site's alarms, and Schemes the
	// files that they are from; Converted are
	// the numbers of the rules that stand in another unit than their tag's.
	Profiles  []Basis
	Schemes   []Scheme
	Converted []Conversion
}

// Gateway is what the site says of itself.
type Gateway struct {
	ID       string
	Name     rules.Text
	TimeZone string
	Board    string // as written; "" not
	Armed    bool   // outputs: armed; the default is disarmed
}

// Link is one connection or line with what is asked on it.
type Link struct {
	Name   string
	Driver string // key in drivers.Set
	drivers.Settings
	Timeout   time.Duration
	ReadOnly  bool            // nothing is ever written on it
	Scans     []Scan          // requests in the order they are sent, each with its period
	Subscribe []drivers.Point // of links whose device speaks by itself
	KeepAlive []KeepAlive
	Place     Place
}

// Scan is one request and how often it is sent.
type Scan struct {
	Period  time.Duration
	Request drivers.Request
}

// KeepAlive is a device's own watchdog register, written while Davy decides.
type KeepAlive struct {
	Point  drivers.Point
	Value  tag.Value
	Every  time.Duration
	Device string
}

// Tag is one tag of the plan.
type Tag struct {
	ID     tag.ID
	Name   tag.Name
	Text   rules.Text
	Unit   string
	Kind   tag.Kind
	Ranged bool
	Low    float64
	High   float64
	Period time.Duration // scan period; 0 for the agent's own conditions
	Link   int           // index into Links; -1 for the agent's own conditions
	Record Record
	T90    time.Duration // of the detector, from its template; 0 unknown
	// Of a computed tag: the tags that are read for it, and the longest time
	// that it looks back. Its Period is the longest of theirs, its Link -1.
	Of       []tag.ID
	LookBack time.Duration
	Place    Place
	// Names are the names of the codes of an enumeration (Kind Enum) or of a
	// bool, in order of the codes, and the texts of a text tag by their index in
	// Plan.Texts.
	Names []Name
}

// Secret is the name of a secret and where it stands.
type Secret struct {
	Name  string
	Place Place
}

// Name is what one code of a tag is called.
type Name struct {
	Code int64
	Name string
}

// Record says which readings of a tag are kept: on a change of value greater
// than Change or of quality, and at least every Every.
type Record struct {
	Every  time.Duration
	Change float64
	Never  bool
}

// State of an output as the site declares it for an occasion.
type State uint8

// The states. The zero value is the one that may carry no interlock.
const (
	Unknown State = iota
	Protective
	Stays
	Idle
)

// Output is one final element.
type Output struct {
	Name           string
	Text           rules.Text
	Link           int
	Point          drivers.Point // Write is true
	Idle           tag.Value
	Protective     tag.Value
	IdleName       string // "stop"
	ProtectiveName string // "run"
	ReadBack       tag.ID // the tag that reads the same register; 0 none
	DavyDead       State
	LinkLost       State
	AfterRestart   State // Stays: as it was, read back first
	Place          Place
}

// Uplink is one destination.
type Uplink struct {
	Name         string
	Kind         string            // UplinkMQTT and so on; of every other the words below it are empty
	Broker       string            // "tcp://host:1883", "tls://host:8883"
	ReceiverKey  ed25519.PublicKey // of UplinkMQTT: pinned; nil: certified by AuthorityKey
	AuthorityKey ed25519.PublicKey
	MustConfirm  bool
	Unconfirmed  bool // confirm: none. What is sent counts as arrived
	Login        UplinkLogin
	TLS          UplinkTLS
	From         int64  // where it begins when it is new, wall ns; 0: the oldest record, math.MaxInt64: now
	HistoryRate  int64  // per second: bytes of UplinkMQTT, else records; 0: no limit
	Topic        string // of UplinkJSON: what topics begin with; "": davy/1/<gateway>/json
	Group        string // of UplinkSparkplug: the group id
	Host         string // of UplinkSparkplug: the primary host; "": none
	HJ212        *HJ212 // of UplinkHJ212
	Place        Place
}

// UplinkLogin is what the broker knows this gateway by. The secret holds the
// password, or user:password where User is empty. Without a secret: none.
type UplinkLogin struct{ User, Secret string }

// UplinkTLS is whom an uplink with tls:// believes, and who it is.
type UplinkTLS struct {
	CA          []byte // PEM, of the site; nil: the system's authorities
	Certificate UplinkFile
	Key         UplinkFile // none: Certificate is a secret that holds both
	ServerName  string     // "": the broker's host
	Suites      []uint16   // of TLS 1.2, which is allowed then; nil: TLS 1.3 only
}

// UplinkFile is where something of the gateway's own is, read at each
// connection: a file or a secret. The zero value is none.
type UplinkFile struct{ Path, Secret string }

// Journal says what is kept and how long.
type Journal struct {
	Keep     time.Duration
	Sync     time.Duration
	MaxBytes int64
}

// Place is where something stands. Line and Col count from 1; Col counts
// characters (code points). The zero Place is nowhere.
type Place struct {
	File string
	Line int
	Col  int
}

// Problem is one thing that is wrong with a site, for a person.
type Problem struct {
	Place Place
	Width int    // characters that the caret underlines, at least 1
	Code  string // stable; words under "problem.<Code>"
	Args  i18n.Args
	Hint  string // words under "hint.<Hint>"; "" none
	Warn  bool   // does not keep the plan from being made

	private bool // of the persons' file: its line may show a PIN
}

// Problems is all of them, sorted by place.
type Problems []Problem
