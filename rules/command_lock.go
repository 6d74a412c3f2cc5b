package rules

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"davy/drivers/tag"
)

// standing names the channels whose votes stand: "nh3-1.gas, nh3-2.gas".
func (e *Engine) standing(i int) string {
	var names []string
	for _, v := range e.votes(i) {
		names = append(names, v.Channel)
	}
	return strings.Join(names, ", ")
}

// unmet names what keeps a tripped interlock from being reset, besides its
// votes and ResetFor: the channels whose reset condition does not hold, the
// tag of ResetWhen, permissives, and in a start what was not read yet.
func (e *Engine) unmet(i int) (names []string) {
	l := &e.interlocks[i]
	for k := range l.n {
		if c := &e.channels[l.first+k]; !e.cleared(l, k) || l.settling && !c.read {
			names = append(names, c.name)
		}
	}
	add := func(g int) { names = append(names, string(e.set.Tags[e.guards[g].tag].Name)) }
	if e.of(l.resetWhen, yes) != yes {
		add(l.resetWhen)
	}
	for _, p := range e.unpermitted(l) {
		if !slices.Contains(names, p.Name) {
			names = append(names, p.Name)
		}
	}
	if l.settling && l.arm >= 0 && !e.guards[l.arm].read {
		add(l.arm)
	}
	if len(names) > 0 {
		return names
	}
	for k := range l.n { // each is left out: none of them says that it is safe
		names = append(names, e.channels[l.first+k].name)
	}
	return names
}

func (e *Engine) resetTrip(i int, c Command, now tag.Stamp) (code string, args map[string]any) {
	l := &e.interlocks[i]
	switch {
	case l.state != Tripped:
		return "not-tripped", nil
	case l.wrecked():
		return "broken", nil
	case l.standing:
		return "still-standing", map[string]any{"channels": e.standing(i)}
	case l.ready:
		e.reset(i, c.on(Event{At: now}))
		return "", nil
	}
	if slot := e.lockTimer(i, resetTimer); e.timers.runs(slot) {
		return "reset-not-yet", map[string]any{"left": short(e.timers.at(slot) - now.Mono)}
	}
	return "reset-not-met", map[string]any{"conditions": strings.Join(e.unmet(i), ", ")}
}

// ofBypass reports whether a verb is one of bypasses.
func (v Verb) ofBypass() bool { return v == Bypass || v == Confirm || v == EndBypass }

// lockCommand carries out Bypass, Confirm and EndBypass.
func (e *Engine) lockCommand(i int, c Command, now tag.Stamp) (code string, args map[string]any) {
	l := &e.interlocks[i]
	if l.wrecked() {
		return "broken", nil
	}
	at := slices.IndexFunc(e.channels[l.first:l.first+l.n], func(ch channel) bool { return ch.name == c.Channel })
	if at < 0 {
		return "unknown-channel", map[string]any{"channel": c.Channel}
	}
	b := &l.bypass
	switch c.Verb {
	case Bypass:
		if code, args = e.mayBypass(i, at, &c); code != "" {
			return code, args
		}
		length := int64(c.For)
		*b = bypass{
			state: bypassWaiting, channel: at, name: c.Channel, who: cut(c.Who), note: c.Note, session: cut(c.Session),
			length: length, ends: now.Mono + int64(ConfirmWithin), alarm: b.alarm, permitted: b.permitted,
		}
		if len(b.permitted.Second) == 0 {
			e.beginBypass(i, c.on(Event{At: now}))
			return "", nil
		}
		v := e.bypassEvent(i, BypassAsked, c.on(Event{At: now}))
		v.For = c.For
		e.emit(v)
		e.mark(i)
	case Confirm:
		if code, args = e.mayConfirm(i, at, &c); code != "" {
			return code, args
		}
		b.second = cut(c.Who)
		e.beginBypass(i, c.on(Event{At: now}))
	case EndBypass:
		if !b.open() || b.channel != at {
			return "not-bypassed", map[string]any{"channel": c.Channel}
		}
		e.endBypass(i, c.on(Event{At: now}))
	}
	return "", nil
}

// mayBypass says why a bypass of a channel may not be asked for.
func (e *Engine) mayBypass(i, at int, c *Command) (code string, args map[string]any) {
	l := &e.interlocks[i]
	p := &l.bypass.permitted
	switch {
	case p.AtMost == 0:
		return "bypass-not-allowed", nil
	case l.broken > 0:
		return "broken", nil
	case e.channels[l.first+at].manual:
		return "bypass-manual", map[string]any{"channel": c.Channel}
	case !c.Proved || c.Who == "":
		return "needs-proved", nil
	case len(p.Roles) > 0 && !common(p.Roles, c.Roles):
		return "needs-role", map[string]any{"roles": strings.Join(p.Roles, ", ")}
	case strings.TrimSpace(c.Note) == "":
		return "needs-reason", nil
	case c.For <= 0:
		return "needs-time", nil
	case c.For > p.AtMost:
		return "bypass-too-long", map[string]any{"most": short(int64(p.AtMost))}
	}
	return e.bypassTaken(l, at)
}

// bypassTaken says which channel is out already: one of a group at a time, be
// it by a bypass or for a test.
func (e *Engine) bypassTaken(l *interlock, at int) (code string, args map[string]any) {
	other := func(k int) (string, map[string]any) {
		return "bypass-other-channel", map[string]any{"channel": e.channels[l.first+k].name}
	}
	switch b := &l.bypass; {
	case b.open() && b.channel != at:
		return other(b.channel)
	case b.state == bypassWaiting:
		return "already-asked", map[string]any{"channel": b.name}
	case b.open():
		return "already-bypassed", map[string]any{"channel": b.name}
	case l.seat >= 0 && l.seat != at:
		return other(l.seat)
	}
	return "", nil
}

// mayConfirm says why a bypass may not be confirmed.
func (e *Engine) mayConfirm(i, at int, c *Command) (code string, args map[string]any) {
	l := &e.interlocks[i]
	b := &l.bypass
	switch {
	case b.state == bypassLate && b.channel == at:
		return "bypass-too-late", map[string]any{"channel": c.Channel, "most": short(int64(ConfirmWithin))}
	// Who confirms a time says which: what was asked for may have changed meanwhile.
	case b.state != bypassWaiting || b.channel != at || c.For != 0 && int64(c.For) != b.length:
		return "bypass-none-waiting", map[string]any{"channel": c.Channel}
	case !c.Proved || c.Who == "":
		return "needs-proved", nil
	case cut(c.Who) == b.who:
		return "bypass-same-person", nil
	case c.Session == "" || cut(c.Session) == b.session:
		return "bypass-same-session", nil
	case !common(b.permitted.Second, c.Roles):
		return "needs-role", map[string]any{"roles": strings.Join(b.permitted.Second, ", ")}
	case l.seat >= 0 && l.seat != at: // a test began meanwhile
		return "bypass-other-channel", map[string]any{"channel": e.channels[l.first+l.seat].name}
	}
	return "", nil
}

func common(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}

// cut shortens a person's name or session to what a snapshot takes of it. The
// event has it whole.
func cut(s string) string {
	if len(s) <= maxText {
		return s
	}
	n := maxText
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// short writes a duration without the zeros at its end: "8h", "1m30s". What
// is shorter than a second is one.
func short(d int64) string {
	s := (time.Duration(d) + time.Second - 1).Truncate(time.Second).String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(s, zero) {
			s = s[:len(s)-2]
		}
	}
	return s
}
