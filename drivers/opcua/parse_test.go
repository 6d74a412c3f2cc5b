package opcua

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"davy/drivers"
	"davy/drivers/tag"
)

func TestAddresses(t *testing.T) {
	f := func(text string, want Address, prints string) {
		t.Helper()
		got, err := Driver{}.ParseAddress(text)
		if err != nil || got != want || got.String() != prints {
			t.Errorf("%q is %+v (%v), %v; want %+v", text, got, got, err, want)
		}
		if again, err := (Driver{}).ParseAddress(prints); err != nil || again != want {
			t.Errorf("%q, printed, is %+v, %v", prints, again, err)
		}
	}
	f("nsu=urn:plant:dcs;s=LT-101", Address{URI: "urn:plant:dcs", Type: Text, ID: "LT-101"}, "nsu=urn:plant:dcs;s=LT-101")
	f(" ns=2;s=a;b=c [3] ", Address{Space: 2, Type: Text, ID: "a;b=c [3]"}, "ns=2;s=a;b=c [3]")
	f("i=2258", Address{Type: Numeric, ID: "2258"}, "i=2258")
	f("ns=0;i=02258", Address{Type: Numeric, ID: "2258"}, "i=2258")
	f("nsu=http://opcfoundation.org/UA/;i=4294967295", Address{Type: Numeric, ID: "4294967295"}, "i=4294967295")
	f("nsu=urn:a%3Bb%25;i=1", Address{URI: "urn:a;b%", Type: Numeric, ID: "1"}, "nsu=urn:a%3Bb%25;i=1")
	f("ns=65535;g=09087e75-8e5e-499b-954f-f2a9603db28a", Address{Space: 65535, Type: GUID, ID: "09087E75-8E5E-499B-954F-F2A9603DB28A"}, "ns=65535;g=09087E75-8E5E-499B-954F-F2A9603DB28A")
	f("ns=1;b=AQI=", Address{Space: 1, Type: Opaque, ID: "AQI="}, "ns=1;b=AQI=")
	f("element 3 of nsu=u;s=Levels", Address{What: Element, Element: 3, URI: "u", Type: Text, ID: "Levels"}, "element 3 of nsu=u;s=Levels")
	f("conditions of i=2253", Address{What: Conditions, Type: Numeric, ID: "2253"}, "conditions of i=2253")

	for text, code := range map[string]string{
		"": "opcua.address", "LT-101": "opcua.address", "s=": "opcua.address", "x=1": "opcua.identifier", "nsu=;i=1": "opcua.address", "nsu=urn:x": "opcua.address",
		"ns=65536;i=1": "opcua.address", "ns=-1;i=1": "opcua.address", "ns=2,s=x": "opcua.address", "i=4294967296": "opcua.identifier", "i=-1": "opcua.identifier", "i=+1": "opcua.identifier",
		"g=1": "opcua.identifier", "g=09087e75-8e5e-499b-954f-f2a9603db28z": "opcua.identifier", "b=!": "opcua.identifier",
		"element -1 of i=1": "opcua.element", "element 3": "opcua.element", "element 9999999 of i=1": "opcua.element",
		"s=" + strings.Repeat("x", maxAddress): "opcua.address-long", "s=\xff": "opcua.address-long",
	} {
		_, err := Driver{}.ParseAddress(text)
		var h *drivers.Hint
		if !errors.As(err, &h) || h.Code != code || h.Hint != "opcua.address" {
			t.Errorf("%.40q: %v, want %s", text, err, code)
		}
	}
}

func TestANamespaceByIndexIsWarnedOf(t *testing.T) {
	for text, want := range map[string]bool{"ns=2;s=x": true, "nsu=urn:x;s=x": false, "i=2258": false} {
		a, err := Driver{}.ParseAddress(text)
		if err != nil {
			t.Fatal(err)
		}
		if h := a.(drivers.Warner).Warn(); (h != nil) != want {
			t.Errorf("%s: %v", text, h)
		}
	}
}

