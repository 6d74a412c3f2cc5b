package main

// Mutants are the ten defects. Each is one that a tired person could write.
var Mutants = []Mutant{
	{"a limit is passed only beyond it", "rules/condition.go", "return v >= limit", "return v > limit"},
	{"a bad reading clears an alarm", "rules/alarm.go", "	case !a.judges():\n		return unknown", "	case !a.judges():\n		return no"},
	{"the deadband acts in the other direction", "rules/new_alarm.go", "back := a.Cond.Limit - a.Deadband", "back := a.Cond.Limit + a.Deadband"},
	{"one vote too many is asked for", "rules/interlock.go", "need := min(m, rest)", "need := min(m+1, rest)"},
	{"the first-out is the last", "rules/interlock.go", "c.since.Mono < first.since.Mono", "c.since.Mono > first.since.Mono"},
	{"a reset while the vote stands", "rules/command_lock.go", "case l.standing:", "case false:"},
	{"a bad channel counts at once", "rules/interlock.go", "passed(c.badSince.Mono, l.badAfter, t)", "passed(c.badSince.Mono, 0, t)"},
	{"a latched alarm goes without a reset", "rules/alarm.go", "	case a.latches():\n		a.state = LatchedAcked", "	case a.latches():\n		a.state = Normal"},
	{"what was demanded is not withdrawn", "rules/output.go", "	if o.active--; o.active == 0 {", "	if o.active--; o.active < 0 {"},
	{"a restored delay begins anew", "rules/snapshot_alarm.go", "a.credit = s.stood + passed", "a.credit = 0"},
}
