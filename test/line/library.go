package line

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	lib "github.com/goburrow/modbus"

	"davy/drivers"
	"davy/drivers/modbus"
	"davy/drivers/tag"
)

// Library is a driver over goburrow's RTU packager and builders, as the
// package's comment says. It parses, plans and decodes like modbus.RTU.
type Library struct {
	modbus.RTU
	Line *Line
}

// Open opens the line's port at once, as the library does.
func (d Library) Open(_ context.Context, cfg drivers.LinkConfig) (drivers.Link, error) {
	p, err := d.Line.Open()
	if err != nil {
		return nil, err
	}
	return &library{cfg: cfg, line: d.Line, port: p, pack: lib.NewRTUClientHandler("")}, nil
}

type library struct {
	cfg  drivers.LinkConfig
	line *Line
	port *Port
	pack *lib.RTUClientHandler
}

// Send is the transporter's turn: at most length bytes are read, each read with
// the timeout anew.
func (l *library) Send(adu []byte) ([]byte, error) {
	if _, err := l.port.Write(adu); err != nil {
		return nil, err
	}
	length := 5 + 2*int(adu[5])
	time.Sleep(time.Duration(len(adu)+length)*l.line.Char()*15/11 + 4*l.line.Char())
	var data [256]byte
	read := func(from, to int) (int, error) {
		if err := l.port.SetDeadline(time.Now().Add(l.cfg.Timeout)); err != nil {
			return 0, err
		}
		return io.ReadAtLeast(l.port, data[from:length], to-from)
	}
	n, err := read(0, 4)
	if err == nil && data[1] == adu[1] && n < length {
		var more int
		more, err = read(n, length)
		n += more
	}
	return data[:n], err
}

// Read asks for the whole block.
func (l *library) Read(_ context.Context, req drivers.Request, dst []tag.Reading) ([]tag.Reading, error) {
	points := req.Points()
	first := points[0].Address.(modbus.Address).Number
	last := points[len(points)-1].Address.(modbus.Address).Number
	l.pack.SlaveId = byte(points[0].Station)
	data, err := lib.NewClient2(l.pack, l).ReadHoldingRegisters(first, last-first+2)
	if err == nil && len(data) != 2*int(last-first+2) {
		err = errors.New("short")
	}
	if errors.Is(err, io.ErrUnexpectedEOF) && l.port.over != nil {
		if l.port, err = l.line.Open(); err == nil {
			err = io.ErrUnexpectedEOF
		}
	}
	for i := range points {
		r := tag.Reading{Tag: points[i].Tag, Quality: tag.BadNoComm, Received: l.cfg.Now()}
		if err == nil {
			r.Value, r.Quality = modbus.Decode(&points[i], data[2*(points[i].Address.(modbus.Address).Number-first):])
		}
		dst = append(dst, r)
	}
	return dst, err
}

func (l *library) Write(context.Context, drivers.Point, tag.Value) error {
	return fmt.Errorf("write: %w", drivers.ErrReadOnly)
}

func (l *library) Close() error { return l.port.Close() }
