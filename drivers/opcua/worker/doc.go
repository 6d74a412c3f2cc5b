// Package worker is the child process of an OPC UA link: it holds the session.
//
// It promises that a sample it hands over as good came over the session that
// stands, from the server that the site trusts, and that silence is noticed: by
// a data clock per subscription (keep-alives count), and by a canary read. After
// any doubt (a lost connection, a service fault, a missed keep-alive, a
// sequence gap, a panic) everything is built again from nothing: a new client
// object, namespaces resolved by their URI, items created by the few hundred
// within the server's operation limits, and a read of all values; the library's
// own reconnect is never used. Sessions are closed on every path.
//
// Trust is ours, because the library checks no certificate: endpoints are asked
// for without one, exactly the configured policy and mode is taken, the
// server's certificate is held against the site's pin or CA, its dates and the
// application URI, and only then a client is made with these bytes pinned. No
// password goes over a policy that does not protect it.
//
// Serve works on an io.ReadWriteCloser and returns when it ends, with every
// goroutine of its own; the library's may outlive it, which is one reason for
// the process. What is durable is our own certificate and key, made once.
//
// Imports: drivers, drivers/child, drivers/opcua, drivers/tag, gopcua.
package worker
