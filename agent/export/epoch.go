package export

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"

	"davy/agent/evidence"
	"davy/agent/merkle"
	"davy/agent/wire"
)

// Limits of what is kept of an epoch while the file is read, each with what
// happens at it: a finding TooMany, and the rest is not looked at.
const (
	maxEpochs    = 4096
	maxStreams   = 16
	maxReceivers = 64    // whose cosignature counts
	maxMarks     = 256   // checkpoints of an epoch to compare later ones with; the oldest go
	maxGaps      = 65536 // holes in numbers, and gap records, of the whole file
	maxAwaited   = 1024  // receipts of an epoch
)

// section is one epoch as far as it was read.
type section struct {
	id       wire.Epoch
	index    int
	log      *log // nil once it is over
	streams  []*stream
	start    *wire.Start
	began    int64 // wall time of it
	marks    []mark
	signed   *Mark
	witness  *Mark
	fits     int64 // size of the largest checkpoint that fits
	broken   bool  // one did not fit
	unknown  bool  // one could not be compared
	notes    int64
	blocks   int64
	await    []awaited
	lastGone int64  // the last leaf whose block is not here; -1: none is
	gone     int64  // hash-only leaves before behind
	behind   *int64 // wall time of the first record behind the last leaf whose block is not here
	vouched  bool   // the next epoch, which is signed, names the same last records
	hidden   []hidden
	newest   *int64 // wall time, of all records so far
	report   EpochReport
}

// mark is a checkpoint that is signed, whether it fits or not.
type mark struct {
	size uint64
	root merkle.Hash
}

// awaited is the chain at a number, as a receipt has it.
type awaited struct {
	stream string
	number uint64
	root   wire.Root
}

// stream is one stream of an epoch.
type stream struct {
	name     string
	next     uint64 // after the last record
	root     wire.Root
	first    uint64
	records  uint64
	leaf     int64 // of the last block
	wallFrom int64
	wallTo   int64
	vouched  bool // the next epoch says that no more came
}

// missing numbers, and those that gap records name.
type numbers struct {
	epoch    wire.Epoch
	stream   string
	from, to uint64
	root     wire.Root // chain that goes on after them
	rooted   bool
	cause    string
	// Of missing ones: the wall times of the record before and of the one
	// after; nil where none is here.
	before, after *int64
	leaves        hole // between which their blocks were
}

// find returns a stream of which something is here, nil if nothing is.
func (s *section) find(name string) *stream {
	for _, x := range s.streams {
		if x.name == name {
			return x
		}
	}
	return nil
}

func (s *section) stream(name string) *stream {
	if x := s.find(name); x != nil {
		return x
	}
	if len(s.streams) == maxStreams {
		return nil
	}
	x := &stream{name: name, next: 1}
	s.streams = append(s.streams, x)
	return x
}

// last returns the time of the last record so far.
func (x *stream) last() *int64 {
	if x.first == 0 {
		return nil
	}
	wall := x.wallTo
	return &wall
}

