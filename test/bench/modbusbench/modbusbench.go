// Package modbusbench takes the figures of the Modbus driver: how many
// allocations one Read of 125 registers costs, over a real socket on loopback.
//
// The device in it answers from one buffer and allocates nothing, so that
// every allocation of the process in the measured stretch is the driver's (or
// the runtime's own: the count is of seven runs, and the median is printed).
// A context with a deadline of its own for every Read, as scan makes one, is
// the caller's; it is measured too and printed beside, without a limit.
package modbusbench

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"time"

	"davy/drivers"
	"davy/drivers/modbus"
	"davy/drivers/tag"
)

// limit is what a Read may allocate.
const limit = 2

const (
	runs  = 7
	reads = 2000 // of each run
)

// Run prints the figures to w and reports whether they hold.
func Run(w io.Writer) bool {
	own, bounded, err := measure()
	if err != nil {
		fmt.Fprintf(w, "# modbus.allocs_per_read could not be taken: %v\n", err)
		return false
	}
	fmt.Fprintf(w, "BENCH modbus.allocs_per_read %.2f allocs %d\n", own, limit)
	fmt.Fprintf(w, "BENCH modbus.allocs_per_read_with_deadline %.2f allocs\n", bounded)
	return own <= limit
}

// serve answers reads of holding registers on one connection until it ends.
func serve(c net.Conn) {
	defer c.Close()
	var request [12]byte
	var answer [260]byte
	for {
		if _, err := io.ReadFull(c, request[:]); err != nil {
			return
		}
		count := int(binary.BigEndian.Uint16(request[10:]))
		copy(answer[:], request[:8])
		binary.BigEndian.PutUint16(answer[4:], uint16(3+2*count))
		answer[8] = byte(2 * count)
		if _, err := c.Write(answer[:9+2*count]); err != nil {
			return
		}
	}
}

// measure returns the allocations of a Read under one lasting context, and
// under a new deadline each.
func measure() (own, bounded float64, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, 0, err
	}
	defer l.Close()
	over := make(chan struct{})
	go func() {
		defer close(over)
		if c, err := l.Accept(); err == nil {
			serve(c)
		}
	}()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	start := time.Now()
	link, err := modbus.TCP{}.Open(ctx, drivers.LinkConfig{
		Name: "bench", Settings: drivers.Settings{Target: l.Addr().String()}, Timeout: 10 * time.Second,
		Now: func() tag.Stamp { return tag.Stamp{Mono: int64(time.Since(start))} },
	})
	if err != nil {
		return 0, 0, err
	}
	defer func() {
		err = errorsFirst(err, link.Close())
		<-over
	}()
	var points []drivers.Point
	for i := range 125 {
		points = append(points, drivers.Point{
			Tag: tag.ID(i + 1), Station: 1, Address: modbus.Address{Table: modbus.Holding, Number: uint16(i)},
			Type: drivers.Type{Kind: tag.Int, Bits: 16},
		})
	}
	requests, err := modbus.TCP{}.Plan(drivers.Settings{}, points)
	if err != nil {
		return 0, 0, err
	}
	dst := make([]tag.Reading, 0, len(points))
	one := func(ctx context.Context) error {
		var err error
		if dst, err = link.Read(ctx, requests[0], dst[:0]); err == nil && !dst[124].Quality.Good() {
			err = fmt.Errorf("a reading is bad")
		}
		return err
	}
	if own, err = count(func() error { return one(ctx) }); err != nil {
		return 0, 0, err
	}
	bounded, err = count(func() error {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		return one(ctx)
	})
	return own, bounded, err
}

// count returns the median of the allocations per call of f.
func count(f func() error) (float64, error) {
	var all []float64
	var before, after runtime.MemStats
	for range runs {
		if err := f(); err != nil { // what is made once is made here
			return 0, err
		}
		runtime.ReadMemStats(&before)
		for range reads {
			if err := f(); err != nil {
				return 0, err
			}
		}
		runtime.ReadMemStats(&after)
		all = append(all, float64(after.Mallocs-before.Mallocs)/reads)
	}
	slices.Sort(all)
	return all[len(all)/2], nil
}

func errorsFirst(a, b error) error {
	if a != nil {
		return a
	}
	return b
}
