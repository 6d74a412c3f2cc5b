// Package sim is a driver whose devices are in memory, for the demo, tests
// and simulation. It keeps the promise of every driver, and shows the shape
// of one whose device speaks by itself (drivers.Subscriber).
//
// A Plant holds the devices by link target. A device has points by name;
// whoever holds it sets values, scripts them over time, and says how it
// misbehaves. All of that may be done from any goroutine; a link belongs to
// the goroutine that opened it. No mutex is held over a wait, so everything
// works in a testing/synctest bubble. Nothing is durable.
//
// Imports: drivers, drivers/tag.
package sim

import "time"

// What bounds a link.
const (
	// DefaultTimeout holds where LinkConfig.Timeout is 0.
	DefaultTimeout = time.Second
	// DefaultSample is how often a scripted point is sampled for a
	// subscription where its Period is 0.
	DefaultSample = time.Second
	// MaxQueue is how many changes a subscription may be behind; one more puts
	// it in doubt and ends it.
	MaxQueue = 4096
)
