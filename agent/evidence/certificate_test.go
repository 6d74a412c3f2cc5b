package evidence

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"testing"

	"davy/agent/wire"
)

// A certificate is good for the key it names, in its time, until it is
// withdrawn; and nothing of it can be changed.
func TestCertificate(t *testing.T) {
	authority, other := seeded(1), seeded(2)
	pub := func(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }
	receiver, thief := pub(seeded(3)), pub(seeded(4))
	good := SignCertificate(&wire.Certificate{Key: receiver, Name: "江苏", NotBefore: 100, NotAfter: 200, Number: 5, Least: 4}, authority)
	clock := func(wall int64) Moment { return Moment{wall, true} }
	bound := func(wall int64) Moment { return Moment{wall, false} }
	f := func(name string, signed []byte, authority, key ed25519.PublicKey, now Moment, least uint64, want string) {
		t.Helper()
		c, err := CheckCertificate(signed, authority, key, now, least)
		var refused *RefusedError
		switch {
		case want == "" && (err != nil || c.Number != 5 || c.Least != 4 || c.Name != "江苏" || !bytes.Equal(c.Key, receiver)):
			t.Errorf("%s: %+v, %v", name, c, err)
		case want != "" && (!errors.As(err, &refused) || refused.Code != want || c != nil):
			t.Errorf("%s: %+v, %v, want %s", name, c, err, want)
		}
	}
	a := pub(authority)
	f("good", good, a, receiver, clock(100), 0, "")
	f("its last moment", good, a, receiver, clock(199), 5, "")
	f("expired", good, a, receiver, clock(200), 0, "expired")
	f("not yet", good, a, receiver, clock(99), 0, "early")
	f("a clock that nobody trusts says nothing of not yet", good, a, receiver, bound(0), 0, "")
	f("but the time that has passed has", good, a, receiver, bound(200), 0, "expired")
	f("withdrawn", good, a, receiver, clock(150), 6, "withdrawn")
	f("another key", good, a, thief, clock(150), 0, "key")
	f("another authority", good, pub(other), receiver, clock(150), 0, "authority")
	f("no authority", good, nil, receiver, clock(150), 0, "authority")
	f("none", nil, a, receiver, clock(150), 0, "certificate")
	f("noise", []byte("\xff"), a, receiver, clock(150), 0, "certificate")
	f("below its own least", SignCertificate(&wire.Certificate{Key: receiver, NotAfter: 200, Number: 3, Least: 4}, authority), a, receiver, clock(150), 0, "withdrawn")
	f("never good", SignCertificate(&wire.Certificate{Key: receiver, NotBefore: 200, NotAfter: 200, Number: 5}, authority), a, receiver, clock(150), 0, "certificate")
	f("of no number", SignCertificate(&wire.Certificate{Key: receiver, NotAfter: 200}, authority), a, receiver, clock(150), 0, "certificate")
	receipt := wire.Sign(wire.ReceiptKind, (&wire.Certificate{Version: 1, Key: receiver, NotAfter: 200, Number: 9}).Encode(nil), authority)
	f("signed as something else", receipt.Encode(nil), a, receiver, clock(150), 0, "authority")
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		if c, err := CheckCertificate(bad, a, receiver, clock(150), 0); err == nil {
			t.Errorf("byte %d changed: %+v", i, c)
		}
	}
}
