package gpio

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/physic"
)

// What linux/i2c-dev.h has of a transfer.
const (
	i2cTimeout  = 0x0702
	i2cRDWR     = 0x0707
	i2cFlagRead = 0x0001
	maxTransfer = 8192 // bytes of one message, the kernel's own limit
)

type i2cMessage struct {
	addr  uint16
	flags uint16
	len   uint16
	buf   unsafe.Pointer
}

type i2cTransfer struct {
	msgs  unsafe.Pointer
	nmsgs uint32
}

// Bus is an I²C bus of the kernel, as periph's i2c.BusCloser. Transfers of one
// Bus come one after the other.
type Bus struct {
	f *os.File
}

var _ i2c.BusCloser = (*Bus)(nil)

// OpenBus opens "/dev/i2c-1". The timeout of a transfer, in steps of 10 ms, is
// asked of the kernel; it holds for the whole adapter, and an adapter whose
// driver has times of its own keeps them.
func OpenBus(path string, timeout time.Duration) (*Bus, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open i2c bus %s: %w", path, err)
	}
	b := &Bus{os.NewFile(uintptr(fd), path)}
	steps := max(1, int(timeout/(10*time.Millisecond)))
	err = control(b.f, func(fd int) error { return unix.IoctlSetInt(fd, i2cTimeout, steps) })
	if err != nil {
		b.f.Close()
		return nil, fmt.Errorf("open i2c bus %s: no i2c bus: %w", path, err)
	}
	return b, nil
}

// String returns the bus's path.
func (b *Bus) String() string { return b.f.Name() }

// SetSpeed is refused: Linux has the speed in the board's description.
func (b *Bus) SetSpeed(physic.Frequency) error {
	return fmt.Errorf("set speed of %s: %w", b.f.Name(), errors.ErrUnsupported)
}

// Close closes the bus.
func (b *Bus) Close() error { return b.f.Close() }

// Tx writes w and reads r in one transfer with a repeated start. What the
// kernel is given are pointers within a structure, so all of it lies on the
// heap and is pinned until the call returns.
func (b *Bus) Tx(addr uint16, w, r []byte) error {
	if len(w) > maxTransfer || len(r) > maxTransfer {
		return fmt.Errorf("transfer on %s: more than %d bytes", b.f.Name(), maxTransfer)
	}
	buf := make([]byte, len(w)+len(r))
	copy(buf, w)
	msgs := make([]i2cMessage, 0, 2)
	var pins runtime.Pinner
	defer pins.Unpin()
	if len(w) > 0 {
		pins.Pin(&buf[0])
		msgs = append(msgs, i2cMessage{addr: addr, len: uint16(len(w)), buf: unsafe.Pointer(&buf[0])})
	}
	if len(r) > 0 {
		pins.Pin(&buf[len(w)])
		msgs = append(msgs, i2cMessage{addr: addr, flags: i2cFlagRead, len: uint16(len(r)), buf: unsafe.Pointer(&buf[len(w)])})
	}
	if len(msgs) == 0 {
		return nil
	}
	pins.Pin(&msgs[0])
	t := &i2cTransfer{msgs: unsafe.Pointer(&msgs[0]), nmsgs: uint32(len(msgs))}
	if err := control(b.f, func(fd int) error { return ioctl(fd, i2cRDWR, t) }); err != nil {
		return fmt.Errorf("transfer on %s with 0x%02x: %w", b.f.Name(), addr, err)
	}
	copy(r, buf[len(w):])
	return nil
}
