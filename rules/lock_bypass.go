package rules

import (
	"time"

	"davy/drivers/tag"
)

// bypassState says what there is of a bypass. Numbers are in snapshots: append only.
type bypassState uint8

const (
	bypassNone    bypassState = iota
	bypassWaiting             // for the second person
	bypassOn
	bypassOverdue // its time is over and it stays
	bypassLate    // none any more: the second person did not come in time
)

// bypass is the one that an interlock can have at a time. One that only waits
// changes nothing; its end, as that of a true one, is BypassEnded.
type bypass struct {
	state     bypassState
	channel   int // of the interlock; -1: a restored one that the set does not have
	name      string
	who       string
	second    string
	note      string
	session   string // of who, until the second has confirmed
	length    int64  // for how long it was asked
	ends      int64  // Mono at which it ends, or at which the second is too late
	reminded  bool
	void      bool // restored, and not allowed any more: it ends with the first look
	alarm     int  // "<name>.bypass-overdue"; -1 none
	permitted Permit
}

func (b *bypass) counts() bool { return b.state == bypassOn || b.state == bypassOverdue }

// open: there is one, or one is asked for.
func (b *bypass) open() bool { return b.counts() || b.state == bypassWaiting }

// bypassed returns the channel that is out of the vote by a bypass; -1 none.
func (l *interlock) bypassed() int {
	if l.bypass.counts() {
		return l.bypass.channel
	}
	return -1
}

// judgeBypass brings the bypass of an interlock to t, before its votes are counted.
func (e *Engine) judgeBypass(i int, t tag.Stamp) {
	l := &e.interlocks[i]
	b := &l.bypass
	switch {
	case !b.open():
	case b.void || l.broken > 0:
		e.endBypass(i, Event{At: t})
	case b.state == bypassOverdue:
	case t.Mono < b.ends:
		e.remind(i, t)
	case b.state == bypassWaiting:
		e.endBypass(i, Event{At: t})
		b.state = bypassLate
	case b.permitted.AlarmOnly:
		b.state = bypassOverdue
		e.timers.stop(e.lockTimer(i, bypassTimer))
		e.emit(e.bypassEvent(i, BypassOverdue, Event{At: t}))
	default:
		e.endBypass(i, Event{At: t})
	}
	if b.alarm >= 0 {
		e.drive(b.alarm, truthOf(b.state == bypassOverdue), t)
	}
}

// remind says once that four fifths of a bypass's time are over.
func (e *Engine) remind(i int, t tag.Stamp) {
	b := &e.interlocks[i].bypass
	next := b.ends
	if b.state == bypassOn && !b.reminded {
		if at, due := passed(b.ends, -b.length/5, t); due {
			b.reminded = true
			v := e.bypassEvent(i, BypassReminded, Event{At: t})
			v.For = time.Duration(b.ends - t.Mono)
			e.emit(v)
		} else {
			next = at
		}
	}
	e.timers.set(e.lockTimer(i, bypassTimer), next)
}

// beginBypass takes the channel that was asked for out of the vote; v says
// when, and who.
func (e *Engine) beginBypass(i int, v Event) {
	b := &e.interlocks[i].bypass
	b.state, b.session, b.reminded = bypassOn, "", false
	b.ends = v.At.Mono + b.length
	v = e.bypassEvent(i, BypassBegan, v)
	v.Who, v.Second, v.Note, v.For = b.who, b.second, b.note, time.Duration(b.length)
	e.emit(v)
	e.mark(i)
}

// endBypass ends a bypass, or withdraws one that waits. The name of its
// channel stays, for who is too late to confirm it.
func (e *Engine) endBypass(i int, v Event) {
	b := &e.interlocks[i].bypass
	e.emit(e.bypassEvent(i, BypassEnded, v))
	*b = bypass{channel: b.channel, name: b.name, alarm: b.alarm, permitted: b.permitted}
	e.timers.stop(e.lockTimer(i, bypassTimer))
	e.mark(i)
}

// bypassEvent makes an event of a bypass; each is something that must survive.
func (e *Engine) bypassEvent(i int, k Kind, v Event) Event {
	l := &e.interlocks[i]
	v.Kind, v.Rule, v.Occurrence, v.Priority, v.Channel = k, l.name, l.occurrence, l.priority, l.bypass.name
	if at := l.bypass.channel; at >= 0 {
		c := &e.channels[l.first+at]
		v.Tag, v.Value, v.Quality, v.Limit = c.tag, c.value, c.quality, c.limit
	}
	e.durable = true
	return v
}

// anchorBypass moves what Restore brought to the clock of this run.
func (l *interlock) anchorBypass(now tag.Stamp) {
	if l.bypass.open() {
		l.bypass.ends += now.Mono
	}
}
