package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"davy/agent/cli"
	"davy/agent/i18n"
	"davy/cmd/davy-receiver/store"
	"davy/rules"
)

// kinds are the names of events by their numbers, which are for ever. Words of
// those below 128 are the agent's own ("operate.event.<name>").
var kinds = map[uint32]string{
	1: "alarm-raised", 2: "alarm-returned", 3: "alarm-acked", 4: "alarm-reset", 5: "interlock-armed", 6: "interlock-tripped",
	7: "interlock-reset", 8: "interlock-degraded", 9: "interlock-restored", 10: "output-demanded", 11: "output-released",
	12: "interlock-tripped-at-start",
	13: "alarm-shelved", 14: "alarm-unshelved", 15: "alarm-suppressed", 16: "alarm-unsuppressed", 17: "alarm-removed", 18: "alarm-restored",
	19: "alarm-realarmed", 20: "sound-silenced", 21: "interlock-unarmed", 22: "bypass-asked", 23: "bypass-began", 24: "bypass-reminded",
	25: "bypass-ended", 26: "bypass-overdue", 27: "interlock-recorded", 28: "output-proved", 29: "output-escalated", 30: "point-removed",
	31: "point-restored", 32: "force-began", 33: "force-ended", 34: "test-began", 35: "test-ended",
	64: "agent-started", 65: "agent-stopped", 66: "plan-applied", 67: "outputs-armed", 68: "outputs-disarmed", 69: "command-refused",
	70: "latch-lost", 71: "output-unknown", 72: "clock-stepped", 73: "output-written", 74: "output-failed", deviceEvent: "device-event", 76: "person-refused", ruleChanged: "rule-changed",
	128: "epoch-started", 129: "tag-table", 130: "gap-recorded", 131: "receipt-refused", 132: "journal-damaged", 133: "clock-noted", 134: "uplink-withdrawn",
}

// Kinds of which a line says something else.
const (
	deviceEvent = 75 // its value is a severity, and none of its tag
	ruleChanged = 77 // its channel is a part of its rule
)

// maxLast is how many events `events` shows at most.
const maxLast = 1_000_000

// eventLine is one event as it was recorded, with the names that its tag table gives.
type eventLine struct {
	Gateway    string   `json:"gateway"`
	Epoch      string   `json:"epoch"`
	Number     uint64   `json:"number"`
	Kind       string   `json:"kind"` // "kind-N" of one that is not known here
	At         int64    `json:"at"`   // wall, ns
	Rule       string   `json:"rule,omitempty"`
	Occurrence uint64   `json:"occurrence,omitempty"`
	Priority   uint32   `json:"priority,omitempty"`
	Tag        string   `json:"tag,omitempty"`
	Value      string   `json:"value,omitempty"`
	ValueName  string   `json:"value_name,omitempty"`
	Unit       string   `json:"unit,omitempty"`
	Quality    uint32   `json:"quality,omitempty"`
	FirstOut   string   `json:"first_out,omitempty"`
	Votes      []string `json:"votes,omitempty"`
	Output     string   `json:"output,omitempty"`
	Who        string   `json:"who,omitempty"`
	WhoName    string   `json:"who_name,omitempty"` // of a proved person, where the authority asked for names
	Proved     bool     `json:"proved,omitempty"`
	Note       string   `json:"note,omitempty"`
	Test       bool     `json:"test,omitempty"`   // of a point that was forced, tested, drilled or disarmed: no true alarm
	Hidden     string   `json:"hidden,omitempty"` // why nobody was called: shelved, suppressed, out-of-service, "state-N"
	First      bool     `json:"first,omitempty"`  // of its group
	Channel    string   `json:"channel,omitempty"`
	Second     string   `json:"second,omitempty"`
	SecondName string   `json:"second_name,omitempty"`
	For        float64  `json:"for_s,omitempty"`
	Result     string   `json:"result,omitempty"`  // passed, failed, aborted, "result-N"
	Samples    uint32   `json:"samples,omitempty"` // of the frozen record
	Old        string   `json:"old,omitempty"`     // of a rule that was changed
	New        string   `json:"new,omitempty"`
	Record     []sample `json:"record,omitempty"` // fewer than samples: the rest was thinned or left out
}

