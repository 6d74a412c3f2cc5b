package ring

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
	"unicode/utf8"

	"davy/drivers/tag"
)

// ErrFrame says that a frame, or a list of events, does not hold.
var ErrFrame = errors.New("frame does not hold")

// ErrVersion says that the peer speaks another version of these frames.
var ErrVersion = errors.New("peer speaks another version")

// protocol is the version of the frames, and of AppendEvents. A keeper is of the
// decider's own build; of what an older build left in the latch file DecodeEvents
// reads every version.
const protocol = 3

// The kinds of frames.
const (
	helloFrame byte = iota + 1
	turnFrame
	statusFrame
)

const frameHead = 4

// The least that an encoded event, vote, sample, head, uplink or text takes: a count
// that promises more than the frame holds is refused before anything is made.
const (
	leastEvent  = 109
	leastEvent2 = 107 // of version 2
	leastEvent1 = 90  // of version 1
	leastVote   = 32
	sampleSize  = 33
	leastHead   = 25
	leastUplink = 61
	leastText   = 1
)

// le is short for what every number here is.
var le = binary.LittleEndian

// frame appends a frame around what body appends. A body that is too long is
// an error; dst is returned as it was.
func frame(dst []byte, kind byte, body func([]byte) []byte) ([]byte, error) {
	at := len(dst)
	out := body(append(dst, 0, 0, 0, 0, kind))
	n := len(out) - at - frameHead
	if n > MaxFrame {
		return dst[:at], fmt.Errorf("encode frame: %d bytes, at most %d", n, MaxFrame)
	}
	le.PutUint32(out[at:], uint32(n))
	return out, nil
}

