package mqtt

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// authority signs certificates for tests.
type authority struct {
	t      *testing.T
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	pem    []byte
	serial int64
}

func newAuthority(t *testing.T, from, to time.Time) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotBefore: from, NotAfter: to,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return &authority{t: t, cert: c, key: key, pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), serial: 1}
}

// issue makes a certificate for a server on loopback and for a client, with its key.
func (a *authority) issue(name string, from, to time.Time) (cert, key []byte) {
	a.t.Helper()
	a.serial++
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(a.serial), Subject: pkix.Name{CommonName: name}, NotBefore: from, NotAfter: to, DNSNames: []string{name},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if name == "inside.example" {
		c.IPAddresses = nil
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, own.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		a.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
}

func (a *authority) server(name string, from, to time.Time) *tls.Config {
	a.t.Helper()
	cert, key := a.issue(name, from, to)
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		a.t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}}
}

// dialled reports how a connection went, as a code; "" it was made.
func dialled(t *testing.T, o Options) string {
	t.Helper()
	o.ClientID = "x"
	c, err := Dial(t.Context(), o)
	if err != nil {
		if code := Code(err); code != "" {
			return code
		}
		return err.Error()
	}
	// In TLS 1.3 a client's certificate is looked at after the handshake: only an
	// answer says that we are in.
	defer c.Close()
	return ""
}

