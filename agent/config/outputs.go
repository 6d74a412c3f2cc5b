package config

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"davy/drivers"
	"davy/drivers/tag"
	"davy/rules"
)

// An output while it is compiled.
type output struct {
	n        *node
	val      *node
	plan     Output
	rule     rules.Output
	device   *device
	states   map[string]float64
	words    []string // in order
	vague    bool     // its states or its occasions could not be read
	deadAt   *node
	lostAt   *node
	escalate *node
	scan     time.Duration
	at       *node
	writes   *writable
}

var outputForm = form{
	{name: "drives", must: true, also: []string{"at", "writes", "drive"}},
	{name: "text", also: []string{"name"}},
	{name: "idle", must: true, also: []string{"normal", "default"}},
	{name: "protective", must: true, also: []string{"safe", "safe_state", "trip"}},
	{name: "states"},
	{name: "proof", also: []string{"feedback"}},
	{name: "escalate"},
	{name: "scan"},
	{name: "davy_dead", also: []string{"davy-dead", "dead"}},
	{name: "link_lost", also: []string{"link-lost"}},
	{name: "after_restart", also: []string{"after-restart", "restart"}},
	{name: "power_lost", later: "power-lost"},
	{name: "wins", later: "wins"},
}

// builtIn are the words for states that need no `states:`.
var builtIn = map[string]float64{"run": 1, "stop": 0, "on": 1, "off": 0}

func (c *compiler) compileOutputs() {
	for _, p := range c.named("outputs", "outputs") {
		c.output(p)
	}
}

func (c *compiler) output(p pair) {
	o := &output{n: p.key, val: p.val, plan: Output{Name: p.key.text, Link: -1, AfterRestart: Stays, Place: p.key.place}, scan: DefaultScan}
	o.rule.Name = o.plan.Name
	c.claim(p.key)
	c.outputs = append(c.outputs, o)
	c.outputOf[o.plan.Name] = o
	f := c.read(p.val, "output", outputForm)
	o.vague = p.val.lost || p.val.kind != section
	o.plan.Text = rules.Text{Zh: o.plan.Name, En: o.plan.Name}
	if n := f.get("text"); n != nil {
		if t, ok := c.prose(n); ok {
			o.plan.Text = t
		}
	}
	o.rule.Text = o.plan.Text
	if n := f.get("scan"); n != nil {
		if d, ok := c.span(n, MinScan, MaxScan); ok {
			o.scan = d
		}
	}
	c.statesOf(o, f.get("states"))
	c.drives(o, f.get("drives"))
	o.plan.Idle, o.plan.IdleName = c.stateWord(o, f.get("idle"))
	o.plan.Protective, o.plan.ProtectiveName = c.stateWord(o, f.get("protective"))
	if o.writes != nil {
		for _, x := range []struct {
			v tag.Value
			n *node
		}{{o.plan.Idle, f.get("idle")}, {o.plan.Protective, f.get("protective")}} {
			if x.v.Kind() != tag.None {
				c.admits(o.writes, x.v, x.n)
			}
		}
	}
	if o.plan.IdleName != "" && o.plan.Idle == o.plan.Protective && o.plan.Idle.Kind() != tag.None {
		c.bad(f.get("protective"), "states-equal", "", "name", o.plan.Name)
	}
	o.deadAt, o.lostAt = f.get("davy_dead"), f.get("link_lost")
	o.plan.DavyDead = c.occasion(o, o.deadAt)
	o.plan.LinkLost = c.occasion(o, o.lostAt)
	c.restart(o, f.get("after_restart"))
	c.readBack(o)
	c.proof(o, f.get("proof"))
	o.escalate = f.get("escalate")
}

// statesOf reads `states: {stop: 0, run: 1}`.
func (c *compiler) statesOf(o *output, n *node) {
	if n == nil {
		return
	}
	o.states = map[string]float64{}
	for _, p := range c.nameList(n, "states") {
		if v, ok := c.integer(p.val, -32768, 65535); ok {
			o.states[p.key.text] = float64(v)
			o.words = append(o.words, p.key.text)
		} else {
			o.vague = true
		}
	}
	o.vague = o.vague || n.lost
}

