package config

import (
	"crypto/x509"
	"encoding/pem"
	"math"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits of an uplink's words; at each of them the word is refused.
const (
	MaxHistoryBytes   = int64(1_000_000_000) // per second
	MaxHistoryRecords = int64(1_000_000)     // per second
	MaxTopic          = 128                  // bytes of a topic, a group or a host
)

// badLogin is the problem whose line is not shown.
const badLogin = "uplink-login"

// Where people write passwords that belong in no file: in an address, and after
// a key that is, or is taken for, one of ours.
var (
	userInfo   = regexp.MustCompile(`://[^/@\s"']+@`)
	passwordOf = regexp.MustCompile(`(?i)(?:^|[\s{,"'-])(?:password|passwd|pw|login)["']?:\s+(\S.*)$`)
	secretName = regexp.MustCompile(`^["']?(?:user \S+ )?secret \S+["']?\s*(?:#.*)?$`)
)

// unspoken returns a line with such a password hidden, as wide: what is on
// a screen is photographed and sent around.
func unspoken(line string) string {
	line = noUser(line)
	if m := passwordOf.FindStringSubmatchIndex(line); m != nil && !secretName.MatchString(line[m[2]:]) {
		line = line[:m[2]] + strings.Repeat("*", utf8.RuneCountInString(line[m[2]:]))
	}
	return line
}

// noUser hides who an address says that we are.
func noUser(s string) string {
	return userInfo.ReplaceAllStringFunc(s, func(m string) string {
		return "://" + strings.Repeat("*", utf8.RuneCountInString(m)-len("://@")) + "@"
	})
}

// suites are the suites of TLS 1.2 that may be named: those with forward
// secrecy and an authenticated cipher (RFC 5289, RFC 7905). TLS 1.3 has no
// others, and needs none to be named.
var suites = map[string]uint16{
	"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256":       0xc02b,
	"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384":       0xc02c,
	"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256":         0xc02f,
	"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384":         0xc030,
	"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256":   0xcca8,
	"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": 0xcca9,
}

// uplinkLogin reads `secret NAME` (it holds user:password) or
// `user NAME secret NAME`.
func (c *compiler) uplinkLogin(u *Uplink, n *node) {
	if n == nil {
		return
	}
	if !c.isScalar(n) {
		return
	}
	w := strings.Fields(n.text)
	switch {
	case len(w) == 2 && w[0] == "secret":
		u.Login = UplinkLogin{Secret: w[1]}
	case len(w) == 4 && w[0] == "user" && w[2] == "secret":
		u.Login = UplinkLogin{User: w[1], Secret: w[3]}
	default:
		c.bad(n, "uplink-login", "uplink-login") // without the text: somebody may have written a password
		return
	}
	c.secrets(n)
	if strings.HasPrefix(u.Broker, "tcp://") {
		c.warn(n, "uplink-login-open", "uplink-login-open")
	}
}

// uplinkTLS reads whom to believe and who we are.
func (c *compiler) uplinkTLS(u *Uplink, f fields) {
	for _, name := range []string{"ca", "certificate", "key", "server_name", "tls"} {
		if n := f.get(name); n != nil && strings.HasPrefix(u.Broker, "tcp://") {
			c.bad(n, "uplink-not-tls", "uplink-not-tls", "field", name, "broker", u.Broker)
			return
		}
	}
	if s, ok := c.plain(f.get("ca")); ok {
		data, have := c.b.File(s)
		if !have {
			c.bad(f.get("ca"), "ca-file-missing", "ca-file", "name", s)
		} else if !certificates(data) {
			c.bad(f.get("ca"), "bad-ca", "ca-file", "name", s)
		}
		u.TLS.CA = data
	}
	u.TLS.Certificate = c.own(f.get("certificate"))
	u.TLS.Key = c.own(f.get("key"))
	cert, key := f.get("certificate"), f.get("key")
	switch {
	case cert == nil && key != nil:
		c.bad(key, "certificate-pair", "certificate-pair", "have", "key", "lack", "certificate")
	case cert != nil && key == nil && u.TLS.Certificate.Secret == "" && !cert.lost:
		c.bad(cert, "certificate-pair", "certificate-pair", "have", "certificate", "lack", "key")
	}
	if s, ok := c.plain(f.get("server_name")); ok {
		if !hostName.MatchString(s) {
			c.bad(f.get("server_name"), "bad-form", "write-form", "text", s, "form", "receiver.example")
		}
		u.TLS.ServerName = s
	}
	c.uplinkSuites(u, f.get("tls"))
}

var hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.:-]{0,251}[A-Za-z0-9])?$`)

// uplinkSuites reads `1.3`, which is the default, or `1.2, SUITE, …`.
func (c *compiler) uplinkSuites(u *Uplink, n *node) {
	if n == nil {
		return
	}
	s, ok := c.joined(n)
	if !ok || s == "1.3" {
		return
	}
	names := strings.Split(s, ",")
	if strings.TrimSpace(names[0]) != "1.2" || len(names) < 2 {
		c.bad(n, "uplink-tls", "uplink-tls", "text", s, "list", listing(strings.Join(suiteNames(), ", ")))
		return
	}
	for _, name := range names[1:] {
		name = strings.TrimSpace(name)
		id, known := suites[name]
		if !known {
			c.bad(n, "uplink-tls", "uplink-tls", "text", name, "list", listing(strings.Join(suiteNames(), ", ")))
			return
		}
		u.TLS.Suites = append(u.TLS.Suites, id)
	}
	c.warn(n, "uplink-tls-old", "uplink-tls-old")
}

func suiteNames() []string {
	var out []string
	for name := range suites {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// certificates reports whether data is PEM and every block of it a certificate.
func certificates(data []byte) bool {
	n := 0
	for rest := data; ; n++ {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			return n > 0
		}
		if _, err := x509.ParseCertificate(b.Bytes); err != nil || b.Type != "CERTIFICATE" {
			return false
		}
	}
}

// own reads where something of this gateway's own is: a file of the machine,
// which others may renew, or `secret NAME`. Neither is part of the site.
func (c *compiler) own(n *node) (x UplinkFile) {
	s, ok := c.plain(n)
	if !ok {
		return x
	}
	if name, secret := strings.CutPrefix(s, "secret "); secret {
		x.Secret = strings.TrimSpace(name)
		c.secrets(n)
		return x
	}
	if !path.IsAbs(s) || path.Clean(s) != s {
		c.bad(n, "uplink-own-file", "uplink-own-file", "text", s)
		return x
	}
	x.Path = s
	return x
}

// uplinkFrom reads `oldest`, `now` or a date by the clock of the site.
func (c *compiler) uplinkFrom(n *node) int64 {
	s, ok := c.plain(n)
	if !ok || s == "oldest" {
		return 0
	}
	if s == "now" {
		return math.MaxInt64
	}
	if z := c.zone(n); z != nil {
		for _, form := range []string{time.DateOnly, "2006-01-02 15:04"} {
			if t, err := time.ParseInLocation(form, s, z); err == nil && t.Year() >= 2000 && t.Year() < 2200 {
				return t.UnixNano()
			}
		}
		c.bad(n, "bad-form", "write-form", "text", s, "form", "now | oldest | 2026-01-31 | 2026-01-31 08:00")
	}
	return 0
}

var rate = regexp.MustCompile(`^([0-9]{1,12}(?:\.[0-9]{1,6})?) ?(kbit|Mbit|kB|MB|records)/s$`)

// historyRate reads how much of the past may go out in a second: bytes of our
// own form, records of any other. 0: as much as goes.
func (c *compiler) historyRate(n *node, kind string) int64 {
	s, ok := c.plain(n)
	if !ok || kind == "" {
		return 0
	}
	form, most := "500 records/s", MaxHistoryRecords
	if kind == UplinkMQTT {
		form, most = "200 kB/s | 256 kbit/s", MaxHistoryBytes
	}
	m := rate.FindStringSubmatch(s)
	if m == nil || (m[2] == "records") == (kind == UplinkMQTT) {
		c.bad(n, "bad-form", "write-form", "text", s, "form", form)
		return 0
	}
	v, err := strconv.ParseFloat(m[1], 64)
	v *= map[string]float64{"kbit": 125, "Mbit": 125e3, "kB": 1e3, "MB": 1e6, "records": 1}[m[2]]
	if err != nil || v < 1 || v > float64(most) {
		c.bad(n, "out-of-bounds", "", "text", s, "low", 1, "high", most)
		return 0
	}
	return int64(v)
}

// uplinkTopics reads what the messages of a kind are addressed by.
func (c *compiler) uplinkTopics(u *Uplink, f fields) {
	for _, x := range []struct {
		name string
		to   *string
		also string
	}{{"topic", &u.Topic, "/"}, {"group", &u.Group, " "}, {"host", &u.Host, " "}} {
		n := f.get(x.name)
		if n == nil || n.lost {
			continue
		}
		if !c.isScalar(n) {
			continue
		}
		s := n.text
		bad := s == "" || len(s) > MaxTopic || strings.ContainsAny(s, "+#\x00$") || strings.HasPrefix(s, "/") || strings.HasSuffix(s, "/") || strings.Contains(s, "//")
		if x.also != "/" {
			bad = bad || strings.Contains(s, "/")
		}
		if bad {
			c.bad(n, "bad-topic", "bad-topic", "text", s, "limit", MaxTopic)
		}
		*x.to = s
	}
	if u.Kind == UplinkSparkplug && f.get("group") == nil {
		c.badOnce(f.n, "missing-field", "missing-group", "field", "group", "what", key("uplink"))
	}
}
