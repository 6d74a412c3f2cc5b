package ruletest

import (
	"slices"
	"strings"

	"davy/drivers/tag"
	"davy/rules"
)

// The words that a story may expect. Their Chinese stands in agent/i18n under
// "story.<word>", as does their English meaning. A want is a state and after it
// any number of marks.
var (
	alarmWords = [...]string{
		rules.Normal: "normal", rules.Unacked: "unacked", rules.Acked: "acked", rules.ReturnedUnacked: "returned",
		rules.LatchedUnacked: "latched", rules.LatchedAcked: "latched-acked",
		rules.Shelved: "shelved", rules.Suppressed: "suppressed", rules.OutOfService: "out-of-service",
	}
	alarmMarks = [...]string{soundsMark, silentMark, standingMark, firstMark, testMark}
	lockWords  = [...]string{rules.Starting: "starting", rules.Armed: "armed", rules.Tripped: "tripped", rules.Unarmed: "unarmed"}
	lockMarks  = [...]string{degradedMark, bypassedMark, askedMark, overdueMark, testMark}
	qualities  = [...]string{"good", "bad", "uncertain", "stale", "sensor", "test", "forced", "warm-up", "over-range", "under-range"}
)

// The marks.
const (
	soundsMark   = "sounds"   // of an alarm: it is heard
	silentMark   = "silent"   // it is not
	standingMark = "standing" // under shelved, suppressed, out-of-service
	firstMark    = "first"    // of its group
	testMark     = "test"
	degradedMark = "degraded" // of an interlock
	bypassedMark = "bypassed"
	askedMark    = "asked"   // a bypass that waits for its second person
	overdueMark  = "overdue" // a bypass whose time is over and that stays
)

// The endings and names of keys that are no rule.
const (
	firstOutKey  = "first_out"
	votesKey     = "votes"
	raisedSuffix = ".raised"
	nothing      = "none" // first_out and votes before any trip
)

// AlarmWords, LockWords and QualityWords return what a story may expect of an
// alarm, an interlock and a tag's quality.
func AlarmWords() (states, marks []string) { return alarmWords[:], alarmMarks[:] }

// LockWords is AlarmWords of an interlock.
func LockWords() (states, marks []string) { return lockWords[:], lockMarks[:] }

// QualityWords is AlarmWords of a tag's quality.
func QualityWords() []string { return qualities[:] }

// IsWant reports whether want is a state and marks, each once.
func IsWant(want string, states, marks []string) bool {
	w := strings.Fields(want)
	if len(w) == 0 || !slices.Contains(states, w[0]) {
		return false
	}
	for i, m := range w[1:] {
		if !slices.Contains(marks, m) || slices.Contains(w[1:1+i], m) {
			return false
		}
	}
	return true
}

// AtRest reports whether want is what a key says that nothing has touched: a
// normal alarm, an interlock that has not looked yet, no trip.
func AtRest(want string) bool {
	switch want {
	case alarmWords[rules.Normal], lockWords[rules.Starting], nothing, "0":
		return true
	}
	return false
}

// alarmWord returns the state of an alarm and the marks that it has.
func alarmWord(a *rules.AlarmView) (state string, marks []string) {
	for _, m := range []struct {
		is   bool
		word string
	}{{a.Sounds, soundsMark}, {!a.Sounds, silentMark}, {a.Standing, standingMark}, {a.First, firstMark}, {a.Test, testMark}} {
		if m.is {
			marks = append(marks, m.word)
		}
	}
	return alarmWords[a.State], marks
}

// alarmHolds: the marks that are wanted are there; others do not matter.
// "latched" is both latched states.
func alarmHolds(want string, state string, marks []string) bool {
	w := strings.Fields(want)
	if w[0] != state && (w[0] != alarmWords[rules.LatchedUnacked] || state != alarmWords[rules.LatchedAcked]) {
		return false
	}
	return !slices.ContainsFunc(w[1:], func(m string) bool { return !slices.Contains(marks, m) })
}

// lockWord returns the state of an interlock and the marks that it has.
func lockWord(l *rules.InterlockView) (state string, marks []string) {
	b := l.Bypass
	for _, m := range []struct {
		is   bool
		word string
	}{
		{l.Degraded, degradedMark},
		{b != nil && !b.Waiting, bypassedMark},
		{b != nil && b.Waiting, askedMark},
		{b != nil && b.Overdue, overdueMark},
		{l.Test, testMark},
	} {
		if m.is {
			marks = append(marks, m.word)
		}
	}
	return lockWords[l.State], marks
}

// lockHolds: a trip is a trip, with all channels or without one, so "tripped"
// is also "tripped degraded". Else a vote that has lost a channel is another
// one: degraded and bypassed must be said, where bypassed says degraded too.
func lockHolds(want string, state string, marks []string) bool {
	w := strings.Fields(want)
	if w[0] != state || slices.ContainsFunc(w[1:], func(m string) bool { return !slices.Contains(marks, m) }) {
		return false
	}
	said := func(m string) bool { return slices.Contains(w[1:], m) }
	for _, m := range marks {
		switch {
		case state == lockWords[rules.Tripped], said(m):
		case m == bypassedMark, m == degradedMark && !said(bypassedMark):
			return false
		}
	}
	return true
}

// qualityHolds: "" is any that is not bad, and "bad" any bad one.
func qualityHolds(want string, q tag.Quality) bool {
	switch want {
	case "":
		return !q.Bad()
	case "good":
		return q.Good() && q&(tag.Forced|tag.Test) == 0
	case "bad":
		return q.Bad()
	case "uncertain":
		return q.Status() == tag.Uncertain
	case "stale":
		return q.Reason() == tag.Stale
	case "sensor":
		return q.Reason() == tag.SensorFault
	case "test":
		return inTest(q)
	case "forced":
		return q&tag.Forced != 0
	case "warm-up":
		return q.Reason() == tag.Initial
	case "over-range":
		return q.OverRange()
	case "under-range":
		return q.Reason() == tag.OutOfRange && q&tag.Constant == tag.LimitLow
	}
	return false
}

func inTest(q tag.Quality) bool { return q&tag.Test != 0 || q.Reason() == tag.FunctionCheck }

// qualityWord names a quality in the most telling of the words.
func qualityWord(q tag.Quality) string {
	for _, w := range []string{"forced", "test", "stale", "sensor", "over-range", "under-range", "warm-up", "bad", "uncertain"} {
		if qualityHolds(w, q) {
			return w
		}
	}
	return qualities[0]
}