// appendText appends s, cut to limit bytes.
func appendText(b []byte, s string, limit int) []byte {
	if len(s) <= limit {
		return append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	n := limit - len("…")
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	b = binary.AppendUvarint(b, uint64(n+len("…")))
	return append(append(b, s[:n]...), "…"...)
}

// textSize is how many bytes appendText appends.
func textSize(s string, limit int) int { return min(len(s), limit) + 2 }

func appendStamp(b []byte, s tag.Stamp) []byte {
	return le.AppendUint64(le.AppendUint64(b, uint64(s.Wall)), uint64(s.Mono))
}

func appendValue(b []byte, v tag.Value) []byte {
	return le.AppendUint64(append(b, byte(v.Kind())), v.Bits())
}

// appendQuality appends q; what is no quality is a device fault, so that a
// frame always holds and bad is never shown as good.
func appendQuality(b []byte, q tag.Quality) []byte {
	if !q.Valid() {
		q = tag.BadDeviceFault
	}
	return le.AppendUint32(b, uint32(q))
}

func bit(set bool, mask byte) byte {
	if set {
		return mask
	}
	return 0
}

func appendHello(b []byte, h *Hello) []byte {
	b = append(b, "DAVYRING"...)
	b = le.AppendUint16(b, protocol)
	b = append(b, h.Lineage[:]...)
	b = appendStamp(b, h.Started)
	b = appendText(b, h.Version, MaxText)
	b = appendText(b, h.Boot, MaxText)
	b = appendText(b, h.StateDir, MaxText)
	return append(binary.AppendUvarint(b, uint64(len(h.Bundle))), h.Bundle...)
}

func decodeHello(b []byte, h *Hello) error {
	d := decoder{b: b}
	if string(d.raw(8)) != "DAVYRING" {
		return fmt.Errorf("%w: not a hello", ErrFrame)
	}
	if v := d.u16(); d.err == nil && v != protocol {
		return fmt.Errorf("%w: %d, ours is %d", ErrVersion, v, protocol)
	}
	copy(h.Lineage[:], d.raw(16))
	h.Started = d.stamp()
	h.Version, h.Boot, h.StateDir = d.text(MaxText), d.text(MaxText), d.text(MaxText)
	h.Bundle = append([]byte(nil), d.raw(d.count(1))...)
	return d.end("hello")
}

// DecodeEvents reads what AppendEvents wrote, also in version 1, to the last
// byte. The serials grow; anything else does not hold.
func DecodeEvents(b []byte) ([]Event, error) {
	d := decoder{b: b}
	v := d.u8()
	if d.err == nil && (v < 1 || v > protocol) {
		return nil, fmt.Errorf("decode events: %w: %d, ours is %d", ErrVersion, v, protocol)
	}
	least := leastEvent
	switch v {
	case 1:
		least = leastEvent1
	case 2:
		least = leastEvent2
	}
	n := d.count(least)
	events := make([]Event, 0, min(n, 64))
	last := uint64(0)
	for i := 0; i < n && d.err == nil; i++ {
		var e Event
		d.event(&e, v)
		if d.err == nil && (e.Serial <= last || e.LostFrom > 0 && (e.LostFrom <= last || e.LostFrom >= e.Serial)) {
			d.fail("serials do not grow")
		}
		last = e.Serial
		events = append(events, e)
	}
	if err := d.end("events"); err != nil {
		return nil, err
	}
	return events, nil
}

func appendReading(b []byte, r *tag.Reading) []byte {
	b = le.AppendUint32(b, uint32(r.Tag))
	b = appendQuality(b, r.Quality)
	b = le.AppendUint64(b, uint64(r.Value.Kind()))
	b = le.AppendUint64(b, r.Value.Bits())
	b = le.AppendUint64(b, uint64(r.Source))
	return appendStamp(b, r.Received)
}

// decodeReading reads the ReadingSize bytes of one reading; ok is false where
// they are none.
func decodeReading(b []byte, r *tag.Reading) (ok bool) {
	b = b[:ReadingSize]
	kind := le.Uint64(b[8:])
	r.Tag, r.Quality = tag.ID(le.Uint32(b)), tag.Quality(le.Uint32(b[4:]))
	r.Value, ok = tag.FromBits(tag.Kind(kind), le.Uint64(b[16:]))
	r.Source = int64(le.Uint64(b[24:]))
	r.Received = tag.Stamp{Wall: int64(le.Uint64(b[32:])), Mono: int64(le.Uint64(b[40:]))}
	return ok && kind <= math.MaxUint8 && r.Quality.Valid()
}

func appendTurn(b []byte, t *Turn) []byte {
	b = appendStamp(b, t.Now)
	b = append(b, bit(t.ClockTrusted, 1)|bit(t.Armed, 2))
	b = le.AppendUint64(b, uint64(t.ClockError))
	b = le.AppendUint64(b, t.Lost.Readings)
	b = le.AppendUint64(b, t.Lost.Events)
	b = appendStamp(appendStamp(b, t.Lost.From), t.Lost.To)
	b = binary.AppendUvarint(b, uint64(len(t.Events)))
	for i := range t.Events {
		b = appendEvent(b, &t.Events[i])
	}
	b = binary.AppendUvarint(b, uint64(len(t.Readings)))
	for i := range t.Readings {
		b = appendReading(b, &t.Readings[i])
	}
	return b
}

// decodeTurn reads a turn into t and reuses its slices.
func decodeTurn(b []byte, t *Turn) error {
	d := decoder{b: b}
	t.Now = d.stamp()
	f := d.flags(3)
	t.ClockTrusted, t.Armed = f&1 != 0, f&2 != 0
	t.ClockError = time.Duration(d.u64())
	t.Lost = Lost{Readings: d.u64(), Events: d.u64(), From: d.stamp(), To: d.stamp()}
	t.Events, t.Readings = t.Events[:0], t.Readings[:0]
	n := d.count(leastEvent)
	for i := 0; i < n && d.err == nil; i++ {
		var e Event
		d.event(&e, protocol)
		t.Events = append(t.Events, e)
	}
	n = d.count(ReadingSize)
	raw := d.raw(n * ReadingSize) // n is at most what is left: no overflow
	for i := 0; i < n && d.err == nil; i++ {
		var r tag.Reading
		if !decodeReading(raw[i*ReadingSize:], &r) {
			d.fail("not a reading")
		}
		t.Readings = append(t.Readings, r)
	}
	return d.end("turn")
}

func appendStatus(b []byte, s *Status) []byte {
	b = le.AppendUint64(b, s.Durable)
	b = append(b, s.Epoch[:]...)
	b = le.AppendUint64(b, uint64(s.Bytes))
	b = le.AppendUint64(b, uint64(s.MaxBytes))
	heads := s.Heads[:min(len(s.Heads), MaxList)]
	b = binary.AppendUvarint(b, uint64(len(heads)))
	for i := range heads {
		b = appendText(b, heads[i].Stream, MaxName)
		b = le.AppendUint64(b, heads[i].Number)
		b = le.AppendUint64(b, heads[i].Receipted)
		b = le.AppendUint64(b, heads[i].Backlog)
	}
	uplinks := s.Uplinks[:min(len(s.Uplinks), MaxList)]
	b = binary.AppendUvarint(b, uint64(len(uplinks)))
	for i := range uplinks {
		u := &uplinks[i]
		b = appendText(b, u.Name, MaxName)
		b = append(b, bit(u.Connected, 1)|bit(u.Witness.Asked, 2)|bit(u.Unproved, 4))
		b = appendStamp(b, u.LastReceipt)
		b = le.AppendUint64(b, u.Backlog)
		b = appendText(b, u.Error, MaxText)
		b = appendText(b, u.Cause, MaxName)
		b = le.AppendUint64(b, uint64(u.Witness.Wall))
		b = le.AppendUint64(b, u.Witness.Blocks)
		b = le.AppendUint64(b, u.Witness.Records)
		b = le.AppendUint64(b, uint64(u.Witness.Oldest))
		b = appendText(b, u.Witness.Refused, MaxName)
	}
	conditions := s.Conditions[:min(len(s.Conditions), MaxList)]
	b = binary.AppendUvarint(b, uint64(len(conditions)))
	for _, c := range conditions {
		b = appendText(b, c, MaxName)
	}
	return b
}

func decodeStatus(b []byte, s *Status) error {
	d := decoder{b: b}
	s.Durable = d.u64()
	copy(s.Epoch[:], d.raw(16))
	s.Bytes, s.MaxBytes = int64(d.u64()), int64(d.u64())
	s.Heads, s.Uplinks, s.Conditions = nil, nil, nil
	for i, n := 0, d.list(leastHead); i < n && d.err == nil; i++ {
		s.Heads = append(s.Heads, Head{Stream: d.text(MaxName), Number: d.u64(), Receipted: d.u64(), Backlog: d.u64()})
	}
	for i, n := 0, d.list(leastUplink); i < n && d.err == nil; i++ {
		u := UplinkStatus{Name: d.text(MaxName)}
		flags := d.flags(7)
		u.Connected, u.Witness.Asked, u.Unproved = flags&1 != 0, flags&2 != 0, flags&4 != 0
		u.LastReceipt, u.Backlog, u.Error, u.Cause = d.stamp(), d.u64(), d.text(MaxText), d.text(MaxName)
		u.Witness.Wall, u.Witness.Blocks, u.Witness.Records, u.Witness.Oldest = int64(d.u64()), d.u64(), d.u64(), int64(d.u64())
		u.Witness.Refused = d.text(MaxName)
		s.Uplinks = append(s.Uplinks, u)
	}
	for i, n := 0, d.list(leastText); i < n && d.err == nil; i++ {
		s.Conditions = append(s.Conditions, d.text(MaxName))
	}
	return d.end("status")
}

// decoder reads a body from its front. After the first thing that does not
// hold it returns zeros, and end says what it was.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail(why string) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s", ErrFrame, why)
		d.b = nil
	}
}

