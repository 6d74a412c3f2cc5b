package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The disk below the journal, and dm-flakey within it.
const (
	device = "/dev/ubda"
	mapped = "/dev/dm-0"
	dmName = "disk"
)

// disk is ubda, with dm-flakey above it where it was asked for.
type disk struct {
	control *os.File // nil: no dm-flakey
	sectors uint64
	mu      sync.Mutex
}

// mount mounts the disk.
func (d *disk) mount(at string, flakey bool) error {
	from := device
	if flakey {
		if err := d.stack(); err != nil {
			return err
		}
		from = mapped
	}
	if err := unix.Mount(from, at, "ext4", 0, ""); err != nil {
		return fmt.Errorf("mount %s: %w", from, err)
	}
	return nil
}

func (d *disk) stack() error {
	for _, name := range []string{"dm-mod", "dm-flakey"} {
		b, err := os.ReadFile("/modules/" + name + ".ko")
		if err != nil {
			return err
		}
		if err := unix.InitModule(b, ""); err != nil {
			return fmt.Errorf("module %s: %w", name, err)
		}
	}
	f, err := os.OpenFile(device, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	size, err := f.Seek(0, 2)
	f.Close()
	if err != nil {
		return err
	}
	d.sectors = uint64(size) / 512
	if d.control, err = os.OpenFile("/dev/mapper/control", os.O_RDWR, 0); err != nil {
		return err
	}
	if err := d.ioctl(unix.DM_DEV_CREATE, 0, nil); err != nil {
		return fmt.Errorf("dm create: %w", err)
	}
	return d.become("ok")
}

// become loads another table: a disk that works, fails every write, or calls
// every write done and drops it. What is under way ends first, nothing is flushed.
func (d *disk) become(how string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.control == nil {
		return fmt.Errorf("there is no dm-flakey below this disk")
	}
	table := ""
	switch how {
	case "ok":
		table = device + " 0 86400 0"
	case "eio":
		table = device + " 0 0 86400 1 error_writes"
	case "lie":
		table = device + " 0 0 86400 1 drop_writes"
	default:
		return fmt.Errorf("a disk cannot be %q", how)
	}
	// struct dm_target_spec, then its text, aligned to 8.
	spec := make([]byte, 40, 256)
	ne := binary.NativeEndian
	ne.PutUint64(spec[8:], d.sectors)
	copy(spec[24:], "flakey")
	spec = append(spec, table...)
	spec = append(spec, 0)
	for len(spec)%8 != 0 {
		spec = append(spec, 0)
	}
	if err := d.ioctl(unix.DM_TABLE_LOAD, 0, spec); err != nil {
		return fmt.Errorf("dm load: %w", err)
	}
	const suspend = unix.DM_SUSPEND_FLAG | unix.DM_SKIP_LOCKFS_FLAG | unix.DM_NOFLUSH_FLAG
	if err := d.ioctl(unix.DM_DEV_SUSPEND, suspend, nil); err != nil {
		return fmt.Errorf("dm suspend: %w", err)
	}
	if err := d.ioctl(unix.DM_DEV_SUSPEND, 0, nil); err != nil {
		return fmt.Errorf("dm resume: %w", err)
	}
	return nil
}

// ioctl of device mapper: struct dm_ioctl, then data (one target).
func (d *disk) ioctl(cmd uintptr, flags uint32, data []byte) error {
	const head = 312
	b := make([]byte, head+max(len(data), 256))
	ne := binary.NativeEndian
	ne.PutUint32(b[0:], 4) // version 4.0.0
	ne.PutUint32(b[12:], uint32(len(b)))
	ne.PutUint32(b[16:], head)
	if data != nil {
		ne.PutUint32(b[20:], 1)
	}
	ne.PutUint32(b[28:], flags)
	copy(b[48:], dmName)
	copy(b[head:], data)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, d.control.Fd(), cmd, uintptr(unsafe.Pointer(&b[0])))
	runtime.KeepAlive(b)
	if errno != 0 {
		return errno
	}
	return nil
}

// forgetSync lets fsync and fdatasync of this process do nothing and say that
// all is well.
func forgetSync() error {
	const load, equal, ret = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_RET | unix.BPF_K
	program := []unix.SockFilter{
		{Code: load, K: 0}, // the number of the call
		{Code: equal, K: unix.SYS_FSYNC, Jt: 2},
		{Code: equal, K: unix.SYS_FDATASYNC, Jt: 1},
		{Code: ret, K: 0x7fff0000}, // SECCOMP_RET_ALLOW
		{Code: ret, K: 0x00050000}, // SECCOMP_RET_ERRNO, 0
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	fprog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	const setFilter, allThreads = 1, 1
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, setFilter, allThreads, uintptr(unsafe.Pointer(&fprog)))
	runtime.KeepAlive(program)
	if errno != 0 {
		return errno
	}
	return nil
}
