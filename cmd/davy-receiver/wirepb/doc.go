// Package wirepb is the code that protoc makes of agent/wire/davy.proto. It
// is not used to encode anything that is sent: it is the independent reading of
// the same description that the hand-written codec is held against in the
// tests, and stays out of the agent (it would cost it 1.6 MB).
//
// To make it again: protoc with protoc-gen-go of the pinned version,
// -I agent/wire --go_opt=paths=source_relative davy.proto.
//
// Imports: nothing of ours; its tests import agent/wire and drivers/tag.
package wirepb
