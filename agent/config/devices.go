package config

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"davy/agent/i18n"
	"davy/drivers"
	"davy/rules"
)

func key(what string) i18n.Key { return i18n.Key("what." + what) }

func asHint(err error) (*drivers.Hint, bool) {
	var h *drivers.Hint
	return h, errors.As(err, &h)
}

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }

// A device while it is compiled.
type device struct {
	name     string
	n        *node
	val      *node
	link     *link // nil where it is not known
	station  int
	stale    time.Duration
	staleAt  *node // where the site says so
	mayWrite []*writable
	writable map[string]*writable // by the canonical address
	vague    bool                 // its may_write could not be read
	watchdog bool
	unsure   bool // its watchdog could not be read
	t90      time.Duration
	options  any // what its driver made of its own fields
	state    *drivers.State
	vectors  []Vector // of its template
	rule     rules.Device
}

// A writable is one address of a device's may_write.
type writable struct {
	n    *node
	used *node // what writes it
	at   drivers.Address
	typ  drivers.Type
	// What may be written, where that is said; outside it nothing is.
	ranged    bool
	low, high float64
}

var deviceForm = form{
	{name: "link", must: true},
	{name: "station", also: []string{"unit", "unit_id", "unit-id", "slave", "slave_id", "slave-id", "address", "addr", "id", "node"}},
	{name: "template"},
	{name: "text", also: []string{"name", "description"}},
	{name: "tags", also: []string{"points", "registers", "variables"}},
	{name: "may_write", also: []string{"may-write", "write", "writable"}},
	{name: "watchdog"},
	{name: "stale_after", also: []string{"stale-after", "ttl"}},
	{name: "state", also: []string{"status"}},
	{name: "force", also: []string{"override"}},
	{name: "test", also: []string{"bump_test", "calibration"}},
	{name: "test_every", also: []string{"test-every", "proof_test"}},
	{name: "profile", later: "profile"},
}

// deviceLater are fields that only some drivers have.
var deviceLater = []field{{name: "accept_any_unit", later: "accept-any-unit"}}

// ownDeviceFields adds the fields of the driver of a device's link to a form.
// A template may be of a device that speaks several protocols: what another
// one's driver has is passed over there.
func (c *compiler) ownDeviceFields(f form, l *link, template bool) form {
	kind := ""
	if l != nil {
		kind = l.plan.Driver
	}
	f = c.ownFields(slices.Clone(f), kind, drivers.Driver.DeviceFields)
	if template {
		for i := range f {
			f[i].of = ""
		}
	}
	return f.with(deviceLater...)
}

func (c *compiler) compileDevices() {
	for _, p := range c.named("devices", "devices") {
		c.device(p)
	}
}

// reserved are the first words of the agent's own conditions: no device may
// have them as its name.
var reserved = []string{"record", "latch", "plan", "clock", "outputs", "control", "journal", "link", "output", "uplink"}

func (c *compiler) device(p pair) {
	d := &device{name: p.key.text, n: p.key, val: p.val, writable: map[string]*writable{}}
	c.devices = append(c.devices, d)
	c.deviceOf[d.name] = d
	if slices.Contains(reserved, d.name) {
		c.bad(p.key, "name-reserved", "name-reserved", "name", d.name)
	}
	f := c.read(p.val, "device", c.ownDeviceFields(deviceForm, c.peekLink(p.val), false))
	d.link = c.deviceLink(f.get("link"))
	if d.rule.Text = (rules.Text{Zh: d.name, En: d.name}); f.get("text") != nil {
		d.rule.Text, _ = c.prose(f.get("text"))
	}
	c.devicePermits(d, f)
	t := c.readTemplate(d, f.get("template"))
	if n := f.get("station"); n != nil {
		if v, ok := c.integer(n, 1, 255); ok {
			d.station = v
		}
	} else if d.link != nil && strings.HasPrefix(d.link.plan.Driver, "modbus") && !p.val.lost && !unitInstead(p.val) && !c.lostNear(p.val, "station") {
		c.badOnce(p.val, "missing-field", "missing-station", "field", "station", "what", key("device"))
	}
	if n := f.get("stale_after"); n != nil {
		d.staleAt = n
		d.stale, _ = c.span(n, 100*time.Millisecond, 24*time.Hour)
	}
	c.options(d, f, t)
	c.deviceState(d, f, t)
	c.mayWrite(d, f.get("may_write"))
	c.watchdog(d, f.get("watchdog"))
	own := f.get("tags")
	c.template(d, t, own)
	if n := own; n != nil {
		if n.kind == scalar && !n.lost && strings.HasSuffix(n.text, ".csv") {
			c.bad(n, "not-in-this-version", "later-csv", "what", n.text)
		}
		for _, x := range c.nameList(n, "tags") {
			if x.key.lost || t.form != nil && t.get("tags").get(x.key.text) != nil {
				continue // it was said with the template's tag
			}
			c.tag(d, x, nil)
		}
	}
	if f.get("tags") == nil && f.get("template") == nil && f.get("may_write") == nil && !p.val.lost {
		c.warn(p.key, "device-empty", "", "name", d.name)
	}
}

// unitInstead reports a section that writes `unit` or the like for `station`:
// that was named, with the remedy.
func unitInstead(n *node) bool {
	for _, x := range deviceForm[1].also {
		if n.get(x) != nil {
			return true
		}
	}
	return slices.ContainsFunc(n.pairs, func(p pair) bool { return nearest(p.key.text, []string{"station"}) != "" })
}

