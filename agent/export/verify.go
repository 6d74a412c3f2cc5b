package export

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"davy/agent/evidence"
	"davy/agent/wire"
)

// Trust is in whose word Verify believes. One of the three is enough; without
// any of them a file is never whole, because anyone could have made it.
type Trust struct {
	Authority ed25519.PublicKey // of receivers' certificates
	Receiver  ed25519.PublicKey // of a receiver
	Device    string            // fingerprint of the gateway's key
	// Certificates of receivers, as the authority signed them, beside those that
	// the file brings along.
	Certificates [][]byte
	// Strict: what is not witnessed or given up is wrong too.
	Strict bool
}

// receiver is one whose cosignature counts.
type receiver struct {
	key    ed25519.PublicKey
	name   string
	cert   *wire.Certificate // nil: pinned
	warned bool
}

type verifier struct {
	trust     Trust
	r         *Report
	receivers []receiver
	least     uint64 // certificates below this number are withdrawn
	devices   []device
	sections  []*section
	open      *section
	holes     []numbers
	gaps      []numbers
	stretches int // of leaves without their blocks, in the whole file
	frames    map[string]int64
	warned    map[string]bool // limits that were told
	end       *End
	ended     bool // it is there
}

// device is a key that checkpoints are signed with.
type device struct {
	key     ed25519.PublicKey
	vouched bool
	epochs  []wire.Epoch // up to maxMarks
}

// Verify reads an evidence file and says what is in it, and what is wrong. The
// error is one of reading, or ErrFormat: it is no such file at all. Everything
// else is a finding.
func Verify(r io.Reader, t Trust) (*Report, error) {
	v := &verifier{trust: t, r: &Report{Whole: true}, frames: map[string]int64{}, warned: map[string]bool{}}
	if len(t.Receiver) == ed25519.PublicKeySize {
		v.receivers = append(v.receivers, receiver{key: t.Receiver})
	}
	for _, c := range t.Certificates {
		v.certified(Key{Certificate: c})
	}
	in, err := newFrames(r)
	if err != nil {
		return nil, fmt.Errorf("read evidence: %w", err)
	}
	for {
		f, err := in.next()
		var d *damage
		switch {
		case errors.Is(err, io.EOF):
			v.r.Bytes = in.at
			v.finish()
			return v.r, nil
		case errors.As(err, &d):
			v.damaged(d)
		case err != nil:
			return nil, fmt.Errorf("read evidence: %w", err)
		default:
			v.frame(&f)
		}
	}
}

func (v *verifier) find(s *section, f Finding) {
	if s != nil {
		f.Epoch = hexID(s.id)
	}
	v.r.find(f)
}

func (v *verifier) tooMany(kind string) {
	if !v.warned[kind] {
		v.warned[kind] = true
		v.r.find(Finding{Code: TooMany, Kind: kind})
	}
}

func (v *verifier) damaged(d *damage) {
	f := Finding{Code: Damaged, From: uint64(d.from), To: uint64(d.to - 1)}
	if d.kind != 0 {
		f.Kind = kindName(d.kind)
	}
	switch {
	case v.end != nil:
		f.Code = Trailing
	case d.cut:
		f.Code = Cut
		f.To = uint64(d.to)
	}
	v.find(v.open, f)
}

func (v *verifier) frame(f *frame) {
	kind := kindName(f.kind)
	place := Finding{Code: Place, Kind: kind, From: uint64(f.at)}
	if v.end != nil {
		v.r.find(Finding{Code: Trailing, Kind: kind, From: uint64(f.at)})
		return
	}
	first := len(v.frames) == 0
	if f.kind != endFrame {
		v.frames[string(rune(f.kind))]++
	}
	if first != (f.kind == claimFrame) {
		v.find(v.open, place)
		if f.kind == claimFrame {
			return
		}
	}
	switch {
	case f.kind == claimFrame:
		if !decodeJSON(f.payload, &v.r.Claim) {
			v.r.find(place)
		}
		if v.r.Claim.Salvage {
			v.r.find(Finding{Code: Salvaged, Told: true})
		}
	case f.kind == keyFrame:
		v.key(f.payload, place)
	case f.kind == epochFrame:
		v.epoch(f.payload, place)
	case f.kind == endFrame:
		v.closeSection()
		v.end = &End{}
		if !decodeJSON(f.payload, v.end) {
			v.r.find(place)
		} else if v.end.Bytes != f.at {
			v.r.find(Finding{Code: Totals, Kind: "bytes", Expected: uint64(v.end.Bytes), Got: uint64(f.at)})
		}
	case f.kind >= 'a' && f.kind <= 'z': // of a newer version, and not needed
	case v.open == nil:
		v.r.find(place)
	case f.kind == blockFrame:
		v.block(v.open, f.payload, f.at)
	case f.kind == subtreeFrame:
		v.subtree(v.open, f.payload, place)
	case f.kind == noteFrame:
		v.note(v.open, f.payload)
	case f.kind == receiptFrame:
		v.receipt(v.open, f.payload)
	default:
		v.find(v.open, place)
	}
}

