// Package worker is the child process of an OPC UA link: it holds the session.
//
// It promises that a sample it hands over as good came over the session that
// stands, from the server that the site trusts, and that silence is noticed: by
// a data clock (keep-alives count), and by a canary read; at most two publishing
// intervals and five seconds after the server last spoke, unless the server
// insists on rarer keep-alives. After any doubt (a lost connection, a service
// fault, a missed keep-alive, a sequence gap, a panic) everything is built again
// from nothing: a new channel, namespaces resolved by their URI, items created by
// the few hundred within the server's operation limits, and a read of all values.
// Sessions are closed on every path; one that cannot be closed, because the
// connection is gone or we were killed, runs out at the server in a minute.
//
// Of the library it uses the secure channel and the encoding, and not the
// client: that one reconnects by itself into a session without subscriptions,
// panics on a bad signature, sends the password to whatever certificate stands in
// the answer, and lets one full channel of notifications stop all. Sessions,
// publish requests and items are here; there is nothing that could run full, for
// what one publish request brought is handed on before the next is sent.
//
// Trust is ours, because the library checks no certificate: endpoints are asked
// for without one, exactly the configured policy and mode is taken, the
// server's certificate is held against the site's pin or CA (a CA's must be made
// for a server and for the host that the site names), its dates and the
// application URI, and only then a channel is made with these bytes pinned. The
// library lets its peer change policy and certificate with any answer, so a gate
// on a loopback connection stands before it (gate.go), and the server's
// certificate and offers are compared again within the session, before a
// password is sent. Certificate revocation lists are not read.
//
// What the gate cannot hold back is what stands inside a message: a server that
// holds the trusted key, or any that answers while endpoints are asked for or
// where the site says `security: none`, can make the library panic in a
// goroutine of its own (an array of -2 elements; where int has 32 bits, a text
// of 0x80000001 bytes). That ends the process: all is bad, and the parent starts
// another.
//
// Serve works on an io.ReadWriteCloser and returns when it ends, with every
// goroutine of its own and the library's. What is durable is our own certificate
// and key, made once, and the certificates that were refused, bounded.
//
// Imports: drivers/child, drivers/opcua, drivers/tag, gopcua.
package worker
