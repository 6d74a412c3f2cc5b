package evidence

import (
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"davy/agent/wire"
)

func TestKeyIsMadeOnceAndNeverReplaced(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	first, err := LoadOrCreateKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	again, err := LoadOrCreateKey(dir)
	if err != nil || !first.Equal(again) {
		t.Fatalf("another key: %v", err)
	}
	path := filepath.Join(dir, KeyFile)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.new-*")); len(left) > 0 {
		t.Fatalf("left behind: %v", left)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range [][]byte{nil, whole[:len(whole)/2], []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), append(whole, 'x')} {
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadOrCreateKey(dir); !errors.Is(err, ErrKey) {
			t.Errorf("%q: got %v", bad, err)
		}
		if now, _ := os.ReadFile(path); string(now) != string(bad) {
			t.Error("a damaged key was overwritten")
		}
	}
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadOrCreateKey(dir); err == nil || !strings.Contains(err.Error(), "0600") {
		t.Errorf("a key that others may read: %v", err)
	}
}

func TestFingerprint(t *testing.T) {
	pub := ed25519.NewKeyFromSeed(make([]byte, 32)).Public().(ed25519.PublicKey)
	const want = "COPD-SQHG-JNKJ-C4RA-RDM2-BV2B-MKH4-QJXA-SR25-GQNH-QCWN-4PCL-QBYA"
	got := Fingerprint(pub)
	if got != want {
		t.Errorf("fingerprint %s, want %s", got, want)
	}
	if !SameFingerprint(strings.ToLower(strings.ReplaceAll(got, "-", " ")), pub) || SameFingerprint(got[1:], pub) {
		t.Error("comparison")
	}
}

func TestCheckReceipt(t *testing.T) {
	key := ed25519.NewKeyFromSeed([]byte(strings.Repeat("k", 32)))
	other := ed25519.NewKeyFromSeed([]byte(strings.Repeat("o", 32)))
	pub := key.Public().(ed25519.PublicKey)
	good := wire.Receipt{Version: wire.Version, Gateway: "GW", Destination: "regulator", Store: "s", Upto: []wire.Head{{Stream: "event", Number: 3}}}
	sign := func(kind string, r wire.Receipt, k ed25519.PrivateKey) []byte {
		s := wire.Sign(kind, r.Encode(nil), k)
		return s.Encode(nil)
	}
	r, err := CheckReceipt(sign(wire.ReceiptKind, good, key), pub, "GW", "regulator")
	if err != nil || r.Upto[0].Number != 3 {
		t.Fatalf("%+v, %v", r, err)
	}
	f := func(signed []byte, want string) {
		t.Helper()
		_, err := CheckReceipt(signed, pub, "GW", "regulator")
		var re *RefusedError
		if !errors.As(err, &re) || re.Code != want {
			t.Errorf("want %s, got %v", want, err)
		}
	}
	f([]byte("\xff\xff"), "malformed")
	f(sign(wire.ReceiptKind, good, other), "key")
	f(sign(wire.EnvelopeKind, good, key), "signature")
	changed := sign(wire.ReceiptKind, good, key)
	changed[8] ^= 1
	f(changed, "signature")
	with := func(change func(*wire.Receipt)) []byte {
		r := good
		change(&r)
		return sign(wire.ReceiptKind, r, key)
	}
	f(with(func(r *wire.Receipt) { r.Version = 9 }), "version")
	f(with(func(r *wire.Receipt) { r.Gateway = "GX" }), "gateway")
	f(with(func(r *wire.Receipt) { r.Destination = "scada" }), "destination")
}
