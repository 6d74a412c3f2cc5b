package rules

import (
	"encoding/binary"
	"errors"
	"fmt"

	"davy/drivers/tag"
)

// maxOccurrence bounds what a snapshot may say, so that counting on cannot wrap.
const maxOccurrence = 1 << 62

// maxText is the longest text in a snapshot, with room for an automatic alarm's ending.
const maxText = MaxName + 32

var (
	errVersion = errors.New("unknown magic or version")
	errLength  = errors.New("length does not fit")
)

// saved is what a snapshot says.
type saved struct {
	alarms   []savedAlarm
	locks    []savedLock
	outputs  []savedOutput
	points   savedPoints
	computed []savedComputed
}

func parse(b []byte) (all saved, err error) {
	if len(b) < len(snapshotMagic)+4 || string(b[:len(snapshotMagic)]) != snapshotMagic {
		return all, errVersion
	}
	if n := binary.BigEndian.Uint32(b[len(snapshotMagic):]); uint64(n) != uint64(len(b)-len(snapshotMagic)-4) {
		return all, errLength
	}
	r := reader{b: b[len(snapshotMagic)+4:]}
	seen := map[string]bool{}
	once := func(name string) {
		if seen[name] {
			r.wrong("rule %q stands twice", name)
		}
		seen[name] = true
	}
	for n := r.num(maxRules); n > 0 && r.err == nil; n-- {
		s := r.alarm()
		once(s.name)
		all.alarms = append(all.alarms, s)
	}
	for n := r.num(maxRules); n > 0 && r.err == nil; n-- {
		s := r.lock()
		once(s.name)
		all.locks = append(all.locks, s)
	}
	clear(seen)
	for n := r.num(maxRules); n > 0 && r.err == nil; n-- {
		s := r.output()
		once(s.name)
		all.outputs = append(all.outputs, s)
	}
	all.points = r.points()
	all.computed = r.computed()
	if r.err == nil && len(r.b) > 0 {
		r.wrong("%d bytes too many", len(r.b))
	}
	return all, r.err
}

// reader takes a snapshot apart. After an error everything it returns is zero.
type reader struct {
	b   []byte
	err error
}

func (r *reader) wrong(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
	r.b = nil
}

func (r *reader) num(most uint64) uint64 {
	n, size := binary.Uvarint(r.b)
	if r.err != nil || size <= 0 || n > most {
		r.wrong("a number is cut short or too great")
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *reader) age() int64 { return int64(r.num(uint64(maxAge))) }

func (r *reader) text() string { return r.string(maxText) }
func (r *reader) note() string { return r.string(MaxNote) }

func (r *reader) string(most uint64) string {
	n := r.num(most)
	if r.err != nil || n > uint64(len(r.b)) {
		r.wrong("a text is cut short")
		return ""
	}
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

func (r *reader) value() tag.Value {
	kind := r.num(255)
	v, ok := tag.FromBits(tag.Kind(kind), r.num(1<<64-1))
	if !ok {
		r.wrong("a value is none")
	}
	return v
}
