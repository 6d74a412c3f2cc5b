package export

import (
	"encoding/hex"

	"davy/agent/wire"
)

// The codes of findings. They are stable; the fields that each fills are said
// beside it. Told: it is no error, only something that the reader must know.
const (
	// Of the file.
	Damaged  = "damaged"   // bytes From to To (Kind of the frame, if it can be seen)
	Cut      = "cut"       // the file ends in byte To, without its end
	Trailing = "trailing"  // bytes after the end, from From
	Place    = "place"     // a frame (Kind) at byte From is malformed or not where one may stand
	Totals   = "totals"    // the end says Expected of Kind, the file has Got
	Lost     = "lost"      // told: what could not be read when the file was made (Text)
	TooMany  = "too-many"  // more findings, or more of Kind than are looked at
	Salvaged = "salvaged"  // told: the file was salvaged
	NoKey    = "no-key"    // no key was given, or nothing in the file is signed with it: nobody vouches
	NotFrom  = "authority" // the certificate of receiver Text is not of the authority (Cause)

	// Of a log.
	LeafAltered  = "leaf-altered"  // a block is not that of its leaf: Stream, From to To, Leaf
	LeafMissing  = "leaf-missing"  // leaves From to To are not in the file, nor their hashes
	LeafOrder    = "leaf-order"    // a block does not stand in its place: Stream, From to To, Leaf
	LeafTwice    = "leaf-twice"    // a leaf is there a second time: Stream, From to To, Leaf
	Subtree      = "subtree"       // something among leaves From to To was altered, or the hash over them
	NoteBad      = "note"          // a checkpoint that is none, or not of the key it names (Text)
	NoteGateway  = "note-gateway"  // it is of gateway Text
	NoteEpoch    = "note-epoch"    // it is of epoch Text
	NotePlace    = "note-place"    // of Expected leaves, and stands after Got: an older one, or leaves are missing
	NoteRoot     = "note-root"     // the log of Expected leaves is not the one that was signed; From is the size that still fitted
	NoteUnknown  = "note-unknown"  // it cannot be compared, because hashes before it are missing
	NoteFork     = "note-fork"     // two signed checkpoints of From leaves contradict each other
	NoteKey      = "note-key"      // signed with the key of fingerprint Text, for which nobody vouches
	Unsigned     = "unsigned"      // leaves From to To are under no checkpoint (anyone could have written them)
	Unwitnessed  = "unwitnessed"   // told: leaves From to To were not witnessed
	Withdrawn    = "withdrawn"     // receiver Text witnessed with a certificate that was withdrawn, or outside of its time
	Receipt      = "receipt"       // a receipt does not fit: Stream, From, Text
	ReceiptOther = "receipt-other" // told: a receipt of a key that is not known here

	// Of a stream.
	Missing     = "missing"     // Stream, From to To; no gap record names them
	Absent      = "absent"      // nothing of Stream is here, though every epoch has some of it: of leaf Leaf and others only the hash is
	Unexplained = "unexplained" // leaves From to To are here as hashes alone, and no stream that is here lacks something there; told where a gap record names a stream of which nothing is here
	NotHere     = "not-here"    // told: Stream, From to To are not in the file
	Gap         = "gap"         // told: a gap record names Stream, From to To, given up because of Text
	Chain       = "chain"       // Stream: From does not go on from the record before it
	Order       = "order"       // Stream: From to To stand after later ones
	Twice       = "twice"       // Stream: From to To are there a second time
	Unreadable  = "unreadable"  // Stream: From to To cannot be decoded (Text)
	CountWrong  = "count"       // Stream: the block From to To holds Got records
	Window      = "window"      // Stream: From to To are not in the file, and nothing shows that they are not of the time asked for
	WindowEnd   = "window-end"  // Stream: nothing shows that From is the last of the time asked for

	// Of epochs.
	EpochMissing = "epoch-missing" // epoch Text, the parent of Epoch, is not in the file
	EpochOrder   = "epoch-order"   // Epoch stands before its parent Text
	EpochTwice   = "epoch-twice"   // Epoch is there twice
	EpochFork    = "epoch-fork"    // Epoch and Text have the same parent
	EpochBegin   = "epoch-begin"   // told: the first record of Epoch is not in the file
	HeadsOther   = "heads-other"   // Stream of Epoch at From is not what epoch Text says its parent was
	Unasked      = "unasked"       // told: what came before Epoch (its parent is Text) is not in the file
)

