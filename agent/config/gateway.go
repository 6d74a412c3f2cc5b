package config

import (
	"regexp"
	"time"
)

var gatewayForm = form{
	{name: "id", must: true},
	{name: "name", must: true},
	{name: "board"},
	{name: "time_zone", also: []string{"timezone", "tz", "time-zone"}},
	{name: "shifts", also: []string{"shift"}},
	{name: "outputs", also: []string{"armed"}},
}

var (
	gatewayID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,47}$`)
	timeZone  = regexp.MustCompile(`^(UTC|[A-Z][A-Za-z_]*(/[A-Z][A-Za-z_+-]*){1,2}|Etc/GMT[+-][0-9]{1,2})$`)
)

// gateway reads what the site says of itself. Whether a time zone of this
// form exists is looked up only where shifts or the start of a story need its
// rules: that reads this machine's files.
func (c *compiler) gateway() {
	c.plan.Gateway.TimeZone = "UTC"
	if len(c.top["gateway"]) == 0 {
		return
	}
	f := c.read(c.top["gateway"][0], "gateway", gatewayForm)
	g := &c.plan.Gateway
	if s, ok := c.plain(f.get("id")); ok {
		if !gatewayID.MatchString(s) {
			c.bad(f.get("id"), "bad-gateway-id", "bad-gateway-id", "text", s)
		}
		g.ID = s
	}
	g.Name, _ = c.prose(f.get("name"))
	if s, ok := c.plain(f.get("board")); ok {
		g.Board = s
	}
	if n := f.get("time_zone"); n != nil {
		if s, ok := c.plain(n); ok {
			if !timeZone.MatchString(s) {
				c.bad(n, "bad-time-zone", "bad-time-zone", "text", s)
			}
			g.TimeZone = s
		}
	}
	c.shiftsOf(f.get("shifts"), f.get("time_zone"))
	if n := f.get("outputs"); n != nil {
		s, _ := c.word(n, "armed", "disarmed")
		g.Armed = s == "armed"
	}
}

var journalForm = form{{name: "keep"}, {name: "sync"}, {name: "size", also: []string{"max", "limit", "max_size"}}}

func (c *compiler) journal() {
	j := &c.plan.Journal
	*j = Journal{Keep: DefaultKeep, Sync: DefaultSync, MaxBytes: DefaultSize}
	if len(c.top["journal"]) == 0 {
		return
	}
	f := c.read(c.top["journal"][0], "journal", journalForm)
	if n := f.get("keep"); n != nil {
		if d, ok := c.span(n, time.Hour, maxSpan); ok {
			j.Keep = d
		}
	}
	if n := f.get("sync"); n != nil {
		if d, ok := c.span(n, 100*time.Millisecond, time.Minute); ok {
			j.Sync = d
		}
	}
	c.size(f.get("size"), &j.MaxBytes)
}

// The journal's size may lie between these.
const (
	MinSize = 16 << 20
	MaxSize = 1 << 40
)

var sizes = map[string]float64{"MB": 1e6, "GB": 1e9, "MiB": 1 << 20, "GiB": 1 << 30}

func (c *compiler) size(n *node, to *int64) {
	if _, ok := c.plain(n); !ok {
		return
	}
	v, rest, ok := c.number(c.lex(n), n)
	if !ok {
		return
	}
	if len(rest) == 0 || sizes[rest[0].text] == 0 {
		c.bad(n, "bad-size", "bad-size", "text", n.text)
		return
	}
	if !c.nothing(rest[1:]) {
		return
	}
	bytes := v * sizes[rest[0].text]
	if bytes < MinSize || bytes > MaxSize {
		c.bad(n, "out-of-bounds", "", "text", n.text, "low", "16 MiB", "high", "1024 GiB")
		return
	}
	*to = int64(bytes)
}
