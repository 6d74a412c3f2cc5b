package uplink

import (
	"errors"
	"log/slog"
	"testing"

	"davy/agent/evidence"
	"davy/agent/wire"
)

// Whoever stole a receiver's key can tell the gateway of a store of his own, in
// a far future. The certificate that withdraws the key ends that, and the true
// receiver's receipts and resumes count again.
func TestWithdrawalEndsTheThiefsWord(t *testing.T) {
	authority := key(9)
	certified := func(number, least uint64, n byte) []byte {
		signed := evidence.SignCertificate(&wire.Certificate{
			Version: wire.Version, Key: pub(key(n)), Name: "r", NotBefore: 1, NotAfter: 1 << 62, Number: number, Least: least,
		}, authority)
		return signed
	}
	var kept Known
	u := New(Options{
		Name: "regulator", Gateway: gateway, AuthorityKey: pub(authority), Log: slog.New(slog.DiscardHandler),
		Known:     Known{Least: 1, Store: "thief", Number: 7, Wall: 1 << 61},
		KeepKnown: func(k Known) error { kept = k; return nil },
		Moment:    func() evidence.Moment { return evidence.Moment{Wall: 1 << 60, Trusted: true} },
	})
	receipt := func(cert []byte, n byte) []byte {
		return signed(&wire.Receipt{Version: wire.Version, Gateway: gateway, Destination: "regulator", Store: "true", Certificate: cert}, key(n))
	}
	var refused *evidence.RefusedError
	if _, err := u.receipt(receipt(certified(1, 1, 2), 2)); !errors.As(err, &refused) || refused.Code != "store" {
		t.Fatalf("before the withdrawal: %v", err)
	}
	if _, err := u.receipt(receipt(certified(2, 2, 3), 3)); err != nil {
		t.Fatalf("the true receiver with its new key: %v", err)
	}
	if kept != (Known{Least: 2}) {
		t.Errorf("kept %+v", kept)
	}
	if _, err := u.receipt(receipt(certified(1, 1, 2), 2)); err == nil {
		t.Error("the key that was withdrawn still counts")
	}
	m := wire.Resume{Version: wire.Version, Gateway: gateway, Destination: "regulator", Store: "true", Number: 1, Wall: 5, Certificate: certified(2, 2, 3)}
	if got, err := u.resume(resume(m, key(3))); err != nil || got == nil {
		t.Errorf("its resume: %+v, %v", got, err)
	}
}
