package operate

import (
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"time"

	"davy/agent/config"
	"davy/agent/i18n"
	"davy/agent/ring"
	"davy/drivers/tag"
	"davy/rules"
)

// Names tells what a plan says of a tag, nil where there is none; a nil Names
// knows none.
type Names func(tag.ID) *config.Tag

// of returns name and unit of a tag.
func (n Names) of(id tag.ID) (string, string) {
	if n == nil || id == 0 {
		return "", ""
	}
	t := n(id)
	if t == nil {
		return "", ""
	}
	return string(t.Name), t.Unit
}

// value returns what a value of a tag is called, "" where it has no name.
func (n Names) value(id tag.ID, v tag.Value) string {
	if n == nil || id == 0 {
		return ""
	}
	if t := n(id); t != nil {
		return nameOf(t.Names, v)
	}
	return ""
}

// nameOf looks up the name of a value that is a code; an amount has none.
func nameOf(names []config.Name, v tag.Value) string {
	switch v.Kind() {
	case tag.Bool, tag.Int, tag.Enum, tag.Text:
		if i := slices.IndexFunc(names, func(n config.Name) bool { return n.Code == v.Int() }); i >= 0 {
			return names[i].Name
		}
	}
	return ""
}

// Wall is a stamp's wall time in UTC; the zero Stamp is the zero time, and so is
// one before 1970: what was restored has an age and no time before the first turn.
func Wall(s tag.Stamp) time.Time {
	if s.Wall <= 0 {
		return time.Time{}
	}
	return time.Unix(0, s.Wall).UTC()
}

// number is a value as JSON has it: nil for none, and for what is no number.
func number(v tag.Value) *float64 {
	if v.Kind() == tag.None || v.Kind() == tag.Text {
		return nil
	}
	f := v.Float()
	if v.Kind() == tag.Float32 { // 21.3, not 21.299999237060547
		var short float64
		if _, err := fmt.Sscan(v.String(), &short); err == nil {
			f = short
		}
	}
	return &f
}

func finite(f float64) *float64 {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil
	}
	return &f
}

// PriorityOf converts a priority of the rules.
func PriorityOf(p rules.Priority) Priority {
	switch p {
	case rules.Low:
		return Low
	case rules.Medium:
		return Medium
	case rules.High:
		return High
	case rules.Critical:
		return Critical
	}
	return ""
}

// AlarmStateOf converts a state of an alarm; "" for one that is not known here.
func AlarmStateOf(s rules.AlarmState) AlarmState {
	states := [...]AlarmState{
		rules.Normal: Normal, rules.Unacked: Unacked, rules.Acked: Acked, rules.ReturnedUnacked: ReturnedUnacked,
		rules.LatchedUnacked: LatchedUnacked, rules.LatchedAcked: LatchedAcked, rules.Shelved: Shelved, rules.Suppressed: Suppressed,
		rules.OutOfService: OutOfService,
	}
	if int(s) >= len(states) {
		return ""
	}
	return states[s]
}

// InterlockStateOf converts a state of an interlock; "" for one that is not known here.
func InterlockStateOf(s rules.InterlockState) InterlockState {
	states := [...]InterlockState{rules.Starting: Starting, rules.Armed: Armed, rules.Tripped: Tripped, rules.Unarmed: Unarmed}
	if int(s) >= len(states) {
		return ""
	}
	return states[s]
}

// SortName names what an alarm is about, "" for a sort that is not known here.
func SortName(s rules.Sort) string {
	sorts := [...]string{
		rules.OfLimit: "limit", rules.OfRate: "rate", rules.OfDeviation: "deviation", rules.OfState: "state", rules.OfFreeze: "freeze",
		rules.OfWatch: "watch", rules.OfInstrument: "instrument",
	}
	if int(s) >= len(sorts) {
		return ""
	}
	return sorts[s]
}

// AlarmOf converts an alarm of the engine.
func AlarmOf(a *rules.AlarmView, names Names) Alarm {
	v := Alarm{
		Name: a.Name, Text: TextOf(a.Text), State: AlarmStateOf(a.State), Priority: PriorityOf(a.Priority),
		Occurrence: a.Occurrence, Raised: Wall(a.Raised), Value: number(a.Value), NotWatched: a.NotWatched, Agent: a.Agent,
		Sort: SortName(a.Sort), Of: a.Of, Standing: a.Standing, Sounds: a.Sounds, First: a.First, Group: a.Group, Left: max(a.Left, 0).Seconds(),
		Who: a.Who, Note: a.Note, Under: a.Under, InTest: a.InTest, Mode: a.Mode, Test: a.Test,
	}
	if a.Guide != (rules.Text{}) {
		guide := TextOf(a.Guide)
		v.Guide = &guide
	}
	v.Tag, v.Unit = names.of(a.Tag)
	v.ValueName = names.value(a.Tag, a.Value)
	if a.Agent || a.NotWatched {
		v.Tag, v.Unit, v.Value, v.ValueName = "", "", nil, ""
		if a.NotWatched {
			v.Tag, _ = names.of(a.Tag)
		}
	} else {
		v.Limit = finite(a.Limit)
	}
	return v
}

