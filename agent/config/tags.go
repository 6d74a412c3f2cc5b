package config

import (
	"math"
	"slices"
	"strings"
	"time"

	"davy/drivers"
	"davy/drivers/tag"
	units "davy/rules/unit"
)

// tagInfo is a tag while it is compiled.
type tagInfo struct {
	id          tag.ID
	name        tag.Name
	n           *node
	device      *device
	ttl         time.Duration
	kind        tag.Kind
	vague       bool // its range and unit could not be read
	unknownKind bool // its address or type could not be read
	used        bool // a rule looks at it
	link        int
	states      map[string]float64
	named       bool // states are all that it can be
	address     drivers.Address
	gas         *tagGas
	gasLost     bool          // its gas could not be read
	blind       time.Duration // of a computed tag: how long after a start it is bad at least
	detector    bool          // its profile names a gas, or a limit of it latches above the range
	ready       time.Duration // longest warm-up; 0 not said
	inTest      time.Duration // longest test; 0 not said
	composed    bool          // computed by an expression of the site's
	exposed     exposed       // of a computed tag: which limit of exposure is its
	through     units.Gas     // of a computed tag: the one gas of those that it looks at
}

var tagForm = form{
	{name: "at", must: true, hint: "missing-at", also: []string{"address", "addr", "register", "reg", "ref", "holding"}},
	{name: "type", also: []string{"datatype", "data_type", "format"}},
	{name: "range", also: []string{"limits", "span"}},
	{name: "unit", also: []string{"units", "eu"}},
	{name: "gas", also: []string{"substance", "medium"}},
	{name: "scan", also: []string{"interval", "poll", "period", "cycle"}},
	{name: "text", also: []string{"name", "description"}},
	{name: "record", also: []string{"log", "history"}},
	{name: "scale"},
	{name: "gain", also: []string{"factor"}},
	{name: "offset"},
	{name: "order", also: []string{"byte_order", "word_order"}},
	{name: "decimals"},
	{name: "invalid", also: []string{"sentinel", "sentinels"}},
	{name: "states", also: []string{"enum", "values"}},
	{name: "texts"},
	{name: "state", also: []string{"status"}},
	{name: "formula", later: "computed"},
}

// tag compiles one tag. over is what the site says of a template's tag, nil
// where it says nothing: a range, a unit, a scan period of its own.
func (c *compiler) tag(d *device, p pair, over *pair) {
	info := &tagInfo{n: p.key, device: d, name: tag.Name(d.name + "." + p.key.text), link: -1}
	if over != nil {
		info.n = over.key
	}
	if before := c.byName[info.name]; before != nil {
		c.bad(p.key, "name-taken", "", "name", string(info.name), "place", before.n.place.String())
		return
	}
	t := Tag{Name: info.name, Place: info.n.place, Period: DefaultScan, Link: -1, T90: d.t90}
	pt := drivers.Point{Name: info.name, Station: d.station, Device: d.name, Options: d.options}
	f := c.read(p.val, "tag", tagForm)
	if over != nil {
		again := slices.Clone(tagForm)
		again[0].must = false // its address stands in the template
		for name, n := range c.read(over.val, "tag", again).vals {
			f.vals[name] = n
		}
	}
	c.address(d, f, info, &t, &pt)
	if n := f.get("scan"); n != nil {
		if v, ok := c.span(n, MinScan, MaxScan); ok {
			t.Period = v
		}
	}
	c.rangeOf(f, &t)
	info.gas = c.gasOf(f.get("gas"))
	info.gasLost = info.gas == nil && f.get("gas") != nil
	c.scaleOf(f, &t, &pt)
	if t.Kind != tag.Text {
		t.Kind = pt.Kind()
	}
	c.stateNames(f, f.get("states"), &t, &pt, info)
	c.textsOf(f.get("texts"), &t, &pt, info)
	c.invalidOf(f.get("invalid"), &t, &pt)
	c.decimalsOf(d, f.get("decimals"), &t, &pt)
	pt.State = c.tagState(d, f.get("state"), pt.Address)
	if n := f.get("text"); n != nil {
		t.Text, _ = c.prose(n)
	}
	c.recordOf(f.get("record"), &t)
	info.vague = p.val.lost || p.val.kind != section || f.lost("range", "unit") || c.lostNear(p.val, "range") || c.lostNear(p.val, "unit")
	info.kind, info.unknownKind = t.Kind, info.address == nil
	pt.Ranged, pt.Low, pt.High, pt.Period = t.Ranged, t.Low, t.High, t.Period
	info.ttl = max(3*t.Period, minTTL)
	if d.stale > 0 {
		if info.ttl = d.stale; d.stale < t.Period && !info.vague {
			c.badOnce(info.n, "stale-before-scan", "", "tag", string(info.name), "stale", spell(d.stale), "scan", spell(t.Period))
		}
	}
	c.addTag(info, t)
	if d.link != nil && !info.vague && !info.unknownKind && !f.lost("scale", "gain", "offset", "decimals", "invalid", "states", "texts", "state") {
		pt.Tag = info.id
		d.link.points = append(d.link.points, pt)
	}
}

