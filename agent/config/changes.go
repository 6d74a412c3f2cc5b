package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"davy/drivers/tag"
	"davy/rules"
)

// Change is one thing of one rule that another plan says otherwise.
type Change struct {
	Rule string
	Part string // "limit", "on-delay", "nh3-1.gas limit"; RuleAdded or RuleRemoved of a whole rule
	Old  string // with its unit; "" nothing stood there
	New  string
}

// The parts that stand for a whole rule.
const (
	RuleAdded   = "added"
	RuleRemoved = "removed"
)

// Changes returns what decides otherwise under new than it did under old: every
// field of every alarm, interlock and output's proof but for its words, and
// what is computed, by name. A field that is added to a rule is compared
// without anybody thinking of it. The agent's own conditions are not rules of
// the site.
func Changes(old, new *Plan) []Change {
	var out []Change
	a, b := facts(old), facts(new)
	names := slices.Sorted(maps.Keys(a))
	for name := range b {
		if a[name] == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		was, is := a[name], b[name]
		switch {
		case was == nil:
			out = append(out, Change{Rule: name, Part: RuleAdded, New: is.summary()})
			continue
		case is == nil:
			out = append(out, Change{Rule: name, Part: RuleRemoved, Old: was.summary()})
			continue
		}
		for _, p := range slices.Sorted(maps.Keys(was)) {
			if was[p] != is[p] {
				out = append(out, Change{name, p, was[p], is[p]})
			}
		}
		for _, p := range slices.Sorted(maps.Keys(is)) {
			if _, both := was[p]; !both {
				out = append(out, Change{Rule: name, Part: p, New: is[p]})
			}
		}
	}
	return out
}

// parts is what a rule says: parts with their text. What is zero stands for nothing.
type parts map[string]string

// summary is what a whole rule judges.
func (p parts) summary() string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(p)) {
		if k == limitPart || k == "formula" || strings.HasSuffix(k, " "+limitPart) {
			out = append(out, p[k])
		}
	}
	return strings.Join(out, ", ")
}

const limitPart = "limit"

// facts are the rules of a plan by name.
func facts(p *Plan) map[string]parts {
	out := map[string]parts{}
	f := facter{p, nil}
	for i := range p.Rules.Alarms {
		if a := &p.Rules.Alarms[i]; !a.Agent {
			x := *a
			f.unit = &p.Tags[x.Cond.Tag]
			if x.NotWatched {
				x.Cond = rules.Condition{} // it judges no value
			}
			out[a.Name] = f.of(reflect.ValueOf(x))
		}
	}
	f.unit = nil
	for i := range p.Rules.Interlocks {
		out[p.Rules.Interlocks[i].Name] = f.of(reflect.ValueOf(p.Rules.Interlocks[i]))
	}
	for i := range p.Rules.Outputs {
		out[p.Rules.Outputs[i].Name] = f.of(reflect.ValueOf(p.Rules.Outputs[i]))
	}
	for i := range p.Tags {
		t := &p.Tags[i]
		if t.ID == 0 {
			continue
		}
		own := out[string(t.Name)] // an alarm's limit may be called as a tag is
		if own == nil {
			own = parts{}
		}
		if t.Ranged {
			own["range"] = figure(t.Low, t) + " .. " + figure(t.High, t)
		}
		out[string(t.Name)] = own
	}
	for i := range p.Rules.Computed {
		c := &p.Rules.Computed[i]
		out[string(p.Tags[c.Tag].Name)]["formula"] = c.Program.String()
	}
	return out
}

// facter tells the fields of a rule.
type facter struct {
	plan *Plan
	unit *Tag // of numbers without a tag of their own; nil: none
}

func (f facter) of(v reflect.Value) parts {
	out := parts{}
	f.walk(v, "", out)
	return out
}

// join puts a part behind what it is of.
func join(path, part string) string { return strings.TrimSpace(path + " " + part) }

