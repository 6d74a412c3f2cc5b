// Package line is a serial line with stations on it: a pseudo terminal that a
// program opens as it would open its adapter, the relay that takes the time a
// line takes, and the stations at its other end.
//
// A Line can be unplugged and plugged in again: its device file goes and comes
// back at the same path, with nothing left of what was on the wire. Nothing is
// durable. Run owns everything that New made.
//
// Imports: modbus, relay, drivers/tag.
package line

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"davy/cmd/davy-plant/modbus"
	"davy/cmd/davy-plant/relay"
	"davy/drivers/tag"
)

// Speeds that a line may have, in bits per second.
const (
	MinBaud = 300
	MaxBaud = 1_000_000
)

// minTurn is the least stillness between two frames, above 19200 baud.
const minTurn = 1750 * time.Microsecond

// ErrSpec says that a text names no line.
var ErrSpec = errors.New("a line is written PATH:BAUD,8E1")

// Spec is a line as people write it: "./ttyPLC:9600,8E1".
type Spec struct {
	Path string // where the device file appears, as a symbolic link
	Baud int
	Bits int // of a character with its start, parity and stop
}

// Parse reads "PATH:BAUD,8E1"; without the mode it is 8E1.
func Parse(s string) (Spec, error) {
	i := strings.LastIndexByte(s, ':')
	if i <= 0 {
		return Spec{}, ErrSpec
	}
	speed, mode, _ := strings.Cut(s[i+1:], ",")
	baud, err := strconv.Atoi(speed)
	if err != nil || baud < MinBaud || baud > MaxBaud {
		return Spec{}, ErrSpec
	}
	bits, err := characterBits(mode)
	return Spec{Path: s[:i], Baud: baud, Bits: bits}, err
}

// characterBits counts the bits of "8E1", 11 for "".
func characterBits(mode string) (int, error) {
	if mode == "" {
		return relay.DefaultBits, nil
	}
	if len(mode) != 3 || !strings.ContainsRune("78", rune(mode[0])) || !strings.ContainsRune("NEO", rune(mode[1])) || !strings.ContainsRune("12", rune(mode[2])) {
		return 0, ErrSpec
	}
	bits := 1 + int(mode[0]-'0') + int(mode[2]-'0')
	if mode[1] != 'N' {
		bits++
	}
	return bits, nil
}

// Turn is the stillness between two frames of RTU: 3.5 characters, and never
// less than 1.75 ms.
func (s Spec) Turn() time.Duration {
	return max(minTurn, 7*relay.Line{Baud: s.Baud, Bits: s.Bits}.Char()/2)
}

// Line is one line with stations on it.
type Line struct {
	Spec    Spec
	Framing modbus.Framing
	ID      uint64 // of its requests in the device's log
	Device  modbus.Device
	Now     func() tag.Stamp
	Fault   func(relay.Burst) relay.Effect // see relay.Line

	mu    sync.Mutex
	end   *relay.End    // nil while unplugged
	moved chan struct{} // holds one: end was replaced
}

// Open plugs the line in; without an error its device file is there.
func (l *Line) Open() error {
	l.moved = make(chan struct{}, 1)
	return l.Plug()
}

// Plug has the device file appear, if it is not there.
func (l *Line) Plug() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.end != nil {
		return nil
	}
	end, err := relay.PtyAt(l.Spec.Path)
	if err != nil {
		return fmt.Errorf("plug line in: %w", err)
	}
	l.end = end
	select {
	case l.moved <- struct{}{}:
	default:
	}
	return nil
}

// Unplug hangs the device file up and removes it.
func (l *Line) Unplug() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.end != nil {
		_ = l.end.Close() // whatever it says, nobody is on it any more
		l.end = nil
	}
}

// Run serves the line until ctx ends, through every unplugging.
func (l *Line) Run(ctx context.Context) error {
	defer l.Unplug()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.moved:
		}
		l.mu.Lock()
		end := l.end
		l.mu.Unlock()
		if end == nil {
			continue
		}
		if err := l.serve(ctx, end); err != nil {
			return err
		}
	}
}

// serve works on one device file until it is gone.
func (l *Line) serve(ctx context.Context, end *relay.End) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stations, wire := net.Pipe()
	var wg sync.WaitGroup
	var served error
	l.Device.Opened(l.ID, l.Spec.Path)
	wg.Go(func() {
		defer cancel()
		served = modbus.Line{Framing: l.Framing, Turn: l.Spec.Turn(), ID: l.ID}.Serve(ctx, stations, l.Device, l.Now)
	})
	err := relay.Line{Baud: l.Spec.Baud, Bits: l.Spec.Bits, Fault: l.Fault}.Run(ctx, end, wire)
	wg.Wait()
	l.Device.Closed(l.ID)
	return errors.Join(err, served)
}
