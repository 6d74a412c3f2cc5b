package config

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"davy/drivers/tag"
)

// HJ212 is a host that speaks HJ 212-2017.
type HJ212 struct {
	Address  string // host:port
	MN, ST   string
	PW       string // the secret that holds it
	Edition  int    // 2017 or 2025
	Realtime time.Duration
	Minute   time.Duration
	Hour     bool
	Day      bool
	AnyBad   bool   // one abnormal value makes a period abnormal, as of water
	Log      string // "none", "answered", "unanswered"
	OverTime time.Duration
	ReCount  int
	Agree    bool // a setting that is so already is answered as done
	Beat     time.Duration
	BeatCN   int
	Factors  []HJ212Factor
}

// HJ212Factor is what a tag is called there.
type HJ212Factor struct {
	Tag      tag.Name
	Code     string
	Decimals int
	Total    float64       // -Cou is the integral over seconds times this; 0: none
	Every    time.Duration // the tag's longest silence in the journal
}

// What the standard allows, table 4 of HJ 212-2017, and what is taken where a
// site says nothing: table 1 for wireless lines, and 9015 for a heartbeat, which
// the edition of 2017 does not have and a public implementation of 2025 sends.
const (
	minRtdInterval  = 30 * time.Second
	maxRtdInterval  = time.Hour
	maxOverTime     = 99 * time.Second
	maxReCount      = 99
	defaultOverTime = 10 * time.Second
	defaultReCount  = 3
	defaultBeatCN   = 9015
	maxHJ212Factors = 500
	defaultDecimals = 2
	maxDecimals     = 6
)

var minIntervals = []string{"1min", "2min", "3min", "4min", "5min", "6min", "10min", "12min", "15min", "20min", "30min"}

// water are the systems of table 5 whose periods are abnormal by one abnormal
// value; of every other a quarter may be (tables C.16 to C.18).
var water = []string{"21", "24", "26", "32", "33", "34", "52"}

var hj212Form = form{
	{name: "address", must: true, also: []string{"host", "server", "ip", "url"}},
	{name: "mn", must: true, also: []string{"MN"}},
	{name: "pw", must: true, also: []string{"PW", "password"}},
	{name: "st", must: true, also: []string{"ST"}},
	{name: "edition", also: []string{"version"}},
	{name: "realtime", also: []string{"rtd", "rtdinterval", "real_time", "2011"}},
	{name: "minute", also: []string{"minutes", "mininterval", "2051"}},
	{name: "hour", also: []string{"hours", "2061"}},
	{name: "day", also: []string{"days", "2031"}},
	{name: "flag", also: []string{"flags"}},
	{name: "log", also: []string{"events", "alarms", "3020"}},
	{name: "resend", also: []string{"overtime", "recount", "timeout"}},
	{name: "settings", also: []string{"set"}},
	{name: "heartbeat", also: []string{"beat", "keepalive"}},
	{name: "factors", must: true, also: []string{"factor", "codes", "tags"}},
}

var factorForm = form{
	{name: "code", must: true},
	{name: "decimals", also: []string{"decimal", "digits"}},
	{name: "total", also: []string{"cou", "sum"}},
}

var (
	hj212MN   = regexp.MustCompile(`^[0-9A-Za-z]{1,24}$`)
	hj212EPC  = regexp.MustCompile(`^[0-9A-F]{24}$`)
	hj212ST   = regexp.MustCompile(`^[0-9A-Z]{2}$`)
	hj212Code = regexp.MustCompile(`^[0-9A-Za-z]{1,12}$`)
)

// hj212 reads the section of that name.
func (c *compiler) hj212(n *node) *HJ212 {
	f := c.read(n, "hj212", hj212Form)
	h := &HJ212{Edition: 2017, Log: "none", OverTime: defaultOverTime, ReCount: defaultReCount}
	if n == nil || n.kind != section {
		return h
	}
	if s, ok := c.plain(f.get("address")); ok {
		scheme, rest, whole := address(s)
		if !whole || scheme != "tcp" { // the standard has nothing that would encrypt
			c.bad(f.get("address"), "bad-form", "write-form", "text", s, "form", "tcp://203.0.113.5:9000")
		}
		h.Address = rest
	}
	h.MN = c.matching(f.get("mn"), hj212MN, "010000A8900016F000169DC0")
	if h.MN != "" && !hj212EPC.MatchString(h.MN) {
		c.warn(f.get("mn"), "hj212-mn", "")
	}
	h.ST = c.matching(f.get("st"), hj212ST, "22 | 31 | 32")
	h.PW = c.secretOf(f.get("pw"))
	if c.wordOr(f.get("edition"), "2017", "2017", "2025") == "2025" {
		h.Edition = 2025
		c.warn(f.get("edition"), "hj212-2025", "hj212-2025")
	}
	c.hj212Periods(h, f)
	h.AnyBad = slices.Contains(water, h.ST)
	if s := c.wordOr(f.get("flag"), "", "three quarters", "any abnormal"); s != "" {
		h.AnyBad = s == "any abnormal"
	}
	h.Log = c.wordOr(f.get("log"), "none", "none", "answered", "unanswered")
	h.Agree = c.wordOr(f.get("settings"), "refuse", "refuse", "agree") == "agree"
	c.hj212Waits(h, f)
	c.hj212Factors(h, f.get("factors"))
	if h.Realtime == 0 && h.Minute == 0 && h.Log == "none" && f.get("realtime") == nil && f.get("minute") == nil {
		c.badOnce(n, "hj212-nothing", "hj212-nothing")
	}
	return h
}

