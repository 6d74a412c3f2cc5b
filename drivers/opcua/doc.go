// Package opcua is the driver of OPC UA as the decider sees it: addresses,
// settings, plans, and a link that talks to a child process in which the client
// library works (drivers/opcua/worker). This package imports no OPC UA library:
// what a hostile server can do to one must not reach the process that decides.
//
//	decider: scan → Link ── drivers/child ──▶ child: worker → gopcua → server
//
// A link subscribes (the default) or polls. Every point that has no valid sample
// right now is bad, with the reason: the child died, the session is in doubt,
// the server refused the item (its status code, named once in the log). A
// reading's Received is when the child took it from the socket, on the clock
// that both processes share; freshness is judged by that alone, the server's
// times are data. The link says a subscription is in doubt (ends Subscribe) when
// the child is silent for child.Quiet.
//
// Security is in the site file, written out: `security: none` is shown on every
// screen; anything else needs `trust:`. Fail-closed: without a certificate that
// the site trusts there is no session.
//
// Imports: drivers, drivers/child, drivers/tag.
package opcua
