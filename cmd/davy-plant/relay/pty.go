package relay

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// lostAfter is how long a Write waits for room in the kernel's buffer.
const lostAfter = 20 * time.Millisecond

// End is our end of a pseudo terminal. It holds the other end open too, so that
// programs may come and go on it without a hang-up. Its methods may be called
// from any goroutine.
type End struct {
	ours  *os.File // obeys deadlines and Close
	held  *os.File
	path  string
	link  string
	close func() error // once
}

// Pty makes a pseudo terminal without manners: no echo, no lines, no signals,
// bytes as they are. path is the device file that a program opens.
func Pty() (end *End, path string, err error) {
	end, err = openPty()
	if err != nil {
		return nil, "", fmt.Errorf("make pty: %w", err)
	}
	return end, end.path, nil
}

// PtyAt makes a pseudo terminal and a symbolic link to it; a link that is there
// is replaced, anything else is not. The link goes with Close.
func PtyAt(link string) (*End, error) {
	end, err := openPty()
	if err != nil {
		return nil, fmt.Errorf("make pty %s: %w", link, err)
	}
	if err := relink(end.path, link); err != nil {
		return nil, errors.Join(fmt.Errorf("make pty %s: %w", link, err), end.Close())
	}
	end.link = link
	return end, nil
}

// relink makes link point to path, in one step for whoever looks.
func relink(path, link string) error {
	if info, err := os.Lstat(link); err == nil && info.Mode()&os.ModeSymlink == 0 {
		return os.ErrExist
	}
	next := link + ".new"
	if err := os.Remove(next); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Symlink(path, next); err != nil {
		return err
	}
	return os.Rename(next, link)
}

func openPty() (*End, error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("open /dev/ptmx", err)
	}
	e := &End{ours: os.NewFile(uintptr(fd), "/dev/ptmx")}
	e.close = sync.OnceValue(e.hangUp)
	fail := func(what string, err error) (*End, error) {
		return nil, errors.Join(os.NewSyscallError(what, err), e.Close())
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return fail("unlock", err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		return fail("number", err)
	}
	e.path = "/dev/pts/" + strconv.Itoa(n)
	held, err := unix.Open(e.path, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return fail("open "+e.path, err)
	}
	e.held = os.NewFile(uintptr(held), e.path)
	t, err := unix.IoctlGetTermios(held, unix.TCGETS)
	if err != nil {
		return fail("read settings", err)
	}
	t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
	t.Cflag = t.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8 | unix.CREAD | unix.CLOCAL
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(held, unix.TCSETS, t); err != nil {
		return fail("make raw", err)
	}
	return e, nil
}

// Path is the device file.
func (e *End) Path() string { return e.path }

// Read returns what the program at the device file wrote.
func (e *End) Read(p []byte) (int, error) { return e.ours.Read(p) }

// Write is what that program will read. Where nobody reads and the kernel's
// buffer is full, p is lost, as at a UART that nobody listens to; it is no error.
func (e *End) Write(p []byte) (int, error) {
	// Twice: a process that was held up for so long finds the time over before it
	// tried, and there was room.
	for range 2 {
		if err := e.ours.SetWriteDeadline(time.Now().Add(lostAfter)); err != nil {
			return 0, fmt.Errorf("%w: %w", os.ErrClosed, err) // it fails for nothing else
		}
		n, err := e.ours.Write(p)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return len(p), err
		}
		if n > 0 {
			break
		}
	}
	return len(p), nil
}

// Close hangs the device up, as pulling an adapter does, and removes its link
// if it still points here.
func (e *End) Close() error { return e.close() }

func (e *End) hangUp() error {
	var errs []error
	if e.link != "" {
		if at, err := os.Readlink(e.link); err == nil && at == e.path {
			errs = append(errs, os.Remove(e.link))
		}
	}
	if e.held != nil {
		errs = append(errs, e.held.Close())
	}
	return errors.Join(append(errs, e.ours.Close())...)
}