// block checks one block.
func (v *verifier) block(s *section, b []byte, at int64) {
	k, hash, err := decodeBlock(b)
	if err != nil {
		v.find(s, Finding{Code: Place, Kind: kindName(blockFrame), From: uint64(at)})
		return
	}
	s.blocks++
	v.r.Blocks++
	f := Finding{Stream: k.Stream, From: k.First, To: k.Last(), Leaf: k.Leaf}
	say := func(code string) {
		f.Code = code
		v.find(s, f)
	}
	sum := sha256.Sum256(k.Body)
	data := wire.LeafData(k.RootBefore, k.Stream, k.First, k.Count, sum)
	made := merkle.Tree{}.Leaf(data)
	if made != hash {
		say(LeafAltered)
	}
	late := false
	switch s.log.block(int64(k.Leaf), made, hash) {
	case "order":
		late = true
		say(LeafOrder)
	case "twice":
		say(LeafTwice)
		return
	}
	x := s.stream(k.Stream)
	if x == nil {
		say(TooMany)
		return
	}
	wallFrom, wallTo := v.records(s, &k)
	after := wire.Root(sha256.Sum256(data))
	if l := s.log; l.gone > 0 && s.gone != l.gone {
		s.gone, s.behind = l.gone, &wallFrom
	}
	s.seen(wallFrom, wallTo)
	switch {
	case k.First < x.next && v.fills(s, &k):
		if !late {
			say(Order)
		}
		v.count(x, &k)
		return
	case k.First < x.next:
		say(Twice)
		if k.Last() < x.next {
			return
		}
	case k.First > x.next:
		v.hole(numbers{epoch: s.id, stream: k.Stream, from: x.next, to: k.First - 1, root: k.RootBefore, rooted: true, before: x.last(), after: &wallFrom, leaves: hole{x.tail().from, int64(k.Leaf)}})
	case k.RootBefore != x.root:
		say(Chain)
	}
	if x.first == 0 {
		x.first, x.wallFrom = k.First, wallFrom
	}
	x.next, x.root, x.leaf, x.wallTo = k.Last()+1, after, int64(k.Leaf), wallTo
	v.count(x, &k)
	for _, a := range s.await {
		if a.stream == k.Stream && a.number == k.Last() && a.root != after {
			v.find(s, Finding{Code: Receipt, Stream: a.stream, From: a.number, Text: "root"})
		}
	}
}

func (v *verifier) count(x *stream, k *wire.Block) {
	x.records += uint64(k.Count)
	v.r.Records += uint64(k.Count)
	if k.Stream == wire.ReadingStream {
		v.r.Readings += uint64(k.Count)
	}
}

// fills reports whether a block that comes late is just what was missing.
func (v *verifier) fills(s *section, k *wire.Block) bool {
	for i := range v.holes {
		h := &v.holes[i]
		if h.epoch == s.id && h.stream == k.Stream && h.from <= k.First && k.Last() <= h.to {
			rest := *h
			h.to = k.First - 1
			rest.from = k.Last() + 1
			if h.from > h.to {
				v.holes = slices.Delete(v.holes, i, i+1)
			}
			if rest.from <= rest.to {
				v.hole(rest)
			}
			return true
		}
	}
	return false
}

// records decodes a block, and takes out of it what explains others.
func (v *verifier) records(s *section, k *wire.Block) (wallFrom, wallTo int64) {
	n := uint64(0)
	var err error
	if k.Stream == wire.ReadingStream {
		readings, rerr := wire.DecodeReadings(k.Body)
		if n, err = uint64(len(readings)), rerr; n > 0 {
			wallFrom, wallTo = readings[0].Received.Wall, readings[n-1].Received.Wall
		}
	} else {
		events, eerr := wire.DecodeEvents(k.Body)
		if n, err = uint64(len(events)), eerr; n > 0 {
			wallFrom, wallTo = events[0].At.Wall, events[n-1].At.Wall
		}
		for i := range events {
			e := &events[i]
			if e.Start != nil && k.Stream == wire.EventStream && k.First == 1 && i == 0 {
				s.start, s.began = e.Start, e.At.Wall
			}
			if g := e.Gap; g != nil && g.From != 0 && g.From <= g.To && k.Stream == wire.EventStream {
				v.gap(s, g)
			}
		}
	}
	f := Finding{Stream: k.Stream, From: k.First, To: k.Last(), Leaf: k.Leaf}
	switch {
	case err != nil:
		f.Code, f.Text = Unreadable, err.Error()
		v.find(s, f)
	case n != uint64(k.Count):
		f.Code, f.Got = CountWrong, n
		v.find(s, f)
	}
	return wallFrom, wallTo
}

func (v *verifier) gap(s *section, g *wire.Gap) {
	n := numbers{epoch: s.id, stream: g.Stream, from: g.From, to: g.To, cause: g.Cause}
	switch len(g.Epoch) {
	case 0:
	case len(n.epoch):
		n.epoch = wire.Epoch(g.Epoch)
	default:
		return
	}
	if len(g.RootAfter) == len(n.root) {
		n.root, n.rooted = wire.Root(g.RootAfter), true
	}
	if len(v.gaps) == maxGaps {
		v.tooMany("gap")
		return
	}
	v.gaps = append(v.gaps, n)
}

