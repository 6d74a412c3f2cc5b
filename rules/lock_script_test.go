package rules

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Tokens of a script that speak of bypasses:
//
//	bypass:L:a:8h  bypass:L:a:8h:wang:s2!code  confirm:L:a:wang:s2  unbypass:L:a
//
// Who asks is li, in session s1; who confirms is wang, in session s2. A name
// behind ~ is only claimed. The roles are those of scriptRoles.
var scriptRoles = map[string][]string{"li": {"engineer"}, "wang": {"leader"}, "chen": {"engineer", "leader"}, "zhao": nil}

func isBypass(word string) bool {
	return slices.Contains([]string{"bypass", "confirm", "unbypass"}, word)
}

func (r *rig) bypassCommand(part []string) Command {
	r.t.Helper()
	c := Command{Verb: Bypass, Rule: part[1], Channel: part[2], Who: "li", Proved: true, Session: "s1", Note: "n"}
	rest := part[3:]
	switch part[0] {
	case "bypass":
		d, err := time.ParseDuration(rest[0])
		if err != nil {
			r.fatal("%v", err)
		}
		c.For, rest = d, rest[1:]
	case "confirm":
		c.Verb, c.Who, c.Session = Confirm, "wang", "s2"
	case "unbypass":
		c.Verb = EndBypass
	}
	if len(rest) > 0 {
		c.Who, c.Proved = strings.TrimPrefix(rest[0], "~"), rest[0][0] != '~'
	}
	if len(rest) > 1 {
		c.Session = rest[1]
	}
	if c.Proved {
		c.Roles = scriptRoles[c.Who]
	}
	return c
}

func (r *rig) doBypass(in *Input, part []string, code string) []string {
	r.t.Helper()
	c := r.bypassCommand(part)
	if got := r.refusal(in, c); got != code {
		r.fatal("%s: got refusal %q, want %q", part, got, code)
	}
	return r.events()
}

// lockStateText is what a script sees of an interlock's state: "armed",
// "armed,out" where nothing can trip it, and its bypass with what is left of it,
// with ? while it waits and ! while it is overdue.
func lockStateText(l *InterlockView) string {
	s := [...]string{"starting", "armed", "tripped", "unarmed"}[l.State]
	if l.OutOfService {
		s += ",out"
	}
	if b := l.Bypass; b != nil {
		s += fmt.Sprintf(",%s-%v", b.Channel, b.Left)
		if b.Waiting {
			s += "?"
		}
		if b.Overdue {
			s += "!"
		}
	}
	return s
}

// refusal carries a command out and returns the code of its refusal.
func (r *rig) refusal(in *Input, c Command) string {
	r.t.Helper()
	err := r.e.Do(in, c, &r.out)
	var refused *RefusedError
	if err == nil {
		return ""
	}
	if !errors.As(err, &refused) || refused.Rule != c.Rule || len(r.out.Events) > 0 {
		r.fatal("%v: %d events", err, len(r.out.Events))
	}
	return refused.Code
}

// lockEventText is what a script says of the events of bypasses, arming and proofs.
func lockEventText(v *Event) (string, bool) {
	who := v.Who
	if v.Second != "" {
		who += "+" + v.Second
	}
	s := v.Rule + " " + v.Channel
	switch v.Kind {
	case InterlockUnarmed:
		return "unarmed " + v.Rule, true
	case BypassAsked:
		return fmt.Sprintf("asked %s %v by %s", s, v.For, who), true
	case BypassBegan:
		return fmt.Sprintf("bypassed %s %v by %s", s, v.For, who), true
	case BypassReminded:
		return fmt.Sprintf("reminded %s %v", s, v.For), true
	case BypassEnded:
		return strings.TrimSuffix(fmt.Sprintf("unbypassed %s by %s", s, who), " by "), true
	case BypassOverdue:
		return "overdue " + s, true
	case OutputProved:
		return fmt.Sprintf("proved %s %v", v.Output, v.For), true
	case OutputEscalated:
		return "escalated " + v.Output, true
	}
	return "", false
}
