package hj212

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"davy/agent/i18n"
	"davy/agent/ring"
	"davy/agent/uplink/feed"
	"davy/drivers/tag"
	"davy/rules"
)

// logInfo is the running log of a data logger, table B.10. The standard has no
// command of its own for alarms and interlocks; its log is text, and in UTF-8.
const logInfo = "i21001-Info"

// logged are the events that go into the log, with their words.
func logged(kind uint32) string {
	switch rules.Kind(kind) {
	case rules.AlarmRaised:
		return "alarm-raised"
	case rules.AlarmReturned:
		return "alarm-returned"
	case rules.InterlockTripped:
		return "tripped"
	case rules.InterlockTrippedAtStart:
		return "tripped-at-start"
	case rules.InterlockReset:
		return "reset"
	case rules.BypassBegan:
		return "bypass-began"
	case rules.BypassEnded:
		return "bypass-ended"
	case rules.BypassOverdue:
		return "bypass-overdue"
	case rules.ForceBegan:
		return "force-began"
	case rules.ForceEnded:
		return "force-ended"
	case rules.PointRemoved:
		return "point-removed"
	case rules.PointRestored:
		return "point-restored"
	case ring.GapRecorded:
		return "gap"
	}
	return ""
}

// logOf returns an event as an entry of the log; nil where it is left out.
func (d *Destination) logOf(r *feed.Record) *upload {
	e := r.Event
	word := logged(e.Kind)
	if d.o.Events == NoLog || word == "" {
		d.leaveOut("event "+strconv.FormatUint(uint64(e.Kind), 10), 1)
		return nil
	}
	args := i18n.Args{"rule": e.Rule, "tag": "", "value": "-", "unit": "", "stream": "", "count": 0}
	if r.Tag != nil {
		args["tag"], args["unit"] = r.Tag.Name, r.Tag.Unit
	}
	bad := e.Quality.Bad() && rules.Kind(e.Kind) != rules.ForceBegan // what a person puts in is no reading
	if e.Value.Kind() != tag.None && !bad {
		args["value"] = e.Value.String()
		if r.Tag != nil && r.Tag.NameOf(e.Value) != "" {
			args["value"], args["unit"] = r.Tag.NameOf(e.Value), ""
		}
	}
	if e.Gap != nil {
		args["stream"], args["count"] = e.Gap.Stream, e.Gap.Count
	}
	text := d.o.Lang.Text("hj212."+word, args)
	at := e.At.Wall
	if at < earliest {
		at = d.o.Now().Wall
		text += d.o.Lang.Text("hj212.no-clock", nil)
	}
	rest := []Group{{{logInfo, "//" + logText(text) + "//"}}}
	if k, ok := d.factorOf(r); ok {
		rest = append([]Group{{{"PolId", d.o.Factors[k].Code}}}, rest...)
	}
	u := d.uploadOf(cnLog, Group{{"DataTime", d.local(at)}}, rest)
	u.plain = d.o.Events == LogUnanswered
	return u
}

// logText makes a text fit between // and //: without the signs that end a
// text, a packet or a frame, and no longer than the standard allows.
func logText(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return ' '
		}
		return r
	}, s)
	for _, two := range []string{"//", "&&", "##"} {
		for strings.Contains(s, two) {
			s = strings.ReplaceAll(s, two, two[:1]+" "+two[1:])
		}
	}
	s = strings.Trim(s, "/ ")
	if len(s) > MaxLog {
		s = s[:MaxLog]
		for !utf8.ValidString(s) {
			s = s[:len(s)-1]
		}
	}
	return s
}
