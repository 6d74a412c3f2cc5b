package gpio

import (
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What linux/gpio.h has of version 2, in its own layout. Every 64-bit field
// stands at a multiple of eight, so that the layout is one on 32 and 64 bits,
// although Go aligns such a field to four bytes on the former; the tests hold
// sizes and offsets to the header's.

const (
	maxLines = 64 // GPIO_V2_LINES_MAX
	maxAttrs = 10 // GPIO_V2_LINE_NUM_ATTRS_MAX
	maxName  = 32 // GPIO_MAX_NAME_SIZE, with the final 0
)

// The flags of a line.
const (
	flagUsed         = 1 << 0
	flagActiveLow    = 1 << 1
	flagInput        = 1 << 2
	flagOutput       = 1 << 3
	flagEdgeRising   = 1 << 4
	flagEdgeFalling  = 1 << 5
	flagPullUp       = 1 << 8
	flagPullDown     = 1 << 9
	flagBiasDisabled = 1 << 10
)

// The attributes that a request may have beside its flags.
const (
	attrOutputValues = 2
	attrDebounce     = 3
)

// The kinds of an event.
const (
	eventRising  = 1
	eventFalling = 2
)

type chipInfo struct {
	name  [maxName]byte
	label [maxName]byte
	lines uint32
}

type lineAttribute struct {
	id    uint32
	_     uint32
	value uint64 // of a debounce period, which is 32 bits wide, the first four bytes
}

type lineConfigAttribute struct {
	attr lineAttribute
	mask uint64
}

type lineConfig struct {
	flags    uint64
	numAttrs uint32
	_        [5]uint32
	attrs    [maxAttrs]lineConfigAttribute
}

type lineRequest struct {
	offsets         [maxLines]uint32
	consumer        [maxName]byte
	config          lineConfig
	numLines        uint32
	eventBufferSize uint32
	_               [5]uint32
	fd              int32
}

type lineInfo struct {
	name     [maxName]byte
	consumer [maxName]byte
	offset   uint32
	_        uint32 // how many attributes
	flags    uint64
	_        [maxAttrs]lineAttribute
	_        [4]uint32
}

type lineValues struct {
	bits uint64
	mask uint64
}

type lineEvent struct {
	timestamp uint64 // ns, CLOCK_MONOTONIC unless asked for otherwise
	id        uint32
	offset    uint32
	seqno     uint32 // of the request
	lineSeqno uint32 // of the line
	_         [6]uint32
}

// The numbers of the calls, as asm-generic/ioctl.h makes them for x86, ARM and
// RISC-V: direction, size, kind, number.
const (
	dirRead      = 2 << 30
	dirReadWrite = 3 << 30
	gpioMagic    = 0xB4 << 8

	getChipInfo = dirRead | unsafe.Sizeof(chipInfo{})<<16 | gpioMagic | 0x01
	getLineInfo = dirReadWrite | unsafe.Sizeof(lineInfo{})<<16 | gpioMagic | 0x05
	getLine     = dirReadWrite | unsafe.Sizeof(lineRequest{})<<16 | gpioMagic | 0x07
	setConfig   = dirReadWrite | unsafe.Sizeof(lineConfig{})<<16 | gpioMagic | 0x0D
	getValues   = dirReadWrite | unsafe.Sizeof(lineValues{})<<16 | gpioMagic | 0x0E
)

// ioctl hands the kernel one structure. The pointer is converted in the call
// itself, which is what keeps the structure in its place until the call
// returns; none of the structures of GPIO points to another.
func ioctl[T any](fd int, number uintptr, arg *T) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), number, uintptr(unsafe.Pointer(arg)))
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
			continue
		}
		return errno
	}
}

// text is a C text: up to its first 0.
func text(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

// events reads what the kernel has queued at a line, at most len(buf) of
// them, without waiting; none is no error.
func events(fd int, buf []lineEvent) (int, error) {
	const size = int(unsafe.Sizeof(lineEvent{}))
	raw := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(buf))), len(buf)*size)
	for {
		n, err := unix.Read(fd, raw)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			return 0, nil
		case err != nil:
			return 0, err
		case n == 0 || n%size != 0:
			return 0, errShort
		}
		return n / size, nil
	}
}

var errShort = errors.New("the kernel handed over a part of an event")
