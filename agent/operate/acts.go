package operate

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"davy/agent/config"
	"davy/drivers/tag"
	"davy/rules"
)

// Requests that are a person's word to a rule, a device or a tag.
const (
	Ack       = "ack"        // Rule, Occurrence; Note: how it was handled
	Reset     = "reset"      // Rule, Occurrence
	Shelve    = "shelve"     // Rule, Occurrence, For, Note
	Unshelve  = "unshelve"   // Rule
	Silence   = "silence"    // every alarm that sounds
	Remove    = "remove"     // Rule: an alarm or a device out of service; Note
	Restore   = "restore"    // Rule
	Bypass    = "bypass"     // Rule, Channel, For, Note
	Confirm   = "confirm"    // Rule, Channel: a bypass that another person asked for
	EndBypass = "end-bypass" // Rule, Channel
	Force     = "force"      // Rule: a tag; Value, For, Note
	EndForce  = "end-force"  // Rule: a tag
	BeginTest = "begin-test" // Rule: a device or an interlock; For, Note
	EndTest   = "end-test"   // Rule, Result
)

// MaxFor is the longest time that a request may name; the rules' own limits are
// far below. Longer is refused.
const MaxFor = 366 * 24 * time.Hour

// need is what a request must bring.
type need uint8

const (
	aRule need = 1 << iota
	anOccurrence
	aNote
	aTime
	aChannel
	aValue
	aResult
)

// act is one verb on the socket.
type act struct {
	do    string
	verb  rules.Verb
	needs need
}

// acts are all verbs of the rules.
var acts = [...]act{
	{Ack, rules.Ack, aRule | anOccurrence},
	{Reset, rules.Reset, aRule | anOccurrence},
	{Shelve, rules.Shelve, aRule | anOccurrence | aNote | aTime},
	{Unshelve, rules.Unshelve, aRule},
	{Silence, rules.Silence, 0},
	{Remove, rules.Remove, aRule | aNote},
	{Restore, rules.Restore, aRule},
	{Bypass, rules.Bypass, aRule | aNote | aTime | aChannel},
	{Confirm, rules.Confirm, aRule | aChannel},
	{EndBypass, rules.EndBypass, aRule | aChannel},
	{Force, rules.Force, aRule | aNote | aTime | aValue},
	{EndForce, rules.EndForce, aRule},
	{BeginTest, rules.BeginTest, aRule | aNote | aTime},
	{EndTest, rules.EndTest, aRule | aResult},
}

func actOf(do string) *act {
	i := slices.IndexFunc(acts[:], func(a act) bool { return a.do == do })
	if i < 0 {
		return nil
	}
	return &acts[i]
}

// Acts reports whether a request is a person's word to the rules: one that
// Command.Say makes a command of.
func Acts(do string) bool { return actOf(do) != nil }

// ResultName is how a result of a test is written, "" for none.
func ResultName(r rules.Result) string {
	switch r {
	case rules.Passed:
		return "passed"
	case rules.Failed:
		return "failed"
	case rules.Aborted:
		return "aborted"
	}
	return ""
}

// lacks says what a request of the rules lacks, or has that cannot be meant.
func (c *Command) lacks() *Error {
	a := actOf(c.Do)
	if a == nil {
		return nil
	}
	miss := func(what string) *Error {
		return &Error{Code: "operate.needs-" + what, Args: map[string]any{"request": c.Do}}
	}
	switch {
	case a.needs&anOccurrence != 0 && (c.Rule == "" || c.Occurrence == 0):
		return &Error{Code: "operate.rule-and-occurrence"}
	case a.needs&aRule != 0 && c.Rule == "":
		return miss("rule")
	case a.needs&aNote != 0 && strings.TrimSpace(c.Note) == "":
		return miss("reason")
	case a.needs&aTime != 0 && !(c.For > 0 && c.For <= MaxFor.Seconds()):
		return miss("time")
	case math.IsNaN(c.For) || c.For < 0 || c.For > MaxFor.Seconds():
		return miss("time")
	case a.needs&aChannel != 0 && c.Channel == "":
		return miss("channel")
	case a.needs&aValue != 0 && c.Value == "":
		return miss("value")
	case a.needs&aResult != 0 && resultOf(c.Result) == 0:
		return miss("result")
	}
	return nil
}

func resultOf(name string) rules.Result {
	for r := rules.Passed; r <= rules.Aborted; r++ {
		if ResultName(r) == name {
			return r
		}
	}
	return 0
}

// Say makes the command of the rules of c, which check has seen. find tells what
// a plan says of a tag, nil where there is none.
func (c *Command) Say(find func(name string) *config.Tag) (rules.Command, error) {
	a := actOf(c.Do)
	if a == nil {
		return rules.Command{}, &Error{Code: "operate.unknown-request", Args: map[string]any{"request": c.Do}}
	}
	r := rules.Command{
		Verb: a.verb, Rule: c.Rule, Occurrence: c.Occurrence, Who: c.Who.Name, Proved: c.Who.Proved, Note: c.Note, Roles: c.Roles, Session: c.Session,
		Channel: c.Channel, For: time.Duration(math.Round(c.For * float64(time.Second))), Result: resultOf(c.Result),
	}
	if a.needs&aValue != 0 {
		t := find(c.Rule)
		if t == nil {
			return rules.Command{}, &Error{Code: UnknownTag, Args: map[string]any{"tag": c.Rule}}
		}
		v, ok := ValueOf(c.Value, t)
		if !ok {
			return rules.Command{}, &Error{Code: "operate.bad-value", Args: map[string]any{"tag": c.Rule, "value": c.Value, "unit": t.Unit}}
		}
		r.Value = v
	}
	return r, nil
}

// ValueOf reads a value of a tag as a person writes it: the name of one of its
// codes, or a number, with the tag's own engineering unit behind it or none.
// A text has no value that could be written; an infinity or a NaN is none.
func ValueOf(s string, t *config.Tag) (tag.Value, bool) {
	s = strings.TrimSpace(s)
	for _, n := range t.Names {
		if n.Name != s {
			continue
		}
		switch t.Kind {
		case tag.Bool:
			return tag.BoolValue(n.Code != 0), true
		case tag.Enum:
			return tag.EnumValue(n.Code), true
		case tag.Int:
			return tag.IntValue(n.Code), true
		}
	}
	if t.Unit != "" {
		s = strings.TrimSpace(strings.TrimSuffix(s, t.Unit))
	}
	switch t.Kind {
	case tag.Bool:
		switch s {
		case "0", "false":
			return tag.BoolValue(false), true
		case "1", "true":
			return tag.BoolValue(true), true
		}
	case tag.Int, tag.Enum:
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return tag.Value{}, false
		}
		if t.Kind == tag.Int {
			return tag.IntValue(n), true
		}
		return tag.EnumValue(n), true
	case tag.Float32:
		f, err := strconv.ParseFloat(s, 32)
		if err != nil {
			return tag.Value{}, false
		}
		return tag.Float32Value(float32(f))
	case tag.Float64:
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return tag.Value{}, false
		}
		return tag.Float64Value(f)
	}
	return tag.Value{}, false
}