func TestTypes(t *testing.T) {
	node, count := Address{Type: Numeric, ID: "1"}, Address{What: Conditions, Type: Numeric, ID: "1"}
	for text, want := range map[string]tag.Kind{"": tag.Float64, "bool": tag.Bool, "int": tag.Int, "float32": tag.Float32, "float64": tag.Float64, "enum": tag.Enum, "text": tag.Text} {
		if got, err := (Driver{}).ParseType(node, text); err != nil || got.Kind != want || got.Bits == 0 {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	if got, err := (Driver{}).ParseType(count, ""); err != nil || got.Kind != tag.Int {
		t.Errorf("conditions: %+v, %v", got, err)
	}
	for _, x := range []struct {
		a    Address
		text string
	}{{node, "float32 CDAB"}, {node, "uint16"}, {count, "float64"}} {
		if got, err := (Driver{}).ParseType(x.a, x.text); err == nil {
			t.Errorf("%v %q is %+v", x.a, x.text, got)
		}
	}
}

// certificate makes one that signs itself.
func certificate(t *testing.T, authority bool) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, IsCA: authority, BasicConstraintsValid: authority,
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1e9, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func inPEM(der ...[]byte) string {
	out := []byte("any words before\n")
	for _, d := range der {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: d})...)
	}
	return string(out)
}

const secured = "Basic256Sha256, sign and encrypt"

func TestTheSharedExample(t *testing.T) {
	der := certificate(t, false)
	s, err := Driver{}.ParseLink("opc.tcp://192.168.1.30:4840", drivers.Fields{"security": secured, "trust": string(der), "login": "secret dcs-user"})
	if err != nil {
		t.Fatal(err)
	}
	o := s.Options.(*Options)
	if s.Target != "opc.tcp://192.168.1.30:4840" || o.Policy != PolicyBasic256Sha256 || o.Mode != ModeSignAndEncrypt || !bytes.Equal(o.Trust.Pin, der) ||
		o.Login.Kind != Password || o.Login.User != "" || o.Login.Secret != "dcs-user" || o.Poll || o.Publishing != DefaultPublishing || o.KeepAlive != DefaultKeepAlive || o.Canary.String() != DefaultCanary {
		t.Errorf("%+v %+v", s, o)
	}
	if len(s.Notes) != 0 || !slices.Equal(s.Conditions, []string{Untrusted}) || !(Driver{}).Subscribes(s) {
		t.Errorf("%+v", s)
	}
}

func TestLinks(t *testing.T) {
	pin, ca := certificate(t, false), certificate(t, true)
	print := strings.Repeat("3F:", 31) + "3f"
	f := func(target string, fields drivers.Fields, check func(s drivers.Settings, o *Options) bool) {
		t.Helper()
		s, err := Driver{}.ParseLink(target, fields)
		if err != nil {
			t.Errorf("%v: %v", fields, err)
			return
		}
		if o := s.Options.(*Options); !check(s, o) {
			t.Errorf("%v is %+v %+v", fields, s, o)
		}
	}
	f("opc.tcp://Host", drivers.Fields{"security": "none"}, func(s drivers.Settings, o *Options) bool {
		return s.Target == "opc.tcp://host:4840" && o.Mode == ModeNone && slices.Equal(s.Notes, []string{NoteNoSecurity}) && len(s.Conditions) == 0
	})
	f("opc.tcp://[fe80::1]:1/a/b/", drivers.Fields{"security": "None", "mode": "poll", "publishing": "1 s", "keep_alive": "5s", "canary": "nsu=u;i=1", "application_uri": "urn:x:y"}, func(s drivers.Settings, o *Options) bool {
		return s.Target == "opc.tcp://[fe80::1]:1/a/b" && o.Poll && !(Driver{}).Subscribes(s) && o.Publishing == time.Second && o.KeepAlive == 5*time.Second && o.Canary.URI == "u" && o.ApplicationURI == "urn:x:y"
	})
	f("opc.tcp://h", drivers.Fields{"security": "Aes128-Sha256-RsaOaep,  sign", "trust": inPEM(ca, ca), "dates": "unchecked"}, func(s drivers.Settings, o *Options) bool {
		return o.Policy == PolicyAes128 && o.Mode == ModeSign && len(o.Trust.CA) == 2 && o.Trust.Pin == nil && o.Undated && slices.Equal(s.Notes, []string{NoteUndated})
	})
	f("opc.tcp://h", drivers.Fields{"security": "aes256_sha256_rsapss, sign and encrypt", "fingerprint": "SHA256:" + print, "login": "user op secret pw"}, func(s drivers.Settings, o *Options) bool {
		return o.Policy == PolicyAes256 && o.Trust.SHA256 == strings.Repeat("3f", 32) && o.Login.User == "op" && o.Login.Secret == "pw"
	})
	f("opc.tcp://h", drivers.Fields{"security": "Basic256, sign and encrypt, legacy", "trust": inPEM(pin), "login": "certificate secret k", "user_certificate": inPEM(pin)}, func(s drivers.Settings, o *Options) bool {
		return o.Policy == PolicyBasic256 && slices.Equal(s.Notes, []string{NoteLegacy}) && bytes.Equal(o.Login.Certificate, pin) && o.Login.Kind == Certificate
	})
}

