package device

import (
	"context"
	"fmt"

	lib "github.com/goburrow/modbus"

	"davy/drivers"
	"davy/drivers/modbus"
	"davy/drivers/tag"
)

// Goburrow is a driver over goburrow's own TCP client as its examples use it:
// one handler for the connection, the unit id set before a request, whatever
// comes without an error believed. It parses, plans and decodes like
// modbus.TCP. It is what the checker must be able to catch.
type Goburrow struct{ modbus.TCP }

// Open returns a link over goburrow's TCPClientHandler.
func (Goburrow) Open(_ context.Context, cfg drivers.LinkConfig) (drivers.Link, error) {
	h := lib.NewTCPClientHandler(cfg.Target)
	h.Timeout = cfg.Timeout
	return &goburrow{cfg: cfg, ask: func(station byte) { h.SlaveId = station }, client: lib.NewClient(h), close: h.Close}, nil
}

// GoburrowRTU is the same over goburrow's RTU client: 19200 8E1, as its
// examples have it but for the number of stop bits.
type GoburrowRTU struct{ modbus.RTU }

// Open returns a link over goburrow's RTUClientHandler.
func (GoburrowRTU) Open(_ context.Context, cfg drivers.LinkConfig) (drivers.Link, error) {
	h := lib.NewRTUClientHandler(cfg.Target)
	h.BaudRate, h.DataBits, h.Parity, h.StopBits = 19200, 8, "E", 1
	h.Timeout = cfg.Timeout
	return &goburrow{cfg: cfg, ask: func(station byte) { h.SlaveId = station }, client: lib.NewClient(h), close: h.Close}, nil
}

type goburrow struct {
	cfg    drivers.LinkConfig
	ask    func(station byte)
	client lib.Client
	close  func() error
}

// Read asks for the whole block with goburrow's client.
func (g *goburrow) Read(_ context.Context, req drivers.Request, dst []tag.Reading) ([]tag.Reading, error) {
	points := req.Points()
	first := points[0].Address.(modbus.Address)
	end := 0
	for i := range points {
		a := points[i].Address.(modbus.Address)
		end = max(end, int(a.Number)+max(1, points[i].Type.Bits/16))
	}
	g.ask(byte(points[0].Station))
	read := map[modbus.Table]func(uint16, uint16) ([]byte, error){
		modbus.Coil: g.client.ReadCoils, modbus.Discrete: g.client.ReadDiscreteInputs,
		modbus.Input: g.client.ReadInputRegisters, modbus.Holding: g.client.ReadHoldingRegisters,
	}[first.Table]
	data, err := read(first.Number, uint16(end-int(first.Number)))
	now := g.cfg.Now()
	for i := range points {
		p := &points[i]
		r := tag.Reading{Tag: p.Tag, Quality: tag.BadNoComm, Received: now}
		if err == nil {
			at := int(p.Address.(modbus.Address).Number - first.Number)
			if first.Table.Bits() {
				r.Value, r.Quality = modbus.Decode(p, []byte{data[at/8] >> (at % 8) & 1})
			} else {
				r.Value, r.Quality = modbus.Decode(p, data[2*at:])
			}
		}
		dst = append(dst, r)
	}
	return dst, err
}

// Write writes a coil.
func (g *goburrow) Write(_ context.Context, p drivers.Point, v tag.Value) error {
	if !p.Write {
		return drivers.ErrReadOnly
	}
	value := uint16(0)
	if v.True() {
		value = 0xff00
	}
	g.ask(byte(p.Station))
	if _, err := g.client.WriteSingleCoil(p.Address.(modbus.Address).Number, value); err != nil {
		return fmt.Errorf("%w: %w", drivers.ErrUnknown, err)
	}
	return nil
}

// Close closes the connection.
func (g *goburrow) Close() error { return g.close() }