func decodeJSON(b []byte, into any) bool {
	return len(b) <= maxJSON && json.Unmarshal(b, into) == nil
}

// key takes a key of the file. Only an authority makes it one to believe.
func (v *verifier) key(b []byte, place Finding) {
	var k Key
	if !decodeJSON(b, &k) {
		v.r.find(place)
		return
	}
	if k.Role == "receiver" && len(k.Certificate) > 0 && len(v.trust.Authority) > 0 {
		v.certified(k)
	}
}

// certified takes a receiver's certificate, if it is of the authority.
func (v *verifier) certified(k Key) {
	c, err := evidence.ReadCertificate(k.Certificate, v.trust.Authority)
	switch {
	case err != nil:
		v.r.find(Finding{Code: NotFrom, Text: k.Name, Cause: err.Error()})
		return
	case len(k.Key) > 0 && !bytes.Equal(c.Key, k.Key):
		v.r.find(Finding{Code: NotFrom, Text: k.Name, Cause: "key"})
		return
	case len(v.receivers) == maxReceivers:
		v.tooMany(kindName(keyFrame))
		return
	}
	v.least = max(v.least, c.Least)
	v.receivers = append(v.receivers, receiver{key: c.Key, name: c.Name, cert: c})
}

// witness returns a checkpoint that a receiver which is believed cosigned, the
// receiver's name, and when it did, in seconds since 1970; nil if none did.
func (v *verifier) witness(s *section, note []byte) (c *evidence.Checkpoint, by string, wall int64) {
	for i := range v.receivers {
		w := &v.receivers[i]
		c, at, err := evidence.Witnessed(note, w.key)
		if err != nil {
			continue
		}
		if w.cert != nil && (w.cert.Number < v.least || at < w.cert.NotBefore/1e9 || at >= w.cert.NotAfter/1e9) {
			if !w.warned {
				w.warned = true
				v.find(s, Finding{Code: Withdrawn, Text: w.name, Got: uint64(max(0, at))})
			}
			continue
		}
		return c, cmp.Or(w.name, evidence.Fingerprint(w.key)), at
	}
	return nil, "", 0
}

// device notes whose checkpoint it is.
func (v *verifier) device(s *section, c *evidence.Checkpoint, witnessed bool) {
	for i := range v.devices {
		d := &v.devices[i]
		if bytes.Equal(d.key, c.Key) {
			d.vouched = d.vouched || witnessed
			if !slices.Contains(d.epochs, s.id) && len(d.epochs) < maxMarks {
				d.epochs = append(d.epochs, s.id)
			}
			return
		}
	}
	if len(v.devices) == maxMarks {
		v.tooMany("device")
		return
	}
	v.devices = append(v.devices, device{c.Key, witnessed || v.trust.Device != "" && evidence.SameFingerprint(v.trust.Device, c.Key), []wire.Epoch{s.id}})
}

// epoch begins a section.
func (v *verifier) epoch(b []byte, place Finding) {
	v.closeSection()
	if len(b) != len(wire.Epoch{}) {
		v.r.find(place)
		return
	}
	if len(v.sections) == maxEpochs {
		v.tooMany(kindName(epochFrame))
		return
	}
	s := &section{id: wire.Epoch(b), index: len(v.sections), log: &log{}}
	for _, x := range v.sections {
		if x.id == s.id {
			v.find(s, Finding{Code: EpochTwice})
			break
		}
	}
	v.sections, v.open = append(v.sections, s), s
}

