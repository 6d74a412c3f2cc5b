// Package sparkplug gives the journal's records to a Sparkplug B host (Eclipse
// Sparkplug 3.0) over an MQTT 3.1.1 broker.
//
// It promises: the gateway is one edge node, its devices are Sparkplug devices,
// a tag "comp1.run" is the metric run of the device comp1; what has no device
// (computed tags, the agent's own conditions) is a metric of the node. Every
// birth names all metrics with data type, unit, range and alias, and what was
// known last of each; what was known before this connection is stale, until it
// is recorded again. bdSeq counts connections from 0, seq every birth and data
// message of one from 0 to 255. The node's death is its will, and is published
// when it goes in order; a device dies when no tag of it can be read any more.
//
// A bad value is never sent: the metric is null then, with the property Quality
// 0, or 500 where it is stale. Sparkplug knows no uncertain value: it goes with
// its value and Quality 500. Only good is 192. The property Davy/Quality has our
// own words beside it.
//
// A record that is history is marked so (is_historical). Metrics that only an
// older plan had are born when history first needs them. Events are the metric
// Davy/Event of the node, a text in the JSON of package jsonl, marked as
// transient. What cannot be expressed is left out and counted: the stream
// health, the keeper's own events, records whose tag is not known any more, and
// values of another data type than the metric was born with.
//
// From outside one thing is obeyed: NCMD Node Control/Rebirth, at most once
// every RebirthEvery. Nothing is ever written.
//
// The standard has QoS 0 for births and data. Send returns when the broker
// answered a packet that follows them: it has them then, and nothing is said
// of the host. With a primary host, births and data wait until its STATE says
// that it is online, and the session ends when it goes.
//
// Who owns what: New's state (aliases, last values, bdSeq) outlives sessions
// and belongs to them one after the other. A session owns one goroutine, which
// waits for commands; Close ends it. Nothing is durable.
//
// Imports: uplink/feed, uplink/jsonl, uplink/mqtt, wire, drivers/tag.
package sparkplug

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"davy/agent/uplink/feed"
	"davy/agent/uplink/mqtt"
	"davy/agent/wire"
	"davy/drivers/tag"
)

// Limits, each with what happens at it.
const (
	MaxMetrics   = 200              // of one data message; more make another
	MaxDevices   = 1024             // more: their metrics are the node's
	RebirthEvery = 5 * time.Second  // a rebirth that is asked for sooner waits
	HostWait     = 10 * time.Second // for a primary host's STATE; then the connection is given up, and tried again
	maxState     = 1 << 10          // bytes of a STATE; a longer one says nothing
)

const (
	namespace   = "spBv1.0"
	rebirthName = "Node Control/Rebirth"
	bdSeqName   = "bdSeq"
	eventName   = "Davy/Event"
	qualityName = "Quality"
	wordsName   = "Davy/Quality"
)

// Options of a destination.
type Options struct {
	Group, Node string
	Host        string // the primary host's id; "": none
	// Broker says how to reach it, asked before each connection.
	Broker func() (mqtt.Options, error)
	Now    func() tag.Stamp
	Table  func() *wire.Table // of the plan in force: what is born first
	Log    *slog.Logger
}

// New returns what makes the sessions of a destination.
func New(o Options) feed.Connect {
	n := &node{o: o, bdSeq: 255, byName: map[string]*point{}, devices: map[string]*device{}}
	n.device("") // the node itself
	n.add("", eventName, typeString, nil)
	if o.Table != nil {
		if t := o.Table(); t != nil {
			for i := range t.Tags {
				n.point(&t.Tags[i])
			}
		}
	}
	return n.connect
}

// node is what outlives a session.
type node struct {
	o       Options
	bdSeq   int // of the last connection
	byName  map[string]*point
	devices map[string]*device
	order   []*device // in the order of birth; the first is the node
	aliases uint64
}

// device is one, or with an empty name the node.
type device struct {
	name   string
	points []*point
	born   bool // in this session
	dirty  bool // it has points that it was not born with
}

// point is one metric.
type point struct {
	d         *device
	name      string
	alias     uint64
	kind      uint32
	unit      string
	ranged    bool
	low, high float64
	seen      bool // last is of a live record
	last      metric
	lost      bool // last says that there is no communication
}

func (n *node) device(name string) *device {
	if d := n.devices[name]; d != nil {
		return d
	}
	d := &device{name: name}
	n.devices[name] = d
	n.order = append(n.order, d)
	return d
}

// split cuts a tag's name into device and metric. The first parts that the agent
// keeps to itself name no device (a site cannot call one so).
func (n *node) split(name string) (dev, metric string) {
	dev, metric, ok := strings.Cut(name, ".")
	if !ok || own[dev] || n.devices[dev] == nil && len(n.order) > MaxDevices {
		return "", name
	}
	return dev, metric
}

// own are the first parts of the names of the agent's own tags.
var own = map[string]bool{
	"record": true, "latch": true, "plan": true, "clock": true, "outputs": true, "control": true, "journal": true,
	"link": true, "output": true, "uplink": true,
}

// point returns the metric of a tag, made if there is none; nil: one of its name
// has another data type.
func (n *node) point(t *wire.TableTag) *point {
	kind := typeOf(t.Kind)
	if p := n.byName[t.Name]; p != nil {
		if p.kind != kind {
			return nil
		}
		return p
	}
	dev, name := n.split(t.Name)
	p := n.add(dev, name, kind, t)
	n.byName[t.Name] = p
	return p
}

func (n *node) add(dev, name string, kind uint32, t *wire.TableTag) *point {
	n.aliases++
	d := n.device(dev)
	p := &point{d: d, name: name, alias: n.aliases, kind: kind}
	if t != nil {
		p.unit, p.ranged, p.low, p.high = t.Unit, t.Ranged, t.Low, t.High
	}
	d.points = append(d.points, p)
	d.dirty = true
	return p
}

// topic of a message of this node or a device of it.
func (n *node) topic(kind, dev string) string {
	s := namespace + "/" + n.o.Group + "/" + kind + "/" + n.o.Node
	if dev != "" {
		s += "/" + dev
	}
	return s
}

func ms(wall int64) uint64 { return uint64(max(wall, 0) / int64(time.Millisecond)) }

// birth is a point as a birth has it.
func (p *point) birth(now uint64) metric {
	m := metric{at: now, kind: p.kind, null: true}
	if p.name != eventName {
		m.props = []property{{key: qualityName, kind: typeInt32, bits: qualityBad}}
	}
	if p.seen {
		m = p.last
		m.props = append([]property(nil), m.props...)
	}
	m.name, m.alias = p.name, p.alias
	if p.unit != "" {
		m.props = append(m.props, property{key: "engUnit", kind: typeString, text: p.unit})
	}
	if p.ranged {
		m.props = append(m.props, property{key: "engLow", kind: typeDouble, bits: double(p.low)}, property{key: "engHigh", kind: typeDouble, bits: double(p.high)})
	}
	return m
}

// doubt makes what an earlier session said last stale: what came since is
// history, which a host does not take for how it is now.
func (n *node) doubt() {
	for _, p := range n.byName {
		if p.seen && !p.last.null {
			p.last.props = []property{{key: qualityName, kind: typeInt32, bits: qualityStale}, {key: wordsName, kind: typeString, text: "uncertain stale"}}
		}
	}
}

func (n *node) connect(ctx context.Context) (feed.Session, error) {
	b, err := n.o.Broker()
	if err != nil {
		return nil, err
	}
	return n.dial(ctx, b)
}
