// Package rules decides: alarms and interlocks as a pure state machine.
//
// Engine.Step(in, out) has no clock, no goroutine and no I/O. The plant, the
// stories of `davy test`, a replay and the simulation run the same code and
// get the same answer. Time comes in with each step as tag.Stamp; only Mono is
// computed with. Timers fire in the order of their deadlines and their events
// carry the deadline as their time. A step in which no alarm changes state
// allocates nothing, and it evaluates only the rules whose inputs or timers
// moved.
//
// What a detector says of itself is part of judging (alarm_detector.go): one that
// warms up has no value, not in a vote either; above its range (Tag.OverRange)
// every >= and > holds, whatever the number; in test its alarms are suppressed.
//
// The parts, one owner each: alarm*.go an alarm's life, interlock.go and
// lock_*.go a vote with its arming, bypass and reset, output.go what is demanded,
// points*.go what persons do to devices and their tags, record.go the readings
// around a trip, computed.go the tags that are made of others (rules/expr). The
// functions Step and Do join engine and image; who uses both uses those.
//
// A rule that panics is out from there on, alone, with what its policy for bad
// says; the alarm "rules.broken" is raised anew for each, with its name.
//
// Who owns what: the engine belongs to one goroutine (control's loop, or a
// story's runner). The Image belongs to the same goroutine. Nothing here is
// durable; Snapshot and Restore give the owner what must survive a restart
// (agent/latch keeps it): states by rule *name*, occurrences, and remaining
// durations, never instants, but for the shift that a computed tag counts.
//
// Imports: drivers/tag, rules/expr.
package rules
