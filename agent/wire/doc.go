// Package wire is the message that leaves the plant and the receipt that
// comes back: davy.proto, encoded and decoded by hand over protowire.
//
// It promises that Decode of any bytes returns an error or a message, never a
// panic, and never allocates more than a small multiple of its input (a body
// decompresses to at most MaxBody). Encoding is deterministic: a block's bytes
// are made once. A signature covers "davy/1/<kind>\n" and the exact bytes.
//
// Imports: drivers/tag only. Both the keeper and the receiver use it.
package wire
