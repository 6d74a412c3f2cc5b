package linebench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"davy/drivers"
	"davy/drivers/modbus"
	"davy/drivers/tag"
	"davy/test/bench/figure"
	"davy/test/floor/idealline"
)

// registers is how many are polled: as many as one request can ask for.
const registers = 125

// patience is how long one run may take.
const patience = 30 * time.Second

// request is the question for them, as station 1 hears it; answerSize is what it brings.
const answerSize = 3 + 2*registers + 2

func request() []byte { return []byte{1, 3, 0, 0, 0, registers, 0x85, 0xeb} }

// use compares the driver with the ideal client, so many polls a run.
func use(w io.Writer, name string, baud, polls int, least float64) bool {
	c, err := compareUse(baud, polls)
	if err != nil {
		return figure.Failed(w, name, err)
	}
	return share(w, name, c, least)
}

func compareUse(baud, polls int) (c figure.Comparison, err error) {
	l, err := wire(baud)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	ideal, err := idealline.Open(l.Spec.Path, l.Spec.Turn()) // before the driver has the line to itself
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, ideal.Close()) }()
	read, end, err := driver(l, baud)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, end()) }()
	timed := func(one func() error) func() (float64, error) {
		return func() (float64, error) {
			stuck := time.AfterFunc(patience, func() { _ = ideal.Close() }) // it would wait for ever
			defer stuck.Stop()
			began := time.Now()
			for range polls {
				if err := one(); err != nil {
					return 0, err
				}
			}
			return time.Since(began).Seconds(), nil
		}
	}
	reference := timed(func() error {
		got, err := ideal.Ask(request(), answerSize)
		if err == nil && binary.BigEndian.Uint16(got[answerSize-4:]) != registers-1 {
			err = fmt.Errorf("the ideal client read %x", got)
		}
		return err
	})
	return figure.Compare(timed(read), reference)
}

// driver opens modbus.RTU on l; read is one poll of all registers.
func driver(l *wired, baud int) (read, end func() error, err error) {
	var d modbus.RTU
	settings, err := d.ParseLink(l.Spec.Path, drivers.Fields{"serial": strconv.Itoa(baud) + " 8E1", "other_master": "allow"})
	if err != nil {
		return nil, nil, err
	}
	points := make([]drivers.Point, registers)
	for i := range points {
		a, err := d.ParseAddress(fmt.Sprintf("holding %d", i))
		if err != nil {
			return nil, nil, err
		}
		points[i] = drivers.Point{Tag: tag.ID(i + 1), Name: tag.Name(fmt.Sprintf("s1.r%d", i)), Station: 1, Device: "s1", Address: a, Type: drivers.Type{Kind: tag.Int, Bits: 16}, Period: time.Second}
	}
	requests, err := d.Plan(settings, points)
	if err != nil {
		return nil, nil, err
	}
	if len(requests) != 1 {
		return nil, nil, fmt.Errorf("%d registers became %d requests", registers, len(requests))
	}
	link, err := d.Open(context.Background(), drivers.LinkConfig{Name: "line", Settings: settings, Timeout: 2 * time.Second, Now: l.now})
	if err != nil {
		return nil, nil, err
	}
	var dst []tag.Reading
	ctx := context.Background()
	read = func() error {
		var err error
		if dst, err = link.Read(ctx, requests[0], dst[:0]); err != nil {
			return err
		}
		for i, r := range dst {
			if !r.Quality.Good() || r.Value.Float() != float64(i) {
				return fmt.Errorf("register %d is %v %#x", i, r.Value, uint32(r.Quality))
			}
		}
		return nil
	}
	return read, link.Close, nil
}
