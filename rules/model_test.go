package rules

import (
	"fmt"
	"slices"
	"time"

	"davy/drivers/tag"
)

// The model is the rules said naively: no timers, no lists of what moved;
// every second of time it looks at everything. Time is whole seconds.
type model struct {
	set     Set
	start   int
	now     int
	image   []tag.Reading
	alarms  []modelAlarm // the set's
	auto    map[string]*modelAlarm
	locks   []modelLock
	outputs []bool
	proofs  []modelProof
	events  []string
}

type modelAlarm struct {
	Alarm
	state    AlarmState
	occ      int
	stands   bool
	since    int
	clearing bool
	left     int
	wasClear bool
	last     int
}

// span is how long something has been so.
type span struct {
	is   bool
	from int
}

func (s *span) set(is bool, t int) {
	if is && !s.is {
		s.from = t
	}
	s.is = is
}

func (s *span) lasted(d time.Duration, t int) bool { return s.is && t-s.from >= int(d/time.Second) }

type modelChannel struct {
	read, over, clear   bool
	against             bool
	bad, test, process  span
	usable, policy, out bool
}

func (m *model) say(t int, format string, args ...any) {
	m.events = append(m.events, fmt.Sprintf("%4d ", t)+fmt.Sprintf(format, args...))
}

func (m *model) holds(c Condition, by float64) bool {
	v, l := m.image[c.Tag].Value.Float(), c.Limit
	switch c.Op {
	case GE:
		return v >= l-by
	case GT:
		return v > l-by
	case LE:
		return v <= l+by
	case LT:
		return v < l+by
	case EQ:
		return v == l
	}
	return v != l
}

func (m *model) alarm(a *modelAlarm, c truth, floor bool, t int) {
	switch raised := a.state == Unacked || a.state == Acked; {
	case raised && c == yes:
		a.clearing = false
	case raised && c == no:
		if !a.clearing {
			a.clearing, a.left = true, int(a.OffDelay/time.Second)
		} else if a.wasClear {
			a.left -= t - a.last
		}
		if a.left <= 0 {
			a.clearing = false
			a.state = map[AlarmState]AlarmState{Unacked: ReturnedUnacked, Acked: Normal}[a.state]
			if a.Latch {
				a.state = map[AlarmState]AlarmState{ReturnedUnacked: LatchedUnacked, Normal: LatchedAcked}[a.state]
			}
			m.say(t, "returned %s#%d", a.Name, a.occ)
		}
	case !raised:
		if c == yes && !a.stands {
			a.stands, a.since = true, t
		}
		if c == no {
			a.stands = false
		}
		if a.stands && t-a.since >= int(a.OnDelay/time.Second) && !floor {
			a.stands, a.state, a.clearing = false, Unacked, false
			a.occ++
			m.say(t, "raised %s#%d", a.Name, a.occ)
		}
	}
	a.wasClear, a.last = c == no, t
}

// instant looks at everything at t.
func (m *model) instant(t int) {
	m.now = t
	settled := t-m.start >= int(m.set.Settle/time.Second)
	for i := range m.alarms {
		a := &m.alarms[i]
		r := &m.image[a.Cond.Tag]
		c := unknown
		if a.NotWatched {
			c = truthOf(!usable(r))
		} else if usable(r) {
			db := 0.0
			if a.state == Unacked || a.state == Acked {
				db = a.Deadband
			}
			c = truthOf(m.holds(a.Cond, db))
		}
		m.alarm(a, c, r.Quality == tag.BadNeverRead && !settled, t)
	}
	for _, a := range m.auto { // a delay that ends now has ended, whatever else happens now
		if a.stands {
			m.alarm(a, yes, false, t)
		}
	}
	for i := range m.locks {
		l := &m.locks[i]
		if l.record.lasted(RecordAround, t) {
			l.record.is = false
			m.say(t, "recorded %s#%d", l.Name, l.occ)
		}
		m.lock(l, settled, t)
	}
	for o := range m.outputs {
		m.output(o, t)
	}
}

