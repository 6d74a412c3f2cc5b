// Package jsonl gives the journal's records to any MQTT broker as plain JSON,
// at QoS 1: for dashboards, databases and scripts that know nothing of Davy.
//
// It promises: every record of every stream can be expressed, and is; what a
// reader must not overlook stands in the record itself. A PUBACK is all that
// comes back: the broker has it, and nothing is said of who reads it.
//
// Topics: <topic>/event, <topic>/reading and <topic>/health, where <topic> is
// davy/1/<gateway>/json if the site names no other. A message is one JSON
// object in UTF-8 (RFC 8259), not retained:
//
//	{"v":1,"gateway":"GW-1","epoch":"<32 hex digits>","stream":"reading","records":[{…},…]}
//
// with at most MaxMessage records of one stream and epoch, in their order.
// (epoch, stream, n) is a record's name: a record that comes twice, after a
// connection broke, has the same. The schema stands in schema.json beside this
// file. Fields that say nothing are left out, but for those marked *.
//
// A reading:
//
//	n*        its number
//	time*     when Davy got it, RFC 3339 with nanoseconds, UTC, by the gateway's clock
//	mono*     the same on the clock that never steps, ns since the gateway's boot
//	source    what the device says of the time, RFC 3339
//	history   true: older than half a minute when it was sent
//	id*       number of the tag in the plan of this epoch
//	tag       its name; missing: the table that names it is gone
//	unit      as the site has it
//	type*     bool, int, float32, float64, enum, text; none: there is no value
//	value*    true or false, a number or a text; null where quality is bad
//	bad_value what the device said all the same, where quality is bad
//	name      what the site calls this value of a bool or an enum
//	quality*  good, uncertain, bad
//	reason    why it is not simply good
//	flags     out of: limit-low, limit-high, forced, test, maintenance
//
// A number is the shortest that reads back as the same value of its type. A
// whole number beyond ±(2⁵³−1) is a text of its digits, because most readers of
// JSON would change it (RFC 7493, section 2.2). There are no NaN and no infinities.
//
// An event has n, time, mono and history as well, kind* (a word, as
// "alarm-raised"; "kind-N" of a newer agent), and of rule, occurrence,
// priority, id, tag, unit, type, value, name, quality, limit, first_out, votes,
// output, who, proved, note, hidden, test, first, channel, second, for_s,
// result, record, samples, serial, start, gap, tags, clock and beacon what it
// has; a vote has channel, vote, since, type, value, quality, reason and last.
// Words are codes, never sentences: who shows them gives them a language.
//
// A session is used by one goroutine; nothing is durable here.
//
// Imports: ring (names of kinds), uplink/feed, uplink/mqtt, wire, rules, drivers/tag.
package jsonl

import (
	"context"
	"fmt"

	"davy/agent/uplink/feed"
	"davy/agent/uplink/mqtt"
)

// Limits, each with what happens at it.
const (
	MaxMessage = 100      // records of a message; more make another
	MaxBytes   = 64 << 10 // of a message's records, about: with more the rest makes another
)

// Options of a destination.
type Options struct {
	Gateway string
	Topic   string // "": davy/1/<gateway>/json
	// Broker says how to reach it, asked before each connection.
	Broker func() (mqtt.Options, error)
}

// New returns what makes the sessions of a destination.
func New(o Options) feed.Connect {
	if o.Topic == "" {
		o.Topic = "davy/1/" + o.Gateway + "/json"
	}
	return func(ctx context.Context) (feed.Session, error) {
		b, err := o.Broker()
		if err != nil {
			return nil, err
		}
		c, err := mqtt.Dial(ctx, b)
		if err != nil {
			return nil, err
		}
		return &session{Conn: c, o: &o}, nil
	}
}

type session struct {
	*mqtt.Conn
	o *Options
	b []byte
}

// Send publishes records and waits for the broker to acknowledge all of them.
func (s *session) Send(ctx context.Context, records []feed.Record) error {
	for len(records) > 0 {
		var n int
		s.b, n = appendMessage(s.b[:0], s.o.Gateway, records)
		// The library keeps the bytes until they are acknowledged.
		if err := s.Publish(ctx, s.o.Topic+"/"+records[0].Stream, append([]byte(nil), s.b...)); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
		records = records[n:]
	}
	return s.Flush(ctx)
}
