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
// A rule that panics is out from there on, alone, with what its policy for bad
// says; the alarm "rules.broken" is raised anew for each, with its name.
//
// Who owns what: the engine belongs to one goroutine (control's loop, or a
// story's runner). The Image belongs to the same goroutine. Nothing here is
// durable; Snapshot and Restore give the owner what must survive a restart
// (agent/latch keeps it): states by rule *name*, occurrences, and remaining
// durations, never instants.
//
// Imports: davy/drivers/tag only.
package rules
