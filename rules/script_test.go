package rules

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"davy/drivers/tag"
)

// A script is a table of steps, one a line:
//
//	10s  a=160 b=bad  ack:hi  reset:L!not-tripped  ?L=armed   => raised hi#1; tripped L#1 first=a votes=a
//
// Tokens: tag=value, tag=quality or tag=quality:value (test, fc, forced, last,
// unc, bad, stale); ack:rule and reset:rule, with :n another occurrence than
// the present one and !code an expected refusal; ?rule=state; restart:d and
// handover take a snapshot into a new engine (a restart forgets the image).
// Behind => stand all events of the line, in order; an event that is not of
// the line's own time carries @time.
type rig struct {
	t    testing.TB
	set  Set
	e    *Engine
	img  *Image
	out  Outcome
	now  time.Duration
	line string

	records bool // the events InterlockRecorded stand in the script
}

const (
	rigBase = int64(5 * time.Second) // Mono of a script's 0s
	rigWall = int64(1_700_000_000_000_000_000)
)

func rigStamp(d time.Duration) tag.Stamp {
	return tag.Stamp{Wall: rigWall + int64(d), Mono: rigBase + int64(d)}
}

// tagsOf makes the tags of a set from names; a name with :ttl has one.
func tagsOf(names ...string) []Tag {
	tags := []Tag{{}}
	for _, n := range names {
		name, ttl, _ := strings.Cut(n, ":")
		d, _ := time.ParseDuration(ttl)
		tags = append(tags, Tag{Name: tag.Name(name), TTL: d})
	}
	return tags
}

func newRig(t testing.TB, set Set) *rig {
	t.Helper()
	e, err := New(set)
	if err != nil {
		t.Fatal(err)
	}
	return &rig{t: t, set: set, e: e, img: NewImage(set)}
}

func play(t testing.TB, set Set, script string) *rig {
	t.Helper()
	r := newRig(t, set)
	r.play(script)
	return r
}

func (r *rig) play(script string) {
	r.t.Helper()
	for line := range strings.Lines(script) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		r.line = line
		r.one(line)
	}
}

func (r *rig) fatal(format string, args ...any) {
	r.t.Helper()
	r.t.Fatalf("%s\n\t%s", r.line, fmt.Sprintf(format, args...))
}

func (r *rig) one(line string) {
	r.t.Helper()
	do, want, _ := strings.Cut(line, "=>")
	fields := strings.Fields(do)
	at, err := time.ParseDuration(fields[0])
	if err != nil {
		r.fatal("%v", err)
	}
	r.now = at
	var later []string
	for _, f := range fields[1:] {
		switch k, v, _ := strings.Cut(f, ":"); {
		case k == "restart" || k == "handover":
			r.replace(k, v)
		case strings.HasPrefix(f, "?") || k == "ack" || k == "reset" || pointVerbs[k] != 0 || alarmVerbs[k] != 0 || isBypass(k):
			later = append(later, f)
		default:
			r.put(f)
		}
	}
	in := Input{Now: rigStamp(at)}
	r.img.Age(in.Now)
	in.Image = r.img.Readings()
	Step(r.e, r.img, in.Now, &r.out)
	got := r.events()
	for _, f := range later {
		if strings.HasPrefix(f, "?") {
			r.check(f[1:])
		} else {
			in.Changed = nil
			got = append(got, r.do(&in, f)...)
		}
	}
	var all []string
	for w := range strings.SplitSeq(want, ";") {
		if w = strings.Join(strings.Fields(w), " "); w != "" {
			all = append(all, w)
		}
	}
	if !slices.Equal(got, all) {
		r.fatal("got  %s\n\twant %s", strings.Join(got, "; "), strings.Join(all, "; "))
	}
}

