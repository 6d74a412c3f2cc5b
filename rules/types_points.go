package rules

import (
	"time"

	"davy/drivers/tag"
)

// Device is a device or a detector, of which a person may say:
//
//   - it is out of service (Remove), until a person says that it is not: its
//     readings are bad and in a vote they count as the group's policy says, its
//     alarms are out of service
//   - one of its tags has a value by force (Force), for a time
//   - it is being tested (BeginTest: bump test, calibration), for a time: its
//     readings carry the flag tag.Test
//
// Each takes a proved person; all but an end take a reason. Out of service ends
// the other two, and neither can begin under it.
type Device struct {
	Name string
	Text Text
	Tags []tag.ID // a tag belongs to one device at most
	// Force permits a value by force, at most MaxForce. It is gone at a
	// restart: the first step says so (ForceEnded of nobody). A hand-over
	// between two engines of a running agent (Restore with a down of 0) keeps it.
	Force Permit
	// Test permits tests. A test that nobody ends is ended by its time, as Aborted.
	Test Permit
	// TestEvery is the longest time between two passed tests; over, or while
	// no passed test is known, the alarm "<name>.test-due" is raised. 0: no limit.
	TestEvery time.Duration
}

// Limits of what persons do to points.
const (
	MaxForce    = time.Hour // of Permit.AtMost of a force
	DefaultTest = time.Hour // Permit.AtMost of a test where a site does not say
)

// DeviceView is what is shown of a device.
type DeviceView struct {
	Name    string
	Text    Text
	Removed *Mark // nil: in service
	Test    *TestView
	// Passed is the wall time of the last passed test (Wall as the clock said
	// it then), 0 where none is known. The alarm counts the time that passed
	// since by Mono and, over a restart, by how long that took: a clock that jumps
	// neither raises nor clears it. A stop of unknown length does not count, so
	// that the alarm may come late by that.
	Passed int64
}

// Mark says who did something to a point, since when and why.
type Mark struct {
	Who   string
	Note  string
	Since tag.Stamp
}

// TestView is what is shown of a test.
type TestView struct {
	Mark
	Left time.Duration
}

// ForceView is what is shown of a tag that has a value by force.
type ForceView struct {
	Mark
	Tag   tag.ID
	Value tag.Value
	Left  time.Duration
}