func (c *compiler) deviceLink(n *node) *link {
	s, ok := c.plain(n)
	if !ok {
		return nil
	}
	if l := c.linkOf[s]; l != nil {
		return l
	}
	c.unknown(n, "unknown-link", s, namesOf(c.links, func(l *link) string { return l.plan.Name }))
	return nil
}

// maxNames is how many names one is looked for among.
const maxNames = 2000

// namesOf are the names of things, at most maxNames.
func namesOf[T any](list []T, name func(T) string) func() []string {
	return func() []string {
		var out []string
		for _, x := range list[:min(len(list), maxNames)] {
			out = append(out, name(x))
		}
		return out
	}
}

// unknown names a reference to nothing, unless what it means had to be left out.
func (c *compiler) unknown(n *node, code, name string, list func() []string) {
	if c.guesses > maxGuesses {
		c.bad(n, code, "", "name", name)
		return
	}
	if c.lostName(name) {
		n.lost = true
		return
	}
	names := list()
	if near := c.nearest(name, names); near != "" {
		c.bad(n, code, "did-you-mean", "name", name, "want", near)
		return
	}
	if len(names) > 0 && len(names) <= 12 {
		c.bad(n, code, "known-are", "name", name, "list", strings.Join(names, ", "))
		return
	}
	c.bad(n, code, "", "name", name)
}

// peekLink is the link that a device names, before anything is said of it.
func (c *compiler) peekLink(n *node) *link {
	if x := n.get("link"); x != nil && x.kind == scalar {
		return c.linkOf[x.text]
	}
	return nil
}

// readOnly refuses something that writes on a link that is declared read-only.
func (c *compiler) readOnly(d *device, n *node) {
	if l := d.link; l != nil && l.plan.ReadOnly && n != nil {
		c.bad(n, "link-read-only", "link-read-only", "link", l.plan.Name, "place", l.readOnly.place.String())
	}
}

// options hands the own fields of a device and of its template to the driver.
// What the site writes at the device goes before what the template says.
func (c *compiler) options(d *device, site, template fields) {
	if d.link == nil || d.link.driver == nil {
		return
	}
	own := d.link.driver.DeviceFields()
	values, at, ok := drivers.Fields{}, map[string]*node{}, true
	for _, f := range []fields{template, site} {
		if f.form == nil { // there is none
			continue
		}
		v, where, fine := c.ownValues(f, own)
		maps.Copy(values, v)
		maps.Copy(at, where)
		ok = ok && fine
	}
	if !ok || len(values) == 0 {
		return
	}
	options, err := d.link.driver.ParseDevice(values)
	if err != nil {
		c.ownBad(d.n, at, "bad-field", err)
		return
	}
	d.options = options
}

// readTemplate reads the template that a device names; the result has no form
// where there is none.
func (c *compiler) readTemplate(d *device, n *node) fields {
	s, ok := c.plain(n)
	if !ok {
		return fields{}
	}
	if !templateName(s) {
		c.bad(n, "bad-template-name", "bad-template-name", "name", s)
		return fields{}
	}
	if _, have := c.b.File(templatePath(s)); !have {
		c.bad(n, "unknown-template", "unknown-template", "name", s)
		return fields{}
	}
	p := c.paper(templatePath(s))
	return c.read(p.root, "template", c.ownDeviceFields(templateForm, d.link, true))
}

// template adds the tags of a device template. Where the site has a tag of the
// same name, own, its fields go before the template's.
func (c *compiler) template(d *device, f fields, own *node) {
	if f.form == nil {
		return
	}
	if v := f.get("davy"); v != nil {
		c.word(v, "1")
	}
	c.prose(f.get("text"))
	for _, name := range []string{"vendor", "model", "firmware", "source"} {
		c.isScalar(f.get(name)) // only read by people, and by caveats
	}
	if v := f.get("t90"); v != nil {
		d.t90, _ = c.span(v, 0, time.Hour)
	}
	if v := f.get("stale_after"); v != nil && d.stale == 0 {
		d.stale, _ = c.span(v, 100*time.Millisecond, 24*time.Hour)
	}
	c.caveats(d, f)
	for _, t := range c.nameList(f.get("tags"), "tags") {
		c.tag(d, t, own.pair(t.key.text))
	}
	c.vectors(d, f.get("vectors"))
	d.t90 = 0 // the site's own tags have none
}

var templateForm = form{
	{name: "davy"},
	{name: "vendor"},
	{name: "model"},
	{name: "firmware"},
	{name: "source"},
	{name: "text"},
	{name: "t90", also: []string{"T90", "response"}},
	{name: "stale_after"},
	{name: "state", also: []string{"status"}},
	{name: "tags", must: true},
	{name: "caveats", also: []string{"notes", "unconfirmed"}},
	{name: "vectors"},
	{name: "may_write", later: "template-write"},
}

// templateName reports vendor/model of lower-case words.
func templateName(s string) bool {
	vendor, model, ok := strings.Cut(s, "/")
	good := func(w string) bool {
		for i, r := range w {
			if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || i > 0 && (r == '-' || r == '_' || r == '.')) {
				return false
			}
		}
		return w != "" && len(w) <= maxNameLen
	}
	return ok && good(vendor) && good(model)
}

// templateNames are the templates that the devices name, for ReadSite.
func (c *compiler) templateNames() []string {
	var out []string
	for _, file := range []string{SiteFile, RulesFile} {
		p := c.paper(file)
		if p == nil {
			continue
		}
		devices := p.root.get("devices")
		if devices == nil {
			continue
		}
		for _, d := range devices.pairs {
			if t := d.val.get("template"); t != nil && t.kind == scalar && templateName(t.text) && !slices.Contains(out, t.text) {
				out = append(out, t.text)
			}
		}
	}
	return out
}
