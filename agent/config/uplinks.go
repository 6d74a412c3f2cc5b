package config

import (
	"crypto/ed25519"
	"encoding/base64"
	"net"
	"slices"
	"strconv"
	"strings"
)

// The kinds of uplinks: the field that names the address, and what is spoken
// there.
const (
	UplinkMQTT      = "mqtt"      // our own signed form, with receipts
	UplinkJSON      = "json"      // plain JSON over MQTT
	UplinkSparkplug = "sparkplug" // Sparkplug B 3.0 over MQTT
	UplinkHJ212     = "hj212"     // HJ 212-2017 over TCP
)

var uplinkKinds = []string{UplinkMQTT, UplinkJSON, UplinkSparkplug, UplinkHJ212}

var overMQTT = []string{UplinkMQTT, UplinkJSON, UplinkSparkplug}

// uplinkOnly are the fields that not every kind has.
var uplinkOnly = map[string][]string{
	"receipts": {UplinkMQTT},
	"confirm":  {UplinkMQTT, UplinkHJ212},
	"topic":    {UplinkJSON},
	"group":    {UplinkSparkplug},
	"host":     {UplinkSparkplug},

	"login":       overMQTT,
	"ca":          overMQTT,
	"certificate": overMQTT,
	"key":         overMQTT,
	"server_name": overMQTT,
	"tls":         overMQTT,
}

var uplinkForm = form{
	{name: "mqtt", also: []string{"broker", "url"}},
	{name: "json"},
	{name: "sparkplug"},
	{name: "receipts", also: []string{"receipt"}},
	{name: "must_confirm", also: []string{"must-confirm"}},
	{name: "confirm"},
	{name: "login", also: []string{"user", "username", "password"}},
	{name: "ca", also: []string{"cafile", "ca_file", "ca-file"}},
	{name: "certificate", also: []string{"cert", "client_certificate", "certfile"}},
	{name: "key", also: []string{"keyfile", "client_key", "private_key"}},
	{name: "server_name", also: []string{"server-name", "servername", "sni"}},
	{name: "tls"},
	{name: "from"},
	{name: "history_rate", also: []string{"rate", "history-rate"}},
	{name: "topic", also: []string{"prefix"}},
	{name: "group", also: []string{"group_id"}},
	{name: "host", also: []string{"primary_host", "primary"}},
	{name: "text"},
	{name: "hj212"},
}

// uplinkNames are the uplinks that the files name, for the agent's conditions.
func (c *compiler) uplinkNames() []string {
	var out []string
	seen := map[string]bool{}
	for _, n := range c.top["uplinks"] {
		if n.kind != section {
			continue
		}
		for _, p := range n.pairs {
			if !seen[p.key.text] {
				out = append(out, p.key.text)
			}
			seen[p.key.text] = true
		}
	}
	return out
}

func (c *compiler) compileUplinks() {
	for _, p := range c.named("uplinks", "uplinks") {
		c.uplink(p)
	}
}

func (c *compiler) uplink(p pair) {
	u := Uplink{Name: p.key.text, Place: p.key.place}
	f := c.read(p.val, "uplink", uplinkForm)
	c.prose(f.get("text"))
	kinds := uplinkKindsOf(p.val)
	for _, other := range kinds[min(1, len(kinds)):] {
		c.bad(other, "uplink-two-kinds", "", "first", kinds[0].text, "second", other.text)
	}
	if len(kinds) > 0 {
		u.Kind = kinds[0].text
		c.uplinkFields(p.val, u.Kind)
		if u.Kind == UplinkHJ212 {
			u.HJ212 = c.hj212(f.get(u.Kind))
		} else {
			u.Broker = c.broker(f.get(u.Kind))
		}
	} else if !p.val.lost && p.val.kind == section && !c.lostNear(p.val, "mqtt") {
		c.badOnce(p.val, "missing-field", "missing-mqtt", "field", "mqtt", "what", key("uplink"))
	}
	if n := f.get("confirm"); n != nil {
		s, _ := c.word(n, "none")
		u.Unconfirmed = s == "none"
	}
	if u.Kind == UplinkMQTT && !u.Unconfirmed && f.get("receipts") == nil && !c.lostNear(p.val, "receipts") {
		c.badOnce(p.val, "missing-field", "missing-receipts", "field", "receipts", "what", key("uplink"))
	}
	u.ReceiverKey, u.AuthorityKey = c.receipts(f.get("receipts"))
	u.MustConfirm = c.yes(f.get("must_confirm"), u.Kind == UplinkMQTT && !u.Unconfirmed)
	if u.Unconfirmed {
		must, receipts := f.get("must_confirm"), f.get("receipts")
		switch {
		case must != nil && u.MustConfirm:
			c.bad(must, "uplink-none-must", "uplink-none-must")
		case receipts != nil:
			c.bad(receipts, "uplink-none-receipts", "uplink-none-receipts")
		default:
			c.warn(f.get("confirm"), "uplink-none", "uplink-none", "name", u.Name)
		}
	} else if n := f.get("must_confirm"); n != nil && u.MustConfirm && u.Kind == UplinkHJ212 {
		c.warn(n, "uplink-must-hj212", "uplink-must-unproved", "name", u.Name)
	} else if n != nil && u.MustConfirm && u.Kind != "" && u.Kind != UplinkMQTT {
		c.warn(n, "uplink-must-unproved", "uplink-must-unproved", "kind", u.Kind)
	}
	c.uplinkLogin(&u, f.get("login"))
	c.uplinkTLS(&u, f)
	u.From = c.uplinkFrom(f.get("from"))
	u.HistoryRate = c.historyRate(f.get("history_rate"), u.Kind)
	c.uplinkTopics(&u, f)
	c.plan.Uplinks = append(c.plan.Uplinks, u)
}