// sample is one reading of a frozen record.
type sample struct {
	Tag     string `json:"tag"`
	At      int64  `json:"at"` // wall, ns
	Value   string `json:"value,omitempty"`
	Unit    string `json:"unit,omitempty"`
	Quality uint32 `json:"quality"`
}

// events lists what was recorded, the oldest first, of each gateway the last N.
func events(ctx context.Context, c *cli.Call) error {
	last, err := strconv.Atoi(c.Flag("last"))
	if err != nil || last < 1 || last > maxLast {
		return cli.Usage("davy-receiver.bad-last", i18n.Args{"value": c.Flag("last"), "limit": maxLast})
	}
	st, about, err := asked(ctx, c)
	if err != nil {
		return err
	}
	defer func() { _ = st.Close() }()
	list := []eventLine{}
	for _, g := range about {
		var own []eventLine
		err := st.Events(ctx, g.ID, nil, func(e *store.Event) error {
			if len(own) == 2*last { // of many only the last are kept
				own = own[:copy(own, own[last:])]
			}
			own = append(own, lineOf(g.ID, e))
			return nil
		})
		if err != nil {
			return err
		}
		list = append(list, own[max(0, len(own)-last):]...)
	}
	if c.JSON {
		return printJSON(c.Out, map[string]any{"events": list})
	}
	if len(list) == 0 {
		c.Say("davy-receiver.no-events", nil)
		return nil
	}
	rows := [][]string{head(c.Lang, "time", "gateway", "number", "what")}
	for i := range list {
		e := &list[i]
		rows = append(rows, []string{when(e.At), e.Gateway, fmt.Sprint(e.Number), e.what(c.Lang)})
	}
	table(c.Out, rows)
	return nil
}

func lineOf(gateway string, e *store.Event) eventLine {
	x := eventLine{
		Gateway: gateway, Epoch: e.Epoch, Number: e.Number, Kind: kindName(e.Kind), At: e.At.Wall, Rule: e.Rule, Occurrence: e.Occurrence,
		Priority: e.Priority, ValueName: e.Name, Quality: uint32(e.Quality), FirstOut: e.FirstOut, Output: e.Output, Who: e.Who, Proved: e.Proved, Note: e.Note,
		Test: e.Test, Hidden: hiddenName(e.Hidden), First: e.First, Channel: e.Channel, Second: e.Second, For: time.Duration(e.For).Seconds(),
		Result: resultName(e.Result), Samples: e.Samples, Old: e.Old, New: e.New,
	}
	if e.People != nil {
		if e.Proved {
			x.WhoName = e.People.PersonName(e.Who)
		}
		x.SecondName = e.People.PersonName(e.Second)
	}
	for i := range e.Record {
		r, t := &e.Record[i], e.Tags[e.Record[i].Tag]
		y := sample{At: r.Received.Wall, Quality: uint32(r.Quality)}
		if r.Value.Kind() != 0 {
			y.Value = r.Value.String()
		}
		if y.Tag = fmt.Sprintf("tag-%d", r.Tag); t != nil {
			y.Tag, y.Unit = t.Name, t.Unit
		}
		x.Record = append(x.Record, y)
	}
	if e.Value.Kind() != 0 {
		x.Value = e.Value.String()
	}
	if e.Tag != nil {
		x.Tag, x.Unit = e.Tag.Name, e.Tag.Unit
	}
	if e.Kind == deviceEvent {
		x.ValueName, x.Unit = "", ""
	}
	for _, v := range e.Votes {
		x.Votes = append(x.Votes, v.Channel)
	}
	if e.Gap != nil && x.Note == "" {
		x.Note = fmt.Sprintf("%s %d..%d (%d) %s", e.Gap.Stream, e.Gap.From, e.Gap.To, e.Gap.Count, e.Gap.Cause)
	}
	return x
}

// hiddenName names the state of an alarm that kept anybody from being called,
// "" for none of these.
func hiddenName(state uint32) string {
	switch rules.AlarmState(state) {
	case rules.Normal:
		return ""
	case rules.Shelved:
		return "shelved"
	case rules.Suppressed:
		return "suppressed"
	case rules.OutOfService:
		return "out-of-service"
	}
	return fmt.Sprintf("state-%d", state)
}

