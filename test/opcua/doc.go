// Package opcua holds the polling OPC UA driver to the contract of all drivers
// (drivers/drivertest), with a real server, gopcua's, that misbehaves on
// purpose, and a proxy before it that does so with bytes; and counts what
// reconnects leave behind. Subscriptions have tests of their own in
// drivers/opcua and test/e2e/opcua, and security has its there.
//
// Every cell of the server is a number that names the cell and counts its
// changes, (cell+1)<<32 | count. So the value that a client takes for good names
// the node it came from and the time it was there: the server keeps when each
// count began, and held says whether a cell held a value at some instant of a
// request.
//
// The child process of a link is this test binary itself, as it is davy's own
// in an agent.
//
// Imports: drivers, drivers/..., test/scale, gopcua's server.
package opcua