// addTag gives a tag its id.
func (c *compiler) addTag(info *tagInfo, t Tag) {
	info.id = tag.ID(len(c.tags))
	t.ID, t.Link = info.id, -1
	if info.device != nil && info.device.link != nil {
		t.Link = info.device.link.index
	}
	if t.Text.En == "" {
		t.Text.Zh, t.Text.En = string(t.Name), string(t.Name)
	}
	info.link = t.Link
	if len(c.tags) == MaxTags {
		c.badOnce(info.n, "too-many-tags", "", "limit", MaxTags)
	}
	c.tags = append(c.tags, info)
	c.byName[info.name] = info
	c.plan.Tags = append(c.plan.Tags, t)
}

func (f fields) lost(names ...string) bool {
	return slices.ContainsFunc(names, func(x string) bool { n := f.vals[x]; return n != nil && n.lost })
}

// address reads `at:` and `type:` by the link's driver.
func (c *compiler) address(d *device, f fields, info *tagInfo, t *Tag, pt *drivers.Point) {
	at, ok := c.plain(f.get("at"))
	typ, typed := "", true
	if n := f.get("type"); n != nil {
		typ, typed = c.plain(n)
	}
	if !ok || !typed || d.link == nil || d.link.driver == nil {
		return
	}
	a, err := d.link.driver.ParseAddress(at)
	if err != nil {
		c.driverBad(f.get("at"), "bad-address", err)
		return
	}
	c.advised(f.get("at"), a)
	whole := typ
	if n := f.get("order"); n != nil { // the byte order, where it is not in type
		order, ok := c.plain(n)
		if !ok {
			return
		}
		if typ == "" {
			c.bad(n, "order-without-type", "order-without-type", "text", order)
			return
		}
		head, tail, field := strings.Cut(typ, " bits ")
		if whole = head + " " + order; field {
			whole += " bits " + tail
		}
	}
	ty, err := d.link.driver.ParseType(a, whole)
	if err != nil {
		n := f.get("type")
		if n == nil {
			n = f.get("at")
		}
		if order := f.get("order"); order != nil {
			if _, alone := d.link.driver.ParseType(a, typ); alone == nil {
				n = order
			}
		}
		c.driverBad(n, "bad-type", err)
		return
	}
	info.address, pt.Address, pt.Type, t.Kind = a, a, ty, ty.Kind
}

// rangeOf reads `range: -50 to 180 °C` and `unit:`.
func (c *compiler) rangeOf(f fields, t *Tag) {
	if n := f.get("unit"); n != nil {
		if s, ok := c.plain(n); ok && c.goodUnit(n, canonical(s)) {
			t.Unit = canonical(s)
		}
	}
	n := f.get("range")
	if _, ok := c.plain(n); !ok {
		return
	}
	const form = "-50 to 180 °C"
	low, rest, ok := c.number(c.lex(n), n)
	if !ok {
		return
	}
	if rest, ok = c.expect(rest, n, form, "to"); !ok {
		return
	}
	high, rest, ok := c.number(rest, n)
	if !ok {
		return
	}
	u, at, rest := unit(rest)
	switch {
	case !c.nothing(rest):
	case at != nil && !c.goodUnit(at, u):
	case u != "" && t.Unit != "" && u != t.Unit:
		c.bad(at, "unit-differs", "unit-twice", "have", u, "want", t.Unit)
	case !(low < high):
		c.bad(n, "range-order", "", "low", low, "high", high)
	case t.Kind == tag.Bool:
		c.bad(n, "range-of-bool", "")
	case t.Kind == tag.Text:
		c.bad(n, "not-of-number", "", "field", "range")
	default:
		t.Ranged, t.Low, t.High = true, low, high
		if u != "" {
			t.Unit = u
		}
	}
}

