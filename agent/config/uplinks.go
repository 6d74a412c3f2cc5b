package config

import (
	"crypto/ed25519"
	"encoding/base64"
	"net"
	"strconv"
	"strings"
)

var uplinkForm = form{
	{name: "mqtt", also: []string{"broker", "url"}},
	{name: "receipts", also: []string{"receipt"}},
	{name: "must_confirm", also: []string{"must-confirm", "confirm"}},
	{name: "text"},
	{name: "sparkplug", later: "sparkplug"},
	{name: "hj212", later: "hj212"},
	{name: "json", later: "json"},
	{name: "login", later: "mqtt-login"},
	{name: "authority", later: "authority"},
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
	if n := f.get("mqtt"); n != nil {
		u.Broker = c.broker(n)
		if f.get("receipts") == nil && !c.lostNear(p.val, "receipts") {
			c.badOnce(p.val, "missing-field", "missing-receipts", "field", "receipts", "what", key("uplink"))
		}
	} else if !p.val.lost && p.val.kind == section && f.get("sparkplug") == nil && f.get("hj212") == nil && f.get("json") == nil && !c.lostNear(p.val, "mqtt") {
		c.badOnce(p.val, "missing-field", "missing-mqtt", "field", "mqtt", "what", key("uplink"))
	}
	u.ReceiverKey = c.receipts(f.get("receipts"))
	u.MustConfirm = c.yes(f.get("must_confirm"), true)
	c.plan.Uplinks = append(c.plan.Uplinks, u)
}

// broker reads `tls://host:8883`.
func (c *compiler) broker(n *node) string {
	s, ok := c.plain(n)
	if !ok {
		return ""
	}
	scheme, rest, cut := strings.Cut(s, "://")
	host, port, err := net.SplitHostPort(rest)
	num, err2 := strconv.Atoi(port)
	if !cut || scheme != "tcp" && scheme != "tls" || err != nil || host == "" || err2 != nil || num < 1 || num > 65535 || strings.ContainsAny(host, "/@ \t?#") {
		c.bad(n, "bad-broker", "bad-broker", "text", s)
		return ""
	}
	return s
}

// receipts reads `key ed25519:…` or `key <file>`, the public key that signs
// the receiver's receipts.
func (c *compiler) receipts(n *node) ed25519.PublicKey {
	s, ok := c.plain(n)
	if !ok {
		return nil
	}
	word, rest, _ := strings.Cut(s, " ")
	rest = strings.TrimSpace(rest)
	if word == "authority" {
		c.bad(n, "not-in-this-version", "later-authority", "what", "authority")
		return nil
	}
	if word != "key" || rest == "" {
		c.bad(n, "bad-form", "write-form", "text", s, "form", "key receiver.pub | key ed25519:…")
		return nil
	}
	at := n.piece(strings.Index(s, rest), len(s))
	text := rest
	if !strings.HasPrefix(rest, keyPrefix) {
		data, have := c.b.File(rest)
		if !have {
			c.bad(at, "key-file-missing", "key-file", "name", rest)
			return nil
		}
		text = strings.TrimSpace(string(data))
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(strings.TrimPrefix(text, keyPrefix))
	if !strings.HasPrefix(text, keyPrefix) || err != nil || len(raw) != ed25519.PublicKeySize {
		c.bad(at, "bad-key", "key-file", "name", rest)
		return nil
	}
	return ed25519.PublicKey(raw)
}

const keyPrefix = "ed25519:"

// keyFiles are the files that `receipts:` names, for ReadSite.
func (c *compiler) keyFiles() []string {
	var out []string
	for _, file := range []string{SiteFile, RulesFile} {
		p := c.paper(file)
		if p == nil || p.root.get("uplinks") == nil {
			continue
		}
		for _, u := range p.root.get("uplinks").pairs {
			n := u.val.get("receipts")
			if n == nil || n.kind != scalar {
				continue
			}
			word, rest, _ := strings.Cut(n.text, " ")
			if rest = strings.TrimSpace(rest); word == "key" && rest != "" && !strings.HasPrefix(rest, keyPrefix) {
				out = append(out, rest)
			}
		}
	}
	return out
}