// What a technician could forget, and what would give a password away.
func TestLinksThatAreRefused(t *testing.T) {
	pin, ca := certificate(t, false), certificate(t, true)
	p := string(pin)
	f := func(fields drivers.Fields, want ...string) {
		t.Helper()
		_, err := Driver{}.ParseLink("opc.tcp://h", fields)
		var got []string
		for _, e := range unjoin(err) {
			var fe *drivers.FieldError
			var h *drivers.Hint
			if !errors.As(e, &fe) || !errors.As(e, &h) {
				t.Fatalf("%v", e)
			}
			if _, known := fields[fe.Field]; fe.Field != "" && !known {
				t.Errorf("%v: an error of %s, which is not there", fields, fe.Field)
			}
			got = append(got, fe.Field+" "+strings.TrimPrefix(h.Code, "opcua."))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%v: %q, want %q", fields, got, want)
		}
	}
	f(drivers.Fields{}, " security-missing")
	f(drivers.Fields{"security": "Basic256Sha256"}, "security security-mode")
	f(drivers.Fields{"security": "Basic256Sha256, encrypt", "trust": p}, "security security")
	f(drivers.Fields{"security": "Rot13, sign", "trust": p}, "security security")
	f(drivers.Fields{"security": "none, sign", "trust": p}, "security security")
	f(drivers.Fields{"security": "Basic128Rsa15, sign", "trust": p}, "security security-legacy")
	f(drivers.Fields{"security": secured}, "security trust-missing")
	f(drivers.Fields{"security": secured, "trust": "not a certificate"}, "trust trust-file")
	f(drivers.Fields{"security": secured, "trust": ""}, "trust trust-file")
	f(drivers.Fields{"security": secured, "trust": inPEM(pin, ca)}, "trust trust-mixed")
	f(drivers.Fields{"security": secured, "trust": p, "fingerprint": strings.Repeat("a", 64)}, "fingerprint trust-twice")
	f(drivers.Fields{"security": secured, "fingerprint": "sha256:aa"}, "fingerprint fingerprint")
	f(drivers.Fields{"security": secured, "trust": p, "dates": "no"}, "dates dates")
	f(drivers.Fields{"security": "none", "trust": p}, "trust trust-none")
	f(drivers.Fields{"security": "none", "dates": "unchecked"}, "dates trust-none")
	f(drivers.Fields{"security": "none", "login": "secret s"}, "login login-open")
	f(drivers.Fields{"security": "Basic256Sha256, sign", "trust": p, "login": "user u secret s"}, "login login-open")
	f(drivers.Fields{"security": "none", "login": "certificate secret s", "user_certificate": p}, "login login-none")
	f(drivers.Fields{"security": secured, "trust": p, "login": "certificate secret s"}, "login login-file")
	f(drivers.Fields{"security": secured, "trust": p, "user_certificate": p}, "user_certificate login-unused")
	f(drivers.Fields{"security": secured, "trust": p, "login": "certificate secret s", "user_certificate": "x"}, "user_certificate login-certificate")
	f(drivers.Fields{"security": secured, "trust": p, "login": "operator geheim"}, "login login")
	f(drivers.Fields{"security": "none", "mode": "push"}, "mode mode")
	f(drivers.Fields{"security": "none", "publishing": "5"}, "publishing duration")
	f(drivers.Fields{"security": "none", "publishing": "10s", "keep_alive": "2s"}, "keep_alive keep-alive-short")
	f(drivers.Fields{"security": "none", "canary": "conditions of i=1"}, "canary canary")
	f(drivers.Fields{"security": "none", "canary": "i=x"}, "canary identifier")
	f(drivers.Fields{"security": "none", "application_uri": "no uri"}, "application_uri application-uri")
	f(drivers.Fields{"security": "x", "mode": "x", "login": "x"}, "security security", "login login", "mode mode")
	for _, target := range []string{"", "192.168.1.30:4840", "http://h", "opc.tcp://", "opc.tcp://h:0", "opc.tcp://h:70000", "opc.tcp://u:p@h", "opc.tcp://h?x", "opc.tcp://h#x", "opc.tcp://h:x"} {
		if s, err := (Driver{}).ParseLink(target, drivers.Fields{"security": "none"}); err == nil {
			t.Errorf("%q is %q", target, s.Target)
		}
	}
}

