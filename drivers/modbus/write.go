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

// errKept says that a device took a write and holds something else.
var errKept = errors.New("the device holds something else after it")

// errMask says what can be done about a device without mask writes.
var errMask = errors.New("it knows no mask write, and a bit of a register can be written in no other way without writing its neighbours too")

// checkWrite finds what cannot be written.
func checkWrite(p *drivers.Point, a Address, u *unitOptions, args map[string]any) error {
	how := writeUsual
	wide := u != nil && u.wide
	if u != nil {
		how = u.write
	}
	switch {
	case !a.Table.Writable():
		return wrong("modbus.write-table", "", args)
	case a.HasBit && wide:
		return wrong("modbus.write-bit", "modbus.write-bit", args)
	case p.Type.Width > 0:
		return wrong("modbus.write-field", "modbus.write-field", args)
	case p.Type.Kind == tag.Text:
		return wrong("modbus.write-text", "", args)
	case p.Decimals != nil:
		return wrong("modbus.write-decimals", "modbus.write-decimals", args)
	case how == writeSingle && a.Table == Holding && (wide || u.size(a.Table, p.Type) > 1):
		return wrong("modbus.write-single", "modbus.write-single", args)
	}
	return nil
}

// Write writes one point with function 5, 6 or 16; where a device does not
// know 5 or 6 (exception 1: nothing was done), with 15 or 16; as the device's
// `write` says, only with the one or the other, or with 23, whose answer says
// what stands there afterwards. One bit of a register is written with function
// 22 and never by reading and writing its neighbours. The device's echo is
// compared. An error after the request may have gone out wraps
// drivers.ErrUnknown, unless the device refused in a way that leaves no doubt.
func (l *link) Write(ctx context.Context, p drivers.Point, v tag.Value) error {
	a, ok := p.Address.(Address)
	if !ok {
		panic("BUG: modbus: address of another driver")
	}
	where := fmt.Sprintf("write %s station %d %s", l.name, p.Station, a)
	if !p.Write || l.readOnly {
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
	l.heed(optionsOf(&p))
	if err = l.write(ctx, &p, a, raw); err == nil {
		return nil
	}
	if doubtful(err) {
		return fmt.Errorf("%s: %w: %w", where, drivers.ErrUnknown, err)
	}
	return fmt.Errorf("%s: %w", where, err)
}

// write sends raw to a in the way of the point's device.
func (l *link) write(ctx context.Context, p *drivers.Point, a Address, raw []byte) error {
	u := optionsOf(p)
	how := writeUsual
	if u != nil {
		how = u.write
	}
	count := uint16(u.size(a.Table, p.Type))
	station := byte(p.Station)
	one := count == 1 && u.registerBytes() == 2 || a.Table == Coil
	switch {
	case a.HasBit:
		err := l.send(ctx, maskFrame(station, a, raw[0] != 0))
		if err == exception(1) {
			return fmt.Errorf("%w: %w", err, errMask)
		}
		return err
	case how == writeReadwrite && a.Table == Holding:
		adu := frame(station, func(c lib.Client) ([]byte, error) {
			return c.ReadWriteMultipleRegisters(a.Number, count, a.Number, count, raw)
		})
		data, err := l.transfer(ctx, adu, false)
		if err == nil && string(data) != string(raw) {
			return fmt.Errorf("%w: % x", errKept, data)
		}
		return err
	case how == writeMultiple || !one:
		return l.send(ctx, multipleFrame(station, a, count, raw))
	}
	err := l.send(ctx, singleFrame(station, a, raw))
	if err == exception(1) && how == writeUsual {
		return l.send(ctx, multipleFrame(station, a, count, raw))
	}
	return err
}

// send sends a write; its echo is compared on the way.
func (l *link) send(ctx context.Context, adu []byte) error {
	_, err := l.transfer(ctx, adu, false)
	return err
}

func singleFrame(station byte, a Address, raw []byte) []byte {
	return frame(station, func(c lib.Client) ([]byte, error) {
		if a.Table == Coil {
			return c.WriteSingleCoil(a.Number, uint16(raw[0])*0xff00)
		}
		return c.WriteSingleRegister(a.Number, binary.BigEndian.Uint16(raw))
	})
}

func multipleFrame(station byte, a Address, count uint16, raw []byte) []byte {
	return frame(station, func(c lib.Client) ([]byte, error) {
		if a.Table == Coil {
			return c.WriteMultipleCoils(a.Number, 1, raw)
		}
		return c.WriteMultipleRegisters(a.Number, count, raw)
	})
}

// maskFrame sets or clears one bit: register AND not bit, OR bit.
func maskFrame(station byte, a Address, on bool) []byte {
	bit := uint16(1) << a.Bit
	or := uint16(0)
	if on {
		or = bit
	}
	return frame(station, func(c lib.Client) ([]byte, error) { return c.MaskWriteRegister(a.Number, ^bit, or) })
}

// doubtful reports whether a write that ended with err may have been done.
func doubtful(err error) bool {
	var u unsent
	var later *drivers.Later
	if errors.As(err, &u) || errors.As(err, &later) {
		return false
	}
	var e exception
	if errors.As(err, &e) {
		return e == 4 || e == 5 || e == 11 // failed at it, still at it, gateway lost sight of it
	}
	return true
}