func (f facter) walk(v reflect.Value, path string, out parts) {
	switch x := v.Interface().(type) {
	case rules.Condition:
		if x.Tag != 0 {
			out[join(path, limitPart)] = f.condition(x)
		}
		return
	case rules.Text:
		return // words decide nothing
	case tag.ID:
		if x != 0 {
			out[path] = string(f.plan.Tags[x].Name)
		}
		return
	case time.Duration:
		if x != 0 {
			out[path] = x.String()
		}
		return
	}
	if v.IsZero() && v.Kind() != reflect.Struct {
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if name := v.Type().Field(i).Name; name != "Name" {
				f.walk(v.Field(i), join(path, partCodes[name]), out)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			e := v.Index(i)
			of := strconv.Itoa(i + 1)
			if e.Kind() == reflect.Struct {
				for _, key := range []string{"Name", "Output"} {
					if n := e.FieldByName(key); n.IsValid() && n.String() != "" {
						of = n.String()
						break
					}
				}
			}
			f.walk(e, join(path, of), out)
		}
	case reflect.Float64:
		out[path] = figure(v.Float(), f.unit)
	default:
		out[path] = fmt.Sprint(v.Interface())
	}
}

func (f facter) condition(c rules.Condition) string {
	t := &f.plan.Tags[c.Tag]
	return string(t.Name) + " " + c.Op.String() + " " + figure(c.Limit, t)
}

// figure is a number with the unit of its tag, or what its tag calls it.
func figure(v float64, t *Tag) string {
	if t == nil {
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	for _, n := range t.Names {
		if float64(n.Code) == v {
			return n.Name
		}
	}
	if t.Kind == tag.Bool {
		return strconv.FormatBool(v != 0)
	}
	return strings.TrimSpace(strconv.FormatFloat(v, 'g', -1, 64) + " " + t.Unit)
}

// partCodes are what the parts of a rule are called in records: a field that is
// renamed here keeps its code there. Nothing stands for what goes without saying.
var partCodes = map[string]string{
	"After":            "after",
	"Agent":            "agent",
	"AlarmOnly":        "alarm-only",
	"AllBadHolds":      "all-bad-holds",
	"Arm":              "arm",
	"ArmDue":           "arm-due",
	"ArmWithin":        "arm-within",
	"AtMost":           "at-most",
	"AutoAck":          "auto-ack",
	"Bad":              "bad",
	"BadAfter":         "bad-after",
	"Beyond":           "beyond",
	"Bypass":           "bypass",
	"Channels":         "",
	"Cond":             "",
	"Deadband":         "deadband",
	"DegradedAtMost":   "degraded-at-most",
	"DegradedPriority": "degraded-priority",
	"Delay":            "delay",
	"Demands":          "demands",
	"Discrepancy":      "discrepancy",
	"Escalate":         "escalate",
	"Except":           "except",
	"Group":            "group",
	"InTestCounts":     "in-test-counts",
	"Latch":            "latch",
	"LatchOver":        "latch-over",
	"Limit":            "limit",
	"M":                "votes",
	"Manual":           "manual",
	"ManualReset":      "manual-reset",
	"Modes":            "modes",
	"NoShelve":         "no-shelve",
	"NotWatched":       "not-watched",
	"Off":              "off",
	"OffDelay":         "off-delay",
	"OnDelay":          "on-delay",
	"Only":             "only",
	"Output":           "output",
	"Permissives":      "permissives",
	"Priority":         "priority",
	"Proof":            "proof",
	"Proved":           "proved",
	"Realarm":          "realarm",
	"ResetConds":       "reset-conds",
	"ResetFor":         "reset-for",
	"ResetWhen":        "reset-when",
	"Roles":            "roles",
	"RunOn":            "run-on",
	"Second":           "second",
	"ShelveAtMost":     "shelve-at-most",
	"Sort":             "sort",
	"Spread":           "spread",
	"Suppress":         "suppress",
	"Test":             "test",
	"TestEvery":        "test-every",
	"Under":            "under",
	"When":             "when",
	"Within":           "within",
}
