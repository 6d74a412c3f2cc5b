package linebench

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"davy/cmd/davy-plant/line"
	plant "davy/cmd/davy-plant/modbus"
	"davy/drivers/tag"
)

// stations are the stations of one line: every holding register of each holds
// its own address. A dead one is silent.
type stations struct {
	dead [256]atomic.Bool
}

// Serve answers reads of holding registers.
func (s *stations) Serve(r plant.Request) plant.Reply {
	if s.dead[r.Unit].Load() {
		return plant.Reply{Silent: true}
	}
	if r.Function != plant.ReadHoldings {
		return plant.Reply{Exception: plant.IllegalFunction}
	}
	rep := plant.Reply{Words: make([]uint16, r.Count)}
	for i := range rep.Words {
		rep.Words[i] = uint16(r.Address + i)
	}
	return rep
}

// Opened and Closed have nothing to note.
func (*stations) Opened(uint64, string) {}

// Closed has nothing to note.
func (*stations) Closed(uint64) {}

// began is the clock of this package's readings.
type clock struct{ began time.Time }

func (c clock) now() tag.Stamp {
	return tag.Stamp{Wall: time.Now().UnixNano(), Mono: int64(time.Since(c.began)) + 1}
}

// wired is a line with stations, running.
type wired struct {
	*line.Line
	*stations
	clock
	dir  string
	stop context.CancelFunc
	done chan error
}

// wire makes a line of a speed, 8E1.
func wire(baud int) (*wired, error) {
	dir, err := os.MkdirTemp("", "davy-linebench-")
	if err != nil {
		return nil, err
	}
	w := &wired{stations: new(stations), clock: clock{time.Now()}, dir: dir, done: make(chan error, 1)}
	w.Line = &line.Line{
		Spec: line.Spec{Path: filepath.Join(dir, "tty"), Baud: baud}, Framing: plant.RTU, ID: 1,
		Device: w.stations, Now: w.now,
	}
	if err := w.Open(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.stop = cancel
	go func() { w.done <- w.Line.Run(ctx) }()
	return w, nil
}

// close ends the line.
func (w *wired) close() error {
	w.stop()
	return errors.Join(<-w.done, os.RemoveAll(w.dir))
}
