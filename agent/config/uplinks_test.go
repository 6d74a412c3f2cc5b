package config

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"math"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"davy/agent/i18n"
)

const uplinkSite = `davy: 1
gateway: {id: GW-1, name: {zh: 站, en: Site}, time_zone: Asia/Shanghai}
uplinks:
`

// authorityFile is a certificate of an authority, as PEM.
func authorityFile(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// Every word of an uplink, and what a plan makes of it; the files that it names
// go into the bundle.
func TestUplinkWords(t *testing.T) {
	key := make([]byte, ed25519.PublicKeySize)
	key[0] = 7
	text := keyPrefix + base64.StdEncoding.EncodeToString(key)
	ca := authorityFile(t)
	day := time.Date(2026, 1, 31, 0, 0, 0, 0, time.FixedZone("CST", 8*3600)).UnixNano()
	for _, c := range []struct {
		words    string
		want     Uplink
		warnings []string
	}{
		{"mqtt: tls://h:8883, receipts: key " + text, Uplink{Kind: UplinkMQTT, Broker: "tls://h:8883", ReceiverKey: key, MustConfirm: true}, nil},
		{"mqtt: tls://h:8883, receipts: authority a.pub, must_confirm: no, from: now, history_rate: 256 kbit/s", Uplink{
			Kind: UplinkMQTT, Broker: "tls://h:8883", AuthorityKey: key, From: math.MaxInt64, HistoryRate: 32000,
		}, nil},
		{"mqtt: tls://h:8883, confirm: none", Uplink{Kind: UplinkMQTT, Broker: "tls://h:8883", Unconfirmed: true}, []string{"uplink-none"}},
		{"json: tls://h:8883, ca: ca.pem, certificate: /etc/davy/c.crt, key: /etc/davy/c.key, server_name: inside, topic: plant/3", Uplink{
			Kind: UplinkJSON, Broker: "tls://h:8883", Topic: "plant/3",
			TLS: UplinkTLS{CA: ca, Certificate: UplinkFile{Path: "/etc/davy/c.crt"}, Key: UplinkFile{Path: "/etc/davy/c.key"}, ServerName: "inside"},
		}, nil},
		{"json: tcp://h:1883, login: user davy secret pw, must_confirm: yes, history_rate: 50 records/s", Uplink{
			Kind: UplinkJSON, Broker: "tcp://h:1883", Login: UplinkLogin{"davy", "pw"}, MustConfirm: true, HistoryRate: 50,
		}, []string{"uplink-login-open", "uplink-must-unproved"}},
		{"sparkplug: tls://h:8883, group: plant 3, host: scada, login: secret scada, from: 2026-01-31", Uplink{
			Kind: UplinkSparkplug, Broker: "tls://h:8883", Group: "plant 3", Host: "scada", Login: UplinkLogin{"", "scada"}, From: day,
		}, nil},
		{"sparkplug: tls://h:8883, group: g, tls: [1.2, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256], certificate: secret me", Uplink{
			Kind: UplinkSparkplug, Broker: "tls://h:8883", Group: "g", TLS: UplinkTLS{Certificate: UplinkFile{Secret: "me"}, Suites: []uint16{0xc02f}},
		}, []string{"uplink-tls-old"}},
		{"json: tls://h:8883, tls: 1.3, from: oldest", Uplink{Kind: UplinkJSON, Broker: "tls://h:8883"}, nil},
	} {
		site := uplinkSite + "  up:\n    " + strings.ReplaceAll(c.words, ", ", "\n    ") + "\n"
		if i := strings.Index(site, "[1.2\n"); i >= 0 {
			site = strings.Replace(site, "[1.2\n    ", "[1.2, ", 1)
		}
		b, problems := ReadSite(fstest.MapFS{
			SiteFile: {Data: []byte(site)}, "ca.pem": {Data: ca}, "a.pub": {Data: []byte(text + "\n")},
		}, ".", nil)
		plan, more := Compile(b, testSet())
		if plan == nil {
			t.Errorf("%s:\n%v", c.words, codes(problems.Join(more)))
			continue
		}
		got := plan.Uplinks[0]
		got.Name, got.Place = "", Place{}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", c.words, got, c.want)
		}
		var warned []string
		for _, p := range more {
			if strings.HasPrefix(p.Code, "uplink") {
				warned = append(warned, p.Code)
			}
		}
		if !reflect.DeepEqual(warned, c.warnings) {
			t.Errorf("%s: warnings %v, want %v", c.words, warned, c.warnings)
		}
	}
}

// What may be a password is not shown, wherever it was written.
func TestLoginIsNotShown(t *testing.T) {
	for _, words := range []string{
		"json: tls://h:8883\n    login: davy:geheim123",
		"json: tls://h:8883\n    login: [user, geheim123]",
		"json: tls://h:8883\n    login:\n      password: geheim123",
		"json: tls://h:8883\n    password: geheim123 # secret",
		"json: tls://davy:geheim123@h:8883 # secret",
		"hj212:\n      address: tcp://h:9000\n      pw: geheim123",
		"hj212:\n      address: tcp://h:9000\n      pw: secret geheim 123",
		"hj212:\n      address: tcp://h:9000\n      password: geheim123 # secret",
		"hj212:\n      address: tcp://davy:geheim123@h:9000 # secret",
	} {
		b := &Bundle{}
		b.Put(SiteFile, []byte(uplinkSite+"  up:\n    "+words+"\n"))
		_, problems := Compile(b, testSet())
		for _, lang := range []i18n.Lang{i18n.Zh, i18n.En} {
			var out strings.Builder
			if err := problems.Write(&out, lang, b); err != nil {
				t.Fatal(err)
			}
			if len(problems) == 0 || strings.Contains(out.String(), "geheim") {
				t.Errorf("it says\n%s", out.String())
			}
		}
		var out strings.Builder
		if err := problems.WriteJSON(&out, i18n.En); err != nil || strings.Contains(out.String(), "geheim") {
			t.Errorf("%v, %s", err, out.String())
		}
	}
}

// The name of a secret is none.
func TestUnspoken(t *testing.T) {
	for _, s := range []string{"login: secret plant", "  login: user davy secret plant # ours", "pw: secret eco", "mqtt: tls://h:8883", "    login:"} {
		if got := unspoken(s); got != s {
			t.Errorf("%q became %q", s, got)
		}
	}
}