// stateWord reads the word of a state and returns the value that is written.
func (c *compiler) stateWord(o *output, n *node) (tag.Value, string) {
	s, ok := c.plain(n)
	if !ok {
		o.vague = true
		return tag.Value{}, ""
	}
	v, ok := o.states[s]
	if o.states == nil {
		v, ok = builtIn[s]
	}
	if !ok {
		if o.states != nil {
			c.notOneOf(n, s, o.words)
		} else {
			c.bad(n, "state-unknown", "state-unknown", "text", s)
		}
		o.vague = true
		return tag.Value{}, ""
	}
	switch o.plan.Point.Type.Kind {
	case tag.Bool:
		if v != 0 && v != 1 {
			c.bad(n, "state-not-bool", "", "text", s, "value", strconv.FormatFloat(v, 'f', -1, 64))
			return tag.Value{}, ""
		}
		return tag.BoolValue(v == 1), s
	case tag.Float32:
		x, _ := tag.Float32Value(float32(v))
		return x, s
	case tag.Float64:
		x, _ := tag.Float64Value(v)
		return x, s
	case tag.Enum:
		return tag.EnumValue(int64(v)), s
	case tag.None:
		return tag.Value{}, s
	}
	return tag.IntValue(int64(v)), s
}

// drives reads `io1 coil 0`: a device and an address that it may write.
func (c *compiler) drives(o *output, n *node) {
	s, ok := c.plain(n)
	if !ok {
		return
	}
	name, rest, _ := strings.Cut(s, " ")
	if o.device = c.deviceOf[name]; o.device == nil {
		c.unknown(n.piece(0, len(name)), "unknown-device", name, namesOf(c.devices, func(d *device) string { return d.name }))
		return
	}
	c.readOnly(o.device, n)
	if n.lost {
		return
	}
	where := n.piece(len(s)-len(strings.TrimLeft(rest, " ")), len(s))
	if strings.TrimSpace(rest) == "" {
		c.bad(n, "bad-form", "write-form", "text", s, "form", name+" coil 0")
		return
	}
	a, _, ok := c.deviceAddress(o.device, where)
	if !ok {
		return
	}
	w := o.device.writable[a.String()]
	switch {
	case w == nil && !o.device.vague:
		c.bad(where, "not-in-may-write", "not-in-may-write", "address", where.text, "device", name)
		return
	case w == nil:
		return
	case w.used != nil:
		c.bad(where, "written-twice", "written-twice", "address", a.String(), "place", w.used.place.String())
		return
	}
	w.used = where
	o.at, o.writes = where, w
	o.plan.Point = w.point(o.device, tag.Name(o.plan.Name))
	if o.device.link != nil {
		o.plan.Link = o.device.link.index
	}
	c.writes(o.device, w.n, o.plan.Point)
}

// deviceAddress reads an address by the driver of a device's link.
func (c *compiler) deviceAddress(d *device, n *node) (drivers.Address, drivers.Type, bool) {
	if d.link == nil || d.link.driver == nil || n.lost {
		return nil, drivers.Type{}, false
	}
	a, err := d.link.driver.ParseAddress(n.text)
	if err != nil {
		c.driverBad(n, "bad-address", err)
		return nil, drivers.Type{}, false
	}
	ty, err := d.link.driver.ParseType(a, "")
	if err != nil {
		c.driverBad(n, "bad-type", err)
		return nil, drivers.Type{}, false
	}
	return a, ty, true
}

// mayWrite reads `may_write: [coil 0, coil 1]`.
func (c *compiler) mayWrite(d *device, n *node) {
	if n == nil {
		return
	}
	if c.readOnly(d, n); !c.isList(n, "[coil 0, coil 1]") {
		d.vague = true
		return
	}
	for _, item := range n.items {
		w := c.writable(d, item)
		if w == nil {
			d.vague = true
			continue
		}
		if d.writable[w.at.String()] != nil {
			c.bad(w.n, "address-twice", "", "text", w.n.text)
			continue
		}
		d.mayWrite, d.writable[w.at.String()] = append(d.mayWrite, w), w
	}
}