func (v *verifier) hole(n numbers) {
	if len(v.holes) == maxGaps {
		v.tooMany("hole")
		return
	}
	v.holes = append(v.holes, n)
}

// note checks a checkpoint against the leaves so far.
func (v *verifier) note(s *section, b []byte) {
	s.notes++
	c, by, wall := v.witness(s, b)
	if c == nil {
		var err error
		if c, err = evidence.ReadCheckpoint(b); err != nil {
			v.find(s, Finding{Code: NoteBad, Text: err.Error()})
			return
		}
	}
	switch {
	case c.Gateway != v.r.Claim.Gateway:
		v.find(s, Finding{Code: NoteGateway, Text: c.Gateway})
		return
	case c.Epoch != s.id:
		v.find(s, Finding{Code: NoteEpoch, Text: hexID(c.Epoch)})
		return
	}
	v.device(s, c, by != "")
	for _, m := range s.marks {
		if m.size == c.Size && m.root != c.Root {
			v.find(s, Finding{Code: NoteFork, From: c.Size})
			return
		}
	}
	if len(s.marks) == maxMarks {
		s.marks = s.marks[1:]
	}
	s.marks = append(s.marks, mark{c.Size, c.Root})
	if int64(c.Size) != s.log.pos {
		v.find(s, Finding{Code: NotePlace, Expected: c.Size, Got: uint64(s.log.pos)})
	}
	root, here := s.log.root(int64(c.Size))
	switch {
	case !here:
		return
	case root.okMade && root.made == c.Root, root.okSaid && root.said == c.Root:
	case !root.okMade && !root.okSaid:
		if !s.unknown {
			v.find(s, Finding{Code: NoteUnknown, Expected: c.Size, From: uint64(s.fits)})
		}
		s.unknown = true
		return
	default:
		if !s.broken {
			v.find(s, Finding{Code: NoteRoot, Expected: c.Size, From: uint64(s.fits)})
		}
		s.broken = true
		return
	}
	s.fits = max(s.fits, int64(c.Size))
	m := &Mark{Size: c.Size, Wall: c.At.Wall, Trusted: c.Trusted}
	for _, x := range s.streams {
		if x.first != 0 && x.leaf < int64(c.Size) {
			m.Heads = append(m.Heads, Number{x.name, x.next - 1})
		}
	}
	if s.signed == nil || s.signed.Size <= c.Size {
		s.signed = m
	}
	if by != "" && (s.witness == nil || s.witness.Size <= c.Size) {
		w := *m
		w.By, w.Wall = by, wall*1e9
		s.witness = &w
	}
}

// receipt keeps what a receipt says until the records come.
func (v *verifier) receipt(s *section, b []byte) {
	signed, err := wire.DecodeSigned(b)
	if err != nil || !signed.Verify(wire.ReceiptKind) {
		v.find(s, Finding{Code: Receipt, Text: "signature"})
		return
	}
	known := false
	for i := range v.receivers {
		known = known || bytes.Equal(v.receivers[i].key, signed.Key)
	}
	if !known {
		v.find(s, Finding{Code: ReceiptOther, Told: true, Text: evidence.Fingerprint(signed.Key)})
		return
	}
	r, err := wire.DecodeReceipt(signed.Body)
	switch {
	case err != nil:
		v.find(s, Finding{Code: Receipt, Text: err.Error()})
		return
	case r.Gateway != v.r.Claim.Gateway || r.Epoch != s.id:
		v.find(s, Finding{Code: Receipt, Text: fmt.Sprintf("%s %x", r.Gateway, r.Epoch)})
		return
	}
	for _, h := range r.Upto {
		if len(s.await) == maxAwaited {
			v.tooMany("receipt")
			return
		}
		s.await = append(s.await, awaited{h.Stream, h.Number, h.Root})
	}
}
