package opcua

import (
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"davy/drivers"
)

// Limits and defaults of a link's fields.
const (
	DefaultPort       = 4840
	DefaultPublishing = 500 * time.Millisecond
	MinPublishing     = 50 * time.Millisecond
	MaxPublishing     = time.Minute
	DefaultKeepAlive  = 2 * time.Second
	MinKeepAlive      = 500 * time.Millisecond
	MaxKeepAlive      = time.Minute
	DefaultCanary     = "i=2258" // Server_ServerStatus_CurrentTime
)

// What every screen shows of a link, and what it may report.
const (
	NoteNoSecurity = "link.note.no-security"
	NoteLegacy     = "link.note.legacy-security"
	NoteUndated    = "link.note.dates-unchecked"
	Untrusted      = "untrusted" // a condition: the server's certificate was refused
)

// LinkFields are security, trust and login, and how to ask.
func (Driver) LinkFields() []drivers.Field {
	return []drivers.Field{
		{Name: "security", Also: []string{"security_policy", "policy"}},
		{Name: "trust", File: true, Also: []string{"server_certificate", "trusted"}},
		{Name: "fingerprint", Also: []string{"thumbprint"}},
		{Name: "dates"},
		{Name: "login", Also: []string{"user", "username", "password"}},
		{Name: "user_certificate", File: true},
		{Name: "application_uri"},
		{Name: "mode"},
		{Name: "publishing", Also: []string{"publishing_interval"}},
		{Name: "keep_alive"},
		{Name: "canary"},
	}
}

// ParseLink reads
//
//	opcua: opc.tcp://192.168.1.30:4840/path    the port may be left out: 4840
//	security: none                             or a policy and a mode: Basic256Sha256, sign and encrypt
//	trust: dcs.der                             DER or PEM: a certificate is pinned, authorities are believed
//	                                           of certificates made for a server and for the target's host
//	fingerprint: sha256:3f…                    instead of trust: of the server's certificate
//	login: anonymous                           the default
//	login: secret NAME                         the secret holds user:password
//	login: user NAME secret NAME               the secret holds the password
//	login: certificate secret NAME             user_certificate is the file, the secret its key (PEM)
//	dates: unchecked                           a server certificate that has run out, or a gateway without a clock
//	mode: subscribe                            the default; or poll
//	publishing: 500ms   keep_alive: 2s   canary: i=2258   application_uri: urn:…
//
// Nothing is taken for granted: security must be written, anything but none
// needs trust or fingerprint, a password needs sign and encrypt.
func (Driver) ParseLink(target string, f drivers.Fields) (drivers.Settings, error) {
	p := parser{fields: f, o: &Options{}}
	p.canonical(target)
	p.security()
	p.trust()
	p.login()
	p.asking()
	if len(p.errs) > 0 {
		return drivers.Settings{}, errors.Join(p.errs...)
	}
	s := drivers.Settings{Target: p.target, Options: p.o}
	if p.o.Mode == ModeNone {
		s.Notes = append(s.Notes, NoteNoSecurity)
	} else {
		s.Conditions = append(s.Conditions, Untrusted)
	}
	if legacy(p.o.Policy) {
		s.Notes = append(s.Notes, NoteLegacy)
	}
	if p.o.Undated {
		s.Notes = append(s.Notes, NoteUndated)
	}
	return s, nil
}

// parser collects what is wrong.
type parser struct {
	fields drivers.Fields
	target string
	o      *Options
	errs   []error
}

func (p *parser) bad(field, code string, args map[string]any) {
	p.errs = append(p.errs, &drivers.FieldError{Field: field, Err: hint("opcua."+code, "opcua."+code, args)})
}

// get returns a field with single blanks.
func (p *parser) get(field string) (string, bool) {
	s, ok := p.fields[field]
	return strings.Join(strings.Fields(s), " "), ok
}