// InterlockOf converts an interlock of the engine.
func InterlockOf(i *rules.InterlockView) Interlock {
	return Interlock{
		Name: i.Name, Text: TextOf(i.Text), State: InterlockStateOf(i.State), Degraded: i.Degraded, Occurrence: i.Occurrence,
		TrippedAt: Wall(i.TrippedAt), FirstOut: i.FirstOut, Votes: votesOf(i.Votes),
		ResetReady: i.ResetReady, ResetIn: i.ResetIn.Seconds(),
		Bypass: bypassOf(i.Bypass), Test: i.Test, Missing: i.Missing, OutOfService: i.OutOfService,
		NotPermitted: permissivesOf(i.NotPermitted),
	}
}

func permissivesOf(list []rules.PermissiveView) []Permissive {
	var out []Permissive
	for _, p := range list {
		out = append(out, Permissive(p))
	}
	return out
}

func votesOf(votes []rules.Vote) []Vote {
	var out []Vote
	for i := range votes {
		v := &votes[i]
		reason := VoteProcess
		switch v.Reason {
		case rules.VoteBad:
			reason = VoteBad
		case rules.VoteTest:
			reason = VoteTest
		case rules.VoteBypassed:
			reason = VoteBypassed
		}
		quality := [...]string{tag.Bad: "bad", tag.Uncertain: "uncertain", tag.Good: "good", 3: "bad"}[v.Quality.Status()]
		out = append(out, Vote{Channel: v.Channel, Reason: reason, Since: Wall(v.Since), Quality: quality, Value: number(v.Value), Last: v.Last})
	}
	return out
}

// KindName names a kind of event, stable, for JSON and for the words
// ("operate.event.<name>"); "kind-N" if it is not known here.
func KindName(k rules.Kind) string { return ring.KindName(k) }

// EventOf converts an event.
func EventOf(e *ring.Event, names Names) Event {
	v := Event{
		Serial: e.Serial, Kind: KindName(e.Kind), At: Wall(e.At), Rule: e.Rule, Occurrence: e.Occurrence,
		Priority: PriorityOf(e.Priority), Value: number(e.Value), FirstOut: e.FirstOut, Votes: votesOf(e.Votes),
		Output: e.Output, Note: e.Note,
		Test: e.Test, First: e.First, Channel: e.Channel, Second: e.Second, For: max(e.For, 0).Seconds(), Result: ResultName(e.Result),
		Samples: max(e.Samples, uint32(len(e.Record))), Old: e.Old, New: e.New,
	}
	if e.Hidden != rules.Normal {
		v.Hidden = AlarmStateOf(e.Hidden)
	}
	v.Tag, v.Unit = names.of(e.Tag)
	if e.Kind == ring.DeviceEvent { // its value is a severity, and none of its tag
		v.Unit = ""
	} else {
		v.ValueName = names.value(e.Tag, e.Value)
	}
	if e.Kind == rules.AlarmRaised && e.Value.Kind() != tag.None {
		v.Limit = finite(e.Limit)
	}
	if e.Who != "" {
		v.Who = &Who{Name: e.Who, Proved: e.Proved}
	}
	return v
}

// KeeperOf converts what a ring.Writer knows of its keeper.
func KeeperOf(w *ring.Writer) Keeper {
	s, _, ok := w.Status()
	k := Keeper{State: KeeperAbsent}
	k.Readings, k.Events = w.Waiting()
	if !ok {
		return k
	}
	k.State = KeeperOpening
	if s.Epoch != [16]byte{} {
		k.State, k.Epoch = KeeperRunning, hex.EncodeToString(s.Epoch[:])
	}
	k.Bytes, k.MaxBytes, k.Conditions = s.Bytes, s.MaxBytes, slices.Clone(s.Conditions)
	for _, h := range s.Heads {
		k.Heads = append(k.Heads, Head(h))
		k.Backlog += h.Backlog
	}
	for _, u := range s.Uplinks {
		k.Uplinks = append(k.Uplinks, Uplink{
			Name: u.Name, Connected: u.Connected, LastReceipt: Wall(u.LastReceipt), Backlog: u.Backlog, Error: u.Error, Cause: u.Cause, Unproved: u.Unproved, Witness: witnessOf(&u.Witness),
		})
	}
	return k
}

func witnessOf(w *ring.Witness) *Witness {
	if !w.Asked {
		return nil
	}
	v := &Witness{Records: w.Records, Blocks: w.Blocks, Refused: w.Refused}
	if w.Wall != 0 {
		v.At = time.Unix(0, w.Wall).UTC()
		if w.Oldest != 0 {
			v.Upto = time.Unix(0, w.Oldest).UTC()
		}
	}
	return v
}

// OneLine makes of what a device says one line that moves no cursor.
func OneLine(s string) string { return i18n.Plain(s) }