func (r *rig) put(f string) {
	r.t.Helper()
	name, v, _ := strings.Cut(f, "=")
	id := slices.IndexFunc(r.set.Tags, func(t Tag) bool { return string(t.Name) == name })
	if id < 1 {
		r.fatal("no tag %q", name)
	}
	x := tag.Reading{Tag: tag.ID(id), Quality: tag.GoodQuality, Received: rigStamp(r.now)}
	word, value, both := strings.Cut(v, ":")
	q, isWord := map[string]tag.Quality{
		"bad": tag.BadNoComm, "stale": tag.BadStale, "sensor": tag.BadSensor,
		"test":   tag.GoodQuality | tag.Test,
		"fc":     tag.MakeQuality(tag.Bad, tag.FunctionCheck, 0),
		"forced": tag.GoodQuality | tag.Forced,
		"last":   tag.MakeQuality(tag.Uncertain, tag.LastUsable, 0),
		"unc":    tag.MakeQuality(tag.Uncertain, tag.UncertainPlain, 0),
		"warm":   tag.MakeQuality(tag.Uncertain, tag.Initial, 0),
		"over":   tag.GoodQuality | tag.LimitHigh,
		"above":  tag.BadRange | tag.LimitHigh,
	}[word]
	switch {
	case isWord && both:
		x.Quality, v = q, value
	case isWord:
		x.Quality, v = q, ""
	}
	if v == "" {
		x.Value = r.img.Readings()[id].Value
	} else {
		n, err := strconv.ParseFloat(v, 64)
		if err != nil {
			r.fatal("%v", err)
		}
		x.Value, _ = tag.Float64Value(n)
	}
	r.img.Put(x)
}

// replace puts a new engine in the place of the old one.
func (r *rig) replace(how, down string) {
	r.t.Helper()
	d, err := time.ParseDuration(down)
	if how == "handover" {
		d, err = 0, nil
	}
	if err != nil {
		r.fatal("%v", err)
	}
	b := r.e.Snapshot(nil, rigStamp(r.now-max(d, 0)))
	if r.e, err = New(r.set); err != nil {
		r.fatal("%v", err)
	}
	if err = r.e.Restore(b, d); err != nil {
		r.fatal("%v", err)
	}
	if again := r.e.Snapshot(nil, rigStamp(r.now)); d <= 0 && string(again) != string(b) && how == "handover" {
		r.fatal("a snapshot of a restored engine is another:\n%q\n%q", b, again)
	}
	if how == "restart" {
		r.img = NewImage(r.set)
	}
}

func (r *rig) do(in *Input, f string) []string {
	r.t.Helper()
	f, code, _ := strings.Cut(f, "!")
	part := strings.Split(f, ":")
	if isBypass(part[0]) {
		return r.doBypass(in, part, code)
	}
	if pointVerbs[part[0]] != 0 {
		return r.doPoint(part, code)
	}
	if alarmVerbs[part[0]] != 0 {
		return r.doAlarm(in, part, code)
	}
	c := Command{Verb: Ack, Rule: part[1], Who: "li", Proved: true, Note: "n"}
	if part[0] == "reset" {
		c.Verb = Reset
	}
	if a, ok := r.e.Alarm(c.Rule); ok {
		c.Occurrence = a.Occurrence
	} else if l, ok := r.e.Interlock(c.Rule, in.Now); ok {
		c.Occurrence = l.Occurrence
	}
	if len(part) > 2 {
		c.Occurrence, _ = strconv.ParseUint(part[2], 10, 64)
	}
	err := r.e.Do(in, c, &r.out)
	var refused *RefusedError
	switch {
	case err == nil && code == "":
		v := r.out.Events[len(r.out.Events)-1]
		if len(r.out.Events) > 0 && (r.out.Events[0].Who != "li" || !r.out.Events[0].Proved || r.out.Events[0].Note != "n") {
			r.fatal("%s: the event does not say who: %+v", f, v)
		}
	case !errors.As(err, &refused) || refused.Code != code || refused.Rule != c.Rule:
		r.fatal("%s: got %v, want refusal %q", f, err, code)
	case len(r.out.Events) > 0:
		r.fatal("%s: refused with events", f)
	}
	return r.events()
}

