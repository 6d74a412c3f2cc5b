// Package child is the conversation between a driver and a child process of the
// same binary that does what could take the decider with it: a library that
// panics, hangs or allocates what its peer tells it to.
//
// Frames go over a socketpair (the child's descriptor 3, never its standard
// output): four bytes of length, one of kind, a body of at most MaxFrame.
// Readings are of fixed size; buffers are used again. Each side sends a frame at
// least every Beat; silence of Quiet means that the other is gone. The child
// ends when the stream does. The parent may end the child at any time and loses
// nothing by it: Process.Run starts one, waits for it in any case, kills it when
// it does not follow, watches its memory and hands what it writes to standard
// error to the log, bounded. When to start the next is its users' matter.
//
// A Conn's Read belongs to one goroutine and its writes are serialised. What the
// frames mean is their users' matter: this package moves them, starts children
// and tells when they ended. Nothing here is durable.
//
// Imports: the standard library, golang.org/x/sys/unix.
package child
