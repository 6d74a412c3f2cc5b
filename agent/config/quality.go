package config

import (
	"slices"
	"strings"

	"davy/drivers/tag"
)

// A stateWord is what a device may say of itself, or of a number that is no
// measurement, in one word of the site file.
type stateWord struct {
	word    string
	also    []string
	state   tag.Quality // where a state word says it
	invalid tag.Quality // where a raw number stands for it: there is no value then; 0: it cannot
}

func bad(r tag.Reason, flags tag.Quality) tag.Quality { return tag.MakeQuality(tag.Bad, r, flags) }

func doubt(r tag.Reason) tag.Quality { return tag.MakeQuality(tag.Uncertain, r, 0) }

// stateWords maps the words to qualities. A device that warms up may be believed
// with doubt; one that is calibrated, tested or inhibited does not measure the
// plant; above its range it is good and at least that much, below it is at fault.
// A number that stands for one of these is never a value: what would be in doubt
// is bad then.
var stateWords = []stateWord{
	{"good", []string{"ok", "normal", "run", "measuring"}, tag.GoodQuality, 0},
	{"maintenance", []string{"maintenance-required", "warning"}, tag.GoodQuality | tag.Maintenance, 0},
	{"local-override", nil, tag.MakeQuality(tag.Good, tag.LocalOverride, 0), 0},
	{"over-range", []string{"overrange"}, tag.GoodQuality | tag.LimitHigh, bad(tag.OutOfRange, tag.LimitHigh)},
	{"warm-up", []string{"warmup", "initial", "starting"}, doubt(tag.Initial), tag.BadSensor},
	{"not-accurate", nil, doubt(tag.NotAccurate), tag.BadSensor},
	{"substituted", []string{"substitute"}, doubt(tag.Substituted), tag.BadSensor},
	{"last-usable", nil, doubt(tag.LastUsable), tag.BadSensor},
	{"uncertain", nil, doubt(tag.UncertainPlain), tag.BadSensor},
	{"calibration", []string{"calibrating", "zero", "span"}, bad(tag.FunctionCheck, 0), bad(tag.FunctionCheck, 0)},
	{"bump-test", []string{"bump"}, bad(tag.FunctionCheck, 0), bad(tag.FunctionCheck, 0)},
	{"inhibited", []string{"inhibit"}, bad(tag.FunctionCheck, 0), bad(tag.FunctionCheck, 0)},
	{"simulated", []string{"simulation"}, bad(tag.FunctionCheck, tag.Test), bad(tag.FunctionCheck, tag.Test)},
	{"out-of-service", []string{"off", "disabled"}, bad(tag.OutOfService, 0), bad(tag.OutOfService, 0)},
	{"under-range", []string{"underrange"}, bad(tag.OutOfRange, tag.LimitLow), bad(tag.OutOfRange, tag.LimitLow)},
	{"no-communication", []string{"no-comm", "offline"}, tag.BadNoComm, tag.BadNoComm},
	{"fault", []string{"failure", "sensor-fault", "error"}, tag.BadSensor, tag.BadSensor},
	{"device-fault", nil, tag.BadDeviceFault, tag.BadDeviceFault},
}

// quality reads a word for a state.
func (c *compiler) quality(n *node) (stateWord, bool) {
	s, ok := c.plain(n)
	if !ok {
		return stateWord{}, false
	}
	names := make([]string, len(stateWords))
	for i, w := range stateWords {
		if w.word == s {
			return w, true
		}
		names[i] = w.word
	}
	if i := slices.IndexFunc(stateWords, func(w stateWord) bool { return slices.Contains(w.also, s) }); i >= 0 {
		c.bad(n, "bad-word", "did-you-mean", "text", s, "list", strings.Join(names, " | "), "want", stateWords[i].word)
		return stateWord{}, false
	}
	c.notOneOf(n, s, names)
	return stateWord{}, false
}
