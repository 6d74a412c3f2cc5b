package gpio

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
	periph "periph.io/x/conn/v3/gpio"
)

// Errors of a chip and its lines, beside those of the kernel.
var (
	ErrNoChip    = errors.New("no such gpio chip")
	ErrNoLine    = errors.New("the chip has no such line")
	ErrAmbiguous = errors.New("more than one has this name")
	ErrOldKernel = errors.New("the kernel has no GPIO v2 interface: Linux 5.10 or later is needed")
)

// consumer is what the kernel shows others of who has a line.
const consumer = "davy"

// eventQueue is how many edges of one line the kernel keeps for us. More drop
// the oldest, which the sequence numbers tell.
const eventQueue = 64

// Chip is an open GPIO character device. Its methods may be called from any
// goroutine; lines taken from it outlive it.
type Chip struct {
	Name  string // "gpiochip0", which may be another after the next start
	Label string // the driver's, "30200000.gpio"
	Lines int

	f *os.File
	// device is the chip's device number: it tells two chips apart for as long as
	// both are there.
	device uint64
}

// OpenChip opens a chip by name ("gpiochip0"), path ("/dev/gpio/di") or label.
func OpenChip(target string) (*Chip, error) {
	switch {
	case strings.HasPrefix(target, "/"):
		return openPath(target)
	case chipName(target):
		return openPath("/dev/" + target)
	}
	paths, err := filepath.Glob("/dev/gpiochip*")
	if err != nil {
		return nil, fmt.Errorf("open gpio chip %s: %w", target, err)
	}
	return labelled(target, paths)
}

// labelled opens the chip with a label.
func labelled(target string, paths []string) (*Chip, error) {
	var found *Chip
	var unread error // of a chip that may be the one
	for _, path := range paths {
		c, err := openPath(path)
		switch {
		case errors.Is(err, ErrNoChip): // away meanwhile
		case err != nil:
			unread = err
		case c.Label != target:
			c.Close()
		case found != nil && found.device != c.device:
			c.Close()
			found.Close()
			return nil, fmt.Errorf("open gpio chip %s: %w", target, ErrAmbiguous)
		case found != nil:
			c.Close() // the same through a symbolic link
		default:
			found = c
		}
	}
	switch {
	case found == nil && unread != nil:
		return nil, fmt.Errorf("open gpio chip %s: %w that can be read: %w", target, ErrNoChip, unread)
	case found == nil:
		return nil, fmt.Errorf("open gpio chip %s: %w", target, ErrNoChip)
	}
	return found, nil
}

func openPath(path string) (*Chip, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil, fmt.Errorf("open gpio chip %s: %w", path, ErrNoChip)
	}
	if err != nil {
		return nil, fmt.Errorf("open gpio chip %s: %w", path, err)
	}
	var st unix.Stat_t
	var info chipInfo
	if err = unix.Fstat(fd, &st); err == nil {
		if st.Mode&unix.S_IFMT != unix.S_IFCHR {
			err = unix.ENOTTY
		} else {
			err = ioctl(fd, getChipInfo, &info)
		}
	}
	if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EINVAL) {
		err = fmt.Errorf("no gpio chip: %w", err)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("open gpio chip %s: %w", path, err)
	}
	return &Chip{
		Name: text(info.name[:]), Label: text(info.label[:]), Lines: int(info.lines),
		f: os.NewFile(uintptr(fd), path), device: uint64(st.Rdev),
	}, nil
}

// Close lets the chip go; the lines taken from it stay taken.
func (c *Chip) Close() error { return c.f.Close() }

// control runs f with a descriptor that stays open meanwhile.
func control(file *os.File, f func(fd int) error) error {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return err
	}
	return inner
}

// Info is what the kernel says of a line without anybody taking it. It does
// not say the level: that is known only to who has the line.
type Info struct {
	Offset   int
	Name     string // "" where the board gives none
	Consumer string // who has it
	Used     bool   // nobody else can take it
	Output   bool   // its direction now
}

// Info asks the kernel for a line.
func (c *Chip) Info(offset int) (Info, error) {
	info := lineInfo{offset: uint32(offset)}
	err := control(c.f, func(fd int) error { return ioctl(fd, getLineInfo, &info) })
	if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EINVAL) && offset >= 0 && offset < c.Lines {
		err = ErrOldKernel
	}
	if err != nil {
		return Info{}, fmt.Errorf("look at %s line %d: %w", c.Name, offset, err)
	}
	return Info{
		Offset: offset, Name: text(info.name[:]), Consumer: text(info.consumer[:]),
		Used: info.flags&flagUsed != 0, Output: info.flags&flagOutput != 0,
	}, nil
}

