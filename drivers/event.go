package drivers

import "davy/drivers/tag"

// Event is what a device says happened, at its own time: a condition of OPC UA
// part 9. It is a record beside the readings, and decides nothing.
type Event struct {
	Tag      tag.ID // the point that stands for the device's conditions
	Received tag.Stamp
	Time     int64  // what the source says, ns since 1970, 0 if absent: data
	ID       string // the same for all that is said of one occurrence
	Source   string
	Name     string
	Message  string
	Severity uint16 // 1 to 1000; 0 if absent
	// States as OPC UA part 9 has them.
	Active, Acked, Confirmed, Enabled, Retain, Suppressed bool
	Refreshed                                             bool // it stands; it did not happen now
}

// Announcer is a Subscriber whose device tells of events beside its readings.
// Announce is called once, before Subscribe; f is called from the goroutine that
// called Subscribe, in the order the events came, before the reading of the
// point that they change.
type Announcer interface {
	Subscriber
	Announce(f func(Event))
}