func (p *parser) canonical(target string) {
	u, err := url.Parse(strings.TrimSpace(target))
	if err != nil || !strings.EqualFold(u.Scheme, "opc.tcp") || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		p.bad("", "target", map[string]any{"text": target})
		return
	}
	port := u.Port()
	if port == "" {
		port = strconv.Itoa(DefaultPort)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		p.bad("", "target", map[string]any{"text": target})
		return
	}
	p.target = "opc.tcp://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port) + strings.TrimSuffix(u.EscapedPath(), "/")
}

var policies = []string{PolicyBasic128Rsa15, PolicyBasic256, PolicyBasic256Sha256, PolicyAes128, PolicyAes256}

func legacy(policy string) bool { return policy == PolicyBasic128Rsa15 || policy == PolicyBasic256 }

// security reads "none", or "POLICY, MODE", or "POLICY, MODE, legacy".
func (p *parser) security() {
	s, ok := p.get("security")
	if !ok {
		p.bad("", "security-missing", nil)
		return
	}
	if strings.EqualFold(s, "none") {
		p.o.Policy, p.o.Mode = PolicyNone, ModeNone
		return
	}
	parts := strings.Split(s, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	bare := func(s string) string { return strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(s)) }
	i := slices.IndexFunc(policies, func(x string) bool { return bare(x) == bare(parts[0]) })
	args := map[string]any{"text": s}
	if i < 0 {
		p.bad("security", "security", args)
		return
	}
	mode, allowed := Mode(0), false
	for _, word := range parts[1:] {
		switch {
		case mode == 0 && word == ModeSign.String():
			mode = ModeSign
		case mode == 0 && word == ModeSignAndEncrypt.String():
			mode = ModeSignAndEncrypt
		case word == "legacy":
			allowed = true
		default:
			p.bad("security", "security", args)
			return
		}
	}
	switch {
	case mode == 0:
		p.bad("security", "security-mode", args)
	case legacy(policies[i]) && !allowed:
		p.bad("security", "security-legacy", map[string]any{"policy": policies[i]})
	default:
		p.o.Policy, p.o.Mode = policies[i], mode
	}
}

// trust reads trust, fingerprint and dates.
func (p *parser) trust() {
	file, pinned := p.fields["trust"]
	print, printed := p.get("fingerprint")
	dates, dated := p.get("dates")
	if pinned {
		p.certificates(file)
	}
	if printed {
		if p.o.Trust.SHA256 = fingerprint(print); p.o.Trust.SHA256 == "" {
			p.bad("fingerprint", "fingerprint", map[string]any{"text": print})
		}
	}
	if dated {
		if p.o.Undated = dates == "unchecked"; !p.o.Undated && dates != "checked" {
			p.bad("dates", "dates", map[string]any{"text": dates})
		}
	}
	switch {
	case pinned && printed:
		p.bad("fingerprint", "trust-twice", nil)
	case p.o.Mode == ModeNone && (pinned || printed || p.o.Undated):
		field := "dates"
		if pinned {
			field = "trust"
		} else if printed {
			field = "fingerprint"
		}
		p.bad(field, "trust-none", nil)
	case p.o.Mode > ModeNone && !pinned && !printed:
		p.bad("security", "trust-missing", nil)
	}
}

// certificates decides by the content of a file: one certificate that is no
// authority is pinned; authorities are believed.
func (p *parser) certificates(content string) {
	list, err := certificates(content)
	if err != nil || len(list) == 0 {
		p.bad("trust", "trust-file", nil)
		return
	}
	authorities := 0
	for _, c := range list {
		if c.BasicConstraintsValid && c.IsCA {
			authorities++
		}
	}
	switch {
	case authorities == len(list):
		for _, c := range list {
			p.o.Trust.CA = append(p.o.Trust.CA, c.Raw)
		}
	case len(list) == 1:
		p.o.Trust.Pin = list[0].Raw
	default:
		p.bad("trust", "trust-mixed", map[string]any{"n": len(list)})
	}
}

