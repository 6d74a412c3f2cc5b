package modbus

import (
	"context"

	"davy/drivers"
	"davy/drivers/modbus/serial"
)

// RTU is the driver of Modbus RTU, "modbus-rtu" in a site file. The zero value
// is ready; the drivers of one program share Lines and a Hub.
//
//	modbus-rtu: /dev/serial/by-path/platform-481aa000.serial    a serial line
//	modbus-rtu: tcp://192.168.1.9:4001                          behind a serial bridge
//	modbus-rtu: listen :5020                                    behind a 4G unit that dials in; see Hub
//
// with
//
//	serial: 9600 8E1        speed, data bits, parity, stop bits; a device file must have it,
//	                        of a bridge it says how the line behind it is reckoned
//	rs485: rts high, before 0ms, after 0ms, terminate
//	                        the UART's driver switches the transceiver; off (the default)
//	other_master: refuse    or allow: speak although another master does
//	echo: no                or yes: the adapter hears what it sends
//	turnaround: 5ms         what the plan reckons that a device thinks
//	late_max: 4s            how late an answer may come; see line.go
//
// and, of a bridge, keep_alive; of a unit that dials in, registration,
// heartbeat and from.
type RTU struct {
	// Lines knows which link has which line; nil is a table of each opening's own,
	// where only the lock on the device keeps two links apart.
	Lines *serial.Lines
	// Hub is where units dial in; nil is a hub of each link's own.
	Hub *Hub
	// Line opens a line, nil is by Lines; Dial makes a connection to a bridge,
	// nil is TCP. They must obey ctx.
	Line func(ctx context.Context, path string, s serial.Settings) (Port, error)
	Dial func(ctx context.Context, target string) (Port, error)
}

// LinkFields are those of every line.
func (RTU) LinkFields() []drivers.Field { return lineFields() }

// DeviceFields are those of every Modbus device.
func (RTU) DeviceFields() []drivers.Field { return deviceFields() }

// ParseLink reads a target and its fields; see RTU.
func (RTU) ParseLink(target string, fields drivers.Fields) (drivers.Settings, error) {
	return parseLine(target, fields, false)
}

// ParseDevice reads the fields of a device; see parseDevice.
func (RTU) ParseDevice(fields drivers.Fields) (any, error) { return parseDevice(fields) }

// ParseAddress reads "holding 10", "ref 40011", "coil 0"; see Address.
func (RTU) ParseAddress(s string) (drivers.Address, error) { return TCP{}.ParseAddress(s) }

// ParseType reads "float32 CDAB".
func (RTU) ParseType(a drivers.Address, s string) (drivers.Type, error) { return TCP{}.ParseType(a, s) }

// Plan packs points into blocks by the time they take on the line.
func (RTU) Plan(link drivers.Settings, points []drivers.Point) ([]drivers.Request, error) {
	return planOn(optionsOfLine(link, false).wire(), points)
}

// Open returns a link that opens its line when it is first asked.
func (d RTU) Open(_ context.Context, cfg drivers.LinkConfig) (drivers.Link, error) {
	return openLine(cfg, false, lineParts{d.Lines, d.Hub, d.Line, d.Dial}), nil
}