// scaleOf reads `scale: 0.1` or `scale: 0.1 - 40`, or gain and offset:
// engineering = raw × gain + offset.
func (c *compiler) scaleOf(f fields, t *Tag, pt *drivers.Point) {
	single := func(n *node) (float64, bool) {
		if _, ok := c.plain(n); !ok {
			return 0, false
		}
		v, rest, ok := c.number(c.lex(n), n)
		return v, ok && c.nothing(rest)
	}
	if n := f.get("gain"); n != nil {
		if v, ok := single(n); ok {
			pt.Gain = v
		}
	}
	if n := f.get("offset"); n != nil {
		if v, ok := single(n); ok {
			pt.Offset = v
		}
	}
	n := f.get("scale")
	if _, ok := c.plain(n); ok {
		if f.get("gain") != nil || f.get("offset") != nil {
			c.bad(n, "scale-twice", "")
			return
		}
		gain, rest, ok := c.number(c.lex(n), n)
		if !ok {
			return
		}
		pt.Gain = gain
		if len(rest) > 0 {
			minus := rest[0].text == "-"
			if !minus && rest[0].text != "+" || len(rest) < 2 {
				c.bad(rest[0], "bad-form", "write-form", "text", rest[0].text, "form", "0.1 - 40")
				return
			}
			v, rest, ok := c.number(rest[1:], n)
			if !ok || !c.nothing(rest) {
				return
			}
			if minus {
				v = -v
			}
			pt.Offset = v
		}
	}
	for _, name := range []string{"scale", "gain"} {
		if n := f.get(name); n != nil && !n.lost && pt.Gain == 0 {
			c.bad(n, "gain-zero", "")
		}
	}
	if t.Kind == tag.Text && (pt.Gain != 0 || pt.Offset != 0) {
		for _, name := range []string{"scale", "gain", "offset"} {
			if n := f.get(name); n != nil {
				c.bad(n, "not-of-number", "", "field", name)
			}
		}
	}
	if t.Kind == tag.Bool && (pt.Gain != 0 || pt.Offset != 0) {
		for _, name := range []string{"scale", "gain", "offset"} {
			if n := f.get(name); n != nil {
				c.bad(n, "scale-of-bool", "")
			}
		}
	}
}

// recordOf reads `record: every 10s, or 0.2 % change`. A change in % of a tag
// whose unit is another means % of its range.
func (c *compiler) recordOf(n *node, t *Tag) {
	t.Record = Record{Every: DefaultRecord}
	if _, ok := c.plain(n); !ok {
		return
	}
	const form = "every 60s, or 0.2 % change"
	toks := c.lex(n)
	if starts(toks, "never") {
		t.Record = Record{Never: true}
		c.nothing(toks[1:])
		return
	}
	toks, ok := c.expect(toks, n, form, "every")
	if !ok {
		return
	}
	every, toks, ok := c.duration(toks, n)
	if !ok || !c.bounds(n, every, time.Second, 24*time.Hour) {
		return
	}
	t.Record.Every = every
	if len(toks) == 0 {
		return
	}
	if starts(toks, ",") {
		toks = toks[1:]
	}
	if toks, ok = c.expect(toks, n, form, "or"); !ok {
		return
	}
	if starts(toks, "any", "change") {
		c.nothing(toks[2:])
		return
	}
	v, toks, ok := c.number(toks, n)
	if !ok {
		return
	}
	u, at, toks := unit(toks)
	if toks, ok = c.expect(toks, n, form, "change"); !ok || !c.nothing(toks) {
		return
	}
	switch {
	case v < 0 || math.IsNaN(v):
		c.bad(n, "bad-number", "", "text", n.text)
	case u == "" || u == t.Unit:
		t.Record.Change = v
	case u == "%" && t.Ranged:
		t.Record.Change = v / 100 * (t.High - t.Low)
	case u == "%":
		c.bad(at, "percent-without-range", "percent-without-range")
	default:
		c.bad(at, "unit-differs", "unit-of-tag", "have", u, "want", shownUnit(t.Unit), "tag", string(t.Name))
	}
}

func shownUnit(u string) any {
	if u == "" {
		return key("no-unit")
	}
	return u
}
