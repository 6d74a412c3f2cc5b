package modbus

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"

	"davy/drivers"
)

// TCP is the driver of Modbus TCP, "modbus-tcp" in a site file. The zero value
// is ready; the drivers of one program share a Hub.
//
//	modbus-tcp: 192.168.1.20                    port 502
//	modbus-tcp: [10.0.0.7:502, 10.1.0.7:502]    alternates: the one that answered last goes first
//	modbus-tcp: listen :5020                    a 4G unit dials in; see Hub
//
// with, each of which may be left out:
//
//	pipeline: auto            off (the default), auto, or 2 to 16 requests under way at once
//	idle_release: 10s         close the connection after so much quiet, so that another master gets it
//	keep_alive: 15s           the kernel asks a quiet peer whether it is there; off
//	registration: "JY0231"    what a unit that dials in sends first, or bytes: 0xfe01
//	heartbeat: 0xfe           what it sends now and then
//	from: 10.8.0.0/16, 192.168.1.7    who may dial in
//
// A link is one connection, always: its goroutine asks and waits, and what a
// second connection would bring pipelining brings too, on devices that allow
// but one. Many devices do; so no second link of a site may have the same
// target, unless both say that the device takes as many:
//
//	connections: 2            from all links of this site; 1 is the default
type TCP struct {
	// Dial makes a connection; nil is TCP. It must obey ctx.
	Dial func(ctx context.Context, target string) (Port, error)
	// Hub is where units dial in; nil is a hub of each link's own.
	Hub *Hub
}

// tcpOptions is Settings.Options of Modbus TCP.
type tcpOptions struct {
	reach    *reach
	pipeline int // most requests under way at once; 0: off; pipelineAuto
}

// LinkFields are those of every link on TCP, and pipeline.
func (TCP) LinkFields() []drivers.Field {
	return append(reachFields(), drivers.Field{Name: "pipeline", Also: []string{"pipelining", "window"}})
}

// ParseLink reads a target and its fields; see TCP.
func (TCP) ParseLink(target string, fields drivers.Fields) (drivers.Settings, error) {
	r, canonical, errs := parseReach(target, fields)
	o := &tcpOptions{reach: r}
	if text, written := fields["pipeline"]; written {
		switch text = strings.TrimSpace(text); text {
		case "off", "1":
		case "auto":
			o.pipeline = pipelineAuto
		default:
			n, err := strconv.Atoi(text)
			if err != nil || n < 2 || n > MaxWindow {
				errs = append(errs, field("pipeline", wrong("modbus.pipeline", "modbus.pipeline", map[string]any{"text": text, "most": MaxWindow})))
			}
			o.pipeline = n
		}
	}
	if len(errs) > 0 {
		return drivers.Settings{}, errors.Join(errs...)
	}
	s := drivers.Settings{Target: canonical, Options: o, Exclusive: r.unit != nil, Connections: r.most}
	if r.unit != nil {
		s.Notes = append(s.Notes, "link.note.dials-in")
	}
	return s, nil
}

// DeviceFields are those of every Modbus device.
func (TCP) DeviceFields() []drivers.Field { return deviceFields() }

// ParseDevice reads them; see parseDevice.
func (TCP) ParseDevice(fields drivers.Fields) (any, error) { return parseDevice(fields) }

func parseTarget(s string) (string, error) {
	bad := wrong("modbus.target", "modbus.target", map[string]any{"text": s})
	text := strings.TrimSpace(s)
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		host, port = strings.Trim(text, "[]"), DefaultPort
		if strings.Contains(host, ":") && net.ParseIP(host) == nil {
			return "", bad
		}
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || host == "" || strings.ContainsAny(host, " /\\@[]") {
		return "", bad
	}
	return net.JoinHostPort(host, strconv.FormatUint(n, 10)), nil
}

// ParseAddress reads "holding 10", "ref 40011", "coil 0"; see Address.
func (TCP) ParseAddress(s string) (drivers.Address, error) {
	a, err := parseAddress(s)
	if err != nil {
		return nil, err
	}
	return a, nil
}

// ParseType reads "float32 CDAB".
func (TCP) ParseType(a drivers.Address, s string) (drivers.Type, error) {
	m, ok := a.(Address)
	if !ok {
		panic("BUG: modbus: address of another driver")
	}
	return parseType(m, s)
}

// Plan packs points into blocks of one station, table and period.
func (TCP) Plan(_ drivers.Settings, points []drivers.Point) ([]drivers.Request, error) {
	return plan(points)
}

// Open returns a link that connects when it is first asked.
func (d TCP) Open(_ context.Context, cfg drivers.LinkConfig) (drivers.Link, error) {
	o, _ := cfg.Options.(*tcpOptions)
	if o == nil {
		o = &tcpOptions{}
	}
	return open(cfg, func(cfg drivers.LinkConfig) channel {
		return newMBAP(cfg, newWay(cfg, o.reach, d.Hub, d.Dial), o.pipeline)
	}), nil
}
