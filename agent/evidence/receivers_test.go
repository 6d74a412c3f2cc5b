package evidence

import (
	"crypto/ed25519"
	"errors"
	"testing"

	"davy/agent/wire"
)

func public(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

// Receipts and resumes of a certified key count, of another one not, and a key
// that was withdrawn does not come back.
func TestReceivers(t *testing.T) {
	authority, old, fresh := seeded(1), seeded(2), seeded(3)
	certify := func(key ed25519.PrivateKey, number, least uint64) []byte {
		return SignCertificate(&wire.Certificate{Key: public(key), Name: "r", NotBefore: 10, NotAfter: 100, Number: number, Least: least}, authority)
	}
	receipt := func(cert []byte, key ed25519.PrivateKey) []byte {
		s := wire.Sign(wire.ReceiptKind, (&wire.Receipt{Version: wire.Version, Gateway: "g", Certificate: cert}).Encode(nil), key)
		return s.Encode(nil)
	}
	resume := func(cert []byte, key ed25519.PrivateKey, gateway string) []byte {
		s := wire.Sign(wire.ResumeKind, (&wire.Resume{Version: wire.Version, Gateway: gateway, Number: 1, Certificate: cert}).Encode(nil), key)
		return s.Encode(nil)
	}
	code := func(err error) string {
		var r *RefusedError
		if err == nil {
			return ""
		}
		if !errors.As(err, &r) {
			t.Fatal(err)
		}
		return r.Code
	}
	now := Moment{Wall: 50, Trusted: true}
	r := &Receivers{Authority: public(authority)}
	for _, c := range []struct {
		what string
		b    []byte
		now  Moment
		want string
	}{
		{"of nobody", receipt(nil, old), now, "certificate"},
		{"with another's certificate", receipt(certify(fresh, 1, 0), old), now, "key"},
		{"good", receipt(certify(old, 1, 0), old), now, ""},
		{"expired", receipt(certify(old, 1, 0), old), Moment{Wall: 100}, "expired"},
		{"early", receipt(certify(old, 1, 0), old), Moment{Wall: 5, Trusted: true}, "early"},
		{"early by a clock that nobody trusts", receipt(certify(old, 1, 0), old), Moment{Wall: 5}, ""},
		{"the next key", receipt(certify(fresh, 2, 2), fresh), now, ""},
		{"the withdrawn one", receipt(certify(old, 1, 0), old), now, "withdrawn"},
		{"nonsense", []byte{0xff}, now, "malformed"},
	} {
		_, err := r.Receipt(c.b, "g", "d", c.now)
		if got := code(err); got != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
	if r.Least != 2 || !r.Key().Equal(public(fresh)) {
		t.Errorf("least %d", r.Least)
	}
	for want, b := range map[string][]byte{
		"": resume(certify(fresh, 2, 2), fresh, "g"), "withdrawn": resume(certify(old, 1, 0), old, "g"),
		"gateway": resume(certify(fresh, 2, 2), fresh, "other"), "signature": receipt(certify(fresh, 2, 2), fresh),
	} {
		if _, err := r.Resume(b, "g", "d", now); code(err) != want {
			t.Errorf("resume: %v, want %q", err, want)
		}
	}
	pinned := &Receivers{Pinned: public(old)}
	if _, err := pinned.Receipt(receipt(nil, old), "g", "d", now); err != nil {
		t.Error(err)
	}
	if _, err := pinned.Resume(resume(certify(fresh, 2, 2), fresh, "g"), "g", "d", now); code(err) != "key" {
		t.Error(err)
	}
}
