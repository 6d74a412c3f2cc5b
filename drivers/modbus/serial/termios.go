package serial

import (
	"errors"
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// setUp takes the line for us and gives it its settings.
func (p *Port) setUp(fd int, s Settings) error {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return err
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFCHR {
		return errors.New("not a serial line")
	}
	if pseudo(uint64(stat.Rdev)) {
		p.character = 0
	}
	// The lock keeps out whoever locks, TIOCEXCL whoever is not root.
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if err == unix.EWOULDBLOCK {
			return fmt.Errorf("%w: another program has locked it", ErrBusy)
		}
		return fmt.Errorf("lock: %w", err)
	}
	if err := unix.IoctlSetInt(fd, unix.TIOCEXCL, 0); err != nil {
		if err == unix.ENOTTY {
			return errors.New("not a serial line")
		}
		return fmt.Errorf("take: %w", err)
	}
	if err := terminal(fd, s); err != nil {
		release(fd)
		return err
	}
	if s.RS485.On {
		if err := rs485(fd, s.RS485); err != nil {
			release(fd)
			return err
		}
	}
	if err := unix.IoctlSetInt(fd, unix.TCFLSH, unix.TCIOFLUSH); err != nil {
		release(fd)
		return fmt.Errorf("flush: %w", err)
	}
	return nil
}

// release lets others open the line again. It fails only where the device is
// gone, and the claim with it.
func release(fd int) { _ = unix.IoctlSetInt(fd, unix.TIOCNXCL, 0) }

// pseudo reports whether a device is the slave end of a pseudo terminal: the
// 1,048,576 of majors 136 to 143.
func pseudo(device uint64) bool {
	major := unix.Major(device)
	return major >= 136 && major <= 143
}

// The standard speeds, for kernels (and emulators of them) without termios2.
func speed(baud int) (uint32, bool) {
	switch baud {
	case 1200:
		return unix.B1200, true
	case 1800:
		return unix.B1800, true
	case 2400:
		return unix.B2400, true
	case 4800:
		return unix.B4800, true
	case 9600:
		return unix.B9600, true
	case 19200:
		return unix.B19200, true
	case 38400:
		return unix.B38400, true
	case 57600:
		return unix.B57600, true
	case 115200:
		return unix.B115200, true
	case 230400:
		return unix.B230400, true
	case 460800:
		return unix.B460800, true
	case 500000:
		return unix.B500000, true
	case 576000:
		return unix.B576000, true
	case 921600:
		return unix.B921600, true
	}
	return 0, false
}

// Three per cent off, a receiver misses stop bits.
const speedTolerance = 0.03

// terminal makes the line raw, with the speed and frame of s.
func terminal(fd int, s Settings) error {
	get, set := uint(unix.TCGETS2), uint(unix.TCSETS2)
	t, err := unix.IoctlGetTermios(fd, get)
	code, standard := speed(s.Baud)
	if (err == unix.ENOTTY || err == unix.ENOSYS) && standard {
		get, set = unix.TCGETS, unix.TCSETS
		t, err = unix.IoctlGetTermios(fd, get)
	}
	if err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	t.Iflag, t.Oflag, t.Lflag = unix.INPCK, 0, 0 // a character with a parity error reads 0; the check sum finds it
	t.Cflag = unix.CREAD | unix.CLOCAL
	if s.Bits == 7 {
		t.Cflag |= unix.CS7
	} else {
		t.Cflag |= unix.CS8
	}
	switch s.Parity {
	case 'E':
		t.Cflag |= unix.PARENB
	case 'O':
		t.Cflag |= unix.PARENB | unix.PARODD
	default:
		t.Iflag = 0
	}
	if s.Stop == 2 {
		t.Cflag |= unix.CSTOPB
	}
	// One byte is enough to wake a reader; without this a read of an empty line
	// would look like a hang-up.
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	if set == unix.TCSETS2 {
		t.Cflag |= unix.BOTHER
		t.Ispeed, t.Ospeed = uint32(s.Baud), uint32(s.Baud)
	} else {
		t.Cflag |= code
	}
	if err = unix.IoctlSetTermios(fd, set, t); err != nil {
		return fmt.Errorf("settings %s: %w", s, err)
	}
	// A driver takes what it can and says nothing: look.
	got, err := unix.IoctlGetTermios(fd, get)
	if err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	const frame = unix.CSIZE | unix.PARENB | unix.PARODD | unix.CSTOPB
	if !tty(fd) {
		return nil
	}
	if got.Cflag&frame != t.Cflag&frame {
		return fmt.Errorf("settings %s: the port cannot do this frame", s)
	}
	if set == unix.TCSETS2 {
		if off := float64(got.Ospeed)/float64(s.Baud) - 1; off > speedTolerance || off < -speedTolerance {
			return fmt.Errorf("settings %s: the port offers %d baud", s, got.Ospeed)
		}
	}
	return nil
}

// tty reports whether fd is a line with hardware behind it; a pseudo terminal
// has no frame, and keeps what it likes of it.
func tty(fd int) bool {
	var stat unix.Stat_t
	return unix.Fstat(fd, &stat) == nil && !pseudo(uint64(stat.Rdev))
}

// The kernel's struct serial_rs485 and its flags (linux/serial.h).
type serialRS485 struct {
	flags         uint32
	before, after uint32 // ms
	_             [5]uint32
}

const (
	rs485Enabled   = 1 << 0
	rs485OnSend    = 1 << 1
	rs485AfterSend = 1 << 2
	rs485Terminate = 1 << 5
)

// rs485 has the driver switch the transceiver, and sees that it will.
func rs485(fd int, r RS485) error {
	k := serialRS485{flags: rs485Enabled | rs485OnSend, before: uint32(r.Before / time.Millisecond), after: uint32(r.After / time.Millisecond)}
	if r.Low {
		k.flags = rs485Enabled | rs485AfterSend
	}
	if r.Terminate {
		k.flags |= rs485Terminate
	}
	asked := k.flags
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCSRS485, uintptr(unsafe.Pointer(&k))); errno != 0 {
		if errno == unix.ENOTTY || errno == unix.EINVAL || errno == unix.ENOSYS {
			return fmt.Errorf("rs485: this port's driver cannot switch a transceiver: %w", errno)
		}
		return fmt.Errorf("rs485: %w", errno)
	}
	// Newer kernels write back what they took.
	if k.flags&asked != asked {
		return fmt.Errorf("rs485: the port's driver took flags %#x of %#x", k.flags, asked)
	}
	return nil
}