// Names returns the lines of every name of the chip. More than one line of a
// name is a mistake of the board's description.
func (c *Chip) Names() (map[string][]int, error) {
	names := map[string][]int{}
	for i := range c.Lines {
		info, err := c.Info(i)
		if err != nil {
			return nil, err
		}
		if info.Name != "" {
			names[info.Name] = append(names[info.Name], i)
		}
	}
	return names, nil
}

// InputConfig says how an input is taken. The zero value leaves the bias as
// the board has it, without debounce and without edges.
type InputConfig struct {
	Pull     periph.Pull   // Float switches the bias off; the zero value, PullNoChange, leaves it
	Debounce time.Duration // in the kernel; whole microseconds, at most 2^32 of them
	Edges    bool          // both
}

// Input takes a line as an input.
func (c *Chip) Input(offset int, cfg InputConfig) (*Line, error) {
	req := lineRequest{}
	req.config.flags = flagInput
	switch cfg.Pull {
	case periph.PullUp:
		req.config.flags |= flagPullUp
	case periph.PullDown:
		req.config.flags |= flagPullDown
	case periph.Float:
		req.config.flags |= flagBiasDisabled
	}
	if cfg.Edges {
		req.config.flags |= flagEdgeRising | flagEdgeFalling
		req.eventBufferSize = eventQueue
	}
	if cfg.Debounce > 0 {
		a := &req.config.attrs[0]
		a.attr.id, a.mask = attrDebounce, 1
		value := (*[8]byte)(unsafe.Pointer(&a.attr.value))
		binary.NativeEndian.PutUint32(value[:4], uint32(cfg.Debounce/time.Microsecond))
		req.config.numAttrs = 1
	}
	return c.request(offset, &req)
}

// Take takes a line as it is, without touching its direction or its level.
func (c *Chip) Take(offset int) (*Line, error) { return c.request(offset, &lineRequest{}) }

func (c *Chip) request(offset int, req *lineRequest) (*Line, error) {
	req.offsets[0], req.numLines = uint32(offset), 1
	copy(req.consumer[:maxName-1], consumer)
	if err := control(c.f, func(fd int) error { return ioctl(fd, getLine, req) }); err != nil {
		return nil, fmt.Errorf("take %s line %d: %w", c.Name, offset, err)
	}
	if err := unix.SetNonblock(int(req.fd), true); err != nil {
		unix.Close(int(req.fd))
		return nil, fmt.Errorf("take %s line %d: %w", c.Name, offset, err)
	}
	name := fmt.Sprintf("%s line %d", c.Name, offset)
	return &Line{Offset: offset, name: name, f: os.NewFile(uintptr(req.fd), name)}, nil
}

// Line is a line that this process has taken; nobody else can, until Close.
// Level and Drive may be called from any goroutine.
type Line struct {
	Offset int
	name   string
	f      *os.File
}

// Level returns what the line carries, of an output too: the kernel reads the
// pin and leaves its direction alone.
func (l *Line) Level() (periph.Level, error) {
	v := lineValues{mask: 1}
	if err := control(l.f, func(fd int) error { return ioctl(fd, getValues, &v) }); err != nil {
		return periph.Low, fmt.Errorf("read %s: %w", l.name, err)
	}
	return periph.Level(v.bits&1 == 1), nil
}

// Drive makes the line an output of this level, in one step: the level is set
// before the direction.
func (l *Line) Drive(level periph.Level) error {
	cfg := lineConfig{flags: flagOutput, numAttrs: 1}
	cfg.attrs[0].attr.id, cfg.attrs[0].mask = attrOutputValues, 1
	if level {
		cfg.attrs[0].attr.value = 1
	}
	if err := control(l.f, func(fd int) error { return ioctl(fd, setConfig, &cfg) }); err != nil {
		return fmt.Errorf("drive %s %v: %w", l.name, level, err)
	}
	return nil
}

// Close gives the line back to the kernel. What an output does then is not
// defined: most chips leave it, some make it an input.
func (l *Line) Close() error { return l.f.Close() }
