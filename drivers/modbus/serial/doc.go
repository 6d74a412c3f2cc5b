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
// runtime's poller for waiting, which a tty supports.
//
// Imports: drivers, golang.org/x/sys/unix.
package serial
