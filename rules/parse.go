package rules

import (
	"encoding/binary"
	"errors"
	"fmt"

	"davy/drivers/tag"
)

// What a snapshot says, checked as far as it can be without a set. Ages that
// are absent are 0, delays that do not run are -1.
type (
	savedAlarm struct {
		name        string
		state       AlarmState
		occurrence  uint64
		age         int64
		value       tag.Value
		stood, left int64
	}
	savedLock struct {
		name        string
		tripped     bool
		settled     bool
		occurrence  uint64
		firstOut    string
		age         int64
		votes       []Vote
		demands     []string
		stood, held int64
		channels    []savedChannel
	}
	savedChannel struct {
		name                        string
		flags                       uint64
		badAge, processAge, testAge int64
	}
)

// maxOccurrence bounds what a snapshot may say, so that counting on cannot wrap.
const maxOccurrence = 1 << 62

// maxText is the longest text in a snapshot, with room for an automatic alarm's ending.
const maxText = MaxName + 32

var (
	errVersion = errors.New("unknown magic or version")
	errLength  = errors.New("length does not fit")
)

func parse(b []byte) (alarms []savedAlarm, locks []savedLock, err error) {
	if len(b) < len(snapshotMagic)+4 || string(b[:len(snapshotMagic)]) != snapshotMagic {
		return nil, nil, errVersion
	}
	if n := binary.BigEndian.Uint32(b[len(snapshotMagic):]); uint64(n) != uint64(len(b)-len(snapshotMagic)-4) {
		return nil, nil, errLength
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
		alarms = append(alarms, s)
	}
	for n := r.num(maxRules); n > 0 && r.err == nil; n-- {
		s := r.lock()
		once(s.name)
		locks = append(locks, s)
	}
	if r.err == nil && len(r.b) > 0 {
		r.wrong("%d bytes too many", len(r.b))
	}
	return alarms, locks, r.err
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

func (r *reader) text() string {
	n := r.num(maxText)
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

func (r *reader) alarm() savedAlarm {
	s := savedAlarm{stood: -1, left: -1}
	s.name = r.text()
	s.state = AlarmState(r.num(uint64(LatchedAcked)))
	s.occurrence = r.num(maxOccurrence)
	if s.state != Normal {
		s.age, s.value = r.age(), r.value()
		if s.occurrence == 0 {
			r.wrong("alarm %q is raised and never was", s.name)
		}
	}
	flags := r.num(alarmPending | alarmClearing)
	if flags&alarmPending != 0 {
		s.stood = r.age()
	}
	if flags&alarmClearing != 0 {
		s.left = r.age()
	}
	return s
}

func (r *reader) lock() savedLock {
	s := savedLock{stood: -1, held: -1}
	s.name = r.text()
	s.tripped = r.num(1) == 1
	s.occurrence = r.num(maxOccurrence)
	if s.tripped {
		if s.occurrence == 0 {
			r.wrong("interlock %q is tripped and never was", s.name)
		}
		s.firstOut, s.age = r.text(), r.age()
		for n := r.num(maxRules); n > 0 && r.err == nil; n-- {
			s.votes = append(s.votes, r.vote())
		}
		for n := r.num(maxRules); n > 0 && r.err == nil; n-- {
			s.demands = append(s.demands, r.text())
		}
	}
	flags := r.num(lockSettled | lockPending | lockHolding)
	s.settled = flags&lockSettled != 0
	if flags&lockPending != 0 {
		s.stood = r.age()
	}
	if flags&lockHolding != 0 {
		s.held = r.age()
	}
	for n := r.num(maxRules); n > 0 && r.err == nil; n-- {
		c := savedChannel{name: r.text(), flags: r.num(2*channelSeat - 1)}
		if c.flags&channelBad != 0 {
			c.badAge = r.age()
		}
		if c.flags&channelProcess != 0 {
			c.processAge = r.age()
		}
		if c.flags&channelTesting != 0 {
			c.testAge = r.age()
		}
		s.channels = append(s.channels, c)
	}
	return s
}

func (r *reader) vote() Vote {
	v := Vote{Channel: r.text(), Reason: VoteReason(r.num(uint64(VoteTest)))}
	v.Last = r.num(1) == 1
	v.Since = before(r.age())
	v.Quality = tag.Quality(r.num(1<<32 - 1))
	if !v.Quality.Valid() || v.Reason == 0 {
		r.wrong("a vote is none")
	}
	v.Value = r.value()
	return v
}