func (r *rig) events() []string {
	r.t.Helper()
	var all []string
	last := int64(-1 << 62)
	for i, v := range r.out.Events {
		if v.At.Mono < last {
			r.fatal("event of the past: %+v", v)
		}
		last = v.At.Mono
		if v.At.Wall-v.At.Mono != rigWall-rigBase {
			r.fatal("the clocks of %+v do not fit", v)
		}
		if v.Kind == InterlockRecorded && !r.records {
			continue
		}
		if !r.ofTrip(i) {
			all = append(all, r.event(&v))
		}
	}
	return all
}

func (r *rig) event(v *Event) string {
	s := fmt.Sprintf("%s#%d", v.Rule, v.Occurrence)
	switch v.Kind {
	case AlarmRaised:
		s = "raised " + s + raisedHow(v)
	case AlarmReturned:
		s = "returned " + s + raisedHow(v)
	case AlarmAcked:
		s = "acked " + s
	case AlarmReset:
		s = "unlatched " + s
	case InterlockArmed:
		s = "armed " + v.Rule
	case InterlockTripped:
		s = "tripped " + s
		if v.FirstOut != "" {
			s += " first=" + v.FirstOut
		}
		if len(v.Votes) > 0 {
			s += " votes=" + votesText(v.Votes)
		}
	case InterlockReset:
		s = "reset " + s
	case InterlockDegraded:
		s = "degraded " + v.Rule + " " + votesText(v.Votes)
	case InterlockRestored:
		s = "restored " + v.Rule
	case OutputDemanded:
		s = "demand " + v.Output + " by " + v.Rule
	case OutputReleased:
		s = "release " + v.Output + " by " + v.Rule
	case InterlockTrippedAtStart:
		s = "tripped-at-start " + s
	case AlarmShelved, AlarmUnshelved, AlarmSuppressed, AlarmUnsuppressed, AlarmRemoved, AlarmRestored, AlarmRealarmed, SoundSilenced:
		s = lifeEvent(v, s)
	default:
		var ok bool
		if s, ok = lockEventText(v); !ok {
			s = pointEvent(v)
		}
	}
	if d := time.Duration(v.At.Mono - rigBase); d != r.now {
		s += "@" + d.String()
	}
	return s
}

func votesText(votes []Vote) string {
	var all []string
	for i, v := range votes {
		s := v.Channel
		switch v.Reason {
		case VoteBad:
			s += "!bad"
		case VoteTest:
			s += "!test"
		case VoteBypassed:
			s += "!bypassed"
		}
		if v.Last && i != len(votes)-1 {
			s += "!last"
		}
		all = append(all, s)
	}
	return strings.Join(all, ",")
}

var stateWords = map[AlarmState]string{
	Normal: "normal", Unacked: "unacked", Acked: "acked", ReturnedUnacked: "returned", LatchedUnacked: "latched", LatchedAcked: "latched-acked",
}

func (r *rig) check(f string) {
	r.t.Helper()
	name, want, _ := strings.Cut(f, "=")
	got := "?"
	if life, ok := strings.CutPrefix(name, "?"); ok {
		got = r.life(life)
	} else if a, ok := r.e.Alarm(name); ok {
		got = stateWords[a.State]
	} else if l, ok := r.e.Interlock(name, rigStamp(r.now)); ok {
		got = lockStateText(&l)
		if l.Degraded {
			got += ",degraded"
		}
		if l.ResetReady {
			got += ",ready"
		}
		if l.ResetIn > 0 {
			got += ",in" + l.ResetIn.String()
		}
	}
	if w, ok := r.point(name); ok {
		got = w
	}
	for i, d := range r.e.Demands(nil) {
		if r.set.Outputs[i].Name == name {
			got = "off"
			if d.Protective {
				got = "on,by-" + d.By
			}
		}
	}
	if got != want {
		r.fatal("%s is %s, want %s", name, got, want)
	}
}
