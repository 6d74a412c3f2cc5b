package broker

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"davy/agent/uplink/mqtt"
	"davy/test/rig"
)

const limit = 30 * time.Second

// authority signs certificates and puts them into files.
type authority struct {
	t    *testing.T
	r    *rig.Rig
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	n    int64
}

func newAuthority(t *testing.T, r *rig.Rig, name string) *authority {
	t.Helper()
	a := &authority{t: t, r: r, n: 1}
	a.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.key = a.write(name, a.cert, nil)
	return a
}

// write makes a key and a certificate for it, as <file>.crt and <file>.key.
func (a *authority) write(file string, c *x509.Certificate, parent *x509.Certificate) *ecdsa.PrivateKey {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	by := a.key
	if parent == nil {
		parent, by = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), by)
	if err != nil {
		a.t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	for ext, b := range map[string]*pem.Block{"crt": {Type: "CERTIFICATE", Bytes: der}, "key": {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(a.r.Path(file+"."+ext), pem.EncodeToMemory(b), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	return key
}

func (a *authority) issue(file, name string, valid time.Duration) {
	a.t.Helper()
	a.n++
	a.write(file, &x509.Certificate{
		SerialNumber: big.NewInt(a.n), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(valid),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert)
}

func start(t *testing.T, r *rig.Rig, lines ...string) string {
	t.Helper()
	port, err := rig.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Mosquitto(port, lines...); err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	if err := rig.WaitFor(limit, "mosquitto listens", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	}); err != nil {
		t.Fatal(err)
	}
	return addr
}

func newRig(t *testing.T) *rig.Rig {
	t.Helper()
	r, err := rig.New("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// Mosquitto lets in who has a certificate of its authority, and each gateway
// writes and reads its own topics only. A publish that the ACL denies has no
// error anywhere: the broker acknowledges it, and it does not arrive.
func TestCertificatesAndACL(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ours, other := newAuthority(t, r, "ca"), newAuthority(t, r, "other")
	ours.issue("broker", "broker", time.Hour)
	ours.issue("receiver", "receiver", time.Hour)
	ours.issue("gw1", "GW-1", time.Hour)
	ours.issue("stale", "GW-1", -time.Minute)
	other.issue("stranger", "GW-1", time.Hour)
	acl := "user receiver\ntopic readwrite davy/1/#\npattern write davy/1/%u/up/+\npattern read davy/1/%u/receipt\n"
	if err := os.WriteFile(r.Path("acl"), []byte(acl), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := "tls://" + start(
		t, r, "cafile "+r.Path("ca.crt"), "certfile "+r.Path("broker.crt"), "keyfile "+r.Path("broker.key"),
		"require_certificate true", "use_identity_as_username true", "acl_file "+r.Path("acl"), "tls_version tlsv1.3",
	)
	options := func(id, file string) mqtt.Options {
		o := mqtt.Options{Broker: addr, ClientID: id, CAFile: r.Path("ca.crt")}
		if file != "" {
			o.CertFile, o.KeyFile = r.Path(file+".crt"), r.Path(file+".key")
		}
		return o
	}
	got := make(chan mqtt.Message, 10)
	all := options("receiver", "receiver")
	all.Filters, all.Received, all.Ordered = []string{"davy/1/+/up/+"}, func(m mqtt.Message) { got <- m }, true
	receiver, err := mqtt.Dial(t.Context(), all)
	if err != nil {
		t.Fatal(err)
	}
	defer receiver.Close()

	for file, want := range map[string]string{"": mqtt.CodeCertificate, "stranger": mqtt.CodeCertificate, "stale": mqtt.CodeCertificate} {
		c, err := mqtt.Dial(t.Context(), options("x", file))
		if err == nil {
			_ = c.Close()
		}
		if mqtt.Code(err) != want {
			t.Errorf("with certificate %q: %v (%s), want %s", file, err, mqtt.Code(err), want)
		}
	}
	wrong := options("x", "gw1")
	wrong.CAFile = r.Path("other.crt")
	if _, err := mqtt.Dial(t.Context(), wrong); mqtt.Code(err) != mqtt.CodeUntrusted {
		t.Errorf("a broker of another authority: %v", err)
	}

	// Its own topics; the certificate's name is the user's.
	gw, err := mqtt.DialTransport(t.Context(), "GW-1", options("GW-1/regulator", "gw1"))
	if err != nil {
		t.Fatal(err)
	}
	defer gw.Close()
	if err := gw.Send(t.Context(), "event", []byte("mine")); err != nil {
		t.Fatal(err)
	}
	if m := <-got; m.Topic != "davy/1/GW-1/up/event" || string(m.Payload) != "mine" {
		t.Errorf("%+v", m)
	}
	if err := receiver.Publish(t.Context(), mqtt.ReceiptTopic("GW-1"), []byte("receipt")); err != nil {
		t.Fatal(err)
	}
	if b := <-gw.Receipts(); string(b) != "receipt" {
		t.Errorf("receipt %q", b)
	}

	// Those of another: denied without a word.
	if err := gw.Publish(t.Context(), mqtt.UpTopic("GW-2", "event"), []byte("not mine")); err != nil {
		t.Fatal(err)
	}
	if err := gw.Flush(t.Context()); err != nil {
		t.Errorf("a publish that the ACL denies fails: %v", err)
	}
	if err := gw.Send(t.Context(), "event", []byte("after")); err != nil {
		t.Fatal(err)
	}
	if m := <-got; string(m.Payload) != "after" {
		t.Errorf("what the ACL denies came: %+v", m)
	}
	// Mosquitto grants subscriptions that its ACL will never serve: no receipt comes.
	spy, err := mqtt.DialTransport(t.Context(), "GW-2", options("spy", "gw1"))
	if err != nil {
		if mqtt.Code(err) != mqtt.CodeSubscribe {
			t.Fatal(err)
		}
		return
	}
	defer spy.Close()
	for _, g := range []string{"GW-2", "GW-1"} {
		if err := receiver.Publish(t.Context(), mqtt.ReceiptTopic(g), []byte(g)); err != nil {
			t.Fatal(err)
		}
	}
	if b := <-gw.Receipts(); string(b) != "GW-1" {
		t.Errorf("receipt %q", b)
	}
	if len(spy.Receipts()) != 0 {
		t.Error("a gateway reads the receipts of another")
	}
}

// A password that is wrong has its code.
func TestPassword(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	if out, err := exec.Command("mosquitto_passwd", "-c", "-b", r.Path("passwords"), "davy", "right").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	addr := "tcp://" + start(t, r, "allow_anonymous false", "password_file "+r.Path("passwords"))
	for password, want := range map[string]string{"right": "", "wrong": mqtt.CodeNotAllowed, "": mqtt.CodeNotAllowed} {
		c, err := mqtt.Dial(t.Context(), mqtt.Options{Broker: addr, ClientID: "x", User: "davy", Password: password})
		if err == nil {
			_ = c.Close()
		}
		if mqtt.Code(err) != want || want != "" && err == nil {
			t.Errorf("password %q: %v (%q), want %q", password, err, mqtt.Code(err), want)
		}
	}
}
