// Package gate says what a message is before anyone asks the database: the
// signed envelope of the gateway that its topic names, or why not.
//
// It promises a verdict for any bytes, without I/O and without believing the
// key that a message brings along: whether that key is the gateway's is for
// ingest to ask. It is a package of its own so that it can be fuzzed without
// the database.
//
// Imports: agent/wire.
package gate

import (
	"strings"

	"davy/agent/wire"
)

// The verdicts.
const (
	NotSigned     = "not-signed"    // the bytes are no signed message
	BadSignature  = "bad-signature" // the signature is not that of the key it names
	NotAnEnvelope = "not-decodable" // properly signed, and not understood
	WrongTopic    = "wrong-topic"   // it is of another gateway than its topic
	WrongVersion  = "wrong-version" // of a format that this version does not know
)

// Checked is a message with its verdict; "" is for one that is what it says it is.
type Checked struct {
	Gateway  string // that the topic names, "" for none
	Key      []byte // that the signature is of, unless NotSigned or BadSignature
	Envelope *wire.Envelope
	Verdict  string
}

// Check looks at one message.
func Check(topic string, payload []byte) Checked {
	c := Checked{Gateway: gatewayOf(topic)}
	s, err := wire.DecodeSigned(payload)
	if err != nil {
		c.Verdict = NotSigned
		return c
	}
	if !s.Verify(wire.EnvelopeKind) {
		c.Verdict = BadSignature
		return c
	}
	c.Key = s.Key
	c.Envelope, err = wire.DecodeEnvelope(s.Body)
	switch {
	case err != nil:
		c.Verdict = NotAnEnvelope
	case c.Gateway == "" || c.Envelope.Gateway != c.Gateway:
		c.Verdict = WrongTopic
	case c.Envelope.Version != wire.Version:
		c.Verdict = WrongVersion
	}
	return c
}

// UpTopics is the filter of everything that gateways send.
const UpTopics = "davy/1/+/up/+"

// gatewayOf returns the gateway that a topic names, "" if it names none.
func gatewayOf(topic string) string {
	p := strings.Split(topic, "/")
	if len(p) != 5 || p[0] != "davy" || p[1] != "1" || p[3] != "up" || !ValidID(p[2]) {
		return ""
	}
	return p[2]
}

// ValidID reports whether a gateway's id is one level of a topic that means
// nothing else: A-Z a-z 0-9 -, at most 64 characters.
func ValidID(id string) bool {
	for _, r := range id {
		if !(r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-') {
			return false
		}
	}
	return id != "" && len(id) <= 64
}