var writableForm = form{
	{name: "at", must: true, also: []string{"address", "register", "coil"}},
	{name: "type"},
	{name: "range"},
}

// writable reads one entry of may_write: an address, or {at: holding 10, type:
// float32 CDAB, range: 0 to 100}, where the range is of what is written.
func (c *compiler) writable(d *device, item *node) *writable {
	w := &writable{n: item}
	var typ, span *node
	if item.kind == section {
		f := c.read(item, "writable", writableForm)
		w.n, typ, span = f.get("at"), f.get("type"), f.get("range")
	}
	if _, ok := c.plain(w.n); !ok {
		return nil
	}
	var ok bool
	if w.at, w.typ, ok = c.deviceAddress(d, w.n); !ok {
		return nil
	}
	if s, ok := c.plain(typ); ok {
		ty, err := d.link.driver.ParseType(w.at, s)
		if err != nil {
			c.driverBad(typ, "bad-type", err)
			return nil
		}
		w.typ = ty
	} else if typ != nil {
		return nil
	}
	if span == nil {
		return w
	}
	t := Tag{Kind: w.typ.Kind}
	if c.rangeOf(fields{c: c, form: tagForm, vals: map[string]*node{"range": span}}, &t); !t.Ranged {
		return nil
	}
	w.ranged, w.low, w.high = true, t.Low, t.High
	return w
}

// point is a point that writes w.
func (w *writable) point(d *device, name tag.Name) drivers.Point {
	return drivers.Point{
		Name: name, Station: d.station, Device: d.name, Address: w.at, Type: w.typ, Options: d.options,
		Ranged: w.ranged, Low: w.low, High: w.high, Write: true,
	}
}

// admits reports whether a value may be written; what may not is a problem.
func (c *compiler) admits(w *writable, v tag.Value, at *node) bool {
	if f := v.Float(); w.ranged && (f < w.low || f > w.high) {
		c.bad(at, "write-range", "write-range", "value", f, "low", w.low, "high", w.high, "address", w.n.text, "place", w.n.place.String())
		return false
	}
	return true
}

// watchdog reads `watchdog: holding 20 = 1 every 1s`.
func (c *compiler) watchdog(d *device, n *node) {
	d.unsure = c.lostNear(d.val, "watchdog")
	if n != nil {
		d.watchdog = true
		defer func() { d.unsure = n.lost }()
	}
	c.readOnly(d, n)
	s, ok := c.plain(n)
	if !ok {
		return
	}
	const form = "holding 20 = 1 every 1s"
	eq := strings.Index(s, "=")
	if eq < 0 {
		c.bad(n, "bad-form", "write-form", "text", s, "form", form)
		return
	}
	where := n.piece(0, len(strings.TrimRight(s[:eq], " ")))
	toks := c.lex(n.piece(eq+1, len(s)))
	v, toks, ok := c.number(toks, n)
	if !ok {
		return
	}
	if toks, ok = c.expect(toks, n, form, "every"); !ok {
		return
	}
	every, toks, ok := c.duration(toks, n)
	if !ok || !c.nothing(toks) || !c.bounds(n, every, 100*time.Millisecond, time.Minute) {
		return
	}
	a, _, ok := c.deviceAddress(d, where)
	if !ok {
		return
	}
	w := d.writable[a.String()]
	if w == nil {
		if !d.vague {
			c.bad(where, "not-in-may-write", "not-in-may-write", "address", where.text, "device", d.name)
		}
		return
	}
	w.used = where
	value := tag.IntValue(int64(v))
	switch {
	case v != float64(int64(v)) || v < -32768 || v > 65535:
		c.bad(n, "out-of-bounds", "", "text", s, "low", -32768, "high", 65535)
		return
	case w.typ.Kind == tag.Bool:
		if v != 0 && v != 1 {
			c.bad(n, "out-of-bounds", "", "text", s, "low", 0, "high", 1)
			return
		}
		value = tag.BoolValue(v == 1)
	}
	if !c.admits(w, value, n) {
		return
	}
	p := w.point(d, tag.Name(d.name+".watchdog"))
	p.Period = every
	c.writes(d, w.n, p)
	d.link.plan.KeepAlive = append(d.link.plan.KeepAlive, KeepAlive{Point: p, Value: value, Every: every, Device: d.name})
}

