package rules

import (
	"slices"

	"davy/drivers/tag"
)

// tried reports whether a reading of that quality is one of a test or of a person's making.
func tried(q tag.Quality) bool { return inTest(q) || q&tag.Forced != 0 }

// ofTest reports whether an event is one of a test: by the reading that was
// judged, by a vote, or because its interlock, or one that demands its output,
// is drilled or stands tripped by a vote of a test.
func (e *Engine) ofTest(v *Event) bool {
	if tried(v.Quality) || triedVote(v.Votes) || e.triedLock(v.Rule) {
		return true
	}
	owner := e.ownerOf(v.Rule)
	return owner != "" && (e.triedLock(owner) || e.triedOutput(owner))
}

func triedVote(votes []Vote) bool {
	return slices.ContainsFunc(votes, func(v Vote) bool { return tried(v.Quality) })
}

// drilled reports whether a rule is an interlock that is being tested.
func (e *Engine) drilled(rule string) bool {
	i, ok := e.points.names[rule]
	return ok && i >= e.points.devices && e.points.all[i].tested
}

// triedLock reports whether a rule is an interlock that is drilled, or that
// stands tripped by a vote of a test.
func (e *Engine) triedLock(rule string) bool {
	f, ok := e.named(rule)
	return ok && f.kind() == refInterlock && (e.drilled(rule) || triedVote(e.interlocks[f.index()].votes))
}

// ownerOf names the interlock or output that an automatic alarm is about; "" for
// another rule.
func (e *Engine) ownerOf(rule string) string {
	f, ok := e.named(rule)
	if n := len(e.set.Alarms); ok && f.kind() == refAlarm && f.index() >= n {
		return e.own[f.index()-n].owner
	}
	return ""
}

// triedOutput reports whether an output is demanded by such an interlock.
func (e *Engine) triedOutput(output string) bool {
	for o := range e.outputs {
		if e.outputs[o].name != output {
			continue
		}
		for _, d := range e.outputs[o].demands {
			if m := &e.demands[d]; m.active && e.triedLock(e.interlocks[m.lock].name) {
				return true
			}
		}
	}
	return false
}
