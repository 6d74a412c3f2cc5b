package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"

	"davy/agent/cli"
	"davy/agent/clock"
	"davy/cmd/davy-plant/bench"
	"davy/cmd/davy-plant/control"
	"davy/cmd/davy-plant/line"
	"davy/cmd/davy-plant/modbus"
	"davy/cmd/davy-plant/opcua"
	"davy/cmd/davy-plant/script"
)

// ready is the line on standard output that says that everything listens.
type ready struct {
	Modbus   string  `json:"modbus"`
	RTU      string  `json:"rtu,omitempty"` // the device file
	ASCII    string  `json:"ascii,omitempty"`
	RTUTCP   string  `json:"rtu_tcp,omitempty"`
	ASCIITCP string  `json:"ascii_tcp,omitempty"`
	OPCUA    string  `json:"opcua,omitempty"`   // "opc.tcp://127.0.0.1:4840"
	Control  string  `json:"control,omitempty"` // as `send --control` takes it
	Log      string  `json:"log,omitempty"`
	Seed     uint64  `json:"seed"`
	Speed    float64 `json:"speed"`
	PID      int     `json:"pid"`
}

// parts are what serve builds: what runs, and how to close what was opened
// when a later part cannot be.
type parts struct {
	c     *cli.Call
	plant *bench.Bench
	line  ready
	ids   *atomic.Uint64 // of connections and lines
	run   []func(context.Context) error
	undo  []func()
	wires bench.Servers
	ends  []bench.Adapter
}

// serve opens the plant's addresses, says so, and runs until ctx ends or a part fails.
func serve(ctx context.Context, c *cli.Call, plant *bench.Bench, line ready) error {
	p := &parts{c: c, plant: plant, line: line, ids: new(atomic.Uint64)}
	for _, open := range []func() error{p.modbus, p.serial, p.dial, p.opcua, p.control} {
		if err := open(); err != nil {
			for _, undo := range p.undo {
				undo()
			}
			var said *cli.Error
			if errors.As(err, &said) {
				return err
			}
			return &cli.Error{Exit: cli.Failed, Hint: "davy-plant.hint.listen", Cause: err}
		}
	}
	plant.Wire(p.wires)
	plant.Lines(p.ends...)
	run := append(p.run, plant.Run)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(run))
	var wg sync.WaitGroup
	for i, part := range run {
		wg.Go(func() {
			defer cancel() // all end with the first
			errs[i] = part(ctx)
		})
	}
	if err := json.NewEncoder(c.Out).Encode(p.line); err != nil {
		cancel()
		errs = append(errs, fmt.Errorf("say ready: %w", err))
	}
	wg.Wait()
	return errors.Join(errs...)
}

// modbus opens what listens for Modbus.
func (p *parts) modbus() error {
	for _, one := range []struct {
		flag    string
		framing modbus.Framing
		said    *string
	}{{"listen", modbus.TCP, &p.line.Modbus}, {"rtu-tcp", modbus.RTU, &p.line.RTUTCP}, {"ascii-tcp", modbus.ASCII, &p.line.ASCIITCP}} {
		addr := p.c.Flag(one.flag)
		if addr == "" {
			continue
		}
		srv, err := modbus.ListenAs(one.framing, addr, p.plant, clock.Now)
		if err != nil {
			return err
		}
		srv.IDs = p.ids
		*one.said = srv.Addr()
		p.wires = append(p.wires, srv)
		p.run = append(p.run, srv.Run)
		p.undo = append(p.undo, srv.Refuse) // closes its listener
	}
	return nil
}

// serial plugs the serial lines in.
func (p *parts) serial() error {
	for _, one := range []struct {
		flag    string
		framing modbus.Framing
		said    *string
	}{{"rtu", modbus.RTU, &p.line.RTU}, {"ascii", modbus.ASCII, &p.line.ASCII}} {
		text := p.c.Flag(one.flag)
		if text == "" {
			continue
		}
		spec, err := line.Parse(text)
		if err != nil {
			return wrong(p.c, one.flag, err)
		}
		l := &line.Line{Spec: spec, Framing: one.framing, ID: p.ids.Add(1), Device: p.plant, Now: clock.Now, Fault: p.plant.LineEffect}
		if err := l.Open(); err != nil {
			return err
		}
		*one.said = spec.Path
		p.ends = append(p.ends, l)
		p.run = append(p.run, l.Run)
		p.undo = append(p.undo, l.Unplug)
	}
	return nil
}

// dial makes the unit that dials in.
func (p *parts) dial() error {
	text := p.c.Flag("dial")
	if text == "" {
		return nil
	}
	f := strings.SplitN(text, ",", 3)
	framing, ok := modbus.RTU, true
	if len(f) > 1 {
		framing, ok = map[string]modbus.Framing{"tcp": modbus.TCP, "rtu": modbus.RTU, "ascii": modbus.ASCII}[f[1]]
	}
	if _, _, err := net.SplitHostPort(f[0]); err != nil || !ok {
		return wrong(p.c, "dial", errors.Join(err, errors.New("127.0.0.1:7001,rtu,GW-7")))
	}
	r := &modbus.Caller{Addr: f[0], Framing: framing, IDs: p.ids}
	if len(f) > 2 {
		r.Hello = []byte(f[2])
	}
	p.wires = append(p.wires, r)
	p.run = append(p.run, func(ctx context.Context) error { return r.Run(ctx, p.plant, clock.Now) })
	return nil
}

// opcua opens the OPC UA server.
func (p *parts) opcua() error {
	addr := p.c.Flag("opcua")
	if addr == "" {
		return nil
	}
	srv, err := opcua.Listen(addr, p.plant)
	if err != nil {
		return err
	}
	p.plant.WireOPCUA(srv)
	p.line.OPCUA = srv.URL()
	p.run = append(p.run, srv.Run)
	p.undo = append(p.undo, srv.Refuse)
	return nil
}

// control opens the control line.
func (p *parts) control() error {
	addr := p.c.Flag("control")
	if addr == "" {
		return nil
	}
	ctl, err := control.Listen(addr, p.plant, bench.Names(), func(problem script.Problem) string {
		cause, remedy := problem.In(p.c.Lang)
		return cause + p.c.Lang.Text("davy-plant.then", nil) + remedy
	})
	if err != nil {
		return err
	}
	p.run = append(p.run, ctl.Run)
	p.line.Control = ctl.Addr()
	return nil
}
