package wire

import "davy/drivers/tag"

// The streams.
const (
	EventStream   = "event"
	ReadingStream = "reading"
	HealthStream  = "health"
)

// Version of the envelope and the receipt.
const Version = 1

// Epoch names one opening of a journal.
type Epoch [16]byte

// Root is the state of a stream's chain: Root_n = SHA-256(Root_before ‖ stream
// ‖ 0 ‖ first ‖ count ‖ SHA-256(body)), first and count as 8 bytes big endian.
// The chain of an epoch begins with 32 zero bytes.
type Root [32]byte

// Signed is a signed message.
type Signed struct {
	Body      []byte
	Key       []byte // ed25519 public key
	Signature []byte
}

// Envelope is what goes up.
type Envelope struct {
	Version      uint32
	Gateway      string
	Epoch        Epoch
	Blocks       []Block
	Heads        []Head
	Plan         []byte
	Sent         tag.Stamp
	Boot         string
	ClockTrusted bool
	ClockError   uint64 // ns
	OutputsArmed bool
	Checkpoint   []byte // a signed note, see agent/evidence; nil: none is due
	Proof        *Proof // that Checkpoint goes on from what the receiver witnessed last
}

// Proof says that the log of Size leaves is the beginning of another.
type Proof struct {
	Size   uint64
	Hashes []Root // as agent/merkle has them
}

// Head is the last number of a stream with the chain up to it.
type Head struct {
	Stream string
	Number uint64
	Root   Root
}

// Block is a run of consecutive records of one stream.
type Block struct {
	Stream     string
	First      uint64
	Count      uint32
	Body       []byte // compressed
	RootBefore Root
	Leaf       uint64 // its place in the epoch's log, from 0
}

// Event is one record of the stream event.
type Event struct {
	Kind       uint32
	At         tag.Stamp
	Rule       string
	Occurrence uint64
	Priority   uint32
	Tag        tag.ID
	Value      tag.Value
	Quality    tag.Quality
	Limit      float64
	FirstOut   string
	Votes      []Vote
	Output     string
	Who        string
	Proved     bool
	Note       string
	Serial     uint64
	Start      *Start
	Gap        *Gap
	Table      *Table
	Hidden     uint32        // state of the alarm that kept anybody from being called; 0: none did
	Test       bool          // of a point that is forced, tested, drilled or disarmed: no true alarm
	First      bool          // of the alarm's group
	Channel    string        // of a bypass
	Second     string        // of a bypass: who confirmed it
	For        int64         // ns
	Result     uint32        // of a test
	Record     []tag.Reading // the frozen record of a trip, in the order of time; no source times
	Samples    uint32        // how many it had; more than there are: the rest was thinned or left out
	Clock      *Clock        `json:",omitempty"`
	Beacon     *Beacon       `json:",omitempty"`
	Old, New   string        // of a rule that was changed: what stood and what stands
	Newer      []byte        `json:",omitempty"` // fields that this version does not know, as they came
}

// Vote is one channel's vote.
type Vote struct {
	Channel string
	Reason  uint32
	Since   tag.Stamp
	Quality tag.Quality
	Value   tag.Value
	Last    bool
}

// Start is the first record of an epoch.
type Start struct {
	Parent      []byte
	ParentHeads []Head
	Version     string
	Boot        string
	Unwatched   int64 // ns, -1 unknown
	Clean       bool
	MayHaveLost uint64 // ns
	Plan        []byte
	// ParentCheckpoint is the last one of the parent's log that the journal
	// knows, with the receiver's cosignature if it was witnessed.
	ParentCheckpoint []byte `json:",omitempty"`
}

// Clock says how the wall clock is from here on; see davy.proto.
type Clock struct {
	Boot    string
	Trusted bool
	Error   uint64 // ns, 0: not known
	Source  string
	Offset  int64 // wall minus mono, ns
}

// Beacon says what was watched from From to To.
type Beacon struct {
	From, To          tag.Stamp
	Tags, Good, Worst uint32
	Turns, Events     uint64
	Longest           int64 // ns between two turns
}

// Gap names what was given up.
type Gap struct {
	Stream           string
	Epoch            []byte
	From, To         uint64
	Count            uint64
	WallFrom, WallTo int64
	Cause            string
	RootAfter        []byte
}

// Table is a plan's tag table.
type Table struct {
	Plan   []byte
	Tags   []TableTag
	People []Person `json:",omitempty"` // only where the authority asked for names
}

// Person is the name behind an id in Event.Who or Event.Second that is proved.
type Person struct {
	ID, Name string // at most MaxName bytes each
}

// PersonName returns the name of a person in this table, "" where it has none.
func (t *Table) PersonName(id string) string {
	for i := range t.People {
		if t.People[i].ID == id {
			return t.People[i].Name
		}
	}
	return ""
}

// TableTag is one row of it.
type TableTag struct {
	ID             tag.ID
	Name           string
	Unit           string
	Kind           tag.Kind
	Ranged         bool
	Low, High      float64
	TextZh, TextEn string
	Names          []Name
}

// Name is what one code of a tag is called: 0 and 1 of a bool, the code of an
// enumeration, the number that a text has as a value.
type Name struct {
	Code int64
	Text string // at most MaxName bytes
}

// NameOf returns what v is called in this table, "" where it has no name.
func (r *TableTag) NameOf(v tag.Value) string {
	switch v.Kind() {
	case tag.Bool, tag.Int, tag.Enum, tag.Text:
		for i := range r.Names {
			if r.Names[i].Code == v.Int() {
				return r.Names[i].Text
			}
		}
	}
	return ""
}

// Receipt comes back.
type Receipt struct {
	Version     uint32
	Gateway     string
	Destination string
	Store       string
	Epoch       Epoch
	Upto        []Head
	Refused     []Refused
	Wall        int64
	Witness     []byte // the largest checkpoint of this epoch that was witnessed, cosigned
	Log         string // why the newest checkpoint was not witnessed; "": it was
	Certificate []byte // of the key that signed this, a Signed of the authority
}

// Resume tells a gateway what a receiver that was restored still has.
type Resume struct {
	Version     uint32
	Gateway     string
	Destination string
	Store       string
	Number      uint64
	Wall        int64
	Have        []Have
	Certificate []byte
}

// Have is what is there of one epoch.
type Have struct {
	Epoch   Epoch
	Upto    []Head
	Witness []byte
}

// Certificate is an authority's word for a receiver's key.
type Certificate struct {
	Version   uint32
	Key       []byte // ed25519 public key of the receiver
	Name      string
	NotBefore int64 // ns since 1970
	NotAfter  int64
	Number    uint64
	Least     uint64 // certificates below this number are withdrawn
}

// Refused is a range that the receiver stored raw and could not place.
type Refused struct {
	Stream   string
	From, To uint64
	Code     string
}
