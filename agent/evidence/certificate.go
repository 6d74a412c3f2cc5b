package evidence

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"

	"davy/agent/wire"
)

// Moment is what somebody who checks a certificate knows of the time.
type Moment struct {
	// Wall is in ns since 1970: the time, or if the clock is not trusted the
	// newest instant that has certainly passed (build, last trusted time).
	Wall int64
	// Trusted says that Wall is the time and not only a bound below it.
	Trusted bool
}

// SignCertificate returns the authority's word as it travels: a Signed of the
// kind certificate. Version is filled in.
func SignCertificate(c *wire.Certificate, authority ed25519.PrivateKey) []byte {
	c.Version = wire.Version
	s := wire.Sign(wire.CertificateKind, c.Encode(nil), authority)
	return s.Encode(nil)
}

// CheckCertificate returns the certificate in a signed message, if the
// authority's key signed it for this receiver's key, it has not expired and its
// number is not below least. least is the largest Certificate.Least that was
// ever believed, 0 at first: whoever checks keeps it (the larger of its own and
// what comes back), or a withdrawn certificate is good again for it.
//
// A bound below the time can say that a certificate has expired, never that it
// is not valid yet; so under an untrusted clock NotBefore is not looked at.
//
// The error is a *RefusedError: "certificate" (there is none, or it is
// malformed), "authority" (of another one, or its signature is wrong),
// "version", "key" (it is for another key), "expired", "early", "withdrawn".
func CheckCertificate(signed []byte, authority, receiver ed25519.PublicKey, now Moment, least uint64) (*wire.Certificate, error) {
	c, err := ReadCertificate(signed, authority)
	switch {
	case err != nil:
		return nil, err
	case !bytes.Equal(c.Key, receiver):
		return nil, &RefusedError{"key"}
	case c.NotAfter <= now.Wall:
		return nil, &RefusedError{"expired"}
	case now.Trusted && now.Wall < c.NotBefore:
		return nil, &RefusedError{"early"}
	case c.Number < max(least, c.Least):
		return nil, &RefusedError{"withdrawn"}
	}
	return c, nil
}

// ReadCertificate returns what a certificate says, if the authority signed it;
// whether it is good now is for CheckCertificate to say.
func ReadCertificate(signed []byte, authority ed25519.PublicKey) (*wire.Certificate, error) {
	s, err := wire.DecodeSigned(signed)
	if err != nil || len(signed) == 0 {
		return nil, errors.Join(&RefusedError{"certificate"}, err)
	}
	if len(authority) != ed25519.PublicKeySize || !bytes.Equal(s.Key, authority) || !s.Verify(wire.CertificateKind) {
		return nil, &RefusedError{"authority"}
	}
	c, err := wire.DecodeCertificate(s.Body)
	switch {
	case err != nil:
		return nil, errors.Join(&RefusedError{"certificate"}, err)
	case c.Version != wire.Version:
		return nil, &RefusedError{"version"}
	case len(c.Key) != ed25519.PublicKeySize || c.Number == 0 || c.NotBefore >= c.NotAfter:
		return nil, errors.Join(&RefusedError{"certificate"}, fmt.Errorf("certificate %d: %w", c.Number, wire.ErrMalformed))
	}
	return c, nil
}