func (c *compiler) hj212Periods(h *HJ212, f fields) {
	if n := f.get("realtime"); n != nil {
		d, ok := c.span(n, minRtdInterval, maxRtdInterval)
		if ok && d%time.Second != 0 {
			c.bad(n, "bad-form", "write-form", "text", n.text, "form", "30s")
		}
		h.Realtime = d
	}
	if n := f.get("minute"); n != nil {
		if d, ok := c.span(n, time.Minute, 30*time.Minute); ok {
			if !slices.Contains(minIntervals, spell(d)) {
				c.bad(n, "bad-word", "one-of", "text", n.text, "list", listing(strings.Join(minIntervals, " | ")))
			}
			h.Minute = d
		}
	}
	with := f.get("minute") != nil
	h.Hour, h.Day = c.yes(f.get("hour"), with), c.yes(f.get("day"), with)
	for _, name := range []string{"hour", "day"} {
		if n := f.get(name); n != nil && !with && (name == "hour" && h.Hour || name == "day" && h.Day) {
			c.bad(n, "hj212-no-minute", "hj212-no-minute", "field", name)
		}
	}
}

// hj212Waits reads `resend: 3 after 10s` and `heartbeat: 60s as 9015`.
func (c *compiler) hj212Waits(h *HJ212, f fields) {
	if n := f.get("resend"); n != nil && c.isScalar(n) {
		const form = "3 after 10s"
		toks := c.lex(n)
		v, toks, ok := c.number(toks, n)
		if ok {
			toks, ok = c.expect(toks, n, form, "after")
		}
		var d time.Duration
		if ok {
			d, toks, ok = c.duration(toks, n)
		}
		if ok && c.nothing(toks) {
			switch {
			case v != float64(int(v)) || v < 1 || v > maxReCount:
				c.bad(n, "out-of-bounds", "", "text", strconv.FormatFloat(v, 'g', -1, 64), "low", 1, "high", maxReCount)
			case d%time.Second != 0:
				c.bad(n, "bad-form", "write-form", "text", n.text, "form", form)
			case c.bounds(n, d, time.Second, maxOverTime):
				h.ReCount, h.OverTime = int(v), d
			}
		}
	}
	if n := f.get("heartbeat"); n != nil && c.isScalar(n) {
		const form = "60s | 60s as 9015"
		d, toks, ok := c.duration(c.lex(n), n)
		if !ok || !c.bounds(n, d, time.Second, time.Hour) {
			return
		}
		h.Beat, h.BeatCN = d, defaultBeatCN
		if len(toks) == 0 {
			return
		}
		if toks, ok = c.expect(toks, n, form, "as"); !ok {
			return
		}
		if v, rest, ok := c.number(toks, n); ok && c.nothing(rest) {
			if v != float64(int(v)) || v < 1 || v > 9999 {
				c.bad(n, "bad-form", "write-form", "text", n.text, "form", form)
			}
			h.BeatCN = int(v)
		}
	}
}

func (c *compiler) hj212Factors(h *HJ212, n *node) {
	if !c.isSection(n, "factors") {
		return
	}
	if len(n.pairs) > maxHJ212Factors {
		c.bad(n, "too-many", "", "what", key("factors"), "limit", maxHJ212Factors)
		return
	}
	first := map[string]*node{}
	for _, p := range n.pairs {
		x := HJ212Factor{Decimals: defaultDecimals}
		at := p.val
		if p.val.kind == section {
			f := c.read(p.val, "factor", factorForm)
			at = f.get("code")
			if d := f.get("decimals"); d != nil {
				x.Decimals, _ = c.integer(d, 0, maxDecimals)
			}
			if t := f.get("total"); t != nil && c.isScalar(t) {
				if v, rest, ok := c.number(c.lex(t), t); ok && c.nothing(rest) {
					if x.Total = v; v <= 0 {
						c.bad(t, "bad-form", "write-form", "text", t.text, "form", "0.001")
					}
				}
			}
		}
		x.Code = c.matching(at, hj212Code, "a21026")
		if before := first[x.Code]; before != nil && x.Code != "" {
			c.bad(at, "name-taken", "", "name", x.Code, "place", before.place.String())
		}
		first[x.Code] = at
		t := c.tagNamed(p.key)
		if t == nil {
			continue
		}
		r := c.plan.Tags[t.id].Record
		switch {
		case r.Never:
			c.bad(p.key, "hj212-never", "hj212-never", "name", string(t.name))
		case t.kind == tag.Text:
			c.bad(p.key, "hj212-kind", "", "name", string(t.name))
		}
		x.Tag, x.Every = t.name, r.Every
		h.Factors = append(h.Factors, x)
	}
}

// matching reads a text of a form that is shown where it has another.
func (c *compiler) matching(n *node, form *regexp.Regexp, shown string) string {
	s, ok := c.plain(n)
	if ok && !form.MatchString(s) {
		c.bad(n, "bad-form", "write-form", "text", s, "form", shown)
		return ""
	}
	return s
}

// secretOf reads `secret NAME`. What stands there instead is not repeated:
// somebody may have written the password.
func (c *compiler) secretOf(n *node) string {
	if !c.isScalar(n) {
		return ""
	}
	w := strings.Fields(n.text)
	if len(w) != 2 || w[0] != "secret" {
		c.bad(n, "hj212-pw", "hj212-pw")
		return ""
	}
	c.secrets(n)
	return w[1]
}

// wordOr is word for a field that may be absent.
func (c *compiler) wordOr(n *node, otherwise string, words ...string) string {
	if n == nil {
		return otherwise
	}
	if s, ok := c.word(n, words...); ok {
		return s
	}
	return otherwise // and it is a problem
}
