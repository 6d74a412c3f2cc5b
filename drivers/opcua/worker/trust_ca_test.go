package worker

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"net/url"
	"testing"
	"time"
)

// signed is a certificate of a key, signed by another (nil: by itself).
type signed struct {
	cert *x509.Certificate
	key  *rsa.PrivateKey
}

func sign(t *testing.T, name string, key *rsa.PrivateKey, by *signed, edit func(*x509.Certificate)) *signed {
	t.Helper()
	uri, _ := url.Parse("urn:server")
	c := &x509.Certificate{
		SerialNumber: big.NewInt(int64(len(name))), Subject: pkix.Name{CommonName: name},
		NotBefore: testTime.Add(-time.Hour), NotAfter: testTime.Add(time.Hour), BasicConstraintsValid: true,
		URIs: []*url.URL{uri}, DNSNames: []string{"plc.plant"}, IPAddresses: []net.IP{net.IPv4(192, 0, 2, 7)},
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageDataEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if edit != nil {
		edit(c)
	}
	parent, with := c, key
	if by != nil {
		parent, with = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, with)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &signed{cert, key}
}

func authority(c *x509.Certificate) {
	c.IsCA, c.KeyUsage, c.ExtKeyUsage, c.URIs = true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign, nil, nil
}

func dated(from, to time.Duration) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = testTime.Add(from), testTime.Add(to) }
}

