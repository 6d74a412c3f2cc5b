package modbus

import (
	"context"
	"net"
	"strconv"
	"strings"

	"davy/drivers"
)

// TCP is the driver of Modbus TCP, "modbus-tcp" in a site file. The zero
// value is ready.
type TCP struct {
	// Dial makes a connection; nil is TCP. It must obey ctx.
	Dial func(ctx context.Context, target string) (Port, error)
}

// LinkFields returns none yet.
func (TCP) LinkFields() []drivers.Field { return nil }

// DeviceFields returns none yet.
func (TCP) DeviceFields() []drivers.Field { return nil }

// ParseDevice has nothing to check.
func (TCP) ParseDevice(drivers.Fields) (any, error) { return nil, nil }

// ParseLink reads "192.168.1.20:502"; the port may be left out.
func (TCP) ParseLink(target string, _ drivers.Fields) (drivers.Settings, error) {
	s, err := parseTarget(target)
	if err != nil {
		return drivers.Settings{}, &drivers.FieldError{Err: err}
	}
	return drivers.Settings{Target: s}, nil
}

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
	dial := d.Dial
	if dial == nil {
		dial = func(ctx context.Context, target string) (Port, error) {
			var n net.Dialer
			return n.DialContext(ctx, "tcp", target)
		}
	}
	return open(cfg, func(cfg drivers.LinkConfig) channel { return newMBAP(cfg, dial) }), nil
}
