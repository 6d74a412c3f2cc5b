// Package feed gets the journal's records to destinations that speak another
// protocol than ours: plain JSON, Sparkplug B, HJ 212.
//
// It promises: each record goes at least once, in the order of its stream;
// events before readings; the cursor moves when the protocol has confirmed as
// far as it can (an MQTT PUBACK, a data answer of HJ 212), and no further. Such
// a destination gives no receipt that proves anything: what it is given may be
// lost there, and only a Davy receiver tells. Whether it holds back deletion is
// must_confirm's to say. Records that are older than Live when they are sent
// are marked as history, and do not hold up what is live (see Options).
//
// What a reading's tag is called is read from the tag table that stands in the
// journal before it, so that a backlog of an older plan keeps its names.
//
// Who owns what: Run owns the session and every goroutine it starts.
//
// Imports: journal, wire, drivers/tag.
package feed

import (
	"context"

	"davy/agent/wire"
	"davy/drivers/tag"
)

// Record is one record with what its tag means. Exactly one of Event and
// Reading is set.
type Record struct {
	Epoch   wire.Epoch
	Stream  string
	Number  uint64
	Event   *wire.Event
	Reading *tag.Reading
	Tag     *wire.TableTag // of the event or the reading; nil: none, or not known
	Table   *wire.Table    // that was in force; nil: not known
	History bool
}

// Session is one connection, made by an encoding. It is used by one goroutine
// and thrown away when Done is closed.
type Session interface {
	// Send sends records of one stream in their order, and returns when the
	// destination has confirmed them as far as its protocol can. What it cannot
	// express it leaves out, and counts. On an error all of them come again, in
	// another session.
	Send(ctx context.Context, records []Record) error
	Done() <-chan struct{}
	Err() error // why Done is closed
	Close() error
}

// Connect makes a session, ready to send.
type Connect func(ctx context.Context) (Session, error)
