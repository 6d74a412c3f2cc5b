// Package serial is the port of a serial line: a byte stream with time.
//
// Open makes a Port of a device file (/dev/serial/by-path/…): exclusive (one
// line has one master: a lock by the device that the path resolves to, within
// the process and against others), raw, at a speed, with RS-485 settings where
// the line has them. Reads and writes end at their deadline or when the port is
// closed; a device that was unplugged is ErrUnplugged, never a busy loop, and a
// port opened again later finds it by its path. Sent tells how long what was
// written still needs on the wire.
//
// A Port belongs to one goroutine, but SetDeadline and Close may be called from
// others. Nothing here is durable. It assumes Linux: termios2 by ioctl, and the
// runtime's poller for waiting, which a tty supports. The poller counts in whole
// milliseconds, which is more than half of the pause between two frames; the
// last Fine of a wait is therefore the kernel's own poll, which a Close or an
// earlier deadline does not cut short.
//
// Imports: drivers, golang.org/x/sys/unix.
package serial

import (
	"errors"
	"time"
)

// Limits.
const (
	MinBaud = 1200
	MaxBaud = 921600
	// Fine is how much of a wait the kernel's own poll takes, see above.
	Fine = 3 * time.Millisecond
	// MaxRTSDelay is the longest delay of RS-485 before and after sending.
	MaxRTSDelay = 100 * time.Millisecond
)

// ErrUnplugged is the error of a port whose device is gone: unplugged, or
// hung up by the driver. Close it and open it again by its path.
var ErrUnplugged = errors.New("device unplugged")

// ErrBusy is the error of a line that has a master already.
var ErrBusy = errors.New("line in use")
