package rules

import "davy/drivers/tag"

// What a detector says of itself, and what that is to its alarms: above its range
// (Tag.OverRange, Alarm.LatchOver), warming up and in test (Alarm.Except and Only). A value of a device that warms up is no value (tag.Quality.Usable):
// nothing is raised by it and nothing returns.

// aboveRange is what an alarm has to do with readings above the range.
type aboveRange uint8

const (
	ofDetector   aboveRange = 1 << iota // Tag.OverRange
	latchesAbove                        // Alarm.LatchOver
	sawAbove                            // there was one, and the alarm is not raised yet
	raisedAbove                         // it was raised by one, or one came while it stood: it latches
)

// watch are Alarm.Only in the upper and Alarm.Except in the lower four bits.
type watch uint8

func watchOf(except, only DetectorState) watch { return watch(except&0xf | only<<4) }

// judges reports whether the alarm's condition can be judged by its last reading.
func (a *alarm) judges() bool {
	return a.op.judges(a.quality, a.value, a.above&ofDetector != 0)
}

// holds reports whether the last reading is beyond a limit.
func (a *alarm) holds(limit float64) bool {
	return a.op.measures(a.quality, a.value, limit, a.above&ofDetector != 0)
}

// latches reports whether the alarm stands after its return until it is reset.
func (a *alarm) latches() bool { return a.latch || a.above&raisedAbove != 0 }

// seeAbove takes a reading above the range.
func (e *Engine) seeAbove(a *alarm) {
	was, now := a.above, sawAbove
	if a.raised() {
		now = raisedAbove
	}
	a.above |= now
	e.durable = e.durable || a.above != was
}

// unwatched is the condition of an alarm that says that its tag is not watched.
func (a *alarm) unwatched() truth {
	state := watch(stateOf(a.quality))
	switch only := a.watch >> 4; {
	case a.quality.Usable() && a.value.Kind() != tag.None:
		return no
	case only != 0 && only&state == 0:
		return unknown
	case only == 0 && a.watch&state != 0 && a.raised():
		return unknown
	case only == 0 && a.watch&state != 0:
		return no
	}
	return yes
}

// standsIn returns the alarm that is named where one is suppressed by what by
// says: the one that it stands under, or the one that watches over its test; -1 none.
func (b *about) standsIn(by uint8) int32 {
	switch {
	case by&byUnder != 0:
		return b.under
	case by&byTest != 0:
		return b.testing
	}
	return -1
}

// alarmInTest reports whether an alarm is suppressed because its tag is in test: from
// a reading that says so until one that can be judged, or until the alarm that
// it takes too long is raised, or never will be, for it is isolated.
func (e *Engine) alarmInTest(i int) bool {
	a, b := &e.alarms[i], &e.about[i]
	return b.testing >= 0 && !e.alarms[b.testing].raised() && !e.alarms[b.testing].broken &&
		(a.quality.Reason() == tag.FunctionCheck || b.look().by&byTest != 0 && !a.judges())
}