// certificates parses DER, or every CERTIFICATE of a PEM file.
func certificates(content string) (out []*x509.Certificate, err error) {
	rest := []byte(content)
	for {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		if b.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	if len(out) > 0 {
		return out, nil
	}
	c, err := x509.ParseCertificate([]byte(content))
	if err != nil {
		return nil, err
	}
	return []*x509.Certificate{c}, nil
}

// fingerprint reads 64 hex digits, with "sha256:" before, blanks or colons
// between; "" is none.
func fingerprint(s string) string {
	s = strings.TrimPrefix(strings.ToLower(s), "sha256:")
	s = strings.NewReplacer(":", "", " ", "").Replace(s)
	if b, err := hex.DecodeString(s); err != nil || len(b) != 32 {
		return ""
	}
	return s
}

// login reads who we are to the server, and refuses what would give it away.
func (p *parser) login() {
	s, ok := p.get("login")
	file, certified := p.fields["user_certificate"]
	l := &p.o.Login
	w := strings.Fields(s)
	switch {
	case !ok || s == "anonymous":
	case len(w) == 2 && w[0] == "secret":
		l.Kind, l.Secret = Password, w[1]
	case len(w) == 4 && w[0] == "user" && w[2] == "secret":
		l.Kind, l.User, l.Secret = Password, w[1], w[3]
	case len(w) == 3 && w[0] == "certificate" && w[1] == "secret":
		l.Kind, l.Secret = Certificate, w[2]
	default:
		p.bad("login", "login", nil) // without the text: somebody may have written a password
		return
	}
	switch {
	case l.Kind == Certificate && !certified:
		p.bad("login", "login-file", nil)
	case l.Kind != Certificate && certified:
		p.bad("user_certificate", "login-unused", nil)
	case certified:
		if list, err := certificates(file); err != nil || len(list) != 1 {
			p.bad("user_certificate", "login-certificate", nil)
		} else {
			l.Certificate = list[0].Raw
		}
	}
	switch {
	case l.Kind == Password && p.o.Mode != 0 && p.o.Mode != ModeSignAndEncrypt:
		p.bad("login", "login-open", map[string]any{"security": p.o.Mode.String()})
	case l.Kind == Certificate && p.o.Mode == ModeNone:
		p.bad("login", "login-none", nil)
	}
}

// asking reads how values are asked for.
func (p *parser) asking() {
	o := p.o
	if mode, ok := p.get("mode"); ok {
		if o.Poll = mode == "poll"; !o.Poll && mode != "subscribe" {
			p.bad("mode", "mode", map[string]any{"text": mode})
		}
	}
	o.Publishing = p.span("publishing", DefaultPublishing, MinPublishing, MaxPublishing)
	o.KeepAlive = p.span("keep_alive", max(DefaultKeepAlive, o.Publishing), MinKeepAlive, MaxKeepAlive)
	if o.KeepAlive < o.Publishing {
		p.bad("keep_alive", "keep-alive-short", map[string]any{"keep": o.KeepAlive.String(), "publishing": o.Publishing.String()})
	}
	canary, ok := p.fields["canary"]
	if !ok {
		canary = DefaultCanary
	}
	a, err := parseAddress(canary)
	if err == nil && a.What != Node {
		err = hint("opcua.canary", "opcua.canary", map[string]any{"text": canary})
	}
	if err != nil {
		p.errs = append(p.errs, &drivers.FieldError{Field: "canary", Err: err})
	}
	o.Canary = a
	if uri, ok := p.get("application_uri"); ok {
		if u, err := url.Parse(uri); err != nil || u.Scheme == "" || strings.Contains(uri, " ") {
			p.bad("application_uri", "application-uri", map[string]any{"text": uri})
		}
		o.ApplicationURI = uri
	}
}

// span reads a duration between its limits.
func (p *parser) span(field string, normal, low, high time.Duration) time.Duration {
	s, ok := p.fields[field]
	if !ok {
		return normal
	}
	d, err := time.ParseDuration(strings.ReplaceAll(strings.TrimSpace(s), " ", ""))
	if err != nil || d < low || d > high {
		p.bad(field, "duration", map[string]any{"text": s, "low": low.String(), "high": high.String()})
		return normal
	}
	return d
}
