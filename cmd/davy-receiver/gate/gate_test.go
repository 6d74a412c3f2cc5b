package gate

import (
	"crypto/ed25519"
	"testing"

	"davy/agent/wire"
)

// FuzzCheck: any bytes have a verdict or are a gateway's valid envelope.
func FuzzCheck(f *testing.F) {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	e := wire.Envelope{
		Version: wire.Version, Gateway: "GW-1", Epoch: wire.Epoch{1}, Heads: []wire.Head{{Stream: "event", Number: 3}},
		Blocks: []wire.Block{{Stream: "event", First: 1, Count: 1, Body: wire.EncodeEvents(make([]wire.Event, 1))}},
	}
	s := wire.Sign(wire.EnvelopeKind, e.Encode(nil), key)
	f.Add("davy/1/GW-1/up/event", s.Encode(nil), true)
	f.Add("davy/1/GW-1/up/event", e.Encode(nil), false)
	f.Add("davy/1//up/event", []byte{}, true)
	taken := Check("davy/1/GW-1/up/event", s.Encode(nil))
	if taken.Verdict != "" || taken.Gateway != "GW-1" || string(taken.Key) != string(key.Public().(ed25519.PublicKey)) {
		f.Fatalf("a good message: %+v", taken)
	}
	f.Fuzz(func(t *testing.T, topic string, payload []byte, raw bool) {
		if !raw { // as a gateway would have signed it
			s := wire.Sign(wire.EnvelopeKind, payload, key)
			payload = s.Encode(nil)
		}
		c := Check(topic, payload)
		if c.Verdict == "" && (c.Envelope == nil || c.Gateway == "" || c.Envelope.Gateway != c.Gateway || len(c.Key) != ed25519.PublicKeySize) {
			t.Errorf("taken: %+v", c)
		}
	})
}