func (d *decoder) raw(n int) []byte {
	if n < 0 || n > len(d.b) {
		d.fail("too short")
		return nil
	}
	r := d.b[:n:n]
	d.b = d.b[n:]
	return r
}

func (d *decoder) u8() byte {
	if b := d.raw(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) u16() uint16 {
	if b := d.raw(2); b != nil {
		return le.Uint16(b)
	}
	return 0
}

func (d *decoder) u32() uint32 {
	if b := d.raw(4); b != nil {
		return le.Uint32(b)
	}
	return 0
}

func (d *decoder) u64() uint64 {
	if b := d.raw(8); b != nil {
		return le.Uint64(b)
	}
	return 0
}

// flags reads a byte of which only the bits of mask may be set.
func (d *decoder) flags(mask byte) byte {
	f := d.u8()
	if f&^mask != 0 {
		d.fail("unknown flag")
	}
	return f
}

func (d *decoder) stamp() tag.Stamp {
	return tag.Stamp{Wall: int64(d.u64()), Mono: int64(d.u64())}
}

func (d *decoder) value() tag.Value {
	v, ok := tag.FromBits(tag.Kind(d.u8()), d.u64())
	if !ok {
		d.fail("not a value")
	}
	return v
}

func (d *decoder) quality() tag.Quality {
	q := tag.Quality(d.u32())
	if !q.Valid() {
		d.fail("not a quality")
	}
	return q
}

// count reads how many things follow that take at least size bytes each.
func (d *decoder) count(size int) int {
	n, w := binary.Uvarint(d.b)
	if w <= 0 || n > uint64((len(d.b)-w)/size) {
		d.fail("count")
		return 0
	}
	d.b = d.b[w:]
	return int(n)
}

// list reads a count of at most MaxList.
func (d *decoder) list(size int) int {
	n := d.count(size)
	if n > MaxList {
		d.fail("list too long")
		return 0
	}
	return n
}

func (d *decoder) text(limit int) string {
	n := d.count(1)
	if n > limit {
		d.fail("text too long")
		return ""
	}
	return string(d.raw(n))
}

// end says whether all of it held and nothing is left.
func (d *decoder) end(what string) error {
	if d.err == nil && len(d.b) > 0 {
		d.fail("bytes left over")
	}
	if d.err != nil {
		return fmt.Errorf("decode %s: %w", what, d.err)
	}
	return nil
}
