package mqtt

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// maxEarly bounds how many certificates of a chain may seem not to be valid
// yet; with more the connection is not made.
const maxEarly = 8

// tlsConfig makes the verification of a tls:// broker; nil for tcp://.
func tlsConfig(o *Options, hostport string, secure bool) (*tls.Config, error) {
	if !secure {
		if o.CAFile != "" || o.CertFile != "" || o.KeyFile != "" || len(o.CA)+len(o.Cert)+len(o.Key) > 0 {
			return nil, fmt.Errorf("broker %q: certificates are given, but the address is not tls://", o.Broker)
		}
		return nil, nil
	}
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		return nil, fmt.Errorf("broker %q: %w", o.Broker, err)
	}
	c := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS13}
	if o.ServerName != "" {
		c.ServerName = o.ServerName
	}
	if len(o.Suites) > 0 {
		c.MinVersion, c.CipherSuites = tls.VersionTLS12, o.Suites
	}
	ca, where := o.CA, "CA"
	if o.CAFile != "" {
		if ca, err = os.ReadFile(o.CAFile); err != nil {
			return nil, fmt.Errorf("read CA file: %w", err)
		}
		where = o.CAFile
	}
	if o.CAFile != "" || len(ca) > 0 {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(ca) {
			return nil, fmt.Errorf("read CA file %s: no certificate in it", where)
		}
	}
	pair, err := ownPair(o)
	if pair != nil {
		c.Certificates = []tls.Certificate{*pair}
	}
	return c, err
}

// ownPair is the client's certificate with its key, nil if there is none.
func ownPair(o *Options) (*tls.Certificate, error) {
	cert, key := o.Cert, o.Key
	for _, x := range []struct {
		file string
		to   *[]byte
	}{{o.CertFile, &cert}, {o.KeyFile, &key}} {
		if x.file == "" {
			continue
		}
		b, err := os.ReadFile(x.file)
		if err != nil {
			return nil, fmt.Errorf("read client certificate: %w", err)
		}
		*x.to = b
	}
	if len(key) == 0 && o.CertFile == "" && bytes.Contains(cert, []byte("PRIVATE KEY-----")) {
		key = cert
	}
	if (len(cert) == 0) != (len(key) == 0) {
		return nil, fmt.Errorf("broker %q: a client certificate needs its key, and a key its certificate", o.Broker)
	}
	if len(cert) == 0 {
		return nil, nil
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("read client certificate: %w", err)
	}
	return &pair, nil
}

// open dials the broker; the connection is guarded.
func open(ctx context.Context, hostport string, conf *tls.Config, o *Options) (*guard, error) {
	d := net.Dialer{KeepAlive: KeepAlive, ControlContext: userTimeout}
	now, trusted := time.Now(), true
	if o.Clock != nil {
		now, trusted = o.Clock()
	}
	for early := 0; ; early++ {
		conn, err := d.DialContext(ctx, "tcp", hostport)
		if err != nil {
			return nil, &Error{CodeUnreachable, err}
		}
		if conf == nil {
			return &guard{Conn: conn, max: o.MaxIn}, nil
		}
		at := now
		conf.Time = func() time.Time { return at }
		t := tls.Client(conn, conf)
		if err = t.HandshakeContext(ctx); err == nil {
			return &guard{Conn: t, max: o.MaxIn}, nil
		}
		_ = conn.Close()
		if later, ok := notYet(err, now); ok && !trusted && early < maxEarly {
			now = later // the clock is behind: it is at least as late as this certificate says
			continue
		}
		return nil, &Error{tlsCode(err), fmt.Errorf("tls: %w", err)}
	}
}

// notYet returns from when a certificate is valid that was refused for being
// too early.
func notYet(err error, now time.Time) (time.Time, bool) {
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) && invalid.Reason == x509.Expired && invalid.Cert.NotBefore.After(now) {
		return invalid.Cert.NotBefore, true
	}
	return time.Time{}, false
}
