// Package days runs the whole agent for simulated days in a testing/synctest
// bubble, on a plant of firmware-configs: links and their workers, the control
// loop, the outputs with their read-back, the latch file, the ring, the keeper with
// its journal on disk, the uplink, and at the other end of an in-memory line a
// receiver of its own that answers with signed receipts.
//
// A seed makes what happens: leaks and upsets (davy/test/year's world), devices
// that are silent, slow, away or refuse, a loop that stands still, kills, ends in
// order, changes of the plan, keepers that die, disks that fill, fail or are slow,
// an uplink that is cut, receipts that get lost, clocks that jump, and persons.
//
// What must hold is checked from outside (check.go), by what the devices' cells
// held and were written, what the receiver got, and the time: never by asking
// the code under test whether it did well. The list is that of the
// architecture's section 8. Processes, sockets and child processes have no place
// in a bubble; so the parts are joined here (agent.go) as davy/agent joins them.
//
// Imports: everything of ours that it needs; imported by nobody.
package days