// closeSection ends the section that is open: what its log lacks is known now.
func (v *verifier) closeSection() {
	s := v.open
	if s == nil {
		return
	}
	v.open = nil
	l := s.log
	l.close()
	for _, h := range l.holes {
		v.find(s, Finding{Code: LeafMissing, From: uint64(h.from), To: uint64(h.to)})
	}
	for _, h := range l.off {
		v.find(s, Finding{Code: Subtree, From: uint64(h.from), To: uint64(h.to)})
	}
	s.report = EpochReport{Epoch: hexID(s.id), Leaves: l.pos, HashOnly: l.gone, Signed: s.signed, Witnessed: s.witness}
	if l.gone > 0 {
		s.lastGone = l.lastGone
		if s.gone != l.gone { // nothing stands behind it
			s.behind = nil
		}
	} else {
		s.lastGone = -1
	}
	s.log, s.await = nil, nil
}

// finish looks at what only the whole file shows.
func (v *verifier) finish() {
	v.closeSection()
	if v.end == nil {
		cut := false
		for i := range v.r.Findings {
			cut = cut || v.r.Findings[i].Code == Cut
		}
		if !cut {
			v.r.find(Finding{Code: Cut, To: uint64(v.r.Bytes)})
		}
		v.end = &End{}
	} else {
		v.ended = true
		v.totals()
	}
	v.chainEpochs()
	v.numbers()
	v.keys()
	for i := range v.sections {
		v.r.Epochs = append(v.r.Epochs, v.sections[i].report)
	}
	for _, what := range v.end.Lost {
		v.r.find(Finding{Code: Lost, Told: !v.trust.Strict, Text: what})
	}
	slices.SortStableFunc(v.r.Findings, func(a, b Finding) int { // what is wrong first
		return cmp.Compare(boolInt(a.Told), boolInt(b.Told))
	})
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// totals compares the file with what its end says.
func (v *verifier) totals() {
	kinds := map[string]bool{}
	for k := range v.frames {
		kinds[k] = true
	}
	for k := range v.end.Frames {
		kinds[k] = true
	}
	for _, k := range slices.Sorted(maps.Keys(kinds)) {
		if v.end.Frames[k] != v.frames[k] {
			v.r.find(Finding{Code: Totals, Kind: kindNames(k), Expected: uint64(max(0, v.end.Frames[k])), Got: uint64(v.frames[k])})
		}
	}
	for i, e := range v.end.Epochs {
		if i >= len(v.sections) {
			v.r.find(Finding{Code: Totals, Kind: kindName(epochFrame), Epoch: e.Epoch, Expected: 1})
			continue
		}
		s := v.sections[i]
		if hexID(s.id) != e.Epoch {
			v.r.find(Finding{Code: Totals, Kind: kindName(epochFrame), Epoch: e.Epoch, Text: hexID(s.id)})
		}
		for _, t := range []struct {
			kind      string
			want, got int64
		}{{"leaves", e.Leaves, s.report.Leaves}, {kindName(blockFrame), e.Blocks, s.blocks}, {kindName(noteFrame), e.Notes, s.notes}} {
			if t.want != t.got {
				v.find(s, Finding{Code: Totals, Kind: t.kind, Expected: uint64(max(0, t.want)), Got: uint64(t.got)})
			}
		}
	}
	if len(v.sections) > len(v.end.Epochs) {
		v.r.find(Finding{Code: Totals, Kind: kindName(epochFrame), Expected: uint64(len(v.end.Epochs)), Got: uint64(len(v.sections))})
	}
}

// kindNames is kindName of what the end calls a kind.
func kindNames(k string) string {
	if len(k) != 1 {
		return k
	}
	return kindName(k[0])
}

// keys says whose word stands behind the file.
func (v *verifier) keys() {
	vouched := false
	for _, d := range v.devices {
		vouched = vouched || d.vouched
		v.r.Device = append(v.r.Device, Device{evidence.Fingerprint(d.key), d.vouched})
	}
	if !vouched {
		v.r.find(Finding{Code: NoKey})
		return
	}
	for _, d := range v.devices {
		if !d.vouched {
			ids := make([]string, len(d.epochs))
			for i, id := range d.epochs {
				ids[i] = hexID(id)
			}
			v.r.find(Finding{Code: NoteKey, Epoch: strings.Join(ids, ","), Text: evidence.Fingerprint(d.key)})
		}
	}
}
