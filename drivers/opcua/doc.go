// Package opcua is the driver of OPC UA as the decider sees it: addresses,
// settings, plans, and a link that talks to a child process in which the client
// library works (drivers/opcua/worker). This package imports no OPC UA library:
// what a hostile server can do to one must not reach the process that decides.
//
//	decider: scan → Link ── drivers/child ──▶ child: worker → gopcua → server
//
// A link subscribes (the default) or polls. Every point that has no valid sample
// right now is bad, with the reason: the child died, the session is in doubt,
// the server refused the item (its status code, named once in the log). Frames
// of another child or another session than those that stand are never taken; a
// child that speaks nonsense is replaced, with growing pauses.
//
// A reading's Received is when the child took it from the socket, on the
// parent's clock as Hello handed it over (Clock); freshness is judged by that
// alone, the server's times are data. A reading from the future, or from before
// its child, its session or its request, is not taken.
//
// When a session is lost every point is bad at once. Subscribe says that it is
// in doubt (it ends) when the session is not back within Rebuild, when the child
// is silent for child.Quiet, or when it died. The child is the subscription's:
// it ends with it. Write may be called beside Subscribe and goes over the same
// session.
//
// Security is in the site file, written out: `security: none` is shown on every
// screen; anything else needs `trust:`. Fail-closed: without a certificate that
// the site trusts there is no session.
//
// Imports: drivers, drivers/child, drivers/tag.
package opcua
