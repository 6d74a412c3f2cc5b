package operate

import (
	"slices"
	"strconv"
	"strings"

	"davy/agent/config"
	"davy/agent/i18n"
	"davy/rules"
)

// event says what happened.
func (p *page) event(e *Event) string {
	key := "operate.event." + e.Kind
	if !i18n.Has(key) {
		return p.marks(e) + strings.TrimSpace(e.Kind+" "+e.Rule)
	}
	return p.marks(e) + strings.TrimSpace(p.say(key, i18n.Args{"rule": e.Rule, "output": e.Output}))
}

// eventMore says the rest of it.
func (p *page) eventMore(e *Event) string {
	var parts []string
	if e.Occurrence > 0 {
		parts = append(parts, "#"+strconv.FormatUint(e.Occurrence, 10))
	}
	if e.Priority != "" {
		parts = append(parts, p.say("operate.priority."+string(e.Priority), nil))
	}
	switch {
	case e.Kind == "agent-started":
		parts = append(parts, p.down(e.Value))
	case e.Kind == "device-event":
		if e.Tag != "" {
			parts = append(parts, e.Tag)
		}
		if e.Value != nil {
			parts = append(parts, p.say("operate.severity", i18n.Args{"n": figure(*e.Value)}))
		}
	case e.Value != nil || e.ValueName != "":
		unit := e.Unit
		if e.Kind == "clock-stepped" {
			unit = "s"
		}
		value := named(e.Value, e.ValueName, unit)
		if e.Tag != "" {
			value = e.Tag + " = " + value
		}
		parts = append(parts, value)
	}
	if e.FirstOut != "" {
		parts = append(parts, p.say("operate.first-out", i18n.Args{"channel": e.FirstOut}))
	}
	for i := range e.Votes {
		parts = append(parts, p.vote(&e.Votes[i]))
	}
	if e.Kind == "rule-changed" {
		return strings.Join(append(parts, p.change(e)...), p.say("operate.comma", nil))
	}
	parts = append(parts, p.eventActs(e)...)
	if e.Who != nil {
		parts = append(parts, p.who(e.Who))
	}
	if e.Second != "" {
		parts = append(parts, p.say("operate.second", i18n.Args{"name": e.Second}))
	}
	if e.Note != "" {
		note := e.Note
		if (e.Kind == "command-refused" || e.Kind == "person-refused") && i18n.Has("refused."+note) {
			refused := &Error{Code: "refused." + note, Args: map[string]any{"rule": e.Rule}}
			if p.interlock(e.Rule) {
				refused.Args["channels"] = ""
			}
			note = unfilled(refused.In(p.Lang))
		}
		switch {
		case e.Kind == "alarm-suppressed" && strings.HasSuffix(note, config.InTestSuffix):
			note = p.say("operate.detector-in-test", nil)
		case e.Kind == "alarm-suppressed":
			note = p.say("operate.stands-under", i18n.Args{"rule": note})
		case e.Kind == "alarm-returned" && note == rules.OverRangeNote:
			note = p.say("operate.latched-over", nil)
		}
		parts = append(parts, note)
	}
	return strings.Join(parts, p.say("operate.comma", nil))
}

// change says what of a rule was changed, by whom and why.
func (p *page) change(e *Event) []string {
	parts := []string{i18n.Changed(p.Lang, e.Channel, e.Old, e.New)}
	if e.Who != nil {
		parts = append(parts, p.who(e.Who))
	}
	if e.Note != "" {
		parts = append(parts, e.Note)
	}
	return parts
}

// who names a person and says whether that is proved.
func (p *page) who(w *Who) string {
	key := "operate.who.claimed"
	if w.Proved {
		key = "operate.who.proved"
	}
	return p.say(key, i18n.Args{"name": w.Name})
}

// interlock reports whether a rule is an interlock.
func (p *page) interlock(rule string) bool {
	return slices.ContainsFunc(p.v.Interlocks, func(i Interlock) bool { return i.Name == rule })
}
