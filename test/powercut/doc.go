// Package powercut cuts the power of a machine that writes a journal, at random
// moments, and looks afterwards at what is there.
//
// The machine is User Mode Linux with Debian's kernel; its disk is a file with
// an ext4 file system. Program guest works on a journal without a pause and says
// on a serial line what it is about to do and what was done. The host listens,
// plays the receiver that gives receipts, and pulls the plug: SIGKILL to every
// process of the machine. What the machine held in memory is gone with it. Then
// the machine starts again on what is on the disk, ext4 replays its journal, the
// guest opens ours, and the host holds what it finds to what was said before.
//
//	plain    the plug alone. What was handed to the disk is there, flushed or not.
//	frozen   dm-flakey drops every write from some instant within an operation; what
//	         the machine says afterwards does not count. Then the plug.
//	eio      dm-flakey fails every write for a while, or to the end, or now and
//	         then: a commit may fail and the next one not. Then the plug.
//	lie      dm-flakey drops writes and calls them done: fsync says OK and nothing is
//	         there, for a while (later writes arrive, earlier ones never did) or to
//	         the end. Then the plug.
//
// After the first three the journal opens and everything that was said to be
// durable is there as it was, or was receipted, or is named by the gap record of
// a full journal. After a lie it opens, if need be with a segment in quarantine,
// and what is missing is named: by a gap record, or by the heads and the word
// "may have lost" of the new epoch. Whatever was cut, nothing is two things: a
// number once seen outside always names the same record.
//
// A cut is counted for the operation that was under way when the disk ended:
// commit, roll, retention or cursor. With the same rig and a kernel that takes
// fsync for nothing (a filter on the guest's system calls; there is no such
// switch in Davy) events must be lost, or the rig proves nothing.
//
// It does not model a disk that tears a sector or reorders what it was told to
// flush; a lie is the nearest to it.
//
// Imports: agent/journal, agent/wire, test/powercut/work.
package powercut
