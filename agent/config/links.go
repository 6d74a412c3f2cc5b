package config

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"davy/drivers"
	"davy/drivers/tag"
)

// A link while it is compiled.
type link struct {
	n      *node
	plan   Link
	index  int
	driver drivers.Driver // nil where its kind could not be read
	points []drivers.Point

	readOnly *node // where `read_only:` stands
}

// laterKinds are kinds of links that not every binary speaks.
var laterKinds = []string{"modbus-rtu", "modbus-ascii", "opcua", "gpio"}

// linkForm is the fields of a link of one kind ("" where it is not known): the
// kinds of the set's drivers, what they share, and what is the kind's own.
func (c *compiler) linkForm(kind string) form {
	f := form{
		{name: "timeout"},
		{name: "text", also: []string{"name", "description"}},
		{name: "read_only", also: []string{"read-only", "readonly"}},
	}
	for _, k := range slices.Sorted(maps.Keys(c.set)) {
		x := field{name: k, other: kind != "" && k != kind}
		if k == "modbus-tcp" {
			x.also = []string{"modbus", "tcp", "host", "ip"}
		}
		f = append(f, x)
	}
	f = c.ownFields(f, kind, drivers.Driver.LinkFields)
	later := []field{
		{name: "serial", later: "serial"},
		{name: "other_master", later: "serial"},
		{name: "security", later: "opcua"},
		{name: "trust", later: "opcua"},
		{name: "login", later: "opcua"},
	}
	for _, k := range laterKinds {
		later = append(later, field{name: k, later: k})
	}
	return f.with(later...)
}

func (c *compiler) compileLinks() {
	for _, p := range c.named("links", "links") {
		c.link(p)
	}
}

func (c *compiler) link(p pair) {
	l := &link{n: p.key, index: len(c.links), plan: Link{Name: p.key.text, Timeout: DefaultTimeout, Place: p.key.place}}
	c.links = append(c.links, l)
	c.linkOf[l.plan.Name] = l
	kinds := c.kindsOf(p.val)
	kind := ""
	if len(kinds) > 0 && c.set[kinds[0].text] != nil {
		kind = kinds[0].text
	}
	f := c.read(p.val, "link", c.linkForm(kind))
	if n := f.get("timeout"); n != nil {
		if d, ok := c.span(n, MinTimeout, MaxTimeout); ok {
			l.plan.Timeout = d
		}
	}
	c.prose(f.get("text"))
	if n := f.get("read_only"); n != nil {
		l.plan.ReadOnly = c.yes(n, true)
		l.readOnly = n
	}
	for _, other := range kinds[min(1, len(kinds)):] {
		c.bad(other, "link-two-kinds", "", "first", kinds[0].text, "second", other.text)
	}
	if kind != "" {
		c.target(l, kind, f)
	}
	if len(kinds) == 0 && p.val.kind == section && !p.val.lost && !c.lostNear(p.val, ":") && !slices.ContainsFunc(p.val.pairs, func(x pair) bool { return x.key.lost }) {
		c.badOnce(p.key, "link-no-kind", "link-no-kind", "name", p.key.text, "list", listing(strings.Join(slices.Sorted(maps.Keys(c.set)), ", ")))
	}
}

// kindsOf are the keys of a link that name a kind; one is right.
func (c *compiler) kindsOf(n *node) (kinds []*node) {
	for _, x := range n.pairs {
		if c.set[x.key.text] != nil || slices.Contains(laterKinds, x.key.text) {
			kinds = append(kinds, x.key)
		}
	}
	return kinds
}

// target hands the target and the kind's own fields to its driver.
func (c *compiler) target(l *link, kind string, f fields) {
	l.plan.Driver, l.driver = kind, c.set[kind]
	n := f.get(kind)
	s, ok := c.joined(n)
	values, at, whole := c.ownValues(f, l.driver.LinkFields())
	if !ok || !whole {
		return
	}
	settings, err := l.driver.ParseLink(s, values)
	if err != nil {
		c.ownBad(n, at, "bad-target", err)
		return
	}
	l.plan.Settings = settings
	c.connections(l, n)
	for _, other := range c.links[:l.index] {
		if other.plan.Target == settings.Target && (settings.Exclusive || other.plan.Exclusive) {
			c.bad(n, "link-same-target", "link-same-target", "target", settings.Target, "first", other.plan.Name, "place", other.n.place.String())
		}
	}
}

