package modbus

import (
	"context"

	"davy/drivers"
	"davy/drivers/modbus/serial"
)

// ASCII is the driver of Modbus ASCII, "modbus-ascii" in a site file. All is as
// with RTU but the frame; seven data bits are for it alone.
type ASCII struct {
	Lines *serial.Lines
	Hub   *Hub
	Line  func(ctx context.Context, path string, s serial.Settings) (Port, error)
	Dial  func(ctx context.Context, target string) (Port, error)
}

// LinkFields are those of every line.
func (ASCII) LinkFields() []drivers.Field { return lineFields() }

// DeviceFields are those of every Modbus device.
func (ASCII) DeviceFields() []drivers.Field { return deviceFields() }

// ParseLink reads a target and its fields; see RTU.
func (ASCII) ParseLink(target string, fields drivers.Fields) (drivers.Settings, error) {
	return parseLine(target, fields, true)
}

// ParseDevice reads the fields of a device; see parseDevice.
func (ASCII) ParseDevice(fields drivers.Fields) (any, error) { return parseDevice(fields) }

// ParseAddress reads "holding 10", "ref 40011", "coil 0"; see Address.
func (ASCII) ParseAddress(s string) (drivers.Address, error) { return TCP{}.ParseAddress(s) }

// ParseType reads "float32 CDAB".
func (ASCII) ParseType(a drivers.Address, s string) (drivers.Type, error) {
	return TCP{}.ParseType(a, s)
}

// Plan packs points into blocks by the time they take on the line.
func (ASCII) Plan(link drivers.Settings, points []drivers.Point) ([]drivers.Request, error) {
	return planOn(optionsOfLine(link, true).wire(), points)
}

// Open returns a link that opens its line when it is first asked.
func (d ASCII) Open(_ context.Context, cfg drivers.LinkConfig) (drivers.Link, error) {
	return openLine(cfg, true, lineParts{d.Lines, d.Hub, d.Line, d.Dial}), nil
}