// occasion reads what becomes of an output when Davy is dead or its link is
// lost. Only the device itself can do anything then.
func (c *compiler) occasion(o *output, n *node) State {
	if n == nil {
		return Unknown
	}
	s, ok := c.word(n, "protective", "stays", "idle", "unknown")
	if !ok {
		o.vague = true
		return Unknown
	}
	state := map[string]State{"protective": Protective, "stays": Stays, "idle": Idle, "unknown": Unknown}[s]
	if (state == Protective || state == Idle) && o.device != nil && !o.device.watchdog && !c.lostNear(o.device.val, "watchdog") {
		c.bad(n, "no-watchdog", "no-watchdog", "text", s, "device", o.device.name)
		n.lost = false
	}
	return state
}

func (c *compiler) restart(o *output, n *node) {
	if n == nil {
		return
	}
	s, ok := c.word(n, "as it was", "idle", "protective")
	if ok {
		o.plan.AfterRestart = map[string]State{"as it was": Stays, "idle": Idle, "protective": Protective}[s]
	}
}

// readBack makes the tag that reads the output's own register.
func (c *compiler) readBack(o *output) {
	name := tag.Name(o.plan.Name + ".state")
	if before := c.byName[name]; before != nil {
		c.bad(o.n, "name-taken", "", "name", string(name), "place", before.n.place.String())
		return
	}
	info := &tagInfo{n: o.n, device: o.device, name: name, ttl: max(3*o.scan, minTTL), states: o.states, unknownKind: o.at == nil, vague: o.at == nil, kind: o.plan.Point.Type.Kind}
	t := Tag{Name: name, Text: rules.Text{}, Kind: o.plan.Point.Type.Kind, Period: o.scan, Record: Record{Every: DefaultRecord}, Place: o.n.place}
	if o.plan.Text.En != o.plan.Name {
		t.Text = o.plan.Text
	}
	if o.plan.IdleName != "" && o.plan.ProtectiveName != "" {
		t.Names = []Name{{o.plan.Idle.Int(), o.plan.IdleName}, {o.plan.Protective.Int(), o.plan.ProtectiveName}}
		slices.SortFunc(t.Names, byCode)
	}
	c.addTag(info, t)
	o.plan.ReadBack = info.id
	o.plan.Point.Tag = info.id
	if o.at == nil || o.device.link == nil {
		return
	}
	p := o.plan.Point
	p.Tag, p.Name, p.Write, p.Period = info.id, name, false, o.scan
	p.Ranged = false // what may be written is one thing, what stands there another
	o.device.link.points = append(o.device.link.points, p)
}

// proof reads `proof: comp1.fan-run = run within 10s`.
func (c *compiler) proof(o *output, n *node) {
	if _, ok := c.plain(n); !ok {
		return
	}
	const form = "comp1.fan-run = run within 10s"
	cond, t, toks, ok := c.condition(c.lex(n), n, o.states, form)
	if !ok {
		return
	}
	if toks, ok = c.expect(toks, n, form, "within"); !ok {
		return
	}
	d, toks, ok := c.duration(toks, n)
	if !ok || !c.nothing(toks) || !c.bounds(n, d, 100*time.Millisecond, time.Hour) {
		return
	}
	o.rule.Proved, o.rule.Proof, o.rule.Within = true, cond, d
	word := c.lex(n)[2]
	if v, ok := o.states[word.text]; ok && v != cond.Limit {
		c.warn(word, "proof-word", "proof-word", "text", word.text, "output", o.plan.Name, "written", v, "tag", string(t.name), "read", cond.Limit)
	}
}
