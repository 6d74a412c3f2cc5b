package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

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
	64: "agent-started", 65: "agent-stopped", 66: "plan-applied", 67: "outputs-armed", 68: "outputs-disarmed", 69: "command-refused",
	70: "latch-lost", 71: "output-unknown", 72: "clock-stepped", 73: "output-written", 74: "output-failed", deviceEvent: "device-event",
	128: "epoch-started", 129: "tag-table", 130: "gap-recorded", 131: "receipt-refused", 132: "journal-damaged",
}

const deviceEvent = 75 // its value is a severity, and none of its tag

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
	Proved     bool     `json:"proved,omitempty"`
	Note       string   `json:"note,omitempty"`
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
	say(e.Who)
	say(e.Note)
	return i18n.Plain(strings.Join(parts, l.Text("operate.comma", nil)))
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