// A password that somebody wrote into the file is not shown again.
func TestAWrittenPasswordIsNotRepeated(t *testing.T) {
	_, err := Driver{}.ParseLink("opc.tcp://h", drivers.Fields{"security": "none", "login": "operator geheim"})
	var h *drivers.Hint
	if !errors.As(err, &h) || len(h.Args) != 0 {
		t.Errorf("%v %v", err, h)
	}
}

func unjoin(err error) []error {
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		return j.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

func TestPlan(t *testing.T) {
	settings := drivers.Settings{Options: &Options{}}
	var points []drivers.Point
	for i := range 2*MaxItems + 10 {
		points = append(points, point(t, tag.ID(i+1), "nsu=u;i=1", "float64"))
		points[i].Period = time.Duration(1+i%2) * time.Second
	}
	reqs, err := Driver{}.Plan(settings, points)
	if err != nil || len(reqs) != 4 {
		t.Fatalf("%d requests, %v", len(reqs), err)
	}
	seen := map[tag.ID]bool{}
	for _, r := range reqs {
		if len(r.Points()) > MaxItems || r.Cost() <= 0 || r.String() == "" {
			t.Errorf("%v: %d points, %v", r, len(r.Points()), r.Cost())
		}
		for i, p := range r.Points() {
			if seen[p.Tag] || p.Period != r.Points()[0].Period || i > 0 && p.Tag <= r.Points()[i-1].Tag {
				t.Errorf("%v: point %d", r, p.Tag)
			}
			seen[p.Tag] = true
		}
	}
	if len(seen) != len(points) {
		t.Errorf("%d points of %d", len(seen), len(points))
	}
	f := func(at, typ, want string, poll bool, change func(p *drivers.Point)) {
		t.Helper()
		p := point(t, 1, at, typ)
		change(&p)
		_, err := Driver{}.Plan(drivers.Settings{Options: &Options{Poll: poll}}, []drivers.Point{p})
		var h *drivers.Hint
		if !errors.As(err, &h) || h.Code != "opcua."+want || h.Args["tag"] != "x.y" {
			t.Errorf("%v, want %s", err, want)
		}
	}
	f("i=1", "", "station", false, func(p *drivers.Point) { p.Station = 1 })
	f("element 1 of i=1", "", "write-part", false, func(p *drivers.Point) { p.Write = true })
	f("conditions of i=1", "", "conditions-poll", true, func(*drivers.Point) {})
	f("i=1", "", "decimals", false, func(p *drivers.Point) { p.Decimals = Address{} })
	f("i=1", "", "state", false, func(p *drivers.Point) { p.State = &drivers.State{} })
	f("i=1", "bool", "scale", false, func(p *drivers.Point) { p.Gain = 2 })
}

func point(t testing.TB, id tag.ID, at, typ string) drivers.Point {
	t.Helper()
	a, err := Driver{}.ParseAddress(at)
	if err != nil {
		t.Fatal(err)
	}
	ty, err := Driver{}.ParseType(a, typ)
	if err != nil {
		t.Fatal(err)
	}
	return drivers.Point{Tag: id, Name: "x.y", Address: a, Type: ty, Period: time.Second}
}

func FuzzAddress(f *testing.F) {
	for _, s := range []string{"nsu=urn:plant:dcs;s=LT-101", "ns=2;i=5", "g=09087E75-8E5E-499B-954F-F2A9603DB28A", "element 3 of b=AQI=", "conditions of i=2253", "nsu=a%3B;s=b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := parseAddress(s)
		if err != nil {
			return
		}
		if again, err := parseAddress(a.String()); err != nil || again != a {
			t.Fatalf("%q is %+v, printed %q, which is %+v, %v", s, a, a, again, err)
		}
	})
}