// resultName names the result of a test, "" for none.
func resultName(result uint32) string {
	switch rules.Result(result) {
	case 0:
		return ""
	case rules.Passed:
		return "passed"
	case rules.Failed:
		return "failed"
	case rules.Aborted:
		return "aborted"
	}
	return fmt.Sprintf("result-%d", result)
}

// forWords says which words an event's duration has: how long something may
// last, is left, or took.
func forWords(kind string) string {
	switch kind {
	case "bypass-reminded":
		return "left"
	case "output-proved":
		return "after"
	}
	return "long"
}

// kindName names a kind of event, "kind-N" if it is not known here.
func kindName(kind uint32) string {
	if s, ok := kinds[kind]; ok {
		return s
	}
	return fmt.Sprintf("kind-%d", kind)
}

// what says an event in one line.
func (e *eventLine) what(l i18n.Lang) string {
	var parts []string
	say := func(s string) {
		if s = strings.TrimSpace(s); s != "" {
			parts = append(parts, s)
		}
	}
	if e.Test {
		say(l.Text("operate.mark.test", nil))
	}
	if e.Hidden != "" {
		say(worded(l, "operate.hidden.", e.Hidden))
	}
	switch {
	case i18n.Has("operate.event." + e.Kind):
		say(l.Text("operate.event."+e.Kind, i18n.Args{"rule": e.Rule, "output": e.Output}))
	case i18n.Has("davy-receiver.event." + e.Kind):
		say(l.Text("davy-receiver.event."+e.Kind, nil) + " " + e.Rule)
	default:
		say(e.Kind + " " + e.Rule)
	}
	if e.Occurrence > 0 {
		say(fmt.Sprintf("#%d", e.Occurrence))
	}
	switch {
	case e.Kind == kinds[deviceEvent]:
		say(e.Tag)
		say(l.Text("operate.severity", i18n.Args{"n": e.Value}))
	case e.Kind == kinds[uint32(rules.AlarmRaised)] || e.Tag == "":
		say(strings.TrimSpace(e.Tag + " " + amount(e.Value, e.ValueName, e.Unit)))
	default:
		say(e.Tag + " = " + amount(e.Value, e.ValueName, e.Unit))
	}
	if e.FirstOut != "" {
		say(l.Text("davy-receiver.first-out", i18n.Args{"channel": e.FirstOut}))
	}
	if e.First {
		say(l.Text("operate.first", nil))
	}
	switch {
	case e.Kind == kinds[ruleChanged]:
		say(i18n.Changed(l, e.Channel, e.Old, e.New))
	case e.Channel != "":
		say(l.Text("operate.channel", i18n.Args{"channel": e.Channel}))
	}
	if e.For > 0 {
		say(l.Text("operate.for."+forWords(e.Kind), i18n.Args{"time": l.Span(time.Duration(e.For * float64(time.Second)))}))
	}
	if e.Result != "" {
		say(worded(l, "operate.result.", e.Result))
	}
	if e.Samples > 0 {
		say(l.Text("operate.samples-here", i18n.Args{"n": e.Samples, "here": len(e.Record)}))
	}
	say(named(e.Who, e.WhoName))
	if e.Second != "" {
		say(l.Text("operate.second", i18n.Args{"name": named(e.Second, e.SecondName)}))
	}
	say(e.Note)
	return i18n.Plain(strings.Join(parts, l.Text("operate.comma", nil)))
}

// named is a person's id with the name, where one came.
func named(id, name string) string {
	if name == "" {
		return id
	}
	return id + " (" + name + ")"
}

// worded is the words of a name under prefix, or the name itself.
func worded(l i18n.Lang, prefix, name string) string {
	if i18n.Has(prefix + name) {
		return l.Text(prefix+name, nil)
	}
	return name
}

// amount is a value with what it is called, or with its unit.
func amount(value, name, unit string) string {
	switch {
	case name != "" && strings.HasPrefix(value, "text#"):
		return name
	case name != "":
		return name + " (" + value + ")"
	}
	return strings.TrimSpace(value + " " + unit)
}