// TLS is 1.3, or 1.2 with the suites that are named and no others.
func TestVersionsOfTLS(t *testing.T) {
	now := time.Now()
	a := newAuthority(t, now.Add(-time.Hour), now.Add(time.Hour))
	old := a.server("b", now.Add(-time.Hour), now.Add(time.Hour))
	old.MaxVersion = tls.VersionTLS12
	old.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
	young := a.server("b", now.Add(-time.Hour), now.Add(time.Hour))
	young.MinVersion = tls.VersionTLS13
	oldAt, youngAt := "tls://"+own(t, old), "tls://"+own(t, young)
	for _, c := range []struct {
		name, broker string
		suites       []uint16
		want         string
	}{
		{"1.3", youngAt, nil, ""},
		{"1.3 with suites of 1.2 named", youngAt, old.CipherSuites, ""},
		{"1.2 unasked", oldAt, nil, CodeVersion},
		{"1.2", oldAt, old.CipherSuites, ""},
		{"1.2 with another suite", oldAt, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384}, CodeVersion},
	} {
		if got := dialled(t, Options{Broker: c.broker, CA: a.pem, Suites: c.suites}); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// A broker that wants a certificate gets one; it is read again at each
// connection, and what is wrong with it has a code.
func TestClientCertificates(t *testing.T) {
	now := time.Now()
	a, stranger := newAuthority(t, now.Add(-time.Hour), now.Add(time.Hour)), newAuthority(t, now.Add(-time.Hour), now.Add(time.Hour))
	conf := a.server("b", now.Add(-time.Hour), now.Add(time.Hour))
	conf.ClientAuth, conf.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
	conf.ClientCAs.AddCert(a.cert)
	broker := "tls://" + own(t, conf)
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "c.crt"), filepath.Join(dir, "c.key")
	write := func(cert, key []byte) {
		t.Helper()
		for _, x := range []struct {
			name string
			data []byte
		}{{certFile, cert}, {keyFile, key}} {
			if err := os.WriteFile(x.name, x.data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	files := Options{Broker: broker, CA: a.pem, CertFile: certFile, KeyFile: keyFile}
	if got := dialled(t, Options{Broker: broker, CA: a.pem}); got != CodeCertificate {
		t.Errorf("without a certificate: %q", got)
	}
	write(stranger.issue("GW-1", now.Add(-time.Hour), now.Add(time.Hour)))
	if got := dialled(t, files); got != CodeCertificate {
		t.Errorf("of a stranger: %q", got)
	}
	write(a.issue("GW-1", now.Add(-time.Hour), now.Add(-time.Minute)))
	if got := dialled(t, files); got != CodeCertificate {
		t.Errorf("one that ran out: %q", got)
	}
	cert, key := a.issue("GW-1", now.Add(-time.Hour), now.Add(time.Hour))
	write(cert, key)
	if got := dialled(t, files); got != "" {
		t.Errorf("renewed: %q", got)
	}
	if got := dialled(t, Options{Broker: broker, CA: a.pem, Cert: bytes.Join([][]byte{cert, key}, nil)}); got != "" {
		t.Errorf("certificate and key together: %q", got)
	}
	write(cert, []byte("nonsense"))
	if got := dialled(t, files); got != CodeTLS {
		t.Errorf("a damaged key: %q", got)
	}
}

func TestCodesOfTLS(t *testing.T) {
	now := time.Now()
	a, stranger := newAuthority(t, now.Add(-time.Hour), now.Add(time.Hour)), newAuthority(t, now.Add(-time.Hour), now.Add(time.Hour))
	good := "tls://" + own(t, a.server("b", now.Add(-time.Hour), now.Add(time.Hour)))
	named := "tls://" + own(t, a.server("inside.example", now.Add(-time.Hour), now.Add(time.Hour)))
	past := "tls://" + own(t, a.server("b", now.Add(-time.Hour), now.Add(-time.Minute)))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	_ = l.Close()
	for _, c := range []struct {
		name string
		o    Options
		want string
	}{
		{"good", Options{Broker: good, CA: a.pem}, ""},
		{"a name of its own", Options{Broker: named, CA: a.pem, ServerName: "inside.example"}, ""},
		{"another name", Options{Broker: named, CA: a.pem}, CodeName},
		{"another authority", Options{Broker: good, CA: stranger.pem}, CodeUntrusted},
		{"run out", Options{Broker: past, CA: a.pem}, CodeExpired},
		{"nobody there", Options{Broker: "tls://" + nobody, CA: a.pem}, CodeUnreachable},
		{"nobody there, in the open", Options{Broker: "tcp://" + nobody}, CodeUnreachable},
		{"no certificate in CA", Options{Broker: good, CA: []byte("x")}, CodeTLS},
	} {
		if got := dialled(t, c.o); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// The policy for certificates under a clock that is not trusted: what had run
// out at the bound is refused; what seems too early is taken, but not if it ran
// out before something that is valid only later began.
func TestClockPolicy(t *testing.T) {
	day := 24 * time.Hour
	now := time.Now()
	a := newAuthority(t, now.Add(-day), now.Add(100*day))
	broker := "tls://" + own(t, a.server("b", now.Add(-time.Hour), now.Add(day)))
	old := newAuthority(t, now.Add(-10*day), now.Add(-5*day))
	torn := "tls://" + own(t, old.server("b", now.Add(-time.Hour), now.Add(day)))
	for _, c := range []struct {
		name    string
		broker  string
		ca      []byte
		at      time.Time
		trusted bool
		want    string
	}{
		{"trusted, now", broker, a.pem, now, true, ""},
		{"trusted, too early", broker, a.pem, now.Add(-2 * time.Hour), true, CodeExpired},
		{"trusted, too late", broker, a.pem, now.Add(2 * day), true, CodeExpired},
		{"bound within", broker, a.pem, now, false, ""},
		{"bound before the certificate", broker, a.pem, now.Add(-2 * time.Hour), false, ""},
		{"bound before the authority too", broker, a.pem, now.Add(-300 * day), false, ""},
		{"no bound at all", broker, a.pem, time.Unix(0, 0), false, ""},
		{"run out at the bound", broker, a.pem, now.Add(2 * day), false, CodeExpired},
		{"authority that ran out before", torn, old.pem, now.Add(-20 * day), false, CodeExpired},
	} {
		got := dialled(t, Options{Broker: c.broker, CA: c.ca, Clock: func() (time.Time, bool) { return c.at, c.trusted }})
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// Flush and Barrier return when the broker has what was sent, and with an error
// when the connection ends before.
func TestFlushAndBarrier(t *testing.T) {
	addr := own(t, nil)
	got := make(chan Message, 100)
	r, err := Dial(t.Context(), Options{Broker: "tcp://" + addr, ClientID: "r", Filters: []string{"a", "will"}, Ordered: true, Received: func(m Message) { got <- m }})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	way, cut := cuttable(t, addr)
	c, err := Dial(t.Context(), Options{Broker: "tcp://" + way, ClientID: "s", Window: 4, Will: &Message{Topic: "will", Payload: []byte("dead")}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i := range 10 {
		if err := c.Publish(t.Context(), "a", []byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Put(t.Context(), "a", []byte{10}); err != nil {
		t.Fatal(err)
	}
	if err := c.Barrier(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range 11 {
		if m := <-got; m.Payload[0] != byte(i) {
			t.Fatalf("message %d is %v", i, m.Payload)
		}
	}
	cut()
	<-c.Done()
	for what, err := range map[string]error{
		"flush": c.Flush(t.Context()), "put": c.Put(t.Context(), "a", nil), "barrier": c.Barrier(t.Context()),
	} {
		if err == nil {
			t.Errorf("%s on a connection that ended", what)
		}
	}
	if m := <-got; m.Topic != "will" || string(m.Payload) != "dead" {
		t.Errorf("instead of the will %+v", m)
	}
}

// cuttable is a way to a broker that cut breaks, as a line does.
func cuttable(t *testing.T, broker string) (addr string, cut func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	both := make(chan net.Conn, 2)
	go func() {
		in, err := l.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", broker)
		if err != nil {
			_ = in.Close()
			return
		}
		both <- in
		both <- out
		go func() { _, _ = io.Copy(out, in) }()
		_, _ = io.Copy(in, out)
	}()
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String(), func() {
		_ = (<-both).Close()
		_ = (<-both).Close()
	}
}

// Flush waits: a broker that does not acknowledge holds it until its context ends.
func TestFlushWaits(t *testing.T) {
	addr, _ := hostile(t, []byte{0x20, 2, 0, 0}, nil)
	c, err := Dial(t.Context(), Options{Broker: "tcp://" + addr, ClientID: "x"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Publish(t.Context(), "a", nil); err != nil {
		t.Fatal(err)
	}
	for what, wait := range map[string]func(context.Context) error{"flush": c.Flush, "barrier": c.Barrier} {
		ctx, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if err := wait(ctx); err == nil {
			t.Errorf("%s returned though nothing was acknowledged", what)
		}
		stop()
	}
}
