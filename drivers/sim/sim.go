package sim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"davy/drivers"
	"davy/drivers/tag"
)

// Driver is "sim" in a site file. Without a Plant every link has an empty
// device of its own, whose points are all bad.
type Driver struct {
	Plant *Plant
	// Push names the targets whose devices speak by themselves.
	Push []string
}

// Subscribes reports whether the device at target speaks by itself.
func (d Driver) Subscribes(link drivers.Settings) bool { return slices.Contains(d.Push, link.Target) }

// Address is the name of a point.
type Address string

// String returns the name.
func (a Address) String() string { return string(a) }

func hint(code string, args map[string]any) *drivers.Hint {
	return &drivers.Hint{Code: code, Args: args, Hint: code}
}

func named(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r))
	})
}

// LinkFields returns none.
func (Driver) LinkFields() []drivers.Field { return nil }

// DeviceFields returns none.
func (Driver) DeviceFields() []drivers.Field { return nil }

// ParseDevice has nothing to check.
func (Driver) ParseDevice(drivers.Fields) (any, error) { return nil, nil }

// ParseLink reads the name of a device: letters, digits, dot, dash, underscore.
func (Driver) ParseLink(target string, _ drivers.Fields) (drivers.Settings, error) {
	if !named(target) {
		return drivers.Settings{}, &drivers.FieldError{Err: hint("sim.target", map[string]any{"text": target})}
	}
	return drivers.Settings{Target: target}, nil
}

// ParseAddress reads the name of a point.
func (Driver) ParseAddress(s string) (drivers.Address, error) {
	if !named(s) {
		return nil, hint("sim.address", map[string]any{"text": s})
	}
	return Address(s), nil
}

var types = map[string]drivers.Type{
	"":        {Kind: tag.Float64, Bits: 64},
	"bool":    {Kind: tag.Bool, Bits: 1},
	"int":     {Kind: tag.Int, Bits: 64, Sign: true},
	"float32": {Kind: tag.Float32, Bits: 32},
	"float64": {Kind: tag.Float64, Bits: 64},
}

// ParseType reads "bool", "int", "float32" or "float64", the natural one.
func (Driver) ParseType(_ drivers.Address, s string) (drivers.Type, error) {
	t, ok := types[s]
	if !ok {
		return drivers.Type{}, hint("sim.type", map[string]any{"text": s})
	}
	return t, nil
}

type request struct{ points []drivers.Point }

func (r *request) Points() []drivers.Point { return r.points }
func (r *request) Cost() time.Duration     { return 0 } // there is no wire
func (r *request) String() string {
	return fmt.Sprintf("station %d %d points from %s", r.points[0].Station, len(r.points), r.points[0].Address)
}

// Plan puts the points of one station and period together, in the order given.
func (Driver) Plan(_ drivers.Settings, points []drivers.Point) ([]drivers.Request, error) {
	sorted := slices.Clone(points)
	order := func(p, q drivers.Point) int {
		return cmp.Or(cmp.Compare(p.Station, q.Station), cmp.Compare(p.Period, q.Period))
	}
	slices.SortStableFunc(sorted, order)
	var out []drivers.Request
	for len(sorted) > 0 {
		n := 1
		for n < len(sorted) && order(sorted[0], sorted[n]) == 0 {
			n++
		}
		out = append(out, &request{sorted[:n:n]})
		sorted = sorted[n:]
	}
	return out, nil
}

// Open returns a link, a drivers.Subscriber, to the device at the target.
func (d Driver) Open(_ context.Context, cfg drivers.LinkConfig) (drivers.Link, error) {
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultTimeout
	}
	device := &Device{}
	if d.Plant != nil {
		device = d.Plant.Device(cfg.Target)
	}
	return &link{LinkConfig: cfg, device: device}, nil
}

type link struct {
	drivers.LinkConfig
	device *Device
}

// What becomes of a transaction.
var (
	errAway    = errors.New("no connection")
	errRefused = errors.New("refused")
	errGarbled = errors.New("nonsense")
)

// answer waits as long as the device thinks and says what came of it.
func (l *link) answer(ctx context.Context) (Behaviour, error) {
	b := l.device.how()
	wait := b.Delay
	late := b.Silent || b.Mute || wait >= l.Timeout
	switch {
	case b.Away:
		return b, errAway
	case late:
		wait = l.Timeout
	}
	if wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-ctx.Done():
			return b, ctx.Err()
		case <-t.C:
		}
	}
	switch {
	case ctx.Err() != nil:
		return b, ctx.Err()
	case late:
		return b, fmt.Errorf("no answer within %v", l.Timeout)
	case b.Refuse:
		return b, errRefused
	case b.Garbled:
		return b, errGarbled
	}
	return b, nil
}