func (m *model) do(c Command, t int) string {
	for i := range m.locks {
		l := &m.locks[i]
		if l.Name != c.Rule {
			continue
		}
		switch {
		case c.Verb.ofBypass():
			return m.doBypass(l, c, t)
		case c.Verb == Ack:
			return "not-alarm"
		case c.Occurrence == 0 || int(c.Occurrence) != l.occ:
			return "wrong-occurrence"
		case l.state != Tripped:
			return "not-tripped"
		case l.standing:
			return "still-standing"
		case l.resets.is && !l.ready:
			return "reset-not-yet"
		case !l.ready:
			return "reset-not-met"
		}
		m.reset(l, t)
		m.instant(t)
		return ""
	}
	var a *modelAlarm
	for i := range m.alarms {
		if m.alarms[i].Name == c.Rule {
			a = &m.alarms[i]
		}
	}
	if a == nil {
		a = m.auto[c.Rule]
	}
	if a == nil {
		return "unknown-rule"
	}
	if c.Occurrence == 0 || int(c.Occurrence) != a.occ {
		return "wrong-occurrence"
	}
	var to map[AlarmState]AlarmState
	word, code := "acked", "already-acked"
	if c.Verb == Ack {
		to = map[AlarmState]AlarmState{Unacked: Acked, ReturnedUnacked: Normal, LatchedUnacked: LatchedAcked}
	} else {
		to = map[AlarmState]AlarmState{LatchedAcked: Normal}
		word = "unlatched"
		code = map[AlarmState]string{Unacked: "still-standing", Acked: "still-standing", LatchedUnacked: "not-acked", Normal: "not-tripped", ReturnedUnacked: "not-tripped"}[a.state]
	}
	next, ok := to[a.state]
	if !ok {
		return code
	}
	a.state = next
	m.say(t, "%s %s#%d", word, a.Name, a.occ)
	return ""
}

func (m *model) states() (all []string) {
	for i := range m.alarms {
		all = append(all, fmt.Sprintf("%s %d#%d", m.alarms[i].Name, m.alarms[i].state, m.alarms[i].occ))
	}
	for name, a := range m.auto {
		all = append(all, fmt.Sprintf("%s %d#%d", name, a.state, a.occ))
	}
	for i := range m.locks {
		l := &m.locks[i]
		s := fmt.Sprintf("%s %d#%d degraded=%v", l.Name, l.state, l.occ, l.degraded)
		if l.state == Tripped {
			s += fmt.Sprintf(" first=%s votes=%s ready=%v", l.firstOut, l.frozen, l.ready)
		}
		all = append(all, s+" "+l.more(m.now))
	}
	for o := range m.outputs {
		all = append(all, fmt.Sprintf("%s %v", m.set.Outputs[o].Name, m.outputs[o]))
	}
	slices.Sort(all)
	return all
}

// rig of the engine, in the model's words.
func engineStates(e *Engine, set Set, now tag.Stamp) (all []string) {
	for _, f := range e.names {
		name := e.name(f)
		if a, ok := e.Alarm(name); ok && name != Fault {
			all = append(all, fmt.Sprintf("%s %d#%d", name, a.State, a.Occurrence))
		}
	}
	for _, l := range e.Interlocks(nil, &Input{Now: now}) {
		s := fmt.Sprintf("%s %d#%d degraded=%v", l.Name, l.State, l.Occurrence, l.Degraded)
		if l.State == Tripped {
			s += fmt.Sprintf(" first=%s votes=%s ready=%v", l.FirstOut, votesText(l.Votes), l.ResetReady)
		}
		all = append(all, s+" "+lockStateText(&l))
	}
	for o, d := range e.Demands(nil) {
		all = append(all, fmt.Sprintf("%s %v", set.Outputs[o].Name, d.Protective))
	}
	slices.Sort(all)
	return all
}

func engineEvents(events []Event) (all []string, sorted bool) {
	sorted = true
	for i, v := range events {
		t := int((v.At.Mono - rigBase) / int64(time.Second))
		s := ""
		switch v.Kind {
		case AlarmRaised:
			s = fmt.Sprintf("raised %s#%d", v.Rule, v.Occurrence)
		case AlarmReturned:
			s = fmt.Sprintf("returned %s#%d", v.Rule, v.Occurrence)
		case AlarmAcked:
			s = fmt.Sprintf("acked %s#%d", v.Rule, v.Occurrence)
		case AlarmReset:
			s = fmt.Sprintf("unlatched %s#%d", v.Rule, v.Occurrence)
		case InterlockArmed:
			s = "armed " + v.Rule
		case InterlockTripped:
			s = fmt.Sprintf("tripped %s#%d first=%s votes=%s", v.Rule, v.Occurrence, v.FirstOut, votesText(v.Votes))
		case InterlockReset:
			s = fmt.Sprintf("reset %s#%d", v.Rule, v.Occurrence)
		case InterlockDegraded:
			s = fmt.Sprintf("degraded %s %s", v.Rule, v.Votes[0].Channel)
		case InterlockRestored:
			s = "restored " + v.Rule
		case OutputDemanded:
			s = "output " + v.Output + " true"
		case OutputReleased:
			s = "output " + v.Output + " false"
		case InterlockRecorded:
			s = fmt.Sprintf("recorded %s#%d", v.Rule, v.Occurrence)
		default:
			s, _ = lockEventText(&v)
		}
		all = append(all, fmt.Sprintf("%4d ", t)+s)
		sorted = sorted && (i == 0 || events[i-1].At.Mono <= v.At.Mono)
	}
	slices.Sort(all)
	return all, sorted
}
