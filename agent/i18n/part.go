package i18n

import "strings"

// Part says in l what part of a rule a change is of, as config.Change names it:
// "nh3-1.gas limit". Its last word is a code, for which there may be words; what
// stands before it is a name of the site.
func Part(l Lang, part string) string {
	i := strings.LastIndexByte(part, ' ') + 1
	if !Has("rule.part." + part[i:]) {
		return part
	}
	return part[:i] + l.Text("rule.part."+part[i:], nil)
}

// Changed says in l what stood and what stands of a part of a rule.
func Changed(l Lang, part, old, new string) string {
	args := Args{"part": Part(l, part), "old": old, "new": new}
	switch {
	case Has("operate.changed." + part): // a whole rule, or what is not known
		return l.Text("operate.changed."+part, args)
	case old == "":
		return l.Text("operate.changed.set", args)
	case new == "":
		return l.Text("operate.changed.unset", args)
	}
	return l.Text("operate.changed", args)
}