// Finding is one thing that is wrong or must be known. Numbers are of records,
// leaves or bytes, as the code says; From and To are both inclusive.
type Finding struct {
	Code     string `json:"code"`
	Told     bool   `json:"told,omitempty"`
	Epoch    string `json:"epoch,omitempty"`
	Stream   string `json:"stream,omitempty"`
	From     uint64 `json:"from,omitempty"`
	To       uint64 `json:"to,omitempty"`
	Leaf     uint64 `json:"leaf,omitempty"`
	Expected uint64 `json:"expected,omitempty"`
	Got      uint64 `json:"got,omitempty"`
	Kind     string `json:"kind,omitempty"`
	Text     string `json:"text,omitempty"`
	Cause    string `json:"cause,omitempty"`
}

// Report is what Verify found.
type Report struct {
	Whole    bool          `json:"whole"` // nothing is wrong; what is told may still matter
	Claim    Claim         `json:"claim"`
	Records  uint64        `json:"records"`
	Readings uint64        `json:"readings"`
	Blocks   uint64        `json:"blocks"`
	Bytes    int64         `json:"bytes"`
	Device   []Device      `json:"device,omitempty"`
	Epochs   []EpochReport `json:"epochs"`
	Findings []Finding     `json:"findings,omitempty"`
	Wrong    uint64        `json:"wrong,omitempty"` // how many findings are wrong, those beyond the limit too
	More     uint64        `json:"more,omitempty"`  // findings beyond the limit
}

// Device is a key that checkpoints in the file are signed with.
type Device struct {
	Fingerprint string `json:"fingerprint"`
	Vouched     bool   `json:"vouched"` // by a receiver's cosignature, or it is the one that was given
}

// EpochReport is what there is of one epoch.
type EpochReport struct {
	Epoch     string         `json:"epoch"`
	Parent    string         `json:"parent,omitempty"`
	Leaves    int64          `json:"leaves"`   // size of the log
	HashOnly  int64          `json:"hashOnly"` // leaves whose blocks are not in the file
	Streams   []StreamReport `json:"streams,omitempty"`
	Signed    *Mark          `json:"signed,omitempty"`    // the largest checkpoint that fits
	Witnessed *Mark          `json:"witnessed,omitempty"` // the largest of a receiver that is believed
}

// StreamReport is what there is of a stream.
type StreamReport struct {
	Stream   string `json:"stream"`
	First    uint64 `json:"first"`
	Last     uint64 `json:"last"`
	Records  uint64 `json:"records"`
	WallFrom int64  `json:"wallFrom"` // of the first record and of the last, by their own clock
	WallTo   int64  `json:"wallTo"`
}

// Mark is a checkpoint that fits the records.
type Mark struct {
	Size    uint64   `json:"size"`         // leaves
	Wall    int64    `json:"wall"`         // ns: of the witness, or of the gateway where there is none
	Trusted bool     `json:"trusted"`      // the gateway's clock then
	By      string   `json:"by,omitempty"` // the witness
	Heads   []Number `json:"heads,omitempty"`
}

// Number is the last record of a stream that a mark covers.
type Number struct {
	Stream string `json:"stream"`
	Number uint64 `json:"number"`
}

// maxFindings is how many findings a report names; further ones are counted.
// What is only told makes room for what is wrong.
const maxFindings = 500

func (r *Report) find(f Finding) {
	if !f.Told {
		r.Whole = false
		r.Wrong++
	}
	if len(r.Findings) >= maxFindings {
		r.More++
		last := len(r.Findings) - 1
		for !f.Told && last >= 0 && !r.Findings[last].Told {
			last--
		}
		if f.Told || last < 0 {
			return
		}
		r.Findings = append(r.Findings[:last], r.Findings[last+1:]...)
	}
	r.Findings = append(r.Findings, f)
}

func hexID(id wire.Epoch) string { return hex.EncodeToString(id[:]) }