// Read reads every point of req after the device's delay.
func (l *link) Read(ctx context.Context, req drivers.Request, dst []tag.Reading) ([]tag.Reading, error) {
	r, ok := req.(*request)
	if !ok {
		panic("BUG: sim: request of another driver")
	}
	b, err := l.answer(ctx)
	now := l.Now()
	for i := range r.points {
		p := &r.points[i]
		switch {
		case err == nil:
			dst = append(dst, l.reading(p, b, now))
		case errors.Is(err, errRefused), errors.Is(err, errGarbled):
			dst = append(dst, tag.Reading{Tag: p.Tag, Quality: tag.BadDeviceFault, Received: now})
		default:
			dst = append(dst, tag.Reading{Tag: p.Tag, Quality: tag.BadNoComm, Received: now})
		}
	}
	if err != nil && !errors.Is(err, errRefused) {
		return dst, fmt.Errorf("read %s %s: %w", l.Name, r, err)
	}
	return dst, nil
}

// reading is what a point holds now.
func (l *link) reading(p *drivers.Point, b Behaviour, now tag.Stamp) tag.Reading {
	name := address(p)
	v, q, ok := l.device.look(name, now)
	if !ok || slices.Contains(b.Unreadable, name) {
		return tag.Reading{Tag: p.Tag, Quality: tag.BadConfig, Received: now}
	}
	v, q = convert(p, v, q)
	return tag.Reading{Tag: p.Tag, Quality: q, Value: v, Received: now}
}

// convert brings a device's value, in engineering units, to the kind and range of a point.
func convert(p *drivers.Point, v tag.Value, q tag.Quality) (tag.Value, tag.Quality) {
	if v.Kind() == tag.None {
		if !q.Bad() {
			q = tag.BadSensor
		}
		return v, q
	}
	ok := true
	switch kind := p.Kind(); kind {
	case v.Kind():
	case tag.Bool:
		v = tag.BoolValue(v.True())
	case tag.Int, tag.Enum:
		if f := v.Float(); f < math.MinInt64 || f >= math.MaxInt64 {
			ok = false
		}
		v = tag.IntValue(v.Int())
	case tag.Float32:
		v, ok = tag.Float32Value(float32(v.Float()))
	case tag.Float64:
		v, ok = tag.Float64Value(v.Float())
	}
	f := v.Float()
	switch {
	case q.Bad():
	case !ok:
		return tag.Value{}, tag.BadSensor
	case p.Outside(f) != 0:
		q = p.Outside(f)
	}
	return v, q
}

// Write writes one point. A device that does not answer leaves the outcome unknown.
func (l *link) Write(ctx context.Context, p drivers.Point, v tag.Value) error {
	where := fmt.Sprintf("write %s %s", l.Name, p.Address)
	if !p.Write {
		return fmt.Errorf("%s: %w", where, drivers.ErrReadOnly)
	}
	if v.Kind() == tag.None || v.Kind() == tag.Text {
		return fmt.Errorf("%s: value %v is not a number", where, v)
	}
	if f := v.Float(); p.Ranged && (f < p.Low || f > p.High) {
		return fmt.Errorf("%s: value %v is outside %g to %g", where, v, p.Low, p.High)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	name := address(&p)
	v, _ = convert(&p, v, tag.GoodQuality)
	if l.device.how().Mute {
		l.device.write(name, v)
	}
	_, err := l.answer(ctx)
	switch {
	case err == nil:
	case errors.Is(err, errAway), errors.Is(err, errRefused):
		return fmt.Errorf("%s: %w", where, err)
	default:
		return fmt.Errorf("%s: %w: %w", where, drivers.ErrUnknown, err)
	}
	err, ok := l.device.write(name, v)
	if !ok {
		err = errors.New("no such point")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	return nil
}

func address(p *drivers.Point) string {
	a, ok := p.Address.(Address)
	if !ok {
		panic("BUG: sim: address of another driver")
	}
	return string(a)
}

// Close does nothing: there is nothing to let go.
func (l *link) Close() error { return nil }
