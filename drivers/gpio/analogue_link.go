package gpio

import (
	"context"
	"errors"
	"fmt"
	"time"

	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/physic"

	"davy/drivers"
	"davy/drivers/tag"
)

// analogueLink is one converter. A request holds the goroutine for the
// conversions' time; each transfer on the bus runs under the guard, so that a
// bus that hangs costs the link its timeout and not itself.
type analogueLink struct {
	drivers.LinkConfig
	driver Analogue
	converter
	guard
	bus    i2c.BusCloser // touched only by what guard.do runs
	faults map[tag.ID]string
}

// measured is what came of one channel.
type measured struct {
	v   physic.ElectricPotential
	err error
}

// guarded is the bus as one request sees it.
type guarded struct {
	*analogueLink
	ctx   context.Context
	until time.Time
}

// Tx hands one transfer to the bus. What is left behind by a bus that hangs has
// buffers of its own.
func (g *guarded) Tx(addr uint16, w, r []byte) error {
	var in []byte
	err := g.do(g.ctx, g.until, func() error {
		if g.bus == nil {
			bus, err := g.driver.open(g.path, g.Timeout)
			if err != nil {
				return err
			}
			g.bus = bus
		}
		buf := make([]byte, len(r))
		if err := g.bus.Tx(addr, w, buf); err != nil {
			return err
		}
		in = buf
		return nil
	})
	if err == nil {
		copy(r, in)
	}
	return err
}

func (g *guarded) String() string { return g.path }

func (g *guarded) SetSpeed(physic.Frequency) error { return errors.ErrUnsupported }

// Read measures every channel of req, one after the other. A converter that is
// absent makes all of them bad.
func (l *analogueLink) Read(ctx context.Context, req drivers.Request, dst []tag.Reading) ([]tag.Reading, error) {
	r, ok := req.(*request)
	if !ok {
		panic("BUG: gpio: request of another driver")
	}
	until := time.Now().Add(l.Timeout)
	if d, ok := ctx.Deadline(); ok && d.Before(until) {
		until = d
	}
	bounded, stop := context.WithDeadline(ctx, until)
	defer stop()
	chip := ads1115{i2c.Dev{Bus: &guarded{l, ctx, until}, Addr: l.addr}}
	var first error
	dead := true
	for i := range r.points {
		p := &r.points[i]
		v, err := chip.measure(bounded, conversionOf(p))
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			err = errLate
		}
		if err != nil && first == nil {
			first = err
		}
		out := tag.Reading{Tag: p.Tag, Received: l.Now()}
		out.Quality, out.Value = l.judge(p, measured{v, err}, ctx.Err() != nil)
		dead = dead && out.Quality == tag.BadNoComm
		dst = append(dst, out)
	}
	switch {
	case ctx.Err() != nil:
		return dst, fmt.Errorf("read %s %s: %w", l.Name, r, ctx.Err())
	case dead && first != nil:
		l.reopen()
		return dst, fmt.Errorf("read %s %s: %w", l.Name, r, first)
	}
	return dst, nil
}

var errLate = errors.New("the link's timeout was over before this channel had its turn")

// reopen gives the bus back if nobody uses it, so that an adapter that was
// unplugged is looked for again.
func (l *analogueLink) reopen() {
	if l.left == nil && l.bus != nil {
		l.bus.Close()
		l.bus = nil
	}
}

// judge makes of a voltage what the point says, and logs what begins and ends.
func (l *analogueLink) judge(p *drivers.Point, m measured, cancelled bool) (tag.Quality, tag.Value) {
	o := loopOf(p)
	q, v := tag.BadNoComm, tag.Value{}
	switch {
	case m.err == nil:
		q, v = engineering(p, o, m.v)
	case errors.Is(m.err, errClipped) && o.shunt > 0 && m.v > 0:
		q = tag.BadSensor | tag.LimitHigh
	case errors.Is(m.err, errClipped) && o.shunt > 0:
		q = tag.BadSensor | tag.LimitLow
	case errors.Is(m.err, errClipped) && m.v > 0:
		q = tag.BadRange | tag.LimitHigh
	case errors.Is(m.err, errClipped):
		q = tag.BadRange | tag.LimitLow
	case errors.Is(m.err, errForeign), errors.Is(m.err, errNoEnd):
		q = tag.BadDeviceFault
	}
	if cancelled {
		return q, v // what a stop cut off says nothing about the converter
	}
	said := l.faults[p.Tag]
	now := ""
	if m.err != nil {
		now = m.err.Error()
	}
	switch {
	case said == now:
	case now == "":
		delete(l.faults, p.Tag)
		l.Log.Info("channel measured again", "link", l.Name, "tag", p.Name, "channel", p.Address.String())
	default:
		if l.faults == nil {
			l.faults = map[tag.ID]string{}
		}
		l.faults[p.Tag] = now
		l.Log.Warn("channel not measured", "link", l.Name, "tag", p.Name, "channel", p.Address.String(), "err", m.err)
	}
	return q, v
}

// engineering turns a voltage into what the point measures.
func engineering(p *drivers.Point, o loop, volt physic.ElectricPotential) (tag.Quality, tag.Value) {
	gain := p.Gain
	if gain == 0 {
		gain = 1
	}
	if o.shunt == 0 {
		f := float64(volt)/float64(physic.Volt)*gain + p.Offset
		v, ok := tag.Float64Value(f)
		switch {
		case !ok:
			return tag.BadSensor, tag.Value{}
		case p.Outside(f) != 0:
			return p.Outside(f), v
		}
		return tag.GoodQuality, v
	}
	i := through(volt, o.shunt)
	if o.checkHigh > 0 && i >= o.checkLow && i <= o.checkHigh {
		return tag.MakeQuality(tag.Bad, tag.FunctionCheck, 0), tag.Value{}
	}
	q := current(i)
	if q.Bad() {
		return q, tag.Value{}
	}
	f := float64(i)/float64(physic.MilliAmpere)*gain + p.Offset
	if p.Ranged {
		f = p.Low + share(i)*(p.High-p.Low)
	}
	v, ok := tag.Float64Value(f)
	if !ok {
		return tag.BadSensor, tag.Value{}
	}
	return q, v
}

// Write is refused: a converter has nothing to write to.
func (l *analogueLink) Write(_ context.Context, p drivers.Point, _ tag.Value) error {
	return fmt.Errorf("write %s %s: %w", l.Name, p.Address, drivers.ErrReadOnly)
}

// Close gives the bus back. Where it hangs beyond the link's timeout, Close
// says so, and the bus stays open.
func (l *analogueLink) Close() error {
	err := l.do(context.Background(), time.Now().Add(l.Timeout), func() error {
		if l.bus == nil {
			return nil
		}
		bus := l.bus
		l.bus = nil
		return bus.Close()
	})
	l.driver.stuck.leave(l.path, &l.guard)
	if err != nil {
		return fmt.Errorf("close %s: %w", l.Name, err)
	}
	return nil
}