// uplinkKindsOf are the keys of an uplink that name a kind; one is right.
func uplinkKindsOf(n *node) (kinds []*node) {
	for _, x := range n.pairs {
		if slices.Contains(uplinkKinds, x.key.text) {
			kinds = append(kinds, x.key)
		}
	}
	return kinds
}

// uplinkFields names the fields that the kind does not have.
func (c *compiler) uplinkFields(n *node, kind string) {
	for _, x := range n.pairs {
		if only := uplinkOnly[x.key.text]; only != nil && !slices.Contains(only, kind) {
			c.bad(x.key, "uplink-field-of", "field-of-other-kind", "field", x.key.text, "kinds", listing(strings.Join(only, ", ")), "kind", kind)
			x.val.lost = true
		}
	}
}

// broker reads `tls://host:8883`.
func (c *compiler) broker(n *node) string {
	s, ok := c.plain(n)
	if !ok {
		return ""
	}
	if scheme, _, ok := address(s); !ok || scheme != "tcp" && scheme != "tls" {
		c.bad(n, "bad-broker", "bad-broker", "text", s)
		return ""
	}
	return s
}

// address takes `scheme://host:port` apart.
func address(s string) (scheme, hostPort string, ok bool) {
	scheme, rest, cut := strings.Cut(s, "://")
	host, port, err := net.SplitHostPort(rest)
	num, err2 := strconv.Atoi(port)
	ok = cut && err == nil && host != "" && err2 == nil && num >= 1 && num <= 65535 && !strings.ContainsAny(host, "/@ \t?#")
	return scheme, rest, ok
}

// receipts reads `key ed25519:…` or `key <file>`, the public key that signs
// the receiver's receipts, or `authority …`, the one that certifies such keys.
func (c *compiler) receipts(n *node) (receiver, authority ed25519.PublicKey) {
	s, ok := c.plain(n)
	if !ok {
		return nil, nil
	}
	word, rest, _ := strings.Cut(s, " ")
	rest = strings.TrimSpace(rest)
	if word != "key" && word != "authority" || rest == "" {
		c.bad(n, "bad-form", "write-form", "text", s, "form", "key receiver.pub | key ed25519:… | authority authority.pub | authority ed25519:…")
		return nil, nil
	}
	at := n.piece(strings.Index(s, rest), len(s))
	text := rest
	if !strings.HasPrefix(rest, keyPrefix) {
		data, have := c.b.File(rest)
		if !have {
			c.bad(at, "key-file-missing", "key-file", "name", rest)
			return nil, nil
		}
		text = strings.TrimSpace(string(data))
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(strings.TrimPrefix(text, keyPrefix))
	if !strings.HasPrefix(text, keyPrefix) || err != nil || len(raw) != ed25519.PublicKeySize {
		c.bad(at, "bad-key", "key-file", "name", rest)
		return nil, nil
	}
	if word == "authority" {
		return nil, raw
	}
	return raw, nil
}

const keyPrefix = "ed25519:"

// keyFiles are the files that uplinks name, for ReadSite: the keys of
// `receipts:`, the certificates of `ca:`.
func (c *compiler) keyFiles() []string {
	var out []string
	for _, file := range []string{SiteFile, RulesFile} {
		p := c.paper(file)
		if p == nil || p.root.get("uplinks") == nil {
			continue
		}
		for _, u := range p.root.get("uplinks").pairs {
			if n := u.val.get("ca"); n != nil && n.kind == scalar {
				out = append(out, n.text)
			}
			n := u.val.get("receipts")
			if n == nil || n.kind != scalar {
				continue
			}
			word, rest, _ := strings.Cut(n.text, " ")
			if rest = strings.TrimSpace(rest); (word == "key" || word == "authority") && rest != "" && !strings.HasPrefix(rest, keyPrefix) {
				out = append(out, rest)
			}
		}
	}
	return out
}
