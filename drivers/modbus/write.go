package modbus

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	lib "github.com/goburrow/modbus"

	"davy/drivers"
	"davy/drivers/tag"
)

// bound is our Transporter: one call's context on a link.
type bound struct {
	l   *link
	ctx context.Context
}

// Send carries a request to the device; it returns the whole answer, checked
// against the request. An exception is an error here already.
func (b bound) Send(adu []byte) ([]byte, error) {
	data, err := b.l.transfer(b.ctx, adu, false)
	if err != nil {
		return nil, err
	}
	// The answer to a write is its echo, and was compared with the request.
	answer := append(adu[:8:8], data...)
	binary.BigEndian.PutUint16(answer[4:], uint16(len(answer)-6))
	return answer, nil
}

// Write writes one point with function 5, 6 or 16; where a device does not
// know 5 or 6 (exception 1: nothing was done), with 15 or 16. The device's
// echo is compared. An error after the request may have gone out wraps
// drivers.ErrUnknown, unless the device refused in a way that leaves no doubt.
func (l *link) Write(ctx context.Context, p drivers.Point, v tag.Value) error {
	a, ok := p.Address.(Address)
	if !ok {
		panic("BUG: modbus: address of another driver")
	}
	where := fmt.Sprintf("write %s station %d %s", l.name, p.Station, a)
	if !p.Write {
		return fmt.Errorf("%s: %w", where, drivers.ErrReadOnly)
	}
	if err := checkPoint(&p); err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	raw, err := encode(&p, v)
	if err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	l.limit(ctx)
	client := lib.NewClient2(packager{byte(p.Station)}, bound{l, ctx})
	count := uint16(size(a.Table, p.Type))
	multiple := func() error {
		if a.Table == Coil {
			_, err := client.WriteMultipleCoils(a.Number, 1, raw)
			return err
		}
		_, err := client.WriteMultipleRegisters(a.Number, count, raw)
		return err
	}
	switch {
	case count > 1:
		err = multiple()
	case a.Table == Coil:
		_, err = client.WriteSingleCoil(a.Number, uint16(raw[0])*0xff00)
	default:
		_, err = client.WriteSingleRegister(a.Number, uint16(raw[0])<<8|uint16(raw[1]))
	}
	if err == exception(1) && count == 1 {
		err = multiple()
	}
	if err == nil {
		return nil
	}
	if doubtful(err) {
		return fmt.Errorf("%s: %w: %w", where, drivers.ErrUnknown, err)
	}
	return fmt.Errorf("%s: %w", where, err)
}

// doubtful reports whether a write that ended with err may have been done.
func doubtful(err error) bool {
	var u unsent
	if errors.As(err, &u) {
		return false
	}
	if e, ok := err.(exception); ok {
		return e == 4 || e == 5 || e == 11 // failed at it, still at it, gateway lost sight of it
	}
	return true
}
