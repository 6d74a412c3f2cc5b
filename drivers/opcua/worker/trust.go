package worker

import (
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"davy/drivers/opcua"
)

// Trust is what a site believes of a server's certificate.
type Trust struct {
	Pins []Pin // any of these certificates, or
	CAs  []*x509.Certificate
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
		t.CAs = append(t.CAs, ca)
	}
	if len(t.Pins) == 0 && len(t.CAs) == 0 {
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
// trusts. applicationURI is the one that the server announced beside it, host
// the one that the site names. It returns the leaf, to be pinned for this
// connection.
//
// One that an authority signed must be made for a server and for this host: an
// authority signs for others too, and a laptop's certificate, or another
// server's, is not this server.
func (t *Trust) check(chain []byte, applicationURI, host string, p policy, now time.Time, clockTrusted bool) ([]byte, error) {
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
	if !t.pinned(leaf) {
		if len(t.CAs) == 0 {
			return refuse("unknown", "it is not the certificate that the site trusts")
		}
		err := t.signed(certs, now)
		var invalid x509.CertificateInvalidError
		switch {
		case err == nil:
		case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
			return refuse("expired", "it, or the certificate of its issuer, is not valid at %s (it is from %s to %s)", now.UTC().Format(time.RFC3339),
				leaf.NotBefore.UTC().Format(time.RFC3339), leaf.NotAfter.UTC().Format(time.RFC3339))
		default:
			return refuse("unknown", "it does not come from a CA that the site trusts: %v", err)
		}
		if !forServer(leaf) {
			return refuse("usage", "it is not made for a server")
		}
		if leaf.VerifyHostname(host) != nil {
			return refuse("host", "it is made for %s, not for %s, and a CA signs for many (pin this certificate to take it all the same)", hosts(leaf), host)
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

// pinned reports whether the site names this very certificate: as a pin, or
// among its authorities (a server that signed its own and calls it one).
func (t *Trust) pinned(leaf *x509.Certificate) bool {
	sum := Pin(sha256.Sum256(leaf.Raw))
	return slices.Contains(t.Pins, sum) || slices.ContainsFunc(t.CAs, leaf.Equal)
}

// signed is nil where one of the authorities signed the first of certs, through
// the others or not. Where dates are not to be checked there must be one instant
// at which all of the chain was valid: a chain without one was never signed by
// anybody, and a library that looks at dates first says nothing of signatures.
func (t *Trust) signed(certs []*x509.Certificate, now time.Time) error {
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	for _, c := range t.CAs {
		roots.AddCert(c)
	}
	for _, c := range certs[1:] {
		between.AddCert(c)
	}
	instants := []time.Time{now}
	if t.DatesUnchecked { // an instant that all have in common is the beginning of one
		instants = nil
		for _, c := range append(slices.Clone(certs), t.CAs...) {
			instants = append(instants, c.NotBefore)
		}
	}
	var err error
	for _, at := range instants[:min(len(instants), maxInstants)] {
		_, err = certs[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
		var invalid x509.CertificateInvalidError
		if err == nil || !errors.As(err, &invalid) || invalid.Reason != x509.Expired {
			return err
		}
	}
	return err
}

// maxInstants bounds how often a chain is tried; a server sends the chain.
const maxInstants = 32

// forServer reports whether a certificate that says what it is for says a
// server, and one that says what its key may do says signatures.
func forServer(c *x509.Certificate) bool {
	for _, u := range c.ExtKeyUsage {
		if u == x509.ExtKeyUsageServerAuth || u == x509.ExtKeyUsageAny {
			return c.KeyUsage == 0 || c.KeyUsage&x509.KeyUsageDigitalSignature != 0
		}
	}
	return len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) == 0 && (c.KeyUsage == 0 || c.KeyUsage&x509.KeyUsageDigitalSignature != 0)
}

// hosts names what hosts a certificate is made for, for an error.
func hosts(c *x509.Certificate) string {
	names := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		return "no host"
	}
	return clip([]byte(strings.Join(names, ", ")))
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
