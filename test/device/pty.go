package device

import (
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Line is a serial line without speed: a pseudo-terminal whose other end is a
// path. It can be unplugged and plugged in again.
type Line struct {
	Path string // a link to the terminal

	mu     sync.Mutex
	master *os.File
	slave  *os.File // kept open, so that the line stands while nobody has it
}

// Plug makes the line, or makes it again after Unplug, and returns the
// device's end of it.
func (l *Line) Plug() (*os.File, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	var number int
	raw, err := master.SyscallConn()
	if err == nil {
		cerr := raw.Control(func(fd uintptr) {
			if number, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN); err == nil {
				err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0)
			}
		})
		if err == nil {
			err = cerr
		}
	}
	if err != nil {
		master.Close()
		return nil, fmt.Errorf("make a pseudo-terminal: %w", err)
	}
	name := fmt.Sprintf("/dev/pts/%d", number)
	slave, err := os.OpenFile(name, os.O_RDWR|unix.O_NOCTTY, 0)
	if err == nil {
		err = plain(slave)
	}
	if err == nil {
		err = replaceLink(name, l.Path)
	}
	if err != nil {
		master.Close()
		return nil, err
	}
	l.master, l.slave = master, slave
	return master, nil
}

// Unplug hangs the line up.
func (l *Line) Unplug() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.master != nil {
		l.slave.Close()
		l.master.Close()
		l.master, l.slave = nil, nil
		os.Remove(l.Path) //nolint:errcheck // it is there
	}
}

// plain has a terminal pass every byte on as it is.
func plain(f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	cerr := raw.Control(func(fd uintptr) {
		var t *unix.Termios
		if t, err = unix.IoctlGetTermios(int(fd), unix.TCGETS); err != nil {
			return
		}
		t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
		t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
		err = unix.IoctlSetTermios(int(fd), unix.TCSETS, t)
	})
	if err != nil {
		return err
	}
	return cerr
}

func replaceLink(to, path string) error {
	if err := os.Symlink(to, path+"+"); err != nil {
		return err
	}
	return os.Rename(path+"+", path)
}