// What a server may not do to be believed where a site trusts an authority.
func TestTrustOfAnAuthority(t *testing.T) {
	ours, theirs, inner := rsaKey(t, 0), rsaKey(t, 1), rsaKey(t, 2)
	root := sign(t, "authority", ours, nil, authority)
	basic, _ := policyOf("Basic256Sha256")
	f := func(name, why string, leaf *signed, more ...func(*Trust, *[]byte)) {
		t.Helper()
		trust := Trust{CAs: []*x509.Certificate{root.cert}}
		chain := append([]byte{}, leaf.cert.Raw...)
		for _, edit := range more {
			edit(&trust, &chain)
		}
		_, err := trust.check(chain, "urn:server", "plc.plant", basic, testTime, true)
		var u *untrusted
		if why == "" && err != nil || why != "" && (!errors.As(err, &u) || u.Why != why) {
			t.Errorf("%s: %v, want %q", name, err, why)
		}
	}
	unchecked := func(trust *Trust, _ *[]byte) { trust.DatesUnchecked = true }
	with := func(x *signed) func(*Trust, *[]byte) {
		return func(_ *Trust, chain *[]byte) { *chain = append(*chain, x.cert.Raw...) }
	}
	only := func(x *signed) func(*Trust, *[]byte) {
		return func(trust *Trust, _ *[]byte) { trust.CAs = []*x509.Certificate{x.cert} }
	}
	leaf := func(edit func(*x509.Certificate)) *signed { return sign(t, "server", theirs, root, edit) }
	f("signed", "", leaf(nil))
	for host, ok := range map[string]bool{"192.0.2.7": true, "192.0.2.8": false, "PLC.plant": true, "plc.plant.": true, "plant": false, "": false} {
		trust := Trust{CAs: []*x509.Certificate{root.cert}}
		if _, err := trust.check(leaf(nil).cert.Raw, "urn:server", host, basic, testTime, true); (err == nil) != ok {
			t.Errorf("host %q: %v", host, err)
		}
	}

	// Nobody signed these but their owner: no date may let them pass.
	for name, edit := range map[string]func(*x509.Certificate){
		"ends before it begins":         dated(time.Hour, -time.Hour),
		"ended before it began, long":   dated(1000*time.Hour, -1000*time.Hour),
		"both in the past, turned":      dated(-time.Hour, -2*time.Hour),
		"both in the future, turned":    dated(2*time.Hour, time.Hour),
		"begins this instant":           dated(0, time.Hour),
		"ends this instant":             dated(-time.Hour, 0),
		"expired":                       dated(-2*time.Hour, -time.Hour),
		"good dates, no authority's":    nil,
		"an authority of its own, good": authority,
	} {
		forged := sign(t, "server", theirs, nil, edit)
		for _, dates := range []func(*Trust, *[]byte){unchecked, func(*Trust, *[]byte) {}} {
			trust := Trust{CAs: []*x509.Certificate{root.cert}}
			chain := forged.cert.Raw
			dates(&trust, &chain)
			if _, err := trust.check(chain, "urn:server", "plc.plant", basic, testTime, true); err == nil {
				t.Errorf("%s, dates unchecked %v: a certificate that no authority signed is trusted", name, trust.DatesUnchecked)
			}
		}
	}

	f("expired", "expired", leaf(dated(-2*time.Hour, -time.Hour)))
	f("expired, unchecked", "", leaf(dated(-2*time.Hour, -time.Hour)), unchecked)
	f("not yet", "expired", leaf(dated(time.Hour, 2*time.Hour)))
	f("turned dates of the authority's own, unchecked", "expired", leaf(dated(time.Hour, -time.Hour)), unchecked)

	// An authority that was renewed after its servers: older dates than theirs.
	young := sign(t, "authority", ours, nil, func(c *x509.Certificate) { authority(c); dated(-time.Minute, time.Hour)(c) })
	f("renewed authority", "", leaf(nil), only(young))
	f("renewed authority, unchecked", "", leaf(nil), only(young), unchecked)
	past := sign(t, "authority", ours, nil, func(c *x509.Certificate) { authority(c); dated(-3*time.Hour, -2*time.Hour)(c) })
	f("authority ran out", "expired", leaf(nil), only(past))
	f("authority ran out before its server began, unchecked", "expired", leaf(nil), only(past), unchecked)

	// Between the two.
	middle := func(edit func(*x509.Certificate)) *signed {
		return sign(t, "between", inner, root, func(c *x509.Certificate) {
			authority(c)
			if edit != nil {
				edit(c)
			}
		})
	}
	m := middle(nil)
	f("through another", "", sign(t, "server", theirs, m, nil), with(m))
	f("another that is not sent", "unknown", sign(t, "server", theirs, m, nil))
	m = middle(dated(-3*time.Hour, -2*time.Hour))
	f("through another that ran out", "expired", sign(t, "server", theirs, m, nil), with(m))
	m = middle(func(c *x509.Certificate) { c.IsCA = false })
	f("through one that is no authority", "unknown", sign(t, "server", theirs, m, nil), with(m))
	m = middle(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature })
	f("through one that may not sign", "unknown", sign(t, "server", theirs, m, nil), with(m))

	// Made for something else: an engineer's laptop, another server of the plant.
	f("a client's", "usage", leaf(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }))
	f("a mail's", "usage", leaf(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection} }))
	f("no usage said", "", leaf(func(c *x509.Certificate) { c.ExtKeyUsage, c.KeyUsage = nil, 0 }))
	f("no signatures", "usage", leaf(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign }))
	f("another host", "host", leaf(func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = []string{"other.plant"}, nil }))
	f("no host", "host", leaf(func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = nil, nil }))

	// A server's own certificate that calls itself an authority, as many do, and
	// stands in the site's file: this one certificate, whatever host it names.
	own := sign(t, "server", theirs, nil, func(c *x509.Certificate) { c.IsCA, c.DNSNames, c.IPAddresses = true, nil, nil })
	f("the authority itself", "", own, only(own))
	f("the authority itself, expired", "expired", sign(t, "server", theirs, nil, func(c *x509.Certificate) { c.IsCA = true; dated(-2*time.Hour, -time.Hour)(c) }),
		func(trust *Trust, chain *[]byte) {
			c, _ := x509.ParseCertificate(*chain)
			trust.CAs = []*x509.Certificate{c}
		})
}