// connections holds the links of one device to the connections that it takes.
func (c *compiler) connections(l *link, n *node) {
	most, count, first := l.plan.Connections, 0, l
	for _, other := range c.links {
		if other.plan.Target != l.plan.Target || other.plan.Connections == 0 || other.plan.Driver != l.plan.Driver {
			continue
		}
		if count++; count == 1 {
			first = other
		}
		most = min(most, other.plan.Connections)
	}
	if most > 0 && count > most && !l.plan.Exclusive {
		c.bad(n, "link-connections", "link-connections", "target", l.plan.Target, "count", count, "most", most, "first", first.plan.Name, "place", first.n.place.String())
	}
}

// requests packs the points of each link: those of one period together, the
// fastest first.
func (c *compiler) requests() {
	for _, l := range c.links {
		if l.driver == nil {
			c.plan.Links = append(c.plan.Links, l.plan)
			continue
		}
		if s, ok := l.driver.(drivers.Pusher); ok && s.Subscribes(l.plan.Settings) {
			if _, err := l.driver.Plan(l.plan.Settings, l.points); err != nil { // whether it can watch them at all
				c.planBad(l, err)
			}
			l.plan.Subscribe = l.points
			for i := range l.points { // silence is no news: the link says when the subscription is in doubt
				c.tags[l.points[i].Tag].ttl = 0
			}
			for _, d := range c.devices { // who wrote it may rely on it
				if d.link == l && d.staleAt != nil {
					c.warn(d.staleAt, "stale-after-pushed", "stale-after-pushed", "device", d.name, "link", l.plan.Name)
				}
			}
			c.plan.Links = append(c.plan.Links, l.plan)
			continue
		}
		byPeriod := map[time.Duration][]drivers.Point{}
		for _, p := range l.points {
			byPeriod[p.Period] = append(byPeriod[p.Period], p)
		}
		for _, period := range slices.Sorted(maps.Keys(byPeriod)) {
			points := byPeriod[period]
			slices.SortStableFunc(points, func(a, b drivers.Point) int { return cmp.Compare(a.Station, b.Station) })
			reqs, err := l.driver.Plan(l.plan.Settings, points)
			if err != nil {
				c.planBad(l, err)
				continue
			}
			c.everyPoint(l, points, reqs)
			for _, r := range reqs {
				l.plan.Scans = append(l.plan.Scans, Scan{period, r})
			}
		}
		c.plan.Links = append(c.plan.Links, l.plan)
		c.load(l)
	}
}

// planBad reports what a driver found only when it packed the points, each
// at the tag it is about.
func (c *compiler) planBad(l *link, err error) {
	errs := []error{err}
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		errs = j.Unwrap()
	}
	for _, err := range errs {
		at := &node{place: l.n.place, width: l.n.width, text: l.plan.Name}
		if h, ok := asHint(err); ok {
			if name, ok := h.Args["tag"].(string); ok {
				if info := c.byName[tag.Name(name)]; info != nil {
					at.place, at.width = info.n.place, info.n.width
				}
			}
		}
		c.driverBad(at, "bad-requests", err)
	}
}

// writes asks a driver whether a point can be written at all.
func (c *compiler) writes(d *device, n *node, p drivers.Point) {
	if d.link == nil || d.link.driver == nil || n.lost {
		return
	}
	if _, err := d.link.driver.Plan(d.link.plan.Settings, []drivers.Point{p}); err != nil {
		c.driverBad(n, "bad-requests", err)
	}
}

// everyPoint holds the driver to its promise: each point in exactly one request.
func (c *compiler) everyPoint(l *link, points []drivers.Point, reqs []drivers.Request) {
	seen := map[tag.ID]int{}
	for _, r := range reqs {
		for _, p := range r.Points() {
			seen[p.Tag]++
		}
	}
	for _, p := range points {
		if seen[p.Tag] != 1 {
			panic("BUG: config: driver " + l.plan.Driver + " left point " + string(p.Name) + " out of its requests or took it twice")
		}
	}
}

// A line that is busy for more than busyWarn of the time is a warning, for
// more than all of it a problem: it can never keep its scan periods.
const busyWarn = 0.7

func (c *compiler) load(l *link) {
	busy := busyOf(l.plan)
	switch {
	case busy > 1:
		c.badOnce(l.n, "link-overload", "link-overload", "name", l.plan.Name, "percent", int(busy*100+0.5))
	case busy > busyWarn:
		c.warn(l.n, "link-busy", "link-overload", "name", l.plan.Name, "percent", int(busy*100+0.5))
	}
}

// busyOf is how much of the time a line is busy when all is well: 1 is always.
func busyOf(l Link) float64 {
	busy := 0.0
	for _, s := range l.Scans {
		busy += s.Request.Cost().Seconds() / s.Period.Seconds()
	}
	return busy
}
