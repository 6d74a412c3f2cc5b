// Package device is a Modbus device that misbehaves on purpose, and a checker
// that knows from outside what it held. It speaks Modbus TCP, RTU and ASCII on
// any stream: connections that it accepts (Serve) or makes (Call, as a 4G unit
// dials in), a pseudo-terminal (Line). Every station of a line is this device.
//
// Every cell is a pair of registers (or, of inputs, likewise): the first holds
// the cell's own address, the second counts its changes. So the value that a
// client takes for good names the register it came from and the time it was
// there: reading a cell as uint32 gives address<<16 | count. The device keeps
// when each count began and ended; Held says whether a cell held a value at
// some instant of a request.
//
// Each answer is spoilt as the present Fault says, or, with Chaos, as a seeded
// die says. The device serves any number of connections; each answers in
// order, except where the fault is about order. It writes what it is told to
// (holding cells above WriteFrom, coils). Serve blocks and returns when every
// goroutine of the device has.
//
// Goburrow and GoburrowRTU are drivers over goburrow's own clients, the
// references that the checker must be able to catch.
//
// Imports: drivers, drivers/tag, drivers/modbus (addresses and types),
// goburrow's modbus, golang.org/x/sys/unix.
package device
