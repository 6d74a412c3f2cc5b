package worker

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"davy/drivers/opcua"
)

// Trust is what a site believes of a server's certificate.
type Trust struct {
	Pins []Pin // any of these certificates, or
	CAs  *x509.CertPool
	// DatesUnchecked lets a certificate pass whatever its dates say, and a clock
	// that nothing synchronises; the site wrote it.
	DatesUnchecked bool
	Legacy         bool // keys below 2048 bits, policies with SHA-1
}

// trustOf is the trust that a link's options say.
func trustOf(o *opcua.Options, p policy) (Trust, error) {
	t := Trust{DatesUnchecked: o.Undated, Legacy: p.Legacy}
	if o.Trust.SHA256 != "" {
		pin, err := ParsePin(o.Trust.SHA256)
		if err != nil {
			return Trust{}, err
		}
		t.Pins = append(t.Pins, pin)
	}
	if len(o.Trust.Pin) > 0 {
		t.Pins = append(t.Pins, sha256.Sum256(o.Trust.Pin))
	}
	for _, der := range o.Trust.CA {
		ca, err := x509.ParseCertificate(der)
		if err != nil {
			return Trust{}, fmt.Errorf("certificate of an authority: %w", err)
		}
		if t.CAs == nil {
			t.CAs = x509.NewCertPool()
		}
		t.CAs.AddCert(ca)
	}
	if len(t.Pins) == 0 && t.CAs == nil {
		return Trust{}, errors.New("the site trusts no certificate")
	}
	return t, nil
}

// Pin is the SHA-256 of a certificate, DER.
type Pin [sha256.Size]byte

// ParsePin reads a fingerprint as people write it: 64 hexadecimal digits, with
// or without colons or blanks, in either case.
func ParsePin(s string) (Pin, error) {
	s = strings.NewReplacer(":", "", " ", "", "sha256", "", "SHA256", "").Replace(strings.TrimSpace(s))
	raw, err := hex.DecodeString(s)
	if err != nil || len(raw) != sha256.Size {
		return Pin{}, errors.New("a fingerprint has 64 hexadecimal digits")
	}
	return Pin(raw), nil
}

// Fingerprint is the SHA-256 of a certificate as every screen shows it:
// hexadecimal, in pairs with colons.
func Fingerprint(der []byte) string { return fingerprint(der) }

func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	var b strings.Builder
	for i, x := range sum {
		if i > 0 {
			b.WriteByte(':')
		}
		fmt.Fprintf(&b, "%02X", x)
	}
	return b.String()
}

// untrusted is the refusal of a server's certificate, or of what it did with it.
type untrusted struct {
	Why         string // "unknown", "expired", "application-uri", …: the word for the condition
	Fingerprint string
	Detail      string
	DER         []byte
}

func (u *untrusted) Error() string {
	if u.Fingerprint == "" {
		return "untrusted server: " + u.Detail
	}
	return fmt.Sprintf("untrusted server: %s (certificate SHA-256 %s)", u.Detail, u.Fingerprint)
}

// leafOf returns the first certificate of a chain, DER; nil where there is none.
func leafOf(chain []byte) []byte {
	certs, err := x509.ParseCertificates(chain)
	if err != nil || len(certs) == 0 {
		return nil
	}
	return certs[0].Raw
}

// check holds the certificate that a server announced against what the site
// trusts. applicationURI is the one that the server announced beside it. It
// returns the leaf, to be pinned for this connection.
func (t *Trust) check(chain []byte, applicationURI string, p policy, now time.Time, clockTrusted bool) ([]byte, error) {
	refuse := func(why, format string, args ...any) ([]byte, error) {
		return nil, &untrusted{Why: why, Fingerprint: fingerprint(leafOf(chain)), DER: leafOf(chain), Detail: fmt.Sprintf(format, args...)}
	}
	certs, err := x509.ParseCertificates(chain)
	if err != nil || len(certs) == 0 {
		return nil, &untrusted{Why: "none", Detail: "the server has no readable certificate"}
	}
	leaf := certs[0]
	key, ok := leaf.PublicKey.(*rsa.PublicKey)
	if !ok {
		return refuse("key", "its key is not RSA (%s), which policy %s needs", leaf.PublicKeyAlgorithm, p.Name)
	}
	least := p.MinKey
	if least < 2048 && !t.Legacy {
		least = 2048
	}
	if bits := key.N.BitLen(); bits < least || bits > 4096 {
		return refuse("key", "its RSA key has %d bits, policy %s needs %d to 4096", bits, p.Name, least)
	}
	pinned := false
	for _, pin := range t.Pins {
		sum := sha256.Sum256(leaf.Raw)
		pinned = pinned || bytes.Equal(sum[:], pin[:])
	}
	if !pinned {
		if t.CAs == nil {
			return refuse("unknown", "it is not the certificate that the site trusts")
		}
		between := x509.NewCertPool()
		for _, c := range certs[1:] {
			between.AddCert(c)
		}
		at := now
		if t.DatesUnchecked {
			at = leaf.NotBefore
		}
		_, err := leaf.Verify(x509.VerifyOptions{Roots: t.CAs, Intermediates: between, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
		var invalid x509.CertificateInvalidError
		switch {
		case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
			// said below, in the same words as of a pinned one, unless it is the CA's
			if now.After(leaf.NotBefore) && now.Before(leaf.NotAfter) {
				return refuse("expired", "the certificate of its issuer is not valid now")
			}
		case err != nil:
			return refuse("unknown", "it does not come from a CA that the site trusts: %v", err)
		}
	}
	switch {
	case t.DatesUnchecked:
	case !clockTrusted:
		return refuse("clock", "its dates cannot be checked, because this gateway's clock is not synchronised (`dates: unchecked` accepts that)")
	case now.Before(leaf.NotBefore):
		return refuse("expired", "it is valid from %s only, and it is %s", leaf.NotBefore.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	case now.After(leaf.NotAfter):
		return refuse("expired", "it expired at %s, and it is %s", leaf.NotAfter.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	for _, uri := range leaf.URIs {
		if uri.String() == applicationURI && applicationURI != "" {
			return leaf.Raw, nil
		}
	}
	return refuse("application-uri", "it is made for %v, and the server calls itself %q", leaf.URIs, clip([]byte(applicationURI)))
}

// maxRejected bounds the certificates kept for a person to look at; the oldest goes.
const maxRejected = 20

// reject keeps a certificate that was refused as opcua/rejected/<fingerprint>.der,
// so that `davy browse --trust` on the spot is not the only way to see it.
func reject(dir string, der []byte) error {
	if dir == "" || len(der) == 0 {
		return nil
	}
	dir = filepath.Join(dir, "opcua", "rejected")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	name := filepath.Join(dir, strings.ToLower(strings.ReplaceAll(fingerprint(der), ":", ""))+".der")
	if _, err := os.Stat(name); err == nil {
		return nil
	}
	if err := os.WriteFile(name, der, 0o600); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	for err == nil && len(entries) > maxRejected {
		oldest := -1
		var at time.Time
		for i, e := range entries {
			if info, err := e.Info(); err == nil && filepath.Join(dir, e.Name()) != name && (oldest < 0 || info.ModTime().Before(at)) {
				oldest, at = i, info.ModTime()
			}
		}
		if oldest < 0 {
			return nil
		}
		if err := os.Remove(filepath.Join(dir, entries[oldest].Name())); err != nil {
			return err
		}
		entries = append(entries[:oldest], entries[oldest+1:]...)
	}
	return err
}
