package worker

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

var testTime = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)

func selfSigned(t *testing.T, key crypto.Signer, edit func(*x509.Certificate)) []byte {
	t.Helper()
	uri, _ := url.Parse("urn:server")
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: testTime.Add(-time.Hour), NotAfter: testTime.Add(time.Hour), URIs: []*url.URL{uri}}
	if edit != nil {
		edit(c)
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// keys are what the tests share: to make one takes seconds under qemu.
var keys = [3]func() (*rsa.PrivateKey, error){sync.OnceValues(newKey), sync.OnceValues(newKey), sync.OnceValues(newKey)}

func newKey() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) }

// rsaKey is one of the keys.
func rsaKey(t *testing.T, which int) *rsa.PrivateKey {
	t.Helper()
	key, err := keys[which]()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestTrust(t *testing.T) {
	key := rsaKey(t, 0)
	good := selfSigned(t, key, nil)
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ec := selfSigned(t, curve, nil)
	pin := func(der []byte) Trust { return Trust{Pins: []Pin{sha256.Sum256(der)}} }
	basic, _ := policyOf("Basic256Sha256")
	f := func(name string, trust Trust, chain []byte, uri string, at time.Time, synchronised bool, why string) {
		t.Helper()
		leaf, err := trust.check(chain, uri, "plc.plant", basic, at, synchronised)
		var u *untrusted
		if why == "" && (err != nil || string(leaf) != string(leafOf(chain))) || why != "" && (!errors.As(err, &u) || u.Why != why) {
			t.Errorf("%s: %v, want %q", name, err, why)
		}
		if u != nil && why != "none" && !strings.Contains(err.Error(), fingerprint(leafOf(chain))) {
			t.Errorf("%s: %v does not name the fingerprint", name, err)
		}
	}
	f("pinned", pin(good), good, "urn:server", testTime, true, "")
	f("with a chain behind it", pin(good), append(append([]byte{}, good...), ec...), "urn:server", testTime, true, "")
	f("nothing trusted", Trust{}, good, "urn:server", testTime, true, "unknown")
	f("another pinned", pin(ec), good, "urn:server", testTime, true, "unknown")
	f("elliptic curve", pin(ec), ec, "urn:server", testTime, true, "key")
	f("no certificate", pin(good), nil, "urn:server", testTime, true, "none")
	f("nonsense", pin(good), []byte{0x30, 0x84, 0xff, 0xff, 0xff, 0xff}, "urn:server", testTime, true, "none")
	f("expired", pin(good), good, "urn:server", testTime.Add(2*time.Hour), true, "expired")
	f("not yet", pin(good), good, "urn:server", testTime.Add(-2*time.Hour), true, "expired")
	f("clock", pin(good), good, "urn:server", testTime, false, "clock")
	unchecked := pin(good)
	unchecked.DatesUnchecked = true
	f("unchecked", unchecked, good, "urn:server", testTime.Add(2*time.Hour), false, "")
	f("another application", pin(good), good, "urn:other", testTime, true, "application-uri")
	f("no application", pin(good), good, "", testTime, true, "application-uri")
	ca := selfSigned(t, key, func(c *x509.Certificate) {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
	})
	root, _ := x509.ParseCertificate(ca)
	f("not of the CA", Trust{CAs: []*x509.Certificate{root}}, selfSigned(t, rsaKey(t, 1), nil), "urn:server", testTime, true, "unknown")
}

func TestShortKeys(t *testing.T) {
	t.Setenv("GODEBUG", "rsa1024min=0")
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	der := selfSigned(t, key, nil)
	basic, _ := policyOf("Basic256")
	trust := Trust{Pins: []Pin{sha256.Sum256(der)}}
	if _, err := trust.check(der, "urn:server", "plc.plant", basic, testTime, true); err == nil || !strings.Contains(err.Error(), "1024 bits") {
		t.Errorf("a key of 1024 bits: %v", err)
	}
	trust.Legacy = true
	if _, err := trust.check(der, "urn:server", "plc.plant", basic, testTime, true); err != nil {
		t.Errorf("with legacy: %v", err)
	}
}

func TestRejectedAreBounded(t *testing.T) {
	dir := t.TempDir()
	for i := range maxRejected + 5 {
		if err := reject(dir, fmt.Append(nil, "certificate ", i)); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadDir(filepath.Join(dir, "opcua", "rejected"))
	if err != nil || len(kept) != maxRejected {
		t.Errorf("%d kept, %v", len(kept), err)
	}
	last := fmt.Append(nil, "certificate ", maxRejected+4)
	if _, err := os.Stat(filepath.Join(dir, "opcua", "rejected", hexPrint(fingerprint(last))+".der")); err != nil {
		t.Error(err)
	}
}

func TestOwn(t *testing.T) {
	dir := t.TempDir()
	first, made, err := Own(dir, "")
	if err != nil || !made || !strings.HasPrefix(first.URI, "urn:davy:") {
		t.Fatalf("%+v, made %v, %v", first, made, err)
	}
	cert, err := x509.ParseCertificate(first.DER)
	if err != nil || cert.NotAfter.Before(time.Now().AddDate(19, 0, 0)) || len(cert.URIs) != 1 || cert.KeyUsage&(x509.KeyUsageDigitalSignature|x509.KeyUsageKeyEncipherment|x509.KeyUsageDataEncipherment) == 0 {
		t.Errorf("%v, %+v", err, cert)
	}
	name := filepath.Join(dir, "opcua", ownFile)
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	second, made, err := Own(dir, first.URI)
	if err != nil || made || string(second.DER) != string(first.DER) {
		t.Errorf("another certificate: made %v, %v", made, err)
	}
	if _, _, err := Own(dir, "urn:other"); err == nil || !strings.Contains(err.Error(), "urn:other") {
		t.Errorf("another application URI: %v", err)
	}
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, damaged := range [][]byte{{}, raw[:len(raw)/2], []byte("nonsense"), raw[:len(raw)-400]} {
		if err := os.WriteFile(name, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, made, err := Own(dir, ""); err == nil || made {
			t.Errorf("%d bytes of %d: made %v, %v", len(damaged), len(raw), made, err)
		}
		if left, _ := os.ReadFile(name); string(left) != string(damaged) {
			t.Error("the damaged file was replaced")
		}
	}
	if err := os.Chmod(name, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Own(dir, ""); err == nil {
		t.Error("a key that others can read was taken")
	}
}
