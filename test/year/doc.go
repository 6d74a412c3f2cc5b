// Package year lets the engine alone judge a plant for a simulated year:
// seasons, leaks of several sizes, instruments that drift, freeze and fail,
// lost communication, persons who acknowledge late, shelve, bypass, force, test
// and forget; restarts, power cuts that lose what was not on disk, reboots with
// a clock that nobody trusts, and changes of the plan.
//
// It is one thread of numbers from a seed: no clock, no goroutine, no file. The
// world (world.go) knows what is true, the crew (crew.go) what persons do, and
// the book (book*.go) what must follow from it. The book is written from the
// comments on the types of davy/rules, not from the engine, and keeps its times
// in one clock that goes on through every restart; the engine's begins anew with
// each reboot. What the engine says is held against it, event by event and to
// the nanosecond: trips and resets, demands and releases, the ends of
// everything that was given a time; and of alarms what they must and must not do.
// The first difference ends the run.
//
// What the book does not know: what the proof of an output leads to, modes, and
// what suppresses an alarm by design. It looks at how such alarms move, and not at when.
//
// Imports: rules, drivers/tag.
package year
